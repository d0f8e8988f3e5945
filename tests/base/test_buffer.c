/* tests/base/test_buffer.c: the growing byte queue. */
#include "base/buffer.h"

#include "tests/alloc_fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void
assert_content(const struct buffer *b, const char *want)
{
    assert_int_equal(buffer_len(b), strlen(want));
    assert_true(span_equal(buffer_span(b), span_of(want)));
}

static void
test_empty_holds_no_memory(void **state)
{
    struct buffer b;
    char *place;

    (void)state;
    buffer_init(&b, 10);
    assert_int_equal(buffer_len(&b), 0);
    assert_int_equal(buffer_room(&b), 10);
    assert_int_equal(buffer_span(&b).len, 0);
    assert_null(b.mem);
    assert_int_equal(buffer_append(&b, span_of("")), RES_OK);
    assert_int_equal(buffer_append(&b, (struct span){ NULL, 0 }), RES_OK);
    assert_int_equal(buffer_reserve(&b, 0, &place), RES_OK);
    assert_null(b.mem);
    assert_int_equal(buffer_append(&b, span_of("abc")), RES_OK);
    assert_non_null(b.mem);
    buffer_consume(&b, 3);
    assert_null(b.mem);
    buffer_consume(&b, 0);
    buffer_clear(&b);
    assert_int_equal(buffer_room(&b), 10);
}

/* A read that found nothing: the idle connection gives its memory back. */
static void
test_reserve_without_bytes_holds_no_memory(void **state)
{
    struct buffer b;
    char *place;

    (void)state;
    buffer_init(&b, 10);
    assert_int_equal(buffer_reserve(&b, 10, &place), RES_OK);
    assert_non_null(place);
    buffer_commit(&b, 0);
    assert_null(b.mem);
    assert_int_equal(buffer_append(&b, span_of("abc")), RES_OK);
    assert_int_equal(buffer_reserve(&b, 7, &place), RES_OK);
    buffer_commit(&b, 0);
    assert_content(&b, "abc");
    buffer_clear(&b);
}

static void
test_limit(void **state)
{
    struct buffer b;
    char *place;

    (void)state;
    buffer_init(&b, 4);
    assert_int_equal(buffer_append(&b, span_of("abcde")), RES_LIMIT);
    assert_null(b.mem);
    assert_int_equal(buffer_append(&b, span_of("abc")), RES_OK);
    assert_int_equal(buffer_append(&b, span_of("de")), RES_LIMIT);
    assert_content(&b, "abc");
    assert_int_equal(buffer_append(&b, span_of("d")), RES_OK);
    assert_int_equal(buffer_room(&b), 0);
    assert_int_equal(buffer_append(&b, span_of("")), RES_OK);
    assert_int_equal(buffer_reserve(&b, 1, &place), RES_LIMIT);
    assert_null(place);
    assert_int_equal(buffer_reserve(&b, SIZE_MAX, &place), RES_LIMIT);
    buffer_consume(&b, 3);
    assert_content(&b, "d");
    assert_int_equal(buffer_append(&b, span_of("xyz")), RES_OK); /* what was read counts no more */
    assert_content(&b, "dxyz");
    buffer_clear(&b);
    assert_int_equal(buffer_append(&b, span_of("1234")), RES_OK);
    assert_content(&b, "1234");
    buffer_clear(&b);
}

static void
test_reserve_and_commit_less(void **state)
{
    struct buffer b;
    char *place;

    (void)state;
    buffer_init(&b, 100);
    assert_int_equal(buffer_append(&b, span_of("ab")), RES_OK);
    assert_int_equal(buffer_reserve(&b, 98, &place), RES_OK);
    memset(place, 'x', 98);
    memcpy(place, "cd", 2);
    buffer_commit(&b, 2);
    assert_content(&b, "abcd");
    assert_int_equal(buffer_append(&b, span_of("e")), RES_OK);
    assert_content(&b, "abcde");
    buffer_clear(&b);
}

/* Every octet that goes in comes out, in order, whatever the sizes. The memory stays in proportion
 * to the limit. */
static void
test_queue_against_counter(void **state)
{
    struct buffer b;
    uint32_t seed = 1;
    uint8_t next_in = 0, next_out = 0;
    size_t held = 0, limit = 3000;

    (void)state;
    buffer_init(&b, limit);
    for (unsigned step = 0; step < 20000; step++) {
        size_t n;
        char *place;
        struct span bytes;

        seed = seed * 1664525u + 1013904223u;
        n = (seed >> 8) % 1500;
        if (seed >> 31) {
            enum result res = buffer_reserve(&b, n, &place);

            assert_int_equal(res, n <= limit - held ? RES_OK : RES_LIMIT);
            if (res != RES_OK)
                continue;
            for (size_t i = 0; i < n; i++)
                place[i] = (char)next_in++;
            buffer_commit(&b, n);
            held += n;
        } else {
            n = n < held ? n : held;
            bytes = buffer_span(&b);
            for (size_t i = 0; i < n; i++)
                assert_int_equal((uint8_t)bytes.ptr[i], next_out++);
            buffer_consume(&b, n);
            held -= n;
        }
        assert_int_equal(buffer_len(&b), held);
        assert_int_equal(buffer_room(&b), limit - held);
        assert_int_equal(b.mem != NULL, held > 0);
        assert_true(b.cap <= 2 * limit);
    }
    buffer_clear(&b);
}

static void
test_no_memory(void **state)
{
    static char big[1000];
    struct buffer b;
    char *place;

    (void)state;
    buffer_init(&b, 4096);
    alloc_fail_after(0);
    assert_int_equal(buffer_append(&b, span_of("abc")), RES_NOMEM);
    assert_true(alloc_fail_happened());
    assert_int_equal(buffer_len(&b), 0);
    assert_null(b.mem);

    assert_int_equal(buffer_append(&b, span_of("abcdef")), RES_OK);
    buffer_consume(&b, 2);
    alloc_fail_after(0);
    assert_int_equal(buffer_append(&b, span_make(big, sizeof big)), RES_NOMEM);
    assert_true(alloc_fail_happened());
    assert_content(&b, "cdef");
    alloc_fail_after(0);
    assert_int_equal(buffer_reserve(&b, sizeof big, &place), RES_NOMEM);
    assert_true(alloc_fail_happened());
    assert_null(place);
    assert_content(&b, "cdef");

    assert_int_equal(buffer_append(&b, span_make(big, sizeof big)), RES_OK);
    assert_int_equal(buffer_len(&b), 4 + sizeof big);
    assert_true(span_equal(span_first(buffer_span(&b), 4), span_of("cdef")));
    buffer_clear(&b);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_holds_no_memory),
        cmocka_unit_test(test_reserve_without_bytes_holds_no_memory),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_reserve_and_commit_less),
        cmocka_unit_test(test_queue_against_counter),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests_name("buffer", tests, NULL, NULL);
}
