/* policy/tlsa_lookup.h: the TLSA records of one MX host: which names to ask at, in which order, and
 * when not to ask at all (RFC 7672 2.2.2, 2.2.3). Context: policy process, on its event loop. */
#ifndef STSGATE_POLICY_TLSA_LOOKUP_H
#define STSGATE_POLICY_TLSA_LOOKUP_H

#include "base/requirement.h"
#include "policy/identity.h"
#include "policy/resolver.h"

#define DANE_REASON_MAX sizeof(((struct requirement *)0)->dane.reason)

struct tlsa_finding {
    enum dane_state state;        /* NONE: not applicable with this host */
    struct dane_host host;        /* SECURE: name, base and records, owned; no references yet */
    bool dnssec;                  /* FAILED: as in struct requirement */
    char reason[DANE_REASON_MAX]; /* FAILED: "tlsa servfail", printable ASCII */
    uint32_t ttl_s;               /* the smallest of what was asked; UINT32_MAX when nothing was */
};

/** finding: the callee takes what it owns. */
typedef void tlsa_lookup_done(void *arg, struct tlsa_finding *finding);

/** Find the TLSA RRset of host, whose addresses have been looked up (RFC 7672 2.2.2: they come
 * first), for connections to port. The first candidate name with a secure RRset is the base domain;
 * with addresses that are insecure from the start nothing is asked, since name servers of unsigned
 * zones are known to choke on the question. host: borrowed for the call.
 * done is called exactly once; before this returns when nothing was or could be asked. */
void tlsa_lookup(struct resolver *resolver, const struct mx_host *host, uint16_t port,
                 tlsa_lookup_done *done, void *arg);

#endif
