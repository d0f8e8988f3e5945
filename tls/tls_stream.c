#include "tls/tls_stream.h"

#include <openssl/err.h>

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "tls/ktls.h"
#include "tls/reason.h"
#include "tls/write_keys.h"

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
    transport_clear(&s->transport);
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

    ERR_clear_error();
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

/* What goes now goes; the connection is over, so the result changes nothing. */
static void
send_last(struct tls_stream *s)
{
    enum result ignored = transport_flush(&s->transport);

    (void)ignored;
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
    ERR_clear_error();
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
    send_last(s); /* our alert */
    return fail(s, ssl_error);
}

/* RFC 8446 4.6.3: before its next data a peer that asks for it gets a KeyUpdate. Kernels of today
 * cannot go on with another key, so the connection is given up; its owner knows why. */
static bool
is_cut_off(const struct tls_stream *s)
{
    return s->engine == TLS_ENGINE_KTLS && s->asks_key_update;
}

static bool
is_writable(const struct tls_stream *s)
{
    return !is_cut_off(s) && (s->state == TLS_STREAM_OPEN || s->state == TLS_STREAM_ENDED) &&
           !s->send_failed;
}

/* The memory is taken before anything is encrypted, so that a lack of it breaks nothing. */
static enum result
reserve_queue(struct tls_stream *s, size_t len)
{
    size_t records = len / SSL3_RT_MAX_PLAIN_LENGTH + 2; /* one may be a KeyUpdate we owe */
    char *place;

    return buffer_reserve(&s->transport.queue, len + records * RECORD_OVERHEAD_BYTES, &place);
}

/* ---- sending by the kernel ---- */

/* What the library reads and what it would answer. */
static void
on_bulk_message(int is_write, int version, int type, const void *bytes, size_t len, SSL *ssl,
                void *arg)
{
    struct tls_stream *s = arg;
    const uint8_t *octets = bytes;

    (void)version, (void)ssl;
    if (!is_write && type == SSL3_RT_HANDSHAKE && len == 5 && octets[0] == SSL3_MT_KEY_UPDATE &&
        octets[4] == SSL_KEY_UPDATE_REQUESTED)
        s->asks_key_update = true;
    if (is_write && type == SSL3_RT_ALERT && s->engine == TLS_ENGINE_KTLS &&
        ktls_send_record(s->transport.fd, SSL3_RT_ALERT, span_make(bytes, len)) != RES_OK)
        s->send_failed = true; /* the peer sees a cut without a reason */
}

/* Behind a write of the library that has gone well it owes the peer nothing; from here on it is
 * watched. */
static void
begin_bulk(struct tls_stream *s)
{
    s->bulk = true;
    s->asks_key_update = false;
    SSL_set_msg_callback(s->ssl, on_bulk_message);
    SSL_set_msg_callback_arg(s->ssl, s);
}

/* The queue is empty, so the kernel's first record is the next one. */
static void
give_to_kernel(struct tls_stream *s)
{
    struct write_keys keys;

    s->bulk = false;
    if (s->asks_key_update)
        return; /* the library has an answer to send first; at the next bulk */
    if (write_keys_take(s->ssl, &keys) != RES_OK) {
        ERR_clear_error();
        s->engine = TLS_ENGINE_LIBRARY_SUITE;
        return;
    }
    if (ktls_install(s->transport.fd, &keys) == RES_OK) {
        s->engine = TLS_ENGINE_KTLS;
        s->transport.trap = true;
        SSL_set_quiet_shutdown(s->ssl, 1);
    } else {
        s->engine = TLS_ENGINE_LIBRARY_KERNEL;
    }
    write_keys_clear(&keys);
}

void
tls_stream_use_kernel(struct tls_stream *s)
{
    s->engine = TLS_ENGINE_LIBRARY_SMALL;
}

/* ---- writing ---- */

static enum result
write_by_library(struct tls_stream *s, struct span bytes)
{
    int ret;

    ERR_clear_error();
    ret = SSL_write(s->ssl, bytes.ptr, (int)bytes.len);
    if (ret <= 0 || (size_t)ret != bytes.len)
        return fail(s, SSL_get_error(s->ssl, ret));
    if (s->engine == TLS_ENGINE_LIBRARY_SMALL && bytes.len >= TLS_STREAM_BULK_BYTES)
        begin_bulk(s);
    return RES_OK;
}

enum result
tls_stream_write(struct tls_stream *s, struct span bytes)
{
    enum result res;

    if (!is_writable(s))
        return RES_TEMPFAIL;
    if (bytes.len == 0)
        return RES_OK;
    if (tls_stream_queued(s) >= TLS_STREAM_QUEUE_BYTES || bytes.len > TLS_STREAM_QUEUE_BYTES)
        return RES_LIMIT;
    res = reserve_queue(s, bytes.len);
    if (res != RES_OK)
        return res;
    if (s->engine == TLS_ENGINE_KTLS)
        return buffer_append(&s->transport.queue, bytes);
    return write_by_library(s, bytes);
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
    else if (res == RES_OK && s->bulk)
        give_to_kernel(s);
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
close_by_kernel(struct tls_stream *s)
{
    static const uint8_t alert[] = { SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY };

    if (transport_flush(&s->transport) != RES_OK ||
        ktls_send_record(s->transport.fd, SSL3_RT_ALERT, span_make(alert, sizeof alert)) != RES_OK)
        s->send_failed = true; /* the peer sees a cut */
}

void
tls_stream_close(struct tls_stream *s)
{
    if (is_writable(s) && s->engine == TLS_ENGINE_KTLS) {
        close_by_kernel(s);
    } else if (is_writable(s)) {
        ERR_clear_error();
        SSL_shutdown(s->ssl);
        send_last(s);
        ERR_clear_error();
    }
    s->state = TLS_STREAM_DEAD;
}
