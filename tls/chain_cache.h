/* tls/chain_cache.h: chains that were verified and found good, so that a busy peer is proven once.
 * It belongs to one set of roots and dies with it, and every chain in it was verified
 * for the same purpose; names are matched elsewhere, per recipient. So a chain is found by its hash
 * alone. Only good results are kept: a peer that brings bad chains without end pays for each, and
 * costs nobody else a place.
 * The same chain is kept in one copy for all who hold it: observations, tickets.
 * Context: worker, one thread at a time per object. Inside tls/ only. */
#ifndef STSGATE_TLS_CHAIN_CACHE_H
#define STSGATE_TLS_CHAIN_CACHE_H

#include "tls/chain.h"

#define CHAIN_CACHE_ENTRIES 1024u           /* then the one used least lately goes */
#define CHAIN_CACHE_BYTES_MAX (16u * 1024u) /* of DER: a longer chain is verified each time */
#define CHAIN_CACHE_NAMES_MAX 256u          /* of the leaf; the same */
#define CHAIN_CACHE_LIFE_S (24 * 60 * 60)   /* then it is verified again, whatever it says */

struct chain_cache;

/** NULL: no memory. */
struct chain_cache *chain_cache_new(void);
void chain_cache_free(struct chain_cache *cache); /* NULL is allowed */

/** Is obs->certs known to be good at now_s? Then chain, chain_error, chain_reason, sans,
 * leaf_sha256 of obs are filled, and obs->certs becomes the shared copy. sans must be empty.
 *
 * RES_OK: yes. RES_AGAIN: it must be verified. RES_NOMEM: obs may hold a part of the names. */
MUST_CHECK enum result chain_cache_find(struct chain_cache *cache, int64_t now_s,
                                        struct observation *obs);

/** Keep what obs says of its certs, found good at now_s. What is too long, and what there is no
 * memory for, is not kept. */
void chain_cache_add(struct chain_cache *cache, const struct path_validity *validity, int64_t now_s,
                     const struct observation *obs);

#endif
