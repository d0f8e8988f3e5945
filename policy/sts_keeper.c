#include "policy/sts_keeper.h"

#include "base/hash_key.h"
#include "base/hostname.h"
#include "base/log.h"
#include "policy/sqlite_file.h"
#include "policy/store_sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#define BATCH_MAX 2000u      /* domains of one write: some milliseconds */
#define SWEEP_PER_TICK 5000u /* entries */
#define DIRTY_MAX 200000u    /* beyond it all of the cache is written anew */
#define REASON_MAX 200

struct dirty {
    UT_hash_handle hh;
    char domain[];
};

struct sts_keeper {
    struct sts_keeper_config config;
    char *path; /* owned */
    struct sts_cache *cache;
    struct store *store; /* owned; NULL: none */
    bool unread;         /* not all that the file holds is in the cache: that comes first */
    bool stopped;
    bool failing;        /* the last write did not work: said once */
    int64_t retry_at_ms; /* monotonic clock */
    struct dirty *dirty;
    bool all_dirty; /* everything is to be written, `dirty` does not matter */
    size_t rewrite_place;
    bool rewriting; /* its transaction is open */
    size_t sweep_place;
    uint64_t loaded, dropped; /* of sts_keeper_load() */
};

struct sts_keeper *
sts_keeper_new(const struct sts_keeper_config *config)
{
    struct sts_keeper *keeper = calloc(1, sizeof *keeper);

    if (!keeper)
        return NULL;
    keeper->config = *config;
    keeper->path = strdup(config->path);
    if (keeper->path)
        return keeper;
    free(keeper);
    return NULL;
}

static void
clean(struct sts_keeper *keeper)
{
    struct dirty *d, *next;

    HASH_ITER(hh, keeper->dirty, d, next)
    {
        HASH_DEL(keeper->dirty, d);
        free(d);
    }
}

static void
close_store(struct sts_keeper *keeper)
{
    if (keeper->store)
        keeper->store->ops->close(keeper->store);
    keeper->store = NULL;
}

void
sts_keeper_free(struct sts_keeper *keeper)
{
    if (!keeper)
        return;
    clean(keeper);
    close_store(keeper);
    free(keeper->path);
    free(keeper);
}

static void
dirty_all(struct sts_keeper *keeper)
{
    clean(keeper);
    if (keeper->rewriting && keeper->store)
        keeper->store->ops->rollback(keeper->store);
    keeper->all_dirty = true;
    keeper->rewriting = false;
}

void
sts_keeper_changed(void *arg, const char *domain)
{
    struct sts_keeper *keeper = arg;
    size_t len = strlen(domain);
    struct dirty *d = NULL;

    if (len == 0 && keeper->config.on_jump)
        keeper->config.on_jump(keeper->config.arg);
    if (!*keeper->path || keeper->stopped || keeper->all_dirty)
        return;
    HASH_FIND(hh, keeper->dirty, domain, len, d);
    if (d)
        return;
    if (len && HASH_COUNT(keeper->dirty) < DIRTY_MAX)
        d = malloc(sizeof *d + len + 1);
    if (d) {
        memcpy(d->domain, domain, len + 1);
        HASH_ADD_KEYPTR(hh, keeper->dirty, d->domain, len, d);
    }
    if (!d || !HASH_ENTERED(d)) {
        free(d);
        dirty_all(keeper);
    }
}

bool
sts_keeper_is_safe(const struct sts_keeper *keeper)
{
    return keeper->store && !keeper->failing;
}

/* ---- loading ---- */

/* RFC 8461 3.1: 1*32(ALPHA / DIGIT). */
static bool
is_id(const char *id)
{
    size_t len = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");

    return len >= 1 && len <= STS_ID_MAX && id[len] == '\0';
}

/* Of a file that is read late: has this domain's policy been fetched meanwhile? */
static bool
is_out_of_date(const struct sts_keeper *keeper, const struct store_entry *e)
{
    struct sts_entry known;

    return sts_cache_find(keeper->cache, e->domain, &known) && known.has_policy &&
           known.fetched_at_s >= e->fetched_at_s;
}

/* Words of a file: nothing is believed that a fetch would not have brought (STS-061). */
static void
load_entry(void *arg, const struct store_entry *e)
{
    struct sts_keeper *keeper = arg;
    int64_t now_s = clock_wall_s(&keeper->config.clock);
    struct sts_policy *policy = NULL;
    char domain[HOSTNAME_MAX + 1];
    bool good = hostname_normalise(span_of(e->domain), domain) == RES_OK &&
                strcmp(domain, e->domain) == 0 && is_id(e->id) && e->fetched_at_s > 0 &&
                sts_policy_parse(e->text, &policy, NULL) == RES_OK;

    if (good && !is_out_of_date(keeper, e))
        good = sts_cache_restore(keeper->cache, domain, e->id, e->text, policy, e->fetched_at_s,
                                 e->used_at_s, now_s) == RES_OK;
    sts_policy_free(policy);
    keeper->loaded += good;
    keeper->dropped += !good;
    policy_stats_add(keeper->config.stats, good ? STAT_STORE_LOADED : STAT_STORE_DROPPED);
}

/* What was fetched is known from now on by memory alone. */
static void
lose(struct sts_keeper *keeper, const char *what, const char *why)
{
    policy_stats_add(keeper->config.stats, STAT_STORE_LOST);
    log_error(
        "event=store-lost file=%s what=%s reason=\"%s\" consequence=\"policies do not survive "
        "a restart\"",
        keeper->path, what, why);
    close_store(keeper);
    keeper->retry_at_ms = clock_mono_ms(&keeper->config.clock) + STS_KEEPER_RETRY_S * 1000;
}

/* A file that is not ours or damaged goes out of the way, and a new one is begun. */
static enum result
open_store(struct sts_keeper *keeper, char *reason, size_t reason_size)
{
    enum result res = store_sqlite_open(keeper->path, &keeper->store, reason, reason_size);

    if (res != RES_SYNTAX)
        return res;
    policy_stats_add(keeper->config.stats, STAT_STORE_LOST);
    log_error("event=store-damaged file=%s reason=\"%s\" action=\"moved to %s.bad\" "
              "consequence=\"its policies are gone until they are fetched again\"",
              keeper->path, reason, keeper->path);
    if (!sqlite_file_set_aside(keeper->path)) {
        snprintf(reason, reason_size, "damaged, and it cannot be moved");
        return RES_TEMPFAIL;
    }
    return store_sqlite_open(keeper->path, &keeper->store, reason, reason_size);
}

/* What the file holds. RES_OK: all of it, and the writing may begin. */
static enum result
read_store(struct sts_keeper *keeper)
{
    struct store *store = keeper->store;
    char reason[REASON_MAX];
    enum result res;

    keeper->loaded = keeper->dropped = 0;
    res = store->ops->load(store, load_entry, keeper);
    keeper->unread = res != RES_OK && res != RES_SYNTAX; /* what is damaged does not get better */
    if (res != RES_OK) {
        snprintf(reason, sizeof reason, "%s", store->ops->error(store));
        lose(keeper, "load", reason);
        return res;
    }
    sts_cache_sort(keeper->cache);
    log_info("event=store-loaded file=%s policies=%llu dropped=%llu", keeper->path,
             (unsigned long long)keeper->loaded, (unsigned long long)keeper->dropped);
    return RES_OK;
}

void
sts_keeper_load(struct sts_keeper *keeper, struct sts_cache *cache)
{
    char reason[REASON_MAX] = "";
    enum result res;

    keeper->cache = cache;
    (void)sts_cache_tell_time(cache, clock_wall_s(&keeper->config.clock),
                              clock_mono_ms(&keeper->config.clock));
    if (!*keeper->path)
        return;
    res = open_store(keeper, reason, sizeof reason);
    keeper->unread = res != RES_DENIED; /* what others may have written is never read */
    if (res != RES_OK)
        lose(keeper, "open", reason);
    else
        (void)read_store(keeper); /* a failure is said, and what was read holds */
}

/* ---- writing ---- */

/* A write of many policies, until one does not work. */
struct writing {
    struct store *store;
    enum result res;
    size_t count;
};

static void
write_entry(void *arg, const struct sts_entry *entry)
{
    struct writing *w = arg;

    if (w->res != RES_OK || !entry->has_policy)
        return;
    w->res =
        w->store->ops->put(w->store, &(struct store_entry){ .domain = entry->domain,
                                                            .id = entry->id,
                                                            .text = entry->text,
                                                            .fetched_at_s = entry->fetched_at_s,
                                                            .used_at_s = entry->used_at_s });
    w->count++;
}

static void
write_domain(struct writing *w, struct sts_cache *cache, const char *domain)
{
    struct sts_entry entry;

    if (sts_cache_find(cache, domain, &entry) && entry.has_policy)
        write_entry(w, &entry);
    else if (w->res == RES_OK)
        w->res = w->store->ops->remove(w->store, domain);
}

/* How the batch that is open ends, or, where more of it is to come, this step of it. True: well. */
static bool
end_batch(struct sts_keeper *keeper, struct writing *w, bool more)
{
    struct store *store = keeper->store;
    char reason[REASON_MAX];

    if (w->res == RES_OK && !more)
        w->res = store->ops->commit(store);
    if (w->res == RES_OK) {
        if (keeper->failing && !more)
            log_warn("event=store-works file=%s", keeper->path);
        keeper->failing = keeper->failing && more;
        if (keeper->config.stats)
            keeper->config.stats->counts[STAT_STORE_WRITTEN] += w->count;
        return true;
    }
    snprintf(reason, sizeof reason, "%s", store->ops->error(store));
    store->ops->rollback(store);
    policy_stats_add(keeper->config.stats, STAT_STORE_ERRORS);
    keeper->retry_at_ms = clock_mono_ms(&keeper->config.clock) + STS_KEEPER_RETRY_S * 1000;
    if (w->res == RES_SYNTAX) {
        lose(keeper, "write", reason);
        dirty_all(keeper); /* into the next one */
    } else if (!keeper->failing) {
        log_error("event=store-not-written file=%s reason=\"%s\" consequence=\"memory serves, but "
                  "news do not survive a restart\"",
                  keeper->path, reason);
    }
    keeper->failing = true;
    return false;
}

static void
write_dirty(struct sts_keeper *keeper)
{
    struct writing w = { .store = keeper->store };
    struct dirty *d, *next;
    unsigned n = 0;

    w.res = w.store->ops->begin(w.store);
    for (d = keeper->dirty; d && n < BATCH_MAX; d = d->hh.next, n++)
        write_domain(&w, keeper->cache, d->domain);
    if (!end_batch(keeper, &w, false))
        return;
    HASH_ITER(hh, keeper->dirty, d, next)
    {
        if (n-- == 0)
            break;
        HASH_DEL(keeper->dirty, d);
        free(d);
    }
}

/* Everything, some at a time and all in one transaction: the file holds what it held before until
 * it holds it all. Changes meanwhile are dirty in the usual way. */
static void
rewrite(struct sts_keeper *keeper)
{
    struct writing w = { .store = keeper->store };
    size_t place = keeper->rewriting ? keeper->rewrite_place : 0;

    if (!keeper->rewriting) {
        w.res = w.store->ops->begin(w.store);
        if (w.res == RES_OK)
            w.res = w.store->ops->clear(w.store);
    }
    sts_cache_walk(keeper->cache, &place, BATCH_MAX, write_entry, &w);
    if (!end_batch(keeper, &w, place != 0)) {
        dirty_all(keeper);
        return;
    }
    keeper->all_dirty = false; /* from here on changes are noted */
    keeper->rewrite_place = place;
    keeper->rewriting = place != 0;
}

static bool
may_write(struct sts_keeper *keeper)
{
    char reason[REASON_MAX] = "";

    if (!*keeper->path || keeper->stopped || !keeper->cache)
        return false;
    if ((keeper->failing || !keeper->store) &&
        clock_mono_ms(&keeper->config.clock) < keeper->retry_at_ms)
        return false;
    if (keeper->store)
        return true;
    if (open_store(keeper, reason, sizeof reason) != RES_OK) {
        keeper->retry_at_ms = clock_mono_ms(&keeper->config.clock) + STS_KEEPER_RETRY_S * 1000;
        return false; /* said when it was lost */
    }
    if (keeper->unread && read_store(keeper) != RES_OK)
        return false; /* the store is closed again */
    log_warn("event=store-found file=%s", keeper->path);
    keeper->failing = false;
    dirty_all(keeper);
    return true;
}

static void
write_some(struct sts_keeper *keeper)
{
    if (!may_write(keeper))
        return;
    if (keeper->all_dirty || keeper->rewriting)
        rewrite(keeper);
    else if (keeper->dirty)
        write_dirty(keeper);
}

void
sts_keeper_tick(struct sts_keeper *keeper)
{
    int64_t now_s = clock_wall_s(&keeper->config.clock);

    if (!keeper->cache)
        return;
    (void)sts_cache_tell_time(keeper->cache, now_s, clock_mono_ms(&keeper->config.clock));
    (void)sts_cache_sweep(keeper->cache, &keeper->sweep_place, SWEEP_PER_TICK, now_s,
                          now_s - keeper->config.unused_max_s, now_s - STS_KEEPER_EXPIRED_KEPT_S);
    write_some(keeper);
}

void
sts_keeper_stop(struct sts_keeper *keeper)
{
    while ((keeper->dirty || keeper->all_dirty || keeper->rewriting) && may_write(keeper))
        write_some(keeper);
    keeper->stopped = true;
    close_store(keeper);
}
