/* tests/base/test_tls_report_msg.c: what a worker tells of a session: written and read, and what is
 * refused of one that has been taken over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/tls_report_msg.h"
#include "tests/alloc_fail.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define SET(field, text) snprintf(field, sizeof(field), "%s", text)

static void
make(struct tls_report *r)
{
    *r = (struct tls_report){ .at_s = 1700000000,
                              .type = TLS_REPORT_STS,
                              .text_sha256 = { 1, 2 },
                              .failed = true,
                              .detail_count = 2,
                              .sending = { 4, { 192, 0, 2, 1 } } };
    SET(r->domain, "example.com");
    SET(r->policy_domain, "example.com");
    assert_int_equal(name_list_add(&r->mx, span_of("*.example.com")), RES_OK);
    r->details[0].result = RESULT_CERTIFICATE_EXPIRED;
    r->details[1] = (struct tls_report_detail){ .result = RESULT_STS_POLICY_FETCH_ERROR,
                                                .reason = "http-404",
                                                .fetch = true };
    SET(r->mx_host, "mx.example.com");
    SET(r->helo, "mail (at) example");
}

static void
encode(const struct tls_report *r, struct buffer *out)
{
    struct pack_writer w;

    buffer_init(out, 1u << 20);
    pack_begin(&w, out);
    tls_report_encode(r, &w);
    assert_int_equal(pack_end(&w), RES_OK);
}

static enum result
decode(struct span bytes, struct tls_report *out)
{
    struct pack_reader r;

    pack_reader_init(&r, bytes);
    return tls_report_decode(&r, out);
}

static void
test_round(void **state)
{
    struct tls_report r, again;
    struct buffer bytes, same;

    (void)state;
    make(&r);
    encode(&r, &bytes);
    assert_int_equal(decode(buffer_span(&bytes), &again), RES_OK);
    encode(&again, &same);
    assert_true(span_equal(buffer_span(&bytes), buffer_span(&same)));
    assert_string_equal(again.details[1].reason, "http-404");
    assert_true(again.details[1].fetch && again.failed);
    assert_true(ip_addr_equal(&again.sending, &r.sending) && again.receiving.len == 0);
    for (size_t len = 0; len < buffer_len(&bytes); len++) {
        struct tls_report none;

        assert_int_equal(decode(span_first(buffer_span(&bytes), len), &none), RES_SYNTAX);
        assert_int_equal(none.mx.count, 0);
    }
    buffer_clear(&bytes);
    buffer_clear(&same);
    tls_report_clear(&r);
    tls_report_clear(&again);
}

static void
no_domain(struct tls_report *r)
{
    r->domain[0] = '\0';
}

static void
upper_case(struct tls_report *r)
{
    SET(r->domain, "Example.com");
}

static void
domain_with_line_end(struct tls_report *r)
{
    SET(r->policy_domain, "example.com\r\nTo: x");
}

static void
failure_without_reason(struct tls_report *r)
{
    r->detail_count = 0;
}

static void
detail_of_success(struct tls_report *r)
{
    r->details[0].result = RESULT_SUCCESS;
}

static void
reason_with_escape(struct tls_report *r)
{
    SET(r->details[0].reason, "\033[2J");
}

static void
helo_beyond_ascii(struct tls_report *r)
{
    SET(r->helo, "m\xc3\xbcll");
}

static void
strings_of_sts(struct tls_report *r)
{
    assert_int_equal(name_list_add(&r->strings, span_of("3 1 1 00")), RES_OK);
}

static void
patterns_without_text(struct tls_report *r)
{
    memset(r->text_sha256, 0, sizeof r->text_sha256);
}

static void
text_of_tlsa(struct tls_report *r)
{
    r->type = TLS_REPORT_TLSA;
}

static void
list_without_policy(struct tls_report *r)
{
    r->type = TLS_REPORT_NO_POLICY;
    memset(r->text_sha256, 0, sizeof r->text_sha256);
}

static void
pattern_with_line_end(struct tls_report *r)
{
    assert_int_equal(name_list_add(&r->mx, span_of("a\nb")), RES_OK);
}

static void
before_1970(struct tls_report *r)
{
    r->at_s = -1;
}

static struct refused_case {
    const char *name;
    void (*spoil)(struct tls_report *r);
} refused[] = {
    { "no domain", no_domain },
    { "a domain in upper case", upper_case },
    { "a domain with a line end", domain_with_line_end },
    { "a failure without a reason", failure_without_reason },
    { "a detail of success", detail_of_success },
    { "a reason with an escape sequence", reason_with_escape },
    { "a name beyond ASCII", helo_beyond_ascii },
    { "TLSA records of MTA-STS", strings_of_sts },
    { "patterns of a text that was not there", patterns_without_text },
    { "a text of TLSA", text_of_tlsa },
    { "patterns of no policy", list_without_policy },
    { "a pattern with a line end", pattern_with_line_end },
    { "a time before 1970", before_1970 },
};

static void
test_refused(void **state)
{
    const struct refused_case *c = *state;
    struct tls_report r, out;
    struct buffer bytes;

    make(&r);
    c->spoil(&r);
    encode(&r, &bytes);
    assert_int_not_equal(decode(buffer_span(&bytes), &out), RES_OK);
    assert_int_equal(out.mx.count + out.strings.count, 0);
    buffer_clear(&bytes);
    tls_report_clear(&r);
}

static void
test_no_memory(void **state)
{
    struct tls_report r, out;
    struct buffer bytes;

    (void)state;
    make(&r);
    encode(&r, &bytes);
    for (unsigned nth = 0; nth < 2; nth++) {
        alloc_fail_after(nth);
        assert_int_equal(decode(buffer_span(&bytes), &out), RES_NOMEM);
        assert_true(alloc_fail_happened());
        assert_int_equal(out.mx.count, 0);
    }
    buffer_clear(&bytes);
    tls_report_clear(&r);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_round),
        cmocka_unit_test(test_no_memory),
    };
    struct CMUnitTest tests[ROWS(refused) + ROWS(others)] = { 0 };

    for (size_t i = 0; i < ROWS(refused); i++)
        tests[i] = (struct CMUnitTest){ .name = refused[i].name,
                                        .test_func = test_refused,
                                        .initial_state = &refused[i] };
    memcpy(tests + ROWS(refused), others, sizeof others);
    return cmocka_run_group_tests_name("tls_report_msg", tests, NULL, NULL);
}
