#include "policy/sts_cache.h"

#include "base/hash_key.h"
#include "base/hostname.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#define EVICTION_LOOK 64u /* slots looked at for a victim that protects nobody */

struct slot {
    struct sts_entry entry; /* policy is owned */
    char domain[HOSTNAME_MAX + 1];
    UT_hash_handle hh;
};

struct sts_cache {
    struct slot *slots; /* in the order of their last use */
};

struct sts_cache *
sts_cache_new(void)
{
    return calloc(1, sizeof(struct sts_cache));
}

static void
drop(struct sts_cache *cache, struct slot *slot)
{
    HASH_DEL(cache->slots, slot);
    sts_policy_free(slot->entry.policy);
    free(slot);
}

void
sts_cache_free(struct sts_cache *cache)
{
    struct slot *slot, *next;

    if (!cache)
        return;
    HASH_ITER(hh, cache->slots, slot, next) { drop(cache, slot); }
    free(cache);
}

static struct slot *
find(struct sts_cache *cache, const char *domain)
{
    struct slot *slot;

    HASH_FIND_STR(cache->slots, domain, slot);
    if (slot) { /* to the end of the order of use */
        HASH_DEL(cache->slots, slot);
        HASH_ADD_STR(cache->slots, domain, slot);
    }
    return slot;
}

const struct sts_entry *
sts_cache_find(struct sts_cache *cache, const char *domain)
{
    struct slot *slot = find(cache, domain);

    return slot ? &slot->entry : NULL;
}

/* Entries that protect nobody leave before those that do (STS-071). */
static void
make_room(struct sts_cache *cache)
{
    struct slot *slot = cache->slots, *victim = cache->slots;

    if (HASH_COUNT(cache->slots) < STS_CACHE_MAX)
        return;
    for (unsigned i = 0; slot && i < EVICTION_LOOK; i++, slot = slot->hh.next)
        if (!slot->entry.policy || sts_policy_mode(slot->entry.policy) != STS_MODE_ENFORCE) {
            victim = slot;
            break;
        }
    drop(cache, victim);
}

static struct slot *
find_or_add(struct sts_cache *cache, const char *domain)
{
    struct slot *slot = find(cache, domain);

    if (slot)
        return slot;
    slot = calloc(1, sizeof *slot);
    if (!slot)
        return NULL;
    make_room(cache);
    snprintf(slot->domain, sizeof slot->domain, "%s", domain);
    slot->entry.domain = slot->domain;
    HASH_ADD_STR(cache->slots, domain, slot);
    return slot;
}

bool
sts_entry_is_valid(const struct sts_entry *entry, int64_t now_s)
{
    return entry && entry->policy && now_s < entry->expires_at_s;
}

bool
sts_entry_must_wait(const struct sts_entry *entry, const char *id, int64_t now_ms)
{
    return entry && entry->failed_id[0] && strcmp(entry->failed_id, id) == 0 &&
           now_ms - entry->failed_at_ms < STS_CACHE_RETRY_MS;
}

enum result
sts_cache_put(struct sts_cache *cache, const char *domain, const char *id,
              struct sts_policy *policy, const uint8_t sha256[32], int64_t now_s,
              uint32_t max_age_cap_s, const struct sts_entry **out)
{
    struct slot *slot = find_or_add(cache, domain);
    uint32_t max_age_s = sts_policy_max_age_s(policy);
    struct sts_entry *e;

    *out = NULL;
    if (!slot) {
        sts_policy_free(policy);
        return RES_NOMEM;
    }
    e = &slot->entry;
    sts_policy_free(e->policy);
    e->policy = policy;
    snprintf(e->id, sizeof e->id, "%s", id);
    memcpy(e->text_sha256, sha256, sizeof e->text_sha256);
    e->fetched_at_s = now_s;
    e->expires_at_s = now_s + (max_age_s < max_age_cap_s ? max_age_s : max_age_cap_s);
    e->failed_id[0] = '\0';
    *out = e;
    return RES_OK;
}

enum result
sts_cache_fail(struct sts_cache *cache, const char *domain, const char *id, enum result_type type,
               const char *reason, int64_t now_ms, const struct sts_entry **out)
{
    struct slot *slot = find_or_add(cache, domain);

    *out = NULL;
    if (!slot)
        return RES_NOMEM;
    snprintf(slot->entry.failed_id, sizeof slot->entry.failed_id, "%s", id);
    slot->entry.failed_at_ms = now_ms;
    slot->entry.failed_type = type;
    snprintf(slot->entry.failed_reason, sizeof slot->entry.failed_reason, "%s", reason);
    *out = &slot->entry;
    return RES_OK;
}
