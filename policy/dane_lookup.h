/* policy/dane_lookup.h: what DANE demands behind one destination address: the TLSA records of those
 * MX hosts of a domain that stand there, or of all of them when none is known to (RFC 7672 2.2,
 * PRX-020, PRX-023, DANE-004 ... DANE-020, DANE-048).
 * Context: policy process, on its event loop. */
#ifndef STSGATE_POLICY_DANE_LOOKUP_H
#define STSGATE_POLICY_DANE_LOOKUP_H

#include "policy/tlsa_lookup.h"

struct dane_lookup_config {
    struct resolver *resolver;      /* borrowed until done, like all here */
    uint16_t port;                  /* original destination port (DANE-018) */
    bool insecure_mx;               /* DANE also behind MX records that are not secure (DANE-009) */
    const struct name_list *exempt; /* patterns of MX hosts that an override takes out (DANE-044) */
};

struct dane_result {
    enum dane_state state;
    struct dane_host *hosts; /* owned array, by preference; the requirement's, with references */
    size_t host_count;       /* 0 .. DANE_HOSTS_MAX */
    bool dnssec;             /* FAILED: as in struct requirement */
    char reason[DANE_REASON_MAX];
    uint32_t ttl_s; /* the smallest of what was asked; UINT32_MAX when nothing was */
};

/** result: the callee takes what it owns, by dane_result_clear() or otherwise. */
typedef void dane_lookup_done(void *arg, struct dane_result *result);

/** set: the MX hosts of domain with regard to the destination; borrowed until done.
 *
 * A look-up that failed where it could hide records is DANE_FAILED: the MX records', the addresses'
 * when nobody is known to hold the destination, a holder's TLSA records' when no other holder has
 * any (one whose records are known must satisfy them, and that is enough).
 *
 * done is called exactly once; before this returns when nothing was or could be asked. */
void dane_lookup(const struct dane_lookup_config *config, const struct mx_set *set,
                 const char *domain, dane_lookup_done *done, void *arg);

void dane_result_clear(struct dane_result *result);

#endif
