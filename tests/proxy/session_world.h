/* tests/proxy/session_world.h: the world around one session, held still: a client and an MX as byte
 * queues, a clock, one timer, requirements and handshakes by script. It also holds the session to
 * the contract of struct session_ops, and to one command at a time (PIPE-007). */
#ifndef STSGATE_TESTS_PROXY_SESSION_WORLD_H
#define STSGATE_TESTS_PROXY_SESSION_WORLD_H

#include "base/span.h"
#include "proxy/session.h"

#ifndef WORLD_PIPE_BYTES /* a fuzzer does with less */
#define WORLD_PIPE_BYTES (2u << 20)
#endif
#define WORLD_RECORDS_MAX 600u
#define WORLD_REPORTS_MAX 32u /* that are kept to be looked at */
#define WORLD_ANSWERS_MAX 16u
#define WORLD_START_S 1700000000 /* wall clock */

struct pipe_bytes {
    char bytes[WORLD_PIPE_BYTES];
    size_t start, end;
};

enum world_client { CLIENT_CLEAR, CLIENT_HANDSHAKE, CLIENT_TLS };

enum world_leg { LEG_CLOSED, LEG_CONNECTING, LEG_CLEAR, LEG_HANDSHAKE, LEG_TLS };

/* What the policy process will say of a domain. */
struct world_answer {
    char domain[HOSTNAME_MAX + 1];
    struct requirement *req; /* a reference; NULL: no memory */
    bool late;               /* not at once, but by world_answer() */
    bool unavailable;        /* it cannot be asked */
    bool recheck;            /* and only when asked past all caches; always late. Without one of
                              * these for a domain a re-check cannot be asked */
};

/* Bytes as they pass between the session and its two sides. */
enum world_wire { WIRE_FROM_CLIENT, WIRE_TO_CLIENT, WIRE_FROM_MX, WIRE_TO_MX };

struct world {
    struct session *session;                                         /* owned */
    void (*tap)(void *arg, enum world_wire wire, struct span bytes); /* sees them first; or NULL */
    void *tap_arg;
    struct config config;
    struct smart_host smart_host; /* in config once it is named */
    struct rule override;
    char overridden[HOSTNAME_MAX + 1], *override_domains[1]; /* its */
    struct reply_text reply_text;
    char text[64]; /* its */
    struct ip_net smart_host_net, auth_net;
    struct record_session_info info;
    int64_t now_ms;
    int64_t timer_at_ms; /* 0: not armed */
    unsigned timer_ms;

    size_t client_step, mx_step;            /* bytes per delivery; 0: all there are */
    struct pipe_bytes from_client, from_mx; /* sent, and not yet read by the session */
    struct pipe_bytes client, mx;           /* written by the session, and not yet looked at */
    size_t backlog;                         /* what mx_backlog() says */

    enum world_client client_tls;
    bool passed_through;     /* the rest is relayed unread */
    struct client_rule rule; /* of the client, where a script sets something of it */
    enum world_leg leg;
    bool mx_owes;    /* the MX was spoken to (or connected) and has not answered */
    bool pipelining; /* the MX has listed it, in clear or under TLS, as it is spoken to now */
    size_t word_len; /* how much of the word has come */
    bool line_open;  /* what the session wrote last is no whole line */
    unsigned connects, hang_ups;
    enum hang_up how; /* of the last hang up */
    char sni[HOSTNAME_MAX + 1];
    uint16_t floor, trust;
    bool has_tickets;           /* of the destination, for who makes handshakes up */
    char key;                   /* of the MX: what its TLSA records say */
    unsigned dane_checks;       /* chains held against records */
    unsigned tls_good, tls_bad; /* what was made of TLS sessions */

    struct world_answer answers[WORLD_ANSWERS_MAX];
    size_t answer_count;
    bool waiting; /* an answer is owed */
    char asked[HOSTNAME_MAX + 1];
    bool asked_recheck;
    unsigned epoch;               /* of what was answered */
    unsigned questions, rechecks; /* the latter are not among the former */

    struct ehlo_memory *lists; /* owned */

    bool closed;
    char records[WORLD_RECORDS_MAX][512]; /* "outcome=refused domain=a.example ..." */
    size_t record_count, records_read;
    bool records_full;                    /* no more can be taken */
    char end[512];                        /* of the session, the same way */
    char reports[WORLD_REPORTS_MAX][512]; /* told at its end, the same way */
    size_t report_count, reports_read;
};

/** A new world with a session that has been started. NULL: no memory for the session. */
struct world *world_new(void);
void world_free(struct world *w);

/** A started session. False: no memory. */
bool world_start(struct world *w);

/** What there is for a domain; the reference is taken. */
void world_add_answer(struct world *w, const struct world_answer *answer);

/** Before the session begins: the destination is a smart host of that name (PRX-024); and these
 * addresses may say AUTH to it in clear (EXT-008). */
void world_map_destination(struct world *w, const char *name);
void world_let_auth(struct world *w, const char *net);

/** For this domain there is an override of action monitor, titled "spared". */
void world_monitor(struct world *w, const char *domain);

/** The operator's text of the reply of that ID; both are copied. */
void world_set_reply_text(struct world *w, const char *id, const char *text);

/** Likewise: the client's mail with this envelope sender consists of TLS reports (RPT-080). */
void world_sends_reports(struct world *w, const char *sender);

/** Bytes into a socket; delivered as the session reads. */
void world_client_sends(struct world *w, struct span bytes);
void world_mx_sends(struct world *w, struct span bytes);

/** Deliver what the session wants to read, until nothing moves. */
void world_pump(struct world *w);

/** The connection to the MX is made, or not. It must have been asked for. */
void world_connected(struct world *w, bool ok);

/** The handshake is over; it must have been asked for. obs: takes the reference, NULL: no memory.
 */
void world_tls_over(struct world *w, struct observation *obs);

/** The handshake with the client is over; it must have been asked for. */
void world_client_tls_over(struct world *w, bool ok);

/** The late answer; req: takes the reference. */
void world_answer(struct world *w, struct requirement *req);

void world_mx_closes(struct world *w);
void world_client_closes(struct world *w);

/** Let time pass; the timer fires when it is due. */
void world_wait(struct world *w, int64_t ms);

struct span pipe_span(const struct pipe_bytes *p);
void pipe_consume(struct pipe_bytes *p, size_t n);

#endif
