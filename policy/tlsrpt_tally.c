#include "policy/tlsrpt_tally.h"

#include "base/hash_key.h"

#include <assert.h>
#include <stdlib.h>
#include <uthash.h>

/* The content is not kept once it is in the file: two halves of 64 bits each, under a secret, stand
 * for it. */
struct key {
    uint64_t a, b;
};

struct tlsrpt_kind {
    struct key key;
    int64_t row;     /* 0: none yet */
    int64_t new_row; /* of the transaction in hand */
    uint64_t count;  /* since the last flush */
    char *bytes;     /* owned; NULL once it has a row */
    size_t len;
    struct tlsrpt_kind *next; /* in the list of dirty ones */
    UT_hash_handle hh;
};

static struct key
key_of(struct span bytes)
{
    return (struct key){ .a = hash_bytes(bytes.ptr, bytes.len),
                         .b = bytes.len ? hash_bytes(bytes.ptr + 1, bytes.len - 1) : 0 };
}

static void
free_kind(struct tlsrpt_kind *kind)
{
    free(kind->bytes);
    free(kind);
}

static struct tlsrpt_kind *
new_kind(struct tlsrpt_tally *tally, const struct key *key, struct span bytes)
{
    struct tlsrpt_kind *kind = calloc(1, sizeof *kind);

    if (!kind)
        return NULL;
    kind->key = *key;
    kind->len = bytes.len;
    kind->bytes = malloc(bytes.len + 1);
    if (kind->bytes) {
        memcpy(kind->bytes, bytes.ptr, bytes.len);
        HASH_ADD_BYHASHVALUE(hh, tally->kinds, key, sizeof kind->key, (unsigned)key->a, kind);
    }
    if (!kind->bytes || !HASH_ENTERED(kind)) {
        free_kind(kind);
        return NULL;
    }
    tally->new_count++;
    return kind;
}

enum result
tlsrpt_tally_add(struct tlsrpt_tally *tally, struct span bytes, uint64_t count)
{
    const struct key key = key_of(bytes);
    struct tlsrpt_kind *kind;

    HASH_FIND_BYHASHVALUE(hh, tally->kinds, &key, sizeof key, (unsigned)key.a, kind);
    if (!kind)
        kind = new_kind(tally, &key, bytes);
    if (!kind)
        return RES_NOMEM;
    if (kind->count == 0) {
        if (!tally->dirty)
            tally->dirty_end = &tally->dirty;
        kind->next = NULL;
        *tally->dirty_end = kind;
        tally->dirty_end = &kind->next;
    }
    kind->count += count;
    return RES_OK;
}

enum result
tlsrpt_tally_dirty(struct tlsrpt_tally *tally, tlsrpt_tally_each *each, void *arg)
{
    enum result res = RES_OK;

    for (struct tlsrpt_kind *kind = tally->dirty; kind && res == RES_OK; kind = kind->next) {
        kind->new_row = kind->row;
        res = each(arg, span_make(kind->bytes, kind->bytes ? kind->len : 0), kind->count,
                   &kind->new_row);
    }
    return res;
}

void
tlsrpt_tally_written(struct tlsrpt_tally *tally)
{
    struct tlsrpt_kind *kind, *next;

    for (kind = tally->dirty; kind; kind = next) {
        next = kind->next;
        kind->count = 0;
        kind->row = kind->new_row;
        if (kind->row) {
            free(kind->bytes);
            kind->bytes = NULL;
        } else {
            HASH_DEL(tally->kinds, kind);
            free_kind(kind);
        }
    }
    tally->dirty = NULL;
    tally->new_count = 0;
    if (HASH_COUNT(tally->kinds) > TLSRPT_KNOWN_MAX) /* they are found again by their content */
        tlsrpt_tally_forget(tally);
}

void
tlsrpt_tally_forget(struct tlsrpt_tally *tally)
{
    assert(!tally->dirty);
    tlsrpt_tally_clear(tally);
}

void
tlsrpt_tally_clear(struct tlsrpt_tally *tally)
{
    struct tlsrpt_kind *kind, *next;

    HASH_ITER(hh, tally->kinds, kind, next)
    {
        HASH_DEL(tally->kinds, kind);
        free_kind(kind);
    }
    *tally = (struct tlsrpt_tally){ .kinds = NULL };
}
