/* policy/tlsrpt_reporter.h: TLSRPT in the policy process (RFC 8460): counts what workers tell, and
 * when a day is over makes each domain's report and sends it where the domain's record says.
 * Nothing of it is in the way of mail. Context: policy process, on its event loop. */
#ifndef STSGATE_POLICY_TLSRPT_REPORTER_H
#define STSGATE_POLICY_TLSRPT_REPORTER_H

#include "base/clock.h"
#include "base/name_list.h"
#include "policy/policy_stats.h"
#include "policy/sts_cache.h"
#include "policy/tlsrpt_sender.h"
#include "policy/tlsrpt_store.h"

#define TLSRPT_FLUSH_MS 100                     /* what is counted is written by then (RPT-032) */
#define TLSRPT_FLUSH_RETRY_S 2                  /* and where that fails, again */
#define TLSRPT_AHEAD_MAX_S 3600                 /* a report of later than that is one of now */
#define TLSRPT_JOBS_MAX 16u                     /* reports on their way at a time */
#define TLSRPT_REPORT_MAX (64u * 1024u * 1024u) /* octets of one, as JSON */
#define TLSRPT_LARGE_BYTES 10000000u            /* gzip: receivers' usual limit (RPT-064) */

struct tlsrpt_reporter;

/* Strings and lists: borrowed, like all here, until tlsrpt_reporter_free(). */
struct tlsrpt_reporter_config {
    struct tlsrpt_sender_config sender;
    struct sts_cache *cache;    /* where texts of policies are found */
    struct policy_stats *stats; /* may be NULL */
    struct clock clock;
    tlsrpt_source_counted *counted; /* told what is in the store for good */
    void *counted_arg;
    const char *store_file;
    const char *organization, *contact; /* "": reports are counted, not sent */
    struct ip_addr public4, public6;
    unsigned spread_s, retry_s, retry_max_s, suppress_s;
    bool failures_only;
    const struct name_list *exclude;
    const char *rua;       /* "": as the domains' records say */
    const char *directory; /* "": none */
};

/** error: what is wrong, unless RES_OK. RES_TEMPFAIL, RES_DENIED, RES_SYNTAX are the store's. */
MUST_CHECK enum result tlsrpt_reporter_new(const struct tlsrpt_reporter_config *config,
                                           struct tlsrpt_reporter **out, char *error,
                                           size_t error_size);

/** What is counted is written; what is on its way is sent again later. NULL is allowed. */
void tlsrpt_reporter_free(struct tlsrpt_reporter *reporter);

/** Number and source as tlsrpt_store_count_once() has them. A worker that dates its verdicts into
 * the future, taken over or left behind by a clock that was set back, writes nothing that would
 * outlive all expiry: beyond TLSRPT_AHEAD_MAX_S they count as of now. */
void tlsrpt_reporter_count(struct tlsrpt_reporter *reporter, uint64_t source, uint64_t number,
                           const struct tls_report *report, uint64_t sessions);

/** Write what was counted; at most TLSRPT_FLUSH_MS after it was. */
void tlsrpt_reporter_flush(struct tlsrpt_reporter *reporter);

/** A policy that came in force (RPT-056). */
void tlsrpt_reporter_text(struct tlsrpt_reporter *reporter, const uint8_t sha256[32],
                          struct span text);

/** Once a second. sends: this process is the one that sends, not one that is being replaced. */
void tlsrpt_reporter_tick(struct tlsrpt_reporter *reporter, bool sends);

#endif
