/* policy/tlsrpt_known.h: where in the store the sums of a kind of report stand, so that one more of
 * it costs a number in memory and, with the next flush, an update by row. Bounded; what is left out
 * is looked up by its content. Context: policy process; used by policy/tlsrpt_store.c. Pure. */
#ifndef STSGATE_POLICY_TLSRPT_KNOWN_H
#define STSGATE_POLICY_TLSRPT_KNOWN_H

#include "base/span.h"
#include "base/tls_report.h"

#define TLSRPT_KNOWN_MAX 131072u /* kinds of report: 20 MiB */

/* Rows of one kind of report. */
struct tlsrpt_rows {
    int64_t policy;
    int64_t details[TLS_REPORT_DETAILS_MAX];
    size_t detail_count;
    bool failed;
};

struct tlsrpt_known_entry;

struct tlsrpt_known {
    struct tlsrpt_known_entry *entries; /* owned */
    struct tlsrpt_known_entry *dirty;   /* those that were counted since the last flush */
};

/** bytes: what makes the kind, its day included. True: one more of it is counted. */
bool tlsrpt_known_count(struct tlsrpt_known *known, struct span bytes);

/** From now on it is known. When there is no room nothing happens. */
void tlsrpt_known_add(struct tlsrpt_known *known, struct span bytes,
                      const struct tlsrpt_rows *rows);

/** Each kind that was counted. each: on anything but RES_OK it ends. */
typedef enum result tlsrpt_known_each(void *arg, const struct tlsrpt_rows *rows, uint64_t count);
MUST_CHECK enum result tlsrpt_known_dirty(const struct tlsrpt_known *known, tlsrpt_known_each *each,
                                          void *arg);

/** What was counted is in the store. */
void tlsrpt_known_clean(struct tlsrpt_known *known);

/** Forget all, also what was counted: rows are gone. */
void tlsrpt_known_clear(struct tlsrpt_known *known);

#endif
