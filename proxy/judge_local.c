#include "proxy/judge_impl.h"

#include <stdio.h>

const char judge_no_demand[] = "PRX-050";

static const struct name_list no_patterns;

/* A domain without a policy: TLS if it can be had, no demand on the certificate (PRX-050, RFC
 * 7435). */
struct verdict
judge_opportunistic(const struct requirement *req, const struct observation *obs)
{
    struct verdict v;
    const char *name;

    switch (obs->stage) {
    case TLS_STAGE_CLEAR:
        if (obs->starttls_offered && !obs->bound && !judge_would_fail_again(req, obs))
            return judge_next_step(VERDICT_START_TLS, req, "PRX-029");
        if (obs->failure != TLS_FAILURE_NONE) {
            v = judge_allow("TLS-031 RFC 7435 3", judge_blamed(req), false);
            v.result = RESULT_VALIDATION_FAILURE;
            snprintf(v.reason, sizeof v.reason, "%s", obs->failure_reason);
            return v;
        }
        /* fall through */
    case TLS_STAGE_REFUSED:
        v = judge_allow(judge_no_demand, judge_blamed(req), false);
        v.result = RESULT_STARTTLS_NOT_SUPPORTED;
        if (obs->starttls_code)
            snprintf(v.reason, sizeof v.reason, "%u", obs->starttls_code);
        return v;
    case TLS_STAGE_FAILED:
        /* A 452 is for demands in enforcing form only (PRX-033): within a transaction this is the
         * end of the connection, as for any other recipient. */
        if (!obs->bound && judge_may_do_better(req, obs))
            return judge_next_step(VERDICT_RECONNECT, req, "TLS-021");
        v = judge_refuse(req, REPLY_UPSTREAM_LOST, RESULT_VALIDATION_FAILURE, obs->failure_reason,
                         "TLS-006 RFC 3207 4");
        v.action = VERDICT_CLOSE;
        return v;
    case TLS_STAGE_DONE:
        name = judge_named_candidate(req, obs, &no_patterns);
        if (obs->chain != CHAIN_GOOD || !name)
            return judge_allow(judge_no_demand, judge_blamed(req), false);
        return judge_allow(judge_no_demand, name, true);
    }
    return judge_refuse(req, REPLY_UPSTREAM_LOST, RESULT_VALIDATION_FAILURE, "bad stage", "-");
}

/* TLS, whoever answers (RFC 3207 6). */
struct verdict
judge_tls(const struct requirement *req, const struct observation *obs, const char *rule)
{
    switch (obs->stage) {
    case TLS_STAGE_CLEAR:
        if (!obs->starttls_offered)
            break;
        if (judge_would_fail_again(req, obs))
            return judge_refuse(req, REPLY_TLS_REQUIRED, RESULT_VALIDATION_FAILURE,
                                obs->failure_reason, rule);
        return obs->bound ? judge_reconnect(req, obs, "PRX-033")
                          : judge_next_step(VERDICT_START_TLS, req, "PRX-029");
    case TLS_STAGE_REFUSED:
        if (obs->bound)
            return judge_reconnect(req, obs, "PRX-033");
        break;
    case TLS_STAGE_FAILED:
        if (judge_may_do_better(req, obs))
            return judge_reconnect(req, obs, "PRX-030");
        return judge_refuse(req, REPLY_TLS_REQUIRED, RESULT_VALIDATION_FAILURE, obs->failure_reason,
                            rule);
    case TLS_STAGE_DONE:
        if (obs->version < req->tls_floor && obs->floor < req->tls_floor)
            return judge_reconnect(req, obs, "TLS-020");
        return judge_allow(rule, judge_blamed(req), false);
    }
    return judge_refuse(req, REPLY_TLS_REQUIRED, RESULT_STARTTLS_NOT_SUPPORTED, obs->failure_reason,
                        rule);
}

/* RULE_VERIFY, under TLS: a certificate for the MX name, by roots of the operator's choice. */
static struct verdict
judge_local_certificate(const struct requirement *req, const struct observation *obs)
{
    const char *name = judge_named_candidate(req, obs, &req->local.mx);
    struct verdict v;

    if (name && obs->chain == CHAIN_GOOD && obs->trust == req->local.trust)
        return judge_allow("PRX-042", name, true);
    if (judge_may_show_another(req, obs))
        return judge_reconnect(req, obs, "PRX-030");
    if (obs->chain != CHAIN_GOOD)
        return judge_refuse_chain(req, obs, REPLY_IDENTITY_REQUIRED, "PRX-042");
    v = judge_refuse(req, REPLY_IDENTITY_REQUIRED, RESULT_CERTIFICATE_HOST_MISMATCH, "", "PRX-042");
    v.detail = "certificate does not name the MX host";
    return v;
}

/* No TLS at all is not below a version. */
static struct verdict
judge_floor_alone(const struct requirement *req, const struct observation *obs)
{
    if (obs->stage == TLS_STAGE_REFUSED ||
        (obs->stage == TLS_STAGE_CLEAR && !obs->starttls_offered))
        return judge_allow("PRX-042", judge_blamed(req), false);
    return judge_tls(req, obs, "PRX-042 TLS-030");
}

/* TLS and a proven name. */
static struct verdict
judge_verify(const struct requirement *req, const struct observation *obs)
{
    struct verdict v;

    if (req->matched != MX_MATCH_CERTIFICATE && !judge_any_candidate_listed(req, &req->local.mx)) {
        v = judge_refuse(req, REPLY_IDENTITY_REQUIRED, RESULT_VALIDATION_FAILURE,
                         "mx-not-permitted", "PRX-042");
        v.detail = "MX host is not permitted";
        return v;
    }
    v = judge_tls(req, obs, "PRX-042 TLS-030");
    return v.action == VERDICT_ALLOW ? judge_local_certificate(req, obs) : v;
}

struct verdict
judge_local(const struct requirement *req, const struct observation *obs)
{
    switch (req->local.action) {
    case RULE_FLOOR:
        return judge_floor_alone(req, obs);
    case RULE_REQUIRE:
        return judge_tls(req, obs, "PRX-042 TLS-030");
    case RULE_VERIFY:
        return judge_verify(req, obs);
    case RULE_NONE:
    case RULE_BYPASS:
    case RULE_MONITOR:
    case RULE_DANE: /* judge_dane() */
    case RULE_NO_DANE:
        break;
    }
    return judge_allow(judge_no_demand, judge_blamed(req), false);
}
