/* proxy/report_fold.h: the sums of TLSRPT made from records (docs/records.md), as the policy
 * process makes them from what workers tell: each session once under each policy, by its last
 * verdict. Context: command line; reads records that hostile peers helped to write. */
#ifndef STSGATE_PROXY_REPORT_FOLD_H
#define STSGATE_PROXY_REPORT_FOLD_H

#include "policy/tlsrpt_store.h"

struct report_fold;

/** store: where they are counted; borrowed until report_fold_free(). NULL: no memory. */
struct report_fold *report_fold_new(struct tlsrpt_store *store);

/** One record, its map as record_decode() gives it; of events that TLSRPT does not care for, too.
 * RES_SYNTAX: it says something that none of ours does, and is passed over; RES_NOMEM; RES_TEMPFAIL
 * is the store's. */
MUST_CHECK enum result report_fold_take(struct report_fold *fold, struct span map);

/** Sessions whose end is in no record are counted as well. Results as above. */
MUST_CHECK enum result report_fold_end(struct report_fold *fold);

void report_fold_free(struct report_fold *fold); /* NULL is allowed */

#endif
