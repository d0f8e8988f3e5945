/* tls/tls_context.h: what the clients of a process share; opaque outside tls/ (tls/tls_client.h).
 * Context: worker; settings and roots are read-only once made, the caches belong to its thread. */
#ifndef STSGATE_TLS_TLS_CONTEXT_H
#define STSGATE_TLS_TLS_CONTEXT_H

#include "tls/bssl_compat.h"

#include <stdint.h>

/* TLS 1.2 suites, best first; those of TLS 1.3 are always on. Forward secrecy only, AEAD before
 * CBC: CBC stays because MX hosts without AEAD exist, and a refusal is all a stricter list would
 * give. */
#define TLS_SUITES_FORWARD_SECRET                                                                  \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"                                   \
    "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"                                                 \
    "ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA"

struct chain_cache;
struct ticket_cache;

struct tls_context {
    CRYPTO_BUFFER_POOL *pool;   /* owned: each certificate that peers present, in one copy */
    SSL_CTX *strict;            /* owned; for a floor of TLS 1.2 or more */
    SSL_CTX *lenient;           /* owned; for a lower floor: clear text would be worse (TLS-021) */
    X509_STORE *roots;          /* owned */
    BIO_METHOD *transport;      /* owned */
    struct chain_cache *proven; /* owned; by these roots */
    bool ktls;                  /* tls_context_set_ktls() */
    struct ticket_cache *tickets; /* owned; their chains are judged by these roots */
};

/** The library's callback for each session that a server gives (tls/client_tickets.h). */
int tls_client_take_session(SSL *ssl, SSL_SESSION *session);

/** The library's context for handshakes with that floor. Borrowed. */
SSL_CTX *tls_context_for_floor(const struct tls_context *ctx, uint16_t floor);

/** "FILE: what is wrong", for the out_error of contexts. The text lives until the next call; it is
 * read at start and at reload only. */
const char *tls_file_error(const char *file, const char *what);

#endif
