/* tests/proxy/test_ehlo_memory.c: what a destination listed under TLS, and for how long it counts
 * (PRX-029). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/ehlo_memory.h"
#include "tests/alloc_fail.h"

#define NOW_S 100000
#define OLD "250-mx\r\n250 DSN\r\n"
#define NEW "250-mx\r\n250 SMTPUTF8\r\n"

static struct ip_addr
addr(const char *text)
{
    struct ip_addr a;

    assert_int_equal(ip_addr_parse(text, &a), RES_OK);
    return a;
}

static void
learn(struct ehlo_memory *memory, const char *to, const char *list, bool proven, int64_t now_s)
{
    struct ip_addr a = addr(to);

    (void)ehlo_memory_learn(memory, &a, 25, span_of(list), proven, now_s);
}

static void
expect_at(struct ehlo_memory *memory, const char *to, uint16_t port, int64_t now_s,
          const char *want)
{
    struct ip_addr a = addr(to);
    struct span got = ehlo_memory_recall(memory, &a, port, now_s);

    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.ptr, want, got.len);
}

static int
set_up(void **state)
{
    *state = ehlo_memory_new();
    return *state ? 0 : -1;
}

static int
clear_up(void **state)
{
    ehlo_memory_free(*state);
    return 0;
}

/* Each address and port has a list of its own; the last one counts. */
static void
test_destinations(void **state)
{
    expect_at(*state, "192.0.2.1", 25, NOW_S, "");
    learn(*state, "192.0.2.1", OLD, false, NOW_S);
    learn(*state, "2001:db8::1", NEW, false, NOW_S);
    expect_at(*state, "192.0.2.1", 25, NOW_S, OLD);
    expect_at(*state, "2001:db8::1", 25, NOW_S, NEW);
    expect_at(*state, "192.0.2.1", 26, NOW_S, "");
    expect_at(*state, "192.0.2.2", 25, NOW_S, "");
    learn(*state, "192.0.2.1", NEW, false, NOW_S + 1);
    expect_at(*state, "192.0.2.1", 25, NOW_S + 1, NEW);
    learn(*state, "192.0.2.1", "", true, NOW_S + 1);
    expect_at(*state, "192.0.2.1", 25, NOW_S + 1, NEW);
}

static void
test_age(void **state)
{
    learn(*state, "192.0.2.1", OLD, true, NOW_S);
    expect_at(*state, "192.0.2.1", 25, NOW_S + EHLO_MEMORY_S - 1, OLD);
    expect_at(*state, "192.0.2.1", 25, NOW_S + EHLO_MEMORY_S, "");
    learn(*state, "192.0.2.1", NEW, false, NOW_S + EHLO_MEMORY_S);
    expect_at(*state, "192.0.2.1", 25, NOW_S + EHLO_MEMORY_S, NEW);
}

/* Who stands in the way with a certificate of his own changes nothing. */
static void
test_proven(void **state)
{
    learn(*state, "192.0.2.1", OLD, false, NOW_S);
    learn(*state, "192.0.2.1", NEW, true, NOW_S);
    expect_at(*state, "192.0.2.1", 25, NOW_S, NEW);
    learn(*state, "192.0.2.1", OLD, false, NOW_S + 1);
    expect_at(*state, "192.0.2.1", 25, NOW_S + 1, NEW);
    learn(*state, "192.0.2.1", OLD, true, NOW_S + 1);
    expect_at(*state, "192.0.2.1", 25, NOW_S + 1, OLD);
}

static void
test_bounds(void **state)
{
    static char longest[EHLO_MEMORY_LIST_BYTES + 2];

    memset(longest, 'x', EHLO_MEMORY_LIST_BYTES);
    learn(*state, "192.0.2.1", longest, false, NOW_S);
    expect_at(*state, "192.0.2.1", 25, NOW_S, longest);
    longest[EHLO_MEMORY_LIST_BYTES] = 'x'; /* and what stood there is not true any more */
    learn(*state, "192.0.2.1", longest, false, NOW_S);
    expect_at(*state, "192.0.2.1", 25, NOW_S, "");

    learn(*state, "192.0.2.1", OLD, false, NOW_S);
    learn(*state, "192.0.2.2", OLD, false, NOW_S);
    for (unsigned n = 0; n < EHLO_MEMORY_MAX - 1; n++) {
        struct ip_addr a = { .len = 4, .bytes = { 10, 0, (uint8_t)(n >> 8), (uint8_t)n } };

        (void)ehlo_memory_learn(*state, &a, 25, span_of(NEW), true, NOW_S);
    }
    expect_at(*state, "192.0.2.1", 25, NOW_S, "");
    expect_at(*state, "192.0.2.2", 25, NOW_S, OLD);
}

static void
test_no_memory(void **state)
{
    bool failed = true;

    for (unsigned n = 0; failed; n++) {
        struct ehlo_memory *memory;

        alloc_fail_after(n);
        memory = ehlo_memory_new();
        if (memory)
            learn(memory, "192.0.2.1", OLD, true, NOW_S);
        failed = alloc_fail_happened();
        if (!failed)
            expect_at(memory, "192.0.2.1", 25, NOW_S, OLD);
        ehlo_memory_free(memory);
    }
    (void)state;
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_destinations, set_up, clear_up),
        cmocka_unit_test_setup_teardown(test_age, set_up, clear_up),
        cmocka_unit_test_setup_teardown(test_proven, set_up, clear_up),
        cmocka_unit_test_setup_teardown(test_bounds, set_up, clear_up),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests_name("ehlo_memory", tests, NULL, NULL);
}
