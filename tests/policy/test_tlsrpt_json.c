/* tests/policy/test_tlsrpt_json.c: reports as RFC 8460 4.4 has them: SEEDS S3's report out of 702
 * sessions, every kind of element, and hostile text (RPT-050, RPT-055 ... RPT-059, 078, 079, 091,
 * TC-RPT-06, 07, 10). Each report is compared whole: names and types at the top (RPT-051), the day
 * (RPT-052), contact-info (TC-RPT-23), policy-domain (RPT-055), the policy's lines as they are
 * (RPT-056, TC-RPT-08), arrays of patterns (RPT-057, TC-RPT-10), both totals (RPT-058). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/tlsrpt_json.h"

#define DAY_S 1698451200 /* 2023-10-28 00:00:00 UTC */
#define SET(field, text) snprintf(field, sizeof(field), "%s", text)

static const struct tlsrpt_head head = { .organization = "Example \"Org\"",
                                         .contact = "tls@gate.example",
                                         .report_id = "20231028.ausics.net.1@gate.example" };

#define HEAD                                                                                       \
    "{\"organization-name\":\"Example \\\"Org\\\"\",\"date-range\":{\"start-datetime\":"           \
    "\"2023-10-28T00:00:00Z\",\"end-datetime\":\"2023-10-28T23:59:59Z\"},\"contact-info\":"        \
    "\"tls@gate.example\",\"report-id\":\"20231028.ausics.net.1@gate.example\",\"policies\":["

static struct tlsrpt_store *store;

static int
set_up(void **state)
{
    char error[200];

    (void)state;
    return tlsrpt_store_open(":memory:", &store, error, sizeof error) == RES_OK ? 0 : -1;
}

static int
tear_down(void **state)
{
    (void)state;
    tlsrpt_store_close(store);
    return 0;
}

static void
make(struct tls_report *r, enum tls_report_type type)
{
    *r = (struct tls_report){ .at_s = DAY_S + 1, .type = type };
    SET(r->domain, "ausics.net");
    SET(r->policy_domain, "ausics.net");
    r->text_sha256[0] = type == TLS_REPORT_STS;
}

static void
count(struct tls_report *r, unsigned times)
{
    while (times--)
        assert_int_equal(tlsrpt_store_count(store, r, 1), RES_OK);
    tls_report_clear(r);
}

static void
add(struct name_list *list, const char *name)
{
    assert_int_equal(name_list_add(list, span_of(name)), RES_OK);
}

static void
assert_report(const struct tlsrpt_head *who, const char *want_policies)
{
    char *want = NULL, *text;
    json_t *got_json, *want_json;
    json_error_t error;

    assert_int_equal(tlsrpt_json(store, DAY_S, "ausics.net", who, &text), RES_OK);
    assert_true(asprintf(&want, HEAD "%s]}", want_policies) > 0);
    got_json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    want_json = json_loads(want, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(want_json);
    if (!json_equal(got_json, want_json))
        fail_msg("got %s, want %s", text, want);
    json_decref(got_json);
    json_decref(want_json);
    free(text);
    free(want);
}

/* S3, RPT-078: nothing but successes, so no failure-details. */
static void
test_s3(void **state)
{
    static const char text[] = "version: STSv1\r\nmode: testing\r\nmx: mail.ausics.net\r\n"
                               "mx: mx2.ausics.net\r\nmax_age: 86400\r\n";
    struct tls_report r;

    (void)state;
    make(&r, TLS_REPORT_STS);
    add(&r.mx, "mail.ausics.net");
    add(&r.mx, "mx2.ausics.net");
    assert_int_equal(tlsrpt_store_text(store, r.text_sha256, span_of(text), DAY_S), RES_OK);
    count(&r, 702);
    assert_report(&head,
                  "{\"policy\":{\"policy-type\":\"sts\",\"policy-string\":[\"version: STSv1\","
                  "\"mode: testing\",\"mx: mail.ausics.net\",\"mx: mx2.ausics.net\",\"max_age: "
                  "86400\"],\"policy-domain\":\"ausics.net\",\"mx-host\":[\"mail.ausics.net\","
                  "\"mx2.ausics.net\"]},\"summary\":{\"total-successful-session-count\":702,"
                  "\"total-failure-session-count\":0}}");
}

/* TC-RPT-06, 07, 09: what each type has, and what it has not. */
static void
test_types(void **state)
{
    struct tls_report r;

    (void)state;
    make(&r, TLS_REPORT_TLSA);
    SET(r.policy_domain, "mx.ausics.net");
    add(&r.strings, "3 1 1 00FF");
    add(&r.strings, "2 0 1 AA");
    add(&r.mx, "mx.ausics.net");
    count(&r, 1);
    make(&r, TLS_REPORT_NO_POLICY);
    count(&r, 2);
    make(&r, TLS_REPORT_STS); /* RPT-026: it could not be fetched */
    r.text_sha256[0] = 0;
    r.failed = true;
    r.details[0] = (struct tls_report_detail){ .result = RESULT_STS_POLICY_FETCH_ERROR,
                                               .reason = "http-404",
                                               .fetch = true };
    r.detail_count = 1;
    r.sending = (struct ip_addr){ 4, { 203, 0, 113, 1 } };
    count(&r, 3);
    assert_report(&head,
                  "{\"policy\":{\"policy-type\":\"tlsa\",\"policy-string\":[\"3 1 1 00FF\",\"2 0 1 "
                  "AA\"],\"policy-domain\":\"mx.ausics.net\",\"mx-host\":[\"mx.ausics.net\"]},"
                  "\"summary\":{\"total-successful-session-count\":1,"
                  "\"total-failure-session-count\":0}},"
                  "{\"policy\":{\"policy-type\":\"no-policy-found\",\"policy-domain\":"
                  "\"ausics.net\"},\"summary\":{\"total-successful-session-count\":2,"
                  "\"total-failure-session-count\":0}},"
                  "{\"policy\":{\"policy-type\":\"sts\",\"policy-domain\":\"ausics.net\"},"
                  "\"summary\":{\"total-successful-session-count\":0,"
                  "\"total-failure-session-count\":3},\"failure-details\":[{\"result-type\":"
                  "\"sts-policy-fetch-error\",\"failed-session-count\":3,\"failure-reason-code\":"
                  "\"http-404\"}]}");
}

static void
fail_from(const struct ip_addr *sending)
{
    struct tls_report r;

    make(&r, TLS_REPORT_NO_POLICY);
    r.failed = true;
    r.details[0].result = RESULT_STARTTLS_NOT_SUPPORTED;
    r.detail_count = 1;
    r.sending = *sending;
    r.receiving = (struct ip_addr){ 16, { 0x20, 0x01, 0x0d, 0xb8, [15] = 25 } };
    SET(r.mx_host, "mx.ausics.net");
    SET(r.helo, "mx \\ \"1\"");
    count(&r, 1);
}

#define FAILED_FROM(sending)                                                                       \
    "{\"policy\":{\"policy-type\":\"no-policy-found\",\"policy-domain\":\"ausics.net\"},"          \
    "\"summary\":{\"total-successful-session-count\":0,\"total-failure-session-count\":1},"        \
    "\"failure-details\":[{\"result-type\":\"starttls-not-supported\"," sending                    \
    "\"receiving-mx-hostname\":\"mx.ausics.net\",\"receiving-mx-helo\":\"mx \\\\ \\\"1\\\"\","     \
    "\"receiving-ip\":\"2001:db8::19\",\"failed-session-count\":1}]}"

/* RPT-059: the address that the receiver saw, never one of the inner network. */
static void
test_addresses(void **state)
{
    (void)state;
    fail_from(&(const struct ip_addr){ 4, { 203, 0, 113, 1 } });
    assert_report(&head, FAILED_FROM("\"sending-mta-ip\":\"203.0.113.1\","));
}

static void
test_private_address(void **state)
{
    struct tlsrpt_head behind_nat = head;

    (void)state;
    fail_from(&(const struct ip_addr){ 4, { 10, 0, 0, 1 } });
    assert_report(&head, FAILED_FROM(""));
    behind_nat.public4 = (struct ip_addr){ 4, { 198, 51, 100, 9 } };
    assert_report(&behind_nat, FAILED_FROM("\"sending-mta-ip\":\"198.51.100.9\","));
}

/* RPT-091: the policy's lines may hold anything. */
static void
test_hostile_text(void **state)
{
    struct tls_report r;

    (void)state;
    make(&r, TLS_REPORT_STS);
    assert_int_equal(tlsrpt_store_text(store, r.text_sha256,
                                       span_of("x: \"\\\xff\r\ny: gr\xc3\xbc\xc3\x9f"
                                               "e\nlast\r"),
                                       DAY_S),
                     RES_OK);
    count(&r, 1);
    assert_report(&head, "{\"policy\":{\"policy-type\":\"sts\",\"policy-string\":[\"x: "
                         "\\\"\\\\\\ufffd\",\"y: gr\\u00fc\\u00dfe\",\"last\"],\"policy-domain\":"
                         "\"ausics.net\"},\"summary\":{\"total-successful-session-count\":1,"
                         "\"total-failure-session-count\":0}}");
}

/* RPT-079. */
static void
test_nothing_counted(void **state)
{
    char *text;

    (void)state;
    assert_int_equal(tlsrpt_json(store, DAY_S, "ausics.net", &head, &text), RES_AGAIN);
    assert_null(text);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_s3, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_types, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_private_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hostile_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_counted, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("tlsrpt_json", tests, NULL, NULL);
}
