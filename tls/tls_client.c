#include "tls/tls_client.h"

#include <openssl/err.h>

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/requirement.h"
#include "tls/chain.h"
#include "tls/reason.h"
#include "tls/server_hello.h"
#include "tls/tls_context.h"
#include "tls/transport.h"

/* Header, explicit nonce, MAC, padding: below this with every suite on offer. */
#define RECORD_OVERHEAD_BYTES 128u
/* A write is let in below TLS_CLIENT_QUEUE_BYTES and may be as long itself, plus overhead. */
#define QUEUE_LIMIT_BYTES (2u * TLS_CLIENT_QUEUE_BYTES + 64u * 1024u)

static_assert(TLS_VERSION_1_0 == TLS1_VERSION && TLS_VERSION_1_3 == TLS1_3_VERSION,
              "versions are the octets on the wire, here and in the library");

enum client_state {
    CLIENT_HANDSHAKE, /* the library wants more of the peer's messages */
    CLIENT_LAST_SEND, /* done, but our last flight is not sent yet */
    CLIENT_OPEN,
    CLIENT_ENDED, /* close_notify received; we may still write */
    CLIENT_DEAD,
};

struct tls_client {
    const struct tls_context *ctx; /* borrowed */
    SSL *ssl;                      /* owned */
    struct transport transport;    /* outlives ssl */
    enum client_state state;
    bool established; /* the handshake is over and was good */
    bool has_read;    /* the peer has sent plain text: the handshake suited it, too */
    bool send_failed; /* but what the peer sent before can still be read */
    enum tls_failure failure;
    char reason[sizeof((struct observation *)0)->failure_reason];
    char sni[HOSTNAME_MAX + 1];
    uint16_t floor;
    uint16_t version; /* of the last ServerHello, 0 before */
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
        client->version = chosen;
}

static enum result
set_up_ssl(struct tls_client *client)
{
    SSL *ssl = client->ssl;
    BIO *bio = transport_bio_new(client->ctx->transport, &client->transport);

    if (!bio)
        return RES_NOMEM;
    SSL_set_bio(ssl, bio, bio); /* takes it */
    SSL_set_connect_state(ssl);
    SSL_set_shed_handshake_config(ssl, 1); /* an open session needs none of it */
    SSL_set_msg_callback(ssl, on_message);
    SSL_set_msg_callback_arg(ssl, client);
    if (!SSL_set_min_proto_version(ssl, client->floor))
        return RES_NOMEM;
    if (client->sni[0] && !SSL_set_tlsext_host_name(ssl, client->sni))
        return RES_NOMEM;
    return RES_OK;
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
    client->floor = floor;
    snprintf(client->sni, sizeof client->sni, "%s", sni);
    transport_init(&client->transport, fd, QUEUE_LIMIT_BYTES);
    client->ssl = SSL_new(tls_context_for_floor(ctx, floor));
    if (!client->ssl)
        goto done;
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
    SSL_free(client->ssl);
    transport_clear(&client->transport);
    free(client);
}

/* Empties the library's queue and gives the error that says most: the peer's alert, which others
 * may follow, else the last one. 0: there is none. */
static uint32_t
take_error(void)
{
    uint32_t error, picked = 0;

    while ((error = ERR_get_error()))
        if (ERR_GET_LIB(picked) != ERR_LIB_SSL || ERR_GET_REASON(picked) < SSL_AD_REASON_OFFSET)
            picked = error;
    return picked;
}

/* Of the library's errors those that mean: no version in common. */
static bool
error_is_version(uint32_t error)
{
    return ERR_GET_LIB(error) == ERR_LIB_SSL &&
           (ERR_GET_REASON(error) == SSL_R_UNSUPPORTED_PROTOCOL ||
            ERR_GET_REASON(error) == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
}

static void
describe_library_error(struct tls_client *client, uint32_t error)
{
    const char *text = ERR_reason_error_string(error);

    reason_copy_error(client->reason, sizeof client->reason, text ? text : "tls library error");
    if (error_is_version(error) || (client->version && client->version < client->floor))
        client->failure = TLS_FAILURE_VERSION;
    else
        client->failure = TLS_FAILURE_HANDSHAKE;
}

static void
describe_socket_error(struct tls_client *client)
{
    const char *text = NULL;

    if (client->transport.error)
        text = strerrordesc_np(client->transport.error);
    reason_copy_error(client->reason, sizeof client->reason,
                      text ? text : "peer closed the connection");
    client->failure = TLS_FAILURE_HANDSHAKE;
}

/* The connection is over; ssl_error is what SSL_get_error() said. In TLS 1.3 a server's refusal of
 * our handshake arrives after it seemed done, so an alert before any plain text still counts as
 * one; a mere close does not. */
static enum result
fail(struct tls_client *client, int ssl_error)
{
    bool in_handshake = client->state == CLIENT_HANDSHAKE || client->state == CLIENT_LAST_SEND;
    uint32_t error = take_error();

    if (ssl_error == SSL_ERROR_SSL && error && (in_handshake || !client->has_read))
        describe_library_error(client, error);
    else if (in_handshake)
        describe_socket_error(client);
    client->state = CLIENT_DEAD;
    return RES_TEMPFAIL;
}

static enum result
handshake_step(struct tls_client *client)
{
    int ret, ssl_error;

    ERR_clear_error();
    transport_allow(&client->transport);
    ret = SSL_do_handshake(client->ssl);
    if (ret == 1) {
        SSL_set_msg_callback(client->ssl, NULL); /* it would be called for every record */
        client->state = CLIENT_LAST_SEND;
        return RES_OK;
    }
    ssl_error = SSL_get_error(client->ssl, ret);
    return ssl_error == SSL_ERROR_WANT_READ ? RES_AGAIN : fail(client, ssl_error);
}

enum result
tls_client_handshake(struct tls_client *client)
{
    enum result res = RES_OK, sent;

    if (client->state == CLIENT_DEAD)
        return RES_TEMPFAIL;
    if (client->state == CLIENT_HANDSHAKE)
        res = handshake_step(client);
    sent = transport_flush(&client->transport); /* after a failure: our alert, if it can go */
    if (sent == RES_TEMPFAIL && res == RES_AGAIN)
        res = handshake_step(client); /* the peer may have said why it closed */
    if (res == RES_TEMPFAIL)
        return res;
    if (sent == RES_TEMPFAIL)
        return fail(client, SSL_ERROR_SYSCALL);
    if (res == RES_OK && sent == RES_OK && client->state == CLIENT_LAST_SEND) {
        client->state = CLIENT_OPEN;
        client->established = true;
    }
    return res == RES_OK ? sent : res;
}

static void
observe_failure(const struct tls_client *client, struct observation *obs)
{
    obs->stage = TLS_STAGE_FAILED;
    obs->failure = client->failure;
    if (client->failure ==
        TLS_FAILURE_NONE) { /* given up under way: the caller's patience is over */
        obs->failure = TLS_FAILURE_TIMEOUT;
        snprintf(obs->failure_reason, sizeof obs->failure_reason, "handshake timed out");
    } else {
        memcpy(obs->failure_reason, client->reason, sizeof obs->failure_reason);
    }
}

static enum result
observe_success(const struct tls_client *client, int64_t now_s, struct observation *obs)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(client->ssl);
    const char *group = SSL_get_group_name(SSL_get_group_id(client->ssl));
    const STACK_OF(CRYPTO_BUFFER) *certs = SSL_get0_peer_certificates(client->ssl);
    enum result res;

    obs->stage = TLS_STAGE_DONE;
    obs->version = (uint16_t)SSL_version(client->ssl);
    obs->resumed = SSL_session_reused(client->ssl);
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
    obs->floor = client->floor;
    obs->version = client->version;
    if (client->failure != TLS_FAILURE_NONE || !client->established) {
        observe_failure(client, obs);
        return RES_OK;
    }
    return observe_success(client, now_s, obs);
}

/* What goes now goes; the connection is over, so the result changes nothing. */
static void
send_last(struct tls_client *client)
{
    enum result ignored = transport_flush(&client->transport);

    (void)ignored;
}

enum result
tls_client_read(struct tls_client *client, char *dst, size_t cap, size_t *out_n)
{
    int ret, ssl_error;

    assert(cap > 0);
    *out_n = 0;
    if (client->state == CLIENT_ENDED)
        return RES_DENIED;
    if (client->state != CLIENT_OPEN)
        return RES_TEMPFAIL;
    ERR_clear_error();
    transport_allow(&client->transport);
    ret = SSL_read(client->ssl, dst, cap < INT_MAX ? (int)cap : INT_MAX);
    if (ret > 0) {
        client->has_read = true;
        *out_n = (size_t)ret;
        return RES_OK;
    }
    ssl_error = SSL_get_error(client->ssl, ret);
    if (ssl_error == SSL_ERROR_WANT_READ)
        return RES_AGAIN;
    if (ssl_error == SSL_ERROR_ZERO_RETURN) {
        client->state = CLIENT_ENDED;
        return RES_DENIED;
    }
    send_last(client); /* our alert */
    return fail(client, ssl_error);
}

static bool
is_writable(const struct tls_client *client)
{
    return (client->state == CLIENT_OPEN || client->state == CLIENT_ENDED) && !client->send_failed;
}

/* The memory is taken before anything is encrypted, so that a lack of it breaks nothing. */
static enum result
reserve_queue(struct tls_client *client, size_t len)
{
    size_t records = len / SSL3_RT_MAX_PLAIN_LENGTH + 2; /* one may be a KeyUpdate we owe */
    char *place;

    return buffer_reserve(&client->transport.queue, len + records * RECORD_OVERHEAD_BYTES, &place);
}

enum result
tls_client_write(struct tls_client *client, struct span bytes)
{
    enum result res;
    int ret;

    if (!is_writable(client))
        return RES_TEMPFAIL;
    if (bytes.len == 0)
        return RES_OK;
    if (tls_client_queued(client) >= TLS_CLIENT_QUEUE_BYTES || bytes.len > TLS_CLIENT_QUEUE_BYTES)
        return RES_LIMIT;
    res = reserve_queue(client, bytes.len);
    if (res != RES_OK)
        return res;
    ERR_clear_error();
    ret = SSL_write(client->ssl, bytes.ptr, (int)bytes.len);
    if (ret > 0 && (size_t)ret == bytes.len)
        return RES_OK;
    return fail(client, SSL_get_error(client->ssl, ret));
}

enum result
tls_client_flush(struct tls_client *client)
{
    enum result res;

    if (!is_writable(client))
        return RES_TEMPFAIL;
    res = transport_flush(&client->transport);
    if (res == RES_TEMPFAIL)
        client->send_failed = true;
    return res;
}

size_t
tls_client_queued(const struct tls_client *client)
{
    return buffer_len(&client->transport.queue);
}

bool
tls_client_has_pending(const struct tls_client *client)
{
    return client->state == CLIENT_OPEN && SSL_pending(client->ssl) > 0;
}

void
tls_client_close(struct tls_client *client)
{
    if (is_writable(client)) {
        ERR_clear_error();
        SSL_shutdown(client->ssl);
        send_last(client);
        ERR_clear_error();
    }
    client->state = CLIENT_DEAD;
}
