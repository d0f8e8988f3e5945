/* tests/proxy/test_survey.c: what a survey sees of a conversation, however it is cut (PRX-041). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/survey.h"

static const struct row {
    const char *name;
    const char *talk[12]; /* client, MX, client, MX ... */
    bool offered, asked, accepted;
    unsigned mails, recipients;
} rows[] = {
    { "one mail in clear",
      { "EHLO c\r\n", "250-mx\r\n250-STARTTLS\r\n250 SIZE\r\n",
        "mail from:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n",
        "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n",
        "MAIL FROM:<in@content>\r\nSTARTTLS\r\n..\r\n.\r\nMAIL FROM:<g@h>\r\n", "250 ok\r\n" },
      true,
      false,
      false,
      2,
      2 },
    { "STARTTLS, and nothing is read after it",
      { "EHLO c\r\n", "250 STARTTLS\r\n", "STARTTLS\r\n", "220 go\r\n", "MAIL FROM:<a@b>\r\n", "" },
      true,
      true,
      true,
      0,
      0 },
    { "STARTTLS refused",
      { "EHLO c\r\n", "250 mx\r\n", "STARTTLS\r\n", "454 later\r\n", "MAIL FROM:<a@b>\r\n",
        "250 ok\r\n" },
      false,
      true,
      false,
      1,
      0 },
    { "BDAT is content",
      { "MAIL FROM:<a@b>\r\nBDAT 16 LAST\r\nMAIL FROM:<x@y>\nRCPT TO:<c@d>\r\n", "250 ok\r\n" },
      false,
      false,
      false,
      1,
      1 },
    { "a greeting is no answer to STARTTLS",
      { "", "220 mx STARTTLS\r\n" },
      false,
      false,
      false,
      0,
      0 },
};

static void
listen_to(struct survey *s, size_t turn, struct span bytes)
{
    if (turn % 2)
        survey_mx(s, bytes);
    else
        survey_client(s, bytes);
}

static void
test_row(void **state)
{
    const struct row *row = *state;

    for (size_t step = 1; step <= 64; step++) {
        struct survey s = { 0 };

        for (size_t turn = 0; turn < 12 && row->talk[turn]; turn++) {
            struct span rest = span_of(row->talk[turn]);

            while (rest.len) {
                size_t n = step < rest.len ? step : rest.len;

                listen_to(&s, turn, span_first(rest, n));
                rest = span_from(rest, n);
            }
        }
        assert_int_equal(s.starttls_offered, row->offered);
        assert_int_equal(s.starttls_asked, row->asked);
        assert_int_equal(s.starttls_accepted, row->accepted);
        assert_int_equal(s.mails, row->mails);
        assert_int_equal(s.recipients, row->recipients);
    }
}

/* A line without end is looked at where it begins, and costs no memory. */
static void
test_long_line(void **state)
{
    struct survey s = { 0 };

    (void)state;
    survey_client(&s, span_of("MAIL FROM:<"));
    for (unsigned i = 0; i < 100000; i++)
        survey_client(&s, span_of("aaaaaaaa"));
    survey_client(&s, span_of(">\r\n"));
    assert_int_equal(s.mails, 1);
}

int
main(void)
{
    struct CMUnitTest tests[sizeof rows / sizeof *rows + 1] = { 0 };
    size_t n = 0;

    for (; n < sizeof rows / sizeof *rows; n++)
        tests[n] = (struct CMUnitTest){ .name = rows[n].name,
                                        .test_func = test_row,
                                        .initial_state = (void *)(uintptr_t)&rows[n] };
    tests[n] = (struct CMUnitTest)cmocka_unit_test(test_long_line);
    return cmocka_run_group_tests_name("survey", tests, NULL, NULL);
}
