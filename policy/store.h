/* policy/store.h: where fetched policies survive a restart (STS-061): the interface that every kind
 * of store has, so that a shared one can take the place of a file. Texts are kept, not meanings:
 * who loads parses again and believes nothing. Context: policy process; calls may block for as long
 * as a disk takes. */
#ifndef STSGATE_POLICY_STORE_H
#define STSGATE_POLICY_STORE_H

#include "base/result.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

struct store_entry {
    const char *domain; /* any bytes when loaded, as far as they are no NUL */
    const char *id;
    struct span text;                /* the policy's body */
    int64_t fetched_at_s, used_at_s; /* wall clock */
};

typedef void store_each(void *arg, const struct store_entry *entry); /* borrowed for the call */

/* Each kind of store begins with this. Writing comes in batches: begin, any number of put, remove
 * and clear, commit. A batch is there wholly or not at all, whatever happens to the process.
 * RES_TEMPFAIL: it did not work now (full, read-only, locked, gone): the batch is not there.
 * RES_SYNTAX: the store itself is damaged; close it. */
struct store {
    const struct store_ops *ops;
};

struct store_ops {
    enum result (*load)(struct store *store, store_each *each, void *arg);
    enum result (*begin)(struct store *store);
    enum result (*put)(struct store *store, const struct store_entry *entry);
    enum result (*remove)(struct store *store, const char *domain); /* fine when it is not there */
    enum result (*clear)(struct store *store);                      /* removes all */
    enum result (*commit)(struct store *store);
    void (*rollback)(struct store *store);
    const char *(*error)(struct store *store); /* of the last call; borrowed until the next one */
    void (*close)(struct store *store);        /* frees */
};

#endif
