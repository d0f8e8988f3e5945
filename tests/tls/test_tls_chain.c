/* tests/tls/test_tls_chain.c: what a presented chain proves (STS-085 ... STS-089, TLS-044), each
 * row a whole handshake with a server that presents it. The handshake itself succeeds in all of
 * them (TLS-043). */
#include "tls/tls_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/digest.h>
#include <openssl/mem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "base/requirement.h"
#include "tests/support/cert_family.h"
#include "tests/support/tls_peer.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define STEPS_MAX 64
#define HOST CERT_HOST
#define LATER CERT_LATER

#define GOOD .chain = CHAIN_GOOD, .error = "X509_V_OK", .reason = "ok"
#define EXPIRED                                                                                    \
    .chain = CHAIN_EXPIRED, .error = "X509_V_ERR_CERT_HAS_EXPIRED",                                \
    .reason = "certificate has expired"
#define UNTRUSTED(code, text) .chain = CHAIN_UNTRUSTED, .error = "X509_V_ERR_" code, .reason = text

static const struct chain_case {
    const char *name;
    enum cert_id presented[TLS_PEER_CHAIN_MAX];
    enum chain_state chain;
    const char *error, *reason;
    const char *sans;  /* joined by commas; NULL: HOST */
    int at_s;          /* time of verification, relative to CERTS_NOW */
    uint16_t max;      /* version of the server; 0: 1.3 */
    int version_octet; /* see tls_peer_spec */
} cases[] = {
    { "TC-TLS-09 good: ECDSA, TLS 1.3", { LEAF, INTER }, GOOD },
    { "TC-TLS-09 good: ECDSA, TLS 1.2", { LEAF, INTER }, GOOD, .max = TLS_VERSION_1_2 },
    { "good: RSA, TLS 1.3", { LEAF_RSA, INTER_RSA }, GOOD },
    { "good: RSA, TLS 1.2", { LEAF_RSA, INTER_RSA }, GOOD, .max = TLS_VERSION_1_2 },
    { "good: P-384", { LEAF_P384, INTER }, GOOD },
    { "good: P-521", { LEAF_P521, INTER }, GOOD },
    { "good: P-521, TLS 1.2", { LEAF_P521, INTER }, GOOD, .max = TLS_VERSION_1_2 },
    { "good: Ed25519", { LEAF_ED25519, INTER }, GOOD },
    { "good: Ed25519, TLS 1.2", { LEAF_ED25519, INTER }, GOOD, .max = TLS_VERSION_1_2 },
    { "good: RSA-PSS signature", { LEAF_PSS, INTER_RSA }, GOOD },
    { "good: issued by the root", { LEAF_BY_ROOT }, GOOD },
    { "good: the root is sent, too", { LEAF, INTER, ROOT }, GOOD },
    { "FAULTS C9 good: others out of order", { LEAF, ROOT, INTER }, GOOD },
    { "FAULTS C9 good: a stranger in between", { LEAF, ROOT_UNKNOWN, INTER }, GOOD },
    { "FAULTS C9 good: cross-certificate under an expired root",
      { LEAF, INTER, CROSS, ROOT_EXPIRED },
      GOOD },
    { "good: path length 0, one CA", { LEAF_LIMITED, INTER_LIMITED }, GOOD },
    { "good: within the name constraints", { LEAF_PERMITTED, INTER_PERMITTED }, GOOD },
    { "good: wildcard and upper case, as they stand",
      { LEAF_WILDCARD, INTER },
      GOOD,
      .sans = "*.example.com,MX2.Example.Com." },
    { "good: 1000 names", { LEAF_MANY, INTER }, GOOD, .sans = "(1000)" },
    { "TC-TLS-14 good chain, only a CN: no names", { LEAF_CN, INTER }, GOOD, .sans = "" },
    { "TC-TLS-14 good chain, recipient domain only",
      { LEAF_WRONG_NAME, INTER },
      GOOD,
      .sans = "example.com" },
    { "TC-TLS-16 good chain, IP address only: no names", { LEAF_IP, INTER }, GOOD, .sans = "" },
    { "FAULTS C8 names with NUL are left out",
      { LEAF_NUL, INTER },
      GOOD,
      .sans = "ok.example.com" },
    { "TLS-047 names that are not printable are left out",
      { LEAF_STRANGE, INTER },
      GOOD,
      .sans = "" },
    { "STS-086 good a second before its end", { LEAF_DATED, INTER }, GOOD, .at_s = LATER - 1 },

    { "TC-TLS-12 STS-086 expired by one second",
      { LEAF_DATED, INTER },
      EXPIRED,
      .at_s = LATER + 1 },
    { "TC-TLS-12 leaf expired", { LEAF_EXPIRED, INTER }, EXPIRED },
    { "TC-TLS-12 intermediate expired", { LEAF_INTER_EXPIRED, INTER_EXPIRED }, EXPIRED },
    { "TC-TLS-12 trusted root expired", { LEAF_ROOT_EXPIRED }, EXPIRED },
    { "TC-TLS-12 STS-086 valid in one second",
      { LEAF_EARLY, INTER },
      UNTRUSTED("CERT_NOT_YET_VALID", "certificate is not yet valid") },
    { "TC-TLS-13 self-signed",
      { LEAF_SELF },
      UNTRUSTED("DEPTH_ZERO_SELF_SIGNED_CERT", "self signed certificate") },
    { "TC-TLS-13 self-signed and expired is not merely expired",
      { LEAF_SELF_EXPIRED },
      UNTRUSTED("DEPTH_ZERO_SELF_SIGNED_CERT", "self signed certificate") },
    { "TC-TLS-13 unknown CA, not sent",
      { LEAF_UNKNOWN },
      UNTRUSTED("UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "unable to get local issuer certificate") },
    { "TC-TLS-13 unknown CA, sent",
      { LEAF_UNKNOWN, ROOT_UNKNOWN },
      UNTRUSTED("SELF_SIGNED_CERT_IN_CHAIN", "self signed certificate in certificate chain") },
    { "TC-TLS-13 STS-085 intermediate missing",
      { LEAF },
      UNTRUSTED("UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "unable to get local issuer certificate") },
    { "FAULTS C9 another CA's name and not its key",
      { LEAF_IMPOSTOR, INTER },
      UNTRUSTED("CERT_SIGNATURE_FAILURE", "certificate signature failure") },
    { "TC-TLS-13 path length exceeded",
      { LEAF_BELOW, INTER_BELOW, INTER_LIMITED },
      UNTRUSTED("PATH_LENGTH_EXCEEDED", "path length constraint exceeded") },
    { "FAULTS C10 issued by what is no CA",
      { LEAF_NOT_CA, INTER_NOT_CA },
      UNTRUSTED("INVALID_CA", "invalid CA certificate") },
    { "TC-TLS-13 outside the permitted names",
      { LEAF_NOT_PERMITTED, INTER_PERMITTED },
      UNTRUSTED("PERMITTED_VIOLATION", "permitted subtree violation"),
      .sans = HOST ",mx.example.net" },
    { "TC-TLS-13 inside the excluded names",
      { LEAF_EXCLUDED, INTER_EXCLUDED },
      UNTRUSTED("EXCLUDED_VIOLATION", "excluded subtree violation") },
    { "FAULTS C10 leaf is for clients",
      { LEAF_CLIENT, INTER },
      UNTRUSTED("INVALID_PURPOSE", "unsupported certificate purpose") },
    { "FAULTS C10 intermediate is for clients",
      { LEAF_INTER_CLIENT, INTER_CLIENT },
      UNTRUSTED("INVALID_PURPOSE", "unsupported certificate purpose") },
    { "FAULTS C10 unknown critical extension in the leaf",
      { LEAF_ODD, INTER },
      UNTRUSTED("UNHANDLED_CRITICAL_EXTENSION", "unhandled critical extension") },
    { "FAULTS C10 unknown critical extension in a CA",
      { LEAF_INTER_ODD, INTER_ODD },
      UNTRUSTED("UNHANDLED_CRITICAL_EXTENSION", "unhandled critical extension") },
    { "FAULTS C11 leaf signed with SHA-1",
      { LEAF_SHA1, INTER_RSA },
      UNTRUSTED("CA_MD_TOO_WEAK", "signature digest too weak") },
    { "FAULTS C11 leaf signed with MD5",
      { LEAF_MD5, INTER_RSA },
      UNTRUSTED("CA_MD_TOO_WEAK", "signature digest too weak") },
    { "FAULTS C11 leaf signed with RSA-PSS and SHA-1",
      { LEAF_PSS_SHA1, INTER_RSA },
      UNTRUSTED("CA_MD_TOO_WEAK", "signature digest too weak") },
    { "FAULTS C11 intermediate signed with SHA-1",
      { LEAF_INTER_SHA1, INTER_SHA1 },
      UNTRUSTED("CA_MD_TOO_WEAK", "signature digest too weak") },
    { "FAULTS C11 leaf key of 1024 bits",
      { LEAF_SHORT, INTER },
      UNTRUSTED("EE_KEY_TOO_SMALL", "key too short") },
    { "FAULTS C11 intermediate key of 1024 bits",
      { LEAF_INTER_SHORT, INTER_SHORT },
      UNTRUSTED("CA_KEY_TOO_SMALL", "key too short") },
    { "FAULTS C11 root key of 1024 bits",
      { LEAF_ROOT_SHORT },
      UNTRUSTED("CA_KEY_TOO_SMALL", "key too short") },
    { "TLS-043 a leaf that cannot be read is a fact, too",
      { LEAF, INTER },
      UNTRUSTED("UNSPECIFIED", "no certificate that can be read"),
      .sans = "",
      .version_octet = 9 },
};

static struct world {
    struct cert_family family;
    struct tls_context *ctx;
    char ca_file[64];
} world;

static int
make_world(void **state)
{
    const struct cert *trusted[TRUSTED_END];
    const char *error;
    size_t count = 0;
    int fd;

    (void)state;
    cert_family_make(&world.family);
    for (enum cert_id id = ROOT; id < TRUSTED_END; id++)
        if (world.family.certs[id].x509)
            trusted[count++] = &world.family.certs[id];
    snprintf(world.ca_file, sizeof world.ca_file, "/tmp/stsgate-ca-XXXXXX");
    fd = mkstemp(world.ca_file);
    if (fd < 0)
        return -1;
    close(fd);
    certs_write(world.ca_file, trusted, count, false);
    return tls_context_new(world.ca_file, &world.ctx, &error) == RES_OK ? 0 : -1;
}

static int
free_world(void **state)
{
    (void)state;
    tls_context_free(world.ctx);
    cert_family_clear(&world.family);
    return unlink(world.ca_file);
}

static void
shake_hands(struct tls_client *client, struct tls_peer *peer)
{
    enum result res = RES_AGAIN;

    for (int i = 0; i < STEPS_MAX && (res == RES_AGAIN || !peer->done); i++) {
        if (res == RES_AGAIN)
            res = tls_peer_client_step(client);
        tls_peer_step(peer);
    }
    assert_int_equal(res, RES_OK);
    assert_true(peer->done);
}

static void
check_sans(const struct observation *obs, const char *want)
{
    char joined[512] = "";
    size_t n = 0;

    if (want && strcmp(want, "(1000)") == 0) {
        assert_int_equal(obs->sans.count, 1000);
        assert_string_equal(obs->sans.names[0], HOST);
        assert_string_equal(obs->sans.names[999], "h998.example.com");
        return;
    }
    for (size_t i = 0; i < obs->sans.count; i++)
        n += (size_t)snprintf(joined + n, sizeof joined - n, "%s%s", i ? "," : "",
                              obs->sans.names[i]);
    assert_string_equal(joined, want ? want : HOST);
}

/* The chain is kept as it came, whatever it is worth. */
static void
check_certs(const struct peer_chain *chain, const struct chain_case *c)
{
    size_t count = 0;

    assert_non_null(chain);
    for (; count < TLS_PEER_CHAIN_MAX && c->presented[count]; count++) {
        uint8_t *der = NULL;
        int len = i2d_X509(world.family.certs[c->presented[count]].x509, &der);

        assert_true(count < chain->count);
        assert_int_equal(chain->certs[count].len, len);
        if (count > 0 || !c->version_octet)
            assert_memory_equal(chain->certs[count].ptr, der, (size_t)len);
        if (count > 0 || !c->version_octet) {
            uint8_t digest[SHA256_DIGEST_LENGTH];

            SHA256(der, (size_t)len, digest);
            assert_memory_equal(chain->cert_sha256[count], digest, sizeof digest);
        }
        OPENSSL_free(der);
    }
    assert_int_equal(chain->count, count);
}

static void
test_chain(void **state)
{
    const struct chain_case *c = *state;
    struct tls_peer_spec spec = { .max = c->max, .leaf_version_octet = c->version_octet };
    struct observation *obs;
    struct tls_client *client;
    struct tls_peer peer;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    int fds[2];

    if (!world.family.certs[c->presented[0]].x509)
        skip();
    obs = observation_new();
    assert_non_null(obs);
    for (size_t i = 0; i < TLS_PEER_CHAIN_MAX && c->presented[i]; i++)
        spec.chain[i] = &world.family.certs[c->presented[i]];
    tls_peer_pair(fds);
    tls_peer_open(&peer, &spec, fds[1]);
    assert_int_equal(tls_client_new(world.ctx, fds[0], HOST, TLS_VERSION_1_2, &client), RES_OK);
    shake_hands(client, &peer);
    for (int twice = 0; twice < 2; twice++) { /* a second look gives the same */
        assert_int_equal(tls_client_observe(client, CERTS_NOW + c->at_s, obs), RES_OK);
        assert_int_equal(obs->stage, TLS_STAGE_DONE);
        assert_string_equal(obs->chain_error, c->error);
        assert_string_equal(obs->chain_reason, c->reason);
        assert_int_equal(obs->chain, c->chain);
        check_sans(obs, c->sans);
        check_certs(obs->certs, c);
    }
    if (!c->version_octet) {
        unsigned len;

        assert_true(X509_digest(spec.chain[0]->x509, EVP_sha256(), digest, &len));
        assert_memory_equal(obs->leaf_sha256, digest, sizeof digest);
    }
    observation_unref(obs);
    tls_client_free(client);
    tls_peer_close(&peer);
    close(fds[0]);
    close(fds[1]);
}

/* STS-085: the CA file, and what an operator reads when it is wrong. */
static void
test_ca_file(void **state)
{
    static const struct {
        const char *content; /* NULL: no such file */
        const char *error;
    } rows[] = {
        { NULL, "No such file or directory" },
        { "", "holds no certificate in PEM form" },
        { "hello\n", "holds no certificate in PEM form" },
        { "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
          "holds no certificate in PEM form" },
        { "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
          "holds no certificate in PEM form" },
        { "-----BEGIN CERTIFICATE-----\n", "holds no certificate in PEM form" },
    };
    char path[] = "/tmp/stsgate-ca-XXXXXX", want[256];
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct tls_context *ctx = (struct tls_context *)&rows; /* must become NULL */
        FILE *file = rows[i].content ? fopen(path, "w") : NULL;
        const char *error;

        snprintf(want, sizeof want, "%s: %s", path, rows[i].error);
        if (!rows[i].content)
            assert_int_equal(unlink(path), 0);
        if (file) {
            fputs(rows[i].content, file);
            fclose(file);
        }
        assert_int_equal(tls_context_new(path, &ctx, &error), RES_SYNTAX);
        assert_null(ctx);
        assert_string_equal(error, want);
    }
    unlink(path);
}

/* A root that cannot be read costs itself only. */
static void
test_ca_file_with_odd_root(void **state)
{
    const struct cert *root = &world.family.certs[ROOT];
    char path[] = "/tmp/stsgate-ca-XXXXXX";
    struct tls_context *ctx;
    const char *error;
    int fd = mkstemp(path);
    FILE *file;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    certs_write(path, &root, 1, false);
    file = fopen(path, "a");
    assert_non_null(file);
    fputs("# another\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", file);
    fclose(file);
    assert_int_equal(tls_context_new(path, &ctx, &error), RES_OK);
    assert_null(error);
    tls_context_free(ctx);
    unlink(path);
}

static bool
is_trusted(struct tls_context *ctx, enum cert_id leaf, enum cert_id issuer)
{
    struct tls_peer_spec spec = { .chain = { &world.family.certs[leaf],
                                             &world.family.certs[issuer] } };
    struct observation *obs = observation_new();
    struct tls_client *client;
    struct tls_peer peer;
    bool trusted;
    int fds[2];

    assert_non_null(obs);
    tls_peer_pair(fds);
    tls_peer_open(&peer, &spec, fds[1]);
    assert_int_equal(tls_client_new(ctx, fds[0], HOST, TLS_VERSION_1_2, &client), RES_OK);
    shake_hands(client, &peer);
    assert_int_equal(tls_client_observe(client, CERTS_NOW, obs), RES_OK);
    trusted = obs->chain == CHAIN_GOOD;
    observation_unref(obs);
    tls_client_free(client);
    tls_peer_close(&peer);
    close(fds[0]);
    close(fds[1]);
    return trusted;
}

/* TLS-045: a folder of roots, some under two names as a hashed one has them, with what else lies
 * about in such a folder. */
static void
test_ca_folder(void **state)
{
    static const char *const names[] = { "root.pem",    "5ed36f99.0", "dead.0", "README",
                                         "unknown.crt", ".hidden",    "more" };
    const struct cert *root = &world.family.certs[ROOT],
                      *unknown = &world.family.certs[ROOT_UNKNOWN];
    char folder[] = "/tmp/stsgate-ca-XXXXXX", paths[ROWS(names)][64], want[128];
    struct tls_context *ctx = (struct tls_context *)folder; /* must become NULL */
    const char *error;
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < ROWS(names); i++)
        snprintf(paths[i], sizeof paths[i], "%s/%s", folder, names[i]);
    snprintf(want, sizeof want, "%s: holds no certificate in PEM form", folder);
    assert_int_equal(tls_context_new(folder, &ctx, &error), RES_SYNTAX);
    assert_string_equal(error, want);
    assert_null(ctx);

    certs_write(paths[0], &root, 1, false);
    assert_int_equal(symlink(names[0], paths[1]), 0);
    assert_int_equal(symlink("nowhere", paths[2]), 0);
    file = fopen(paths[3], "w");
    assert_non_null(file);
    fputs("What this folder is for.\n", file);
    fclose(file);
    certs_write(paths[5], &unknown, 1, false);
    assert_int_equal(mkdir(paths[6], 0700), 0);
    assert_int_equal(tls_context_new(folder, &ctx, &error), RES_OK);
    assert_true(is_trusted(ctx, LEAF, INTER));
    assert_false(is_trusted(ctx, LEAF_UNKNOWN, ROOT_UNKNOWN));
    tls_context_free(ctx);

    certs_write(paths[4], &unknown, 1, false); /* a reload sees it */
    assert_int_equal(tls_context_new(folder, &ctx, &error), RES_OK);
    assert_true(is_trusted(ctx, LEAF, INTER));
    assert_true(is_trusted(ctx, LEAF_UNKNOWN, ROOT_UNKNOWN));
    tls_context_free(ctx);
    for (size_t i = 0; i < ROWS(names); i++)
        assert_int_equal(remove(paths[i]), 0);
    assert_int_equal(rmdir(folder), 0);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_ca_folder),
        cmocka_unit_test(test_ca_file),
        cmocka_unit_test(test_ca_file_with_odd_root),
    };
    struct CMUnitTest tests[ROWS(cases) + ROWS(others)] = { 0 };

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = test_chain,
                                        .initial_state = (void *)&cases[i] };
    memcpy(tests + ROWS(cases), others, sizeof others);
    return cmocka_run_group_tests_name("tls_chain", tests, make_world, free_world);
}
