#include "policy/addr_memory.h"

#include "base/hash_key.h"
#include "base/hostname.h"

#include <stdlib.h>
#include <uthash.h>

/* Only a keyed hash of name and address is kept: 64 secret bits make a chance match one in 10^14.
 */
struct seen {
    uint64_t key;
    int64_t at_s;
    UT_hash_handle hh;
};

struct addr_memory {
    int64_t for_s;
    struct seen *pairs; /* in the order they were noted last */
};

static uint64_t
pair_key(const char *name, const struct ip_addr *addr)
{
    char bytes[HOSTNAME_MAX + 1 + sizeof *addr] = { 0 };
    size_t len = strnlen(name, HOSTNAME_MAX);

    memcpy(bytes, name, len);
    bytes[len++] = '\0';
    memcpy(bytes + len, addr, sizeof *addr);
    return hash_bytes(bytes, len + sizeof *addr);
}

struct addr_memory *
addr_memory_new(int64_t for_s)
{
    struct addr_memory *memory = calloc(1, sizeof *memory);

    if (memory)
        memory->for_s = for_s;
    return memory;
}

void
addr_memory_free(struct addr_memory *memory)
{
    struct seen *pair, *next;

    if (!memory)
        return;
    HASH_ITER(hh, memory->pairs, pair, next)
    {
        HASH_DEL(memory->pairs, pair);
        free(pair);
    }
    free(memory);
}

void
addr_memory_note(struct addr_memory *memory, const char *name, const struct ip_addr *addr,
                 int64_t now_s)
{
    uint64_t key = pair_key(name, addr);
    struct seen *pair;

    HASH_FIND(hh, memory->pairs, &key, sizeof key, pair);
    if (pair)
        HASH_DEL(memory->pairs, pair);
    else
        pair = malloc(sizeof *pair);
    if (!pair)
        return;
    *pair = (struct seen){ .key = key, .at_s = now_s };
    HASH_ADD(hh, memory->pairs, key, sizeof pair->key, pair);
    if (!HASH_ENTERED(pair)) {
        free(pair);
        return;
    }
    if (HASH_COUNT(memory->pairs) > ADDR_MEMORY_MAX) {
        struct seen *oldest = memory->pairs;

        HASH_DEL(memory->pairs, oldest);
        free(oldest);
    }
}

bool
addr_memory_has(const struct addr_memory *memory, const char *name, const struct ip_addr *addr,
                int64_t now_s)
{
    uint64_t key = pair_key(name, addr);
    struct seen *pair;

    HASH_FIND(hh, memory->pairs, &key, sizeof key, pair);
    return pair && now_s - pair->at_s <= memory->for_s;
}

bool
addr_memory_take(struct addr_memory *memory, const char *name, const struct ip_addr *addr,
                 int64_t now_s)
{
    bool had = addr_memory_has(memory, name, addr, now_s);
    uint64_t key = pair_key(name, addr);
    struct seen *pair;

    HASH_FIND(hh, memory->pairs, &key, sizeof key, pair);
    if (pair) {
        HASH_DEL(memory->pairs, pair);
        free(pair);
    }
    return had;
}
