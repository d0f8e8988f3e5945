#include "policy/tlsrpt_store.h"

#include "base/log.h"
#include "base/tls_report_msg.h"
#include "policy/sqlite_file.h"
#include "policy/tlsrpt_tally.h"

#include <stdio.h>
#include <stdlib.h>

/* A kind is kept as its encoding, once; what is counted again and again stands beside it in a table
 * of small rows, so that a flush touches few pages. In the index a hash stands for the encoding: it
 * is no secret, but whoever makes two that collide merges what is said of his own domain. Ids are
 * never used again, so that a row that another process remembers is never a different one. */
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
        " reason TEXT NOT NULL) WITHOUT ROWID;",
    .application_id = 0x53545352, /* "STSR" */
    .version = 3,
};

enum statement {
    FIND_DOMAIN,
    ADD_DOMAIN,
    MARK_DOMAIN,
    MAKE_ROOM,
    COUNT_DOMAINS,
    FIND_KIND,
    ADD_KIND,
    COUNT_KINDS,
    ADD_TALLY,
    COUNT_MORE,
    PUT_TEXT,
    GET_TEXT,
    TOUCH_TEXT,
    DROP,
    STATEMENTS,
};

static const char *const statements[STATEMENTS] = {
    [FIND_DOMAIN] = "SELECT id FROM domain WHERE day = ?1 AND name = ?2",
    [ADD_DOMAIN] = "INSERT INTO domain (day, name, failed) VALUES (?1, ?2, ?3) RETURNING id",
    [MARK_DOMAIN] = "UPDATE domain SET failed = 1 WHERE id = ?1 AND failed = 0",
    /* RPT-034: what goes first is what only says that all is well */
    [MAKE_ROOM] = "DELETE FROM domain WHERE id IN (SELECT id FROM domain WHERE day = ?1 AND"
                  " failed = 0 LIMIT 1000)",
    [COUNT_DOMAINS] = "SELECT count(*) FROM domain WHERE day = ?1",
    [FIND_KIND] = "SELECT id FROM kind WHERE domain = ?1 AND hash = ?2",
    [ADD_KIND] = "INSERT INTO kind (domain, hash, report) VALUES (?1, ?2, ?3) RETURNING id",
    [COUNT_KINDS] = "SELECT count(*) FROM kind WHERE domain = ?1",
    [ADD_TALLY] = "INSERT INTO tally VALUES (?1, ?2)",
    [COUNT_MORE] = "UPDATE tally SET count = count + ?2 WHERE kind = ?1",
    [PUT_TEXT] = "INSERT INTO text VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET day = ?2",
    [GET_TEXT] = "SELECT body FROM text WHERE sha256 = ?1",
    [TOUCH_TEXT] = "UPDATE text SET day = ?2 WHERE sha256 = ?1 AND day < ?2",
    [DROP] = "DELETE FROM domain WHERE day = ?1 AND name = ?2",
};

struct tlsrpt_store {
    struct sqlite_file file;
    sqlite3_stmt *prepared[STATEMENTS];
    struct tlsrpt_tally tally;
    int64_t tally_day_s;
    bool made_room;          /* in the transaction in hand */
    int64_t counted_day_s;   /* of domain_count */
    int64_t domain_count;    /* domains of that day; -1: not counted yet */
    uint64_t lost, lost_now; /* the latter: in the transaction in hand */
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

/* ---- statements ---- */

static void
bind_text(sqlite3_stmt *stmt, int at, const char *text)
{
    (void)sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC); /* no memory: the step says so */
}

static void
bind_sha256(sqlite3_stmt *stmt, int at, const uint8_t sha256[32])
{
    (void)sqlite3_bind_blob(stmt, at, sha256, 32, SQLITE_STATIC);
}

static enum result
run(struct tlsrpt_store *s, enum statement which)
{
    return sqlite_file_run(&s->file, s->prepared[which]);
}

/* The number in the only row; RES_AGAIN: there is no row. */
static enum result
run_for_number(struct tlsrpt_store *s, enum statement which, int64_t *out)
{
    sqlite3_stmt *stmt = s->prepared[which];
    int rc = sqlite3_step(stmt);
    enum result res = rc == SQLITE_DONE ? RES_AGAIN : sqlite_file_result(&s->file, rc);

    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    if (rc == SQLITE_ROW) /* RETURNING is over only at its end */
        res = sqlite_file_result(&s->file, sqlite3_step(stmt));
    (void)sqlite3_reset(stmt);
    (void)sqlite3_clear_bindings(stmt);
    return res;
}

static enum result
run_with(struct tlsrpt_store *s, enum statement which, int64_t first, int64_t second)
{
    (void)sqlite3_bind_int64(s->prepared[which], 1, first);
    (void)sqlite3_bind_int64(s->prepared[which], 2, second);
    return run(s, which);
}

/* ---- domains ---- */

static enum result
count_domains(struct tlsrpt_store *s, int64_t day_s)
{
    (void)sqlite3_bind_int64(s->prepared[COUNT_DOMAINS], 1, day_s);
    s->counted_day_s = day_s;
    return run_for_number(s, COUNT_DOMAINS, &s->domain_count);
}

/* Is there room for one more domain of the day? A failure drives out what only succeeded. */
static enum result
make_room(struct tlsrpt_store *s, int64_t day_s, bool failed, bool *out_room)
{
    enum result res = RES_OK;

    if (s->domain_count < 0 || s->counted_day_s != day_s)
        res = count_domains(s, day_s);
    if (res == RES_OK && s->domain_count >= TLSRPT_DOMAINS_MAX && failed) {
        (void)sqlite3_bind_int64(s->prepared[MAKE_ROOM], 1, day_s);
        s->made_room = true;
        res = run(s, MAKE_ROOM);
        if (res == RES_OK)
            res = count_domains(s, day_s);
        log_warn("event=tlsrpt-overflow domains=%u reason=\"domains without a failure are left "
                 "out of the day's reports\"",
                 TLSRPT_DOMAINS_MAX);
    }
    *out_room = res == RES_OK && s->domain_count < TLSRPT_DOMAINS_MAX;
    return res;
}

static enum result
add_domain(struct tlsrpt_store *s, int64_t day_s, const struct tls_report *report, int64_t *out)
{
    sqlite3_stmt *stmt = s->prepared[ADD_DOMAIN];
    bool room;
    enum result res = make_room(s, day_s, report->failed, &room);

    if (res != RES_OK || !room)
        return res == RES_OK ? RES_LIMIT : res;
    (void)sqlite3_bind_int64(stmt, 1, day_s);
    bind_text(stmt, 2, report->domain);
    (void)sqlite3_bind_int64(stmt, 3, report->failed);
    res = run_for_number(s, ADD_DOMAIN, out);
    if (res == RES_OK)
        s->domain_count++;
    return res;
}

/* The row of a report's domain and day. RES_LIMIT: there is no room for one more. */
static enum result
domain_row(struct tlsrpt_store *s, const struct tls_report *report, int64_t *out, bool *out_new)
{
    int64_t day_s = tlsrpt_day(report->at_s);
    enum result res;

    (void)sqlite3_bind_int64(s->prepared[FIND_DOMAIN], 1, day_s);
    bind_text(s->prepared[FIND_DOMAIN], 2, report->domain);
    res = run_for_number(s, FIND_DOMAIN, out);
    *out_new = res == RES_AGAIN;
    if (res == RES_AGAIN)
        return add_domain(s, day_s, report, out);
    if (res == RES_OK && report->failed) {
        (void)sqlite3_bind_int64(s->prepared[MARK_DOMAIN], 1, *out);
        res = run(s, MARK_DOMAIN);
    }
    return res;
}

/* ---- kinds ---- */

/* FNV-1a. */
static int64_t
hash_of(struct span bytes)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ (unsigned char)bytes.ptr[i]) * 0x100000001b3u;
    return (int64_t)hash;
}

static enum result
encode(const struct tls_report *report, struct buffer *out)
{
    struct pack_writer w;

    buffer_consume(out, buffer_len(out));
    pack_begin(&w, out);
    tls_report_encode(report, &w);
    return pack_end(&w);
}

static void
clear_hosts(struct tls_report *report)
{
    report->sending.len = report->receiving.len = 0;
    report->mx_host[0] = report->helo[0] = '\0';
}

/* RES_AGAIN: there is no such row. */
static enum result
find_kind(struct tlsrpt_store *s, int64_t domain, struct span bytes, int64_t *out)
{
    (void)sqlite3_bind_int64(s->prepared[FIND_KIND], 1, domain);
    (void)sqlite3_bind_int64(s->prepared[FIND_KIND], 2, hash_of(bytes));
    return run_for_number(s, FIND_KIND, out);
}

static enum result
add_kind(struct tlsrpt_store *s, int64_t domain, struct span bytes, uint64_t count, int64_t *out)
{
    sqlite3_stmt *stmt = s->prepared[ADD_KIND];
    enum result res;

    (void)sqlite3_bind_int64(stmt, 1, domain);
    (void)sqlite3_bind_int64(stmt, 2, hash_of(bytes));
    (void)sqlite3_bind_blob(stmt, 3, bytes.ptr, (int)bytes.len, SQLITE_STATIC);
    res = run_for_number(s, ADD_KIND, out);
    return res == RES_OK ? run_with(s, ADD_TALLY, *out, (int64_t)count) : res;
}

/* A row that another process has deleted does not come back. */
static enum result
count_more(struct tlsrpt_store *s, int64_t row, uint64_t count)
{
    enum result res = run_with(s, COUNT_MORE, row, (int64_t)count);

    if (res == RES_OK && sqlite3_changes(s->file.db) == 0)
        s->lost_now += count;
    return res;
}

/* A domain that has too many kinds keeps its counts; where and why becomes one. */
static enum result
count_reduced(struct tlsrpt_store *s, int64_t domain, struct tls_report *report, int64_t kinds,
              uint64_t count, int64_t *row)
{
    enum result res;

    clear_hosts(report);
    for (size_t i = 0; i < report->detail_count; i++)
        snprintf(report->details[i].reason, sizeof report->details[i].reason, "%s",
                 TLSRPT_OVERFLOW_REASON);
    res = encode(report, &s->scratch);
    if (res == RES_OK)
        res = find_kind(s, domain, buffer_span(&s->scratch), row);
    if (res == RES_OK)
        return count_more(s, *row, count);
    if (res != RES_AGAIN)
        return res;
    if (kinds >= TLSRPT_KINDS_MAX + TLSRPT_REDUCED_MAX)
        return RES_LIMIT;
    return add_kind(s, domain, buffer_span(&s->scratch), count, row);
}

/* Its text is kept as long as this day's report may be made. */
static enum result
touch_text(struct tlsrpt_store *s, const struct tls_report *report)
{
    if (report->type != TLS_REPORT_STS)
        return RES_OK;
    bind_sha256(s->prepared[TOUCH_TEXT], 1, report->text_sha256);
    (void)sqlite3_bind_int64(s->prepared[TOUCH_TEXT], 2, tlsrpt_day(report->at_s));
    return run(s, TOUCH_TEXT);
}

/* The first of its kind that this process meets. */
static enum result
count_first(struct tlsrpt_store *s, struct tls_report *report, struct span bytes, uint64_t count,
            int64_t *row)
{
    int64_t domain, kinds = 0;
    bool is_new;
    enum result res = domain_row(s, report, &domain, &is_new);

    if (res != RES_OK)
        return res;
    if (!is_new) { /* else there is nothing to look for */
        res = find_kind(s, domain, bytes, row);
        if (res == RES_OK)
            return count_more(s, *row, count);
        if (res != RES_AGAIN)
            return res;
        (void)sqlite3_bind_int64(s->prepared[COUNT_KINDS], 1, domain);
        res = run_for_number(s, COUNT_KINDS, &kinds);
    }
    if (res == RES_OK)
        res = touch_text(s, report);
    if (res != RES_OK)
        return res;
    return kinds < TLSRPT_KINDS_MAX ? add_kind(s, domain, bytes, count, row)
                                    : count_reduced(s, domain, report, kinds, count, row);
}

/* ---- flush ---- */

static enum result
write_kind(void *arg, struct span bytes, uint64_t count, int64_t *row)
{
    struct tlsrpt_store *s = arg;
    struct tls_report report;
    struct pack_reader r;
    enum result res;

    if (*row)
        return count_more(s, *row, count);
    pack_reader_init(&r, bytes);
    res = tls_report_decode(&r, &report);
    if (res != RES_OK)
        return res;
    res = count_first(s, &report, bytes, count, row);
    tls_report_clear(&report);
    if (res != RES_LIMIT)
        return res;
    *row = 0;
    s->lost_now += count;
    return RES_OK;
}

enum result
tlsrpt_store_flush(struct tlsrpt_store *s)
{
    enum result res;

    if (!s->tally.dirty)
        return RES_OK;
    s->made_room = false;
    s->lost_now = 0;
    res = sqlite_file_execute(&s->file, "BEGIN IMMEDIATE");
    if (res == RES_OK)
        res = tlsrpt_tally_dirty(&s->tally, write_kind, s);
    if (res == RES_OK)
        res = sqlite_file_execute(&s->file, "COMMIT");
    if (res != RES_OK) {
        sqlite_file_rollback(&s->file);
        s->domain_count = -1;
        return res;
    }
    s->lost += s->lost_now;
    tlsrpt_tally_written(&s->tally);
    if (s->made_room) /* rows went: perhaps some that were known */
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

/* What makes its kind: nothing that no report would tell. */
static struct tls_report
kind_of(const struct tls_report *report)
{
    struct tls_report kind = *report; /* its lists stay the caller's */
    bool hosts = false;

    kind.at_s = tlsrpt_day(report->at_s);
    for (size_t i = 0; i < report->detail_count; i++)
        hosts |= !report->details[i].fetch;
    if (!hosts)
        clear_hosts(&kind);
    return kind;
}

enum result
tlsrpt_store_count(struct tlsrpt_store *s, const struct tls_report *report)
{
    const struct tls_report kind = kind_of(report);
    enum result res = turn_to_day(s, kind.at_s);

    if (res == RES_OK && s->tally.new_count >= TLSRPT_PENDING_MAX)
        res = tlsrpt_store_flush(s);
    if (res != RES_OK)
        res = RES_TEMPFAIL;
    if (res == RES_OK)
        res = encode(&kind, &s->scratch);
    if (res == RES_OK)
        res = tlsrpt_tally_add(&s->tally, buffer_span(&s->scratch));
    if (res != RES_OK)
        s->lost++;
    return res;
}

/* ---- texts ---- */

enum result
tlsrpt_store_text(struct tlsrpt_store *s, const uint8_t sha256[32], struct span text, int64_t now_s)
{
    sqlite3_stmt *stmt = s->prepared[PUT_TEXT];

    bind_sha256(stmt, 1, sha256);
    (void)sqlite3_bind_int64(stmt, 2, tlsrpt_day(now_s));
    (void)sqlite3_bind_blob(stmt, 3, text.len ? text.ptr : "", (int)text.len, SQLITE_STATIC);
    return run(s, PUT_TEXT);
}

bool
tlsrpt_store_has_text(struct tlsrpt_store *s, const uint8_t sha256[32])
{
    enum result res;
    int64_t ignored;

    bind_sha256(s->prepared[GET_TEXT], 1, sha256);
    res = run_for_number(s, GET_TEXT, &ignored);
    return res == RES_OK;
}

/* ---- forgetting ---- */

enum result
tlsrpt_store_drop(struct tlsrpt_store *s, int64_t day_s, const char *domain)
{
    enum result res = tlsrpt_store_flush(s);

    if (res != RES_OK)
        return res;
    (void)sqlite3_bind_int64(s->prepared[DROP], 1, day_s);
    bind_text(s->prepared[DROP], 2, domain);
    tlsrpt_store_rows_gone(s);
    return run(s, DROP);
}

enum result
tlsrpt_store_drop_before(struct tlsrpt_store *s, int64_t day_s)
{
    char sql[160];
    enum result res = tlsrpt_store_flush(s);

    if (res != RES_OK)
        return res;
    snprintf(sql, sizeof sql,
             "DELETE FROM domain WHERE day < %lld; DELETE FROM text WHERE day < %lld",
             (long long)day_s, (long long)day_s);
    tlsrpt_store_rows_gone(s);
    return sqlite_file_execute(&s->file, sql);
}

void
tlsrpt_store_rows_gone(struct tlsrpt_store *s)
{
    s->domain_count = -1;
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
    buffer_init(&s->scratch, 1u << 20);
    s->domain_count = -1;
    res = sqlite_file_open(path, &file_kind, &s->file, error, error_size);
    if (res == RES_OK)
        res = sqlite_file_execute(&s->file, "PRAGMA foreign_keys=ON; PRAGMA cache_size=-8192");
    for (unsigned i = 0; i < STATEMENTS && res == RES_OK; i++) {
        res = sqlite_file_prepare(&s->file, statements[i], &s->prepared[i]);
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
    for (unsigned i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(s->prepared[i]);
    sqlite_file_close(&s->file);
    buffer_clear(&s->scratch);
    free(s);
}
