/* tls/dane.h: the certificates that a peer presented, held against the TLSA records of its MX
 * hosts: RFC 7672 3 with RFC 7671, after the handshake (DANE-047). The web's roots play no part.
 *
 * DANE-EE(3) matches the leaf and asks nothing more of it: no name, no date, no chain (DANE-027).
 * DANE-TA(2) matches any certificate above the leaf, or brings a certificate (2 0 0) or a bare key
 * (2 1 0) that the peer left out; the path to it must verify and the leaf must have one of the
 * host's reference names (DANE-028 ... DANE-032). A record for a trust anchor never matches the
 * leaf itself.
 *
 * Context: worker and `stsgate check`. Pure but for memory; bounded, whatever both sides publish.
 */
#ifndef STSGATE_TLS_DANE_H
#define STSGATE_TLS_DANE_H

#include "base/observation.h"
#include "base/result.h"
#include "base/tlsa.h"

#define DANE_PATHS_MAX                                                                             \
    16u /* verified for one check; honest records and chains need two or three                     \
         */

/** One satisfied host is enough (DANE-048); a host of which all records are unusable is none unless
 * they all are (DANE-023).
 *
 * chain  as presented; NULL counts as empty
 * hosts  1 .. DANE_HOSTS_MAX
 * now_s  wall clock: certificates are valid then, or are not
 * out    all but key, which stays as it is: the match, or what came nearest to one
 *
 * RES_NOMEM: out then says DANE_UNCHECKED. */
MUST_CHECK enum result dane_check(const struct peer_chain *chain, const struct dane_host *hosts,
                                  size_t host_count, int64_t now_s, struct dane_facts *out);

#endif
