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
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/ssl.h>

#include "base/requirement.h"
#include "tests/support/tls_bulk.h"
#include "tls/write_keys.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define SKIPPED 77 /* as ctest is told */
#define STREAM_BYTES (1024u * 1024u + 13u)

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

/* A bulk, replies, small commands behind it, close_notify; the library keeps quiet. */
static void
test_stream(void **state)
{
    const struct suite_case *c = *state;
    struct tls_pair p;

    tls_bulk_open(&p, &world, c->version, c->suites);
    tls_bulk_client_to_peer(&p, "MAIL FROM:<a@b.example>\r\n");
    tls_bulk_expect_engine(&p, "library", "small");
    tls_bulk_stream(&p, STREAM_BYTES, c->at_once);
    tls_bulk_expect_engine(&p, c->engine, c->reason);
    tls_bulk_peer_to_client(&p, "250 2.0.0 ok\r\n");
    tls_bulk_client_to_peer(&p, "RSET\r\n");
    tls_bulk_expect_end(&p);
    assert_int_equal(tls_client_trapped(p.client), 0);
    tls_pair_close(&p);
}

static void
test_slow_peer(void **state)
{
    struct tls_pair p;

    (void)state;
    tls_bulk_open(&p, &world, TLS_VERSION_1_3, NULL);
    tls_bulk_stream_to_slow_peer(&p, STREAM_BYTES, 50001);
    tls_bulk_expect_engine(&p, "ktls", "");
    assert_int_equal(tls_client_trapped(p.client), 0);
    tls_pair_close(&p);
}

/* The library's alert about a record that is none would be under a number that the kernel has
 * spent: it is dropped, and the kernel sends the same. */
static void
test_alert(void **state)
{
    struct tls_pair p;

    (void)state;
    tls_bulk_open(&p, &world, TLS_VERSION_1_3, NULL);
    tls_bulk_stream(&p, STREAM_BYTES, 40000);
    tls_bulk_expect_alert(&p);
    assert_int_equal(tls_client_trapped(p.client), 0);
    tls_pair_close(&p);
}

/* RFC 8446 4.6.3: no data under the old key. What the peer says is still read; the next connection
 * is sealed by us. */
static void
test_key_update(void **state)
{
    struct tls_pair p;

    (void)state;
    tls_bulk_open(&p, &world, TLS_VERSION_1_3, NULL);
    tls_bulk_stream(&p, STREAM_BYTES, 40000);
    tls_bulk_expect_engine(&p, "ktls", "");
    assert_int_equal(SSL_key_update(p.peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    tls_bulk_peer_to_client(&p, "250 2.0.0 ok\r\n");
    assert_int_equal(tls_client_write(p.client, span_of("RSET\r\n")), RES_TEMPFAIL);
    tls_bulk_expect_engine(&p, "ktls", "rekey-unsupported");
    assert_int_equal(tls_client_trapped(p.client), 0);
    tls_pair_close(&p);
    tls_bulk_open(&p, &world, TLS_VERSION_1_3, NULL);
    tls_bulk_stream(&p, STREAM_BYTES, 40000);
    tls_bulk_expect_engine(&p, "seal", "off");
    tls_pair_close(&p);
    tls_context_set_ktls(world.ctx, true);
}

/* Before the kernel has the key the library answers such a request itself. */
static void
test_key_update_before(void **state)
{
    struct tls_pair p;

    (void)state;
    tls_bulk_open(&p, &world, TLS_VERSION_1_3, NULL);
    assert_int_equal(SSL_key_update(p.peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    tls_bulk_peer_to_client(&p, "354 go\r\n");
    tls_bulk_stream(&p, STREAM_BYTES, 40000);
    tls_bulk_expect_engine(&p, "ktls", "");
    tls_bulk_expect_end(&p);
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
    tls_bulk_tcp_pair(fds);
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
