/* policy/identity.h: which MX name stands behind the address that the client dialled
 * (CONFORMANCE PRX-016 ... PRX-021). Context: policy process. Pure: no I/O, no clock. */
#ifndef STSGATE_POLICY_IDENTITY_H
#define STSGATE_POLICY_IDENTITY_H

#include "base/requirement.h"

#define MX_HOSTS_MAX                                                                               \
    64u /* of one domain that are looked at; the best preferences stay (TC-MX-17) */

/* Does the host's address set hold the destination? */
enum mx_holds {
    MX_HOLDS_NOT,
    MX_HOLDS_REMEMBERED, /* it did within the last hours (PRX-018) */
    MX_HOLDS_NOW,
};

struct mx_host {
    uint16_t preference;
    enum mx_holds holds;
    char host[HOSTNAME_MAX + 1]; /* name of the MX record, before any CNAME (STS-082) */
};

/* What DNS says of a domain's MX hosts with regard to one destination address. */
struct mx_set {
    bool failed;  /* the MX look-up, or an address look-up that matters, failed for now */
    bool null_mx; /* "MX 0 .": the domain takes no mail (RFC 7505) */
    size_t count;
    struct mx_host hosts[MX_HOSTS_MAX];
    uint32_t ttl_s; /* the smallest that went into it */
};

/** Fill matched, names and mx_lookup_failed of req, whose names must be empty, from set and from
 * the mx patterns of the policy that applies (none: an empty list). RES_NOMEM. */
MUST_CHECK enum result identity_choose(const struct mx_set *set, const struct name_list *patterns,
                                       struct requirement *req);

#endif
