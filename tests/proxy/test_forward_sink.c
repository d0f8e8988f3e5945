/* tests/proxy/test_forward_sink.c: records over the forward protocol, to a receiver that keeps to
 * the specification, and to ones that do not (FAULTS H1, H2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/pack.h"
#include "proxy/forward_msg.h"
#include "proxy/forward_sink.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define BUFFER_BYTES (2u << 20)
#define WAIT_S 10. /* for what must come */

/* What the receiver does with a message. */
enum behaviour { ACKNOWLEDGE, KEEP_SILENT, WRONG_CHUNK, ACK_TWICE, GARBAGE, HUGE_ANSWER, HANG_UP };

struct world {
    struct ev_loop *loop;
    char folder[64], path[96];
    int listen_fd, fd; /* of the receiver */
    struct buffer in;
    enum behaviour behaviour;
    unsigned connections, messages, records; /* acknowledged ones are counted in records */
    ev_io acceptable, readable;
    ev_timer limit;
    bool expired;
    struct forward_sink *sink;
};

static void
answer(struct world *w, const void *bytes, size_t len)
{
    assert_int_equal(send(w->fd, bytes, len, MSG_NOSIGNAL), len);
}

static void
acknowledge(struct world *w, struct span chunk)
{
    char frame[64] = "\x81\xa3"
                     "ack\xb8"; /* {"ack": str of 24} */

    assert_int_equal(chunk.len, FORWARD_CHUNK_LEN);
    memcpy(frame + 6, chunk.ptr, chunk.len);
    answer(w, frame, 6 + chunk.len);
}

static void
hang_up(struct world *w)
{
    ev_io_stop(w->loop, &w->readable);
    close(w->fd);
    w->fd = -1;
    buffer_clear(&w->in);
}

static void
behave(struct world *w, struct span chunk, unsigned records)
{
    char huge[FORWARD_ANSWER_MAX + 16];

    switch (w->behaviour) {
    case ACKNOWLEDGE:
    case ACK_TWICE:
        w->records += records;
        acknowledge(w, chunk);
        if (w->behaviour == ACK_TWICE)
            acknowledge(w, chunk);
        return;
    case KEEP_SILENT:
        return;
    case WRONG_CHUNK:
        acknowledge(w, span_of("AAAAAAAAAAAAAAAAAAAAAAAA"));
        return;
    case GARBAGE:
        answer(w, "\xdf\xff\xff\xff\xff", 5);
        return;
    case HUGE_ANSWER:
        memset(huge, 0, sizeof huge);
        memcpy(huge, "\xdb\x7f\xff\xff\xff", 5);
        answer(w, huge, sizeof huge);
        return;
    case HANG_UP:
        hang_up(w);
        return;
    }
}

/* [tag, bin, {"size": n, "chunk": id}], exactly. */
static void
take_message(struct world *w, struct span message)
{
    struct pack_reader r, entries;
    struct span chunk;
    unsigned records = 0;

    pack_reader_init(&r, message);
    pack_read_tuple(&r, 3);
    assert_true(span_equal(pack_read_str(&r), span_of("stsgate")));
    pack_reader_init(&entries, pack_read_bin(&r));
    while (pack_peek_type(&entries) != PACK_NONE) {
        pack_read_tuple(&entries, 2);
        (void)pack_read_event_time(&entries);
        pack_skip(&entries);
        records++;
    }
    assert_int_equal(pack_reader_end(&entries), RES_OK);
    assert_int_equal(pack_read_map(&r, 2), 2);
    assert_true(span_equal(pack_read_str(&r), span_of("size")));
    assert_int_equal(pack_read_uint(&r, UINT32_MAX), records);
    assert_true(span_equal(pack_read_str(&r), span_of("chunk")));
    chunk = pack_read_str(&r);
    assert_int_equal(pack_reader_end(&r), RES_OK);
    w->messages++;
    behave(w, chunk, records);
}

static void
on_readable(struct ev_loop *loop, ev_io *watcher, int revents)
{
    struct world *w = watcher->data;
    char bytes[65536];
    ssize_t n = recv(w->fd, bytes, sizeof bytes, 0);
    size_t len;

    (void)loop, (void)revents;
    if (n <= 0) {
        hang_up(w);
        return;
    }
    assert_int_equal(buffer_append(&w->in, span_make(bytes, (size_t)n)), RES_OK);
    if (pack_check(buffer_span(&w->in), BUFFER_BYTES * 2, &len) != RES_OK)
        return;
    assert_int_equal(len, buffer_len(&w->in)); /* nothing is sent before the answer */
    take_message(w, buffer_span(&w->in));
    buffer_clear(&w->in);
}

static void
on_acceptable(struct ev_loop *loop, ev_io *watcher, int revents)
{
    struct world *w = watcher->data;

    (void)revents;
    if (w->fd >= 0)
        hang_up(w);
    w->fd = accept4(w->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(w->fd >= 0);
    w->connections++;
    ev_io_set(&w->readable, w->fd, EV_READ);
    ev_io_start(loop, &w->readable);
}

static void
on_limit(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    struct world *w = watcher->data;

    (void)loop, (void)revents;
    w->expired = true;
}

static void
listen_at(struct world *w)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };

    snprintf(un.sun_path, sizeof un.sun_path, "%s", w->path);
    w->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w->listen_fd, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(w->listen_fd, 8), 0);
    ev_io_set(&w->acceptable, w->listen_fd, EV_READ);
    ev_io_start(w->loop, &w->acceptable);
}

static void
stop_listening(struct world *w)
{
    ev_io_stop(w->loop, &w->acceptable);
    close(w->listen_fd);
    unlink(w->path);
    if (w->fd >= 0)
        hang_up(w);
}

static struct world *
world_new(void)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    snprintf(w->folder, sizeof w->folder, "/tmp/stsgate-forward-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/socket", w->folder);
    w->loop = ev_loop_new(EVFLAG_AUTO);
    w->fd = -1;
    buffer_init(&w->in, BUFFER_BYTES * 2);
    ev_init(&w->acceptable, on_acceptable);
    ev_init(&w->readable, on_readable);
    ev_timer_init(&w->limit, on_limit, WAIT_S, 0.);
    w->acceptable.data = w->readable.data = w->limit.data = w;
    ev_timer_start(w->loop, &w->limit);
    assert_int_equal(forward_sink_new(w->loop,
                                      &(struct forward_sink_config){ .to = w->path,
                                                                     .buffer_max = BUFFER_BYTES,
                                                                     .clock = clock_system() },
                                      &w->sink),
                     RES_OK);
    return w;
}

static void
world_free(struct world *w)
{
    forward_sink_free(w->sink);
    ev_timer_stop(w->loop, &w->limit);
    ev_loop_destroy(w->loop);
    rmdir(w->folder);
    free(w);
}

/* A record of so many bytes, about. */
static void
write_record(struct world *w, size_t bytes, enum result want)
{
    struct pack_writer p;
    struct buffer record;
    char *text = calloc(1, bytes + 1);

    assert_non_null(text);
    memset(text, 'x', bytes);
    buffer_init(&record, bytes + 64);
    pack_begin(&p, &record);
    pack_array(&p, 2);
    pack_event_time(&p, 1700000000000000000);
    pack_map(&p, 1);
    pack_str(&p, span_of("event"));
    pack_str(&p, span_of(text));
    assert_int_equal(pack_end(&p), RES_OK);
    assert_int_equal(forward_sink_write(w->sink, buffer_span(&record)), want);
    buffer_clear(&record);
    free(text);
}

static void
run_until(struct world *w, const unsigned *counter, unsigned value)
{
    while (*counter < value && !w->expired)
        ev_run(w->loop, EVRUN_ONCE);
    assert_false(w->expired);
}

static void
run_until_empty(struct world *w)
{
    while (forward_sink_waiting(w->sink) && !w->expired)
        ev_run(w->loop, EVRUN_ONCE);
    assert_false(w->expired);
}

static void
test_delivery(void **state)
{
    struct world *w = world_new();

    (void)state;
    listen_at(w);
    for (unsigned i = 0; i < 100; i++)
        write_record(w, 100, RES_OK);
    assert_false(forward_sink_is_up(w->sink));
    run_until_empty(w);
    assert_int_equal(w->records, 100);
    assert_int_equal(w->messages, 1); /* together */
    assert_true(forward_sink_is_up(w->sink));
    write_record(w, 100, RES_OK);
    run_until_empty(w);
    assert_int_equal(w->records, 101);
    assert_int_equal(w->connections, 1);
    stop_listening(w);
    world_free(w);
}

/* More than one message has room for. */
static void
test_batches(void **state)
{
    struct world *w = world_new();

    (void)state;
    listen_at(w);
    for (unsigned i = 0; i < 30; i++)
        write_record(w, 60000, RES_OK);
    run_until_empty(w);
    assert_int_equal(w->records, 30);
    assert_true(w->messages >= 2 && w->messages <= 4);
    stop_listening(w);
    world_free(w);
}

/* The receiver comes later, and comes again: nothing is lost, nothing is twice. */
static void
test_restart(void **state)
{
    struct world *w = world_new();

    (void)state;
    write_record(w, 10, RES_OK);
    while (forward_sink_waiting(w->sink) && !w->connections && w->loop && !w->expired) {
        ev_run(w->loop, EVRUN_ONCE); /* the first attempt finds nobody */
        break;
    }
    listen_at(w);
    run_until_empty(w);
    stop_listening(w);
    write_record(w, 10, RES_OK);
    listen_at(w);
    run_until_empty(w);
    assert_int_equal(w->records, 2);
    stop_listening(w);
    world_free(w);
}

/* What is not acknowledged properly is sent again, over a new connection. */
static struct bad_case {
    const char *name;
    enum behaviour behaviour;
} bad_cases[] = {
    { "an acknowledgement of another chunk", WRONG_CHUNK },
    { "garbage", GARBAGE },
    { "an answer without end", HUGE_ANSWER },
    { "the connection is closed", HANG_UP },
};

static void
test_bad_receiver(void **state)
{
    const struct bad_case *c = *state;
    struct world *w = world_new();

    listen_at(w);
    w->behaviour = c->behaviour;
    for (unsigned i = 0; i < 3; i++)
        write_record(w, 100, RES_OK);
    run_until(w, &w->connections, 2);
    w->behaviour = ACKNOWLEDGE;
    run_until_empty(w);
    assert_int_equal(w->records, 3);
    stop_listening(w);
    world_free(w);
}

/* Acknowledged twice: the second is an answer to nothing, and what follows is delivered all the
 * same. */
static void
test_twice(void **state)
{
    struct world *w = world_new();

    (void)state;
    listen_at(w);
    w->behaviour = ACK_TWICE;
    write_record(w, 100, RES_OK);
    run_until_empty(w);
    w->behaviour = ACKNOWLEDGE;
    write_record(w, 100, RES_OK);
    run_until_empty(w);
    assert_int_equal(w->records, 2);
    stop_listening(w);
    world_free(w);
}

/* FAULTS G13: bounded, whatever the receiver does. */
static void
test_full(void **state)
{
    struct world *w = world_new();
    unsigned taken = 0;

    (void)state;
    while (forward_sink_waiting(w->sink) + 70000 < BUFFER_BYTES) {
        write_record(w, 60000, RES_OK);
        taken++;
    }
    write_record(w, 60000, taken * 60020 + 60020 > BUFFER_BYTES ? RES_LIMIT : RES_OK);
    while (forward_sink_waiting(w->sink) + 60000 < BUFFER_BYTES)
        write_record(w, 60000, RES_OK);
    write_record(w, 60000, RES_LIMIT);
    listen_at(w);
    run_until_empty(w);
    write_record(w, 60000, RES_OK);
    stop_listening(w);
    world_free(w);
}

/* At the end: what can still go goes, and no receiver holds the end up. */
static void
test_drain(void **state)
{
    struct world *w = world_new();

    (void)state;
    listen_at(w);
    write_record(w, 100, RES_OK);
    forward_sink_drain(w->sink, 5000);
    assert_int_equal(w->records, 1);
    w->behaviour = KEEP_SILENT;
    write_record(w, 100, RES_OK);
    forward_sink_drain(w->sink, 200);
    assert_int_equal(forward_sink_waiting(w->sink) > 0, 1);
    stop_listening(w);
    world_free(w);
}

static struct ack_case {
    const char *name, *bytes;
    size_t len;
    enum result want;
} acks[] = {
#define CHUNK "0123456789abcdefghijklmn"
    { "the acknowledgement",
      "\x81\xa3"
      "ack\xb8" CHUNK,
      30, RES_OK },
    { "with another key before",
      "\x82\xa1x\x01\xa3"
      "ack\xb8" CHUNK,
      33, RES_OK },
    { "as bin is none",
      "\x81\xa3"
      "ack\xc4\x18" CHUNK,
      31, RES_SYNTAX },
    { "of another chunk",
      "\x81\xa3"
      "ack\xa1x",
      7, RES_DENIED },
    { "without ack", "\x81\xa1x\x01", 4, RES_DENIED },
    { "cut",
      "\x81\xa3"
      "ac",
      4, RES_AGAIN },
    { "nothing yet", "", 0, RES_AGAIN },
    { "an array", "\x91\x01", 2, RES_SYNTAX },
    { "a map of 4 Gi", "\xdf\xff\xff\xff\xff", 5, RES_LIMIT },
    { "a str of 2 GiB", "\xdb\x7f\xff\xff\xff", 5, RES_LIMIT },
};

static void
test_ack(void **state)
{
    const struct ack_case *c = *state;
    size_t len;

    assert_int_equal(forward_decode_ack(span_make(c->bytes, c->len), CHUNK, &len), c->want);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_delivery), cmocka_unit_test(test_batches),
        cmocka_unit_test(test_restart),  cmocka_unit_test(test_twice),
        cmocka_unit_test(test_full),     cmocka_unit_test(test_drain),
    };
    struct CMUnitTest tests[ROWS(bad_cases) + ROWS(acks) + ROWS(others)] = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < ROWS(acks); i++)
        tests[n++] = (struct CMUnitTest){ .name = acks[i].name,
                                          .test_func = test_ack,
                                          .initial_state = &acks[i] };
    for (size_t i = 0; i < ROWS(bad_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = bad_cases[i].name,
                                          .test_func = test_bad_receiver,
                                          .initial_state = &bad_cases[i] };
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests_name("forward_sink", tests, NULL, NULL);
}
