/* policy/tlsrpt_rows.h: the rows of a store of TLS reports: of domains by day, of kinds of report,
 * and of the texts of policies. A kind is kept as its encoding, once; what is counted again and
 * again stands beside it in a table of small rows, so that a flush touches few pages. In the index
 * a hash stands for the encoding: it is no secret, but whoever makes two that collide merges what
 * is said of his own domain. Context: policy process; used by policy/tlsrpt_store.c, which holds
 * the transactions. */
#ifndef STSGATE_POLICY_TLSRPT_ROWS_H
#define STSGATE_POLICY_TLSRPT_ROWS_H

#include "base/buffer.h"
#include "base/tls_report.h"

#define TLSRPT_KIND_MAX_BYTES (1u << 20)
#define TLSRPT_ROWS_STATEMENTS 16u

struct sqlite_file;
struct sqlite3_stmt;

struct tlsrpt_rows {
    struct sqlite_file *file;                              /* borrowed */
    struct sqlite3_stmt *prepared[TLSRPT_ROWS_STATEMENTS]; /* owned */
    struct buffer scratch;
    int64_t counted_day_s; /* of domain_count */
    int64_t domain_count;  /* domains of that day; -1: not counted yet */
    bool made_room;        /* since tlsrpt_rows_begin() rows went that may be known */
    uint64_t lost;         /* since then: what there was no room for */
};

/** close is due in any case. RES_SYNTAX: the file has other tables. RES_NOMEM. */
MUST_CHECK enum result tlsrpt_rows_open(struct tlsrpt_rows *rows, struct sqlite_file *file);
void tlsrpt_rows_close(struct tlsrpt_rows *rows);

/** A report's kind: its encoding, without what no report would tell. RES_NOMEM, RES_LIMIT.
 * out: emptied first. */
MUST_CHECK enum result tlsrpt_rows_kind(const struct tls_report *report, struct buffer *out);

/** A transaction has begun. */
void tlsrpt_rows_begin(struct tlsrpt_rows *rows);

/** count more of the kind that bytes make, in its row: as tlsrpt_tally_each. With no room for one
 * *row stays 0. rows: struct tlsrpt_rows. */
MUST_CHECK enum result tlsrpt_rows_count(void *rows, struct span bytes, uint64_t count,
                                         int64_t *row);

/** Rows of domains came or went otherwise. */
void tlsrpt_rows_gone(struct tlsrpt_rows *rows);

/** A domain's day, with its kinds. */
MUST_CHECK enum result tlsrpt_rows_drop(struct tlsrpt_rows *rows, int64_t day_s,
                                        const char *domain);

/** The text goes with day_s, or with a later day that has a kind with it. */
MUST_CHECK enum result tlsrpt_rows_put_text(struct tlsrpt_rows *rows, const uint8_t sha256[32],
                                            struct span text, int64_t day_s);
bool tlsrpt_rows_has_text(struct tlsrpt_rows *rows, const uint8_t sha256[32]);

#endif
