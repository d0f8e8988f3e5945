/* policy/mx_lookup.h: the MX hosts of a domain, and which of them have the destination's address
 * (PRX-016, PRX-018, PRX-021). Context: policy process, on its event loop. */
#ifndef STSGATE_POLICY_MX_LOOKUP_H
#define STSGATE_POLICY_MX_LOOKUP_H

#include "base/clock.h"
#include "policy/addr_memory.h"
#include "policy/identity.h"
#include "policy/resolver.h"

struct mx_lookup_config {
    struct resolver *resolver; /* borrowed until done, like all here */
    struct addr_memory *memory;
    struct clock clock;
    bool alias_targets; /* the target of an MX host that is an alias counts too, as Exchange Online
                         * reads it (STS-082, SEEDS S1) */
};

typedef void mx_lookup_done(void *arg, const struct mx_set *set); /* set: borrowed for the call */

/** Look up domain's MX hosts with regard to destination.
 * done is called exactly once; at once, before this returns, only when nothing could be asked. */
void mx_lookup(const struct mx_lookup_config *config, const char *domain,
               const struct ip_addr *destination, mx_lookup_done *done, void *arg);

/** The same for a host that the operator has put at destination (PRX-024): it holds the address
 * whatever DNS says, and that it is the host is as good as secure (RFC 7672 2.2.2). */
void mx_lookup_host(const struct mx_lookup_config *config, const char *host,
                    const struct ip_addr *destination, mx_lookup_done *done, void *arg);

/** By preference, the best first. */
void mx_answer_sort(const struct dns_answer *answer);

/** Are there no MX records, so that the domain is its own host? Records that name no host are
 * records all the same (RFC 5321 5.1, PRX-021). */
bool mx_answer_is_implicit(const struct resolver_answer *a);

/** What the answer to a question for addresses says of the host, but the addresses themselves. */
void mx_host_take_answer(struct mx_host *host, const struct resolver_answer *a);

#endif
