/* tests/proxy/test_report_fold.c: reports out of records are what the policy process makes out of
 * the same sessions: SEEDS S3's 702 without a failure, each session once, the last verdict, records
 * in any order (RPT-020, RPT-078, RPT-093). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/tlsrpt_json.h"
#include "proxy/report_fold.h"
#include "tests/proxy/record_samples.h"

#define DAY_S 1698451200 /* 2023-10-28 00:00:00 UTC */
#define SET(field, text) snprintf(field, sizeof(field), "%s", text)

static const char policy_text[] =
    "version: STSv1\nmode: enforce\nmx: mail.ausics.net\nmax_age: 604800\n";

struct fixture {
    struct tlsrpt_store *store;
    struct report_fold *fold;
    struct record_samples samples;
};

static int
set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char error[200];

    if (!f || tlsrpt_store_open(":memory:", &f->store, error, sizeof error) != RES_OK)
        return -1;
    f->fold = report_fold_new(f->store);
    record_samples_init(&f->samples);
    *state = f;
    return f->fold ? 0 : -1;
}

static int
tear_down(void **state)
{
    struct fixture *f = *state;

    report_fold_free(f->fold);
    tlsrpt_store_close(f->store);
    record_samples_clear(&f->samples);
    free(f);
    return 0;
}

static void
take(struct fixture *f, struct buffer *bytes, enum result encoded)
{
    struct span map;
    int64_t wall_ns;
    size_t len;

    assert_int_equal(encoded, RES_OK);
    assert_int_equal(record_decode(buffer_span(bytes), &len, &wall_ns, &map), RES_OK);
    assert_int_equal(report_fold_take(f->fold, map), RES_OK);
    buffer_clear(bytes);
}

static void
take_recipient(struct fixture *f, unsigned session, unsigned number, bool failed)
{
    struct record_samples *s = &f->samples;
    struct tls_report *part = &s->report.parts[0];
    struct buffer bytes;

    snprintf(s->info.id, sizeof s->info.id, "%016x", session);
    s->recipient.verdict_number = number;
    part->failed = failed;
    part->detail_count = failed;
    buffer_init(&bytes, RECORD_MAX_BYTES);
    take(f, &bytes, record_encode_recipient(&s->recipient, &bytes));
}

static void
take_end(struct fixture *f)
{
    struct buffer bytes;

    buffer_init(&bytes, RECORD_MAX_BYTES);
    take(f, &bytes, record_encode_session(&f->samples.end, &bytes));
}

/* As S3 has it, with Google's policy lines. */
static void
make_s3(struct fixture *f)
{
    struct record_samples *s = &f->samples;
    struct buffer bytes;

    SET(s->req->domain, "ausics.net");
    s->req->sts.discovery[0] = '\0';
    name_list_clear(&s->req->sts.mx);
    assert_int_equal(name_list_add(&s->req->sts.mx, span_of("mail.ausics.net")), RES_OK);
    s->verdict.judged_at_s = DAY_S + 3600;
    s->report.parts[0].at_s = DAY_S + 3600;
    SET(s->report.parts[0].domain, "ausics.net");
    SET(s->report.parts[0].policy_domain, "ausics.net");
    assert_int_equal(name_list_copy(&s->req->sts.mx, &s->report.parts[0].mx), RES_OK);
    s->policy.text = span_of(policy_text);
    buffer_init(&bytes, RECORD_MAX_BYTES);
    take(f, &bytes, record_encode_policy(&s->policy, &bytes));
}

static void
expect(struct fixture *f, const char *policies)
{
    static const struct tlsrpt_head head = { .organization = "Google Inc.",
                                             .contact = "smtp-tls-reporting@google.com",
                                             .report_id = "id" };
    char *json, want[2048];

    assert_int_equal(report_fold_end(f->fold), RES_OK);
    assert_int_equal(tlsrpt_json(f->store, DAY_S, "ausics.net", &head, &json), RES_OK);
    snprintf(want, sizeof want,
             "{\"organization-name\":\"Google Inc.\",\"date-range\":{\"start-datetime\":"
             "\"2023-10-28T00:00:00Z\",\"end-datetime\":\"2023-10-28T23:59:59Z\"},"
             "\"contact-info\":\"smtp-tls-reporting@google.com\",\"report-id\":\"id\","
             "\"policies\":[{\"policy\":{\"policy-type\":\"sts\",\"policy-string\":["
             "\"version: STSv1\",\"mode: enforce\",\"mx: mail.ausics.net\",\"max_age: 604800\"],"
             "\"policy-domain\":\"ausics.net\",\"mx-host\":[\"mail.ausics.net\"]},%s}]}",
             policies);
    assert_string_equal(json, want);
    free(json);
    name_list_clear(&f->samples.report.parts[0].mx);
}

/* Ten a record of other sessions in between, some of several recipients, some without an end. */
static void
test_s3(void **state)
{
    struct fixture *f = *state;

    make_s3(f);
    for (unsigned i = 0; i < 702; i++) {
        take_recipient(f, i, 1, false);
        if (i % 3 == 0)
            take_recipient(f, i, 2, false);
        if (i % 10)
            take_end(f);
    }
    expect(f, "\"summary\":{\"total-successful-session-count\":702,"
              "\"total-failure-session-count\":0}");
}

/* Records of accepted recipients come after those of later ones that were refused. */
static void
test_last_verdict(void **state)
{
    struct fixture *f = *state;

    make_s3(f);
    take_recipient(f, 1, 2, true);
    take_recipient(f, 1, 1, false);
    take_recipient(f, 1, 1, false);
    take_recipient(f, 2, 1, true);
    take_recipient(f, 2, 2, false);
    expect(f, "\"summary\":{\"total-successful-session-count\":1,"
              "\"total-failure-session-count\":1},\"failure-details\":[{\"result-type\":"
              "\"certificate-expired\",\"sending-mta-ip\":\"192.0.2.1\","
              "\"receiving-mx-hostname\":\"mx1.example.com\",\"receiving-mx-helo\":"
              "\"mx1.example.com\",\"receiving-ip\":\"2001:db8::19\",\"failed-session-count\":1,"
              "\"failure-reason-code\":\"X509_V_ERR_CERT_HAS_EXPIRED\"}]");
}

/* A record of one whose verdict nobody reached, or that another program has written. */
static void
test_not_counted(void **state)
{
    struct fixture *f = *state;
    struct tlsrpt_head head = { .organization = "x", .contact = "a@b", .report_id = "i" };
    char *json;

    make_s3(f);
    take_recipient(f, 1, 0, true);
    assert_int_equal(report_fold_end(f->fold), RES_OK);
    assert_int_equal(tlsrpt_json(f->store, DAY_S, "ausics.net", &head, &json), RES_AGAIN);
    name_list_clear(&f->samples.report.parts[0].mx);
}

static void
test_nonsense(void **state)
{
    struct fixture *f = *state;
    struct record_samples *s = &f->samples;
    struct buffer bytes;
    struct span map;
    int64_t wall_ns;
    size_t len;

    make_s3(f);
    SET(s->report.parts[0].policy_domain, "not a domain");
    s->recipient.verdict_number = 1;
    buffer_init(&bytes, RECORD_MAX_BYTES);
    assert_int_equal(record_encode_recipient(&s->recipient, &bytes), RES_OK);
    assert_int_equal(record_decode(buffer_span(&bytes), &len, &wall_ns, &map), RES_OK);
    assert_int_equal(report_fold_take(f->fold, map), RES_SYNTAX);
    buffer_clear(&bytes);
    name_list_clear(&s->report.parts[0].mx);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_s3, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_last_verdict, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nonsense, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
