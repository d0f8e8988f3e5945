#include "tls/tls_server.h"

#include <openssl/err.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/reason.h"
#include "tls/tls_context.h"
#include "tls/tls_stream.h"

static_assert(TLS_SERVER_QUEUE_BYTES == TLS_STREAM_QUEUE_BYTES, "one queue, two names");

struct tls_server_context {
    SSL_CTX *ssl_ctx;      /* owned */
    BIO_METHOD *transport; /* owned */
    uint16_t floor;
};

struct tls_server {
    struct tls_stream stream;
};

static const char *
file_error(const char *file, const char *otherwise)
{
    FILE *probe = fopen(file, "re");
    int saved = errno;

    if (!probe)
        return tls_file_error(file, strerror(saved));
    fclose(probe);
    return tls_file_error(file, otherwise);
}

/* A key with a passphrase would have the library ask for it on the terminal. */
static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf, (void)size, (void)rwflag, (void)arg;
    return 0;
}

/* NULL, or what is wrong. */
static const char *
load_certificate(SSL_CTX *ssl_ctx, const char *chain_file, const char *key_file)
{
    SSL_CTX_set_default_passwd_cb(ssl_ctx, no_passphrase);
    if (!SSL_CTX_use_certificate_chain_file(ssl_ctx, chain_file))
        return file_error(chain_file, "holds no certificate in PEM form");
    if (!SSL_CTX_use_PrivateKey_file(ssl_ctx, key_file, SSL_FILETYPE_PEM) &&
        ERR_GET_REASON(ERR_peek_last_error()) != X509_R_KEY_VALUES_MISMATCH)
        return file_error(key_file, "holds no private key in PEM form without a passphrase");
    if (!SSL_CTX_check_private_key(ssl_ctx))
        return tls_file_error(key_file, "is not the key of the first certificate in the chain");
    return NULL;
}

enum result
tls_server_context_new(const char *chain_file, const char *key_file, uint16_t floor,
                       struct tls_server_context **out, const char **out_error)
{
    struct tls_server_context *ctx = calloc(1, sizeof *ctx);
    enum result res = RES_NOMEM;

    *out = NULL;
    *out_error = "no memory for TLS";
    if (!ctx)
        return RES_NOMEM;
    ctx->floor = floor;
    ctx->ssl_ctx = SSL_CTX_new(TLS_method());
    ctx->transport = transport_method_new();
    if (!ctx->ssl_ctx || !ctx->transport)
        goto done;
    SSL_CTX_set_session_cache_mode(ctx->ssl_ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx->ssl_ctx, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
    if (!SSL_CTX_set_max_proto_version(ctx->ssl_ctx, TLS1_3_VERSION) ||
        !SSL_CTX_set_strict_cipher_list(ctx->ssl_ctx, TLS_SUITES_FORWARD_SECRET) ||
        !SSL_CTX_set1_groups_list(ctx->ssl_ctx, BSSL_GROUPS))
        goto done;
    *out_error = load_certificate(ctx->ssl_ctx, chain_file, key_file);
    if (*out_error) {
        res = RES_SYNTAX;
        goto done;
    }
    res = RES_OK;
    *out = ctx;
    ctx = NULL; /* now the caller's */
done:
    ERR_clear_error();
    tls_server_context_free(ctx);
    return res;
}

void
tls_server_context_free(struct tls_server_context *ctx)
{
    if (!ctx)
        return;
    SSL_CTX_free(ctx->ssl_ctx);
    BIO_meth_free(ctx->transport);
    free(ctx);
}

enum result
tls_server_new(struct tls_server_context *ctx, int fd, struct tls_server **out)
{
    struct tls_server *server = calloc(1, sizeof *server);

    *out = NULL;
    if (!server)
        return RES_NOMEM;
    if (tls_stream_init(&server->stream, ctx->ssl_ctx, ctx->transport, fd, ctx->floor) != RES_OK) {
        ERR_clear_error();
        tls_server_free(server);
        return RES_NOMEM;
    }
    SSL_set_accept_state(server->stream.ssl);
    *out = server;
    return RES_OK;
}

void
tls_server_free(struct tls_server *server)
{
    if (!server)
        return;
    tls_stream_clear(&server->stream);
    free(server);
}

void
tls_server_facts(const struct tls_server *server, struct tls_server_facts *out)
{
    const struct tls_stream *s = &server->stream;
    const SSL_CIPHER *cipher = SSL_get_current_cipher(s->ssl);

    *out = (struct tls_server_facts){ 0 };
    reason_copy(out->failure, sizeof out->failure, s->reason);
    if (!s->established)
        return;
    out->version = (uint16_t)SSL_version(s->ssl);
    if (cipher)
        reason_copy(out->cipher, sizeof out->cipher, SSL_CIPHER_standard_name(cipher));
}

enum result
tls_server_handshake(struct tls_server *server)
{
    return tls_stream_handshake(&server->stream);
}

enum result
tls_server_read(struct tls_server *server, char *dst, size_t cap, size_t *out_n)
{
    return tls_stream_read(&server->stream, dst, cap, out_n);
}

enum result
tls_server_write(struct tls_server *server, struct span bytes)
{
    return tls_stream_write(&server->stream, bytes);
}

enum result
tls_server_flush(struct tls_server *server)
{
    return tls_stream_flush(&server->stream);
}

size_t
tls_server_queued(const struct tls_server *server)
{
    return tls_stream_queued(&server->stream);
}

bool
tls_server_has_pending(const struct tls_server *server)
{
    return tls_stream_has_pending(&server->stream);
}

void
tls_server_close(struct tls_server *server)
{
    tls_stream_close(&server->stream);
}
