#include "proxy/forward_sink.h"

#include "base/buffer.h"
#include "base/ip_addr.h"
#include "base/log.h"
#include "proxy/forward_msg.h"

#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DRAIN_LOOK_S 0.05

enum forward_state {
    FORWARD_IDLE,       /* no connection, none wanted until the timer */
    FORWARD_CONNECTING, /* */
    FORWARD_READY,      /* connected, nothing on its way */
    FORWARD_SENDING,    /* a message is being written */
    FORWARD_WAITING,    /* for its acknowledgement */
};

struct forward_sink {
    struct ev_loop *loop;
    char *to; /* owned */
    struct clock clock;
    struct sockaddr_storage addr;
    socklen_t addr_len;
    enum forward_state state;
    int fd;                          /* -1: none */
    struct buffer records;           /* that nobody has acknowledged, in order */
    struct buffer lengths;           /* of each of them, uint32_t */
    size_t batch_bytes, batch_count; /* of records, at the front: in the message on its way */
    struct buffer message;           /* what is left to write of it */
    struct buffer answer;            /* what has come of its acknowledgement */
    char chunk[FORWARD_CHUNK_LEN + 1];
    unsigned retry_ms;
    bool up, told_down;
    ev_io readable, writable;
    ev_timer timer;
};

/* ---- addresses ---- */

static bool
parse_unix(const char *to, struct sockaddr_storage *addr, socklen_t *len)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };

    if (to[0] != '/' || strlen(to) >= sizeof un.sun_path)
        return false;
    memcpy(un.sun_path, to, strlen(to) + 1);
    memcpy(addr, &un, sizeof un);
    *len = sizeof un;
    return true;
}

static bool
parse_inet(const char *to, struct sockaddr_storage *addr, socklen_t *len)
{
    struct ip_addr ip;
    uint16_t port;

    if (!ip_endpoint_parse(to, &ip, &port))
        return false;
    *len = ip_addr_to_sockaddr(&ip, port, addr);
    return true;
}

/* ---- the connection ---- */

static void step(struct forward_sink *s);

static void
set_timer(struct forward_sink *s, unsigned ms)
{
    s->timer.repeat = ms / 1000.;
    ev_timer_again(s->loop, &s->timer);
}

static void
hang_up(struct forward_sink *s)
{
    ev_io_stop(s->loop, &s->readable);
    ev_io_stop(s->loop, &s->writable);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    buffer_clear(&s->message);
    buffer_clear(&s->answer);
    s->batch_bytes = s->batch_count = 0; /* the records stay, and are sent again */
    s->state = FORWARD_IDLE;
}

/* The receiver is gone, or talks nonsense. */
static void
fail(struct forward_sink *s, const char *why)
{
    char quoted[300];

    hang_up(s);
    if (!s->told_down)
        log_warn("event=forward-down to=%s reason=\"%s\" do=\"records wait, up to forward_buffer\"",
                 log_quote(quoted, sizeof quoted, span_of(s->to)), why);
    s->told_down = true;
    s->up = false;
    set_timer(s, s->retry_ms);
    s->retry_ms = s->retry_ms * 2 > FORWARD_RETRY_MAX_MS ? FORWARD_RETRY_MAX_MS : s->retry_ms * 2;
}

static void
connect_to(struct forward_sink *s)
{
    s->fd = socket(s->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0 ||
        (connect(s->fd, (struct sockaddr *)&s->addr, s->addr_len) != 0 && errno != EINPROGRESS)) {
        fail(s, strerror(errno));
        return;
    }
    s->state = FORWARD_CONNECTING;
    ev_io_set(&s->readable, s->fd, EV_READ);
    ev_io_set(&s->writable, s->fd, EV_WRITE);
    ev_io_start(s->loop, &s->writable);
    set_timer(s, FORWARD_ACK_MS);
}

static void
connected(struct forward_sink *s)
{
    socklen_t len = sizeof(int);
    int error = 0;

    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error) {
        fail(s, strerror(error));
        return;
    }
    s->state = FORWARD_READY;
    ev_io_stop(s->loop, &s->writable);
    ev_io_start(s->loop, &s->readable);
    step(s);
}

/* ---- messages ---- */

/* An id that no other message has: 18 random bytes in 24 characters. */
static bool
draw_chunk(struct forward_sink *s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t bytes[FORWARD_CHUNK_LEN];

    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return false;
    for (size_t i = 0; i < FORWARD_CHUNK_LEN; i++)
        s->chunk[i] = digits[bytes[i] & 63];
    return true;
}

/* As many whole records as a message should have. */
static void
choose_batch(struct forward_sink *s)
{
    struct span lengths = buffer_span(&s->lengths);

    s->batch_bytes = s->batch_count = 0;
    while (lengths.len && (s->batch_bytes == 0 || s->batch_bytes < FORWARD_BATCH_BYTES)) {
        uint32_t len;

        memcpy(&len, lengths.ptr, sizeof len);
        s->batch_bytes += len;
        s->batch_count++;
        lengths = span_from(lengths, sizeof len);
    }
}

static void
start_message(struct forward_sink *s)
{
    choose_batch(s);
    if (!draw_chunk(s) || forward_encode(span_first(buffer_span(&s->records), s->batch_bytes),
                                         s->batch_count, s->chunk, &s->message) != RES_OK) {
        fail(s, "no memory");
        return;
    }
    s->state = FORWARD_SENDING;
    set_timer(s, FORWARD_ACK_MS);
    step(s);
}

static void
write_message(struct forward_sink *s)
{
    while (buffer_len(&s->message)) {
        struct span bytes = buffer_span(&s->message);
        ssize_t n = send(s->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            fail(s, strerror(errno));
            return;
        }
        if (n < 0) {
            ev_io_start(s->loop, &s->writable);
            return;
        }
        buffer_consume(&s->message, (size_t)n);
    }
    ev_io_stop(s->loop, &s->writable);
    s->state = FORWARD_WAITING;
}

static void
acknowledged(struct forward_sink *s)
{
    buffer_consume(&s->records, s->batch_bytes);
    buffer_consume(&s->lengths, s->batch_count * sizeof(uint32_t));
    s->batch_bytes = s->batch_count = 0;
    s->retry_ms = FORWARD_RETRY_MIN_MS;
    if (s->told_down)
        log_info("event=forward-up to=%s", s->to);
    s->told_down = false;
    s->up = true;
    s->state = FORWARD_READY;
}

/* Go on where the state allows it without waiting. */
static void
step(struct forward_sink *s)
{
    switch (s->state) {
    case FORWARD_IDLE:
        connect_to(s);
        return;
    case FORWARD_READY:
        if (buffer_len(&s->records))
            start_message(s);
        else
            ev_timer_stop(s->loop, &s->timer);
        return;
    case FORWARD_SENDING:
        write_message(s);
        return;
    case FORWARD_CONNECTING:
    case FORWARD_WAITING:
        return;
    }
}

/* An answer that nobody waits for ends the connection, as one of another message does: what was
 * sent is then sent again. */
static void
take_answer(struct forward_sink *s)
{
    enum result res = RES_DENIED;
    bool more;
    size_t len = 0;

    if (s->state == FORWARD_WAITING)
        res = forward_decode_ack(buffer_span(&s->answer), s->chunk, &len);
    if (res == RES_AGAIN)
        return;
    if (res != RES_OK) {
        fail(s, "the answer is no acknowledgement of what was sent");
        return;
    }
    more = buffer_len(&s->answer) > len;
    buffer_clear(&s->answer);
    acknowledged(s);
    if (more)
        fail(s, "an answer to nothing");
    else
        step(s);
}

static void
on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct forward_sink *s = w->data;
    char bytes[FORWARD_ANSWER_MAX];
    ssize_t n = recv(s->fd, bytes, sizeof bytes, 0);

    (void)loop, (void)revents;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        fail(s, n < 0 ? strerror(errno) : "closed by the receiver");
    else if (buffer_append(&s->answer, span_make(bytes, (size_t)n)) != RES_OK)
        fail(s, "the answer is too long");
    else
        take_answer(s);
}

static void
on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct forward_sink *s = w->data;

    (void)loop, (void)revents;
    if (s->state == FORWARD_CONNECTING)
        connected(s);
    else
        step(s);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct forward_sink *s = w->data;

    (void)revents;
    ev_timer_stop(loop, w);
    if (s->state == FORWARD_IDLE || s->state == FORWARD_READY)
        step(s);
    else
        fail(s, "no answer in time");
}

/* ---- the sink ---- */

enum result
forward_sink_new(struct ev_loop *loop, const struct forward_sink_config *config,
                 struct forward_sink **out)
{
    struct forward_sink *s = calloc(1, sizeof *s);

    *out = NULL;
    if (!s)
        return RES_NOMEM;
    s->loop = loop;
    s->clock = config->clock;
    s->fd = -1;
    s->retry_ms = FORWARD_RETRY_MIN_MS;
    buffer_init(&s->records, config->buffer_max);
    buffer_init(&s->lengths, config->buffer_max);
    buffer_init(&s->message, config->buffer_max + FORWARD_FRAME_BYTES);
    buffer_init(&s->answer, FORWARD_ANSWER_MAX);
    ev_init(&s->readable, on_readable);
    ev_init(&s->writable, on_writable);
    ev_init(&s->timer, on_timer);
    s->readable.data = s->writable.data = s->timer.data = s;
    s->to = strdup(config->to);
    if (!s->to) {
        forward_sink_free(s);
        return RES_NOMEM;
    }
    if (!parse_unix(s->to, &s->addr, &s->addr_len) && !parse_inet(s->to, &s->addr, &s->addr_len)) {
        forward_sink_free(s);
        return RES_SYNTAX;
    }
    *out = s;
    return RES_OK;
}

void
forward_sink_free(struct forward_sink *s)
{
    if (!s)
        return;
    hang_up(s);
    ev_timer_stop(s->loop, &s->timer);
    buffer_clear(&s->records);
    buffer_clear(&s->lengths);
    free(s->to);
    free(s);
}

enum result
forward_sink_write(struct forward_sink *s, struct span record)
{
    uint32_t len = (uint32_t)record.len;
    enum result res;
    char *place;

    res = buffer_reserve(&s->records, record.len, &place);
    if (res == RES_OK)
        res = buffer_append(&s->lengths, span_make(&len, sizeof len));
    if (res != RES_OK)
        return res;
    memcpy(place, record.ptr, record.len);
    buffer_commit(&s->records, record.len);
    if ((s->state == FORWARD_IDLE || s->state == FORWARD_READY) && !ev_is_active(&s->timer))
        set_timer(s, FORWARD_BATCH_MS);
    return RES_OK;
}

size_t
forward_sink_waiting(const struct forward_sink *s)
{
    return buffer_len(&s->records);
}

bool
forward_sink_is_up(const struct forward_sink *s)
{
    return s->up;
}

/* Only ends a wait. */
static void
on_guard(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)w, (void)revents;
}

void
forward_sink_drain(struct forward_sink *s, unsigned timeout_ms)
{
    int64_t end_ms = clock_mono_ms(&s->clock) + timeout_ms;
    ev_timer guard;

    if (buffer_len(&s->records) && (s->state == FORWARD_IDLE || s->state == FORWARD_READY))
        step(s);
    ev_timer_init(&guard, on_guard, DRAIN_LOOK_S, DRAIN_LOOK_S);
    ev_timer_start(s->loop, &guard);
    while (buffer_len(&s->records) && clock_mono_ms(&s->clock) < end_ms)
        ev_run(s->loop, EVRUN_ONCE);
    ev_timer_stop(s->loop, &guard);
}
