#include "tls/tls_client.h"

#include <openssl/err.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/requirement.h"
#include "tls/chain_cache.h"
#include "tls/client_tickets.h"
#include "tls/reason.h"
#include "tls/server_hello.h"
#include "tls/tls_context.h"
#include "tls/tls_stream.h"

static_assert(TLS_VERSION_1_0 == TLS1_VERSION && TLS_VERSION_1_3 == TLS1_3_VERSION,
              "versions are the octets on the wire, here and in the library");
static_assert(TLS_CLIENT_QUEUE_BYTES == TLS_STREAM_QUEUE_BYTES, "one queue, two names");

struct tls_client {
    struct tls_context *ctx; /* borrowed */
    struct tls_stream stream;
    struct client_tickets tickets;
    char alert[sizeof((struct observation *)0)->alert]; /* the one that we sent */
    char sni[HOSTNAME_MAX + 1];
};

/* Two octets: level and number. Before there is a ServerHello these two numbers are how a server
 * says that no suite, or no group or signature, is common to both; which of them it does not say.
 */
static void
note_alert(struct tls_client *client, bool sent, const uint8_t *alert)
{
    if (alert[0] != SSL3_AL_FATAL)
        return;
    if (sent)
        snprintf(client->alert, sizeof client->alert, "sent %s",
                 SSL_alert_desc_string_long(alert[1]));
    else if (!client->stream.version &&
             (alert[1] == SSL_AD_HANDSHAKE_FAILURE || alert[1] == SSL_AD_INSUFFICIENT_SECURITY))
        client->stream.because = "no common cipher suite";
}

/* The library calls this for each message; it is the only place where the version can be learned of
 * a ServerHello that the library goes on to refuse (TLS-022). */
static void
on_message(int is_write, int version, int type, const void *bytes, size_t len, SSL *ssl, void *arg)
{
    struct tls_client *client = arg;
    uint16_t chosen;

    (void)version, (void)ssl;
    if (type == SSL3_RT_ALERT && len == 2)
        note_alert(client, is_write, bytes);
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
    SSL_set_app_data(ssl, client); /* for tls_client_take_session() */
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
    tls_stream_use_engines(&client->stream, ctx->ktls);
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
    client_tickets_clear(&client->tickets);
    free(client);
}

void
tls_client_use_tickets(struct tls_client *client, const struct ip_addr *addr, uint16_t port,
                       bool offer, int64_t now_s)
{
    struct client_tickets *t = &client->tickets;
    struct ticket_key key;

    assert(client->stream.state == TLS_STREAM_HANDSHAKE && !t->cache);
    ticket_key_make(addr, port, client->sni, client->stream.floor, &key);
    client_tickets_init(t, client->ctx->tickets, &key, offer, now_s);
    if (!t->offered.session)
        return;
    if (!SSL_set_session(client->stream.ssl, t->offered.session)) {
        ticket_clear(&t->offered); /* no memory: a full handshake */
        return;
    }
    if (t->offered.group && !bssl_predict_group(client->stream.ssl, t->offered.group))
        ERR_clear_error(); /* no memory: shares as usual */
}

void
tls_client_keep_tickets(struct tls_client *client)
{
    client_tickets_keep(&client->tickets);
}

void
tls_client_drop_tickets(struct tls_client *client)
{
    client_tickets_drop(&client->tickets);
}

int
tls_client_take_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_client *client = SSL_get_app_data(ssl);

    client_tickets_add(&client->tickets, session);
    return 1; /* it is ours now */
}

static void
observe_failure(const struct tls_client *client, struct observation *obs)
{
    obs->stage = TLS_STAGE_FAILED;
    obs->failure = client->stream.failure;
    if (client->stream.alert)
        snprintf(obs->alert, sizeof obs->alert, "received %s",
                 SSL_alert_desc_string_long(client->stream.alert));
    else
        memcpy(obs->alert, client->alert, sizeof obs->alert);
    if (client->stream.failure ==
        TLS_FAILURE_NONE) { /* given up under way: the caller's patience is over */
        obs->failure = TLS_FAILURE_TIMEOUT;
        snprintf(obs->failure_reason, sizeof obs->failure_reason, "handshake timed out");
    } else {
        memcpy(obs->failure_reason, client->stream.reason, sizeof obs->failure_reason);
    }
}

/* What the chain proves at now_s, out of the cache where it has been proven before. */
static enum result
prove_chain(const struct tls_client *client, int64_t now_s, struct observation *obs)
{
    const STACK_OF(CRYPTO_BUFFER) *certs = SSL_get0_peer_certificates(client->stream.ssl);
    struct path_validity valid;
    enum result res = RES_OK;

    if (obs->resumed)
        obs->certs = peer_chain_ref(client->tickets.offered.certs);
    else
        res = chain_keep(certs, &obs->certs);
    if (res != RES_OK)
        return res;
    res = chain_cache_find(client->ctx->proven, now_s, obs);
    if (res != RES_AGAIN)
        return res;
    res = chain_observe(client->ctx->roots, certs, now_s, obs, &valid);
    if (res == RES_OK && certs &&
        obs->certs->count == sk_CRYPTO_BUFFER_num(certs)) /* none is cut */
        chain_cache_add(client->ctx->proven, &valid, now_s, obs);
    return res;
}

static enum result
observe_success(struct tls_client *client, int64_t now_s, struct observation *obs)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(client->stream.ssl);
    const char *group = SSL_get_group_name(SSL_get_group_id(client->stream.ssl));
    enum result res;

    obs->stage = TLS_STAGE_DONE;
    obs->version = (uint16_t)SSL_version(client->stream.ssl);
    obs->resumed = SSL_session_reused(client->stream.ssl);
    if (cipher)
        reason_copy(obs->cipher, sizeof obs->cipher, SSL_CIPHER_standard_name(cipher));
    if (group)
        reason_copy(obs->group, sizeof obs->group, group);
    res = prove_chain(client, now_s, obs);
    if (res == RES_OK)
        client_tickets_set_chain(&client->tickets, obs->certs);
    if (obs->version == TLS_VERSION_1_3)
        client->tickets.group = SSL_get_group_id(client->stream.ssl);
    return res;
}

static void
forget(struct observation *obs)
{
    obs->failure = TLS_FAILURE_NONE;
    obs->failure_reason[0] = '\0';
    obs->cipher[0] = obs->group[0] = '\0';
    obs->alert[0] = '\0';
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
    obs->ticket_offered = client->tickets.offered.session != NULL;
    if (client->stream.failure != TLS_FAILURE_NONE || !client->stream.established) {
        observe_failure(client, obs);
        return RES_OK;
    }
    return observe_success(client, now_s, obs);
}

enum result
tls_client_handshake(struct tls_client *client)
{
    enum result res = tls_stream_handshake(&client->stream);

    if (res == RES_OK && SSL_session_reused(client->stream.ssl))
        client_tickets_resumed(&client->tickets);
    if (res == RES_TEMPFAIL) /* the ticket that was offered may be why */
        client_tickets_drop(&client->tickets);
    return res;
}

static bool
is_cut_off_by_kernel(const struct tls_client *client)
{
    return client->stream.engine.engine == ENGINE_KTLS && client->stream.engine.asks_key_update;
}

enum result
tls_client_read(struct tls_client *client, char *dst, size_t cap, size_t *out_n)
{
    enum result res = tls_stream_read(&client->stream, dst, cap, out_n);

    if (res == RES_TEMPFAIL && tls_client_was_refused(client))
        client_tickets_drop(&client->tickets);
    if (is_cut_off_by_kernel(client))
        client->ctx->ktls = false;
    return res;
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

const char *
tls_client_engine(const struct tls_client *client, const char **out_reason)
{
    static const struct {
        const char *name, *reason;
    } engines[] = {
        [ENGINE_LIBRARY] = { "library", "off" },
        [ENGINE_LIBRARY_SMALL] = { "library", "small" },
        [ENGINE_LIBRARY_SUITE] = { "library", "suite" },
        [ENGINE_LIBRARY_MEMORY] = { "library", "memory" },
        [ENGINE_SEAL] = { "seal", "off" },
        [ENGINE_KTLS] = { "ktls", "" },
    };
    const struct bulk_engine *e = &client->stream.engine;

    *out_reason = engines[e->engine].reason;
    if (e->engine == ENGINE_SEAL && e->kernel_refused)
        *out_reason = "kernel";
    if (is_cut_off_by_kernel(client))
        *out_reason = "rekey-unsupported";
    return engines[e->engine].name;
}

size_t
tls_client_trapped(const struct tls_client *client)
{
    return client->stream.transport.trapped;
}

size_t
tls_client_queued(const struct tls_client *client)
{
    return tls_stream_queued(&client->stream);
}

bool
tls_client_was_refused(const struct tls_client *client)
{
    return client->stream.established && client->stream.failure != TLS_FAILURE_NONE;
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
