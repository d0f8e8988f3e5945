#include "proxy/judge_impl.h"

#define STS_TLS_MINIMUM TLS_VERSION_1_2 /* RFC 8461 7.2 with RFC 8996: STS-090 */

/* The handshake failed: RFC 8461 4, "STARTTLS", and 7.2 for the version. */
static struct verdict
judge_sts_failed(const struct requirement *req, const struct observation *obs)
{
    if (judge_may_do_better(req, obs))
        return judge_reconnect(req, obs, "PRX-030");
    switch (obs->failure) {
    case TLS_FAILURE_VERSION:
        return judge_refuse(req, REPLY_STS_TLS_VERSION, RESULT_VALIDATION_FAILURE,
                            obs->failure_reason, "STS-090 RFC 8461 7.2");
    case TLS_FAILURE_INJECTED:
        return judge_refuse(req, REPLY_STS_STARTTLS_MISSING, RESULT_VALIDATION_FAILURE,
                            "plaintext-after-starttls", "TLS-008 RFC 3207 6");
    case TLS_FAILURE_NONE:
    case TLS_FAILURE_HANDSHAKE:
    case TLS_FAILURE_TIMEOUT:
        break;
    }
    return judge_refuse(req, REPLY_STS_STARTTLS_MISSING, RESULT_VALIDATION_FAILURE,
                        obs->failure_reason, "STS-084 RFC 8461 4");
}

/* Under TLS: RFC 8461 4.1 and 4.2 on the certificate that was presented. */
static struct verdict
judge_sts_certificate(const struct requirement *req, const struct observation *obs)
{
    const char *name = judge_named_candidate(req, obs, &req->sts.mx);
    bool new_enough = obs->version >= STS_TLS_MINIMUM && obs->version >= req->tls_floor;

    if (name && obs->chain == CHAIN_GOOD && new_enough && obs->trust == req->local.trust)
        return judge_allow("STS-087 RFC 8461 4.2", name, true);
    /* Made for another name, or resumed, it may have shown another certificate: no refusal rests on
     * it. */
    if (judge_may_show_another(req, obs))
        return judge_reconnect(req, obs, "PRX-030 RFC 8461 7.1");
    if (!new_enough)
        return judge_refuse(req, REPLY_STS_TLS_VERSION, RESULT_VALIDATION_FAILURE,
                            "tls-version-too-low", "STS-090 RFC 8461 7.2");
    if (obs->chain != CHAIN_GOOD)
        return judge_refuse_chain(req, obs, REPLY_STS_CERTIFICATE,
                                  obs->chain == CHAIN_EXPIRED ? "STS-086 RFC 8461 4.2"
                                                              : "STS-085 RFC 8461 4.2");
    if (req->matched == MX_MATCH_CERTIFICATE && req->mx_lookup_failed)
        return judge_refuse(req, REPLY_DNS_FAILURE, RESULT_CERTIFICATE_HOST_MISMATCH,
                            "mx-lookup-failed", "PRX-023 RFC 8461 5");
    if (req->matched == MX_MATCH_CERTIFICATE)
        return judge_refuse(req, REPLY_STS_MX_MISMATCH, RESULT_CERTIFICATE_HOST_MISMATCH,
                            "address-of-no-mx", "PRX-019 RFC 8461 4.1");
    return judge_refuse(req, REPLY_STS_NAME_MISMATCH, RESULT_CERTIFICATE_HOST_MISMATCH, "",
                        "STS-087 RFC 8461 4.2");
}

/* The policy taken at its word, as in mode enforce. Order of checks: RFC 8461 appendix B. */
struct verdict
judge_sts(const struct requirement *req, const struct observation *obs)
{
    /* With the address of no known MX the name question comes last (PRX-019). */
    if (req->matched != MX_MATCH_CERTIFICATE && !judge_any_candidate_listed(req, &req->sts.mx))
        return judge_refuse(req, REPLY_STS_MX_MISMATCH, RESULT_VALIDATION_FAILURE,
                            "sts-mx-mismatch", "STS-080 RFC 8461 4.1");
    switch (obs->stage) {
    case TLS_STAGE_CLEAR:
        if (!obs->starttls_offered)
            return judge_refuse(req, REPLY_STS_STARTTLS_MISSING, RESULT_STARTTLS_NOT_SUPPORTED, "",
                                "STS-084 RFC 8461 4");
        if (judge_would_fail_again(req, obs))
            return judge_sts_failed(req, obs);
        if (obs->bound)
            return judge_reconnect(req, obs, "PRX-033");
        return judge_next_step(VERDICT_START_TLS, req, "PRX-029");
    case TLS_STAGE_REFUSED:
        if (obs->bound)
            return judge_reconnect(req, obs, "PRX-033");
        return judge_refuse(req, REPLY_STS_STARTTLS_MISSING, RESULT_STARTTLS_NOT_SUPPORTED,
                            obs->failure_reason, "TLS-005 RFC 8461 4");
    case TLS_STAGE_FAILED:
        return judge_sts_failed(req, obs);
    case TLS_STAGE_DONE:
        return judge_sts_certificate(req, obs);
    }
    return judge_refuse(req, REPLY_UPSTREAM_LOST, RESULT_VALIDATION_FAILURE, "bad stage", "-");
}
