#include "proxy/judge.h"

#include <stdio.h>

#define STS_TLS_MINIMUM TLS_VERSION_1_2 /* RFC 8461 7.2 with RFC 8996: STS-090 */

static struct verdict
allow(const char *rule, const char *mx, bool proven)
{
    return (struct verdict){
        .action = VERDICT_ALLOW, .rule = rule, .mx = mx, .proven = proven, .detail = ""
    };
}

static struct verdict
next_step(enum verdict_action action, const struct requirement *req, const char *rule)
{
    return (
        struct verdict){ .action = action, .rule = rule, .mx = requirement_sni(req), .detail = "" };
}

static struct verdict
refuse(const struct requirement *req, enum reply_row reply, enum result_type result,
       const char *reason, const char *rule)
{
    struct verdict v = { .action = VERDICT_REFUSE,
                         .reply = reply,
                         .result = result,
                         .rule = rule,
                         .mx = requirement_sni(req),
                         .detail = "" };

    snprintf(v.reason, sizeof v.reason, "%s", reason);
    return v;
}

/* Does one of the leaf's dNSNames stand for name? The subject's CN never counts (STS-087, TLS-042).
 */
static bool
certificate_names(const struct observation *obs, const char *name)
{
    for (size_t i = 0; i < obs->sans.count; i++)
        if (hostname_matches(span_of(obs->sans.names[i]), span_of(name)))
            return true;
    return false;
}

/* Is name one of the patterns? No patterns: anything is. */
static bool
is_listed(const struct name_list *patterns, const char *name)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (hostname_matches(span_of(patterns->names[i]), span_of(name)))
            return true;
    return patterns->count == 0;
}

/* Candidates are ordered with those that match the policy first (PRX-017). */
static bool
any_candidate_listed(const struct requirement *req, const struct name_list *patterns)
{
    for (size_t i = 0; i < req->names.count; i++)
        if (is_listed(patterns, req->names.names[i]))
            return true;
    return false;
}

/* The first candidate that is listed and that the certificate names; NULL: none. */
static const char *
named_candidate(const struct requirement *req, const struct observation *obs,
                const struct name_list *patterns)
{
    for (size_t i = 0; i < req->names.count; i++) {
        const char *name = req->names.names[i];

        if (is_listed(patterns, name) && certificate_names(obs, name))
            return name;
    }
    return NULL;
}

static const struct name_list no_patterns;

/* Was the handshake made for another name, or held against other roots, than this recipient wants?
 */
static bool
other_identity(const struct requirement *req, const struct observation *obs)
{
    return strcmp(obs->sni, requirement_sni(req)) != 0 || obs->trust != req->local.trust;
}

/* This connection is there to go on in clear (TLS-031): the handshake of the one before it failed
 * in this transaction, and another one for this recipient would be the same. */
static bool
would_fail_again(const struct requirement *req, const struct observation *obs)
{
    return obs->stage == TLS_STAGE_CLEAR && obs->failure != TLS_FAILURE_NONE &&
           obs->floor <= req->tls_floor && !other_identity(req, obs);
}

/* Another connection is wanted; impossible while the transaction holds this one (PRX-031, PRX-033).
 */
static struct verdict
reconnect(const struct requirement *req, const struct observation *obs, const char *rule)
{
    if (obs->bound)
        return refuse(req, REPLY_OTHER_IDENTITY, RESULT_SUCCESS, "", "PRX-033");
    return next_step(VERDICT_RECONNECT, req, rule);
}

/* A domain without a policy: TLS if it can be had, no demand on the certificate (PRX-050, RFC
 * 7435). */
static struct verdict
judge_opportunistic(const struct requirement *req, const struct observation *obs)
{
    struct verdict v;
    const char *name;

    switch (obs->stage) {
    case TLS_STAGE_CLEAR:
        if (obs->starttls_offered && !obs->bound && !would_fail_again(req, obs))
            return next_step(VERDICT_START_TLS, req, "PRX-029");
        if (obs->failure != TLS_FAILURE_NONE) {
            v = allow("TLS-031 RFC 7435 3", requirement_sni(req), false);
            v.result = RESULT_VALIDATION_FAILURE;
            snprintf(v.reason, sizeof v.reason, "%s", obs->failure_reason);
            return v;
        }
        /* fall through */
    case TLS_STAGE_REFUSED:
        v = allow("PRX-050", requirement_sni(req), false);
        v.result = RESULT_STARTTLS_NOT_SUPPORTED;
        if (obs->starttls_code)
            snprintf(v.reason, sizeof v.reason, "%u", obs->starttls_code);
        return v;
    case TLS_STAGE_FAILED:
        /* A 452 is for demands in enforcing form only (PRX-033): within a transaction this is the
         * end of the connection, as for any other recipient. */
        if (!obs->bound && (obs->floor > req->tls_floor || other_identity(req, obs)))
            return next_step(VERDICT_RECONNECT, req, "TLS-021");
        v = refuse(req, REPLY_UPSTREAM_LOST, RESULT_VALIDATION_FAILURE, obs->failure_reason,
                   "TLS-006 RFC 3207 4");
        v.action = VERDICT_CLOSE;
        return v;
    case TLS_STAGE_DONE:
        name = named_candidate(req, obs, &no_patterns);
        if (obs->chain != CHAIN_GOOD || !name)
            return allow("PRX-050", requirement_sni(req), false);
        return allow("PRX-050", name, true);
    }
    return refuse(req, REPLY_UPSTREAM_LOST, RESULT_VALIDATION_FAILURE, "bad stage", "-");
}

/* The handshake failed: RFC 8461 4, "STARTTLS", and 7.2 for the version. */
static struct verdict
judge_sts_failed(const struct requirement *req, const struct observation *obs)
{
    if (obs->floor > req->tls_floor || other_identity(req, obs))
        return reconnect(req, obs, "PRX-030");
    switch (obs->failure) {
    case TLS_FAILURE_VERSION:
        return refuse(req, REPLY_STS_TLS_VERSION, RESULT_VALIDATION_FAILURE, obs->failure_reason,
                      "STS-090 RFC 8461 7.2");
    case TLS_FAILURE_INJECTED:
        return refuse(req, REPLY_STS_STARTTLS_MISSING, RESULT_VALIDATION_FAILURE,
                      "plaintext-after-starttls", "TLS-008 RFC 3207 6");
    case TLS_FAILURE_NONE:
    case TLS_FAILURE_HANDSHAKE:
    case TLS_FAILURE_TIMEOUT:
        break;
    }
    return refuse(req, REPLY_STS_STARTTLS_MISSING, RESULT_VALIDATION_FAILURE, obs->failure_reason,
                  "STS-084 RFC 8461 4");
}

static struct verdict
refuse_chain(const struct requirement *req, const struct observation *obs, enum reply_row reply,
             const char *rule)
{
    struct verdict v = refuse(req, reply,
                              obs->chain == CHAIN_EXPIRED ? RESULT_CERTIFICATE_EXPIRED
                                                          : RESULT_CERTIFICATE_NOT_TRUSTED,
                              obs->chain_error, rule);

    v.detail = obs->chain_reason;
    return v;
}

/* Under TLS: RFC 8461 4.1 and 4.2 on the certificate that was presented. */
static struct verdict
judge_sts_certificate(const struct requirement *req, const struct observation *obs)
{
    const char *name = named_candidate(req, obs, &req->sts.mx);
    bool new_enough = obs->version >= STS_TLS_MINIMUM && obs->version >= req->tls_floor;

    if (name && obs->chain == CHAIN_GOOD && new_enough && obs->trust == req->local.trust)
        return allow("STS-087 RFC 8461 4.2", name, true);
    /* Made for another name, it may have shown another certificate: no refusal rests on it. */
    if (other_identity(req, obs))
        return reconnect(req, obs, "PRX-030 RFC 8461 7.1");
    if (!new_enough)
        return refuse(req, REPLY_STS_TLS_VERSION, RESULT_VALIDATION_FAILURE, "tls-version-too-low",
                      "STS-090 RFC 8461 7.2");
    if (obs->chain != CHAIN_GOOD)
        return refuse_chain(req, obs, REPLY_STS_CERTIFICATE,
                            obs->chain == CHAIN_EXPIRED ? "STS-086 RFC 8461 4.2"
                                                        : "STS-085 RFC 8461 4.2");
    if (req->matched == MX_MATCH_CERTIFICATE && req->mx_lookup_failed)
        return refuse(req, REPLY_DNS_FAILURE, RESULT_CERTIFICATE_HOST_MISMATCH, "mx-lookup-failed",
                      "PRX-023 RFC 8461 5");
    if (req->matched == MX_MATCH_CERTIFICATE)
        return refuse(req, REPLY_STS_MX_MISMATCH, RESULT_CERTIFICATE_HOST_MISMATCH,
                      "address-of-no-mx", "PRX-019 RFC 8461 4.1");
    return refuse(req, REPLY_STS_NAME_MISMATCH, RESULT_CERTIFICATE_HOST_MISMATCH, "",
                  "STS-087 RFC 8461 4.2");
}

/* The policy taken at its word, as in mode enforce. Order of checks: RFC 8461 appendix B. */
static struct verdict
judge_sts(const struct requirement *req, const struct observation *obs)
{
    /* With the address of no known MX the name question comes last (PRX-019). */
    if (req->matched != MX_MATCH_CERTIFICATE && !any_candidate_listed(req, &req->sts.mx))
        return refuse(req, REPLY_STS_MX_MISMATCH, RESULT_VALIDATION_FAILURE, "sts-mx-mismatch",
                      "STS-080 RFC 8461 4.1");
    switch (obs->stage) {
    case TLS_STAGE_CLEAR:
        if (!obs->starttls_offered)
            return refuse(req, REPLY_STS_STARTTLS_MISSING, RESULT_STARTTLS_NOT_SUPPORTED, "",
                          "STS-084 RFC 8461 4");
        if (would_fail_again(req, obs))
            return judge_sts_failed(req, obs);
        if (obs->bound)
            return reconnect(req, obs, "PRX-033");
        return next_step(VERDICT_START_TLS, req, "PRX-029");
    case TLS_STAGE_REFUSED:
        if (obs->bound)
            return reconnect(req, obs, "PRX-033");
        return refuse(req, REPLY_STS_STARTTLS_MISSING, RESULT_STARTTLS_NOT_SUPPORTED,
                      obs->failure_reason, "TLS-005 RFC 8461 4");
    case TLS_STAGE_FAILED:
        return judge_sts_failed(req, obs);
    case TLS_STAGE_DONE:
        return judge_sts_certificate(req, obs);
    }
    return refuse(req, REPLY_UPSTREAM_LOST, RESULT_VALIDATION_FAILURE, "bad stage", "-");
}

/* RULE_VERIFY, under TLS: a certificate for the MX name, by roots of the operator's choice. */
static struct verdict
judge_local_certificate(const struct requirement *req, const struct observation *obs)
{
    const char *name = named_candidate(req, obs, &req->local.mx);
    struct verdict v;

    if (name && obs->chain == CHAIN_GOOD && obs->trust == req->local.trust)
        return allow("PRX-042", name, true);
    if (other_identity(req, obs))
        return reconnect(req, obs, "PRX-030");
    if (obs->chain != CHAIN_GOOD)
        return refuse_chain(req, obs, REPLY_IDENTITY_REQUIRED, "PRX-042");
    v = refuse(req, REPLY_IDENTITY_REQUIRED, RESULT_CERTIFICATE_HOST_MISMATCH, "", "PRX-042");
    v.detail = "certificate does not name the MX host";
    return v;
}

/* What an override demands (PRX-042): a floor where there is TLS, TLS, or TLS and a proven name. */
static struct verdict
judge_local(const struct requirement *req, const struct observation *obs)
{
    bool verify = req->local.action == RULE_VERIFY;
    struct verdict v;

    if (verify && req->matched != MX_MATCH_CERTIFICATE &&
        !any_candidate_listed(req, &req->local.mx)) {
        v = refuse(req, REPLY_IDENTITY_REQUIRED, RESULT_VALIDATION_FAILURE, "mx-not-permitted",
                   "PRX-042");
        v.detail = "MX host is not permitted";
        return v;
    }
    switch (obs->stage) {
    case TLS_STAGE_CLEAR:
        if (!obs->starttls_offered)
            break;
        if (would_fail_again(req, obs))
            return refuse(req, REPLY_TLS_REQUIRED, RESULT_VALIDATION_FAILURE, obs->failure_reason,
                          "PRX-042 TLS-030");
        return obs->bound ? reconnect(req, obs, "PRX-033")
                          : next_step(VERDICT_START_TLS, req, "PRX-029");
    case TLS_STAGE_REFUSED:
        if (obs->bound && req->local.action != RULE_FLOOR)
            return reconnect(req, obs, "PRX-033");
        break;
    case TLS_STAGE_FAILED:
        if (obs->floor > req->tls_floor || other_identity(req, obs))
            return reconnect(req, obs, "PRX-030");
        return refuse(req, REPLY_TLS_REQUIRED, RESULT_VALIDATION_FAILURE, obs->failure_reason,
                      "PRX-042 TLS-030");
    case TLS_STAGE_DONE:
        if (obs->version < req->tls_floor && obs->floor < req->tls_floor)
            return reconnect(req, obs, "TLS-020");
        return verify ? judge_local_certificate(req, obs)
                      : allow("PRX-042", requirement_sni(req), false);
    }
    if (req->local.action == RULE_FLOOR) /* no TLS at all is not below a version */
        return allow("PRX-042", requirement_sni(req), false);
    return refuse(req, REPLY_TLS_REQUIRED, RESULT_STARTTLS_NOT_SUPPORTED, obs->failure_reason,
                  "PRX-042 TLS-030");
}

/* A demand that does not apply in enforcing form: mode testing, monitor, a domain outside the
 * share, a bypass. The mail goes as without it, the failure is counted (STS-101, PRX-041, RFC 8461
 * 5). One that another identity might have cured, but for the open transaction, is not (PRX-033).
 */
static struct verdict
relax(struct verdict strict, const struct requirement *req, const struct observation *obs)
{
    struct verdict v;

    if (strict.action != VERDICT_REFUSE)
        return strict;
    v = judge_opportunistic(req, obs);
    if (strict.reply == REPLY_OTHER_IDENTITY)
        return v;
    if (v.action == VERDICT_ALLOW || v.action == VERDICT_CLOSE) {
        v.result = strict.result;
        v.rule = strict.rule;
        memcpy(v.reason, strict.reason, sizeof v.reason);
    }
    return v;
}

/* The domain's own policy, in the mode that it asks for; an expired one is none (STS-065). */
static struct verdict
judge_policy(const struct requirement *req, const struct observation *obs, int64_t now_s,
             bool testing_blocks)
{
    switch (now_s < req->sts.expires_at_s ? req->sts.mode : STS_MODE_NONE) {
    case STS_MODE_NONE:
        return judge_opportunistic(req, obs);
    case STS_MODE_TESTING:
        return testing_blocks ? judge_sts(req, obs) : relax(judge_sts(req, obs), req, obs);
    case STS_MODE_ENFORCE:
        return judge_sts(req, obs);
    }
    return refuse(req, REPLY_POLICY_UNAVAILABLE, RESULT_VALIDATION_FAILURE, "bad mode", "-");
}

/* Everything that applies, in enforcing form: the mail may go only if all of it passes (STS-106).
 */
static struct verdict
judge_all(const struct requirement *req, const struct observation *obs, int64_t now_s,
          bool testing_blocks)
{
    struct verdict policy, local;

    if (req->null_mx)
        return refuse(req, REPLY_NULL_MX, RESULT_SUCCESS, "", "PRX-022 RFC 7505 4.1");
    if (req->defer)
        return refuse(req, REPLY_DNS_FAILURE, RESULT_SUCCESS, "", "STS-011 RFC 8461 3.3");
    policy = judge_policy(req, obs, now_s, testing_blocks);
    if (policy.action == VERDICT_REFUSE || req->local.action < RULE_FLOOR)
        return policy;
    local = judge_local(req, obs);
    if (local.action == VERDICT_ALLOW && policy.action != VERDICT_CLOSE) {
        policy.rule = policy.action == VERDICT_ALLOW && !policy.proven ? local.rule : policy.rule;
        policy.proven = policy.proven || local.proven;
        return policy;
    }
    return local;
}

/* Bypassed: the handshake, too, is made as without a policy. */
static struct verdict
bypass(struct verdict strict, const struct requirement *req, const struct observation *obs)
{
    if (strict.action != VERDICT_REFUSE && strict.action != VERDICT_ALLOW)
        return judge_opportunistic(req, obs);
    return relax(strict, req, obs);
}

/* Does anything keep this recipient's mail from being blocked, whoever demands what? An override,
 * or the roll-out that does not reach the domain yet (PRX-041, PRX-042). */
static bool
is_spared(const struct requirement *req)
{
    return req->monitored || req->local.action == RULE_BYPASS || req->local.action == RULE_MONITOR;
}

/* TLS, whoever answers (RFC 3207 6). */
static struct verdict
judge_tls(const struct requirement *req, const struct observation *obs, const char *rule)
{
    switch (obs->stage) {
    case TLS_STAGE_CLEAR:
        if (!obs->starttls_offered)
            break;
        if (would_fail_again(req, obs))
            return refuse(req, REPLY_TLS_REQUIRED, RESULT_VALIDATION_FAILURE, obs->failure_reason,
                          rule);
        return obs->bound ? reconnect(req, obs, "PRX-033")
                          : next_step(VERDICT_START_TLS, req, "PRX-029");
    case TLS_STAGE_REFUSED:
        if (obs->bound)
            return reconnect(req, obs, "PRX-033");
        break;
    case TLS_STAGE_FAILED:
        if (obs->floor > req->tls_floor || other_identity(req, obs))
            return reconnect(req, obs, "PRX-030");
        return refuse(req, REPLY_TLS_REQUIRED, RESULT_VALIDATION_FAILURE, obs->failure_reason,
                      rule);
    case TLS_STAGE_DONE:
        if (obs->version < req->tls_floor && obs->floor < req->tls_floor)
            return reconnect(req, obs, "TLS-020");
        return allow(rule, requirement_sni(req), false);
    }
    return refuse(req, REPLY_TLS_REQUIRED, RESULT_STARTTLS_NOT_SUPPORTED, obs->failure_reason,
                  rule);
}

/* Nothing forbids clear text, and TLS is broken: once more without (TLS-031, RFC 7435 3), unless
 * somebody was caught writing into the dialogue (TLS-008): he is not handed the mail. */
static struct verdict
go_on_in_clear(struct verdict v, const struct requirement *req, const struct demand *demand,
               const struct observation *obs)
{
    if (v.action != VERDICT_CLOSE || obs->bound || obs->failure == TLS_FAILURE_INJECTED)
        return v;
    if (demand->cleartext_fallback)
        return next_step(VERDICT_RECONNECT, req, "TLS-031 RFC 7435 3");
    return refuse(req, REPLY_TLS_REQUIRED, RESULT_VALIDATION_FAILURE, obs->failure_reason,
                  "TLS-031");
}

/* The domain has had its say; now what is demanded beside it (TLS-030). */
static struct verdict
add_demand(struct verdict v, const struct requirement *req, const struct demand *demand,
           const struct observation *obs, bool spared)
{
    struct verdict tls;

    if (v.action == VERDICT_REFUSE)
        return v;
    if (!demand->client_tls && (!demand->site_tls || spared))
        return go_on_in_clear(v, req, demand, obs);
    tls = judge_tls(req, obs, demand->client_tls ? "TLS-030 PRX-039" : "TLS-011 TLS-030");
    return tls.action == VERDICT_ALLOW ? v : tls;
}

uint16_t
judge_floor(const struct requirement *req, const struct demand *demand)
{
    if (demand->site_tls && !is_spared(req) && demand->floor > req->tls_floor)
        return demand->floor;
    return req->tls_floor;
}

struct verdict
judge(const struct requirement *domain, const struct demand *demand, const struct observation *obs,
      int64_t now_s)
{
    struct requirement with_floor =
        *domain; /* what the lists and texts it points to are the same */
    const struct requirement *req = &with_floor;
    struct verdict would, strict, v;

    with_floor.tls_floor = judge_floor(domain, demand);
    would = add_demand(judge_all(req, obs, now_s, true), req, demand, obs, false);
    v = strict = judge_all(req, obs, now_s, false);
    if (req->local.action == RULE_BYPASS)
        v = bypass(strict, req, obs);
    else if (is_spared(req))
        v = relax(strict, req, obs);
    v = add_demand(v, req, demand, obs, is_spared(req));
    v.would = would.action;
    v.would_reply = would.reply;
    return v;
}
