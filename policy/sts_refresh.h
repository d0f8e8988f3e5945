/* policy/sts_refresh.h: cached policies are fetched again in the background, about once a day
 * whatever the TXT record says, so that they do not run out while an attacker or a fault keeps the
 * policy host away (RFC 8461 3.3 and 10.2; STS-066, STS-067). Context: policy process. */
#ifndef STSGATE_POLICY_STS_REFRESH_H
#define STSGATE_POLICY_STS_REFRESH_H

#include "policy/sts_discovery.h"

struct sts_refresh;

#define STS_REFRESH_PARALLEL 8u /* fetches in the background at a time (TC-CACHE-12) */

struct sts_refresh_config {
    struct sts_discovery *discovery; /* borrowed, like all here, until sts_refresh_free() */
    struct sts_cache *cache;
    struct policy_stats *stats; /* may be NULL */
    struct clock clock;
    int64_t interval_s; /* between two fetches, give or take a tenth */
    int64_t retry_s;    /* the least time between two fetches that fail (STS-031) */
};

/** config: copied. NULL: no memory. */
struct sts_refresh *sts_refresh_new(const struct sts_refresh_config *config);
void sts_refresh_free(struct sts_refresh *refresh); /* after the discovery; NULL is allowed */

/** About once a second: looks at a share of the cache and starts what is due. */
void sts_refresh_tick(struct sts_refresh *refresh);

/** When entry's next fetch in the background is due, wall clock; INT64_MAX: never, because the
 * policy has expired or lives too short. Half of max_age is never exceeded, so that there is time
 * for a second attempt. The jitter is the domain's own, and another one after each fetch. */
int64_t sts_refresh_due_s(const struct sts_refresh *refresh, const struct sts_entry *entry,
                          int64_t now_s);

#endif
