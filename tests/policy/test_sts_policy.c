/* tests/policy/test_sts_policy.c: policy bodies of RFC 8461 3.2 and MX matching of 4.1, one test
 * per row. */
#include "policy/sts_policy.h"

#include "tests/alloc_fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    } /* a span, NULs included */

#define VER "version: STSv1\n"
#define MODE "mode: enforce\n"
#define MX "mx: mail.example.com\n"
#define AGE "max_age: 604800\n"

#define NAME_32 "x123456789-123456789.123456789_1"
#define LABEL_63 "a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-g23"
#define NAME_253                                                                                   \
    LABEL_63 "." LABEL_63 "." LABEL_63 "."                                                         \
             "a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-g"

static struct good_case {
    const char *name;
    struct span body;
    enum sts_mode mode;
    uint32_t max_age_s;
    const char *mx; /* patterns, each with a blank behind it */
    unsigned leniencies;
} good_cases[] = {
    { "RFC 8461 3.2 example",
      TEXT("version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n"
           "mx: backupmx.example.com\r\nmax_age: 604800\r\n"),
      STS_MODE_ENFORCE, 604800, "mail.example.com *.example.net backupmx.example.com ", 0 },
    { "S1 policy for Exchange Online",
      TEXT("version: STSv1\nmode: enforce\nmx: *.mail.protection.outlook.com\nmax_age: 604800\n"),
      STS_MODE_ENFORCE, 604800, "*.mail.protection.outlook.com ", 0 },
    { "S4 policy of google.com",
      TEXT("version: STSv1\nmode: enforce\nmx: smtp.google.com\nmx: aspmx.l.google.com\n"
           "mx: *.aspmx.l.google.com\nmax_age: 86400\n"),
      STS_MODE_ENFORCE, 86400, "smtp.google.com aspmx.l.google.com *.aspmx.l.google.com ", 0 },

    /* Lines. */
    { "TC-POL-01 STS-040 LF only", TEXT(VER MODE MX AGE), STS_MODE_ENFORCE, 604800,
      "mail.example.com ", 0 },
    { "TC-POL-01 STS-040 CRLF only",
      TEXT("version: STSv1\r\nmode: enforce\r\nmx: a.example\r\nmax_age: 1\r\n"), STS_MODE_ENFORCE,
      1, "a.example ", 0 },
    { "TC-POL-01 STS-040 LF and CRLF mixed",
      TEXT("version: STSv1\r\nmode: enforce\nmx: a.example\r\nmax_age: 1\n"), STS_MODE_ENFORCE, 1,
      "a.example ", 0 },
    { "TC-POL-01 STS-040 last line without end",
      TEXT("version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 1"), STS_MODE_ENFORCE, 1,
      "a.example ", 0 },
    { "TC-POL-03 STS-049 empty line in the middle: tolerated and counted",
      TEXT(VER MODE "\n" MX AGE), STS_MODE_ENFORCE, 604800, "mail.example.com ",
      STS_POLICY_EMPTY_LINE },
    { "TC-POL-03 STS-049 empty line first: tolerated and counted", TEXT("\r\n" VER MODE MX AGE),
      STS_MODE_ENFORCE, 604800, "mail.example.com ", STS_POLICY_EMPTY_LINE },
    { "STS-049 empty lines at the end: tolerated and counted", TEXT(VER MODE MX AGE "\n\r\n"),
      STS_MODE_ENFORCE, 604800, "mail.example.com ", STS_POLICY_EMPTY_LINE },
    { "TC-POL-04 STS-043 trailing blanks and tabs",
      TEXT("version: STSv1 \nmode: enforce\t\nmx: a.example \t \r\nmax_age: 1  "), STS_MODE_ENFORCE,
      1, "a.example ", 0 },
    { "STS-043 no blank, and tabs, behind the colon",
      TEXT("version:STSv1\nmode:\tenforce  \nmx:a.example\nmax_age: \t 1\n"), STS_MODE_ENFORCE, 1,
      "a.example ", 0 },

    /* Fields. */
    { "STS-041 version last, fields in any order",
      TEXT("max_age: 1\nmx: a.example\nmode: testing\nmx: b.example\nversion: STSv1\n"),
      STS_MODE_TESTING, 1, "a.example b.example ", 0 },
    { "TC-POL-20 STS-041 none needs no mx", TEXT(VER "mode: none\nmax_age: 0\n"), STS_MODE_NONE, 0,
      "", 0 },
    { "STS-041 none may have mx", TEXT(VER "mode: none\n" MX AGE), STS_MODE_NONE, 604800,
      "mail.example.com ", 0 },
    { "TC-POL-07 STS-047 duplicate mode: first wins, enforce then none",
      TEXT(VER MODE "mode: none\n" MX AGE), STS_MODE_ENFORCE, 604800, "mail.example.com ", 0 },
    { "TC-POL-07 STS-047 duplicate mode: first wins, testing then enforce",
      TEXT(VER "mode: testing\n" MX AGE MODE), STS_MODE_TESTING, 604800, "mail.example.com ", 0 },
    { "TC-POL-08 STS-047 duplicate max_age: first wins", TEXT(VER MODE MX AGE "max_age: 1\n"),
      STS_MODE_ENFORCE, 604800, "mail.example.com ", 0 },
    { "TC-POL-08 STS-047 duplicate max_age beyond the maximum: not counted as clamped",
      TEXT(VER MODE MX AGE "max_age: 9999999999\n"), STS_MODE_ENFORCE, 604800, "mail.example.com ",
      0 },
    { "TC-POL-08 STS-047 duplicate version: first wins", TEXT(VER MODE MX AGE "version: STSv2\n"),
      STS_MODE_ENFORCE, 604800, "mail.example.com ", 0 },
    { "STS-047 duplicates that are malformed are ignored",
      TEXT(VER MODE MX AGE "mode:\nversion: a\tb\nmax_age: -1\n"), STS_MODE_ENFORCE, 604800,
      "mail.example.com ", 0 },
    { "STS-047 equal mx lines are both kept", TEXT(VER MODE MX MX AGE), STS_MODE_ENFORCE, 604800,
      "mail.example.com mail.example.com ", 0 },

    /* Unknown fields. */
    { "TC-POL-09 STS-048 UTF-8 value", TEXT(VER "x-note: gr\xc3\xbc\xc3\x9f\x65\n" MODE MX AGE),
      STS_MODE_ENFORCE, 604800, "mail.example.com ", 0 },
    { "TC-POL-09 STS-048 UTF-8 of two, three and four octets, at the ends of their ranges",
      TEXT(VER MODE MX AGE "x: \xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"
                           "\xf0\x90\x80\x80\xf3\xbf\xbf\xbf\xf4\x8f\xbf\xbf\n"),
      STS_MODE_ENFORCE, 604800, "mail.example.com ", 0 },
    { "TC-POL-09 STS-048 URL and blanks in values",
      TEXT("info: https://example.com:443/a?b=c\n" VER MODE MX AGE "a1_b-c.d:some words  here \n"),
      STS_MODE_ENFORCE, 604800, "mail.example.com ", 0 },
    { "TC-POL-09 STS-048 unknown field twice", TEXT(VER MODE MX AGE "x: 1\nx: 2\n"),
      STS_MODE_ENFORCE, 604800, "mail.example.com ", 0 },
    { "TC-POL-10 STS-048 unknown field of 32 characters", TEXT(VER MODE MX AGE NAME_32 ": 1\n"),
      STS_MODE_ENFORCE, 604800, "mail.example.com ", 0 },
    { "TC-POL-35 STS-051 braces, quotation marks and backslashes in a value",
      TEXT(VER MODE MX AGE "x: {\"a\": \\u0000} ' %s %n\n"), STS_MODE_ENFORCE, 604800,
      "mail.example.com ", 0 },
    { "STS-042 Mode beside mode is an unknown field", TEXT(VER "Mode: none\n" MODE MX AGE),
      STS_MODE_ENFORCE, 604800, "mail.example.com ", 0 },

    /* max_age. */
    { "TC-POL-15 STS-045 max_age 0", TEXT(VER MODE MX "max_age: 0\n"), STS_MODE_ENFORCE, 0,
      "mail.example.com ", 0 },
    { "TC-POL-37 STS-045 max_age 60", TEXT(VER MODE MX "max_age: 60\n"), STS_MODE_ENFORCE, 60,
      "mail.example.com ", 0 },
    { "TC-POL-16 STS-045 max_age at the maximum", TEXT(VER MODE MX "max_age: 31557600\n"),
      STS_MODE_ENFORCE, 31557600, "mail.example.com ", 0 },
    { "TC-POL-16 STS-045 max_age one beyond the maximum: clamped",
      TEXT(VER MODE MX "max_age: 31557601\n"), STS_MODE_ENFORCE, 31557600, "mail.example.com ",
      STS_POLICY_MAX_AGE_CLAMPED },
    { "TC-POL-16 STS-045 max_age of ten nines: clamped", TEXT(VER MODE MX "max_age: 9999999999\n"),
      STS_MODE_ENFORCE, 31557600, "mail.example.com ", STS_POLICY_MAX_AGE_CLAMPED },
    { "STS-045 max_age 2^32 + 1: clamped, not wrapped", TEXT(VER MODE MX "max_age: 4294967297\n"),
      STS_MODE_ENFORCE, 31557600, "mail.example.com ", STS_POLICY_MAX_AGE_CLAMPED },
    { "TC-POL-18 STS-045 leading zeros, ten digits", TEXT(VER MODE MX "max_age: 0000604800\n"),
      STS_MODE_ENFORCE, 604800, "mail.example.com ", 0 },

    /* mx. */
    { "STS-046 wildcard and name, as written", TEXT(VER MODE "mx: *.Example.NET\n" MX AGE),
      STS_MODE_ENFORCE, 604800, "*.Example.NET mail.example.com ", 0 },
    { "STS-046 one label", TEXT(VER MODE "mx: localhost\n" AGE), STS_MODE_ENFORCE, 604800,
      "localhost ", 0 },
    { "STS-046 digits and hyphens inside labels", TEXT(VER MODE "mx: 1.2-3--4.x9\n" AGE),
      STS_MODE_ENFORCE, 604800, "1.2-3--4.x9 ", 0 },
    { "TC-POL-28 STS-083 A-labels", TEXT(VER MODE "mx: *.xn--bcher-kva.example\n" AGE),
      STS_MODE_ENFORCE, 604800, "*.xn--bcher-kva.example ", 0 },
    { "TC-POL-29 STS-046 label of 63 octets", TEXT(VER MODE "mx: " LABEL_63 ".example\n" AGE),
      STS_MODE_ENFORCE, 604800, LABEL_63 ".example ", 0 },
    { "TC-POL-29 STS-046 name of 253 octets", TEXT(VER MODE "mx: " NAME_253 "\n" AGE),
      STS_MODE_ENFORCE, 604800, NAME_253 " ", 0 },
};

static struct bad_case {
    const char *name;
    struct span body;
    unsigned line;
    const char *what;
} bad_cases[] = {
    /* Lines. */
    { "TC-POL-02 STS-049 bare CR as separator",
      TEXT("version: STSv1\rmode: enforce\rmx: a.example\rmax_age: 1\r"), 1, "control character" },
    { "TC-POL-02 STS-049 bare CR at the very end", TEXT(VER MODE MX "max_age: 1\r"), 4,
      "control character" },
    { "TC-POL-02 STS-049 two CRs before LF", TEXT(VER MODE MX "max_age: 1\r\r\n"), 4,
      "control character" },
    { "TC-POL-05 STS-043 blank before a key", TEXT(VER " mode: enforce\n" MX AGE), 2,
      "bad field name" },
    { "TC-POL-05 STS-043 tab before a key", TEXT("\tversion: STSv1\n" MODE MX AGE), 1,
      "bad field name" },
    { "TC-POL-05 STS-043 blank before the colon", TEXT(VER "mode : enforce\n" MX AGE), 2,
      "bad field name" },
    { "TC-POL-05 STS-043 tab before the colon of a repeated field",
      TEXT(VER MODE MX AGE "mode\t: none\n"), 5, "bad field name" },
    { "STS-049 line of blanks only", TEXT(VER MODE MX AGE "  \n"), 5, "no colon" },
    { "TC-POL-06 STS-049 byte order mark", TEXT("\xef\xbb\xbf" VER MODE MX AGE), 1,
      "byte order mark" },
    { "TC-POL-06 STS-049 nothing but a byte order mark", TEXT("\xef\xbb\xbf"), 1,
      "byte order mark" },
    { "TC-POL-06 STS-049 UTF-16", TEXT("\xff\xfev\0e\0r\0s\0i\0o\0n\0"), 1, "invalid UTF-8" },
    { "STS-049 line without colon", TEXT(VER MODE MX AGE "hello\n"), 5, "no colon" },
    { "STS-049 comment", TEXT("# our policy\n" VER MODE MX AGE), 1, "no colon" },
    { "STS-049 equals sign for colon", TEXT(VER "mode=enforce\n" MX AGE), 2, "no colon" },
    { "STS-040 commas for line ends", TEXT("version: STSv1, mode: enforce"), 1,
      "version is not STSv1" },
    { "STS-043 continuation line", TEXT(VER MODE "mx: a.example\n b.example\n" AGE), 4,
      "no colon" },
    { "TC-POL-34 STS-049 NUL in a value", TEXT(VER "mode: enforce\0\n" MX AGE), 2,
      "control character" },
    { "TC-POL-34 STS-049 NUL in an ignored field", TEXT(VER MODE MX AGE "x: a\0b\n"), 5,
      "control character" },
    { "TC-POL-34 STS-049 NUL in an ignored duplicate", TEXT(VER MODE MX AGE "mode: \0\n"), 5,
      "control character" },
    { "TC-POL-34 STS-049 NUL behind the last line", TEXT(VER MODE MX AGE "\0"), 5,
      "control character" },
    { "TC-POL-34 invalid UTF-8: Latin-1", TEXT(VER MODE MX AGE "x: gr\xfc\xdf\n"), 5,
      "invalid UTF-8" },
    { "TC-POL-34 invalid UTF-8: longer than need be", TEXT(VER MODE MX AGE "x: \xc0\xaf\n"), 5,
      "invalid UTF-8" },
    { "TC-POL-34 invalid UTF-8: three octets longer than need be",
      TEXT(VER MODE MX AGE "x: \xe0\x9f\xbf\n"), 5, "invalid UTF-8" },
    { "TC-POL-34 invalid UTF-8: surrogate", TEXT(VER MODE MX AGE "x: \xed\xa0\x80\n"), 5,
      "invalid UTF-8" },
    { "TC-POL-34 invalid UTF-8: four octets longer than need be",
      TEXT(VER MODE MX AGE "x: \xf0\x8f\xbf\xbf\n"), 5, "invalid UTF-8" },
    { "TC-POL-34 invalid UTF-8: beyond U+10FFFF", TEXT(VER MODE MX AGE "x: \xf4\x90\x80\x80\n"), 5,
      "invalid UTF-8" },
    { "TC-POL-34 invalid UTF-8: third octet is none", TEXT(VER MODE MX AGE "x: \xe2\x80z\n"), 5,
      "invalid UTF-8" },
    { "TC-POL-34 invalid UTF-8: cut by the line end", TEXT(VER MODE MX AGE "x: \xe2\x80\n"), 5,
      "invalid UTF-8" },
    { "TC-POL-34 invalid UTF-8: cut by the end of the body",
      TEXT(VER MODE MX AGE "x: \xf0\x9f\x98"), 5, "invalid UTF-8" },
    { "TC-POL-35 STS-049 escape character in an ignored field",
      TEXT(VER MODE MX AGE "x: \x1b[31m\n"), 5, "control character" },

    /* Fields. */
    { "TC-POL-11 STS-042 Version", TEXT("Version: STSv1\n" MODE MX AGE), 0, "version missing" },
    { "TC-POL-11 STS-042 MODE", TEXT(VER "MODE: enforce\n" MX AGE), 0, "mode missing" },
    { "STS-042 Mode", TEXT(VER "Mode: enforce\n" MX AGE), 0, "mode missing" },
    { "TC-POL-11 STS-042 Mx", TEXT(VER MODE "Mx: a.example\n" AGE), 0, "mx missing" },
    { "STS-042 Max_Age", TEXT(VER MODE MX "Max_Age: 1\n"), 0, "max_age missing" },
    { "STS-042 max-age", TEXT(VER MODE MX "max-age: 1\n"), 0, "max_age missing" },
    { "STS-041 mode missing", TEXT(VER MX AGE), 0, "mode missing" },
    { "STS-041 fields in JSON", TEXT("{\"version\": \"STSv1\"}\n"), 1, "bad field name" },
    { "TC-POL-12 STS-042 mode Enforce", TEXT(VER "mode: Enforce\n" MX AGE), 2, "bad mode" },
    { "TC-POL-12 STS-044 mode report", TEXT(VER "mode: report\n" MX AGE), 2, "bad mode" },
    { "TC-POL-12 STS-044 mode empty", TEXT(VER "mode:\n" MX AGE), 2, "bad mode" },
    { "TC-POL-12 STS-044 mode of blanks", TEXT(VER "mode: \t \n" MX AGE), 2, "bad mode" },
    { "STS-044 mode with more behind it", TEXT(VER "mode: enforce # yes\n" MX AGE), 2, "bad mode" },
    { "STS-044 mode cut short", TEXT(VER "mode: enforc\n" MX AGE), 2, "bad mode" },
    { "STS-047 first mode malformed, second good", TEXT(VER "mode: x\n" MODE MX AGE), 2,
      "bad mode" },
    { "TC-POL-13 STS-041 version missing", TEXT(MODE MX AGE), 0, "version missing" },
    { "TC-POL-13 STS-044 version STSv2", TEXT("version: STSv2\n" MODE MX AGE), 1,
      "version is not STSv1" },
    { "TC-POL-13 STS-044 version STSv10", TEXT("version: STSv10\n" MODE MX AGE), 1,
      "version is not STSv1" },
    { "STS-042 version stsv1", TEXT("version: stsv1\n" MODE MX AGE), 1, "version is not STSv1" },
    { "STS-044 version empty", TEXT("version:\n" MODE MX AGE), 1, "version is not STSv1" },
    { "STS-044 version as in the TXT record", TEXT("v=STSv1\n" MODE MX AGE), 1, "no colon" },

    /* max_age. */
    { "TC-POL-14 STS-041 max_age missing", TEXT(VER MODE MX), 0, "max_age missing" },
    { "TC-POL-14 STS-045 max_age empty", TEXT(VER MODE MX "max_age:\n"), 4, "bad max_age" },
    { "TC-POL-14 STS-045 max_age -1", TEXT(VER MODE MX "max_age: -1\n"), 4, "bad max_age" },
    { "TC-POL-14 STS-045 max_age +5", TEXT(VER MODE MX "max_age: +5\n"), 4, "bad max_age" },
    { "TC-POL-14 STS-045 max_age 1_000", TEXT(VER MODE MX "max_age: 1_000\n"), 4, "bad max_age" },
    { "TC-POL-14 STS-045 max_age 1e3", TEXT(VER MODE MX "max_age: 1e3\n"), 4, "bad max_age" },
    { "TC-POL-14 STS-045 max_age 0x10", TEXT(VER MODE MX "max_age: 0x10\n"), 4, "bad max_age" },
    { "TC-POL-14 STS-045 max_age in hexadecimal", TEXT(VER MODE MX "max_age: ff\n"), 4,
      "bad max_age" },
    { "STS-045 max_age 1d", TEXT(VER MODE MX "max_age: 1d\n"), 4, "bad max_age" },
    { "STS-045 max_age 1 000", TEXT(VER MODE MX "max_age: 1 000\n"), 4, "bad max_age" },
    { "STS-045 max_age 1.5", TEXT(VER MODE MX "max_age: 1.5\n"), 4, "bad max_age" },
    { "TC-POL-17 STS-045 max_age of 11 digits", TEXT(VER MODE MX "max_age: 99999999999\n"), 4,
      "bad max_age" },
    { "TC-POL-17 STS-045 max_age of 11 digits, small", TEXT(VER MODE MX "max_age: 00000604800\n"),
      4, "bad max_age" },
    { "TC-POL-17 STS-045 max_age 2^63", TEXT(VER MODE MX "max_age: 9223372036854775808\n"), 4,
      "bad max_age" },
    { "TC-POL-17 STS-045 max_age 2^64 - 1", TEXT(VER MODE MX "max_age: 18446744073709551615\n"), 4,
      "bad max_age" },
    { "TC-POL-17 STS-045 max_age 2^64 + 1", TEXT(VER MODE MX "max_age: 18446744073709551617\n"), 4,
      "bad max_age" },

    /* mx. */
    { "TC-POL-19 STS-041 enforce without mx", TEXT(VER MODE AGE), 0, "mx missing" },
    { "TC-POL-19 STS-041 testing without mx", TEXT(VER "mode: testing\n" AGE), 0, "mx missing" },
    { "TC-POL-21 STS-046 mx empty", TEXT(VER MODE "mx:\n" AGE), 3, "bad mx pattern" },
    { "TC-POL-21 STS-046 mx empty beside a good one", TEXT(VER MODE MX "mx: \n" AGE), 4,
      "bad mx pattern" },
    { "STS-046 bad mx in a policy of mode none", TEXT(VER "mode: none\n" AGE "mx: *\n"), 4,
      "bad mx pattern" },
    { "TC-POL-22 STS-046 two patterns and a blank", TEXT(VER MODE "mx: a.example b.example\n" AGE),
      3, "bad mx pattern" },
    { "TC-POL-22 STS-046 two patterns and a tab", TEXT(VER MODE "mx: a.example\tb.example\n" AGE),
      3, "bad mx pattern" },
    { "TC-POL-22 STS-046 list with commas", TEXT(VER MODE "mx: a.example,b.example\n" AGE), 3,
      "bad mx pattern" },
    { "STS-046 preference before the name", TEXT(VER MODE "mx: 10 mail.example.com\n" AGE), 3,
      "bad mx pattern" },
    { "TC-POL-23 STS-046 *", TEXT(VER MODE "mx: *\n" AGE), 3, "bad mx pattern" },
    { "STS-046 *.", TEXT(VER MODE "mx: *.\n" AGE), 3, "bad mx pattern" },
    { "STS-046 *example.net", TEXT(VER MODE "mx: *example.net\n" AGE), 3, "bad mx pattern" },
    { "TC-POL-23 STS-046 *.*.example", TEXT(VER MODE "mx: *.*.example\n" AGE), 3,
      "bad mx pattern" },
    { "TC-POL-23 STS-046 **.example", TEXT(VER MODE "mx: **.example\n" AGE), 3, "bad mx pattern" },
    { "TC-POL-23 STS-046 a.*.example", TEXT(VER MODE "mx: a.*.example\n" AGE), 3,
      "bad mx pattern" },
    { "TC-POL-23 STS-046 m*.example", TEXT(VER MODE "mx: m*.example\n" AGE), 3, "bad mx pattern" },
    { "TC-POL-24 STS-046 .example.com", TEXT(VER MODE "mx: .example.com\n" AGE), 3,
      "bad mx pattern" },
    { "STS-046 *..example.com", TEXT(VER MODE "mx: *..example.com\n" AGE), 3, "bad mx pattern" },
    { "STS-046 empty label", TEXT(VER MODE "mx: mail..example.com\n" AGE), 3, "bad mx pattern" },
    { "TC-POL-25 STS-046 IPv4 address", TEXT(VER MODE "mx: 192.0.2.1\n" AGE), 3, "bad mx pattern" },
    { "TC-POL-25 STS-046 IPv4 literal", TEXT(VER MODE "mx: [192.0.2.1]\n" AGE), 3,
      "bad mx pattern" },
    { "TC-POL-25 STS-046 IPv4 address behind a wildcard", TEXT(VER MODE "mx: *.1.2.3.4\n" AGE), 3,
      "bad mx pattern" },
    { "TC-POL-25 STS-046 one number", TEXT(VER MODE "mx: 3221225985\n" AGE), 3, "bad mx pattern" },
    { "TC-POL-25 STS-046 IPv6 address", TEXT(VER MODE "mx: 2001:db8::1\n" AGE), 3,
      "bad mx pattern" },
    { "TC-POL-26 STS-046 trailing dot", TEXT(VER MODE "mx: mail.example.com.\n" AGE), 3,
      "bad mx pattern" },
    { "TC-POL-27 STS-046 STS-083 U-labels",
      TEXT(VER MODE MX "mx: b\xc3\xbc"
                       "cher.example\n" AGE),
      4, "bad mx pattern" },
    { "STS-046 ideographic full stop",
      TEXT(VER MODE "mx: a\xe3\x80\x82"
                    "example\n" AGE),
      3, "bad mx pattern" },
    { "STS-046 underscore", TEXT(VER MODE "mx: mail_1.example.com\n" AGE), 3, "bad mx pattern" },
    { "STS-046 label begins with a hyphen", TEXT(VER MODE "mx: mail.-example.com\n" AGE), 3,
      "bad mx pattern" },
    { "STS-046 label ends with a hyphen", TEXT(VER MODE "mx: mail-.example.com\n" AGE), 3,
      "bad mx pattern" },
    { "STS-046 name begins with a hyphen", TEXT(VER MODE "mx: *.-example.com\n" AGE), 3,
      "bad mx pattern" },
    { "STS-046 name ends with a hyphen", TEXT(VER MODE "mx: mail.example.com-\n" AGE), 3,
      "bad mx pattern" },
    { "STS-046 port", TEXT(VER MODE "mx: mail.example.com:25\n" AGE), 3, "bad mx pattern" },
    { "STS-046 address of a person", TEXT(VER MODE "mx: postmaster@example.com\n" AGE), 3,
      "bad mx pattern" },
    { "TC-POL-29 STS-046 label of 64 octets", TEXT(VER MODE "mx: x" LABEL_63 ".example\n" AGE), 3,
      "bad mx pattern" },
    { "TC-POL-29 STS-046 name of 254 octets", TEXT(VER MODE "mx: " NAME_253 "z\n" AGE), 3,
      "bad mx pattern" },
    { "TC-POL-29 STS-046 wildcard too long to match any name",
      TEXT(VER MODE "mx: *." NAME_253 "\n" AGE), 3, "bad mx pattern" },

    /* Unknown fields. */
    { "TC-POL-10 STS-048 name of 33 characters", TEXT(VER MODE MX AGE NAME_32 "2: 1\n"), 5,
      "bad field name" },
    { "TC-POL-10 STS-048 name begins with an underscore", TEXT(VER MODE MX AGE "_x: 1\n"), 5,
      "bad field name" },
    { "STS-048 no name", TEXT(VER MODE MX AGE ": 1\n"), 5, "bad field name" },
    { "STS-048 non-ASCII name", TEXT(VER MODE MX AGE "gr\xc3\xbc\xc3\x9f\x65: 1\n"), 5,
      "bad field name" },
    { "TC-POL-10 STS-048 no value", TEXT(VER MODE MX AGE "x:\n"), 5, "empty value" },
    { "TC-POL-10 STS-048 value of blanks", TEXT(VER MODE MX AGE "x: \t\n"), 5, "empty value" },
    { "TC-POL-10 STS-048 tab in a value", TEXT(VER MODE MX AGE "x: a\tb\n"), 5, "tab in value" },
    { "TC-POL-10 STS-049 NUL in a value", TEXT(VER MODE MX AGE "x: \0\n"), 5, "control character" },
    { "TC-POL-10 STS-049 DEL in a value", TEXT(VER MODE MX AGE "x: a\x7f\n"), 5,
      "control character" },

    /* Things that are no policy. */
    { "TC-POL-32 gzip", TEXT("\x1f\x8b\x08\0\0\0\0\0\0\x03"), 1, "control character" },
    { "TC-POL-33 HTML page", TEXT("<!DOCTYPE html>\n<html><body>Not here</body></html>\n"), 1,
      "no colon" },
    { "TC-POL-33 HTML page on one line", TEXT("<a href=\"https://example.com\">x</a>\n"), 1,
      "bad field name" },
    { "TC-POL-36 empty body", TEXT(""), 0, "version missing" },
    { "TC-POL-36 line ends only", TEXT("\n\r\n"), 0, "version missing" },
    { "TC-POL-36 cut in the middle of a line", TEXT(VER MODE MX "max_a"), 4, "no colon" },
};

static struct match_case {
    const char *name, *pattern, *host;
    bool want;
} match_cases[] = {
    { "STS-080 same name", "mx.example.com", "mx.example.com", true },
    { "STS-080 case and trailing dot", "mx.example.com", "MX.Example.COM.", true },
    { "STS-080 case of the pattern", "MX.EXAMPLE.com", "mx.example.COM", true },
    { "STS-080 other name", "mx.example.com", "mx2.example.com", false },
    { "STS-080 host below a literal", "example.com", "mx.example.com", false },
    { "STS-080 suffix without a dot", "example.com", "notexample.com", false },
    { "STS-080 host above a literal", "mx.example.com", "example.com", false },
    { "STS-080 two trailing dots", "mx.example.com", "mx.example.com..", false },
    { "STS-080 empty host", "mx.example.com", "", false },
    { "STS-081 one label", "*.example.com", "mail.example.com", true },
    { "STS-081 one label, case and trailing dot", "*.Example.com", "MAIL.eXample.COM.", true },
    { "STS-081 one label with an underscore", "*.example.com", "mail_1.example.com", true },
    { "STS-081 no label", "*.example.com", "example.com", false },
    { "STS-081 empty label", "*.example.com", ".example.com", false },
    { "STS-081 two labels", "*.example.com", "a.b.example.com", false },
    { "STS-081 suffix without a dot", "*.example.com", "mailexample.com", false },
    { "STS-081 host is the wildcard itself", "*.example.com", "*.example.com", false },
    { "STS-081 wildcard over one label", "*.com", "example.com", true },
    { "TC-POL-28 STS-083 A-label, host in mixed case", "mx.xn--bcher-kva.example",
      "MX.XN--bCher-KVA.example", true },
    { "STS-083 wildcard and A-label", "*.xn--bcher-kva.example", "mx.xn--bcher-kva.example", true },
    { "STS-083 U-label is not its A-label", "xn--bcher-kva.example",
      "b\xc3\xbc"
      "cher.example",
      false },
    { "STS-083 dotless i is no i", "mail.example.com", "ma\xc4\xb1l.example.com", false },
    { "TC-POL-29 host of 253 octets", NAME_253, NAME_253, true },
    { "TC-POL-29 host of 254 octets", NAME_253, NAME_253 "z", false },
};

static void
assert_policy(const struct sts_policy *policy, const struct good_case *want)
{
    const struct name_list *mx = sts_policy_mx(policy);
    const char *rest = want->mx;

    assert_int_equal(sts_policy_mode(policy), want->mode);
    assert_int_equal(sts_policy_max_age_s(policy), want->max_age_s);
    assert_int_equal(sts_policy_leniencies(policy), want->leniencies);
    for (size_t i = 0; i < mx->count; i++) {
        size_t len = strlen(mx->names[i]);

        assert_true(strncmp(rest, mx->names[i], len) == 0 && rest[len] == ' ');
        rest += len + 1;
    }
    assert_string_equal(rest, "");
}

static void
test_good(void **state)
{
    const struct good_case *c = *state;
    struct sts_policy *policy = NULL;
    struct sts_policy_error error = { 7, "left" };

    assert_int_equal(sts_policy_parse(c->body, &policy, &error), RES_OK);
    assert_int_equal(error.line, 0);
    assert_string_equal(error.what, "");
    assert_policy(policy, c);
    /* STS-051: what reports show is what was fetched, and a copy of it. */
    assert_int_equal(sts_policy_text(policy).len, c->body.len);
    assert_memory_equal(sts_policy_text(policy).ptr, c->body.ptr, c->body.len);
    assert_ptr_not_equal(sts_policy_text(policy).ptr, c->body.ptr);
    sts_policy_free(policy);
}

static void
test_bad(void **state)
{
    const struct bad_case *c = *state;
    struct sts_policy *policy = (void *)*state; /* must be overwritten */
    struct sts_policy_error error;

    assert_int_equal(sts_policy_parse(c->body, &policy, &error), RES_SYNTAX);
    assert_null(policy);
    assert_string_equal(error.what, c->what);
    assert_int_equal(error.line, c->line);
    assert_int_equal(sts_policy_parse(c->body, &policy, NULL), RES_SYNTAX);
}

static struct sts_policy *
policy_of(const char *mx)
{
    char body[1024];
    struct sts_policy *policy;
    int len = snprintf(body, sizeof body, VER MODE "mx: %s\n" AGE, mx);

    assert_true(len > 0 && (size_t)len < sizeof body);
    assert_int_equal(sts_policy_parse(span_make(body, (size_t)len), &policy, NULL), RES_OK);
    return policy;
}

static void
test_match(void **state)
{
    const struct match_case *c = *state;
    struct sts_policy *policy = policy_of(c->pattern);

    assert_int_equal(sts_policy_match_mx(policy, c->host), c->want);
    sts_policy_free(policy);
}

/* STS-081: the vector of S4. */
static void
test_match_google(void **state)
{
    struct sts_policy *policy = policy_of("smtp.google.com\nmx: aspmx.l.google.com\n"
                                          "mx: *.aspmx.l.google.com");

    (void)state;
    assert_true(sts_policy_match_mx(policy, "alt1.aspmx.l.google.com"));
    assert_true(sts_policy_match_mx(policy, "aspmx.l.google.com"));
    assert_true(sts_policy_match_mx(policy, "smtp.google.com"));
    assert_false(sts_policy_match_mx(policy, "a.alt1.aspmx.l.google.com"));
    assert_false(sts_policy_match_mx(policy, "l.google.com"));
    assert_false(sts_policy_match_mx(policy, "google.com"));
    sts_policy_free(policy);
}

static void
test_match_without_mx(void **state)
{
    struct sts_policy *policy;

    (void)state;
    assert_int_equal(sts_policy_parse(span_of(VER "mode: none\n" AGE), &policy, NULL), RES_OK);
    assert_false(sts_policy_match_mx(policy, "mail.example.com"));
    assert_false(sts_policy_match_mx(policy, ""));
    sts_policy_free(policy);
}

/* A body of exactly len octets: a policy and one long unknown field. The caller frees it. */
static char *
padded_policy(size_t len)
{
    static const char head[] = VER MODE MX AGE "x: ";
    char *body = malloc(len);

    assert_non_null(body);
    assert_true(len > sizeof head);
    memset(body, 'p', len);
    memcpy(body, head, sizeof head - 1);
    return body;
}

static void
test_size_limit(void **state)
{
    struct sts_policy *policy;
    struct sts_policy_error error;
    char *body;

    (void)state;
    body = padded_policy(STS_POLICY_MAX_BYTES);
    assert_int_equal(sts_policy_parse(span_make(body, STS_POLICY_MAX_BYTES), &policy, &error),
                     RES_OK);
    assert_int_equal(sts_policy_text(policy).len, STS_POLICY_MAX_BYTES);
    sts_policy_free(policy);
    free(body);

    body = padded_policy(STS_POLICY_MAX_BYTES + 1);
    assert_int_equal(sts_policy_parse(span_make(body, STS_POLICY_MAX_BYTES + 1), &policy, &error),
                     RES_LIMIT);
    assert_null(policy);
    assert_int_equal(error.line, 0);
    assert_string_equal(error.what, "longer than 65536 octets");
    assert_int_equal(sts_policy_parse(span_make(body, STS_POLICY_MAX_BYTES + 1), &policy, NULL),
                     RES_LIMIT);
    free(body);
}

/* TC-POL-31: 10 000 lines. The rounds make work that grows with the square of the lines run into
 * the test's time limit. */
static void
test_many_mx(void **state)
{
    static const char head[] = VER MODE AGE, line[] = "mx: a\n";
    size_t lines = 10000, len = sizeof head - 1 + lines * (sizeof line - 1);
    char *body = malloc(len);
    struct sts_policy *policy;

    (void)state;
    assert_non_null(body);
    memcpy(body, head, sizeof head - 1);
    for (size_t i = 0; i < lines; i++)
        memcpy(body + sizeof head - 1 + i * (sizeof line - 1), line, sizeof line - 1);
    body[len - 2] = 'z';
    for (unsigned round = 0; round < 100; round++) {
        assert_int_equal(sts_policy_parse(span_make(body, len), &policy, NULL), RES_OK);
        assert_int_equal(sts_policy_mx(policy)->count, lines);
        assert_true(sts_policy_match_mx(policy, "z"));
        assert_false(sts_policy_match_mx(policy, "b"));
        sts_policy_free(policy);
    }
    free(body);
}

/* Every prefix of body, in memory of its own size, so that a sanitizer sees a read beyond it; good
 * has a '+' where the prefix up to and with that octet is a policy. */
static void
check_prefixes(const char *body, const char *good)
{
    size_t whole = strlen(body);

    assert_int_equal(strlen(good), whole);
    for (size_t len = 0; len <= whole; len++) {
        char *copy = malloc(len ? len : 1);
        struct sts_policy *policy;
        struct sts_policy_error error;
        bool want = len > 0 && good[len - 1] == '+';
        enum result res;

        assert_non_null(copy);
        memcpy(copy, body, len);
        res = sts_policy_parse(span_make(copy, len), &policy, &error);
        if (res != (want ? RES_OK : RES_SYNTAX))
            fail_msg("prefix of %zu octets: %s", len, result_name(res));
        assert_int_equal(policy != NULL, want);
        assert_int_equal(error.what[0] == '\0', want);
        sts_policy_free(policy);
        free(copy);
    }
}

/* TC-POL-36: a body cut short may still be a policy; that it was cut is for the fetch to notice. */
static void
test_prefixes(void **state)
{
    (void)state;
    check_prefixes("version: STSv1\r\nmode: enforce\r\nmx: a.example\r\nmax_age: 604800\r\n",
                   "................"
                   "..............."
                   "..............."
                   ".........++++++.+");
    check_prefixes("max_age: 1\nmode: none\nversion: STSv1 \nx: \xc3\xbc y\nmx: *.a-1.b\n\n",
                   "..........."
                   "..........."
                   ".............+++"
                   "....++++"
                   "......+.+.+++");
}

/* Each allocation fails in turn, until the parser needs no more of them. */
static void
test_no_memory(void **state)
{
    static const struct span body = TEXT(VER MODE "mx: a\nmx: b\nmx: c\nmx: d\nmx: e\n" AGE);
    unsigned failures = 0;
    bool failed = true;

    (void)state;
    while (failed && failures < 100) {
        struct sts_policy *policy;
        struct sts_policy_error error;
        enum result res;

        alloc_fail_after(failures);
        res = sts_policy_parse(body, &policy, &error);
        failed = alloc_fail_happened();
        assert_int_equal(res, failed ? RES_NOMEM : RES_OK);
        assert_int_equal(policy != NULL, !failed);
        assert_string_equal(error.what, "");
        sts_policy_free(policy);
        failures += failed;
    }
    /* The policy, its text, five names, and the list at one, two, four and eight. */
    assert_int_equal(failures, 11);
}

static void
test_free_null(void **state)
{
    (void)state;
    sts_policy_free(NULL);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_match_google), cmocka_unit_test(test_match_without_mx),
        cmocka_unit_test(test_size_limit),   cmocka_unit_test(test_many_mx),
        cmocka_unit_test(test_prefixes),     cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_free_null),
    };
    struct CMUnitTest tests[ROWS(good_cases) + ROWS(bad_cases) + ROWS(match_cases) + ROWS(others)];
    size_t count = 0;

    for (size_t i = 0; i < ROWS(good_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = good_cases[i].name,
                                              .test_func = test_good,
                                              .initial_state = &good_cases[i] };
    for (size_t i = 0; i < ROWS(bad_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = bad_cases[i].name,
                                              .test_func = test_bad,
                                              .initial_state = &bad_cases[i] };
    for (size_t i = 0; i < ROWS(match_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = match_cases[i].name,
                                              .test_func = test_match,
                                              .initial_state = &match_cases[i] };
    for (size_t i = 0; i < ROWS(others); i++)
        tests[count++] = others[i];
    return cmocka_run_group_tests_name("sts_policy", tests, NULL, NULL);
}
