#include "policy/sts_discovery.h"

#include "base/hash_key.h"
#include "base/log.h"
#include "policy/digest.h"
#include "policy/sts_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#define POLICY_HOST_ADDRS_MAX 16u /* of fetch_start() */

struct waiter {
    struct waiter *next;
    sts_discovery_done *done;
    void *arg;
};

/* One look-up of one domain. */
struct flight {
    struct sts_discovery *d;
    char domain[HOSTNAME_MAX + 1];
    struct waiter *waiters;
    struct sts_record record;
    struct sts_finding finding;
    unsigned address_questions;
    bool address_failed, address_denied;
    struct ip_addr addrs[POLICY_HOST_ADDRS_MAX];
    size_t addr_count;
    UT_hash_handle hh;
};

struct sts_discovery {
    struct sts_discovery_config config;
    struct flight *flights;
};

struct sts_discovery *
sts_discovery_new(const struct sts_discovery_config *config)
{
    struct sts_discovery *d = calloc(1, sizeof *d);

    if (d)
        d->config = *config;
    return d;
}

static void
free_flight(struct flight *f)
{
    while (f->waiters) {
        struct waiter *w = f->waiters;

        f->waiters = w->next;
        free(w);
    }
    free(f);
}

void
sts_discovery_free(struct sts_discovery *d)
{
    struct flight *f, *next;

    if (!d)
        return;
    HASH_ITER(hh, d->flights, f, next)
    {
        HASH_DEL(d->flights, f);
        free_flight(f);
    }
    free(d);
}

/* Tell everybody. The flight is over first, so that a waiter may start a new one. */
static void
finish(struct flight *f)
{
    struct sts_discovery *d = f->d;
    const struct sts_entry *entry = sts_cache_find(d->config.cache, f->domain);
    bool valid = sts_entry_is_valid(entry, clock_wall_s(&d->config.clock));

    HASH_DEL(d->flights, f);
    f->finding.entry = valid || (f->finding.just_fetched && entry && entry->policy) ? entry : NULL;
    for (struct waiter *w = f->waiters; w; w = w->next)
        w->done(w->arg, &f->finding);
    free_flight(f);
}

/* The policy could not be had: an older one stays in force (STS-062, STS-064), the reason is kept.
 */
static void
fail(struct flight *f, enum result_type type, const char *reason)
{
    const struct sts_entry *entry;
    int64_t now_ms = clock_mono_ms(&f->d->config.clock);

    snprintf(f->finding.problem, sizeof f->finding.problem, "%s %s", result_type_name(type),
             reason);
    log_warn("event=policy-fetch-failed domain=%s id=%s result=%s reason=\"%s\"", f->domain,
             f->record.id, result_type_name(type), reason);
    if (sts_cache_fail(f->d->config.cache, f->domain, f->record.id, type, reason, now_ms, &entry) !=
        RES_OK)
        log_error("event=no-memory where=policy-cache domain=%s", f->domain);
    finish(f);
}

static void
on_fetched(void *arg, const struct fetch_result *result)
{
    struct flight *f = arg;
    struct sts_policy *policy = NULL;
    struct sts_policy_error error;
    const struct sts_entry *entry;
    uint8_t sha256[32];
    char reason[96];

    if (result->type != RESULT_SUCCESS) {
        fail(f, result->type, result->reason);
        return;
    }
    if (sts_policy_parse(result->body, &policy, &error) != RES_OK) {
        snprintf(reason, sizeof reason, "line %u: %.60s", error.line, error.what);
        fail(f, RESULT_STS_POLICY_INVALID, reason);
        return;
    }
    digest_sha256(result->body, sha256);
    if (sts_cache_put(f->d->config.cache, f->domain, f->record.id, policy, sha256,
                      clock_wall_s(&f->d->config.clock), f->d->config.max_age_cap_s,
                      &entry) != RES_OK) {
        fail(f, RESULT_STS_POLICY_FETCH_ERROR, "no memory");
        return;
    }
    log_info("event=policy-fetched domain=%s id=%s mode=%s max_age=%u", f->domain, f->record.id,
             sts_mode_name(sts_policy_mode(entry->policy)), sts_policy_max_age_s(entry->policy));
    f->finding.just_fetched = true;
    finish(f);
}

/* D is chosen by whoever writes the recipient's address: no tour of the inner network (STS-035). */
static bool
is_permitted(const struct sts_discovery *d, const struct ip_addr *addr)
{
    if (ip_addr_is_public(addr))
        return true;
    for (size_t i = 0; i < d->config.network_count; i++)
        if (ip_net_has(&d->config.networks[i], addr))
            return true;
    return false;
}

static void
start_fetch(struct flight *f)
{
    struct fetch *fetch;

    if (f->addr_count == 0) {
        fail(f, RESULT_STS_POLICY_FETCH_ERROR,
             f->address_denied   ? "address-not-permitted"
             : f->address_failed ? "dns-failure"
                                 : "no-address");
        return;
    }
    if (fetch_start(f->d->config.fetcher, f->domain, f->addrs, f->addr_count, on_fetched, f,
                    &fetch) != RES_OK)
        fail(f, RESULT_STS_POLICY_FETCH_ERROR, "overload");
}

static void
on_address(void *arg, const struct resolver_answer *a)
{
    struct flight *f = arg;

    if (a->status == RESOLVER_FAILED)
        f->address_failed = true;
    for (size_t i = 0; i < a->answer.count && f->addr_count < POLICY_HOST_ADDRS_MAX; i++) {
        if (is_permitted(f->d, &a->answer.addrs[i]))
            f->addrs[f->addr_count++] = a->answer.addrs[i];
        else
            f->address_denied = true;
    }
    if (--f->address_questions == 0)
        start_fetch(f);
}

static void
ask_policy_host(struct flight *f)
{
    static const unsigned types[] = { DNS_TYPE_A, DNS_TYPE_AAAA };
    char host[HOSTNAME_MAX + sizeof "mta-sts."];
    struct resolver_query *query;

    snprintf(host, sizeof host, "mta-sts.%s", f->domain);
    f->address_questions = 1; /* for this loop */
    for (unsigned i = 0; i < sizeof types / sizeof *types; i++) {
        f->address_questions++;
        if (resolver_ask(f->d->config.resolver, host, types[i], on_address, f, &query) != RES_OK) {
            f->address_questions--;
            f->address_failed = true;
        }
    }
    if (--f->address_questions == 0)
        start_fetch(f);
}

/* There is a live record: the cached policy is current if it was fetched for the same id (STS-063),
 * else it is fetched, unless that just failed (STS-031). */
static void
follow_record(struct flight *f)
{
    const struct sts_discovery_config *c = &f->d->config;
    const struct sts_entry *entry = sts_cache_find(c->cache, f->domain);

    if (sts_entry_is_valid(entry, clock_wall_s(&c->clock)) &&
        strcmp(entry->id, f->record.id) == 0) {
        finish(f);
        return;
    }
    if (sts_entry_must_wait(entry, f->record.id, clock_mono_ms(&c->clock))) {
        snprintf(f->finding.problem, sizeof f->finding.problem, "%s %s",
                 result_type_name(entry->failed_type), entry->failed_reason);
        finish(f);
        return;
    }
    ask_policy_host(f);
}

static void
on_txt(void *arg, const struct resolver_answer *a)
{
    struct flight *f = arg;
    const struct sts_entry *entry = sts_cache_find(f->d->config.cache, f->domain);
    enum sts_record_finding found;

    f->finding.ttl_s = a->status == RESOLVER_FAILED ? 0 : a->answer.ttl_s;
    if (a->status == RESOLVER_FAILED) {
        snprintf(f->finding.problem, sizeof f->finding.problem, "%s txt-%s",
                 result_type_name(RESULT_STS_POLICY_FETCH_ERROR), a->reason);
        finish(f);
        return;
    }
    found = sts_record_find(a->answer.texts, a->answer.count, &f->record);
    if (found == STS_RECORD_FOUND) {
        follow_record(f);
        return;
    }
    /* No usable record: nothing is fetched (STS-013); a cached policy stays (STS-069). That is a
     * failure to be reported only if there is one (STS-121), or a record that says nothing. */
    if (entry || found != STS_RECORD_ABSENT)
        snprintf(f->finding.problem, sizeof f->finding.problem, "%s %s",
                 result_type_name(RESULT_STS_POLICY_FETCH_ERROR), sts_record_reason(found));
    finish(f);
}

void
sts_discover(struct sts_discovery *d, const char *domain, sts_discovery_done *done, void *arg)
{
    static const struct sts_finding nothing = { .problem = "sts-policy-fetch-error no memory" };
    struct waiter *w = calloc(1, sizeof *w);
    char name[HOSTNAME_MAX + sizeof "_mta-sts."];
    struct resolver_query *query;
    struct flight *f;

    HASH_FIND_STR(d->flights, domain, f);
    if (!w) {
        done(arg, &nothing);
        return;
    }
    *w = (struct waiter){ .done = done, .arg = arg };
    if (f) {
        w->next = f->waiters;
        f->waiters = w;
        return;
    }
    f = calloc(1, sizeof *f);
    if (!f) {
        free(w);
        done(arg, &nothing);
        return;
    }
    f->d = d;
    f->waiters = w;
    snprintf(f->domain, sizeof f->domain, "%s", domain);
    HASH_ADD_STR(d->flights, domain, f);
    snprintf(name, sizeof name, "_mta-sts.%s", domain);
    if (resolver_ask(d->config.resolver, name, DNS_TYPE_TXT, on_txt, f, &query) != RES_OK)
        finish(f); /* a name too long to have a record, or too many questions: the cache decides */
}
