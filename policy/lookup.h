/* policy/lookup.h: one question of a worker, from domain and destination to the requirement: the
 * policy, and the MX hosts with their TLSA records, are looked up side by side; a re-check asks for
 * all past all caches.
 * Context: policy process, on its event loop.
 */
#ifndef STSGATE_POLICY_LOOKUP_H
#define STSGATE_POLICY_LOOKUP_H

#include "policy/addr_memory.h"
#include "policy/policy_msg.h"
#include "policy/policy_stats.h"
#include "policy/rules.h"
#include "policy/sts_discovery.h"

struct lookup_config {
    struct resolver *resolver; /* borrowed, like all here, for as long as look-ups are open */
    struct resolver *uncached; /* for re-checks (STS-103) */
    struct sts_discovery *discovery;
    struct addr_memory *memory;
    struct addr_memory *dane_memory; /* of domains with TLSA records at an address */
    struct clock clock;
    const struct rules *rules;     /* overrides and smart hosts of the configuration */
    const struct rollout *rollout; /* as it is now: a control command may have changed it */
    bool dane;                     /* key dane, and there is a trust anchor (DANE-001) */
    bool validates;                /* there is a trust anchor: RULE_DANE works without the key */
    bool dane_insecure_mx;         /* key of that name (DANE-009) */
    bool dane_suffices;            /* key dane_and_sts = dane-suffices (STS-107) */
    struct policy_stats *stats;    /* may be NULL */
    bool alias_targets;            /* key sts_mx_cname = also-target (STS-082) */
    bool refuse_null_mx;           /* key null_mx = refuse (PRX-022) */
    uint16_t tls_minimum;          /* floor where TLS is demanded and may block (TLS-020) */
    uint16_t tls_opportunistic_minimum; /* floor elsewhere (TLS-021) */
    uint32_t ttl_max_s;                 /* of a requirement in a worker's cache */
};

/** req: a reference that the callee takes; NULL: no memory. */
typedef void lookup_done(void *arg, const struct policy_request *request, struct requirement *req);

/** What the operator says of the recipient, and what its domain, if it has one, publishes. config:
 * borrowed until done. done is called exactly once, perhaps before this returns. */
void lookup_start(const struct lookup_config *config, const struct policy_request *request,
                  lookup_done *done, void *arg);

#endif
