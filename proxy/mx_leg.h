/* proxy/mx_leg.h: the connection to the MX: socket, then TLS over it. Bytes in and out, no SMTP.
 * Context: worker, on its event loop. */
#ifndef STSGATE_PROXY_MX_LEG_H
#define STSGATE_PROXY_MX_LEG_H

#include "base/buffer.h"
#include "base/clock.h"
#include "base/ip_addr.h"
#include "proxy/session.h"

#include <ev.h>

struct tls_client;
struct tls_context;

#define MX_LEG_QUEUE_MAX (1024u * 1024u) /* clear bytes that wait; the owner stops long before */
#define MX_LEG_HIGH_WATER (128u * 1024u) /* beyond it the owner reads no more from the client */
#define MX_LEG_SCRATCH_BYTES (256u * 1024u)

/* What the leg tells its owner, always from the loop, never from within a call. */
struct mx_leg_handler {
    void (*connected)(void *owner, bool ok);
    void (*input)(void *owner, struct span bytes);
    void (*tls_over)(void *owner, struct observation *obs); /* the owner takes the reference */
    void (*writable)(void *owner);                          /* the backlog has become smaller */
    void (*gone)(void *owner);                              /* end of file or error */
};

enum mx_leg_mode { MX_LEG_CLOSED, MX_LEG_CONNECTING, MX_LEG_CLEAR, MX_LEG_HANDSHAKE, MX_LEG_TLS };

struct mx_leg {
    struct ev_loop *loop;
    const struct mx_leg_handler *handler;
    void *owner;
    char *scratch; /* borrowed, MX_LEG_SCRATCH_BYTES, shared by a worker's legs */
    struct clock clock;
    enum mx_leg_mode mode;
    int fd;              /* owned; -1 when closed */
    struct ip_addr addr; /* whom it is connected to */
    uint16_t port;
    bool full_handshakes;   /* no TLS session is resumed: one has led to a bad verdict */
    struct tls_client *tls; /* owned; from the handshake on */
    const char *engine, *engine_reason; /* of the last one that was closed; static */
    struct buffer out;                  /* clear bytes that wait */
    uint16_t trust;                     /* which roots the handshake is held against */
    int64_t tls_begun_ms;               /* monotonic clock */
    struct observation *before;         /* a reference: what was known before the handshake */
    bool held;                          /* mx_leg_hold() */
    bool broken;                        /* a write failed: told from the loop */
    ev_io readable, writable;
    ev_timer kick; /* never started, only fed: an event of ours from the loop */
};

/** loop, handler, owner, scratch: borrowed until mx_leg_close(). */
void mx_leg_init(struct mx_leg *leg, struct ev_loop *loop, const struct mx_leg_handler *handler,
                 void *owner, char *scratch, const struct clock *clock);

/** Connect. connected() follows in any case. The leg must be closed. source: as
 * intercept_connect(). mark: SO_MARK, 0 for none. */
void mx_leg_connect(struct mx_leg *leg, const struct ip_addr *source, const struct ip_addr *addr,
                    uint16_t port, uint32_t mark);

/** Where the connection comes from; none where that cannot be known. */
void mx_leg_local(const struct mx_leg *leg, struct ip_addr *out);

/** Handshake; tls_over() follows, unless the leg is closed before, or gone() where there can be
 * none. tls: with the roots that trust stands for; NULL: there are none, and so no handshake.
 * before: facts to start from, kept until the leg is closed. */
void mx_leg_start_tls(struct mx_leg *leg, struct tls_context *tls, const char *sni, uint16_t floor,
                      uint16_t trust, struct observation *before);

/** As struct session_ops has it. Holds for the connections to come, too. */
void mx_leg_tls_verdict(struct mx_leg *leg, bool good);

/** The handshake took too long: tls_over() with that failure, at once. */
void mx_leg_handshake_timeout(struct mx_leg *leg);

/** How long the handshake that is over has taken. */
int64_t mx_leg_handshake_ms(const struct mx_leg *leg);

/** Queue bytes, in clear or under TLS. Sent by mx_leg_flush(), or when the socket is ready. */
void mx_leg_send(struct mx_leg *leg, struct span bytes);
void mx_leg_flush(struct mx_leg *leg);

/** Read no more of the MX's bytes, or go on. For its replies, not for a handshake, which goes on.
 */
void mx_leg_hold(struct mx_leg *leg, bool held);

/** Bytes that wait for the socket. */
size_t mx_leg_backlog(const struct mx_leg *leg);

/** As struct session_ops has it. */
const char *mx_leg_engine(const struct mx_leg *leg, const char **out_reason);

/** Not a byte to read now, neither on the socket nor within TLS. */
bool mx_leg_is_quiet(const struct mx_leg *leg);

/** Give the connection away, in clear and with nothing queued: no event comes any more, and the
 * descriptor is the caller's. -1: it is in another state; it is closed then. */
int mx_leg_release(struct mx_leg *leg);

/** No event comes any more; closed already is fine. HANG_UP_POLITE: what the socket takes of the
 * queue at once, and a close_notify, are sent. HANG_UP_ABORT: reset. */
void mx_leg_close(struct mx_leg *leg, enum hang_up how);

#endif
