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

/* When every certificate of a path is valid, wall clock: from_s <= t <= until_s. */
struct path_validity {
    int64_t from_s, until_s;
};

struct path_facts {
    enum chain_state state;
    char error[48];  /* "X509_V_ERR_CERT_HAS_EXPIRED"; "X509_V_OK" when good */
    char reason[96]; /* the library's short text; printable ASCII */
    size_t length;   /* certificates of the path, leaf and anchor included; 0 when there is none */
    struct path_validity valid; /* of a path that is good; else never */
};

enum path_anchor {
    PATH_TO_ROOT, /* which is its own issuer */
    PATH_TO_ANY,  /* of any kind; must be a CA itself, and is held to its path length */
};

/** Is there a path for server use, valid at wall-clock time now_s?
 *
 * anchors  trusted certificates
 * kind     which of them may end the path
 * others   what may stand between, in any order
 *
 * RES_NOMEM: out then says untrusted. */
MUST_CHECK enum result path_verify(X509_STORE *anchors, enum path_anchor kind, X509 *leaf,
                                   STACK_OF(X509) * others, int64_t now_s, struct path_facts *out);

/** All of out: untrusted for a reason that was there before any path. */
void path_none(struct path_facts *out, const char *error, const char *reason);

/** Fill state, error and reason, and leave the rest. */
void path_set(struct path_facts *out, enum chain_state state, const char *error,
              const char *reason);

/** Is the digest that its issuer signed cert with good enough? And a key? */
bool path_signature_is_strong(const X509 *cert);
bool path_key_is_strong(const EVP_PKEY *key);

#endif
