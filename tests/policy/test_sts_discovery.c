/* tests/policy/test_sts_discovery.c: from TXT record to policy, for mail, before a refusal, in the
 * background and for the operator, in a world held still: DNS and HTTPS by script (STS-001 ...
 * STS-070, STS-103, TC-CACHE, TC-HTTP). resolver_ask() and fetch_start() are this file's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/policy_admin.h"
#include "policy/sts_discovery.h"
#include "policy/sts_refresh.h"

#define START_S 1700000000
#define DAY_S 86400
#define OPEN_MAX 200

struct resolver {
    unsigned txt_asked; /* of this one */
};

/* One question or fetch that is on its way. */
struct pending {
    enum { FREE, QUESTION, FETCH } kind;
    unsigned qtype;
    resolver_done *answered;
    fetch_done *fetched;
    void *arg;
};

static struct world {
    int64_t wall_s, mono_ms;
    struct resolver cached, uncached;
    struct policy_stats stats;
    struct sts_cache *cache;
    struct sts_fetcher *fetcher;
    struct sts_discovery *discovery;
    struct sts_refresh *refresh;
    struct policy_admin *admin;
    struct pending pending[OPEN_MAX];
    /* DNS */
    const char *txt[3]; /* records at every _mta-sts name; none: NODATA */
    bool txt_fails, txt_hangs;
    const char *address; /* of every policy host; NULL: none */
    char last_txt_name[300];
    /* HTTPS */
    const char *body; /* NULL: fails by `reason` */
    const char *reason;
    bool fetch_hangs;
    unsigned fetches;
    char last_fetched[300];
    /* what was found */
    unsigned found;
    bool has_policy, just_fetched, defer;
    enum sts_mode mode;
    char id[STS_ID_MAX + 1], problem[STS_REASON_MAX + 1];
    unsigned changes;
} w;

static const char enforce[] = "version: STSv1\nmode: enforce\nmx: mx.a.example\nmax_age: 604800\n";
static const char other[] = "version: STSv1\nmode: enforce\nmx: mx2.a.example\nmax_age: 604800\n";
static const char none[] = "version: STSv1\nmode: none\nmax_age: 86400\n";
static const char brief[] = "version: STSv1\nmode: enforce\nmx: mx.a.example\nmax_age: 0\n";

/* ---- the world ---- */

static struct pending *
pend(void)
{
    for (size_t i = 0; i < OPEN_MAX; i++)
        if (w.pending[i].kind == FREE)
            return &w.pending[i];
    fail_msg("too many open questions");
    return NULL;
}

enum result
resolver_ask(struct resolver *r, const char *name, unsigned qtype, resolver_done *done, void *arg,
             struct resolver_query **out)
{
    *out = NULL;
    if (qtype == DNS_TYPE_TXT) {
        r->txt_asked++;
        snprintf(w.last_txt_name, sizeof w.last_txt_name, "%s", name);
    }
    *pend() = (struct pending){ .kind = QUESTION, .qtype = qtype, .answered = done, .arg = arg };
    return RES_OK;
}

enum result
fetch_start(struct fetcher *f, const char *domain, const struct ip_addr *addrs, size_t addr_count,
            fetch_done *done, void *arg, struct fetch **out)
{
    (void)f, (void)addrs;
    assert_in_range(addr_count, 1, 16);
    *out = NULL;
    w.fetches++;
    snprintf(w.last_fetched, sizeof w.last_fetched, "%s", domain);
    *pend() = (struct pending){ .kind = FETCH, .fetched = done, .arg = arg };
    return RES_OK;
}

static void
answer_question(const struct pending *p)
{
    struct resolver_answer a = { .status = RESOLVER_ANSWERED };
    struct span texts[3];
    struct ip_addr addr;

    a.answer.ttl_s = 300;
    if (p->qtype == DNS_TYPE_TXT && w.txt_fails) {
        a = (struct resolver_answer){ .status = RESOLVER_FAILED, .reason = "servfail" };
    } else if (p->qtype == DNS_TYPE_TXT) {
        for (size_t i = 0; i < 3 && w.txt[i]; i++)
            texts[a.answer.count++] = span_of(w.txt[i]);
        a.answer.texts = texts;
    } else if (p->qtype == DNS_TYPE_A && w.address) {
        assert_int_equal(ip_addr_parse(w.address, &addr), RES_OK);
        a.answer.addrs = &addr;
        a.answer.count = 1;
    }
    p->answered(p->arg, &a);
}

static void
answer_fetch(const struct pending *p)
{
    struct fetch_result result = { .type = RESULT_SUCCESS };

    if (w.body)
        result.body = span_of(w.body);
    else
        result.type = RESULT_STS_POLICY_FETCH_ERROR;
    snprintf(result.reason, sizeof result.reason, "%s", w.body ? "" : w.reason);
    p->fetched(p->arg, &result);
}

/* Everything answers that does not hang. */
static void
pump(void)
{
    bool moved = true;

    while (moved) {
        moved = false;
        for (size_t i = 0; i < OPEN_MAX; i++) {
            struct pending p = w.pending[i];
            bool hangs = p.kind == FETCH ? w.fetch_hangs : p.qtype == DNS_TYPE_TXT && w.txt_hangs;

            if (p.kind == FREE || hangs)
                continue;
            w.pending[i].kind = FREE;
            moved = true;
            if (p.kind == FETCH)
                answer_fetch(&p);
            else
                answer_question(&p);
        }
    }
}

static int64_t
wall_ns(void *arg)
{
    (void)arg;
    return w.wall_s * 1000000000;
}

static int64_t
mono_ns(void *arg)
{
    (void)arg;
    return w.mono_ms * 1000000;
}

static void
wait_s(int64_t seconds)
{
    w.wall_s += seconds;
    w.mono_ms += seconds * 1000;
    sts_discovery_tick(w.discovery);
}

static void
on_change(void *arg, const char *domain)
{
    (void)arg;
    assert_true(strcmp(domain, "a.example") == 0 || !*domain);
    w.changes++;
}

static void
on_found(void *arg, const struct sts_finding *finding)
{
    (void)arg;
    w.found++;
    w.has_policy = finding->has_policy;
    w.just_fetched = finding->just_fetched;
    w.defer = finding->defer;
    w.mode = finding->has_policy ? finding->entry.mode : STS_MODE_NONE;
    snprintf(w.id, sizeof w.id, "%s", finding->has_policy ? finding->entry.id : "");
    snprintf(w.problem, sizeof w.problem, "%s", finding->problem);
}

static void
begin(bool defers)
{
    const struct clock clock = { .wall_ns = wall_ns, .mono_ns = mono_ns };

    w = (struct world){ .wall_s = START_S,
                        .mono_ms = 5000,
                        .address = "8.8.8.8",
                        .body = enforce,
                        .txt = { "v=STSv1; id=1;" } };
    w.cache = sts_cache_new(&(struct sts_cache_config){
        .entries_max = 1000, .max_age_cap_s = 31557600, .stats = &w.stats });
    w.fetcher = sts_fetcher_new(&(struct sts_fetcher_config){ .resolver = &w.cached,
                                                              .cache = w.cache,
                                                              .stats = &w.stats,
                                                              .clock = clock,
                                                              .on_change = on_change });
    w.discovery = sts_discovery_new(&(struct sts_discovery_config){ .resolver = &w.cached,
                                                                    .uncached = &w.uncached,
                                                                    .fetcher = w.fetcher,
                                                                    .cache = w.cache,
                                                                    .stats = &w.stats,
                                                                    .clock = clock,
                                                                    .refetch_wait_ms = 300000,
                                                                    .defer_on_failure = defers });
    w.refresh = sts_refresh_new(&(struct sts_refresh_config){ .discovery = w.discovery,
                                                              .cache = w.cache,
                                                              .stats = &w.stats,
                                                              .clock = clock,
                                                              .interval_s = DAY_S,
                                                              .retry_s = 300 });
    w.admin = policy_admin_new(&(struct policy_admin_config){ .cache = w.cache,
                                                              .discovery = w.discovery,
                                                              .refresh = w.refresh,
                                                              .stats = &w.stats,
                                                              .clock = clock,
                                                              .on_change = on_change });
    assert_true(w.cache && w.fetcher && w.discovery && w.refresh && w.admin);
}

static int
set_up(void **state)
{
    (void)state;
    begin(false);
    return 0;
}

static int
clear_up(void **state)
{
    (void)state;
    sts_discovery_free(w.discovery);
    sts_fetcher_free(w.fetcher);
    policy_admin_free(w.admin);
    sts_refresh_free(w.refresh);
    sts_cache_free(w.cache);
    return 0;
}

static void
look_up(enum sts_purpose purpose)
{
    unsigned before = w.found;

    sts_discover(w.discovery, "a.example", purpose, on_found, NULL);
    pump();
    assert_int_equal(w.found, before + 1);
}

/* A mail's look-up: what was found, why not better, and how many fetches it cost. */
static void
mail(const char *id, const char *problem, unsigned fetches)
{
    unsigned before = w.fetches;

    look_up(STS_FOR_MAIL);
    assert_string_equal(w.id, id);
    assert_string_equal(w.problem, problem);
    assert_int_equal(w.fetches - before, fetches);
}

/* ---- discovery ---- */

/* STS-001, STS-002, STS-020, STS-063, STS-070, TC-CACHE-01. */
static void
test_first_and_second_mail(void **state)
{
    (void)state;
    mail("1", "", 1);
    assert_true(w.just_fetched);
    assert_string_equal(w.last_txt_name, "_mta-sts.a.example");
    assert_string_equal(w.last_fetched, "a.example");
    assert_int_equal(w.changes, 1);
    mail("1", "", 0);
    assert_false(w.just_fetched);
    assert_int_equal(w.stats.counts[STAT_CACHE_MISS], 1);
    assert_int_equal(w.stats.counts[STAT_CACHE_HIT], 1);
    assert_int_equal(w.cached.txt_asked, 2); /* STS-012 */
    assert_int_equal(w.uncached.txt_asked, 0);
}

/* STS-005, STS-006, STS-009, STS-010, STS-013, TC-TXT-22: no usable record, no HTTPS. */
static void
test_no_usable_record(void **state)
{
    static const struct {
        const char *txt[3], *problem;
        enum policy_stat stat;
    } rows[] = {
        { { NULL }, "", STAT_TXT_ABSENT },
        { { "v=spf1 -all" }, "", STAT_TXT_ABSENT },
        { { "v=STSv1; id=1;", "v=STSv1; id=2;" },
          "sts-policy-fetch-error txt-several",
          STAT_TXT_SEVERAL },
        { { "v=STSv1; id=a-b;" }, "sts-policy-fetch-error txt-invalid", STAT_TXT_INVALID },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memcpy(w.txt, rows[i].txt, sizeof w.txt);
        mail("", rows[i].problem, 0);
        assert_false(w.has_policy);
        assert_true(w.stats.counts[rows[i].stat] >= 1);
    }
    memcpy(w.txt, (const char *[3]){ "v=STSv1 ; id=1" }, sizeof w.txt);
    mail("1", "", 1);
    assert_int_equal(w.stats.counts[STAT_LENIENT_TXT_BLANK], 1);
}

/* STS-064, TC-CACHE-02: any other id is a new one, also an older one. */
static void
test_new_id(void **state)
{
    (void)state;
    mail("1", "", 1);
    w.txt[0] = "v=STSv1; id=2;";
    w.body = other;
    mail("2", "", 1);
    assert_int_equal(w.changes, 2);
    assert_int_equal(w.stats.counts[STAT_REPLACED], 1);
    w.txt[0] = "v=STSv1; id=1;";
    mail("1", "", 1);
}

/* STS-031, STS-050, STS-064, TC-CACHE-03, TC-CACHE-13: what cannot be had, or is no policy, leaves
 * the old one in force; the same id waits 5 minutes, another one does not. */
static void
test_new_id_fails(void **state)
{
    (void)state;
    mail("1", "", 1);
    w.txt[0] = "v=STSv1; id=2;";
    w.body = NULL;
    w.reason = "http-404";
    mail("1", "sts-policy-fetch-error http-404", 1);
    assert_int_equal(w.stats.counts[STAT_KEPT], 1);
    wait_s(299);
    mail("1", "sts-policy-fetch-error http-404", 0);
    assert_int_equal(w.stats.counts[STAT_FETCH_HELD_BACK], 1);
    w.txt[0] = "v=STSv1; id=3;";
    w.body = "version: STSv1\nmode: enforce\n";
    mail("1", "sts-policy-invalid line 0: max_age missing", 1);
    wait_s(301);
    w.body = other;
    mail("3", "", 1);
}

/* STS-062, STS-069, STS-121, TC-CACHE-05, TC-CACHE-06, TC-TXT-24: no live record; the cached one
 * stays. */
static void
test_record_lost(void **state)
{
    (void)state;
    mail("1", "", 1);
    w.txt[0] = NULL;
    mail("1", "sts-policy-fetch-error txt-missing", 0);
    w.txt[0] = w.txt[1] = "v=STSv1; id=1;";
    mail("1", "sts-policy-fetch-error txt-several", 0);
    w.txt[1] = NULL;
    w.txt[0] = "v=STSv1;";
    mail("1", "sts-policy-fetch-error txt-invalid", 0);
    w.txt_fails = true;
    mail("1", "sts-policy-fetch-error txt-servfail", 0);
    assert_false(w.defer);
}

/* STS-011, TC-TXT-23: without a policy at hand as configured. */
static void
test_record_failure_without_policy(void **state)
{
    (void)state;
    w.txt_fails = true;
    mail("", "sts-policy-fetch-error txt-servfail", 0);
    assert_false(w.defer);
    (void)clear_up(NULL);
    begin(true);
    w.txt_fails = true;
    mail("", "sts-policy-fetch-error txt-servfail", 0);
    assert_true(w.defer);
    assert_int_equal(w.stats.counts[STAT_DEFERRED], 1);
    w.txt_fails = false;
    mail("1", "", 1);
    w.txt_fails = true;
    mail("1", "sts-policy-fetch-error txt-servfail", 0);
    assert_false(w.defer); /* the cached one answers */
}

/* STS-036, STS-120, TC-HTTP-24. */
static void
test_first_contact_blocked(void **state)
{
    (void)state;
    w.body = NULL;
    w.reason = "connect";
    mail("", "sts-policy-fetch-error connect", 1);
    assert_int_equal(w.stats.counts[STAT_FIRST_CONTACT_BLOCKED], 1);
    assert_int_equal(w.stats.counts[STAT_FETCH_CONNECT], 1);
    mail("", "sts-policy-fetch-error connect", 0);
    wait_s(301);
    w.body = enforce;
    mail("1", "", 1);
}

/* STS-035, TC-HTTP-14, TC-HTTP-16: where the policy host is. */
static void
test_addresses(void **state)
{
    static const char *const private[] = { "127.0.0.1",   "10.1.2.3",   "169.254.169.254",
                                           "192.168.0.1", "100.64.0.1", "0.0.0.0" };

    (void)state;
    for (size_t i = 0; i < sizeof private / sizeof *private; i++) {
        w.address = private[i];
        wait_s(301);
        mail("", "sts-policy-fetch-error address-not-permitted", 0);
    }
    w.address = NULL;
    wait_s(301);
    mail("", "sts-policy-fetch-error no-address", 0);
}

/* STS-060, STS-065, TC-CACHE-04, TC-CACHE-07, TC-CACHE-08, TC-CACHE-20. */
static void
test_expired(void **state)
{
    (void)state;
    mail("1", "", 1);
    w.body = NULL;
    w.reason = "timeout";
    wait_s(604799);
    mail("1", "", 0);
    wait_s(1);
    mail("", "sts-policy-fetch-error timeout", 1);
    assert_int_equal(w.stats.counts[STAT_CACHE_EXPIRED], 1);
    wait_s(301);
    w.body = other;
    mail("1", "", 1); /* published again */
}

/* TC-POL-15, TC-POL-37: max_age 0 applies to the use that it was fetched for, and to no other. */
static void
test_max_age_zero(void **state)
{
    (void)state;
    w.body = brief;
    mail("1", "", 1);
    assert_true(w.has_policy && w.just_fetched);
    w.body = NULL;
    w.reason = "timeout";
    mail("", "sts-policy-fetch-error timeout", 1);
    assert_false(w.has_policy);
    mail("", "sts-policy-fetch-error timeout", 0); /* and no hot loop (STS-031) */
}

/* STS-068, TC-CACHE-19: none ends it at once. */
static void
test_withdrawn(void **state)
{
    (void)state;
    mail("1", "", 1);
    w.txt[0] = "v=STSv1; id=2;";
    w.body = none;
    mail("2", "", 1);
    assert_int_equal(w.mode, STS_MODE_NONE);
}

/* STS-032, TC-HTTP-22: all who ask meanwhile share look-up and fetch. */
static void
test_shared(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50; i++)
        sts_discover(w.discovery, "a.example", STS_FOR_MAIL, on_found, NULL);
    w.fetch_hangs = true;
    pump();
    for (unsigned i = 0; i < 50; i++)
        sts_discover(w.discovery, "a.example", i % 2 ? STS_FOR_MAIL : STS_FOR_OPERATOR, on_found,
                     NULL);
    pump();
    w.fetch_hangs = false;
    pump();
    assert_int_equal(w.found, 100);
    assert_int_equal(w.fetches, 1);
    assert_int_equal(w.cached.txt_asked, 1);
}

/* TC-CACHE-25, PRX-053: mail that could be judged waits a bounded time for what is slow; the
 * look-up goes on, and who asks next has it. */
static void
test_slow(void **state)
{
    (void)state;
    mail("1", "", 1);
    w.txt[0] = "v=STSv1; id=2;";
    w.body = other;
    w.fetch_hangs = true;
    sts_discover(w.discovery, "a.example", STS_FOR_MAIL, on_found, NULL);
    pump();
    wait_s(9);
    assert_int_equal(w.found, 1);
    wait_s(1);
    assert_int_equal(w.found, 2);
    assert_string_equal(w.id, "1");
    assert_string_equal(w.problem, "sts-policy-fetch-error timeout");
    w.fetch_hangs = false;
    pump();
    assert_int_equal(w.found, 2);
    mail("2", "", 0);

    w.txt_hangs = true;
    sts_discover(w.discovery, "a.example", STS_FOR_MAIL, on_found, NULL);
    pump();
    wait_s(5);
    assert_int_equal(w.found, 4);
    assert_string_equal(w.id, "2");
    sts_discover(w.discovery, "a.example", STS_FOR_MAIL, on_found, NULL);
    w.txt_hangs = false;
    pump();
    assert_int_equal(w.found, 5);
    assert_string_equal(w.problem, ""); /* that of who gave up is not everybody's */
    mail("2", "", 0);
}

/* Without a policy at hand it waits: the first mail is not to go unprotected (STS-070). */
static void
test_slow_first_contact(void **state)
{
    (void)state;
    w.fetch_hangs = true;
    sts_discover(w.discovery, "a.example", STS_FOR_MAIL, on_found, NULL);
    pump();
    wait_s(55);
    assert_int_equal(w.found, 0);
    w.fetch_hangs = false;
    pump();
    assert_int_equal(w.found, 1);
    assert_string_equal(w.id, "1");
}

/* A background fetch under the old id is no answer to the new one. */
static void
test_id_changes_during_a_fetch(void **state)
{
    (void)state;
    mail("1", "", 1);
    w.fetch_hangs = true;
    sts_discover(w.discovery, "a.example", STS_FOR_REFRESH, on_found, NULL);
    pump();
    w.txt[0] = "v=STSv1; id=2;";
    sts_discover(w.discovery, "a.example", STS_FOR_MAIL, on_found, NULL);
    pump();
    w.fetch_hangs = false;
    w.body = other;
    pump();
    assert_int_equal(w.found, 3);
    assert_int_equal(w.fetches, 3);
    assert_string_equal(w.id, "2");
}

/* ---- re-check ---- */

/* STS-103: past all caches; a new id is followed, the same one only if the fetch is old. */
static void
test_recheck(void **state)
{
    (void)state;
    mail("1", "", 1);
    look_up(STS_FOR_RECHECK);
    assert_int_equal(w.uncached.txt_asked, 1);
    assert_int_equal(w.fetches, 1);
    w.txt[0] = "v=STSv1; id=2;";
    w.body = other;
    look_up(STS_FOR_RECHECK);
    assert_string_equal(w.id, "2");
    assert_int_equal(w.fetches, 2);
    wait_s(3601);
    look_up(STS_FOR_RECHECK); /* owners forget the id (TC-CACHE-10) */
    assert_int_equal(w.fetches, 3);
    assert_int_equal(w.cached.txt_asked, 1);
}

/* STS-103: a zone that gives a new id at each query: 3 fetches and 10 checks in 5 minutes. */
static void
test_recheck_is_bounded(void **state)
{
    char record[32];

    (void)state;
    mail("1", "", 1);
    for (unsigned i = 0; i < 15; i++) {
        snprintf(record, sizeof record, "v=STSv1; id=n%u;", i);
        w.txt[0] = record;
        look_up(STS_FOR_RECHECK);
        assert_true(w.has_policy);
    }
    assert_int_equal(w.fetches, 1 + 3);
    assert_int_equal(w.uncached.txt_asked, 10);
    assert_string_equal(w.id, "n2");
    wait_s(300);
    look_up(STS_FOR_RECHECK);
    assert_string_equal(w.id, "n14");
}

/* STS-103: 10 seconds each; then the verdict stands. */
static void
test_recheck_is_slow(void **state)
{
    (void)state;
    mail("1", "", 1);
    w.txt_hangs = true;
    sts_discover(w.discovery, "a.example", STS_FOR_RECHECK, on_found, NULL);
    sts_discover(w.discovery, "a.example", STS_FOR_RECHECK, on_found, NULL);
    wait_s(9);
    assert_int_equal(w.found, 1);
    wait_s(1);
    assert_int_equal(w.found, 3);
    assert_string_equal(w.id, "1");
    w.txt_hangs = false;
    pump();
    assert_int_equal(w.found, 3);
}

/* ---- in the background ---- */

/* STS-066: about once a day, whatever the record says; success restarts max_age. */
static void
test_refresh(void **state)
{
    struct sts_entry entry;
    int64_t fetched_s = START_S;

    (void)state;
    mail("1", "", 1);
    w.txt[0] = NULL; /* even without one */
    for (unsigned days = 1; days <= 5; days++) {
        unsigned before = w.fetches;

        while (w.fetches == before && w.wall_s < fetched_s + 2 * DAY_S) {
            wait_s(60);
            sts_refresh_tick(w.refresh);
            pump();
        }
        assert_int_equal(w.fetches, before + 1);
        assert_in_range(w.wall_s - fetched_s, DAY_S * 9 / 10, DAY_S * 11 / 10 + 60);
        assert_true(sts_cache_find(w.cache, "a.example", &entry));
        assert_int_equal(entry.fetched_at_s, w.wall_s);
        fetched_s = w.wall_s;
    }
    assert_int_equal(w.stats.counts[STAT_REFRESH_OK], 5);
    assert_int_equal(w.changes, 1); /* nothing of it is news to a worker */
}

/* TC-CACHE-09, TC-CACHE-10: another body under the same id is noticed. */
static void
test_refresh_finds_another_body(void **state)
{
    struct sts_entry entry;

    (void)state;
    mail("1", "", 1);
    w.body = other;
    look_up(STS_FOR_REFRESH);
    assert_true(sts_cache_find(w.cache, "a.example", &entry));
    assert_true(span_equal(entry.text, span_of(other)));
    assert_int_equal(w.stats.counts[STAT_BODY_CHANGED], 1);
    assert_int_equal(w.changes, 2);
}

/* STS-067, TC-CACHE-11: it fails for days; tried again with growing patience, louder towards the
 * end, and the policy stays to its last second. */
static void
test_refresh_fails(void **state)
{
    unsigned days_of_alarm = 0, last_alerts = 0;

    (void)state;
    mail("1", "", 1);
    w.body = NULL;
    w.reason = "connect";
    for (unsigned day = 1; day <= 6; day++) {
        unsigned before = w.fetches;

        for (unsigned minute = 0; minute < 1440; minute++) {
            wait_s(60);
            sts_refresh_tick(w.refresh);
            pump();
        }
        assert_in_range(w.fetches - before, day == 1 ? 0 : 3, 12);
        days_of_alarm += w.stats.counts[STAT_EXPIRY_ALERTS] > last_alerts;
        last_alerts = (unsigned)w.stats.counts[STAT_EXPIRY_ALERTS];
        mail("1", "", 0);
    }
    assert_in_range(days_of_alarm, 2, 4); /* from half of its life on */
    assert_int_equal(w.stats.counts[STAT_REFRESH_OK], 0);
}

/* STS-067: nobody is woken for a policy that demands nothing. */
static void
test_refresh_of_none_fails(void **state)
{
    (void)state;
    w.body = none;
    mail("1", "", 1);
    w.body = NULL;
    w.reason = "connect";
    for (unsigned minute = 0; minute < 1400; minute++) {
        wait_s(60);
        sts_refresh_tick(w.refresh);
        pump();
    }
    assert_true(w.stats.counts[STAT_REFRESH_FAILED] > 0);
    assert_int_equal(w.stats.counts[STAT_EXPIRY_ALERTS], 0);
}

/* TC-CACHE-12: after a long downtime all are due; a few at a time. */
static void
test_refresh_of_many(void **state)
{
    struct sts_policy *policy;

    (void)state;
    assert_int_equal(sts_policy_parse(span_of(enforce), &policy, NULL), RES_OK);
    for (unsigned i = 0; i < 100; i++) {
        char domain[32];

        snprintf(domain, sizeof domain, "d%u.example", i);
        assert_int_equal(sts_cache_restore(w.cache, domain, "1", span_of(enforce), policy,
                                           START_S - 3 * DAY_S, START_S, START_S),
                         RES_OK);
    }
    sts_policy_free(policy);
    w.fetch_hangs = true;
    for (unsigned i = 0; i < 20; i++) {
        sts_refresh_tick(w.refresh);
        pump();
        wait_s(1);
    }
    assert_int_equal(w.fetches, STS_REFRESH_PARALLEL);
}

/* ---- the operator ---- */

static void
on_refreshed(void *arg, const char *problem, const struct policy_info *info)
{
    (void)arg;
    w.found++;
    snprintf(w.problem, sizeof w.problem, "%s", problem);
    snprintf(w.id, sizeof w.id, "%s", info ? info->id : "");
}

static void
on_shown(void *arg, const struct policy_info *info)
{
    const char *const *mx = arg;

    w.found++;
    assert_string_equal(info->domain, "a.example");
    assert_true(info->is_valid);
    assert_int_equal(info->mx->count, 1);
    assert_string_equal(info->mx->names[0], *mx);
    assert_in_range(info->refresh_in_s, DAY_S * 9 / 10, DAY_S * 11 / 10);
}

/* STS-073: refresh without regard to earlier failures; show; flush. */
static void
test_operator(void **state)
{
    const char *mx = "mx2.a.example";

    (void)state;
    w.body = NULL;
    w.reason = "http-500";
    mail("", "sts-policy-fetch-error http-500", 1);
    w.body = other;
    assert_int_equal(policy_admin_refresh(w.admin, "a.example", on_refreshed, NULL), RES_OK);
    pump();
    assert_string_equal(w.id, "1");
    assert_string_equal(w.problem, "");
    assert_int_equal(w.uncached.txt_asked, 1);
    assert_true(policy_admin_show(w.admin, "a.example", on_shown, &mx));
    assert_false(policy_admin_show(w.admin, "b.example", on_shown, &mx));
    assert_int_equal(policy_admin_flush(w.admin, "a.example"), 1);
    assert_int_equal(policy_admin_flush(w.admin, NULL), 0);
    assert_false(policy_admin_show(w.admin, "a.example", on_shown, &mx));
    w.txt[0] = NULL;
    assert_int_equal(policy_admin_refresh(w.admin, "a.example", on_refreshed, NULL), RES_OK);
    pump();
    assert_string_equal(w.problem, "no-policy-found the domain publishes none");
}

/* STS-013: what has run out is not cached any more, so without a record nothing is fetched, not
 * even by command. */
static void
test_operator_after_expiry(void **state)
{
    (void)state;
    mail("1", "", 1);
    w.txt[0] = NULL;
    wait_s(604799);
    assert_int_equal(policy_admin_refresh(w.admin, "a.example", on_refreshed, NULL), RES_OK);
    pump();
    assert_int_equal(w.fetches, 2);
    wait_s(604800);
    assert_int_equal(policy_admin_refresh(w.admin, "a.example", on_refreshed, NULL), RES_OK);
    pump();
    assert_int_equal(w.fetches, 2);
    assert_string_equal(w.id, "");
}

/* TC-CACHE-26: a few at a time, and each only once it is its turn. */
static void
test_warming(void **state)
{
    (void)state;
    w.fetch_hangs = true;
    for (unsigned i = 0; i < 20; i++) {
        char domain[32];

        snprintf(domain, sizeof domain, "d%u.example", i);
        assert_int_equal(policy_admin_warm(w.admin, domain), RES_OK);
    }
    pump();
    assert_int_equal(w.fetches, POLICY_WARM_PARALLEL);
    assert_int_equal(policy_admin_warming(w.admin), 20);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, clear_up)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_first_and_second_mail),
        ROW(test_no_usable_record),
        ROW(test_new_id),
        ROW(test_new_id_fails),
        ROW(test_record_lost),
        ROW(test_record_failure_without_policy),
        ROW(test_first_contact_blocked),
        ROW(test_addresses),
        ROW(test_expired),
        ROW(test_max_age_zero),
        ROW(test_withdrawn),
        ROW(test_shared),
        ROW(test_slow),
        ROW(test_slow_first_contact),
        ROW(test_id_changes_during_a_fetch),
        ROW(test_recheck),
        ROW(test_recheck_is_bounded),
        ROW(test_recheck_is_slow),
        ROW(test_refresh),
        ROW(test_refresh_finds_another_body),
        ROW(test_refresh_fails),
        ROW(test_refresh_of_none_fails),
        ROW(test_refresh_of_many),
        ROW(test_operator),
        ROW(test_operator_after_expiry),
        ROW(test_warming),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
