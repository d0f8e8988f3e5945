#include "proxy/ehlo.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))

static const struct keyword_entry {
    const char *name;
    enum ehlo_keyword bit;
} keywords[] = {
    { "STARTTLS", EHLO_STARTTLS },
    { "PIPELINING", EHLO_PIPELINING },
    { "SIZE", EHLO_SIZE },
    { "8BITMIME", EHLO_8BITMIME },
    { "DSN", EHLO_DSN },
    { "ENHANCEDSTATUSCODES", EHLO_ENHANCEDSTATUSCODES },
    { "SMTPUTF8", EHLO_SMTPUTF8 },
    { "DELIVERBY", EHLO_DELIVERBY },
    { "LIMITS", EHLO_LIMITS },
    { "MT-PRIORITY", EHLO_MT_PRIORITY },
    { "CHUNKING", EHLO_CHUNKING },
    { "BINARYMIME", EHLO_BINARYMIME },
    { "REQUIRETLS", EHLO_REQUIRETLS },
    { "AUTH", EHLO_AUTH },
};

static unsigned
bit_of(struct span name)
{
    for (size_t i = 0; i < ROWS(keywords); i++)
        if (span_equal_nocase(name, span_of(keywords[i].name)))
            return keywords[i].bit;
    return 0;
}

/* The bit of one keyword line, without its code; 0 when nobody here knows it. */
static unsigned
bit_of_line(struct span line)
{
    struct span word = span_first(line, span_find(line, ' '));
    unsigned bit = bit_of(word);

    /* RFC 3207 2: the keyword has no parameters; what has some is something else (TLS-001). */
    if (bit == EHLO_STARTTLS && span_trim(span_from(line, word.len)).len)
        return 0;
    return bit;
}

unsigned
ehlo_keywords(const struct smtp_reply *reply)
{
    struct span rest = reply->text;
    unsigned found = 0;

    if (reply->code / 100 != 2)
        return 0;
    for (size_t n = 0; n < reply->lines; n++) {
        const struct smtp_reply one = { reply->code, rest, 1 };

        if (n > 0)
            found |= bit_of_line(smtp_reply_line(&one, 0));
        rest = span_from(rest, span_find(rest, '\n') + 1);
    }
    return found;
}

unsigned
ehlo_offer(unsigned listed, bool chunking)
{
    unsigned offer = listed & EHLO_OFFERED;

    if (!chunking || !(offer & EHLO_CHUNKING))
        offer &= ~(unsigned)(EHLO_CHUNKING | EHLO_BINARYMIME);
    return offer;
}

/* Append "250-", the text and CRLF. out_start: where in list, since the last line of all is to have
 * a blank instead of the "-". */
static enum result
append_line(struct buffer *list, struct span code, struct span text, size_t *out_start)
{
    enum result res;

    *out_start = buffer_len(list);
    res = buffer_append(list, code);
    if (res == RES_OK)
        res = buffer_append(list, span_of("-"));
    if (res == RES_OK)
        res = buffer_append(list, text);
    return res == RES_OK ? buffer_append(list, span_of("\r\n")) : res;
}

enum result
ehlo_announce(const struct smtp_reply *reply, const struct smtp_reply *list, unsigned allowed,
              unsigned ours, bool with_size_number, struct buffer *out)
{
    struct span rest = list->text, code = span_first(reply->text, 3);
    struct buffer shown;
    enum result res;
    size_t last;

    /* A line of a code alone grows by the separator. */
    buffer_init(&shown, 2 * SMTP_REPLY_MAX_BYTES + SMTP_REPLY_MAX_LINES);
    res = append_line(&shown, code, smtp_reply_line(reply, 0), &last);
    for (size_t n = 1; n < list->lines && res == RES_OK; n++) {
        struct smtp_reply one = { list->code, span_from(rest, span_find(rest, '\n') + 1), 1 };
        struct span line = smtp_reply_line(&one, 0);
        unsigned bit = bit_of_line(line);

        if (bit == EHLO_SIZE && !with_size_number)
            line = span_first(line, span_find(line, ' '));
        if (bit & allowed & EHLO_UNDER_TLS)
            res = append_line(&shown, code, line, &last);
        rest = one.text;
    }
    if (res == RES_OK && ours & EHLO_STARTTLS)
        res = append_line(&shown, code, span_of("STARTTLS"), &last);
    if (res == RES_OK && ours & ~ehlo_keywords(list) & EHLO_REQUIRETLS)
        res = append_line(&shown, code, span_of("REQUIRETLS"), &last);
    if (res == RES_OK) {
        shown.mem[shown.start + last + 3] = ' ';
        res = buffer_append(out, buffer_span(&shown));
    }
    buffer_clear(&shown);
    return res;
}

enum result
ehlo_filter(const struct smtp_reply *reply, unsigned allowed, bool with_size_number,
            struct buffer *out)
{
    return ehlo_announce(reply, reply, allowed, allowed & EHLO_STARTTLS, with_size_number, out);
}

struct smtp_reply
ehlo_reread(struct span text)
{
    struct smtp_reply reply = { .code = 250, .text = text };

    for (size_t i = 0; i < text.len; i++)
        reply.lines += text.ptr[i] == '\n';
    return reply;
}

enum result
ehlo_as_helo(const struct smtp_reply *reply, struct buffer *out)
{
    return ehlo_filter(reply, 0, false, out);
}

unsigned
ehlo_keyword_of(const char *extension)
{
    return bit_of(span_of(extension));
}
