/* tests/tls/test_seal.c: the same octets at the peer whether the library or we make the records,
 * for every suite and every cut; new keys; what the library must not send; the end. */
#include "tls/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/requirement.h"
#include "tests/support/library_memory.h"
#include "tests/support/tls_bulk.h"
#include "tls/tls_stream.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define STREAM_BYTES (1024u * 1024u + 13u)
#define BULK_BYTES 40000u /* a write that is one */
#define RECORD 16384u

static struct tls_world world;

/* ---- streams ---- */

static const struct stream_case {
    const char *name;
    uint16_t version;
    const char *suites; /* TLS 1.2 */
    size_t at_once;     /* octets per write */
    const char *engine, *reason;
} streams[] = {
    { "TLS 1.3", TLS_VERSION_1_3, NULL, BULK_BYTES, "seal", "off" },
    { "TLS 1.3, whole records", TLS_VERSION_1_3, NULL, 4 * RECORD, "seal", "off" },
    { "TLS 1.3, one octet more than records hold", TLS_VERSION_1_3, NULL, 2 * RECORD + 1, "seal",
      "off" },
    { "TLS 1.3, one octet less", TLS_VERSION_1_3, NULL, 3 * RECORD - 1, "seal", "off" },
    { "TLS 1.3, the longest write", TLS_VERSION_1_3, NULL, TLS_BULK_WRITE_MAX, "seal", "off" },
    { "TLS 1.2 AES-128-GCM", TLS_VERSION_1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", BULK_BYTES, "seal",
      "off" },
    { "TLS 1.2 AES-256-GCM", TLS_VERSION_1_2, "ECDHE-ECDSA-AES256-GCM-SHA384", BULK_BYTES, "seal",
      "off" },
    { "TLS 1.2 ChaCha20-Poly1305", TLS_VERSION_1_2, "ECDHE-ECDSA-CHACHA20-POLY1305", BULK_BYTES,
      "seal", "off" },
    { "TLS 1.2, the longest write", TLS_VERSION_1_2, "ECDHE-ECDSA-AES128-GCM-SHA256",
      TLS_BULK_WRITE_MAX, "seal", "off" },
    { "TLS 1.2 AES-CBC stays with the library", TLS_VERSION_1_2, "ECDHE-ECDSA-AES128-SHA",
      BULK_BYTES, "library", "suite" },
    { "small writes stay with the library", TLS_VERSION_1_3, NULL, 2 * RECORD - 1, "library",
      "small" },
};

static int
make_world(void **state)
{
    (void)state;
    return tls_world_make(&world) ? 0 : -1;
}

static int
free_world(void **state)
{
    (void)state;
    tls_world_clear(&world);
    return 0;
}

static void
close_quietly(struct tls_pair *p)
{
    tls_bulk_expect_end(p);
    assert_int_equal(tls_client_trapped(p->client), 0);
    tls_pair_close(p);
}

/* A bulk, replies, small commands, a second bulk; an end by close_notify. */
static void
test_stream(void **state)
{
    const struct stream_case *c = *state;
    struct tls_pair p;

    tls_bulk_open(&p, &world, c->version, c->suites);
    tls_bulk_client_to_peer(&p, "MAIL FROM:<a@b.example>\r\n");
    tls_bulk_expect_engine(&p, "library", "small");
    for (int mails = 0; mails < 2; mails++) {
        tls_bulk_stream(&p, STREAM_BYTES, c->at_once);
        tls_bulk_expect_engine(&p, c->engine, c->reason);
        tls_bulk_peer_to_client(&p, "250 2.0.0 ok\r\n");
        tls_bulk_client_to_peer(&p, "RSET\r\n");
    }
    close_quietly(&p);
}

/* The library makes the beginning, so that a mail that is no longer costs nothing. */
static void
test_first_bulk_is_the_librarys(void **state)
{
    struct tls_pair p;

    (void)state;
    tls_bulk_open(&p, &world, TLS_VERSION_1_3, NULL);
    tls_bulk_stream(&p, BULK_BYTES, BULK_BYTES);
    tls_bulk_client_to_peer(&p, ".\r\n");
    tls_bulk_expect_engine(&p, "library", "small");
    tls_bulk_stream(&p, BULK_BYTES, BULK_BYTES);
    tls_bulk_expect_engine(&p, "seal", "off");
    close_quietly(&p);
}

static const size_t cuts[] = {
    1,
    2,
    RECORD - 1,
    RECORD,
    RECORD + 1,
    2 * RECORD - 1,
    2 * RECORD,
    2 * RECORD + 1,
    3 * RECORD,
    16 * RECORD - 1,
    TLS_BULK_WRITE_MAX,
};

/* From where it seals on, writes of every length around the records' bounds. */
static void
run_cuts(uint16_t version)
{
    struct tls_pair p;

    tls_bulk_open(&p, &world, version, NULL);
    tls_bulk_stream(&p, 2 * BULK_BYTES, BULK_BYTES);
    tls_bulk_expect_engine(&p, "seal", "off");
    for (size_t i = 0; i < ROWS(cuts); i++)
        tls_bulk_stream(&p, cuts[i], cuts[i]);
    for (size_t i = 0; i < ROWS(cuts); i++)
        tls_bulk_stream(&p, 3 * cuts[i] + 1, cuts[i]);
    close_quietly(&p);
}

static void
test_cuts_1_3(void **state)
{
    (void)state;
    run_cuts(TLS_VERSION_1_3);
}

static void
test_cuts_1_2(void **state)
{
    (void)state;
    run_cuts(TLS_VERSION_1_2);
}

/* FAULTS D7. */
static void
run_slow_peer(uint16_t version)
{
    struct tls_pair p;

    tls_bulk_open(&p, &world, version, NULL);
    tls_bulk_stream_to_slow_peer(&p, STREAM_BYTES, 50001);
    tls_bulk_expect_engine(&p, "seal", "off");
    close_quietly(&p);
}

static void
test_slow_peer_1_3(void **state)
{
    (void)state;
    run_slow_peer(TLS_VERSION_1_3);
}

static void
test_slow_peer_1_2(void **state)
{
    (void)state;
    run_slow_peer(TLS_VERSION_1_2);
}

/* The queue lets in what it lets in of the library, and refuses the rest whole. */
static void
test_full_queue(void **state)
{
    size_t sent = 0, received = 0;
    struct tls_pair p;

    (void)state;
    tls_bulk_open(&p, &world, TLS_VERSION_1_3, NULL);
    tls_bulk_stream(&p, 2 * BULK_BYTES, BULK_BYTES);
    for (int i = 0; tls_client_queued(p.client) < TLS_CLIENT_QUEUE_BYTES; i++) {
        size_t len = i == 0 ? TLS_CLIENT_QUEUE_BYTES - 1024 : TLS_CLIENT_QUEUE_BYTES;

        assert_int_equal(tls_bulk_write(&p, sent, len), RES_OK);
        sent += len;
    }
    assert_int_equal(sent, 2 * TLS_CLIENT_QUEUE_BYTES - 1024);
    assert_int_equal(tls_bulk_write(&p, sent, 1), RES_LIMIT);
    for (int i = 0; i < TLS_BULK_TURNS_MAX && received < sent; i++) {
        enum result res = tls_client_flush(p.client);

        assert_true(res == RES_OK || res == RES_AGAIN);
        received = tls_bulk_peer_reads(&p, received);
    }
    assert_int_equal(received, sent);
    close_quietly(&p);
}

/* ---- alerts ---- */

/* FAULTS D12: the library's alert about a record that is none would be under a number that is
 * spent: it is dropped, and ours takes its place. */
static void
run_alert(uint16_t version)
{
    struct tls_pair p;

    tls_bulk_open(&p, &world, version, NULL);
    tls_bulk_stream(&p, STREAM_BYTES, BULK_BYTES);
    tls_bulk_expect_engine(&p, "seal", "off");
    tls_bulk_expect_alert(&p);
    tls_pair_expect_dead(&p);
    assert_int_equal(tls_client_trapped(p.client), 0);
    tls_pair_close(&p);
}

static void
test_alert_1_3(void **state)
{
    (void)state;
    run_alert(TLS_VERSION_1_3);
}

static void
test_alert_1_2(void **state)
{
    (void)state;
    run_alert(TLS_VERSION_1_2);
}

static enum ssl_verify_result_t
accept_any(SSL *ssl, uint8_t *out_alert)
{
    (void)ssl, (void)out_alert;
    return ssl_verify_ok;
}

/* A stream of which the test has the library's end, too. */
static void
open_stream(struct tls_stream *s, struct tls_peer *peer, SSL_CTX *ctx, BIO_METHOD *method,
            int fds[2])
{
    struct tls_peer_spec spec = { .chain = { &world.leaf }, .min = TLS_VERSION_1_3 };
    enum result res = RES_AGAIN;

    tls_peer_pair(fds);
    SSL_CTX_set_custom_verify(ctx, SSL_VERIFY_PEER, accept_any);
    assert_int_equal(tls_stream_init(s, ctx, method, fds[0], TLS_VERSION_1_3), RES_OK);
    SSL_set_connect_state(s->ssl);
    tls_stream_use_engines(s, false);
    tls_peer_open(peer, &spec, fds[1]);
    for (int i = 0; i < TLS_PAIR_STEPS_MAX && !peer->done; i++) {
        res = tls_stream_handshake(s);
        if (res == RES_OK)
            assert_int_equal(tls_stream_flush(s), RES_OK);
        tls_peer_step(peer);
    }
    assert_int_equal(res, RES_OK);
    assert_true(peer->done);
}

/* FAULTS D12: what the library writes behind our back never leaves, and nothing more does. */
static void
test_trap(void **state)
{
    static const char bulk[BULK_BYTES];
    SSL_CTX *ctx = SSL_CTX_new(TLS_with_buffers_method());
    BIO_METHOD *method = transport_method_new();
    struct tls_stream s = { 0 };
    struct tls_peer peer;
    size_t queued;
    int fds[2];

    (void)state;
    open_stream(&s, &peer, ctx, method, fds);
    for (int i = 0; i < 2; i++)
        assert_int_equal(tls_stream_write(&s, span_make(bulk, sizeof bulk)), RES_OK);
    assert_int_equal(s.engine.engine, ENGINE_SEAL);
    queued = tls_stream_queued(&s);
    assert_int_equal(SSL_write(s.ssl, "x", 1), 1);
    assert_int_equal(tls_stream_queued(&s), queued);
    assert_true(s.transport.trapped > 0);
    assert_int_equal(tls_stream_write(&s, span_of("x")), RES_TEMPFAIL);
    assert_int_equal(tls_stream_flush(&s), RES_TEMPFAIL);
    tls_stream_clear(&s);
    tls_peer_close(&peer);
    SSL_CTX_free(ctx);
    BIO_meth_free(method);
    close(fds[0]);
    close(fds[1]);
}

/* FAULTS D8: our direction is still open. */
static void
test_peer_closes_first(void **state)
{
    struct tls_pair p;
    char byte;
    size_t n;

    (void)state;
    tls_bulk_open(&p, &world, TLS_VERSION_1_3, NULL);
    tls_bulk_stream(&p, STREAM_BYTES, BULK_BYTES);
    SSL_shutdown(p.peer.ssl);
    tls_bulk_wait(p.fds[0]);
    assert_int_equal(tls_client_read(p.client, &byte, 1, &n), RES_DENIED);
    tls_bulk_client_to_peer(&p, "QUIT\r\n");
    close_quietly(&p);
}

/* ---- new keys ---- */

/* How many KeyUpdates the peer has received. */
static void
count_key_updates(int is_write, int version, int type, const void *bytes, size_t len, SSL *ssl,
                  void *arg)
{
    const uint8_t *octets = bytes;
    int *count = arg;

    (void)version, (void)ssl;
    if (is_write || type != SSL3_RT_HANDSHAKE || octets[0] != SSL3_MT_KEY_UPDATE)
        return;
    assert_int_equal(len, 5);
    assert_int_equal(octets[4], SSL_KEY_UPDATE_NOT_REQUESTED);
    ++*count;
}

static void
open_counted(struct tls_pair *p, int *count)
{
    *count = 0;
    tls_bulk_open(p, &world, TLS_VERSION_1_3, NULL);
    SSL_set_msg_callback(p->peer.ssl, count_key_updates);
    SSL_set_msg_callback_arg(p->peer.ssl, count);
}

/* A KeyUpdate, and a reply under the peer's new key. */
static void
peer_updates(struct tls_pair *p, int kind)
{
    assert_int_equal(SSL_key_update(p->peer.ssl, kind), 1);
    tls_bulk_peer_to_client(p, "250 2.0.0 ok\r\n");
}

enum moment { BEFORE, BEHIND_FIRST_BULK, BEHIND_SEALED };

static const struct key_case {
    const char *name;
    enum moment moment;
    int requests[4]; /* of the peer, each with a reply */
    size_t count;
    int answers; /* of ours, before our next data */
} keys[] = {
    { "asked for before the bulk", BEFORE, { SSL_KEY_UPDATE_REQUESTED }, 1, 1 },
    { "asked for between the library's writing and ours",
      BEHIND_FIRST_BULK,
      { SSL_KEY_UPDATE_REQUESTED },
      1,
      1 },
    { "FAULTS D3 asked for within the bulk", BEHIND_SEALED, { SSL_KEY_UPDATE_REQUESTED }, 1, 1 },
    { "asked for twice, answered once",
      BEHIND_SEALED,
      { SSL_KEY_UPDATE_REQUESTED, SSL_KEY_UPDATE_REQUESTED },
      2,
      1 },
    { "the peer's own alone", BEHIND_SEALED, { SSL_KEY_UPDATE_NOT_REQUESTED }, 1, 0 },
    { "the peer's own, one that asks, its own",
      BEHIND_SEALED,
      { SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED, SSL_KEY_UPDATE_NOT_REQUESTED },
      3,
      1 },
};

static void
test_key(void **state)
{
    const struct key_case *c = *state;
    size_t before = c->moment == BEFORE ? 0 : c->moment == BEHIND_FIRST_BULK ? 1 : 4;
    struct tls_pair p;
    int answers;

    open_counted(&p, &answers);
    if (before)
        tls_bulk_stream(&p, before * BULK_BYTES, BULK_BYTES);
    for (int rounds = 1; rounds <= 3; rounds++) {
        for (size_t i = 0; i < c->count; i++)
            peer_updates(&p, c->requests[i]);
        tls_bulk_stream(&p, 3 * BULK_BYTES, BULK_BYTES);
        tls_bulk_expect_engine(&p, "seal", "off");
        assert_int_equal(answers, rounds * c->answers);
        tls_bulk_client_to_peer(&p, "RSET\r\n");
    }
    close_quietly(&p);
}

/* FAULTS D3, D5: while a part of the bulk waits for the socket, whose place in the queue is before
 * our answer. */
static void
test_key_in_full_queue(void **state)
{
    size_t sent = 0, received = 0;
    bool asked = false;
    struct tls_pair p;
    int answers;

    (void)state;
    open_counted(&p, &answers);
    for (int i = 0; i < TLS_BULK_TURNS_MAX && received < 8 * STREAM_BYTES; i++) {
        size_t len = 8 * STREAM_BYTES - sent < 200001 ? 8 * STREAM_BYTES - sent : 200001;
        enum result res = tls_bulk_write(&p, sent, len);

        sent += res == RES_OK ? len : 0;
        res = tls_client_flush(p.client);
        assert_true(res == RES_OK || res == RES_AGAIN);
        if (res == RES_OK && sent < 8 * STREAM_BYTES)
            continue;
        if (!asked)
            peer_updates(&p, SSL_KEY_UPDATE_REQUESTED);
        asked = true;
        received = tls_bulk_peer_reads(&p, received);
    }
    assert_int_equal(received, 8 * STREAM_BYTES);
    assert_int_equal(answers, 1);
    tls_bulk_expect_engine(&p, "seal", "off");
    close_quietly(&p);
}

/* A close_notify and an alert are no data: neither waits for the new key. */
static void
test_end_with_key_owed(void **state)
{
    struct tls_pair p;
    int answers;

    (void)state;
    open_counted(&p, &answers);
    tls_bulk_stream(&p, STREAM_BYTES, BULK_BYTES);
    peer_updates(&p, SSL_KEY_UPDATE_REQUESTED);
    close_quietly(&p);
}

/* ---- lack of memory ---- */

/* Whichever allocation fails when we take over: the same octets at the peer. */
static void
test_no_memory(void **state)
{
    bool happened = true;
    unsigned n = 0;

    (void)state;
    if (library_memory_is_counted())
        skip();
    for (; happened && n < 50; n++) {
        struct tls_pair p;
        size_t received;
        enum result res;

        tls_bulk_open(&p, &world, TLS_VERSION_1_3, NULL);
        tls_bulk_stream(&p, BULK_BYTES, BULK_BYTES);
        alloc_fail_after(n);
        res = tls_bulk_write(&p, 0, BULK_BYTES);
        happened = alloc_fail_happened();
        assert_true(res == RES_OK || (happened && res == RES_NOMEM));
        assert_int_equal(tls_client_queued(p.client) > 0, res == RES_OK);
        if (res == RES_NOMEM)
            assert_int_equal(tls_bulk_write(&p, 0, BULK_BYTES), RES_OK);
        assert_int_equal(tls_client_flush(p.client), RES_OK);
        received = 0;
        for (int i = 0; i < TLS_BULK_TURNS_MAX && received < BULK_BYTES; i++)
            received = tls_bulk_peer_reads(&p, received);
        assert_int_equal(received, BULK_BYTES);
        if (happened && n == 0)
            tls_bulk_expect_engine(&p, "library", "memory");
        else
            tls_bulk_expect_engine(&p, "seal", "off");
        close_quietly(&p);
    }
    assert_true(n > 1 && n < 50);
}

int
main(void)
{
    static const struct CMUnitTest fixed[] = {
        cmocka_unit_test(test_first_bulk_is_the_librarys),
        cmocka_unit_test(test_cuts_1_3),
        cmocka_unit_test(test_cuts_1_2),
        cmocka_unit_test(test_slow_peer_1_3),
        cmocka_unit_test(test_slow_peer_1_2),
        cmocka_unit_test(test_full_queue),
        cmocka_unit_test(test_alert_1_3),
        cmocka_unit_test(test_alert_1_2),
        cmocka_unit_test(test_trap),
        cmocka_unit_test(test_peer_closes_first),
        cmocka_unit_test(test_key_in_full_queue),
        cmocka_unit_test(test_end_with_key_owed),
        cmocka_unit_test(test_no_memory),
    };
    struct CMUnitTest tests[ROWS(fixed) + ROWS(streams) + ROWS(keys)];
    size_t n = ROWS(fixed);

    memcpy(tests, fixed, sizeof fixed);
    for (size_t i = 0; i < ROWS(streams); i++, n++)
        tests[n] = (struct CMUnitTest){ .name = streams[i].name,
                                        .test_func = test_stream,
                                        .initial_state = (void *)(uintptr_t)&streams[i] };
    for (size_t i = 0; i < ROWS(keys); i++, n++)
        tests[n] = (struct CMUnitTest){ .name = keys[i].name,
                                        .test_func = test_key,
                                        .initial_state = (void *)(uintptr_t)&keys[i] };
    return cmocka_run_group_tests_name("seal", tests, make_world, free_world);
}
