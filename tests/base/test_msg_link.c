/* tests/base/test_msg_link.c: whole messages in their order, or none; what the socket does not take
 * waits, within bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/msg_link.h"
#include "tests/alloc_fail.h"

/* Two ends of one pair. */
static struct ends {
    struct msg_link *a, *b;
} e;

static int
set_up(void **state)
{
    int fds[2];

    (void)state;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
        return -1;
    if (msg_link_new(fds[0], &e.a) != RES_OK || msg_link_new(fds[1], &e.b) != RES_OK)
        return -1;
    return 0;
}

static int
clear_up(void **state)
{
    (void)state;
    msg_link_free(e.a);
    msg_link_free(e.b);
    e = (struct ends){ 0 };
    return 0;
}

/* len bytes that tell their place and their message; borrowed until the next call. */
static struct span
content(unsigned number, size_t len)
{
    static char bytes[MSG_LINK_MAX_BYTES + 1];

    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(number + i * 7);
    return span_make(bytes, len);
}

static void
expect_message(struct msg_link *link, unsigned number, size_t len)
{
    struct span got;

    assert_int_equal(msg_link_recv(link, &got), RES_OK);
    assert_true(span_equal(got, content(number, len)));
}

static void
expect_none(struct msg_link *link, enum result want)
{
    struct span got = span_of("x");

    assert_int_equal(msg_link_recv(link, &got), want);
    assert_int_equal(got.len, 0);
}

/* Every length up to the largest arrives as it went; both ways. */
static void
test_lengths(void **state)
{
    static const size_t lens[] = { 1, 2, 4096, 65536, MSG_LINK_MAX_BYTES };

    (void)state;
    expect_none(e.b, RES_AGAIN);
    for (unsigned i = 0; i < sizeof lens / sizeof *lens; i++) {
        assert_int_equal(msg_link_send(e.a, content(i, lens[i])), RES_OK);
        assert_int_equal(msg_link_send(e.b, content(i + 1, lens[i])), RES_OK);
        expect_message(e.b, i, lens[i]);
        expect_message(e.a, i + 1, lens[i]);
        assert_int_equal(msg_link_backlog(e.a), 0);
    }
    expect_none(e.a, RES_AGAIN);
}

/* Also where the system's default for sockets is smaller than a message. */
static void
test_small_default(void **state)
{
    struct msg_link *a, *b;
    int fds[2], small = 16384;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    assert_int_equal(msg_link_new(fds[0], &a), RES_OK);
    assert_int_equal(msg_link_new(fds[1], &b), RES_OK);
    assert_int_equal(msg_link_send(a, content(1, MSG_LINK_MAX_BYTES)), RES_OK);
    expect_message(b, 1, MSG_LINK_MAX_BYTES);
    msg_link_free(a);
    msg_link_free(b);
}

/* No message of ours: empty, too long; nothing of it is sent. */
static void
test_not_sent(void **state)
{
    (void)state;
    assert_int_equal(msg_link_send(e.a, span_make("", 0)), RES_LIMIT);
    assert_int_equal(msg_link_send(e.a, content(1, MSG_LINK_MAX_BYTES + 1)), RES_LIMIT);
    expect_none(e.b, RES_AGAIN);
}

/* From an end that was taken over: a message that is too long is dropped whole, an empty one is an
 * end. */
static void
test_not_received(void **state)
{
    struct span long_one = content(1, MSG_LINK_MAX_BYTES + 1);

    (void)state;
    assert_int_equal(send(msg_link_fd(e.a), long_one.ptr, long_one.len, 0), long_one.len);
    expect_none(e.b, RES_LIMIT);
    expect_none(e.b, RES_AGAIN);
    assert_int_equal(send(msg_link_fd(e.a), "", 0, 0), 0);
    expect_none(e.b, RES_TEMPFAIL);
}

/* Fill the socket; how many messages went in before one waits. */
static unsigned
fill(size_t len)
{
    unsigned sent = 0;

    while (msg_link_backlog(e.a) == 0) {
        assert_int_equal(msg_link_send(e.a, content(sent, len)), RES_OK);
        sent++;
        assert_true(sent < 100000);
    }
    return sent;
}

/* What waits keeps its order, also with what is sent when the socket has room again. */
static void
test_order(void **state)
{
    unsigned sent = fill(1000), received = 0;

    (void)state;
    for (unsigned i = 0; i < 50; i++, sent++)
        assert_int_equal(msg_link_send(e.a, content(sent, 1000)), RES_OK);
    assert_int_equal(msg_link_backlog(e.a), 51);
    assert_int_equal(msg_link_flush(e.a), RES_AGAIN);
    for (; received < 60; received++)
        expect_message(e.b, received, 1000);
    assert_int_equal(msg_link_send(e.a, content(sent++, 1000)), RES_OK); /* none overtakes */
    while (received < sent) {
        enum result res = msg_link_flush(e.a);

        assert_int_equal(res, msg_link_backlog(e.a) ? RES_AGAIN : RES_OK);
        expect_message(e.b, received++, 1000);
    }
    expect_none(e.b, RES_AGAIN);
    assert_int_equal(msg_link_flush(e.a), RES_OK);
}

/* All that one worker may have asked can be answered at once, while it does not read; large ones
 * are bounded by their octets. */
static void
test_bound(void **state)
{
    unsigned sent = fill(1000);
    enum result res = RES_OK;
    size_t bytes = 0;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) /* POLICY_OPEN_MAX */
        assert_int_equal(msg_link_send(e.a, content(sent++, 1000)), RES_OK);
    while (res == RES_OK) {
        res = msg_link_send(e.a, content(0, MSG_LINK_MAX_BYTES));
        bytes += MSG_LINK_MAX_BYTES;
        assert_true(bytes <= MSG_LINK_QUEUE_BYTES);
    }
    assert_int_equal(res, RES_LIMIT);
    for (unsigned received = 0; received < sent; received++) { /* those that were taken come */
        assert_int_not_equal(msg_link_flush(e.a), RES_TEMPFAIL);
        expect_message(e.b, received, 1000);
    }
}

/* The octets that have left count no longer. */
static void
test_bound_moves(void **state)
{
    (void)state;
    (void)fill(MSG_LINK_MAX_BYTES);
    for (size_t bytes = 0; bytes < 3 * (size_t)MSG_LINK_QUEUE_BYTES; bytes += MSG_LINK_MAX_BYTES) {
        struct span got;

        assert_int_equal(msg_link_send(e.a, content(1, MSG_LINK_MAX_BYTES)), RES_OK);
        assert_int_equal(msg_link_recv(e.b, &got), RES_OK);
        assert_int_not_equal(msg_link_flush(e.a), RES_TEMPFAIL);
    }
}

/* The other end is gone: said by each, and no signal ends the process. */
static void
test_gone(void **state)
{
    struct span got;

    (void)state;
    assert_int_equal(msg_link_send(e.b, content(1, 100)), RES_OK);
    (void)fill(1000);
    msg_link_free(e.b);
    e.b = NULL;
    assert_int_equal(msg_link_flush(e.a), RES_TEMPFAIL);
    while (msg_link_recv(e.a, &got) == RES_OK) /* what it said before is still to be had, or not */
        assert_true(span_equal(got, content(1, 100)));
    expect_none(e.a, RES_TEMPFAIL);
}

static void
test_gone_while_none_waits(void **state)
{
    (void)state;
    msg_link_free(e.b);
    e.b = NULL;
    assert_int_equal(msg_link_send(e.a, content(1, 1)), RES_TEMPFAIL);
    expect_none(e.a, RES_TEMPFAIL);
}

static bool
is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* The descriptor is the link's from the first on, also when there is no memory for it. */
static void
test_no_memory(void **state)
{
    struct msg_link *link = e.a;
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    alloc_fail_after(0);
    assert_int_equal(msg_link_new(fds[0], &link), RES_NOMEM);
    assert_true(alloc_fail_happened());
    assert_null(link);
    assert_false(is_open(fds[0]));
    close(fds[1]);

    (void)fill(1000);
    alloc_fail_after(0);
    assert_int_equal(msg_link_send(e.a, content(1, 1000)), RES_NOMEM);
    assert_true(alloc_fail_happened());
    assert_int_equal(msg_link_backlog(e.a), 1);
}

static void
test_no_descriptor(void **state)
{
    struct msg_link *link = e.a;

    (void)state;
    assert_int_equal(msg_link_new(-1, &link), RES_DENIED);
    assert_null(link);
    msg_link_free(NULL);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, clear_up)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_lengths),      ROW(test_small_default), ROW(test_not_sent),
        ROW(test_not_received), ROW(test_order),         ROW(test_bound),
        ROW(test_bound_moves),  ROW(test_gone),          ROW(test_gone_while_none_waits),
        ROW(test_no_memory),    ROW(test_no_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
