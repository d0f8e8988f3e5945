/* proxy/record.h: the records: what became of each recipient and each session, as facts that
 * outlive both, enough to judge again offline. Context: worker and supervisor.
 *
 * A record is one MessagePack object `[EventTime, map]`, an entry of Fluentd's forward protocol.
 * docs/records.md fixes every key; keys are only ever added. No message content, no local parts,
 * one record per verdict (PRX-051). */
#ifndef STSGATE_PROXY_RECORD_H
#define STSGATE_PROXY_RECORD_H

#include "base/buffer.h"
#include "base/ip_addr.h"
#include "base/observation.h"
#include "base/requirement.h"
#include "base/result.h"
#include "base/span.h"
#include "base/verdict.h"
#include "proxy/config.h"
#include "proxy/session_report.h"

#define RECORD_VERSION 1u
#define RECORD_MAX_BYTES 65536u  /* one record; lists and texts are cut to stay below */
#define RECORD_NAMES_MAX 100u    /* of each list; its true length is kept beside it */
#define RECORD_LIST_BYTES 8192u  /* of all names of one list */
#define RECORD_DANE_BYTES 16384u /* of all hosts with TLSA records together */
#define RECORD_TEXT_MAX 4096u    /* bytes of one text: some lines of reply of 512 octets */
#define RECORD_SESSION_ID_MAX 16u

/* TLS on the client's leg; all zero in clear (TLS-014). */
struct record_client_tls {
    uint16_t version; /* TLS_VERSION_... */
    char cipher[48];  /* IANA name */
};

/* Who talks to whom; the same for all records of a session, but for client_tls. */
struct record_session_info {
    char id[RECORD_SESSION_ID_MAX + 1]; /* 16 hexadecimal digits */
    unsigned worker;                    /* index, 0 .. */
    struct ip_addr client;
    uint16_t client_port;
    struct ip_addr destination; /* the original one, which we dial */
    uint16_t destination_port;
    enum intercept intercept;
    const struct client_rule *client_rule; /* the section that applies; NULL: none. Borrowed */
    enum client_starttls client_starttls;
    struct record_client_tls client_tls;
};

/* What became of one recipient. Everything is borrowed for the call; a text that is NULL counts as
 * "". */
struct record_recipient {
    int64_t wall_ns; /* when the outcome was known */
    const struct record_session_info *session;
    const struct requirement *req; /* an empty one with its domain: not known (REP-065) */
    const struct observation *obs;
    const struct dane_facts *dane; /* of obs for req's records */
    const struct verdict *verdict;
    unsigned number;         /* of the session's recipient records, 1 .. */
    unsigned transaction;    /* of this session, 1 .. */
    const char *rcpt_domain; /* of the address, A-labels; the policy domain is req's */

    /* "refused": by us, the MX never learned of it; "rejected": by the MX in reply to RCPT;
     * "delivered": it answered 2xx to end of data, so the message is the MX's (PRX-008); "failed":
     * accepted, but then no 2xx to end of data, or the transaction was given up. */
    const char *outcome;
    struct span reply;       /* to RCPT, as the client got it, without last CRLF */
    const char *reply_by;    /* who wrote it: "gateway" or "mx" */
    const char *reply_id;    /* "REP-013" when it is ours, else "" */
    struct span final_reply; /* the MX's to end of data, without last CRLF; or "" */
    unsigned verdict_number; /* of the session's final verdicts, 1 ..; 0: there was none */
    const struct session_report *report; /* what TLSRPT counts of it; NULL: nothing */
    const char *engine;                  /* of the data path: "library", "seal", "ktls", "copy" */
    const char *engine_reason;           /* why not another one; "" where there is none to tell */
};

/* One client connection, when it is over. Borrowed, and NULL, as above. */
struct record_session_end {
    int64_t wall_ns;    /* when it ended */
    int64_t started_ns; /* wall clock */
    const struct record_session_info *session;
    const struct observation *obs; /* of the last connection to the MX; NULL for none */
    struct span helo;              /* argument of the client's EHLO or HELO, or "" */
    unsigned transactions;         /* MAIL commands taken from the client */
    unsigned delivered;            /* messages the MX took */
    unsigned allowed;              /* recipients judged so, whatever the MX said then */
    unsigned refused;              /* recipients refused by us */
    unsigned reconnects;           /* to the MX, for another identity (PRX-030) */
    unsigned violations;           /* of SMTP by the client */
    bool left_without_mail;        /* the MX lists STARTTLS, and the client left (PRX-044) */
    uint64_t bytes_to_mx;          /* SMTP octets, TLS not counted */
    uint64_t bytes_to_client;
    const char *engine; /* of the last connection to the MX, as of a recipient; "" without one */
    const char *end;    /* why it ended, a few words: "quit", "client-gone" */
    const char *state;  /* session_state_name() where it ended */
};

/* A connection that was relayed untouched. Borrowed, and NULL, as above. */
struct record_survey {
    const char *event;  /* why: "survey" of the roll-out, "relay" or "passthrough" of the client */
    int64_t wall_ns;    /* when it ended */
    int64_t started_ns; /* wall clock */
    const struct record_session_info *session;
    bool connected; /* to the MX */
    bool starttls_offered, starttls_asked, starttls_accepted;
    unsigned mails_in_clear, recipients_in_clear; /* commands seen */
    uint16_t tls_version;                  /* of the ServerHello, passthrough; 0: none was seen */
    uint64_t bytes_to_mx, bytes_to_client; /* octets, as they passed */
    const char *engine;                    /* towards the MX: "copy", or "splice" for some of it */
    const char *engine_reason;             /* why nothing was spliced; "" when some was */
    const char *end; /* why it ended: "closed", "idle", "mx-unreachable" ... */
};

/* A policy was fetched that is the domain's first, or differs from the one before. Borrowed, and
 * NULL, as above. */
struct record_policy {
    int64_t wall_ns;
    const char *domain;
    const char *id, *old_id; /* old_id "": there was none */
    const char *mode;
    uint32_t max_age_s; /* as published */
    const struct name_list *mx;
    struct span text; /* the body as fetched: what was in force at any time can be shown later */
    const uint8_t *text_sha256, *old_sha256; /* 32 bytes each */
    int64_t fetched_at_s, expires_at_s;      /* wall clock */
};

/* A process starts to serve, or ends. Borrowed, and NULL, as above. */
struct record_process {
    int64_t wall_ns;
    const char *what; /* "start" or "stop" */
    const char *name; /* "supervisor", "worker", "policy" */
    unsigned index;   /* of a worker, else 0 */
    int64_t pid;
    const char *version; /* STSGATE_VERSION */
    const char *reason;  /* of a stop, e.g. "signal", "drained"; "" at start */
};

/** "tproxy", "redirect". Static storage. */
const char *record_intercept_name(enum intercept kind);

/** Append one record to out, which may hold others; bytes from peers are str where they are text,
 * else bin. RES_LIMIT: it does not fit out (RECORD_MAX_BYTES always suffice); RES_NOMEM; out is
 * then as before. */
MUST_CHECK enum result record_encode_recipient(const struct record_recipient *record,
                                               struct buffer *out);
MUST_CHECK enum result record_encode_session(const struct record_session_end *record,
                                             struct buffer *out);
MUST_CHECK enum result record_encode_survey(const struct record_survey *record, struct buffer *out);
MUST_CHECK enum result record_encode_policy(const struct record_policy *record, struct buffer *out);
MUST_CHECK enum result record_encode_process(const struct record_process *record,
                                             struct buffer *out);

/** Is the start of bytes a record? Its frame is checked: length, `[EventTime, map]`, "event" as the
 * first key, keys that are str, str that is text, no ext within the map and no start of a record
 * within a bin; so the rest of a torn record never swallows the record behind it. Which keys and
 * values there are is not judged: newer versions add some.
 *
 * out_len      its length in bytes on RES_OK, otherwise 0
 * out_wall_ns  its time
 * out_map      the map, a whole object for pack_reader_init(); borrowed from bytes
 *
 * RES_AGAIN cut, nothing wrong so far; RES_SYNTAX something else; RES_LIMIT longer than
 * RECORD_MAX_BYTES by what it declares, or too deep. */
MUST_CHECK enum result record_decode(struct span bytes, size_t *out_len, int64_t *out_wall_ns,
                                     struct span *out_map);

/** Offset of the first place, from byte `from` on, where a record may start (also one of which
 * bytes hold only the first octet or two); bytes.len when there is none. */
size_t record_find(struct span bytes, size_t from);

#endif
