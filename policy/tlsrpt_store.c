#include "policy/tlsrpt_store.h"

#include "policy/sqlite_file.h"
#include "policy/tlsrpt_rows.h"
#include "policy/tlsrpt_source.h"
#include "policy/tlsrpt_tally.h"

#include <stdio.h>
#include <stdlib.h>

/* Ids of kinds are never used again, so that a row that another process remembers is never a
 * different one. */
static const struct sqlite_kind file_kind = {
    .what = "store of TLS reports",
    .schema =
        "CREATE TABLE domain (id INTEGER PRIMARY KEY, day INTEGER NOT NULL, name TEXT NOT NULL,"
        " failed INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 0,"
        " report_id TEXT NOT NULL DEFAULT '', due INTEGER NOT NULL DEFAULT 0,"
        " first INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,"
        " sent INTEGER NOT NULL DEFAULT 0, problem TEXT NOT NULL DEFAULT '', UNIQUE (day, name));"
        "CREATE INDEX domain_due ON domain (due, day) WHERE state = 0;"
        "CREATE TABLE kind (id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " domain INTEGER NOT NULL REFERENCES domain(id) ON DELETE CASCADE, hash INTEGER NOT NULL,"
        " report BLOB NOT NULL, UNIQUE (domain, hash));"
        "CREATE TABLE tally (kind INTEGER PRIMARY KEY REFERENCES kind(id) ON DELETE CASCADE,"
        " count INTEGER NOT NULL);"
        "CREATE TABLE text (sha256 BLOB PRIMARY KEY, day INTEGER NOT NULL, body BLOB NOT NULL)"
        " WITHOUT ROWID;"
        "CREATE TABLE destination (uri TEXT PRIMARY KEY, until INTEGER NOT NULL,"
        " reason TEXT NOT NULL) WITHOUT ROWID;" TLSRPT_SOURCE_TABLE,
    .application_id = 0x53545352, /* "STSR" */
    .version = 4,
};

struct tlsrpt_store {
    struct sqlite_file file;
    struct tlsrpt_rows rows;
    struct tlsrpt_tally tally;
    int64_t tally_day_s;
    struct tlsrpt_sources sources;
    tlsrpt_source_counted *counted; /* may be NULL */
    void *counted_arg;
    uint64_t lost;
    struct buffer scratch;
};

int64_t
tlsrpt_day(int64_t at_s)
{
    return at_s - ((at_s % TLSRPT_DAY_S) + TLSRPT_DAY_S) % TLSRPT_DAY_S;
}

uint64_t
tlsrpt_store_lost(const struct tlsrpt_store *store)
{
    return store->lost;
}

/* ---- flush ---- */

enum result
tlsrpt_store_flush(struct tlsrpt_store *s)
{
    enum result res;

    if (!s->tally.dirty && !s->sources.dirty)
        return RES_OK;
    tlsrpt_rows_begin(&s->rows);
    res = sqlite_file_execute(&s->file, "BEGIN IMMEDIATE");
    if (res == RES_OK)
        res = tlsrpt_tally_dirty(&s->tally, tlsrpt_rows_count, &s->rows);
    if (res == RES_OK)
        res = tlsrpt_sources_write(&s->sources);
    if (res == RES_OK)
        res = sqlite_file_execute(&s->file, "COMMIT");
    if (res != RES_OK) {
        sqlite_file_rollback(&s->file);
        tlsrpt_rows_gone(&s->rows);
        return res;
    }
    s->lost += s->rows.lost;
    tlsrpt_tally_written(&s->tally);
    tlsrpt_sources_written(&s->sources, s->counted, s->counted_arg);
    if (s->rows.made_room) /* rows went: perhaps some that were known */
        tlsrpt_tally_forget(&s->tally);
    return RES_OK;
}

/* Kinds of a day that is over are not met again, but by a few late ones. */
static enum result
turn_to_day(struct tlsrpt_store *s, int64_t day_s)
{
    enum result res = RES_OK;

    if (day_s > s->tally_day_s) {
        res = tlsrpt_store_flush(s);
        if (res == RES_OK) {
            tlsrpt_tally_forget(&s->tally);
            s->tally_day_s = day_s;
        }
    }
    return res;
}

/* Room for one more of the day. */
static enum result
prepare_for(struct tlsrpt_store *s, int64_t day_s)
{
    enum result res = turn_to_day(s, day_s);

    if (res == RES_OK && s->tally.new_count >= TLSRPT_PENDING_MAX)
        res = tlsrpt_store_flush(s);
    return res == RES_OK ? RES_OK : RES_TEMPFAIL;
}

enum result
tlsrpt_store_count(struct tlsrpt_store *s, const struct tls_report *report, uint64_t sessions)
{
    enum result res = prepare_for(s, tlsrpt_day(report->at_s));

    if (res == RES_OK)
        res = tlsrpt_rows_kind(report, &s->scratch);
    if (res == RES_OK)
        res = tlsrpt_tally_add(&s->tally, buffer_span(&s->scratch), sessions);
    if (res != RES_OK)
        s->lost += sessions;
    return res;
}

enum result
tlsrpt_store_count_once(struct tlsrpt_store *s, uint64_t source, uint64_t number,
                        const struct tls_report *report, uint64_t sessions)
{
    int64_t day_s = tlsrpt_day(report->at_s);
    bool is_new = false;
    enum result res = prepare_for(s, day_s);

    /* From here to the count nothing is written: no number goes to the file without it. */
    if (res == RES_OK)
        res = tlsrpt_sources_take(&s->sources, source, number, day_s, &is_new);
    if (res != RES_OK)
        s->lost += sessions;
    return res == RES_OK && is_new ? tlsrpt_store_count(s, report, sessions) : res;
}

void
tlsrpt_store_on_counted(struct tlsrpt_store *s, tlsrpt_source_counted *counted, void *arg)
{
    s->counted = counted;
    s->counted_arg = arg;
}

/* ---- texts ---- */

enum result
tlsrpt_store_text(struct tlsrpt_store *s, const uint8_t sha256[32], struct span text, int64_t now_s)
{
    return tlsrpt_rows_put_text(&s->rows, sha256, text, tlsrpt_day(now_s));
}

bool
tlsrpt_store_has_text(struct tlsrpt_store *s, const uint8_t sha256[32])
{
    return tlsrpt_rows_has_text(&s->rows, sha256);
}

/* ---- forgetting ---- */

enum result
tlsrpt_store_drop(struct tlsrpt_store *s, int64_t day_s, const char *domain)
{
    enum result res = tlsrpt_store_flush(s);

    if (res != RES_OK)
        return res;
    tlsrpt_store_rows_gone(s);
    return tlsrpt_rows_drop(&s->rows, day_s, domain);
}

enum result
tlsrpt_store_drop_before(struct tlsrpt_store *s, int64_t day_s)
{
    char sql[160];
    enum result res = tlsrpt_store_flush(s);

    if (res != RES_OK)
        return res;
    snprintf(sql, sizeof sql,
             "DELETE FROM domain WHERE day < %lld; DELETE FROM text WHERE day < %lld;"
             " DELETE FROM source WHERE day < %lld",
             (long long)day_s, (long long)day_s, (long long)day_s);
    tlsrpt_store_rows_gone(s);
    return sqlite_file_execute(&s->file, sql);
}

void
tlsrpt_store_rows_gone(struct tlsrpt_store *s)
{
    tlsrpt_rows_gone(&s->rows);
    tlsrpt_tally_forget(&s->tally);
}

const char *
tlsrpt_store_problem(struct tlsrpt_store *s)
{
    return s->file.error;
}

struct sqlite_file *
tlsrpt_store_file(struct tlsrpt_store *s)
{
    return &s->file;
}

/* ---- opening and closing ---- */

enum result
tlsrpt_store_open(const char *path, struct tlsrpt_store **out, char *error, size_t error_size)
{
    struct tlsrpt_store *s = calloc(1, sizeof *s);
    enum result res;

    *out = NULL;
    if (!s) {
        snprintf(error, error_size, "no memory");
        return RES_NOMEM;
    }
    buffer_init(&s->scratch, TLSRPT_KIND_MAX_BYTES);
    res = sqlite_file_open(path, &file_kind, &s->file, error, error_size);
    if (res == RES_OK)
        res = sqlite_file_execute(&s->file, "PRAGMA foreign_keys=ON; PRAGMA cache_size=-8192");
    if (res == RES_OK) {
        res = tlsrpt_rows_open(&s->rows, &s->file);
        if (res == RES_OK)
            res = tlsrpt_sources_open(&s->sources, &s->file);
        if (res != RES_OK)
            snprintf(error, error_size, "has other tables than a store of TLS reports");
    }
    if (res == RES_OK)
        *out = s;
    else
        tlsrpt_store_close(s);
    return res;
}

void
tlsrpt_store_close(struct tlsrpt_store *s)
{
    if (!s)
        return;
    if (s->file.db)
        (void)tlsrpt_store_flush(s);
    tlsrpt_tally_clear(&s->tally);
    tlsrpt_sources_close(&s->sources);
    tlsrpt_rows_close(&s->rows);
    sqlite_file_close(&s->file);
    buffer_clear(&s->scratch);
    free(s);
}
