#include "proxy/judge_impl.h"

#include <stdio.h>

#define RULE "RTLS-003 RFC 8689 4.2.1"

static struct verdict
refuse(const struct requirement *req, enum reply_row reply, const char *reason)
{
    /* Nothing of this is the domain's doing, so nothing is counted against it. */
    return judge_refuse(req, reply, RESULT_SUCCESS, reason, RULE);
}

/* Among which names may the MX host be, without trusting an answer that anybody may have forged?
 * Any candidate where DNSSEC or the operator vouches for them, else those that MTA-STS lists. NULL:
 * none. */
static const struct name_list *
secured_names(const struct requirement *req, int64_t now_s)
{
    static const struct name_list any;

    if (req->dane.mx_secure || req->matched == MX_MATCH_TABLE)
        return &any;
    return req->sts.mode != STS_MODE_NONE && now_s < req->sts.expires_at_s ? &req->sts.mx : NULL;
}

/* "certificate MUST be verified", by either way (RFC 8689 4.2.1). */
static bool
is_proven(const struct requirement *req, const struct observation *obs,
          const struct name_list *names)
{
    struct verdict dane = judge_dane(req, obs);

    if (judge_has_dane(req) && dane.proven && judge_is_listed(names, dane.mx))
        return true;
    return obs->chain == CHAIN_GOOD && obs->trust == req->local.trust &&
           judge_named_candidate(req, obs, names);
}

struct verdict
judge_requiretls(const struct requirement *req, const struct demand *demand,
                 const struct observation *obs, int64_t now_s)
{
    const struct name_list *names = secured_names(req, now_s);
    struct verdict v = judge_tls(req, obs, RULE);

    if (v.action == VERDICT_REFUSE && v.reply == REPLY_TLS_REQUIRED)
        v.reply = REPLY_REQUIRETLS_UNMET;
    if (v.action != VERDICT_ALLOW)
        return v;
    if (!names)
        return refuse(req, REPLY_REQUIRETLS_UNMET, "mx-name-not-secure");
    if (!is_proven(req, obs, names)) {
        if (judge_may_show_another(req, obs))
            return judge_reconnect(req, obs, "PRX-030");
        return refuse(req, REPLY_REQUIRETLS_UNMET, "certificate-not-verified");
    }
    if (!obs->requiretls_offered && !demand->null_sender)
        return refuse(req, REPLY_REQUIRETLS_MISSING, "requiretls-not-offered");
    return v;
}
