#include "policy/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x53545347 /* "STSG" */
#define SCHEMA_VERSION 1
#define ERROR_MAX 160

/* The journal is a write-ahead log: a process that is killed at any moment leaves the last whole
 * batch. With synchronous=NORMAL a power cut may lose the last batches, never the file: each costs
 * no more than a fetch, and mail does not wait for the disk. */
static const char settings[] = "PRAGMA journal_mode=WAL;"
                               "PRAGMA synchronous=NORMAL;"
                               "PRAGMA trusted_schema=OFF;"
                               "PRAGMA cell_size_check=ON;";

#define TEXT_OF(x) #x
#define NUMBER_TEXT(x) TEXT_OF(x)

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE policy (domain TEXT PRIMARY KEY NOT NULL, id TEXT NOT NULL, text BLOB NOT NULL,"
    " fetched_at INTEGER NOT NULL, used_at INTEGER NOT NULL) WITHOUT ROWID;"
    "PRAGMA application_id=" NUMBER_TEXT(APPLICATION_ID) ";"
                                                         "PRAGMA user_version=" NUMBER_TEXT(
                                                             SCHEMA_VERSION) ";"
                                                                             "COMMIT;";

enum { PUT, REMOVE, STATEMENTS };

static const char *const statements[STATEMENTS] = {
    [PUT] = "INSERT OR REPLACE INTO policy VALUES (?1, ?2, ?3, ?4, ?5)",
    [REMOVE] = "DELETE FROM policy WHERE domain = ?1",
};

struct store_sqlite {
    struct store store;
    sqlite3 *db;
    sqlite3_stmt *prepared[STATEMENTS];
    char error[ERROR_MAX];
};

/* ---- results ---- */

static enum result
result_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return RES_OK;
    case SQLITE_NOMEM:
        return RES_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_SCHEMA:
    case SQLITE_ERROR: /* a table that is missing or another one */
    case SQLITE_MISMATCH:
        return RES_SYNTAX;
    default:
        return RES_TEMPFAIL;
    }
}

static enum result
note(struct store_sqlite *s, int rc)
{
    enum result res = result_of(rc);

    if (res != RES_OK)
        snprintf(s->error, sizeof s->error, "%s", s->db ? sqlite3_errmsg(s->db) : "no memory");
    return res;
}

static enum result
execute(struct store_sqlite *s, const char *sql)
{
    return note(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

/* ---- the interface ---- */

static enum result
op_begin(struct store *store)
{
    return execute((struct store_sqlite *)store, "BEGIN IMMEDIATE");
}

static enum result
op_commit(struct store *store)
{
    return execute((struct store_sqlite *)store, "COMMIT");
}

static void
op_rollback(struct store *store)
{
    struct store_sqlite *s = (struct store_sqlite *)store;

    if (!sqlite3_get_autocommit(s->db)) /* some errors have done it already */
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

static enum result
op_clear(struct store *store)
{
    return execute((struct store_sqlite *)store, "DELETE FROM policy");
}

static enum result
run(struct store_sqlite *s, sqlite3_stmt *stmt)
{
    enum result res = note(s, sqlite3_step(stmt));

    (void)sqlite3_reset(stmt); /* its error is the same */
    (void)sqlite3_clear_bindings(stmt);
    return res;
}

static enum result
op_put(struct store *store, const struct store_entry *e)
{
    struct store_sqlite *s = (struct store_sqlite *)store;
    sqlite3_stmt *stmt = s->prepared[PUT];
    int rc = sqlite3_bind_text(stmt, 1, e->domain, -1, SQLITE_STATIC);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(stmt, 2, e->id, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_blob(stmt, 3, e->text.len ? e->text.ptr : "", (int)e->text.len,
                               SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(stmt, 4, e->fetched_at_s);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(stmt, 5, e->used_at_s);
    return rc == SQLITE_OK ? run(s, stmt) : note(s, rc);
}

static enum result
op_remove(struct store *store, const char *domain)
{
    struct store_sqlite *s = (struct store_sqlite *)store;
    int rc = sqlite3_bind_text(s->prepared[REMOVE], 1, domain, -1, SQLITE_STATIC);

    return rc == SQLITE_OK ? run(s, s->prepared[REMOVE]) : note(s, rc);
}

static enum result
op_load(struct store *store, store_each *each, void *arg)
{
    struct store_sqlite *s = (struct store_sqlite *)store;
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(s->db, "SELECT domain, id, text, fetched_at, used_at FROM policy",
                                -1, &stmt, NULL);

    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        struct store_entry e;

        rc = sqlite3_step(stmt);
        if (rc != SQLITE_ROW)
            break;
        e = (struct store_entry){
            .domain = (const char *)sqlite3_column_text(stmt, 0),
            .id = (const char *)sqlite3_column_text(stmt, 1),
            .text = span_make(sqlite3_column_blob(stmt, 2), (size_t)sqlite3_column_bytes(stmt, 2)),
            .fetched_at_s = sqlite3_column_int64(stmt, 3),
            .used_at_s = sqlite3_column_int64(stmt, 4),
        };
        if (!e.text.ptr)
            e.text = span_of("");
        if (e.domain && e.id)
            each(arg, &e);
    }
    (void)sqlite3_finalize(stmt);
    return note(s, rc);
}

static const char *
op_error(struct store *store)
{
    return ((struct store_sqlite *)store)->error;
}

static void
op_close(struct store *store)
{
    struct store_sqlite *s = (struct store_sqlite *)store;

    for (unsigned i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(s->prepared[i]);
    (void)sqlite3_close(s->db);
    free(s);
}

static const struct store_ops ops = {
    .load = op_load,
    .begin = op_begin,
    .put = op_put,
    .remove = op_remove,
    .clear = op_clear,
    .commit = op_commit,
    .rollback = op_rollback,
    .error = op_error,
    .close = op_close,
};

/* ---- opening ---- */

static void __attribute__((format(printf, 3, 4)))
say(char *error, size_t size, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(error, size, fmt, args);
    va_end(args);
    for (char *c = error; *c; c++) /* SQLite's findings have several lines */
        if (*c < ' ' || *c > '~' || *c == '"')
            *c = ' ';
}

/* Make the file if it is missing, and see that nobody else may write what is believed later. */
static enum result
prepare_file(const char *path, bool *out_new, char *error, size_t error_size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
    enum result res = RES_OK;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0) {
        say(error, error_size, "cannot be opened: %s", strerror(errno));
        res = RES_TEMPFAIL;
    } else if (!S_ISREG(st.st_mode)) {
        say(error, error_size, "is no regular file");
        res = RES_DENIED;
    } else if (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH)) {
        say(error, error_size, "belongs to another user, or others may write it");
        res = RES_DENIED;
    } else {
        *out_new = st.st_size == 0;
    }
    if (fd >= 0)
        close(fd);
    return res;
}

/* One number that SQLite knows of the file; -1 when it does not. */
static long long
ask_number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    long long number = -1;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW)
        number = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return number;
}

/* Is the whole file sound? SQLite would notice damage only where it happens to read. */
static enum result
check_whole(struct store_sqlite *s)
{
    sqlite3_stmt *stmt = NULL;
    enum result res = note(s, sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &stmt, NULL));

    if (res == RES_OK)
        res = note(s, sqlite3_step(stmt));
    if (res == RES_OK && strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0) {
        snprintf(s->error, sizeof s->error, "%s", (const char *)sqlite3_column_text(stmt, 0));
        res = RES_SYNTAX;
    }
    (void)sqlite3_finalize(stmt);
    return res;
}

static enum result
check_kind(struct store_sqlite *s)
{
    long long application = ask_number(s->db, "PRAGMA application_id");
    long long version = ask_number(s->db, "PRAGMA user_version");

    if (application == APPLICATION_ID && version == SCHEMA_VERSION)
        return RES_OK;
    snprintf(s->error, sizeof s->error,
             application == APPLICATION_ID ? "is of version %lld, not " NUMBER_TEXT(SCHEMA_VERSION)
                                           : "is no store of policies",
             version);
    return RES_SYNTAX;
}

static enum result
open_database(struct store_sqlite *s, const char *path, bool is_new)
{
    enum result res = note(s, sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE, NULL));

    if (res != RES_OK)
        return res;
    (void)sqlite3_busy_timeout(s->db, STORE_SQLITE_BUSY_MS);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, 1 << 20); /* a body has 64 KiB at most */
    if (!is_new)
        res = check_whole(s);
    if (res == RES_OK)
        res = execute(s, settings);
    /* Two processes may make it at the same time: the second finds it made. */
    if (res == RES_OK && is_new && ask_number(s->db, "PRAGMA application_id") == 0)
        (void)execute(s, schema);
    if (res == RES_OK)
        res = check_kind(s);
    for (unsigned i = 0; i < STATEMENTS && res == RES_OK; i++)
        res = note(s, sqlite3_prepare_v3(s->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                         &s->prepared[i], NULL));
    return res;
}

enum result
store_sqlite_open(const char *path, struct store **out, char *error, size_t error_size)
{
    struct store_sqlite *s;
    bool is_new = false;
    enum result res = prepare_file(path, &is_new, error, error_size);

    *out = NULL;
    if (res != RES_OK)
        return res;
    s = calloc(1, sizeof *s);
    if (!s) {
        say(error, error_size, "no memory");
        return RES_NOMEM;
    }
    s->store.ops = &ops;
    res = open_database(s, path, is_new);
    if (res != RES_OK) {
        say(error, error_size, "%s", s->error);
        op_close(&s->store);
        return res;
    }
    *out = &s->store;
    return RES_OK;
}

bool
store_sqlite_set_aside(const char *path)
{
    static const char *const parts[] = { "", "-wal", "-shm" };
    char from[PATH_MAX], to[PATH_MAX];

    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
        int len = snprintf(from, sizeof from, "%s%s", path, parts[i]);

        if (len >= (int)sizeof from ||
            snprintf(to, sizeof to, "%s.bad%s", path, parts[i]) >= (int)sizeof to)
            return false;
        if (rename(from, to) != 0 && (errno != ENOENT || i == 0))
            return false;
    }
    return true;
}
