/* proxy/report_queue.h: what a worker has told the policy process to count for TLSRPT, kept until
 * that process says that it is in its store; after a crash of it all that was not is told again,
 * and counted once, since each has a number that goes to the store with it (RPT-020, RPT-032).
 * Sessions that went alike since the last message was sent are one message with their number.
 * Bounded: mail comes first. Context: worker. Pure: no I/O, no clock. */
#ifndef STSGATE_PROXY_REPORT_QUEUE_H
#define STSGATE_PROXY_REPORT_QUEUE_H

#include "base/buffer.h"
#include "base/tls_report.h"

#define REPORT_QUEUE_MAX 16384u                     /* reports */
#define REPORT_QUEUE_BYTES_MAX (8u * 1024u * 1024u) /* of their messages */

struct report_queue_entry;

struct report_queue {
    uint64_t source;                    /* whose numbers these are: never 0 */
    uint64_t last;                      /* number given */
    uint64_t told;                      /* the highest number that ever went to the link */
    struct report_queue_entry *entries; /* owned, by number */
    struct report_queue_entry *unsent;  /* the first that is not on the link; NULL: none */
    size_t count, bytes;
    uint64_t lost;         /* sessions */
    struct buffer message; /* the next, as report_queue_next() has given it */
};

/** source: of this process alone, drawn at random. */
void report_queue_init(struct report_queue *queue, uint64_t source);
void report_queue_clear(struct report_queue *queue);

/** Take a report in. Where there is no room the oldest that was sent is no longer kept: a crash
 * might lose it; with none the new one is lost. RES_NOMEM, RES_LIMIT: it is lost, and counted in
 * queue->lost. */
MUST_CHECK enum result report_queue_add(struct report_queue *queue,
                                        const struct tls_report *report);

/** The next message to send, borrowed until the next call; false: none, or no memory for it now.
 * report_queue_sent(): it is on the link. */
bool report_queue_next(struct report_queue *queue, struct span *out);
void report_queue_sent(struct report_queue *queue);

/** A new link: all that are kept are to be sent again. */
void report_queue_restart(struct report_queue *queue);

/** Those up to number are in the store. RES_SYNTAX: one of them was never sent. */
MUST_CHECK enum result report_queue_counted(struct report_queue *queue, uint64_t number);

#endif
