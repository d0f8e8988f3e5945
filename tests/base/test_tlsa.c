/* tests/base/test_tlsa.c: the text of a TLSA record, as records and reports have it (RPT-056). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/tlsa.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))

static struct text_case {
    const char *name;
    uint8_t usage, selector, matching;
    uint16_t len;
    const char *data, *want;
} text_cases[] = {
    { "numbers and upper-case hex", 3, 1, 1, 3, "\x01\xab\xf0", "3 1 1 01ABF0" },
    { "numbers of two and three digits", 10, 99, 255, 1, "\xff", "10 99 255 FF" },
    { "NUL is data", 0, 0, 0, 2, "\0\0", "0 0 0 0000" },
    { "RDATA without data", 255, 255, 255, 0, "", "255 255 255 " },
};

static void
test_text(void **state)
{
    const struct text_case *c = *state;
    uint8_t data[8];
    struct tlsa_record record = { c->usage, c->selector, c->matching, c->len, data };
    char text[TLSA_TEXT_MAX];

    memcpy(data, c->data, c->len);
    assert_int_equal(tlsa_record_text(&record, text), strlen(c->want));
    assert_string_equal(text, c->want);
}

static void
test_longest(void **state)
{
    static uint8_t data[TLSA_DATA_MAX];
    struct tlsa_record record = { 255, 255, 255, TLSA_DATA_MAX, data };
    char text[TLSA_TEXT_MAX], numbers[TLSA_NUMBERS_MAX];

    (void)state;
    assert_int_equal(tlsa_record_text(&record, text), TLSA_TEXT_MAX - 1);
    assert_int_equal(strlen(text), TLSA_TEXT_MAX - 1);
    assert_int_equal(tlsa_numbers_text(255, 255, 255, numbers), TLSA_NUMBERS_MAX - 1);
    assert_string_equal(numbers, "255 255 255");
}

int
main(void)
{
    struct CMUnitTest tests[ROWS(text_cases) + 1] = { cmocka_unit_test(test_longest) };

    for (size_t i = 0; i < ROWS(text_cases); i++)
        tests[i + 1] = (struct CMUnitTest){ .name = text_cases[i].name,
                                            .test_func = test_text,
                                            .initial_state = &text_cases[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
