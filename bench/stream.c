#include "bench/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef OPENSSL_IS_BORINGSSL
#error "the bench programs measure with OpenSSL 3"
#endif

#define READ_AHEAD_BYTES                                                                           \
    (64u * 1024u) /* several records per recv(): the sink must not be the limit */

/* Of sessions side by side each needs its own: one of TLS 1.3 serves once, and OpenSSL sees to
 * that. */
#define TICKETS_MAX 256u

struct stream_tls {
    SSL_CTX *ctx;
    const char *host; /* client only; borrowed */
    SSL_SESSION
    *tickets[TICKETS_MAX]; /* client with resume: not used yet, the latest last; owned */
    size_t ticket_count;
    bool resume;
};

/* ---- what streams share ---- */

static int
on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct stream_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (tls->ticket_count == TICKETS_MAX)
        return 0;
    tls->tickets[tls->ticket_count++] = session; /* takes it */
    return 1;
}

static bool
set_up_client(struct stream_tls *tls, const struct stream_tls_config *config)
{
    SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, NULL);
    if (config->resume) {
        SSL_CTX_set_session_cache_mode(tls->ctx,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(tls->ctx, on_new_session);
    }
    return SSL_CTX_load_verify_file(tls->ctx, config->ca_file) == 1;
}

static bool
set_up_server(struct stream_tls *tls, const struct stream_tls_config *config)
{
    static const unsigned char id[] = "stsgate-sink";

    if (!config->resume) {
        SSL_CTX_set_options(tls->ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(tls->ctx, 0);
        SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_OFF);
    }
    return SSL_CTX_set_session_id_context(tls->ctx, id, sizeof id) == 1 &&
           SSL_CTX_use_certificate_chain_file(tls->ctx, config->cert_file) == 1 &&
           SSL_CTX_use_PrivateKey_file(tls->ctx, config->key_file, SSL_FILETYPE_PEM) == 1;
}

struct stream_tls *
stream_tls_new(const struct stream_tls_config *config)
{
    struct stream_tls *tls = calloc(1, sizeof *tls);
    bool server = config->cert_file != NULL;

    if (!tls)
        return NULL;
    tls->host = config->host;
    tls->resume = config->resume;
    tls->ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!tls->ctx || SSL_CTX_set_min_proto_version(tls->ctx, TLS1_2_VERSION) != 1 ||
        !(server ? set_up_server(tls, config) : set_up_client(tls, config))) {
        ERR_print_errors_fp(stderr);
        stream_tls_free(tls);
        return NULL;
    }
    SSL_CTX_set_app_data(tls->ctx, tls);
    (void)SSL_CTX_set_max_proto_version(tls->ctx, config->only_1_2 ? TLS1_2_VERSION : 0);
    SSL_CTX_set_mode(tls->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                   SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(tls->ctx, 1);
    SSL_CTX_set_default_read_buffer_len(tls->ctx, READ_AHEAD_BYTES);
    return tls;
}

void
stream_tls_free(struct stream_tls *tls)
{
    if (!tls)
        return;
    while (tls->ticket_count)
        SSL_SESSION_free(tls->tickets[--tls->ticket_count]);
    SSL_CTX_free(tls->ctx);
    free(tls);
}

/* ---- one stream ---- */

void
stream_open(struct stream *s, int fd)
{
    static const int one = 1;

    *s = (struct stream){ .fd = fd };
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

void
stream_close(struct stream *s)
{
    if (s->fd < 0)
        return;
    if (s->ssl && SSL_is_init_finished(s->ssl))
        (void)SSL_shutdown(s->ssl);
    SSL_free(s->ssl);
    ERR_clear_error();
    (void)close(s->fd);
    *s = (struct stream){ .fd = -1 };
}

static void
use_ticket(SSL *ssl, struct stream_tls *tls)
{
    SSL_SESSION *ticket = tls->ticket_count ? tls->tickets[tls->ticket_count - 1] : NULL;

    if (!ticket || SSL_set_session(ssl, ticket) != 1)
        return;
    if (SSL_SESSION_get_protocol_version(ticket) == TLS1_3_VERSION) {
        tls->ticket_count--;
        SSL_SESSION_free(ticket); /* ssl has a reference of its own */
    }
}

enum result
stream_start_tls(struct stream *s, struct stream_tls *tls)
{
    SSL *ssl = SSL_new(tls->ctx);

    if (!ssl || SSL_set_fd(ssl, s->fd) != 1)
        goto failed;
    if (SSL_is_server(ssl)) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
        if (SSL_set_tlsext_host_name(ssl, tls->host) != 1 || SSL_set1_host(ssl, tls->host) != 1)
            goto failed;
        use_ticket(ssl, tls); /* none: a full handshake */
    }
    s->ssl = ssl;
    return RES_OK;
failed:
    SSL_free(ssl);
    return RES_NOMEM;
}

/* What a call of the library that did not succeed means. */
static enum result
outcome(struct stream *s, int ret)
{
    int error = SSL_get_error(s->ssl, ret);

    s->want_write = error == SSL_ERROR_WANT_WRITE;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return RES_AGAIN;
    ERR_clear_error();
    return error == SSL_ERROR_ZERO_RETURN ? RES_DENIED : RES_TEMPFAIL;
}

enum result
stream_handshake(struct stream *s)
{
    int ret = SSL_do_handshake(s->ssl);

    return ret == 1 ? RES_OK : outcome(s, ret);
}

static enum result
outcome_clear(struct stream *s, ssize_t n, bool writing, size_t *out_n)
{
    if (n > 0) {
        *out_n = (size_t)n;
        return RES_OK;
    }
    s->want_write = writing;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return RES_AGAIN;
    return n == 0 ? RES_DENIED : RES_TEMPFAIL;
}

enum result
stream_read(struct stream *s, char *dst, size_t cap, size_t *out_n)
{
    int ret;

    if (!s->ssl)
        return outcome_clear(s, recv(s->fd, dst, cap, 0), false, out_n);
    ret = SSL_read_ex(s->ssl, dst, cap, out_n);
    return ret == 1 ? RES_OK : outcome(s, ret);
}

enum result
stream_write(struct stream *s, const char *src, size_t len, size_t *out_n)
{
    int ret;

    if (!s->ssl)
        return outcome_clear(s, send(s->fd, src, len, MSG_NOSIGNAL), true, out_n);
    ret = SSL_write_ex(s->ssl, src, len, out_n);
    return ret == 1 ? RES_OK : outcome(s, ret);
}

bool
stream_has_pending(const struct stream *s)
{
    return s->ssl && SSL_has_pending(s->ssl);
}

const char *
stream_version(const struct stream *s)
{
    return s->ssl ? SSL_get_version(s->ssl) : "";
}

const char *
stream_cipher(const struct stream *s)
{
    return s->ssl ? SSL_get_cipher_name(s->ssl) : "";
}

bool
stream_is_resumed(const struct stream *s)
{
    return s->ssl && SSL_session_reused(s->ssl);
}
