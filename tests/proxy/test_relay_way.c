/* tests/proxy/test_relay_way.c: the same octets in the same order, whether they are copied or
 * spliced, however the sockets cut them; pipes are leased while octets move and no longer. */
#include "proxy/relay_way.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define STREAM_BYTES (3u * 1024u * 1024u + 17u)

struct rig {
    int in[2], out[2]; /* the source writes in[1], the sink reads out[1] */
    struct pipe_pool pool;
    struct relay_way way;
    size_t sent, received;
    bool at_end;
};

static struct row {
    const char *name;
    bool opaque, dry;
    size_t write_at_once, read_at_once; /* octets, of source and sink per turn */
    const char *engine, *reason;
} rows[] = {
    { "what is looked at is copied", false, false, 65536, 65536, "copy", "looked-at" },
    { "a bulk that nobody looks at is spliced", true, false, 262144, 262144, "splice", "" },
    { "a slow sink, short writes", true, false, 262144, 5000, "splice", "" },
    { "a source of small pieces", true, false, 1000, 262144, "copy", "small" },
    { "a dry pool", true, true, 262144, 262144, "copy", "no-pipe" },
    { "a slow sink and a dry pool", true, true, 262144, 4999, "copy", "no-pipe" },
};

static char
octet_at(size_t i)
{
    return (char)(i * 31 + i / 257);
}

static void
open_rig(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, rig->in), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, rig->out), 0);
    relay_way_init(&rig->way, &rig->pool);
}

static void
close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void
close_rig(struct rig *rig)
{
    relay_way_clear(&rig->way);
    assert_int_equal(rig->pool.leased, 0);
    pipe_pool_clear(&rig->pool);
    for (int i = 0; i < 2; i++) {
        close_fd(&rig->in[i]);
        close_fd(&rig->out[i]);
    }
}

static void
source_turn(struct rig *rig, size_t cap)
{
    static char bytes[262144];
    size_t len = STREAM_BYTES - rig->sent < cap ? STREAM_BYTES - rig->sent : cap;
    ssize_t n;

    for (size_t i = 0; i < len; i++)
        bytes[i] = octet_at(rig->sent + i);
    n = len ? send(rig->in[1], bytes, len, MSG_NOSIGNAL) : 0;
    rig->sent += n > 0 ? (size_t)n : 0;
    if (rig->sent == STREAM_BYTES)
        close_fd(&rig->in[1]);
}

static void
sink_turn(struct rig *rig, size_t cap)
{
    static char bytes[262144];
    ssize_t n = recv(rig->out[1], bytes, cap, 0);

    rig->at_end = n == 0;
    for (ssize_t i = 0; i < n; i++)
        if (bytes[i] != octet_at(rig->received + (size_t)i))
            fail_msg("octet %zu differs", rig->received + (size_t)i);
    rig->received += n > 0 ? (size_t)n : 0;
}

static void
test_stream(void **state)
{
    const struct row *row = *state;
    struct pipe_ends taken[PIPE_POOL_LEASES_MAX];
    struct rig rig;
    struct span seen;
    size_t all_seen = 0;

    open_rig(&rig);
    rig.way.opaque = row->opaque;
    for (size_t i = 0; row->dry && i < PIPE_POOL_LEASES_MAX; i++)
        assert_true(pipe_pool_take(&rig.pool, &taken[i]));
    while (!rig.at_end) {
        source_turn(&rig, row->write_at_once);
        assert_true(relay_way_read(&rig.way, rig.in[0], &seen));
        all_seen += seen.len;
        assert_true(relay_way_write(&rig.way, rig.out[0]));
        sink_turn(&rig, row->read_at_once);
        assert_true(rig.way.held.cap <= RELAY_WAY_BUFFER_BYTES);
    }
    assert_int_equal(rig.received, STREAM_BYTES);
    assert_int_equal(rig.way.octets, STREAM_BYTES);
    assert_int_equal(all_seen + rig.way.spliced, STREAM_BYTES);
    assert_true(rig.way.told);
    assert_string_equal(relay_way_engine(&rig.way), row->engine);
    assert_string_equal(relay_way_reason(&rig.way), row->reason);
    for (size_t i = 0; row->dry && i < PIPE_POOL_LEASES_MAX; i++)
        pipe_pool_give(&rig.pool, &taken[i], true);
    close_rig(&rig);
}

/* A relay that rests holds neither pipe nor buffer. */
static void
test_rests_empty(void **state)
{
    struct rig rig;
    struct span seen;

    (void)state;
    open_rig(&rig);
    rig.way.opaque = true;
    for (int i = 0; i < 50; i++) {
        source_turn(&rig, 200000);
        assert_true(relay_way_read(&rig.way, rig.in[0], &seen));
        assert_true(relay_way_write(&rig.way, rig.out[0]));
        sink_turn(&rig, 262144);
    }
    assert_true(rig.way.spliced > 0);
    while (relay_way_wants_write(&rig.way)) {
        sink_turn(&rig, 262144);
        assert_true(relay_way_write(&rig.way, rig.out[0]));
    }
    assert_int_equal(rig.pool.leased, 0);
    assert_null(rig.way.held.mem);
    close_rig(&rig);
}

/* A sink that takes nothing: reading stops, and nothing is lost by it. */
static void
test_back_pressure(void **state)
{
    struct rig rig;
    struct span seen;
    size_t turns = 0;

    (void)state;
    open_rig(&rig);
    rig.way.opaque = true;
    while (relay_way_wants_read(&rig.way)) {
        source_turn(&rig, 262144);
        assert_true(relay_way_read(&rig.way, rig.in[0], &seen));
        assert_true(relay_way_write(&rig.way, rig.out[0]));
        assert_true(++turns < 1000);
    }
    assert_true(relay_way_wants_write(&rig.way));
    close_rig(&rig); /* with octets in the pipe, which is closed */
}

static void
test_sink_gone(void **state)
{
    const bool *opaque = *state;
    struct rig rig;
    struct span seen;
    bool whole = true;

    open_rig(&rig);
    rig.way.opaque = *opaque;
    close_fd(&rig.out[1]);
    for (int i = 0; i < 4 && whole; i++) {
        source_turn(&rig, 262144);
        assert_true(relay_way_read(&rig.way, rig.in[0], &seen));
        whole = relay_way_write(&rig.way, rig.out[0]);
    }
    assert_false(whole);
    close_rig(&rig);
}

int
main(void)
{
    static bool yes = true, no = false;
    struct CMUnitTest tests[sizeof rows / sizeof *rows + 4] = {
        { "a way that rests holds nothing", test_rests_empty, NULL, NULL, NULL },
        { "a sink that takes nothing", test_back_pressure, NULL, NULL, NULL },
        { "a sink that is gone, copied", test_sink_gone, NULL, NULL, &no },
        { "a sink that is gone, spliced", test_sink_gone, NULL, NULL, &yes },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tests[4 + i] = (struct CMUnitTest){ .name = rows[i].name,
                                            .test_func = test_stream,
                                            .initial_state = &rows[i] };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("relay_way", tests, NULL, NULL);
}
