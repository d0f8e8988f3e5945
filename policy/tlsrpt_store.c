#include "policy/tlsrpt_store.h"

#include "base/hash_key.h"
#include "base/log.h"
#include "base/tls_report_msg.h"
#include "policy/sqlite_file.h"
#include "policy/tlsrpt_known.h"
#include "policy/tlsrpt_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

/* A hash of what makes a policy or a detail stands in for it in indexes, which stay small. It is no
 * secret: whoever makes two that collide merges what is said of his own domain. Ids are never used
 * again, so that a row that another process remembers is never a different one
 * (policy/tlsrpt_known).
 *
 * Lists are texts with a line for each element: none of them holds a line end. */
static const struct sqlite_kind kind = {
    .what = "store of TLS reports",
    .schema =
        "CREATE TABLE domain (id INTEGER PRIMARY KEY, day INTEGER NOT NULL, name TEXT NOT NULL,"
        " failed INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 0,"
        " report_id TEXT NOT NULL DEFAULT '', due INTEGER NOT NULL DEFAULT 0,"
        " first INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,"
        " sent INTEGER NOT NULL DEFAULT 0, problem TEXT NOT NULL DEFAULT '', UNIQUE (day, name));"
        "CREATE INDEX domain_due ON domain (due, day) WHERE state = 0;"
        "CREATE TABLE policy (id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " domain INTEGER NOT NULL REFERENCES domain(id) ON DELETE CASCADE, hash INTEGER NOT NULL,"
        " type INTEGER NOT NULL, policy_domain TEXT NOT NULL, text_sha256 BLOB NOT NULL,"
        " strings TEXT NOT NULL, mx TEXT NOT NULL, succeeded INTEGER NOT NULL,"
        " failed INTEGER NOT NULL, UNIQUE (domain, hash));"
        "CREATE TABLE detail (id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " policy INTEGER NOT NULL REFERENCES policy(id) ON DELETE CASCADE, hash INTEGER NOT NULL,"
        " result INTEGER NOT NULL, reason TEXT NOT NULL, sending TEXT NOT NULL,"
        " receiving TEXT NOT NULL, mx_host TEXT NOT NULL, helo TEXT NOT NULL,"
        " count INTEGER NOT NULL, UNIQUE (policy, hash));"
        "CREATE TABLE text (sha256 BLOB PRIMARY KEY, day INTEGER NOT NULL, body BLOB NOT NULL)"
        " WITHOUT ROWID;"
        "CREATE TABLE destination (uri TEXT PRIMARY KEY, until INTEGER NOT NULL,"
        " reason TEXT NOT NULL) WITHOUT ROWID;",
    .application_id = 0x53545352, /* "STSR" */
    .version = 2,
};

enum statement {
    FIND_DOMAIN,
    ADD_DOMAIN,
    MARK_DOMAIN,
    MAKE_ROOM,
    COUNT_DOMAINS,
    FIND_POLICY,
    ADD_POLICY,
    COUNT_POLICIES,
    ADD_SESSIONS,
    ADD_TO_DETAIL,
    ADD_TO_ROW,
    ADD_DETAIL,
    COUNT_DETAILS,
    PUT_TEXT,
    GET_TEXT,
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
    [FIND_POLICY] = "SELECT id FROM policy WHERE domain = ?1 AND hash = ?2",
    [ADD_POLICY] =
        "INSERT INTO policy (domain, hash, type, policy_domain, text_sha256, strings,"
        " mx, succeeded, failed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING id",
    [COUNT_POLICIES] = "SELECT count(*) FROM policy WHERE domain = ?1",
    [ADD_SESSIONS] =
        "UPDATE policy SET succeeded = succeeded + ?2, failed = failed + ?3 WHERE id = ?1",
    [ADD_TO_DETAIL] =
        "UPDATE detail SET count = count + ?3 WHERE policy = ?1 AND hash = ?2 RETURNING id",
    [ADD_TO_ROW] = "UPDATE detail SET count = count + ?2 WHERE id = ?1",
    [ADD_DETAIL] = "INSERT INTO detail (policy, hash, count, result, reason, sending, receiving,"
                   " mx_host, helo) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING id",
    [COUNT_DETAILS] = "SELECT count(*) FROM detail WHERE policy = ?1",
    [PUT_TEXT] = "INSERT INTO text VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET day = ?2",
    [GET_TEXT] = "SELECT body FROM text WHERE sha256 = ?1",
    [DROP] = "DELETE FROM domain WHERE day = ?1 AND name = ?2",
};

/* Equal reports of one day; the key is their encoding. */
struct pending {
    uint64_t count;
    struct tlsrpt_rows rows; /* of the transaction in hand */
    UT_hash_handle hh;
    size_t len;
    char bytes[];
};

struct tlsrpt_store {
    struct sqlite_file file;
    sqlite3_stmt *prepared[STATEMENTS];
    struct pending *pending;
    struct tlsrpt_known known; /* kinds of the day in hand */
    int64_t known_day_s;
    bool made_room;        /* in the transaction in hand */
    int64_t counted_day_s; /* of domain_count */
    int64_t domain_count;  /* domains of that day; -1: not counted yet */
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

/* ---- writing ---- */

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
domain_row(struct tlsrpt_store *s, int64_t day_s, const struct tls_report *report, int64_t *out,
           bool *out_new)
{
    enum result res;
    bool room;

    (void)sqlite3_bind_int64(s->prepared[FIND_DOMAIN], 1, day_s);
    bind_text(s->prepared[FIND_DOMAIN], 2, report->domain);
    res = run_for_number(s, FIND_DOMAIN, out);
    *out_new = res == RES_AGAIN;
    if (res != RES_AGAIN)
        return res;
    res = make_room(s, day_s, report->failed, &room);
    if (res != RES_OK || !room)
        return res == RES_OK ? RES_LIMIT : res;
    (void)sqlite3_bind_int64(s->prepared[ADD_DOMAIN], 1, day_s);
    bind_text(s->prepared[ADD_DOMAIN], 2, report->domain);
    (void)sqlite3_bind_int64(s->prepared[ADD_DOMAIN], 3, report->failed);
    res = run_for_number(s, ADD_DOMAIN, out);
    if (res == RES_OK)
        s->domain_count++;
    return res;
}

static enum result
join(struct buffer *out, const struct name_list *list)
{
    enum result res = RES_OK;

    buffer_clear(out);
    for (size_t i = 0; i < list->count && res == RES_OK; i++) {
        res = buffer_append(out, span_of(list->names[i]));
        if (res == RES_OK)
            res = buffer_append(out, span_of("\n"));
    }
    return res;
}

/* FNV-1a over fields, each with its end. */
static uint64_t
hash_field(uint64_t hash, struct span field)
{
    for (size_t i = 0; i <= field.len; i++)
        hash = (hash ^ (i < field.len ? (unsigned char)field.ptr[i] : 0x100u)) * 0x100000001b3u;
    return hash;
}

#define HASH_START UINT64_C(0xcbf29ce484222325)

static int64_t
policy_hash(const struct tls_report *report, struct span strings, struct span mx)
{
    uint64_t hash = hash_field(HASH_START, span_of(tls_report_type_name(report->type)));

    hash = hash_field(hash, span_of(report->policy_domain));
    hash = hash_field(hash, span_make(report->text_sha256, sizeof report->text_sha256));
    return (int64_t)hash_field(hash_field(hash, strings), mx);
}

static enum result
add_policy(struct tlsrpt_store *s, int64_t domain_id, const struct tls_report *report,
           uint64_t sessions, struct span strings, struct span mx, int64_t *out)
{
    sqlite3_stmt *stmt = s->prepared[ADD_POLICY];
    int64_t count;
    enum result res;

    (void)sqlite3_bind_int64(s->prepared[COUNT_POLICIES], 1, domain_id);
    res = run_for_number(s, COUNT_POLICIES, &count);
    if (res != RES_OK)
        return res;
    if (count >= TLSRPT_POLICIES_MAX)
        return RES_LIMIT; /* a policy that changes with every look: more says nothing */
    (void)sqlite3_bind_int64(stmt, 1, domain_id);
    (void)sqlite3_bind_int64(stmt, 2, policy_hash(report, strings, mx));
    (void)sqlite3_bind_int64(stmt, 3, report->type);
    bind_text(stmt, 4, report->policy_domain);
    bind_sha256(stmt, 5, report->text_sha256);
    (void)sqlite3_bind_text(stmt, 6, strings.len ? strings.ptr : "", (int)strings.len,
                            SQLITE_STATIC);
    (void)sqlite3_bind_text(stmt, 7, mx.len ? mx.ptr : "", (int)mx.len, SQLITE_STATIC);
    (void)sqlite3_bind_int64(stmt, 8, report->failed ? 0 : (int64_t)sessions);
    (void)sqlite3_bind_int64(stmt, 9, report->failed ? (int64_t)sessions : 0);
    return run_for_number(s, ADD_POLICY, out);
}

static enum result
policy_row(struct tlsrpt_store *s, int64_t domain_id, const struct tls_report *report,
           uint64_t sessions, int64_t *out, bool *is_new)
{
    struct buffer strings;
    enum result res;

    buffer_init(&strings, 1u << 20);
    res = join(&strings, &report->strings);
    if (res == RES_OK)
        res = join(&s->scratch, &report->mx);
    if (res == RES_OK && *is_new) {
        res = RES_AGAIN;
    } else if (res == RES_OK) {
        (void)sqlite3_bind_int64(s->prepared[FIND_POLICY], 1, domain_id);
        (void)sqlite3_bind_int64(
            s->prepared[FIND_POLICY], 2,
            policy_hash(report, buffer_span(&strings), buffer_span(&s->scratch)));
        res = run_for_number(s, FIND_POLICY, out);
    }
    *is_new = res == RES_AGAIN;
    if (res == RES_AGAIN)
        res = add_policy(s, domain_id, report, sessions, buffer_span(&strings),
                         buffer_span(&s->scratch), out);
    buffer_clear(&strings);
    return res;
}

static void
bind_detail(sqlite3_stmt *stmt, int64_t policy_id, const struct tlsrpt_detail *d)
{
    uint64_t hash = hash_field(HASH_START, span_of(result_type_name(d->result)));

    hash = hash_field(hash_field(hash, span_of(d->reason)), span_of(d->sending));
    hash = hash_field(hash_field(hash, span_of(d->receiving)), span_of(d->mx_host));
    (void)sqlite3_bind_int64(stmt, 1, policy_id);
    (void)sqlite3_bind_int64(stmt, 2, (int64_t)hash_field(hash, span_of(d->helo)));
    (void)sqlite3_bind_int64(stmt, 3, (int64_t)d->count);
}

/* RES_AGAIN: there is no such row. */
static enum result
add_to_detail(struct tlsrpt_store *s, int64_t policy_id, const struct tlsrpt_detail *detail,
              int64_t *out)
{
    bind_detail(s->prepared[ADD_TO_DETAIL], policy_id, detail);
    return run_for_number(s, ADD_TO_DETAIL, out);
}

static enum result
new_detail(struct tlsrpt_store *s, int64_t policy_id, const struct tlsrpt_detail *detail,
           int64_t *out)
{
    sqlite3_stmt *stmt = s->prepared[ADD_DETAIL];

    bind_detail(stmt, policy_id, detail);
    (void)sqlite3_bind_int64(stmt, 4, detail->result);
    bind_text(stmt, 5, detail->reason);
    bind_text(stmt, 6, detail->sending);
    bind_text(stmt, 7, detail->receiving);
    bind_text(stmt, 8, detail->mx_host);
    bind_text(stmt, 9, detail->helo);
    return run_for_number(s, ADD_DETAIL, out);
}

static enum result
add_detail(struct tlsrpt_store *s, int64_t policy_id, const struct tlsrpt_detail *detail,
           int64_t *out)
{
    static const struct tlsrpt_detail nowhere = {
        .reason = TLSRPT_OVERFLOW_REASON, .sending = "", .receiving = "", .mx_host = "", .helo = ""
    };
    struct tlsrpt_detail other = nowhere;
    enum result res = add_to_detail(s, policy_id, detail, out);
    int64_t count;

    if (res != RES_AGAIN)
        return res;
    (void)sqlite3_bind_int64(s->prepared[COUNT_DETAILS], 1, policy_id);
    res = run_for_number(s, COUNT_DETAILS, &count);
    if (res != RES_OK)
        return res;
    other.result = detail->result;
    other.count = detail->count;
    if (count >= TLSRPT_DETAILS_MAX) {
        detail = &other;
        res = add_to_detail(s, policy_id, detail, out);
        if (res != RES_AGAIN)
            return res;
    }
    return new_detail(s, policy_id, detail, out);
}

static enum result
add_details(struct tlsrpt_store *s, const struct tls_report *report, uint64_t count,
            struct tlsrpt_rows *rows, bool is_new)
{
    char sending[IP_ADDR_TEXT_MAX] = "", receiving[IP_ADDR_TEXT_MAX] = "";
    enum result res = RES_OK;

    if (report->sending.len)
        ip_addr_text(&report->sending, sending);
    if (report->receiving.len)
        ip_addr_text(&report->receiving, receiving);
    rows->detail_count = report->detail_count;
    for (size_t i = 0; i < report->detail_count && res == RES_OK; i++) {
        const struct tls_report_detail *d = &report->details[i];
        const struct tlsrpt_detail detail = {
            .result = d->result,
            .reason = d->reason,
            .sending = d->fetch ? "" : sending,
            .receiving = d->fetch ? "" : receiving,
            .mx_host = d->fetch ? "" : report->mx_host,
            .helo = d->fetch ? "" : report->helo,
            .count = count,
        };

        res = is_new && i == 0 ? new_detail(s, rows->policy, &detail, &rows->details[i])
                               : add_detail(s, rows->policy, &detail, &rows->details[i]);
    }
    return res;
}

static enum result
add_sessions(struct tlsrpt_store *s, const struct tlsrpt_rows *rows, uint64_t count)
{
    (void)sqlite3_bind_int64(s->prepared[ADD_SESSIONS], 1, rows->policy);
    (void)sqlite3_bind_int64(s->prepared[ADD_SESSIONS], 2, rows->failed ? 0 : (int64_t)count);
    (void)sqlite3_bind_int64(s->prepared[ADD_SESSIONS], 3, rows->failed ? (int64_t)count : 0);
    return run(s, ADD_SESSIONS);
}

/* More of a kind whose rows are known. */
static enum result
write_known(void *arg, const struct tlsrpt_rows *rows, uint64_t count)
{
    struct tlsrpt_store *s = arg;
    enum result res = add_sessions(s, rows, count);

    for (size_t i = 0; i < rows->detail_count && res == RES_OK; i++) {
        (void)sqlite3_bind_int64(s->prepared[ADD_TO_ROW], 1, rows->details[i]);
        (void)sqlite3_bind_int64(s->prepared[ADD_TO_ROW], 2, (int64_t)count);
        res = run(s, ADD_TO_ROW);
    }
    return res;
}

/* RES_LIMIT: there is no room for it. */
static enum result
write_report(struct tlsrpt_store *s, const struct tls_report *report, uint64_t count,
             struct tlsrpt_rows *rows)
{
    int64_t domain_id;
    bool is_new; /* then nothing of it needs to be looked for */
    enum result res = domain_row(s, tlsrpt_day(report->at_s), report, &domain_id, &is_new);

    if (res != RES_OK)
        return res;
    rows->failed = report->failed;
    if (report->failed && !is_new) {
        (void)sqlite3_bind_int64(s->prepared[MARK_DOMAIN], 1, domain_id);
        res = run(s, MARK_DOMAIN);
    }
    if (res == RES_OK)
        res = policy_row(s, domain_id, report, count, &rows->policy, &is_new);
    if (res == RES_OK && !is_new)
        res = add_sessions(s, rows, count);
    return res == RES_OK ? add_details(s, report, count, rows, is_new) : res;
}

static enum result
write_pending(struct tlsrpt_store *s, struct pending *p, uint64_t *lost)
{
    struct tls_report report;
    struct pack_reader r;
    enum result res;

    pack_reader_init(&r, span_make(p->bytes, p->len));
    res = tls_report_decode(&r, &report);
    if (res != RES_OK)
        return res;
    res = write_report(s, &report, p->count, &p->rows);
    tls_report_clear(&report);
    if (res != RES_LIMIT)
        return res;
    p->rows.policy = 0;
    *lost += p->count;
    return RES_OK;
}

/* Their rows are in the file for good. */
static void
remember_pending(struct tlsrpt_store *s)
{
    if (s->made_room) /* rows went: perhaps some that were known */
        tlsrpt_known_clear(&s->known);
    s->made_room = false;
    for (const struct pending *p = s->pending; p; p = p->hh.next)
        if (p->rows.policy)
            tlsrpt_known_add(&s->known, span_make(p->bytes, p->len), &p->rows);
}

static void
forget_pending(struct tlsrpt_store *s)
{
    struct pending *p, *next;

    HASH_ITER(hh, s->pending, p, next)
    {
        HASH_DEL(s->pending, p);
        free(p);
    }
}

enum result
tlsrpt_store_flush(struct tlsrpt_store *s)
{
    uint64_t lost = 0;
    enum result res;

    if (!s->pending && !s->known.dirty)
        return RES_OK;
    res = sqlite_file_execute(&s->file, "BEGIN IMMEDIATE");
    if (res == RES_OK)
        res = tlsrpt_known_dirty(&s->known, write_known, s);
    for (struct pending *p = s->pending; p && res == RES_OK; p = p->hh.next)
        res = write_pending(s, p, &lost);
    if (res == RES_OK)
        res = sqlite_file_execute(&s->file, "COMMIT");
    if (res == RES_OK) {
        s->lost += lost;
        tlsrpt_known_clean(&s->known);
        remember_pending(s);
        forget_pending(s);
        return RES_OK;
    }
    sqlite_file_rollback(&s->file);
    s->made_room = false;
    s->domain_count = -1;
    return res;
}

/* One more of the same, or the first of its kind. */
static enum result
add_pending(struct tlsrpt_store *s, struct span bytes)
{
    struct pending *p;

    HASH_FIND(hh, s->pending, bytes.ptr, bytes.len, p);
    if (p) {
        p->count++;
        return RES_OK;
    }
    p = calloc(1, sizeof *p + bytes.len);
    if (!p)
        return RES_NOMEM;
    p->count = 1;
    p->len = bytes.len;
    memcpy(p->bytes, bytes.ptr, bytes.len);
    HASH_ADD(hh, s->pending, bytes[0], bytes.len, p);
    if (HASH_ENTERED(p))
        return RES_OK;
    free(p);
    return RES_NOMEM;
}

/* Kinds of a day that is over are not met again, but by a few late ones. */
static enum result
turn_to_day(struct tlsrpt_store *s, int64_t day_s)
{
    enum result res = RES_OK;

    if (day_s > s->known_day_s) {
        res = tlsrpt_store_flush(s);
        if (res == RES_OK) {
            tlsrpt_known_clear(&s->known);
            s->known_day_s = day_s;
        }
    }
    return res;
}

enum result
tlsrpt_store_count(struct tlsrpt_store *s, const struct tls_report *report)
{
    struct tls_report of_day = *report; /* its lists stay the caller's */
    struct pack_writer w;
    enum result res;

    if (HASH_COUNT(s->pending) >= TLSRPT_PENDING_MAX && tlsrpt_store_flush(s) != RES_OK) {
        s->lost++;
        return RES_TEMPFAIL;
    }
    of_day.at_s = tlsrpt_day(report->at_s);
    if (turn_to_day(s, of_day.at_s) != RES_OK) {
        s->lost++;
        return RES_TEMPFAIL;
    }
    buffer_consume(&s->scratch, buffer_len(&s->scratch));
    pack_begin(&w, &s->scratch);
    tls_report_encode(&of_day, &w);
    res = pack_end(&w);
    if (res == RES_OK && of_day.at_s == s->known_day_s &&
        tlsrpt_known_count(&s->known, buffer_span(&s->scratch)))
        return RES_OK;
    if (res == RES_OK)
        res = add_pending(s, buffer_span(&s->scratch));
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
             "DELETE FROM domain WHERE day < %lld; DELETE FROM text WHERE day < %lld AND sha256"
             " NOT IN (SELECT text_sha256 FROM policy)",
             (long long)day_s, (long long)day_s);
    tlsrpt_store_rows_gone(s);
    return sqlite_file_execute(&s->file, sql);
}

void
tlsrpt_store_rows_gone(struct tlsrpt_store *s)
{
    s->domain_count = -1;
    tlsrpt_known_clear(&s->known);
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
    res = sqlite_file_open(path, &kind, &s->file, error, error_size);
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
    forget_pending(s);
    tlsrpt_known_clear(&s->known);
    for (unsigned i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(s->prepared[i]);
    sqlite_file_close(&s->file);
    buffer_clear(&s->scratch);
    free(s);
}
