/* tests/proxy/test_smtp_command.c: commands of the client, RFC 5321 4.1, one test per row. Paths
 * have their own rows in test_smtp_path.c. */
#include "proxy/smtp_command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN
#define NAME_255 FIFTY FIFTY FIFTY FIFTY FIFTY "01234"

static struct command_case {
    const char *name, *line;
    enum smtp_verb verb;
    enum reply_row error;
    const char *argument; /* NULL: not looked at */
} command_cases[] = {
    /* Verbs. */
    { "SMTP-001 EHLO in any case", "eHlO client.example", SMTP_VERB_EHLO, REPLY_NONE,
      "client.example" },
    { "HELO", "HELO client.example", SMTP_VERB_HELO, REPLY_NONE, "client.example" },
    { "EHLO with an address literal", "EHLO [IPv6:2001:db8::1]", SMTP_VERB_EHLO, REPLY_NONE,
      "[IPv6:2001:db8::1]" },
    { "EHLO keeps the name's case", "EHLO Host_1", SMTP_VERB_EHLO, REPLY_NONE, "Host_1" },
    { "EHLO with blanks around the name", "EHLO   a  ", SMTP_VERB_EHLO, REPLY_NONE, "a" },
    { "EHLO with the longest name", "EHLO " NAME_255, SMTP_VERB_EHLO, REPLY_NONE, NAME_255 },
    { "DATA", "data", SMTP_VERB_DATA, REPLY_NONE, "" },
    { "SMTP-004 trailing blanks", "DATA  ", SMTP_VERB_DATA, REPLY_NONE, "" },
    { "SMTP-004 trailing tab", "QUIT \t", SMTP_VERB_QUIT, REPLY_NONE, "" },
    { "CHNK-002 BDAT keeps its argument", "BDAT 10 LAST ", SMTP_VERB_BDAT, REPLY_NONE, "10 LAST" },
    { "CHNK-002 BDAT without a size", "BDAT", SMTP_VERB_BDAT, REPLY_BAD_PARAMETERS, NULL },
    { "CHNK-002 LAST without a size", "BDAT LAST", SMTP_VERB_BDAT, REPLY_BAD_PARAMETERS, NULL },
    { "CHNK-002 E8 a negative size", "BDAT -1", SMTP_VERB_BDAT, REPLY_BAD_PARAMETERS, NULL },
    { "CHNK-002 a sign", "BDAT +1", SMTP_VERB_BDAT, REPLY_BAD_PARAMETERS, NULL },
    { "CHNK-002 hexadecimal", "BDAT 0x10", SMTP_VERB_BDAT, REPLY_BAD_PARAMETERS, NULL },
    { "CHNK-002 E8 2^63", "BDAT 9223372036854775808", SMTP_VERB_BDAT, REPLY_BAD_PARAMETERS, NULL },
    { "CHNK-002 beyond 64 bits", "BDAT 99999999999999999999", SMTP_VERB_BDAT, REPLY_BAD_PARAMETERS,
      NULL },
    { "CHNK-002 21 digits", "BDAT 000000000000000000001", SMTP_VERB_BDAT, REPLY_BAD_PARAMETERS,
      NULL },
    { "CHNK-002 another marker", "BDAT 10 LASTX", SMTP_VERB_BDAT, REPLY_BAD_PARAMETERS, NULL },
    { "CHNK-002 something behind LAST", "BDAT 10 LAST 1", SMTP_VERB_BDAT, REPLY_BAD_PARAMETERS,
      NULL },
    { "CHNK-002 a size behind LAST", "BDAT LAST 10", SMTP_VERB_BDAT, REPLY_BAD_PARAMETERS, NULL },
    { "RSET", "RSET", SMTP_VERB_RSET, REPLY_NONE, "" },
    { "SMTP-010 NOOP", "NOOP", SMTP_VERB_NOOP, REPLY_NONE, "" },
    { "SMTP-010 NOOP with any argument", "NOOP x <y> z", SMTP_VERB_NOOP, REPLY_NONE, "x <y> z" },
    { "QUIT", "Quit", SMTP_VERB_QUIT, REPLY_NONE, "" },
    { "SMTP-011 VRFY", "VRFY user", SMTP_VERB_VRFY, REPLY_NONE, "user" },
    { "SMTP-011 EXPN", "EXPN list", SMTP_VERB_EXPN, REPLY_NONE, "list" },
    { "SMTP-011 HELP", "HELP", SMTP_VERB_HELP, REPLY_NONE, "" },
    { "STARTTLS", "starttls", SMTP_VERB_STARTTLS, REPLY_NONE, "" },
    { "EXT-008 AUTH", "AUTH PLAIN dGVzdA==", SMTP_VERB_AUTH, REPLY_NONE, "PLAIN dGVzdA==" },
    { "SMTP-012 TURN", "TURN", SMTP_VERB_KNOWN, REPLY_NONE, NULL },
    { "SMTP-012 ETRN", "ETRN a.example", SMTP_VERB_KNOWN, REPLY_NONE, NULL },
    { "SMTP-012 ATRN", "ATRN", SMTP_VERB_KNOWN, REPLY_NONE, NULL },
    { "SMTP-012 BURL", "BURL imap://x LAST", SMTP_VERB_KNOWN, REPLY_NONE, NULL },
    { "SMTP-012 LHLO", "LHLO a", SMTP_VERB_KNOWN, REPLY_NONE, NULL },
    { "SMTP-012 SEND", "SEND FROM:<a@b>", SMTP_VERB_KNOWN, REPLY_NONE, NULL },
    { "SMTP-012 XEXCH50", "XEXCH50 100 2", SMTP_VERB_UNKNOWN, REPLY_NONE, NULL },
    { "SMTP-012 XCLIENT", "XCLIENT ADDR=192.0.2.1", SMTP_VERB_UNKNOWN, REPLY_NONE, NULL },
    { "SMTP-012 XFORWARD", "XFORWARD NAME=a", SMTP_VERB_UNKNOWN, REPLY_NONE, NULL },
    { "SMTP-012 empty line", "", SMTP_VERB_UNKNOWN, REPLY_NONE, "" },
    { "SMTP-012 blanks only", "   ", SMTP_VERB_UNKNOWN, REPLY_NONE, "" },
    { "SMTP-012 blank before the verb", " DATA", SMTP_VERB_UNKNOWN, REPLY_NONE, NULL },
    { "SMTP-012 verb and more letters", "DATAX", SMTP_VERB_UNKNOWN, REPLY_NONE, NULL },
    { "SMTP-012 part of a verb", "DAT", SMTP_VERB_UNKNOWN, REPLY_NONE, NULL },
    { "SMTP-012 HTTP", "GET / HTTP/1.1", SMTP_VERB_UNKNOWN, REPLY_NONE, NULL },

    /* Arguments. */
    { "SMTP-014 DATA with argument", "DATA now", SMTP_VERB_DATA, REPLY_BAD_PARAMETERS, "now" },
    { "SMTP-014 RSET with argument", "RSET x", SMTP_VERB_RSET, REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-014 QUIT with argument", "QUIT x", SMTP_VERB_QUIT, REPLY_BAD_PARAMETERS, NULL },
    { "STARTTLS with argument", "STARTTLS x", SMTP_VERB_STARTTLS, REPLY_BAD_PARAMETERS, NULL },
    { "EHLO without name", "EHLO", SMTP_VERB_EHLO, REPLY_BAD_PARAMETERS, "" },
    { "EHLO with a blank for a name", "EHLO ", SMTP_VERB_EHLO, REPLY_BAD_PARAMETERS, "" },
    { "HELO without name", "HELO", SMTP_VERB_HELO, REPLY_BAD_PARAMETERS, "" },
    { "EHLO with two names", "EHLO a b", SMTP_VERB_EHLO, REPLY_BAD_PARAMETERS, NULL },
    { "B27 EHLO with a name too long", "EHLO " NAME_255 "0", SMTP_VERB_EHLO, REPLY_BAD_PARAMETERS,
      NULL },

    /* Octets. */
    { "SMTP-005 control", "NOOP \x01", SMTP_VERB_NOOP, REPLY_BAD_CHARACTER, NULL },
    { "SMTP-005 DEL", "NOOP \x7f", SMTP_VERB_NOOP, REPLY_BAD_CHARACTER, NULL },
    { "SMTP-005 tab within", "NOOP a\tb", SMTP_VERB_NOOP, REPLY_BAD_CHARACTER, NULL },
    { "SMTP-005 tab behind the verb", "MAIL\tFROM:<a@b>", SMTP_VERB_UNKNOWN, REPLY_BAD_CHARACTER,
      NULL },
    { "SMTP-005 escape in an unknown verb", "\x1b[2J", SMTP_VERB_UNKNOWN, REPLY_BAD_CHARACTER,
      NULL },
    { "SMTP-005 B27 8 bits in EHLO",
      "EHLO b\xc3\xbc"
      "cher",
      SMTP_VERB_EHLO, REPLY_BAD_CHARACTER, NULL },
    { "SMTP-005 8 bits in a verb", "\xff\xfe", SMTP_VERB_UNKNOWN, REPLY_BAD_CHARACTER, NULL },
    { "SMTP-005 8 bits in a path without SMTPUTF8", "RCPT TO:<\xc3\xbc@b.example>", SMTP_VERB_RCPT,
      REPLY_BAD_CHARACTER, NULL },
    { "SMTP-005 control in a path", "RCPT TO:<a\x08@b.example>", SMTP_VERB_RCPT,
      REPLY_BAD_CHARACTER, NULL },
    { "SMTP-005 control in a quoted local-part", "RCPT TO:<\"\x08\"@b.example>", SMTP_VERB_RCPT,
      REPLY_BAD_CHARACTER, NULL },
    { "SMTP-002 CR in a parameter", "MAIL FROM:<a@b> X=\r", SMTP_VERB_MAIL, REPLY_BAD_CHARACTER,
      NULL },

    /* The shape of MAIL and RCPT. */
    { "SMTP-020 RCPT alone", "RCPT", SMTP_VERB_RCPT, REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-020 no path", "RCPT TO:", SMTP_VERB_RCPT, REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-020 no brackets", "RCPT TO:a@b", SMTP_VERB_RCPT, REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-020 no colon", "RCPT TO <a@b>", SMTP_VERB_RCPT, REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-020 no blank before TO", "RCPTTO:<a@b>", SMTP_VERB_UNKNOWN, REPLY_NONE, NULL },
    { "SMTP-020 blank before the colon", "RCPT TO :<a@b>", SMTP_VERB_RCPT, REPLY_BAD_PARAMETERS,
      NULL },
    { "SMTP-020 two blanks behind the colon", "RCPT TO:  <a@b>", SMTP_VERB_RCPT,
      REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-020 FROM for RCPT", "RCPT FROM:<a@b>", SMTP_VERB_RCPT, REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-020 TO for MAIL", "MAIL TO:<a@b>", SMTP_VERB_MAIL, REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-020 no closing bracket", "RCPT TO:<a@b", SMTP_VERB_RCPT, REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-020 the closing bracket is quoted", "RCPT TO:<\"a@b>", SMTP_VERB_RCPT,
      REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-020 text before the path", "RCPT TO:x<a@b>", SMTP_VERB_RCPT, REPLY_BAD_PARAMETERS,
      NULL },
    { "SMTP-020 text behind the path", "RCPT TO:<a@b>x", SMTP_VERB_RCPT, REPLY_BAD_PARAMETERS,
      NULL },
    { "SMTP-020 parameter without a blank", "RCPT TO:<a@b>NOTIFY=NEVER", SMTP_VERB_RCPT,
      REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-020 a second path", "RCPT TO:<a@b.example> <c@d.example>", SMTP_VERB_RCPT,
      REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-020 a second path behind a comma", "RCPT TO:<a@b.example>,<c@d.example>",
      SMTP_VERB_RCPT, REPLY_BAD_PARAMETERS, NULL },

    /* The grammar of parameters. */
    { "SMTP-026 no keyword", "MAIL FROM:<a@b> =1", SMTP_VERB_MAIL, REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-026 no value", "MAIL FROM:<a@b> SIZE=", SMTP_VERB_MAIL, REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-026 blank for a value", "MAIL FROM:<a@b> SIZE= 1", SMTP_VERB_MAIL, REPLY_BAD_PARAMETERS,
      NULL },
    { "SMTP-026 blank before =", "MAIL FROM:<a@b> SIZE =1", SMTP_VERB_MAIL, REPLY_BAD_PARAMETERS,
      NULL },
    { "SMTP-026 two =", "MAIL FROM:<a@b> X=1=2", SMTP_VERB_MAIL, REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-026 keyword begins with a hyphen", "MAIL FROM:<a@b> -X=1", SMTP_VERB_MAIL,
      REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-026 underscore in a keyword", "MAIL FROM:<a@b> X_Y=1", SMTP_VERB_MAIL,
      REPLY_BAD_PARAMETERS, NULL },
    { "SMTP-026 seventeen", "MAIL FROM:<a@b> A B C D E F G H I J K L M N O P Q", SMTP_VERB_MAIL,
      REPLY_BAD_PARAMETERS, NULL },
};

/* What goes upstream, and whether octets of 8 bits were permitted. */
static struct write_case {
    const char *name, *line, *want;
    bool smtputf8;
} write_cases[] = {
    { "SMTP-001 verbs and keywords in any case, local-part as it is", "rCpT tO:<MiXed@x>",
      "RCPT TO:<MiXed@x>\r\n", false },
    { "SMTP-001 Mail from:", "Mail from:<a@b.example> size=10",
      "MAIL FROM:<a@b.example> size=10\r\n", false },
    { "SMTP-020 one blank behind the colon", "RCPT TO: <a@b>", "RCPT TO:<a@b>\r\n", false },
    { "SMTP-021 odd but legal spacing", "MAIL   FROM: <a@b>   X=1  Y   ",
      "MAIL FROM:<a@b> X=1 Y\r\n", false },
    { "SMTP-021 the domain's case is kept", "RCPT TO:<U@EXAMPLE.com>",
      "RCPT TO:<U@EXAMPLE.com>\r\n", false },
    { "SMTP-022 quoted local-part", "RCPT TO:<\"a@evil.example> \\\"\"@good.example> X",
      "RCPT TO:<\"a@evil.example> \\\"\"@good.example> X\r\n", false },
    { "SMTP-023 the route is stripped", "RCPT TO:<@a,@b:user@c>", "RCPT TO:<user@c>\r\n", false },
    { "SMTP-023 the sender's too", "MAIL FROM:<@a,@b:u@d> SIZE=1", "MAIL FROM:<u@d> SIZE=1\r\n",
      false },
    { "SMTP-025 address literal", "RCPT TO:<u@[IPv6:2001:DB8::1]>",
      "RCPT TO:<u@[IPv6:2001:DB8::1]>\r\n", false },
    { "SMTP-026 EXT-003 parameters unchanged, in order",
      "RCPT TO:<a@b.example> Notify=SUCCESS,failure ORCPT=rfc822;U+2Bx@d.example FOO",
      "RCPT TO:<a@b.example> Notify=SUCCESS,failure ORCPT=rfc822;U+2Bx@d.example FOO\r\n", false },
    { "SMTP-026 unknown ones", "MAIL FROM:<a@b> FOO=1 8-BAR", "MAIL FROM:<a@b> FOO=1 8-BAR\r\n",
      false },
    { "SMTP-026 twice the same", "MAIL FROM:<a@b> SIZE=1 SIZE=2",
      "MAIL FROM:<a@b> SIZE=1 SIZE=2\r\n", false },
    { "SMTP-026 AUTH=<>", "MAIL FROM:<a@b> AUTH=<>", "MAIL FROM:<a@b> AUTH=<>\r\n", false },
    { "SMTP-026 brackets and @ in a value", "RCPT TO:<a@b> ORCPT=rfc822;<x@evil.example>",
      "RCPT TO:<a@b> ORCPT=rfc822;<x@evil.example>\r\n", false },
    { "SMTP-026 sixteen", "MAIL FROM:<a@b> A B C D E F G H I J K L M N O P",
      "MAIL FROM:<a@b> A B C D E F G H I J K L M N O P\r\n", false },
    { "SMTP-028 PRX-028 null sender", "MAIL FROM:<> SIZE=1", "MAIL FROM:<> SIZE=1\r\n", false },
    { "SMTP-028 null sender behind a blank", "mail from: <>", "MAIL FROM:<>\r\n", false },
    { "PRX-027 postmaster", "RCPT TO:<PostMaster> NOTIFY=NEVER",
      "RCPT TO:<PostMaster> NOTIFY=NEVER\r\n", false },
    { "EXT-005 the address as it came",
      "RCPT TO:<\xc3\xbc@B\xc3\xbc"
      "cher.example>",
      "RCPT TO:<\xc3\xbc@B\xc3\xbc"
      "cher.example>\r\n",
      true },
    { "EXT-005 RFC 6531 3.3 UTF-8 in a value", "RCPT TO:<a@b> ORCPT=utf-8;\xc3\xbc@b",
      "RCPT TO:<a@b> ORCPT=utf-8;\xc3\xbc@b\r\n", true },
    { "EXT-003 xtext is the MX's to read", "RCPT TO:<a@b> ORCPT=rfc822;a+0D+0ARCPT+20TO:+3Cx@y+3E",
      "RCPT TO:<a@b> ORCPT=rfc822;a+0D+0ARCPT+20TO:+3Cx@y+3E\r\n", false },
    { "EXT-003 ENVID, the same", "MAIL FROM:<a@b> ENVID=+0D+0A.+0D+0A",
      "MAIL FROM:<a@b> ENVID=+0D+0A.+0D+0A\r\n", false },
    { "EXT-005 four octets", "MAIL FROM:<\xf0\x9f\x93\xa7@b> SMTPUTF8",
      "MAIL FROM:<\xf0\x9f\x93\xa7@b> SMTPUTF8\r\n", true },
};

static void
test_command(void **state)
{
    const struct command_case *c = *state;
    struct span line = span_of(c->line);
    struct smtp_command cmd;

    smtp_command_parse(line, false, &cmd);
    assert_int_equal(cmd.verb, c->verb);
    assert_int_equal(cmd.error, c->error);
    if (c->argument)
        assert_true(span_equal(cmd.argument, span_of(c->argument)));
}

static void
test_write(void **state)
{
    const struct write_case *c = *state;
    char text[SMTP_LINE_MAX_BYTES + 64];
    size_t want_len = strlen(c->want), len;
    struct smtp_command cmd;

    smtp_command_parse(span_of(c->line), c->smtputf8, &cmd);
    assert_int_equal(cmd.error, REPLY_NONE);
    len = smtp_command_write(&cmd, text, sizeof text);
    assert_int_equal(len, want_len);
    assert_memory_equal(text, c->want, want_len);
    for (size_t size = 0; size < want_len; size++)
        assert_int_equal(smtp_command_write(&cmd, text, size), 0);
    assert_int_equal(smtp_command_write(&cmd, text, want_len), want_len);

    /* What was written says the same when it is read again. */
    smtp_command_parse(span_make(text, len - 2), c->smtputf8, &cmd);
    assert_int_equal(cmd.error, REPLY_NONE);
    assert_int_equal(smtp_command_write(&cmd, text, sizeof text), want_len);
    assert_memory_equal(text, c->want, want_len);
}

/* RFC 3629 4: what is not UTF-8 is a bad character, with SMTPUTF8 as well. */
static void
test_chunks(void **state)
{
    static const struct {
        const char *line;
        unsigned long long len;
        bool last;
    } rows[] = {
        { "BDAT 0", 0, false },
        { "BDAT 0 LAST", 0, true },
        { "bdat 86 last", 86, true },
        { "BDAT 0000000010", 10, false }, /* E8 */
        { "BDAT 9223372036854775807 LAST", SMTP_CHUNK_MAX, true },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct smtp_command cmd;

        smtp_command_parse(span_of(rows[i].line), false, &cmd);
        assert_int_equal(cmd.error, REPLY_NONE);
        assert_true(cmd.chunk_len == rows[i].len);
        assert_int_equal(cmd.chunk_last, rows[i].last);
    }
}

static void
test_utf8(void **state)
{
    static const struct {
        const char *octets;
        bool valid;
    } rows[] = {
        { "\xc2\xa0", true },
        { "\xdf\xbf", true },
        { "\xe0\xa0\x80", true },
        { "\xed\x9f\xbf", true },
        { "\xee\x80\x80", true },
        { "\xef\xbf\xbd", true },
        { "\xf0\x90\x80\x80", true },
        { "\xf4\x8f\xbf\xbf", true },
        { "\x80", false },
        { "\xc3", false },
        { "\xc3\xc3", false },
        { "\xc0\xaf", false },
        { "\xc1\xbf", false },
        { "\xe0\x9f\xbf", false },
        { "\xe2\x82", false },
        { "\xed\xa0\x80", false },
        { "\xf0\x8f\xbf\xbf", false },
        { "\xf4\x90\x80\x80", false },
        { "\xf5\x80\x80\x80", false },
        { "\xff", false },
        { "\xe2\x82\x41", false },
        { "\xe2\x80\xa7", true },
        { "\xe2\x80\xaa", true },
        { "\xc2\x80", false },     /* a control */
        { "\xc2\x85", false },     /* next line */
        { "\xc2\x9f", false },     /* the last of them */
        { "\xe2\x80\xa8", false }, /* line separator */
        { "\xe2\x80\xa9", false }, /* paragraph separator */
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        char line[64];
        struct smtp_command cmd;

        snprintf(line, sizeof line, "RCPT TO:<%s@b.example>", rows[i].octets);
        smtp_command_parse(span_of(line), true, &cmd);
        assert_int_equal(cmd.error, rows[i].valid ? REPLY_NONE : REPLY_BAD_CHARACTER);
        smtp_command_parse(span_of(line), false, &cmd);
        assert_int_equal(cmd.error, REPLY_BAD_CHARACTER);
        snprintf(line, sizeof line, "NOOP %s", rows[i].octets);
        smtp_command_parse(span_of(line), true, &cmd);
        assert_int_equal(cmd.error, REPLY_BAD_CHARACTER);
    }
}

static void
test_parameters(void **state)
{
    struct smtp_command cmd;

    (void)state;
    smtp_command_parse(span_of("RCPT TO:<a@b> ORCPT=rfc822;u@d X"), false, &cmd);
    assert_int_equal(cmd.error, REPLY_NONE);
    assert_int_equal(cmd.parameter_count, 2);
    assert_true(span_equal(cmd.parameters[0].keyword, span_of("ORCPT")));
    assert_true(span_equal(cmd.parameters[0].value, span_of("rfc822;u@d")));
    assert_true(span_equal(cmd.parameters[1].keyword, span_of("X")));
    assert_null(cmd.parameters[1].value.ptr);
    assert_string_equal(cmd.path.domain, "b");
}

static void
test_extensions(void **state)
{
    static const struct {
        const char *keyword, *value, *mail, *rcpt;
    } rows[] = {
        { "SIZE", "1", "SIZE", "" },
        { "size", "1", "SIZE", "" },
        { "BODY", "8BITMIME", "8BITMIME", "" },
        { "body", "7bit", "8BITMIME", "" },
        { "BODY", "BINARYMIME", "BINARYMIME", "" },
        { "BODY", "OTHER", "", "" },
        { "BODY", NULL, "", "" },
        { "RET", "FULL", "DSN", "" },
        { "ENVID", "x", "DSN", "" },
        { "NOTIFY", "NEVER", "", "DSN" },
        { "ORCPT", "rfc822;a@b", "", "DSN" },
        { "SMTPUTF8", NULL, "SMTPUTF8", "" },
        { "AUTH", "<>", "AUTH", "" },
        { "REQUIRETLS", NULL, "REQUIRETLS", "" },
        { "BY", "120;R", "DELIVERBY", "" },
        { "MT-PRIORITY", "3", "MT-PRIORITY", "" },
        { "FOO", "1", "", "" },
        { "SIZEX", "1", "", "" },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        const struct smtp_parameter p = { span_of(rows[i].keyword),
                                          rows[i].value ? span_of(rows[i].value)
                                                        : (struct span){ NULL, 0 } };

        assert_string_equal(smtp_parameter_extension(SMTP_VERB_MAIL, &p), rows[i].mail);
        assert_string_equal(smtp_parameter_extension(SMTP_VERB_RCPT, &p), rows[i].rcpt);
    }
}

static void
test_names(void **state)
{
    (void)state;
    assert_string_equal(smtp_verb_name(SMTP_VERB_MAIL), "MAIL");
    assert_string_equal(smtp_verb_name(SMTP_VERB_STARTTLS), "STARTTLS");
    assert_string_equal(smtp_verb_name(SMTP_VERB_UNKNOWN), "?");
    assert_string_equal(smtp_verb_name(SMTP_VERB_KNOWN), "?");
    for (int verb = SMTP_VERB_EHLO; verb <= SMTP_VERB_AUTH; verb++) {
        struct smtp_command cmd;

        smtp_command_parse(span_of(smtp_verb_name((enum smtp_verb)verb)), false, &cmd);
        assert_int_equal(cmd.verb, verb);
    }
}

/* The longest line there is can be parsed, and written where the header says it fits. */
static void
test_longest(void **state)
{
    static char line[SMTP_LINE_MAX_BYTES - 2], text[SMTP_LINE_MAX_BYTES + 64];
    static const char start[] = "MAIL FROM:<a@b> X=";
    struct smtp_command cmd;

    (void)state;
    memset(line, 'y', sizeof line);
    memcpy(line, start, sizeof start - 1);
    smtp_command_parse(span_make(line, sizeof line), false, &cmd);
    assert_int_equal(cmd.error, REPLY_NONE);
    assert_int_equal(smtp_command_write(&cmd, text, sizeof text), SMTP_LINE_MAX_BYTES);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_chunks),     cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_parameters), cmocka_unit_test(test_names),
        cmocka_unit_test(test_extensions), cmocka_unit_test(test_longest),
    };
    struct CMUnitTest tests[ROWS(command_cases) + ROWS(write_cases) + ROWS(others)] = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < ROWS(command_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = command_cases[i].name,
                                          .test_func = test_command,
                                          .initial_state = &command_cases[i] };
    for (size_t i = 0; i < ROWS(write_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = write_cases[i].name,
                                          .test_func = test_write,
                                          .initial_state = &write_cases[i] };
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests_name("smtp_command", tests, NULL, NULL);
}
