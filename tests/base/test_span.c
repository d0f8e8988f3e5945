/* tests/base/test_span.c: bytes somebody else owns, one test per row. */
#include "base/span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))

static struct number_case {
    const char *name, *text;
    size_t max_digits;
    bool ok;
    unsigned long long want;
} number_cases[] = {
    { "zero", "0", 1, true, 0 },
    { "leading zeros count as digits", "007", 3, true, 7 },
    { "as many digits as allowed", "9999999999", 10, true, 9999999999 },
    { "UINT64_MAX", "18446744073709551615", 20, true, UINT64_MAX },
    { "UINT64_MAX behind zeros", "0018446744073709551615", 30, true, UINT64_MAX },
    { "UINT64_MAX + 1", "18446744073709551616", 20, false, 0 },
    { "ten times too large", "184467440737095516150", 30, false, 0 },
    { "twenty nines", "99999999999999999999", 20, false, 0 },
    { "one digit too many", "10000000000", 10, false, 0 },
    { "one zero too many", "0000", 3, false, 0 },
    { "no digits allowed", "1", 0, false, 0 },
    { "empty", "", 10, false, 0 },
    { "minus", "-1", 10, false, 0 },
    { "plus", "+1", 10, false, 0 },
    { "blank in front", " 1", 10, false, 0 },
    { "blank behind", "1 ", 10, false, 0 },
    { "letter behind", "1d", 10, false, 0 },
    { "hexadecimal", "0x1", 10, false, 0 },
    { "character before 0", "1/", 10, false, 0 },
    { "character behind 9", "1:", 10, false, 0 },
    { "non-ASCII digit", "\xd9\xa1", 10, false, 0 },
};

static struct trim_case {
    const char *name, *text, *want;
} trim_cases[] = {
    { "nothing to trim", "a b", "a b" },
    { "blanks and tabs at both ends", " \t a\tb \t", "a\tb" },
    { "blanks only", " \t ", "" },
    { "empty", "", "" },
    { "line ends stay", "a \r\n", "a \r\n" },
    { "one blank", " ", "" },
};

static struct nocase_case {
    const char *name, *a, *b;
    bool equal, starts; /* a equals b; a starts with b */
} nocase_cases[] = {
    { "same", "STARTTLS", "STARTTLS", true, true },
    { "other case", "StartTLS", "sTARTtls", true, true },
    { "first is longer", "STARTTLS now", "starttls", false, true },
    { "first is shorter", "START", "starttls", false, false },
    { "other text", "STARTTLX", "starttls", false, false },
    { "both empty", "", "", true, true },
    { "prefix empty", "a", "", false, true },
    { "text empty", "", "a", false, false },
    { "@ is not `", "@", "`", false, false },
    { "[ is not {", "[", "{", false, false },
    { "non-ASCII letters are octets", "\xc4", "\xe4", false, false },
    { "non-ASCII octets are equal to themselves", "\xc4", "\xc4", true, true },
};

static void
test_number(void **state)
{
    const struct number_case *c = *state;
    unsigned long long value = 42;

    assert_int_equal(span_to_u64(span_of(c->text), c->max_digits, &value), c->ok);
    assert_true(value == (c->ok ? c->want : 42)); /* unchanged on failure */
}

static void
test_trim(void **state)
{
    const struct trim_case *c = *state;

    assert_true(span_equal(span_trim(span_of(c->text)), span_of(c->want)));
}

static void
test_nocase(void **state)
{
    const struct nocase_case *c = *state;

    assert_int_equal(span_equal_nocase(span_of(c->a), span_of(c->b)), c->equal);
    assert_int_equal(span_starts_nocase(span_of(c->a), span_of(c->b)), c->starts);
}

static void
test_parts(void **state)
{
    struct span s = span_of("abcdef");

    (void)state;
    assert_true(span_equal(span_from(s, 0), s));
    assert_true(span_equal(span_from(s, 4), span_of("ef")));
    assert_int_equal(span_from(s, 6).len, 0);
    assert_int_equal(span_from(s, 7).len, 0);
    assert_int_equal(span_from(s, SIZE_MAX).len, 0);
    assert_true(span_equal(span_first(s, 2), span_of("ab")));
    assert_true(span_equal(span_first(s, 6), s));
    assert_true(span_equal(span_first(s, SIZE_MAX), s));
    assert_int_equal(span_first(s, 0).len, 0);
}

static void
test_find(void **state)
{
    struct span s = { "ab\0b", 4 };

    (void)state;
    assert_int_equal(span_find(s, 'a'), 0);
    assert_int_equal(span_find(s, 'b'), 1);
    assert_int_equal(span_find(s, '\0'), 2);
    assert_int_equal(span_find(s, 'c'), 4);
    assert_int_equal(span_find(span_first(s, 1), 'b'), 1); /* never beyond the span */
}

static void
test_equal_with_nul(void **state)
{
    struct span a = { "a\0b", 3 }, b = { "a\0c", 3 };

    (void)state;
    assert_false(span_equal(a, b));
    assert_false(span_equal_nocase(a, b));
    assert_false(span_equal(a, span_of("a")));
    assert_true(span_starts(a, span_of("a")));
    assert_true(span_starts(a, (struct span){ "a\0", 2 }));
    assert_false(span_starts(span_of("a"), a));
}

/* A span of nothing may have no memory. */
static void
test_null(void **state)
{
    struct span none = { NULL, 0 };
    unsigned long long value = 42;

    (void)state;
    assert_true(span_equal(none, span_of("")));
    assert_true(span_equal_nocase(none, none));
    assert_true(span_starts(span_of("a"), none));
    assert_true(span_starts(none, none));
    assert_false(span_starts_nocase(none, span_of("a")));
    assert_int_equal(span_find(none, 'a'), 0);
    assert_int_equal(span_trim(none).len, 0);
    assert_int_equal(span_from(none, 0).len, 0);
    assert_int_equal(span_from(none, 3).len, 0);
    assert_int_equal(span_first(none, 3).len, 0);
    assert_false(span_to_u64(none, 10, &value));
}

/* What is written reads back, without a zero in front. */
static void
test_of_u64(void **state)
{
    static const unsigned long long values[] = { 0, 9, 10, 4294967296, UINT64_MAX };
    static const char *const want[] = { "0", "9", "10", "4294967296", "18446744073709551615" };

    (void)state;
    for (size_t i = 0; i < ROWS(values); i++) {
        char digits[SPAN_U64_DIGITS];

        assert_true(span_equal(span_of_u64(values[i], digits), span_of(want[i])));
    }
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_parts),          cmocka_unit_test(test_find),
        cmocka_unit_test(test_equal_with_nul), cmocka_unit_test(test_null),
        cmocka_unit_test(test_of_u64),
    };
    struct CMUnitTest
        tests[ROWS(number_cases) + ROWS(trim_cases) + ROWS(nocase_cases) + ROWS(others)];
    size_t count = 0;

    for (size_t i = 0; i < ROWS(number_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = number_cases[i].name,
                                              .test_func = test_number,
                                              .initial_state = &number_cases[i] };
    for (size_t i = 0; i < ROWS(trim_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = trim_cases[i].name,
                                              .test_func = test_trim,
                                              .initial_state = &trim_cases[i] };
    for (size_t i = 0; i < ROWS(nocase_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = nocase_cases[i].name,
                                              .test_func = test_nocase,
                                              .initial_state = &nocase_cases[i] };
    for (size_t i = 0; i < ROWS(others); i++)
        tests[count++] = others[i];
    return cmocka_run_group_tests_name("span", tests, NULL, NULL);
}
