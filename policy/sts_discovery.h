/* policy/sts_discovery.h: the MTA-STS policy of a domain now: cache, TXT record, fetch, in the
 * order of RFC 8461 3.3 and 5.1; and what may be done to learn of a newer one: before a refusal
 * (STS-103), in the background (STS-066), for the operator (STS-073). A policy in force is never
 * weakened by a failure (STS-062). Context: policy process, on its event loop. */
#ifndef STSGATE_POLICY_STS_DISCOVERY_H
#define STSGATE_POLICY_STS_DISCOVERY_H

#include "base/clock.h"
#include "policy/resolver.h"
#include "policy/sts_cache.h"
#include "policy/sts_fetch.h"

/* What mail waits for at most while a valid policy is at hand: for the TXT record, then for the
 * fetch that a new id asks for. A changed policy is to be followed at once, but no slow name server
 * or policy host may hold up mail that could be judged without it (TC-CACHE-25). */
#define STS_KNOWN_TXT_WAIT_MS 5000
#define STS_KNOWN_FETCH_WAIT_MS 10000
#define STS_RECHECK_WAIT_MS 10000    /* STS-103 */
#define STS_RECHECK_FETCH_AGE_S 3600 /* then fetched again even under the same id (STS-103) */

struct sts_discovery;

/* Why a domain is looked up. */
enum sts_purpose {
    STS_FOR_MAIL,     /* fetched if the id is new, or no valid policy is there */
    STS_FOR_RECHECK,  /* the same, past all caches, and if the last fetch is over an hour old */
    STS_FOR_REFRESH,  /* fetched whatever the TXT record says, even without one (STS-066) */
    STS_FOR_OPERATOR, /* the same, past all caches and without regard to earlier failures */
    STS_PURPOSES
};

struct sts_discovery_config {
    struct resolver *resolver; /* borrowed, like all here, until sts_discovery_free() */
    struct resolver *uncached; /* asks anew each time */
    struct sts_fetcher *fetcher;
    struct sts_cache *cache;
    struct policy_stats *stats; /* may be NULL */
    struct clock clock;
    int64_t refetch_wait_ms; /* after a failure, for the same id (STS-031) */
    bool defer_on_failure;   /* STS-011: no TXT answer and no valid policy is no reason to go on */
};

struct sts_finding {
    bool has_policy;        /* one applies: */
    struct sts_entry entry; /* borrowed for the call */
    bool just_fetched;      /* so it applies to this use even with max_age 0 (TC-POL-15) */
    bool defer;             /* STS-011, as configured */
    uint32_t ttl_s;         /* of the TXT answer; 0 when it failed */
    char problem[STS_REASON_MAX + 1]; /* "sts-policy-fetch-error http-404"; "" when all went well */
    struct span
        body; /* what was fetched for it, a policy or not; borrowed likewise; may be empty */
};

typedef void sts_discovery_done(void *arg, const struct sts_finding *finding);

/** config: copied. NULL: no memory. */
struct sts_discovery *sts_discovery_new(const struct sts_discovery_config *config);

/** No callback comes any more; on the resolvers and the fetcher as sts_fetcher_free().
 * NULL is allowed. */
void sts_discovery_free(struct sts_discovery *d);

/** Find the policy of domain (normalised). done is called exactly once, perhaps before this
 * returns. All who ask for the same purpose while a domain is being looked up share one look-up,
 * and all purposes one fetch (STS-032). A re-check beyond its bounds (policy/recheck_budget.h)
 * finds what is cached. */
void sts_discover(struct sts_discovery *d, const char *domain, enum sts_purpose purpose,
                  sts_discovery_done *done, void *arg);

/** About once a second: answers those who have waited long enough. */
void sts_discovery_tick(struct sts_discovery *d);

#endif
