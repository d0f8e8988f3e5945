/* tls/path.h: a certification path from a leaf to one of some trust anchors (RFC 5280 6, TLS-044),
 * strong enough for today (RFC 9325 4.5).
 * Context: worker; anchors are shared and only read. Pure but for memory. Inside tls/ only. */
#ifndef STSGATE_TLS_PATH_H
#define STSGATE_TLS_PATH_H

#include <openssl/x509.h>

#include "base/observation.h"
#include "base/result.h"

#define PATH_RSA_MIN_BITS 2048 /* RFC 9325 4.5 */
#define PATH_DEPTH_MAX 16 /* certificates between leaf and anchor; the field has four at most */

struct path_facts {
    enum chain_state state;
    char error[48];  /* "X509_V_ERR_CERT_HAS_EXPIRED"; "X509_V_OK" when good */
    char reason[96]; /* the library's short text; printable ASCII */
    size_t length;   /* certificates of the path, leaf and anchor included; 0 when there is none */
};

/** Is there a path for server use, valid at wall-clock time now_s?
 *
 * anchors  trusted certificates
 * flags    X509_V_FLAG_... beyond the usual ones: with X509_V_FLAG_PARTIAL_CHAIN an anchor need not
 *          be its own issuer
 * others   what may stand between, in any order
 *
 * RES_NOMEM: out then says untrusted. */
MUST_CHECK enum result path_verify(X509_STORE *anchors, unsigned long flags, X509 *leaf,
                                   STACK_OF(X509) * others, int64_t now_s, struct path_facts *out);

/** Fill state, error and reason. */
void path_set(struct path_facts *out, enum chain_state state, const char *error,
              const char *reason);

/** Is the digest that its issuer signed cert with good enough? And a key? */
bool path_signature_is_strong(const X509 *cert);
bool path_key_is_strong(const EVP_PKEY *key);

#endif
