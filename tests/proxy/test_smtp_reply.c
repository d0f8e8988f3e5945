/* tests/proxy/test_smtp_reply.c: replies of the MX, RFC 5321 4.2 (TC-TLS-26), one test per row;
 * each is also fed in two parts at every place and octet by octet. */
#include "proxy/smtp_reply.h"

#include "tests/alloc_fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static struct reply_case {
    const char *name;
    struct span input;
    enum result want;
    unsigned code;
    size_t lines;
    const char *text; /* NULL: as the input */
} cases[] = {
    /* Replies. */
    { "SMTP-030 one line", TEXT("250 ok\r\n"), RES_OK, 250, 1, NULL },
    { "SMTP-030 B7 code only", TEXT("250\r\n"), RES_OK, 250, 1, NULL },
    { "SMTP-030 code and blank, no text", TEXT("250 \r\n"), RES_OK, 250, 1, NULL },
    { "SMTP-030 two lines", TEXT("250-a\r\n250 b\r\n"), RES_OK, 250, 2, NULL },
    { "SMTP-030 continuation without text", TEXT("250-\r\n250-\r\n250 \r\n"), RES_OK, 250, 3,
      NULL },
    { "SMTP-030 code only ends several lines", TEXT("250-a\r\n250\r\n"), RES_OK, 250, 2, NULL },
    { "SMTP-030 571, a second digit beyond the grammar", TEXT("571 x\r\n"), RES_OK, 571, 1, NULL },
    { "SMTP-030 lowest code", TEXT("200 x\r\n"), RES_OK, 200, 1, NULL },
    { "SMTP-030 highest code", TEXT("599 x\r\n"), RES_OK, 599, 1, NULL },
    { "SMTP-031 unknown 299", TEXT("299 ok\r\n"), RES_OK, 299, 1, NULL },
    { "SMTP-031 unknown 459", TEXT("459 x\r\n"), RES_OK, 459, 1, NULL },
    { "SMTP-030 354", TEXT("354 go on\r\n"), RES_OK, 354, 1, NULL },
    { "SMTP-033 line ends are bare LF", TEXT("250-a\n250 b\n"), RES_OK, 250, 2,
      "250-a\r\n250 b\r\n" },
    { "SMTP-033 line ends of both kinds", TEXT("250-a\n250-b\r\n250\n"), RES_OK, 250, 3,
      "250-a\r\n250-b\r\n250\r\n" },
    { "SMTP-034 octets of 8 bits and a tab pass", TEXT("250 gr\xc3\xbc\xff\t\x01!\r\n"), RES_OK,
      250, 1, NULL },
    { "SMTP-034 blanks at both ends stay", TEXT("550   no  \r\n"), RES_OK, 550, 1, NULL },
    { "SMTP-034 251", TEXT("251 User not local; will forward to <a@b>\r\n"), RES_OK, 251, 1, NULL },
    { "SMTP-034 551", TEXT("551-x\r\n551 please try <a@b>\r\n"), RES_OK, 551, 2, NULL },
    { "SMTP-034 552", TEXT("552 5.2.2 full\r\n"), RES_OK, 552, 1, NULL },
    { "SMTP-036 421", TEXT("421 4.3.2 closing\r\n"), RES_OK, 421, 1, NULL },
    { "B4 multi-line greeting", TEXT("220-mx.example ESMTP\r\n220 no spam\r\n"), RES_OK, 220, 2,
      NULL },

    /* Cut ones. */
    { "TLS-027 nothing", TEXT(""), RES_AGAIN, 0, 0, NULL },
    { "TLS-027 cut after two digits", TEXT("25"), RES_AGAIN, 0, 0, NULL },
    { "TLS-027 cut before the line end", TEXT("250 ok"), RES_AGAIN, 0, 0, NULL },
    { "TLS-027 cut after CR", TEXT("250 ok\r"), RES_AGAIN, 0, 0, NULL },
    { "TLS-027 cut between lines", TEXT("250-a\r\n"), RES_AGAIN, 0, 0, NULL },
    { "B17 cut within the last line", TEXT("220-a\r\n220"), RES_AGAIN, 0, 0, NULL },

    /* No replies. */
    { "SMTP-032 another code in the last line", TEXT("250-a\r\n251 b\r\n"), RES_SYNTAX, 0, 0,
      NULL },
    { "SMTP-032 B4 220- and 554", TEXT("220-a\r\n554 b\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "SMTP-032 another code in the middle", TEXT("250-a\r\n350-b\r\n250 c\r\n"), RES_SYNTAX, 0, 0,
      NULL },
    { "SMTP-032 continuation without code", TEXT("250-a\r\nb\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "SMTP-032 empty continuation", TEXT("250-a\r\n\r\n250 b\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "SMTP-032 no digits", TEXT("hello\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "SMTP-032 empty line", TEXT("\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "SMTP-032 empty line of LF", TEXT("\n"), RES_SYNTAX, 0, 0, NULL },
    { "SMTP-032 first digit 1", TEXT("150 x\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "SMTP-032 first digit 6", TEXT("650 x\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "SMTP-032 first digit 0", TEXT("050 x\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "SMTP-032 NUL in the text", TEXT("250 a\0b\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "SMTP-032 NUL in the code", TEXT("25\0 a\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "B6 bare CR in the text", TEXT("250 a\rb\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "B6 CR CR LF", TEXT("250 a\r\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "B6 bare CR that hides a line", TEXT("250-a\r250 b\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "B7 blank in the code", TEXT("2 0 x\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "B7 two digits", TEXT("20\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "B7 two digits and text", TEXT("20 x\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "B7 four digits", TEXT("2200\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "B7 a hyphen before the code", TEXT("-220\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "B7 a blank before the code", TEXT(" 220 x\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "B7 no blank behind the code", TEXT("250STARTTLS\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "SMTP-030 tab behind the code", TEXT("250\tok\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "SMTP-030 digits of another script", TEXT("\xd9\xa2\xd9\xa5\xd9\xa0 ok\r\n"), RES_SYNTAX, 0,
      0, NULL },
    { "B3 HTTP", TEXT("HTTP/1.1 400 Bad Request\r\n"), RES_SYNTAX, 0, 0, NULL },
    { "B3 SSH, before its line ends", TEXT("SSH-"), RES_SYNTAX, 0, 0, NULL },
    { "B3 TLS ServerHello", TEXT("\x16\x03\x03\x00\x7a"), RES_SYNTAX, 0, 0, NULL },
};

/* Feed input cut behind `cut` octets, and behind every octet when `singly`. */
static enum result
read_parts(struct smtp_reply_reader *r, struct span input, size_t cut, bool singly,
           size_t *out_used, struct smtp_reply *out)
{
    enum result res = RES_AGAIN;
    size_t done = 0, used;

    while (res == RES_AGAIN && done < input.len) {
        size_t len = singly ? 1 : done < cut ? cut : input.len - done;
        char *part = malloc(len); /* exact, so that a sanitizer sees one octet too many */

        assert_non_null(part);
        memcpy(part, input.ptr + done, len);
        res = smtp_reply_read(r, span_make(part, len), &used, out);
        free(part);
        assert_true(used <= len);
        if (res == RES_AGAIN)
            assert_int_equal(used, len);
        done += used;
    }
    *out_used = done;
    return res;
}

static void
check_case(const struct reply_case *c, size_t cut, bool singly)
{
    struct smtp_reply_reader r;
    struct smtp_reply reply = { 0 };
    struct span want = c->text ? span_of(c->text) : c->input;
    size_t used;

    smtp_reply_reader_init(&r);
    assert_false(smtp_reply_is_partial(&r));
    assert_int_equal(read_parts(&r, c->input, cut, singly, &used, &reply), c->want);
    assert_int_equal(reply.code, c->code);
    assert_int_equal(reply.lines, c->lines);
    if (c->want == RES_OK) {
        assert_int_equal(used, c->input.len);
        assert_int_equal(reply.text.len, want.len);
        assert_memory_equal(reply.text.ptr, want.ptr, want.len);
        assert_false(smtp_reply_is_partial(&r));
    }
    if (c->want == RES_AGAIN)
        assert_int_equal(smtp_reply_is_partial(&r), c->input.len > 0);
    smtp_reply_reader_clear(&r);
}

static void
test_reply(void **state)
{
    const struct reply_case *c = *state;

    for (size_t cut = 0; cut <= c->input.len; cut++)
        check_case(c, cut, false);
    check_case(c, 0, true);
}

/* SMTP-032: exactly one reply is taken; what follows stays for the caller to see. */
static void
test_takes_one_reply(void **state)
{
    static const char input[] = "220-a\r\n220 go\r\n250 injected\r\n";
    struct smtp_reply_reader r;
    struct smtp_reply reply;
    size_t used;

    (void)state;
    smtp_reply_reader_init(&r);
    assert_int_equal(smtp_reply_read(&r, span_of(input), &used, &reply), RES_OK);
    assert_int_equal(used, sizeof "220-a\r\n220 go\r\n" - 1);
    assert_int_equal(reply.code, 220);
    assert_false(smtp_reply_is_partial(&r));
    assert_int_equal(smtp_reply_read(&r, span_of(input + used), &used, &reply), RES_OK);
    assert_int_equal(reply.code, 250);
    assert_int_equal(reply.lines, 1);
    assert_int_equal(smtp_reply_read(&r, span_of(""), &used, &reply), RES_AGAIN);
    assert_int_equal(used, 0);
    assert_false(smtp_reply_is_partial(&r));
    smtp_reply_reader_clear(&r);
}

static void
test_lines(void **state)
{
    static const char text[] = "250-mx hello\r\n250-\r\n250-SIZE 9\r\n250\r\n";
    const struct smtp_reply reply = { 250, span_of(text), 4 };

    (void)state;
    assert_true(span_equal(smtp_reply_line(&reply, 0), span_of("mx hello")));
    assert_true(span_equal(smtp_reply_line(&reply, 1), span_of("")));
    assert_true(span_equal(smtp_reply_line(&reply, 2), span_of("SIZE 9")));
    assert_true(span_equal(smtp_reply_line(&reply, 3), span_of("")));
    assert_int_equal(smtp_reply_line(&reply, 4).len, 0);
    assert_int_equal(smtp_reply_line(&reply, (size_t)-1).len, 0);
}

/* Feed "250 xxx..." of len octets in all, CRLF included, in parts. */
static enum result
read_long_line(size_t len, size_t part, size_t *out_len)
{
    static char input[2 * SMTP_REPLY_MAX_BYTES];
    struct smtp_reply_reader r;
    struct smtp_reply reply = { 0 };
    enum result res = RES_AGAIN;
    size_t used;

    memset(input, 'x', sizeof input);
    memcpy(input, "250 ", 4);
    memcpy(input + len - 2, "\r\n", 2);
    smtp_reply_reader_init(&r);
    for (size_t at = 0; at < len && res == RES_AGAIN; at += used)
        res = smtp_reply_read(&r, span_first(span_make(input + at, len - at), part), &used, &reply);
    *out_len = reply.text.len;
    smtp_reply_reader_clear(&r);
    return res;
}

static void
test_long_lines(void **state)
{
    static const size_t parts[] = { 1, 7, 4096, 2 * SMTP_REPLY_MAX_BYTES };
    size_t len;

    (void)state;
    for (size_t i = 0; i < ROWS(parts); i++) {
        assert_int_equal(read_long_line(2000, parts[i], &len), RES_OK); /* SMTP-033 */
        assert_int_equal(len, 2000);
        assert_int_equal(read_long_line(SMTP_REPLY_MAX_BYTES, parts[i], &len), RES_OK);
        assert_int_equal(len, SMTP_REPLY_MAX_BYTES);
        assert_int_equal(read_long_line(SMTP_REPLY_MAX_BYTES + 1, parts[i], &len), RES_LIMIT);
        assert_int_equal(read_long_line(2 * SMTP_REPLY_MAX_BYTES, parts[i], &len), RES_LIMIT);
    }
}

static void
test_many_lines(void **state)
{
    (void)state;
    for (size_t lines = SMTP_REPLY_MAX_LINES - 1; lines <= SMTP_REPLY_MAX_LINES + 1; lines++) {
        struct smtp_reply_reader r;
        struct smtp_reply reply;
        enum result res = RES_AGAIN;
        size_t used;

        smtp_reply_reader_init(&r);
        for (size_t n = 1; n <= lines && res == RES_AGAIN; n++)
            res = smtp_reply_read(&r, span_of(n < lines ? "250-\n" : "250 \n"), &used, &reply);
        assert_int_equal(res, lines <= SMTP_REPLY_MAX_LINES ? RES_OK : RES_LIMIT);
        if (res == RES_OK)
            assert_int_equal(reply.lines, lines);
        smtp_reply_reader_clear(&r);
    }
}

static void
test_no_memory(void **state)
{
    static char long_text[4096];
    bool failed = true;

    (void)state;
    memset(long_text, 'x', sizeof long_text - 1);
    for (unsigned n = 0; failed; n++) {
        struct smtp_reply_reader r;
        struct smtp_reply reply;
        size_t used;
        enum result res;

        smtp_reply_reader_init(&r);
        alloc_fail_after(n);
        res = smtp_reply_read(&r, span_of("250-a\r\n250 "), &used, &reply);
        if (res == RES_AGAIN)
            res = smtp_reply_read(&r, span_of(long_text), &used, &reply);
        failed = alloc_fail_happened();
        assert_int_equal(res, failed ? RES_NOMEM : RES_AGAIN);
        assert_true(n < 100);
        smtp_reply_reader_clear(&r);
    }
}

/* SMTP-034: every code reaches the client with its digits and its text, in one line and in three.
 */
static void
test_every_code(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 1000; code++) {
        bool valid = code >= 200 && code <= 599;
        char input[64];
        struct smtp_reply_reader r;
        struct smtp_reply reply;
        size_t used;

        snprintf(input, sizeof input, "%03u-5.1.1 a\r\n%03u-b\r\n%03u c\r\n", code, code, code);
        smtp_reply_reader_init(&r);
        assert_int_equal(smtp_reply_read(&r, span_of(input), &used, &reply),
                         valid ? RES_OK : RES_SYNTAX);
        if (valid) {
            assert_int_equal(reply.code, code);
            assert_true(span_equal(reply.text, span_of(input)));
        }
        smtp_reply_reader_clear(&r);
    }
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_takes_one_reply), cmocka_unit_test(test_lines),
        cmocka_unit_test(test_long_lines),      cmocka_unit_test(test_many_lines),
        cmocka_unit_test(test_no_memory),       cmocka_unit_test(test_every_code),
    };
    struct CMUnitTest tests[ROWS(cases) + ROWS(others)] = { 0 };

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = test_reply,
                                        .initial_state = &cases[i] };
    memcpy(tests + ROWS(cases), others, sizeof others);
    return cmocka_run_group_tests_name("smtp_reply", tests, NULL, NULL);
}
