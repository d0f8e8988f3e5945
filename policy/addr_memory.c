#include "policy/addr_memory.h"

#include "base/hash_key.h"
#include "base/hostname.h"

#include <stdlib.h>
#include <uthash.h>

/* Only a keyed hash of host and address is kept: 64 secret bits make a chance match one in 10^14.
 */
struct seen {
    uint64_t key;
    int64_t at_s;
    UT_hash_handle hh;
};

struct addr_memory {
    struct seen *pairs; /* in the order they were noted last */
};

static uint64_t
pair_key(const char *host, const struct ip_addr *addr)
{
    char bytes[HOSTNAME_MAX + 1 + sizeof *addr] = { 0 };
    size_t len = strnlen(host, HOSTNAME_MAX);

    memcpy(bytes, host, len);
    bytes[len++] = '\0';
    memcpy(bytes + len, addr, sizeof *addr);
    return hash_bytes(bytes, len + sizeof *addr);
}

struct addr_memory *
addr_memory_new(void)
{
    return calloc(1, sizeof(struct addr_memory));
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
addr_memory_note(struct addr_memory *memory, const char *host, const struct ip_addr *addr,
                 int64_t now_s)
{
    uint64_t key = pair_key(host, addr);
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
addr_memory_has(const struct addr_memory *memory, const char *host, const struct ip_addr *addr,
                int64_t now_s)
{
    uint64_t key = pair_key(host, addr);
    struct seen *pair;

    HASH_FIND(hh, memory->pairs, &key, sizeof key, pair);
    return pair && now_s - pair->at_s <= ADDR_MEMORY_S;
}
