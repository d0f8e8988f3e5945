#include "tls/tls_stream.h"

#include <openssl/err.h>

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "tls/reason.h"

/* Header, explicit nonce, MAC, padding: below this with every suite on offer. */
#define RECORD_OVERHEAD_BYTES 128u
/* A write is let in below TLS_STREAM_QUEUE_BYTES and may be as long itself, plus overhead. */
#define QUEUE_LIMIT_BYTES (2u * TLS_STREAM_QUEUE_BYTES + 64u * 1024u)

enum result
tls_stream_init(struct tls_stream *s, SSL_CTX *ctx, const BIO_METHOD *method, int fd,
                uint16_t floor)
{
    BIO *bio;

    s->floor = floor;
    transport_init(&s->transport, fd, QUEUE_LIMIT_BYTES);
    s->transport.in_turn = true;
    s->ssl = SSL_new(ctx);
    bio = s->ssl ? transport_bio_new(method, &s->transport) : NULL;
    if (!bio)
        return RES_NOMEM;
    SSL_set_bio(s->ssl, bio, bio);            /* takes it */
    SSL_set_shed_handshake_config(s->ssl, 1); /* an open session needs none of it */
    return SSL_set_min_proto_version(s->ssl, floor) ? RES_OK : RES_NOMEM;
}

void
tls_stream_clear(struct tls_stream *s)
{
    SSL_free(s->ssl);
    s->ssl = NULL;
    bulk_engine_clear(&s->engine);
    transport_clear(&s->transport);
}

/* The library looks for errors of others in its queue of them, which is empty nearly always: to
 * empty it goes through all its places. */
static void
forget_errors(void)
{
    if (ERR_peek_error())
        ERR_clear_error();
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
describe_library_error(struct tls_stream *s, uint32_t error)
{
    const char *text = s->because ? s->because : ERR_reason_error_string(error);

    if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) > SSL_AD_REASON_OFFSET)
        s->alert = ERR_GET_REASON(error) - SSL_AD_REASON_OFFSET;
    reason_copy_error(s->reason, sizeof s->reason, text ? text : "tls library error");
    if (error_is_version(error) || (s->version && s->version < s->floor))
        s->failure = TLS_FAILURE_VERSION;
    else
        s->failure = TLS_FAILURE_HANDSHAKE;
}

static void
describe_socket_error(struct tls_stream *s)
{
    const char *text = NULL;

    if (s->transport.error)
        text = strerrordesc_np(s->transport.error);
    reason_copy_error(s->reason, sizeof s->reason, text ? text : "peer closed the connection");
    s->failure = TLS_FAILURE_HANDSHAKE;
}

/* The connection is over; ssl_error is what SSL_get_error() said. In TLS 1.3 a server's refusal of
 * our handshake arrives after it seemed done, so an alert before any plain text still counts as
 * one; a mere close does not. */
static enum result
fail(struct tls_stream *s, int ssl_error)
{
    bool in_handshake = s->state == TLS_STREAM_HANDSHAKE;
    uint32_t error = take_error();

    if (ssl_error == SSL_ERROR_SSL && error && (in_handshake || !s->has_read))
        describe_library_error(s, error);
    else if (in_handshake)
        describe_socket_error(s);
    s->state = TLS_STREAM_DEAD;
    return RES_TEMPFAIL;
}

static enum result
handshake_step(struct tls_stream *s)
{
    int ret, ssl_error;

    forget_errors();
    transport_allow(&s->transport);
    ret = SSL_do_handshake(s->ssl);
    if (ret == 1) {
        SSL_set_msg_callback(s->ssl, NULL); /* it would be called for every record */
        s->transport.in_turn = false;
        s->state = TLS_STREAM_OPEN;
        s->established = true;
        return RES_OK;
    }
    ssl_error = SSL_get_error(s->ssl, ret);
    return ssl_error == SSL_ERROR_WANT_READ ? RES_AGAIN : fail(s, ssl_error);
}

enum result
tls_stream_handshake(struct tls_stream *s)
{
    enum result res, sent;

    if (s->state != TLS_STREAM_HANDSHAKE)
        return s->state == TLS_STREAM_DEAD ? RES_TEMPFAIL : RES_OK;
    res = handshake_step(s);
    if (res == RES_OK)
        return res;                        /* our last flight goes with what the owner says next */
    sent = transport_flush(&s->transport); /* after a failure: our alert, if it can go */
    if (sent == RES_TEMPFAIL && res == RES_AGAIN)
        res = handshake_step(s); /* the peer may have said why it closed */
    return res == RES_AGAIN && sent == RES_TEMPFAIL ? fail(s, SSL_ERROR_SYSCALL) : res;
}

enum result
tls_stream_read(struct tls_stream *s, char *dst, size_t cap, size_t *out_n)
{
    int ret, ssl_error;

    assert(cap > 0);
    *out_n = 0;
    if (s->state == TLS_STREAM_ENDED)
        return RES_DENIED;
    if (s->state != TLS_STREAM_OPEN)
        return RES_TEMPFAIL;
    forget_errors();
    transport_allow(&s->transport);
    ret = SSL_read(s->ssl, dst, cap < INT_MAX ? (int)cap : INT_MAX);
    if (ret > 0) {
        s->has_read = true;
        *out_n = (size_t)ret;
        return RES_OK;
    }
    ssl_error = SSL_get_error(s->ssl, ret);
    if (ssl_error == SSL_ERROR_WANT_READ)
        return RES_AGAIN;
    if (ssl_error == SSL_ERROR_ZERO_RETURN) {
        s->state = TLS_STREAM_ENDED;
        return RES_DENIED;
    }
    (void)!transport_flush(
        &s->transport); /* our alert, if it can go: its owner may reset what waits */
    return fail(s, ssl_error);
}

static bool
is_writable(const struct tls_stream *s)
{
    return !bulk_engine_is_cut_off(&s->engine) &&
           (s->state == TLS_STREAM_OPEN || s->state == TLS_STREAM_ENDED) && !s->send_failed;
}

/* The memory is taken before anything is encrypted, so that a lack of it breaks nothing. */
static enum result
reserve_queue(struct tls_stream *s, size_t len)
{
    size_t records = len / SSL3_RT_MAX_PLAIN_LENGTH + 2; /* one may be a KeyUpdate we owe */
    char *place;

    return buffer_reserve(&s->transport.queue, len + records * RECORD_OVERHEAD_BYTES, &place);
}

void
tls_stream_use_engines(struct tls_stream *s, bool kernel)
{
    bulk_engine_init(&s->engine, s->ssl, &s->transport, kernel);
}

static enum result
write_by_library(struct tls_stream *s, struct span bytes)
{
    enum result res = reserve_queue(s, bytes.len);
    int ret;

    if (res != RES_OK)
        return res;
    forget_errors();
    ret = SSL_write(s->ssl, bytes.ptr, (int)bytes.len);
    if (ret <= 0 || (size_t)ret != bytes.len)
        return fail(s, SSL_get_error(s->ssl, ret));
    bulk_engine_library_wrote(&s->engine, bytes.len);
    return RES_OK;
}

enum result
tls_stream_write(struct tls_stream *s, struct span bytes)
{
    if (!is_writable(s))
        return RES_TEMPFAIL;
    if (bytes.len == 0)
        return RES_OK;
    if (tls_stream_queued(s) >= TLS_STREAM_QUEUE_BYTES || bytes.len > TLS_STREAM_QUEUE_BYTES)
        return RES_LIMIT;
    bulk_engine_prepare(&s->engine, bytes.len);
    if (bulk_engine_is_library(&s->engine))
        return write_by_library(s, bytes);
    return bulk_engine_write(&s->engine, bytes);
}

enum result
tls_stream_flush(struct tls_stream *s)
{
    enum result res;

    if (!is_writable(s))
        return RES_TEMPFAIL;
    res = transport_flush(&s->transport);
    if (res == RES_TEMPFAIL)
        s->send_failed = true;
    else if (res == RES_OK)
        bulk_engine_queue_is_empty(&s->engine);
    return res;
}

size_t
tls_stream_queued(const struct tls_stream *s)
{
    return buffer_len(&s->transport.queue);
}

bool
tls_stream_has_pending(const struct tls_stream *s)
{
    return s->state == TLS_STREAM_OPEN &&
           (SSL_pending(s->ssl) > 0 || transport_has_read_ahead(&s->transport));
}

static void
close_by_library(struct tls_stream *s)
{
    forget_errors();
    SSL_shutdown(s->ssl);
    forget_errors();
}

void
tls_stream_close(struct tls_stream *s)
{
    if (is_writable(s)) {
        if (bulk_engine_is_library(&s->engine))
            close_by_library(s);
        else
            bulk_engine_close(&s->engine);
        (void)!transport_flush_last(&s->transport); /* what goes goes: the connection is over */
    }
    s->state = TLS_STREAM_DEAD;
}
