#include "proxy/judge_impl.h"

#include <stdio.h>

bool
judge_has_dane(const struct requirement *req)
{
    return req->dane.state != DANE_NONE || req->dane.required;
}

/* What is known of the chain and these very records; of others nothing is taken over. */
static const struct dane_facts *
facts_for(const struct requirement *req, const struct observation *obs)
{
    static const struct dane_facts none;

    if (obs->stage != TLS_STAGE_DONE || obs->dane.host >= req->dane.host_count ||
        obs->dane.key != requirement_dane_key(req))
        return &none;
    return &obs->dane;
}

/* The host it is about: the one that came nearest to a match. */
static struct verdict
refuse_host(const struct requirement *req, const struct observation *obs, enum reply_row reply,
            enum result_type result, const char *reason, const char *rule)
{
    struct verdict v = judge_refuse(req, reply, result, reason, rule);

    if (req->dane.host_count)
        v.mx = req->dane.hosts[facts_for(req, obs)->host].mx;
    return v;
}

/* As far as numbers and lengths tell, before any handshake (DANE-026, DANE-033). */
static bool
any_record_usable(const struct requirement *req)
{
    for (size_t i = 0; i < req->dane.host_count; i++)
        for (size_t k = 0; k < req->dane.hosts[i].count; k++)
            if (tlsa_record_is_usable(&req->dane.hosts[i].records[k]))
                return true;
    return false;
}

static struct verdict
refuse_required(const struct requirement *req, const struct observation *obs)
{
    return refuse_host(req, obs, REPLY_DANE_REQUIRED, RESULT_DANE_REQUIRED, "",
                       "DANE-041 RFC 7672 6");
}

/* Made for another name, it may have shown another certificate: no refusal rests on it (PRX-030).
 * The web's roots do not matter here. */
static bool
other_sni(const struct requirement *req, const struct observation *obs)
{
    return strcmp(obs->sni, requirement_sni(req)) != 0;
}

/* No handshake, no mail: TLS is a must (RFC 7672 2.2). */
static struct verdict
judge_no_handshake(const struct requirement *req, const struct observation *obs)
{
    if (obs->floor > req->tls_floor || other_sni(req, obs) || judge_rests_on_ticket(obs))
        return judge_reconnect(req, obs, "PRX-030");
    if (obs->failure == TLS_FAILURE_INJECTED)
        return refuse_host(req, obs, REPLY_DANE_STARTTLS, RESULT_VALIDATION_FAILURE,
                           "plaintext-after-starttls", "TLS-008 RFC 3207 6");
    return refuse_host(req, obs, REPLY_DANE_STARTTLS, RESULT_VALIDATION_FAILURE,
                       obs->failure_reason, "DANE-022 RFC 7672 2.2");
}

/* Under TLS: the presented chain against the records (RFC 7672 3). */
static struct verdict
judge_match(const struct requirement *req, const struct observation *obs)
{
    const struct dane_facts *facts = facts_for(req, obs);
    struct verdict v;

    if (obs->version < req->tls_floor && judge_rests_on_ticket(obs))
        return judge_reconnect(req, obs, "TLS-026");
    if (obs->version < req->tls_floor)
        return refuse_host(req, obs, REPLY_DANE_STARTTLS, RESULT_VALIDATION_FAILURE,
                           "tls-version-too-low", "DANE-038 TLS-020");
    if (facts->match == DANE_MATCHED) /* whatever name the handshake was made for */
        return judge_allow(facts->usage == TLSA_DANE_EE ? "DANE-027 RFC 7672 3.1.1"
                                                        : "DANE-028 RFC 7672 3.1.2",
                           req->dane.hosts[facts->host].mx, req->dane.mx_secure);
    if (facts->match == DANE_UNUSABLE && req->dane.required)
        return refuse_required(req, obs);
    if (facts->match == DANE_UNUSABLE) {
        v = judge_allow("DANE-023 RFC 7672 2.2", req->dane.hosts[facts->host].mx, false);
        v.result = RESULT_TLSA_INVALID;
        snprintf(v.reason, sizeof v.reason, "all-TLSA-records-unusable");
        return v;
    }
    if (other_sni(req, obs) || judge_rests_on_ticket(obs))
        return judge_reconnect(req, obs, "PRX-030 RFC 7672 8.1");
    switch (facts->match) {
    case DANE_TA_MISNAMED:
        return refuse_host(req, obs, REPLY_DANE_MISNAMED, RESULT_CERTIFICATE_HOST_MISMATCH, "",
                           "DANE-028 RFC 7672 3.2.2");
    case DANE_TA_EXPIRED:
        return refuse_host(req, obs, REPLY_DANE_EXPIRED, RESULT_CERTIFICATE_EXPIRED, facts->error,
                           "DANE-028 RFC 7672 3.1.2");
    case DANE_TA_BROKEN:
        return refuse_host(req, obs, REPLY_DANE_INVALID, RESULT_CERTIFICATE_NOT_TRUSTED,
                           facts->error, "DANE-028 RFC 7672 3.1.2");
    case DANE_NO_MATCH:
        return refuse_host(req, obs, REPLY_DANE_INVALID, RESULT_TLSA_INVALID, facts->error,
                           "DANE-022 RFC 7672 2.2");
    case DANE_MATCHED:
    case DANE_UNUSABLE:
    case DANE_UNCHECKED:
        break;
    }
    return refuse_host(req, obs, REPLY_DANE_INVALID, RESULT_VALIDATION_FAILURE, "unchecked",
                       "DANE-022 RFC 7672 2.2");
}

struct verdict
judge_dane(const struct requirement *req, const struct observation *obs)
{
    if (req->dane.state == DANE_FAILED && req->dane.dnssec)
        return judge_refuse(req, REPLY_DANE_DNSSEC, RESULT_DNSSEC_INVALID, req->dane.reason,
                            "DANE-006 RFC 7672 2.1.2");
    if (req->dane.state == DANE_FAILED) /* nobody knows whether the domain is signed */
        return judge_refuse(req, REPLY_DNS_FAILURE, RESULT_SUCCESS, req->dane.reason,
                            "DANE-004 RFC 7672 2.1.2");
    if (req->dane.required && !any_record_usable(req))
        return refuse_required(req, obs);
    switch (obs->stage) {
    case TLS_STAGE_CLEAR:
        if (!obs->starttls_offered)
            break;
        if (judge_would_fail_again(req, obs))
            return judge_no_handshake(req, obs);
        return obs->bound ? judge_reconnect(req, obs, "PRX-033")
                          : judge_next_step(VERDICT_START_TLS, req, "PRX-029");
    case TLS_STAGE_REFUSED:
        if (obs->bound)
            return judge_reconnect(req, obs, "PRX-033");
        break;
    case TLS_STAGE_FAILED:
        return judge_no_handshake(req, obs);
    case TLS_STAGE_DONE:
        return judge_match(req, obs);
    }
    return refuse_host(req, obs, REPLY_DANE_STARTTLS, RESULT_STARTTLS_NOT_SUPPORTED,
                       obs->failure_reason, "DANE-025 RFC 7672 2.2");
}
