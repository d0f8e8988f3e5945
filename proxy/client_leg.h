/* proxy/client_leg.h: the client's socket: in clear, then TLS over it where the client asks for it
 * (PRX-039, terminate). Bytes in and out, no SMTP and no event loop. Context: worker, one thread at
 * a time per object. */
#ifndef STSGATE_PROXY_CLIENT_LEG_H
#define STSGATE_PROXY_CLIENT_LEG_H

#include "base/buffer.h"
#include "proxy/record.h"

struct tls_server;
struct tls_server_context;

#define CLIENT_LEG_QUEUE_MAX (512u * 1024u) /* replies that wait; one may have 64 KiB */
#define CLIENT_LEG_REASON_BYTES 96u

struct client_leg {
    int fd;                 /* owned */
    struct buffer out;      /* clear bytes that wait */
    struct tls_server *tls; /* owned; NULL in clear */
    bool handshaking;
    bool broken; /* nothing more can be said to the client */
};

/** fd: takes it, a connected, non-blocking socket. */
void client_leg_init(struct client_leg *leg, int fd);
void client_leg_close(struct client_leg *leg);

/** Queue bytes; client_leg_flush() sends. A client that does not read breaks the leg. */
void client_leg_send(struct client_leg *leg, struct span bytes);
void client_leg_flush(struct client_leg *leg);

/** The same, in clear, for what is the last, right before the leg is closed: it shares a packet
 * with the end of the stream. */
void client_leg_flush_last(struct client_leg *leg);
size_t client_leg_backlog(const struct client_leg *leg);

/** Up to cap bytes. RES_OK: *out_n > 0. RES_AGAIN: nothing now. RES_DENIED: the client has said all
 * it wanted. RES_TEMPFAIL: broken. */
MUST_CHECK enum result client_leg_read(struct client_leg *leg, char *dst, size_t cap,
                                       size_t *out_n);

/** Nothing to read now, neither on the socket nor within TLS. */
bool client_leg_is_quiet(const struct client_leg *leg);

/** Is there no TLS on it, nor about to be? */
bool client_leg_is_clear(const struct client_leg *leg);

/** Is plain text buffered inside, which no readiness of the socket will announce? */
bool client_leg_has_pending(const struct client_leg *leg);

/** The handshake begins when what is queued has been sent. What waits on the socket came in clear
 * and is dropped (PRX-043); scratch: size bytes for that. ctx: NULL breaks the leg. */
void client_leg_start_tls(struct client_leg *leg, struct tls_server_context *ctx, char *scratch,
                          size_t size);
bool client_leg_is_handshaking(const struct client_leg *leg);

/** Go on when the socket is readable, or writable while there is a backlog. RES_OK: done, *out
 * filled. RES_AGAIN. RES_TEMPFAIL: failed, reason says why; the leg is broken. */
MUST_CHECK enum result client_leg_handshake(struct client_leg *leg, struct record_client_tls *out,
                                            char reason[CLIENT_LEG_REASON_BYTES]);

/** Give the socket away, in clear and with nothing queued; the leg is closed. -1: it is not so. */
int client_leg_release(struct client_leg *leg);

/** Nothing more comes from us: close_notify under TLS, and the end of the stream. What is read from
 * now on is of no use to anybody, under TLS as it came. */
void client_leg_end(struct client_leg *leg);

#endif
