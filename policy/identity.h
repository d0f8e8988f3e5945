/* policy/identity.h: which MX name stands behind the address that the client dialled
 * (PRX-016 ... PRX-021). Context: policy process. Pure: no I/O, no clock. */
#ifndef STSGATE_POLICY_IDENTITY_H
#define STSGATE_POLICY_IDENTITY_H

#include "base/requirement.h"
#include "policy/dns_message.h"

#define MX_HOSTS_MAX                                                                               \
    64u /* of one domain that are looked at; the best preferences stay (TC-MX-17) */

/* Does the host's address set hold the destination? */
enum mx_holds {
    MX_HOLDS_NOT,
    MX_HOLDS_REMEMBERED, /* it did within the last hours (PRX-018) */
    MX_HOLDS_NOW,
};

#define MX_REASON_MAX 56u

struct mx_host {
    uint16_t preference;
    enum mx_holds holds;
    bool is_target;              /* no MX record names it: the target of one that is an alias, which
                                  * counts for MTA-STS alone (STS-082) */
    bool failed, bogus;          /* its addresses could not be had; or came and are bogus */
    enum dns_security security;  /* of its addresses or their denial, CNAMEs included */
    char host[HOSTNAME_MAX + 1]; /* name of the MX record, before any CNAME (STS-082) */
    char owner[HOSTNAME_MAX + 1]; /* where its addresses are: host, or the end of its CNAMEs; ""
                                   * when that is no host name */
    char reason[MX_REASON_MAX];   /* of its failure, printable ASCII: "servfail" */
};

/* What DNS says of a domain's MX hosts with regard to one destination address. */
struct mx_set {
    bool failed;    /* the MX look-up, or an address look-up that matters, failed for now */
    bool mx_failed; /* of these: the MX look-up itself */
    bool mx_bogus;  /* of these: because DNSSEC validation failed */
    char mx_reason[MX_REASON_MAX]; /* why it did, printable ASCII: "servfail" */
    bool null_mx;                  /* "MX 0 .": the domain takes no mail (RFC 7505) */
    bool implicit;                 /* there are no MX records: the host is the domain itself */
    enum dns_security security;    /* of the MX records or their denial, CNAMEs included */
    char owner[HOSTNAME_MAX + 1]; /* where the MX records are: the domain, or the end of its CNAMEs;
                                   * "" when that is no host name */
    size_t count;
    struct mx_host hosts[MX_HOSTS_MAX]; /* by preference */
    uint32_t ttl_s;                     /* the smallest that went into it */
};

/** Fill matched, names and mx_lookup_failed of req, whose names must be empty, from set and from
 * the mx patterns of the policy that applies (none: an empty list). RES_NOMEM. */
MUST_CHECK enum result identity_choose(const struct mx_set *set, const struct name_list *patterns,
                                       struct requirement *req);

/** Hosts whose MX name the patterns list come first, otherwise the order stays. */
void identity_order(struct dane_host *hosts, size_t count, const struct name_list *patterns);

#endif
