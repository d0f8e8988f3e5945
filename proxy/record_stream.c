#include "proxy/record_stream.h"

#include "base/buffer.h"
#include "proxy/record.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#define READ_BYTES 65536u

struct stream {
    const char *name; /* of the input, for complaints */
    int in;
    FILE *err;
    const struct record_taker *taker;
    struct buffer bytes;    /* read, not used yet */
    uint64_t offset;        /* of bytes in the input */
    uint64_t garbage_start; /* with in_garbage */
    bool in_garbage;
    enum record_stream_end end;
};

/* Take n bytes off the front. */
static void
consume(struct stream *s, size_t n)
{
    buffer_consume(&s->bytes, n);
    s->offset += n;
}

/* A run of garbage is told once, when its end is known. */
static void
end_garbage(struct stream *s)
{
    if (!s->in_garbage)
        return;
    fprintf(s->err, "stsgate: %s: bytes %" PRIu64 " to %" PRIu64 " are no record: skipped\n",
            s->name, s->garbage_start, s->offset - 1);
    s->in_garbage = false;
    s->end = RECORD_STREAM_GARBAGE;
}

static void
start_garbage(struct stream *s)
{
    if (s->in_garbage)
        return;
    s->in_garbage = true;
    s->garbage_start = s->offset;
}

static void
skip_garbage(struct stream *s)
{
    start_garbage(s);
    consume(s, record_find(buffer_span(&s->bytes), 1));
}

/* Use up what is complete in s->bytes. Every turn consumes at least one byte. */
static void
take_complete(struct stream *s)
{
    while (buffer_len(&s->bytes) && s->end != RECORD_STREAM_STOPPED) {
        int64_t wall_ns;
        struct span map;
        size_t len;

        switch (record_decode(buffer_span(&s->bytes), &len, &wall_ns, &map)) {
        case RES_OK:
            end_garbage(s);
            if (!s->taker->take(s->taker->arg, wall_ns, map))
                s->end = RECORD_STREAM_STOPPED;
            consume(s, len);
            break;
        case RES_AGAIN:
            return;
        case RES_NOMEM:
        case RES_SYNTAX:
        case RES_LIMIT:
        case RES_TEMPFAIL:
        case RES_DENIED:
            skip_garbage(s);
            break;
        }
    }
}

/* Get more input. False: there is no more. */
static bool
read_more(struct stream *s)
{
    char *place;
    ssize_t n;

    if (buffer_reserve(&s->bytes, READ_BYTES, &place) != RES_OK) {
        fprintf(s->err, "stsgate: %s: no memory\n", s->name);
        s->end = RECORD_STREAM_GARBAGE;
        return false;
    }
    do
        n = read(s->in, place, READ_BYTES);
    while ((n < 0 && errno == EINTR) ||
           (n == 0 && s->taker->more && s->taker->more(s->taker->arg)));
    if (n < 0) {
        fprintf(s->err, "stsgate: %s: byte %" PRIu64 ": cannot read: %s\n", s->name,
                s->offset + buffer_len(&s->bytes), strerror(errno));
        s->end = RECORD_STREAM_GARBAGE;
    }
    buffer_commit(&s->bytes, n > 0 ? (size_t)n : 0);
    return n > 0;
}

/* Offset of the first whole record behind the start of bytes; bytes.len when there is none. */
static size_t
find_whole(struct span bytes)
{
    size_t at = record_find(bytes, 1);
    int64_t wall_ns;
    struct span map;
    size_t len;

    while (at < bytes.len && record_decode(span_from(bytes, at), &len, &wall_ns, &map) != RES_OK)
        at = record_find(bytes, at + 1);
    return at;
}

/* What waits for bytes that will not come: a record cut by the end, or a torn one that would have
 * swallowed those behind it. */
static void
take_rest(struct stream *s)
{
    size_t at = find_whole(buffer_span(&s->bytes));

    while (s->end != RECORD_STREAM_STOPPED && at < buffer_len(&s->bytes)) {
        start_garbage(s);
        consume(s, at);
        take_complete(s);
        at = find_whole(buffer_span(&s->bytes));
    }
    end_garbage(s);
    if (s->end != RECORD_STREAM_STOPPED && buffer_len(&s->bytes))
        fprintf(s->err, "stsgate: %s: byte %" PRIu64 ": the last record is cut short\n", s->name,
                s->offset);
}

enum record_stream_end
record_stream(const char *name, int in, FILE *err, const struct record_taker *taker)
{
    struct stream s = { .name = name, .in = in, .err = err, .taker = taker };

    /* What take_complete() leaves is shorter than a record may be. */
    buffer_init(&s.bytes, RECORD_MAX_BYTES + READ_BYTES);
    while (s.end != RECORD_STREAM_STOPPED && read_more(&s)) {
        take_complete(&s);
        if (taker->pause && s.end != RECORD_STREAM_STOPPED && !taker->pause(taker->arg))
            s.end = RECORD_STREAM_STOPPED;
    }
    if (s.end != RECORD_STREAM_STOPPED)
        take_rest(&s);
    buffer_clear(&s.bytes);
    return s.end;
}
