/* policy/dane_probe.h: does DNSSEC validation work at all? Asks for the root's own SOA, which has
 * to come back secure under the trust anchor, at the start and again and again. Where it does not
 * (a wrong or outdated anchor, a clock that is off, a forwarder that drops signatures, no DNS) DANE
 * is blind, and that is said loudly. It is never switched off by this: what cannot be looked up
 * stays a temporary failure until the operator decides (DANE-001, TC-DANE-34). Context: policy
 * process, about once a second. */
#ifndef STSGATE_POLICY_DANE_PROBE_H
#define STSGATE_POLICY_DANE_PROBE_H

#include "base/clock.h"
#include "policy/policy_stats.h"
#include "policy/resolver.h"

#define DANE_PROBE_INTERVAL_S 300 /* between two probes while all is well */
#define DANE_PROBE_RETRY_S 60     /* while it is not */

struct dane_probe;

struct dane_probe_config {
    struct resolver *resolver;  /* one without a cache, or the past would answer; borrowed. It is
                                 * freed before the probe is */
    struct policy_stats *stats; /* borrowed; may be NULL */
    struct clock clock;
};

/** NULL: no memory. */
struct dane_probe *dane_probe_new(const struct dane_probe_config *config);
void dane_probe_free(struct dane_probe *probe); /* NULL is allowed */

/** Ask, when it is time to. The first call does. */
void dane_probe_tick(struct dane_probe *probe);

/** Has the last probe that was answered failed? False before the first answer. */
bool dane_probe_is_blind(const struct dane_probe *probe);

#endif
