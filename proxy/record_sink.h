/* proxy/record_sink.h: where a process sends its records: the file, the forward protocol, or both.
 * No mail waits for a record; but where the site wants nothing to pass unrecorded, the sink says
 * whether it can take more, each record is written when it is given, and those that could not be
 * written are kept and tried again. Elsewhere the file gets what came together by one write: before
 * the reply that tells of it (record_sink_flush()), at the latest before the loop waits.
 * Context: worker and policy process, on the event loop. */
#ifndef STSGATE_PROXY_RECORD_SINK_H
#define STSGATE_PROXY_RECORD_SINK_H

#include "base/clock.h"
#include "base/result.h"
#include "base/span.h"

#include <stdint.h>

#define RECORD_SINK_KEPT_BYTES (4u * 1024u * 1024u) /* of records that the file did not take */
#define RECORD_SINK_RETRY_MS 1000
#define RECORD_SINK_BATCH_BYTES (128u * 1024u) /* of records for one write; two of the longest */

struct config;
struct ev_loop;
struct record_sink;

/** As the configuration says; both may be off. loop and config: borrowed until
 * record_sink_free().
 * error: unless RES_OK what is wrong and what to do. RES_DENIED, RES_NOMEM. */
MUST_CHECK enum result record_sink_new(struct ev_loop *loop, const struct config *config,
                                       struct record_sink **out, char *error, size_t error_size);

/** Gives what waits a last chance. NULL is allowed. */
void record_sink_free(struct record_sink *sink);

/** Take one whole record; what is lost is counted and told. */
void record_sink_write(struct record_sink *sink, struct span record);

/** Write what the file has not got yet. Whoever is about to tell somebody what became of a mail
 * calls it first, so that nobody hears what a crash can take out of the records. */
void record_sink_flush(struct record_sink *sink);

/** Is there anything to write? Replies that leave after it has been may share that one write. */
bool record_sink_waits(const struct record_sink *sink);

/** May mail pass? With record_loss = defer only while all records so far were taken. */
bool record_sink_is_ready(const struct record_sink *sink);

/** Are there records that the file has not taken yet, and will be offered again? */
bool record_sink_keeps(const struct record_sink *sink);

/** Records written, and lost, since the start. */
uint64_t record_sink_written(const struct record_sink *sink);
uint64_t record_sink_lost(const struct record_sink *sink);

#endif
