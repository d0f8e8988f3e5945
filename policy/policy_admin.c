#include "policy/policy_admin.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

/* A domain that waits to be warmed, or is on its way. */
struct warm {
    struct warm *prev, *next;
    struct policy_admin *admin;
    char domain[];
};

struct refreshing;

struct policy_admin {
    struct policy_admin_config config;
    struct warm *waiting, *running; /* owned */
    struct refreshing *refreshing;  /* owned */
    size_t waiting_count, running_count;
    bool starting; /* start_warming() is on the stack: what ends at once does not call it again */
};

struct policy_admin *
policy_admin_new(const struct policy_admin_config *config)
{
    struct policy_admin *admin = calloc(1, sizeof *admin);

    if (admin)
        admin->config = *config;
    return admin;
}

static void
free_warms(struct warm *list)
{
    struct warm *warm, *next;

    DL_FOREACH_SAFE(list, warm, next) { free(warm); }
}

/* ---- showing ---- */

struct showing {
    struct policy_admin *admin;
    bool whole; /* with text and patterns */
    policy_admin_each *each;
    void *arg;
};

static void
show(void *arg, const struct sts_entry *entry)
{
    const struct showing *s = arg;
    const struct policy_admin_config *c = &s->admin->config;
    int64_t now_s = clock_wall_s(&c->clock);
    int64_t due_s = sts_refresh_due_s(c->refresh, entry, now_s);
    struct sts_policy *policy = NULL;
    struct policy_info info = {
        .domain = entry->domain,
        .has_policy = entry->has_policy,
        .is_valid = sts_entry_is_valid(entry, now_s),
        .mode = entry->mode,
        .id = entry->id,
        .max_age_s = entry->max_age_s,
        .fetched_at_s = entry->fetched_at_s,
        .expires_at_s = entry->expires_at_s,
        .unused_s = now_s - entry->used_at_s,
        .refresh_in_s = due_s == INT64_MAX ? -1
                        : due_s < now_s    ? 0
                                           : due_s - now_s,
        .failed_count = entry->failed_count,
        .failed_since_s = entry->failed_since_s,
        .failed_id = entry->failed_id,
        .failed_type = entry->failed_count ? result_type_name(entry->failed_type) : "",
        .failed_reason = entry->failed_reason,
    };

    if (s->whole && entry->has_policy) {
        info.text = entry->text;
        if (sts_policy_parse(entry->text, &policy, NULL) == RES_OK)
            info.mx = sts_policy_mx(policy);
    }
    s->each(s->arg, &info);
    sts_policy_free(policy);
}

void
policy_admin_list(struct policy_admin *admin, size_t *place, size_t max, policy_admin_each *each,
                  void *arg)
{
    struct showing s = { .admin = admin, .each = each, .arg = arg };

    sts_cache_walk(admin->config.cache, place, max, show, &s);
}

bool
policy_admin_show(struct policy_admin *admin, const char *domain, policy_admin_each *each,
                  void *arg)
{
    struct showing s = { .admin = admin, .whole = true, .each = each, .arg = arg };
    struct sts_entry entry;

    if (!sts_cache_find(admin->config.cache, domain, &entry))
        return false;
    show(&s, &entry);
    return true;
}

/* ---- refreshing ---- */

struct refreshing {
    struct refreshing *prev, *next;
    struct policy_admin *admin;
    policy_admin_done *done;
    void *arg;
    const char *problem;
};

static void
tell_refreshed(void *arg, const struct policy_info *info)
{
    const struct refreshing *r = arg;

    r->done(r->arg, r->problem, info);
}

static void
on_refreshed(void *arg, const struct sts_finding *finding)
{
    struct refreshing *r = arg;
    struct showing s = { .admin = r->admin, .whole = true, .each = tell_refreshed, .arg = r };

    r->problem = finding->problem;
    if (!finding->has_policy && !finding->problem[0])
        r->problem = "no-policy-found the domain publishes none";
    if (finding->has_policy)
        show(&s, &finding->entry);
    else
        r->done(r->arg, r->problem, NULL);
    DL_DELETE(r->admin->refreshing, r);
    free(r);
}

enum result
policy_admin_refresh(struct policy_admin *admin, const char *domain, policy_admin_done *done,
                     void *arg)
{
    struct refreshing *r = calloc(1, sizeof *r);

    if (!r)
        return RES_NOMEM;
    *r = (struct refreshing){ .admin = admin, .done = done, .arg = arg };
    DL_APPEND(admin->refreshing, r);
    sts_discover(admin->config.discovery, domain, STS_FOR_OPERATOR, on_refreshed, r);
    return RES_OK;
}

void
policy_admin_free(struct policy_admin *admin)
{
    struct refreshing *r, *next;

    if (!admin)
        return;
    free_warms(admin->waiting);
    free_warms(admin->running);
    DL_FOREACH_SAFE(admin->refreshing, r, next) { free(r); }
    free(admin);
}

/* ---- flushing ---- */

size_t
policy_admin_flush(struct policy_admin *admin, const char *domain)
{
    const struct policy_admin_config *c = &admin->config;
    size_t count = domain ? sts_cache_drop(c->cache, domain) : sts_cache_drop_all(c->cache);

    log_warn("event=policy-flush domain=%s count=%zu", domain ? domain : "all", count);
    if (c->on_change)
        c->on_change(c->arg, domain ? domain : "");
    return count;
}

/* ---- warming ---- */

static void start_warming(struct policy_admin *admin);

static void
on_warm(void *arg, const struct sts_finding *finding)
{
    struct warm *warm = arg;
    struct policy_admin *admin = warm->admin;

    (void)finding; /* its policy is in the cache now, or there is none */
    DL_DELETE(admin->running, warm);
    admin->running_count--;
    free(warm);
    start_warming(admin);
}

static void
start_warming(struct policy_admin *admin)
{
    if (admin->starting)
        return;
    admin->starting = true;
    while (admin->waiting && admin->running_count < POLICY_WARM_PARALLEL) {
        struct warm *warm = admin->waiting;

        DL_DELETE(admin->waiting, warm);
        admin->waiting_count--;
        DL_APPEND(admin->running, warm);
        admin->running_count++;
        sts_discover(admin->config.discovery, warm->domain, STS_FOR_MAIL, on_warm, warm);
    }
    admin->starting = false;
}

enum result
policy_admin_warm(struct policy_admin *admin, const char *domain)
{
    size_t len = strlen(domain);
    struct warm *warm;

    if (admin->waiting_count >= POLICY_WARM_MAX)
        return RES_LIMIT;
    warm = malloc(sizeof *warm + len + 1);
    if (!warm)
        return RES_NOMEM;
    *warm = (struct warm){ .admin = admin };
    memcpy(warm->domain, domain, len + 1);
    DL_APPEND(admin->waiting, warm);
    admin->waiting_count++;
    start_warming(admin);
    return RES_OK;
}

size_t
policy_admin_warming(const struct policy_admin *admin)
{
    return admin->waiting_count + admin->running_count;
}

const struct policy_stats *
policy_admin_stats(const struct policy_admin *admin)
{
    return admin->config.stats;
}
