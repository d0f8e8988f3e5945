/* proxy/forward_sink.h: records to Fluent Bit, Fluentd or anything that speaks the forward
 * protocol, at least once: what was not acknowledged is sent again, over a new connection. Bounded,
 * and never in the way of mail: what does not fit is the caller's to count. Context: worker and
 * policy process, on the event loop. */
#ifndef STSGATE_PROXY_FORWARD_SINK_H
#define STSGATE_PROXY_FORWARD_SINK_H

#include "base/clock.h"
#include "base/result.h"
#include "base/span.h"

#include <stdint.h>

#define FORWARD_BATCH_BYTES (1024u * 1024u) /* of records in one message, about */
#define FORWARD_BATCH_MS 200                /* that a record waits for company */
#define FORWARD_ACK_MS 10000                /* then the message is sent again */
#define FORWARD_RETRY_MIN_MS 250            /* between two connections, doubled each time */
#define FORWARD_RETRY_MAX_MS 30000

struct ev_loop;
struct forward_sink;

struct forward_sink_config {
    const char *to;    /* "ADDRESS:PORT", "[ADDRESS]:PORT" or "/PATH" of a UNIX socket; copied */
    size_t buffer_max; /* bytes of records that wait, sent or not; at least RECORD_MAX_BYTES */
    struct clock clock;
};

/** loop: borrowed until forward_sink_free(). The receiver need not be there yet.
 * RES_SYNTAX: to is none of these; RES_NOMEM. */
MUST_CHECK enum result forward_sink_new(struct ev_loop *loop,
                                        const struct forward_sink_config *config,
                                        struct forward_sink **out);

/** What waits is lost; forward_sink_drain() first. NULL is allowed. */
void forward_sink_free(struct forward_sink *sink);

/** Take a copy of one whole record. RES_LIMIT: there is no room; RES_NOMEM. */
MUST_CHECK enum result forward_sink_write(struct forward_sink *sink, struct span record);

/** Bytes of records that nobody has acknowledged yet. */
size_t forward_sink_waiting(const struct forward_sink *sink);

/** Has the receiver acknowledged something since the last failure? */
bool forward_sink_is_up(const struct forward_sink *sink);

/** At the end: go on until everything is acknowledged, or for so long. Blocks. */
void forward_sink_drain(struct forward_sink *sink, unsigned timeout_ms);

#endif
