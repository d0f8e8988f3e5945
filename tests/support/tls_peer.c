#include "tests/support/tls_peer.h"

#include "tls/tls_client.h"

#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void
must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "tls_peer: %s failed\n", what);
    ERR_print_errors_fp(stderr);
    exit(99);
}

static enum ssl_verify_result_t
accept_any(SSL *ssl, uint8_t *out_alert)
{
    (void)ssl, (void)out_alert;
    return ssl_verify_ok;
}

/* TBSCertificate begins with version [0] { INTEGER }, encoded a0 03 02 01 02 for version 3. */
static void
set_version_octet(uint8_t *der, size_t len, int octet)
{
    static const uint8_t version[] = { 0xa0, 0x03, 0x02, 0x01, 0x02 };
    uint8_t *at = memmem(der, len < 32 ? len : 32, version, sizeof version);

    must(at != NULL, "version field");
    at[4] = (uint8_t)octet;
}

/* As raw buffers, because the library would not load a leaf that is spoilt on purpose. */
static void
use_chain(SSL_CTX *ctx, const struct tls_peer_spec *spec)
{
    CRYPTO_BUFFER *chain[TLS_PEER_CHAIN_MAX];
    size_t count = 0;

    for (; count < TLS_PEER_CHAIN_MAX && spec->chain[count]; count++) {
        uint8_t *der = NULL;
        int len = i2d_X509(spec->chain[count]->x509, &der);

        must(len > 0, "i2d_X509");
        if (count == 0 && spec->leaf_version_octet)
            set_version_octet(der, (size_t)len, spec->leaf_version_octet);
        chain[count] = CRYPTO_BUFFER_new(der, (size_t)len, NULL);
        must(chain[count] != NULL, "CRYPTO_BUFFER_new");
        OPENSSL_free(der);
    }
    must(SSL_CTX_set_chain_and_key(ctx, chain, count, spec->chain[0]->key, NULL), "chain");
    for (size_t i = 0; i < count; i++)
        CRYPTO_BUFFER_free(chain[i]);
}

void
tls_peer_open(struct tls_peer *peer, const struct tls_peer_spec *spec, int fd)
{
    static const uint16_t sign_prefs[] = {
        SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384,
        SSL_SIGN_ECDSA_SECP521R1_SHA512, SSL_SIGN_ED25519,
        SSL_SIGN_RSA_PSS_RSAE_SHA256,    SSL_SIGN_RSA_PKCS1_SHA256,
    };

    *peer = (struct tls_peer){ .fd = fd, .ctx = SSL_CTX_new(TLS_with_buffers_method()) };
    must(peer->ctx &&
             SSL_CTX_set_min_proto_version(peer->ctx, spec->min ? spec->min : TLS1_VERSION) &&
             SSL_CTX_set_max_proto_version(peer->ctx, spec->max),
         "versions");
    must(SSL_CTX_set_signing_algorithm_prefs(peer->ctx, sign_prefs,
                                             sizeof sign_prefs / sizeof *sign_prefs),
         "signatures");
    must(!spec->suites || SSL_CTX_set_strict_cipher_list(peer->ctx, spec->suites), "suites");
    must(!spec->groups || SSL_CTX_set1_curves_list(peer->ctx, spec->groups), "groups");
    if (spec->asks_certificate || spec->needs_certificate)
        SSL_CTX_set_custom_verify(
            peer->ctx,
            SSL_VERIFY_PEER | (spec->needs_certificate ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
            accept_any);
    if (spec->ticket_key) {
        uint8_t keys[48];

        memset(keys, spec->ticket_key, sizeof keys);
        must(SSL_CTX_set_tlsext_ticket_keys(peer->ctx, keys, sizeof keys) &&
                 SSL_CTX_set_session_id_context(peer->ctx, keys, 1),
             "ticket keys");
    }
    use_chain(peer->ctx, spec);
    peer->ssl = SSL_new(peer->ctx);
    must(peer->ssl && SSL_set_fd(peer->ssl, fd), "SSL_new");
    SSL_set_accept_state(peer->ssl);
}

void
tls_peer_close(struct tls_peer *peer)
{
    SSL_free(peer->ssl);
    SSL_CTX_free(peer->ctx);
    *peer = (struct tls_peer){ 0 };
}

void
tls_peer_step(struct tls_peer *peer)
{
    int ret, error;

    if (peer->done || peer->failed)
        return;
    ERR_clear_error();
    ret = SSL_do_handshake(peer->ssl);
    if (ret == 1) {
        peer->done = true;
        return;
    }
    error = SSL_get_error(peer->ssl, ret);
    peer->failed = error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
    ERR_clear_error();
}

enum result
tls_peer_client_step(struct tls_client *client)
{
    enum result res = tls_client_handshake(client), ignored = RES_OK;

    if (res == RES_OK)
        ignored = tls_client_flush(client); /* a peer that is gone shows in what follows */
    (void)ignored;
    return res;
}

void
tls_peer_pair(int fds[2])
{
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0,
         "socketpair");
}
