/* tests/proxy/test_status_msg.c: what is counted, and how it is told between processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/msg_link.h"
#include "base/pack.h"
#include "proxy/status_msg.h"

/* ---- the table ---- */

/* Every number has exactly one row, and the rows stand in the order of the struct (TC-OPS-04). */
static void
test_table(void **state)
{
    size_t rows, next = 0;
    const struct counter_row *table = counters_table(&rows);

    (void)state;
    for (size_t i = 0; i < rows; i++) {
        assert_int_equal(table[i].offset, next * sizeof(uint64_t));
        next += counter_row_size(&table[i]);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(table[i].name, table[k].name);
        for (unsigned k = 0; k < table[i].label_count; k++)
            assert_true(table[i].labels[k].count > 0);
    }
    assert_int_equal(next, COUNTERS);
}

/* ---- facts ---- */

static const struct recipient_case {
    const char *name;
    const char *outcome, *reply_id;
    enum sts_mode sts;
    enum dane_state dane;
    bool monitored, tls, proven, matched, site_tls;
    enum rule_action rule;
    enum counted_policy policy;
    enum counted_mode mode;
    enum counted_result result;
} recipients[] = {
    { "clear", "delivered", "", STS_MODE_NONE, DANE_NONE, false, false, false, false, false,
      RULE_NONE, COUNTED_NO_POLICY, COUNTED_NO_MODE, COUNTED_CLEAR },
    { "TLS", "delivered", "", STS_MODE_NONE, DANE_NONE, false, true, true, false, false, RULE_NONE,
      COUNTED_NO_POLICY, COUNTED_NO_MODE, COUNTED_TLS },
    { "policy met", "delivered", "", STS_MODE_ENFORCE, DANE_NONE, false, true, true, false, false,
      RULE_NONE, COUNTED_STS, COUNTED_ENFORCE, COUNTED_BY_STS },
    { "policy testing, unproven", "delivered", "", STS_MODE_TESTING, DANE_NONE, false, true, false,
      false, false, RULE_NONE, COUNTED_STS, COUNTED_TESTING, COUNTED_TLS },
    { "policy monitored", "delivered", "", STS_MODE_ENFORCE, DANE_NONE, true, true, true, false,
      false, RULE_NONE, COUNTED_STS, COUNTED_MONITORED, COUNTED_BY_STS },
    { "TLSA records beside a policy", "delivered", "", STS_MODE_ENFORCE, DANE_SECURE, false, true,
      true, true, false, RULE_NONE, COUNTED_DANE, COUNTED_ENFORCE, COUNTED_BY_DANE },
    { "refused by the gateway", "refused", "REP-013", STS_MODE_ENFORCE, DANE_NONE, false, true,
      false, false, false, RULE_NONE, COUNTED_STS, COUNTED_ENFORCE, COUNTED_GATEWAY_REFUSED },
    { "rejected by the MX", "rejected", "", STS_MODE_NONE, DANE_NONE, false, true, false, false,
      false, RULE_NONE, COUNTED_NO_POLICY, COUNTED_NO_MODE, COUNTED_MX_REJECTED },
    { "given up", "failed", "", STS_MODE_NONE, DANE_NONE, false, true, false, false, false,
      RULE_NONE, COUNTED_NO_POLICY, COUNTED_NO_MODE, COUNTED_FAILED },
    { "override", "delivered", "", STS_MODE_NONE, DANE_NONE, false, true, false, false, false,
      RULE_VERIFY, COUNTED_LOCAL, COUNTED_ENFORCE, COUNTED_TLS },
    { "TLS for everybody", "delivered", "", STS_MODE_NONE, DANE_NONE, false, true, false, false,
      true, RULE_NONE, COUNTED_LOCAL, COUNTED_ENFORCE, COUNTED_TLS },
};

static void
test_recipient(void **state)
{
    const struct recipient_case *c = *state;
    struct requirement req = { .sts.mode = c->sts,
                               .dane.state = c->dane,
                               .monitored = c->monitored,
                               .local.action = c->rule };
    struct observation obs = { .stage = c->tls ? TLS_STAGE_DONE : TLS_STAGE_CLEAR };
    struct dane_facts dane = { .match = c->matched ? DANE_MATCHED : DANE_UNCHECKED };
    struct verdict verdict = { .proven = c->proven,
                               .would = VERDICT_ALLOW,
                               .demand.site_tls = c->site_tls };
    struct record_recipient record = { .req = &req,
                                       .obs = &obs,
                                       .dane = &dane,
                                       .verdict = &verdict,
                                       .outcome = c->outcome,
                                       .reply_id = c->reply_id };
    struct counters counters = { 0 };
    uint64_t all = 0;

    counters_recipient(&counters, &record);
    assert_int_equal(counters.recipients[c->policy][c->mode][c->result], 1);
    for (size_t i = 0; i < COUNTERS; i++)
        all += counters_get(&counters, i);
    assert_int_equal(all, c->result == COUNTED_GATEWAY_REFUSED ? 2 : 1);
    assert_int_equal(counters.replies[13], c->result == COUNTED_GATEWAY_REFUSED);
}

static const struct session_case {
    const char *name;
    unsigned delivered, allowed, refused;
    enum counted_session want;
} sessions[] = {
    { "nothing", 0, 0, 0, COUNTED_EMPTY },
    { "a message was taken", 1, 1, 0, COUNTED_DELIVERED },
    { "taken, and somebody refused", 1, 1, 1, COUNTED_PARTLY },
    { "only refused", 0, 0, 2, COUNTED_REFUSED },
    { "permitted, but not taken", 0, 1, 0, COUNTED_UNTAKEN },
};

static void
test_session(void **state)
{
    const struct session_case *c = *state;
    struct counters counters = { 0 };

    counters_session(&counters, &(struct record_session_end){ .delivered = c->delivered,
                                                              .allowed = c->allowed,
                                                              .refused = c->refused,
                                                              .violations = 3,
                                                              .bytes_to_mx = 7,
                                                              .engine = "seal" });
    assert_int_equal(counters.sessions[c->want], 1);
    assert_int_equal(counters.violations, 3);
    assert_int_equal(counters.octets[COUNTED_TO_MX][3], 7);
}

/* A word that is not of the set is counted as "other", whatever it is. */
static void
test_words(void **state)
{
    struct counters counters = { 0 };

    (void)state;
    counters_turned_away(&counters, "no-descriptor");
    counters_turned_away(&counters, "\"} 1\nevil");
    assert_int_equal(counters.turned_away[5], 1);
    assert_int_equal(counters.turned_away[0], 1);
}

/* ---- refusals ---- */

static struct top_refusal
refusal(const char *domain, uint64_t count)
{
    struct top_refusal r = { .reply = "REP-013", .count = count };

    snprintf(r.domain, sizeof r.domain, "%s", domain);
    return r;
}

/* 1000 domains once each never push out one that is refused often; and its count is no less than
 * the truth, and no more than that and its error. */
static void
test_top(void **state)
{
    static struct top_refused top;
    const uint64_t often = 200;

    (void)state;
    top = (struct top_refused){ 0 };
    for (unsigned i = 0; i < 1000; i++) {
        char name[32];
        struct top_refusal rare, frequent = refusal("often.example", 1);

        snprintf(name, sizeof name, "d%u.example", i);
        rare = refusal(name, 1);
        top_refused_add(&top, &rare);
        if (i % 5 == 0)
            top_refused_add(&top, &frequent);
    }
    top_refused_sort(&top);
    assert_int_equal(top.count, TOP_REFUSED_MAX);
    assert_string_equal(top.all[0].domain, "often.example");
    assert_true(top.all[0].count >= often && top.all[0].count - top.all[0].error <= often);
}

/* ---- messages ---- */

static struct worker_report *
sample_report(void)
{
    static struct worker_report r;
    struct top_refusal first = refusal("a.example", 2), literal = refusal("", 1);

    r = (struct worker_report){ .worker = 63, .pid = 4711, .started_s = 1790000000, .open = 3 };
    snprintf(r.library, sizeof r.library, "BoringSSL (API 17)");
    for (size_t i = 0; i < COUNTERS; i++)
        counters_set(&r.counters, i, i * 3);
    top_refused_add(&r.refused, &first);
    top_refused_add(&r.refused, &literal);
    return &r;
}

static void
encode_report(const struct worker_report *report, struct buffer *out)
{
    buffer_init(out, MSG_LINK_MAX_BYTES);
    assert_int_equal(worker_report_write(report, out), RES_OK);
}

static void
test_report(void **state)
{
    static struct worker_report got;
    struct worker_report *want = sample_report();
    struct buffer message;

    (void)state;
    encode_report(want, &message);
    assert_int_equal(worker_report_read(buffer_span(&message), &got), RES_OK);
    assert_memory_equal(&got, want, sizeof got);
    for (size_t len = 0; len < buffer_len(&message); len++)
        assert_int_not_equal(worker_report_read(span_first(buffer_span(&message), len), &got),
                             RES_OK);
    assert_int_equal(buffer_append(&message, span_of("x")), RES_OK);
    assert_int_not_equal(worker_report_read(buffer_span(&message), &got), RES_OK);
    buffer_clear(&message);
}

/* The largest there is fits a message: otherwise nothing would be told any more. */
static void
test_report_fits(void **state)
{
    struct worker_report *r = sample_report();
    struct buffer message;

    (void)state;
    for (size_t i = 0; i < COUNTERS; i++)
        counters_set(&r->counters, i, INT64_MAX);
    r->refused.count = TOP_REFUSED_MAX;
    for (size_t i = 0; i < TOP_REFUSED_MAX; i++) {
        r->refused.all[i] = refusal("", UINT32_MAX);
        memset(r->refused.all[i].domain, 'a', HOSTNAME_MAX);
    }
    encode_report(r, &message);
    buffer_clear(&message);
}

static void
hostile_domain(struct worker_report *r)
{
    snprintf(r->refused.all[0].domain, sizeof r->refused.all[0].domain, "<script>.example");
}

static void
hostile_reply(struct worker_report *r)
{
    snprintf(r->refused.all[0].reply, sizeof r->refused.all[0].reply, "\033[2J");
}

static void
hostile_library(struct worker_report *r)
{
    snprintf(r->library, sizeof r->library, "a\nb");
}

static void
hostile_worker(struct worker_report *r)
{
    r->worker = STATUS_PEERS_MAX;
}

static void
hostile_pid(struct worker_report *r)
{
    r->pid = -1;
}

static void
hostile_counter(struct worker_report *r)
{
    r->counters.violations = UINT64_MAX;
}

static void
hostile_result(struct worker_report *r)
{
    r->refused.all[0].result = RESULT_TYPES;
}

static const struct hostile_case {
    const char *name;
    void (*spoil)(struct worker_report *r);
} hostile[] = {
    { "domain with markup", hostile_domain },
    { "reply with an escape", hostile_reply },
    { "library of two lines", hostile_library },
    { "worker out of range", hostile_worker },
    { "process id", hostile_pid },
    { "counter that would overflow sums", hostile_counter },
    { "result type out of range", hostile_result },
};

static void
test_hostile(void **state)
{
    static struct worker_report got;
    const struct hostile_case *c = *state;
    struct worker_report *r = sample_report();
    struct buffer message;

    c->spoil(r);
    encode_report(r, &message);
    assert_int_not_equal(worker_report_read(buffer_span(&message), &got), RES_OK);
    buffer_clear(&message);
}

static void
test_facts(void **state)
{
    static struct gateway_facts want, got;
    struct buffer message;

    (void)state;
    want = (struct gateway_facts){ .generation = 2,
                                   .started_s = 1790000000,
                                   .process_s = 1790000001,
                                   .rollout = "enforce 30%",
                                   .dane = true,
                                   .store = true,
                                   .records = { 5, 1 },
                                   .warming = 9,
                                   .override_count = 1 };
    snprintf(want.overrides[0].id, sizeof want.overrides[0].id, "partner \"x\"");
    want.overrides[0].until_s = 1800000000;
    want.stats[STAT_FETCH_OK] = 12;
    want.cached[STS_CLASS_ENFORCE] = 4;
    buffer_init(&message, MSG_LINK_MAX_BYTES);
    assert_int_equal(gateway_facts_write(&want, &message), RES_OK);
    assert_int_equal(gateway_facts_read(buffer_span(&message), &got), RES_OK);
    assert_memory_equal(&got, &want, sizeof got);
    for (size_t len = 0; len < buffer_len(&message); len++)
        assert_int_not_equal(gateway_facts_read(span_first(buffer_span(&message), len), &got),
                             RES_OK);
    buffer_clear(&message);
}

static void
test_ask(void **state)
{
    const struct session_ask want = { .query = UINT64_MAX, .below = 5 };
    struct session_ask got;
    struct buffer message;

    (void)state;
    buffer_init(&message, MSG_LINK_MAX_BYTES);
    assert_int_equal(session_ask_write(&want, &message), RES_OK);
    assert_int_equal(session_ask_read(buffer_span(&message), &got), RES_OK);
    assert_memory_equal(&got, &want, sizeof got);
    buffer_clear(&message);
}

/* ---- pages of sessions ---- */

static const struct page_case {
    const char *name, *sessions;
    size_t len, repeat;
    enum result want;
} pages[] = {
    { "none", "", 0, 1, RES_OK },
    { "one map", "\x81\xa1\x61\x01", 4, 1, RES_OK },
    { "as many as may be", "\x81\xa1\x61\x01", 4, STATUS_PAGE_SESSIONS, RES_OK },
    { "one more", "\x81\xa1\x61\x01", 4, STATUS_PAGE_SESSIONS + 1, RES_LIMIT },
    { "cut", "\x81\xa1\x61", 3, 1, RES_LIMIT },
    { "no map", "\x01", 1, 1, RES_SYNTAX },
    { "nonsense", "\xc1", 1, 1, RES_LIMIT },
    { "a map that claims to be huge", "\xdf\xff\xff\xff\xff", 5, 1, RES_LIMIT },
};

static void
test_page(void **state)
{
    const struct page_case *c = *state;
    struct session_page page = { .query = 1, .more = true, .below = 7 }, got;
    struct buffer maps, message;
    struct span rest, map;
    size_t count = 0;

    buffer_init(&maps, MSG_LINK_MAX_BYTES);
    buffer_init(&message, MSG_LINK_MAX_BYTES);
    for (size_t i = 0; i < c->repeat; i++)
        assert_int_equal(buffer_append(&maps, span_make(c->sessions, c->len)), RES_OK);
    page.sessions = buffer_span(&maps);
    assert_int_equal(session_page_write(&page, &message), RES_OK);
    assert_int_equal(session_page_read(buffer_span(&message), &got), c->want);
    if (c->want == RES_OK) {
        rest = got.sessions;
        while (session_page_next(&rest, &map))
            count++;
        assert_int_equal(count, c->len ? c->repeat : 0);
        assert_int_equal(got.below, 7);
    }
    buffer_clear(&maps);
    buffer_clear(&message);
}

int
main(void)
{
    struct CMUnitTest tests[128];
    size_t n = 0;

#define ROWS(rows, function)                                                                       \
    for (size_t i = 0; i < sizeof(rows) / sizeof *(rows); i++)                                     \
        tests[n++] = (struct CMUnitTest){ (rows)[i].name, function, NULL, NULL,                    \
                                          (void *)(uintptr_t) & (rows)[i] };
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_table);
    ROWS(recipients, test_recipient)
    ROWS(sessions, test_session)
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_words);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_top);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_report);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_report_fits);
    ROWS(hostile, test_hostile)
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_facts);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_ask);
    ROWS(pages, test_page)
    return _cmocka_run_group_tests("status_msg", tests, n, NULL, NULL);
}
