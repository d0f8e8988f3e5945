/* proxy/session.h: one client's connection and its one connection to the MX: the SMTP session.
 * Context: worker, one thread at a time per object. Sans I/O: bytes and answers come in by calls,
 * and go out through struct session_ops; so whole conversations run in tests against a fake clock.
 * States and transitions are in proxy/session_state.h, decisions in proxy/judge.h. */
#ifndef STSGATE_PROXY_SESSION_H
#define STSGATE_PROXY_SESSION_H

#include "base/clock.h"
#include "base/observation.h"
#include "base/requirement.h"
#include "base/tls_report.h"
#include "proxy/config.h"
#include "proxy/record.h"
#include "proxy/session_state.h"

struct session;

/* How the connection to the MX ends. */
enum hang_up {
    HANG_UP_ABORT, /* at once: nothing queued is sent, so that no message can be completed (PRX-011)
                    */
    HANG_UP_POLITE, /* what is queued is sent first, QUIT and close_notify included */
};

/* What a session asks of the world. None of these calls back into the session before it has
 * returned. io is handed through. */
struct session_ops {
    /** Queue bytes for the client; sent when the event in hand has been served. */
    void (*to_client)(void *io, struct span bytes);
    /** Queue bytes for the MX, in clear or under TLS, as the connection is. */
    void (*to_mx)(void *io, struct span bytes);
    /** Bytes queued for the MX that its socket has not taken yet. */
    size_t (*mx_backlog)(void *io);
    /** Is there not a byte from the MX that waits to be read? Its end is none. (TLS-003) */
    bool (*mx_is_quiet)(void *io);
    /** The same of the client: bytes that came behind the command in hand (PIPE-011). */
    bool (*client_is_quiet)(void *io);
    /** Connect to the original destination: session_connected() later. */
    void (*connect)(void *io);
    /** Handshake, nothing before it: session_tls_over() later. sni is borrowed for the call. trust:
     * which roots, as requirement.local.trust. */
    void (*start_tls)(void *io, const char *sni, uint16_t floor, uint16_t trust);
    /** Hold the chain that the MX presented against the requirement's TLSA records (tls/dane.h):
     * all of *out but its key. False: no memory. */
    bool (*check_dane)(void *io, const struct peer_chain *chain, const struct requirement *req,
                       struct dane_facts *out);
    /** Handshake with the client, behind what is queued for it: session_client_tls_over() later.
     * What the client has sent, and nobody has read, is dropped (PRX-043). */
    void (*start_client_tls)(void *io);
    /** What a verdict makes of the TLS session: good, so its tickets may serve later connections;
     * or not good: no ticket of this destination is of use, and further handshakes of this session
     * are full (TLS-026). */
    void (*tls_verdict)(void *io, bool good);
    /** Relay both legs unread from here on, behind what is queued for the client (PRX-040); the
     * MX's is given up to that. close() follows. */
    void (*pass_through)(void *io);
    void (*hang_up)(void *io, enum hang_up how);
    /** Who makes the TLS records of the connection to the MX, or of the last one, and why nobody
     * better; as tls_client_engine(). */
    const char *(*engine)(void *io, const char **out_reason);
    /** Ask for the requirement of a policy domain. True with a reference in *out that the caller
     * takes; true with NULL: session_requirement() comes later; false: it cannot be asked now
     * (REP-065). domain is borrowed for the call. recheck: past all caches (STS-103). */
    bool (*ask)(void *io, const char *domain, bool recheck, struct requirement **out);
    /** A number that changes whenever something that was answered is out of date. */
    unsigned (*policy_epoch)(void *io);
    /** The requirement of a domain if it is at hand: a reference that the caller takes; or NULL. */
    struct requirement *(*known)(void *io, const char *domain);
    /** The answer is not wanted any more. */
    void (*forget)(void *io);
    /** What this destination listed last under TLS, as learn_list() had it; empty when nothing is
     * remembered. Borrowed for the event in hand (PRX-029). */
    struct span (*recall_list)(void *io);
    void (*learn_list)(void *io, struct span list, bool proven);
    /** One timer: session_timeout() once, in ms; replaces the one before; 0: none. */
    void (*set_timer)(void *io, unsigned ms);
    /** May mail pass: can what becomes of it be recorded, where that is a must? */
    bool (*can_record)(void *io);
    void (*record_recipient)(void *io, const struct record_recipient *record);
    void (*record_session)(void *io, const struct record_session_end *record);
    /** Count for the day's TLS reports, once for each policy of the session (RPT-020). */
    void (*report)(void *io, const struct tls_report *report);
    /** The session is over: send what is queued for the client, close, then session_free(). */
    void (*close)(void *io);
};

/** ops, io, config: borrowed until session_free(); info: copied, its id names the session in logs.
 * Nothing happens before session_start(). NULL: no memory. */
struct session *session_new(const struct session_ops *ops, void *io, const struct config *config,
                            const struct clock *clock, const struct record_session_info *info);

/** Connects to the destination. */
void session_start(struct session *s);

/** Frees at once, sends nothing. NULL is allowed. Not from within an op. */
void session_free(struct session *s);

/* What happened. */
void session_client_input(struct session *s, struct span bytes); /* all of it is taken */
void session_client_gone(struct session *s);                     /* end of file or error */
void session_connected(struct session *s, bool ok);
void session_mx_input(struct session *s, struct span bytes);
void session_mx_gone(struct session *s); /* end of file, error, broken TLS */
/** obs: takes a reference with the facts of the handshake: stage done or failed. */
void session_tls_over(struct session *s, struct observation *obs);
/** tls: of the client's leg from now on; NULL: the handshake failed (REP-062). */
void session_client_tls_over(struct session *s, const struct record_client_tls *tls);
/** req: takes a reference; NULL when it cannot be known now. Ignored when nothing was asked. */
void session_requirement(struct session *s, struct requirement *req);
void session_timeout(struct session *s);
/** Shut down: transactions in progress end, everything else gets 421 (PRX-048). gently: who has had
 * no transaction yet may have one first, since nothing keeps us from serving it. */
void session_drain(struct session *s, bool gently);
/** There is no more time for it: 421, whatever it is at, the records of what it leaves, and closed.
 */
void session_cut(struct session *s);

/** Should the client's socket be read? False while a command waits for its answer: that is the
 * back-pressure on pipelining clients. */
bool session_wants_client(const struct session *s);

/** May replies that are queued for the client wait, for a moment, for the one that is due next?
 * They answer MAIL and RCPT of a pipelined group, whose next command is with the MX (PIPE-006); no
 * other reply ever waits (PIPE-005). */
bool session_replies_may_wait(const struct session *s);

/** Has the client said QUIT? Then it says nothing more. */
bool session_has_quit(const struct session *s);

/** Does message text stream through just now? (then large reads pay) */
bool session_is_streaming(const struct session *s);

enum session_state session_state(const struct session *s);

/* What an operator sees of a session that is open. Texts and obs are borrowed for the moment. */
struct session_glance {
    const char *state;
    const char *domain; /* of the last recipient, A-labels; "" for none so far */
    int64_t started_ns; /* wall clock */
    unsigned transactions, delivered, refused;
    uint64_t bytes_to_mx, bytes_to_client;
    const struct observation *obs;
};
void session_glance(const struct session *s, struct session_glance *out);

/** Is the sender one of TLS reports, so that a requirement has to say where its domain wants them
 * (RPT-080)? */
bool session_asks_report_to(const struct session *s);

/** Who talks to whom. Borrowed. */
const struct record_session_info *session_info(const struct session *s);

/** The facts of the connection as they are; a handshake adds to them. Borrowed. */
struct observation *session_observation(const struct session *s);

#endif
