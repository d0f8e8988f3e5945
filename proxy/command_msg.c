#include "proxy/command_msg.h"

#include <stdio.h>

#include "base/hostname.h"

static const struct {
    const char *name;
    enum { NOTHING, DOMAIN, DOMAIN_OR_ALL, PERHAPS_TEXT } argument;
} verbs[COMMAND_VERBS] = {
    [COMMAND_LIST] = { "list", NOTHING },         [COMMAND_SHOW] = { "show", DOMAIN },
    [COMMAND_REFRESH] = { "refresh", DOMAIN },    [COMMAND_INSPECT] = { "inspect", DOMAIN },
    [COMMAND_FLUSH] = { "flush", DOMAIN_OR_ALL }, [COMMAND_WARM] = { "warm", DOMAIN },
    [COMMAND_STATS] = { "stats", NOTHING },       [COMMAND_MODE] = { "mode", PERHAPS_TEXT },
    [COMMAND_RELOAD] = { "reload", NOTHING },     [COMMAND_STATUS] = { "status", NOTHING },
    [COMMAND_SESSIONS] = { "sessions", NOTHING }, [COMMAND_DRAIN] = { "drain", NOTHING },
};

const char *
command_verb_name(enum command_verb verb)
{
    return verbs[verb].name;
}

static bool
take_argument(enum command_verb verb, struct span text, struct command *out)
{
    char normal[HOSTNAME_MAX + 1];

    switch (verbs[verb].argument) {
    case NOTHING:
        return text.len == 0;
    case DOMAIN_OR_ALL:
        if (span_equal(text, span_of("*")))
            return true;
        /* fall through */
    case DOMAIN:
        if (hostname_normalise(text, normal) != RES_OK)
            return false;
        snprintf(out->argument, sizeof out->argument, "%s", normal);
        return true;
    case PERHAPS_TEXT:
        for (size_t i = 0; i < text.len; i++)
            if (text.ptr[i] < ' ' || text.ptr[i] > '~')
                return false;
        snprintf(out->argument, sizeof out->argument, "%.*s", (int)text.len, text.ptr);
        return true;
    }
    return false;
}

enum result
command_parse(struct span line, struct command *out)
{
    size_t blank = span_find(line, ' ');
    struct span name = span_first(line, blank);
    struct span argument = blank < line.len ? span_from(line, blank + 1) : span_of("");

    *out = (struct command){ 0 };
    if (line.len >= COMMAND_LINE_MAX)
        return RES_SYNTAX;
    for (unsigned verb = 0; verb < COMMAND_VERBS; verb++)
        if (span_equal(name, span_of(verbs[verb].name))) {
            out->verb = (enum command_verb)verb;
            return take_argument(out->verb, argument, out) ? RES_OK : RES_SYNTAX;
        }
    return RES_SYNTAX;
}

void
command_frame_begin(struct pack_writer *w, struct buffer *scratch)
{
    buffer_init(scratch, COMMAND_FRAME_MAX);
    pack_begin(w, scratch);
}

enum result
command_frame_end(struct pack_writer *w, struct buffer *scratch, struct buffer *out)
{
    enum result res = pack_end(w);
    size_t len = buffer_len(scratch);
    const char head[4] = { (char)(len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len };

    if (res == RES_OK && buffer_room(out) < sizeof head + len)
        res = RES_LIMIT;
    if (res == RES_OK)
        res = buffer_append(out, span_make(head, sizeof head));
    if (res == RES_OK)
        res = buffer_append(out, buffer_span(scratch));
    buffer_clear(scratch);
    return res;
}

enum result
command_frame_read(struct span bytes, struct span *out_map, size_t *out_used)
{
    size_t len = 0;

    if (bytes.len < 4)
        return RES_AGAIN;
    for (unsigned i = 0; i < 4; i++)
        len = len << 8 | (unsigned char)bytes.ptr[i];
    if (len > COMMAND_FRAME_MAX)
        return RES_LIMIT;
    if (bytes.len < 4 + len)
        return RES_AGAIN;
    *out_map = span_make(bytes.ptr + 4, len);
    *out_used = 4 + len;
    return RES_OK;
}
