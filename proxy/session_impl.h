/* proxy/session_impl.h: what the files of the session share; private to proxy/session*.c.
 *
 *   session.c            life, the step function, what is told from outside
 *   session_enter.c      what entering each state does
 *   session_command.c    the client's commands
 *   session_envelope.c   MAIL and RCPT
 *   session_content.c    message text and chunks
 *   session_client.c     TLS on the client's leg
 *   session_auth.c       AUTH to a smart host
 *   session_reply.c      the MX's replies
 *   session_memo.c       requirements that the transaction has met
 *   session_flight.c     recipients that are sent together
 *   session_outcome.c    judging, replies of our own, records */
#ifndef STSGATE_PROXY_SESSION_IMPL_H
#define STSGATE_PROXY_SESSION_IMPL_H

#include "base/buffer.h"
#include "base/verdict.h"
#include "proxy/data_scan.h"
#include "proxy/ehlo.h"
#include "proxy/session.h"
#include "proxy/session_memo.h"
#include "proxy/session_report.h"
#include "proxy/smtp_command.h"
#include "proxy/smtp_reply.h"

#define SESSION_BAD_COMMANDS_MAX 20u      /* SMTP-015 */
#define SESSION_RECHECK_MS 15000u         /* the policy process takes 10 s at most (STS-103) */
#define SESSION_RECONNECTS_MAX 4u         /* for one recipient: floor and name may each want one */
#define SESSION_INPUT_MAX (1024u * 1024u) /* more than one read plus one line */
#define SESSION_GROUP_MAX 50u             /* recipients in flight */
#define SESSION_LINE_BYTES (SMTP_LINE_MAX_BYTES + 64u)

/* A recipient the MX has accepted; its record is written when the transaction ends. */
struct accepted {
    struct requirement *req; /* a reference */
    struct observation *obs; /* a reference */
    struct dane_facts dane;  /* for req; obs goes on to the next one's */
    struct verdict verdict;
    unsigned verdict_number;
    char domain[HOSTNAME_MAX + 1]; /* of the address */
    char *reply; /* owned: the front of the MX's reply to RCPT, without the last CRLF */
};

/* A recipient whose RCPT the MX has not answered. */
struct flight {
    struct requirement *req; /* a reference */
    struct verdict verdict;
    unsigned verdict_number;
    struct dane_facts dane;        /* for req, of the one observation of the connection */
    char domain[HOSTNAME_MAX + 1]; /* of the address */
    struct flight *next;
};

struct session {
    const struct session_ops *ops;
    void *io;
    const struct config *config;
    struct clock clock;
    struct record_session_info info;

    enum session_state state; /* written by session_step() only */
    bool draining, gently;    /* session_drain() */
    bool client_gone;         /* behind its end of data; acted upon when the MX has answered */

    /* Client leg. */
    struct buffer client_in; /* what the client sent beyond the command in hand */
    bool skipping;           /* within a line that is too long */
    unsigned bad_commands;
    bool greeted;       /* an EHLO or HELO was accepted */
    bool ever_greeted;  /* at any time */
    bool helo;          /* the last one was HELO */
    char *client_name;  /* owned: its argument, for every EHLO upstream */
    unsigned announced; /* enum ehlo_keyword shown to the client */
    bool
        reply_is_urgent; /* among those of the event in hand is one that must not wait (PIPE-005) */

    /* MX leg. */
    bool mx_up;
    bool mx_stale;        /* it failed in an earlier transaction: connect again before judging */
    bool mx_mail_open;    /* the MX has accepted a MAIL that is not over */
    unsigned mx_keywords; /* of its latest EHLO reply */
    bool host_proven;     /* a smart host, whose certificate has proven it at EHLO */
    bool authenticated;   /* to it: no other connection any more (PRX-031) */
    struct buffer ehlo_reply; /* of a smart host in clear, until it has answered under TLS */
    struct buffer mx_list;    /* that reply, if it came under TLS, until a verdict has proven it */
    struct observation *obs;  /* a reference; never NULL */
    struct smtp_reply_reader reader;
    enum session_state reply_began; /* the state in which its first octets came */

    /* Command in hand. */
    enum smtp_verb hand;
    bool rcpt_in_hand;        /* a recipient has been read and not been answered */
    bool rcpt_without_policy; /* address literal or <postmaster> */
    char rcpt_domain[HOSTNAME_MAX + 1];
    struct buffer rcpt_line; /* canonical, with CRLF */
    unsigned rcpt_extensions;
    enum recheck rcpt_recheck; /* of its policy */
    unsigned rcpt_reconnects;  /* made for it */
    int64_t rcpt_until_ms;     /* monotonic clock: by then it is answered (PRX-053) */
    struct requirement *req;   /* a reference, of the recipient in hand; or NULL */
    struct verdict verdict;
    unsigned verdict_number; /* of the session's final ones, 1 ..; 0: it is none */

    /* Recipients that were allowed and are sent together (PIPE-007). */
    struct buffer group;                    /* their RCPTs, until they are sent */
    struct flight *flights, **flights_last; /* owned list, in order; the MX owes each a reply */
    size_t flight_count;

    /* Transaction. */
    unsigned transaction;      /* 1 .. once a MAIL came */
    bool mail_open;            /* the client's MAIL was answered */
    bool mail_sent;            /* and the MX has accepted it on this connection */
    struct buffer mail_line;   /* canonical, with CRLF; held (PRX-013) */
    struct buffer bounce_line; /* the same without REQUIRETLS, which a bounce may do without
                                * (RTLS-006); else empty */
    unsigned mail_extensions;
    bool sends_reports;         /* client and sender are a listed pair (RPT-080) */
    struct buffer mail_refusal; /* the MX's reply to MAIL, for every later RCPT (PRX-014) */
    unsigned rcpt_seen;
    struct session_memo memo;
    struct accepted *accepted; /* owned array */
    size_t accepted_count;
    struct data_scan scan;
    bool chunked;                  /* text comes by BDAT, not by DATA */
    unsigned long long chunk_left; /* octets of the BDAT in hand that are still to come */
    bool chunk_last;
    enum reply_row chunk_refusal; /* SES_DISCARD: the answer behind them */

    struct buffer parting; /* reply owed at the end of swallowed data, or to the next command */

    struct session_report_list reports; /* to be told at the end */
    struct {
        unsigned verdicts; /* final ones */
        int64_t started_ns;
        uint64_t bytes_to_mx; /* SMTP octets, TLS not counted */
        uint64_t bytes_to_client;
        unsigned records; /* of recipients */
        unsigned delivered, allowed, refused, reconnects;
    } stats;
};

/* session.c: the only writer of ->state. */
void session_step(struct session *s, enum session_event event);

/* session_enter.c: what entering the state does; the event that follows at once, or SEV_NONE to
 * wait for one. session_step() alone calls it. */
enum session_event session_enter(struct session *s, enum session_state from,
                                 enum session_event event);

/* session_enter.c: draining, and between transactions: the client is sent away (PRX-048). */
bool session_is_to_leave(const struct session *s);

/* session_enter.c: an answer came, or none will: what is known of the recipient in hand stands. */
enum session_event session_answered(struct session *s);

/* session_enter.c: the MX leg is over, if there is one, and so is what was said on it. */
void session_hang_up(struct session *s, enum hang_up how);

/* session_command.c: serve the client's input as far as it goes; how many bytes were used. */
size_t session_serve(struct session *s, struct span input);

/* session_command.c: a malformed or misplaced command is answered and counted, and too many end the
 * session (SMTP-015); what cannot be served now ends it, and nothing is lost (REP-047). */
void session_reject(struct session *s, enum reply_row row);
void session_give_up(struct session *s);

/* session_envelope.c: the commands, and one that was pipelined behind a recipient: how many bytes
 * were used, 0: it waits. */
void session_mail(struct session *s, const struct smtp_command *cmd);
void session_rcpt(struct session *s, const struct smtp_command *cmd);
size_t session_serve_ahead(struct session *s, struct span input);
bool session_utf8_is_offered(const struct session *s);

/* session_content.c: the command, and what streams behind it or DATA. */
void session_bdat(struct session *s, const struct smtp_command *cmd);
size_t session_serve_content(struct session *s, struct span input);

/* session_content.c: has the BDAT in hand all its octets? Which end it is, or SEV_NONE. Answers one
 * that is refused. */
enum session_event session_chunk_over(struct session *s);

/* session_reply.c: serve one whole reply of the MX. more: bytes came behind it. */
void session_serve_reply(struct session *s, const struct smtp_reply *reply, struct span more);

/* session_reply.c: give the client its reply to EHLO, with what the MX has listed so far. False: no
 * memory. */
bool session_announce(struct session *s);

/* session_auth.c */
unsigned session_auth_shown(const struct session *s);                 /* EHLO_AUTH, or 0 */
enum reply_row session_auth(struct session *s, struct span argument); /* REPLY_NONE: served */
void session_auth_line(struct session *s, struct span line); /* a response, without its end */

/* session_client.c */
unsigned session_starttls_shown(const struct session *s); /* EHLO_STARTTLS, or 0 */
unsigned session_requiretls_shown(const struct session *s, unsigned list, bool known);
bool session_must_begin_tls(const struct session *s, enum smtp_verb verb); /* else 530, TLS-015 */
enum reply_row session_starttls(struct session *s); /* the command; REPLY_NONE: it was served */
void session_enter_client_tls(struct session *s);
/* The reply to a STARTTLS that is passed on, and what came behind it. Returns what it amounts to.
 */
enum session_event session_pass_tls(struct session *s, const struct smtp_reply *reply,
                                    enum session_event event, struct span more);
bool session_left_without_mail(const struct session *s, enum session_state from,
                               enum session_event event); /* PRX-044 */

/* session_flight.c: recipients on their way */
bool session_gather(struct session *s); /* the one in hand joins the group; false: no memory */
bool session_land(struct session *s);   /* the first in flight is in hand again; false: none is */

/* session_outcome.c */
void session_owe(struct session *s, enum reply_row row); /* as parting reply, for later */
void session_say(struct session *s, struct span text);   /* to the client */
void session_say_grouped(struct session *s,
                         struct span text); /* the same, in reply to MAIL, RCPT */
void session_tell_mx(struct session *s, struct span bytes);
void session_tell_mx_all(struct session *s, const struct span *parts, size_t count); /* as one */
void session_reply(struct session *s, enum reply_row row); /* a reply of our own to the client */
void session_accept_sender(struct session *s);             /* the one to MAIL */
void session_forget_verdict(struct session *s); /* it points into the requirement it was about */
enum session_event session_judge(struct session *s);
enum session_event session_judge_ahead(struct session *s); /* by s->req; NULL: not at hand */
uint16_t session_floor(const struct session *s); /* of a handshake for the recipient in hand */
void session_refuse_recipient(struct session *s, enum reply_row row);  /* answers and records it */
void session_recipient_rejected(struct session *s, struct span reply); /* by the MX */
void session_recipient_accepted(struct session *s, struct span reply); /* by the MX */
/* All that wait for an answer: by 451 4.4.2 (PRX-053); or by the session's end, which the first of
 * them was told by row, REPLY_NONE for not at all, or by the MX's 421. */
void session_recipients_too_late(struct session *s);
void session_recipients_failed(struct session *s, enum reply_row row);
void session_recipients_dismissed(struct session *s, struct span reply);
void session_message_over(struct session *s, bool delivered, struct span final_reply);
void session_end_transaction(struct session *s); /* on our side; the MX's may still be open */
void session_write_end(struct session *s, enum session_state from, enum session_event event);

/* Text without line ends at its end, as records hold it. */
struct span session_chomp(struct span reply);

#endif
