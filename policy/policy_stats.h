/* policy/policy_stats.h: what the policy process counts. Plain data: one struct in the process's
 * state, passed down; the names are those of `stsgate policy stats` and of the metrics.
 * Context: policy process. */
#ifndef STSGATE_POLICY_POLICY_STATS_H
#define STSGATE_POLICY_POLICY_STATS_H

#include "base/verdict.h"

#include <stdint.h>

enum policy_stat {
    /* TXT look-ups, by what came (STS-005 ... STS-011) */
    STAT_TXT_FOUND,
    STAT_TXT_ABSENT,
    STAT_TXT_SEVERAL,
    STAT_TXT_INVALID,
    STAT_TXT_DNS_FAILED,
    /* leniencies that were needed (STS-009, STS-045, STS-049) */
    STAT_LENIENT_TXT_BLANK,
    STAT_LENIENT_EMPTY_LINE,
    STAT_LENIENT_MAX_AGE,
    /* fetches, by their end; the failures by their reason (RPT-040) */
    STAT_FETCH_OK,
    STAT_FETCH_DNS,
    STAT_FETCH_ADDRESS,
    STAT_FETCH_CONNECT,
    STAT_FETCH_TIMEOUT,
    STAT_FETCH_CERTIFICATE,
    STAT_FETCH_HTTP,
    STAT_FETCH_BODY,
    STAT_FETCH_INVALID,
    STAT_FETCH_OTHER,
    STAT_FETCH_HELD_BACK, /* not made: the last one failed, or was too short ago */
    /* look-ups for mail, by what applied */
    STAT_CACHE_HIT,     /* a valid policy that was there */
    STAT_CACHE_MISS,    /* none was there, whatever came of it */
    STAT_CACHE_EXPIRED, /* of the misses: one that is over (STS-065) */
    STAT_KEPT,          /* of the hits: a fresh one could not be had (STS-062, STS-064) */
    STAT_REPLACED,
    STAT_BODY_CHANGED, /* of these: under the same id (TC-CACHE-09) */
    STAT_FIRST_CONTACT_BLOCKED,
    STAT_DEFERRED, /* STS-011 */
    /* the table (STS-071) */
    STAT_EVICTED_EXPIRED,
    STAT_EVICTED_NEGATIVE,
    STAT_EVICTED_NONE,
    STAT_EVICTED_TESTING,
    STAT_EVICTED_ENFORCE, /* live: protection is lost */
    STAT_REMOVED_UNUSED,
    STAT_REMOVED_EXPIRED,
    /* background (STS-066, STS-067) and re-check (STS-103) */
    STAT_REFRESH_OK,
    STAT_REFRESH_FAILED,
    STAT_EXPIRY_ALERTS, /* policies about to run out unrefreshed */
    STAT_RECHECK,
    STAT_RECHECK_FETCH,
    STAT_RECHECK_REFUSED, /* beyond the bounds */
    STAT_CLOCK_JUMPS,
    /* the store (STS-061) */
    STAT_STORE_LOADED,
    STAT_STORE_DROPPED, /* entries of the store that were not believed */
    STAT_STORE_WRITTEN,
    STAT_STORE_ERRORS,
    STAT_STORE_LOST, /* times that a store could not be used at all */
    /* DANE: look-ups for mail, by what they came to; the self-test of validation (DANE-001) */
    STAT_DANE_NONE,
    STAT_DANE_SECURE,
    STAT_DANE_FAILED,
    STAT_DANE_ENDED,         /* none now where there were records (TC-DANE-42) */
    STAT_DANE_PROBES,        /* self-tests made */
    STAT_DANE_PROBES_FAILED, /* of these */
    STAT_DANE_BLIND,         /* no counter: 1 while the last self-test has failed, else 0 */
    /* TLSRPT: sessions that were counted for a report, and that were not for want of room */
    STAT_TLSRPT_COUNTED,
    STAT_TLSRPT_LOST,
    /* reports: made, with each attempt anew; and their ends */
    STAT_TLSRPT_MADE,
    STAT_TLSRPT_SENT,
    STAT_TLSRPT_FAILED,
    STAT_TLSRPT_NO_RECORD,
    STAT_TLSRPT_LEFT_OUT,
    /* attempts at a destination, in the order of enum tlsrpt_sent; suppressed ones are not made */
    STAT_TLSRPT_HTTPS_SENT,
    STAT_TLSRPT_HTTPS_LATER,
    STAT_TLSRPT_HTTPS_REFUSED,
    STAT_TLSRPT_HTTPS_SUPPRESSED,
    STAT_TLSRPT_MAIL_SENT,
    STAT_TLSRPT_MAIL_LATER,
    STAT_TLSRPT_MAIL_REFUSED,
    STAT_TLSRPT_MAIL_SUPPRESSED,
    POLICY_STATS /* how many there are */
};

struct policy_stats {
    uint64_t counts[POLICY_STATS];
};

/** So many more; stats may be NULL. */
static inline void
policy_stats_add_many(struct policy_stats *stats, enum policy_stat which, uint64_t count)
{
    if (stats)
        stats->counts[which] += count;
}

/** One more; stats may be NULL. */
static inline void
policy_stats_add(struct policy_stats *stats, enum policy_stat which)
{
    policy_stats_add_many(stats, which, 1);
}

/** What it says now, of one that is no counter; stats may be NULL. */
static inline void
policy_stats_set(struct policy_stats *stats, enum policy_stat which, uint64_t value)
{
    if (stats)
        stats->counts[which] = value;
}

/** The counter of a fetch that ended with this type and reason (sts_fetch.h). */
enum policy_stat policy_stat_of_fetch(enum result_type type, const char *reason);

/** "txt_found", "fetch_dns", … Static storage. */
const char *policy_stat_name(enum policy_stat which);

#endif
