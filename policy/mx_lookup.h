/* policy/mx_lookup.h: the MX hosts of a domain, and which of them have the destination's address
 * (PRX-016, PRX-018, PRX-021). Context: policy process, on its event loop. */
#ifndef STSGATE_POLICY_MX_LOOKUP_H
#define STSGATE_POLICY_MX_LOOKUP_H

#include "base/clock.h"
#include "policy/addr_memory.h"
#include "policy/identity.h"
#include "policy/resolver.h"

typedef void mx_lookup_done(void *arg, const struct mx_set *set); /* set: borrowed for the call */

/** Look up domain's MX hosts with regard to destination. resolver, memory: borrowed until done.
 * done is called exactly once; at once, before this returns, only when nothing could be asked. */
void mx_lookup(struct resolver *resolver, struct addr_memory *memory, const struct clock *clock,
               const char *domain, const struct ip_addr *destination, mx_lookup_done *done,
               void *arg);

#endif
