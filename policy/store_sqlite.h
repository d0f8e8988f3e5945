/* policy/store_sqlite.h: policies in one SQLite file. Context: policy process. */
#ifndef STSGATE_POLICY_STORE_SQLITE_H
#define STSGATE_POLICY_STORE_SQLITE_H

#include "policy/store.h"

/** Open the file, or make it with mode 0600 in a directory that exists.
 *
 * out    on RES_OK a store to be closed by its ops; otherwise NULL
 * error  otherwise what is wrong, NUL-terminated
 *
 * RES_SYNTAX    the file is there, and it is no store of ours, of another version, or damaged
 * RES_DENIED    it may be written by others than its owner, or belongs to someone else: what it
 *               says could come from anywhere (TC-CACHE-16)
 * RES_TEMPFAIL  it cannot be opened or made; RES_NOMEM */
MUST_CHECK enum result store_sqlite_open(const char *path, struct store **out, char *error,
                                         size_t error_size);

#endif
