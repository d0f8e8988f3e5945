#include "policy/tlsrpt_known.h"

#include "base/hash_key.h"

#include <stdlib.h>
#include <uthash.h>

/* The content itself is not kept: two halves of 64 bits each, under a secret, stand for it. */
struct key {
    uint64_t a, b;
};

struct tlsrpt_known_entry {
    struct key key;
    struct tlsrpt_rows rows;
    uint64_t count;                  /* since the last flush */
    struct tlsrpt_known_entry *next; /* in the list of dirty ones */
    UT_hash_handle hh;
};

static struct key
key_of(struct span bytes)
{
    return (struct key){ .a = hash_bytes(bytes.ptr, bytes.len),
                         .b = bytes.len ? hash_bytes(bytes.ptr + 1, bytes.len - 1) : 0 };
}

bool
tlsrpt_known_count(struct tlsrpt_known *known, struct span bytes)
{
    const struct key key = key_of(bytes);
    struct tlsrpt_known_entry *entry;

    HASH_FIND(hh, known->entries, &key, sizeof key, entry);
    if (!entry)
        return false;
    if (entry->count++ == 0) {
        entry->next = known->dirty;
        known->dirty = entry;
    }
    return true;
}

void
tlsrpt_known_add(struct tlsrpt_known *known, struct span bytes, const struct tlsrpt_rows *rows)
{
    struct tlsrpt_known_entry *entry;

    if (HASH_COUNT(known->entries) >= TLSRPT_KNOWN_MAX)
        return;
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return;
    entry->key = key_of(bytes);
    entry->rows = *rows;
    HASH_ADD(hh, known->entries, key, sizeof entry->key, entry);
    if (!HASH_ENTERED(entry))
        free(entry);
}

enum result
tlsrpt_known_dirty(const struct tlsrpt_known *known, tlsrpt_known_each *each, void *arg)
{
    enum result res = RES_OK;

    for (const struct tlsrpt_known_entry *e = known->dirty; e && res == RES_OK; e = e->next)
        res = each(arg, &e->rows, e->count);
    return res;
}

void
tlsrpt_known_clean(struct tlsrpt_known *known)
{
    for (struct tlsrpt_known_entry *e = known->dirty; e; e = e->next)
        e->count = 0;
    known->dirty = NULL;
}

void
tlsrpt_known_clear(struct tlsrpt_known *known)
{
    struct tlsrpt_known_entry *entry, *next;

    HASH_ITER(hh, known->entries, entry, next)
    {
        HASH_DEL(known->entries, entry);
        free(entry);
    }
    known->dirty = NULL;
}
