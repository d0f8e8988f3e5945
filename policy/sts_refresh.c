#include "policy/sts_refresh.h"

#include "base/hash_key.h"
#include "base/hostname.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOKS_PER_TICK 5000u /* entries: a million are seen within four minutes */
#define INTERVAL_MIN_S 30    /* policies that live for less than a minute are fetched by mail */
#define RETRY_DOUBLINGS 6u   /* of the wait after a failure: 5 minutes become 5 hours */

/* One fetch in the background. */
struct renewal {
    struct sts_refresh *refresh;
    bool due, running; /* neither: free */
    char domain[HOSTNAME_MAX + 1];
};

struct sts_refresh {
    struct sts_refresh_config config;
    size_t place; /* in the cache */
    struct renewal renewals[STS_REFRESH_PARALLEL];
    int64_t now_s; /* of a walk */
};

struct sts_refresh *
sts_refresh_new(const struct sts_refresh_config *config)
{
    struct sts_refresh *refresh = calloc(1, sizeof *refresh);

    if (!refresh)
        return NULL;
    refresh->config = *config;
    for (unsigned i = 0; i < STS_REFRESH_PARALLEL; i++)
        refresh->renewals[i].refresh = refresh;
    return refresh;
}

void
sts_refresh_free(struct sts_refresh *refresh)
{
    free(refresh);
}

/* 0.9 .. 1.1 of the interval. */
static int64_t
jittered(int64_t interval_s, const struct sts_entry *entry)
{
    uint64_t hash =
        hash_bytes(entry->domain, strlen(entry->domain)) ^ (uint64_t)entry->fetched_at_s;
    int64_t span_s = interval_s / 5;

    return interval_s - interval_s / 10 + (span_s ? (int64_t)(hash % (uint64_t)span_s) : 0);
}

int64_t
sts_refresh_due_s(const struct sts_refresh *refresh, const struct sts_entry *entry, int64_t now_s)
{
    const struct sts_refresh_config *c = &refresh->config;
    int64_t interval_s =
        c->interval_s < entry->max_age_s / 2 ? c->interval_s : entry->max_age_s / 2;
    int64_t due_s, retry_s;
    unsigned doublings;

    if (!sts_entry_is_valid(entry, now_s) || interval_s < INTERVAL_MIN_S)
        return INT64_MAX;
    due_s = entry->fetched_at_s + jittered(interval_s, entry);
    if (entry->failed_count == 0)
        return due_s;
    doublings = entry->failed_count - 1;
    retry_s = c->retry_s << (doublings < RETRY_DOUBLINGS ? doublings : RETRY_DOUBLINGS);
    if (retry_s > interval_s)
        retry_s = interval_s;
    retry_s += now_s - (clock_mono_ms(&c->clock) - entry->failed_at_ms) / 1000;
    return retry_s > due_s ? retry_s : due_s;
}

/* The nearer the end, the louder; a policy that demands nothing may run out in silence (STS-067).
 */
static void
complain(struct sts_refresh *refresh, const struct sts_entry *entry, const char *problem)
{
    int64_t now_s = clock_wall_s(&refresh->config.clock);
    int64_t left_s = entry->expires_at_s - now_s;
    int64_t failing_s = now_s - entry->failed_since_s;
    const char *urgency = left_s < entry->max_age_s / 10  ? "last"
                          : left_s < entry->max_age_s / 4 ? "urgent"
                          : left_s < entry->max_age_s / 2 ? "high"
                                                          : "low";
    bool alarming = left_s < entry->max_age_s / 2;
    char line[512];

    if (entry->mode == STS_MODE_NONE)
        return;
    snprintf(line, sizeof line,
             "event=policy-refresh-failed domain=%s mode=%s urgency=%s failures=%u "
             "failing_for=%" PRId64 " expires_in=%" PRId64 " reason=\"%s\"",
             entry->domain, sts_mode_name(entry->mode), urgency, entry->failed_count, failing_s,
             left_s, problem);
    if (alarming) {
        policy_stats_add(refresh->config.stats, STAT_EXPIRY_ALERTS);
        log_error("%s", line);
    } else {
        log_warn("%s", line);
    }
}

static void
on_renewed(void *arg, const struct sts_finding *finding)
{
    struct renewal *renewal = arg;
    struct sts_refresh *refresh = renewal->refresh;

    renewal->running = false;
    policy_stats_add(refresh->config.stats,
                     finding->just_fetched ? STAT_REFRESH_OK : STAT_REFRESH_FAILED);
    if (!finding->just_fetched && finding->has_policy)
        complain(refresh, &finding->entry, finding->problem);
}

static struct renewal *
free_renewal(struct sts_refresh *refresh)
{
    for (unsigned i = 0; i < STS_REFRESH_PARALLEL; i++)
        if (!refresh->renewals[i].due && !refresh->renewals[i].running)
            return &refresh->renewals[i];
    return NULL;
}

static void
look(void *arg, const struct sts_entry *entry)
{
    struct sts_refresh *refresh = arg;
    struct renewal *renewal = free_renewal(refresh);

    if (!renewal || sts_refresh_due_s(refresh, entry, refresh->now_s) > refresh->now_s)
        return; /* without room at the next round */
    renewal->due = true;
    snprintf(renewal->domain, sizeof renewal->domain, "%s", entry->domain);
}

void
sts_refresh_tick(struct sts_refresh *refresh)
{
    if (!free_renewal(refresh))
        return;
    refresh->now_s = clock_wall_s(&refresh->config.clock);
    sts_cache_walk(refresh->config.cache, &refresh->place, LOOKS_PER_TICK, look, refresh);
    for (unsigned i = 0; i < STS_REFRESH_PARALLEL; i++) {
        struct renewal *renewal = &refresh->renewals[i];

        if (!renewal->due)
            continue;
        renewal->due = false;
        renewal->running = true;
        sts_discover(refresh->config.discovery, renewal->domain, STS_FOR_REFRESH, on_renewed,
                     renewal);
    }
}
