/* tests/policy/test_tlsrpt_record.c: TXT records of RFC 8460 3, one test per row. */
#include "policy/tlsrpt_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/alloc_fail.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define TEXTS_MAX 4u

/* texts: the records, each on a line of its own; NULL for none. want: the destinations, mail first,
 * each behind a blank. */
static struct record_case {
    const char *name, *texts;
    enum tlsrpt_finding finding;
    const char *want;
} cases[] = {
    { "TC-RPT-01 a mail address", "v=TLSRPTv1;rua=mailto:reports@example.com", TLSRPT_FOUND,
      " reports@example.com" },
    { "TC-RPT-01 an https URI", "v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt",
      TLSRPT_FOUND, " https://reporting.example.com/v1/tlsrpt" },
    { "TC-RPT-01 RPT-004 both, blanks around the comma, semicolon at the end",
      "v=TLSRPTv1; rua=mailto:a@x.example , https://y.example/z;", TLSRPT_FOUND,
      " a@x.example https://y.example/z" },
    { "RPT-005 unknown fields before and behind", "v=TLSRPTv1;x=1;rua=mailto:a@x.example;y-z.=2",
      TLSRPT_FOUND, " a@x.example" },
    { "of two rua the first counts", "v=TLSRPTv1;rua=mailto:a@x.example;rua=mailto:b@x.example",
      TLSRPT_FOUND, " a@x.example" },
    { "TC-RPT-02 RPT-003 unrelated records beside it",
      "verification=1\nv=TLSRPTv1;rua=mailto:a@x.example\nv=TLSRPTv2;rua=mailto:b@x.example",
      TLSRPT_FOUND, " a@x.example" },
    { "TC-RPT-04 an address of another domain", "v=TLSRPTv1;rua=mailto:a@elsewhere.example",
      TLSRPT_FOUND, " a@elsewhere.example" },
    { "RPT-006 schemes in any case", "v=TLSRPTv1;rua=MAILTO:a@x.example,HTTPS://y.example/",
      TLSRPT_FOUND, " a@x.example HTTPS://y.example/" },
    { "RPT-006 other schemes are skipped",
      "v=TLSRPTv1;rua=http://a.example/,ftp://b.example/,mailto:a@x.example", TLSRPT_FOUND,
      " a@x.example" },
    { "RPT-006 a comma within an address", "v=TLSRPTv1;rua=mailto:a%2Cb@x.example", TLSRPT_FOUND,
      " \"a,b\"@x.example" },
    { "RPT-006 a comma between addresses", "v=TLSRPTv1;rua=mailto:a@x.example%2Cb@x.example",
      TLSRPT_FOUND, " a@x.example b@x.example" },
    { "RPT-006 encoded delimiters of an https URI are decoded once",
      "v=TLSRPTv1;rua=https://y.example/a%2Cb%3Bc%21d%252C%2F", TLSRPT_FOUND,
      " https://y.example/a,b;c!d%252C%2F" },
    { "an https URI with a query", "v=TLSRPTv1;rua=https://y.example/?key=value", TLSRPT_FOUND,
      " https://y.example/?key=value" },
    { "RPT-008 header fields are ignored",
      "v=TLSRPTv1;rua=mailto:a@x.example?subject=hi%0d%0aBcc:b@x.example", TLSRPT_FOUND,
      " a@x.example" },
    { "RPT-008 a quoted local part", "v=TLSRPTv1;rua=mailto:%22a%20b%22@x.example", TLSRPT_FOUND,
      " \"a b\"@x.example" },
    { "RPT-008 line ends in an address are skipped, the rest used",
      "v=TLSRPTv1;rua=mailto:a%0d%0aBcc:b@x.example,mailto:c@x.example", TLSRPT_FOUND,
      " c@x.example" },
    { "RPT-007 S1's example has no version", "TLSRPTv1;rua=mailto:a@x.example", TLSRPT_ABSENT, "" },
    { "RPT-003 no record at all", NULL, TLSRPT_ABSENT, "" },
    { "RPT-003 another version", "v=TLSRPTv2;rua=mailto:a@x.example", TLSRPT_ABSENT, "" },
    { "RPT-003 a version in another case", "v=tlsrptv1;rua=mailto:a@x.example", TLSRPT_ABSENT, "" },
    { "RPT-003 a blank before the semicolon", "v=TLSRPTv1 ;rua=mailto:a@x.example", TLSRPT_ABSENT,
      "" },
    { "TC-RPT-02 RPT-003 two records",
      "v=TLSRPTv1;rua=mailto:a@x.example\nv=TLSRPTv1;rua=mailto:a@x.example", TLSRPT_SEVERAL, "" },
    { "TC-RPT-03 no rua", "v=TLSRPTv1;", TLSRPT_INVALID, "" },
    { "TC-RPT-03 another field, but no rua", "v=TLSRPTv1; x=y", TLSRPT_INVALID, "" },
    { "TC-RPT-03 an empty rua", "v=TLSRPTv1;rua=", TLSRPT_INVALID, "" },
    { "an empty field", "v=TLSRPTv1;;rua=mailto:a@x.example", TLSRPT_INVALID, "" },
    { "a field without a value", "v=TLSRPTv1;x;rua=mailto:a@x.example", TLSRPT_INVALID, "" },
    { "a field whose name is too long",
      "v=TLSRPTv1;x12345678901234567890123456789012=1;rua=mailto:a@x.example", TLSRPT_INVALID, "" },
    { "TC-RPT-03 DMARC's limit of size", "v=TLSRPTv1;rua=mailto:a@x.example!10m", TLSRPT_UNUSABLE,
      "" },
    { "TC-RPT-03 a URI with an exclamation mark is skipped, the rest used",
      "v=TLSRPTv1;rua=https://y.example/a!10m,mailto:a!b@x.example,mailto:c@x.example",
      TLSRPT_FOUND, " c@x.example" },
    { "TC-RPT-03 only schemes that nobody knows", "v=TLSRPTv1;rua=http://a.example/",
      TLSRPT_UNUSABLE, "" },
    { "RPT-008 an address without a domain", "v=TLSRPTv1;rua=mailto:postmaster", TLSRPT_UNUSABLE,
      "" },
    { "RPT-008 an address literal", "v=TLSRPTv1;rua=mailto:a@[192.0.2.1]", TLSRPT_UNUSABLE, "" },
    { "RPT-008 an IPv4 address for a domain", "v=TLSRPTv1;rua=mailto:a@192.0.2.1", TLSRPT_UNUSABLE,
      "" },
    { "RPT-008 a NUL", "v=TLSRPTv1;rua=mailto:a%00@x.example", TLSRPT_UNUSABLE, "" },
    { "RPT-008 a percent sign that begins nothing", "v=TLSRPTv1;rua=mailto:a%2@x.example",
      TLSRPT_UNUSABLE, "" },
    { "RPT-008 non-ASCII", "v=TLSRPTv1;rua=mailto:\xc3\xa4@x.example", TLSRPT_UNUSABLE, "" },
    { "RPT-008 dots in a row", "v=TLSRPTv1;rua=mailto:a..b@x.example", TLSRPT_FOUND,
      " \"a..b\"@x.example" },
    { "https and nothing behind", "v=TLSRPTv1;rua=https://", TLSRPT_UNUSABLE, "" },
    { "a blank within a URI", "v=TLSRPTv1;rua=https://y.example/a b", TLSRPT_UNUSABLE, "" },
};

static void
find(const char *lines, enum tlsrpt_finding *finding, struct tlsrpt_record *out, enum result want)
{
    struct span rest = span_of(lines ? lines : ""), texts[TEXTS_MAX];
    size_t count = 0;

    while (lines && count < TEXTS_MAX && (rest.len || count == 0)) {
        texts[count] = span_first(rest, span_find(rest, '\n'));
        rest = span_from(rest, texts[count++].len + 1);
    }
    assert_int_equal(tlsrpt_record_find(texts, count, finding, out), want);
}

static void
test_record(void **state)
{
    const struct record_case *c = *state;
    enum tlsrpt_finding finding;
    struct tlsrpt_record record;
    char got[2048] = "";
    size_t len = 0;

    find(c->texts, &finding, &record, RES_OK);
    for (size_t i = 0; i < record.mail.count; i++)
        len += (size_t)snprintf(got + len, sizeof got - len, " %s", record.mail.names[i]);
    for (size_t i = 0; i < record.https.count; i++)
        len += (size_t)snprintf(got + len, sizeof got - len, " %s", record.https.names[i]);
    assert_string_equal(got, c->want);
    assert_string_equal(tlsrpt_finding_name(finding), tlsrpt_finding_name(c->finding));
    tlsrpt_record_clear(&record);
}

/* TC-RPT-03: a list without end is used up to a bound. */
static void
test_many(void **state)
{
    char text[8192];
    size_t len = (size_t)snprintf(text, sizeof text, "v=TLSRPTv1;rua=mailto:a@x.example");
    enum tlsrpt_finding finding;
    struct tlsrpt_record record;

    (void)state;
    while (len < sizeof text - 64)
        len += (size_t)snprintf(text + len, sizeof text - len,
                                ",mailto:a@x.example,https://y.example/");
    find(text, &finding, &record, RES_OK);
    assert_int_equal(record.mail.count, TLSRPT_RUA_MAX);
    assert_int_equal(record.https.count, TLSRPT_RUA_MAX);
    tlsrpt_record_clear(&record);
}

static void
test_no_memory(void **state)
{
    static const char text[] = "v=TLSRPTv1;rua=mailto:a@x.example,https://y.example/";
    enum tlsrpt_finding finding;
    struct tlsrpt_record record;

    (void)state;
    for (unsigned nth = 0; nth < 4; nth++) {
        alloc_fail_after(nth);
        find(text, &finding, &record, RES_NOMEM);
        assert_true(alloc_fail_happened());
        assert_int_equal(record.mail.count + record.https.count, 0);
    }
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_no_memory),
    };
    struct CMUnitTest tests[ROWS(cases) + ROWS(others)] = { 0 };

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = test_record,
                                        .initial_state = &cases[i] };
    memcpy(tests + ROWS(cases), others, sizeof others);
    return cmocka_run_group_tests_name("tlsrpt_record", tests, NULL, NULL);
}
