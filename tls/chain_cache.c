#include "tls/chain_cache.h"

#include <stdlib.h>

#include "base/hash_key.h"

#include <uthash.h>

struct entry {
    uint8_t sha256[32];       /* of the chain: the key */
    struct peer_chain *certs; /* a reference */
    struct name_list sans;
    uint8_t leaf_sha256[32];
    char error[sizeof((struct observation *)0)->chain_error];
    char reason[sizeof((struct observation *)0)->chain_reason];
    int64_t from_s, until_s; /* may be used at from_s <= t <= until_s */
    UT_hash_handle hh;       /* in the order of use: the first one goes first */
};

struct chain_cache {
    struct entry *entries;
};

struct chain_cache *
chain_cache_new(void)
{
    return calloc(1, sizeof(struct chain_cache));
}

static void
entry_free(struct entry *entry)
{
    peer_chain_unref(entry->certs);
    name_list_clear(&entry->sans);
    free(entry);
}

static void
drop(struct chain_cache *cache, struct entry *entry)
{
    HASH_DEL(cache->entries, entry);
    entry_free(entry);
}

void
chain_cache_free(struct chain_cache *cache)
{
    if (!cache)
        return;
    while (cache->entries)
        drop(cache, cache->entries);
    free(cache);
}

/* As the one used last. False: no memory, and it is gone. */
static bool
enter(struct chain_cache *cache, struct entry *entry)
{
    HASH_ADD(hh, cache->entries, sha256, sizeof entry->sha256, entry);
    if (HASH_ENTERED(entry))
        return true;
    entry_free(entry);
    return false;
}

/* NULL: there is none, or none that may be used at now_s. */
static struct entry *
find(struct chain_cache *cache, const struct peer_chain *certs, int64_t now_s)
{
    struct entry *entry;

    HASH_FIND(hh, cache->entries, certs->sha256, sizeof certs->sha256, entry);
    if (!entry || (now_s >= entry->from_s && now_s <= entry->until_s))
        return entry;
    drop(cache, entry);
    return NULL;
}

enum result
chain_cache_find(struct chain_cache *cache, int64_t now_s, struct observation *obs)
{
    struct entry *entry = find(cache, obs->certs, now_s);
    enum result res;

    if (!entry)
        return RES_AGAIN;
    res = name_list_copy(&entry->sans, &obs->sans);
    if (res != RES_OK)
        return res;
    obs->chain = CHAIN_GOOD;
    memcpy(obs->chain_error, entry->error, sizeof obs->chain_error);
    memcpy(obs->chain_reason, entry->reason, sizeof obs->chain_reason);
    memcpy(obs->leaf_sha256, entry->leaf_sha256, sizeof obs->leaf_sha256);
    peer_chain_unref(obs->certs);
    obs->certs = peer_chain_ref(entry->certs);
    HASH_DEL(cache->entries, entry);
    (void)enter(cache, entry); /* without memory it is verified again next time */
    return RES_OK;
}

static bool
is_short(const struct peer_chain *certs)
{
    size_t bytes = 0;

    for (size_t i = 0; i < certs->count; i++)
        bytes += certs->certs[i].len;
    return bytes <= CHAIN_CACHE_BYTES_MAX;
}

void
chain_cache_add(struct chain_cache *cache, const struct path_validity *validity, int64_t now_s,
                const struct observation *obs)
{
    struct entry *entry;

    if (obs->chain != CHAIN_GOOD || !is_short(obs->certs) ||
        obs->sans.count > CHAIN_CACHE_NAMES_MAX)
        return;
    entry = find(cache, obs->certs, now_s);
    if (entry)
        drop(cache, entry);
    else if (HASH_COUNT(cache->entries) >= CHAIN_CACHE_ENTRIES)
        drop(cache, cache->entries);
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return;
    if (name_list_copy(&obs->sans, &entry->sans) != RES_OK) {
        free(entry);
        return;
    }
    memcpy(entry->sha256, obs->certs->sha256, sizeof entry->sha256);
    memcpy(entry->leaf_sha256, obs->leaf_sha256, sizeof entry->leaf_sha256);
    memcpy(entry->error, obs->chain_error, sizeof entry->error);
    memcpy(entry->reason, obs->chain_reason, sizeof entry->reason);
    entry->certs = peer_chain_ref(obs->certs);
    entry->from_s = validity->from_s;
    entry->until_s = validity->until_s;
    if (entry->until_s > now_s + CHAIN_CACHE_LIFE_S)
        entry->until_s = now_s + CHAIN_CACHE_LIFE_S;
    (void)enter(cache, entry);
}
