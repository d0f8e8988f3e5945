#include "proxy/client_leg.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls/tls_server.h"

#define DROP_READS_MAX 8u /* of what came in clear behind STARTTLS; then it is an attack */

void
client_leg_init(struct client_leg *leg, int fd)
{
    *leg = (struct client_leg){ .fd = fd };
    buffer_init(&leg->out, CLIENT_LEG_QUEUE_MAX);
}

void
client_leg_close(struct client_leg *leg)
{
    tls_server_free(leg->tls);
    leg->tls = NULL;
    buffer_clear(&leg->out);
    if (leg->fd >= 0)
        (void)close(leg->fd);
    leg->fd = -1;
}

int
client_leg_release(struct client_leg *leg)
{
    int fd = leg->tls || leg->broken || buffer_len(&leg->out) ? -1 : leg->fd;

    if (fd >= 0)
        leg->fd = -1;
    return fd;
}

static void
send_under_tls(struct client_leg *leg, struct span bytes)
{
    enum result res = tls_server_write(leg->tls, bytes);

    if (res == RES_LIMIT) {
        client_leg_flush(leg);
        res = tls_server_write(leg->tls, bytes);
    }
    if (res != RES_OK)
        leg->broken = true;
}

void
client_leg_send(struct client_leg *leg, struct span bytes)
{
    if (leg->broken)
        return;
    if (leg->tls)
        send_under_tls(leg, bytes);
    else if (buffer_append(&leg->out, bytes) != RES_OK)
        leg->broken = true;
}

/* False: not all of it yet. flags: of send(). */
static bool
flush_clear(struct client_leg *leg, int flags)
{
    while (!leg->broken && buffer_len(&leg->out)) {
        struct span bytes = buffer_span(&leg->out);
        ssize_t n = send(leg->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | flags);

        if (n > 0)
            buffer_consume(&leg->out, (size_t)n);
        else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return false;
        else if (n == 0 || errno != EINTR)
            leg->broken = true;
    }
    return !leg->broken;
}

void
client_leg_flush(struct client_leg *leg)
{
    enum result res;

    if (!flush_clear(leg, 0) || !leg->tls || leg->handshaking)
        return; /* the handshake sends for itself */
    res = tls_server_flush(leg->tls);
    if (res != RES_OK && res != RES_AGAIN)
        leg->broken = true;
}

void
client_leg_flush_last(struct client_leg *leg)
{
    assert(!leg->tls); /* there a close_notify follows */
    (void)flush_clear(leg, MSG_MORE);
}

size_t
client_leg_backlog(const struct client_leg *leg)
{
    return buffer_len(&leg->out) + (leg->tls ? tls_server_queued(leg->tls) : 0);
}

static enum result
read_clear(struct client_leg *leg, char *dst, size_t cap, size_t *out_n)
{
    ssize_t n = recv(leg->fd, dst, cap, 0);

    if (n > 0) {
        *out_n = (size_t)n;
        return RES_OK;
    }
    if (n == 0)
        return RES_DENIED;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return RES_AGAIN;
    leg->broken = true;
    return RES_TEMPFAIL;
}

/* A record holds 16 KiB: several make one send to the MX. */
static enum result
read_under_tls(struct client_leg *leg, char *dst, size_t cap, size_t *out_n)
{
    enum result res = RES_OK;
    size_t n;

    do {
        res = tls_server_read(leg->tls, dst + *out_n, cap - *out_n, &n);
        *out_n += n;
    } while (*out_n < cap && res == RES_OK && tls_server_has_pending(leg->tls));
    if (*out_n)
        return RES_OK; /* how it ended is told by the next call */
    if (res != RES_AGAIN && res != RES_DENIED)
        leg->broken = true;
    return res;
}

enum result
client_leg_read(struct client_leg *leg, char *dst, size_t cap, size_t *out_n)
{
    *out_n = 0;
    return leg->tls ? read_under_tls(leg, dst, cap, out_n) : read_clear(leg, dst, cap, out_n);
}

bool
client_leg_has_pending(const struct client_leg *leg)
{
    return leg->tls && !leg->handshaking && tls_server_has_pending(leg->tls);
}

bool
client_leg_is_quiet(const struct client_leg *leg)
{
    char byte;

    return !client_leg_has_pending(leg) && recv(leg->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

bool
client_leg_is_clear(const struct client_leg *leg)
{
    return !leg->tls;
}

/* False: there is more than anybody sends by mistake. */
static bool
drop_input(struct client_leg *leg, char *scratch, size_t size)
{
    for (unsigned i = 0; i < DROP_READS_MAX; i++)
        if (recv(leg->fd, scratch, size, 0) <= 0)
            return true; /* an error or the end is seen by the handshake */
    return false;
}

void
client_leg_start_tls(struct client_leg *leg, struct tls_server_context *ctx, char *scratch,
                     size_t size)
{
    leg->broken = leg->broken || !ctx || !drop_input(leg, scratch, size) ||
                  tls_server_new(ctx, leg->fd, &leg->tls) != RES_OK;
    leg->handshaking = !leg->broken;
}

bool
client_leg_is_handshaking(const struct client_leg *leg)
{
    return leg->handshaking;
}

enum result
client_leg_handshake(struct client_leg *leg, struct record_client_tls *out,
                     char reason[CLIENT_LEG_REASON_BYTES])
{
    struct tls_server_facts facts;
    enum result res;

    *out = (struct record_client_tls){ 0 };
    *reason = '\0';
    if (!flush_clear(leg, 0))
        return leg->broken ? RES_TEMPFAIL : RES_AGAIN;
    res = tls_server_handshake(leg->tls);
    if (res == RES_AGAIN)
        return res;
    leg->handshaking = false;
    leg->broken = res != RES_OK;
    tls_server_facts(leg->tls, &facts);
    out->version = facts.version;
    memcpy(out->cipher, facts.cipher, sizeof out->cipher);
    snprintf(reason, CLIENT_LEG_REASON_BYTES, "%s", facts.failure);
    return res;
}

void
client_leg_end(struct client_leg *leg)
{
    if (leg->tls && !leg->handshaking)
        tls_server_close(leg->tls);
    tls_server_free(leg->tls);
    leg->tls = NULL;
    leg->handshaking = false;
    (void)shutdown(leg->fd, SHUT_WR);
}
