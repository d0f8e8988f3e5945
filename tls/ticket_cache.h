/* tls/ticket_cache.h: TLS sessions that a later connection to the same peer may resume (TLS-026).
 * Each is kept with the chain that the peer presented in the full handshake it goes back to: a
 * resumed connection shows none, and every verdict needs one. What belongs together is told by the
 * key: destination, SNI and version floor. The cache belongs to one set of roots and dies with it.
 * Context: worker, one thread at a time per object. Inside tls/ only. */
#ifndef STSGATE_TLS_TICKET_CACHE_H
#define STSGATE_TLS_TICKET_CACHE_H

#include "base/peer_chain.h"
#include "tls/bssl_compat.h"

#define TICKET_CACHE_PEERS 1024u             /* then the one used least lately goes */
#define TICKETS_PER_PEER 16u                 /* connections side by side; the oldest goes */
#define TICKET_CACHE_TICKETS 4096u           /* of all peers; then again a peer goes */
#define TICKET_BYTES_MAX 4096u               /* of a ticket; a larger one is not kept */
#define TICKET_CHAIN_BYTES_MAX (16u * 1024u) /* of DER; with a longer chain nothing is kept */
/* From the full handshake on, however often it is resumed: the longer, the older the chain that is
 * judged. Mail servers commonly keep sessions for an hour. */
#define TICKET_LIFE_S 3600

struct ticket_key {
    uint8_t sha256[32];
};

struct ticket {
    SSL_SESSION *session;     /* a reference */
    struct peer_chain *certs; /* a reference */
    int64_t proven_s;         /* wall clock of the full handshake */
    uint16_t group;           /* of the last key exchange; 0: none, or of the library's choice */
};

struct ticket_cache;

/** NULL: no memory. */
struct ticket_cache *ticket_cache_new(void);
void ticket_cache_free(struct ticket_cache *cache); /* NULL is allowed */

/** Keep a ticket; takes its references, also where it is not kept: too large, no memory. */
void ticket_cache_put(struct ticket_cache *cache, const struct ticket_key *key,
                      struct ticket ticket);

/** The newest ticket that may be used at now_s, with references that the caller takes; those of TLS
 * 1.3 are for one use and are gone then (RFC 8446 C.4). False: there is none. */
bool ticket_cache_take(struct ticket_cache *cache, const struct ticket_key *key, int64_t now_s,
                       struct ticket *out);

/** Forget all tickets of that peer. */
void ticket_cache_drop(struct ticket_cache *cache, const struct ticket_key *key);

/** Drops the references; NULLs are allowed. */
void ticket_clear(struct ticket *ticket);

#endif
