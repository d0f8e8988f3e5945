/* policy/sts_discovery.h: the MTA-STS policy of a domain now: cache, TXT record, HTTPS fetch, in
 * the order of RFC 8461 3.3 and 5.1. Context: policy process, on its event loop. */
#ifndef STSGATE_POLICY_STS_DISCOVERY_H
#define STSGATE_POLICY_STS_DISCOVERY_H

#include "base/clock.h"
#include "policy/fetch.h"
#include "policy/resolver.h"
#include "policy/sts_cache.h"

struct sts_discovery;

struct sts_discovery_config {
    struct resolver *resolver; /* borrowed, like all here, until sts_discovery_free() */
    struct fetcher *fetcher;
    struct sts_cache *cache;
    const struct ip_net *networks; /* not public, yet permitted for policy hosts (STS-035) */
    size_t network_count;
    uint32_t max_age_cap_s;
    struct clock clock;
};

struct sts_finding {
    const struct sts_entry *entry; /* the policy that applies, or NULL; borrowed for the call */
    bool just_fetched;             /* so it applies to this use even with max_age 0 (TC-POL-15) */
    uint32_t ttl_s;                /* of the TXT answer; 0 when it failed */
    char problem[96];              /* "sts-policy-fetch-error http-404"; "" when all went well */
};

typedef void sts_discovery_done(void *arg, const struct sts_finding *finding);

/** config: copied, what it points to is borrowed. NULL: no memory. */
struct sts_discovery *sts_discovery_new(const struct sts_discovery_config *config);
void sts_discovery_free(struct sts_discovery *d); /* no callback comes any more; NULL is allowed */

/** Find the policy of domain (normalised). done is called exactly once, perhaps before this
 * returns. All who ask for a domain while it is being looked up share one look-up and one fetch
 * (STS-032). */
void sts_discover(struct sts_discovery *d, const char *domain, sts_discovery_done *done, void *arg);

#endif
