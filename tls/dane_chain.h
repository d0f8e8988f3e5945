/* tls/dane_chain.h: a presented chain prepared for DANE: each certificate is hashed and read, and
 * each path verified, once at most, however many records ask.
 * Context: worker, one thread at a time per object. Inside tls/ only. */
#ifndef STSGATE_TLS_DANE_CHAIN_H
#define STSGATE_TLS_DANE_CHAIN_H

#include <openssl/x509.h>

#include "base/peer_chain.h"
#include "base/tlsa.h"
#include "tls/path.h"

struct dane_chain;

/** chain: borrowed until dane_chain_free(); NULL counts as empty. RES_NOMEM. */
MUST_CHECK enum result dane_chain_new(const struct peer_chain *chain, int64_t now_s,
                                      unsigned paths_max, struct dane_chain **out);
void dane_chain_free(struct dane_chain *c); /* NULL is allowed */

size_t dane_chain_count(const struct dane_chain *c);

/** Is the certificate at depth the leaf, perhaps once more? */
bool dane_chain_is_leaf(const struct dane_chain *c, size_t depth);

/** Does the record, whose numbers and length are good, match the certificate at depth? */
bool dane_chain_matches(struct dane_chain *c, const struct tlsa_record *record, size_t depth);

/** Verify the path from the leaf to the presented certificate at depth, which alone is trusted.
 * RES_NOMEM. */
MUST_CHECK enum result dane_chain_verify(struct dane_chain *c, size_t depth,
                                         struct path_facts *out);

/** The same to a certificate that was not presented. False in *out_reached: it issued none of those
 * that were, so there is no path to speak of. RES_NOMEM. */
MUST_CHECK enum result dane_chain_verify_to(struct dane_chain *c, X509 *anchor, bool *out_reached,
                                            struct path_facts *out);

/** The same to a key that none of the presented certificates has. out->length counts it. */
MUST_CHECK enum result dane_chain_verify_under(struct dane_chain *c, EVP_PKEY *key,
                                               bool *out_reached, struct path_facts *out);

/** Is the leaf for one of these names (DANE-030)? RES_NOMEM. */
MUST_CHECK enum result dane_chain_is_for(struct dane_chain *c, const struct name_list *references,
                                         bool *out);

/** Read a whole certificate. RES_OK with NULL: it cannot be read, or something follows it.
 * RES_NOMEM. out: new. */
MUST_CHECK enum result dane_read_cert(struct span der, X509 **out);

/** Is der one SubjectPublicKeyInfo and nothing else (RFC 5280 4.1)? Its key may be of any kind. */
bool dane_is_spki(struct span der);

#endif
