#include "proxy/judge_impl.h"

#include <stdio.h>

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

/* The domain's MTA-STS policy, in the mode that it asks for; an expired one is none (STS-065). */
static enum sts_mode
mode_at(const struct requirement *req, int64_t now_s)
{
    return now_s < req->sts.expires_at_s ? req->sts.mode : STS_MODE_NONE;
}

static struct verdict
judge_policy(const struct requirement *req, const struct observation *obs, int64_t now_s,
             bool testing_blocks)
{
    if (req->defer)
        return judge_refuse(req, REPLY_DNS_FAILURE, RESULT_SUCCESS, "", "STS-011 RFC 8461 3.3");
    switch (mode_at(req, now_s)) {
    case STS_MODE_NONE:
        return judge_opportunistic(req, obs);
    case STS_MODE_TESTING:
        return testing_blocks ? judge_sts(req, obs) : relax(judge_sts(req, obs), req, obs);
    case STS_MODE_ENFORCE:
        return judge_sts(req, obs);
    }
    return judge_refuse(req, REPLY_POLICY_UNAVAILABLE, RESULT_VALIDATION_FAILURE, "bad mode", "-");
}

/* Where the operator ranks DANE higher, its match makes up for a certificate that MTA-STS refuses,
 * but not for an MX host that the policy does not list, nor for an old version (STS-107). */
static bool
makes_up(const struct verdict *dane, const struct verdict *sts, const struct requirement *req)
{
    bool about_certificate = sts->reply == REPLY_STS_CERTIFICATE ||
                             sts->reply == REPLY_STS_NAME_MISMATCH ||
                             sts->action == VERDICT_RECONNECT || sts->reply == REPLY_OTHER_IDENTITY;

    return req->dane.suffices && dane->action == VERDICT_ALLOW && dane->result == RESULT_SUCCESS &&
           about_certificate && judge_is_listed(&req->sts.mx, dane->mx);
}

/* A step, or a refusal that says nothing of the MX, is no result. */
static struct policy_result
result_of(const struct verdict *v)
{
    struct policy_result r = { .judged =
                                   v->action == VERDICT_ALLOW ||
                                   (v->action == VERDICT_REFUSE && v->result != RESULT_SUCCESS) };

    if (r.judged) {
        r.result = v->result;
        memcpy(r.reason, v->reason, sizeof r.reason);
    }
    return r;
}

static void
add_results(struct verdict *v, const struct requirement *req, const struct observation *obs,
            int64_t now_s)
{
    if (judge_has_dane(req)) {
        struct verdict dane = judge_dane(req, obs);

        v->tlsa = result_of(&dane);
    }
    if (mode_at(req, now_s) != STS_MODE_NONE) {
        struct verdict sts = judge_sts(req, obs);

        v->sts = result_of(&sts);
    }
}

/* Both must pass. What refuses says why, the first one first; then what wants another connection;
 * and where both pass, the one that proved the host, or demanded anything at all, with what is to
 * be counted as a failure all the same. */
static struct verdict
both(struct verdict first, struct verdict second)
{
    const struct verdict *proof = first.proven ? &first : &second;
    const struct verdict *failure = first.result != RESULT_SUCCESS ? &first : &second;
    struct verdict v;

    if (first.action == VERDICT_REFUSE || second.action == VERDICT_REFUSE)
        return first.action == VERDICT_REFUSE ? first : second;
    if (first.action != VERDICT_ALLOW || second.action != VERDICT_ALLOW)
        return first.action != VERDICT_ALLOW ? first : second;
    v = first.proven || second.rule == judge_no_demand ? first : second;
    v.mx = proof->mx;
    v.proven = proof->proven;
    v.result = failure->result;
    memcpy(v.reason, failure->reason, sizeof v.reason);
    return v;
}

/* Everything that applies, in enforcing form (docs/requirements.md 0, step 9): DANE first, and no
 * pass of MTA-STS makes up for its failure (STS-106, RFC 8461 2); then the policy, which a match
 * does not switch off (STS-107); then the operator's own rules. */
static struct verdict
judge_all(const struct requirement *req, const struct observation *obs, int64_t now_s,
          bool testing_blocks)
{
    struct verdict v;

    if (req->null_mx)
        return judge_refuse(req, REPLY_NULL_MX, RESULT_SUCCESS, "", "PRX-022 RFC 7505 4.1");
    v = judge_policy(req, obs, now_s, testing_blocks);
    if (judge_has_dane(req)) {
        struct verdict dane = judge_dane(req, obs);

        v = makes_up(&dane, &v, req) ? dane : both(dane, v);
    }
    return both(v, judge_local(req, obs));
}

/* Bypassed is the domain's policy: the handshake, too, is made as without one. Its TLSA records are
 * another matter, which only "no-dane" and "monitor" let go (DANE-025, TC-PREC-09). */
static struct verdict
bypass(const struct requirement *req, const struct observation *obs, int64_t now_s)
{
    struct verdict v = judge_policy(req, obs, now_s, false);

    if (v.action != VERDICT_REFUSE && v.action != VERDICT_ALLOW)
        v = judge_opportunistic(req, obs);
    else
        v = relax(v, req, obs);
    return judge_has_dane(req) ? both(judge_dane(req, obs), v) : v;
}

/* Does anything keep this recipient's mail from being blocked, whoever demands what? An override,
 * or the roll-out that does not reach the domain yet (PRX-041, PRX-042). */
static bool
is_spared(const struct requirement *req)
{
    return req->monitored || req->local.action == RULE_BYPASS || req->local.action == RULE_MONITOR;
}

/* A TLS report is wanted where TLS is broken most of all: neither what the domain publishes holds
 * for it, nor what the site says beside; TLS is had if it can be (RFC 8460 3, 5.3). */
static struct verdict
judge_report_mail(const struct requirement *req, const struct observation *obs)
{
    struct verdict v;

    if (req->null_mx)
        return judge_refuse(req, REPLY_NULL_MX, RESULT_SUCCESS, "", "PRX-022 RFC 7505 4.1");
    v = judge_opportunistic(req, obs);
    if (v.action == VERDICT_ALLOW) { /* nothing of it is a failure to count */
        v.rule = "RPT-080 RFC 8460 3";
        v.result = RESULT_SUCCESS;
        v.reason[0] = '\0';
    }
    return v;
}

/* The connection is in clear since TLS broke: for a report's sake, perhaps, where other mail would
 * not have been let (RPT-080). */
static struct verdict
follow_in_clear(struct verdict v, const struct requirement *req, const struct demand *demand,
                const struct observation *obs)
{
    bool injected = obs->failure == TLS_FAILURE_INJECTED;

    if (obs->stage != TLS_STAGE_CLEAR || obs->failure == TLS_FAILURE_NONE || demand->report_mail ||
        (demand->cleartext_fallback && !injected))
        return v;
    return judge_refuse(req, REPLY_TLS_REQUIRED, RESULT_VALIDATION_FAILURE, obs->failure_reason,
                        injected ? "TLS-008 RFC 3207 6" : "TLS-031");
}

/* Nothing forbids clear text, and TLS is broken: once more without (TLS-031, RFC 7435 3), unless
 * somebody was caught writing into the dialogue (TLS-008): he is not handed the mail, unless it is
 * the report about him (RPT-080). */
static struct verdict
go_on_in_clear(struct verdict v, const struct requirement *req, const struct demand *demand,
               const struct observation *obs)
{
    if (v.action == VERDICT_ALLOW)
        return follow_in_clear(v, req, demand, obs);
    if (v.action != VERDICT_CLOSE || obs->bound)
        return v;
    if (demand->report_mail)
        return judge_next_step(VERDICT_RECONNECT, req, "RPT-080 RFC 8460 3");
    if (obs->failure == TLS_FAILURE_INJECTED)
        return v;
    if (demand->cleartext_fallback)
        return judge_next_step(VERDICT_RECONNECT, req, "TLS-031 RFC 7435 3");
    return judge_refuse(req, REPLY_TLS_REQUIRED, RESULT_VALIDATION_FAILURE, obs->failure_reason,
                        "TLS-031");
}

/* The domain has had its say; now what is demanded beside it (TLS-030). */
static struct verdict
add_demand(struct verdict v, const struct requirement *req, const struct demand *demand,
           const struct observation *obs, int64_t now_s, bool spared)
{
    struct verdict more;

    if (v.action == VERDICT_REFUSE)
        return v;
    if (demand->requiretls) /* a promise to the sender, whatever the site has in mind */
        more = judge_requiretls(req, demand, obs, now_s);
    else if (demand->client_tls || (demand->site_tls && !spared))
        more = judge_tls(req, obs, demand->client_tls ? "TLS-030 PRX-039" : "TLS-011 TLS-030");
    else
        return go_on_in_clear(v, req, demand, obs);
    return more.action == VERDICT_ALLOW ? v : more;
}

uint16_t
judge_floor(const struct requirement *req, const struct demand *demand)
{
    bool holds = demand->requiretls || (demand->site_tls && !is_spared(req));

    if (demand->report_mail && !demand->requiretls)
        return demand->report_floor;
    return holds && demand->floor > req->tls_floor ? demand->floor : req->tls_floor;
}

/* As if everything applied in enforcing form, to mail like any other. */
static struct verdict
judge_in_force(const struct requirement *domain, const struct demand *demand,
               const struct observation *obs, int64_t now_s)
{
    struct requirement req = *domain;
    struct demand all = *demand;

    all.report_mail = false;
    req.tls_floor = judge_floor(domain, &all);
    return add_demand(judge_all(&req, obs, now_s, true), &req, &all, obs, now_s, false);
}

struct verdict
judge(const struct requirement *domain, const struct demand *demand, const struct observation *obs,
      int64_t now_s)
{
    struct requirement with_floor =
        *domain; /* what the lists and texts it points to are the same */
    const struct requirement *req = &with_floor;
    bool spared = is_spared(domain) || demand->report_mail;
    struct verdict would, strict, v;

    with_floor.tls_floor = judge_floor(domain, demand);
    would = judge_in_force(domain, demand, obs, now_s);
    v = strict = judge_all(req, obs, now_s, false);
    if (demand->report_mail)
        v = judge_report_mail(req, obs);
    else if (req->local.action == RULE_BYPASS && !req->monitored)
        v = bypass(req, obs, now_s);
    else if (is_spared(req))
        v = relax(strict, req, obs);
    v = add_demand(v, req, demand, obs, now_s, spared);
    v.full_handshake = v.action == VERDICT_RECONNECT && judge_rests_on_ticket(obs) &&
                       strcmp(obs->sni, requirement_sni(req)) == 0;
    v.would = would.action;
    v.would_reply = would.reply;
    v.judged_at_s = now_s;
    v.bound = obs->bound;
    v.demand = *demand;
    add_results(&v, req, obs, now_s);
    return v;
}
