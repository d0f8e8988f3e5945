/* tests/tls/test_transport.c: the reading allowance, the queue and the errors of tls/transport.h.
 */
#include "tls/transport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/bio.h>

#include <errno.h>

#define LIMIT 1000u

struct rig {
    int fds[2]; /* ours, the peer's */
    BIO_METHOD *method;
    BIO *bio;
    struct transport transport;
};

static int
set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);

    *state = rig;
    if (!rig || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, rig->fds) != 0)
        return -1;
    transport_init(&rig->transport, rig->fds[0], LIMIT);
    rig->method = transport_method_new();
    rig->bio = rig->method ? transport_bio_new(rig->method, &rig->transport) : NULL;
    return rig->bio ? 0 : -1;
}

static int
tear_down(void **state)
{
    struct rig *rig = *state;

    BIO_free(rig->bio);
    BIO_meth_free(rig->method);
    transport_clear(&rig->transport);
    close(rig->fds[0]);
    if (rig->fds[1] >= 0)
        close(rig->fds[1]);
    free(rig);
    return 0;
}

/* However much the peer sends, one call takes a bounded part of it and the rest stays readable. */
static void
test_allowance(void **state)
{
    static char bytes[1024];
    struct rig *rig = *state;
    size_t sent = 0, first = 0, taken = 0;
    int n;

    assert_int_equal(BIO_read(rig->bio, bytes, sizeof bytes), -1); /* nothing was allowed yet */
    assert_true(BIO_should_read(rig->bio));
    for (int round = 0; round < 4; round++) {
        while (send(rig->fds[1], bytes, sizeof bytes, MSG_NOSIGNAL) == sizeof bytes)
            sent += sizeof bytes;
        transport_allow(&rig->transport);
        while ((n = BIO_read(rig->bio, bytes, sizeof bytes)) > 0)
            taken += (size_t)n;
        assert_int_equal(n, -1);
        assert_true(BIO_should_read(rig->bio));
        if (round == 0)
            first = taken;
    }
    assert_true(first <= 128 * 1024);
    assert_true(taken <= 4 * 128 * 1024);
    assert_true(taken <= sent);
    assert_int_equal(rig->transport.error, 0);
}

/* The library asks for a header of five octets and for a body; one call of the system brings both,
 * and what came behind them is known to wait. */
static void
test_reads_ahead(void **state)
{
    struct rig *rig = *state;
    char got[16];

    assert_int_equal(send(rig->fds[1], "headerbodynext", 14, 0), 14);
    transport_allow(&rig->transport);
    assert_int_equal(BIO_read(rig->bio, got, 6), 6);
    assert_memory_equal(got, "header", 6);
    assert_true(transport_has_read_ahead(&rig->transport));
    assert_int_equal(recv(rig->fds[0], got, sizeof got, 0), -1); /* nothing is left in the socket */
    assert_int_equal(BIO_read(rig->bio, got, 4), 4);
    assert_memory_equal(got, "body", 4);
    assert_true(transport_has_read_ahead(&rig->transport));
    assert_int_equal(BIO_read(rig->bio, got, sizeof got), 4); /* less than was asked for */
    assert_memory_equal(got, "next", 4);
    assert_false(transport_has_read_ahead(&rig->transport));
    assert_null(rig->transport.ahead.mem); /* an idle connection holds no memory */
    assert_int_equal(BIO_read(rig->bio, got, sizeof got), -1);
    assert_true(BIO_should_read(rig->bio));
}

static void
test_end_of_stream(void **state)
{
    struct rig *rig = *state;
    char byte;

    assert_int_equal(send(rig->fds[1], "x", 1, 0), 1);
    close(rig->fds[1]);
    rig->fds[1] = -1;
    transport_allow(&rig->transport);
    assert_int_equal(BIO_read(rig->bio, &byte, 1), 1);
    assert_int_equal(BIO_read(rig->bio, &byte, 1), 0);
    assert_false(BIO_should_retry(rig->bio));
    assert_int_equal(rig->transport.error, 0);
}

static void
test_read_error(void **state)
{
    struct rig *rig = *state;
    char byte;

    rig->transport.fd = -1;
    transport_allow(&rig->transport);
    assert_int_equal(BIO_read(rig->bio, &byte, 1), -1);
    assert_false(BIO_should_retry(rig->bio));
    assert_int_equal(rig->transport.error, EBADF);
}

static void
test_gathers(void **state)
{
    struct rig *rig = *state;
    char bytes[16];

    assert_int_equal(transport_flush(&rig->transport), RES_OK); /* of nothing */
    assert_int_equal(BIO_write(rig->bio, "abc", 3), 3);
    assert_int_equal(BIO_flush(rig->bio), 1);
    assert_int_equal(BIO_write(rig->bio, "defg", 4), 4);
    assert_int_equal(recv(rig->fds[1], bytes, sizeof bytes, 0), -1); /* not before the flush */
    assert_int_equal(transport_flush(&rig->transport), RES_OK);
    assert_int_equal(recv(rig->fds[1], bytes, sizeof bytes, 0), 7);
    assert_memory_equal(bytes, "abcdefg", 7);
    assert_null(rig->transport.queue.mem); /* an idle connection holds no memory */
}

/* A record beyond the limit is an error and not "again": it could not be made a second time. */
static void
test_queue_limit(void **state)
{
    static const char bytes[LIMIT];
    struct rig *rig = *state;

    assert_int_equal(BIO_write(rig->bio, bytes, LIMIT), LIMIT);
    assert_int_equal(BIO_write(rig->bio, "x", 1), -1);
    assert_false(BIO_should_retry(rig->bio));
    assert_int_equal(rig->transport.error, ENOBUFS);
    assert_int_equal(buffer_len(&rig->transport.queue), LIMIT);
}

static void
test_full_socket(void **state)
{
    static const char bytes[LIMIT];
    struct rig *rig = *state;
    static char drained[64 * 1024];

    while (send(rig->fds[0], bytes, sizeof bytes, MSG_NOSIGNAL) > 0)
        continue; /* until the socket is full */
    assert_int_equal(BIO_write(rig->bio, "abc", 3), 3);
    assert_int_equal(transport_flush(&rig->transport), RES_AGAIN);
    assert_int_equal(buffer_len(&rig->transport.queue), 3);
    while (recv(rig->fds[1], drained, sizeof drained, 0) > 0)
        continue;
    assert_int_equal(transport_flush(&rig->transport), RES_OK);
    assert_int_equal(recv(rig->fds[1], drained, sizeof drained, 0), 3);
    assert_memory_equal(drained, "abc", 3);
}

static void
test_write_error(void **state)
{
    struct rig *rig = *state;

    close(rig->fds[1]);
    rig->fds[1] = -1;
    assert_int_equal(BIO_write(rig->bio, "abc", 3), 3);
    assert_int_equal(transport_flush(&rig->transport), RES_TEMPFAIL); /* and no SIGPIPE */
    assert_int_equal(rig->transport.error, EPIPE);
}

#define TEST(func) cmocka_unit_test_setup_teardown(func, set_up, tear_down)

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_allowance),   TEST(test_reads_ahead), TEST(test_end_of_stream),
        TEST(test_read_error),  TEST(test_gathers),     TEST(test_queue_limit),
        TEST(test_full_socket), TEST(test_write_error),
    };

    return cmocka_run_group_tests_name("transport", tests, NULL, NULL);
}
