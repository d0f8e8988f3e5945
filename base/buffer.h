/* base/buffer.h: a growing byte queue with a bound. Read from the front, append at the back.
 * Context: any process, one thread at a time per object. It holds no memory while empty, so an idle
 * session costs nothing. */
#ifndef STSGATE_BASE_BUFFER_H
#define STSGATE_BASE_BUFFER_H

#include "base/result.h"
#include "base/span.h"

struct buffer {
    char *mem;    /* owned; NULL while empty */
    size_t start; /* first unread byte */
    size_t end;   /* behind the last byte */
    size_t cap;   /* bytes allocated */
    size_t limit; /* most bytes it may hold unread */
};

/** limit: 1 byte or more. Allocates nothing. */
void buffer_init(struct buffer *b, size_t limit);

/** Frees the memory; the buffer is empty and may be used again. */
void buffer_clear(struct buffer *b);

static inline size_t
buffer_len(const struct buffer *b)
{
    return b->end - b->start;
}

/** Forgets what it holds and keeps the memory, for the next of many of one kind. */
static inline void
buffer_rewind(struct buffer *b)
{
    b->start = b->end = 0;
}

/** How many more bytes fit under the limit. */
static inline size_t
buffer_room(const struct buffer *b)
{
    return b->limit - buffer_len(b);
}

/** All unread bytes; valid until the next call that changes b. */
struct span buffer_span(const struct buffer *b);

/** buffer_append() where the memory in hand does not do. */
MUST_CHECK enum result buffer_append_slowly(struct buffer *b, struct span bytes);

/** Append a copy of bytes. RES_LIMIT: it would pass the limit; RES_NOMEM; b is then unchanged. */
MUST_CHECK static inline enum result
buffer_append(struct buffer *b, struct span bytes)
{
    /* Records are made of hundreds of pieces: most find their place without a call. */
    if (bytes.len == 0 || bytes.len > b->cap - b->end || bytes.len > buffer_room(b))
        return buffer_append_slowly(b, bytes);
    memcpy(b->mem + b->end, bytes.ptr, bytes.len);
    b->end += bytes.len;
    return RES_OK;
}

/** Make room for n more bytes and give the place to write them; call buffer_commit() with how many
 * were written. RES_LIMIT, RES_NOMEM as above. */
MUST_CHECK enum result buffer_reserve(struct buffer *b, size_t n, char **out_place);
void buffer_commit(struct buffer *b, size_t n);

/** Drop n bytes from the front, n <= buffer_len(). Memory is given back when nothing is left. */
void buffer_consume(struct buffer *b, size_t n);

#endif
