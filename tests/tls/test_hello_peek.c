/* tests/tls/test_hello_peek.c: what begins TLS and what does not, and the version a server chose,
 * at every cut (PRX-040). */
#include "tls/hello_peek.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
#define TLS_1_2 0x0303
#define TLS_1_3 0x0304
#define RANDOM "0123456789abcdef0123456789abcdef"
#define FIXED RANDOM "\x00\xc0\x2f\x00" /* no session id, a suite, no compression */
#define HELLO_1_2 "\x02\x00\x00\x26\x03\x03" FIXED
#define HELLO_1_1 "\x02\x00\x00\x26\x03\x02" FIXED
#define HELLO_1_3 "\x02\x00\x00\x2e\x03\x03" FIXED "\x00\x06\x00\x2b\x00\x02\x03\x04"

static struct client_case {
    const char *name;
    struct span bytes;
    enum result want;
} clients[] = {
    { "nothing yet", BYTES(""), RES_AGAIN },
    { "a ClientHello of TLS 1.0 form", BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc"), RES_OK },
    { "a ClientHello of TLS 1.2 form", BYTES("\x16\x03\x03\x00\x05\x01"), RES_OK },
    { "five octets of it", BYTES("\x16\x03\x01\x02\x00"), RES_AGAIN },
    { "SMTP in clear", BYTES("MAIL FROM:<a@b.example>\r\n"), RES_SYNTAX },
    { "HTTP", BYTES("GET / HTTP/1.1\r\n"), RES_SYNTAX },
    { "an alert", BYTES("\x15\x03\x01\x00\x02\x02\x28"), RES_SYNTAX },
    { "a handshake message that is no hello", BYTES("\x16\x03\x03\x00\x05\x0b"), RES_SYNTAX },
    { "another major version", BYTES("\x16\x02\x00"), RES_SYNTAX },
    { "an empty record", BYTES("\x16\x03\x01\x00\x00"), RES_SYNTAX },
    { "a record that is too long", BYTES("\x16\x03\x01\x40\x01"), RES_SYNTAX },
    { "a hello of SSL 2", BYTES("\x80\x2e\x01\x00\x02"), RES_SYNTAX },
};

static void
test_client(void **state)
{
    const struct client_case *c = *state;

    assert_int_equal(client_hello_begins(c->bytes), c->want);
}

static struct server_case {
    const char *name;
    struct span bytes;
    enum result want;
    uint16_t version;
} servers[] = {
    { "nothing yet", BYTES(""), RES_AGAIN, 0 },
    { "TLS 1.2", BYTES("\x16\x03\x03\x00\x2a" HELLO_1_2), RES_OK, TLS_1_2 },
    { "TLS 1.1", BYTES("\x16\x03\x02\x00\x2a" HELLO_1_1), RES_OK, 0x0302 },
    { "TLS 1.3 by its extension", BYTES("\x16\x03\x03\x00\x32" HELLO_1_3), RES_OK, TLS_1_3 },
    { "other messages in the same record", BYTES("\x16\x03\x03\x00\x2e" HELLO_1_2 "\x0b\0\0\0"),
      RES_OK, TLS_1_2 },
    { "in two records",
      BYTES("\x16\x03\x03\x00\x04\x02\x00\x00\x26\x16\x03\x03\x00\x26\x03\x03" FIXED), RES_OK,
      TLS_1_2 },
    { "records behind it of any kind",
      BYTES("\x16\x03\x03\x00\x32" HELLO_1_3 "\x14\x03\x03\x00\x01\x01\x17\x03\x03"), RES_OK,
      TLS_1_3 },
    { "a fatal alert", BYTES("\x15\x03\x03\x00\x02\x02\x28"), RES_DENIED, 0 },
    { "an alert of no such length", BYTES("\x15\x03\x03\xff\xff"), RES_SYNTAX, 0 },
    { "SMTP in clear", BYTES("500 What?\r\n"), RES_SYNTAX, 0 },
    { "another handshake message", BYTES("\x16\x03\x03\x00\x04\x0b\0\0\0"), RES_SYNTAX, 0 },
    { "application data first", BYTES("\x17\x03\x03\x00\x01x"), RES_SYNTAX, 0 },
    { "application data within the message",
      BYTES("\x16\x03\x03\x00\x04\x02\x00\x00\x26\x17\x03\x03\x00\x01x"), RES_SYNTAX, 0 },
    { "a message that is too long", BYTES("\x16\x03\x03\x00\x04\x02\x00\x10\x00"), RES_SYNTAX, 0 },
    { "cut in its header", BYTES("\x16\x03\x03\x00"), RES_AGAIN, 0 },
};

/* At no cut before the end is there another answer than at the end. */
static void
test_server(void **state)
{
    const struct server_case *c = *state;
    uint16_t version;

    for (size_t len = 0; len < c->bytes.len; len++) {
        enum result res = server_hello_in_stream(span_first(c->bytes, len), &version);

        assert_true(res == RES_AGAIN || res == c->want ||
                    (res == RES_DENIED && c->want == RES_SYNTAX));
        assert_int_equal(version, res == RES_OK ? c->version : 0);
    }
    assert_int_equal(server_hello_in_stream(c->bytes, &version), c->want);
    assert_int_equal(version, c->version);
}

int
main(void)
{
    struct CMUnitTest tests[ROWS(clients) + ROWS(servers)];
    size_t n = 0;

    for (size_t i = 0; i < ROWS(clients); i++)
        tests[n++] = (struct CMUnitTest){ clients[i].name, test_client, NULL, NULL, &clients[i] };
    for (size_t i = 0; i < ROWS(servers); i++)
        tests[n++] = (struct CMUnitTest){ servers[i].name, test_server, NULL, NULL, &servers[i] };
    return cmocka_run_group_tests_name("hello_peek", tests, NULL, NULL);
}
