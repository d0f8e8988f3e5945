#include "policy/tlsrpt_rows.h"

#include "base/log.h"
#include "base/tls_report_msg.h"
#include "policy/sqlite_file.h"
#include "policy/tlsrpt_store.h"

#include <stdio.h>

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
    [MAKE_ROOM] = ("DELETE FROM domain WHERE id IN (SELECT id FROM domain WHERE day = ?1 AND"
                   " failed = 0 LIMIT 1000)"),
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

_Static_assert(STATEMENTS <= TLSRPT_ROWS_STATEMENTS, "each has its place");

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
run(struct tlsrpt_rows *s, enum statement which)
{
    return sqlite_file_run(s->file, s->prepared[which]);
}

/* The number in the only row; RES_AGAIN: there is no row. */
static enum result
run_for_number(struct tlsrpt_rows *s, enum statement which, int64_t *out)
{
    sqlite3_stmt *stmt = s->prepared[which];
    int rc = sqlite3_step(stmt);
    enum result res = rc == SQLITE_DONE ? RES_AGAIN : sqlite_file_result(s->file, rc);

    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    if (rc == SQLITE_ROW) /* RETURNING is over only at its end */
        res = sqlite_file_result(s->file, sqlite3_step(stmt));
    (void)sqlite3_reset(stmt);
    (void)sqlite3_clear_bindings(stmt);
    return res;
}

static enum result
run_with(struct tlsrpt_rows *s, enum statement which, int64_t first, int64_t second)
{
    (void)sqlite3_bind_int64(s->prepared[which], 1, first);
    (void)sqlite3_bind_int64(s->prepared[which], 2, second);
    return run(s, which);
}

/* ---- domains ---- */

static enum result
count_domains(struct tlsrpt_rows *s, int64_t day_s)
{
    (void)sqlite3_bind_int64(s->prepared[COUNT_DOMAINS], 1, day_s);
    s->counted_day_s = day_s;
    return run_for_number(s, COUNT_DOMAINS, &s->domain_count);
}

/* Is there room for one more domain of the day? A failure drives out what only succeeded. */
static enum result
make_room(struct tlsrpt_rows *s, int64_t day_s, bool failed, bool *out_room)
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
add_domain(struct tlsrpt_rows *s, int64_t day_s, const struct tls_report *report, int64_t *out)
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
domain_row(struct tlsrpt_rows *s, const struct tls_report *report, int64_t *out, bool *out_new)
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

enum result
tlsrpt_rows_kind(const struct tls_report *report, struct buffer *out)
{
    struct tls_report kind = *report; /* its lists stay the caller's */
    bool hosts = false;

    kind.at_s = tlsrpt_day(report->at_s);
    for (size_t i = 0; i < report->detail_count; i++)
        hosts |= !report->details[i].fetch;
    if (!hosts)
        clear_hosts(&kind);
    return encode(&kind, out);
}

/* RES_AGAIN: there is no such row. */
static enum result
find_kind(struct tlsrpt_rows *s, int64_t domain, struct span bytes, int64_t *out)
{
    (void)sqlite3_bind_int64(s->prepared[FIND_KIND], 1, domain);
    (void)sqlite3_bind_int64(s->prepared[FIND_KIND], 2, hash_of(bytes));
    return run_for_number(s, FIND_KIND, out);
}

static enum result
add_kind(struct tlsrpt_rows *s, int64_t domain, struct span bytes, uint64_t count, int64_t *out)
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
count_more(struct tlsrpt_rows *s, int64_t row, uint64_t count)
{
    enum result res = run_with(s, COUNT_MORE, row, (int64_t)count);

    if (res == RES_OK && sqlite3_changes(s->file->db) == 0)
        s->lost += count;
    return res;
}

/* A domain that has too many kinds keeps its counts; where and why becomes one. */
static enum result
count_reduced(struct tlsrpt_rows *s, int64_t domain, struct tls_report *report, int64_t kinds,
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
touch_text(struct tlsrpt_rows *s, const struct tls_report *report)
{
    if (report->type != TLS_REPORT_STS)
        return RES_OK;
    bind_sha256(s->prepared[TOUCH_TEXT], 1, report->text_sha256);
    (void)sqlite3_bind_int64(s->prepared[TOUCH_TEXT], 2, tlsrpt_day(report->at_s));
    return run(s, TOUCH_TEXT);
}

/* The first of its kind that this process meets. */
static enum result
count_first(struct tlsrpt_rows *s, struct tls_report *report, struct span bytes, uint64_t count,
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

enum result
tlsrpt_rows_count(void *rows, struct span bytes, uint64_t count, int64_t *row)
{
    struct tlsrpt_rows *s = rows;
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
    s->lost += count;
    return RES_OK;
}

/* ---- texts ---- */

enum result
tlsrpt_rows_put_text(struct tlsrpt_rows *s, const uint8_t sha256[32], struct span text,
                     int64_t day_s)
{
    sqlite3_stmt *stmt = s->prepared[PUT_TEXT];

    bind_sha256(stmt, 1, sha256);
    (void)sqlite3_bind_int64(stmt, 2, day_s);
    (void)sqlite3_bind_blob(stmt, 3, text.len ? text.ptr : "", (int)text.len, SQLITE_STATIC);
    return run(s, PUT_TEXT);
}

bool
tlsrpt_rows_has_text(struct tlsrpt_rows *s, const uint8_t sha256[32])
{
    enum result res;
    int64_t ignored;

    bind_sha256(s->prepared[GET_TEXT], 1, sha256);
    res = run_for_number(s, GET_TEXT, &ignored);
    return res == RES_OK;
}

/* ---- life ---- */

enum result
tlsrpt_rows_drop(struct tlsrpt_rows *s, int64_t day_s, const char *domain)
{
    (void)sqlite3_bind_int64(s->prepared[DROP], 1, day_s);
    bind_text(s->prepared[DROP], 2, domain);
    return run(s, DROP);
}

void
tlsrpt_rows_begin(struct tlsrpt_rows *s)
{
    s->made_room = false;
    s->lost = 0;
}

void
tlsrpt_rows_gone(struct tlsrpt_rows *s)
{
    s->domain_count = -1;
}

enum result
tlsrpt_rows_open(struct tlsrpt_rows *s, struct sqlite_file *file)
{
    enum result res = RES_OK;

    *s = (struct tlsrpt_rows){ .file = file, .domain_count = -1 };
    buffer_init(&s->scratch, TLSRPT_KIND_MAX_BYTES);
    for (unsigned i = 0; i < STATEMENTS && res == RES_OK; i++)
        res = sqlite_file_prepare(file, statements[i], &s->prepared[i]);
    return res;
}

void
tlsrpt_rows_close(struct tlsrpt_rows *s)
{
    for (unsigned i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(s->prepared[i]);
    buffer_clear(&s->scratch);
}
