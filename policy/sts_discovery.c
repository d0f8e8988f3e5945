#include "policy/sts_discovery.h"

#include "base/hash_key.h"
#include "base/log.h"
#include "policy/recheck_budget.h"
#include "policy/sts_record.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#define NO_DEADLINE INT64_MAX

struct waiter {
    struct waiter *next;
    sts_discovery_done *done;
    void *arg;
};

/* One look-up of one domain for one purpose. */
struct flight {
    struct sts_discovery *d;
    enum sts_purpose purpose;
    char domain[HOSTNAME_MAX + 1];
    struct waiter *waiters;
    int64_t deadline_ms; /* monotonic: then the waiters are told what is known */
    struct sts_record record;
    bool fetch_failed;
    struct sts_finding finding;
    UT_hash_handle hh;
};

struct sts_discovery {
    struct sts_discovery_config config;
    struct recheck_budget *rechecks;
    struct flight *flights[STS_PURPOSES];
};

struct sts_discovery *
sts_discovery_new(const struct sts_discovery_config *config)
{
    struct sts_discovery *d = calloc(1, sizeof *d);

    if (!d)
        return NULL;
    d->config = *config;
    d->rechecks = recheck_budget_new();
    if (!d->rechecks) {
        free(d);
        return NULL;
    }
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
    for (unsigned purpose = 0; purpose < STS_PURPOSES; purpose++)
        HASH_ITER(hh, d->flights[purpose], f, next)
        {
            HASH_DEL(d->flights[purpose], f);
            free_flight(f);
        }
    recheck_budget_free(d->rechecks);
    free(d);
}

/* ---- what is known, and telling it ---- */

static int64_t
wall_s(const struct sts_discovery *d)
{
    return clock_wall_s(&d->config.clock);
}

static int64_t
mono_ms(const struct sts_discovery *d)
{
    return clock_mono_ms(&d->config.clock);
}

static bool
is_known(const struct flight *f)
{
    struct sts_entry entry;

    return sts_cache_find(f->d->config.cache, f->domain, &entry) &&
           sts_entry_is_valid(&entry, wall_s(f->d));
}

static void __attribute__((format(printf, 3, 4)))
note_problem(struct flight *f, enum result_type type, const char *fmt, ...)
{
    char reason[STS_REASON_MAX + 1];
    va_list args;

    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    snprintf(f->finding.problem, sizeof f->finding.problem, "%s %.60s", result_type_name(type),
             reason);
}

/* Fill in what applies to a use now. */
static void
conclude(struct flight *f)
{
    struct sts_discovery *d = f->d;
    struct sts_finding *finding = &f->finding;
    bool found = f->purpose == STS_FOR_MAIL
                     ? sts_cache_use(d->config.cache, f->domain, wall_s(d), &finding->entry)
                     : sts_cache_find(d->config.cache, f->domain, &finding->entry);
    bool valid = found && sts_entry_is_valid(&finding->entry, wall_s(d));

    finding->has_policy = valid || (finding->just_fetched && found && finding->entry.has_policy);
    if (finding->has_policy)
        finding->defer = false;
}

/* Mail is what the counters are about; and what an operator should hear of. */
static void
account(const struct flight *f)
{
    const struct sts_finding *finding = &f->finding;
    struct policy_stats *stats = f->d->config.stats;

    if (f->purpose != STS_FOR_MAIL)
        return;
    if (finding->has_policy && !finding->just_fetched) {
        policy_stats_add(stats, STAT_CACHE_HIT);
        if (finding->problem[0])
            policy_stats_add(stats, STAT_KEPT);
        return;
    }
    policy_stats_add(stats, STAT_CACHE_MISS);
    if (finding->has_policy)
        return;
    if (finding->entry.has_policy) {
        policy_stats_add(stats, STAT_CACHE_EXPIRED);
        log_warn("event=policy-expired domain=%s id=%s reason=\"%s\"", f->domain, finding->entry.id,
                 finding->problem);
    }
    if (finding->defer)
        policy_stats_add(stats, STAT_DEFERRED);
    if (f->fetch_failed) { /* TC-HTTP-24 */
        policy_stats_add(stats, STAT_FIRST_CONTACT_BLOCKED);
        log_warn("event=first-contact-blocked domain=%s id=%s reason=\"%s\"", f->domain,
                 f->record.id, finding->problem);
    }
}

static void
tell(struct flight *f)
{
    struct waiter *waiters = f->waiters;

    f->waiters = NULL;
    conclude(f);
    if (waiters)
        account(f);
    while (waiters) {
        struct waiter *w = waiters;

        waiters = w->next;
        w->done(w->arg, &f->finding);
        free(w);
    }
}

/* The flight is over first, so that a waiter may start a new one. */
static void
finish(struct flight *f)
{
    HASH_DEL(f->d->flights[f->purpose], f);
    tell(f);
    free_flight(f);
}

/* ---- the policy ---- */

static void
on_fetched(void *arg, const struct sts_fetched *fetched)
{
    struct flight *f = arg;

    f->finding.body = fetched->body;
    if (fetched->type == RESULT_SUCCESS) {
        f->finding.just_fetched = true;
        f->finding.problem[0] = '\0'; /* of those who did not wait for it */
    } else {
        f->fetch_failed = true;
        note_problem(f, fetched->type, "%s", fetched->reason);
    }
    finish(f);
}

static void
fetch(struct flight *f, const char *id)
{
    if (f->purpose == STS_FOR_MAIL && is_known(f))
        f->deadline_ms = mono_ms(f->d) + STS_KNOWN_FETCH_WAIT_MS;
    sts_fetch(f->d->config.fetcher, f->domain, id, on_fetched, f);
}

/* Is what is cached good enough for the purpose, now that the record says id? */
static bool
is_current(const struct flight *f, const struct sts_entry *entry, const char *id)
{
    int64_t now_s = wall_s(f->d);

    if (f->purpose == STS_FOR_REFRESH || f->purpose == STS_FOR_OPERATOR)
        return false;
    if (!sts_entry_is_valid(entry, now_s) || strcmp(entry->id, id) != 0)
        return false;                    /* STS-064 */
    return f->purpose == STS_FOR_MAIL || /* STS-063 */
           now_s - entry->fetched_at_s <= STS_RECHECK_FETCH_AGE_S;
}

/* May there be a fetch now? Why not is the problem. */
static bool
may_fetch(struct flight *f, const struct sts_entry *entry, const char *id)
{
    struct sts_discovery *d = f->d;

    if (f->purpose == STS_FOR_OPERATOR)
        return true;
    if (sts_entry_must_wait(entry, id, mono_ms(d), d->config.refetch_wait_ms)) {
        policy_stats_add(d->config.stats, STAT_FETCH_HELD_BACK);
        note_problem(f, entry->failed_type, "%s", entry->failed_reason);
        f->fetch_failed = true;
        return false;
    }
    if (f->purpose != STS_FOR_RECHECK)
        return true;
    if (!recheck_budget_fetch(d->rechecks, f->domain, mono_ms(d))) {
        policy_stats_add(d->config.stats, STAT_RECHECK_REFUSED);
        return false;
    }
    policy_stats_add(d->config.stats, STAT_RECHECK_FETCH);
    return true;
}

static void
follow_id(struct flight *f, const char *id)
{
    struct sts_entry entry;

    (void)sts_cache_find(f->d->config.cache, f->domain, &entry);
    if (is_current(f, &entry, id) || !may_fetch(f, &entry, id)) {
        finish(f);
        return;
    }
    fetch(f, id);
}

/* ---- the record ---- */

static void
count_record(struct flight *f, enum sts_record_finding found)
{
    static const enum policy_stat stats[] = {
        [STS_RECORD_FOUND] = STAT_TXT_FOUND,
        [STS_RECORD_ABSENT] = STAT_TXT_ABSENT,
        [STS_RECORD_SEVERAL] = STAT_TXT_SEVERAL,
        [STS_RECORD_INVALID] = STAT_TXT_INVALID,
    };

    policy_stats_add(f->d->config.stats, stats[found]);
    if (f->record.lenient) {
        policy_stats_add(f->d->config.stats, STAT_LENIENT_TXT_BLANK);
        log_info("event=txt-lenient domain=%s reason=\"blank before the first semicolon\"",
                 f->domain);
    }
}

/* No usable record. For mail nothing is fetched then (STS-013), and a cached policy stays in force
 * (STS-069); but one that is in force is renewed all the same (STS-066). */
static void
go_on_without(struct flight *f)
{
    struct sts_entry entry;
    bool renews = f->purpose == STS_FOR_REFRESH || f->purpose == STS_FOR_OPERATOR;
    char id[STS_ID_MAX + 1];

    if (!renews || !sts_cache_find(f->d->config.cache, f->domain, &entry) ||
        !sts_entry_is_valid(&entry, wall_s(f->d))) {
        finish(f);
        return;
    }
    snprintf(id, sizeof id, "%s", entry.id); /* the entry may go meanwhile */
    follow_id(f, id);
}

static void
on_txt(void *arg, const struct resolver_answer *a)
{
    struct flight *f = arg;
    enum sts_record_finding found;
    struct sts_entry entry;

    f->finding.problem[0] = '\0'; /* of those who did not wait for it */
    if (a->status == RESOLVER_FAILED) {
        policy_stats_add(f->d->config.stats, STAT_TXT_DNS_FAILED);
        note_problem(f, RESULT_STS_POLICY_FETCH_ERROR, "txt-%s", a->reason);
        f->finding.defer = f->d->config.defer_on_failure;
        go_on_without(f);
        return;
    }
    f->finding.ttl_s = a->answer.ttl_s;
    found = sts_record_find(a->answer.texts, a->answer.count, &f->record);
    count_record(f, found);
    if (found == STS_RECORD_FOUND) {
        follow_id(f, f->record.id);
        return;
    }
    /* A failure to be reported only where a policy was to be expected (STS-121), or the record says
     * something that nobody understands. */
    if (sts_cache_find(f->d->config.cache, f->domain, &entry) || found != STS_RECORD_ABSENT)
        note_problem(f, RESULT_STS_POLICY_FETCH_ERROR, "%s", sts_record_reason(found));
    go_on_without(f);
}

/* ---- asking ---- */

static void
answer_without_memory(sts_discovery_done *done, void *arg)
{
    static const struct sts_finding nothing = { .defer = true,
                                                .problem = "sts-policy-fetch-error no memory" };

    done(arg, &nothing);
}

static void
ask(struct flight *f)
{
    const struct sts_discovery_config *c = &f->d->config;
    bool past_caches = f->purpose == STS_FOR_RECHECK || f->purpose == STS_FOR_OPERATOR;
    char name[HOSTNAME_MAX + sizeof "_mta-sts."];
    struct resolver_query *query;

    snprintf(name, sizeof name, "_mta-sts.%s", f->domain);
    if (resolver_ask(past_caches ? c->uncached : c->resolver, name, DNS_TYPE_TXT, on_txt, f,
                     &query) == RES_OK)
        return;
    /* A name too long to have a record, or too many questions: the cache decides. */
    note_problem(f, RESULT_STS_POLICY_FETCH_ERROR, "txt-not-asked");
    finish(f);
}

/* Within its bounds a re-check is made; beyond them the verdict stands. */
static bool
is_permitted(struct sts_discovery *d, const char *domain, enum sts_purpose purpose)
{
    if (purpose != STS_FOR_RECHECK)
        return true;
    if (recheck_budget_check(d->rechecks, domain, mono_ms(d))) {
        policy_stats_add(d->config.stats, STAT_RECHECK);
        return true;
    }
    policy_stats_add(d->config.stats, STAT_RECHECK_REFUSED);
    return false;
}

void
sts_discover(struct sts_discovery *d, const char *domain, enum sts_purpose purpose,
             sts_discovery_done *done, void *arg)
{
    struct waiter *w = calloc(1, sizeof *w);
    struct flight *f;

    (void)sts_cache_tell_time(d->config.cache, wall_s(d), mono_ms(d));
    HASH_FIND_STR(d->flights[purpose], domain, f);
    if (!w) {
        answer_without_memory(done, arg);
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
        answer_without_memory(done, arg);
        return;
    }
    f->d = d;
    f->purpose = purpose;
    f->waiters = w;
    f->deadline_ms = NO_DEADLINE;
    snprintf(f->domain, sizeof f->domain, "%s", domain);
    HASH_ADD_STR(d->flights[purpose], domain, f);
    if (!HASH_ENTERED(f)) {
        free(f);
        free(w);
        answer_without_memory(done, arg);
        return;
    }
    if (!is_permitted(d, domain, purpose)) {
        finish(f);
        return;
    }
    if (purpose == STS_FOR_RECHECK)
        f->deadline_ms = mono_ms(d) + STS_RECHECK_WAIT_MS;
    else if (purpose == STS_FOR_MAIL && is_known(f))
        f->deadline_ms = mono_ms(d) + STS_KNOWN_TXT_WAIT_MS;
    ask(f);
}

/* ---- waiting no longer ---- */

static bool
is_overdue(const struct flight *f)
{
    return f->waiters && mono_ms(f->d) >= f->deadline_ms &&
           (f->purpose == STS_FOR_RECHECK || is_known(f));
}

void
sts_discovery_tick(struct sts_discovery *d)
{
    static const enum sts_purpose patient[] = { STS_FOR_MAIL, STS_FOR_RECHECK };

    for (unsigned i = 0; i < sizeof patient / sizeof *patient; i++) {
        struct flight *f, *next;

        HASH_ITER(hh, d->flights[patient[i]], f, next)
        {
            if (!is_overdue(f))
                continue;
            note_problem(f, RESULT_STS_POLICY_FETCH_ERROR, "timeout");
            tell(f); /* the look-up goes on, for the next one who asks */
        }
    }
}
