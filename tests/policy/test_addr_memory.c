/* tests/policy/test_addr_memory.c: which host had which address within the last day (PRX-018). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/addr_memory.h"
#include "tests/alloc_fail.h"

#define NOW_S 1700000000

static struct ip_addr
addr(const char *text)
{
    struct ip_addr a;

    assert_int_equal(ip_addr_parse(text, &a), RES_OK);
    return a;
}

/* The n-th of as many addresses as are asked for. */
static struct ip_addr
nth(unsigned n)
{
    return (struct ip_addr){ .len = 4,
                             .bytes = { 10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n } };
}

static bool
has(const struct addr_memory *memory, const char *host, const char *text, int64_t now_s)
{
    struct ip_addr a = addr(text);

    return addr_memory_has(memory, host, &a, now_s);
}

static int
set_up(void **state)
{
    *state = addr_memory_new(ADDR_MEMORY_S);
    return *state ? 0 : -1;
}

static int
clear_up(void **state)
{
    addr_memory_free(*state);
    return 0;
}

/* A pair is a host and an address; neither alone, nor another form of the same octets. */
static void
test_pairs(void **state)
{
    struct ip_addr a = addr("192.0.2.1");

    addr_memory_note(*state, "mx.a.example", &a, NOW_S);
    assert_true(has(*state, "mx.a.example", "192.0.2.1", NOW_S));
    assert_true(has(*state, "mx.a.example", "::ffff:192.0.2.1", NOW_S));
    assert_false(has(*state, "mx.a.example", "192.0.2.2", NOW_S));
    assert_false(has(*state, "mx.b.example", "192.0.2.1", NOW_S));
    assert_false(has(*state, "mx.a.exampl", "192.0.2.1", NOW_S));
    assert_false(has(*state, "", "192.0.2.1", NOW_S));
    assert_false(has(*state, "mx.a.example", "c000:201::", NOW_S)); /* begins with its octets */
}

/* For a day after it was seen last, to the second; a clock set back forgets nothing. */
static void
test_one_day(void **state)
{
    struct ip_addr a = addr("2001:db8::1");

    addr_memory_note(*state, "mx.a.example", &a, NOW_S);
    assert_true(has(*state, "mx.a.example", "2001:db8::1", NOW_S + ADDR_MEMORY_S));
    assert_false(has(*state, "mx.a.example", "2001:db8::1", NOW_S + ADDR_MEMORY_S + 1));
    addr_memory_note(*state, "mx.a.example", &a, NOW_S + ADDR_MEMORY_S);
    assert_true(has(*state, "mx.a.example", "2001:db8::1", NOW_S + 2 * ADDR_MEMORY_S));
    assert_true(has(*state, "mx.a.example", "2001:db8::1", NOW_S - 1));
}

/* Taken once, and gone; one that is too old is not there to be taken. */
static void
test_take(void **state)
{
    struct ip_addr a = addr("192.0.2.1"), b = addr("192.0.2.2");

    addr_memory_note(*state, "d.example", &a, NOW_S);
    addr_memory_note(*state, "d.example", &b, NOW_S);
    assert_false(addr_memory_take(*state, "other.example", &a, NOW_S));
    assert_true(addr_memory_take(*state, "d.example", &a, NOW_S + ADDR_MEMORY_S));
    assert_false(addr_memory_take(*state, "d.example", &a, NOW_S));
    assert_false(addr_memory_take(*state, "d.example", &b, NOW_S + ADDR_MEMORY_S + 1));
    assert_false(addr_memory_has(*state, "d.example", &b, NOW_S));
}

/* At the bound those that were seen longest ago go, in that order. */
static void
test_bound(void **state)
{
    struct ip_addr first = nth(0), second = nth(1), third = nth(2), last = nth(ADDR_MEMORY_MAX);

    for (unsigned n = 0; n < ADDR_MEMORY_MAX; n++) {
        struct ip_addr a = nth(n);

        addr_memory_note(*state, "mx.a.example", &a, NOW_S);
    }
    addr_memory_note(*state, "mx.a.example", &first, NOW_S); /* seen again: the second is oldest */
    assert_true(addr_memory_has(*state, "mx.a.example", &second, NOW_S));
    addr_memory_note(*state, "mx.a.example", &last, NOW_S);
    assert_true(addr_memory_has(*state, "mx.a.example", &first, NOW_S));
    assert_false(addr_memory_has(*state, "mx.a.example", &second, NOW_S));
    assert_true(addr_memory_has(*state, "mx.a.example", &third, NOW_S));
    assert_true(addr_memory_has(*state, "mx.a.example", &last, NOW_S));
}

/* Without memory nothing is remembered, and nothing is lost: not the process, not the others. */
static void
test_no_memory(void **state)
{
    struct ip_addr kept = addr("192.0.2.1");
    unsigned failures = 0;
    bool happened = true;

    (void)state;
    for (unsigned n = 0; happened; n++) {
        struct addr_memory *memory;

        alloc_fail_after(n);
        memory = addr_memory_new(ADDR_MEMORY_S);
        if (memory)
            addr_memory_note(memory, "mx.a.example", &kept, NOW_S);
        happened = alloc_fail_happened();
        failures += happened;
        if (memory) {
            assert_int_equal(addr_memory_has(memory, "mx.a.example", &kept, NOW_S), !happened);
            addr_memory_note(memory, "mx.a.example", &kept, NOW_S);
            assert_true(addr_memory_has(memory, "mx.a.example", &kept, NOW_S));
        }
        addr_memory_free(memory);
    }
    assert_in_range(failures, 3, 10); /* the memory, the pair, the table */
}

/* The same while the table grows under a thousand pairs. */
static void
test_no_memory_to_grow(void **state)
{
    struct ip_addr any = addr("192.0.2.1");
    unsigned left_out = 0;

    addr_memory_note(*state, "mx.a.example", &any, NOW_S); /* with a table */
    for (unsigned n = 0; n < 1000; n++) {
        struct ip_addr a = nth(n);

        alloc_fail_after(1); /* the pair's own succeeds */
        addr_memory_note(*state, "mx.a.example", &a, NOW_S);
        left_out += alloc_fail_happened();
    }
    assert_in_range(left_out, 1, 990);
    for (unsigned n = 0, missing = 0; n < 1000; n++) {
        struct ip_addr a = nth(n);

        missing += !addr_memory_has(*state, "mx.a.example", &a, NOW_S);
        assert_true(missing <= left_out);
    }
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, clear_up)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_pairs),
        ROW(test_one_day),
        ROW(test_take),
        ROW(test_bound),
        cmocka_unit_test(test_no_memory),
        ROW(test_no_memory_to_grow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
