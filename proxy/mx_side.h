/* proxy/mx_side.h: a session's side towards the MX: its leg, its questions to the policy process
 * and its one timer. The part of struct session_ops that a mail's session (proxy/connection.h) and
 * one that only looks (proxy/probe.h) have in common. Context: worker, `stsgate check`, on its
 * event loop. */
#ifndef STSGATE_PROXY_MX_SIDE_H
#define STSGATE_PROXY_MX_SIDE_H

#include "proxy/mx_leg.h"
#include "proxy/policy_client.h"
#include "proxy/session.h"

#include <ev.h>

struct tls_context;

/* What all sides of a process share. Borrowed by each until mx_side_close(). */
struct mx_side_world {
    struct ev_loop *loop;
    struct clock clock;
    struct tls_context **tls; /* by requirement.local.trust: 0 with the site's roots; NULL where
                               * an override brings none of its own */
    size_t tls_count;
    struct policy_client *policy;
    uint32_t mark; /* SO_MARK, 0 for none */
    char *scratch; /* MX_LEG_SCRATCH_BYTES, used within one event */
};

/* What a side tells its owner. */
struct mx_side_owner {
    /** Connected, or not; the session is told next. NULL: nobody wants to know. */
    void (*connected)(void *owner, bool ok);
    /** The handshake is over; the session is told next. Or NULL. */
    void (*tls_over)(void *owner, const struct observation *obs);
    /** The timer has run out; mx_side_timeout() tells the session. */
    void (*timeout)(void *owner);
    /** After every event, when the session has been told. */
    void (*update)(void *owner);
};

/* The io of the session's ops. */
struct mx_side {
    const struct mx_side_world *world;
    const struct mx_side_owner *handler;
    void *owner;
    struct session *session; /* borrowed */
    bool as_client;          /* connections come from the client's address (PRX-005) */
    bool asks_anew;          /* no answer is taken out of the policy client's cache */
    struct mx_leg leg;
    struct policy_question *question; /* NULL: none is open */
    ev_timer timer;
};

/** Fills side, closed. handler and owner: borrowed until mx_side_close(). session: to be set before
 * the session is started. */
void mx_side_init(struct mx_side *side, const struct mx_side_world *world,
                  const struct mx_side_owner *handler, void *owner);

/** No event comes any more. Closed already is fine. */
void mx_side_close(struct mx_side *side, enum hang_up how);

/** The timer, of a wait of the owner's own as well: seconds; 0 stops it. */
void mx_side_set_timer(struct mx_side *side, double seconds);
bool mx_side_is_timed(const struct mx_side *side);

/** Tell the session that its time is up. */
void mx_side_timeout(struct mx_side *side);

/* As struct session_ops has them; io is the struct mx_side. */
void mx_side_to_mx(void *io, struct span bytes);
size_t mx_side_backlog(void *io);
bool mx_side_is_quiet(void *io);
void mx_side_connect(void *io);
void mx_side_start_tls(void *io, const char *sni, uint16_t floor, uint16_t trust);
bool mx_side_check_dane(void *io, const struct peer_chain *chain, const struct requirement *req,
                        struct dane_facts *out);
void mx_side_tls_verdict(void *io, bool good);
void mx_side_hang_up(void *io, enum hang_up how);
const char *mx_side_engine(void *io, const char **out_reason);
bool mx_side_ask(void *io, const char *domain, bool recheck, struct requirement **out);
unsigned mx_side_policy_epoch(void *io);
struct requirement *mx_side_known(void *io, const char *domain);
void mx_side_forget(void *io);
void mx_side_set_timer_ms(void *io, unsigned ms);

#endif
