/* tests/tls/test_seal_records.c: single records against RFC 8448, their numbers, the key that has
 * done its share, and lack of room and memory. */
#include "tls/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/nid.h>
#include <openssl/ssl.h>

#include "tests/support/library_memory.h"
#include "tests/support/tls_peer.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define RECORD 16384u
#define HOST "mx.example.com"
#define TURNS_MAX 64
#define QUEUE_BYTES (1024u * 1024u)

/* ---- by themselves ---- */

/* RFC 8448 3: the client's application keys, and its record of 50 octets. */
static const uint8_t trace_key[] = { 0x17, 0x42, 0x2d, 0xda, 0x59, 0x6e, 0xd5, 0xd9,
                                     0xac, 0xd8, 0x90, 0xe3, 0xc6, 0x3f, 0x50, 0x51 };
static const uint8_t trace_iv[] = { 0x5b, 0x78, 0x92, 0x3d, 0xee, 0x08,
                                    0x57, 0x90, 0x33, 0xe5, 0x23, 0xd9 };
static const uint8_t trace_record[] = {
    0x17, 0x03, 0x03, 0x00, 0x43, 0xa2, 0x3f, 0x70, 0x54, 0xb6, 0x2c, 0x94, 0xd0, 0xaf, 0xfa,
    0xfe, 0x82, 0x28, 0xba, 0x55, 0xcb, 0xef, 0xac, 0xea, 0x42, 0xf9, 0x14, 0xaa, 0x66, 0xbc,
    0xab, 0x3f, 0x2b, 0x98, 0x19, 0xa8, 0xa5, 0xb4, 0x6b, 0x39, 0x5b, 0xd5, 0x4a, 0x9a, 0x20,
    0x44, 0x1e, 0x2b, 0x62, 0x97, 0x4e, 0x1f, 0x5a, 0x62, 0x92, 0xa2, 0x97, 0x70, 0x14, 0xbd,
    0x1e, 0x3d, 0xea, 0xe6, 0x3a, 0xee, 0xbb, 0x21, 0x69, 0x49, 0x15, 0xe4,
};

static void
init_trace(struct seal *seal, struct buffer *queue, uint64_t sequence)
{
    struct write_keys keys = { .version = TLS1_3_VERSION,
                               .cipher_nid = NID_aes_128_gcm,
                               .key_len = sizeof trace_key,
                               .iv_len = sizeof trace_iv,
                               .sequence = sequence,
                               .prf_nid = NID_sha256,
                               .secret_len = 32 };

    memcpy(keys.key, trace_key, sizeof trace_key);
    memcpy(keys.iv, trace_iv, sizeof trace_iv);
    assert_int_equal(seal_init(seal, &keys), RES_OK);
    buffer_init(queue, QUEUE_BYTES);
}

static void
clear(struct seal *seal, struct buffer *queue)
{
    static const uint8_t nothing[sizeof seal->keys];

    seal_clear(seal);
    assert_memory_equal(&seal->keys, nothing, sizeof nothing);
    buffer_clear(queue);
}

static enum result
append(struct seal *seal, size_t len, struct buffer *queue)
{
    static const char text[4 * RECORD];

    assert_true(len <= sizeof text);
    return seal_append(seal, SSL3_RT_APPLICATION_DATA, span_make(text, len), queue);
}

static void
test_rfc_8448(void **state)
{
    struct buffer queue;
    struct seal seal;
    uint8_t plain[50];

    (void)state;
    for (uint8_t i = 0; i < sizeof plain; i++)
        plain[i] = i;
    init_trace(&seal, &queue, 0);
    assert_int_equal(
        seal_append(&seal, SSL3_RT_APPLICATION_DATA, span_make(plain, sizeof plain), &queue),
        RES_OK);
    assert_int_equal(buffer_len(&queue), sizeof trace_record);
    assert_memory_equal(buffer_span(&queue).ptr, trace_record, sizeof trace_record);
    assert_int_equal(seal.keys.sequence, 1);
    clear(&seal, &queue);
}

/* FAULTS D7: a number for each record, also of those that never leave. */
static void
test_numbers(void **state)
{
    static const struct {
        size_t len;
        uint64_t records;
    } rows[] = { { 1, 1 },          { RECORD - 1, 1 },     { RECORD, 1 },
                 { RECORD + 1, 2 }, { 2 * RECORD - 1, 2 }, { 2 * RECORD, 2 },
                 { 4 * RECORD, 4 } };
    struct buffer queue;
    struct seal seal;
    uint64_t spent = 7;

    (void)state;
    init_trace(&seal, &queue, spent);
    for (size_t i = 0; i < ROWS(rows); i++) {
        size_t before = buffer_len(&queue);

        assert_int_equal(append(&seal, rows[i].len, &queue), RES_OK);
        spent += rows[i].records;
        assert_int_equal(seal.keys.sequence, spent);
        assert_int_equal(buffer_len(&queue) - before, rows[i].len + rows[i].records * (5 + 1 + 16));
    }
    clear(&seal, &queue);
}

/* FAULTS D13: the numbers end before they would begin anew; from then on not even an alert. */
static void
test_last_number(void **state)
{
    struct buffer queue;
    struct seal seal;
    size_t before;

    (void)state;
    init_trace(&seal, &queue, UINT64_MAX - 3);
    seal.records_per_key = UINT64_MAX;
    assert_int_equal(append(&seal, RECORD, &queue), RES_OK);
    before = buffer_len(&queue);
    assert_int_equal(append(&seal, 3 * RECORD, &queue), RES_TEMPFAIL);
    assert_int_equal(seal_append(&seal, SSL3_RT_ALERT, span_make("\1\0", 2), &queue), RES_TEMPFAIL);
    seal_owe_key_update(&seal);
    assert_int_equal(append(&seal, 1, &queue), RES_TEMPFAIL);
    assert_int_equal(buffer_len(&queue), before);
    clear(&seal, &queue);
}

static void
expect_unspent(struct seal *seal, struct buffer *queue, size_t len, enum result want)
{
    size_t before = buffer_len(queue);
    uint64_t sequence = seal->keys.sequence;
    bool owes = seal->owes_key_update;

    assert_int_equal(append(seal, len, queue), want);
    assert_int_equal(buffer_len(queue), before);
    assert_int_equal(seal->keys.sequence, sequence);
    assert_int_equal(seal->owes_key_update, owes);
    assert_false(seal->broken);
}

/* Where there is no room nothing is spent, and what fits goes on. */
static void
test_no_room(void **state)
{
    struct buffer queue;
    struct seal seal;

    (void)state;
    init_trace(&seal, &queue, 0);
    queue.limit = 4 * RECORD;
    expect_unspent(&seal, &queue, 4 * RECORD, RES_LIMIT);
    assert_int_equal(append(&seal, 3 * RECORD, &queue), RES_OK);
    expect_unspent(&seal, &queue, RECORD, RES_LIMIT);
    seal_owe_key_update(&seal);
    queue.limit = buffer_len(&queue) + (5 + 1 + 1 + 16) + (5 + 5 + 1 + 16) - 1;
    expect_unspent(&seal, &queue, 1, RES_LIMIT); /* but the KeyUpdate alone would have had it */
    queue.limit++;
    assert_int_equal(append(&seal, 1, &queue), RES_OK);
    assert_int_equal(buffer_room(&queue), 0);
    assert_int_equal(seal.keys.sequence, 1);
    clear(&seal, &queue);
}

static void
run_no_memory(bool owes)
{
    bool happened = true;
    unsigned n = 0;

    for (; happened && n < 50; n++) {
        struct buffer queue;
        struct seal seal;
        enum result res;

        init_trace(&seal, &queue, 0);
        if (owes)
            seal_owe_key_update(&seal);
        alloc_fail_after(n);
        res = append(&seal, RECORD, &queue);
        happened = alloc_fail_happened();
        assert_int_equal(res, happened ? RES_NOMEM : RES_OK);
        assert_int_equal(seal.keys.sequence, !happened);
        assert_int_equal(seal.owes_key_update, owes && happened);
        assert_int_equal(append(&seal, RECORD, &queue), RES_OK);
        assert_false(seal.owes_key_update);
        clear(&seal, &queue);
    }
    assert_true(n > 1 && n < 50);
}

static void
test_no_memory(void **state)
{
    (void)state;
    if (library_memory_is_counted())
        skip();
    run_no_memory(false);
    run_no_memory(true);
}

/* ---- read by BoringSSL ---- */

static struct cert_factory factory;
static struct cert leaf;

static int
make_certificate(void **state)
{
    static const struct cert_spec spec = { .cn = HOST, .sans = HOST };

    (void)state;
    return cert_make(&factory, &spec, NULL, &leaf) ? 0 : -1;
}

static int
free_certificate(void **state)
{
    (void)state;
    cert_clear(&leaf);
    cert_factory_clear(&factory);
    return 0;
}

/* A client of the library, whose keys we have from its first record on. */
struct line {
    SSL_CTX *ctx;
    SSL *ssl;
    struct tls_peer peer;
    int fds[2];
    struct seal seal;
    struct buffer queue;
    size_t sent; /* octets of plain text */
};

static enum ssl_verify_result_t
accept_any(SSL *ssl, uint8_t *out_alert)
{
    (void)ssl, (void)out_alert;
    return ssl_verify_ok;
}

static void
line_open(struct line *l, uint16_t version, const char *suites)
{
    struct tls_peer_spec spec = {
        .chain = { &leaf }, .min = version, .max = version, .suites = suites
    };
    struct write_keys keys;
    int ret = 0;

    *l = (struct line){ .ctx = SSL_CTX_new(TLS_with_buffers_method()) };
    tls_peer_pair(l->fds);
    SSL_CTX_set_custom_verify(l->ctx, SSL_VERIFY_PEER, accept_any);
    l->ssl = SSL_new(l->ctx);
    assert_true(l->ssl && SSL_set_fd(l->ssl, l->fds[0]));
    SSL_set_connect_state(l->ssl);
    tls_peer_open(&l->peer, &spec, l->fds[1]);
    for (int i = 0; i < TURNS_MAX && !(ret == 1 && l->peer.done); i++) {
        ret = SSL_do_handshake(l->ssl);
        tls_peer_step(&l->peer);
    }
    assert_true(ret == 1 && l->peer.done);
    assert_int_equal(write_keys_take(l->ssl, &keys), RES_OK);
    assert_int_equal(seal_init(&l->seal, &keys), RES_OK);
    write_keys_clear(&keys);
    buffer_init(&l->queue, QUEUE_BYTES);
}

static void
line_close(struct line *l)
{
    seal_clear(&l->seal);
    buffer_clear(&l->queue);
    tls_peer_close(&l->peer);
    SSL_free(l->ssl);
    SSL_CTX_free(l->ctx);
    close(l->fds[0]);
    close(l->fds[1]);
}

/* So many octets reach the peer as they were. */
static void
line_carry(struct line *l, size_t len)
{
    static char text[4 * RECORD], got[4 * RECORD];
    struct span bytes;
    size_t have = 0;

    assert_true(len <= sizeof text);
    for (size_t i = 0; i < len; i++, l->sent++)
        text[i] = (char)(l->sent * 31 + l->sent / 251);
    assert_int_equal(
        seal_append(&l->seal, SSL3_RT_APPLICATION_DATA, span_make(text, len), &l->queue), RES_OK);
    bytes = buffer_span(&l->queue);
    assert_int_equal(send(l->fds[0], bytes.ptr, bytes.len, MSG_NOSIGNAL), bytes.len);
    buffer_consume(&l->queue, bytes.len);
    while (have < len) {
        int n = SSL_read(l->peer.ssl, got + have, (int)(sizeof got - have));

        assert_true(n > 0);
        have += (size_t)n;
    }
    assert_int_equal(have, len);
    assert_memory_equal(got, text, len);
}

/* RFC 8446 5.5: before a key has done its share the next one is told, unasked, and again. */
static void
run_worn_key(uint16_t version, const char *suites, uint64_t share, unsigned updates)
{
    struct line l;
    unsigned seen = 0;
    uint64_t before;

    line_open(&l, version, suites);
    if (l.seal.records_per_key != UINT64_MAX)
        assert_int_equal(l.seal.records_per_key, SEAL_RECORDS_PER_KEY);
    if (share)
        l.seal.records_per_key = share;
    for (int i = 0; i < 40; i++) {
        before = l.seal.keys.sequence;
        line_carry(&l, i % 3 ? 1 : 2 * RECORD);
        seen += l.seal.keys.sequence <= before;
        if (share)
            assert_true(l.seal.keys.sequence < share);
    }
    assert_int_equal(seen, updates);
    line_close(&l);
}

/* 40 writes of 54 records, at most 9 of them and a KeyUpdate under each key. */
static void
test_worn_key(void **state)
{
    (void)state;
    run_worn_key(TLS1_3_VERSION, NULL, 10, 6);
}

static void
test_fresh_key(void **state)
{
    (void)state;
    run_worn_key(TLS1_3_VERSION, NULL, 0, 0);
}

static void
test_tls_1_2_has_one_key(void **state)
{
    struct line l;

    (void)state;
    run_worn_key(TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", 0, 0);
    line_open(&l, TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305");
    assert_int_equal(l.seal.records_per_key, UINT64_MAX);
    seal_owe_key_update(&l.seal);
    line_carry(&l, 100);
    line_close(&l);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_8448),    cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_last_number), cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_no_memory),   cmocka_unit_test(test_worn_key),
        cmocka_unit_test(test_fresh_key),   cmocka_unit_test(test_tls_1_2_has_one_key),
    };

    return cmocka_run_group_tests_name("seal_records", tests, make_certificate, free_certificate);
}
