#include "policy/lookup.h"

#include "policy/mx_lookup.h"

#include <stdio.h>
#include <stdlib.h>

#define USE_GRACE_S 300 /* a policy with max_age 0 applies to the recipient it was fetched for, as long
                         * as the client waits for its reply (RFC 5321 4.5.3.2.3) */

struct lookup {
    const struct lookup_config *config;
    struct policy_request request;
    lookup_done *done;
    void *arg;
    unsigned open; /* parts that are not there yet */
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

static void
finish(struct lookup *l)
{
    static const struct name_list no_patterns = { 0 };
    bool enforced, applied;

    if (l->req) {
        applied = l->req->sts.mode != STS_MODE_NONE;
        enforced = l->req->sts.mode == STS_MODE_ENFORCE;
        l->req->tls_floor = enforced ? l->config->tls_minimum
                                     : l->config->tls_opportunistic_minimum;
        if (l->set.ttl_s < l->ttl_s)
            l->ttl_s = l->set.ttl_s;
        l->req->ttl_s = l->set.failed ? 0 : l->ttl_s;
        if (identity_choose(&l->set, applied ? &l->req->sts.mx : &no_patterns, l->req) != RES_OK)
            out_of_memory(l);
    }
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

static void
take_policy(struct lookup *l, const struct sts_entry *entry, bool just_fetched)
{
    struct requirement *req = l->req;
    int64_t now_s = clock_wall_s(&l->config->clock);

    req->sts.mode = sts_policy_mode(entry->policy);
    snprintf(req->sts.id, sizeof req->sts.id, "%s", entry->id);
    memcpy(req->sts.text_sha256, entry->text_sha256, sizeof req->sts.text_sha256);
    req->sts.fetched_at_s = entry->fetched_at_s;
    req->sts.expires_at_s = entry->expires_at_s;
    if (just_fetched && req->sts.expires_at_s < now_s + USE_GRACE_S) {
        req->sts.expires_at_s = now_s + USE_GRACE_S;
        l->ttl_s = 0;
    }
    if (name_list_copy(sts_policy_mx(entry->policy), &req->sts.mx) != RES_OK)
        out_of_memory(l);
}

static void
on_policy(void *arg, const struct sts_finding *finding)
{
    struct lookup *l = arg;

    if (finding->ttl_s < l->ttl_s)
        l->ttl_s = finding->ttl_s;
    if (l->req)
        memcpy(l->req->sts.discovery, finding->problem, sizeof l->req->sts.discovery);
    if (l->req && finding->entry)
        take_policy(l, finding->entry, finding->just_fetched);
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
    memcpy(req->domain, request->domain, sizeof req->domain);
    l->open = 2;
    mx_lookup(config->resolver, config->memory, &config->clock, request->domain,
              &request->destination, on_mx_set, l);
    sts_discover(config->discovery, request->domain, on_policy, l);
}
