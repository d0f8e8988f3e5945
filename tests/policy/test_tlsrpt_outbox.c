/* tests/policy/test_tlsrpt_outbox.c: when reports leave, what is kept over a crash, and
 * destinations that rest (RPT-009, RPT-054, RPT-076, TC-RPT-14, TC-RPT-20), with real SQLite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "policy/tlsrpt_outbox.h"
#include "policy/tlsrpt_read.h"

#define DAY_S 1700006400 /* 2023-11-15 00:00:00 UTC */
#define NEXT_S (DAY_S + TLSRPT_DAY_S)
#define SPREAD_S 14400u

static struct tlsrpt_store *
open_store(const char *path)
{
    struct tlsrpt_store *store;
    char error[200] = "";

    if (tlsrpt_store_open(path, &store, error, sizeof error) != RES_OK)
        fail_msg("%s", error);
    return store;
}

static void
count(struct tlsrpt_store *store, const char *domain, int64_t at_s)
{
    struct tls_report r = { .at_s = at_s, .type = TLS_REPORT_NO_POLICY };

    snprintf(r.domain, sizeof r.domain, "%s", domain);
    snprintf(r.policy_domain, sizeof r.policy_domain, "%s", domain);
    assert_int_equal(tlsrpt_store_count(store, &r, 1), RES_OK);
    assert_int_equal(tlsrpt_store_flush(store), RES_OK);
}

static unsigned
plan(struct tlsrpt_store *store, int64_t now_s)
{
    unsigned planned;

    assert_int_equal(tlsrpt_outbox_plan(store, tlsrpt_day(now_s), SPREAD_S, &planned), RES_OK);
    return planned;
}

/* The only one that is due; false: none is. */
static bool
due(struct tlsrpt_store *store, int64_t now_s, struct tlsrpt_entry *out)
{
    size_t n;

    assert_int_equal(tlsrpt_outbox_due(store, now_s, out, 1, &n), RES_OK);
    return n == 1;
}

static void
begin(struct tlsrpt_store *store, struct tlsrpt_entry *e, int64_t now_s)
{
    assert_int_equal(tlsrpt_outbox_begin(store, e, "gate.example", now_s, now_s + 900), RES_OK);
}

static void
end(struct tlsrpt_store *store, const struct tlsrpt_entry *e, enum tlsrpt_state state,
    int64_t now_s)
{
    assert_int_equal(tlsrpt_outbox_end(store, e, state, "why", now_s), RES_OK);
}

/* RPT-076: 1 s .. 4 h behind midnight, spread; none of the day that is not over. */
static void
test_spread(void **state)
{
    struct tlsrpt_store *store = open_store(":memory:");
    int64_t first_s = INT64_MAX, last_s = 0;
    struct tlsrpt_entry all[200];
    char domain[32];
    size_t n;

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        snprintf(domain, sizeof domain, "d%u.example", i);
        count(store, domain, DAY_S + 5);
    }
    assert_int_equal(plan(store, NEXT_S - 1), 0);
    assert_int_equal(plan(store, NEXT_S), 200);
    assert_int_equal(plan(store, NEXT_S), 0);
    assert_int_equal(tlsrpt_outbox_due(store, NEXT_S, all, 200, &n), RES_OK);
    assert_int_equal(n, 0);
    assert_int_equal(tlsrpt_outbox_due(store, NEXT_S + SPREAD_S, all, 200, &n), RES_OK);
    assert_int_equal(n, 200);
    for (size_t i = 0; i < n; i++) {
        first_s = all[i].due_s < first_s ? all[i].due_s : first_s;
        last_s = all[i].due_s > last_s ? all[i].due_s : last_s;
        assert_true(i == 0 || all[i - 1].due_s <= all[i].due_s);
    }
    assert_in_range(first_s, NEXT_S + 1, NEXT_S + SPREAD_S / 4);
    assert_in_range(last_s, NEXT_S + SPREAD_S / 4 * 3, NEXT_S + SPREAD_S);
    tlsrpt_store_close(store);
}

/* RPT-054: written down before it leaves, so that a crash changes neither id nor wait. */
static void
test_crash(void **state)
{
    char path[] = "/tmp/test_outbox.XXXXXX", wal[64];
    struct tlsrpt_entry e, again;
    struct tlsrpt_store *store;
    int64_t now_s = NEXT_S + SPREAD_S;

    (void)state;
    assert_true(mkstemp(path) >= 0);
    assert_int_equal(unlink(path), 0);
    store = open_store(path);
    count(store, "a.example", DAY_S + 5);
    (void)plan(store, now_s);
    assert_true(due(store, now_s, &e));
    assert_string_equal(e.report_id, "");
    begin(store, &e, now_s);
    assert_memory_equal(e.report_id, "20231115.a.example.", 19);
    assert_string_equal(strchr(e.report_id, '@'), "@gate.example");
    tlsrpt_store_close(store); /* the end of the attempt is never heard of */
    store = open_store(path);
    assert_false(due(store, now_s + 899, &again));
    assert_true(due(store, now_s + 900, &again));
    assert_string_equal(again.report_id, e.report_id);
    assert_int_equal(again.first_s, now_s);
    begin(store, &again, now_s + 900);
    assert_int_equal(again.attempts, 2);
    assert_string_equal(again.report_id, e.report_id);
    assert_int_equal(again.first_s, now_s);
    tlsrpt_store_close(store);
    (void)unlink(path);
    snprintf(wal, sizeof wal, "%s-wal", path);
    (void)unlink(wal);
    snprintf(wal, sizeof wal, "%s-shm", path);
    (void)unlink(wal);
}

static struct end_case {
    const char *name;
    enum tlsrpt_state state;
    bool due_again, counted;
} ends[] = {
    { "not taken: due again, later", TLSRPT_OPEN, true, true },
    { "sent: over", TLSRPT_SENT, false, true },
    { "RPT-009 no record: over, and forgotten", TLSRPT_NO_RECORD, false, false },
    { "given up: over", TLSRPT_FAILED, false, true },
    { "left out: over", TLSRPT_LEFT_OUT, false, true },
};

static bool
on_policy(void *arg, const struct tlsrpt_policy *policy)
{
    (void)policy;
    *(bool *)arg = true;
    return true;
}

static void
test_end(void **state)
{
    const struct end_case *c = *state;
    struct tlsrpt_store *store = open_store(":memory:");
    int64_t now_s = NEXT_S + SPREAD_S;
    bool counted = false;
    struct tlsrpt_entry e;
    unsigned n;

    count(store, "a.example", DAY_S + 5);
    (void)plan(store, now_s);
    assert_true(due(store, now_s, &e));
    begin(store, &e, now_s);
    end(store, &e, c->state, now_s);
    assert_int_equal(due(store, now_s + 900, &e), c->due_again);
    assert_int_equal(plan(store, now_s + TLSRPT_DAY_S), 0);
    assert_int_equal(tlsrpt_read_policies(store, DAY_S, "a.example", on_policy, &counted), RES_OK);
    assert_int_equal(counted, c->counted);
    assert_int_equal(tlsrpt_outbox_hurry(store, DAY_S, "b.example", now_s, &n), RES_OK);
    assert_int_equal(n, 0);
    assert_int_equal(tlsrpt_outbox_hurry(store, DAY_S, NULL, now_s, &n), RES_OK);
    assert_int_equal(n, 1);
    assert_true(due(store, now_s, &e)); /* whatever became of it */
    assert_true(*e.report_id);
    tlsrpt_store_close(store);
}

/* One of today that an operator wants to see sent is sent again when the day is over. */
static void
test_today(void **state)
{
    struct tlsrpt_store *store = open_store(":memory:");
    struct tlsrpt_entry e, again;
    unsigned n;

    (void)state;
    count(store, "a.example", DAY_S + 5);
    assert_int_equal(tlsrpt_outbox_hurry(store, DAY_S, "a.example", DAY_S + 50, &n), RES_OK);
    assert_true(due(store, DAY_S + 50, &e));
    begin(store, &e, DAY_S + 50);
    end(store, &e, TLSRPT_SENT, DAY_S + 51);
    assert_false(due(store, NEXT_S - 1, &again));
    assert_int_equal(plan(store, NEXT_S), 1);
    assert_true(due(store, NEXT_S + SPREAD_S, &again));
    assert_string_equal(again.report_id, e.report_id);
    assert_int_equal(again.attempts, 0);
    tlsrpt_store_close(store);
}

/* TC-RPT-20. */
static void
test_suppressed(void **state)
{
    static const char uri[] = "https://dead.example/";
    struct tlsrpt_store *store = open_store(":memory:");

    (void)state;
    assert_false(tlsrpt_outbox_is_suppressed(store, uri, DAY_S));
    assert_int_equal(tlsrpt_outbox_suppress(store, uri, DAY_S + 10, "http-503"), RES_OK);
    assert_true(tlsrpt_outbox_is_suppressed(store, uri, DAY_S + 9));
    assert_false(tlsrpt_outbox_is_suppressed(store, uri, DAY_S + 10));
    assert_false(tlsrpt_outbox_is_suppressed(store, "https://dead.example/x", DAY_S));
    assert_int_equal(tlsrpt_outbox_suppress(store, uri, 0, ""), RES_OK);
    assert_false(tlsrpt_outbox_is_suppressed(store, uri, DAY_S));
    tlsrpt_store_close(store);
}

static bool
on_entry(void *arg, const struct tlsrpt_entry *e)
{
    (void)e;
    ++*(unsigned *)arg;
    return true;
}

static void
test_expire(void **state)
{
    struct tlsrpt_store *store = open_store(":memory:");
    unsigned n = 0;

    (void)state;
    count(store, "a.example", DAY_S + 5);
    assert_int_equal(tlsrpt_outbox_expire(store, DAY_S + TLSRPT_KEEP_DAYS * TLSRPT_DAY_S), RES_OK);
    assert_int_equal(tlsrpt_outbox_list(store, 0, on_entry, &n), RES_OK);
    assert_int_equal(n, 1);
    assert_int_equal(tlsrpt_outbox_expire(store, DAY_S + (TLSRPT_KEEP_DAYS + 1) * TLSRPT_DAY_S),
                     RES_OK);
    n = 0;
    assert_int_equal(tlsrpt_outbox_list(store, 0, on_entry, &n), RES_OK);
    assert_int_equal(n, 0);
    count(store, "a.example", DAY_S + 5); /* its rows are gone: they are made anew */
    assert_int_equal(tlsrpt_outbox_list(store, 0, on_entry, &n), RES_OK);
    assert_int_equal(n, 1);
    tlsrpt_store_close(store);
}

int
main(void)
{
    enum { ENDS = sizeof ends / sizeof *ends };
    static struct CMUnitTest tests[ENDS + 5] = {
        { "RPT-076 spread", test_spread, NULL, NULL, NULL },
        { "RPT-054 crash", test_crash, NULL, NULL, NULL },
        { "today's", test_today, NULL, NULL, NULL },
        { "TC-RPT-20 suppressed", test_suppressed, NULL, NULL, NULL },
        { "expire", test_expire, NULL, NULL, NULL },
    };

    for (size_t i = 0; i < ENDS; i++)
        tests[i + 5] = (struct CMUnitTest){ ends[i].name, test_end, NULL, NULL, &ends[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
