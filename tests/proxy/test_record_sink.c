/* tests/proxy/test_record_sink.c: records that come together are one write, in their order, and
 * each is counted once, whatever the file takes of them (FAULTS G13). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "proxy/config.h"
#include "proxy/record_sink.h"
#include "tests/proxy/record_samples.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define GIVEN_BYTES (4u * 1024u * 1024u)

struct world {
    struct ev_loop *loop;
    char path[64], to[64];
    struct config config;
    struct record_samples samples;
    struct record_sink *sink;
    struct buffer given; /* all records, as the sink got them */
    size_t len;          /* of each */
};

static void
make_world(struct world *w, bool defers, const char *to)
{
    char error[512];
    int fd;

    *w = (struct world){ .loop = ev_loop_new(EVFLAG_NOENV) };
    snprintf(w->path, sizeof w->path, "/tmp/stsgate-sink-XXXXXX");
    snprintf(w->to, sizeof w->to, "%s", to);
    fd = mkstemp(w->path);
    assert_true(fd >= 0);
    close(fd);
    w->config = (struct config){ .record_file = w->path,
                                 .forward_to = w->to,
                                 .forward_buffer_mib = 1,
                                 .record_loss_defers = defers };
    record_samples_init(&w->samples);
    buffer_init(&w->given, GIVEN_BYTES);
    assert_int_equal(record_sink_new(w->loop, &w->config, &w->sink, error, sizeof error), RES_OK);
}

static void
end_sink(struct world *w)
{
    record_sink_free(w->sink);
    w->sink = NULL;
}

static void
clear_world(struct world *w)
{
    end_sink(w);
    record_samples_clear(&w->samples);
    buffer_clear(&w->given);
    ev_loop_destroy(w->loop);
    (void)unlink(w->path);
}

/* No two are the same, and all are as long. */
static void
give(struct world *w, unsigned count)
{
    while (count--) {
        size_t before = buffer_len(&w->given);

        w->samples.process.pid = 100000 + (int64_t)before;
        assert_int_equal(record_encode_process(&w->samples.process, &w->given), RES_OK);
        w->len = buffer_len(&w->given) - before;
        record_sink_write(w->sink, span_from(buffer_span(&w->given), before));
    }
}

static size_t
file_len(const struct world *w)
{
    struct stat st;

    assert_int_equal(stat(w->path, &st), 0);
    return (size_t)st.st_size;
}

/* The file holds the first len bytes of what was given. */
static void
assert_filed(const struct world *w, size_t len)
{
    char *bytes = malloc(len + 1);
    FILE *in = fopen(w->path, "r");

    assert_true(bytes && in);
    assert_int_equal(fread(bytes, 1, len + 1, in), len);
    assert_memory_equal(bytes, buffer_span(&w->given).ptr, len);
    fclose(in);
    free(bytes);
}

static void
assert_counts(const struct world *w, uint64_t written, uint64_t lost)
{
    assert_int_equal(record_sink_written(w->sink), written);
    assert_int_equal(record_sink_lost(w->sink), lost);
}

static void
test_one_turn(void **state)
{
    struct world w;

    (void)state;
    make_world(&w, false, "");
    give(&w, 3);
    assert_int_equal(file_len(&w), 0);
    assert_true(record_sink_is_ready(w.sink));
    assert_false(record_sink_keeps(w.sink));
    ev_run(w.loop, EVRUN_NOWAIT);
    assert_filed(&w, 3 * w.len);
    ev_run(w.loop, 0); /* nothing is left that would keep the loop */
    assert_counts(&w, 3, 0);
    clear_world(&w);
}

/* As before each reply to a client. */
static void
test_flush(void **state)
{
    struct world w;

    (void)state;
    make_world(&w, false, "");
    record_sink_flush(w.sink);
    give(&w, 2);
    record_sink_flush(w.sink);
    assert_filed(&w, 2 * w.len);
    assert_counts(&w, 2, 0);
    record_sink_flush(w.sink);
    assert_filed(&w, 2 * w.len);
    clear_world(&w);
}

static void
on_prepare(struct ev_loop *loop, ev_prepare *p, int revents)
{
    (void)loop, (void)revents;
    give(p->data, 1);
}

/* A worker frees its sessions, and writes their records, before the loop waits: what comes then
 * must not lie until the next event. */
static void
test_before_the_wait(void **state)
{
    ev_prepare reap;
    struct world w;

    (void)state;
    make_world(&w, false, "");
    ev_prepare_init(&reap, on_prepare);
    reap.data = &w;
    ev_prepare_start(w.loop, &reap);
    ev_run(w.loop, EVRUN_NOWAIT);
    assert_filed(&w, w.len);
    ev_prepare_stop(w.loop, &reap);
    clear_world(&w);
}

static void
test_end_within_a_turn(void **state)
{
    struct world w;

    (void)state;
    make_world(&w, false, "");
    give(&w, 2);
    end_sink(&w);
    assert_filed(&w, 2 * w.len);
    clear_world(&w);
}

/* More than one write may hold goes by two. */
static void
test_long_turn(void **state)
{
    struct world w;
    size_t fit;

    (void)state;
    make_world(&w, false, "");
    give(&w, 1);
    fit = RECORD_SINK_BATCH_BYTES / w.len;
    give(&w, (unsigned)fit - 1);
    assert_int_equal(file_len(&w), 0);
    give(&w, 1);
    assert_filed(&w, fit * w.len);
    ev_run(w.loop, EVRUN_NOWAIT);
    assert_filed(&w, (fit + 1) * w.len);
    assert_counts(&w, fit + 1, 0);
    clear_world(&w);
}

/* The longest records there may be, one behind the other. */
static void
test_longest(void **state)
{
    static char bytes[RECORD_MAX_BYTES];
    struct world w;

    (void)state;
    make_world(&w, false, "");
    for (unsigned i = 0; i < 3; i++)
        record_sink_write(w.sink, span_make(bytes, sizeof bytes));
    assert_int_equal(file_len(&w), 2 * sizeof bytes);
    record_sink_flush(w.sink);
    assert_int_equal(file_len(&w), 3 * sizeof bytes);
    assert_counts(&w, 3, 0);
    clear_world(&w);
}

/* Where nothing may pass unrecorded, no record waits for others. */
static void
test_defers(void **state)
{
    struct world w;

    (void)state;
    make_world(&w, true, "");
    for (unsigned i = 1; i <= 3; i++) {
        give(&w, 1);
        assert_filed(&w, i * w.len);
        assert_counts(&w, i, 0);
    }
    clear_world(&w);
}

/* The file takes what the receiver has no room for: those count as lost, and stand in their place.
 */
static void
test_receiver_full(void **state)
{
    enum { GIVEN = 8000 };
    struct world w;

    (void)state;
    make_world(&w, false, "/tmp/stsgate-sink-nobody-listens");
    give(&w, GIVEN);
    assert_true(GIVEN * w.len > (1u << 20)); /* more than forward_buffer */
    record_sink_flush(w.sink);
    assert_filed(&w, GIVEN * w.len);
    assert_counts(&w, (1u << 20) / w.len, GIVEN - (1u << 20) / w.len);
    clear_world(&w);
}

/* RLIMIT_FSIZE stands for a disk with room for so many bytes. */
static void
limit_file(size_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == SIZE_MAX ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static struct room_case {
    const char *name;
    unsigned whole, more, given; /* room for so many, and so many bytes */
} rooms[] = {
    { "room for nothing", 0, 0, 3 },
    { "room for one byte", 0, 1, 3 },
    { "room for one, to the byte", 1, 0, 3 },
    { "room for two of five, and some", 2, 40, 5 },
    { "room for all but the last byte of the last", 4, ~0u, 5 },
};

static void
test_no_room(void **state)
{
    const struct room_case *c = *state;
    struct world w;
    size_t room;

    make_world(&w, false, "");
    give(&w, c->given);
    room = c->whole * w.len + (c->more == ~0u ? w.len - 1 : c->more);
    limit_file(room);
    record_sink_flush(w.sink);
    limit_file(SIZE_MAX);
    assert_counts(&w, c->whole, c->given - c->whole);
    assert_filed(&w, room);
    give(&w, 1); /* at once behind a failure: not tried */
    record_sink_flush(w.sink);
    assert_counts(&w, c->whole, c->given - c->whole + 1);
    assert_filed(&w, room);
    clear_world(&w);
}

/* What comes behind a torn record is found again (`stsgate log` goes by record_find()). */
static void
test_goes_on_behind_a_torn_one(void **state)
{
    struct world w;
    char bytes[4096];
    FILE *in;
    size_t len, torn, at, found;
    int64_t wall_ns;
    struct span map;

    (void)state;
    make_world(&w, false, "");
    give(&w, 2);
    torn = w.len + w.len / 2;
    limit_file(torn);
    record_sink_flush(w.sink);
    limit_file(SIZE_MAX);
    end_sink(&w);
    assert_int_equal(record_sink_new(w.loop, &w.config, &w.sink, bytes, sizeof bytes), RES_OK);
    give(&w, 2);
    record_sink_flush(w.sink);
    in = fopen(w.path, "r");
    assert_non_null(in);
    len = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    assert_int_equal(len, torn + 2 * w.len);
    at = record_find(span_make(bytes, len), w.len + 1);
    assert_int_equal(at, torn);
    for (; at < len; at += found)
        assert_int_equal(record_decode(span_make(bytes + at, len - at), &found, &wall_ns, &map),
                         RES_OK);
    clear_world(&w);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_one_turn),
        cmocka_unit_test(test_flush),
        cmocka_unit_test(test_before_the_wait),
        cmocka_unit_test(test_end_within_a_turn),
        cmocka_unit_test(test_long_turn),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_defers),
        cmocka_unit_test(test_receiver_full),
        cmocka_unit_test(test_goes_on_behind_a_torn_one),
    };
    struct CMUnitTest tests[ROWS(others) + ROWS(rooms)];

    memcpy(tests, others, sizeof others);
    for (size_t i = 0; i < ROWS(rooms); i++)
        tests[ROWS(others) + i] = (struct CMUnitTest){ .name = rooms[i].name,
                                                       .test_func = test_no_room,
                                                       .initial_state = &rooms[i] };
    (void)signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
