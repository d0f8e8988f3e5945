#include "proxy/judge.h"

#include <stdio.h>

#define STS_TLS_MINIMUM TLS_VERSION_1_2 /* RFC 8461 7.2 with RFC 8996: STS-090 */

static struct verdict
allow(const char *rule, const char *mx, bool proven)
{
    return (struct verdict){ .action = VERDICT_ALLOW, .rule = rule, .mx = mx, .proven = proven };
}

static struct verdict
next_step(enum verdict_action action, const struct requirement *req, const char *rule)
{
    return (struct verdict){ .action = action, .rule = rule, .mx = requirement_sni(req) };
}

static struct verdict
refuse(const struct requirement *req, enum reply_row reply, enum result_type result,
       const char *reason, const char *rule)
{
    struct verdict v = { .action = VERDICT_REFUSE,
                         .reply = reply,
                         .result = result,
                         .rule = rule,
                         .mx = requirement_sni(req) };

    snprintf(v.reason, sizeof v.reason, "%s", reason);
    return v;
}

/* Does one of the leaf's dNSNames stand for name? The subject's CN never counts (STS-087, TLS-042). */
static bool
certificate_names(const struct observation *obs, const char *name)
{
    for (size_t i = 0; i < obs->sans.count; i++)
        if (hostname_matches(span_of(obs->sans.names[i]), span_of(name)))
            return true;
    return false;
}

static bool
policy_lists(const struct requirement *req, const char *name)
{
    for (size_t i = 0; i < req->sts.mx.count; i++)
        if (hostname_matches(span_of(req->sts.mx.names[i]), span_of(name)))
            return true;
    return false;
}

/* Candidates are ordered with those that match the policy first (PRX-017). */
static bool
any_candidate_listed(const struct requirement *req)
{
    for (size_t i = 0; i < req->names.count; i++)
        if (policy_lists(req, req->names.names[i]))
            return true;
    return false;
}

/* The first candidate that the certificate names, and the policy too where one applies; NULL: none. */
static const char *
named_candidate(const struct requirement *req, const struct observation *obs, bool must_be_listed)
{
    for (size_t i = 0; i < req->names.count; i++) {
        const char *name = req->names.names[i];

        if ((!must_be_listed || policy_lists(req, name)) && certificate_names(obs, name))
            return name;
    }
    return NULL;
}

/* Was the handshake made for another name, or with a higher floor, than this recipient wants? */
static bool
other_identity(const struct requirement *req, const struct observation *obs)
{
    return strcmp(obs->sni, requirement_sni(req)) != 0;
}

/* Another connection is wanted; impossible while the transaction holds this one (PRX-031, PRX-033). */
static struct verdict
reconnect(const struct requirement *req, const struct observation *obs, const char *rule)
{
    if (obs->bound)
        return refuse(req, REPLY_OTHER_IDENTITY, RESULT_SUCCESS, "", "PRX-033");
    return next_step(VERDICT_RECONNECT, req, rule);
}

/* A domain without a policy: TLS if it can be had, no demand on the certificate (PRX-050, RFC 7435). */
static struct verdict
judge_opportunistic(const struct requirement *req, const struct observation *obs)
{
    struct verdict v;
    const char *name;

    switch (obs->stage) {
    case TLS_STAGE_CLEAR:
        if (obs->starttls_offered && !obs->bound)
            return next_step(VERDICT_START_TLS, req, "PRX-029");
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
        name = named_candidate(req, obs, false);
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

/* Under TLS: RFC 8461 4.1 and 4.2 on the certificate that was presented. */
static struct verdict
judge_sts_certificate(const struct requirement *req, const struct observation *obs)
{
    const char *name = named_candidate(req, obs, true);
    bool new_enough = obs->version >= STS_TLS_MINIMUM && obs->version >= req->tls_floor;

    if (name && obs->chain == CHAIN_GOOD && new_enough)
        return allow("STS-087 RFC 8461 4.2", name, true);
    /* Made for another name, it may have shown another certificate: no refusal rests on it. */
    if (other_identity(req, obs))
        return reconnect(req, obs, "PRX-030 RFC 8461 7.1");
    if (!new_enough)
        return refuse(req, REPLY_STS_TLS_VERSION, RESULT_VALIDATION_FAILURE,
                      "tls-version-too-low", "STS-090 RFC 8461 7.2");
    if (obs->chain == CHAIN_EXPIRED)
        return refuse(req, REPLY_STS_CERTIFICATE, RESULT_CERTIFICATE_EXPIRED, obs->chain_error,
                      "STS-086 RFC 8461 4.2");
    if (obs->chain != CHAIN_GOOD)
        return refuse(req, REPLY_STS_CERTIFICATE, RESULT_CERTIFICATE_NOT_TRUSTED, obs->chain_error,
                      "STS-085 RFC 8461 4.2");
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
    if (req->matched != MX_MATCH_CERTIFICATE && !any_candidate_listed(req))
        return refuse(req, REPLY_STS_MX_MISMATCH, RESULT_VALIDATION_FAILURE, "sts-mx-mismatch",
                      "STS-080 RFC 8461 4.1");
    switch (obs->stage) {
    case TLS_STAGE_CLEAR:
        if (!obs->starttls_offered)
            return refuse(req, REPLY_STS_STARTTLS_MISSING, RESULT_STARTTLS_NOT_SUPPORTED, "",
                          "STS-084 RFC 8461 4");
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

/* Mode testing: the mail goes as without policy, the failure is counted (STS-101, RFC 8461 5). One
 * that another identity might have cured, but for the open transaction, is not (PRX-033). */
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

struct verdict
judge(const struct requirement *req, const struct observation *obs, int64_t now_s)
{
    bool applies = now_s < req->sts.expires_at_s; /* an expired policy is none (STS-065) */

    switch (applies ? req->sts.mode : STS_MODE_NONE) {
    case STS_MODE_NONE:
        return judge_opportunistic(req, obs);
    case STS_MODE_TESTING:
        return relax(judge_sts(req, obs), req, obs);
    case STS_MODE_ENFORCE:
        return judge_sts(req, obs);
    }
    return refuse(req, REPLY_POLICY_UNAVAILABLE, RESULT_VALIDATION_FAILURE, "bad mode", "-");
}
