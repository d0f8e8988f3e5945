#include "tests/support/tls_bulk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/requirement.h"

#define WAIT_MS 10000
#define SLOW_SOCKET_BYTES 32768
#define RANDOM32 "0123456789abcdef0123456789abcdef"

void
tls_bulk_tcp_pair(int fds[2])
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    (void)connect(fds[0], (struct sockaddr *)&at, len); /* in progress, and then done */
    fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fds[1] >= 0);
    close(listener);
}

void
tls_bulk_open(struct tls_pair *p, const struct tls_world *world, uint16_t version,
              const char *suites)
{
    struct tls_peer_spec spec = {
        .chain = { &world->leaf }, .min = version, .max = version, .suites = suites
    };

    *p = (struct tls_pair){ .obs = observation_new() };
    assert_non_null(p->obs);
    tls_bulk_tcp_pair(p->fds);
    assert_int_equal(
        tls_client_new(world->ctx, p->fds[0], TLS_PAIR_HOST, TLS_VERSION_1_2, &p->client), RES_OK);
    tls_peer_open(&p->peer, &spec, p->fds[1]);
    for (int i = 0; i < TLS_BULK_TURNS_MAX && !p->peer.done; i++) {
        enum result res = tls_peer_client_step(p->client);

        assert_true(res == RES_OK || res == RES_AGAIN);
        tls_peer_step(&p->peer);
    }
    assert_int_equal(tls_client_handshake(p->client), RES_OK);
    assert_true(p->peer.done);
}

static char
octet_at(size_t i)
{
    return (char)(i * 31 + i / 251);
}

enum result
tls_bulk_write(struct tls_pair *p, size_t sent, size_t len)
{
    static char bytes[TLS_BULK_WRITE_MAX];

    assert_true(len <= sizeof bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = octet_at(sent + i);
    return tls_client_write(p->client, span_make(bytes, len));
}

size_t
tls_bulk_peer_reads(struct tls_pair *p, size_t received)
{
    static char bytes[16384];
    int n;

    ERR_clear_error();
    while ((n = SSL_read(p->peer.ssl, bytes, sizeof bytes)) > 0)
        for (int i = 0; i < n; i++, received++)
            if (bytes[i] != octet_at(received))
                fail_msg("octet %zu differs", received);
    assert_int_equal(SSL_get_error(p->peer.ssl, n), SSL_ERROR_WANT_READ);
    return received;
}

/* So many octets in writes of at_once, each sent as far as the socket takes it. */
void
tls_bulk_stream(struct tls_pair *p, size_t total, size_t at_once)
{
    size_t sent = 0, received = 0;

    for (int i = 0; i < TLS_BULK_TURNS_MAX && received < total; i++) {
        size_t len = total - sent < at_once ? total - sent : at_once;
        enum result res = tls_bulk_write(p, sent, len);

        assert_true(res == RES_OK || res == RES_LIMIT);
        sent += res == RES_OK ? len : 0;
        res = tls_client_flush(p->client);
        assert_true(res == RES_OK || res == RES_AGAIN);
        received = tls_bulk_peer_reads(p, received);
    }
    assert_int_equal(received, total);
}

void
tls_bulk_expect_engine(const struct tls_pair *p, const char *engine, const char *reason)
{
    const char *why;

    assert_string_equal(tls_client_engine(p->client, &why), engine);
    assert_string_equal(why, reason);
}

void
tls_bulk_expect_end(struct tls_pair *p)
{
    char byte;
    int n;

    tls_client_close(p->client);
    assert_int_equal(shutdown(p->fds[0], SHUT_WR), 0); /* as its owner does: both leave together */
    for (int i = 0; i < TLS_BULK_TURNS_MAX; i++) {
        n = SSL_read(p->peer.ssl, &byte, 1);
        if (SSL_get_error(p->peer.ssl, n) != SSL_ERROR_WANT_READ)
            break;
    }
    assert_int_equal(SSL_get_error(p->peer.ssl, n), SSL_ERROR_ZERO_RETURN);
}

void
tls_bulk_wait(int fd)
{
    assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, WAIT_MS), 1);
}

void
tls_bulk_client_to_peer(struct tls_pair *p, const char *text)
{
    tls_pair_client_says(p, text);
    tls_bulk_wait(p->fds[1]);
    tls_pair_expect_peer_reads(p, text);
}

void
tls_bulk_peer_to_client(struct tls_pair *p, const char *text)
{
    tls_pair_peer_says(p, text);
    tls_bulk_wait(p->fds[0]);
    tls_pair_expect_read(p, text);
}

void
tls_bulk_stream_to_slow_peer(struct tls_pair *p, size_t total, size_t at_once)
{
    int small = SLOW_SOCKET_BYTES;
    size_t sent = 0, received = 0;
    unsigned full = 0;

    assert_int_equal(setsockopt(p->fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    assert_int_equal(setsockopt(p->fds[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    for (int i = 0; i < TLS_BULK_TURNS_MAX && received < total; i++) {
        size_t len = total - sent < at_once ? total - sent : at_once;
        enum result res = tls_bulk_write(p, sent, len);

        sent += res == RES_OK ? len : 0;
        res = tls_client_flush(p->client);
        for (int again = 0; res == RES_AGAIN && again < 20; again++)
            res = tls_client_flush(p->client);
        if (res == RES_OK && sent < total)
            continue;
        full += res == RES_AGAIN;
        tls_bulk_wait(p->fds[1]);
        received = tls_bulk_peer_reads(p, received);
    }
    assert_int_equal(received, total);
    assert_true(full > 3);
}

/* A connection that breaks is reset by its owner, which takes with it what the kernel still holds.
 */
static void
expect_nothing_held_back(int fd)
{
    int held = -1;

    assert_int_equal(ioctl(fd, SIOCOUTQNSD, &held), 0);
    assert_int_equal(held, 0);
}

void
tls_bulk_expect_alert(struct tls_pair *p)
{
    static const char forged[] = "\x17\x03\x03\x00\x20" RANDOM32;
    char bytes[16];
    size_t n;
    int ret;

    assert_int_equal(send(p->fds[1], forged, sizeof forged - 1, 0), sizeof forged - 1);
    tls_bulk_wait(p->fds[0]);
    assert_int_equal(tls_client_read(p->client, bytes, sizeof bytes, &n), RES_TEMPFAIL);
    expect_nothing_held_back(p->fds[0]);
    tls_bulk_wait(p->fds[1]);
    ERR_clear_error();
    ret = SSL_read(p->peer.ssl, bytes, sizeof bytes);
    assert_int_equal(SSL_get_error(p->peer.ssl, ret), SSL_ERROR_SSL);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    ERR_clear_error();
}
