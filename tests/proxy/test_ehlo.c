/* tests/proxy/test_ehlo.c: EHLO keyword lists, one test per row. */
#include "proxy/ehlo.h"

#include "proxy/smtp_command.h"
#include "tests/alloc_fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define ALL_KNOWN (EHLO_STARTTLS | EHLO_OFFERED)

static struct keyword_case {
    const char *name, *text;
    unsigned want;
} keyword_cases[] = {
    { "TLS-001 STARTTLS", "250-mx\r\n250 STARTTLS\r\n", EHLO_STARTTLS },
    { "TLS-001 B11 starttls", "250-mx\r\n250 starttls\r\n", EHLO_STARTTLS },
    { "TLS-001 in the middle, mixed case", "250-mx\r\n250-StartTls\r\n250 X\r\n", EHLO_STARTTLS },
    { "TLS-001 trailing blank is no parameter", "250-mx\r\n250 STARTTLS \r\n", EHLO_STARTTLS },
    { "TLS-001 XSTARTTLS", "250-mx\r\n250 XSTARTTLS\r\n", 0 },
    { "TLS-001 STARTTLSX", "250-mx\r\n250 STARTTLSX\r\n", 0 },
    { "B11 STARTTL", "250-mx\r\n250 STARTTL\r\n", 0 },
    { "B11 XXXXXXXA", "250-mx\r\n250 XXXXXXXA\r\n", 0 },
    { "TLS-001 STARTTLS with a parameter", "250-mx\r\n250 STARTTLS now\r\n", 0 },
    { "TLS-001 STARTTLS=x", "250-mx\r\n250 STARTTLS=x\r\n", 0 },
    { "TLS-001 blank before it", "250-mx\r\n250  STARTTLS\r\n", 0 },
    { "TLS-001 STARTTLS as parameter of another", "250-mx\r\n250 X STARTTLS\r\n", 0 },
    { "TLS-001 tab is not a blank", "250-mx\r\n250 STARTTLS\tx\r\n", 0 },
    { "the greeting line is no keyword", "250 STARTTLS\r\n", 0 },
    { "the greeting line of several is none", "250-STARTTLS\r\n250 DSN\r\n", EHLO_DSN },
    { "code alone", "250\r\n", 0 },
    { "empty keyword lines", "250-\r\n250-\r\n250\r\n", 0 },
    { "EXT-001 SIZE without number", "250-mx\r\n250 SIZE\r\n", EHLO_SIZE },
    { "EXT-001 SIZE with number", "250-mx\r\n250 size 1000\r\n", EHLO_SIZE },
    { "SIZE=1000", "250-mx\r\n250 SIZE=1000\r\n", 0 },
    { "every one",
      "250-mx\r\n250-PIPELINING\r\n250-SIZE 1\r\n250-8bitmime\r\n250-Dsn\r\n"
      "250-ENHANCEDSTATUSCODES\r\n250-SMTPUTF8\r\n250-deliverby 60\r\n250-MT-PRIORITY\r\n"
      "250-LIMITS RCPTMAX=5\r\n250-Chunking\r\n250-BINARYMIME\r\n250 STARTTLS\r\n",
      ALL_KNOWN },
    { "ones that are not known", "250-mx\r\n250-CHUNK\r\n250-XCLIENT\r\n250 XAUTH PLAIN\r\n", 0 },
    { "a refusal lists nothing", "502-no\r\n502 STARTTLS\r\n", 0 },
};

static struct filter_case {
    const char *name, *text;
    unsigned allowed;
    bool with_number;
    const char *want;
} filter_cases[] = {
    { "SMTP-038 B28 long list in, allowed list out",
      "250-mx.example greets you\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-VRFY\r\n"
      "250-ETRN\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n250-ENHANCEDSTATUSCODES\r\n"
      "250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250-XCLIENT NAME\r\n250 CHUNKING\r\n",
      EHLO_OFFERED, true,
      "250-mx.example greets you\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n"
      "250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n" },
    { "EXT-007 SMTP-038 extensions with parameters",
      "250-mx\r\n250-LIMITS RCPTMAX=5 MAILMAX=2\r\n250-DELIVERBY 1800\r\n"
      "250-MT-PRIORITY MIXER\r\n250 LIMITSX\r\n",
      EHLO_OFFERED, true,
      "250-mx\r\n250-LIMITS RCPTMAX=5 MAILMAX=2\r\n250-DELIVERBY 1800\r\n"
      "250 MT-PRIORITY MIXER\r\n" },
    { "PRX-029 SIZE loses its number", "250-mx\r\n250-SIZE 1\r\n250 DSN\r\n", EHLO_OFFERED, false,
      "250-mx\r\n250-SIZE\r\n250 DSN\r\n" },
    { "PRX-029 as last line too", "250-mx\r\n250 size 1\r\n", EHLO_OFFERED, false,
      "250-mx\r\n250 size\r\n" },
    { "EXT-007 parameters and case stay", "250-mx\r\n250-dsn  a B \r\n250 Size 9 x\r\n",
      EHLO_OFFERED, true, "250-mx\r\n250-dsn  a B \r\n250 Size 9 x\r\n" },
    { "SMTP-038 last line has a blank after the code", "250-mx\r\n250-DSN\r\n250 STARTTLS\r\n",
      EHLO_OFFERED, true, "250-mx\r\n250 DSN\r\n" },
    { "PRX-039 STARTTLS is hidden", "250-mx\r\n250 STARTTLS\r\n", EHLO_OFFERED, true,
      "250 mx\r\n" },
    { "PRX-039 STARTTLS when it is allowed", "250-mx\r\n250 STARTTLS\r\n", ALL_KNOWN, true,
      "250-mx\r\n250 STARTTLS\r\n" },
    { "nothing allowed", "250-mx\r\n250-DSN\r\n250 SIZE 1\r\n", 0, true, "250 mx\r\n" },
    { "only what is allowed", "250-mx\r\n250-DSN\r\n250 SIZE 1\r\n", EHLO_DSN, true,
      "250-mx\r\n250 DSN\r\n" },
    { "EXT-009 allowed is not offered", "250 mx\r\n", EHLO_OFFERED, true, "250 mx\r\n" },
    { "PRX-039 STARTTLS of our own, of no list", "250 mx\r\n", EHLO_STARTTLS, true,
      "250-mx\r\n250 STARTTLS\r\n" },
    { "PRX-039 the MX's STARTTLS is no second one", "250-mx\r\n250-STARTTLS\r\n250 DSN\r\n",
      EHLO_STARTTLS | EHLO_DSN, true, "250-mx\r\n250-DSN\r\n250 STARTTLS\r\n" },
    { "SMTP-038 first line unchanged, 8 bits", "250-m\xc3\xbc  STARTTLS \r\n250 DSN\r\n",
      EHLO_OFFERED, true, "250-m\xc3\xbc  STARTTLS \r\n250 DSN\r\n" },
    { "code alone gets a separator", "250\r\n", EHLO_OFFERED, true, "250 \r\n" },
    { "codes alone get separators", "250-\r\n250\r\n", EHLO_OFFERED, true, "250 \r\n" },
    { "another 2xx keeps its code", "251-mx\r\n251 DSN\r\n", EHLO_OFFERED, true,
      "251-mx\r\n251 DSN\r\n" },
};

static struct smtp_reply
reply_of(const char *text)
{
    struct smtp_reply reply = { 0, span_of(text), 0 };

    for (int i = 0; i < 3; i++)
        reply.code = reply.code * 10 + (unsigned)(text[i] - '0');
    for (const char *at = text; *at; at++)
        reply.lines += *at == '\n';
    return reply;
}

static void
test_keywords(void **state)
{
    const struct keyword_case *c = *state;
    const struct smtp_reply reply = reply_of(c->text);

    assert_int_equal(ehlo_keywords(&reply), c->want);
}

/* CHNK-001. */
static void
test_offer(void **state)
{
    (void)state;
    assert_int_equal(ehlo_offer(ALL_KNOWN, true), EHLO_OFFERED);
    assert_int_equal(ehlo_offer(EHLO_CHUNKING | EHLO_DSN, true), EHLO_CHUNKING | EHLO_DSN);
    assert_int_equal(ehlo_offer(EHLO_BINARYMIME | EHLO_DSN, true), EHLO_DSN);
    assert_int_equal(ehlo_offer(EHLO_CHUNKING | EHLO_BINARYMIME, false), 0);
    assert_int_equal(ehlo_offer(EHLO_STARTTLS, true), 0);
}

static void
test_filter(void **state)
{
    const struct filter_case *c = *state;
    const struct smtp_reply reply = reply_of(c->text);
    struct buffer out;

    buffer_init(&out, SMTP_REPLY_MAX_BYTES);
    assert_int_equal(ehlo_filter(&reply, c->allowed, c->with_number, &out), RES_OK);
    assert_int_equal(buffer_len(&out), strlen(c->want));
    assert_memory_equal(buffer_span(&out).ptr, c->want, strlen(c->want));
    buffer_clear(&out);
}

/* PRX-047 */
static void
test_helo(void **state)
{
    static const char *const texts[][2] = {
        { "250-mx hello\r\n250-DSN\r\n250 STARTTLS\r\n", "250 mx hello\r\n" },
        { "250 mx\r\n", "250 mx\r\n" },
        { "250\r\n", "250 \r\n" },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(texts); i++) {
        const struct smtp_reply reply = reply_of(texts[i][0]);
        struct buffer out;

        buffer_init(&out, SMTP_REPLY_MAX_BYTES);
        assert_int_equal(ehlo_as_helo(&reply, &out), RES_OK);
        assert_true(span_equal(buffer_span(&out), span_of(texts[i][1])));
        buffer_clear(&out);
    }
}

/* What parameters need and what lists offer meet by name (SMTP-026). */
static void
test_extensions(void **state)
{
    static const struct {
        const char *keyword, *value;
        enum smtp_verb verb;
        unsigned bit;
    } needs[] = {
        { "SIZE", "1", SMTP_VERB_MAIL, EHLO_SIZE },
        { "BODY", "8BITMIME", SMTP_VERB_MAIL, EHLO_8BITMIME },
        { "RET", "HDRS", SMTP_VERB_MAIL, EHLO_DSN },
        { "NOTIFY", "NEVER", SMTP_VERB_RCPT, EHLO_DSN },
        { "BODY", "BINARYMIME", SMTP_VERB_MAIL, EHLO_BINARYMIME },
        { "SMTPUTF8", NULL, SMTP_VERB_MAIL, EHLO_SMTPUTF8 },
        { "BY", "1;R", SMTP_VERB_MAIL, EHLO_DELIVERBY },
        { "MT-PRIORITY", "3", SMTP_VERB_MAIL, EHLO_MT_PRIORITY },
        { "FOO", "1", SMTP_VERB_MAIL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(needs); i++) {
        const struct smtp_parameter p = { span_of(needs[i].keyword),
                                          needs[i].value ? span_of(needs[i].value) : span_of("") };

        assert_int_equal(ehlo_keyword_of(smtp_parameter_extension(needs[i].verb, &p)),
                         needs[i].bit);
    }
    assert_int_equal(ehlo_keyword_of("STARTTLS"), EHLO_STARTTLS);
    assert_int_equal(ehlo_keyword_of("PIPELINING"), EHLO_PIPELINING);
    assert_int_equal(ehlo_keyword_of("ENHANCEDSTATUSCODES"), EHLO_ENHANCEDSTATUSCODES);
    assert_int_equal(ehlo_keyword_of(""), 0);
}

/* Whatever fails, out is as it was. */
static void
test_failures(void **state)
{
    const struct smtp_reply reply = reply_of("250-mx\r\n250 DSN\r\n");
    struct buffer out;
    bool failed = true;

    (void)state;
    buffer_init(&out, 18);
    assert_int_equal(buffer_append(&out, span_of("220")), RES_OK);
    assert_int_equal(ehlo_filter(&reply, EHLO_OFFERED, true, &out), RES_LIMIT);
    assert_true(span_equal(buffer_span(&out), span_of("220")));
    buffer_clear(&out);

    for (unsigned n = 0; failed; n++) {
        enum result res;

        alloc_fail_after(n);
        res = ehlo_filter(&reply, EHLO_OFFERED, true, &out);
        failed = alloc_fail_happened();
        assert_int_equal(res, failed ? RES_NOMEM : RES_OK);
        assert_int_equal(buffer_len(&out), failed ? 0 : reply.text.len);
        assert_true(n < 100);
    }
    buffer_clear(&out);
}

/* The longest list there is: linear work, and room for the separators that it lacks. */
static void
test_longest(void **state)
{
    static char text[SMTP_REPLY_MAX_LINES * 10 + 1];
    struct smtp_reply reply;
    struct buffer out;

    (void)state;
    for (size_t i = 0; i < SMTP_REPLY_MAX_LINES; i++)
        memcpy(text + i * 10, i + 1 < SMTP_REPLY_MAX_LINES ? "250-DSN 1\n" : "250 DSN 1\n", 10);
    for (size_t i = 9; i < sizeof text - 1; i += 10)
        memcpy(text + i - 1, "\r\n", 2);
    reply = reply_of(text);
    assert_int_equal(reply.lines, SMTP_REPLY_MAX_LINES);
    assert_int_equal(ehlo_keywords(&reply), EHLO_DSN);
    buffer_init(&out, SMTP_REPLY_MAX_BYTES);
    assert_int_equal(ehlo_filter(&reply, EHLO_OFFERED, true, &out), RES_OK);
    assert_true(span_equal(buffer_span(&out), reply.text));
    buffer_clear(&out);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_offer),      cmocka_unit_test(test_helo),
        cmocka_unit_test(test_extensions), cmocka_unit_test(test_failures),
        cmocka_unit_test(test_longest),
    };
    struct CMUnitTest tests[ROWS(keyword_cases) + ROWS(filter_cases) + ROWS(others)] = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < ROWS(keyword_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = keyword_cases[i].name,
                                          .test_func = test_keywords,
                                          .initial_state = &keyword_cases[i] };
    for (size_t i = 0; i < ROWS(filter_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = filter_cases[i].name,
                                          .test_func = test_filter,
                                          .initial_state = &filter_cases[i] };
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests_name("ehlo", tests, NULL, NULL);
}
