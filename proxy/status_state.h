/* proxy/status_state.h: what the status process knows: the last report of every worker and policy
 * process, sums that outlive them, and the last day. Context: status process. Pure: no I/O, and no
 * clock but the times it is told. */
#ifndef STSGATE_PROXY_STATUS_STATE_H
#define STSGATE_PROXY_STATUS_STATE_H

#include "proxy/status_msg.h"

#define STATUS_LINKS_MAX 8u /* policy processes at a time: one a generation */
#define STATUS_SLOT_S 600   /* of the plot */
#define STATUS_SLOTS 144u   /* a day */
#define STATUS_HOURS 24u
#define STATUS_SILENT_MS 10000 /* without a report for so long a process counts as silent */

/* What the plot shows. */
enum status_class {
    STATUS_PROVEN,  /* delivered as MTA-STS or DANE demands */
    STATUS_TLS,     /* delivered under TLS */
    STATUS_CLEAR,   /* delivered without */
    STATUS_REFUSED, /* by the gateway */
    STATUS_OTHER,   /* rejected by the MX, or failed */
    STATUS_CLASSES
};

struct status_peer {
    bool known;
    int64_t heard_ms;            /* monotonic clock */
    struct worker_report report; /* without refusals: those are in `hours` */
};

/* One policy process, and the workers that talk to it. */
struct status_link {
    bool has_facts;
    int64_t facts_ms; /* monotonic clock */
    struct gateway_facts facts;
    struct status_peer peers[STATUS_PEERS_MAX];
};

struct status_slot {
    int64_t number; /* wall clock / STATUS_SLOT_S */
    uint64_t counts[STATUS_CLASSES];
};

struct status_hour {
    int64_t number; /* wall clock / 3600 */
    struct top_refused refused;
};

struct status_state {
    int64_t started_s;                           /* wall clock */
    struct status_link *links[STATUS_LINKS_MAX]; /* owned */
    struct counters gone;                        /* of workers that are no more */
    uint64_t gone_stats[POLICY_STATS];           /* of policy processes that are no more */
    uint64_t gone_records[COUNTED_RECORDS];
    struct status_slot slots[STATUS_SLOTS]; /* by number % STATUS_SLOTS */
    struct status_hour hours[STATUS_HOURS];
};

/** NULL: no memory. */
struct status_state *status_state_new(int64_t now_s);
void status_state_free(struct status_state *s); /* NULL is allowed */

/** A policy process is linked; NULL: too many are, or no memory. Owned by s. */
struct status_link *status_link_add(struct status_state *s);

/** It has gone, and so have its workers: what they counted stays. */
void status_link_remove(struct status_state *s, struct status_link *link);

/** A message of it. RES_SYNTAX, RES_LIMIT: none of ours; RES_NOMEM: passed over. now_ms: monotonic,
 * now_s: wall clock. */
MUST_CHECK enum result status_take(struct status_state *s, struct status_link *link,
                                   struct span message, int64_t now_ms, int64_t now_s);

/* All of it, added up. */
struct status_totals {
    struct counters counters; /* records: of all processes */
    uint64_t stats[POLICY_STATS];
    uint64_t open, relayed;
    unsigned serving, draining, silent; /* workers */
    unsigned lag_ms, busy_percent;      /* of the worker where each is highest */
    bool records_ready;
};
void status_add_up(const struct status_state *s, int64_t now_ms, struct status_totals *out);

/** The facts of the newest generation; NULL: no policy process is heard. Borrowed. */
const struct gateway_facts *status_facts(const struct status_state *s, int64_t now_ms);

/** Name and version of the library that does TLS; "" while no worker is known. Borrowed. */
const char *status_library(const struct status_state *s);

/** Is all well? NULL, or what is not: a few words, static storage. */
const char *status_problem(const struct status_state *s, int64_t now_ms);

/** Counts of the slot that was `back` slots before the present one; NULL: nothing happened. */
const uint64_t *status_slot(const struct status_state *s, int64_t now_s, unsigned back);

/** Most frequent refusals of the last STATUS_HOURS, sorted. */
void status_refused(const struct status_state *s, int64_t now_s, struct top_refused *out);

#endif
