#include "tls/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
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
ssl_ctx_new(const char *suites, size_t signature_count)
{
    SSL_CTX *ssl_ctx = SSL_CTX_new(TLS_with_buffers_method());

    if (!ssl_ctx)
        return NULL;
    SSL_CTX_set_custom_verify(ssl_ctx, SSL_VERIFY_PEER, accept_any_chain);
    SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_TICKET); /* each verdict needs a chain (TLS-026) */
    if (!SSL_CTX_set_max_proto_version(ssl_ctx, TLS1_3_VERSION) ||
        !SSL_CTX_set_strict_cipher_list(ssl_ctx, suites) ||
        !SSL_CTX_set1_groups_list(ssl_ctx, BSSL_GROUPS) ||
        !SSL_CTX_set_verify_algorithm_prefs(ssl_ctx, signatures, signature_count)) {
        SSL_CTX_free(ssl_ctx);
        return NULL;
    }
    return ssl_ctx;
}

/* False at the end of the file. A block that is no certificate the library can read gives true and
 * NULL: the library has gone past it. */
static bool
next_certificate(BIO *file, X509 **out)
{
    uint32_t error;

    ERR_clear_error();
    *out = PEM_read_bio_X509(file, NULL, NULL, NULL);
    error = ERR_peek_last_error();
    return *out ||
           !(ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE);
}

/* One odd root in a distribution's bundle costs that root, not the start of the program. */
static enum result
read_roots(X509_STORE *roots, BIO *file, unsigned *out_read, unsigned *out_skipped)
{
    X509 *root;

    *out_read = *out_skipped = 0;
    while (next_certificate(file, &root)) {
        int added = root ? X509_STORE_add_cert(roots, root) : 0;

        if (root && !added) {
            X509_free(root);
            return RES_NOMEM;
        }
        X509_free(root);
        *(root ? out_read : out_skipped) += 1;
    }
    return RES_OK;
}

const char *
tls_file_error(const char *file, const char *what)
{
    static char text[ERROR_TEXT_BYTES];

    snprintf(text, sizeof text, "%s: %s", file, what);
    return text;
}

static enum result
load_roots(X509_STORE *roots, const char *ca_file, const char **out_error)
{
    unsigned read = 0, skipped = 0;
    enum result res;
    BIO *file;

    errno = 0;
    file = BIO_new_file(ca_file, "r");
    if (!file) {
        *out_error = tls_file_error(ca_file, errno ? strerror(errno) : "cannot be opened");
        return RES_SYNTAX;
    }
    res = read_roots(roots, file, &read, &skipped);
    BIO_free(file);
    if (res == RES_OK && read == 0) {
        *out_error = tls_file_error(ca_file, "holds no certificate in PEM form");
        res = RES_SYNTAX;
    }
    if (res == RES_OK && skipped > 0) {
        char quoted[ERROR_TEXT_BYTES];

        log_warn("event=ca_file file=%s roots=%u skipped=%u",
                 log_quote(quoted, sizeof quoted, span_of(ca_file)), read, skipped);
    }
    return res;
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
    ctx->strict = ssl_ctx_new(TLS_SUITES_FORWARD_SECRET, SIGNATURES_STRICT);
    ctx->lenient = ssl_ctx_new(TLS_SUITES_FORWARD_SECRET ":" SUITES_STATIC_RSA, SIGNATURES_LENIENT);
    ctx->roots = X509_STORE_new();
    ctx->transport = transport_method_new();
    if (!ctx->strict || !ctx->lenient || !ctx->roots || !ctx->transport)
        goto done;
    res = load_roots(ctx->roots, ca_file, out_error);
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

void
tls_context_free(struct tls_context *ctx)
{
    if (!ctx)
        return;
    SSL_CTX_free(ctx->strict);
    SSL_CTX_free(ctx->lenient);
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
