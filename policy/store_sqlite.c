#include "policy/store_sqlite.h"

#include "policy/sqlite_file.h"

#include <stdio.h>
#include <stdlib.h>

/* A write that a power cut takes away costs no more than a fetch. */
static const struct sqlite_kind kind = {
    .what = "store of policies",
    .schema = "CREATE TABLE policy (domain TEXT PRIMARY KEY NOT NULL, id TEXT NOT NULL,"
              " text BLOB NOT NULL, fetched_at INTEGER NOT NULL, used_at INTEGER NOT NULL)"
              " WITHOUT ROWID;",
    .application_id = 0x53545347, /* "STSG" */
    .version = 1,
};

enum { PUT, REMOVE, STATEMENTS };

static const char *const statements[STATEMENTS] = {
    [PUT] = "INSERT OR REPLACE INTO policy VALUES (?1, ?2, ?3, ?4, ?5)",
    [REMOVE] = "DELETE FROM policy WHERE domain = ?1",
};

struct store_sqlite {
    struct store store;
    struct sqlite_file file;
    sqlite3_stmt *prepared[STATEMENTS];
};

static struct store_sqlite *
self(struct store *store)
{
    return (struct store_sqlite *)store;
}

/* ---- the interface ---- */

static enum result
op_begin(struct store *store)
{
    return sqlite_file_execute(&self(store)->file, "BEGIN IMMEDIATE");
}

static enum result
op_commit(struct store *store)
{
    return sqlite_file_execute(&self(store)->file, "COMMIT");
}

static void
op_rollback(struct store *store)
{
    sqlite_file_rollback(&self(store)->file);
}

static enum result
op_clear(struct store *store)
{
    return sqlite_file_execute(&self(store)->file, "DELETE FROM policy");
}

static enum result
op_put(struct store *store, const struct store_entry *e)
{
    struct store_sqlite *s = self(store);
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
    return rc == SQLITE_OK ? sqlite_file_run(&s->file, stmt) : sqlite_file_result(&s->file, rc);
}

static enum result
op_remove(struct store *store, const char *domain)
{
    struct store_sqlite *s = self(store);
    int rc = sqlite3_bind_text(s->prepared[REMOVE], 1, domain, -1, SQLITE_STATIC);

    return rc == SQLITE_OK ? sqlite_file_run(&s->file, s->prepared[REMOVE])
                           : sqlite_file_result(&s->file, rc);
}

static enum result
op_load(struct store *store, store_each *each, void *arg)
{
    struct store_sqlite *s = self(store);
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(
        s->file.db, "SELECT domain, id, text, fetched_at, used_at FROM policy", -1, &stmt, NULL);

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
    return sqlite_file_result(&s->file, rc);
}

static const char *
op_error(struct store *store)
{
    return self(store)->file.error;
}

static void
op_close(struct store *store)
{
    struct store_sqlite *s = self(store);

    for (unsigned i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(s->prepared[i]);
    sqlite_file_close(&s->file);
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

enum result
store_sqlite_open(const char *path, struct store **out, char *error, size_t error_size)
{
    struct store_sqlite *s = calloc(1, sizeof *s);
    enum result res;

    *out = NULL;
    if (!s) {
        snprintf(error, error_size, "no memory");
        return RES_NOMEM;
    }
    s->store.ops = &ops;
    res = sqlite_file_open(path, &kind, &s->file, error, error_size);
    for (unsigned i = 0; i < STATEMENTS && res == RES_OK; i++) {
        res = sqlite_file_prepare(&s->file, statements[i], &s->prepared[i]);
        if (res != RES_OK)
            snprintf(error, error_size, "has other tables than a store of policies");
    }
    if (res != RES_OK) {
        op_close(&s->store);
        return res;
    }
    *out = &s->store;
    return RES_OK;
}
