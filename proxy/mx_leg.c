#include "proxy/mx_leg.h"

#include "base/log.h"
#include "proxy/intercept.h"
#include "tls/tls_client.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define READS_PER_EVENT 8 /* then other sessions have their turn */

static void on_readable(struct ev_loop *loop, ev_io *w, int revents);
static void on_writable(struct ev_loop *loop, ev_io *w, int revents);
static void on_kick(struct ev_loop *loop, ev_timer *w, int revents);

void
mx_leg_init(struct mx_leg *leg, struct ev_loop *loop, const struct mx_leg_handler *handler,
            void *owner, char *scratch, const struct clock *clock)
{
    *leg = (struct mx_leg){ .loop = loop, .handler = handler, .owner = owner, .fd = -1 };
    leg->scratch = scratch;
    leg->clock = *clock;
    buffer_init(&leg->out, MX_LEG_QUEUE_MAX);
    ev_init(&leg->readable, on_readable);
    ev_init(&leg->writable, on_writable);
    ev_init(&leg->kick, on_kick);
    leg->readable.data = leg->writable.data = leg->kick.data = leg;
}

/* Have on_kick() called from the loop. */
static void
kick(struct mx_leg *leg)
{
    ev_feed_event(leg->loop, &leg->kick, EV_CUSTOM);
}

static void
watch_writable(struct mx_leg *leg, bool wanted)
{
    if (wanted)
        ev_io_start(leg->loop, &leg->writable);
    else
        ev_io_stop(leg->loop, &leg->writable);
}

void
mx_leg_connect(struct mx_leg *leg, const struct ip_addr *source, const struct ip_addr *addr,
               uint16_t port, uint32_t mark)
{
    char error[160];

    leg->mode = MX_LEG_CONNECTING;
    leg->addr = *addr;
    leg->port = port;
    leg->broken =
        intercept_connect(source, addr, port, mark, &leg->fd, error, sizeof error) != RES_OK;
    if (leg->broken) {
        log_warn("event=connect-failed reason=\"%s\"", error);
        kick(leg);
        return;
    }
    ev_io_set(&leg->readable, leg->fd, EV_READ);
    ev_io_set(&leg->writable, leg->fd, EV_WRITE);
    watch_writable(leg, true);
}

void
mx_leg_local(const struct mx_leg *leg, struct ip_addr *out)
{
    struct sockaddr_storage local = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof local;

    if (getsockname(leg->fd, (struct sockaddr *)&local, &len) != 0)
        local.ss_family = AF_UNSPEC;
    ip_addr_from_sockaddr((const struct sockaddr *)&local, out, NULL);
}

size_t
mx_leg_backlog(const struct mx_leg *leg)
{
    return buffer_len(&leg->out) + (leg->tls ? tls_client_queued(leg->tls) : 0);
}

static enum result
send_clear(struct mx_leg *leg)
{
    while (buffer_len(&leg->out)) {
        struct span bytes = buffer_span(&leg->out);
        ssize_t n = send(leg->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? RES_AGAIN : RES_TEMPFAIL;
        buffer_consume(&leg->out, (size_t)n);
    }
    return RES_OK;
}

void
mx_leg_flush(struct mx_leg *leg)
{
    enum result res = RES_OK;

    if (leg->mode == MX_LEG_CLEAR)
        res = send_clear(leg);
    else if (leg->mode == MX_LEG_TLS)
        res = tls_client_flush(leg->tls);
    else
        return; /* the handshake sends for itself */
    if (res != RES_OK && res != RES_AGAIN)
        leg->broken = true;
    if (leg->broken)
        kick(leg);
    watch_writable(leg, res == RES_AGAIN);
}

void
mx_leg_send(struct mx_leg *leg, struct span bytes)
{
    enum result res = leg->mode == MX_LEG_TLS ? tls_client_write(leg->tls, bytes)
                                              : buffer_append(&leg->out, bytes);

    if (res != RES_OK) { /* a gap in the stream would be worse than its end */
        leg->broken = true;
        kick(leg);
    }
}

const char *
mx_leg_engine(const struct mx_leg *leg, const char **out_reason)
{
    if (leg->tls)
        return tls_client_engine(leg->tls, out_reason);
    *out_reason = leg->engine_reason ? leg->engine_reason : "";
    return leg->engine ? leg->engine : "none";
}

bool
mx_leg_is_quiet(const struct mx_leg *leg)
{
    char byte;
    ssize_t n;

    if (leg->tls && tls_client_has_pending(leg->tls))
        return false;
    do
        n = recv(leg->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n <= 0; /* its end is no byte: whoever reads next is told of it */
}

void
mx_leg_tls_verdict(struct mx_leg *leg, bool good)
{
    if (leg->tls && good)
        tls_client_keep_tickets(leg->tls);
    else if (leg->tls)
        tls_client_drop_tickets(leg->tls);
    leg->full_handshakes = leg->full_handshakes || !good;
}

static void
tell_gone(struct mx_leg *leg)
{
    leg->broken = false;
    leg->handler->gone(leg->owner);
}

static void
connected(struct mx_leg *leg, bool ok)
{
    watch_writable(leg, false);
    if (ok) {
        leg->mode = MX_LEG_CLEAR;
        ev_io_start(leg->loop, &leg->readable);
    } else {
        mx_leg_close(leg, HANG_UP_ABORT);
    }
    leg->handler->connected(leg->owner, ok);
}

static void
check_connected(struct mx_leg *leg)
{
    socklen_t len = sizeof(int);
    int error = 0;

    if (getsockopt(leg->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    connected(leg, error == 0);
}

/* The facts of the handshake beside what was known before it. */
static struct observation *
observe(struct mx_leg *leg)
{
    struct observation *obs = observation_new();

    if (!obs)
        return NULL;
    obs->local = leg->before->local;
    memcpy(obs->helo, leg->before->helo, sizeof obs->helo);
    obs->starttls_offered = leg->before->starttls_offered;
    obs->starttls_code = leg->before->starttls_code;
    obs->trust = leg->trust;
    if (tls_client_observe(leg->tls, clock_wall_s(&leg->clock), obs) == RES_OK)
        return obs;
    observation_unref(obs);
    return NULL;
}

static void
handshake_over(struct mx_leg *leg)
{
    struct observation *obs = observe(leg);

    if (!obs) {
        tell_gone(leg);
        return;
    }
    if (obs->stage == TLS_STAGE_DONE) {
        leg->mode = MX_LEG_TLS;
        if (tls_client_has_pending(leg->tls))
            kick(leg);
    }
    leg->handler->tls_over(leg->owner, obs);
}

void
mx_leg_handshake_timeout(struct mx_leg *leg)
{
    if (leg->mode == MX_LEG_HANDSHAKE)
        handshake_over(leg);
}

int64_t
mx_leg_handshake_ms(const struct mx_leg *leg)
{
    return clock_mono_ms(&leg->clock) - leg->tls_begun_ms;
}

static void
go_on_with_handshake(struct mx_leg *leg)
{
    enum result res = tls_client_handshake(leg->tls);

    watch_writable(leg, res == RES_AGAIN && tls_client_queued(leg->tls) > 0);
    if (res != RES_AGAIN)
        handshake_over(leg);
}

void
mx_leg_start_tls(struct mx_leg *leg, struct tls_context *tls, const char *sni, uint16_t floor,
                 uint16_t trust, struct observation *before)
{
    mx_leg_hold(leg, false);
    leg->mode = MX_LEG_HANDSHAKE;
    leg->tls_begun_ms = clock_mono_ms(&leg->clock);
    observation_unref(leg->before);
    leg->before = observation_ref(before);
    leg->trust = trust;
    leg->broken = !tls || tls_client_new(tls, leg->fd, sni, floor, &leg->tls) != RES_OK;
    if (!leg->broken)
        tls_client_use_tickets(leg->tls, &leg->addr, leg->port, !leg->full_handshakes,
                               clock_wall_s(&leg->clock));
    if (!tls)
        log_error("event=no-roots trust=%u reason=\"the override's ca_file was not loaded\"",
                  trust);
    kick(leg);
}

void
mx_leg_hold(struct mx_leg *leg, bool held)
{
    if (held == leg->held || (leg->mode != MX_LEG_CLEAR && leg->mode != MX_LEG_TLS))
        return;
    leg->held = held;
    if (held) {
        ev_io_stop(leg->loop, &leg->readable);
    } else {
        ev_io_start(leg->loop, &leg->readable);
        kick(leg); /* what waits within TLS shows on no socket */
    }
}

static void
read_clear(struct mx_leg *leg)
{
    ssize_t n = recv(leg->fd, leg->scratch, MX_LEG_SCRATCH_BYTES, 0);

    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0)
        tell_gone(leg);
    else
        leg->handler->input(leg->owner, span_make(leg->scratch, (size_t)n));
}

/* One more read is due as long as something waits inside, where no readiness tells of it. */
static bool
has_pending(const struct mx_leg *leg)
{
    return leg->mode == MX_LEG_TLS && !leg->held && tls_client_has_pending(leg->tls);
}

static void
read_tls(struct mx_leg *leg)
{
    int reads = 0;

    if (leg->held)
        return;
    do {
        size_t n;
        enum result res = tls_client_read(leg->tls, leg->scratch, MX_LEG_SCRATCH_BYTES, &n);

        if (res == RES_AGAIN)
            return;
        if (res != RES_OK && tls_client_was_refused(leg->tls)) {
            handshake_over(leg); /* badly after all (TC-TLS-17) */
            return;
        }
        if (res != RES_OK) {
            tell_gone(leg);
            return;
        }
        leg->handler->input(leg->owner, span_make(leg->scratch, n));
    } while (has_pending(leg) && ++reads < READS_PER_EVENT);
    if (has_pending(leg))
        kick(leg);
}

static void
on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct mx_leg *leg = w->data;

    (void)loop, (void)revents;
    if (leg->mode == MX_LEG_CLEAR)
        read_clear(leg);
    else if (leg->mode == MX_LEG_HANDSHAKE)
        go_on_with_handshake(leg);
    else if (leg->mode == MX_LEG_TLS)
        read_tls(leg);
}

static void
on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct mx_leg *leg = w->data;

    (void)loop, (void)revents;
    if (leg->mode == MX_LEG_CONNECTING) {
        check_connected(leg);
    } else if (leg->mode == MX_LEG_HANDSHAKE) {
        go_on_with_handshake(leg);
    } else {
        mx_leg_flush(leg);
        if (!leg->broken)
            leg->handler->writable(leg->owner);
    }
}

static void
on_kick(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct mx_leg *leg = w->data;

    (void)loop, (void)revents;
    switch (leg->mode) {
    case MX_LEG_CLOSED:
        return;
    case MX_LEG_CONNECTING:
        connected(leg, false);
        return;
    case MX_LEG_HANDSHAKE:
        if (leg->tls)
            go_on_with_handshake(leg);
        else
            tell_gone(leg);
        return;
    case MX_LEG_CLEAR:
    case MX_LEG_TLS:
        if (leg->broken)
            tell_gone(leg);
        else if (leg->mode == MX_LEG_TLS)
            read_tls(leg);
        return;
    }
}

int
mx_leg_release(struct mx_leg *leg)
{
    int fd = -1;

    if (leg->mode == MX_LEG_CLEAR && !leg->broken && buffer_len(&leg->out) == 0) {
        fd = leg->fd;
        leg->fd = -1;
    }
    mx_leg_close(leg, HANG_UP_ABORT);
    return fd;
}

void
mx_leg_close(struct mx_leg *leg, enum hang_up how)
{
    static const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

    if (how == HANG_UP_POLITE) {
        if (leg->mode == MX_LEG_TLS)
            tls_client_close(leg->tls);
        mx_leg_flush(leg);
    } else if (leg->fd >= 0) {
        /* No queued byte may follow: the MX must see a cut, not an end (PRX-011). */
        (void)setsockopt(leg->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    ev_io_stop(leg->loop, &leg->readable);
    ev_io_stop(leg->loop, &leg->writable);
    ev_clear_pending(leg->loop, &leg->kick);
    if (leg->tls)
        leg->engine = tls_client_engine(leg->tls, &leg->engine_reason);
    tls_client_free(leg->tls);
    leg->tls = NULL;
    if (leg->fd >= 0)
        (void)close(leg->fd);
    leg->fd = -1;
    leg->mode = MX_LEG_CLOSED;
    leg->held = leg->broken = false;
    buffer_clear(&leg->out);
    observation_unref(leg->before);
    leg->before = NULL;
}
