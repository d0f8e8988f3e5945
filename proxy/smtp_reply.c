#include "proxy/smtp_reply.h"

#define CODE_DIGITS 3u
#define PREFIX_BYTES 4u /* the code and "-" or a blank */

void
smtp_reply_reader_init(struct smtp_reply_reader *r)
{
    *r = (struct smtp_reply_reader){ 0 };
    buffer_init(&r->text, SMTP_REPLY_MAX_BYTES);
}

void
smtp_reply_reader_clear(struct smtp_reply_reader *r)
{
    buffer_clear(&r->text);
    smtp_reply_reader_init(r);
}

/* The line that is being read, as far as it is there. */
static struct span
current_line(const struct smtp_reply_reader *r)
{
    return span_from(buffer_span(&r->text), r->line_start);
}

/* Can these be the first octets of a reply line? Asked before the line is whole, so that another
 * protocol's chatter is not collected up to the limit. */
static bool
prefix_is_plausible(struct span line)
{
    for (size_t i = 0; i < line.len && i < CODE_DIGITS; i++) {
        char high =
            i == 0 ? '5' : '9'; /* second digit: lenient, 571 and 599 are in use (SMTP-030) */

        if (line.ptr[i] < (i == 0 ? '2' : '0') || line.ptr[i] > high)
            return false;
    }
    return line.len <= CODE_DIGITS || line.ptr[CODE_DIGITS] == '-' || line.ptr[CODE_DIGITS] == ' ';
}

/* Append a part of a line that holds no LF. A CR is kept back until its successor is known: only
 * one before an LF is a line end, and that is written by end_line(). */
static enum result
append_part(struct smtp_reply_reader *r, struct span part)
{
    enum result res;

    if (part.len == 0)
        return RES_OK;
    if (r->saw_cr)
        return RES_SYNTAX;
    if (part.ptr[part.len - 1] == '\r') {
        r->saw_cr = true;
        part.len--;
    }
    if (span_find(part, '\r') < part.len || span_find(part, '\0') < part.len)
        return RES_SYNTAX;
    res = buffer_append(&r->text, part);
    if (res != RES_OK)
        return res;
    return prefix_is_plausible(current_line(r)) ? RES_OK : RES_SYNTAX;
}

static unsigned
code_of(struct span line)
{
    unsigned code = 0;

    for (size_t i = 0; i < CODE_DIGITS; i++)
        code = code * 10 + (unsigned)(line.ptr[i] - '0');
    return code;
}

/* An LF has come. RES_OK: it ended the last line of a reply; RES_AGAIN: one of the others. */
static enum result
end_line(struct smtp_reply_reader *r)
{
    struct span line = current_line(r);
    bool more = line.len > CODE_DIGITS && line.ptr[CODE_DIGITS] == '-';
    enum result res;

    if (line.len < CODE_DIGITS || (r->lines && code_of(line) != r->code))
        return RES_SYNTAX;
    r->code = code_of(line);
    r->saw_cr = false;
    if (++r->lines > SMTP_REPLY_MAX_LINES)
        return RES_LIMIT;
    res = buffer_append(&r->text, span_of("\r\n")); /* whatever ended it (SMTP-033) */
    if (res != RES_OK)
        return res;
    r->line_start = buffer_len(&r->text);
    return more ? RES_AGAIN : RES_OK;
}

enum result
smtp_reply_read(struct smtp_reply_reader *r, struct span input, size_t *out_used,
                struct smtp_reply *out)
{
    enum result res = RES_AGAIN;
    size_t used = 0;

    *out = (struct smtp_reply){ 0 };
    if (r->complete)
        smtp_reply_reader_clear(r);
    while (res == RES_AGAIN && used < input.len) {
        struct span rest = span_from(input, used);
        size_t lf = span_find(rest, '\n');

        used += lf + (lf < rest.len);
        res = append_part(r, span_first(rest, lf));
        if (res == RES_OK)
            res = lf < rest.len ? end_line(r) : RES_AGAIN;
    }
    *out_used = used;
    if (res == RES_OK) {
        r->complete = true;
        *out = (struct smtp_reply){ r->code, buffer_span(&r->text), r->lines };
    }
    return res;
}

bool
smtp_reply_is_partial(const struct smtp_reply_reader *r)
{
    return !r->complete && (buffer_len(&r->text) > 0 || r->saw_cr);
}

struct span
smtp_reply_line(const struct smtp_reply *reply, size_t n)
{
    struct span rest = reply->text;
    size_t len;

    if (n >= reply->lines)
        return (struct span){ NULL, 0 };
    while (n--)
        rest = span_from(rest, span_find(rest, '\n') + 1);
    len = span_find(rest, '\n') - 1; /* without its CR */
    return span_from(span_first(rest, len), PREFIX_BYTES);
}
