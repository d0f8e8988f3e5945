/* tests/support/tls_peer.h: a TLS server inside the test program, at the other end of a socket
 * pair. Never blocks: the test moves client and server in turn. */
#ifndef STSGATE_TESTS_SUPPORT_TLS_PEER_H
#define STSGATE_TESTS_SUPPORT_TLS_PEER_H

#include "base/result.h"
#include "tests/support/certs.h"

struct tls_client;

#define TLS_PEER_CHAIN_MAX 4u

struct tls_peer_spec {
    const struct cert *chain[TLS_PEER_CHAIN_MAX]; /* leaf first, NULL ends it */
    uint16_t min, max;                            /* versions; 0: the library's */
    const char *suites;                           /* of TLS 1.2 and below; NULL: the library's */
    const char *groups;                           /* NULL: the library's */
    bool asks_certificate;
    bool needs_certificate;
    uint8_t ticket_key;     /* not 0: peers of the same key take each other's tickets */
    int leaf_version_octet; /* not 0: the version field of the leaf becomes it */
};

struct tls_peer {
    int fd;       /* borrowed */
    SSL_CTX *ctx; /* owned */
    SSL *ssl;     /* owned */
    bool done;    /* the handshake */
    bool failed;
};

void tls_peer_open(struct tls_peer *peer, const struct tls_peer_spec *spec, int fd);
void tls_peer_close(struct tls_peer *peer);

/** Go on with the handshake as far as the bytes there are allow. */
void tls_peer_step(struct tls_peer *peer);

/** tls_client_handshake(), and what is queued at its end is sent, as owners do. */
enum result tls_peer_client_step(struct tls_client *client);

/** A connected pair of non-blocking stream sockets. */
void tls_peer_pair(int fds[2]);

#endif
