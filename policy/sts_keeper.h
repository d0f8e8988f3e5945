/* policy/sts_keeper.h: holds cache and store together: loads at start, writes what has changed in
 * batches, forgets what nobody needs any more (STS-061, STS-071). Without its store memory serves,
 * and that is said loudly (TC-CACHE-15 ... 17). Context: policy process, about once a second. */
#ifndef STSGATE_POLICY_STS_KEEPER_H
#define STSGATE_POLICY_STS_KEEPER_H

#include "base/clock.h"
#include "policy/sts_cache.h"

#define STS_KEEPER_EXPIRED_KEPT_S 86400 /* an expired policy is shown as that for a day */
#define STS_KEEPER_RETRY_S 60           /* between two attempts at a store that does not work */

struct sts_keeper;

struct sts_keeper_config {
    const char *path;           /* of the store's file; "" for none; copied */
    struct policy_stats *stats; /* borrowed; may be NULL */
    struct clock clock;
    int64_t unused_max_s; /* a policy that no mail asked for all this time is forgotten */
    /* The clock was set, and the cache's times with it: what others were told of them is wrong
     * (STS-072, TC-CACHE-18). May be NULL. */
    void (*on_jump)(void *arg);
    void *arg;
};

/** NULL: no memory. The store is not opened yet. */
struct sts_keeper *sts_keeper_new(const struct sts_keeper_config *config);
void sts_keeper_free(struct sts_keeper *keeper); /* writes nothing; NULL is allowed */

/** For struct sts_cache_config: `changed`, with the keeper as its arg. */
void sts_keeper_changed(void *keeper, const char *domain);

/** Open the store and load what it holds into cache, which stays borrowed. What does not hold up
 * (no policy, a name that is no name, damaged) is left out and counted. Never fails: where there is
 * no usable store the cache stays empty, and a tick loads it once it can be had: nothing is written
 * to a file that has not been read. */
void sts_keeper_load(struct sts_keeper *keeper, struct sts_cache *cache);

/** Write what has changed, sweep a share of the cache. Bounded work. */
void sts_keeper_tick(struct sts_keeper *keeper);

/** Write all that has changed, then close the store: another process takes over, or the end. */
void sts_keeper_stop(struct sts_keeper *keeper);

/** Is there a store, and did the last write to it work? */
bool sts_keeper_is_safe(const struct sts_keeper *keeper);

#endif
