/* base/peer_chain.h: the certificates that a peer presented, as they came. Immutable and shared: an
 * observation holds one, so may a session ticket and a cache of verified chains.
 * Context: worker and `stsgate check`, one thread at a time per object. */
#ifndef STSGATE_BASE_PEER_CHAIN_H
#define STSGATE_BASE_PEER_CHAIN_H

#include "base/result.h"
#include "base/span.h"

#include <stdint.h>

#define PEER_CHAIN_MAX 32u                  /* certificates; the rest of a longer chain is cut */
#define PEER_CHAIN_BYTES_MAX (256u * 1024u) /* of DER in all */

struct peer_chain {
    unsigned refs;      /* peer_chain_ref() and peer_chain_unref() */
    size_t count;       /* 0 .. PEER_CHAIN_MAX */
    struct span *certs; /* owned: DER, the leaf first; each points into the same allocation */
    uint8_t (
        *cert_sha256)[32]; /* owned: of each certificate, within the same allocation; this and */
    uint8_t sha256[32];    /* the one over all of those are set by tls/ */
};

/** New with one reference, a copy of certs. RES_LIMIT: beyond the bounds; RES_NOMEM. */
MUST_CHECK enum result peer_chain_new(const struct span *certs, size_t count,
                                      struct peer_chain **out);

/** NULL is allowed in both. */
struct peer_chain *peer_chain_ref(struct peer_chain *chain);
void peer_chain_unref(struct peer_chain *chain);

#endif
