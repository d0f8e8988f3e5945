#include "tls/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <stdio.h>
#include <stdlib.h>

#include "tls/chain_cache.h"
#include "tls/roots.h"
#include "tls/ticket_cache.h"
#include "tls/tls_client.h"
#include "tls/transport.h"

#define ERROR_TEXT_BYTES 512u
#define STRINGIFY(x) #x
#define TEXT_OF(x) STRINGIFY(x)

/* Static RSA, last, and only where the alternative is clear text (TLS-023, RFC 9325 5.2). */
#define SUITES_STATIC_RSA "AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA:AES256-SHA"

/* What the peer may sign the handshake with. SHA-1 comes last in the lenient list and is absent
 * from the strict one (RFC 9155). */
static const uint16_t signatures[] = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ED25519,
    SSL_SIGN_RSA_PSS_RSAE_SHA256,    SSL_SIGN_RSA_PKCS1_SHA256,
    SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA384,
    SSL_SIGN_RSA_PKCS1_SHA384,       SSL_SIGN_ECDSA_SECP521R1_SHA512,
    SSL_SIGN_RSA_PSS_RSAE_SHA512,    SSL_SIGN_RSA_PKCS1_SHA512,
    SSL_SIGN_RSA_PKCS1_SHA1,
};
#define SIGNATURES_LENIENT (sizeof signatures / sizeof signatures[0])
#define SIGNATURES_STRICT (SIGNATURES_LENIENT - 1)

/* Of a Certificate message (FAULTS C5). The field has a tenth of it. */
#define CERTIFICATES_BYTES_MAX (100u * 1024u)

/* The chain is a fact to be judged per recipient, never a reason to abort (TLS-043). */
static enum ssl_verify_result_t
accept_any_chain(SSL *ssl, uint8_t *out_alert)
{
    (void)ssl, (void)out_alert;
    return ssl_verify_ok;
}

/* NULL: no memory. The method "with buffers" keeps crypto/x509 out of the handshake, so that a
 * certificate it cannot read does not end it either. No ALPN, no OCSP request, no client
 * certificate (TLS-028), no renegotiation (TLS-024): BoringSSL's defaults. */
static SSL_CTX *
ssl_ctx_new(CRYPTO_BUFFER_POOL *pool, const char *suites, size_t signature_count)
{
    SSL_CTX *ssl_ctx = SSL_CTX_new(TLS_with_buffers_method());

    if (!ssl_ctx)
        return NULL;
    SSL_CTX_set_custom_verify(ssl_ctx, SSL_VERIFY_PEER, accept_any_chain);
    SSL_CTX_set0_buffer_pool(ssl_ctx, pool);
    SSL_CTX_set_max_cert_list(ssl_ctx, CERTIFICATES_BYTES_MAX);
    /* The library keeps none itself: which may be resumed is told by a verdict (TLS-026). */
    SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ssl_ctx, tls_client_take_session);
    if (!SSL_CTX_set_max_proto_version(ssl_ctx, TLS1_3_VERSION) ||
        !SSL_CTX_set_strict_cipher_list(ssl_ctx, suites) ||
        !SSL_CTX_set1_groups_list(ssl_ctx, BSSL_GROUPS) ||
        !SSL_CTX_set_verify_algorithm_prefs(ssl_ctx, signatures, signature_count)) {
        SSL_CTX_free(ssl_ctx);
        return NULL;
    }
    return ssl_ctx;
}

const char *
tls_file_error(const char *file, const char *what)
{
    static char text[ERROR_TEXT_BYTES];

    snprintf(text, sizeof text, "%s: %s", file, what);
    return text;
}

enum result
tls_context_new(const char *ca_file, struct tls_context **out, const char **out_error)
{
    struct tls_context *ctx = calloc(1, sizeof *ctx);
    enum result res = RES_NOMEM;

    *out = NULL;
    *out_error = "no memory for TLS";
    if (!ctx)
        goto done;
    ctx->pool = CRYPTO_BUFFER_POOL_new();
    ctx->proven = chain_cache_new();
    ctx->tickets = ticket_cache_new();
    if (!ctx->pool || !ctx->proven || !ctx->tickets)
        goto done;
    ctx->strict = ssl_ctx_new(ctx->pool, TLS_SUITES_FORWARD_SECRET, SIGNATURES_STRICT);
    ctx->lenient =
        ssl_ctx_new(ctx->pool, TLS_SUITES_FORWARD_SECRET ":" SUITES_STATIC_RSA, SIGNATURES_LENIENT);
    ctx->roots = X509_STORE_new();
    ctx->transport = transport_method_new();
    if (!ctx->strict || !ctx->lenient || !ctx->roots || !ctx->transport)
        goto done;
    res = roots_load(ctx->roots, ca_file, out_error);
    if (res != RES_OK)
        goto done;
    *out = ctx;
    *out_error = NULL;
    ctx = NULL; /* now the caller's */
done:
    ERR_clear_error();
    tls_context_free(ctx);
    return res;
}

enum result
tls_context_set_post_quantum(struct tls_context *ctx, bool wanted)
{
    const char *groups = wanted ? BSSL_GROUPS : BSSL_GROUPS_CLASSIC;

    return SSL_CTX_set1_groups_list(ctx->strict, groups) &&
                   SSL_CTX_set1_groups_list(ctx->lenient, groups)
               ? RES_OK
               : RES_NOMEM;
}

void
tls_context_set_ktls(struct tls_context *ctx, bool wanted)
{
    ctx->ktls = wanted;
}

void
tls_context_free(struct tls_context *ctx)
{
    if (!ctx)
        return;
    ticket_cache_free(ctx->tickets);
    chain_cache_free(ctx->proven);
    SSL_CTX_free(ctx->strict);
    SSL_CTX_free(ctx->lenient);
    CRYPTO_BUFFER_POOL_free(ctx->pool); /* after all whose certificates it holds */
    X509_STORE_free(ctx->roots);
    BIO_meth_free(ctx->transport);
    free(ctx);
}

SSL_CTX *
tls_context_for_floor(const struct tls_context *ctx, uint16_t floor)
{
    return floor >= TLS1_2_VERSION ? ctx->strict : ctx->lenient;
}

const char *
tls_library(void)
{
    return "BoringSSL (API " TEXT_OF(BORINGSSL_API_VERSION) ")";
}
