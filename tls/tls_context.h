/* tls/tls_context.h: what the clients of a process share; opaque outside tls/ (tls/tls_client.h).
 * Context: worker; read-only once made. */
#ifndef STSGATE_TLS_TLS_CONTEXT_H
#define STSGATE_TLS_TLS_CONTEXT_H

#include "tls/bssl_compat.h"

#include <stdint.h>

struct tls_context {
    SSL_CTX *strict;       /* owned; for a floor of TLS 1.2 or more */
    SSL_CTX *lenient;      /* owned; for a lower floor: clear text would be worse (TLS-021) */
    X509_STORE *roots;     /* owned */
    BIO_METHOD *transport; /* owned */
};

/** The library's context for handshakes with that floor. Borrowed. */
SSL_CTX *tls_context_for_floor(const struct tls_context *ctx, uint16_t floor);

#endif
