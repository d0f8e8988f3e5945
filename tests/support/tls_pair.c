#include "tests/support/tls_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include "base/requirement.h"

struct tls_world tls_world;

bool
tls_world_make(struct tls_world *world)
{
    static const struct cert_spec root = { .cn = "Root", .ca = true };
    static const struct cert_spec leaf = { .cn = TLS_PAIR_HOST, .sans = TLS_PAIR_HOST };
    static const struct cert_spec rsa_leaf = { .sans = TLS_PAIR_HOST, .key = CERT_KEY_RSA2048 };
    const struct cert *trusted = &world->root;
    const char *error;
    int fd;

    if (!cert_make(&world->factory, &root, NULL, &world->root) ||
        !cert_make(&world->factory, &leaf, &world->root, &world->leaf) ||
        !cert_make(&world->factory, &rsa_leaf, &world->root, &world->rsa_leaf))
        return false;
    snprintf(world->ca_file, sizeof world->ca_file, "/tmp/stsgate-ca-XXXXXX");
    fd = mkstemp(world->ca_file);
    if (fd < 0)
        return false;
    close(fd);
    certs_write(world->ca_file, &trusted, 1, false);
    return tls_context_new(world->ca_file, &world->ctx, &error) == RES_OK;
}

void
tls_world_clear(struct tls_world *world)
{
    tls_context_free(world->ctx);
    cert_clear(&world->root);
    cert_clear(&world->leaf);
    cert_clear(&world->rsa_leaf);
    cert_factory_clear(&world->factory);
    unlink(world->ca_file);
}

int
tls_world_setup(void **state)
{
    (void)state;
    return tls_world_make(&tls_world) ? 0 : -1;
}

int
tls_world_teardown(void **state)
{
    (void)state;
    tls_world_clear(&tls_world);
    return 0;
}

void
tls_pair_open_raw(struct tls_pair *p, const struct tls_world *world, const char *sni,
                  uint16_t floor)
{
    *p = (struct tls_pair){ .obs = observation_new() };
    assert_non_null(p->obs);
    tls_peer_pair(p->fds);
    assert_int_equal(tls_client_new(world->ctx, p->fds[0], sni, floor, &p->client), RES_OK);
    assert_int_equal(tls_client_queued(p->client), 0);
}

void
tls_pair_open(struct tls_pair *p, const struct tls_world *world, const struct tls_peer_spec *spec,
              uint16_t floor)
{
    struct tls_peer_spec full = *spec;

    if (!full.chain[0])
        full.chain[0] = &world->leaf;
    tls_pair_open_raw(p, world, TLS_PAIR_HOST, floor);
    tls_peer_open(&p->peer, &full, p->fds[1]);
}

void
tls_pair_close_peer(struct tls_pair *p)
{
    if (p->fds[1] >= 0)
        close(p->fds[1]);
    p->fds[1] = -1;
}

void
tls_pair_close(struct tls_pair *p)
{
    observation_unref(p->obs);
    tls_client_free(p->client);
    if (p->peer.ssl)
        tls_peer_close(&p->peer);
    tls_pair_close_peer(p);
    close(p->fds[0]);
}

/* Until the client is done, well or badly, and the peer is, too. */
enum result
tls_pair_shake_hands(struct tls_pair *p)
{
    enum result res = RES_AGAIN;

    for (int i = 0; i < TLS_PAIR_STEPS_MAX; i++) {
        if (res == RES_AGAIN)
            res = tls_peer_client_step(p->client);
        tls_peer_step(&p->peer);
        if (res == RES_TEMPFAIL || (res == RES_OK && (p->peer.done || p->peer.failed)))
            break;
    }
    return res;
}

void
tls_pair_open_connected(struct tls_pair *p, const struct tls_world *world, uint16_t version)
{
    struct tls_peer_spec spec = { .min = version, .max = version };

    tls_pair_open(p, world, &spec, TLS_VERSION_1_2);
    assert_int_equal(tls_pair_shake_hands(p), RES_OK);
    assert_true(p->peer.done);
}

void
tls_pair_peer_says(struct tls_pair *p, const char *text)
{
    assert_int_equal(SSL_write(p->peer.ssl, text, (int)strlen(text)), strlen(text));
}

void
tls_pair_expect_read(struct tls_pair *p, const char *text)
{
    char got[256];
    size_t n;

    assert_int_equal(tls_client_read(p->client, got, sizeof got, &n), RES_OK);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, n);
}

void
tls_pair_expect_peer_reads(struct tls_pair *p, const char *text)
{
    char got[256];

    assert_int_equal(SSL_read(p->peer.ssl, got, sizeof got), strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

void
tls_pair_client_says(struct tls_pair *p, const char *text)
{
    assert_int_equal(tls_client_write(p->client, span_of(text)), RES_OK);
    assert_int_equal(tls_client_flush(p->client), RES_OK);
}

void
tls_pair_expect_dead(struct tls_pair *p)
{
    char byte;
    size_t n;

    assert_int_equal(tls_client_read(p->client, &byte, 1, &n), RES_TEMPFAIL);
    assert_int_equal(n, 0);
    assert_int_equal(tls_client_write(p->client, span_of("x")), RES_TEMPFAIL);
    assert_int_equal(tls_client_flush(p->client), RES_TEMPFAIL);
    assert_false(tls_client_has_pending(p->client));
}
