#include "proxy/judge_impl.h"

#include <stdio.h>

const char *
judge_blamed(const struct requirement *req)
{
    return req->names.count ? req->names.names[0] : "";
}

struct verdict
judge_allow(const char *rule, const char *mx, bool proven)
{
    return (struct verdict){
        .action = VERDICT_ALLOW, .rule = rule, .mx = mx, .proven = proven, .detail = ""
    };
}

struct verdict
judge_next_step(enum verdict_action action, const struct requirement *req, const char *rule)
{
    return (
        struct verdict){ .action = action, .rule = rule, .mx = judge_blamed(req), .detail = "" };
}

struct verdict
judge_refuse(const struct requirement *req, enum reply_row reply, enum result_type result,
             const char *reason, const char *rule)
{
    struct verdict v = { .action = VERDICT_REFUSE,
                         .reply = reply,
                         .result = result,
                         .rule = rule,
                         .mx = judge_blamed(req),
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
bool
judge_is_listed(const struct name_list *patterns, const char *name)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (hostname_matches(span_of(patterns->names[i]), span_of(name)))
            return true;
    return patterns->count == 0;
}

/* Candidates are ordered with those that match the policy first (PRX-017). */
bool
judge_any_candidate_listed(const struct requirement *req, const struct name_list *patterns)
{
    for (size_t i = 0; i < req->names.count; i++)
        if (judge_is_listed(patterns, req->names.names[i]))
            return true;
    return false;
}

/* The first candidate that is listed and that the certificate names; NULL: none. */
const char *
judge_named_candidate(const struct requirement *req, const struct observation *obs,
                      const struct name_list *patterns)
{
    for (size_t i = 0; i < req->names.count; i++) {
        const char *name = req->names.names[i];

        if (judge_is_listed(patterns, name) && certificate_names(obs, name))
            return name;
    }
    return NULL;
}

/* Was the handshake made for another name, or held against other roots, than this recipient wants?
 */
bool
judge_other_identity(const struct requirement *req, const struct observation *obs)
{
    return strcmp(obs->sni, requirement_sni(req)) != 0 || obs->trust != req->local.trust;
}

/* The chain that was kept with a ticket may be older than the server's, and some servers choke on
 * one. */
bool
judge_rests_on_ticket(const struct observation *obs)
{
    if (obs->stage == TLS_STAGE_DONE)
        return obs->resumed;
    return obs->stage == TLS_STAGE_FAILED && obs->ticket_offered &&
           (obs->failure == TLS_FAILURE_HANDSHAKE || obs->failure == TLS_FAILURE_VERSION);
}

bool
judge_may_do_better(const struct requirement *req, const struct observation *obs)
{
    return obs->floor > req->tls_floor || judge_other_identity(req, obs) ||
           judge_rests_on_ticket(obs);
}

bool
judge_may_show_another(const struct requirement *req, const struct observation *obs)
{
    return judge_other_identity(req, obs) || judge_rests_on_ticket(obs);
}

/* This connection is there to go on in clear (TLS-031): the handshake of the one before it failed
 * in this transaction, and another one for this recipient would be the same. */
bool
judge_would_fail_again(const struct requirement *req, const struct observation *obs)
{
    return obs->stage == TLS_STAGE_CLEAR && obs->failure != TLS_FAILURE_NONE &&
           obs->floor <= req->tls_floor && !judge_other_identity(req, obs);
}

/* Another connection is wanted; impossible while the transaction holds this one (PRX-031, PRX-033).
 */
struct verdict
judge_reconnect(const struct requirement *req, const struct observation *obs, const char *rule)
{
    if (obs->bound)
        return judge_refuse(req, REPLY_OTHER_IDENTITY, RESULT_SUCCESS, "", "PRX-033");
    return judge_next_step(VERDICT_RECONNECT, req, rule);
}

struct verdict
judge_refuse_chain(const struct requirement *req, const struct observation *obs,
                   enum reply_row reply, const char *rule)
{
    struct verdict v = judge_refuse(req, reply,
                                    obs->chain == CHAIN_EXPIRED ? RESULT_CERTIFICATE_EXPIRED
                                                                : RESULT_CERTIFICATE_NOT_TRUSTED,
                                    obs->chain_error, rule);

    v.detail = obs->chain_reason;
    return v;
}
