#include "policy/lookup.h"

#include "base/log.h"
#include "policy/dane_lookup.h"
#include "policy/digest.h"
#include "policy/mx_lookup.h"
#include "policy/tlsrpt_record.h"

#include <stdio.h>
#include <stdlib.h>

#define USE_GRACE_S                                                                                \
    300 /* a policy with max_age 0 applies to the recipient it was fetched for, as long            \
         * as the client waits for its reply (RFC 5321 4.5.3.2.3) */

struct lookup {
    const struct lookup_config *config;
    struct policy_request request;
    lookup_done *done;
    void *arg;
    const struct smart_host *smart_host; /* at the destination, or NULL */
    const struct rule *rule;             /* the override that applies, or NULL */
    unsigned open;                       /* parts that are not there yet */
    struct mx_set set;
    struct dane_result dane;
    uint32_t ttl_s;
    struct requirement *req; /* a reference; NULL when memory ran out */
};

static void
out_of_memory(struct lookup *l)
{
    requirement_unref(l->req);
    l->req = NULL;
}

/* Does anything here block without TLS? Then the site's floor holds (TLS-020), else the lower one
 * of opportunistic TLS (TLS-021); an override may set another, but none below RFC 8461's under a
 * policy. */
static uint16_t
choose_floor(const struct lookup *l)
{
    const struct requirement *req = l->req;
    enum rule_action action = req->local.action;
    bool enforced = req->sts.mode == STS_MODE_ENFORCE && action != RULE_BYPASS;
    bool local = action == RULE_REQUIRE || action == RULE_VERIFY || action == RULE_DANE;
    bool blocks = !req->monitored && action != RULE_MONITOR &&
                  (enforced || local || req->dane.state == DANE_SECURE);
    uint16_t floor = blocks ? l->config->tls_minimum : l->config->tls_opportunistic_minimum;

    if (l->rule && l->rule->tls_minimum && !req->monitored)
        floor = enforced && l->rule->tls_minimum < TLS_VERSION_1_2 ? TLS_VERSION_1_2
                                                                   : l->rule->tls_minimum;
    return floor;
}

/* The operator's say on this recipient (PRX-041, PRX-042). */
static enum result
take_rule(struct lookup *l)
{
    const struct rule *rule = l->rule;
    struct requirement *req = l->req;

    req->monitored = !rollout_enforces(l->config->rollout, req->domain);
    if (!rule)
        return RES_OK;
    req->local.action = rule->action;
    snprintf(req->local.id, sizeof req->local.id, "%s", rule->id);
    log_info("event=override domain=%s override=\"%s\" action=%s", req->domain, rule->id,
             rule_action_name(rule->action));
    if (rule->action != RULE_VERIFY)
        return RES_OK;
    if (rule->ca_file)
        req->local.trust = (uint16_t)(1 + (rule - l->config->rules->rules));
    return name_list_copy(&rule->mx, &req->local.mx);
}

/* What MX names are held against: the policy's patterns, else an override's. */
static const struct name_list *
policy_patterns(const struct requirement *req)
{
    return req->sts.mode != STS_MODE_NONE ? &req->sts.mx : &req->local.mx;
}

static enum result
choose_names(struct lookup *l)
{
    if (l->smart_host) { /* mapped by the operator: DNS is not asked who it is (PRX-024) */
        l->req->matched = MX_MATCH_TABLE;
        return name_list_add(&l->req->names, span_of(l->smart_host->name));
    }
    l->req->null_mx = l->set.null_mx && l->config->refuse_null_mx;
    return identity_choose(&l->set, policy_patterns(l->req), l->req);
}

/* A zone that is insecure now where it was signed is a downgrade that DNSSEC permits: it is
 * accepted, and said once (TC-DANE-42). */
static void
remember_dane(const struct lookup *l, enum dane_state state)
{
    struct addr_memory *memory = l->config->dane_memory;
    int64_t now_s = clock_wall_s(&l->config->clock);
    const char *domain = l->req->domain;

    if (state == DANE_SECURE)
        addr_memory_note(memory, domain, &l->request.destination, now_s);
    if (state != DANE_NONE || !addr_memory_take(memory, domain, &l->request.destination, now_s))
        return;
    policy_stats_add(l->config->stats, STAT_DANE_ENDED);
    log_warn("event=dane-ended domain=%s mx_records=%s", domain,
             l->set.security == DNS_SECURE ? "secure" : "insecure");
}

/* What DANE demands, with the hosts in the order of the names (PRX-017). */
static void
take_dane(struct lookup *l)
{
    static const enum policy_stat counters[] = { [DANE_NONE] = STAT_DANE_NONE,
                                                 [DANE_SECURE] = STAT_DANE_SECURE,
                                                 [DANE_FAILED] = STAT_DANE_FAILED };
    struct requirement *req = l->req;

    req->dane.required = req->local.action == RULE_DANE;
    req->dane.suffices = l->config->dane_suffices;
    req->dane.mx_secure = l->smart_host || l->set.security == DNS_SECURE;
    req->dane.state = l->dane.state;
    req->dane.hosts = l->dane.hosts;
    req->dane.host_count = l->dane.host_count;
    req->dane.dnssec = l->dane.dnssec;
    memcpy(req->dane.reason, l->dane.reason, sizeof req->dane.reason);
    l->dane = (struct dane_result){ .ttl_s = l->dane.ttl_s };
    if (req->dane.state == DANE_SECURE)
        identity_order(req->dane.hosts, req->dane.host_count, policy_patterns(req));
    if (req->dane.state == DANE_SECURE && !req->dane.mx_secure)
        log_info("event=dane-insecure-mx domain=%s mx=%s", req->domain, req->dane.hosts[0].mx);
    policy_stats_add(l->config->stats, counters[req->dane.state]);
}

static enum result
complete(struct lookup *l)
{
    enum result res = take_rule(l);
    bool failed = l->set.failed || l->dane.state == DANE_FAILED;

    if (res != RES_OK)
        return res;
    take_dane(l);
    l->req->tls_floor = choose_floor(l);
    if (l->set.ttl_s < l->ttl_s)
        l->ttl_s = l->set.ttl_s;
    if (l->dane.ttl_s < l->ttl_s) /* DANE-021 */
        l->ttl_s = l->dane.ttl_s;
    l->req->ttl_s = failed ? 0 : l->ttl_s;
    return choose_names(l);
}

static void
finish(struct lookup *l)
{
    if (l->req && complete(l) != RES_OK)
        out_of_memory(l);
    dane_result_clear(&l->dane);
    l->done(l->arg, &l->request, l->req);
    free(l);
}

static void
close_part(struct lookup *l)
{
    if (--l->open == 0)
        finish(l);
}

static void
on_dane(void *arg, struct dane_result *result)
{
    struct lookup *l = arg;

    l->dane = *result;
    if (l->req &&
        (!l->rule || l->rule->action != RULE_NO_DANE)) /* hosts may be left out on purpose */
        remember_dane(l, result->state);
    close_part(l);
}

/* Do TLSA records count here? The key says so for all; an override for these recipients. Without a
 * trust anchor no answer is secure, and there is nothing to ask (DANE-001, 041, 044). */
static bool
uses_dane(const struct lookup *l)
{
    enum rule_action action = l->rule ? l->rule->action : RULE_NONE;

    if (action == RULE_NO_DANE && l->rule->mx.count == 0)
        return false;
    return action == RULE_DANE ? l->config->validates : l->config->dane;
}

static struct resolver *
resolver_of(const struct lookup *l)
{
    return l->request.recheck ? l->config->uncached : l->config->resolver;
}

static void
on_mx_set(void *arg, const struct mx_set *set)
{
    struct lookup *l = arg;
    bool required = l->rule && l->rule->action == RULE_DANE;

    l->set = *set;
    if (!uses_dane(l) || !l->req) {
        close_part(l);
        return;
    }
    dane_lookup(
        &(struct dane_lookup_config){
            .resolver = resolver_of(l),
            .port = l->request.port,
            .insecure_mx = l->config->dane_insecure_mx && !required, /* RFC 7672 2.2.1 */
            .exempt = l->rule && l->rule->action == RULE_NO_DANE ? &l->rule->mx : NULL },
        &l->set, l->req->domain, on_dane, l);
}

/* Without an answer nobody is known to want reports, and the next recipient asks anew (RPT-080). */
static enum result
take_report_to(struct lookup *l, const struct resolver_answer *a)
{
    struct tlsrpt_record record;
    enum tlsrpt_finding finding;
    enum result res;

    if (a->status == RESOLVER_FAILED) {
        l->ttl_s = 0;
        return RES_OK;
    }
    if (a->answer.ttl_s < l->ttl_s)
        l->ttl_s = a->answer.ttl_s;
    res = tlsrpt_record_find(a->answer.texts, a->answer.count, &finding, &record);
    if (res == RES_OK)
        res = name_list_copy(&record.mail, &l->req->report_to);
    tlsrpt_record_clear(&record);
    return res;
}

static void
on_report_to(void *arg, const struct resolver_answer *a)
{
    struct lookup *l = arg;

    if (l->req && take_report_to(l, a) != RES_OK)
        out_of_memory(l);
    close_part(l);
}

/* Of the policy domain, so of a smart host that one's own (PRX-024). */
static void
ask_report_to(struct lookup *l)
{
    char name[HOSTNAME_MAX + sizeof "_smtp._tls."];
    struct resolver_query *ignored;

    snprintf(name, sizeof name, "_smtp._tls.%s", l->req->domain);
    if (resolver_ask(resolver_of(l), name, DNS_TYPE_TXT, on_report_to, l, &ignored) == RES_OK)
        return;
    l->ttl_s = 0;
    close_part(l);
}

/* A worker asks again when the policy runs out: it has perhaps been renewed by then (STS-066), and
 * what is remembered does not know. */
static void
end_with_policy(struct lookup *l, int64_t left_s)
{
    if (left_s < (int64_t)l->ttl_s)
        l->ttl_s = left_s > 0 ? (uint32_t)left_s : 0;
}

static enum result
take_policy(struct lookup *l, const struct sts_entry *entry, bool just_fetched)
{
    struct requirement *req = l->req;
    int64_t now_s = clock_wall_s(&l->config->clock);
    struct sts_policy *policy;
    enum result res = sts_policy_parse(entry->text, &policy, NULL);

    if (res != RES_OK)
        return res;
    req->sts.mode = entry->mode;
    snprintf(req->sts.id, sizeof req->sts.id, "%s", entry->id);
    digest_sha256(entry->text, req->sts.text_sha256);
    req->sts.fetched_at_s = entry->fetched_at_s;
    req->sts.expires_at_s = entry->expires_at_s;
    if (just_fetched && req->sts.expires_at_s < now_s + USE_GRACE_S) {
        req->sts.expires_at_s = now_s + USE_GRACE_S;
        l->ttl_s = 0;
    }
    end_with_policy(l, req->sts.expires_at_s - now_s);
    res = name_list_copy(sts_policy_mx(policy), &req->sts.mx);
    sts_policy_free(policy);
    return res;
}

static void
on_policy(void *arg, const struct sts_finding *finding)
{
    struct lookup *l = arg;

    if (finding->ttl_s < l->ttl_s)
        l->ttl_s = finding->ttl_s;
    if (l->req) {
        memcpy(l->req->sts.discovery, finding->problem, sizeof l->req->sts.discovery);
        l->req->defer = finding->defer;
    }
    if (l->req && finding->has_policy &&
        take_policy(l, &finding->entry, finding->just_fetched) != RES_OK)
        out_of_memory(l);
    close_part(l);
}

/* A smart host is who the operator says: the recipient's domain is not looked up at all (PRX-024),
 * and the host itself for DANE only. */
static void
ask_mx(struct lookup *l)
{
    const struct mx_lookup_config config = { .resolver = resolver_of(l),
                                             .memory = l->config->memory,
                                             .clock = l->config->clock,
                                             .alias_targets =
                                                 l->config->alias_targets && !l->smart_host };

    if (!l->smart_host)
        mx_lookup(&config, l->req->domain, &l->request.destination, on_mx_set, l);
    else if (uses_dane(l))
        mx_lookup_host(&config, l->req->domain, &l->request.destination, on_mx_set, l);
    else
        close_part(l);
}

void
lookup_start(const struct lookup_config *config, const struct policy_request *request,
             lookup_done *done, void *arg)
{
    struct lookup *l = calloc(1, sizeof *l);
    struct requirement *req = requirement_new();

    if (!l || !req) {
        free(l);
        requirement_unref(req);
        done(arg, request, NULL);
        return;
    }
    l->config = config;
    l->request = *request;
    l->done = done;
    l->arg = arg;
    l->ttl_s = config->ttl_max_s;
    l->set.ttl_s = l->dane.ttl_s = UINT32_MAX; /* until something is asked */
    l->req = req;
    if (request->domain[0])
        l->smart_host = rules_smart_host(config->rules, &request->destination);
    memcpy(req->domain, l->smart_host ? l->smart_host->name : request->domain, sizeof req->domain);
    l->rule = rules_find(config->rules, req->domain, &request->destination, &request->client,
                         clock_wall_s(&config->clock));
    /* Nobody to look up: a literal, <postmaster>; or an address that is written like a name, below
     * a top-level domain that cannot be (PRX-026, PRX-027, TC-TXT-30). */
    if (!request->domain[0] || hostname_is_ip_like(span_of(req->domain))) {
        finish(l);
        return;
    }
    l->open = 2 + request->report_to;
    if (request->report_to)
        ask_report_to(l);
    ask_mx(l);
    sts_discover(config->discovery, req->domain, request->recheck ? STS_FOR_RECHECK : STS_FOR_MAIL,
                 on_policy, l);
}
