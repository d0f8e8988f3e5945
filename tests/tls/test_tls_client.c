/* tests/tls/test_tls_client.c: handshakes with servers good and bad, and the facts learned of them.
 */
#include "tls/tls_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include "base/requirement.h"
#include "tests/support/tls_pair.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))

/* Codepoints of groups, RFC 8446 4.2.7 and draft-ietf-tls-ecdhe-mlkem. */
#define GROUP_X25519 0x001d
#define GROUP_X25519MLKEM768 0x11ec

#ifdef SSL_GROUP_X25519_MLKEM768
#define LIBRARY_HAS_MLKEM true
#else
#define LIBRARY_HAS_MLKEM false /* Debian's tree of 2022 */
#endif

/* ---- a peer that is no TLS server, or a broken one ---- */

enum then { STAYS, CLOSES };

#define RANDOM32 "0123456789abcdef0123456789abcdef"
/* A record with a ServerHello of 40 octets: version, random, no session id, suite, no compression.
 */
#define HELLO(record, version, suite)                                                              \
    "\x16\x03" record "\x00\x2a\x02\x00\x00\x26\x03" version RANDOM32 "\x00" suite "\x00"
/* Of TLS 1.2, with one extension of 9 octets. */
#define HELLO_EXTENDED(extension)                                                                  \
    "\x16\x03\x03\x00\x35\x02\x00\x00\x31\x03\x03" RANDOM32 "\x00\xc0\x2b\x00\x00\x09" extension
#define ALERT(code) "\x15\x03\x01\x00\x02\x02" code
#define BYTES(text) text, sizeof(text) - 1

static const struct raw_case {
    const char *name;
    uint16_t floor;
    const char *bytes;
    size_t len;
    enum then then;
    enum tls_failure failure;
    const char *reason; /* NULL: the library's versions differ, but not empty */
    uint16_t version;
} raw_cases[] = {
    { "TC-TLS-24 peer closes", TLS_VERSION_1_2, "", 0, CLOSES, TLS_FAILURE_HANDSHAKE,
      "peer closed the connection", 0 },
    { "TLS-025 peer is silent", TLS_VERSION_1_2, "", 0, STAYS, TLS_FAILURE_TIMEOUT,
      "handshake timed out", 0 },
    { "TC-TLS-24 peer closes in a record", TLS_VERSION_1_2, BYTES("\x16\x03\x03\x00"), CLOSES,
      TLS_FAILURE_HANDSHAKE, "peer closed the connection", 0 },
    { "FAULTS C4 silent behind a ServerHello", TLS_VERSION_1_2,
      BYTES(HELLO("\x03", "\x03", "\xc0\x2b")), STAYS, TLS_FAILURE_TIMEOUT, "handshake timed out",
      0x0303 },
    { "TC-TLS-24 closes behind a ServerHello", TLS_VERSION_1_2,
      BYTES(HELLO("\x03", "\x03", "\xc0\x2b")), CLOSES, TLS_FAILURE_HANDSHAKE,
      "peer closed the connection", 0x0303 },
    { "plain text: an SMTP reply", TLS_VERSION_1_2, BYTES("500 5.5.1 what?\r\n"), STAYS,
      TLS_FAILURE_HANDSHAKE, "wrong version number", 0 },
    { "plain text: multi-line reply and close", TLS_VERSION_1_0, BYTES("250-a\r\n250 b\r\n"),
      CLOSES, TLS_FAILURE_HANDSHAKE, "wrong version number", 0 },
    { "FAULTS C19 plain text: HTTP", TLS_VERSION_1_2, BYTES("HTTP/1.1 400 Bad Request\r\n\r\n"),
      STAYS, TLS_FAILURE_HANDSHAKE, "wrong version number", 0 },
    { "garbage: zeros", TLS_VERSION_1_2, BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), STAYS,
      TLS_FAILURE_HANDSHAKE, "wrong version number", 0 },
    { "garbage: application data", TLS_VERSION_1_2,
      BYTES("\x17\x03\x03\x00\x03"
            "abc"),
      STAYS, TLS_FAILURE_HANDSHAKE, NULL, 0 },
    { "garbage: Finished first", TLS_VERSION_1_2, BYTES("\x16\x03\x03\x00\x04\x14\x00\x00\x00"),
      STAYS, TLS_FAILURE_HANDSHAKE, "unexpected message", 0 },
    { "FAULTS C5 a message of 16 MiB", TLS_VERSION_1_2,
      BYTES("\x16\x03\x03\x00\x04\x02\xff\xff\xff"), STAYS, TLS_FAILURE_HANDSHAKE,
      "excessive message size", 0 },
    { "a record of 64 KiB", TLS_VERSION_1_2, BYTES("\x16\x03\x03\xff\xff\x02\x00\x00\x00"), STAYS,
      TLS_FAILURE_HANDSHAKE, "encrypted length too long", 0 },
    { "a suite that was not offered", TLS_VERSION_1_2, BYTES(HELLO("\x03", "\x03", "\x00\x2f")),
      STAYS, TLS_FAILURE_HANDSHAKE, "wrong cipher returned", 0x0303 },
    { "FAULTS C15 ALPN, which was not offered", TLS_VERSION_1_2,
      BYTES(HELLO_EXTENDED("\x00\x10\x00\x05\x00\x03\x02h2")), STAYS, TLS_FAILURE_HANDSHAKE,
      "parse tlsext", 0x0303 },
    { "FAULTS C15 an extension that nobody knows", TLS_VERSION_1_2,
      BYTES(HELLO_EXTENDED("\xfa\xfa\x00\x05hello")), STAYS, TLS_FAILURE_HANDSHAKE, "parse tlsext",
      0x0303 },
    { "FAULTS C3 RC4", TLS_VERSION_1_0, BYTES(HELLO("\x01", "\x01", "\x00\x05")), STAYS,
      TLS_FAILURE_HANDSHAKE, "wrong cipher returned", 0x0301 },
    { "TLS-022 TC-TLS-08 ServerHello of TLS 1.1 below the floor", TLS_VERSION_1_2,
      BYTES(HELLO("\x02", "\x02", "\xc0\x13")), STAYS, TLS_FAILURE_VERSION, "unsupported protocol",
      0x0302 },
    { "TLS-022 TC-TLS-08 ServerHello of TLS 1.0 below the floor", TLS_VERSION_1_1,
      BYTES(HELLO("\x01", "\x01", "\xc0\x13")), CLOSES, TLS_FAILURE_VERSION, "unsupported protocol",
      0x0301 },
    { "TLS-020 ServerHello of SSL 3.0", TLS_VERSION_1_0, BYTES(HELLO("\x00", "\x00", "\x00\x2f")),
      STAYS, TLS_FAILURE_VERSION, "unsupported protocol", 0x0300 },
    { "TLS-022 alert protocol_version: version unknown", TLS_VERSION_1_2, BYTES(ALERT("\x46")),
      CLOSES, TLS_FAILURE_VERSION, "tlsv1 alert protocol version", 0 },
    { "TLS-022 alert handshake_failure in place of a ServerHello", TLS_VERSION_1_2,
      BYTES(ALERT("\x28")), CLOSES, TLS_FAILURE_HANDSHAKE, "no common cipher suite", 0 },
    { "alert insufficient_security in place of a ServerHello", TLS_VERSION_1_2,
      BYTES(ALERT("\x47")), CLOSES, TLS_FAILURE_HANDSHAKE, "no common cipher suite", 0 },
    { "alert handshake_failure behind a ServerHello is about something else", TLS_VERSION_1_2,
      BYTES(HELLO("\x03", "\x03", "\xc0\x2b") "\x15\x03\x03\x00\x02\x02\x28"), CLOSES,
      TLS_FAILURE_HANDSHAKE, "sslv3 alert handshake failure", 0x0303 },
    { "FAULTS C2 ServerHello of TLS 1.2 with the mark of a downgrade from 1.3", TLS_VERSION_1_2,
      BYTES("\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03"
            "0123456789abcdef01234567"
            "DOWNGRD\x01\x00\xc0\x2b\x00"),
      STAYS, TLS_FAILURE_HANDSHAKE, "tls13 downgrade", 0x0303 },
    { "FAULTS C14 alert unrecognized_name", TLS_VERSION_1_2, BYTES(ALERT("\x70")), STAYS,
      TLS_FAILURE_HANDSHAKE, "tlsv1 alert unrecognized name", 0 },
    { "alert internal_error", TLS_VERSION_1_0, BYTES(ALERT("\x50")), STAYS, TLS_FAILURE_HANDSHAKE,
      "tlsv1 alert internal error", 0 },
    { "alert with a number nobody gave", TLS_VERSION_1_0, BYTES(ALERT("\xee")), STAYS,
      TLS_FAILURE_HANDSHAKE, "unknown error", 0 },
    { "alert close_notify", TLS_VERSION_1_2, BYTES("\x15\x03\x01\x00\x02\x01\x00"), STAYS,
      TLS_FAILURE_HANDSHAKE, "peer closed the connection", 0 },
};

static void
drain(int fd)
{
    char bytes[4096];

    for (int i = 0; i < TLS_PAIR_STEPS_MAX; i++)
        if (recv(fd, bytes, sizeof bytes, 0) <= 0)
            break;
}

/* Rows in which the peer sends an alert are those that hold one; ours goes out where the peer still
 * speaks and is wrong. */
static void
check_alert(const char *alert, const struct raw_case *c)
{
    bool received = memmem(c->bytes, c->len, "\x00\x02\x02", 3) != NULL;

    if (received)
        assert_int_equal(strncmp(alert, "received ", 9), 0);
    else
        assert_int_not_equal(strncmp(alert, "received ", 9), 0);
    if (c->failure == TLS_FAILURE_TIMEOUT)
        assert_string_equal(alert, "");
    if (c->failure == TLS_FAILURE_VERSION && !received)
        assert_string_equal(alert, "sent protocol version");
}

static void
test_raw(void **state)
{
    const struct raw_case *c = *state;
    struct tls_pair p;
    enum result res = RES_AGAIN;

    tls_pair_open_raw(&p, &tls_world, TLS_PAIR_HOST, c->floor);
    assert_int_equal(tls_client_handshake(p.client), RES_AGAIN);
    drain(p.fds[1]); /* so that closing is an end of file and no reset */
    assert_int_equal(send(p.fds[1], c->bytes, c->len, MSG_NOSIGNAL), c->len);
    if (c->then == CLOSES)
        tls_pair_close_peer(&p);
    for (int i = 0; i < TLS_PAIR_STEPS_MAX && res == RES_AGAIN; i++)
        res = tls_peer_client_step(p.client);
    assert_int_equal(res, c->failure == TLS_FAILURE_TIMEOUT ? RES_AGAIN : RES_TEMPFAIL);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    if (c->reason)
        assert_string_equal(p.obs->failure_reason, c->reason);
    assert_string_not_equal(p.obs->failure_reason, "");
    assert_int_equal(p.obs->failure, c->failure);
    assert_int_equal(p.obs->stage, TLS_STAGE_FAILED);
    assert_int_equal(p.obs->version, c->version);
    assert_int_equal(p.obs->floor, c->floor);
    assert_string_equal(p.obs->sni, TLS_PAIR_HOST);
    check_alert(p.obs->alert, c);
    assert_string_equal(p.obs->cipher, "");
    assert_string_equal(p.obs->chain_error, "");
    assert_int_equal(p.obs->chain, CHAIN_UNTRUSTED);
    if (res == RES_TEMPFAIL)
        assert_int_equal(tls_client_handshake(p.client), RES_TEMPFAIL);
    tls_pair_expect_dead(&p);
    tls_pair_close(&p);
}

/* ---- servers of all kinds, and what is learned of them ---- */

#define SECURE12 "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"

static const struct facts_case {
    const char *name;
    uint16_t floor;
    struct tls_peer_spec spec;
    bool rsa;
    uint16_t version;
    const char *cipher, *group; /* when it succeeds */
    enum tls_failure failure;
    const char *reason; /* when it fails */
} facts_cases[] = {
    { "TC-TLS-09 TLS 1.3",
      TLS_VERSION_1_2,
      { .min = TLS_VERSION_1_3, .groups = "X25519" },
      .version = 0x0304,
      .cipher = "TLS_AES_128_GCM_SHA256",
      .group = "X25519" },
#ifdef SSL_GROUP_X25519_MLKEM768
    { "the hybrid post-quantum group",
      TLS_VERSION_1_2,
      { .min = TLS_VERSION_1_3, .groups = "X25519MLKEM768" },
      .version = 0x0304,
      .cipher = "TLS_AES_128_GCM_SHA256",
      .group = "X25519MLKEM768" },
#endif
    { "TC-TLS-09 HelloRetryRequest",
      TLS_VERSION_1_2,
      { .groups = "P-384" },
      .version = 0x0304,
      .cipher = "TLS_AES_128_GCM_SHA256",
      .group = "P-384" },
    { "TC-TLS-09 TLS 1.2",
      TLS_VERSION_1_2,
      { .max = TLS_VERSION_1_2, .groups = "P-256" },
      .version = 0x0303,
      .cipher = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
      .group = "P-256" },
    { "TLS 1.2, RSA certificate",
      TLS_VERSION_1_2,
      { .max = TLS_VERSION_1_2, .groups = "X25519" },
      .rsa = true,
      .version = 0x0303,
      .cipher = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
      .group = "X25519" },
    { "TLS 1.2, ChaCha20",
      TLS_VERSION_1_2,
      { .max = TLS_VERSION_1_2, .suites = "ECDHE-ECDSA-CHACHA20-POLY1305", .groups = "X25519" },
      .version = 0x0303,
      .cipher = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
      .group = "X25519" },
    { "TLS 1.2, CBC",
      TLS_VERSION_1_2,
      { .max = TLS_VERSION_1_2, .suites = "ECDHE-ECDSA-AES256-SHA", .groups = "X25519" },
      .version = 0x0303,
      .cipher = "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
      .group = "X25519" },
    { "TLS-020 low floor, TLS 1.3 is preferred all the same",
      TLS_VERSION_1_0,
      { .groups = "X25519" },
      .version = 0x0304,
      .cipher = "TLS_AES_128_GCM_SHA256",
      .group = "X25519" },
    { "TLS-021 TLS 1.0, low floor",
      TLS_VERSION_1_0,
      { .max = TLS_VERSION_1_0, .groups = "X25519" },
      .rsa = true,
      .version = 0x0301,
      .cipher = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
      .group = "X25519" },
    { "TLS-021 TLS 1.1, low floor",
      TLS_VERSION_1_0,
      { .max = TLS_VERSION_1_1, .groups = "P-256" },
      .version = 0x0302,
      .cipher = "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
      .group = "P-256" },
    { "TLS-021 TLS 1.1, its floor",
      TLS_VERSION_1_1,
      { .max = TLS_VERSION_1_1, .groups = "P-256" },
      .version = 0x0302,
      .cipher = "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
      .group = "P-256" },
    { "TLS-023 static RSA, low floor",
      TLS_VERSION_1_0,
      { .max = TLS_VERSION_1_2, .suites = "AES128-GCM-SHA256" },
      .rsa = true,
      .version = 0x0303,
      .cipher = "TLS_RSA_WITH_AES_128_GCM_SHA256",
      .group = "" },
    { "TLS-028 TC-TLS-18 server asks for a certificate, TLS 1.3",
      TLS_VERSION_1_2,
      { .asks_certificate = true, .groups = "X25519" },
      .version = 0x0304,
      .cipher = "TLS_AES_128_GCM_SHA256",
      .group = "X25519" },
    { "TLS-028 TC-TLS-18 server asks for a certificate, TLS 1.2",
      TLS_VERSION_1_2,
      { .asks_certificate = true, .max = TLS_VERSION_1_2, .groups = "X25519" },
      .version = 0x0303,
      .cipher = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
      .group = "X25519" },

    { "TLS-020 TC-TLS-08 TLS 1.1 only, floor 1.2",
      TLS_VERSION_1_2,
      { .max = TLS_VERSION_1_1 },
      .failure = TLS_FAILURE_VERSION,
      .reason = "tlsv1 alert protocol version" },
    { "TLS-020 TC-TLS-08 TLS 1.0 only, floor 1.1",
      TLS_VERSION_1_1,
      { .max = TLS_VERSION_1_0 },
      .failure = TLS_FAILURE_VERSION,
      .reason = "tlsv1 alert protocol version" },
    { "TLS-020 TLS 1.2 only, floor 1.3",
      TLS_VERSION_1_3,
      { .max = TLS_VERSION_1_2 },
      .failure = TLS_FAILURE_VERSION,
      .reason = "tlsv1 alert protocol version" },
    { "TLS-023 FAULTS C3 static RSA, floor 1.2",
      TLS_VERSION_1_2,
      { .max = TLS_VERSION_1_2, .suites = "AES128-GCM-SHA256" },
      .rsa = true,
      .failure = TLS_FAILURE_HANDSHAKE,
      .reason = "no common cipher suite" },
    { "FAULTS C13 server insists on a certificate, TLS 1.2",
      TLS_VERSION_1_2,
      { .needs_certificate = true, .max = TLS_VERSION_1_2 },
      .version = 0x0303,
      .failure = TLS_FAILURE_HANDSHAKE,
      .reason = "sslv3 alert handshake failure" },
};

static void
test_facts(void **state)
{
    const struct facts_case *c = *state;
    struct tls_peer_spec spec = c->spec;
    struct tls_pair p;

    spec.chain[0] = c->rsa ? &tls_world.rsa_leaf : &tls_world.leaf;
    tls_pair_open(&p, &tls_world, &spec, c->floor);
    assert_int_equal(tls_pair_shake_hands(&p), c->failure ? RES_TEMPFAIL : RES_OK);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_string_equal(p.obs->failure_reason, c->reason ? c->reason : "");
    assert_int_equal(p.obs->failure, c->failure);
    assert_int_equal(p.obs->stage, c->failure ? TLS_STAGE_FAILED : TLS_STAGE_DONE);
    assert_int_equal(p.obs->version, c->version);
    assert_string_equal(p.obs->cipher, c->cipher ? c->cipher : "");
    assert_string_equal(p.obs->group, c->group ? c->group : "");
    assert_int_equal(p.obs->floor, c->floor);
    assert_false(p.obs->resumed);
    assert_int_equal(p.obs->chain, c->failure ? CHAIN_UNTRUSTED : CHAIN_GOOD);
    if (!c->failure) {
        assert_string_equal(SSL_get_servername(p.peer.ssl, TLSEXT_NAMETYPE_host_name),
                            TLS_PAIR_HOST);
        assert_null(SSL_get0_peer_certificates(p.peer.ssl));
        tls_pair_client_says(&p, "EHLO c\r\n");
        tls_pair_expect_peer_reads(&p, "EHLO c\r\n");
        tls_pair_peer_says(&p, "250 ok\r\n");
        tls_pair_expect_read(&p, "250 ok\r\n");
    }
    tls_pair_close(&p);
}

/* ---- SNI (TLS-040) ---- */

#define LABEL49 "a23456789b123456789c123456789d123456789e123456789"

static const struct sni_case {
    const char *name, *sni;
    enum result want;
} sni_cases[] = {
    { "TC-TLS-10 SNI: a host", "mx1.example.com", RES_OK },
    { "TLS-040 SNI: A-labels", "xn--mx-eka.xn--exmple-cua.com", RES_OK },
    { "SMTP-024 SNI: underscore", "mx_1.example.com", RES_OK },
    { "SNI: none", "", RES_OK },
    { "TLS-040 SNI: IPv4 address", "192.0.2.1", RES_SYNTAX },
    { "TLS-040 SNI: IPv6 address", "2001:db8::1", RES_SYNTAX },
    { "TLS-040 SNI: address literal", "[192.0.2.1]", RES_SYNTAX },
    { "TLS-040 SNI: trailing dot", "mx.example.com.", RES_SYNTAX },
    { "TLS-040 SNI: empty label", "mx..example.com", RES_SYNTAX },
    { "TLS-040 SNI: U-label", "m\xc3\xbcnchen.example", RES_SYNTAX },
    { "TLS-040 SNI: too long", LABEL49 "." LABEL49 "." LABEL49 "." LABEL49 "." LABEL49 ".exam",
      RES_SYNTAX },
};

static void
test_sni(void **state)
{
    const struct sni_case *c = *state;
    struct tls_peer_spec spec = { .chain = { &tls_world.leaf } };
    struct tls_client *client = (struct tls_client *)&spec; /* must become NULL */
    struct tls_pair p;
    const char *seen;

    if (c->want != RES_OK) {
        assert_int_equal(tls_client_new(tls_world.ctx, 0, c->sni, TLS_VERSION_1_2, &client),
                         c->want);
        assert_null(client);
        return;
    }
    tls_pair_open_raw(&p, &tls_world, c->sni, TLS_VERSION_1_2);
    tls_peer_open(&p.peer, &spec, p.fds[1]);
    assert_int_equal(tls_pair_shake_hands(&p), RES_OK);
    seen = SSL_get_servername(p.peer.ssl, TLSEXT_NAMETYPE_host_name);
    assert_string_equal(seen ? seen : "", c->sni);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_string_equal(p.obs->sni, c->sni);
    tls_pair_close(&p);
}

/* ---- the ClientHello (TLS-020, TLS-023, TLS-024, DANE-036, DANE-037) ---- */

static const struct hello_case {
    const char *name;
    uint16_t floor;
    bool static_rsa;
} hello_cases[] = {
    { "ClientHello, floor 1.0", TLS_VERSION_1_0, true },
    { "ClientHello, floor 1.1", TLS_VERSION_1_1, true },
    { "ClientHello, floor 1.2", TLS_VERSION_1_2, false },
    { "ClientHello, floor 1.3", TLS_VERSION_1_3, false },
};

static bool
suite_is_static_rsa(unsigned suite)
{
    return suite == 0x009c || suite == 0x009d || suite == 0x002f || suite == 0x0035;
}

static bool
suite_is_forward_secret(unsigned suite)
{
    static const uint16_t good[] = { 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xc02f, 0xc030,
                                     0xcca8, 0xcca9, 0xc009, 0xc00a, 0xc013, 0xc014 };

    for (size_t i = 0; i < ROWS(good); i++)
        if (good[i] == suite)
            return true;
    return false;
}

static unsigned
number_at(const uint8_t *p)
{
    return (unsigned)(p[0] << 8 | p[1]);
}

/* extensions: with their length before them. The length of one and behind it its body; NULL: it is
 * not there. */
static const uint8_t *
find_extension(const uint8_t *extensions, size_t len, unsigned type)
{
    for (size_t at = 2; at + 4 <= len; at += 4u + number_at(extensions + at + 2))
        if (number_at(extensions + at) == type)
            return extensions + at + 2;
    return NULL;
}

static bool
hello_has_extension(const uint8_t *extensions, size_t len, unsigned type)
{
    return find_extension(extensions, len, type) != NULL;
}

/* Where the list of suites of a ClientHello in a record begins: with its length. */
static size_t
hello_suites_at(const uint8_t *hello)
{
    size_t at = 5 + 4 + 2 + 32; /* record, message, version, random */

    return at + 1u + hello[at];
}

static void
test_hello(void **state)
{
    const struct hello_case *c = *state;
    bool static_rsa = false;
    uint8_t hello[4096];
    size_t at, end;
    struct tls_pair p;
    ssize_t n;

    tls_pair_open_raw(&p, &tls_world, TLS_PAIR_HOST, c->floor);
    assert_int_equal(tls_client_handshake(p.client), RES_AGAIN);
    n = recv(p.fds[1], hello, sizeof hello, 0);
    assert_true(n > 100);
    at = hello_suites_at(hello);
    end = at + 2 + number_at(hello + at);
    for (at += 2; at < end; at += 2) {
        unsigned suite = number_at(hello + at);

        static_rsa = static_rsa || suite_is_static_rsa(suite);
        /* Once static RSA has begun nothing else follows: it is the last resort. */
        assert_true(static_rsa ? suite_is_static_rsa(suite) : suite_is_forward_secret(suite));
    }
    assert_int_equal(static_rsa, c->static_rsa);
    assert_int_equal(hello[at], 1); /* one compression method: none */
    assert_int_equal(hello[at + 1], 0);
    assert_false(hello_has_extension(hello + at + 2, (size_t)n - at - 2, 42)); /* no 0-RTT */
    assert_false(hello_has_extension(hello + at + 2, (size_t)n - at - 2, 41)); /* nor a ticket */
    /* TC-DANE-39: neither raw public keys (RFC 7250) nor Certificate Transparency are asked for. */
    for (unsigned type = 18; type <= 20; type++)
        assert_false(hello_has_extension(hello + at + 2, (size_t)n - at - 2, type));
    tls_pair_close(&p);
}

/* The first group on offer of a new client of ctx. */
static unsigned
first_group(struct tls_context *ctx)
{
    const uint8_t *groups;
    uint8_t hello[4096];
    size_t at;
    struct tls_client *client;
    int fds[2];
    ssize_t n;

    tls_peer_pair(fds);
    assert_int_equal(tls_client_new(ctx, fds[0], TLS_PAIR_HOST, TLS_VERSION_1_2, &client), RES_OK);
    assert_int_equal(tls_client_handshake(client), RES_AGAIN);
    n = recv(fds[1], hello, sizeof hello, 0);
    assert_true(n > 100 && (size_t)n < sizeof hello);
    at = hello_suites_at(hello);
    at += 2u + number_at(hello + at) + 2u; /* and one compression method */
    groups = find_extension(hello + at, (size_t)n - at, TLSEXT_TYPE_supported_groups);
    assert_non_null(groups);
    tls_client_free(client);
    close(fds[0]);
    close(fds[1]);
    return number_at(groups + 4); /* behind the lengths of extension and list */
}

/* TC-TLS-25: offered where the library has it, unless the operator says no. */
static void
test_post_quantum(void **state)
{
    struct tls_context *ctx;
    const char *error;

    (void)state;
    assert_int_equal(tls_context_new(tls_world.ca_file, &ctx, &error), RES_OK);
    assert_int_equal(first_group(ctx), LIBRARY_HAS_MLKEM ? GROUP_X25519MLKEM768 : GROUP_X25519);
    assert_int_equal(tls_context_set_post_quantum(ctx, false), RES_OK);
    assert_int_equal(first_group(ctx), GROUP_X25519);
    assert_int_equal(tls_context_set_post_quantum(ctx, true), RES_OK);
    assert_int_equal(first_group(ctx), LIBRARY_HAS_MLKEM ? GROUP_X25519MLKEM768 : GROUP_X25519);
    tls_context_free(ctx);
}

/* ---- ends of a handshake that are no row ---- */

static void
test_reset(void **state)
{
    struct tls_pair p;

    (void)state;
    tls_pair_open_raw(&p, &tls_world, TLS_PAIR_HOST, TLS_VERSION_1_2);
    assert_int_equal(tls_client_handshake(p.client), RES_AGAIN);
    tls_pair_close_peer(&p); /* with the ClientHello unread: a reset */
    assert_int_equal(tls_client_handshake(p.client), RES_TEMPFAIL);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_int_equal(p.obs->failure, TLS_FAILURE_HANDSHAKE);
    assert_string_equal(p.obs->failure_reason, "connection reset by peer");
    tls_pair_close(&p);
}

static void
test_closed_before_hello(void **state)
{
    struct tls_pair p;

    (void)state;
    tls_pair_open_raw(&p, &tls_world, TLS_PAIR_HOST, TLS_VERSION_1_2);
    tls_pair_close_peer(&p);
    assert_int_equal(tls_client_handshake(p.client), RES_TEMPFAIL);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_int_equal(p.obs->failure, TLS_FAILURE_HANDSHAKE);
    assert_string_not_equal(p.obs->failure_reason, "");
    tls_pair_close(&p);
}

static void
test_our_close_in_handshake(void **state)
{
    struct tls_pair p;

    (void)state;
    tls_pair_open_raw(&p, &tls_world, TLS_PAIR_HOST, TLS_VERSION_1_2);
    assert_int_equal(tls_client_handshake(p.client), RES_AGAIN);
    tls_client_close(p.client);
    assert_int_equal(tls_client_handshake(p.client), RES_TEMPFAIL);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_int_equal(p.obs->stage, TLS_STAGE_FAILED);
    tls_pair_close(&p);
}

/* Our alert tells the peer why. */
static void
test_alert_is_sent(void **state)
{
    static const char hello[] = HELLO("\x02", "\x02", "\xc0\x13");
    char bytes[64];
    struct tls_pair p;
    ssize_t n;

    (void)state;
    tls_pair_open_raw(&p, &tls_world, TLS_PAIR_HOST, TLS_VERSION_1_2);
    assert_int_equal(tls_client_handshake(p.client), RES_AGAIN);
    drain(p.fds[1]);
    assert_int_equal(send(p.fds[1], hello, sizeof hello - 1, MSG_NOSIGNAL), sizeof hello - 1);
    assert_int_equal(tls_client_handshake(p.client), RES_TEMPFAIL);
    n = recv(p.fds[1], bytes, sizeof bytes, 0);
    assert_int_equal(n, 7);
    assert_int_equal(bytes[0], 21);
    assert_int_equal(bytes[6], 70); /* protocol_version */
    tls_pair_close(&p);
}

/* FAULTS C5: 10000 names make a message that is longer than any honest chain. It is not read to its
 * end, let alone parsed. */
static void
test_huge_certificate(void **state)
{
    static const struct cert_spec spec = { .sans = TLS_PAIR_HOST, .more_sans = 9999 };
    struct tls_peer_spec server = { .max = TLS_VERSION_1_2 };
    struct cert huge;
    struct tls_pair p;

    (void)state;
    assert_true(cert_make(&tls_world.factory, &spec, &tls_world.root, &huge));
    server.chain[0] = &huge;
    tls_pair_open(&p, &tls_world, &server, TLS_VERSION_1_2);
    assert_int_equal(tls_pair_shake_hands(&p), RES_TEMPFAIL);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_string_equal(p.obs->failure_reason, "excessive message size");
    assert_string_equal(p.obs->alert, "sent illegal parameter");
    assert_null(p.obs->certs);
    tls_pair_close(&p);
    cert_clear(&huge);
}

/* The stream before the handshake carries nothing. */
static void
test_too_early(void **state)
{
    struct tls_pair p;

    (void)state;
    tls_pair_open_raw(&p, &tls_world, TLS_PAIR_HOST, TLS_VERSION_1_2);
    tls_pair_expect_dead(&p);
    assert_int_equal(recv(p.fds[1], &(char){ 0 }, 1, 0), -1);
    tls_pair_close(&p);
}

static void
test_library(void **state)
{
    (void)state;
    assert_int_equal(strncmp(tls_library(), "BoringSSL (API ", 15), 0);
}

#define ADD_ROWS(table, func)                                                                      \
    for (size_t i = 0; i < ROWS(table); i++)                                                       \
        tests[n++] = (struct CMUnitTest){ .name = (table)[i].name,                                 \
                                          .test_func = (func),                                     \
                                          .initial_state = (void *)&(table)[i] };

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_post_quantum),        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_closed_before_hello), cmocka_unit_test(test_our_close_in_handshake),
        cmocka_unit_test(test_alert_is_sent),       cmocka_unit_test(test_huge_certificate),
        cmocka_unit_test(test_too_early),           cmocka_unit_test(test_library),
    };
    struct CMUnitTest tests[ROWS(raw_cases) + ROWS(facts_cases) + ROWS(sni_cases) +
                            ROWS(hello_cases) + ROWS(others)] = { 0 };
    size_t n = 0;

    ADD_ROWS(raw_cases, test_raw)
    ADD_ROWS(facts_cases, test_facts)
    ADD_ROWS(sni_cases, test_sni)
    ADD_ROWS(hello_cases, test_hello)
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests_name("tls_client", tests, tls_world_setup, tls_world_teardown);
}
