/* policy/tlsrpt_source.h: which reports of which worker are counted, kept in the store of TLS
 * reports in the same transaction as the counts: one that is told again is not counted again
 * (RPT-020). Context: policy process; used by policy/tlsrpt_store.c. */
#ifndef STSGATE_POLICY_TLSRPT_SOURCE_H
#define STSGATE_POLICY_TLSRPT_SOURCE_H

#include "policy/tlsrpt_store.h"

#define TLSRPT_SOURCES_MAX 1024u /* in memory; others are read from the file when they come */

#define TLSRPT_SOURCE_TABLE                                                                        \
    "CREATE TABLE source (id INTEGER PRIMARY KEY, number INTEGER NOT NULL,"                        \
    " day INTEGER NOT NULL);"

struct sqlite_file;
struct sqlite3_stmt;
struct tlsrpt_source;

struct tlsrpt_sources {
    struct sqlite_file *file;          /* borrowed */
    struct sqlite3_stmt *find, *write; /* owned */
    struct tlsrpt_source *all;         /* owned */
    unsigned dirty;                    /* of them: to be written */
};

/** The file has the table. RES_SYNTAX, RES_NOMEM. */
MUST_CHECK enum result tlsrpt_sources_open(struct tlsrpt_sources *sources,
                                           struct sqlite_file *file);
void tlsrpt_sources_close(struct tlsrpt_sources *sources);

/** out_new: is this report of source one that was not taken before? Numbers of a source only rise.
 * day_s: of the report; the source's row goes with tlsrpt_store_drop_before() of a later one.
 * RES_NOMEM, RES_TEMPFAIL, RES_SYNTAX. */
MUST_CHECK enum result tlsrpt_sources_take(struct tlsrpt_sources *sources, uint64_t source,
                                           uint64_t number, int64_t day_s, bool *out_new);

/** Within a transaction. */
MUST_CHECK enum result tlsrpt_sources_write(struct tlsrpt_sources *sources);

/** The transaction is over: what was taken of each source is in the file up to number. */
void tlsrpt_sources_written(struct tlsrpt_sources *sources, tlsrpt_source_counted *counted,
                            void *arg);

#endif
