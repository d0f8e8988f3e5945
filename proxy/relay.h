/* proxy/relay.h: a connection that passes by: every octet untouched in both directions, and nothing
 * is said by us. In roll-out mode survey (PRX-041), for clients and destinations that the operator
 * names (TC-GW-08), and behind a client's own STARTTLS (PRX-040). Context: worker, on its event
 * loop. */
#ifndef STSGATE_PROXY_RELAY_H
#define STSGATE_PROXY_RELAY_H

#include "base/clock.h"
#include "proxy/config.h"
#include "proxy/pipe_pool.h"
#include "proxy/record.h"
#include "proxy/record_sink.h"

#define RELAY_IDLE_S 900. /* beyond the longest wait of SMTP, 600 s for the end of data */

struct ev_loop;
struct relay;
struct admission;
struct counters;

/* What all relays of a worker share. Borrowed by each until it is freed. */
struct relay_shared {
    struct ev_loop *loop;
    const struct config *config;
    struct clock clock;
    struct record_sink *records;
    struct buffer *record;     /* as in struct connection_shared */
    struct counters *counters; /* of all that happens here */
    struct admission *admission;
    struct pipe_pool pipes; /* for what nobody looks at */
    unsigned open;          /* relays there are */
    struct relay *first;    /* list of them */
};

/** Serve a client. fd: takes it, a connected, non-blocking socket. Where the MX cannot be reached
 * the client sees a reset, as without us. RES_NOMEM. */
MUST_CHECK enum result relay_start(struct relay_shared *shared, int fd,
                                   const struct record_session_info *info);

/** Go on with a session whose client's STARTTLS the MX has answered with 220: the client's first
 * octets must be a ClientHello, and the version in the ServerHello is held against the site's
 * tls_minimum; else both are cut. client_fd, mx_fd: takes them. RES_NOMEM. */
MUST_CHECK enum result relay_pass_through(struct relay_shared *shared, int client_fd, int mx_fd,
                                          const struct record_session_info *info);

/** End and free all. */
void relay_free_all(struct relay_shared *shared);

#endif
