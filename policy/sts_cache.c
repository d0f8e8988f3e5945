#include "policy/sts_cache.h"

#include "base/hash_key.h"
#include "base/hostname.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#define USE_STEP_S 3600  /* a use is told to `changed` at most once in that time */
#define JUMP_S 60        /* the wall clock was set, if it moved that far against the other */
#define EXPIRED_LOOK 16u /* least recently used entries of a class that are asked for expiry */

struct failure {
    int64_t since_s, at_ms;
    unsigned count;
    enum result_type type;
    char id[STS_ID_MAX + 1];
    char reason[STS_REASON_MAX + 1];
};

/* One block: a million of these have to fit into a small machine. */
struct slot {
    UT_hash_handle hh;
    struct slot *prev, *next; /* in its class, by last use */
    struct failure *failure;  /* owned; NULL: none since the last success */
    int64_t fetched_at_s, used_at_s;
    uint32_t max_age_s;
    uint32_t text_len;
    uint8_t class; /* enum sts_class */
    uint8_t mode;  /* enum sts_mode */
    bool has_policy;
    uint8_t domain_len, id_len;
    char bytes[]; /* domain NUL id NUL text */
};

struct sts_cache {
    struct sts_cache_config config;
    struct slot *slots;
    struct slot *classes[STS_CLASSES]; /* least recently used first */
    size_t counts[STS_CLASSES];
    int64_t wall_s, mono_s; /* as last told; mono_s < 0: never */
};

struct sts_cache *
sts_cache_new(const struct sts_cache_config *config)
{
    struct sts_cache *cache = calloc(1, sizeof *cache);

    if (cache) {
        cache->config = *config;
        cache->mono_s = -1;
    }
    return cache;
}

/* ---- one slot ---- */

static const char *
id_of(const struct slot *slot)
{
    return slot->bytes + slot->domain_len + 1;
}

static struct span
text_of(const struct slot *slot)
{
    return span_make(id_of(slot) + slot->id_len + 1, slot->text_len);
}

static void
view(const struct slot *slot, struct sts_entry *out)
{
    const struct failure *failure = slot->failure;

    *out = (struct sts_entry){
        .domain = slot->bytes,
        .has_policy = slot->has_policy,
        .mode = (enum sts_mode)slot->mode,
        .max_age_s = slot->max_age_s,
        .id = id_of(slot),
        .text = text_of(slot),
        .fetched_at_s = slot->fetched_at_s,
        .expires_at_s = slot->fetched_at_s + slot->max_age_s,
        .used_at_s = slot->used_at_s,
        .failed_id = "",
        .failed_reason = "",
    };
    if (!failure)
        return;
    out->failed_count = failure->count;
    out->failed_since_s = failure->since_s;
    out->failed_at_ms = failure->at_ms;
    out->failed_id = failure->id;
    out->failed_type = failure->type;
    out->failed_reason = failure->reason;
}

static enum sts_class
class_of(const struct slot *slot, int64_t now_s)
{
    if (!slot->has_policy)
        return STS_CLASS_NEGATIVE;
    if (now_s >= slot->fetched_at_s + slot->max_age_s)
        return STS_CLASS_EXPIRED;
    switch ((enum sts_mode)slot->mode) {
    case STS_MODE_NONE:
        return STS_CLASS_NONE;
    case STS_MODE_TESTING:
        return STS_CLASS_TESTING;
    case STS_MODE_ENFORCE:
        break;
    }
    return STS_CLASS_ENFORCE;
}

/* Into the class it belongs to now, as the one used last. */
static void
file(struct sts_cache *cache, struct slot *slot, int64_t now_s)
{
    slot->class = (uint8_t)class_of(slot, now_s);
    DL_APPEND(cache->classes[slot->class], slot);
    cache->counts[slot->class]++;
}

static void
unfile(struct sts_cache *cache, struct slot *slot)
{
    DL_DELETE(cache->classes[slot->class], slot);
    cache->counts[slot->class]--;
}

static void
changed(const struct sts_cache *cache, const char *domain)
{
    if (cache->config.changed)
        cache->config.changed(cache->config.arg, domain);
}

static void
discard(struct slot *slot)
{
    free(slot->failure);
    free(slot);
}

static void
drop(struct sts_cache *cache, struct slot *slot)
{
    bool stored = slot->has_policy;

    unfile(cache, slot);
    HASH_DEL(cache->slots, slot);
    if (stored)
        changed(cache, slot->bytes);
    discard(slot);
}

void
sts_cache_free(struct sts_cache *cache)
{
    struct slot *slot, *next;

    if (!cache)
        return;
    HASH_ITER(hh, cache->slots, slot, next)
    {
        HASH_DEL(cache->slots, slot);
        discard(slot);
    }
    free(cache);
}

static struct slot *
find(struct sts_cache *cache, const char *domain)
{
    struct slot *slot;

    HASH_FIND(hh, cache->slots, domain, strlen(domain), slot);
    return slot;
}

/* A policy that was fetched in the future was fetched now. That is told, or each restart would
 * begin its time anew: none becomes immortal (STS-072). */
static void
settle(const struct sts_cache *cache, struct slot *slot, int64_t now_s)
{
    if (slot->used_at_s > now_s)
        slot->used_at_s = now_s;
    if (slot->fetched_at_s <= now_s)
        return;
    slot->fetched_at_s = now_s;
    changed(cache, slot->bytes);
}

static void
touch(struct sts_cache *cache, struct slot *slot, int64_t now_s)
{
    unfile(cache, slot);
    settle(cache, slot, now_s);
    file(cache, slot, now_s);
}

/* ---- looking ---- */

bool
sts_cache_find(struct sts_cache *cache, const char *domain, struct sts_entry *out)
{
    struct slot *slot = find(cache, domain);

    if (slot)
        view(slot, out);
    else
        *out = (struct sts_entry){ .domain = "", .id = "", .failed_id = "", .failed_reason = "" };
    return slot != NULL;
}

bool
sts_cache_use(struct sts_cache *cache, const char *domain, int64_t now_s, struct sts_entry *out)
{
    struct slot *slot = find(cache, domain);
    int64_t used_before_s;

    if (!slot)
        return sts_cache_find(cache, domain, out);
    touch(cache, slot, now_s);
    used_before_s = slot->used_at_s;
    slot->used_at_s = now_s;
    if (slot->has_policy && used_before_s / USE_STEP_S != now_s / USE_STEP_S)
        changed(cache, slot->bytes);
    view(slot, out);
    return true;
}

bool
sts_entry_is_valid(const struct sts_entry *entry, int64_t now_s)
{
    return entry->has_policy && now_s < entry->expires_at_s;
}

bool
sts_entry_must_wait(const struct sts_entry *entry, const char *id, int64_t now_ms, int64_t wait_ms)
{
    return entry->failed_count && strcmp(entry->failed_id, id) == 0 &&
           now_ms - entry->failed_at_ms < wait_ms;
}

/* ---- room ---- */

static void
count_evicted(const struct sts_cache *cache, const struct slot *slot, enum sts_class class)
{
    static const enum policy_stat stats[STS_CLASSES] = {
        [STS_CLASS_EXPIRED] = STAT_EVICTED_EXPIRED, [STS_CLASS_NEGATIVE] = STAT_EVICTED_NEGATIVE,
        [STS_CLASS_NONE] = STAT_EVICTED_NONE,       [STS_CLASS_TESTING] = STAT_EVICTED_TESTING,
        [STS_CLASS_ENFORCE] = STAT_EVICTED_ENFORCE,
    };

    policy_stats_add(cache->config.stats, stats[class]);
    if (class == STS_CLASS_ENFORCE)
        log_warn("event=policy-evicted domain=%s reason=\"policy_cache_entries is too small: the "
                 "next mail to it is unprotected until its policy is fetched again\"",
                 slot->bytes);
}

/* One that has expired unnoticed, among those that nobody used for long. */
static struct slot *
find_expired(const struct sts_cache *cache, int64_t now_s)
{
    for (unsigned class = STS_CLASS_NONE; class < STS_CLASSES; class ++) {
        struct slot *slot = cache->classes[class];

        for (unsigned i = 0; slot && i < EXPIRED_LOOK; i++, slot = slot->next)
            if (class_of(slot, now_s) == STS_CLASS_EXPIRED)
                return slot;
    }
    return NULL;
}

static struct slot *
choose_victim(const struct sts_cache *cache, int64_t now_s)
{
    struct slot *slot = cache->classes[STS_CLASS_EXPIRED];

    if (!slot)
        slot = find_expired(cache, now_s);
    for (unsigned class = STS_CLASS_NEGATIVE; !slot && class < STS_CLASSES; class ++)
        slot = cache->classes[class];
    return slot;
}

/* Until the table, with the one that comes of this class, is no larger than it may be. Where all
 * are policies in force, one that is none comes on top of them: it takes the place of no
 * protection, and is the first to leave (TC-CACHE-14). */
static void
make_room(struct sts_cache *cache, enum sts_class coming, int64_t now_s)
{
    while (HASH_COUNT(cache->slots) > cache->config.entries_max) {
        struct slot *victim = choose_victim(cache, now_s);
        enum sts_class class;

        if (!victim)
            return;
        class = class_of(victim, now_s);
        if (class == STS_CLASS_ENFORCE && coming != STS_CLASS_ENFORCE)
            return;
        count_evicted(cache, victim, class);
        drop(cache, victim);
    }
}

/* ---- changing ---- */

static struct slot *
new_slot(const char *domain, const char *id, struct span text)
{
    size_t domain_len = strnlen(domain, HOSTNAME_MAX), id_len = strnlen(id, STS_ID_MAX);
    struct slot *slot = calloc(1, sizeof *slot + domain_len + 1 + id_len + 1 + text.len);

    if (!slot)
        return NULL;
    slot->domain_len = (uint8_t)domain_len;
    slot->id_len = (uint8_t)id_len;
    slot->text_len = (uint32_t)text.len;
    memcpy(slot->bytes, domain, domain_len);
    memcpy(slot->bytes + domain_len + 1, id, id_len);
    if (text.len)
        memcpy(slot->bytes + domain_len + 1 + id_len + 1, text.ptr, text.len);
    return slot;
}

/* Into the table, in place of what it had for the domain. RES_NOMEM: all is as before, and the slot
 * is the caller's. */
static enum result
enter(struct sts_cache *cache, struct slot *slot, int64_t now_s)
{
    struct slot *old = find(cache, slot->bytes);

    HASH_ADD_KEYPTR(hh, cache->slots, slot->bytes, slot->domain_len, slot);
    if (!slot->hh.tbl)
        return RES_NOMEM;
    if (old) {
        unfile(cache, old);
        HASH_DEL(cache->slots, old);
        discard(old);
    }
    make_room(cache, class_of(slot, now_s), now_s);
    file(cache, slot, now_s);
    return RES_OK;
}

enum result
sts_cache_restore(struct sts_cache *cache, const char *domain, const char *id, struct span text,
                  const struct sts_policy *policy, int64_t fetched_at_s, int64_t used_at_s,
                  int64_t now_s)
{
    const struct sts_cache_config *c = &cache->config;
    uint32_t max_age_s = sts_policy_max_age_s(policy);
    struct slot *slot = new_slot(domain, id, text);

    if (!slot)
        return RES_NOMEM;
    slot->has_policy = true;
    slot->mode = (uint8_t)sts_policy_mode(policy);
    slot->max_age_s = max_age_s < c->max_age_min_s   ? c->max_age_min_s
                      : max_age_s > c->max_age_cap_s ? c->max_age_cap_s
                                                     : max_age_s;
    slot->fetched_at_s = fetched_at_s;
    slot->used_at_s = used_at_s;
    if (enter(cache, slot, now_s) != RES_OK) {
        discard(slot);
        return RES_NOMEM;
    }
    touch(cache, slot, now_s);
    return RES_OK;
}

enum result
sts_cache_put(struct sts_cache *cache, const char *domain, const char *id, struct span text,
              const struct sts_policy *policy, int64_t now_s)
{
    struct slot *old = find(cache, domain);
    enum result res = sts_cache_restore(cache, domain, id, text, policy, now_s,
                                        old ? old->used_at_s : now_s, now_s);

    if (res == RES_OK)
        changed(cache, domain);
    return res;
}

static struct slot *
new_negative(struct sts_cache *cache, const char *domain, int64_t now_s)
{
    struct slot *slot = new_slot(domain, "", span_of(""));

    if (!slot)
        return NULL;
    slot->used_at_s = now_s;
    if (enter(cache, slot, now_s) == RES_OK)
        return slot;
    discard(slot);
    return NULL;
}

enum result
sts_cache_fail(struct sts_cache *cache, const char *domain, const char *id, enum result_type type,
               const char *reason, int64_t now_s, int64_t now_ms)
{
    struct slot *slot = find(cache, domain);
    struct failure *failure = slot ? slot->failure : NULL;

    if (!failure)
        failure = calloc(1, sizeof *failure);
    if (!failure)
        return RES_NOMEM;
    if (!slot)
        slot = new_negative(cache, domain, now_s);
    if (!slot) {
        free(failure);
        return RES_NOMEM;
    }
    if (failure->count == 0)
        failure->since_s = now_s;
    failure->count++;
    failure->at_ms = now_ms;
    failure->type = type;
    snprintf(failure->id, sizeof failure->id, "%s", id);
    snprintf(failure->reason, sizeof failure->reason, "%s", reason);
    slot->failure = failure;
    return RES_OK;
}

bool
sts_cache_drop(struct sts_cache *cache, const char *domain)
{
    struct slot *slot = find(cache, domain);

    if (slot)
        drop(cache, slot);
    return slot != NULL;
}

size_t
sts_cache_drop_all(struct sts_cache *cache)
{
    size_t count = HASH_COUNT(cache->slots);
    struct slot *slot, *next;

    HASH_ITER(hh, cache->slots, slot, next) { drop(cache, slot); }
    return count;
}

const char *sts_class_name(enum sts_class class)
{
    static const char *const names[] = {
        [STS_CLASS_EXPIRED] = "expired", [STS_CLASS_NEGATIVE] = "negative",
        [STS_CLASS_NONE] = "none",       [STS_CLASS_TESTING] = "testing",
        [STS_CLASS_ENFORCE] = "enforce",
    };

    return names[class];
}

size_t
sts_cache_count(const struct sts_cache *cache)
{
    return HASH_COUNT(cache->slots);
}

size_t
sts_cache_count_class(const struct sts_cache *cache, enum sts_class class)
{
    return cache->counts[class];
}

/* ---- time ---- */

int64_t
sts_cache_tell_time(struct sts_cache *cache, int64_t wall_s, int64_t mono_ms)
{
    int64_t mono_s = mono_ms / 1000;
    int64_t jump_s = cache->mono_s < 0 ? 0 : (wall_s - cache->wall_s) - (mono_s - cache->mono_s);
    struct slot *slot, *next;

    cache->wall_s = wall_s;
    cache->mono_s = mono_s;
    if (jump_s <= JUMP_S && jump_s >= -JUMP_S)
        return 0;
    HASH_ITER(hh, cache->slots, slot, next)
    {
        slot->fetched_at_s += jump_s;
        slot->used_at_s += jump_s;
        if (slot->failure)
            slot->failure->since_s += jump_s;
    }
    policy_stats_add(cache->config.stats, STAT_CLOCK_JUMPS);
    log_warn("event=clock-jumped seconds=%lld", (long long)jump_s);
    changed(cache, "");
    return jump_s;
}

/* ---- order ---- */

static int
compare_use(const struct slot *a, const struct slot *b)
{
    return (a->used_at_s > b->used_at_s) - (a->used_at_s < b->used_at_s);
}

void
sts_cache_sort(struct sts_cache *cache)
{
    for (unsigned class = 0; class < STS_CLASSES; class ++)
        DL_SORT(cache->classes[class], compare_use);
}

/* ---- walking ---- */

/* uthash chains its entries in buckets; one after the other is an order that changes of the table
 * between two calls do not upset, as long as it does not grow. */
static struct slot *
first_of_bucket(const struct sts_cache *cache, size_t bucket)
{
    const UT_hash_table *table = cache->slots->hh.tbl;
    UT_hash_handle *handle = table->buckets[bucket].hh_head;

    return handle ? ELMT_FROM_HH(table, handle) : NULL;
}

static struct slot *
next_in_bucket(const struct sts_cache *cache, const struct slot *slot)
{
    const UT_hash_table *table = cache->slots->hh.tbl;

    return slot->hh.hh_next ? ELMT_FROM_HH(table, slot->hh.hh_next) : NULL;
}

void
sts_cache_walk(struct sts_cache *cache, size_t *place, size_t max, sts_cache_each *each, void *arg)
{
    size_t seen = 0;

    while (cache->slots && *place < cache->slots->hh.tbl->num_buckets && seen < max) {
        for (struct slot *slot = first_of_bucket(cache, *place); slot;
             slot = next_in_bucket(cache, slot)) {
            struct sts_entry entry;

            view(slot, &entry);
            each(arg, &entry);
            seen++;
        }
        ++*place;
    }
    if (!cache->slots || *place >= cache->slots->hh.tbl->num_buckets)
        *place = 0;
}

static bool
is_over(const struct sts_cache *cache, const struct slot *slot, int64_t unused_before_s,
        int64_t expired_before_s)
{
    enum policy_stat stat;

    if (slot->has_policy && slot->fetched_at_s + slot->max_age_s < expired_before_s)
        stat = STAT_REMOVED_EXPIRED;
    else if (slot->used_at_s < unused_before_s)
        stat = STAT_REMOVED_UNUSED;
    else
        return false;
    policy_stats_add(cache->config.stats, stat);
    return true;
}

size_t
sts_cache_sweep(struct sts_cache *cache, size_t *place, size_t max, int64_t now_s,
                int64_t unused_before_s, int64_t expired_before_s)
{
    size_t seen = 0, dropped = 0;

    while (cache->slots && *place < cache->slots->hh.tbl->num_buckets && seen < max) {
        struct slot *slot = first_of_bucket(cache, *place), *next;

        for (; slot; slot = next) {
            next = next_in_bucket(cache, slot);
            settle(cache, slot, now_s);
            seen++;
            if (is_over(cache, slot, unused_before_s, expired_before_s)) {
                drop(cache, slot); /* the last one takes the table with it */
                dropped++;
            } else if (slot->class != class_of(slot, now_s)) {
                touch(cache, slot, now_s);
            }
        }
        ++*place;
    }
    if (!cache->slots || *place >= cache->slots->hh.tbl->num_buckets)
        *place = 0;
    return dropped;
}
