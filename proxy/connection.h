/* proxy/connection.h: one accepted client with its session and the sockets of both legs: the
 * session core (proxy/session.h) tied to libev, sockets and TLS. Context: worker, on its event
 * loop. */
#ifndef STSGATE_PROXY_CONNECTION_H
#define STSGATE_PROXY_CONNECTION_H

#include "base/buffer.h"
#include "proxy/mx_side.h"
#include "proxy/record_sink.h"
#include "proxy/session.h"

#include <ev.h>

struct counters;
struct top_refused;

struct connection;
struct tls_server_context;
struct relay_shared;
struct admission;

/* What all connections of a worker share. Borrowed by each until it is freed. */
struct connection_shared {
    struct mx_side_world world;
    const struct config *config;
    struct tls_server_context *client_tls; /* NULL: the site has no certificate */
    struct admission *admission;
    struct relay_shared *relays; /* where a passed-through connection goes on */
    struct ehlo_memory *lists;
    struct record_sink *records;
    struct buffer record; /* for the one being written: its memory is held, so that none is lost for
                           * want of it */
    struct counters *counters;   /* of all that happens here */
    struct top_refused *refused; /* since the last report */
    uint64_t started;            /* connections so far: the number of the last one */
    unsigned open;               /* connections there are */
    struct connection *first;    /* list of them */
    struct connection *finished; /* to be freed by connection_reap() */
    struct connection *due;      /* whose replies wait for the end of the turn */
    ev_timer replies_due;        /* never runs: an event of it is fed */
};

/** Once, when the loop is known. */
void connection_prepare(struct connection_shared *shared);

/** Serve a client that has been admitted; it leaves at its end, or with RES_NOMEM at once. fd:
 * takes it, a connected, non-blocking socket. RES_NOMEM. */
MUST_CHECK enum result connection_start(struct connection_shared *shared, int fd,
                                        const struct record_session_info *info);

/** Sessions that are open, newest first, from the one whose number is below `below` on: at most
 * STATUS_PAGE_SESSIONS, as maps (proxy/session_view.h) behind what out holds. True: there are more,
 * below *out_below. RES_NOMEM: told by *out_res, as is RES_LIMIT. */
bool connection_list(const struct connection_shared *shared, uint64_t below, struct buffer *out,
                     uint64_t *out_below, enum result *out_res);

/** Free what is over. From the loop, while no connection's function is on the stack. */
void connection_reap(struct connection_shared *shared);

/** All sessions: finish the transaction in progress, then 421 (PRX-048). gently: as
 * session_drain(). */
void connection_drain_all(struct connection_shared *shared, bool gently);

/** All sessions: end now, as session_cut(). Those who do not take their last reply are rid of
 * within seconds. */
void connection_cut_all(struct connection_shared *shared);

/** End and free all, without a word. */
void connection_free_all(struct connection_shared *shared);

#endif
