#include "base/buffer.h"

#include <assert.h>
#include <stdlib.h>

#define BUFFER_FIRST_BYTES 512u /* one SMTP line (RFC 5321 4.5.3.1.4) */

void
buffer_init(struct buffer *b, size_t limit)
{
    *b = (struct buffer){ .limit = limit };
}

void
buffer_clear(struct buffer *b)
{
    free(b->mem);
    buffer_init(b, b->limit);
}

struct span
buffer_span(const struct buffer *b)
{
    return (struct span){ b->mem ? b->mem + b->start : NULL, buffer_len(b) };
}

/* Room for n more bytes behind b->end: first by moving the rest to the front, then by growing. */
static enum result
make_room(struct buffer *b, size_t n)
{
    size_t len = buffer_len(b);
    size_t cap = b->cap ? b->cap : BUFFER_FIRST_BYTES;
    char *mem;

    if (n <= b->cap - b->end)
        return RES_OK;
    if (b->start) {
        memmove(b->mem, b->mem + b->start, len);
        b->start = 0;
        b->end = len;
        if (n <= b->cap - len)
            return RES_OK;
    }
    while (cap - len < n)
        cap *= 2;
    mem = realloc(b->mem, cap);
    if (!mem)
        return RES_NOMEM;
    b->mem = mem;
    b->cap = cap;
    return RES_OK;
}

enum result
buffer_reserve(struct buffer *b, size_t n, char **out_place)
{
    enum result res;

    *out_place = NULL;
    if (n > buffer_room(b))
        return RES_LIMIT;
    res = make_room(b, n);
    if (res == RES_OK && b->mem)
        *out_place = b->mem + b->end;
    return res;
}

void
buffer_commit(struct buffer *b, size_t n)
{
    assert(n <= b->cap - b->end);
    b->end += n;
    if (b->start == b->end) /* nothing came: a reader that waits holds no memory */
        buffer_clear(b);
}

enum result
buffer_append_slowly(struct buffer *b, struct span bytes)
{
    enum result res;
    char *place;

    if (bytes.len == 0)
        return RES_OK;
    res = buffer_reserve(b, bytes.len, &place);
    if (res != RES_OK)
        return res;
    memcpy(place, bytes.ptr, bytes.len);
    buffer_commit(b, bytes.len);
    return RES_OK;
}

void
buffer_consume(struct buffer *b, size_t n)
{
    assert(n <= buffer_len(b));
    b->start += n;
    if (b->start == b->end)
        buffer_clear(b);
}
