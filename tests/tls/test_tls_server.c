/* tests/tls/test_tls_server.c: the server side towards a client: what it is made of, which clients
 * it takes, and that plain text passes both ways (PRX-039, PRX-043). */
#include "tls/tls_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include "base/requirement.h"
#include "tests/support/tls_peer.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define BYTES(text) text, sizeof(text) - 1
#define STEPS_MAX 64
#define PATH_BYTES 80

static struct world {
    char folder[32];
    struct cert_factory factory;
    struct cert leaf, other;
} world;

static const char *
in_folder(char path[PATH_BYTES], const char *name)
{
    snprintf(path, PATH_BYTES, "%s/%s", world.folder, name);
    return path;
}

static int
make_world(void **state)
{
    static const struct cert_spec leaf = { .cn = "gw.example", .sans = "gw.example" };
    const struct cert *one = &world.leaf, *two = &world.other;
    char path[PATH_BYTES];
    FILE *empty;

    (void)state;
    snprintf(world.folder, sizeof world.folder, "/tmp/stsgate-tls-XXXXXX");
    if (!mkdtemp(world.folder) || !cert_make(&world.factory, &leaf, NULL, &world.leaf) ||
        !cert_make(&world.factory, &leaf, NULL, &world.other))
        return -1;
    certs_write(in_folder(path, "both.pem"), &one, 1, true);
    certs_write(in_folder(path, "cert.pem"), &one, 1, false);
    certs_write(in_folder(path, "other.pem"), &two, 1, true);
    empty = fopen(in_folder(path, "empty.pem"), "w");
    return empty ? fclose(empty) : -1;
}

static int
free_world(void **state)
{
    static const char *const names[] = { "both.pem", "cert.pem", "other.pem", "empty.pem" };
    char path[PATH_BYTES];

    (void)state;
    for (size_t i = 0; i < ROWS(names); i++)
        unlink(in_folder(path, names[i]));
    rmdir(world.folder);
    cert_clear(&world.leaf);
    cert_clear(&world.other);
    cert_factory_clear(&world.factory);
    return 0;
}

/* ---- what it is made of ---- */

static struct load_case {
    const char *name, *chain, *key;
    enum result want;
    const char *error; /* ends so */
} loads[] = {
    { "one file for both", "both.pem", "both.pem", RES_OK, NULL },
    { "certificate and key apart", "cert.pem", "both.pem", RES_OK, NULL },
    { "no chain file", "none.pem", "both.pem", RES_SYNTAX, "none.pem: No such file or directory" },
    { "no key file", "cert.pem", "none.pem", RES_SYNTAX, "none.pem: No such file or directory" },
    { "no certificate in it", "empty.pem", "both.pem", RES_SYNTAX,
      "empty.pem: holds no certificate in PEM form" },
    { "no key in it", "cert.pem", "cert.pem", RES_SYNTAX,
      "cert.pem: holds no private key in PEM form without a passphrase" },
    { "the key of another certificate", "cert.pem", "other.pem", RES_SYNTAX,
      "other.pem: is not the key of the first certificate in the chain" },
};

static void
test_load(void **state)
{
    const struct load_case *c = *state;
    char chain[PATH_BYTES], key[PATH_BYTES];
    struct tls_server_context *ctx;
    const char *error;

    assert_int_equal(tls_server_context_new(in_folder(chain, c->chain), in_folder(key, c->key),
                                            TLS_VERSION_1_2, &ctx, &error),
                     c->want);
    assert_int_equal(ctx != NULL, c->want == RES_OK);
    assert_int_equal(error == NULL, c->want == RES_OK);
    if (error)
        assert_string_equal(error + strlen(world.folder) + 1, c->error);
    tls_server_context_free(ctx);
}

/* ---- whom it takes ---- */

struct pair {
    struct tls_server_context *ctx;
    struct tls_server *server;
    SSL_CTX *client_ctx;
    SSL *client;
    int fds[2]; /* the server's, the client's */
};

static void
open_pair(struct pair *p, uint16_t floor, uint16_t client_max)
{
    char path[PATH_BYTES];
    const char *error;

    in_folder(path, "both.pem");
    tls_peer_pair(p->fds);
    assert_int_equal(tls_server_context_new(path, path, floor, &p->ctx, &error), RES_OK);
    assert_int_equal(tls_server_new(p->ctx, p->fds[0], &p->server), RES_OK);
    p->client_ctx = SSL_CTX_new(TLS_method());
    assert_non_null(p->client_ctx);
    assert_true(SSL_CTX_set_min_proto_version(p->client_ctx, TLS1_VERSION));
    assert_true(SSL_CTX_set_max_proto_version(p->client_ctx, client_max));
    p->client = SSL_new(p->client_ctx);
    assert_non_null(p->client);
    assert_true(SSL_set_fd(p->client, p->fds[1]));
    SSL_set_connect_state(p->client);
}

static void
close_pair(struct pair *p)
{
    tls_server_free(p->server);
    tls_server_context_free(p->ctx);
    SSL_free(p->client);
    SSL_CTX_free(p->client_ctx);
    close(p->fds[0]);
    close(p->fds[1]);
}

static enum result
shake_hands(struct pair *p)
{
    enum result res = RES_AGAIN;

    for (int i = 0; i < STEPS_MAX; i++) {
        int done = SSL_do_handshake(p->client);

        if (res == RES_AGAIN)
            res = tls_server_handshake(p->server);
        if ((done == 1 && res == RES_OK) || res == RES_TEMPFAIL)
            break;
    }
    return res;
}

static struct version_case {
    const char *name;
    uint16_t floor, client_max;
    uint16_t want; /* 0: refused */
} versions[] = {
    { "TLS 1.3 is taken", TLS_VERSION_1_2, TLS_VERSION_1_3, TLS_VERSION_1_3 },
    { "TLS 1.2 at the floor is taken", TLS_VERSION_1_2, TLS_VERSION_1_2, TLS_VERSION_1_2 },
    { "TLS 1.1 below the floor is refused", TLS_VERSION_1_2, TLS_VERSION_1_1, 0 },
    { "TLS 1.2 below a floor of 1.3 is refused", TLS_VERSION_1_3, TLS_VERSION_1_2, 0 },
    { "TLS 1.0 is taken where the site permits it", TLS_VERSION_1_0, TLS_VERSION_1_0,
      TLS_VERSION_1_0 },
};

static void
test_version(void **state)
{
    const struct version_case *c = *state;
    struct tls_server_facts facts;
    struct pair p;

    open_pair(&p, c->floor, c->client_max);
    tls_server_facts(p.server, &facts);
    assert_int_equal(facts.version, 0);
    assert_int_equal(shake_hands(&p), c->want ? RES_OK : RES_TEMPFAIL);
    tls_server_facts(p.server, &facts);
    assert_int_equal(facts.version, c->want);
    assert_int_equal(*facts.cipher != '\0', c->want != 0);
    assert_int_equal(*facts.failure != '\0', c->want == 0);
    close_pair(&p);
}

/* REP-062: what is no ClientHello fails, whatever comes behind it. */
static struct garbage_case {
    const char *name, *bytes;
    size_t len;
    bool closes;
} garbage[] = {
    { "SMTP in clear", BYTES("EHLO client.example\r\nMAIL FROM:<a@b.example>\r\n"), false },
    { "a fatal alert", BYTES("\x15\x03\x01\0\x02\x02\x28"), false },
    { "half a ClientHello, then the end", BYTES("\x16\x03\x01\x02"), true },
    { "the end at once", BYTES(""), true },
};

static void
test_garbage(void **state)
{
    const struct garbage_case *c = *state;
    struct tls_server_facts facts;
    enum result res = RES_AGAIN;
    size_t n;
    struct pair p;
    char byte;

    open_pair(&p, TLS_VERSION_1_2, TLS_VERSION_1_3);
    assert_int_equal(send(p.fds[1], c->bytes, c->len, 0), c->len);
    if (c->closes)
        assert_int_equal(shutdown(p.fds[1], SHUT_WR), 0);
    for (int i = 0; i < STEPS_MAX && res == RES_AGAIN; i++)
        res = tls_server_handshake(p.server);
    assert_int_equal(res, RES_TEMPFAIL);
    tls_server_facts(p.server, &facts);
    assert_int_equal(facts.version, 0);
    assert_true(*facts.failure);
    assert_int_equal(tls_server_read(p.server, &byte, 1, &n), RES_TEMPFAIL);
    assert_int_equal(tls_server_write(p.server, span_of("x")), RES_TEMPFAIL);
    close_pair(&p);
}

/* ---- what flows ---- */

static void
test_both_ways(void **state)
{
    char got[64];
    struct pair p;
    size_t n;

    (void)state;
    open_pair(&p, TLS_VERSION_1_2, TLS_VERSION_1_3);
    assert_int_equal(shake_hands(&p), RES_OK);
    assert_int_equal(SSL_write(p.client, "EHLO c\r\n", 8), 8);
    assert_int_equal(tls_server_read(p.server, got, 4, &n), RES_OK);
    assert_int_equal(n, 4);
    assert_true(tls_server_has_pending(p.server));
    assert_int_equal(tls_server_read(p.server, got, sizeof got, &n), RES_OK);
    assert_memory_equal(got, " c\r\n", 4);
    assert_false(tls_server_has_pending(p.server));
    assert_int_equal(tls_server_read(p.server, got, sizeof got, &n), RES_AGAIN);
    assert_int_equal(tls_server_write(p.server, span_of("250 hi\r\n")), RES_OK);
    assert_true(tls_server_queued(p.server) > 0);
    assert_int_equal(tls_server_flush(p.server), RES_OK);
    assert_int_equal(SSL_read(p.client, got, sizeof got), 8);
    assert_memory_equal(got, "250 hi\r\n", 8);
    assert_int_equal(SSL_shutdown(p.client), 0);
    assert_int_equal(tls_server_read(p.server, got, sizeof got, &n), RES_DENIED);
    tls_server_close(p.server);
    assert_int_equal(SSL_read(p.client, got, sizeof got), 0);
    assert_int_equal(SSL_get_error(p.client, 0), SSL_ERROR_ZERO_RETURN);
    close_pair(&p);
}

int
main(void)
{
    struct CMUnitTest tests[ROWS(loads) + ROWS(versions) + ROWS(garbage) + 1];
    size_t n = 0;

    for (size_t i = 0; i < ROWS(loads); i++)
        tests[n++] = (struct CMUnitTest){ loads[i].name, test_load, NULL, NULL, &loads[i] };
    for (size_t i = 0; i < ROWS(versions); i++)
        tests[n++] =
            (struct CMUnitTest){ versions[i].name, test_version, NULL, NULL, &versions[i] };
    for (size_t i = 0; i < ROWS(garbage); i++)
        tests[n++] = (struct CMUnitTest){ garbage[i].name, test_garbage, NULL, NULL, &garbage[i] };
    tests[n++] = (struct CMUnitTest){ "plain text both ways, and the end", test_both_ways, NULL,
                                      NULL, NULL };
    return cmocka_run_group_tests_name("tls_server", tests, make_world, free_world);
}
