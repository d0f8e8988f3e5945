/* tests/proxy/test_smtp_line.c: where command lines end, SMTP-002, SMTP-003, SMTP-005; every row
 * also with its input arriving in parts. */
#include "proxy/smtp_command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static struct line_case {
    const char *name;
    struct span input;
    enum result want;
    const char *line; /* on RES_OK */
    size_t used;
} cases[] = {
    { "a line", TEXT("NOOP\r\n"), RES_OK, "NOOP", 6 },
    { "an empty line", TEXT("\r\n"), RES_OK, "", 2 },
    { "E4 only the first of two", TEXT("RSET\r\nDATA\r\n"), RES_OK, "RSET", 6 },
    { "SMTP-004 blanks are kept here", TEXT("DATA  \r\n"), RES_OK, "DATA  ", 8 },
    { "octets of 8 bits pass here", TEXT("NOOP \xc3\xbc\xff\r\n"), RES_OK, "NOOP \xc3\xbc\xff",
      10 },
    { "nothing", TEXT(""), RES_AGAIN, NULL, 0 },
    { "no line end", TEXT("NOOP"), RES_AGAIN, NULL, 0 },
    { "CR so far", TEXT("NOOP\r"), RES_AGAIN, NULL, 0 },
    { "SMTP-002 E17 bare LF ends nothing", TEXT("NOOP\n"), RES_AGAIN, NULL, 0 },
    { "SMTP-002 bare CR ends nothing", TEXT("NOOP\rNOOP"), RES_AGAIN, NULL, 0 },
    { "SMTP-002 LF CR ends nothing", TEXT("NOOP\n\r"), RES_AGAIN, NULL, 0 },
    { "SMTP-002 bare LF: one bad line, not two commands",
      TEXT("MAIL FROM:<a@b>\nRCPT TO:<c@d>\r\nQUIT\r\n"), RES_SYNTAX, NULL, 31 },
    { "SMTP-002 bare CR: one bad line", TEXT("MAIL FROM:<a@b>\rRCPT TO:<c@d>\r\n"), RES_SYNTAX,
      NULL, 31 },
    { "SMTP-002 LF at first", TEXT("\nNOOP\r\n"), RES_SYNTAX, NULL, 7 },
    { "SMTP-002 CR at first", TEXT("\rNOOP\r\n"), RES_SYNTAX, NULL, 7 },
    { "SMTP-002 CR CR LF", TEXT("NOOP\r\r\n"), RES_SYNTAX, NULL, 7 },
    { "SMTP-002 LF CR LF", TEXT("NOOP\n\r\n"), RES_SYNTAX, NULL, 7 },
    { "SMTP-002 many bare LF", TEXT("\n\n\n\n\n\r\n"), RES_SYNTAX, NULL, 7 },
    { "SMTP-005 NUL", TEXT("NO\0OP\r\n"), RES_SYNTAX, NULL, 7 },
    { "SMTP-005 NUL at the end", TEXT("NOOP\0\r\n"), RES_SYNTAX, NULL, 7 },
};

static void
test_line(void **state)
{
    const struct line_case *c = *state;

    for (size_t len = 0; len <= c->input.len; len++) {
        bool whole = c->want != RES_AGAIN && len >= c->used;
        bool skipping = false;
        char *part = malloc(len ? len : 1);
        struct span line;
        size_t used;

        assert_non_null(part);
        memcpy(part, c->input.ptr, len);
        assert_int_equal(smtp_line_take(span_make(part, len), &skipping, &line, &used),
                         whole ? c->want : RES_AGAIN);
        assert_int_equal(used, whole ? c->used : 0);
        assert_false(skipping);
        if (whole && c->want == RES_OK)
            assert_true(span_equal(line, span_of(c->line)));
        else
            assert_int_equal(line.len, 0);
        free(part);
    }
}

/* What a caller does: keep what is not used, add what comes. Returns the count of each result that
 * stands for a line, and checks that skipping ends with one result. */
struct taken {
    unsigned lines, bad, too_long;
    size_t left; /* octets that wait for more */
};

static struct taken
take_in_parts(struct span input, size_t part)
{
    struct taken taken = { 0 };
    size_t from = 0, seen = 0;
    bool skipping = false;

    while (seen < input.len) {
        enum result res = RES_OK;

        seen = input.len - seen < part ? input.len : seen + part;
        while (res != RES_AGAIN) {
            struct span line;
            size_t used;

            res = smtp_line_take(span_make(input.ptr + from, seen - from), &skipping, &line, &used);
            assert_true(used <= seen - from);
            assert_true((used > 0) == (res != RES_AGAIN));
            assert_true(res == RES_LIMIT || res == RES_AGAIN || !skipping);
            taken.lines += res == RES_OK;
            taken.bad += res == RES_SYNTAX;
            taken.too_long += res == RES_LIMIT && !skipping;
            from += used;
        }
        assert_true(seen - from < SMTP_LINE_MAX_BYTES); /* memory has a bound */
    }
    taken.left = seen - from;
    return taken;
}

static struct length_case {
    const char *name;
    size_t len; /* with CRLF */
    bool fits;
} length_cases[] = {
    { "SMTP-003 511 octets", 511, true },
    { "SMTP-003 512 octets", 512, true },
    { "SMTP-003 513 octets", 513, true },
    { "SMTP-003 4096 octets", 4096, true },
    { "SMTP-003 one below the longest", SMTP_LINE_MAX_BYTES - 1, true },
    { "SMTP-003 the longest", SMTP_LINE_MAX_BYTES, true },
    { "SMTP-003 one beyond", SMTP_LINE_MAX_BYTES + 1, false },
    { "SMTP-003 two beyond", SMTP_LINE_MAX_BYTES + 2, false },
    { "SMTP-003 twice as long", 2 * SMTP_LINE_MAX_BYTES, false },
    { "SMTP-003 one megabyte", 1000000, false },
};

/* A line of that length among others: each is counted once, and the stream stays in step. The fill
 * is what might be taken for a line end, too. */
static void
test_length(void **state)
{
    static const size_t parts[] = { 1,      2, 1000, SMTP_LINE_MAX_BYTES - 1, SMTP_LINE_MAX_BYTES,
                                    1100000 };
    static const char fills[] = "x\r\n";
    const struct length_case *c = *state;
    size_t len = 6 + c->len + 6;
    char *input = malloc(len);

    assert_non_null(input);
    for (const char *fill = fills; *fill; fill++)
        for (size_t i = 0; i < ROWS(parts); i++) {
            bool plain = *fill == 'x';
            struct taken taken;

            memset(input, *fill, len);
            memcpy(input, "NOOP\r\n", 6);
            input[6] = 'x'; /* or the CRLF before would go on */
            memcpy(input + 6 + c->len - 2, "\r\n", 2);
            memcpy(input + len - 6, "NOOP\r\n", 6);
            taken = take_in_parts(span_make(input, len), parts[i]);
            assert_int_equal(taken.lines, c->fits && plain ? 3 : 2);
            assert_int_equal(taken.bad, c->fits && !plain);
            assert_int_equal(taken.too_long, !c->fits);
            assert_int_equal(taken.left, 0);
        }
    free(input);
}

/* The CRLF that ends a line that is too long comes in two parts, with a CR before it. */
static void
test_skip_ends_at_a_split(void **state)
{
    static char input[SMTP_LINE_MAX_BYTES];
    struct span line;
    bool skipping = false;
    size_t used;

    (void)state;
    memset(input, 'x', sizeof input);
    input[sizeof input - 1] = '\r';
    assert_int_equal(smtp_line_take(span_make(input, sizeof input), &skipping, &line, &used),
                     RES_LIMIT);
    assert_int_equal(used, sizeof input - 1);
    assert_true(skipping);
    assert_int_equal(smtp_line_take(span_of("\r"), &skipping, &line, &used), RES_AGAIN);
    assert_int_equal(used, 0);
    assert_true(skipping);
    assert_int_equal(smtp_line_take(span_of(""), &skipping, &line, &used), RES_AGAIN);
    assert_int_equal(smtp_line_take(span_of("\r\r"), &skipping, &line, &used), RES_LIMIT);
    assert_int_equal(used, 1);
    assert_true(skipping);
    assert_int_equal(smtp_line_take(span_of("\r\nNOOP\r\n"), &skipping, &line, &used), RES_LIMIT);
    assert_int_equal(used, 2);
    assert_false(skipping);
    assert_int_equal(smtp_line_take(span_of("NOOP\r\n"), &skipping, &line, &used), RES_OK);
    assert_true(span_equal(line, span_of("NOOP")));
}

int
main(void)
{
    struct CMUnitTest tests[ROWS(cases) + ROWS(length_cases) + 1] = {
        cmocka_unit_test(test_skip_ends_at_a_split),
    };
    size_t n = 1;

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = cases[i].name,
                                          .test_func = test_line,
                                          .initial_state = &cases[i] };
    for (size_t i = 0; i < ROWS(length_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = length_cases[i].name,
                                          .test_func = test_length,
                                          .initial_state = &length_cases[i] };
    return cmocka_run_group_tests_name("smtp_line", tests, NULL, NULL);
}
