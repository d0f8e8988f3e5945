/* tests/proxy/test_judge_dane.c: DANE in the judgement, and its precedence over MTA-STS (DANE-022
 * ... DANE-027, DANE-041, DANE-045, STS-106, STS-107, TC-PREC), row by row; and over the whole
 * product of what both can say no promise is broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "proxy/judge.h"
#include "tests/proxy/rejudge_check.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define NOW_S 1700000000
#define REASON "tlsv1 alert handshake failure"

enum step { DONE, CLEAR, CLEAR_ONLY, REFUSED, BROKEN, INJECTED, AFTER_FAILURE, STEPS };
enum policy { NO_STS, ENFORCE, TESTING, POLICIES };
enum web { WEB_GOOD, WEB_UNTRUSTED, WEB_MISNAMED, WEBS };
enum dns { SECURE, BOGUS, DNS_DOWN, INSECURE, DNSS };

/* Zero is where all is well: a secure RRset that matches, no MTA-STS. */
struct facts {
    enum dns dns;
    enum dane_match match; /* DANE_UNCHECKED stands for DANE_MATCHED */
    enum step step;
    enum policy policy;
    enum web web;  /* what the same chain is worth to MTA-STS */
    bool unlisted; /* the policy lists another MX host */
    bool suffices, required, insecure_mx;
    bool other_sni;   /* the handshake was made for another name */
    bool other_facts; /* what is known is about other records */
    bool other_trust;
    bool unusable_numbers; /* all records, by their numbers */
    bool bound, monitored;
    bool resumed; /* the facts rest on an earlier TLS session */
    bool anchor;  /* the match is one of DANE-TA */
    enum rule_action rule;
    uint16_t version; /* 0: TLS 1.3 */
};

static const struct demand usual = { .cleartext_fallback = true, .floor = TLS_VERSION_1_2 };

static const struct judge_case {
    const char *name;
    struct facts facts;
    enum verdict_action action;
    enum reply_row reply;
    enum result_type result;
    const char *rule;   /* how it begins; NULL: any */
    const char *reason; /* NULL: any */
    enum result_type sts;
    bool sts_judged;
} cases[] = {
    { "DANE-027 a match of the leaf", .facts = { .match = DANE_MATCHED }, .action = VERDICT_ALLOW,
      .rule = "DANE-027" },
    { "DANE-028 a match of a trust anchor", .facts = { .anchor = true }, .action = VERDICT_ALLOW,
      .rule = "DANE-028" },
    { "DANE-027 the web's roots play no part", .facts = { .web = WEB_UNTRUSTED },
      .action = VERDICT_ALLOW, .rule = "DANE-027" },
    { "PRX-030 a match needs no SNI", .facts = { .other_sni = true, .bound = true },
      .action = VERDICT_ALLOW, .rule = "DANE-027" },
    { "DANE-022 STARTTLS first", .facts = { .step = CLEAR }, .action = VERDICT_START_TLS,
      .rule = "PRX-029" },
    { "DANE-024 no secure records: as without", .facts = { .dns = INSECURE, .web = WEB_UNTRUSTED },
      .action = VERDICT_ALLOW, .rule = "PRX-050" },
    { "DANE-024 no secure records: clear text", .facts = { .dns = INSECURE, .step = CLEAR_ONLY },
      .action = VERDICT_ALLOW, .result = RESULT_STARTTLS_NOT_SUPPORTED },

    { "TC-DANE-18 REP-030 DANE-025 no STARTTLS", .facts = { .step = CLEAR_ONLY },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_STARTTLS,
      .result = RESULT_STARTTLS_NOT_SUPPORTED, .rule = "DANE-025", .reason = "" },
    { "TC-DANE-18 REP-030 STARTTLS refused", .facts = { .step = REFUSED }, .action = VERDICT_REFUSE,
      .reply = REPLY_DANE_STARTTLS, .result = RESULT_STARTTLS_NOT_SUPPORTED, .rule = "DANE-025",
      .reason = "454 4.7.0 not now" },
    { "REP-030 handshake failed", .facts = { .step = BROKEN }, .action = VERDICT_REFUSE,
      .reply = REPLY_DANE_STARTTLS, .result = RESULT_VALIDATION_FAILURE, .rule = "DANE-022",
      .reason = REASON },
    { "TLS-008 REP-030 response injection", .facts = { .step = INJECTED }, .action = VERDICT_REFUSE,
      .reply = REPLY_DANE_STARTTLS, .result = RESULT_VALIDATION_FAILURE, .rule = "TLS-008",
      .reason = "plaintext-after-starttls" },
    { "TLS-030 never on in clear after a failure", .facts = { .step = AFTER_FAILURE },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_STARTTLS, .result = RESULT_VALIDATION_FAILURE,
      .rule = "DANE-022", .reason = REASON },
    { "DANE-038 TLS-020 TLS 1.1 was reached for another", .facts = { .version = TLS_VERSION_1_1 },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_STARTTLS, .result = RESULT_VALIDATION_FAILURE,
      .rule = "DANE-038", .reason = "tls-version-too-low" },
    { "TC-DANE-22 REP-031 bogus look-up", .facts = { .dns = BOGUS, .step = CLEAR },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_DNSSEC, .result = RESULT_DNSSEC_INVALID,
      .rule = "DANE-006", .reason = "tlsa bogus" },
    { "REP-031 starts no handshake, and asks for none under TLS", .facts = { .dns = BOGUS },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_DNSSEC, .result = RESULT_DNSSEC_INVALID,
      .rule = "DANE-006", .reason = "tlsa bogus" },
    { "REP-040 DANE-004 look-up failed", .facts = { .dns = DNS_DOWN, .step = CLEAR },
      .action = VERDICT_REFUSE, .reply = REPLY_DNS_FAILURE, .result = RESULT_SUCCESS,
      .rule = "DANE-004", .reason = "tlsa bogus" },
    { "TC-DANE-19 REP-032 no match", .facts = { .match = DANE_NO_MATCH }, .action = VERDICT_REFUSE,
      .reply = REPLY_DANE_INVALID, .result = RESULT_TLSA_INVALID, .rule = "DANE-022",
      .reason = "X509_V_ERR_DANE_NO_MATCH" },
    { "REP-032 no match, other roots do not matter",
      .facts = { .match = DANE_NO_MATCH, .other_trust = true }, .action = VERDICT_REFUSE,
      .reply = REPLY_DANE_INVALID, .result = RESULT_TLSA_INVALID, .rule = "DANE-022",
      .reason = "X509_V_ERR_DANE_NO_MATCH" },
    { "REP-033 TC-DANE-05 trust anchor, expired", .facts = { .match = DANE_TA_EXPIRED },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_EXPIRED, .result = RESULT_CERTIFICATE_EXPIRED,
      .rule = "DANE-028" },
    { "REP-034 TC-DANE-04 trust anchor, misnamed", .facts = { .match = DANE_TA_MISNAMED },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_MISNAMED,
      .result = RESULT_CERTIFICATE_HOST_MISMATCH, .rule = "DANE-028", .reason = "" },
    { "REP-032 TC-DANE-11 trust anchor, broken path", .facts = { .match = DANE_TA_BROKEN },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_INVALID,
      .result = RESULT_CERTIFICATE_NOT_TRUSTED, .rule = "DANE-028",
      .reason = "X509_V_ERR_INVALID_CA" },
    { "DANE-047 facts about other records are none", .facts = { .other_facts = true },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_INVALID, .result = RESULT_VALIDATION_FAILURE,
      .rule = "DANE-022", .reason = "unchecked" },

    { "PRX-030 DANE-035 no refusal rests on another name",
      .facts = { .match = DANE_NO_MATCH, .other_sni = true }, .action = VERDICT_RECONNECT,
      .rule = "PRX-030" },
    { "PRX-030 nor on a handshake for another name that failed",
      .facts = { .step = BROKEN, .other_sni = true }, .action = VERDICT_RECONNECT,
      .rule = "PRX-030" },
    { "PRX-033 REP-041 another name within the transaction",
      .facts = { .match = DANE_NO_MATCH, .other_sni = true, .bound = true },
      .action = VERDICT_REFUSE, .reply = REPLY_OTHER_IDENTITY, .result = RESULT_SUCCESS,
      .rule = "PRX-033" },
    { "TLS-026 a match holds on a resumed session", .facts = { .resumed = true },
      .action = VERDICT_ALLOW, .rule = "DANE-027" },
    { "TLS-026 TC-GW-24 no refusal rests on one: keys and records may have rolled over",
      .facts = { .match = DANE_NO_MATCH, .resumed = true }, .action = VERDICT_RECONNECT },
    { "TLS-026 TC-GW-24 nor on an expired anchor of then",
      .facts = { .match = DANE_TA_EXPIRED, .resumed = true }, .action = VERDICT_RECONNECT },
    { "TLS-026 nor on the version of then",
      .facts = { .version = TLS_VERSION_1_1, .resumed = true }, .action = VERDICT_RECONNECT },
    { "TLS-026 nor on a handshake that failed with a ticket on offer",
      .facts = { .step = BROKEN, .resumed = true }, .action = VERDICT_RECONNECT },
    { "TLS-026 PRX-033 REP-041 resumed, and recipients are accepted on it",
      .facts = { .match = DANE_NO_MATCH, .resumed = true, .bound = true }, .action = VERDICT_REFUSE,
      .reply = REPLY_OTHER_IDENTITY, .result = RESULT_SUCCESS, .rule = "PRX-033" },
    { "TLS-026 monitored: what a stored chain lacks is not counted",
      .facts = { .match = DANE_NO_MATCH, .resumed = true, .bound = true, .monitored = true },
      .action = VERDICT_ALLOW, .result = RESULT_SUCCESS },
    { "PRX-033 the transaction began in clear", .facts = { .step = CLEAR, .bound = true },
      .action = VERDICT_REFUSE, .reply = REPLY_OTHER_IDENTITY, .result = RESULT_SUCCESS,
      .rule = "PRX-033" },
    { "PRX-033 bound, and the same name: refused for good",
      .facts = { .match = DANE_NO_MATCH, .bound = true }, .action = VERDICT_REFUSE,
      .reply = REPLY_DANE_INVALID, .result = RESULT_TLSA_INVALID, .rule = "DANE-022" },

    { "TC-DANE-14 DANE-023 all unusable: anybody under TLS",
      .facts = { .match = DANE_UNUSABLE, .web = WEB_UNTRUSTED }, .action = VERDICT_ALLOW,
      .result = RESULT_TLSA_INVALID, .rule = "DANE-023", .reason = "all-TLSA-records-unusable" },
    { "TC-DANE-14 DANE-023 all unusable: nobody in clear",
      .facts = { .unusable_numbers = true, .step = CLEAR_ONLY }, .action = VERDICT_REFUSE,
      .reply = REPLY_DANE_STARTTLS, .result = RESULT_STARTTLS_NOT_SUPPORTED, .rule = "DANE-025" },
    { "REP-035 DANE-041 required: no secure records",
      .facts = { .required = true, .dns = INSECURE, .step = CLEAR }, .action = VERDICT_REFUSE,
      .reply = REPLY_DANE_REQUIRED, .result = RESULT_DANE_REQUIRED, .rule = "DANE-041",
      .reason = "" },
    { "REP-035 required: unusable by their numbers, no handshake",
      .facts = { .required = true, .unusable_numbers = true, .step = CLEAR },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_REQUIRED, .result = RESULT_DANE_REQUIRED,
      .rule = "DANE-041" },
    { "REP-035 required: unusable by what they hold",
      .facts = { .required = true, .match = DANE_UNUSABLE }, .action = VERDICT_REFUSE,
      .reply = REPLY_DANE_REQUIRED, .result = RESULT_DANE_REQUIRED, .rule = "DANE-041" },
    { "REP-031 required, and the look-up is bogus", .facts = { .required = true, .dns = BOGUS },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_DNSSEC, .result = RESULT_DNSSEC_INVALID,
      .rule = "DANE-006" },
    { "DANE-041 required, and a match", .facts = { .required = true }, .action = VERDICT_ALLOW,
      .rule = "DANE-027" },

    { "TC-PREC-01 STS-107 DANE passes, PKIX fails: both must",
      .facts = { .policy = ENFORCE, .web = WEB_UNTRUSTED }, .action = VERDICT_REFUSE,
      .reply = REPLY_STS_CERTIFICATE, .result = RESULT_CERTIFICATE_NOT_TRUSTED, .rule = "STS-085",
      .sts_judged = true, .sts = RESULT_CERTIFICATE_NOT_TRUSTED },
    { "TC-PREC-01 STS-107 dane-suffices: passes, the STS part is reported as failed",
      .facts = { .policy = ENFORCE, .web = WEB_UNTRUSTED, .suffices = true },
      .action = VERDICT_ALLOW, .rule = "DANE-027", .sts_judged = true,
      .sts = RESULT_CERTIFICATE_NOT_TRUSTED },
    { "STS-107 dane-suffices: for another name, too",
      .facts = { .policy = ENFORCE, .web = WEB_MISNAMED, .suffices = true },
      .action = VERDICT_ALLOW, .rule = "DANE-027", .sts_judged = true,
      .sts = RESULT_CERTIFICATE_HOST_MISMATCH },
    { "STS-107 dane-suffices: no 452 for the web's sake",
      .facts = { .policy = ENFORCE,
                 .web = WEB_MISNAMED,
                 .suffices = true,
                 .other_sni = true,
                 .bound = true },
      .action = VERDICT_ALLOW, .rule = "DANE-027" },
    { "STS-107 dane-suffices: unusable records suffice for nothing",
      .facts = { .policy = ENFORCE,
                 .web = WEB_UNTRUSTED,
                 .suffices = true,
                 .match = DANE_UNUSABLE },
      .action = VERDICT_REFUSE, .reply = REPLY_STS_CERTIFICATE,
      .result = RESULT_CERTIFICATE_NOT_TRUSTED, .rule = "STS-085", .sts_judged = true,
      .sts = RESULT_CERTIFICATE_NOT_TRUSTED },
    { "STS-107 both pass", .facts = { .policy = ENFORCE }, .action = VERDICT_ALLOW,
      .rule = "DANE-027", .sts_judged = true },
    { "TC-PREC-02 STS-106 DANE-045 DANE fails, STS would pass",
      .facts = { .policy = ENFORCE, .match = DANE_NO_MATCH }, .action = VERDICT_REFUSE,
      .reply = REPLY_DANE_INVALID, .result = RESULT_TLSA_INVALID, .rule = "DANE-022",
      .sts_judged = true },
    { "TC-PREC-03 DANE passes, the policy does not list the MX",
      .facts = { .policy = ENFORCE, .unlisted = true }, .action = VERDICT_REFUSE,
      .reply = REPLY_STS_MX_MISMATCH, .result = RESULT_VALIDATION_FAILURE, .rule = "STS-080",
      .sts_judged = true, .sts = RESULT_VALIDATION_FAILURE },
    { "TC-PREC-03 the host filter stays under dane-suffices",
      .facts = { .policy = ENFORCE, .unlisted = true, .suffices = true }, .action = VERDICT_REFUSE,
      .reply = REPLY_STS_MX_MISMATCH, .result = RESULT_VALIDATION_FAILURE, .rule = "STS-080",
      .sts_judged = true, .sts = RESULT_VALIDATION_FAILURE },
    { "TC-PREC-03 not listed: no handshake",
      .facts = { .policy = ENFORCE, .unlisted = true, .step = CLEAR }, .action = VERDICT_REFUSE,
      .reply = REPLY_STS_MX_MISMATCH, .result = RESULT_VALIDATION_FAILURE, .rule = "STS-080",
      .sts_judged = true, .sts = RESULT_VALIDATION_FAILURE },
    { "TC-PREC-04 all unusable, STS enforce: its certificate rules apply",
      .facts = { .policy = ENFORCE, .match = DANE_UNUSABLE, .web = WEB_UNTRUSTED },
      .action = VERDICT_REFUSE, .reply = REPLY_STS_CERTIFICATE,
      .result = RESULT_CERTIFICATE_NOT_TRUSTED, .rule = "STS-085", .sts_judged = true,
      .sts = RESULT_CERTIFICATE_NOT_TRUSTED },
    { "TC-PREC-04 all unusable, STS enforce passes",
      .facts = { .policy = ENFORCE, .match = DANE_UNUSABLE }, .action = VERDICT_ALLOW,
      .result = RESULT_TLSA_INVALID, .rule = "STS-087", .sts_judged = true },
    { "TC-PREC-05 look-up bogus, STS would pass", .facts = { .policy = ENFORCE, .dns = BOGUS },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_DNSSEC, .result = RESULT_DNSSEC_INVALID,
      .rule = "DANE-006", .sts_judged = true },
    { "TC-PREC-06 STS testing relaxes no DANE failure",
      .facts = { .policy = TESTING, .match = DANE_NO_MATCH }, .action = VERDICT_REFUSE,
      .reply = REPLY_DANE_INVALID, .result = RESULT_TLSA_INVALID, .rule = "DANE-022",
      .sts_judged = true },
    { "TC-PREC-06 testing fails, DANE passes", .facts = { .policy = TESTING, .web = WEB_UNTRUSTED },
      .action = VERDICT_ALLOW, .rule = "DANE-027", .result = RESULT_CERTIFICATE_NOT_TRUSTED,
      .sts_judged = true, .sts = RESULT_CERTIFICATE_NOT_TRUSTED },
    { "TC-PREC-07 testing, all unusable: TLS all the same",
      .facts = { .policy = TESTING, .unusable_numbers = true, .step = CLEAR_ONLY },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_STARTTLS,
      .result = RESULT_STARTTLS_NOT_SUPPORTED, .rule = "DANE-025", .sts_judged = true,
      .sts = RESULT_STARTTLS_NOT_SUPPORTED },
    { "TC-PREC-07 testing, all unusable: not after a failed handshake",
      .facts = { .policy = TESTING, .unusable_numbers = true, .step = BROKEN },
      .action = VERDICT_REFUSE, .reply = REPLY_DANE_STARTTLS, .result = RESULT_VALIDATION_FAILURE,
      .rule = "DANE-022", .sts_judged = true, .sts = RESULT_VALIDATION_FAILURE },

    { "DANE-042 monitored: a mismatch is only counted",
      .facts = { .monitored = true, .match = DANE_NO_MATCH }, .action = VERDICT_ALLOW,
      .result = RESULT_TLSA_INVALID, .rule = "DANE-022", .reason = "X509_V_ERR_DANE_NO_MATCH" },
    { "PRX-041 TC-PREC-11 monitored: a bogus look-up is only counted",
      .facts = { .monitored = true, .dns = BOGUS }, .action = VERDICT_ALLOW,
      .result = RESULT_DNSSEC_INVALID },
    { "PRX-041 TC-PREC-11 monitored: clear text",
      .facts = { .monitored = true, .step = CLEAR_ONLY }, .action = VERDICT_ALLOW,
      .result = RESULT_STARTTLS_NOT_SUPPORTED },
    { "PRX-041 TC-PREC-11 monitored: a second identity in the transaction",
      .facts = { .monitored = true, .match = DANE_NO_MATCH, .other_sni = true, .bound = true },
      .action = VERDICT_ALLOW, .result = RESULT_SUCCESS },
    { "TC-PREC-09 a bypass is of the policy: a mismatch", .reply = REPLY_DANE_INVALID,
      .facts = { .rule = RULE_BYPASS, .match = DANE_NO_MATCH }, .action = VERDICT_REFUSE,
      .result = RESULT_TLSA_INVALID, .rule = "DANE-022" },
    { "TC-PREC-09 a bypass is of the policy: a bogus look-up", .reply = REPLY_DANE_DNSSEC,
      .facts = { .rule = RULE_BYPASS, .dns = BOGUS }, .action = VERDICT_REFUSE,
      .result = RESULT_DNSSEC_INVALID, .rule = "DANE-006" },
    { "TC-PREC-09 a bypass is of the policy: clear text", .reply = REPLY_DANE_STARTTLS,
      .facts = { .rule = RULE_BYPASS, .step = CLEAR_ONLY }, .action = VERDICT_REFUSE,
      .result = RESULT_STARTTLS_NOT_SUPPORTED, .rule = "DANE-025" },
    { "PRX-042 bypass: DANE passes, STS would not",
      .facts = { .rule = RULE_BYPASS, .policy = ENFORCE, .web = WEB_UNTRUSTED },
      .action = VERDICT_ALLOW, .result = RESULT_CERTIFICATE_NOT_TRUSTED, .sts_judged = true,
      .sts = RESULT_CERTIFICATE_NOT_TRUSTED },
    { "PRX-041 bypass where enforcement does not reach",
      .facts = { .rule = RULE_BYPASS, .monitored = true, .match = DANE_NO_MATCH },
      .action = VERDICT_ALLOW, .result = RESULT_TLSA_INVALID },
    { "TC-PREC-09 DANE-044 disabled: nothing is left of it",
      .facts = { .rule = RULE_NO_DANE, .dns = INSECURE, .web = WEB_UNTRUSTED },
      .action = VERDICT_ALLOW, .rule = "PRX-050" },
    { "PRX-042 an override that demands a name adds to DANE",
      .facts = { .rule = RULE_VERIFY, .web = WEB_UNTRUSTED }, .action = VERDICT_REFUSE,
      .reply = REPLY_IDENTITY_REQUIRED, .result = RESULT_CERTIFICATE_NOT_TRUSTED,
      .rule = "PRX-042" },
};

static char mx1[] = "mx1.example.com", base1[] = "real.example.net", unlisted[] = "mx.example.org";
static char *candidates[] = { mx1 };

static void
fill_requirement(const struct facts *f, struct requirement *req, struct dane_host *host,
                 struct tlsa_record *record)
{
    static char *patterns[][1] = { { mx1 }, { unlisted } };
    static uint8_t digest[32];
    static const enum sts_mode modes[POLICIES] = {
        [NO_STS] = STS_MODE_NONE, [ENFORCE] = STS_MODE_ENFORCE, [TESTING] = STS_MODE_TESTING
    };

    *req = (struct requirement){ .refs = 1, .matched = MX_MATCH_ADDRESS };
    req->names = (struct name_list){ candidates, 1 };
    req->sts.mode = modes[f->policy];
    req->sts.mx = (struct name_list){ patterns[f->unlisted], 1 };
    req->sts.expires_at_s = NOW_S + 1;
    req->sts.fetched_at_s = NOW_S - 1;
    req->tls_floor = TLS_VERSION_1_2;
    req->monitored = f->monitored;
    req->local.action = f->rule;
    req->dane.suffices = f->suffices;
    req->dane.required = f->required;
    req->dane.mx_secure = !f->insecure_mx;
    req->dane.dnssec = f->dns == BOGUS;
    req->dane.state = f->dns == SECURE ? DANE_SECURE : f->dns == INSECURE ? DANE_NONE : DANE_FAILED;
    if (req->dane.state == DANE_FAILED)
        snprintf(req->dane.reason, sizeof req->dane.reason, "tlsa bogus");
    if (req->dane.state != DANE_SECURE)
        return;
    *record = (struct tlsa_record){ .usage = f->unusable_numbers ? TLSA_PKIX_EE : TLSA_DANE_EE,
                                    .selector = TLSA_SPKI,
                                    .matching = TLSA_SHA2_256,
                                    .len = sizeof digest,
                                    .data = digest };
    *host = (struct dane_host){ .records = record, .count = 1 };
    snprintf(host->mx, sizeof host->mx, "%s", mx1);
    snprintf(host->base, sizeof host->base, "%s", base1);
    req->dane.hosts = host;
    req->dane.host_count = 1;
}

static void
fill_observation(const struct facts *f, const struct requirement *req, struct observation *obs)
{
    static char *sans[] = { mx1 };
    static const char *const errors[] = { [DANE_NO_MATCH] = "X509_V_ERR_DANE_NO_MATCH",
                                          [DANE_TA_BROKEN] = "X509_V_ERR_INVALID_CA",
                                          [DANE_TA_EXPIRED] = "X509_V_ERR_CERT_HAS_EXPIRED",
                                          [DANE_TA_MISNAMED] = "X509_V_ERR_HOSTNAME_MISMATCH",
                                          [DANE_MATCHED] = "X509_V_OK" };
    static const enum tls_stage stages[STEPS] = {
        [DONE] = TLS_STAGE_DONE,          [CLEAR] = TLS_STAGE_CLEAR,
        [CLEAR_ONLY] = TLS_STAGE_CLEAR,   [REFUSED] = TLS_STAGE_REFUSED,
        [BROKEN] = TLS_STAGE_FAILED,      [INJECTED] = TLS_STAGE_FAILED,
        [AFTER_FAILURE] = TLS_STAGE_CLEAR
    };

    *obs = (struct observation){ .refs = 1, .bound = f->bound, .stage = stages[f->step] };
    obs->starttls_offered = f->step != CLEAR_ONLY;
    obs->trust = f->other_trust;
    obs->ticket_offered = f->resumed;
    obs->resumed = f->resumed && f->step == DONE;
    if (f->step == REFUSED)
        snprintf(obs->failure_reason, sizeof obs->failure_reason, "454 4.7.0 not now");
    if (f->step >= BROKEN) {
        obs->failure = f->step == INJECTED ? TLS_FAILURE_INJECTED : TLS_FAILURE_HANDSHAKE;
        snprintf(obs->failure_reason, sizeof obs->failure_reason, REASON);
    }
    if (f->step == DONE || f->step >= BROKEN) {
        snprintf(obs->sni, sizeof obs->sni, "%s",
                 f->other_sni ? "mx.other.example" : requirement_sni(req));
        obs->floor = req->tls_floor;
    }
    if (f->step != DONE)
        return;
    obs->version = f->version ? f->version : TLS_VERSION_1_3;
    obs->chain = f->web == WEB_UNTRUSTED ? CHAIN_UNTRUSTED : CHAIN_GOOD;
    obs->sans = (struct name_list){ f->web == WEB_MISNAMED ? NULL : sans, f->web != WEB_MISNAMED };
    obs->dane.match = f->match ? f->match : f->unusable_numbers ? DANE_UNUSABLE : DANE_MATCHED;
    obs->dane.usage = f->anchor ? TLSA_DANE_TA : TLSA_DANE_EE;
    obs->dane.key = requirement_dane_key(req) + f->other_facts;
    if (errors[obs->dane.match])
        snprintf(obs->dane.error, sizeof obs->dane.error, "%s", errors[obs->dane.match]);
}

static void
test_case(void **state)
{
    const struct judge_case *c = *state;
    struct requirement req;
    struct observation obs;
    struct dane_host host;
    struct tlsa_record record;
    struct verdict v;

    fill_requirement(&c->facts, &req, &host, &record);
    fill_observation(&c->facts, &req, &obs);
    v = judge(&req, &usual, &obs, NOW_S);
    check_rejudged(&req, &obs, &v);
    assert_string_equal(verdict_action_name(v.action), verdict_action_name(c->action));
    assert_int_equal(v.reply, c->reply);
    assert_string_equal(result_type_name(v.result), result_type_name(c->result));
    if (c->rule && strncmp(v.rule, c->rule, strlen(c->rule)) != 0)
        fail_msg("rule %s", v.rule);
    if (c->reason)
        assert_string_equal(v.reason, c->reason);
    if (c->sts_judged) {
        assert_true(v.sts.judged);
        assert_string_equal(result_type_name(v.sts.result), result_type_name(c->sts));
    }
    assert_string_equal(v.mx, mx1); /* never the expanded name (PRX-051) */
}

/* DANE-010: over an insecure MX RRset the host is proven, and the domain is not. */
static void
test_insecure_mx_is_not_proven(void **state)
{
    struct facts f = { .insecure_mx = true, .web = WEB_UNTRUSTED };
    struct requirement req;
    struct observation obs;
    struct dane_host host;
    struct tlsa_record record;
    struct verdict v;

    (void)state;
    fill_requirement(&f, &req, &host, &record);
    fill_observation(&f, &req, &obs);
    v = judge(&req, &usual, &obs, NOW_S);
    assert_int_equal(v.action, VERDICT_ALLOW);
    assert_false(v.proven);
    req.dane.mx_secure = true;
    v = judge(&req, &usual, &obs, NOW_S);
    assert_true(v.proven);
}

/* DANE-047: facts belong to one set of records, to the octet. */
static void
test_key(void **state)
{
    struct facts f = { .step = DONE };
    struct requirement req;
    struct dane_host host;
    struct tlsa_record record;
    uint64_t key;

    (void)state;
    fill_requirement(&f, &req, &host, &record);
    key = requirement_dane_key(&req);
    assert_true(key != 0);
    assert_true(requirement_dane_key(&req) == key);
    record.data[31] ^= 1;
    assert_true(requirement_dane_key(&req) != key);
    record.data[31] ^= 1;
    record.usage = TLSA_DANE_TA;
    assert_true(requirement_dane_key(&req) != key);
    record.usage = TLSA_DANE_EE;
    host.references = (struct name_list){ candidates, 1 };
    assert_true(requirement_dane_key(&req) != key);
    host.references.count = 0;
    assert_true(requirement_dane_key(&req) == key);
    req.dane.host_count = 0;
    assert_true(requirement_dane_key(&req) == 0);
}

static void
check_promises(const struct facts *f)
{
    struct requirement req;
    struct observation obs;
    struct dane_host host;
    struct tlsa_record record;
    struct verdict v, without;
    bool spared = f->monitored;

    fill_requirement(f, &req, &host, &record);
    fill_observation(f, &req, &obs);
    v = judge(&req, &usual, &obs, NOW_S);
    assert_true(v.action != VERDICT_REFUSE || v.reply != REPLY_NONE);
    if (v.action != VERDICT_ALLOW)
        return;
    if (spared || f->dns == INSECURE) {
        assert_true(spared || !f->required);
        return;
    }
    /* DANE-022, DANE-025, STS-106: nothing but a match, or TLS to records that nobody can use. */
    assert_int_equal(f->dns, SECURE);
    assert_int_equal(obs.stage, TLS_STAGE_DONE);
    assert_true(obs.dane.match == DANE_MATCHED || obs.dane.match == DANE_UNUSABLE);
    assert_true(obs.dane.match == DANE_MATCHED || !f->required);
    assert_false(f->other_facts);
    if (f->suffices)
        return;
    /* STS-107: what MTA-STS would refuse by itself does not pass. */
    req.dane.state = DANE_NONE;
    req.dane.required = false;
    without = judge(&req, &usual, &obs, NOW_S);
    assert_int_equal(without.action, VERDICT_ALLOW);
}

static void
test_promises(void **state)
{
    (void)state;
    for (unsigned n = 0; n < DNSS * (DANE_MATCHED + 1) * STEPS * POLICIES * WEBS * 128; n++) {
        unsigned rest = n;
        struct facts f = { .dns = (enum dns)(rest % DNSS) };

        rest /= DNSS;
        f.match = (enum dane_match)(rest % (DANE_MATCHED + 1));
        rest /= DANE_MATCHED + 1;
        f.step = (enum step)(rest % STEPS);
        rest /= STEPS;
        f.policy = (enum policy)(rest % POLICIES);
        rest /= POLICIES;
        f.web = (enum web)(rest % WEBS);
        rest /= WEBS;
        f.unlisted = rest & 1;
        f.suffices = rest & 2;
        f.required = rest & 4;
        f.other_sni = rest & 8;
        f.bound = rest & 16;
        f.monitored = rest & 32;
        f.other_facts = rest & 64;
        check_promises(&f);
    }
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_insecure_mx_is_not_proven),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_promises),
    };
    struct CMUnitTest tests[ROWS(cases) + ROWS(others)] = { 0 };

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = test_case,
                                        .initial_state = (void *)&cases[i] };
    memcpy(tests + ROWS(cases), others, sizeof others);
    return cmocka_run_group_tests_name("judge_dane", tests, NULL, NULL);
}
