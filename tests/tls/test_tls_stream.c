/* tests/tls/test_tls_stream.c: what flows behind the handshake: pieces of any size, the queue and
 * its bounds, the ways a stream ends, and lack of memory. */
#include "tls/tls_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/mem.h>
#include <openssl/ssl.h>

#include "base/requirement.h"
#include "tests/support/library_memory.h"
#include "tests/support/tls_pair.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define MIB (1024u * 1024u)
#define RANDOM32 "0123456789abcdef0123456789abcdef"
#define BYTES(text) text, sizeof(text) - 1

/* TC-TLS-25: the wire gives one octet at a time, both ways. */
static size_t
carry_octet(int from, int to)
{
    char octet;

    if (recv(from, &octet, 1, 0) != 1)
        return 0;
    assert_int_equal(send(to, &octet, 1, MSG_NOSIGNAL), 1);
    return 1;
}

static void
run_by_octets(uint16_t version)
{
    struct tls_peer_spec spec = { .chain = { &tls_world.leaf }, .min = version, .max = version };
    enum result res = RES_AGAIN;
    size_t carried = 0, n = 0;
    char got[64];
    struct tls_pair p;
    int far[2];

    tls_pair_open_raw(&p, &tls_world, TLS_PAIR_HOST, TLS_VERSION_1_2);
    tls_peer_pair(far); /* client - p.fds - here - far - server */
    tls_peer_open(&p.peer, &spec, far[1]);
    for (int i = 0; i < 20000 && !(res == RES_OK && p.peer.done); i++) {
        if (res == RES_AGAIN)
            res = tls_peer_client_step(p.client);
        tls_peer_step(&p.peer);
        carried += carry_octet(p.fds[1], far[0]) + carry_octet(far[0], p.fds[1]);
    }
    assert_int_equal(res, RES_OK);
    assert_true(p.peer.done);
    assert_true(carried > 500);
    tls_pair_peer_says(&p, "250 hello\r\n");
    res = RES_AGAIN;
    for (int i = 0; i < 20000 && res == RES_AGAIN; i++) {
        (void)carry_octet(far[0], p.fds[1]);
        res = tls_client_read(p.client, got, sizeof got, &n);
    }
    assert_int_equal(res, RES_OK);
    assert_int_equal(n, strlen("250 hello\r\n"));
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_int_equal(p.obs->version, version);
    assert_int_equal(p.obs->chain, CHAIN_GOOD);
    close(far[0]);
    close(far[1]);
    tls_pair_close(&p);
}

static void
test_octets_1_3(void **state)
{
    (void)state;
    run_by_octets(TLS_VERSION_1_3);
}

static void
test_octets_1_2(void **state)
{
    (void)state;
    run_by_octets(TLS_VERSION_1_2);
}

static char
pattern(size_t i)
{
    return (char)(i * 31 + i / 251);
}

/* As many chunks as the queue lets in; what is refused is not queued in part. */
static size_t
fill_queue(struct tls_pair *p, size_t sent, size_t total)
{
    static char chunk[40 * 1024];

    while (sent < total) {
        size_t n = total - sent < sizeof chunk ? total - sent : sizeof chunk;
        size_t before = tls_client_queued(p->client);
        enum result res;

        for (size_t i = 0; i < n; i++)
            chunk[i] = pattern(sent + i);
        res = tls_client_write(p->client, span_make(chunk, n));
        if (res == RES_LIMIT) {
            assert_true(before >= TLS_CLIENT_QUEUE_BYTES);
            assert_int_equal(tls_client_queued(p->client), before);
            break;
        }
        assert_int_equal(res, RES_OK);
        assert_true(before < TLS_CLIENT_QUEUE_BYTES);
        sent += n;
    }
    return sent;
}

static size_t
peer_drains(struct tls_pair *p, size_t received)
{
    static char bytes[16 * 1024];
    int n;

    while ((n = SSL_read(p->peer.ssl, bytes, sizeof bytes)) > 0)
        for (int i = 0; i < n; i++, received++)
            if (bytes[i] != pattern(received))
                fail_msg("octet %zu differs", received);
    return received;
}

/* 8 MiB gather in the queue, leave it by sends of any size, and arrive equal. */
static void
test_bulk(void **state)
{
    size_t sent = 0, received = 0, total = 8 * MIB, most = 0;
    enum result res = RES_OK;
    struct tls_pair p;

    (void)state;
    tls_pair_open_connected(&p, &tls_world, TLS_VERSION_1_3);
    for (int i = 0; i < 100000 && received < total; i++) {
        sent = fill_queue(&p, sent, total);
        most = tls_client_queued(p.client) > most ? tls_client_queued(p.client) : most;
        res = tls_client_flush(p.client);
        assert_true(res == RES_OK || res == RES_AGAIN);
        assert_int_equal(res == RES_OK, tls_client_queued(p.client) == 0);
        received = peer_drains(&p, received);
    }
    assert_int_equal(received, total);
    assert_int_equal(res, RES_OK);
    assert_true(most >= TLS_CLIENT_QUEUE_BYTES);
    assert_true(most < TLS_CLIENT_QUEUE_BYTES + 64 * 1024);
    tls_pair_close(&p);
}

static void
test_queue_limit(void **state)
{
    static char big[TLS_CLIENT_QUEUE_BYTES + 1];
    struct tls_pair p;

    (void)state;
    tls_pair_open_connected(&p, &tls_world, TLS_VERSION_1_2);
    assert_int_equal(tls_client_write(p.client, span_make(big, sizeof big)), RES_LIMIT);
    assert_int_equal(tls_client_queued(p.client), 0);
    assert_int_equal(tls_client_write(p.client, span_make(big, sizeof big - 1)), RES_OK);
    assert_int_equal(tls_client_write(p.client, span_of("x")), RES_LIMIT);
    assert_int_equal(tls_client_write(p.client, span_make(NULL, 0)), RES_OK);
    tls_pair_close(&p);
}

/* The longest write behind the fullest queue that lets one in. */
static void
test_queue_extremes(void **state)
{
    static char big[TLS_CLIENT_QUEUE_BYTES];
    struct tls_pair p;

    (void)state;
    tls_pair_open_connected(&p, &tls_world, TLS_VERSION_1_2);
    assert_int_equal(tls_client_write(p.client, span_make(big, sizeof big - 1024)), RES_OK);
    assert_true(tls_client_queued(p.client) < TLS_CLIENT_QUEUE_BYTES);
    assert_int_equal(tls_client_write(p.client, span_make(big, sizeof big)), RES_OK);
    assert_int_equal(tls_client_write(p.client, span_make(big, 1)), RES_LIMIT);
    tls_pair_close(&p);
}

static void
test_pending(void **state)
{
    struct tls_pair p;
    char byte;
    size_t n;

    (void)state;
    tls_pair_open_connected(&p, &tls_world, TLS_VERSION_1_3);
    assert_false(tls_client_has_pending(p.client));
    assert_int_equal(tls_client_read(p.client, &byte, 1, &n), RES_AGAIN); /* tickets go by */
    assert_false(tls_client_has_pending(p.client));
    tls_pair_peer_says(&p, "ab");
    assert_int_equal(tls_client_read(p.client, &byte, 1, &n), RES_OK);
    assert_int_equal(byte, 'a');
    assert_true(tls_client_has_pending(p.client));
    assert_int_equal(tls_client_read(p.client, &byte, 1, &n), RES_OK);
    assert_int_equal(byte, 'b');
    assert_false(tls_client_has_pending(p.client));
    assert_int_equal(tls_client_read(p.client, &byte, 1, &n), RES_AGAIN);
    tls_pair_close(&p);
}

/* The peer asks us for a new key; what follows from us is under it. */
static void
test_key_update(void **state)
{
    struct tls_pair p;

    (void)state;
    tls_pair_open_connected(&p, &tls_world, TLS_VERSION_1_3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(SSL_key_update(p.peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        tls_pair_peer_says(&p, "250 ok\r\n");
        tls_pair_expect_read(&p, "250 ok\r\n");
        tls_pair_client_says(&p, "NOOP\r\n");
        tls_pair_expect_peer_reads(&p, "NOOP\r\n");
    }
    tls_pair_close(&p);
}

/* FAULTS D3: the same within a bulk of which a part waits for the socket. */
static void
test_key_update_in_bulk(void **state)
{
    size_t sent = 0, received = 0, total = 4 * MIB;
    bool asked = false;
    struct tls_pair p;

    (void)state;
    tls_pair_open_connected(&p, &tls_world, TLS_VERSION_1_3);
    for (int i = 0; i < 100000 && received < total; i++) {
        enum result res;

        sent = fill_queue(&p, sent, total);
        res = tls_client_flush(p.client);
        assert_true(res == RES_OK || res == RES_AGAIN);
        if (res == RES_AGAIN && !asked) {
            assert_int_equal(SSL_key_update(p.peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
            tls_pair_peer_says(&p, "250 ok\r\n");
            tls_pair_expect_read(&p, "250 ok\r\n");
            asked = true;
        }
        received = peer_drains(&p, received);
    }
    assert_true(asked);
    assert_int_equal(received, total);
    tls_pair_close(&p);
}

/* TLS-027: close_notify is an end, a cut is not. */
static void
test_close_notify(void **state)
{
    struct tls_pair p;
    char bytes[16];
    size_t n;

    (void)state;
    tls_pair_open_connected(&p, &tls_world, TLS_VERSION_1_3);
    tls_pair_peer_says(&p, "221 bye");
    SSL_shutdown(p.peer.ssl);
    tls_pair_expect_read(&p, "221 bye");
    for (int twice = 0; twice < 2; twice++)
        assert_int_equal(tls_client_read(p.client, bytes, sizeof bytes, &n), RES_DENIED);
    tls_pair_client_says(&p, "QUIT\r\n"); /* our direction is still open */
    tls_pair_expect_peer_reads(&p, "QUIT\r\n");
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_int_equal(p.obs->stage, TLS_STAGE_DONE);
    tls_pair_close(&p);
}

static void
run_cut(const char *raw, size_t len)
{
    struct tls_pair p;
    char bytes[16];
    size_t n;

    tls_pair_open_connected(&p, &tls_world, TLS_VERSION_1_2);
    tls_pair_peer_says(&p, "25");
    assert_int_equal(send(p.fds[1], raw, len, MSG_NOSIGNAL), len);
    tls_pair_close_peer(&p);
    tls_pair_expect_read(&p, "25");
    assert_int_equal(tls_client_read(p.client, bytes, sizeof bytes, &n), RES_TEMPFAIL);
    tls_pair_expect_dead(&p);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_int_equal(p.obs->stage, TLS_STAGE_DONE); /* the handshake was good */
    assert_int_equal(p.obs->failure, TLS_FAILURE_NONE);
    tls_pair_close(&p);
}

static void
test_cut(void **state)
{
    (void)state;
    run_cut("", 0);
}

static void
test_cut_in_record(void **state)
{
    (void)state;
    run_cut(BYTES("\x17\x03\x03\x01\x00garbage"));
}

static void
test_forged_record(void **state)
{
    (void)state;
    run_cut(BYTES("\x17\x03\x03\x00\x20" RANDOM32));
}

/* FAULTS C18: a close right behind the handshake is no failure of TLS. */
static void
test_close_after_handshake(void **state)
{
    struct tls_pair p;
    char byte;
    size_t n;

    (void)state;
    tls_pair_open_connected(&p, &tls_world, TLS_VERSION_1_3);
    tls_pair_close_peer(&p);
    assert_int_equal(tls_client_read(p.client, &byte, 1, &n), RES_TEMPFAIL);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_int_equal(p.obs->stage, TLS_STAGE_DONE);
    tls_pair_close(&p);
}

/* TC-TLS-17: in TLS 1.3 the server's refusal comes after our handshake is done. */
static void
test_alert_after_handshake(void **state)
{
    struct tls_peer_spec spec = { .needs_certificate = true, .min = TLS_VERSION_1_3 };
    struct tls_pair p;
    char byte;
    size_t n;

    (void)state;
    tls_pair_open(&p, &tls_world, &spec, TLS_VERSION_1_2);
    assert_int_equal(tls_pair_shake_hands(&p), RES_OK);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_int_equal(p.obs->stage, TLS_STAGE_DONE);
    assert_int_equal(tls_client_read(p.client, &byte, 1, &n), RES_TEMPFAIL);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_int_equal(p.obs->stage, TLS_STAGE_FAILED);
    assert_int_equal(p.obs->failure, TLS_FAILURE_HANDSHAKE);
    assert_string_equal(p.obs->failure_reason, "tlsv1 alert certificate required");
    assert_int_equal(p.obs->sans.count, 0);
    tls_pair_expect_dead(&p);
    tls_pair_close(&p);
}

/* What the peer said before it closed can be read although nothing can be sent any more. */
static void
test_read_after_failed_send(void **state)
{
    struct tls_pair p;

    (void)state;
    tls_pair_open_connected(&p, &tls_world, TLS_VERSION_1_2);
    tls_pair_peer_says(&p, "421 4.3.2 going down\r\n");
    tls_pair_close_peer(&p);
    assert_int_equal(tls_client_write(p.client, span_of("NOOP\r\n")), RES_OK);
    assert_int_equal(tls_client_flush(p.client), RES_TEMPFAIL);
    assert_int_equal(tls_client_write(p.client, span_of("x")), RES_TEMPFAIL);
    tls_pair_expect_read(&p, "421 4.3.2 going down\r\n");
    tls_pair_close(&p);
}

static void
test_our_close(void **state)
{
    struct tls_pair p;
    char byte;
    int ret;

    (void)state;
    tls_pair_open_connected(&p, &tls_world, TLS_VERSION_1_3);
    assert_int_equal(tls_client_write(p.client, span_of("QUIT\r\n")), RES_OK);
    tls_client_close(p.client); /* and the queue goes before it */
    tls_pair_expect_peer_reads(&p, "QUIT\r\n");
    ret = SSL_read(p.peer.ssl, &byte, 1);
    assert_int_equal(SSL_get_error(p.peer.ssl, ret), SSL_ERROR_ZERO_RETURN);
    tls_pair_expect_dead(&p);
    tls_client_close(p.client);
    tls_pair_close(&p);
}

/* ---- lack of memory ---- */

static void
skip_if_library_is_counted(void)
{
    if (library_memory_is_counted())
        skip();
}

static void
test_no_memory_new(void **state)
{
    struct tls_client *client = NULL;
    unsigned n = 0;

    (void)state;
    skip_if_library_is_counted();
    for (bool happened = true; happened && n < 50; n++) {
        enum result res;

        alloc_fail_after(n);
        res = tls_client_new(tls_world.ctx, 0, TLS_PAIR_HOST, TLS_VERSION_1_2, &client);
        happened = alloc_fail_happened();
        assert_int_equal(res, happened ? RES_NOMEM : RES_OK);
        assert_int_equal(client != NULL, !happened);
        tls_client_free(client);
    }
    assert_true(n > 1 && n < 50);
}

static void
test_no_memory_context(void **state)
{
    unsigned n = 0;

    (void)state;
    skip_if_library_is_counted();
    for (bool happened = true; happened && n < 50; n++) {
        struct tls_context *ctx;
        const char *error;
        enum result res;

        alloc_fail_after(n);
        res = tls_context_new(tls_world.ca_file, &ctx, &error);
        happened = alloc_fail_happened();
        assert_int_equal(res, happened ? RES_NOMEM : RES_OK);
        assert_int_equal(error != NULL, happened);
        tls_context_free(ctx);
    }
    assert_true(n > 1 && n < 50);
}

static void
test_no_memory_observe(void **state)
{
    unsigned n = 0;
    struct tls_pair p;

    (void)state;
    skip_if_library_is_counted();
    tls_pair_open_connected(&p, &tls_world, TLS_VERSION_1_3);
    for (bool happened = true; happened && n < 50; n++) {
        enum result res;

        alloc_fail_after(n);
        res = tls_client_observe(p.client, CERTS_NOW, p.obs);
        happened = alloc_fail_happened();
        if (res != RES_OK) { /* but a chain that finds no place in the cache is good as well */
            assert_true(happened);
            assert_int_equal(res, RES_NOMEM);
        }
        assert_int_equal(p.obs->chain, res == RES_OK ? CHAIN_GOOD : CHAIN_UNTRUSTED);
    }
    assert_true(n > 1 && n < 50);
    tls_pair_close(&p);
}

/* A write that finds no memory leaves the stream whole. */
static void
test_no_memory_write(void **state)
{
    unsigned n = 0;
    struct tls_pair p;

    (void)state;
    skip_if_library_is_counted();
    tls_pair_open_connected(&p, &tls_world, TLS_VERSION_1_3);
    for (bool happened = true; happened && n < 50; n++) {
        enum result res;

        alloc_fail_after(n);
        res = tls_client_write(p.client, span_of("EHLO c\r\n"));
        happened = alloc_fail_happened();
        assert_int_equal(res, happened ? RES_NOMEM : RES_OK);
    }
    assert_true(n > 1 && n < 50);
    assert_int_equal(tls_client_flush(p.client), RES_OK);
    tls_pair_expect_peer_reads(&p, "EHLO c\r\n");
    tls_pair_close(&p);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_octets_1_3),
        cmocka_unit_test(test_octets_1_2),
        cmocka_unit_test(test_bulk),
        cmocka_unit_test(test_queue_limit),
        cmocka_unit_test(test_queue_extremes),
        cmocka_unit_test(test_pending),
        cmocka_unit_test(test_key_update),
        cmocka_unit_test(test_key_update_in_bulk),
        cmocka_unit_test(test_close_notify),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_cut_in_record),
        cmocka_unit_test(test_forged_record),
        cmocka_unit_test(test_close_after_handshake),
        cmocka_unit_test(test_alert_after_handshake),
        cmocka_unit_test(test_read_after_failed_send),
        cmocka_unit_test(test_our_close),
        cmocka_unit_test(test_no_memory_new),
        cmocka_unit_test(test_no_memory_context),
        cmocka_unit_test(test_no_memory_observe),
        cmocka_unit_test(test_no_memory_write),
    };

    return cmocka_run_group_tests_name("tls_stream", tests, tls_world_setup, tls_world_teardown);
}
