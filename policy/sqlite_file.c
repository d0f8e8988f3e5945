#include "policy/sqlite_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The journal is a write-ahead log: a process that is killed at any moment leaves the last whole
 * batch. With synchronous=NORMAL a power cut may lose the last batches, never the file, and mail
 * does not wait for the disk. */
static const char settings[] = "PRAGMA journal_mode=WAL;"
                               "PRAGMA synchronous=NORMAL;"
                               "PRAGMA trusted_schema=OFF;"
                               "PRAGMA cell_size_check=ON;";

/* ---- results ---- */

static enum result
meaning_of(int rc)
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
    case SQLITE_TOOBIG: /* nothing of ours is so long */
        return RES_SYNTAX;
    default:
        return RES_TEMPFAIL;
    }
}

enum result
sqlite_file_result(struct sqlite_file *file, int rc)
{
    enum result res = meaning_of(rc);

    if (res != RES_OK)
        snprintf(file->error, sizeof file->error, "%s",
                 file->db ? sqlite3_errmsg(file->db) : "no memory");
    return res;
}

enum result
sqlite_file_execute(struct sqlite_file *file, const char *sql)
{
    return sqlite_file_result(file, sqlite3_exec(file->db, sql, NULL, NULL, NULL));
}

void
sqlite_file_rollback(struct sqlite_file *file)
{
    if (!sqlite3_get_autocommit(file->db)) /* some errors have done it already */
        (void)sqlite3_exec(file->db, "ROLLBACK", NULL, NULL, NULL);
}

enum result
sqlite_file_prepare(struct sqlite_file *file, const char *sql, sqlite3_stmt **out)
{
    return sqlite_file_result(
        file, sqlite3_prepare_v3(file->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL));
}

enum result
sqlite_file_run(struct sqlite_file *file, sqlite3_stmt *stmt)
{
    enum result res = sqlite_file_result(file, sqlite3_step(stmt));

    (void)sqlite3_reset(stmt); /* its error is the same */
    (void)sqlite3_clear_bindings(stmt);
    return res;
}

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
check_whole(struct sqlite_file *file)
{
    sqlite3_stmt *stmt = NULL;
    enum result res = sqlite_file_result(
        file, sqlite3_prepare_v2(file->db, "PRAGMA quick_check(1)", -1, &stmt, NULL));

    if (res == RES_OK)
        res = sqlite_file_result(file, sqlite3_step(stmt));
    if (res == RES_OK && strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0) {
        snprintf(file->error, sizeof file->error, "%s", (const char *)sqlite3_column_text(stmt, 0));
        res = RES_SYNTAX;
    }
    (void)sqlite3_finalize(stmt);
    return res;
}

static enum result
check_kind(struct sqlite_file *file, const struct sqlite_kind *kind)
{
    long long application = ask_number(file->db, "PRAGMA application_id");
    long long version = ask_number(file->db, "PRAGMA user_version");

    if (application == kind->application_id && version == kind->version)
        return RES_OK;
    if (application == kind->application_id)
        snprintf(file->error, sizeof file->error, "is of version %lld, not %d", version,
                 kind->version);
    else
        snprintf(file->error, sizeof file->error, "is no %s", kind->what);
    return RES_SYNTAX;
}

static enum result
make(struct sqlite_file *file, const struct sqlite_kind *kind)
{
    char marks[128];

    snprintf(marks, sizeof marks, "PRAGMA application_id=%d;PRAGMA user_version=%d;COMMIT",
             kind->application_id, kind->version);
    if (sqlite_file_execute(file, "BEGIN IMMEDIATE") != RES_OK ||
        sqlite_file_execute(file, kind->schema) != RES_OK)
        return RES_TEMPFAIL;
    return sqlite_file_execute(file, marks);
}

static enum result
open_database(struct sqlite_file *file, const char *path, const struct sqlite_kind *kind,
              bool is_new)
{
    enum result res =
        sqlite_file_result(file, sqlite3_open_v2(path, &file->db, SQLITE_OPEN_READWRITE, NULL));

    if (res != RES_OK)
        return res;
    (void)sqlite3_busy_timeout(file->db, SQLITE_FILE_BUSY_MS);
    (void)sqlite3_db_config(file->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_limit(file->db, SQLITE_LIMIT_LENGTH, 1 << 20); /* nothing of ours is longer */
    if (!is_new)
        res = check_whole(file);
    if (res == RES_OK)
        res = sqlite_file_execute(file, settings);
    /* Two processes may make it at the same time: the second finds it made. */
    if (res == RES_OK && is_new && ask_number(file->db, "PRAGMA application_id") == 0 &&
        make(file, kind) != RES_OK)
        sqlite_file_rollback(file);
    return res == RES_OK ? check_kind(file, kind) : res;
}

enum result
sqlite_file_open(const char *path, const struct sqlite_kind *kind, struct sqlite_file *out,
                 char *error, size_t error_size)
{
    bool is_new = strcmp(path, ":memory:") == 0;
    enum result res = RES_OK;

    *out = (struct sqlite_file){ .db = NULL };
    if (!is_new)
        res = prepare_file(path, &is_new, error, error_size);
    if (res != RES_OK)
        return res;
    res = open_database(out, path, kind, is_new);
    if (res != RES_OK)
        say(error, error_size, "%s", out->error);
    return res;
}

void
sqlite_file_close(struct sqlite_file *file)
{
    (void)sqlite3_close(file->db);
    file->db = NULL;
}

bool
sqlite_file_set_aside(const char *path)
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
