#include "policy/lookup.h"

#include "base/log.h"
#include "policy/digest.h"
#include "policy/mx_lookup.h"

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
    unsigned open;                       /* parts that are not there yet */
    struct mx_set set;
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
choose_floor(const struct lookup *l, const struct rule *rule)
{
    const struct requirement *req = l->req;
    bool enforced = req->sts.mode == STS_MODE_ENFORCE;
    bool blocks = !req->monitored && req->local.action != RULE_BYPASS &&
                  req->local.action != RULE_MONITOR &&
                  (enforced || req->local.action >= RULE_REQUIRE);
    uint16_t floor = blocks ? l->config->tls_minimum : l->config->tls_opportunistic_minimum;

    if (rule && rule->tls_minimum && req->local.action >= RULE_FLOOR && !req->monitored)
        floor =
            enforced && rule->tls_minimum < TLS_VERSION_1_2 ? TLS_VERSION_1_2 : rule->tls_minimum;
    return floor;
}

/* The operator's say on this recipient (PRX-041, PRX-042). */
static enum result
take_rule(struct lookup *l, const struct rule *rule)
{
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

static enum result
choose_names(struct lookup *l)
{
    const struct name_list *patterns =
        l->req->sts.mode != STS_MODE_NONE ? &l->req->sts.mx : &l->req->local.mx;

    if (l->smart_host) { /* mapped by the operator: DNS is not asked who it is (PRX-024) */
        l->req->matched = MX_MATCH_TABLE;
        return name_list_add(&l->req->names, span_of(l->smart_host->name));
    }
    l->req->null_mx = l->set.null_mx && l->config->refuse_null_mx;
    return identity_choose(&l->set, patterns, l->req);
}

static enum result
complete(struct lookup *l)
{
    const struct rule *rule = rules_find(l->config->rules, l->req->domain, &l->request.destination,
                                         &l->request.client, clock_wall_s(&l->config->clock));
    enum result res = take_rule(l, rule);

    if (res != RES_OK)
        return res;
    l->req->tls_floor = choose_floor(l, rule);
    if (!l->smart_host && l->set.ttl_s < l->ttl_s)
        l->ttl_s = l->set.ttl_s;
    l->req->ttl_s = l->set.failed ? 0 : l->ttl_s;
    return choose_names(l);
}

static void
finish(struct lookup *l)
{
    if (l->req && complete(l) != RES_OK)
        out_of_memory(l);
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
on_mx_set(void *arg, const struct mx_set *set)
{
    struct lookup *l = arg;

    l->set = *set;
    close_part(l);
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
    memcpy(l->req->sts.discovery, finding->problem, sizeof l->req->sts.discovery);
    l->req->defer = finding->defer;
    if (finding->has_policy && take_policy(l, &finding->entry, finding->just_fetched) != RES_OK)
        out_of_memory(l);
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
    l->req = req;
    l->smart_host = rules_smart_host(config->rules, &request->destination);
    memcpy(req->domain, l->smart_host ? l->smart_host->name : request->domain, sizeof req->domain);
    l->open = 2;
    if (l->smart_host)
        l->open--; /* the recipient's domain is not looked up at all (PRX-024) */
    else
        mx_lookup(&(struct mx_lookup_config){ .resolver = request->recheck ? config->uncached
                                                                           : config->resolver,
                                              .memory = config->memory,
                                              .clock = config->clock,
                                              .alias_targets = config->alias_targets },
                  request->domain, &request->destination, on_mx_set, l);
    sts_discover(config->discovery, req->domain, request->recheck ? STS_FOR_RECHECK : STS_FOR_MAIL,
                 on_policy, l);
}
