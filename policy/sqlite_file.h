/* policy/sqlite_file.h: an SQLite file that is ours and whole, or none: how each kind of store
 * opens its own. Context: policy process, and commands that read such a file; calls may block for
 * as long as a disk takes. The only caller of SQLite beside the stores. */
#ifndef STSGATE_POLICY_SQLITE_FILE_H
#define STSGATE_POLICY_SQLITE_FILE_H

#include "base/result.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

#define SQLITE_FILE_BUSY_MS 2000 /* another process may have it open for the time of a reload */
#define SQLITE_FILE_ERROR_MAX 160

/* What a file has to be. */
struct sqlite_kind {
    const char *what;   /* "store of policies", for messages */
    const char *schema; /* statements that make a new one */
    int application_id; /* PRAGMA application_id */
    int version;        /* PRAGMA user_version */
};

struct sqlite_file {
    sqlite3 *db;                       /* owned */
    char error[SQLITE_FILE_ERROR_MAX]; /* of the last call that failed */
};

/** Open the file, or make it with mode 0600 in a directory that exists. path ":memory:": one that
 * nobody else sees and that is gone when it is closed.
 *
 * out    sqlite_file_close() is due in any case
 * error  unless RES_OK what is wrong, NUL-terminated, printable ASCII without quotes
 *
 * RES_SYNTAX    the file is there, and it is not of this kind, of another version, or damaged
 * RES_DENIED    it may be written by others than its owner, or belongs to someone else: what it
 *               says could come from anywhere (TC-CACHE-16)
 * RES_TEMPFAIL  it cannot be opened or made; RES_NOMEM */
MUST_CHECK enum result sqlite_file_open(const char *path, const struct sqlite_kind *kind,
                                        struct sqlite_file *out, char *error, size_t error_size);
void sqlite_file_close(struct sqlite_file *file);

/** What an SQLite code means to the caller; the text goes to file->error. RES_SYNTAX: the file is
 * damaged. */
enum result sqlite_file_result(struct sqlite_file *file, int rc);

/** Run statements without values. */
MUST_CHECK enum result sqlite_file_execute(struct sqlite_file *file, const char *sql);

/** End what was begun, if it still is. */
void sqlite_file_rollback(struct sqlite_file *file);

/** Make a statement that is used often. out: sqlite3_finalize() before the file is closed. */
MUST_CHECK enum result sqlite_file_prepare(struct sqlite_file *file, const char *sql,
                                           sqlite3_stmt **out);

/** Run a statement whose values are bound, to its first row or its end, and make it ready for the
 * next time. */
MUST_CHECK enum result sqlite_file_run(struct sqlite_file *file, sqlite3_stmt *stmt);

/** Move a file that cannot be used out of the way, to PATH.bad, with what belongs to it; one that
 * was there is replaced. False: it could not be moved. */
bool sqlite_file_set_aside(const char *path);

#endif
