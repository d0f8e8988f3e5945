/* tls/chain.h: the certificates a peer presented, as facts: does the chain lead to a trusted root
 * (RFC 5280 6, TLS-044), and which names does the leaf carry (STS-087)?
 * Context: worker; roots are shared and only read. Pure but for memory. Inside tls/ only. */
#ifndef STSGATE_TLS_CHAIN_H
#define STSGATE_TLS_CHAIN_H

#include "base/observation.h"
#include "base/result.h"
#include "tls/path.h"

/** Verify certs as presented, leaf first, for server use at wall-clock time now_s, and fill chain,
 * chain_error, chain_reason, sans and leaf_sha256 of obs; sans must be empty.
 *
 * certs      NULL or empty counts as untrusted
 * out_valid  of a chain that is good; else never
 *
 * RES_NOMEM: obs then says untrusted and may hold a part of the names. */
MUST_CHECK enum result chain_observe(X509_STORE *roots, const STACK_OF(CRYPTO_BUFFER) * certs,
                                     int64_t now_s, struct observation *obs,
                                     struct path_validity *out_valid);

/** New: what of certs, as presented, is within the bounds of a peer_chain, with its sha256. certs:
 * NULL or empty makes an empty one. RES_NOMEM. */
MUST_CHECK enum result chain_keep(const STACK_OF(CRYPTO_BUFFER) * certs, struct peer_chain **out);

#endif
