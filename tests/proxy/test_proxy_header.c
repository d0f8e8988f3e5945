/* tests/proxy/test_proxy_header.c: PROXY headers, good and bad, at every cut (PRX-054, TC-GW-27).
 */
#include "proxy/proxy_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4                                                                                         \
    "\xc0\x00\x02\x07\xc6\x33\x64\x19\xc3\x53\x00\x19" /* 192.0.2.7 198.51.100.25 50003 25         \
                                                        */
#define NET6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0"
#define V6 NET6 "\x07" NET6 "\x19\xc3\x53\x00\x19"
#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x07"
#define GOOD4 "192.0.2.7 50003 198.51.100.25 25"
#define GOOD6 "2001:db8::7 50003 2001:db8::19 25"
/* The header of CRC is GOOD4 with this extension. */
#define CRC_EXTENSION "\x03\x00\x04\x4c\x8c\x90\x80"

static struct header_case {
    const char *name;
    struct span bytes;
    enum result len, parse; /* parse: when len is RES_OK */
    const char *want;       /* what it says; NULL: nothing */
} cases[] = {
    { "TCP over IPv4", BYTES(SIGNATURE "\x21\x11\x00\x0c" V4), RES_OK, RES_OK, GOOD4 },
    { "TCP over IPv6", BYTES(SIGNATURE "\x21\x21\x00\x24" V6), RES_OK, RES_OK, GOOD6 },
    { "an extension behind the addresses", BYTES(SIGNATURE "\x21\x11\x00\x11" V4 "\x04\x00\x02xx"),
      RES_OK, RES_OK, GOOD4 },
    { "an empty extension", BYTES(SIGNATURE "\x21\x11\x00\x0f" V4 "\x04\x00\x00"), RES_OK, RES_OK,
      GOOD4 },
    { "a checksum that fits", BYTES(SIGNATURE "\x21\x11\x00\x13" V4 CRC_EXTENSION), RES_OK, RES_OK,
      GOOD4 },
    { "a checksum that does not fit",
      BYTES(SIGNATURE "\x21\x11\x00\x13" V4 "\x03\x00\x04\x00\x00\x00\x00"), RES_OK, RES_SYNTAX,
      NULL },
    { "a checksum of three octets", BYTES(SIGNATURE "\x21\x11\x00\x12" V4 "\x03\x00\x03\0\0\0"),
      RES_OK, RES_SYNTAX, NULL },
    { "an extension that is cut", BYTES(SIGNATURE "\x21\x11\x00\x10" V4 "\x04\x00\x02x"), RES_OK,
      RES_SYNTAX, NULL },
    { "half the head of an extension", BYTES(SIGNATURE "\x21\x11\x00\x0e" V4 "\x04\x00"), RES_OK,
      RES_SYNTAX, NULL },
    { "LOCAL", BYTES(SIGNATURE "\x20\x00\x00\x00"), RES_OK, RES_DENIED, NULL },
    { "LOCAL with addresses", BYTES(SIGNATURE "\x20\x11\x00\x0c" V4), RES_OK, RES_DENIED, NULL },
    { "of no known family", BYTES(SIGNATURE "\x21\x00\x00\x00"), RES_OK, RES_DENIED, NULL },
    { "UDP", BYTES(SIGNATURE "\x21\x12\x00\x0c" V4), RES_OK, RES_DENIED, NULL },
    { "UNIX", BYTES(SIGNATURE "\x21\x31\x00\x00"), RES_OK, RES_DENIED, NULL },
    { "a family that nobody has defined", BYTES(SIGNATURE "\x21\x41\x00\x0c" V4), RES_OK,
      RES_SYNTAX, NULL },
    { "a protocol that nobody has defined", BYTES(SIGNATURE "\x21\x13\x00\x0c" V4), RES_OK,
      RES_SYNTAX, NULL },
    { "a command that nobody has defined", BYTES(SIGNATURE "\x22\x11\x00\x0c" V4), RES_OK,
      RES_SYNTAX, NULL },
    { "too short for IPv4", BYTES(SIGNATURE "\x21\x11\x00\x0b\xc0\0\2\7\xc6\x33\x64\x19\xc3\x53\0"),
      RES_OK, RES_SYNTAX, NULL },
    { "too short for IPv6", BYTES(SIGNATURE "\x21\x21\x00\x0c" V4), RES_OK, RES_SYNTAX, NULL },
    { "one address of IPv4 in the form of IPv6",
      BYTES(SIGNATURE "\x21\x21\x00\x24" MAPPED NET6 "\x19\xc3\x53\x00\x19"), RES_OK, RES_SYNTAX,
      NULL },
    { "both addresses of IPv4 in the form of IPv6",
      BYTES(SIGNATURE "\x21\x21\x00\x24" MAPPED MAPPED "\xc3\x53\x00\x19"), RES_OK, RES_OK,
      "192.0.2.7 50003 192.0.2.7 25" },
    { "version 1, the text", BYTES("PROXY TCP4 192.0.2.7 198.51.100.25 50003 25\r\n"), RES_SYNTAX,
      RES_OK, NULL },
    { "version 3", BYTES(SIGNATURE "\x31\x11\x00\x0c" V4), RES_SYNTAX, RES_OK, NULL },
    { "SMTP", BYTES("EHLO client.example\r\n"), RES_SYNTAX, RES_OK, NULL },
    { "a signature with one octet wrong", BYTES("\r\n\r\n\0\r\nQUIT\r\x21\x11\x00\x0c" V4),
      RES_SYNTAX, RES_OK, NULL },
    { "longer than anybody needs", BYTES(SIGNATURE "\x21\x11\x0f\xf1" V4), RES_LIMIT, RES_OK,
      NULL },
};

static void
test_header(void **state)
{
    const struct header_case *c = *state;
    char shown[128] = "", a[IP_ADDR_TEXT_MAX], b[IP_ADDR_TEXT_MAX];
    struct proxy_header h;
    size_t len;

    assert_int_equal(proxy_header_len(c->bytes, &len), c->len);
    if (c->len != RES_OK) {
        assert_int_equal(len, 0);
        return;
    }
    assert_int_equal(len, c->bytes.len);
    assert_int_equal(proxy_header_parse(c->bytes, &h), c->parse);
    assert_int_equal(c->parse == RES_OK, c->want != NULL);
    if (h.client.len)
        snprintf(shown, sizeof shown, "%s %u %s %u", ip_addr_text(&h.client, a), h.client_port,
                 ip_addr_text(&h.destination, b), h.destination_port);
    assert_string_equal(shown, c->want ? c->want : "");
}

/* Its length is not known before the fixed part is there, and then does not change; and no header
 * that is cut is one. */
static void
test_cuts(void **state)
{
    const struct header_case *c = *state;
    struct proxy_header h;
    size_t len;

    for (size_t n = 0; n < c->bytes.len; n++) {
        enum result res = proxy_header_len(span_first(c->bytes, n), &len);

        if (n < PROXY_HEADER_FIXED_BYTES)
            assert_true(res == RES_AGAIN || (res == RES_SYNTAX && c->len == RES_SYNTAX));
        else
            assert_int_equal(res, c->len);
        assert_int_equal(proxy_header_parse(span_first(c->bytes, n), &h), RES_SYNTAX);
        assert_int_equal(h.destination.len, 0);
    }
}

int
main(void)
{
    struct CMUnitTest tests[2 * ROWS(cases)];
    size_t n = 0;

    for (size_t i = 0; i < ROWS(cases); i++) {
        tests[n++] = (struct CMUnitTest){ cases[i].name, test_header, NULL, NULL, &cases[i] };
        tests[n++] = (struct CMUnitTest){ "and its cuts", test_cuts, NULL, NULL, &cases[i] };
    }
    return cmocka_run_group_tests_name("proxy_header", tests, NULL, NULL);
}
