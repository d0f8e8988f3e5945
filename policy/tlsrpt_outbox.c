#include "policy/tlsrpt_outbox.h"

#include "policy/sqlite_file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#define PLAN_CHUNK 5000 /* rows of one transaction: some 10 ms */
#define COLUMNS "id, day, name, failed, state, report_id, due, first, attempts, sent, problem"

const char *
tlsrpt_state_name(enum tlsrpt_state state)
{
    static const char *const names[] = {
        [TLSRPT_OPEN] = "open",           [TLSRPT_SENT] = "sent",
        [TLSRPT_NO_RECORD] = "no-record", [TLSRPT_FAILED] = "failed",
        [TLSRPT_LEFT_OUT] = "left-out",
    };

    return names[state];
}

/* ---- statements ---- */

/* A statement with its values: i for an int64_t, s for a text. NULL: *res says why. The statements
 * run once a report, so they are not kept. */
static sqlite3_stmt *
prepare(struct tlsrpt_store *store, enum result *res, const char *sql, const char *types, ...)
{
    sqlite3_stmt *stmt = NULL;
    va_list values;

    *res = sqlite_file_prepare(tlsrpt_store_file(store), sql, &stmt);
    if (*res != RES_OK)
        return NULL;
    va_start(values, types);
    for (int i = 0; types[i]; i++) {
        if (types[i] == 'i')
            (void)sqlite3_bind_int64(stmt, i + 1, va_arg(values, int64_t));
        else
            (void)sqlite3_bind_text(stmt, i + 1, va_arg(values, const char *), -1,
                                    SQLITE_TRANSIENT);
    }
    va_end(values);
    return stmt;
}

/* Runs and frees it. */
static enum result
run(struct tlsrpt_store *store, sqlite3_stmt *stmt, unsigned *out_changes)
{
    enum result res = sqlite_file_run(tlsrpt_store_file(store), stmt);

    (void)sqlite3_finalize(stmt);
    if (out_changes)
        *out_changes = res == RES_OK ? (unsigned)sqlite3_changes(tlsrpt_store_file(store)->db) : 0;
    return res;
}

static void
read_text(sqlite3_stmt *stmt, int at, char *out, size_t size)
{
    const unsigned char *text = sqlite3_column_text(stmt, at);

    snprintf(out, size, "%s", text ? (const char *)text : "");
}

/* A row of COLUMNS. */
static void
read_entry(sqlite3_stmt *stmt, struct tlsrpt_entry *e)
{
    int64_t state = sqlite3_column_int64(stmt, 4);

    *e = (struct tlsrpt_entry){
        .id = sqlite3_column_int64(stmt, 0),
        .day_s = sqlite3_column_int64(stmt, 1),
        .failures = sqlite3_column_int64(stmt, 3) != 0,
        .state = state >= TLSRPT_OPEN && state <= TLSRPT_LEFT_OUT ? (enum tlsrpt_state)state
                                                                  : TLSRPT_FAILED,
        .due_s = sqlite3_column_int64(stmt, 6),
        .first_s = sqlite3_column_int64(stmt, 7),
        .attempts = (unsigned)sqlite3_column_int64(stmt, 8),
        .sent_s = sqlite3_column_int64(stmt, 9),
    };
    read_text(stmt, 2, e->domain, sizeof e->domain);
    read_text(stmt, 5, e->report_id, sizeof e->report_id);
    read_text(stmt, 10, e->problem, sizeof e->problem);
}

/* ---- planning ---- */

enum result
tlsrpt_outbox_plan(struct tlsrpt_store *store, int64_t today_s, unsigned spread_s,
                   unsigned *out_count)
{
    enum result res;
    sqlite3_stmt *stmt = prepare(
        store, &res,
        "UPDATE domain SET due = day + 86401 + (random() & 0x7fffffffffffffff) % ?2 WHERE id IN"
        " (SELECT id FROM domain WHERE state = 0 AND due = 0 AND day < ?1 LIMIT ?3)",
        "iii", today_s, (int64_t)spread_s, (int64_t)PLAN_CHUNK);

    *out_count = 0;
    return stmt ? run(store, stmt, out_count) : res;
}

enum result
tlsrpt_outbox_due(struct tlsrpt_store *store, int64_t now_s, struct tlsrpt_entry *out, size_t max,
                  size_t *out_count)
{
    enum result res;
    sqlite3_stmt *stmt = prepare(store, &res,
                                 "SELECT " COLUMNS " FROM domain WHERE state = 0 AND due > 0 AND"
                                 " due <= ?1 ORDER BY due, id LIMIT ?2",
                                 "ii", now_s, (int64_t)max);
    int rc = SQLITE_DONE;

    *out_count = 0;
    if (!stmt)
        return res;
    while (*out_count < max && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        read_entry(stmt, &out[(*out_count)++]);
    res = sqlite_file_result(tlsrpt_store_file(store), rc);
    (void)sqlite3_finalize(stmt);
    return res;
}

enum result
tlsrpt_outbox_hurry(struct tlsrpt_store *store, int64_t day_s, const char *domain, int64_t now_s,
                    unsigned *out_count)
{
    sqlite3_stmt *stmt;
    enum result res;

    *out_count = 0;
    stmt = prepare(store, &res,
                   "UPDATE domain SET state = 0, due = ?2, first = 0, attempts = 0, problem = ''"
                   " WHERE day = ?1 AND (?3 = '' OR name = ?3)",
                   "iis", day_s, now_s, domain ? domain : "");
    return stmt ? run(store, stmt, out_count) : res;
}

/* ---- attempts ---- */

/* <YYYYMMDD>.<policy-domain>.<random>@<submitter-domain> (RPT-054). */
static enum result
name_report(struct tlsrpt_entry *e, const char *submitter)
{
    time_t day = (time_t)e->day_s;
    char date[16];
    struct tm utc;
    uint64_t dice;

    sqlite3_randomness(sizeof dice, &dice);
    if (!gmtime_r(&day, &utc) || !strftime(date, sizeof date, "%Y%m%d", &utc))
        return RES_SYNTAX;
    snprintf(e->report_id, sizeof e->report_id, "%s.%s.%016" PRIx64 "@%s", date, e->domain, dice,
             submitter);
    return RES_OK;
}

enum result
tlsrpt_outbox_begin(struct tlsrpt_store *store, struct tlsrpt_entry *e, const char *submitter,
                    int64_t now_s, int64_t again_s)
{
    enum result res = *e->report_id ? RES_OK : name_report(e, submitter);
    sqlite3_stmt *stmt;

    if (res != RES_OK)
        return res;
    e->attempts++;
    if (e->first_s == 0)
        e->first_s = now_s;
    stmt = prepare(store, &res,
                   "UPDATE domain SET report_id = ?2, attempts = ?3, first = ?4, due = ?5 WHERE"
                   " id = ?1",
                   "isiii", e->id, e->report_id, (int64_t)e->attempts, e->first_s, again_s);
    return stmt ? run(store, stmt, NULL) : res;
}

/* What was counted: nobody asks for it any more. */
static enum result
drop_counts(struct tlsrpt_store *store, int64_t id)
{
    enum result res = tlsrpt_store_flush(store);
    sqlite3_stmt *stmt;

    if (res != RES_OK)
        return res;
    stmt = prepare(store, &res, "DELETE FROM kind WHERE domain = ?1", "i", id);
    tlsrpt_store_rows_gone(store);
    return stmt ? run(store, stmt, NULL) : res;
}

enum result
tlsrpt_outbox_end(struct tlsrpt_store *store, const struct tlsrpt_entry *e, enum tlsrpt_state state,
                  const char *problem, int64_t now_s)
{
    bool early = e->day_s + TLSRPT_DAY_S > now_s && state != TLSRPT_OPEN;
    sqlite3_stmt *stmt;
    enum result res;

    if (early)
        stmt = prepare(store, &res,
                       "UPDATE domain SET state = 0, due = 0, first = 0, attempts = 0,"
                       " problem = ?2, sent = ?3 WHERE id = ?1",
                       "isi", e->id, problem, state == TLSRPT_SENT ? now_s : e->sent_s);
    else
        stmt = prepare(
            store, &res, "UPDATE domain SET state = ?2, problem = ?3, sent = ?4 WHERE id = ?1",
            "iisi", e->id, (int64_t)state, problem, state == TLSRPT_SENT ? now_s : e->sent_s);
    if (!stmt)
        return res;
    res = run(store, stmt, NULL);
    if (res == RES_OK && !early && state == TLSRPT_NO_RECORD)
        res = drop_counts(store, e->id);
    return res;
}

enum result
tlsrpt_outbox_list(struct tlsrpt_store *store, int64_t day_s, tlsrpt_outbox_each *each, void *arg)
{
    enum result res = tlsrpt_store_flush(store);
    struct tlsrpt_entry entry;
    sqlite3_stmt *stmt;
    int rc;

    if (res != RES_OK)
        return res;
    stmt = prepare(store, &res,
                   "SELECT " COLUMNS " FROM domain WHERE ?1 = 0 OR day = ?1 ORDER BY day DESC,"
                   " name",
                   "i", day_s);
    if (!stmt)
        return res;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        read_entry(stmt, &entry);
        if (!each(arg, &entry))
            break;
    }
    res = sqlite_file_result(tlsrpt_store_file(store), rc);
    (void)sqlite3_finalize(stmt);
    return res;
}

/* ---- destinations ---- */

enum result
tlsrpt_outbox_suppress(struct tlsrpt_store *store, const char *uri, int64_t until_s,
                       const char *reason)
{
    enum result res;
    sqlite3_stmt *stmt =
        until_s ? prepare(store, &res, "INSERT OR REPLACE INTO destination VALUES (?1, ?2, ?3)",
                          "sis", uri, until_s, reason)
                : prepare(store, &res, "DELETE FROM destination WHERE uri = ?1", "s", uri);

    return stmt ? run(store, stmt, NULL) : res;
}

bool
tlsrpt_outbox_is_suppressed(struct tlsrpt_store *store, const char *uri, int64_t now_s)
{
    enum result res;
    sqlite3_stmt *stmt = prepare(
        store, &res, "SELECT 1 FROM destination WHERE uri = ?1 AND until > ?2", "si", uri, now_s);
    bool found = stmt && sqlite3_step(stmt) == SQLITE_ROW;

    (void)sqlite3_finalize(stmt);
    return found;
}

enum result
tlsrpt_outbox_suppressed(struct tlsrpt_store *store, int64_t now_s, tlsrpt_each_suppressed *each,
                         void *arg)
{
    enum result res;
    sqlite3_stmt *stmt = prepare(
        store, &res, "SELECT uri, until, reason FROM destination WHERE until > ?1 ORDER BY uri",
        "i", now_s);
    int rc;

    if (!stmt)
        return res;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *uri = (const char *)sqlite3_column_text(stmt, 0);
        const char *reason = (const char *)sqlite3_column_text(stmt, 2);

        if (!each(arg, uri ? uri : "", sqlite3_column_int64(stmt, 1), reason ? reason : ""))
            break;
    }
    res = sqlite_file_result(tlsrpt_store_file(store), rc);
    (void)sqlite3_finalize(stmt);
    return res;
}

enum result
tlsrpt_outbox_expire(struct tlsrpt_store *store, int64_t now_s)
{
    enum result res = tlsrpt_store_drop_before(store, tlsrpt_day(now_s) -
                                                          (int64_t)TLSRPT_KEEP_DAYS * TLSRPT_DAY_S);
    sqlite3_stmt *stmt;

    if (res != RES_OK)
        return res;
    stmt = prepare(store, &res, "DELETE FROM destination WHERE until <= ?1", "i", now_s);
    return stmt ? run(store, stmt, NULL) : res;
}
