#include "proxy/survey.h"

/* The next line of bytes, with what came of it before; false: it is not whole yet. */
static bool
take_line(struct survey_line *line, struct span *bytes, struct span *out)
{
    size_t end = span_find(*bytes, '\n'), room = sizeof line->text - line->len;
    bool whole = end < bytes->len;
    size_t part = end < room ? end : room;

    if (part)
        memcpy(line->text + line->len, bytes->ptr, part);
    line->len += part;
    *bytes = span_from(*bytes, whole ? end + 1 : end);
    *out = span_make(line->text, line->len);
    return whole;
}

static bool
begins(struct span line, const char *word)
{
    size_t len = strlen(word);

    return line.len >= len && span_equal_nocase(span_first(line, len), span_of(word));
}

/* The digits at the front. */
static uint64_t
number_of(struct span text)
{
    uint64_t n = 0;

    for (size_t i = 0; i < text.len && i < 15 && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++)
        n = n * 10 + (unsigned)(text.ptr[i] - '0');
    return n;
}

static void
on_command(struct survey *s, struct span line)
{
    if (begins(line, "STARTTLS"))
        s->starttls_asked = true;
    else if (begins(line, "MAIL FROM:"))
        s->mails++;
    else if (begins(line, "RCPT TO:"))
        s->recipients++;
    else if (begins(line, "BDAT "))
        s->chunk = number_of(span_from(line, 5));
}

static struct span
trim_cr(struct span line)
{
    return line.len && line.ptr[line.len - 1] == '\r' ? span_first(line, line.len - 1) : line;
}

void
survey_client(struct survey *s, struct span bytes)
{
    while (bytes.len && !s->starttls_accepted) {
        struct span line;

        if (s->chunk) {
            size_t n = s->chunk < bytes.len ? (size_t)s->chunk : bytes.len;

            s->chunk -= n;
            bytes = span_from(bytes, n);
            continue;
        }
        if (!take_line(&s->client, &bytes, &line))
            return;
        line = trim_cr(line);
        if (!s->content)
            on_command(s, line);
        else if (span_equal(line, span_of(".")))
            s->content = false;
        s->client.len = 0;
    }
}

static void
on_reply(struct survey *s, struct span line)
{
    struct span word = span_from(line, line.len < 4 ? line.len : 4);

    if (begins(line, "250") && span_equal_nocase(word, span_of("STARTTLS")))
        s->starttls_offered = true;
    else if (begins(line, "220") && s->starttls_asked)
        s->starttls_accepted = true;
    else if (begins(line, "354"))
        s->content = true;
}

void
survey_mx(struct survey *s, struct span bytes)
{
    while (bytes.len && !s->starttls_accepted) {
        struct span line;

        if (!take_line(&s->mx, &bytes, &line))
            return;
        on_reply(s, trim_cr(line));
        s->mx.len = 0;
    }
}
