/* policy/tlsrpt_outbox.h: which reports are to be sent, and when: a row of the store for each day
 * and domain (RPT-009, RPT-054, RPT-076 ... RPT-079). What has been begun is written down before it
 * is done, so that a crash costs a wait, and a report that goes out twice has one id.
 * Context: policy process, and `stsgate report`, which may have the same file open. Calls may block
 * for as long as a disk takes. */
#ifndef STSGATE_POLICY_TLSRPT_OUTBOX_H
#define STSGATE_POLICY_TLSRPT_OUTBOX_H

#include "policy/tlsrpt_store.h"

#define TLSRPT_ID_MAX (8u + 1u + HOSTNAME_MAX + 1u + 16u + 1u + HOSTNAME_MAX) /* octets */
#define TLSRPT_PROBLEM_MAX 127u
#define TLSRPT_KEEP_DAYS 3 /* a report is given up before its day is as old (RPT-077) */

/* As they are stored; only added to. */
enum tlsrpt_state {
    TLSRPT_OPEN = 0,  /* being counted, or to be sent */
    TLSRPT_SENT,      /* a destination has accepted it */
    TLSRPT_NO_RECORD, /* the domain wants none: its counters are gone (RPT-009) */
    TLSRPT_FAILED,    /* nobody has taken it, and it is given up */
    TLSRPT_LEFT_OUT,  /* the configuration says so, or all destinations are suppressed */
};

struct tlsrpt_entry {
    int64_t id, day_s;
    char domain[HOSTNAME_MAX + 1];
    bool failures; /* the day has some */
    enum tlsrpt_state state;
    char report_id[TLSRPT_ID_MAX + 1]; /* "" before the first attempt */
    int64_t due_s;                     /* wall clock; 0: not planned yet */
    int64_t first_s;                   /* of the first attempt; 0: there was none */
    unsigned attempts;
    int64_t sent_s;                       /* last accepted; 0: never */
    char problem[TLSRPT_PROBLEM_MAX + 1]; /* of the last attempt; "" for none */
};

/** Give those of days before today_s, some thousands at a time, the moment of their report: 1 s ..
 * spread_s behind the end of their day, at random (RPT-076). out_count: how many. */
MUST_CHECK enum result tlsrpt_outbox_plan(struct tlsrpt_store *store, int64_t today_s,
                                          unsigned spread_s, unsigned *out_count);

/** The open ones that are due, the earliest first. RES_OK also when there is none: *out_count 0. */
MUST_CHECK enum result tlsrpt_outbox_due(struct tlsrpt_store *store, int64_t now_s,
                                         struct tlsrpt_entry *out, size_t max, size_t *out_count);

/** An attempt begins: it counts, the report has its id from now on, and should nothing more be
 * heard of it, it is due again at again_s. submitter: domain of the id's right side. */
MUST_CHECK enum result tlsrpt_outbox_begin(struct tlsrpt_store *store, struct tlsrpt_entry *entry,
                                           const char *submitter, int64_t now_s, int64_t again_s);

/** How the attempt ended. TLSRPT_OPEN: it is due again as begin has said. With TLSRPT_SENT of a day
 * that is not over (now_s), which an operator asked for, it is sent again after its end. */
MUST_CHECK enum result tlsrpt_outbox_end(struct tlsrpt_store *store,
                                         const struct tlsrpt_entry *entry, enum tlsrpt_state state,
                                         const char *problem, int64_t now_s);

/** Due now, whatever became of it before; domain NULL: all of the day. out_count: how many. */
MUST_CHECK enum result tlsrpt_outbox_hurry(struct tlsrpt_store *store, int64_t day_s,
                                           const char *domain, int64_t now_s, unsigned *out_count);

/** All there are of day_s (0: any day), the latest day first, then by name. each false: stop. */
typedef bool tlsrpt_outbox_each(void *arg, const struct tlsrpt_entry *entry);
MUST_CHECK enum result tlsrpt_outbox_list(struct tlsrpt_store *store, int64_t day_s,
                                          tlsrpt_outbox_each *each, void *arg);

/* ---- destinations that are given a rest (TC-RPT-20) ---- */

/** uri as in a record, without its percent-encoding: "mailto:ADDRESS", "https://...". until_s 0: no
 * rest any more. reason: printable ASCII. */
MUST_CHECK enum result tlsrpt_outbox_suppress(struct tlsrpt_store *store, const char *uri,
                                              int64_t until_s, const char *reason);
bool tlsrpt_outbox_is_suppressed(struct tlsrpt_store *store, const char *uri, int64_t now_s);

typedef bool tlsrpt_each_suppressed(void *arg, const char *uri, int64_t until_s,
                                    const char *reason);
MUST_CHECK enum result tlsrpt_outbox_suppressed(struct tlsrpt_store *store, int64_t now_s,
                                                tlsrpt_each_suppressed *each, void *arg);

/** Forget days that are over for good, and rests that are. */
MUST_CHECK enum result tlsrpt_outbox_expire(struct tlsrpt_store *store, int64_t now_s);

/** "open", "sent", "no-record", "failed", "left-out". Static storage. */
const char *tlsrpt_state_name(enum tlsrpt_state state);

#endif
