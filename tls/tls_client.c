#include "tls/tls_client.h"

#include <openssl/err.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/requirement.h"
#include "tls/chain.h"
#include "tls/reason.h"
#include "tls/server_hello.h"
#include "tls/tls_context.h"
#include "tls/tls_stream.h"

static_assert(TLS_VERSION_1_0 == TLS1_VERSION && TLS_VERSION_1_3 == TLS1_3_VERSION,
              "versions are the octets on the wire, here and in the library");
static_assert(TLS_CLIENT_QUEUE_BYTES == TLS_STREAM_QUEUE_BYTES, "one queue, two names");

struct tls_client {
    const struct tls_context *ctx; /* borrowed */
    struct tls_stream stream;
    char sni[HOSTNAME_MAX + 1];
};

/* The library calls this for each message; it is the only place where the version can be learned of
 * a ServerHello that the library goes on to refuse (TLS-022). */
static void
on_message(int is_write, int version, int type, const void *bytes, size_t len, SSL *ssl, void *arg)
{
    struct tls_client *client = arg;
    uint16_t chosen;

    (void)version, (void)ssl;
    if (is_write || type != SSL3_RT_HANDSHAKE)
        return;
    if (server_hello_version(span_make(bytes, len), &chosen) == RES_OK)
        client->stream.version = chosen;
}

static enum result
set_up_ssl(struct tls_client *client)
{
    SSL *ssl = client->stream.ssl;

    SSL_set_connect_state(ssl);
    SSL_set_msg_callback(ssl, on_message);
    SSL_set_msg_callback_arg(ssl, client);
    return client->sni[0] && !SSL_set_tlsext_host_name(ssl, client->sni) ? RES_NOMEM : RES_OK;
}

static bool
sni_is_valid(struct span sni)
{
    return sni.len == 0 || (hostname_is_valid(sni) && !hostname_is_ip_like(sni));
}

enum result
tls_client_new(struct tls_context *ctx, int fd, const char *sni, uint16_t floor,
               struct tls_client **out)
{
    struct tls_client *client = NULL;
    enum result res = RES_NOMEM;

    assert(floor >= TLS_VERSION_1_0 && floor <= TLS_VERSION_1_3);
    *out = NULL;
    if (!sni_is_valid(span_of(sni)))
        return RES_SYNTAX;
    client = calloc(1, sizeof *client);
    if (!client)
        goto done;
    client->ctx = ctx;
    snprintf(client->sni, sizeof client->sni, "%s", sni);
    res = tls_stream_init(&client->stream, tls_context_for_floor(ctx, floor), ctx->transport, fd,
                          floor);
    if (res == RES_OK)
        res = set_up_ssl(client);
    if (res != RES_OK)
        goto done;
    *out = client;
    client = NULL; /* now the caller's */
done:
    ERR_clear_error();
    tls_client_free(client);
    return res;
}

void
tls_client_free(struct tls_client *client)
{
    if (!client)
        return;
    tls_stream_clear(&client->stream);
    free(client);
}

static void
observe_failure(const struct tls_client *client, struct observation *obs)
{
    obs->stage = TLS_STAGE_FAILED;
    obs->failure = client->stream.failure;
    if (client->stream.failure ==
        TLS_FAILURE_NONE) { /* given up under way: the caller's patience is over */
        obs->failure = TLS_FAILURE_TIMEOUT;
        snprintf(obs->failure_reason, sizeof obs->failure_reason, "handshake timed out");
    } else {
        memcpy(obs->failure_reason, client->stream.reason, sizeof obs->failure_reason);
    }
}

static enum result
observe_success(const struct tls_client *client, int64_t now_s, struct observation *obs)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(client->stream.ssl);
    const char *group = SSL_get_group_name(SSL_get_group_id(client->stream.ssl));
    const STACK_OF(CRYPTO_BUFFER) *certs = SSL_get0_peer_certificates(client->stream.ssl);
    enum result res;

    obs->stage = TLS_STAGE_DONE;
    obs->version = (uint16_t)SSL_version(client->stream.ssl);
    obs->resumed = SSL_session_reused(client->stream.ssl);
    if (cipher)
        reason_copy(obs->cipher, sizeof obs->cipher, SSL_CIPHER_standard_name(cipher));
    if (group)
        reason_copy(obs->group, sizeof obs->group, group);
    res = chain_keep(certs, &obs->certs);
    return res == RES_OK ? chain_observe(client->ctx->roots, certs, now_s, obs) : res;
}

static void
forget(struct observation *obs)
{
    obs->failure = TLS_FAILURE_NONE;
    obs->failure_reason[0] = '\0';
    obs->cipher[0] = obs->group[0] = '\0';
    obs->resumed = false;
    obs->chain = CHAIN_UNTRUSTED;
    obs->chain_error[0] = obs->chain_reason[0] = '\0';
    name_list_clear(&obs->sans);
    memset(obs->leaf_sha256, 0, sizeof obs->leaf_sha256);
    peer_chain_unref(obs->certs);
    obs->certs = NULL;
    obs->dane = (struct dane_facts){ .match = DANE_UNCHECKED };
}

enum result
tls_client_observe(struct tls_client *client, int64_t now_s, struct observation *obs)
{
    forget(obs);
    memcpy(obs->sni, client->sni, sizeof obs->sni);
    obs->floor = client->stream.floor;
    obs->version = client->stream.version;
    if (client->stream.failure != TLS_FAILURE_NONE || !client->stream.established) {
        observe_failure(client, obs);
        return RES_OK;
    }
    return observe_success(client, now_s, obs);
}

enum result
tls_client_handshake(struct tls_client *client)
{
    return tls_stream_handshake(&client->stream);
}

enum result
tls_client_read(struct tls_client *client, char *dst, size_t cap, size_t *out_n)
{
    return tls_stream_read(&client->stream, dst, cap, out_n);
}

enum result
tls_client_write(struct tls_client *client, struct span bytes)
{
    return tls_stream_write(&client->stream, bytes);
}

enum result
tls_client_flush(struct tls_client *client)
{
    return tls_stream_flush(&client->stream);
}

size_t
tls_client_queued(const struct tls_client *client)
{
    return tls_stream_queued(&client->stream);
}

bool
tls_client_has_pending(const struct tls_client *client)
{
    return tls_stream_has_pending(&client->stream);
}

void
tls_client_close(struct tls_client *client)
{
    tls_stream_close(&client->stream);
}
