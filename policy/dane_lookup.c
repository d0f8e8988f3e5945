#include "policy/dane_lookup.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

struct lookup;

/* One host whose TLSA records are asked for; tells the finding's place. */
struct host_question {
    struct lookup *lookup;
    const struct mx_host *host;
    struct tlsa_finding finding;
};

struct lookup {
    struct dane_lookup_config config;
    const struct mx_set *set;
    const char *domain;
    dane_lookup_done *done;
    void *arg;
    bool matched; /* the hosts hold the destination; else they are all that the domain has */
    unsigned open;
    size_t count;
    struct host_question questions[]; /* as many as the set has hosts; by preference */
};

void
dane_result_clear(struct dane_result *result)
{
    for (size_t i = 0; i < result->host_count; i++)
        dane_host_clear(&result->hosts[i]);
    free(result->hosts);
    *result = (struct dane_result){ 0 };
}

/* ---- what the findings come to ---- */

static void
take_failure(struct dane_result *result, const char *what, const char *reason, bool dnssec)
{
    result->state = DANE_FAILED;
    result->dnssec = dnssec;
    result->ttl_s = 0;
    snprintf(result->reason, sizeof result->reason, "%s%s", what, reason);
}

static enum result
add_reference(struct dane_host *host, const char *name)
{
    if (name[0] == '\0' || name_list_has(&host->references, name))
        return RES_OK;
    return name_list_add(&host->references, span_of(name));
}

/* RFC 7672 3.2.2. Behind MX records that may be forged, the MX host alone can be meant: naming the
 * domain would prove what nobody has said (DANE-029). */
static enum result
add_references(const struct lookup *l, struct dane_host *host)
{
    enum result res = add_reference(host, host->base);

    if (res == RES_OK && l->set->security == DNS_SECURE)
        res = add_reference(host, l->domain);
    if (res == RES_OK && l->set->security == DNS_SECURE && !l->set->implicit)
        res = add_reference(host, l->set->owner);
    return res;
}

/* The hosts with records, the best DANE_HOSTS_MAX of them. */
static void
take_hosts(struct lookup *l, struct dane_result *result)
{
    result->hosts = calloc(DANE_HOSTS_MAX, sizeof *result->hosts);
    if (!result->hosts) {
        take_failure(result, "tlsa ", "no memory", false);
        return;
    }
    result->state = DANE_SECURE;
    for (size_t i = 0; i < l->count; i++) {
        struct dane_host *host = &l->questions[i].finding.host;

        if (l->questions[i].finding.state != DANE_SECURE)
            continue;
        if (result->host_count == DANE_HOSTS_MAX) {
            log_warn("event=dane-hosts-cut domain=%s max=%u", l->domain, DANE_HOSTS_MAX);
            return;
        }
        if (add_references(l, host) != RES_OK) {
            dane_result_clear(result);
            take_failure(result, "tlsa ", "no memory", false);
            return;
        }
        result->hosts[result->host_count++] = *host;
        *host = (struct dane_host){ .count = 0 };
    }
}

static const struct tlsa_finding *
first_of(const struct lookup *l, enum dane_state state)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->questions[i].finding.state == state)
            return &l->questions[i].finding;
    return NULL;
}

/* With holders known, one with records is enough (DANE-048); otherwise the destination may be any
 * host, and one without records is enough for DANE not to apply (PRX-020). */
static void
decide(struct lookup *l, struct dane_result *result)
{
    const struct tlsa_finding *secure = first_of(l, DANE_SECURE), *none = first_of(l, DANE_NONE),
                              *failed = first_of(l, DANE_FAILED);

    for (size_t i = 0; i < l->count; i++)
        if (l->questions[i].finding.ttl_s < result->ttl_s)
            result->ttl_s = l->questions[i].finding.ttl_s;
    if (l->matched ? secure != NULL : secure && !none && !failed)
        take_hosts(l, result);
    else if (failed && (l->matched || !none))
        take_failure(result, "", failed->reason, failed->dnssec);
}

static void
finish(struct lookup *l)
{
    struct dane_result result = { .ttl_s = UINT32_MAX };

    decide(l, &result);
    l->done(l->arg, &result);
    for (size_t i = 0; i < l->count; i++)
        dane_host_clear(&l->questions[i].finding.host);
    free(l);
}

/* ---- asking ---- */

static void
close_question(struct lookup *l)
{
    if (--l->open == 0)
        finish(l);
}

static void
on_finding(void *arg, struct tlsa_finding *finding)
{
    struct host_question *question = arg;

    question->finding = *finding;
    if (finding->state == DANE_FAILED)
        log_warn("event=dane-lookup-failed domain=%s mx=%s reason=\"%s\"", question->lookup->domain,
                 question->host->host, finding->reason);
    close_question(question->lookup);
}

static bool
is_exempt(const struct dane_lookup_config *config, const char *host)
{
    for (size_t i = 0; config->exempt && i < config->exempt->count; i++)
        if (hostname_matches(span_of(config->exempt->names[i]), span_of(host)))
            return true;
    return false;
}

/* Do fresh addresses, or else remembered ones, hold the destination? (PRX-018) */
static enum mx_holds
best_hold(const struct mx_set *set)
{
    enum mx_holds best = MX_HOLDS_NOT;

    for (size_t i = 0; i < set->count; i++)
        if (set->hosts[i].holds > best)
            best = set->hosts[i].holds;
    return best;
}

/* One that may hold the destination, for all that is known; NULL: none. */
static const struct mx_host *
unknown_host(const struct dane_lookup_config *config, const struct mx_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->hosts[i].failed && !is_exempt(config, set->hosts[i].host))
            return &set->hosts[i];
    return NULL;
}

/* All side by side. */
static void
ask_all(struct lookup *l, enum mx_holds holds)
{
    l->open = 1;
    for (size_t i = 0; i < l->set->count; i++) {
        const struct mx_host *host = &l->set->hosts[i];
        struct host_question *question = &l->questions[l->count];

        if (host->is_target || host->holds != holds)
            continue;
        l->count++;
        question->lookup = l;
        question->host = host;
        question->finding.ttl_s = UINT32_MAX;
        if (is_exempt(&l->config, host->host))
            continue; /* as one without records */
        l->open++;
        tlsa_lookup(l->config.resolver, host, l->config.port, on_finding, question);
    }
    close_question(l);
}

void
dane_lookup(const struct dane_lookup_config *config, const struct mx_set *set, const char *domain,
            dane_lookup_done *done, void *arg)
{
    struct dane_result result = { .ttl_s = UINT32_MAX };
    enum mx_holds holds = best_hold(set);
    bool mx_secure = set->security == DNS_SECURE;
    const struct mx_host *unknown = NULL;
    struct lookup *l = NULL;

    if (holds == MX_HOLDS_NOT)
        unknown = unknown_host(config, set);
    if (set->mx_failed)
        take_failure(&result, "mx ", set->mx_reason, set->mx_bogus); /* DANE-004 */
    else if (!mx_secure && !config->insecure_mx)
        ; /* not applicable (DANE-009) */
    else if (unknown)
        take_failure(&result, "address ", unknown->reason, unknown->bogus); /* PRX-023 */
    else if (!mx_secure && holds == MX_HOLDS_NOT)
        ; /* any name may have been put there: no list of hosts to choose from (PRX-020) */
    else if (!(l = calloc(1, sizeof *l + set->count * sizeof *l->questions)))
        take_failure(&result, "tlsa ", "no memory", false);
    if (!l) {
        if (result.state == DANE_FAILED)
            log_warn("event=dane-lookup-failed domain=%s reason=\"%s\"", domain, result.reason);
        done(arg, &result);
        return;
    }
    l->config = *config;
    l->set = set;
    l->domain = domain;
    l->done = done;
    l->arg = arg;
    l->matched = holds != MX_HOLDS_NOT;
    ask_all(l, holds);
}
