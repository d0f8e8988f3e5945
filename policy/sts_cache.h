/* policy/sts_cache.h: the MTA-STS policies that were fetched, in memory, RFC 8461 3.3 and 5.1.
 * Nothing removes a valid policy but its expiry, a newer one, or want of room; failures are kept
 * beside it (STS-062 ... STS-072). Context: policy process, one thread at a time per object. Pure:
 * no I/O, and no clock but the times it is told. */
#ifndef STSGATE_POLICY_STS_CACHE_H
#define STSGATE_POLICY_STS_CACHE_H

#include "base/verdict.h"
#include "policy/policy_stats.h"
#include "policy/sts_policy.h"

#define STS_REASON_MAX 95u /* octets of why a fetch failed */

struct sts_cache;

/* What a domain's entry has come to; also the order in which entries leave when there is no room,
 * first to last (STS-071). Within each, the least recently used one leaves first. */
enum sts_class {
    STS_CLASS_EXPIRED,
    STS_CLASS_NEGATIVE, /* only failures are known */
    STS_CLASS_NONE,     /* a valid policy, by its mode */
    STS_CLASS_TESTING,
    STS_CLASS_ENFORCE,
    STS_CLASSES
};

/** Called after what is known of domain has changed in a way that should survive a restart: a
 * policy came, went, or was used for the first time in its hour. "": of all domains, by a jump of
 * the clock. Must not change the cache. */
typedef void sts_cache_changed(void *arg, const char *domain);

struct sts_cache_config {
    size_t entries_max;     /* domains, 1 .. (STS-071); and one more that protects nobody, where
                             * all others are policies in force */
    uint32_t max_age_min_s; /* bounds on the policies' own max_age */
    uint32_t max_age_cap_s;
    struct policy_stats *stats; /* borrowed; may be NULL */
    sts_cache_changed *changed; /* may be NULL */
    void *arg;                  /* of changed */
};

/* One domain, as it stands. A view: borrowed, valid until the cache is next changed. */
struct sts_entry {
    const char *domain;
    bool has_policy; /* false: only failures are known; what follows is then empty */
    enum sts_mode mode;
    uint32_t max_age_s; /* as published, within the bounds of the configuration */
    const char *id;     /* of the TXT record the policy was fetched for */
    struct span text;   /* the body as fetched (STS-051); sts_policy_parse() reads it again */
    int64_t fetched_at_s, expires_at_s; /* wall clock */
    int64_t used_at_s;                  /* wall clock: the last look-up for mail */
    /* Fetches that failed in a row since one succeeded; count 0: none did. */
    unsigned failed_count;
    int64_t failed_since_s; /* wall clock, the first of them */
    int64_t failed_at_ms;   /* monotonic clock, the last of them */
    const char *failed_id;
    enum result_type failed_type;
    const char *failed_reason;
};

/** config: copied. NULL: no memory. */
struct sts_cache *sts_cache_new(const struct sts_cache_config *config);
void sts_cache_free(struct sts_cache *cache); /* NULL is allowed */

/** Look only. False: domain is not there. */
bool sts_cache_find(struct sts_cache *cache, const char *domain, struct sts_entry *out);

/** Look for mail: the entry becomes the most recently used of its class. */
bool sts_cache_use(struct sts_cache *cache, const char *domain, int64_t now_s,
                   struct sts_entry *out);

/** Is there a policy, and is it not expired at now_s? Not applied at or after its expiry (STS-065,
 * TC-CACHE-08). */
bool sts_entry_is_valid(const struct sts_entry *entry, int64_t now_s);

/** Would a fetch for id repeat one that failed less than wait_ms ago? (STS-031) */
bool sts_entry_must_wait(const struct sts_entry *entry, const char *id, int64_t now_ms,
                         int64_t wait_ms);

/** A fetch succeeded: the policy replaces the one before, with its failures, at once (STS-064,
 * STS-068). text: what policy was parsed from; copied. A policy of mode none is kept like any
 * other. RES_NOMEM: nothing has changed. */
MUST_CHECK enum result sts_cache_put(struct sts_cache *cache, const char *domain, const char *id,
                                     struct span text, const struct sts_policy *policy,
                                     int64_t now_s);

/** The same for a policy that was fetched earlier, as a store remembers it; `changed` is not
 * called. A time in the future counts as now_s, and that is told to `changed` (STS-072). */
MUST_CHECK enum result sts_cache_restore(struct sts_cache *cache, const char *domain,
                                         const char *id, struct span text,
                                         const struct sts_policy *policy, int64_t fetched_at_s,
                                         int64_t used_at_s, int64_t now_s);

/** A fetch failed: a policy that is there stays. RES_NOMEM: not noted. */
MUST_CHECK enum result sts_cache_fail(struct sts_cache *cache, const char *domain, const char *id,
                                      enum result_type type, const char *reason, int64_t now_s,
                                      int64_t now_ms);

/** Forget one domain; false: it was not there. Forget all; how many there were. */
bool sts_cache_drop(struct sts_cache *cache, const char *domain);
size_t sts_cache_drop_all(struct sts_cache *cache);

/** After restoring: put each class in order of last use. */
void sts_cache_sort(struct sts_cache *cache);

size_t sts_cache_count(const struct sts_cache *cache);

/** "expired", "negative", "none", "testing", "enforce". Static storage. */
const char *sts_class_name(enum sts_class class);
size_t sts_cache_count_class(const struct sts_cache *cache, enum sts_class class);

/** Tell the time, often: when the wall clock has moved against the monotonic one by more than a
 * minute since it was last told, every entry's times move along, so that a clock set right or wrong
 * neither ends policies nor makes them immortal: while the process runs a policy lives for its
 * max_age by the monotonic clock, and over a restart by the wall clock (STS-072, TC-CACHE-18).
 * Returns by how many seconds it jumped, 0 for not. */
int64_t sts_cache_tell_time(struct sts_cache *cache, int64_t wall_s, int64_t mono_ms);

/** Walk: about max entries from *place on, in no order; 0 is the start, and 0 again the end. An
 * entry that is there all the while comes once, unless the table grows in between. each must not
 * change the cache. */
typedef void sts_cache_each(void *arg, const struct sts_entry *entry);
void sts_cache_walk(struct sts_cache *cache, size_t *place, size_t max, sts_cache_each *each,
                    void *arg);

/** Walk like it, and on the way put expired entries into their class, and forget those that no mail
 * asked for since unused_before_s or that expired before expired_before_s. Returns how many were
 * forgotten. */
size_t sts_cache_sweep(struct sts_cache *cache, size_t *place, size_t max, int64_t now_s,
                       int64_t unused_before_s, int64_t expired_before_s);

#endif
