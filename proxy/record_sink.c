#include "proxy/record_sink.h"

#include "base/buffer.h"
#include "base/log.h"
#include "proxy/config.h"
#include "proxy/forward_sink.h"
#include "proxy/record.h"
#include "proxy/record_file.h"

#include <ev.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRAIN_MS 2000 /* for the receiver, at the end */

struct record_sink {
    struct ev_loop *loop;
    const struct config *config;
    struct record_file *file;     /* owned; NULL: none */
    struct forward_sink *forward; /* owned; NULL: none */
    struct buffer kept;           /* record_loss = defer: what the file has not taken */
    ev_timer retry;
    char *batch; /* owned; else: what came since the last write; the receiver has it already */
    size_t batch_len, batch_count; /* bytes and records in it */
    ev_prepare turn_end;
    uint64_t written, lost;
    bool overflowed; /* and that has been told */
};

static void on_retry(struct ev_loop *loop, ev_timer *w, int revents);
static void on_turn_end(struct ev_loop *loop, ev_prepare *w, int revents);

enum result
record_sink_new(struct ev_loop *loop, const struct config *config, struct record_sink **out,
                char *error, size_t error_size)
{
    const struct clock clock = clock_system();
    struct record_sink *sink = calloc(1, sizeof *sink);
    enum result res = RES_OK;

    *out = NULL;
    snprintf(error, error_size, "no memory");
    if (!sink)
        return RES_NOMEM;
    sink->loop = loop;
    sink->config = config;
    buffer_init(&sink->kept, RECORD_SINK_KEPT_BYTES);
    ev_timer_init(&sink->retry, on_retry, RECORD_SINK_RETRY_MS / 1000.,
                  RECORD_SINK_RETRY_MS / 1000.);
    ev_prepare_init(&sink->turn_end, on_turn_end);
    /* Behind others that run before the loop waits, as they may write records, too; but for one
     * that writes the log. */
    ev_set_priority(&sink->turn_end, EV_MINPRI + 1);
    sink->retry.data = sink->turn_end.data = sink;
    ev_prepare_start(loop, &sink->turn_end);
    ev_unref(loop); /* it is no reason to go on */
    if (config->record_file[0] && !config->record_loss_defers) {
        sink->batch = malloc(RECORD_SINK_BATCH_BYTES);
        res = sink->batch ? RES_OK : RES_NOMEM;
    }
    if (res == RES_OK && config->record_file[0])
        res = record_file_open(config->record_file, &clock, &sink->file, error, error_size);
    if (res == RES_OK && config->forward_to[0])
        res = forward_sink_new(
            loop,
            &(struct forward_sink_config){ .to = config->forward_to,
                                           .buffer_max = (size_t)config->forward_buffer_mib << 20,
                                           .clock = clock },
            &sink->forward);
    if (res != RES_OK) {
        record_sink_free(sink);
        return res;
    }
    *out = sink;
    return RES_OK;
}

void
record_sink_free(struct record_sink *sink)
{
    if (!sink)
        return;
    record_sink_flush(sink);
    ev_ref(sink->loop);
    ev_prepare_stop(sink->loop, &sink->turn_end);
    ev_timer_stop(sink->loop, &sink->retry);
    if (sink->forward)
        forward_sink_drain(sink->forward, DRAIN_MS);
    if (sink->forward && forward_sink_waiting(sink->forward))
        log_warn("event=records-lost bytes=%zu reason=\"the receiver did not acknowledge them\"",
                 forward_sink_waiting(sink->forward));
    forward_sink_free(sink->forward);
    record_file_close(sink->file);
    if (buffer_len(&sink->kept))
        log_error("event=records-lost bytes=%zu reason=\"the file did not take them to the end\"",
                  buffer_len(&sink->kept));
    buffer_clear(&sink->kept);
    free(sink->batch);
    free(sink);
}

/* The file takes no more for now: kept in order, as far as there is room. */
static bool
keep(struct record_sink *sink, struct span record)
{
    if (!sink->config->record_loss_defers || buffer_append(&sink->kept, record) != RES_OK)
        return false;
    if (!ev_is_active(&sink->retry))
        ev_timer_start(sink->loop, &sink->retry);
    return true;
}

static bool
to_file(struct record_sink *sink, struct span record)
{
    if (buffer_len(&sink->kept)) /* behind what waits */
        return keep(sink, record);
    return record_file_write(sink->file, record) == RES_OK || keep(sink, record);
}

/* Whole records, so that the file never holds a piece of one by our doing. */
static void
on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct record_sink *sink = w->data;

    (void)revents;
    while (buffer_len(&sink->kept)) {
        int64_t wall_ns;
        struct span map;
        size_t len;

        if (record_decode(buffer_span(&sink->kept), &len, &wall_ns, &map) != RES_OK) {
            buffer_clear(&sink->kept); /* ours are whole: cannot be */
            break;
        }
        if (record_file_write(sink->file, span_first(buffer_span(&sink->kept), len)) != RES_OK)
            return;
        buffer_consume(&sink->kept, len);
    }
    ev_timer_stop(loop, w);
}

static bool
to_forward(struct record_sink *sink, struct span record)
{
    if (forward_sink_write(sink->forward, record) == RES_OK) {
        sink->overflowed = false;
        return true;
    }
    if (!sink->overflowed)
        log_error("event=records-lost to=%s reason=\"forward_buffer is full\"",
                  sink->config->forward_to);
    sink->overflowed = true;
    return false;
}

/* ---- what came together: one write ---- */

static void
to_batch(struct record_sink *sink, struct span record)
{
    if (record.len > RECORD_SINK_BATCH_BYTES - sink->batch_len)
        record_sink_flush(sink);
    memcpy(sink->batch + sink->batch_len, record.ptr, record.len);
    sink->batch_len += record.len;
    sink->batch_count++;
}

void
record_sink_flush(struct record_sink *sink)
{
    size_t written;

    if (!sink->batch_count)
        return;
    /* The file has told of what it did not take. */
    (void)!record_file_write_all(sink->file, span_make(sink->batch, sink->batch_len),
                                 sink->batch_count, &written);
    sink->written += written;
    sink->lost += sink->batch_count - written;
    sink->batch_len = sink->batch_count = 0;
}

bool
record_sink_waits(const struct record_sink *sink)
{
    return sink->batch_count > 0;
}

static void
on_turn_end(struct ev_loop *loop, ev_prepare *w, int revents)
{
    (void)loop, (void)revents;
    record_sink_flush(w->data);
}

void
record_sink_write(struct record_sink *sink, struct span record)
{
    bool taken = !sink->forward || to_forward(sink, record);

    /* A record that the receiver does not get is lost, whatever the file does with it: it goes by
     * itself, so that a batch is counted by what the file took. */
    if (taken && sink->batch) {
        to_batch(sink, record);
        return;
    }
    record_sink_flush(sink); /* in the order in which they came */
    if (sink->file && !to_file(sink, record))
        taken = false;
    *(taken ? &sink->written : &sink->lost) += 1;
}

bool
record_sink_is_ready(const struct record_sink *sink)
{
    if (!sink->config->record_loss_defers)
        return true;
    if (buffer_len(&sink->kept))
        return false;
    /* What waits for the receiver is safe only as long as it fits. */
    return !sink->forward || forward_sink_waiting(sink->forward) <
                                 ((size_t)sink->config->forward_buffer_mib << 20) / 2;
}

bool
record_sink_keeps(const struct record_sink *sink)
{
    return buffer_len(&sink->kept) > 0;
}

uint64_t
record_sink_written(const struct record_sink *sink)
{
    return sink->written;
}

uint64_t
record_sink_lost(const struct record_sink *sink)
{
    return sink->lost;
}
