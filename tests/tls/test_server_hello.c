/* tests/tls/test_server_hello.c: the version a server chose (TLS-022), one test per row. A row is
 * the body behind version, random, session id, suite and compression: the extensions. */
#include "tls/server_hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define MESSAGE_MAX 512u
#define VERSIONS_1_3 "\x00\x2b\x00\x02\x03\x04"
#define KEY_SHARE "\x00\x33\x00\x02\x00\x1d"

static const struct hello_case {
    const char *name;
    uint16_t legacy;
    unsigned session_id_len;
    const char *extensions; /* with their length; NULL: the message ends before it */
    size_t extensions_len;
    enum result want;
    uint16_t version;
} cases[] = {
    { "SSL 3.0, no extensions", 0x0300, 32, NULL, 0, RES_OK, 0x0300 },
    { "TLS 1.0, no session id", 0x0301, 0, NULL, 0, RES_OK, 0x0301 },
    { "TLS 1.1", 0x0302, 32, NULL, 0, RES_OK, 0x0302 },
    { "TLS 1.2, empty extensions", 0x0303, 32, "\x00\x00", 2, RES_OK, 0x0303 },
    { "TLS 1.2, other extensions", 0x0303, 32, "\x00\x05\xff\x01\x00\x01\x00", 7, RES_OK, 0x0303 },
    { "TLS 1.3", 0x0303, 32, "\x00\x06" VERSIONS_1_3, 8, RES_OK, 0x0304 },
    { "TLS 1.3, key share before", 0x0303, 32, "\x00\x0c" KEY_SHARE VERSIONS_1_3, 14, RES_OK,
      0x0304 },
    { "TLS 1.3, key share behind", 0x0303, 0, "\x00\x0c" VERSIONS_1_3 KEY_SHARE, 14, RES_OK,
      0x0304 },
    { "supported_versions of an unknown version", 0x0303, 0, "\x00\x06\x00\x2b\x00\x02\x7f\x1c", 8,
      RES_OK, 0x7f1c },
    { "session id of 33 octets", 0x0303, 33, NULL, 0, RES_SYNTAX, 0 },
    { "supported_versions twice", 0x0303, 0, "\x00\x0c" VERSIONS_1_3 VERSIONS_1_3, 14, RES_SYNTAX,
      0 },
    { "supported_versions empty", 0x0303, 0, "\x00\x04\x00\x2b\x00\x00", 6, RES_SYNTAX, 0 },
    { "supported_versions of one octet", 0x0303, 0, "\x00\x05\x00\x2b\x00\x01\x03", 7, RES_SYNTAX,
      0 },
    { "supported_versions as a list", 0x0303, 0, "\x00\x07\x00\x2b\x00\x03\x02\x03\x04", 9,
      RES_SYNTAX, 0 },
    { "extension longer than the list", 0x0303, 0, "\x00\x06\x00\x2b\x00\x03\x03\x04", 8,
      RES_SYNTAX, 0 },
    { "list longer than the message", 0x0303, 0, "\x00\x07" VERSIONS_1_3, 8, RES_SYNTAX, 0 },
    { "list shorter than the message", 0x0303, 0, "\x00\x05" VERSIONS_1_3, 8, RES_SYNTAX, 0 },
    { "half an extension header", 0x0303, 0, "\x00\x03\x00\x2b\x00", 5, RES_SYNTAX, 0 },
    { "half a list length", 0x0303, 0, "\x00", 1, RES_SYNTAX, 0 },
};

static size_t
build(const struct hello_case *c, char message[MESSAGE_MAX])
{
    size_t n = 4;

    memset(message, 0, MESSAGE_MAX);
    message[n++] = (char)(c->legacy >> 8);
    message[n++] = (char)c->legacy;
    n += 32; /* random */
    message[n++] = (char)c->session_id_len;
    n += c->session_id_len;
    n += 3; /* suite, compression */
    if (c->extensions)
        memcpy(message + n, c->extensions, c->extensions_len);
    n += c->extensions_len;
    message[0] = 2;
    message[3] = (char)(n - 4);
    return n;
}

static void
test_hello(void **state)
{
    const struct hello_case *c = *state;
    char message[MESSAGE_MAX];
    size_t n = build(c, message);
    uint16_t version = 1;

    assert_int_equal(server_hello_version(span_make(message, n), &version), c->want);
    assert_int_equal(version, c->version);
}

/* Neither a cut message nor one with more behind it is taken, nor any other type. */
static void
test_bounds(void **state)
{
    char message[MESSAGE_MAX];
    uint16_t version;

    (void)state;
    for (size_t i = 0; i < ROWS(cases); i++) {
        size_t n = build(&cases[i], message);

        for (size_t cut = 0; cut < n; cut++) {
            char *exact = malloc(cut + 1); /* so that sanitizers see one octet too many */

            assert_non_null(exact);
            memcpy(exact, message, cut);
            assert_int_equal(server_hello_version(span_make(exact, cut), &version), RES_SYNTAX);
            assert_int_equal(version, 0);
            free(exact);
        }
        assert_int_equal(server_hello_version(span_make(message, n + 1), &version), RES_SYNTAX);
        message[0] = 1;
        assert_int_equal(server_hello_version(span_make(message, n), &version), RES_SYNTAX);
    }
}

int
main(void)
{
    struct CMUnitTest tests[ROWS(cases) + 1] = { 0 };

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = test_hello,
                                        .initial_state = (void *)&cases[i] };
    tests[ROWS(cases)] = (struct CMUnitTest)cmocka_unit_test(test_bounds);
    return cmocka_run_group_tests_name("server_hello", tests, NULL, NULL);
}
