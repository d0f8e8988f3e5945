/* policy/tlsrpt_store.h: what TLSRPT counts, by UTC day and domain, until it has been reported (RFC
 * 8460 4; RPT-020 ... RPT-035): how often each kind of struct tls_report was told. Kept in an
 * SQLite file, so that it outlives the process; what is equal is counted in memory first, and
 * written in one transaction. policy/tlsrpt_read.c adds it up to reports. Bounded: a flood of
 * domains or of kinds of failure costs detail, never the count of a failure. Context: policy
 * process; `stsgate report --from-log` with ":memory:". Calls may block for as long as a disk
 * takes. */
#ifndef STSGATE_POLICY_TLSRPT_STORE_H
#define STSGATE_POLICY_TLSRPT_STORE_H

#include "base/tls_report.h"

#include <stdint.h>

#define TLSRPT_DAY_S 86400
#define TLSRPT_PENDING_MAX 20000u  /* new kinds in memory; then they are written at once */
#define TLSRPT_DOMAINS_MAX 100000u /* of one day (RPT-034) */
#define TLSRPT_KINDS_MAX 1024u     /* of one domain and day; of further ones the details go */
#define TLSRPT_REDUCED_MAX 1024u   /* of those; beyond them nothing is counted */
#define TLSRPT_OVERFLOW_REASON "other-hosts-and-reasons" /* in place of details */

struct tlsrpt_store;

/** path: of the file, made where there is none; ":memory:" for none.
 * error: unless RES_OK what is wrong. Results are those of sqlite_file_open(). */
MUST_CHECK enum result tlsrpt_store_open(const char *path, struct tlsrpt_store **out, char *error,
                                         size_t error_size);

/** What is pending is written if that works. NULL is allowed. */
void tlsrpt_store_close(struct tlsrpt_store *store);

/** Count sessions, 1 or more, that went so under one policy. RES_NOMEM, RES_TEMPFAIL: it is not
 * counted, or will be with the next flush that works; tlsrpt_store_lost() tells. */
enum result tlsrpt_store_count(struct tlsrpt_store *store, const struct tls_report *report,
                               uint64_t sessions);

/** The same for report number of source, unless it was counted before; numbers of a source only
 * rise. What is told twice counts once, also over a crash: what is in the file of a source is told
 * to counted after each flush. */
enum result tlsrpt_store_count_once(struct tlsrpt_store *store, uint64_t source, uint64_t number,
                                    const struct tls_report *report, uint64_t sessions);
typedef void tlsrpt_source_counted(void *arg, uint64_t source, uint64_t number);
void tlsrpt_store_on_counted(struct tlsrpt_store *store, tlsrpt_source_counted *counted, void *arg);

/** The text that a report's text_sha256 stands for (RPT-056): kept as long as a report of its day
 * may be made. Cheap when it is known already. */
enum result tlsrpt_store_text(struct tlsrpt_store *store, const uint8_t sha256[32],
                              struct span text, int64_t now_s);
bool tlsrpt_store_has_text(struct tlsrpt_store *store, const uint8_t sha256[32]);

/** Write what is pending, all of it or nothing. Often: what is pending is lost by a crash. */
enum result tlsrpt_store_flush(struct tlsrpt_store *store);

/** Sessions that could not be counted, since the start. */
uint64_t tlsrpt_store_lost(const struct tlsrpt_store *store);

/** The day of a moment: seconds since 1970 of its 00:00:00 UTC. */
int64_t tlsrpt_day(int64_t at_s);

/** Forget a domain's day: it has been reported, or nobody wants to know; and all days before
 * day_s. */
MUST_CHECK enum result tlsrpt_store_drop(struct tlsrpt_store *store, int64_t day_s,
                                         const char *domain);
MUST_CHECK enum result tlsrpt_store_drop_before(struct tlsrpt_store *store, int64_t day_s);

/** Of the last call that failed, for the log. Borrowed. */
const char *tlsrpt_store_problem(struct tlsrpt_store *store);

/** Rows of the store were deleted by its file, after tlsrpt_store_flush(). */
void tlsrpt_store_rows_gone(struct tlsrpt_store *store);

struct sqlite_file;

/** The file, for policy/tlsrpt_read.c and what else keeps tables there. Borrowed. */
struct sqlite_file *tlsrpt_store_file(struct tlsrpt_store *store);

#endif
