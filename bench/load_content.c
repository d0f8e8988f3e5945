#include "bench/load_content.h"

#include <assert.h>
#include <stdlib.h>

#define LINE_BYTES 78u
#define LOOP_BYTES (840u * LINE_BYTES) /* 64 KiB: of whole lines, so that nobody sees the seam */

static const char header[] = "From: <sender@load.lab.test>\r\nTo: <user@bench.test>\r\n"
                             "Subject: load\r\n\r\n";
static const char final_dot[] = "\r\n.\r\n";

#define HEADER_BYTES (sizeof header - 1)
#define DOT_BYTES (sizeof final_dot - 1)

/* Lines of text, none of which begins with a dot. */
static void
fill_lines(char *dst, size_t len)
{
    for (size_t at = 0; at < len; at++) {
        size_t column = at % LINE_BYTES;

        dst[at] = column == LINE_BYTES - 2   ? '\r'
                  : column == LINE_BYTES - 1 ? '\n'
                                             : (char)('a' + column % 26);
    }
    if (len && dst[len - 1] == '\r')
        dst[len - 1] = 'x'; /* a CR before the end would make another end of it */
}

enum result
load_content_init(struct load_content *c, size_t size)
{
    size_t body = size > HEADER_BYTES ? size - HEADER_BYTES : 0;
    size_t loops = body > LOOP_BYTES ? body / LOOP_BYTES : 1;
    size_t kept = body - (loops - 1) * LOOP_BYTES; /* one loop, and the rest */

    *c = (struct load_content){ .loop = LOOP_BYTES,
                                .loops = loops,
                                .text_len = HEADER_BYTES + kept + DOT_BYTES,
                                .len = HEADER_BYTES + body + DOT_BYTES };
    c->text = malloc(c->text_len);
    if (!c->text)
        return RES_NOMEM;
    memcpy(c->text, header, HEADER_BYTES);
    fill_lines(c->text + HEADER_BYTES, kept);
    memcpy(c->text + HEADER_BYTES + kept, final_dot, DOT_BYTES);
    return RES_OK;
}

void
load_content_clear(struct load_content *c)
{
    free(c->text);
    *c = (struct load_content){ .text = NULL };
}

struct span
load_content_at(const struct load_content *c, size_t at)
{
    size_t behind_loops = (c->loops - 1) * c->loop;
    size_t gone = at < HEADER_BYTES ? 0 : (at - HEADER_BYTES) / c->loop * c->loop;
    size_t end;

    assert(at < c->len);
    if (gone > behind_loops)
        gone = behind_loops;
    end = gone < behind_loops ? HEADER_BYTES + c->loop : c->text_len;
    return span_make(c->text + (at - gone), end - (at - gone));
}
