/* policy/tlsrpt_tally.h: kinds of report, and how many of each were counted since the last flush:
 * one more of a kind that is known costs a number in memory, and the file an update by row, however
 * many there were. A kind is what is equal in the encoding of struct tls_report. Context: policy
 * process; used by policy/tlsrpt_store.c. Pure: no I/O. */
#ifndef STSGATE_POLICY_TLSRPT_TALLY_H
#define STSGATE_POLICY_TLSRPT_TALLY_H

#include "base/result.h"
#include "base/span.h"

#include <stdint.h>

#define TLSRPT_KNOWN_MAX 131072u /* kinds that stay known after a flush: 14 MiB */

struct tlsrpt_kind;

struct tlsrpt_tally {
    struct tlsrpt_kind *kinds; /* owned */
    struct tlsrpt_kind *dirty; /* those that were counted since the last flush */
    struct tlsrpt_kind **dirty_end;
    unsigned new_count; /* kinds without a row */
};

/** So many more of the kind that bytes make, a copy of which is kept until its row is known.
 * RES_NOMEM: it is not counted. */
MUST_CHECK enum result tlsrpt_tally_add(struct tlsrpt_tally *tally, struct span bytes,
                                        uint64_t count);

/** Each kind that was counted, in the order they first were since the last flush.
 * row    of the file; 0: it is in none that is known, and each gives it one if there is room
 * bytes  empty once the row is known
 * On anything but RES_OK of each it ends. Until tlsrpt_tally_written() nothing has changed. */
typedef enum result tlsrpt_tally_each(void *arg, struct span bytes, uint64_t count, int64_t *row);
MUST_CHECK enum result tlsrpt_tally_dirty(struct tlsrpt_tally *tally, tlsrpt_tally_each *each,
                                          void *arg);

/** What was counted is in the file for good; kinds that found no room are forgotten. */
void tlsrpt_tally_written(struct tlsrpt_tally *tally);

/** Rows are gone. Nothing may be dirty. */
void tlsrpt_tally_forget(struct tlsrpt_tally *tally);

/** Frees all, also what was counted. */
void tlsrpt_tally_clear(struct tlsrpt_tally *tally);

#endif
