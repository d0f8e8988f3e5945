/* policy/inspect.h: all that one domain publishes for its mail, past all caches: TXT records,
 * policy, MX hosts with addresses and TLSA records, where it wants reports (STS-073). It shows;
 * what is demanded of mail is policy/lookup.h's to say. Context: policy process, on its event loop.
 */
#ifndef STSGATE_POLICY_INSPECT_H
#define STSGATE_POLICY_INSPECT_H

#include "policy/sts_discovery.h"
#include "policy/tlsa_lookup.h"

struct inspect_config {
    struct resolver *uncached; /* borrowed, like all here, for as long as inspections are open */
    struct sts_discovery *discovery;
    uint16_t port; /* for TLSA records */
};

enum inspect_kind {
    INSPECT_STS_TXT,
    INSPECT_POLICY,
    INSPECT_TLSRPT_TXT,
    INSPECT_MX,       /* by preference */
    INSPECT_ADDRESS,  /* one for each host and family */
    INSPECT_TLSA,     /* one for each host */
    INSPECT_RESOLVER, /* only where a look-up of the domain failed, and one for the root does too:
                       * then it is not the domain that is to blame */
};

/* One thing that has become known. Borrowed for the call, with all that it points to. */
struct inspect_part {
    enum inspect_kind kind;
    const char *name;                     /* what was asked for, or the MX host of INSPECT_TLSA */
    unsigned qtype;                       /* INSPECT_ADDRESS: DNS_TYPE_A or _AAAA */
    const struct resolver_answer *answer; /* NULL with the two below */
    const struct sts_finding *policy;     /* INSPECT_POLICY */
    const struct tlsa_finding *tlsa;      /* INSPECT_TLSA */
    uint16_t port;                        /* INSPECT_TLSA */
};

typedef void inspect_each(void *arg, const struct inspect_part *part);
typedef void inspect_done(void *arg);

/** domain: normalised. each is called for every part as it comes in, in no order but that a host's
 * TLSA records follow its addresses, those the MX records, and INSPECT_RESOLVER all; then done,
 * once. Either may come before this returns. RES_NOMEM: neither does. */
MUST_CHECK enum result inspect_start(const struct inspect_config *config, const char *domain,
                                     inspect_each *each, inspect_done *done, void *arg);

#endif
