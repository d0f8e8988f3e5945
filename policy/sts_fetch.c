#include "policy/sts_fetch.h"

#include "base/hash_key.h"
#include "base/log.h"
#include "policy/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#define POLICY_HOST_ADDRS_MAX 16u /* of fetch_start() */

struct waiter {
    struct waiter *next;
    char id[STS_ID_MAX + 1];
    sts_fetch_done *done;
    void *arg;
};

struct flight {
    struct sts_fetcher *f;
    char domain[HOSTNAME_MAX + 1];
    char id[STS_ID_MAX + 1];
    struct waiter *waiters;
    struct sts_fetched fetched;
    unsigned address_questions;
    bool address_failed, address_denied;
    struct ip_addr addrs[POLICY_HOST_ADDRS_MAX];
    size_t addr_count;
    UT_hash_handle hh;
};

struct sts_fetcher {
    struct sts_fetcher_config config;
    struct flight *flights;
};

struct sts_fetcher *
sts_fetcher_new(const struct sts_fetcher_config *config)
{
    struct sts_fetcher *f = calloc(1, sizeof *f);

    if (f)
        f->config = *config;
    return f;
}

static void
free_waiters(struct waiter *waiters)
{
    while (waiters) {
        struct waiter *w = waiters;

        waiters = w->next;
        free(w);
    }
}

void
sts_fetcher_free(struct sts_fetcher *f)
{
    struct flight *flight, *next;

    if (!f)
        return;
    HASH_ITER(hh, f->flights, flight, next)
    {
        HASH_DEL(f->flights, flight);
        free_waiters(flight->waiters);
        free(flight);
    }
    free(f);
}

static void start(struct flight *flight);

/* Those who asked for another id want a fetch of their own; each of the others is told. The flight
 * is over first, so that whoever is told may start a new one. */
static void
finish(struct flight *flight)
{
    struct sts_fetcher *f = flight->f;
    struct waiter *waiters = flight->waiters;

    HASH_DEL(f->flights, flight);
    while (waiters) {
        struct waiter *w = waiters;

        waiters = w->next;
        if (strcmp(w->id, flight->id) == 0)
            w->done(w->arg, &flight->fetched);
        else
            sts_fetch(f, flight->domain, w->id, w->done, w->arg);
        free(w);
    }
    free(flight);
}

/* The policy could not be had: an older one stays in force (STS-062, STS-064). */
static void
fail(struct flight *flight, enum result_type type, const char *reason)
{
    const struct sts_fetcher_config *c = &flight->f->config;

    flight->fetched.type = type;
    snprintf(flight->fetched.reason, sizeof flight->fetched.reason, "%s", reason);
    policy_stats_add(c->stats, policy_stat_of_fetch(type, reason));
    log_warn("event=policy-fetch-failed domain=%s id=%s result=%s reason=\"%s\"", flight->domain,
             flight->id, result_type_name(type), reason);
    if (sts_cache_fail(c->cache, flight->domain, flight->id, type, reason, clock_wall_s(&c->clock),
                       clock_mono_ms(&c->clock)) != RES_OK)
        log_error("event=no-memory where=policy-cache domain=%s", flight->domain);
    finish(flight);
}

static void
count_leniencies(struct policy_stats *stats, unsigned leniencies)
{
    if (leniencies & STS_POLICY_EMPTY_LINE)
        policy_stats_add(stats, STAT_LENIENT_EMPTY_LINE);
    if (leniencies & STS_POLICY_MAX_AGE_CLAMPED)
        policy_stats_add(stats, STAT_LENIENT_MAX_AGE);
}

/* What the cache holds before the policy that has been fetched takes its place. */
static void
note_old(const struct sts_entry *old, struct sts_news *news, char old_id[STS_ID_MAX + 1])
{
    snprintf(old_id, STS_ID_MAX + 1, "%s", old->id);
    news->old_id = old_id;
    digest_sha256(old->text, news->old_sha256);
}

static void
tell_news(struct flight *flight, struct sts_news *news)
{
    const struct sts_fetcher_config *c = &flight->f->config;
    struct sts_entry entry;

    if (!c->on_news || !sts_cache_find(c->cache, flight->domain, &entry))
        return;
    news->domain = flight->domain;
    news->id = flight->id;
    digest_sha256(news->text, news->text_sha256);
    news->fetched_at_s = entry.fetched_at_s;
    news->expires_at_s = entry.expires_at_s;
    c->on_news(c->arg, news);
}

/* Into the cache, in place of what was there; and say what that changes. */
static enum result
keep(struct flight *flight, struct span text, const struct sts_policy *policy)
{
    const struct sts_fetcher_config *c = &flight->f->config;
    int64_t now_s = clock_wall_s(&c->clock);
    struct sts_news news = { .old_id = "", .text = text, .policy = policy };
    char old_id[STS_ID_MAX + 1];
    struct sts_entry old;
    bool had, valid, same_text, same_id;

    had = sts_cache_find(c->cache, flight->domain, &old) && old.has_policy;
    valid = sts_entry_is_valid(&old, now_s);
    same_text = had && span_equal(old.text, text);
    same_id = had && strcmp(old.id, flight->id) == 0;
    if (had)
        note_old(&old, &news, old_id);
    if (sts_cache_put(c->cache, flight->domain, flight->id, text, policy, now_s) != RES_OK)
        return RES_NOMEM;
    log_info("event=policy-fetched domain=%s id=%s mode=%s max_age=%u", flight->domain, flight->id,
             sts_mode_name(sts_policy_mode(policy)), sts_policy_max_age_s(policy));
    if (had && !(same_text && same_id))
        policy_stats_add(c->stats, STAT_REPLACED);
    if (same_id && !same_text) { /* TC-CACHE-09 */
        policy_stats_add(c->stats, STAT_BODY_CHANGED);
        log_warn("event=policy-body-changed domain=%s id=%s reason=\"another policy under the same "
                 "id: senders that go by the id do not notice\"",
                 flight->domain, flight->id);
    }
    if (!(same_text && same_id))
        tell_news(flight, &news);
    if (c->on_change && !(valid && same_text && same_id))
        c->on_change(c->arg, flight->domain);
    return RES_OK;
}

static void
on_fetched(void *arg, const struct fetch_result *result)
{
    struct flight *flight = arg;
    const struct sts_fetcher_config *c = &flight->f->config;
    struct sts_policy *policy = NULL;
    struct sts_policy_error error;
    char reason[96];
    enum result res;

    if (result->type != RESULT_SUCCESS) {
        fail(flight, result->type, result->reason);
        return;
    }
    flight->fetched.body = result->body;
    res = sts_policy_parse(result->body, &policy, &error);
    if (res == RES_NOMEM) {
        fail(flight, RESULT_STS_POLICY_FETCH_ERROR, "no memory");
        return;
    }
    if (res != RES_OK) { /* not applied and not cached (STS-050) */
        snprintf(reason, sizeof reason, "line %u: %.60s", error.line, error.what);
        fail(flight, RESULT_STS_POLICY_INVALID, reason);
        return;
    }
    res = keep(flight, result->body, policy);
    count_leniencies(c->stats, sts_policy_leniencies(policy));
    sts_policy_free(policy);
    if (res != RES_OK) {
        fail(flight, RESULT_STS_POLICY_FETCH_ERROR, "no memory");
        return;
    }
    policy_stats_add(c->stats, STAT_FETCH_OK);
    flight->fetched.type = RESULT_SUCCESS;
    finish(flight);
}

/* D is chosen by whoever writes the recipient's address: no tour of the inner network (STS-035). */
static bool
is_permitted(const struct sts_fetcher_config *c, const struct ip_addr *addr)
{
    if (ip_addr_is_public(addr))
        return true;
    for (size_t i = 0; i < c->network_count; i++)
        if (ip_net_has(&c->networks[i], addr))
            return true;
    return false;
}

static void
start_fetch(struct flight *flight)
{
    struct fetch *fetch;

    if (flight->addr_count == 0) {
        fail(flight, RESULT_STS_POLICY_FETCH_ERROR,
             flight->address_denied   ? "address-not-permitted"
             : flight->address_failed ? "dns-failure"
                                      : "no-address");
        return;
    }
    if (fetch_start(flight->f->config.fetcher, flight->domain, flight->addrs, flight->addr_count,
                    on_fetched, flight, &fetch) != RES_OK)
        fail(flight, RESULT_STS_POLICY_FETCH_ERROR, "overload");
}

static void
on_address(void *arg, const struct resolver_answer *a)
{
    struct flight *flight = arg;

    if (a->status == RESOLVER_FAILED)
        flight->address_failed = true;
    for (size_t i = 0; i < a->answer.count && flight->addr_count < POLICY_HOST_ADDRS_MAX; i++) {
        if (is_permitted(&flight->f->config, &a->answer.addrs[i]))
            flight->addrs[flight->addr_count++] = a->answer.addrs[i];
        else
            flight->address_denied = true;
    }
    if (--flight->address_questions == 0)
        start_fetch(flight);
}

static void
start(struct flight *flight)
{
    static const unsigned types[] = { DNS_TYPE_A, DNS_TYPE_AAAA };
    char host[HOSTNAME_MAX + sizeof "mta-sts."];
    struct resolver_query *query;

    snprintf(host, sizeof host, "mta-sts.%s", flight->domain);
    flight->address_questions = 1; /* for this loop */
    for (unsigned i = 0; i < sizeof types / sizeof *types; i++) {
        flight->address_questions++;
        if (resolver_ask(flight->f->config.resolver, host, types[i], on_address, flight, &query) !=
            RES_OK) {
            flight->address_questions--;
            flight->address_failed = true;
        }
    }
    if (--flight->address_questions == 0)
        start_fetch(flight);
}

static struct flight *
find_flight(const struct sts_fetcher *f, const char *domain)
{
    struct flight *flight;

    HASH_FIND_STR(f->flights, domain, flight);
    return flight;
}

bool
sts_fetch_is_running(const struct sts_fetcher *f, const char *domain)
{
    return find_flight(f, domain) != NULL;
}

void
sts_fetch(struct sts_fetcher *f, const char *domain, const char *id, sts_fetch_done *done,
          void *arg)
{
    static const struct sts_fetched nothing = { .type = RESULT_STS_POLICY_FETCH_ERROR,
                                                .reason = "no memory" };
    struct flight *flight = find_flight(f, domain);
    struct waiter *w = calloc(1, sizeof *w);
    bool is_new = !flight;

    if (w && is_new)
        flight = calloc(1, sizeof *flight);
    if (!w || !flight) {
        free(w);
        done(arg, &nothing);
        return;
    }
    *w = (struct waiter){ .next = flight->waiters, .done = done, .arg = arg };
    snprintf(w->id, sizeof w->id, "%s", id);
    flight->waiters = w;
    if (!is_new)
        return;
    flight->f = f;
    snprintf(flight->domain, sizeof flight->domain, "%s", domain);
    snprintf(flight->id, sizeof flight->id, "%s", id);
    HASH_ADD_STR(f->flights, domain, flight);
    if (HASH_ENTERED(flight)) {
        start(flight);
        return;
    }
    free(w);
    free(flight);
    done(arg, &nothing);
}
