/* tests/tls/test_ktls.c: the same octets at the peer whether the library or the kernel makes the
 * records, for every suite; what the library must not send; the end; a new key.
 *
 * Skipped where the kernel has no TLS; tests/uml/ runs it in a machine that has. */
#include "tls/ktls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/ssl.h>

#include "base/requirement.h"
#include "tests/support/tls_pair.h"
#include "tls/write_keys.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define SKIPPED 77 /* as ctest is told */
#define STREAM_BYTES (1024u * 1024u + 13u)
#define TURNS_MAX 100000
#define RANDOM32 "0123456789abcdef0123456789abcdef"

static const struct suite_case {
    const char *name;
    uint16_t version;
    const char *suites; /* TLS 1.2 */
    size_t at_once;     /* octets per write */
    const char *engine, *reason;
} cases[] = {
    { "TLS 1.3", TLS_VERSION_1_3, NULL, 40000, "ktls", "" },
    { "TLS 1.3, whole records", TLS_VERSION_1_3, NULL, 65536, "ktls", "" },
    { "TLS 1.3, one octet more than records hold", TLS_VERSION_1_3, NULL, 32769, "ktls", "" },
    { "TLS 1.2 AES-128-GCM", TLS_VERSION_1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", 40000, "ktls", "" },
    { "TLS 1.2 AES-256-GCM", TLS_VERSION_1_2, "ECDHE-ECDSA-AES256-GCM-SHA384", 40000, "ktls", "" },
    { "TLS 1.2 ChaCha20-Poly1305", TLS_VERSION_1_2, "ECDHE-ECDSA-CHACHA20-POLY1305", 40000, "ktls",
      "" },
    { "TLS 1.2 AES-CBC stays with the library", TLS_VERSION_1_2, "ECDHE-ECDSA-AES128-SHA", 40000,
      "library", "suite" },
    { "small writes stay with the library", TLS_VERSION_1_3, NULL, 30000, "library", "small" },
};

static struct tls_world world;

static int
make_world(void **state)
{
    (void)state;
    if (!tls_world_make(&world))
        return -1;
    tls_context_set_ktls(world.ctx, true);
    return 0;
}

static int
free_world(void **state)
{
    (void)state;
    tls_world_clear(&world);
    return 0;
}

/* ---- a pair over TCP: the kernel makes records of no other stream ---- */

static void
tcp_pair(int fds[2])
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

static void
open_pair(struct tls_pair *p, uint16_t version, const char *suites)
{
    struct tls_peer_spec spec = {
        .chain = { &world.leaf }, .min = version, .max = version, .suites = suites
    };

    *p = (struct tls_pair){ .obs = observation_new() };
    assert_non_null(p->obs);
    tcp_pair(p->fds);
    assert_int_equal(
        tls_client_new(world.ctx, p->fds[0], TLS_PAIR_HOST, TLS_VERSION_1_2, &p->client), RES_OK);
    tls_peer_open(&p->peer, &spec, p->fds[1]);
    for (int i = 0; i < TURNS_MAX && !p->peer.done; i++) {
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

static enum result
write_some(struct tls_pair *p, size_t sent, size_t len)
{
    static char bytes[65536];

    assert_true(len <= sizeof bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = octet_at(sent + i);
    return tls_client_write(p->client, span_make(bytes, len));
}

static size_t
peer_reads(struct tls_pair *p, size_t received)
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
static void
stream(struct tls_pair *p, size_t total, size_t at_once)
{
    size_t sent = 0, received = 0;

    for (int i = 0; i < TURNS_MAX && received < total; i++) {
        size_t len = total - sent < at_once ? total - sent : at_once;
        enum result res = write_some(p, sent, len);

        assert_true(res == RES_OK || res == RES_LIMIT);
        sent += res == RES_OK ? len : 0;
        res = tls_client_flush(p->client);
        assert_true(res == RES_OK || res == RES_AGAIN);
        received = peer_reads(p, received);
    }
    assert_int_equal(received, total);
}

static void
expect_engine(const struct tls_pair *p, const char *engine, const char *reason)
{
    const char *why;

    assert_string_equal(tls_client_engine(p->client, &why), engine);
    assert_string_equal(why, reason);
}

static void
expect_end(struct tls_pair *p)
{
    char byte;
    int n;

    tls_client_close(p->client);
    for (int i = 0; i < TURNS_MAX; i++) {
        n = SSL_read(p->peer.ssl, &byte, 1);
        if (SSL_get_error(p->peer.ssl, n) != SSL_ERROR_WANT_READ)
            break;
    }
    assert_int_equal(SSL_get_error(p->peer.ssl, n), SSL_ERROR_ZERO_RETURN);
}

/* A bulk, replies, small commands behind it, close_notify; the library keeps quiet. */
static void
test_stream(void **state)
{
    const struct suite_case *c = *state;
    struct tls_pair p;

    open_pair(&p, c->version, c->suites);
    tls_pair_client_says(&p, "MAIL FROM:<a@b.example>\r\n");
    expect_engine(&p, "library", "small");
    (void)poll(&(struct pollfd){ .fd = p.fds[1], .events = POLLIN }, 1, 10000);
    tls_pair_expect_peer_reads(&p, "MAIL FROM:<a@b.example>\r\n");
    stream(&p, STREAM_BYTES, c->at_once);
    expect_engine(&p, c->engine, c->reason);
    tls_pair_peer_says(&p, "250 2.0.0 ok\r\n");
    tls_pair_expect_read(&p, "250 2.0.0 ok\r\n");
    tls_pair_client_says(&p, "RSET\r\n");
    (void)poll(&(struct pollfd){ .fd = p.fds[1], .events = POLLIN }, 1, 10000);
    tls_pair_expect_peer_reads(&p, "RSET\r\n");
    expect_end(&p);
    assert_int_equal(tls_client_trapped(p.client), 0);
    tls_pair_close(&p);
}

/* A peer that is read only when nothing goes any more: EAGAIN storms and short writes, and nothing
 * is lost or twice there. */
static void
test_slow_peer(void **state)
{
    struct tls_pair p;
    int small = 32768;
    size_t sent = 0, received = 0;
    unsigned full = 0;

    (void)state;
    open_pair(&p, TLS_VERSION_1_3, NULL);
    assert_int_equal(setsockopt(p.fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    assert_int_equal(setsockopt(p.fds[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    for (int i = 0; i < TURNS_MAX && received < STREAM_BYTES; i++) {
        size_t len = STREAM_BYTES - sent < 50001 ? STREAM_BYTES - sent : 50001;
        enum result res = write_some(&p, sent, len);

        sent += res == RES_OK ? len : 0;
        res = tls_client_flush(p.client);
        for (int again = 0; res == RES_AGAIN && again < 20; again++)
            res = tls_client_flush(p.client);
        if (res == RES_OK && sent < STREAM_BYTES)
            continue;
        full += res == RES_AGAIN;
        (void)poll(&(struct pollfd){ .fd = p.fds[1], .events = POLLIN }, 1, 10000);
        received = peer_reads(&p, received);
    }
    assert_int_equal(received, STREAM_BYTES);
    assert_true(full > 3);
    expect_engine(&p, "ktls", "");
    assert_int_equal(tls_client_trapped(p.client), 0);
    tls_pair_close(&p);
}

/* The library's alert about a record that is none would be under a number that the kernel has
 * spent: it is dropped, and the kernel sends the same. */
static void
test_alert(void **state)
{
    static const char forged[] = "\x17\x03\x03\x00\x20" RANDOM32;
    struct tls_pair p;
    char bytes[16];
    size_t n;
    int ret;

    (void)state;
    open_pair(&p, TLS_VERSION_1_3, NULL);
    stream(&p, STREAM_BYTES, 40000);
    assert_int_equal(send(p.fds[1], forged, sizeof forged - 1, 0), sizeof forged - 1);
    (void)poll(&(struct pollfd){ .fd = p.fds[0], .events = POLLIN }, 1, 10000);
    assert_int_equal(tls_client_read(p.client, bytes, sizeof bytes, &n), RES_TEMPFAIL);
    assert_true(tls_client_trapped(p.client) > 0);
    (void)poll(&(struct pollfd){ .fd = p.fds[1], .events = POLLIN }, 1, 10000);
    ERR_clear_error();
    ret = SSL_read(p.peer.ssl, bytes, sizeof bytes);
    assert_int_equal(SSL_get_error(p.peer.ssl, ret), SSL_ERROR_SSL);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    tls_pair_close(&p);
}

/* RFC 8446 4.6.3: no data under the old key. What the peer says is still read; the next connection
 * stays with the library. */
static void
test_key_update(void **state)
{
    struct tls_pair p;

    (void)state;
    open_pair(&p, TLS_VERSION_1_3, NULL);
    stream(&p, STREAM_BYTES, 40000);
    expect_engine(&p, "ktls", "");
    assert_int_equal(SSL_key_update(p.peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    tls_pair_peer_says(&p, "250 2.0.0 ok\r\n");
    (void)poll(&(struct pollfd){ .fd = p.fds[0], .events = POLLIN }, 1, 10000);
    tls_pair_expect_read(&p, "250 2.0.0 ok\r\n");
    assert_int_equal(tls_client_write(p.client, span_of("RSET\r\n")), RES_TEMPFAIL);
    expect_engine(&p, "ktls", "rekey-unsupported");
    assert_int_equal(tls_client_trapped(p.client), 0);
    tls_pair_close(&p);
    open_pair(&p, TLS_VERSION_1_3, NULL);
    stream(&p, STREAM_BYTES, 40000);
    expect_engine(&p, "library", "off");
    tls_pair_close(&p);
    tls_context_set_ktls(world.ctx, true);
}

/* Before the kernel has the key the library answers such a request itself. */
static void
test_key_update_before(void **state)
{
    struct tls_pair p;

    (void)state;
    open_pair(&p, TLS_VERSION_1_3, NULL);
    assert_int_equal(SSL_key_update(p.peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    tls_pair_peer_says(&p, "354 go\r\n");
    (void)poll(&(struct pollfd){ .fd = p.fds[0], .events = POLLIN }, 1, 10000);
    tls_pair_expect_read(&p, "354 go\r\n");
    stream(&p, STREAM_BYTES, 40000);
    expect_engine(&p, "ktls", "");
    expect_end(&p);
    tls_pair_close(&p);
}

/* FAULTS D13: behind the last number that there is the kernel sends nothing more, under whatever
 * key; the stream is broken, and no number is used twice. The library's numbers have 64 bits, too,
 * and cannot be moved. */
static void
test_last_number(void **state)
{
    char text[2 * 16384];
    struct write_keys keys = { .version = TLS1_3_VERSION,
                               .cipher_nid = NID_aes_128_gcm,
                               .key_len = 16,
                               .iv_len = WRITE_KEYS_IV_MAX,
                               .sequence = UINT64_MAX - 1 };
    int fds[2];

    (void)state;
    memset(text, 'x', sizeof text);
    tcp_pair(fds);
    assert_int_equal(ktls_install(fds[0], &keys), RES_OK);
    assert_int_equal(send(fds[0], text, 1, MSG_NOSIGNAL), 1); /* number 2^64 - 2 */
    (void)send(fds[0], text, 1, MSG_NOSIGNAL);                /* 2^64 - 1: some kernels stop here */
    assert_int_equal(send(fds[0], text, 1, MSG_NOSIGNAL), -1);
    assert_int_not_equal(errno, EAGAIN);
    assert_int_equal(ktls_send_record(fds[0], SSL3_RT_ALERT, span_make("\1\0", 2)), RES_TEMPFAIL);
    close(fds[0]);
    close(fds[1]);
}

int
main(void)
{
    struct CMUnitTest tests[ROWS(cases) + 5] = {
        cmocka_unit_test(test_slow_peer),   cmocka_unit_test(test_alert),
        cmocka_unit_test(test_key_update),  cmocka_unit_test(test_key_update_before),
        cmocka_unit_test(test_last_number),
    };

    if (!ktls_is_available()) {
        puts("skipped: this kernel has no TLS (CONFIG_TLS)");
        return SKIPPED;
    }
    for (size_t i = 0; i < ROWS(cases); i++)
        tests[5 + i] = (struct CMUnitTest){ .name = cases[i].name,
                                            .test_func = test_stream,
                                            .initial_state = (void *)(uintptr_t)&cases[i] };
    return cmocka_run_group_tests_name("ktls", tests, make_world, free_world);
}
