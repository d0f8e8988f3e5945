/* tests/tls/test_tls_hostile.c: a peer that has finished its handshake and then sends what an
 * honest library never makes: records without content, of odd sizes and types, alerts and new keys
 * without end. Its records are made here, with the keys of the server that shook hands. */
#include "tls/tls_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/aead.h>
#include <openssl/digest.h>
#include <openssl/err.h>
#include <openssl/hkdf.h>
#include <openssl/ssl.h>

#include "base/requirement.h"
#include "tests/support/tls_bulk.h"
#include "tls/traffic_secret.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define RECORD_MAX_PLAIN 16384u
#define NAME_MAX_BYTES 96u
#define BULK_BYTES 40000u                    /* a write that is one */
#define INNER_MAX (RECORD_MAX_PLAIN + 1024u) /* of what is tried */
#define HEADER_BYTES 5u
#define KEY_BYTES 16u /* AES-128-GCM, the suite of all pairs here */
#define IV_BYTES 12u
#define SALT_BYTES 4u
#define NUMBER_BYTES 8u
#define TAG_BYTES 16u
#define SECRET_BYTES 32u

/* ---- the forge ---- */

struct forge {
    int fd;
    bool is_1_3;
    uint8_t secret[SECRET_BYTES]; /* TLS 1.3 */
    uint8_t key[KEY_BYTES], iv[IV_BYTES];
    uint64_t number;
};

/* RFC 8446 7.1, with an empty context. */
static void
expand_label(const struct forge *f, const char *label, uint8_t *out, size_t len)
{
    uint8_t info[32] = {
        0, (uint8_t)len, (uint8_t)(6 + strlen(label)), 't', 'l', 's', '1', '3', ' '
    };
    size_t at = 9 + strlen(label);

    memcpy(info + 9, label, strlen(label));
    info[at++] = 0;
    assert_int_equal(HKDF_expand(out, len, EVP_sha256(), f->secret, SECRET_BYTES, info, at), 1);
}

static void
use_secret(struct forge *f)
{
    expand_label(f, "key", f->key, KEY_BYTES);
    expand_label(f, "iv", f->iv, IV_BYTES);
    f->number = 0;
}

/* RFC 8446 7.2 */
static void
next_secret(struct forge *f)
{
    uint8_t next[SECRET_BYTES];

    expand_label(f, "traffic upd", next, SECRET_BYTES);
    memcpy(f->secret, next, SECRET_BYTES);
    use_secret(f);
}

/* From here on the server itself must not write. */
static void
forge_open(struct forge *f, const struct tls_pair *p)
{
    SSL *ssl = p->peer.ssl;

    *f = (struct forge){ .fd = p->fds[1], .is_1_3 = SSL_version(ssl) == TLS1_3_VERSION };
    if (f->is_1_3) {
        const uint8_t *secret;
        size_t len;

        assert_true(traffic_secret_write(ssl, &secret, &len));
        assert_int_equal(len, SECRET_BYTES);
        memcpy(f->secret, secret, len);
        use_secret(f);
    } else { /* client's key, server's key, client's salt, server's salt */
        uint8_t block[2 * (KEY_BYTES + SALT_BYTES)];

        assert_int_equal(SSL_get_key_block_len(ssl), sizeof block);
        assert_int_equal(SSL_generate_key_block(ssl, block, sizeof block), 1);
        memcpy(f->key, block + KEY_BYTES, KEY_BYTES);
        memcpy(f->iv, block + 2 * KEY_BYTES + SALT_BYTES, SALT_BYTES);
    }
    f->number = SSL_get_write_sequence(ssl);
}

static void
put_number(uint8_t *dst, uint64_t number, size_t len)
{
    while (len--) {
        dst[len] = (uint8_t)number;
        number >>= 8;
    }
}

static void
seal(const struct forge *f, uint8_t *out, size_t *out_len, const uint8_t nonce[IV_BYTES],
     const uint8_t *plain, size_t len, const uint8_t *ad, size_t ad_len)
{
    EVP_AEAD_CTX *aead = EVP_AEAD_CTX_new(EVP_aead_aes_128_gcm(), f->key, KEY_BYTES, TAG_BYTES);

    assert_non_null(aead);
    assert_int_equal(EVP_AEAD_CTX_seal(aead, out, out_len, len + TAG_BYTES, nonce, IV_BYTES, plain,
                                       len, ad, ad_len),
                     1);
    EVP_AEAD_CTX_free(aead);
}

/* RFC 8446 5.2: content, type, padding; the header is what is authenticated besides. */
static size_t
make_1_3(const struct forge *f, uint8_t *record, uint8_t type, const uint8_t *plain, size_t len,
         size_t padding)
{
    static uint8_t inner[INNER_MAX];
    uint8_t nonce[IV_BYTES] = { 0 };
    size_t inner_len = len + 1 + padding, sealed;

    assert_true(inner_len <= sizeof inner);
    memset(inner, 0, sizeof inner);
    memcpy(inner, plain, len);
    inner[len] = type;
    put_number(nonce + IV_BYTES - NUMBER_BYTES, f->number, NUMBER_BYTES);
    for (size_t i = 0; i < IV_BYTES; i++)
        nonce[i] ^= f->iv[i];
    record[0] = SSL3_RT_APPLICATION_DATA;
    put_number(record + 3, inner_len + TAG_BYTES, 2);
    seal(f, record + HEADER_BYTES, &sealed, nonce, inner, inner_len, record, HEADER_BYTES);
    return HEADER_BYTES + sealed;
}

/* RFC 5288 3: half of the nonce stands before the content; number, type, version and length are
 * authenticated besides. */
static size_t
make_1_2(const struct forge *f, uint8_t *record, uint8_t type, const uint8_t *plain, size_t len)
{
    uint8_t nonce[IV_BYTES], ad[NUMBER_BYTES + HEADER_BYTES];
    size_t sealed;

    put_number(ad, f->number, NUMBER_BYTES);
    ad[NUMBER_BYTES] = record[0] = type;
    memcpy(ad + NUMBER_BYTES + 1, record + 1, 2);
    put_number(ad + NUMBER_BYTES + 3, len, 2);
    memcpy(nonce, f->iv, SALT_BYTES);
    memcpy(nonce + SALT_BYTES, ad, NUMBER_BYTES);
    memcpy(record + HEADER_BYTES, ad, NUMBER_BYTES);
    put_number(record + 3, NUMBER_BYTES + len + TAG_BYTES, 2);
    seal(f, record + HEADER_BYTES + NUMBER_BYTES, &sealed, nonce, plain, len, ad, sizeof ad);
    return HEADER_BYTES + NUMBER_BYTES + sealed;
}

static void
forge_send(struct forge *f, uint8_t type, const uint8_t *plain, size_t len, size_t padding)
{
    static uint8_t record[INNER_MAX + 64] = { 0, 3, 3 };
    size_t n = f->is_1_3 ? make_1_3(f, record, type, plain, len, padding)
                         : make_1_2(f, record, type, plain, len);

    assert_int_equal(send(f->fd, record, n, MSG_NOSIGNAL), n);
    f->number++;
    if (type == SSL3_RT_HANDSHAKE && len > 0 && plain[0] == SSL3_MT_KEY_UPDATE)
        next_secret(f);
}

/* ---- what is sent, and what becomes of it ---- */

struct burst {
    unsigned count; /* records alike; 0: no more bursts */
    uint8_t type;
    const char *content;
    size_t len;
    size_t padding; /* TLS 1.3 */
};

#define DATA(len)                                                                                  \
    {                                                                                              \
        1, SSL3_RT_APPLICATION_DATA, NULL, (len), 0                                                \
    }
#define EMPTY(count)                                                                               \
    {                                                                                              \
        (count), SSL3_RT_APPLICATION_DATA, NULL, 0, 0                                              \
    }
#define KEY_UPDATES(count, wanted)                                                                 \
    {                                                                                              \
        (count), SSL3_RT_HANDSHAKE, "\x18\0\0\1" wanted, 5, 0                                      \
    }
#define ALERTS(count, code)                                                                        \
    {                                                                                              \
        (count), SSL3_RT_ALERT, "\1" code, 2, 0                                                    \
    }
#define PADDED(len, padding)                                                                       \
    {                                                                                              \
        1, SSL3_RT_APPLICATION_DATA, NULL, (len), (padding)                                        \
    }

#define USER_CANCELED "\x5a"
#define NO_RENEGOTIATION "\x64"
#define KEEPS_ALIVE 0 /* in place of an alert */
#define UNEXPECTED 10 /* unexpected_message */
#define OVERFLOW 22   /* record_overflow */
#define ILLEGAL 47    /* illegal_parameter */
#define DECODE 50     /* decode_error */
#define DECRYPT 51    /* decrypt_error */
#define REFUSED 100   /* no_renegotiation */

static const struct hostile_case {
    const char *name;
    uint16_t version;
    struct burst bursts[3];
    size_t reads; /* octets that come through */
    int alert;    /* ours, which ends the connection */
} cases[] = {
    { "FAULTS D4 32 new keys, then data",
      TLS_VERSION_1_3,
      { KEY_UPDATES(32, "\0"), DATA(7) },
      7,
      KEEPS_ALIVE },
    { "FAULTS D4 33 new keys", TLS_VERSION_1_3, { KEY_UPDATES(33, "\0") }, 0, UNEXPECTED },
    { "FAULTS D4 32 requests for a new key, then data",
      TLS_VERSION_1_3,
      { KEY_UPDATES(32, "\1"), DATA(7) },
      7,
      KEEPS_ALIVE },
    { "FAULTS D4 33 requests for a new key",
      TLS_VERSION_1_3,
      { KEY_UPDATES(33, "\1") },
      0,
      UNEXPECTED },
    { "a KeyUpdate in TLS 1.2", TLS_VERSION_1_2, { KEY_UPDATES(1, "\1") }, 0, DECODE },
    { "a KeyUpdate that asks for 2", TLS_VERSION_1_3, { KEY_UPDATES(1, "\2") }, 0, DECODE },
    { "FAULTS D4 32 empty records, then data, TLS 1.3",
      TLS_VERSION_1_3,
      { EMPTY(32), DATA(7) },
      7,
      KEEPS_ALIVE },
    { "FAULTS D4 33 empty records, TLS 1.3", TLS_VERSION_1_3, { EMPTY(33) }, 0, UNEXPECTED },
    { "FAULTS D4 32 empty records, then data, TLS 1.2",
      TLS_VERSION_1_2,
      { EMPTY(32), DATA(7) },
      7,
      KEEPS_ALIVE },
    { "FAULTS D4 33 empty records, TLS 1.2", TLS_VERSION_1_2, { EMPTY(33) }, 0, UNEXPECTED },
    { "FAULTS D4 33 empty records with padding",
      TLS_VERSION_1_3,
      { { 33, SSL3_RT_APPLICATION_DATA, NULL, 0, 100 } },
      0,
      UNEXPECTED },
    { "FAULTS D4 four warnings, then data, TLS 1.2",
      TLS_VERSION_1_2,
      { ALERTS(4, NO_RENEGOTIATION), DATA(7) },
      7,
      KEEPS_ALIVE },
    { "FAULTS D4 five warnings, TLS 1.2",
      TLS_VERSION_1_2,
      { ALERTS(5, NO_RENEGOTIATION) },
      0,
      UNEXPECTED },
    { "FAULTS D4 four times user_canceled, then data, TLS 1.3",
      TLS_VERSION_1_3,
      { ALERTS(4, USER_CANCELED), DATA(7) },
      7,
      KEEPS_ALIVE },
    { "FAULTS D4 five times user_canceled, TLS 1.3",
      TLS_VERSION_1_3,
      { ALERTS(5, USER_CANCELED) },
      0,
      UNEXPECTED },
    { "a warning that TLS 1.3 has none of",
      TLS_VERSION_1_3,
      { ALERTS(1, NO_RENEGOTIATION) },
      0,
      DECODE },

    { "FAULTS D11 the largest record, TLS 1.3",
      TLS_VERSION_1_3,
      { DATA(RECORD_MAX_PLAIN), DATA(7) },
      RECORD_MAX_PLAIN + 7,
      KEEPS_ALIVE },
    { "FAULTS D11 the largest record, TLS 1.2",
      TLS_VERSION_1_2,
      { DATA(RECORD_MAX_PLAIN), DATA(7) },
      RECORD_MAX_PLAIN + 7,
      KEEPS_ALIVE },
    { "FAULTS D11 one octet more, TLS 1.3",
      TLS_VERSION_1_3,
      { DATA(7), DATA(RECORD_MAX_PLAIN + 1) },
      7,
      OVERFLOW },
    { "FAULTS D11 one octet more, TLS 1.2",
      TLS_VERSION_1_2,
      { DATA(7), DATA(RECORD_MAX_PLAIN + 1) },
      7,
      OVERFLOW },
    { "FAULTS D11 padding up to the largest record",
      TLS_VERSION_1_3,
      { PADDED(7, RECORD_MAX_PLAIN - 7), DATA(7) },
      14,
      KEEPS_ALIVE },
    { "FAULTS D11 padding beyond it",
      TLS_VERSION_1_3,
      { PADDED(7, RECORD_MAX_PLAIN - 6) },
      0,
      OVERFLOW },
    { "FAULTS D11 padding and nothing else",
      TLS_VERSION_1_3,
      { { 1, 0, NULL, 0, 100 } },
      0,
      DECRYPT },
    { "FAULTS D11 a type that is none", TLS_VERSION_1_3, { { 1, 99, "x", 1, 0 } }, 0, UNEXPECTED },
    { "FAULTS D11 an alert of three octets",
      TLS_VERSION_1_3,
      { { 1, SSL3_RT_ALERT, "\1\0\0", 3, 0 } },
      0,
      DECODE },
    { "a ClientHello of a server",
      TLS_VERSION_1_3,
      { { 1, SSL3_RT_HANDSHAKE, "\1\0\0\0", 4, 0 } },
      0,
      UNEXPECTED },
    { "FAULTS C16 HelloRequest",
      TLS_VERSION_1_2,
      { { 1, SSL3_RT_HANDSHAKE, "\0\0\0\0", 4, 0 } },
      0,
      REFUSED },
};

static void
send_bursts(struct forge *f, const struct burst *bursts, size_t count)
{
    static const uint8_t text[INNER_MAX] = "250 ok\n";

    for (size_t i = 0; i < count; i++)
        for (unsigned n = 0; n < bursts[i].count; n++)
            forge_send(f, bursts[i].type,
                       bursts[i].content ? (const uint8_t *)bursts[i].content : text, bursts[i].len,
                       bursts[i].padding);
}

/* Reads until nothing is there or the connection has ended. */
static enum result
read_all(struct tls_pair *p, size_t *out_total)
{
    static char bytes[4096];
    enum result res;
    size_t n;

    *out_total = 0;
    do {
        res = tls_client_read(p->client, bytes, sizeof bytes, &n);
        *out_total += n;
    } while (res == RES_OK || (res == RES_AGAIN && tls_client_has_pending(p->client)));
    return res;
}

/* What the server hears of us: 0, or the fatal alert. */
static int
alert_heard(struct tls_pair *p)
{
    char bytes[64];
    int ret, reason;

    ERR_clear_error();
    ret = SSL_read(p->peer.ssl, bytes, sizeof bytes);
    if (SSL_get_error(p->peer.ssl, ret) != SSL_ERROR_SSL)
        return 0;
    reason = ERR_GET_REASON(ERR_peek_error());
    return reason > SSL_AD_REASON_OFFSET ? reason - SSL_AD_REASON_OFFSET : 0;
}

/* sealed: the library writes no more, and what it would say we do. */
static void
run_hostile(const struct hostile_case *c, bool sealed)
{
    struct tls_peer_spec spec = { .min = c->version, .max = c->version };
    struct tls_pair p;
    struct forge forge;
    size_t total;

    if (c->version == TLS_VERSION_1_2)
        spec.suites = "ECDHE-ECDSA-AES128-GCM-SHA256";
    tls_pair_open(&p, &tls_world, &spec, TLS_VERSION_1_2);
    assert_int_equal(tls_pair_shake_hands(&p), RES_OK);
    if (sealed) {
        tls_bulk_stream(&p, 2 * BULK_BYTES, BULK_BYTES);
        tls_bulk_expect_engine(&p, "seal", "off");
    }
    forge_open(&forge, &p);
    send_bursts(&forge, c->bursts, ROWS(c->bursts));
    assert_int_equal(read_all(&p, &total), c->alert ? RES_TEMPFAIL : RES_AGAIN);
    assert_int_equal(total, c->reads);
    if (c->alert) {
        assert_int_equal(alert_heard(&p), c->alert);
        tls_pair_expect_dead(&p);
    } else { /* and whatever the library owes goes before our next words */
        tls_pair_client_says(&p, "NOOP\r\n");
        tls_pair_expect_peer_reads(&p, "NOOP\r\n");
    }
    assert_int_equal(tls_client_trapped(p.client), 0);
    tls_pair_close(&p);
}

static void
test_hostile(void **state)
{
    run_hostile(*state, false);
}

static void
test_hostile_to_seal(void **state)
{
    run_hostile(*state, true);
}

/* ---- before the handshake is over ---- */

#define GROUP_P256 0x0017
#define GROUP_P384 0x0018
#define GROUP_X25519 0x001d
#define GROUP_FFDHE2048 0x0100
#define HELLO_MAX 4096u

static const struct retry_case {
    const char *name;
    uint16_t groups[2]; /* of the first and the second HelloRetryRequest; 0: none */
    int alert;
} retry_cases[] = {
    { "FAULTS C15 two HelloRetryRequests", { GROUP_P384, GROUP_P256 }, UNEXPECTED },
    { "FAULTS C15 the same HelloRetryRequest twice", { GROUP_P384, GROUP_P384 }, UNEXPECTED },
    { "FAULTS C15 HelloRetryRequest for the share that was sent", { GROUP_X25519 }, ILLEGAL },
    { "FAULTS C15 HelloRetryRequest for a group that is not on offer",
      { GROUP_FFDHE2048 },
      ILLEGAL },
};

/* A ClientHello, or an alert. */
static size_t
take_answer(struct tls_pair *p, uint8_t bytes[HELLO_MAX])
{
    ssize_t n = recv(p->fds[1], bytes, HELLO_MAX, 0);

    assert_true(n >= 7);
    return (size_t)n;
}

/* RFC 8446 4.1.4: a ServerHello with this random; the session id is the client's. */
static void
send_retry(struct tls_pair *p, const uint8_t *session_id, uint16_t group)
{
    static const uint8_t head[] = { 0x16, 3, 3, 0, 88, 2, 0, 0, 84, 3, 3 };
    static const uint8_t random[] = { 0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11,
                                      0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
                                      0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e,
                                      0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c };
    /* TLS_AES_128_GCM_SHA256, no compression; supported_versions, key_share */
    const uint8_t tail[] = {
        0x13, 1, 0, 0, 12, 0, 43, 0, 2, 3, 4, 0, 0x33, 0, 2, (uint8_t)(group >> 8), (uint8_t)group
    };
    uint8_t record[sizeof head + sizeof random + 33 + sizeof tail];
    uint8_t *at = record;

    memcpy(at, head, sizeof head);
    at += sizeof head;
    memcpy(at, random, sizeof random);
    at += sizeof random;
    memcpy(at, session_id, 33); /* with its length */
    at += 33;
    memcpy(at, tail, sizeof tail);
    assert_int_equal(send(p->fds[1], record, sizeof record, MSG_NOSIGNAL), sizeof record);
}

static void
test_retry(void **state)
{
    const struct retry_case *c = *state;
    enum result res = RES_AGAIN;
    uint8_t hello[HELLO_MAX], session_id[33];
    struct tls_pair p;
    size_t n = 0;

    tls_pair_open_raw(&p, &tls_world, TLS_PAIR_HOST, TLS_VERSION_1_2);
    assert_int_equal(tls_client_handshake(p.client), RES_AGAIN);
    (void)take_answer(&p, hello);
    memcpy(session_id, hello + 5 + 4 + 2 + 32, sizeof session_id);
    assert_int_equal(session_id[0], 32);
    for (size_t i = 0; i < ROWS(c->groups) && c->groups[i]; i++) {
        assert_int_equal(res, RES_AGAIN);
        send_retry(&p, session_id, c->groups[i]);
        res = tls_client_handshake(p.client);
        n = take_answer(&p, hello);
    }
    assert_int_equal(res, RES_TEMPFAIL);
    assert_int_equal(hello[n - 7], SSL3_RT_ALERT);
    assert_int_equal(hello[n - 1], c->alert);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_int_equal(p.obs->failure, TLS_FAILURE_HANDSHAKE);
    tls_pair_close(&p);
}

#define ADD_ROWS(table, func)                                                                      \
    for (size_t i = 0; i < ROWS(table); i++)                                                       \
        tests[n++] = (struct CMUnitTest){ .name = (table)[i].name,                                 \
                                          .test_func = (func),                                     \
                                          .initial_state = (void *)(uintptr_t) & (table)[i] };

int
main(void)
{
    struct CMUnitTest tests[2 * ROWS(cases) + ROWS(retry_cases)] = { 0 };
    char sealed[ROWS(cases)][NAME_MAX_BYTES];
    size_t n = 0;

    ADD_ROWS(cases, test_hostile)
    ADD_ROWS(cases, test_hostile_to_seal)
    for (size_t i = 0; i < ROWS(cases); i++) {
        snprintf(sealed[i], sizeof sealed[i], "%s, to seal", cases[i].name);
        tests[ROWS(cases) + i].name = sealed[i];
    }
    ADD_ROWS(retry_cases, test_retry)
    return cmocka_run_group_tests_name("tls_hostile", tests, tls_world_setup, tls_world_teardown);
}
