/* tests/support/tls_pair.h: a tls_client and what is at the other end of its socket pair: a TLS
 * server (tests/support/tls_peer.h), or the test itself with raw bytes. Nothing waits: client and
 * server are moved in turn. What goes wrong fails the cmocka test that runs. */
#ifndef STSGATE_TESTS_SUPPORT_TLS_PAIR_H
#define STSGATE_TESTS_SUPPORT_TLS_PAIR_H

#include "tests/support/tls_peer.h"
#include "tls/tls_client.h"

#define TLS_PAIR_HOST "mx.example.com" /* SNI, and the name in the leaves */
#define TLS_PAIR_STEPS_MAX 64          /* no handshake needs more turns */

/* What the pairs of a test program share; all zero before tls_world_make(). */
struct tls_world {
    struct cert_factory factory;
    struct cert root, leaf, rsa_leaf;
    struct tls_context *ctx; /* trusts root */
    char ca_file[64];
};

bool tls_world_make(struct tls_world *world);
void tls_world_clear(struct tls_world *world);

/** The world of a program that needs nothing besides, and cmocka's group functions for it. */
extern struct tls_world tls_world;
int tls_world_setup(void **state);
int tls_world_teardown(void **state);

struct tls_pair {
    int fds[2]; /* the client's, the peer's */
    struct tls_client *client;
    struct tls_peer peer; /* empty with a raw peer */
    struct observation *obs;
};

/** With a raw peer: the test reads and writes fds[1]. */
void tls_pair_open_raw(struct tls_pair *p, const struct tls_world *world, const char *sni,
                       uint16_t floor);

/** With a server; without a chain in spec it presents world's leaf. */
void tls_pair_open(struct tls_pair *p, const struct tls_world *world,
                   const struct tls_peer_spec *spec, uint16_t floor);

/** With a server of just this version, and the handshake done. */
void tls_pair_open_connected(struct tls_pair *p, const struct tls_world *world, uint16_t version);

void tls_pair_close(struct tls_pair *p);
void tls_pair_close_peer(struct tls_pair *p); /* its socket, without a close_notify */

/** Until the client is done, well or badly, and the server is, too. Returns the client's result. */
enum result tls_pair_shake_hands(struct tls_pair *p);

/** One side writes; the other reads exactly that. */
void tls_pair_peer_says(struct tls_pair *p, const char *text);
void tls_pair_expect_read(struct tls_pair *p, const char *text);
void tls_pair_client_says(struct tls_pair *p, const char *text);
void tls_pair_expect_peer_reads(struct tls_pair *p, const char *text);

/** Nothing can be read or written any more. */
void tls_pair_expect_dead(struct tls_pair *p);

#endif
