/* tests/base/test_hostname.c: host names and the one wildcard (TLS-041), one test per row. */
#include "base/hostname.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define LABEL_63 "a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-g23"
#define NAME_253                                                                                   \
    LABEL_63 "." LABEL_63 "." LABEL_63 "."                                                         \
             "a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-g"

static struct name_case {
    const char *name, *host;
    bool valid, ip_like;
} name_cases[] = {
    { "ordinary name", "mail.example.com", true, false },
    { "one label", "localhost", true, false },
    { "upper case", "MAIL.Example.COM", true, false },
    { "A-label", "xn--bcher-kva.example", true, false },
    { "underscore (SMTP-024)", "_dmarc.mail_1.example", true, false },
    { "hyphens at the ends of labels are seen in the field", "-a-.example", true, false },
    { "digits in all labels but the last", "1.2.3.example", true, false },
    { "last label begins with digits", "1.2.3.4a", true, false },
    { "IPv4 address", "192.0.2.1", true, true },
    { "last label of digits", "mail.1", true, true },
    { "digits only", "3221225985", true, true },
    { "label of 63 octets", LABEL_63 ".example", true, false },
    { "label of 64 octets", "x" LABEL_63 ".example", false, false },
    { "name of 253 octets", NAME_253, true, false },
    { "name of 254 octets", NAME_253 "z", false, false },
    { "empty", "", false, false },
    { "root", ".", false, false },
    { "leading dot", ".example.com", false, false },
    { "trailing dot", "example.com.", false, false },
    { "empty label", "mail..example.com", false, false },
    { "wildcard", "*.example.com", false, false },
    { "blank", "mail example", false, false },
    { "line end", "mail.example\n", false, false },
    { "U-label",
      "b\xc3\xbc"
      "cher.example",
      false, false },
    { "address literal", "[192.0.2.1]", false, false },
    { "IPv6 address", "2001:db8::1", false, false },
    { "slash", "a/b.example", false, false },
    { "at sign", "a@b.example", false, false },
};

static struct normalise_case {
    const char *name, *host, *want; /* want: NULL for RES_SYNTAX */
} normalise_cases[] = {
    { "TC-TXT-29 upper case", "EXAMPLE.Com", "example.com" },
    { "TC-TXT-29 trailing dot", "example.com.", "example.com" },
    { "TC-TXT-29 both", "Mail.EXAMPLE.com.", "mail.example.com" },
    { "TC-TXT-29 A-label in upper case", "XN--BCHER-KVA.example", "xn--bcher-kva.example" },
    { "TC-TXT-29 U-label has no key of its own",
      "b\xc3\xbc"
      "cher.example",
      NULL },
    { "already normal", "a-1_b.example", "a-1_b.example" },
    { "253 octets and a dot", NAME_253 ".", NAME_253 },
    { "254 octets", NAME_253 "z", NULL },
    { "two trailing dots", "example.com..", NULL },
    { "empty", "", NULL },
    { "root", ".", NULL },
};

static struct match_case {
    const char *name, *pattern, *host;
    bool want;
} match_cases[] = {
    { "same", "mx.example.com", "mx.example.com", true },
    { "case", "mx.EXAMPLE.com", "MX.example.COM", true },
    { "trailing dot of the host", "mx.example.com", "mx.example.com.", true },
    { "trailing dot of the pattern", "mx.example.com.", "mx.example.com", true },
    { "TC-MX-02 wildcard, one label", "*.example.com", "mx.example.com", true },
    { "wildcard, trailing dots", "*.example.com.", "mx.example.com.", true },
    { "wildcard before one label", "*.com", "example.com", true },
    { "TC-MX-02 wildcard, no label", "*.example.com", "example.com", false },
    { "wildcard, empty label", "*.example.com", ".example.com", false },
    { "TC-MX-03 wildcard, the same end of a label", "*.example.com", "evilexample.com", false },
    { "TC-MX-03 wildcard, in the middle", "*.example.com", "mail.example.com.evil.net", false },
    { "TC-MX-04 wildcard of a short name, two labels", "*.mx.microsoft", "a.b.mx.microsoft",
      false },
    { "TC-MX-02 TC-TLS-15 wildcard, two labels", "*.example.com", "a.b.example.com", false },
    { "wildcard and host of one label", "*.example.com", "example", false },
    { "wildcard is no host", "*.example.com", "*.example.com", false },
    { "other name", "mx.example.com", "mx.example.org", false },
    { "host longer at the front", "example.com", "mx.example.com", false },
    { "host longer at the end", "mx.example", "mx.example.com", false },
    { "star alone", "*", "example", false },
    { "star and dot", "*.", "example.", false },
    { "star and two dots", "*..", "example..", false },
    { "star inside a label (RFC 6125 6.4.3)", "mx*.example.com", "mx1.example.com", false },
    { "star in the middle", "mx.*.com", "mx.example.com", false },
    { "two stars", "*.*.com", "mx.example.com", false },
    { "pattern empty", "", "example.com", false },
    { "both empty", "", "", false },
    { "both a dot", ".", ".", false },
    { "both malformed alike", "a..b", "a..b", false },
};

static void
test_name(void **state)
{
    const struct name_case *c = *state;

    assert_int_equal(hostname_is_valid(span_of(c->host)), c->valid);
    assert_int_equal(hostname_is_ip_like(span_of(c->host)), c->ip_like);
}

static void
test_normalise(void **state)
{
    const struct normalise_case *c = *state;
    char out[HOSTNAME_MAX + 1] = "left";

    assert_int_equal(hostname_normalise(span_of(c->host), out), c->want ? RES_OK : RES_SYNTAX);
    assert_string_equal(out, c->want ? c->want : "");
}

static void
test_match(void **state)
{
    const struct match_case *c = *state;

    assert_int_equal(hostname_matches(span_of(c->pattern), span_of(c->host)), c->want);
}

/* A NUL must never make a name end early: "example.com\0.attacker.example". */
static void
test_nul(void **state)
{
    static const char name[] = "example.com\0.attacker.example";
    struct span whole = { name, sizeof name - 1 };
    char out[HOSTNAME_MAX + 1];

    (void)state;
    assert_false(hostname_is_valid(whole));
    assert_int_equal(hostname_normalise(whole, out), RES_SYNTAX);
    assert_false(hostname_matches(span_of("example.com"), whole));
    assert_false(hostname_matches(whole, span_of("example.com")));
    assert_false(hostname_matches(whole, whole));
}

/* Of all 256 octets only those of host names pass. */
static void
test_octets(void **state)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

    (void)state;
    for (unsigned octet = 1; octet < 256; octet++) {
        char name[] = { 'a', (char)octet, 'b' };
        bool want = octet == '.' || strchr(good, (int)octet) != NULL;

        assert_int_equal(hostname_is_valid(span_make(name, sizeof name)), want);
    }
}

static void
test_empty_span(void **state)
{
    struct span empty = { NULL, 0 };
    char out[HOSTNAME_MAX + 1];

    (void)state;
    assert_false(hostname_is_valid(empty));
    assert_false(hostname_is_ip_like(empty));
    assert_int_equal(hostname_normalise(empty, out), RES_SYNTAX);
    assert_false(hostname_matches(empty, empty));
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_octets),
        cmocka_unit_test(test_empty_span),
    };
    struct CMUnitTest
        tests[ROWS(name_cases) + ROWS(normalise_cases) + ROWS(match_cases) + ROWS(others)];
    size_t count = 0;

    for (size_t i = 0; i < ROWS(name_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = name_cases[i].name,
                                              .test_func = test_name,
                                              .initial_state = &name_cases[i] };
    for (size_t i = 0; i < ROWS(normalise_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = normalise_cases[i].name,
                                              .test_func = test_normalise,
                                              .initial_state = &normalise_cases[i] };
    for (size_t i = 0; i < ROWS(match_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = match_cases[i].name,
                                              .test_func = test_match,
                                              .initial_state = &match_cases[i] };
    for (size_t i = 0; i < ROWS(others); i++)
        tests[count++] = others[i];
    return cmocka_run_group_tests_name("hostname", tests, NULL, NULL);
}
