/* tests/tls/test_chain_cache.c: what is remembered of chains that were good, and for how long. */
#include "tls/chain_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define NOW INT64_C(1767225600)
#define DAY 86400

static struct peer_chain *
chain_of(unsigned number, size_t len)
{
    char *der = calloc(1, len);
    struct span certs[1];
    struct peer_chain *chain;

    assert_non_null(der);
    memcpy(der, &number, sizeof number);
    certs[0] = span_make(der, len);
    assert_int_equal(peer_chain_new(certs, 1, &chain), RES_OK);
    memcpy(chain->sha256, &number, sizeof number);
    free(der);
    return chain;
}

/* What a verification that went well leaves behind. */
static struct observation *
good_observation(unsigned number, size_t len, unsigned names)
{
    struct observation *obs = observation_new();

    assert_non_null(obs);
    obs->certs = chain_of(number, len);
    obs->chain = CHAIN_GOOD;
    snprintf(obs->chain_error, sizeof obs->chain_error, "X509_V_OK");
    snprintf(obs->chain_reason, sizeof obs->chain_reason, "ok");
    memset(obs->leaf_sha256, (int)number + 1, sizeof obs->leaf_sha256);
    for (unsigned i = 0; i < names; i++)
        assert_int_equal(name_list_add(&obs->sans, span_of("mx.example.com")), RES_OK);
    return obs;
}

static bool
is_known(struct chain_cache *cache, unsigned number, int64_t now_s)
{
    struct observation *obs = observation_new();
    enum result res;

    assert_non_null(obs);
    obs->certs = chain_of(number, 8);
    res = chain_cache_find(cache, now_s, obs);
    assert_true(res == RES_OK || res == RES_AGAIN);
    assert_int_equal(obs->chain, res == RES_OK ? CHAIN_GOOD : CHAIN_UNTRUSTED);
    if (res == RES_OK) {
        assert_string_equal(obs->chain_error, "X509_V_OK");
        assert_string_equal(obs->chain_reason, "ok");
        assert_int_equal(obs->leaf_sha256[31], (uint8_t)(number + 1));
    }
    observation_unref(obs);
    return res == RES_OK;
}

static void
add(struct chain_cache *cache, const struct path_validity *validity, int64_t now_s, unsigned number)
{
    struct observation *obs = good_observation(number, 8, 1);

    chain_cache_add(cache, validity, now_s, obs);
    observation_unref(obs);
}

static const struct time_case {
    const char *name;
    int64_t from_s, until_s; /* of the path, relative to NOW */
    int64_t at_s;            /* asked for then */
    bool known;
} time_cases[] = {
    { "known at once", -DAY, DAY, 0, true },
    { "known in the first second of the youngest certificate", -10, DAY, -10, true },
    { "not known before it: the clock was set back", -10, DAY, -11, false },
    { "known in the last second of the oldest certificate", -DAY, 100, 100, true },
    { "TLS-044 never beyond it", -DAY, 100, 101, false },
    { "known for a day", -DAY, 90 * DAY, DAY, true },
    { "not for longer, however long it is valid", -DAY, 90 * DAY, DAY + 1, false },
    { "a validity that nobody can read is none", -DAY, -NOW - DAY, 0, false },
};

static void
test_time(void **state)
{
    const struct time_case *c = *state;
    struct path_validity validity = { .from_s = NOW + c->from_s, .until_s = NOW + c->until_s };
    struct chain_cache *cache = chain_cache_new();

    assert_non_null(cache);
    assert_false(is_known(cache, 1, NOW));
    add(cache, &validity, NOW, 1);
    assert_int_equal(is_known(cache, 1, NOW + c->at_s), c->known);
    assert_false(is_known(cache, 2, NOW + c->at_s)); /* another chain */
    if (!c->known)
        assert_false(is_known(cache, 1, NOW)); /* once out of time it is gone */
    chain_cache_free(cache);
}

static const struct path_validity always = { .from_s = 0, .until_s = INT64_MAX };

/* A peer that brings bad or enormous chains gets no place. */
static void
test_what_is_kept(void **state)
{
    static const struct {
        enum chain_state chain;
        size_t len;
        unsigned names;
        bool kept;
    } rows[] = {
        { CHAIN_GOOD, 8, 0, true },
        { CHAIN_UNTRUSTED, 8, 1, false },
        { CHAIN_EXPIRED, 8, 1, false },
        { CHAIN_GOOD, CHAIN_CACHE_BYTES_MAX, 1, true },
        { CHAIN_GOOD, CHAIN_CACHE_BYTES_MAX + 1, 1, false },
        { CHAIN_GOOD, 8, CHAIN_CACHE_NAMES_MAX, true },
        { CHAIN_GOOD, 8, CHAIN_CACHE_NAMES_MAX + 1, false },
    };
    struct chain_cache *cache = chain_cache_new();

    (void)state;
    for (unsigned i = 0; i < ROWS(rows); i++) {
        struct observation *obs = good_observation(i, rows[i].len, rows[i].names);

        obs->chain = rows[i].chain;
        chain_cache_add(cache, &always, NOW, obs);
        assert_int_equal(is_known(cache, i, NOW), rows[i].kept);
        observation_unref(obs);
    }
    chain_cache_free(cache);
}

/* All who met the same chain hold the same copy, with its names. */
static void
test_one_copy(void **state)
{
    struct chain_cache *cache = chain_cache_new();
    struct observation *first = good_observation(7, 8, 3), *second = observation_new();

    (void)state;
    chain_cache_add(cache, &always, NOW, first);
    second->certs = chain_of(7, 8);
    assert_int_equal(chain_cache_find(cache, NOW, second), RES_OK);
    assert_ptr_equal(second->certs, first->certs);
    assert_int_equal(second->sans.count, 3);
    chain_cache_free(cache); /* they outlive it */
    assert_string_equal(second->sans.names[2], "mx.example.com");
    assert_int_equal(second->certs->refs, 2);
    observation_unref(first);
    observation_unref(second);
}

static void
test_the_one_used_least_lately_goes(void **state)
{
    struct chain_cache *cache = chain_cache_new();

    (void)state;
    for (unsigned i = 0; i < CHAIN_CACHE_ENTRIES; i++)
        add(cache, &always, NOW, i);
    assert_true(is_known(cache, 0, NOW));
    add(cache, &always, NOW, CHAIN_CACHE_ENTRIES);
    assert_true(is_known(cache, 0, NOW));
    assert_false(is_known(cache, 1, NOW));
    assert_true(is_known(cache, 2, NOW));
    add(cache, &always, NOW, 2); /* again: still one entry */
    assert_true(is_known(cache, 3, NOW));
    chain_cache_free(cache);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_what_is_kept),
        cmocka_unit_test(test_one_copy),
        cmocka_unit_test(test_the_one_used_least_lately_goes),
    };
    struct CMUnitTest tests[ROWS(time_cases) + ROWS(others)] = { 0 };

    for (size_t i = 0; i < ROWS(time_cases); i++)
        tests[i] = (struct CMUnitTest){ .name = time_cases[i].name,
                                        .test_func = test_time,
                                        .initial_state = (void *)&time_cases[i] };
    memcpy(tests + ROWS(time_cases), others, sizeof others);
    return cmocka_run_group_tests_name("chain_cache", tests, NULL, NULL);
}
