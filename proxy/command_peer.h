/* proxy/command_peer.h: what the files of the command server share; private to them.
 *
 *   command_server.c    connections: who may, one command after the other, bounds, ends
 *   command_policy.c    the verbs about policies
 *   command_gateway.c   the verbs about the whole gateway: mode, reload, drain, status, sessions
 *
 * Context: policy process, on its event loop. A verb answers with frames, and the last of them by
 * command_peer_finish(); or it makes the connection wait, and does so later. */
#ifndef STSGATE_PROXY_COMMAND_PEER_H
#define STSGATE_PROXY_COMMAND_PEER_H

#include "proxy/command_msg.h"
#include "proxy/command_server.h"
#include "proxy/status_msg.h"

#include <ev.h>

#define COMMAND_OUT_MAX (1024u * 1024u) /* octets of answers that wait for a client */

/* One connection: commands one after the other, each answered before the next is read. */
struct command_peer {
    struct command_server *server;
    struct command_peer *next, **link;
    int fd; /* owned; -1 once closed: then it lives until its look-up has been answered */
    ev_io io;
    ev_timer idle;
    struct buffer in, out;
    bool ended;     /* it says no more, or is not heard any more */
    bool waiting;   /* for a look-up, for the supervisor, or for a worker */
    bool reloading; /* of these, the second */
    bool paging;    /* of these, the third */
    bool listing;   /* a list is not over */
    bool serving;   /* command_peer_serve() is on the stack: an answer that comes at once does not
                       call it again */
    size_t place;   /* where it goes on */
    uint64_t query; /* of sessions, not over; 0: none */
    struct session_ask ask; /* of query: what is asked for */
    unsigned worker;        /* and whom */
};

struct command_server {
    struct command_server_config config;
    ev_io accept;
    struct command_peer *clients;
    struct command_peer *orphans; /* gone, but their look-up is not over */
    unsigned count;
    uint64_t queries; /* so far */
};

/* command_server.c */

/** Append a frame: command_frame_begin() and one map come before. Where there is no room the
 * connection ends. */
void command_peer_send(struct command_peer *c, struct pack_writer *w, struct buffer *scratch);

/** The last frame of an answer: "ok" where problem is "", else "failed" and why. */
void command_peer_finish(struct command_peer *c, const char *problem);

/** Go on with it, as far as it goes now. c may be gone afterwards. */
void command_peer_serve(struct command_peer *c);

/** What it waited for is over. False: it has gone meanwhile, and is freed. */
bool command_peer_wait_over(struct command_peer *c);

void command_put_text(struct pack_writer *w, const char *key, const char *text);
void command_put_int(struct pack_writer *w, const char *key, int64_t value);

/* The verbs. argument: as struct command has it, "" for none. */
typedef void command_run(struct command_peer *c, const char *argument);

command_run command_list, command_show, command_refresh, command_inspect, command_flush,
    command_warm, command_stats; /* command_policy.c */
command_run command_mode, command_reload, command_drain, command_status,
    command_sessions; /* command_gateway.c */

/** An answer that is longer than what waits at a time: its next part. */
void command_go_on_listing(struct command_peer *c);
void command_go_on_paging(struct command_peer *c);

#endif
