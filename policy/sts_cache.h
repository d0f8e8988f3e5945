/* policy/sts_cache.h: the MTA-STS policies that were fetched, in memory, RFC 8461 3.3 and 5.1.
 * Nothing removes a valid policy but its expiry or a newer one: failures are kept beside it
 * (STS-062 ... STS-069). Context: policy process, one thread at a time per object. Knows no clock.
 */
#ifndef STSGATE_POLICY_STS_CACHE_H
#define STSGATE_POLICY_STS_CACHE_H

#include "base/verdict.h"
#include "policy/sts_policy.h"

#define STS_CACHE_MAX 100000u           /* domains (STS-071) */
#define STS_CACHE_RETRY_MS (300 * 1000) /* wait after a failed fetch of one id (STS-031) */

struct sts_cache;

/* One domain. Read-only for others; valid until the cache is next changed. */
struct sts_entry {
    const char *domain;
    struct sts_policy *policy;          /* NULL while none was ever fetched */
    char id[STS_ID_MAX + 1];            /* of the TXT record the policy was fetched for */
    uint8_t text_sha256[32];            /* of the body */
    int64_t fetched_at_s, expires_at_s; /* wall clock */

    /* The last fetch that failed, for the same or another id; failed_id "" when none did since. */
    char failed_id[STS_ID_MAX + 1];
    int64_t failed_at_ms; /* monotonic clock */
    enum result_type failed_type;
    char failed_reason[64];
};

struct sts_cache *sts_cache_new(void); /* NULL: no memory */
void sts_cache_free(struct sts_cache *cache);

/** The domain's entry, or NULL. It counts as used. */
const struct sts_entry *sts_cache_find(struct sts_cache *cache, const char *domain);

/** Is there a policy, and is it not expired at now_s? (entry may be NULL) */
bool sts_entry_is_valid(const struct sts_entry *entry, int64_t now_s);

/** Would a fetch for id repeat one that failed less than STS_CACHE_RETRY_MS ago? (entry may be
 * NULL) */
bool sts_entry_must_wait(const struct sts_entry *entry, const char *id, int64_t now_ms);

/** A fetch succeeded: takes policy, also on failure (RES_NOMEM). max_age_cap_s: upper bound on the
 * policy's own max_age. out: the entry. */
MUST_CHECK enum result sts_cache_put(struct sts_cache *cache, const char *domain, const char *id,
                                     struct sts_policy *policy, const uint8_t sha256[32],
                                     int64_t now_s, uint32_t max_age_cap_s,
                                     const struct sts_entry **out);

/** A fetch failed: a policy that is there stays. RES_NOMEM: not noted. */
MUST_CHECK enum result sts_cache_fail(struct sts_cache *cache, const char *domain, const char *id,
                                      enum result_type type, const char *reason, int64_t now_ms,
                                      const struct sts_entry **out);

#endif
