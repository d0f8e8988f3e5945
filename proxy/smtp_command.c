#include "proxy/smtp_command.h"

#include "proxy/smtp_path.h"

#include <assert.h>

#define CHUNK_DIGITS_MAX 20u /* leading zeros are digits, too */
#define CLIENT_NAME_MAX 255u /* RFC 5321 4.5.3.1.2; it goes upstream in every EHLO */

enum argument_rule {
    ARG_ANY,   /* whatever it is, it is not for us or never goes upstream */
    ARG_NONE,  /* SMTP-014, RFC 3207 4 */
    ARG_NAME,  /* EHLO, HELO */
    ARG_PATH,  /* MAIL, RCPT */
    ARG_CHUNK, /* BDAT */
};

static const struct verb_entry {
    const char *name;
    enum smtp_verb verb;
    enum argument_rule rule;
} verbs[] = {
    { "EHLO", SMTP_VERB_EHLO, ARG_NAME },
    { "HELO", SMTP_VERB_HELO, ARG_NAME },
    { "MAIL", SMTP_VERB_MAIL, ARG_PATH },
    { "RCPT", SMTP_VERB_RCPT, ARG_PATH },
    { "DATA", SMTP_VERB_DATA, ARG_NONE },
    { "BDAT", SMTP_VERB_BDAT, ARG_CHUNK },
    { "RSET", SMTP_VERB_RSET, ARG_NONE },
    { "NOOP", SMTP_VERB_NOOP, ARG_ANY },
    { "QUIT", SMTP_VERB_QUIT, ARG_NONE },
    { "VRFY", SMTP_VERB_VRFY, ARG_ANY },
    { "EXPN", SMTP_VERB_EXPN, ARG_ANY },
    { "HELP", SMTP_VERB_HELP, ARG_ANY },
    { "STARTTLS", SMTP_VERB_STARTTLS, ARG_NONE },
    { "AUTH", SMTP_VERB_AUTH, ARG_ANY },
    /* RFC 5321 F.1, F.6; RFC 1985, 2645, 4468, 2033. */
    { "TURN", SMTP_VERB_KNOWN, ARG_ANY },
    { "SEND", SMTP_VERB_KNOWN, ARG_ANY },
    { "SOML", SMTP_VERB_KNOWN, ARG_ANY },
    { "SAML", SMTP_VERB_KNOWN, ARG_ANY },
    { "ETRN", SMTP_VERB_KNOWN, ARG_ANY },
    { "ATRN", SMTP_VERB_KNOWN, ARG_ANY },
    { "BURL", SMTP_VERB_KNOWN, ARG_ANY },
    { "LHLO", SMTP_VERB_KNOWN, ARG_ANY },
};

static const struct parameter_entry {
    enum smtp_verb verb;
    const char *keyword;
    const char *value; /* NULL: any or none */
    const char *extension;
} parameters[] = {
    { SMTP_VERB_MAIL, "SIZE", NULL, "SIZE" },
    { SMTP_VERB_MAIL, "BODY", "8BITMIME", "8BITMIME" },
    { SMTP_VERB_MAIL, "BODY", "7BIT", "8BITMIME" },
    { SMTP_VERB_MAIL, "BODY", "BINARYMIME", "BINARYMIME" },
    { SMTP_VERB_MAIL, "RET", NULL, "DSN" },
    { SMTP_VERB_MAIL, "ENVID", NULL, "DSN" },
    { SMTP_VERB_RCPT, "NOTIFY", NULL, "DSN" },
    { SMTP_VERB_RCPT, "ORCPT", NULL, "DSN" },
    { SMTP_VERB_MAIL, "SMTPUTF8", NULL, "SMTPUTF8" },
    { SMTP_VERB_MAIL, "AUTH", NULL, "AUTH" },
    { SMTP_VERB_MAIL, "REQUIRETLS", NULL, "REQUIRETLS" },
    { SMTP_VERB_MAIL, "BY", NULL, "DELIVERBY" },
    { SMTP_VERB_MAIL, "MT-PRIORITY", NULL, "MT-PRIORITY" },
};

#define ROWS(table) (sizeof(table) / sizeof *(table))

/* The offset behind the first CRLF, 0 when there is none. */
static size_t
crlf_end(struct span input)
{
    size_t lf = span_find(input, '\n'); /* by far the faster search while a line is incomplete */
    const char *at;

    if (lf == input.len)
        return 0;
    if (lf && input.ptr[lf - 1] == '\r')
        return lf + 1;
    at = memmem(input.ptr + lf, input.len - lf, "\r\n", 2);
    return at ? (size_t)(at - input.ptr) + 2 : 0;
}

/* Drop up to the end of a line that is too long. */
static enum result
skip_line(struct span input, bool *skipping, size_t *out_used)
{
    size_t end = crlf_end(input);

    *skipping = end == 0;
    *out_used = end;
    if (end == 0) /* the LF that makes a CRLF of the last CR may still come */
        *out_used = input.len - (input.len && input.ptr[input.len - 1] == '\r');
    return *out_used ? RES_LIMIT : RES_AGAIN;
}

/* What looks like a line end before the first real one does not end a line (SMTP-002). */
static bool
has_stray(struct span line)
{
    return span_find(line, '\r') < line.len || span_find(line, '\n') < line.len ||
           span_find(line, '\0') < line.len;
}

enum result
smtp_line_take(struct span input, bool *skipping, struct span *out_line, size_t *out_used)
{
    struct span line;
    size_t end;

    *out_line = (struct span){ NULL, 0 };
    *out_used = 0;
    if (*skipping)
        return skip_line(input, skipping, out_used);
    end = crlf_end(span_first(input, SMTP_LINE_MAX_BYTES));
    if (end == 0)
        return input.len < SMTP_LINE_MAX_BYTES ? RES_AGAIN : skip_line(input, skipping, out_used);
    line = span_first(input, end - 2);
    *out_used = end;
    if (has_stray(line))
        return RES_SYNTAX;
    *out_line = line;
    return RES_OK;
}

enum result
smtp_line_take_lf(struct span input, bool *skipping, struct span *out_line, size_t *out_used)
{
    size_t lf = span_find(input, '\n');
    struct span line = span_first(input, lf);

    *out_line = (struct span){ NULL, 0 };
    *out_used = 0;
    if (lf == input.len && !*skipping && input.len < SMTP_LINE_MAX_BYTES)
        return RES_AGAIN;
    if (*skipping || lf >= SMTP_LINE_MAX_BYTES) {
        *skipping = lf == input.len;
        *out_used = lf + !*skipping;
        return *out_used ? RES_LIMIT : RES_AGAIN;
    }
    *out_used = lf + 1;
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (has_stray(line))
        return RES_SYNTAX;
    *out_line = line;
    return RES_OK;
}

/* U+0080 ... U+009F, U+2028 and U+2029: controls, and line ends for those who go by Unicode (RFC
 * 5198 2). */
static bool
is_control(struct span utf8)
{
    return ((unsigned char)utf8.ptr[0] == 0xc2 && (unsigned char)utf8.ptr[1] < 0xa0) ||
           span_equal(utf8, span_of("\xe2\x80\xa8")) || span_equal(utf8, span_of("\xe2\x80\xa9"));
}

/* Length of the well-formed UTF-8 sequence of a character above U+007F at the front of text, RFC
 * 3629 4 (no overlong forms, no surrogates); 0 when it is none, or of a control. */
static size_t
utf8_len(struct span text)
{
    unsigned char lead = (unsigned char)text.ptr[0];
    unsigned char low = 0x80, high = 0xbf; /* range of the second octet */
    size_t len;

    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    len = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (text.len < len)
        return 0;
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (c < low || c > high)
            return 0;
        low = 0x80, high = 0xbf;
    }
    return is_control(span_first(text, len)) ? 0 : len;
}

/* Nothing but printable ASCII, and UTF-8 where it is permitted (SMTP-005). */
static bool
is_printable(struct span line, bool utf8)
{
    size_t step;

    for (size_t i = 0; i < line.len; i += step) {
        unsigned char c = (unsigned char)line.ptr[i];

        step = c < 0x80 ? 1 : utf8 ? utf8_len(span_from(line, i)) : 0;
        if (step == 0 || c < ' ' || c == 0x7f)
            return false;
    }
    return true;
}

/* esmtp-param of RFC 5321 4.1.2. */
static bool
parse_parameter(struct span text, struct smtp_parameter *out)
{
    out->keyword = span_first(text, span_find(text, '='));
    out->value = (struct span){ NULL, 0 };
    for (size_t i = 0; i < out->keyword.len; i++) {
        char c = out->keyword.ptr[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (!alnum && (c != '-' || i == 0))
            return false;
    }
    if (out->keyword.len == 0 || out->keyword.len == text.len)
        return out->keyword.len > 0;
    out->value = span_from(text, out->keyword.len + 1);
    return out->value.len && span_find(out->value, '=') == out->value.len;
}

/* The rest behind the path: nothing, or blanks and parameters. */
static enum reply_row
parse_parameters(struct span text, struct smtp_command *out)
{
    while (text.len) {
        size_t len;

        if (text.ptr[0] != ' ' || out->parameter_count == SMTP_PARAMETERS_MAX)
            return REPLY_BAD_PARAMETERS;
        text = span_trim(text); /* the line has no trailing blanks, so something is left */
        len = span_find(text, ' ');
        if (!parse_parameter(span_first(text, len), &out->parameters[out->parameter_count]))
            return REPLY_BAD_PARAMETERS;
        out->parameter_count++;
        text = span_from(text, len);
    }
    return REPLY_NONE;
}

/* "FROM:<path> parameters". One blank behind the colon is tolerated (SMTP-020). */
static enum reply_row
parse_path_argument(struct span text, struct smtp_command *out)
{
    struct span prefix = span_of(out->verb == SMTP_VERB_MAIL ? "FROM:" : "TO:");
    enum reply_row row;
    size_t used;

    if (!span_starts_nocase(text, prefix))
        return REPLY_BAD_PARAMETERS;
    text = span_from(text, prefix.len);
    if (text.len && text.ptr[0] == ' ')
        text = span_from(text, 1);
    row = smtp_path_parse(text, out->verb, &out->path, &used);
    return row != REPLY_NONE ? row : parse_parameters(span_from(text, used), out);
}

/* RFC 3030 2: chunk-size [ SP end-marker ]. */
static bool
parse_chunk(struct smtp_command *out)
{
    struct span size = span_first(out->argument, span_find(out->argument, ' '));
    struct span marker = span_trim(span_from(out->argument, size.len));

    out->chunk_last = span_equal_nocase(marker, span_of("LAST"));
    return span_to_u64(size, CHUNK_DIGITS_MAX, &out->chunk_len) &&
           out->chunk_len <= SMTP_CHUNK_MAX && (out->chunk_last || marker.len == 0);
}

static enum reply_row
parse_argument(enum argument_rule rule, struct smtp_command *out)
{
    struct span argument = out->argument;
    bool ok = true;

    switch (rule) {
    case ARG_ANY:
        break;
    case ARG_NONE:
        ok = argument.len == 0;
        break;
    case ARG_NAME:
        ok = argument.len > 0 && argument.len <= CLIENT_NAME_MAX &&
             span_find(argument, ' ') == argument.len;
        break;
    case ARG_PATH:
        return parse_path_argument(argument, out);
    case ARG_CHUNK:
        ok = parse_chunk(out);
        break;
    }
    return ok ? REPLY_NONE : REPLY_BAD_PARAMETERS;
}

/* Has the MAIL the parameter that permits UTF-8 in its transaction? */
static bool
says_smtputf8(const struct smtp_command *cmd)
{
    for (size_t i = 0; i < cmd->parameter_count; i++)
        if (span_equal_nocase(cmd->parameters[i].keyword, span_of("SMTPUTF8")))
            return true;
    return false;
}

void
smtp_command_parse(struct span line, bool smtputf8, struct smtp_command *out)
{
    static const struct verb_entry unknown = { "", SMTP_VERB_UNKNOWN, ARG_ANY };
    const struct verb_entry *entry = &unknown;
    struct span word;

    *out = (struct smtp_command){ 0 };
    while (line.len && (line.ptr[line.len - 1] == ' ' || line.ptr[line.len - 1] == '\t'))
        line.len--; /* SMTP-004 */
    word = span_first(line, span_find(line, ' '));
    for (size_t i = 0; i < ROWS(verbs) && entry == &unknown; i++)
        if (span_equal_nocase(word, span_of(verbs[i].name)))
            entry = &verbs[i];
    out->verb = entry->verb;
    out->argument = span_trim(span_from(line, word.len));
    if (!is_printable(line, smtputf8 && entry->rule == ARG_PATH)) {
        out->error = REPLY_BAD_CHARACTER;
        return;
    }
    out->error = parse_argument(entry->rule, out);
    if (out->error == REPLY_NONE && out->verb == SMTP_VERB_MAIL && !says_smtputf8(out) &&
        !is_printable(line, false))
        out->error = REPLY_BAD_CHARACTER;
}

/* Text that is put together in memory of the caller. */
struct writer {
    char *dst;
    size_t size, len;
    bool full;
};

static void
put(struct writer *w, struct span text)
{
    if (w->full || text.len > w->size - w->len) {
        w->full = true;
        return;
    }
    if (text.len)
        memcpy(w->dst + w->len, text.ptr, text.len);
    w->len += text.len;
}

size_t
smtp_command_write(const struct smtp_command *cmd, char *dst, size_t size)
{
    struct writer w = { .dst = dst, .size = size };

    assert(cmd->error == REPLY_NONE);
    assert(cmd->verb == SMTP_VERB_MAIL || cmd->verb == SMTP_VERB_RCPT);
    put(&w, span_of(cmd->verb == SMTP_VERB_MAIL ? "MAIL FROM:<" : "RCPT TO:<"));
    put(&w, cmd->path.local);
    if (cmd->path.domain_as_written.len)
        put(&w, span_of("@"));
    put(&w, cmd->path.domain_as_written);
    put(&w, span_of(">"));
    for (size_t i = 0; i < cmd->parameter_count; i++) {
        put(&w, span_of(" "));
        put(&w, cmd->parameters[i].keyword);
        if (cmd->parameters[i].value.ptr)
            put(&w, span_of("="));
        put(&w, cmd->parameters[i].value);
    }
    put(&w, span_of("\r\n"));
    return w.full ? 0 : w.len;
}

const char *
smtp_parameter_extension(enum smtp_verb verb, const struct smtp_parameter *p)
{
    for (size_t i = 0; i < ROWS(parameters); i++) {
        const struct parameter_entry *entry = &parameters[i];

        if (entry->verb == verb && span_equal_nocase(p->keyword, span_of(entry->keyword)) &&
            (!entry->value || span_equal_nocase(p->value, span_of(entry->value))))
            return entry->extension;
    }
    return "";
}

const char *
smtp_verb_name(enum smtp_verb verb)
{
    if (verb == SMTP_VERB_KNOWN)
        return "?";
    for (size_t i = 0; i < ROWS(verbs); i++)
        if (verbs[i].verb == verb)
            return verbs[i].name;
    return "?";
}
