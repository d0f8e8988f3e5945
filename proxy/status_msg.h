/* proxy/status_msg.h: how it goes, told between processes: what workers tell the policy process
 * beside their questions, and what it passes on to the status process. One SEQPACKET message each.
 * Context: worker, policy process, status process. Pure. Each reads what another wrote as if it had
 * been taken over: bounded, of known shape, texts that are safe to show. */
#ifndef STSGATE_PROXY_STATUS_MSG_H
#define STSGATE_PROXY_STATUS_MSG_H

#include "base/buffer.h"
#include "policy/policy_stats.h"
#include "policy/sts_cache.h"
#include "proxy/config.h"
#include "proxy/counters.h"
#include "proxy/top_refused.h"

#define STATUS_REPORT_S 1.0 /* between two reports */
#define STATUS_OVERRIDES_MAX 32u
#define STATUS_PAGE_SESSIONS 100u    /* of one message */
#define STATUS_SESSION_BYTES 1024u   /* one of them */
#define STATUS_LIBRARY_MAX 63u       /* octets of the TLS library's name */
#define STATUS_PEERS_MAX 64u         /* workers, as CONTROL_WORKERS_MAX */
#define STATUS_TIME_MAX 253402300799 /* the last second of the year 9999 */

/* Behind those of policy/policy_msg.h, on the same link. */
enum status_type {
    STATUS_REPORT = 16, /* worker to policy process, and on to the status process */
    STATUS_ASK = 17,    /* policy process to worker: which sessions are open? */
    STATUS_PAGE = 18,   /* its answer */
    STATUS_FACTS = 19,  /* policy process to status process */
};

/* One worker: all its counters since it started, and the refusals since its last report. */
struct worker_report {
    unsigned worker;                      /* index */
    int64_t pid;                          /* with it, which worker that was */
    int64_t started_s;                    /* wall clock */
    uint64_t open;                        /* sessions now */
    uint64_t relayed;                     /* connections now that pass by untouched */
    unsigned lag_ms;                      /* by so much the event loop came late to this report */
    unsigned busy_percent;                /* of one CPU, since the report before */
    bool draining;                        /* it takes no more clients */
    bool records_ready;                   /* all records so far were taken */
    char library[STATUS_LIBRARY_MAX + 1]; /* that does TLS, with its version */
    struct counters counters;
    struct top_refused refused;
};

struct status_override {
    char id[RULE_ID_MAX + 1];
    int64_t until_s;
};

/* The policy process, and what it knows of the whole. */
struct gateway_facts {
    unsigned generation;
    int64_t started_s; /* wall clock, of the gateway */
    int64_t process_s; /* of this process, whose counters begin with it */
    char rollout[16];
    bool by_command; /* an operator has set it since the start */
    bool dane, store, store_safe, records_ready;
    uint64_t records[COUNTED_RECORDS]; /* its own */
    uint64_t stats[POLICY_STATS];
    uint64_t cached[STS_CLASSES];
    uint64_t warming;
    struct status_override overrides[STATUS_OVERRIDES_MAX]; /* that end soon, or have ended */
    size_t override_count;
};

/** out: empty before. RES_NOMEM, RES_LIMIT (cannot be within MSG_LINK_MAX_BYTES). */
MUST_CHECK enum result worker_report_write(const struct worker_report *report, struct buffer *out);
/** RES_SYNTAX, RES_LIMIT: no such message; *out is then of no use. */
MUST_CHECK enum result worker_report_read(struct span message, struct worker_report *out);

MUST_CHECK enum result gateway_facts_write(const struct gateway_facts *facts, struct buffer *out);
MUST_CHECK enum result gateway_facts_read(struct span message, struct gateway_facts *out);

/* Which sessions are open: page by page, newest first. */
struct session_ask {
    uint64_t query; /* comes back */
    uint64_t below; /* sessions with a smaller number; UINT64_MAX: the newest */
};

MUST_CHECK enum result session_ask_write(const struct session_ask *ask, struct buffer *out);
MUST_CHECK enum result session_ask_read(struct span message, struct session_ask *out);

struct session_page {
    uint64_t query;
    bool more;
    uint64_t below;       /* with more: what to ask for next */
    struct span sessions; /* whole MessagePack maps, one behind the other; borrowed */
};

MUST_CHECK enum result session_page_write(const struct session_page *page, struct buffer *out);

/** Each map is of at most STATUS_SESSION_BYTES, and there are at most STATUS_PAGE_SESSIONS. */
MUST_CHECK enum result session_page_read(struct span message, struct session_page *out);

/** The next map of a page's sessions; false: that was all. */
bool session_page_next(struct span *sessions, struct span *out_map);

#endif
