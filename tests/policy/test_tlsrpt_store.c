/* tests/policy/test_tlsrpt_store.c: what TLSRPT counts, with real SQLite: sums, bounds, what
 * survives (RPT-020 ... RPT-035, TC-RPT-05, 06, 13, 21). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "policy/tlsrpt_read.h"

#define DAY_S 1700006400 /* 2023-11-15 00:00:00 UTC */

static struct tlsrpt_store *
open_store(const char *path)
{
    struct tlsrpt_store *store;
    char error[200] = "";

    if (tlsrpt_store_open(path, &store, error, sizeof error) != RES_OK)
        fail_msg("%s", error);
    return store;
}

#define SET(field, text) snprintf(field, sizeof(field), "%s", text)

static void
make(struct tls_report *r, const char *domain, bool failed)
{
    *r = (struct tls_report){ .at_s = DAY_S + 3600,
                              .type = TLS_REPORT_STS,
                              .text_sha256 = { 7 },
                              .failed = failed,
                              .sending = { 4, { 192, 0, 2, 1 } },
                              .receiving = { 4, { 198, 51, 100, 2 } } };
    SET(r->domain, domain);
    SET(r->policy_domain, domain);
    SET(r->mx_host, "mx.example.com");
    SET(r->helo, "mx.example.com");
    assert_int_equal(name_list_add(&r->mx, span_of("*.example.com")), RES_OK);
    if (failed) {
        r->details[0].result = RESULT_CERTIFICATE_EXPIRED;
        r->detail_count = 1;
    }
}

static void
count(struct tlsrpt_store *store, const struct tls_report *r, unsigned times)
{
    while (times--)
        assert_int_equal(tlsrpt_store_count(store, r, 1), RES_OK);
}

/* What the store says of a day and domain, as text. */
struct told {
    struct tlsrpt_store *store;
    char text[8192];
    size_t len;
    unsigned details, policies;
};

static void
say(struct told *t, const char *text)
{
    t->len += (size_t)snprintf(t->text + t->len, sizeof t->text - t->len, "%s ", text);
}

static void
say_number(struct told *t, uint64_t n)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    say(t, text);
}

static bool
tell_detail(void *arg, const struct tlsrpt_detail *d)
{
    struct told *t = arg;

    t->details++;
    if (t->details > 8)
        return true;
    say(t, result_type_name(d->result));
    say(t, d->reason);
    say(t, d->sending);
    say(t, d->receiving);
    say(t, d->mx_host);
    say_number(t, d->count);
    return true;
}

static bool
tell_policy(void *arg, const struct tlsrpt_policy *p)
{
    struct told *t = arg;

    t->policies++;
    if (t->policies > 8)
        return true;
    say(t, tls_report_type_name(p->kind.type));
    say(t, p->kind.policy_domain);
    for (size_t i = 0; i < p->kind.strings.count; i++)
        say(t, p->kind.strings.names[i]);
    for (size_t i = 0; i < p->kind.mx.count; i++)
        say(t, p->kind.mx.names[i]);
    if (p->text.len)
        say(t, "text");
    say_number(t, p->succeeded);
    say_number(t, p->failed);
    tlsrpt_policy_details(p, tell_detail, t);
    say(t, "|");
    return true;
}

static void
assert_told(struct tlsrpt_store *store, int64_t day_s, const char *domain, const char *want)
{
    struct told t = { .store = store };

    assert_int_equal(tlsrpt_read_policies(store, day_s, domain, tell_policy, &t), RES_OK);
    assert_string_equal(t.text, want);
}

static bool
tell_domain(void *arg, const char *domain)
{
    say(arg, domain);
    return true;
}

static void
assert_domains(struct tlsrpt_store *store, int64_t day_s, const char *after, const char *want)
{
    struct told t = { .store = store };

    assert_int_equal(tlsrpt_read_domains(store, day_s, after, tell_domain, &t), RES_OK);
    assert_string_equal(t.text, want);
}

/* TC-RPT-05 RPT-025: equal failures are one entry; sums over flushes. */
static void
test_sums(void **state)
{
    struct tlsrpt_store *store = open_store(":memory:");
    struct tls_report good, bad;

    (void)state;
    make(&good, "example.com", false);
    make(&bad, "example.com", true);
    count(store, &good, 702);
    count(store, &bad, 150);
    assert_int_equal(tlsrpt_store_flush(store), RES_OK);
    count(store, &bad, 50);
    bad.details[0].result = RESULT_VALIDATION_FAILURE;
    SET(bad.details[0].reason, "tlsv1 alert protocol version");
    count(store, &bad, 1);
    assert_told(store, DAY_S, "example.com",
                "sts example.com *.example.com 702 201 certificate-expired  192.0.2.1 "
                "198.51.100.2 mx.example.com 200 validation-failure tlsv1 alert protocol version "
                "192.0.2.1 198.51.100.2 mx.example.com 1 | ");
    tls_report_clear(&good);
    tls_report_clear(&bad);
    tlsrpt_store_close(store);
}

/* RPT-022 TC-RPT-06: one element for each policy that was met; RPT-026, RPT-027: what a failed
 * look-up adds has no hosts. */
static void
test_elements(void **state)
{
    struct tlsrpt_store *store = open_store(":memory:");
    struct tls_report sts, other, tlsa, none;

    (void)state;
    make(&sts, "example.com", false);
    sts.details[0] = (struct tls_report_detail){ .result = RESULT_STS_POLICY_FETCH_ERROR,
                                                 .reason = "http-404",
                                                 .fetch = true };
    sts.detail_count = 1;
    count(store, &sts, 3);
    make(&other, "example.com", false);
    other.text_sha256[0] = 8;
    count(store, &other, 1);
    make(&tlsa, "example.com", true);
    tlsa.type = TLS_REPORT_TLSA;
    tlsa.text_sha256[0] = 0;
    SET(tlsa.policy_domain, "mx.example.com");
    assert_int_equal(name_list_add(&tlsa.strings, span_of("3 1 1 00AA")), RES_OK);
    tlsa.details[0].result = RESULT_TLSA_INVALID;
    count(store, &tlsa, 2);
    make(&none, "example.com", false);
    none.type = TLS_REPORT_NO_POLICY;
    none.text_sha256[0] = 0;
    name_list_clear(&none.mx);
    count(store, &none, 1);
    assert_int_equal(tlsrpt_store_text(store, sts.text_sha256, span_of("version: STSv1\n"), DAY_S),
                     RES_OK);
    assert_true(tlsrpt_store_has_text(store, sts.text_sha256));
    assert_false(tlsrpt_store_has_text(store, other.text_sha256));
    assert_told(store, DAY_S, "example.com",
                "sts example.com *.example.com text 3 0 sts-policy-fetch-error http-404    3 | "
                "sts example.com *.example.com 1 0 | "
                "tlsa mx.example.com 3 1 1 00AA *.example.com 0 2 tlsa-invalid  192.0.2.1 "
                "198.51.100.2 mx.example.com 2 | no-policy-found example.com 1 0 | ");
    tls_report_clear(&sts);
    tls_report_clear(&other);
    tls_report_clear(&tlsa);
    tls_report_clear(&none);
    tlsrpt_store_close(store);
}

/* RPT-035 TC-RPT-13: the UTC day of the verdict. */
static void
test_days(void **state)
{
    struct tlsrpt_store *store = open_store(":memory:");
    struct tls_report r;

    (void)state;
    make(&r, "b.example", false);
    r.at_s = DAY_S - 1;
    count(store, &r, 1);
    r.at_s = DAY_S;
    count(store, &r, 2);
    SET(r.domain, "a.example");
    count(store, &r, 1);
    assert_int_equal(tlsrpt_day(DAY_S - 1), DAY_S - TLSRPT_DAY_S);
    assert_int_equal(tlsrpt_day(-1), -TLSRPT_DAY_S);
    assert_domains(store, DAY_S - TLSRPT_DAY_S, "", "b.example ");
    assert_domains(store, DAY_S, "", "a.example b.example ");
    assert_domains(store, DAY_S, "a.example", "b.example ");
    assert_int_equal(tlsrpt_store_drop(store, DAY_S, "a.example"), RES_OK);
    assert_domains(store, DAY_S, "", "b.example ");
    assert_told(store, DAY_S, "a.example", "");
    assert_int_equal(tlsrpt_store_drop_before(store, DAY_S), RES_OK);
    assert_domains(store, DAY_S - TLSRPT_DAY_S, "", "");
    assert_domains(store, DAY_S, "", "b.example ");
    tls_report_clear(&r);
    tlsrpt_store_close(store);
}

/* RPT-032: what was written is there after a restart; RPT-021 counts go on from it. */
static void
test_restart(void **state)
{
    char folder[] = "/tmp/stsgate-tlsrpt-XXXXXX", path[64];
    struct tlsrpt_store *store;
    struct tls_report r;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/reports", folder);
    make(&r, "example.com", true);
    for (unsigned i = 0; i < 2; i++) {
        store = open_store(path);
        count(store, &r, 5);
        tlsrpt_store_close(store);
    }
    store = open_store(path);
    assert_told(store, DAY_S, "example.com",
                "sts example.com *.example.com 0 10 certificate-expired  192.0.2.1 198.51.100.2 "
                "mx.example.com 10 | ");
    tlsrpt_store_close(store);
    tls_report_clear(&r);
    unlink(path);
    rmdir(folder);
}

/* RPT-034 TC-RPT-21: kinds of failure without end cost detail, no count. */
static void
test_flood_of_details(void **state)
{
    struct tlsrpt_store *store = open_store(":memory:");
    struct told t = { .store = store };
    struct tls_report r;

    (void)state;
    make(&r, "example.com", true);
    for (unsigned i = 0; i < 3 * TLSRPT_DETAILS_MAX; i++) {
        snprintf(r.details[0].reason, sizeof r.details[0].reason, "reason %u", i);
        count(store, &r, 1);
    }
    assert_int_equal(tlsrpt_read_policies(store, DAY_S, "example.com", tell_policy, &t), RES_OK);
    assert_int_equal(t.details, TLSRPT_DETAILS_MAX + 1);
    assert_non_null(strstr(
        t.text, "sts example.com *.example.com 0 768 certificate-expired " TLSRPT_OVERFLOW_REASON
                "    512 "));
    tls_report_clear(&r);
    tlsrpt_store_close(store);
}

/* RPT-034: a policy that changes with every look ends somewhere, too. */
static void
test_flood_of_policies(void **state)
{
    struct tlsrpt_store *store = open_store(":memory:");
    struct told t = { .store = store };
    struct tls_report r;

    (void)state;
    make(&r, "example.com", false);
    for (unsigned i = 0; i < TLSRPT_POLICIES_MAX + 5; i++) {
        r.text_sha256[1] = (uint8_t)i;
        count(store, &r, 1);
    }
    assert_int_equal(tlsrpt_read_policies(store, DAY_S, "example.com", tell_policy, &t), RES_OK);
    assert_int_equal(t.policies, TLSRPT_POLICIES_MAX);
    tls_report_clear(&r);
    tlsrpt_store_close(store);
}

/* RPT-034 TC-RPT-21: kinds without end make no file without end. Details give way first, so that
 * failures of one policy are all counted; of policies without end some are not, and it is told. */
static void
test_flood_of_kinds(void **state)
{
    struct tlsrpt_store *store = open_store(":memory:");
    struct told t = { .store = store };
    struct tls_report r;

    (void)state;
    make(&r, "example.com", true);
    for (unsigned i = 0; i < 3 * TLSRPT_KINDS_MAX; i++) {
        snprintf(r.helo, sizeof r.helo, "mx%u.example.com", i);
        count(store, &r, 1);
    }
    assert_int_equal(tlsrpt_read_policies(store, DAY_S, "example.com", tell_policy, &t), RES_OK);
    assert_non_null(strstr(t.text, "sts example.com *.example.com 0 3072 certificate-expired "));
    assert_int_equal(tlsrpt_store_lost(store), 0);
    for (unsigned i = 0; i < TLSRPT_REDUCED_MAX + 4; i++) {
        memcpy(r.text_sha256 + 4, &i, sizeof i);
        count(store, &r, 1);
    }
    assert_int_equal(tlsrpt_store_flush(store), RES_OK);
    assert_int_equal(tlsrpt_store_lost(store), 4); /* one is the policy that was there */
    tls_report_clear(&r);
    tlsrpt_store_close(store);
}

/* RPT-056: the text of a policy that has long been in force stays with the days that tell of it. */
static void
test_text_of_an_old_policy(void **state)
{
    struct tlsrpt_store *store = open_store(":memory:");
    struct tls_report r;

    (void)state;
    make(&r, "example.com", false);
    assert_int_equal(tlsrpt_store_text(store, r.text_sha256, span_of("version: STSv1\n"),
                                       DAY_S - 20 * TLSRPT_DAY_S),
                     RES_OK);
    count(store, &r, 1);
    assert_int_equal(tlsrpt_store_flush(store), RES_OK);
    assert_int_equal(tlsrpt_store_drop_before(store, DAY_S), RES_OK);
    assert_true(tlsrpt_store_has_text(store, r.text_sha256));
    assert_int_equal(tlsrpt_store_drop_before(store, DAY_S + 1), RES_OK);
    assert_false(tlsrpt_store_has_text(store, r.text_sha256));
    tls_report_clear(&r);
    tlsrpt_store_close(store);
}

/* A store that cannot be written keeps what is pending until it can be. */
static void
test_wrong_file(void **state)
{
    struct tlsrpt_store *store;
    char error[200] = "";

    (void)state;
    assert_int_equal(tlsrpt_store_open("/nonexistent/reports", &store, error, sizeof error),
                     RES_TEMPFAIL);
    assert_null(store);
    assert_true(error[0]);
    assert_int_equal(tlsrpt_store_open("/dev/null", &store, error, sizeof error), RES_DENIED);
    tlsrpt_store_close(NULL);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_elements),
        cmocka_unit_test(test_days),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_flood_of_details),
        cmocka_unit_test(test_flood_of_policies),
        cmocka_unit_test(test_flood_of_kinds),
        cmocka_unit_test(test_text_of_an_old_policy),
        cmocka_unit_test(test_wrong_file),
    };

    return cmocka_run_group_tests_name("tlsrpt_store", tests, NULL, NULL);
}
