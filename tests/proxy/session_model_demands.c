#include "tests/proxy/session_model_impl.h"

#include <stdio.h>
#include <strings.h>

#include "proxy/judge.h"

/* Does nothing relax what is demanded for the domain? */
static bool
is_strict(const struct requirement *req)
{
    return !req->monitored && req->local.action != RULE_MONITOR && req->local.action != RULE_BYPASS;
}

/* The same for TLSA records, which a bypass leaves alone (TC-PREC-09). */
static bool
dane_holds(const struct requirement *req)
{
    return !req->monitored && req->local.action != RULE_MONITOR;
}

/* A policy in force, by a reading of RFC 8461 of its own. */
static bool
enforces(const struct requirement *req, int64_t now_s)
{
    return req->sts.mode == STS_MODE_ENFORCE && now_s < req->sts.expires_at_s && is_strict(req);
}

/* Whatever is quoted of it. */
bool
session_model_is(struct span local, const char *meant)
{
    for (size_t i = 0; i < local.len; i++) {
        if (local.ptr[i] == '"')
            continue;
        i += local.ptr[i] == '\\' && i + 1 < local.len;
        if (local.ptr[i] != *meant++)
            return false;
    }
    return *meant == '\0';
}

/* Is it the address that the world's domains have their reports sent to, if any, and the sender one
 * of reports (RPT-080)? */
static bool
is_report(const struct session_model *m, const struct requirement *req, struct span local,
          struct span domain)
{
    char address[HOSTNAME_MAX + 3];

    if (!m->reports || req->report_to.count == 0 || !session_model_is(local, "u"))
        return false;
    snprintf(address, sizeof address, "u@%.*s", (int)domain.len, domain.ptr);
    return strcasecmp(address, req->report_to.names[0]) == 0;
}

static bool
wants_tls(const struct session_model *m, const struct requirement *req)
{
    if (m->w->client_tls == CLIENT_TLS) /* whoever relaxes what: not on in clear (TLS-030) */
        return true;
    return is_strict(req) && (m->w->config.tls_required || req->local.action == RULE_REQUIRE ||
                              req->local.action == RULE_VERIFY);
}

/* Is the MX's key the one that the domain's TLSA record is about? */
static bool
has_key(const struct session_model *m, const struct requirement *req)
{
    return m->w->key == (char)req->dane.hosts[0].records[0].data[0];
}

static bool
names_one_of(const struct observation *obs, const struct name_list *patterns)
{
    for (size_t i = 0; i < obs->sans.count; i++)
        for (size_t k = 0; k < patterns->count; k++)
            if (hostname_matches(span_of(patterns->names[k]), span_of(obs->sans.names[i])) ||
                hostname_matches(span_of(obs->sans.names[i]), span_of(patterns->names[k])))
                return true;
    return false;
}

/* What the connection has proved, with what that is worth against the domain's own records: the
 * session's observation is about those of whoever was judged last. */
static struct observation
proved_to(const struct session_model *m, const struct requirement *req)
{
    struct observation obs = *session_observation(m->w->session);

    if (m->w->leg == LEG_TLS && req->dane.host_count)
        obs.dane = (struct dane_facts){ .key = requirement_dane_key(req),
                                        .match = has_key(m, req) ? DANE_MATCHED : DANE_NO_MATCH,
                                        .usage = TLSA_DANE_EE };
    return obs;
}

/* Is the MX one of these by its certificate, whoever vouches for that? No list: any that it may be.
 */
static bool
is_proven(const struct session_model *m, const struct requirement *req,
          const struct observation *obs, const struct name_list *among)
{
    if (req->dane.state == DANE_SECURE && has_key(m, req))
        return true;
    return obs->chain == CHAIN_GOOD && names_one_of(obs, &req->names) &&
           (!among || names_one_of(obs, among));
}

/* What RFC 8689 4.2.1 asks of the next hop. */
static bool
keeps_requiretls(const struct session_model *m, const struct requirement *req,
                 const struct observation *obs, int64_t now_s)
{
    bool secure_name = req->dane.mx_secure || req->matched == MX_MATCH_TABLE;
    bool listed_name = req->sts.mode != STS_MODE_NONE && now_s < req->sts.expires_at_s;

    return m->w->leg == LEG_TLS && (secure_name || listed_name) &&
           is_proven(m, req, obs, secure_name ? NULL : &req->sts.mx) &&
           (m->offers.requiretls || m->null_sender);
}

/* What holds for mail like any other. */
static bool
demands_are_met(const struct session_model *m, const struct requirement *req,
                const struct observation *obs, int64_t now_s)
{
    bool under_tls = m->w->leg == LEG_TLS;

    if (enforces(req, now_s) &&
        (!under_tls || obs->chain != CHAIN_GOOD || !names_one_of(obs, &req->sts.mx)))
        return false;
    if (wants_tls(m, req) && !under_tls)
        return false;
    if (dane_holds(req) && req->dane.state == DANE_FAILED) /* RFC 7672 2.1.2 */
        return false;
    if (dane_holds(req) && req->dane.state == DANE_SECURE && (!under_tls || !has_key(m, req)))
        return false;
    /* In clear past STARTTLS, which is to be had: only behind TLS that broke, and where the site
     * permits that (TLS-031). */
    return under_tls || !m->offers.starttls || m->tried_here ||
           (m->tried && m->w->config.cleartext_fallback);
}

static bool
permits(const struct session_model *m, const struct requirement *req, bool report)
{
    const struct config *config = &m->w->config;
    const struct demand demand = { .site_tls = config->tls_required,
                                   .client_tls = m->w->client_tls == CLIENT_TLS,
                                   .requiretls = m->requiretls,
                                   .null_sender = m->requiretls && m->null_sender,
                                   .cleartext_fallback = config->cleartext_fallback,
                                   .floor = config->tls_minimum,
                                   .report_mail = report,
                                   .report_floor = config->tls_opportunistic_minimum };
    const struct observation obs = proved_to(m, req);
    int64_t now_s = WORLD_START_S + m->w->now_ms / 1000;

    if (report ? m->w->client_tls == CLIENT_TLS && m->w->leg != LEG_TLS
               : !demands_are_met(m, req, &obs, now_s))
        return false;
    if (m->requiretls && !keeps_requiretls(m, req, &obs, now_s))
        return false;
    return judge(req, &demand, &obs, now_s).action == VERDICT_ALLOW;
}

/* Does the site refuse nobody for a domain's sake, whatever is known of it (PRX-041)? */
static bool
is_monitoring(const struct session_model *m)
{
    return m->w->config.rules.rollout.mode == ROLLOUT_MONITOR;
}

/* May it go in clear what nobody demands TLS for? What can be had under TLS does not (PRX-050), and
 * after TLS that broke only where the site permits that (TLS-031). */
static bool
clear_may_go(const struct session_model *m)
{
    if ((m->w->config.tls_required && !is_monitoring(m)) || m->w->client_tls == CLIENT_TLS)
        return false;
    return !m->offers.starttls || m->tried_here || (m->tried && m->w->config.cleartext_fallback);
}

/* May mail for the address go to the MX as the connection is now? Any answer counts that there was.
 */
bool
session_model_may_go(const struct session_model *m, struct span local, struct span domain)
{
    bool has_demands = false, monitored = is_monitoring(m) && !m->requiretls;

    if (monitored && (m->w->leg == LEG_TLS || clear_may_go(m)))
        return true;
    for (size_t i = 0; i < m->w->answer_count; i++) {
        const struct world_answer *answer = &m->w->answers[i];
        bool report;

        if (!span_equal_nocase(domain, span_of(answer->domain)) || !answer->req)
            continue;
        has_demands = true;
        report = is_report(m, answer->req, local, domain);
        if ((report || !monitored) && permits(m, answer->req, report))
            return true;
    }
    return !has_demands && !m->requiretls && (m->w->leg == LEG_TLS || clear_may_go(m));
}

bool
session_model_may_auth(const struct session_model *m)
{
    const struct world *w = m->w;
    const struct observation *obs = session_observation(w->session);

    if (w->config.rules.smart_host_count == 0 || w->leg != LEG_TLS ||
        (w->client_tls != CLIENT_TLS && w->smart_host.auth_clients.count == 0))
        return false;
    for (size_t i = 0; i < w->answer_count; i++)
        if (strcmp(w->answers[i].domain, w->smart_host.name) == 0 && w->answers[i].req &&
            is_proven(m, w->answers[i].req, obs, NULL))
            return true;
    return false;
}
