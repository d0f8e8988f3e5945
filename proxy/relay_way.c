#include "proxy/relay_way.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#define BULK_BYTES (16u * 1024u) /* below it splice() costs as much as a copy */

void
relay_way_init(struct relay_way *way, struct pipe_pool *pool)
{
    *way = (struct relay_way){ .pool = pool, .pipe = { .out = -1, .in = -1 } };
    buffer_init(&way->held, RELAY_WAY_BUFFER_BYTES);
}

static bool
has_pipe(const struct relay_way *way)
{
    return way->pipe.in >= 0;
}

static void
end_lease(struct relay_way *way)
{
    if (has_pipe(way))
        pipe_pool_give(way->pool, &way->pipe, way->in_pipe == 0);
    way->in_pipe = 0;
    way->full = false;
}

void
relay_way_clear(struct relay_way *way)
{
    end_lease(way);
    buffer_clear(&way->held);
}

bool
relay_way_wants_read(const struct relay_way *way)
{
    return !way->ended && !way->full && buffer_room(&way->held) > 0;
}

bool
relay_way_wants_write(const struct relay_way *way)
{
    return buffer_len(&way->held) > 0 || way->in_pipe > 0;
}

/* The error of a call that moved nothing: true when it is none. */
static bool
may_go_on(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

static void
note_why(struct relay_way *way, enum relay_copy why)
{
    way->why = why > way->why ? why : way->why;
}

/* Is what comes next to go through a pipe? Takes one. Order holds: nothing copied waits. */
static bool
may_splice(struct relay_way *way)
{
    if (has_pipe(way))
        return true;
    if (!way->opaque || way->why == RELAY_COPY_REFUSED)
        return false;
    if (way->bulk && buffer_len(&way->held))
        return false; /* what was copied goes first */
    if (way->bulk && pipe_pool_take(way->pool, &way->pipe))
        return true;
    note_why(way, way->bulk ? RELAY_COPY_NO_PIPE : RELAY_COPY_SMALL);
    return false;
}

static bool
read_copy(struct relay_way *way, int from, struct span *out)
{
    size_t room = buffer_room(&way->held);
    char *place;
    ssize_t n;

    if (buffer_reserve(&way->held, room, &place) != RES_OK)
        return false;
    n = recv(from, place, room, 0);
    buffer_commit(&way->held, n > 0 ? (size_t)n : 0);
    if (n < 0)
        return may_go_on(errno);
    way->ended = n == 0;
    way->bulk = (size_t)n >= BULK_BYTES;
    *out = span_make(place, (size_t)n);
    return true;
}

/* EAGAIN of a pipe that holds something may also say that the pipe is full. */
static bool
read_splice(struct relay_way *way, int from, struct span *out)
{
    ssize_t n = splice(from, NULL, way->pipe.in, NULL, PIPE_POOL_BYTES, SPLICE_F_NONBLOCK);

    if (n > 0) {
        way->in_pipe += (size_t)n;
        way->bulk = (size_t)n >= BULK_BYTES;
        return true;
    }
    if (n == 0) {
        way->ended = true;
        return true;
    }
    way->full = way->in_pipe > 0;
    if (may_go_on(errno)) {
        way->bulk = way->full;
        return true;
    }
    if (errno != EINVAL || way->in_pipe)
        return false;
    note_why(way, RELAY_COPY_REFUSED);
    end_lease(way);
    return read_copy(way, from, out);
}

bool
relay_way_read(struct relay_way *way, int from, struct span *out)
{
    bool whole;

    *out = span_make(NULL, 0);
    if (!relay_way_wants_read(way))
        return true;
    if (!may_splice(way))
        return read_copy(way, from, out);
    whole = read_splice(way, from, out);
    if (way->in_pipe == 0)
        end_lease(way);
    return whole;
}

static bool
write_copied(struct relay_way *way, int to)
{
    while (buffer_len(&way->held)) {
        struct span bytes = buffer_span(&way->held);
        ssize_t n = send(to, bytes.ptr, bytes.len, MSG_NOSIGNAL);

        if (n < 0)
            return may_go_on(errno);
        way->octets += (size_t)n;
        buffer_consume(&way->held, (size_t)n);
    }
    return true;
}

static bool
write_spliced(struct relay_way *way, int to)
{
    while (way->in_pipe) {
        ssize_t n = splice(way->pipe.out, NULL, to, NULL, way->in_pipe, SPLICE_F_NONBLOCK);

        if (n <= 0)
            return n < 0 && may_go_on(errno);
        way->octets += (size_t)n;
        way->spliced += (size_t)n;
        way->in_pipe -= (size_t)n;
        way->full = false;
    }
    end_lease(way);
    return true;
}

bool
relay_way_write(struct relay_way *way, int to)
{
    if (!write_copied(way, to) || (!buffer_len(&way->held) && !write_spliced(way, to)))
        return false;
    if (way->ended && !way->told && !relay_way_wants_write(way)) {
        way->told = true;
        (void)shutdown(to, SHUT_WR);
    }
    return true;
}

const char *
relay_way_engine(const struct relay_way *way)
{
    return way->spliced ? "splice" : "copy";
}

const char *
relay_way_reason(const struct relay_way *way)
{
    static const char *const names[] = {
        [RELAY_COPY_LOOKED_AT] = "looked-at",
        [RELAY_COPY_SMALL] = "small",
        [RELAY_COPY_NO_PIPE] = "no-pipe",
        [RELAY_COPY_REFUSED] = "refused",
    };

    return way->spliced ? "" : names[way->why];
}
