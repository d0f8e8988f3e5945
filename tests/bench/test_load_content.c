/* Mails of the load generator, bench/load_content.h: given in pieces they are what they would be in
 * one, and end once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "bench/load_content.h"

#define LOOP 65520u
#define HEADER_END "\r\n\r\n"

/* Sizes around a line's end, around one loop and around several. */
static const size_t sizes[] = { 128,        4095,     4096,          4097,           LOOP - 1,
                                LOOP,       LOOP + 1, LOOP + 70,     LOOP + 71,      LOOP + 72,
                                LOOP + 149, 2 * LOOP, 2 * LOOP + 73, 3 * LOOP + 151, 8u << 20 };

/* The whole mail, put together from its pieces. */
static char *
assemble(const struct load_content *c)
{
    char *whole = malloc(c->len + 1);

    assert_non_null(whole);
    for (size_t at = 0; at < c->len;) {
        struct span part = load_content_at(c, at);

        assert_in_range(part.len, 1, c->len - at);
        memcpy(whole + at, part.ptr, part.len);
        at += part.len;
    }
    whole[c->len] = '\0';
    return whole;
}

static void
assert_lines(const char *body, const char *end)
{
    size_t column = 0;

    for (const char *at = body; at < end; at++, column++) {
        bool last = at + 1 == end && *at == 'x';

        assert_true(last || *at != '.');
        if (*at == '\n') {
            assert_int_equal(column, 77);
            assert_int_equal(at[-1], '\r');
            column = SIZE_MAX;
        } else if (*at != '\r' && !last) {
            assert_int_equal(*at, 'a' + (int)(column % 26));
        }
    }
}

static void
test_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct load_content c;
        const char *body, *end;
        char *whole;

        assert_int_equal(load_content_init(&c, sizes[i]), RES_OK);
        assert_int_equal(c.len, sizes[i] + 5);
        whole = assemble(&c);
        assert_int_equal(strlen(whole), c.len);
        body = strstr(whole, HEADER_END);
        end = strstr(whole, "\r\n.\r\n");
        assert_non_null(body);
        assert_ptr_equal(end, whole + c.len - 5);
        assert_lines(body + 4, end);
        free(whole);
        load_content_clear(&c);
    }
}

/* From whichever octet one begins, the same octet comes. */
static void
test_every_beginning(void **state)
{
    struct load_content c;
    char *whole;

    (void)state;
    assert_int_equal(load_content_init(&c, 3 * LOOP + 151), RES_OK);
    whole = assemble(&c);
    for (size_t at = 0; at < c.len; at++)
        assert_int_equal(*load_content_at(&c, at).ptr, whole[at]);
    free(whole);
    load_content_clear(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_every_beginning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
