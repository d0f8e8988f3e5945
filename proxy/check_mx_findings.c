/* proxy/check_mx_findings.c: the connections to the MX hosts (proxy/check_findings.h). */
#include "proxy/check_findings.h"
#include "proxy/check_report.h"

#include <stdio.h>

#define CHAIN_MEND                                                                                 \
    "install a certificate of a public CA with the intermediate certificates, and renew it in "    \
    "time"
#define NAME_MEND                                                                                  \
    "install a certificate that has the MX host's name among its subject alternative names"
#define STARTTLS_MEND "offer STARTTLS on this host, and answer it with 220"
#define VERSION_MEND "offer TLS 1.2 and TLS 1.3 on this host"
#define TLSA_MEND                                                                                  \
    "publish TLSA records of the key that is in use, the next one's before a change, and the old " \
    "one's until its TTL is over"

/* By the reply that a sender would get. */
static const struct row {
    enum reply_row reply;
    const char *code, *text, *mend;
} rows[] = {
    { REPLY_STS_MX_MISMATCH, "mx-mismatch", "the MX host is none of the policy's",
      "add an mx line for the host to the policy, then change the id of the TXT record" },
    { REPLY_STS_STARTTLS_MISSING, "starttls-missing",
      "the policy demands TLS, and STARTTLS is not offered or does not work", STARTTLS_MEND },
    { REPLY_STS_TLS_VERSION, "tls-version", "the TLS version is too old for the policy",
      VERSION_MEND },
    { REPLY_STS_CERTIFICATE, "certificate", "the policy demands a valid certificate", CHAIN_MEND },
    { REPLY_STS_NAME_MISMATCH, "certificate-name",
      "the certificate has no name that the policy permits", NAME_MEND },
    { REPLY_DANE_STARTTLS, "starttls-missing",
      "TLSA records demand TLS, and STARTTLS is not offered or does not work", STARTTLS_MEND },
    { REPLY_DANE_DNSSEC, "dnssec-invalid", "what DANE demands cannot be known: DNSSEC fails",
      "mend the zone's signatures, or its name servers' answers for TLSA records" },
    { REPLY_DANE_INVALID, "tlsa-mismatch", "no TLSA record matches the certificate", TLSA_MEND },
    { REPLY_DANE_EXPIRED, "certificate-expired", "the chain to the TLSA record has expired",
      CHAIN_MEND },
    { REPLY_DANE_MISNAMED, "certificate-name",
      "the certificate below the TLSA record has another name", NAME_MEND },
    { REPLY_DANE_REQUIRED, "dane-required", "the gateway's operator demands DANE here",
      "sign the zones of the domain and of its MX host, and publish TLSA records" },
    { REPLY_DNS_FAILURE, "dns-failure", "a look-up that matters fails",
      "see to it that every name server of the zone answers" },
    { REPLY_POLICY_UNAVAILABLE, "not-known", "what the domain demands was not to be had in time",
      "check again; if it stays so, the domain's name servers or policy host answer too slowly" },
    { REPLY_TLS_REQUIRED, "tls-required", "the gateway demands TLS here, and there is none",
      STARTTLS_MEND },
    { REPLY_IDENTITY_REQUIRED, "identity-required",
      "the gateway's operator demands an identity that is not proven", NAME_MEND },
    { REPLY_NULL_MX, "null-mx", "the domain takes no mail (RFC 7505)", "" },
};

static const struct row *
find_row(enum reply_row reply)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].reply == reply)
            return &rows[i];
    return NULL;
}

/* "192.0.2.1 port 25 (mx.example.com)". */
static void
name_connection(const struct check_report *report, const struct probe_result *c,
                char out[CHECK_TEXT_MAX])
{
    char ip[IP_ADDR_TEXT_MAX], hosts[CHECK_TEXT_MAX];

    check_report_hosts(report, &c->destination, hosts);
    snprintf(out, CHECK_TEXT_MAX, "%s port %u (%.180s)", ip_addr_text(&c->destination, ip),
             (unsigned)c->port, hosts);
}

static void
find_unjudged(struct check_report *report, const struct probe_result *c, const char *name)
{
    if (c->end == PROBE_UNREACHABLE)
        check_report_find(report, CHECK_WARNING, "mx-unreachable", span_of(name),
                          "open the port, or take the address out of DNS; a sender tries the next",
                          "no connection to it");
    else if (c->end == PROBE_FORBIDDEN)
        check_report_find(report, CHECK_ERROR, "mx-address", span_of(name),
                          "publish addresses that can be reached from everywhere",
                          "the gateway dials no such address: %s", c->forbidden);
    else
        check_report_find(report, CHECK_WARNING, "mx-ended", span_of(name),
                          "let other hosts say EHLO, STARTTLS and QUIT",
                          "the conversation ended before there was a verdict: %s", c->reply);
}

/* Why it is let through all the same. */
static const char *
reprieve(const struct probe_result *c)
{
    if (c->req && c->req->local.action != RULE_NONE)
        return "let through by an override";
    if (c->req && c->req->monitored)
        return "let through, as the roll-out does not reach the domain";
    return "let through, as the policy is in testing";
}

/* Would another way of judging refuse it? The one that applied may have. */
static void
find_refusal(struct check_report *report, const struct probe_result *c, const char *name)
{
    bool refused = c->verdict.action != VERDICT_ALLOW;
    const struct row *row = find_row(refused ? c->verdict.reply : c->verdict.would_reply);
    const char *why = *c->verdict.reason ? c->verdict.reason : c->verdict.detail;

    if (!refused && c->verdict.would == VERDICT_ALLOW)
        return;
    check_report_find(report, refused ? CHECK_ERROR : CHECK_WARNING, row ? row->code : "refused",
                      span_of(name), row ? row->mend : "", "%s%s%s%s%s",
                      row ? row->text : "the gateway refuses it", *why ? ": " : "", why,
                      refused ? "" : "; ", refused ? "" : reprieve(c));
}

/* What is passed over because nothing demands it, and would count as soon as something did. */
static void
find_weakness(struct check_report *report, const struct probe_result *c, const char *name)
{
    const struct observation *obs = c->obs;

    if (c->verdict.action != VERDICT_ALLOW || c->verdict.would != VERDICT_ALLOW ||
        c->verdict.proven)
        return;
    if (obs->stage != TLS_STAGE_DONE)
        check_report_find(report, CHECK_WARNING, "no-tls", span_of(name), STARTTLS_MEND,
                          "mail goes in clear: %s",
                          !obs->starttls_offered            ? "STARTTLS is not offered"
                          : obs->stage == TLS_STAGE_REFUSED ? "STARTTLS is refused"
                                                            : obs->failure_reason);
    else if (obs->version < TLS_VERSION_1_2)
        check_report_find(report, CHECK_WARNING, "tls-version", span_of(name), VERSION_MEND,
                          "%s is out of date", tls_version_name(obs->version));
    else if (obs->chain != CHAIN_GOOD && c->dane.match != DANE_MATCHED)
        check_report_find(report, CHECK_NOTE, "certificate-unproven", span_of(name), CHAIN_MEND,
                          "the certificate would not stand under a policy: %s", obs->chain_reason);
}

void
check_find_in_connections(struct check_report *report)
{
    for (size_t i = 0; i < report->connection_count; i++) {
        const struct probe_result *c = &report->connections[i];
        char name[CHECK_TEXT_MAX];

        name_connection(report, c, name);
        if (c->end != PROBE_JUDGED) {
            find_unjudged(report, c, name);
            continue;
        }
        find_refusal(report, c, name);
        find_weakness(report, c, name);
    }
    if (report->cut)
        check_report_find(report, CHECK_WARNING, "mx-many", span_of(report->domain), "",
                          "there are more than %u addresses; the first ones were tried",
                          CHECK_CONNECTIONS_MAX);
    if (report->broken)
        check_report_find(report, CHECK_ERROR, "check-broken", span_of(report->domain),
                          "check again; if it stays so, read what stsgate-policy wrote",
                          "the look-ups did not come to an end");
}
