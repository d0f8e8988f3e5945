/* proxy/judge.h: the one place that decides. Facts are gathered first and judged afterwards.
 * Context: worker and `stsgate check`. Pure: no I/O, no clock but the one given. */
#ifndef STSGATE_PROXY_JUDGE_H
#define STSGATE_PROXY_JUDGE_H

#include "base/observation.h"
#include "base/requirement.h"
#include "base/verdict.h"

/* What the site and the client demand of the connection, beside the recipient's domain. */
struct demand {
    bool site_tls;           /* TLS for everybody: key tls = required (TLS-011) */
    bool client_tls;         /* the client's own leg is under TLS: never on in clear (TLS-030) */
    bool requiretls;         /* MAIL ... REQUIRETLS (RFC 8689 2) */
    bool null_sender;        /* MAIL FROM:<>, which may do without that keyword (RTLS-006) */
    bool cleartext_fallback; /* who has no policy is served in clear when TLS is broken (TLS-031) */
    uint16_t floor;          /* lowest TLS version under site_tls and requiretls (TLS-020) */
};

/** May this recipient's mail go over this connection?
 *
 * req     what the recipient's domain demands
 * demand  what else is demanded
 * obs     what the connection has proved so far
 * now_s   wall clock: an expired policy is none (STS-065)
 *
 * The verdict's mx borrows from what req owns. RFC 8461 4 and 5; order of checks: CONFORMANCE 0. */
struct verdict judge(const struct requirement *req, const struct demand *demand,
                     const struct observation *obs, int64_t now_s);

/** Lowest TLS version to offer in a handshake for this recipient (TLS-020, TLS-021). */
uint16_t judge_floor(const struct requirement *req, const struct demand *demand);

#endif
