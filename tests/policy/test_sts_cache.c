/* tests/policy/test_sts_cache.c: what the cache of policies keeps and gives up (STS-060 ...
 * STS-072, TC-CACHE). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/sts_cache.h"
#include "tests/alloc_fail.h"

#define NOW_S 1700000000

static struct policy_stats stats;
static char last_changed[64];
static unsigned changes;

static void
on_changed(void *arg, const char *domain)
{
    assert_ptr_equal(arg, &changes);
    snprintf(last_changed, sizeof last_changed, "%s", domain);
    changes++;
}

static struct sts_cache *
new_cache(size_t entries_max)
{
    struct sts_cache *cache = sts_cache_new(&(struct sts_cache_config){ .entries_max = entries_max,
                                                                        .max_age_cap_s = 31557600,
                                                                        .stats = &stats,
                                                                        .changed = on_changed,
                                                                        .arg = &changes });

    assert_non_null(cache);
    stats = (struct policy_stats){ 0 };
    changes = 0;
    last_changed[0] = '\0';
    return cache;
}

static enum result
try_put(struct sts_cache *cache, const char *domain, const char *id, const char *mode,
        unsigned max_age_s, int64_t now_s)
{
    struct sts_policy *policy;
    char text[160];
    enum result res;

    snprintf(text, sizeof text, "version: STSv1\nmode: %s\nmx: mx.%s\nmax_age: %u\n", mode, domain,
             max_age_s);
    res = sts_policy_parse(span_of(text), &policy, NULL);
    if (res != RES_OK)
        return res;
    res = sts_cache_put(cache, domain, id, span_of(text), policy, now_s);
    sts_policy_free(policy);
    return res;
}

static void
put(struct sts_cache *cache, const char *domain, const char *mode, unsigned max_age_s,
    int64_t now_s)
{
    assert_int_equal(try_put(cache, domain, "id1", mode, max_age_s, now_s), RES_OK);
}

static void
note_failure(struct sts_cache *cache, const char *domain, const char *id, int64_t now_s)
{
    assert_int_equal(sts_cache_fail(cache, domain, id, RESULT_STS_POLICY_FETCH_ERROR, "http-404",
                                    now_s, now_s * 1000),
                     RES_OK);
}

static bool
has(struct sts_cache *cache, const char *domain)
{
    struct sts_entry entry;

    return sts_cache_find(cache, domain, &entry);
}

static bool
is_valid(struct sts_cache *cache, const char *domain, int64_t now_s)
{
    struct sts_entry entry;

    return sts_cache_find(cache, domain, &entry) && sts_entry_is_valid(&entry, now_s);
}

/* STS-060, STS-065, TC-CACHE-08: not applied at or after the expiry. */
static void
test_expiry(void **state)
{
    struct sts_cache *cache = new_cache(10);
    struct sts_entry entry;

    (void)state;
    put(cache, "a.example", "enforce", 100, NOW_S);
    assert_true(is_valid(cache, "a.example", NOW_S + 99));
    assert_false(is_valid(cache, "a.example", NOW_S + 100));
    assert_false(is_valid(cache, "a.example", NOW_S + 101));
    assert_true(sts_cache_use(cache, "a.example", NOW_S + 101, &entry)); /* TC-CACHE-07 */
    assert_true(entry.has_policy);
    assert_int_equal(entry.expires_at_s, NOW_S + 100);
    assert_int_equal(sts_cache_count_class(cache, STS_CLASS_EXPIRED), 1);
    put(cache, "a.example", "enforce", 100, NOW_S + 101); /* STS-060: from the last fetch on */
    assert_true(is_valid(cache, "a.example", NOW_S + 200));
    sts_cache_free(cache);
}

/* STS-051, STS-064, STS-068, TC-CACHE-02, TC-CACHE-19: the newer one replaces the older at once. */
static void
test_replaced(void **state)
{
    struct sts_cache *cache = new_cache(10);
    struct sts_entry entry;

    (void)state;
    put(cache, "a.example", "enforce", 604800, NOW_S);
    assert_string_equal(last_changed, "a.example");
    note_failure(cache, "a.example", "id2", NOW_S + 1);
    assert_int_equal(try_put(cache, "a.example", "id2", "none", 60, NOW_S + 2), RES_OK);
    assert_int_equal(sts_cache_count(cache), 1);
    assert_int_equal(changes, 2);
    assert_true(sts_cache_find(cache, "a.example", &entry));
    assert_int_equal(entry.mode, STS_MODE_NONE);
    assert_string_equal(entry.id, "id2");
    assert_int_equal(entry.max_age_s, 60);
    assert_int_equal(entry.failed_count, 0);
    assert_true(span_equal(entry.text,
                           span_of("version: STSv1\nmode: none\nmx: mx.a.example\nmax_age: 60\n")));
    sts_cache_free(cache);
}

/* STS-062, TC-CACHE-03: a failure is noted beside a policy that stays. */
static void
test_failure_keeps(void **state)
{
    struct sts_cache *cache = new_cache(10);
    struct sts_entry entry;

    (void)state;
    put(cache, "a.example", "enforce", 604800, NOW_S);
    note_failure(cache, "a.example", "id2", NOW_S + 5);
    note_failure(cache, "a.example", "id3", NOW_S + 9);
    assert_true(sts_cache_find(cache, "a.example", &entry));
    assert_true(sts_entry_is_valid(&entry, NOW_S + 10));
    assert_string_equal(entry.id, "id1");
    assert_int_equal(entry.failed_count, 2);
    assert_int_equal(entry.failed_since_s, NOW_S + 5);
    assert_string_equal(entry.failed_id, "id3");
    assert_string_equal(entry.failed_reason, "http-404");
    assert_int_equal(entry.failed_type, RESULT_STS_POLICY_FETCH_ERROR);
    sts_cache_free(cache);
}

/* STS-031, TC-CACHE-13: clock steps of 4:59 and 5:01; another id does not wait. */
static void
test_wait(void **state)
{
    struct sts_cache *cache = new_cache(10);
    struct sts_entry entry;

    (void)state;
    assert_false(sts_cache_find(cache, "a.example", &entry));
    assert_false(sts_entry_must_wait(&entry, "id1", 0, 300000));
    note_failure(cache, "a.example", "id1", NOW_S);
    assert_true(sts_cache_find(cache, "a.example", &entry));
    assert_false(entry.has_policy);
    assert_false(sts_entry_is_valid(&entry, NOW_S));
    assert_true(sts_entry_must_wait(&entry, "id1", (NOW_S + 299) * 1000LL, 300000));
    assert_false(sts_entry_must_wait(&entry, "id1", (NOW_S + 301) * 1000LL, 300000));
    assert_false(sts_entry_must_wait(&entry, "id2", (NOW_S + 1) * 1000LL, 300000));
    assert_int_equal(changes, 0); /* nothing that should survive a restart */
    sts_cache_free(cache);
}

/* STS-071, TC-CACHE-24: expired, negative, none, testing, enforce; in each the least recently used
 * one; and every loss is counted. */
static void
test_eviction_order(void **state)
{
    static const struct {
        const char *gone;
        enum policy_stat stat;
    } order[] = {
        { "expired.example", STAT_EVICTED_EXPIRED },
        { "negative1.example", STAT_EVICTED_NEGATIVE },
        { "negative2.example", STAT_EVICTED_NEGATIVE },
        { "none.example", STAT_EVICTED_NONE },
        { "testing.example", STAT_EVICTED_TESTING },
        { "enforce2.example", STAT_EVICTED_ENFORCE },
        { "enforce1.example", STAT_EVICTED_ENFORCE },
    };
    struct sts_cache *cache = new_cache(7);
    struct sts_entry entry;

    (void)state;
    put(cache, "enforce1.example", "enforce", 604800, NOW_S);
    put(cache, "enforce2.example", "enforce", 604800, NOW_S);
    put(cache, "testing.example", "testing", 604800, NOW_S);
    put(cache, "none.example", "none", 604800, NOW_S);
    note_failure(cache, "negative1.example", "id1", NOW_S);
    note_failure(cache, "negative2.example", "id1", NOW_S);
    put(cache, "expired.example", "enforce", 10, NOW_S);
    assert_true(sts_cache_use(cache, "enforce1.example", NOW_S + 1, &entry));
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        char name[32];

        assert_true(has(cache, order[i].gone));
        snprintf(name, sizeof name, "new%zu.example", i);
        put(cache, name, "enforce", 604800, NOW_S + 20);
        assert_false(has(cache, order[i].gone));
        assert_string_equal(last_changed, name);
        assert_int_equal(sts_cache_count(cache), 7);
        assert_true(stats.counts[order[i].stat] >= 1);
    }
    assert_int_equal(stats.counts[STAT_EVICTED_ENFORCE], 2);
    assert_int_equal(stats.counts[STAT_EVICTED_NEGATIVE], 2);
    sts_cache_free(cache);
}

/* TC-CACHE-14: names that somebody makes up by the thousand push out no policy. */
static void
test_flood(void **state)
{
    struct sts_cache *cache = new_cache(1000);

    (void)state;
    for (unsigned i = 0; i < 900; i++) {
        char name[32];

        snprintf(name, sizeof name, "good%u.example", i);
        put(cache, name, "enforce", 604800, NOW_S);
    }
    for (unsigned i = 0; i < 20000; i++) {
        char name[32];

        snprintf(name, sizeof name, "n%u.evil.example", i);
        note_failure(cache, name, "id1", NOW_S + 1);
    }
    assert_int_equal(sts_cache_count(cache), 1000);
    assert_int_equal(sts_cache_count_class(cache, STS_CLASS_ENFORCE), 900);
    assert_int_equal(stats.counts[STAT_EVICTED_ENFORCE], 0);
    sts_cache_free(cache);
}

/* STS-071, TC-CACHE-14: in a table that is full of policies in force, what protects nobody pushes
 * out none of them, and what does protect pushes that out again. */
static void
test_full_of_enforce(void **state)
{
    struct sts_cache *cache = new_cache(50);
    char name[32];

    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "good%u.example", i);
        put(cache, name, "enforce", 604800, NOW_S);
    }
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "n%u.evil.example", i);
        note_failure(cache, name, "id1", NOW_S + 1);
        snprintf(name, sizeof name, "t%u.evil.example", i);
        put(cache, name, i % 2 ? "testing" : "none", 604800, NOW_S + 1);
        assert_int_equal(sts_cache_count(cache), 51);
    }
    assert_int_equal(sts_cache_count_class(cache, STS_CLASS_ENFORCE), 50);
    assert_int_equal(stats.counts[STAT_EVICTED_ENFORCE], 0);
    put(cache, "t999.evil.example", "enforce", 604800, NOW_S + 2); /* what was there is protected */
    assert_int_equal(sts_cache_count(cache), 50);
    assert_false(has(cache, "good0.example"));
    assert_int_equal(stats.counts[STAT_EVICTED_ENFORCE], 1);
    sts_cache_free(cache);
}

/* STS-071: after a restart too the least recently used one leaves first. */
static void
test_order_of_a_store(void **state)
{
    static const struct {
        const char *domain;
        int64_t used_at_s;
    } rows[] = { { "a.example", NOW_S - 10 },
                 { "b.example", NOW_S - 30 },
                 { "c.example", NOW_S - 20 } };
    struct sts_cache *cache = new_cache(3);
    struct span text = span_of("version: STSv1\nmode: enforce\nmx: mx.example\nmax_age: 86400\n");
    struct sts_policy *policy;

    (void)state;
    assert_int_equal(sts_policy_parse(text, &policy, NULL), RES_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(sts_cache_restore(cache, rows[i].domain, "id1", text, policy, NOW_S - 40,
                                           rows[i].used_at_s, NOW_S),
                         RES_OK);
    sts_policy_free(policy);
    assert_int_equal(changes, 0); /* the store has them */
    sts_cache_sort(cache);
    put(cache, "d.example", "enforce", 604800, NOW_S);
    assert_false(has(cache, "b.example"));
    put(cache, "e.example", "enforce", 604800, NOW_S);
    assert_false(has(cache, "c.example"));
    assert_true(has(cache, "a.example"));
    sts_cache_free(cache);
}

/* STS-072, TC-CACHE-18: a clock that jumps neither ends policies nor makes them immortal. */
static void
test_clock_jumps(void **state)
{
    static const int64_t year_s = 31557600;
    struct sts_cache *cache = new_cache(10);
    struct sts_entry entry;

    (void)state;
    assert_int_equal(sts_cache_tell_time(cache, NOW_S, 5000), 0);
    put(cache, "a.example", "enforce", 1000, NOW_S);
    assert_int_equal(sts_cache_tell_time(cache, NOW_S + 300, 305000), 0);
    assert_int_equal(sts_cache_tell_time(cache, NOW_S + 300 + year_s, 305000), year_s);
    assert_true(is_valid(cache, "a.example", NOW_S + year_s + 999));
    assert_false(is_valid(cache, "a.example", NOW_S + year_s + 1000));
    assert_string_equal(last_changed, ""); /* all of it is to be stored anew */
    assert_int_equal(sts_cache_tell_time(cache, NOW_S + 400 - year_s, 405000), -2 * year_s);
    assert_true(is_valid(cache, "a.example", NOW_S - year_s + 999));
    assert_false(is_valid(cache, "a.example", NOW_S - year_s + 1000));
    assert_int_equal(sts_cache_tell_time(cache, NOW_S + 430 - year_s, 405000),
                     0); /* a step of ntpd */
    assert_int_equal(stats.counts[STAT_CLOCK_JUMPS], 2);

    /* A fetch in the future, as a store may have it, was now. */
    put(cache, "b.example", "enforce", 1000, NOW_S + year_s);
    assert_true(sts_cache_use(cache, "b.example", NOW_S, &entry));
    assert_int_equal(entry.fetched_at_s, NOW_S);
    assert_int_equal(entry.expires_at_s, NOW_S + 1000);
    assert_string_equal(last_changed, "b.example"); /* else each restart would begin it anew */
    sts_cache_free(cache);
}

/* STS-045 and the operator's own bounds. */
static void
test_bounds(void **state)
{
    struct sts_cache *cache = sts_cache_new(&(struct sts_cache_config){
        .entries_max = 10, .max_age_min_s = 600, .max_age_cap_s = 7200 });
    struct sts_entry entry;

    (void)state;
    assert_non_null(cache);
    put(cache, "short.example", "enforce", 1, NOW_S);
    put(cache, "long.example", "enforce", 31557600, NOW_S);
    assert_true(sts_cache_find(cache, "short.example", &entry));
    assert_int_equal(entry.expires_at_s, NOW_S + 600);
    assert_true(sts_cache_find(cache, "long.example", &entry));
    assert_int_equal(entry.expires_at_s, NOW_S + 7200);
    sts_cache_free(cache);
}

/* A use is worth a write at most once an hour. */
static void
test_use_is_told(void **state)
{
    struct sts_cache *cache = new_cache(10);
    struct sts_entry entry;
    int64_t hour_s = NOW_S - NOW_S % 3600;

    (void)state;
    put(cache, "a.example", "enforce", 604800, hour_s);
    assert_int_equal(changes, 1);
    for (unsigned i = 1; i < 3600; i++)
        assert_true(sts_cache_use(cache, "a.example", hour_s + i, &entry));
    assert_int_equal(changes, 1);
    assert_true(sts_cache_use(cache, "a.example", hour_s + 3600, &entry));
    assert_int_equal(changes, 2);
    assert_int_equal(entry.used_at_s, hour_s + 3600);
    sts_cache_free(cache);
}

static void
count_one(void *arg, const struct sts_entry *entry)
{
    assert_true(entry->domain[0] != '\0');
    ++*(unsigned *)arg;
}

/* TC-CACHE-07, TC-CACHE-20: what nobody asked for, and what is long over, goes. */
static void
test_sweep(void **state)
{
    struct sts_cache *cache = new_cache(1000);
    size_t place = 0, dropped = 0;
    unsigned seen = 0;
    struct sts_entry entry;

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        char name[32];

        snprintf(name, sizeof name, "d%u.example", i);
        put(cache, name, "enforce", i < 100 ? 100 : 604800, NOW_S);
        if (i >= 200)
            assert_true(sts_cache_use(cache, name, NOW_S + 5000, &entry));
    }
    do
        sts_cache_walk(cache, &place, 7, count_one, &seen);
    while (place);
    assert_int_equal(seen, 300);
    do
        dropped += sts_cache_sweep(cache, &place, 10, NOW_S + 150, NOW_S - 1, NOW_S + 99);
    while (place);
    assert_int_equal(dropped, 0); /* expired, but shown as that for a while */
    assert_int_equal(sts_cache_count_class(cache, STS_CLASS_EXPIRED), 100);
    do
        dropped += sts_cache_sweep(cache, &place, 10, NOW_S + 5000, NOW_S - 1, NOW_S + 101);
    while (place);
    assert_int_equal(dropped, 100);
    assert_int_equal(stats.counts[STAT_REMOVED_EXPIRED], 100);
    do
        dropped += sts_cache_sweep(cache, &place, 10, NOW_S + 5000, NOW_S + 1, NOW_S);
    while (place);
    assert_int_equal(dropped, 200);
    assert_int_equal(stats.counts[STAT_REMOVED_UNUSED], 100);
    assert_int_equal(sts_cache_count(cache), 100);
    assert_int_equal(sts_cache_drop_all(cache), 100);
    assert_int_equal(sts_cache_count(cache), 0);
    sts_cache_walk(cache, &place, 10, count_one, &seen);
    assert_int_equal(sts_cache_sweep(cache, &place, 10, NOW_S, 0, 0), 0);
    assert_int_equal(place, 0);
    sts_cache_free(cache);
}

/* STS-073, TC-CACHE-22: one domain dropped. */
static void
test_drop(void **state)
{
    struct sts_cache *cache = new_cache(10);

    (void)state;
    put(cache, "a.example", "enforce", 604800, NOW_S);
    note_failure(cache, "b.example", "id1", NOW_S);
    assert_true(sts_cache_drop(cache, "a.example"));
    assert_string_equal(last_changed, "a.example");
    assert_false(sts_cache_drop(cache, "a.example"));
    assert_true(sts_cache_drop(cache, "b.example"));
    assert_int_equal(changes, 2);
    assert_int_equal(sts_cache_count(cache), 0);
    sts_cache_free(cache);
}

/* Every allocation fails in turn: what was there stays. */
static void
test_no_memory(void **state)
{
    (void)state;
    for (unsigned n = 0;; n++) {
        struct sts_cache *cache = new_cache(10);
        enum result put_res, fail_res;

        put(cache, "a.example", "enforce", 604800, NOW_S);
        alloc_fail_after(n);
        put_res = try_put(cache, "a.example", "id2", "none", 60, NOW_S);
        fail_res = sts_cache_fail(cache, "b.example", "id1", RESULT_STS_POLICY_FETCH_ERROR, "tls",
                                  NOW_S, 0);
        (void)alloc_fail_happened();
        assert_true(put_res == RES_OK || put_res == RES_NOMEM);
        assert_true(has(cache, "a.example"));
        assert_int_equal(has(cache, "b.example"), fail_res == RES_OK);
        sts_cache_free(cache);
        if (put_res == RES_OK && fail_res == RES_OK)
            break;
    }
}

/* The table itself gets no memory, at first or when it has to grow: the same. */
static void
test_no_memory_for_table(void **state)
{
    unsigned refused = 0;
    struct sts_cache *cache = new_cache(100000);
    char name[32];

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        enum result res;

        snprintf(name, sizeof name, "d%u.example", i);
        alloc_fail_after(2); /* the entry and its failure are made, nothing else */
        res = sts_cache_fail(cache, name, "id1", RESULT_STS_POLICY_FETCH_ERROR, "tls", NOW_S, 0);
        (void)alloc_fail_happened();
        assert_int_equal(has(cache, name), res == RES_OK);
        if (res == RES_OK)
            continue;
        refused++;
        note_failure(cache, name, "id1", NOW_S); /* with memory it grows */
    }
    assert_true(refused >= 2); /* the first table, and one that grew */
    assert_int_equal(sts_cache_count(cache), 5000);
    sts_cache_free(cache);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_failure_keeps),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_eviction_order),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_clock_jumps),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_use_is_told),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_full_of_enforce),
        cmocka_unit_test(test_order_of_a_store),
        cmocka_unit_test(test_no_memory_for_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
