/* tests/proxy/test_judge.c: every verdict is the one that docs/requirements.md asks for, row by
 * row, and over the whole product of what a requirement and an observation can say no promise is
 * broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "proxy/judge.h"
#include "proxy/replies.h"
#include "tests/proxy/rejudge_check.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define NOW_S 1700000000
#define REJUDGED_EVERY 97 /* of the product: a record costs more than a verdict */
#define REASON "tlsv1 alert handshake failure"

/* In each of these zero is the case where all is well, so that a row names what is wrong. */
enum policy_mode { ENFORCE, TESTING, NONE, EXPIRED, POLICY_MODES };
enum step {
    DONE,
    CLEAR,
    CLEAR_ONLY,
    REFUSED,
    HANDSHAKE,
    VERSION,
    INJECTED,
    TIMEOUT,
    AFTER_FAILURE, /* on a new connection, since the handshake of the one before had failed */
    STEPS
};
enum san { SAN_MX, SAN_NONE, SAN_OTHER, SAN_DOMAIN, SAN_SECOND, SAN_WILDCARD, SANS };
enum lists { LISTS_MX, LISTS_OTHER, LISTS_SECOND, LISTS_WILDCARD, LISTS };
enum names { ONE_NAME, TWO_NAMES, NO_NAME, NAMES };
enum found { BY_ADDRESS, BY_TABLE, BY_CERTIFICATE, FOUNDS };
enum sni { SNI_SAME, SNI_OTHER, SNI_ABSENT, SNIS };
enum quality { GOOD, OVERDUE, UNTRUSTED, QUALITIES };

struct facts {
    enum policy_mode mode;
    enum step step;
    enum quality chain;
    enum san san;
    enum lists lists;
    enum names names;
    enum found found;
    enum sni sni;
    bool bound, mx_failed;
    bool higher_floor; /* the handshake was made with a higher floor than this recipient wants */
    bool lower_floor;  /* or with the lowest */
    uint16_t version;  /* 0: TLS 1.3 */
};

/* The configuration as it comes. */
static const struct demand usual = { .cleartext_fallback = true, .floor = TLS_VERSION_1_2 };

static char mx1[] = "mx1.example.com", mx2[] = "mx2.example.com", other[] = "mx.example.net";
static char domain[] = "example.com", wildcard[] = "*.example.com";

/* Lists over static text: never freed by an unref. */
static struct name_list
list_of(char **names, size_t count)
{
    return (struct name_list){ count ? names : NULL, count };
}

static void
fill_requirement(const struct facts *f, struct requirement *req)
{
    static char *both[] = { mx1, mx2 };
    static char *patterns[LISTS][1] = {
        [LISTS_MX] = { mx1 },
        [LISTS_OTHER] = { other },
        [LISTS_SECOND] = { mx2 },
        [LISTS_WILDCARD] = { wildcard },
    };
    static const enum mx_match matched[FOUNDS] = { [BY_ADDRESS] = MX_MATCH_ADDRESS,
                                                   [BY_TABLE] = MX_MATCH_TABLE,
                                                   [BY_CERTIFICATE] = MX_MATCH_CERTIFICATE };
    static const enum sts_mode modes[POLICY_MODES] = { [ENFORCE] = STS_MODE_ENFORCE,
                                                       [TESTING] = STS_MODE_TESTING,
                                                       [NONE] = STS_MODE_NONE,
                                                       [EXPIRED] = STS_MODE_ENFORCE };

    *req = (struct requirement){ .refs = 1, .matched = matched[f->found] };
    snprintf(req->domain, sizeof req->domain, "%s", domain);
    req->names = list_of(both, f->names == ONE_NAME ? 1 : f->names == TWO_NAMES ? 2 : 0);
    req->mx_lookup_failed = f->mx_failed;
    req->sts.mode = modes[f->mode];
    req->sts.mx = list_of(patterns[f->lists], 1);
    req->sts.fetched_at_s = NOW_S - 86400;
    req->sts.expires_at_s = f->mode == EXPIRED ? NOW_S : NOW_S + 1;
    req->tls_floor = f->mode == ENFORCE ? TLS_VERSION_1_2 : TLS_VERSION_1_0;
}

static void
fill_handshake(const struct facts *f, const struct requirement *req, struct observation *obs)
{
    static const enum tls_failure failures[STEPS] = { [HANDSHAKE] = TLS_FAILURE_HANDSHAKE,
                                                      [VERSION] = TLS_FAILURE_VERSION,
                                                      [INJECTED] = TLS_FAILURE_INJECTED,
                                                      [TIMEOUT] = TLS_FAILURE_TIMEOUT,
                                                      [AFTER_FAILURE] = TLS_FAILURE_HANDSHAKE };

    obs->starttls_code = 220;
    obs->floor = f->lower_floor ? TLS_VERSION_1_0 : (uint16_t)(req->tls_floor + f->higher_floor);
    obs->version = f->version ? f->version : TLS_VERSION_1_3;
    if (f->sni != SNI_ABSENT)
        snprintf(obs->sni, sizeof obs->sni, "%s",
                 f->sni == SNI_OTHER ? "mx.other.example" : requirement_sni(req));
    obs->failure = failures[f->step];
    obs->stage = f->step == DONE            ? TLS_STAGE_DONE
                 : f->step == AFTER_FAILURE ? TLS_STAGE_CLEAR
                                            : TLS_STAGE_FAILED;
    if (f->step != DONE)
        snprintf(obs->failure_reason, sizeof obs->failure_reason, REASON);
}

static void
fill_certificate(const struct facts *f, struct observation *obs)
{
    static char *sans[SANS][1] = { [SAN_MX] = { mx1 },
                                   [SAN_OTHER] = { other },
                                   [SAN_DOMAIN] = { domain },
                                   [SAN_SECOND] = { mx2 },
                                   [SAN_WILDCARD] = { wildcard } };
    static const enum chain_state chains[QUALITIES] = {
        [GOOD] = CHAIN_GOOD, [OVERDUE] = CHAIN_EXPIRED, [UNTRUSTED] = CHAIN_UNTRUSTED
    };
    static const char *const errors[QUALITIES] = { [GOOD] = "X509_V_OK",
                                                   [OVERDUE] = "X509_V_ERR_CERT_HAS_EXPIRED",
                                                   [UNTRUSTED] =
                                                       "X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT" };

    obs->chain = chains[f->chain];
    snprintf(obs->chain_error, sizeof obs->chain_error, "%s", errors[f->chain]);
    obs->sans = list_of(sans[f->san], f->san != SAN_NONE);
}

static void
fill_observation(const struct facts *f, const struct requirement *req, struct observation *obs)
{
    *obs = (struct observation){ .refs = 1, .bound = f->bound };
    obs->starttls_offered = f->step != CLEAR_ONLY;
    switch (f->step) {
    case CLEAR:
    case CLEAR_ONLY:
        obs->stage = TLS_STAGE_CLEAR;
        break;
    case REFUSED:
        obs->stage = TLS_STAGE_REFUSED;
        obs->starttls_code = 454;
        snprintf(obs->failure_reason, sizeof obs->failure_reason, "454 4.7.0 not now");
        break;
    case DONE:
        fill_certificate(f, obs);
        fill_handshake(f, req, obs);
        break;
    case HANDSHAKE:
    case VERSION:
    case INJECTED:
    case TIMEOUT:
    case AFTER_FAILURE:
    case STEPS:
        fill_handshake(f, req, obs);
        break;
    }
}

static const struct judge_case {
    const char *name;
    struct facts facts;
    enum verdict_action action;
    enum reply_row reply;
    enum result_type result;
    const char *rule;   /* how the rule begins */
    const char *reason; /* NULL: any */
    const char *mx;     /* NULL: any */
} cases[] = {
    /* Enforce, in the order of checks of docs/requirements.md 0 and 10.2. */
    { "STS-087: good chain, SAN names the MX",
      { .mode = ENFORCE },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "STS-087",
      "",
      mx1 },
    { "STS-088 TC-TLS-15: wildcard SAN",
      { .san = SAN_WILDCARD },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "STS-087",
      "",
      mx1 },
    { "STS-081: wildcard pattern",
      { .lists = LISTS_WILDCARD },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "STS-087",
      "",
      mx1 },
    { "STS-090: TLS 1.2 is enough",
      { .version = TLS_VERSION_1_2 },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "STS-087",
      "",
      mx1 },
    { "REP-010 TC-MX-07: MX not listed, no handshake for it",
      { .lists = LISTS_OTHER, .step = CLEAR },
      VERDICT_REFUSE,
      REPLY_STS_MX_MISMATCH,
      RESULT_VALIDATION_FAILURE,
      "STS-080",
      "sts-mx-mismatch",
      NULL },
    { "REP-010 before REP-011: MX not listed, no STARTTLS",
      { .lists = LISTS_OTHER, .step = CLEAR_ONLY },
      VERDICT_REFUSE,
      REPLY_STS_MX_MISMATCH,
      RESULT_VALIDATION_FAILURE,
      "STS-080",
      "sts-mx-mismatch",
      NULL },
    { "REP-010 before REP-013: MX not listed, chain expired",
      { .lists = LISTS_OTHER, .chain = OVERDUE },
      VERDICT_REFUSE,
      REPLY_STS_MX_MISMATCH,
      RESULT_VALIDATION_FAILURE,
      "STS-080",
      NULL,
      NULL },
    { "REP-010: MX not listed, certificate for the MX",
      { .lists = LISTS_OTHER },
      VERDICT_REFUSE,
      REPLY_STS_MX_MISMATCH,
      RESULT_VALIDATION_FAILURE,
      "STS-080",
      NULL,
      NULL },
    { "REP-010: smart host not listed",
      { .lists = LISTS_OTHER, .found = BY_TABLE },
      VERDICT_REFUSE,
      REPLY_STS_MX_MISMATCH,
      RESULT_VALIDATION_FAILURE,
      "STS-080",
      NULL,
      NULL },
    { "TLS-001 TC-TLS-01: no keyword",
      { .step = CLEAR_ONLY },
      VERDICT_REFUSE,
      REPLY_STS_STARTTLS_MISSING,
      RESULT_STARTTLS_NOT_SUPPORTED,
      "STS-084",
      "",
      mx1 },
    { "PRX-029: keyword, so STARTTLS now",
      { .step = CLEAR },
      VERDICT_START_TLS,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-029",
      "",
      mx1 },
    { "TLS-005 TC-TLS-02: STARTTLS refused",
      { .step = REFUSED },
      VERDICT_REFUSE,
      REPLY_STS_STARTTLS_MISSING,
      RESULT_STARTTLS_NOT_SUPPORTED,
      "TLS-005",
      "454 4.7.0 not now",
      mx1 },
    { "STS-084: handshake failed",
      { .step = HANDSHAKE },
      VERDICT_REFUSE,
      REPLY_STS_STARTTLS_MISSING,
      RESULT_VALIDATION_FAILURE,
      "STS-084",
      REASON,
      mx1 },
    { "TLS-025: handshake stalled",
      { .step = TIMEOUT },
      VERDICT_REFUSE,
      REPLY_STS_STARTTLS_MISSING,
      RESULT_VALIDATION_FAILURE,
      "STS-084",
      REASON,
      mx1 },
    { "STS-090 TC-TLS-08: handshake failed by its version",
      { .step = VERSION, .version = TLS_VERSION_1_1 },
      VERDICT_REFUSE,
      REPLY_STS_TLS_VERSION,
      RESULT_VALIDATION_FAILURE,
      "STS-090",
      REASON,
      mx1 },
    { "TLS-008 TC-TLS-05: response injection",
      { .step = INJECTED },
      VERDICT_REFUSE,
      REPLY_STS_STARTTLS_MISSING,
      RESULT_VALIDATION_FAILURE,
      "TLS-008",
      "plaintext-after-starttls",
      mx1 },
    { "STS-090: TLS 1.1 reached for another recipient",
      { .version = TLS_VERSION_1_1 },
      VERDICT_REFUSE,
      REPLY_STS_TLS_VERSION,
      RESULT_VALIDATION_FAILURE,
      "STS-090",
      "tls-version-too-low",
      mx1 },
    { "STS-090: TLS 1.0",
      { .version = TLS_VERSION_1_0 },
      VERDICT_REFUSE,
      REPLY_STS_TLS_VERSION,
      RESULT_VALIDATION_FAILURE,
      "STS-090",
      "tls-version-too-low",
      mx1 },
    { "REP-012 before REP-013: TLS 1.1 and an expired chain",
      { .version = TLS_VERSION_1_1, .chain = OVERDUE },
      VERDICT_REFUSE,
      REPLY_STS_TLS_VERSION,
      RESULT_VALIDATION_FAILURE,
      "STS-090",
      NULL,
      NULL },
    { "STS-086: expired",
      { .chain = OVERDUE },
      VERDICT_REFUSE,
      REPLY_STS_CERTIFICATE,
      RESULT_CERTIFICATE_EXPIRED,
      "STS-086",
      "X509_V_ERR_CERT_HAS_EXPIRED",
      mx1 },
    { "STS-085: untrusted",
      { .chain = UNTRUSTED },
      VERDICT_REFUSE,
      REPLY_STS_CERTIFICATE,
      RESULT_CERTIFICATE_NOT_TRUSTED,
      "STS-085",
      "X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT",
      mx1 },
    { "REP-013 before REP-014: untrusted and no name",
      { .chain = UNTRUSTED, .san = SAN_OTHER },
      VERDICT_REFUSE,
      REPLY_STS_CERTIFICATE,
      RESULT_CERTIFICATE_NOT_TRUSTED,
      "STS-085",
      NULL,
      NULL },
    { "STS-087: another name",
      { .san = SAN_OTHER },
      VERDICT_REFUSE,
      REPLY_STS_NAME_MISMATCH,
      RESULT_CERTIFICATE_HOST_MISMATCH,
      "STS-087",
      NULL,
      mx1 },
    { "STS-087 TLS-042: no dNSName at all",
      { .san = SAN_NONE },
      VERDICT_REFUSE,
      REPLY_STS_NAME_MISMATCH,
      RESULT_CERTIFICATE_HOST_MISMATCH,
      "STS-087",
      NULL,
      mx1 },
    { "STS-089: SAN is the policy domain",
      { .san = SAN_DOMAIN },
      VERDICT_REFUSE,
      REPLY_STS_NAME_MISMATCH,
      RESULT_CERTIFICATE_HOST_MISMATCH,
      "STS-087",
      NULL,
      mx1 },
    { "STS-089: SAN is the pattern, not the MX",
      { .san = SAN_SECOND, .lists = LISTS_WILDCARD },
      VERDICT_REFUSE,
      REPLY_STS_NAME_MISMATCH,
      RESULT_CERTIFICATE_HOST_MISMATCH,
      "STS-087",
      NULL,
      mx1 },

    /* Several names on one address. */
    { "PRX-017 TC-MX-15: listed sibling proven",
      { .names = TWO_NAMES, .lists = LISTS_SECOND, .san = SAN_SECOND },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "STS-087",
      "",
      mx2 },
    { "PRX-017: only the unlisted sibling proven",
      { .names = TWO_NAMES, .lists = LISTS_SECOND, .san = SAN_MX },
      VERDICT_REFUSE,
      REPLY_STS_NAME_MISMATCH,
      RESULT_CERTIFICATE_HOST_MISMATCH,
      "STS-087",
      NULL,
      NULL },
    { "PRX-017: a wildcard lists both, the second is proven",
      { .names = TWO_NAMES, .lists = LISTS_WILDCARD, .san = SAN_SECOND },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "STS-087",
      "",
      mx2 },

    /* The address of no MX. */
    { "PRX-019 TC-MX-14: proven by certificate",
      { .found = BY_CERTIFICATE },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "STS-087",
      "",
      mx1 },
    { "PRX-019: wrong name comes last, as REP-010",
      { .found = BY_CERTIFICATE, .san = SAN_OTHER },
      VERDICT_REFUSE,
      REPLY_STS_MX_MISMATCH,
      RESULT_CERTIFICATE_HOST_MISMATCH,
      "PRX-019",
      NULL,
      NULL },
    { "PRX-019: self-signed is REP-013 as usual",
      { .found = BY_CERTIFICATE, .chain = UNTRUSTED },
      VERDICT_REFUSE,
      REPLY_STS_CERTIFICATE,
      RESULT_CERTIFICATE_NOT_TRUSTED,
      "STS-085",
      NULL,
      NULL },
    { "PRX-019: no STARTTLS is REP-011 as usual",
      { .found = BY_CERTIFICATE, .step = CLEAR_ONLY },
      VERDICT_REFUSE,
      REPLY_STS_STARTTLS_MISSING,
      RESULT_STARTTLS_NOT_SUPPORTED,
      "STS-084",
      NULL,
      NULL },
    { "PRX-019: no candidate at all",
      { .found = BY_CERTIFICATE, .names = NO_NAME },
      VERDICT_REFUSE,
      REPLY_STS_MX_MISMATCH,
      RESULT_CERTIFICATE_HOST_MISMATCH,
      "PRX-019",
      NULL,
      "" },
    { "PRX-019: no candidate, STARTTLS without SNI",
      { .found = BY_CERTIFICATE, .names = NO_NAME, .step = CLEAR },
      VERDICT_START_TLS,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-029",
      NULL,
      "" },
    { "PRX-023 TC-MX-11: MX look-up failed, not proven",
      { .found = BY_CERTIFICATE, .mx_failed = true, .san = SAN_OTHER },
      VERDICT_REFUSE,
      REPLY_DNS_FAILURE,
      RESULT_CERTIFICATE_HOST_MISMATCH,
      "PRX-023",
      "mx-lookup-failed",
      NULL },
    { "PRX-023: MX look-up failed, proven by certificate",
      { .found = BY_CERTIFICATE, .mx_failed = true },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "STS-087",
      "",
      mx1 },
    { "DANE-005: another host's look-up failed",
      { .mx_failed = true },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "STS-087",
      "",
      mx1 },

    /* Several identities on one connection. */
    { "PRX-030: other SNI, certificate does not prove",
      { .sni = SNI_OTHER, .san = SAN_OTHER },
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-030",
      "",
      mx1 },
    { "PRX-030: other SNI, expired chain: no refusal on it",
      { .sni = SNI_OTHER, .chain = OVERDUE },
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-030",
      NULL,
      NULL },
    { "PRX-030: no SNI sent, certificate does not prove",
      { .sni = SNI_ABSENT, .san = SAN_NONE },
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-030",
      NULL,
      NULL },
    { "PRX-030: handshake failed for another SNI",
      { .sni = SNI_OTHER, .step = HANDSHAKE },
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-030",
      NULL,
      NULL },
    { "PRX-034: other SNI, certificate proves all the same",
      { .sni = SNI_OTHER },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "STS-087",
      "",
      mx1 },
    { "PRX-034: the same within a transaction",
      { .sni = SNI_OTHER, .bound = true },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "STS-087",
      "",
      mx1 },
    { "PRX-033 REP-041: other SNI within a transaction",
      { .sni = SNI_OTHER, .san = SAN_OTHER, .bound = true },
      VERDICT_REFUSE,
      REPLY_OTHER_IDENTITY,
      RESULT_SUCCESS,
      "PRX-033",
      "",
      NULL },
    { "PRX-033: the transaction began in clear",
      { .step = CLEAR, .bound = true },
      VERDICT_REFUSE,
      REPLY_OTHER_IDENTITY,
      RESULT_SUCCESS,
      "PRX-033",
      "",
      NULL },
    { "PRX-033: ... after STARTTLS was refused",
      { .step = REFUSED, .bound = true },
      VERDICT_REFUSE,
      REPLY_OTHER_IDENTITY,
      RESULT_SUCCESS,
      "PRX-033",
      "",
      NULL },
    { "no STARTTLS here: another transaction would not help",
      { .step = CLEAR_ONLY, .bound = true },
      VERDICT_REFUSE,
      REPLY_STS_STARTTLS_MISSING,
      RESULT_STARTTLS_NOT_SUPPORTED,
      "STS-084",
      NULL,
      NULL },
    { "MX not listed: another transaction would not help",
      { .lists = LISTS_OTHER, .bound = true, .sni = SNI_OTHER },
      VERDICT_REFUSE,
      REPLY_STS_MX_MISMATCH,
      RESULT_VALIDATION_FAILURE,
      "STS-080",
      NULL,
      NULL },

    /* Testing: the mail goes, the failure is counted (STS-101). */
    { "STS-101: all is well",
      { .mode = TESTING },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "STS-087",
      "",
      mx1 },
    { "STS-101 TC-TLS-20: expired",
      { .mode = TESTING, .chain = OVERDUE },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_CERTIFICATE_EXPIRED,
      "STS-086",
      "X509_V_ERR_CERT_HAS_EXPIRED",
      mx1 },
    { "STS-101 TC-TLS-20: untrusted",
      { .mode = TESTING, .chain = UNTRUSTED },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_CERTIFICATE_NOT_TRUSTED,
      "STS-085",
      NULL,
      NULL },
    { "STS-101 TC-TLS-20: another name",
      { .mode = TESTING, .san = SAN_OTHER },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_CERTIFICATE_HOST_MISMATCH,
      "STS-087",
      NULL,
      NULL },
    { "STS-101: TLS 1.0",
      { .mode = TESTING, .version = TLS_VERSION_1_0 },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_VALIDATION_FAILURE,
      "STS-090",
      "tls-version-too-low",
      NULL },
    { "STS-101: no STARTTLS",
      { .mode = TESTING, .step = CLEAR_ONLY },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_STARTTLS_NOT_SUPPORTED,
      "STS-084",
      NULL,
      NULL },
    { "STS-101: STARTTLS refused",
      { .mode = TESTING, .step = REFUSED },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_STARTTLS_NOT_SUPPORTED,
      "TLS-005",
      NULL,
      NULL },
    { "STS-101: STARTTLS first, also where the MX is not listed",
      { .mode = TESTING, .step = CLEAR, .lists = LISTS_OTHER },
      VERDICT_START_TLS,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-029",
      NULL,
      NULL },
    { "STS-101 TC-MX-08: MX not listed",
      { .mode = TESTING, .lists = LISTS_OTHER },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_VALIDATION_FAILURE,
      "STS-080",
      "sts-mx-mismatch",
      NULL },
    { "PRX-030: testing wants the right SNI too",
      { .mode = TESTING, .sni = SNI_OTHER, .san = SAN_OTHER },
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-030",
      NULL,
      NULL },
    { "PRX-033 TC-GW-25: testing within a transaction: passes, not counted",
      { .mode = TESTING, .sni = SNI_OTHER, .san = SAN_OTHER, .bound = true },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-050",
      NULL,
      NULL },
    { "PRX-033: testing where the transaction began in clear",
      { .mode = TESTING, .step = CLEAR, .bound = true },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_STARTTLS_NOT_SUPPORTED,
      "PRX-050",
      NULL,
      NULL },
    { "TLS-006: testing on a dead connection",
      { .mode = TESTING, .step = HANDSHAKE, .bound = true },
      VERDICT_CLOSE,
      REPLY_UPSTREAM_LOST,
      RESULT_VALIDATION_FAILURE,
      "STS-084",
      REASON,
      NULL },
    { "TLS-021: testing after a handshake with a higher floor",
      { .mode = TESTING, .step = VERSION, .higher_floor = true },
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-030",
      NULL,
      NULL },

    /* No policy, or one that is over. */
    { "PRX-050 TLS-032: untrusted",
      { .mode = NONE, .chain = UNTRUSTED, .san = SAN_NONE },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-050",
      "",
      NULL },
    { "PRX-050: TLS 1.0",
      { .mode = NONE, .version = TLS_VERSION_1_0 },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-050",
      "",
      NULL },
    { "PRX-050: other SNI does not matter",
      { .mode = NONE, .sni = SNI_OTHER, .san = SAN_OTHER },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-050",
      "",
      NULL },
    { "TLS-012: STARTTLS where offered",
      { .mode = NONE, .step = CLEAR },
      VERDICT_START_TLS,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-029",
      "",
      mx1 },
    { "TC-TLS-03: in clear where not",
      { .mode = NONE, .step = CLEAR_ONLY },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_STARTTLS_NOT_SUPPORTED,
      "PRX-050",
      "",
      NULL },
    { "TLS-005: in clear where STARTTLS was refused",
      { .mode = NONE, .step = REFUSED },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_STARTTLS_NOT_SUPPORTED,
      "PRX-050",
      "454",
      NULL },
    { "TLS-006: dead connection",
      { .mode = NONE, .step = HANDSHAKE, .bound = true },
      VERDICT_CLOSE,
      REPLY_UPSTREAM_LOST,
      RESULT_VALIDATION_FAILURE,
      "TLS-006",
      REASON,
      NULL },
    { "TLS-021: failed by another recipient's floor",
      { .mode = NONE, .step = VERSION, .higher_floor = true },
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS,
      "TLS-021",
      "",
      NULL },
    { "TLS-006: failed with another recipient's SNI",
      { .mode = NONE, .step = HANDSHAKE, .sni = SNI_OTHER },
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS,
      "TLS-021",
      "",
      NULL },
    { "PRX-033: no 452 without enforce, on a dead connection either",
      { .mode = NONE, .step = VERSION, .higher_floor = true, .bound = true },
      VERDICT_CLOSE,
      REPLY_UPSTREAM_LOST,
      RESULT_VALIDATION_FAILURE,
      "TLS-006",
      REASON,
      NULL },
    { "PRX-019: no candidate is no matter",
      { .mode = NONE, .names = NO_NAME, .found = BY_CERTIFICATE },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-050",
      "",
      "" },
    { "STS-065: expired policy, everything wrong",
      { .mode = EXPIRED, .chain = UNTRUSTED, .san = SAN_OTHER, .lists = LISTS_OTHER },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS,
      "PRX-050",
      "",
      NULL },
    { "STS-065: expired policy, no STARTTLS",
      { .mode = EXPIRED, .step = CLEAR_ONLY },
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_STARTTLS_NOT_SUPPORTED,
      "PRX-050",
      "",
      NULL },
};

static void
test_case(void **state)
{
    const struct judge_case *c = *state;
    struct requirement req;
    struct observation obs;
    struct verdict v;

    fill_requirement(&c->facts, &req);
    fill_observation(&c->facts, &req, &obs);
    v = judge(&req, &usual, &obs, NOW_S);
    check_rejudged(&req, &obs, &v);
    assert_string_equal(verdict_action_name(v.action), verdict_action_name(c->action));
    assert_int_equal(v.reply, c->reply);
    assert_string_equal(result_type_name(v.result), result_type_name(c->result));
    assert_non_null(v.rule);
    if (!span_starts(span_of(v.rule), span_of(c->rule)))
        assert_string_equal(v.rule, c->rule);
    if (c->reason)
        assert_string_equal(v.reason, c->reason);
    if (c->mx)
        assert_string_equal(v.mx, c->mx);
}

/* TC-CACHE-08: applied up to the second before its expiry, not at it. */
static void
test_expiry(void **state)
{
    static const struct facts refused = { .chain = UNTRUSTED };
    struct requirement req;
    struct observation obs;

    (void)state;
    fill_requirement(&refused, &req);
    fill_observation(&refused, &req, &obs);
    req.sts.expires_at_s = NOW_S;
    assert_int_equal(judge(&req, &usual, &obs, NOW_S - 1).action, VERDICT_REFUSE);
    assert_int_equal(judge(&req, &usual, &obs, NOW_S).action, VERDICT_ALLOW);
    assert_int_equal(judge(&req, &usual, &obs, NOW_S + 1).action, VERDICT_ALLOW);
}

/* A floor above what MTA-STS asks for is the site's (TLS-020). */
static void
test_site_floor(void **state)
{
    static const struct facts old = { .version = TLS_VERSION_1_2 };
    struct requirement req;
    struct observation obs;

    (void)state;
    fill_requirement(&old, &req);
    fill_observation(&old, &req, &obs);
    req.tls_floor = TLS_VERSION_1_3;
    assert_int_equal(judge(&req, &usual, &obs, NOW_S).reply, REPLY_STS_TLS_VERSION);
}

/* ---- what the operator says (PRX-041, PRX-042) ---- */

static struct verdict
judge_with(const struct facts *f, enum rule_action action, bool monitored)
{
    struct requirement req;
    struct observation obs;

    fill_requirement(f, &req);
    req.local.action = action;
    req.monitored = monitored;
    fill_observation(f, &req, &obs);
    return judge(&req, &usual, &obs, NOW_S);
}

static struct local_case {
    const char *name;
    struct facts facts;
    enum rule_action action;
    bool monitored;
    enum verdict_action want;
    enum reply_row reply;
    enum verdict_action would;
    enum result_type result;
} local_cases[] = {
    { "PRX-041 monitor lets a wrong name pass, and counts it",
      { .san = SAN_OTHER },
      RULE_NONE,
      true,
      VERDICT_ALLOW,
      REPLY_NONE,
      VERDICT_REFUSE,
      RESULT_CERTIFICATE_HOST_MISMATCH },
    { "PRX-041 monitor lets clear text pass",
      { .step = CLEAR_ONLY },
      RULE_NONE,
      true,
      VERDICT_ALLOW,
      REPLY_NONE,
      VERDICT_REFUSE,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "PRX-041 monitor, proven: nothing to count",
      { 0 },
      RULE_NONE,
      true,
      VERDICT_ALLOW,
      REPLY_NONE,
      VERDICT_ALLOW,
      RESULT_SUCCESS },
    { "STS-101 testing: the would-be verdict is a refusal",
      { .mode = TESTING, .chain = OVERDUE },
      RULE_NONE,
      false,
      VERDICT_ALLOW,
      REPLY_NONE,
      VERDICT_REFUSE,
      RESULT_CERTIFICATE_EXPIRED },
    { "TC-PREC-08 bypass passes what would be refused",
      { .san = SAN_OTHER },
      RULE_BYPASS,
      false,
      VERDICT_ALLOW,
      REPLY_NONE,
      VERDICT_REFUSE,
      RESULT_CERTIFICATE_HOST_MISMATCH },
    { "PRX-042 require without a policy: no STARTTLS",
      { .mode = NONE, .step = CLEAR_ONLY },
      RULE_REQUIRE,
      false,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      VERDICT_REFUSE,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "PRX-042 require asks nothing of the certificate",
      { .mode = NONE, .chain = UNTRUSTED },
      RULE_REQUIRE,
      false,
      VERDICT_ALLOW,
      REPLY_NONE,
      VERDICT_ALLOW,
      RESULT_SUCCESS },
    { "PRX-042 require: a broken handshake",
      { .mode = NONE, .step = HANDSHAKE },
      RULE_REQUIRE,
      false,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      VERDICT_REFUSE,
      RESULT_VALIDATION_FAILURE },
    { "PRX-042 verify without a policy: proven",
      { .mode = NONE },
      RULE_VERIFY,
      false,
      VERDICT_ALLOW,
      REPLY_NONE,
      VERDICT_ALLOW,
      RESULT_SUCCESS },
    { "PRX-042 verify without a policy: another name",
      { .mode = NONE, .san = SAN_OTHER },
      RULE_VERIFY,
      false,
      VERDICT_REFUSE,
      REPLY_IDENTITY_REQUIRED,
      VERDICT_REFUSE,
      RESULT_CERTIFICATE_HOST_MISMATCH },
    { "PRX-042 verify without a policy: unknown authority",
      { .mode = NONE, .chain = UNTRUSTED },
      RULE_VERIFY,
      false,
      VERDICT_REFUSE,
      REPLY_IDENTITY_REQUIRED,
      VERDICT_REFUSE,
      RESULT_CERTIFICATE_NOT_TRUSTED },
    { "PRX-042 verify beside a policy that refuses: the policy's reply",
      { .san = SAN_OTHER },
      RULE_VERIFY,
      false,
      VERDICT_REFUSE,
      REPLY_STS_NAME_MISMATCH,
      VERDICT_REFUSE,
      RESULT_CERTIFICATE_HOST_MISMATCH },
};

static void
test_local(void **state)
{
    const struct local_case *c = *state;
    struct verdict v = judge_with(&c->facts, c->action, c->monitored);

    assert_int_equal(v.action, c->want);
    assert_int_equal(v.reply, c->reply);
    assert_int_equal(v.would, c->would);
    assert_int_equal(v.result, c->result);
}

/* ---- what is demanded beside the domain's policy ---- */

#define SITE                                                                                       \
    {                                                                                              \
        .site_tls = true, .cleartext_fallback = true, .floor = TLS_VERSION_1_2                     \
    }
#define CLIENT                                                                                     \
    {                                                                                              \
        .client_tls = true, .cleartext_fallback = true, .floor = TLS_VERSION_1_2                   \
    }
#define FREE                                                                                       \
    {                                                                                              \
        .cleartext_fallback = true, .floor = TLS_VERSION_1_2                                       \
    }
#define STRICT                                                                                     \
    {                                                                                              \
        .floor = TLS_VERSION_1_2                                                                   \
    }
/* A TLS report, where nobody else's mail would go in clear (RPT-080). */
#define REPORT                                                                                     \
    {                                                                                              \
        .site_tls = true, .floor = TLS_VERSION_1_2, .report_mail = true,                           \
        .report_floor = TLS_VERSION_1_0                                                            \
    }
#define CLIENT_REPORT                                                                              \
    {                                                                                              \
        .client_tls = true, .floor = TLS_VERSION_1_2, .report_mail = true,                         \
        .report_floor = TLS_VERSION_1_0                                                            \
    }
#define REQUIRETLS_REPORT                                                                          \
    {                                                                                              \
        .requiretls = true, .floor = TLS_VERSION_1_2, .report_mail = true,                         \
        .report_floor = TLS_VERSION_1_0                                                            \
    }

static struct demand_case {
    const char *name;
    struct demand demand;
    struct facts facts;
    enum rule_action action;
    enum verdict_action want;
    enum reply_row reply;
    enum result_type result;
} demand_cases[] = {
    /* The table of TLS-030, each row with each way of having no TLS. */
    { "TLS-030 enforce: no STARTTLS",
      FREE,
      { .step = CLEAR_ONLY },
      0,
      VERDICT_REFUSE,
      REPLY_STS_STARTTLS_MISSING,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "TLS-030 enforce: STARTTLS refused",
      FREE,
      { .step = REFUSED },
      0,
      VERDICT_REFUSE,
      REPLY_STS_STARTTLS_MISSING,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "TLS-030 enforce: handshake failed",
      FREE,
      { .step = HANDSHAKE },
      0,
      VERDICT_REFUSE,
      REPLY_STS_STARTTLS_MISSING,
      RESULT_VALIDATION_FAILURE },
    { "TLS-030 enforce: after a failure, in clear",
      FREE,
      { .step = AFTER_FAILURE },
      0,
      VERDICT_REFUSE,
      REPLY_STS_STARTTLS_MISSING,
      RESULT_VALIDATION_FAILURE },
    { "TLS-030 TLS-011 site: no STARTTLS",
      SITE,
      { .mode = NONE, .step = CLEAR_ONLY },
      0,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "TLS-030 TLS-011 site: STARTTLS refused",
      SITE,
      { .mode = NONE, .step = REFUSED },
      0,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "TLS-030 TLS-011 site: handshake failed",
      SITE,
      { .mode = NONE, .step = HANDSHAKE },
      0,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_VALIDATION_FAILURE },
    { "TLS-030 TLS-011 site: version too low",
      SITE,
      { .mode = NONE, .step = VERSION },
      0,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_VALIDATION_FAILURE },
    { "TLS-030 TLS-011 site: testing",
      SITE,
      { .mode = TESTING, .step = CLEAR_ONLY },
      0,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "TLS-011 site: any certificate",
      SITE,
      { .mode = NONE, .chain = UNTRUSTED, .san = SAN_NONE },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "TLS-011 site: STARTTLS first",
      SITE,
      { .mode = NONE, .step = CLEAR },
      0,
      VERDICT_START_TLS,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "TLS-011 site: in clear with recipients",
      SITE,
      { .mode = NONE, .step = CLEAR, .bound = true },
      0,
      VERDICT_REFUSE,
      REPLY_OTHER_IDENTITY,
      RESULT_SUCCESS },
    { "TLS-020 TLS-011 site: opened below the floor",
      SITE,
      { .mode = NONE, .version = TLS_VERSION_1_0, .lower_floor = true },
      0,
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "TLS-011 site: an override lifts it",
      SITE,
      { .mode = NONE, .step = CLEAR_ONLY },
      RULE_BYPASS,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "TLS-011 site: so does monitor",
      SITE,
      { .mode = NONE, .step = HANDSHAKE },
      RULE_MONITOR,
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "TLS-030 TC-GW-23 client's leg: no STARTTLS",
      CLIENT,
      { .mode = NONE, .step = CLEAR_ONLY },
      0,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "TLS-030 TC-GW-23 client's leg: handshake failed",
      CLIENT,
      { .mode = NONE, .step = HANDSHAKE },
      0,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_VALIDATION_FAILURE },
    { "TLS-030 client's leg: no override lifts it",
      CLIENT,
      { .mode = NONE, .step = CLEAR_ONLY },
      RULE_BYPASS,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "TLS-030 otherwise TC-TLS-03: no STARTTLS",
      FREE,
      { .mode = NONE, .step = CLEAR_ONLY },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "TLS-030 otherwise: STARTTLS refused",
      FREE,
      { .mode = NONE, .step = REFUSED },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_STARTTLS_NOT_SUPPORTED },

    /* Clear text after a failure (TLS-031). */
    { "TLS-031 TC-TLS-04: handshake failed",
      FREE,
      { .mode = NONE, .step = HANDSHAKE },
      0,
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "TLS-031 TLS-033: then in clear, and counted",
      FREE,
      { .mode = NONE, .step = AFTER_FAILURE },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_VALIDATION_FAILURE },
    { "TLS-031: for testing, too",
      FREE,
      { .mode = TESTING, .step = AFTER_FAILURE },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_VALIDATION_FAILURE },
    { "TLS-031: for monitor, too",
      FREE,
      { .step = AFTER_FAILURE },
      RULE_MONITOR,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_VALIDATION_FAILURE },
    { "TLS-031: for a bypass, too",
      FREE,
      { .step = HANDSHAKE },
      RULE_BYPASS,
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "TLS-031: another name is tried first",
      FREE,
      { .mode = NONE, .step = AFTER_FAILURE, .sni = SNI_OTHER },
      0,
      VERDICT_START_TLS,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "TLS-031: but not within a transaction",
      FREE,
      { .mode = NONE, .step = AFTER_FAILURE, .sni = SNI_OTHER, .bound = true },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_VALIDATION_FAILURE },
    { "TLS-031: who needs TLS stays refused",
      FREE,
      { .step = AFTER_FAILURE, .bound = true },
      0,
      VERDICT_REFUSE,
      REPLY_STS_STARTTLS_MISSING,
      RESULT_VALIDATION_FAILURE },
    { "TLS-031 PRX-033: another name may do, later",
      FREE,
      { .step = AFTER_FAILURE, .bound = true, .sni = SNI_OTHER },
      0,
      VERDICT_REFUSE,
      REPLY_OTHER_IDENTITY,
      RESULT_SUCCESS },
    { "TLS-031 RULE_REQUIRE: stays refused",
      FREE,
      { .mode = NONE, .step = AFTER_FAILURE },
      RULE_REQUIRE,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_VALIDATION_FAILURE },
    { "TLS-031 site requires TLS: stays refused",
      SITE,
      { .mode = NONE, .step = AFTER_FAILURE },
      0,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_VALIDATION_FAILURE },
    { "TLS-021: a version below the floor, too",
      FREE,
      { .mode = NONE, .step = VERSION },
      0,
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "TLS-021: never without cleartext_fallback",
      STRICT,
      { .mode = NONE, .step = VERSION },
      0,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_VALIDATION_FAILURE },
    { "TLS-031 TC-TLS-04: without cleartext_fallback",
      STRICT,
      { .mode = NONE, .step = HANDSHAKE },
      0,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_VALIDATION_FAILURE },
    { "TLS-031: without it, and no STARTTLS at all",
      STRICT,
      { .mode = NONE, .step = CLEAR_ONLY },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "TLS-008 TC-TLS-05: an attacker is not handed the mail",
      FREE,
      { .mode = NONE, .step = INJECTED },
      0,
      VERDICT_CLOSE,
      REPLY_UPSTREAM_LOST,
      RESULT_VALIDATION_FAILURE },
    /* Every failure of TLS, and a TLS report. */
    { "RPT-080 TC-RPT-17 enforce: no STARTTLS",
      REPORT,
      { .step = CLEAR_ONLY },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 enforce: STARTTLS refused",
      REPORT,
      { .step = REFUSED },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 enforce: STARTTLS first",
      REPORT,
      { .step = CLEAR },
      0,
      VERDICT_START_TLS,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 enforce: handshake failed, so in clear",
      REPORT,
      { .step = HANDSHAKE, .lower_floor = true },
      0,
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 enforce: after a failure, in clear",
      REPORT,
      { .step = AFTER_FAILURE, .lower_floor = true },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 TLS-021 enforce: another version first",
      REPORT,
      { .step = VERSION },
      0,
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 enforce: TLS 1.0",
      REPORT,
      { .version = TLS_VERSION_1_0, .lower_floor = true },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 enforce: untrusted",
      REPORT,
      { .chain = UNTRUSTED },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 enforce: another name",
      REPORT,
      { .san = SAN_OTHER },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 enforce: the policy lists others",
      REPORT,
      { .lists = LISTS_OTHER },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 enforce: the address of no MX",
      REPORT,
      { .found = BY_CERTIFICATE, .step = CLEAR_ONLY },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 TLS-008 enforce: of an attack, too",
      REPORT,
      { .step = INJECTED },
      0,
      VERDICT_RECONNECT,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 override require: no STARTTLS",
      REPORT,
      { .mode = NONE, .step = CLEAR_ONLY },
      RULE_REQUIRE,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 override verify: untrusted",
      REPORT,
      { .mode = NONE, .chain = UNTRUSTED },
      RULE_VERIFY,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 PRX-031: the connection is dead and held",
      REPORT,
      { .step = HANDSHAKE, .bound = true },
      0,
      VERDICT_CLOSE,
      REPLY_UPSTREAM_LOST,
      RESULT_VALIDATION_FAILURE },
    { "RPT-080 TLS-030: the client's own leg is under TLS",
      CLIENT_REPORT,
      { .step = CLEAR_ONLY },
      0,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "RPT-080 TLS-030: the same, and a bad certificate",
      CLIENT_REPORT,
      { .chain = UNTRUSTED },
      0,
      VERDICT_ALLOW,
      REPLY_NONE,
      RESULT_SUCCESS },
    { "RPT-080 RTLS-003: REQUIRETLS, no STARTTLS",
      REQUIRETLS_REPORT,
      { .step = CLEAR_ONLY },
      0,
      VERDICT_REFUSE,
      REPLY_REQUIRETLS_UNMET,
      RESULT_STARTTLS_NOT_SUPPORTED },
    { "RPT-080 RTLS-003: REQUIRETLS, untrusted",
      REQUIRETLS_REPORT,
      { .chain = UNTRUSTED },
      0,
      VERDICT_REFUSE,
      REPLY_REQUIRETLS_UNMET,
      RESULT_SUCCESS },
    { "RPT-080 RTLS-003: REQUIRETLS, no keyword",
      REQUIRETLS_REPORT,
      { .mode = TESTING },
      0,
      VERDICT_REFUSE,
      REPLY_REQUIRETLS_MISSING,
      RESULT_SUCCESS },
    { "RPT-080 TLS-031: who comes behind a report in clear, without the fallback",
      STRICT,
      { .mode = NONE, .step = AFTER_FAILURE, .bound = true },
      0,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_VALIDATION_FAILURE },
    { "RPT-080 TLS-031: the same in testing",
      STRICT,
      { .mode = TESTING, .step = AFTER_FAILURE, .bound = true },
      0,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_VALIDATION_FAILURE },
    { "RPT-080 TLS-031: the same under an override monitor",
      STRICT,
      { .step = AFTER_FAILURE, .bound = true },
      RULE_MONITOR,
      VERDICT_REFUSE,
      REPLY_TLS_REQUIRED,
      RESULT_VALIDATION_FAILURE },
};

static void
test_demand(void **state)
{
    const struct demand_case *c = *state;
    struct requirement req;
    struct observation obs;
    struct verdict v;

    fill_requirement(&c->facts, &req);
    req.local.action = c->action;
    fill_observation(&c->facts, &req, &obs);
    v = judge(&req, &c->demand, &obs, NOW_S);
    check_rejudged(&req, &obs, &v);
    assert_string_equal(verdict_action_name(v.action), verdict_action_name(c->want));
    assert_int_equal(v.reply, c->reply);
    assert_string_equal(result_type_name(v.result), result_type_name(c->result));
}

/* ---- REQUIRETLS ---- */

/* Zero is the case in which all is well: no policy in enforce, DNSSEC secures the MX name. */
static struct requiretls_case {
    const char *name;
    struct facts facts;
    bool insecure;   /* the MX RRset is */
    bool no_keyword; /* the MX does not list it under TLS */
    bool null_sender;
    enum rule_action action;
    enum verdict_action want;
    enum reply_row reply;
} requiretls_cases[] = {
    { "RTLS-003: all there", .facts = { .mode = NONE }, .want = VERDICT_ALLOW },
    { "RTLS-003: no keyword", .facts = { .mode = NONE }, .no_keyword = true,
      .reply = REPLY_REQUIRETLS_MISSING },
    { "RTLS-006: no keyword, a bounce", .facts = { .mode = NONE }, .no_keyword = true,
      .null_sender = true, .want = VERDICT_ALLOW },
    { "RTLS-006: a bounce without a certificate", .facts = { .mode = NONE, .chain = UNTRUSTED },
      .null_sender = true, .reply = REPLY_REQUIRETLS_UNMET },
    { "RTLS-003: the MX name may be forged", .facts = { .mode = NONE }, .insecure = true,
      .reply = REPLY_REQUIRETLS_UNMET },
    { "RTLS-003: no policy is no policy match", .facts = { .mode = EXPIRED }, .insecure = true,
      .reply = REPLY_REQUIRETLS_UNMET },
    { "RTLS-003: MTA-STS vouches for the name", .facts = { .mode = ENFORCE }, .insecure = true,
      .want = VERDICT_ALLOW },
    { "RTLS-003: also in testing", .facts = { .mode = TESTING }, .insecure = true,
      .want = VERDICT_ALLOW },
    { "RTLS-003: not if it lists another", .facts = { .mode = TESTING, .lists = LISTS_OTHER },
      .insecure = true, .reply = REPLY_REQUIRETLS_UNMET },
    { "RTLS-003: the operator vouches for the name", .facts = { .mode = NONE, .found = BY_TABLE },
      .insecure = true, .want = VERDICT_ALLOW },
    { "RTLS-003 TC-REQ-02: untrusted", .facts = { .mode = NONE, .chain = UNTRUSTED },
      .reply = REPLY_REQUIRETLS_UNMET },
    { "RTLS-003: expired, in testing", .facts = { .mode = TESTING, .chain = OVERDUE },
      .reply = REPLY_REQUIRETLS_UNMET },
    { "RTLS-003: another name", .facts = { .mode = NONE, .san = SAN_OTHER },
      .reply = REPLY_REQUIRETLS_UNMET },
    { "RTLS-003: no STARTTLS", .facts = { .mode = NONE, .step = CLEAR_ONLY },
      .reply = REPLY_REQUIRETLS_UNMET },
    { "RTLS-003: STARTTLS refused", .facts = { .mode = NONE, .step = REFUSED },
      .reply = REPLY_REQUIRETLS_UNMET },
    { "TLS-030 RTLS-003: handshake failed, no clear text",
      .facts = { .mode = NONE, .step = HANDSHAKE }, .reply = REPLY_REQUIRETLS_UNMET },
    { "RTLS-003: STARTTLS first", .facts = { .mode = NONE, .step = CLEAR },
      .want = VERDICT_START_TLS },
    { "PRX-030 RTLS-003: the handshake was for another",
      .facts = { .mode = NONE, .san = SAN_OTHER, .sni = SNI_OTHER }, .want = VERDICT_RECONNECT },
    { "PRX-033 RTLS-003: and recipients are accepted",
      .facts = { .mode = NONE, .san = SAN_OTHER, .sni = SNI_OTHER, .bound = true },
      .reply = REPLY_OTHER_IDENTITY },
    { "TC-REQ-04: a promise to the sender, whatever is bypassed",
      .facts = { .mode = NONE, .chain = UNTRUSTED }, .action = RULE_BYPASS,
      .reply = REPLY_REQUIRETLS_UNMET },
    { "RTLS-003: beside it the domain's policy holds", .facts = { .chain = UNTRUSTED },
      .reply = REPLY_STS_CERTIFICATE },
};

static void
test_requiretls(void **state)
{
    static const struct demand usual_demand = { .requiretls = true,
                                                .cleartext_fallback = true,
                                                .floor = TLS_VERSION_1_2 };
    const struct requiretls_case *c = *state;
    struct demand demand = usual_demand;
    struct requirement req;
    struct observation obs;
    struct verdict v;

    demand.null_sender = c->null_sender;
    fill_requirement(&c->facts, &req);
    req.dane.mx_secure = !c->insecure;
    req.local.action = c->action;
    fill_observation(&c->facts, &req, &obs);
    obs.floor = obs.floor ? judge_floor(&req, &demand) : 0;
    obs.requiretls_offered = !c->no_keyword;
    v = judge(&req, &demand, &obs, NOW_S);
    check_rejudged(&req, &obs, &v);
    assert_string_equal(verdict_action_name(v.action), verdict_action_name(c->want));
    assert_int_equal(v.reply, c->reply);
    assert_int_equal(judge_floor(&req, &demand), TLS_VERSION_1_2); /* TLS-020 */
}

/* ---- the whole product ---- */

/* What one combination came to, for the text of a failure. */
struct trial {
    struct facts facts;
    struct demand demand;
    struct requirement req;
    struct observation obs;
    struct verdict v;
};

static void
check(const struct trial *t, bool holds, const char *promise)
{
    const struct facts *f = &t->facts;

    if (holds)
        return;
    fail_msg("%s: mode=%d step=%d chain=%d san=%d lists=%d names=%d found=%d sni=%d bound=%d "
             "mx_failed=%d higher=%d version=%x: %s reply=%d result=%s rule=%s",
             promise, f->mode, f->step, f->chain, f->san, f->lists, f->names, f->found, f->sni,
             f->bound, f->mx_failed, f->higher_floor, f->version, verdict_action_name(t->v.action),
             t->v.reply, result_type_name(t->v.result), t->v.rule);
}

/* RFC 8461 4.1 and 4.2 once more, in one line: some candidate is listed and named. */
static bool
is_proven(const struct trial *t, bool must_be_listed)
{
    for (size_t i = 0; i < t->req.names.count; i++) {
        struct span name = span_of(t->req.names.names[i]);
        bool listed = hostname_matches(span_of(t->req.sts.mx.names[0]), name);
        bool named = t->obs.sans.count && hostname_matches(span_of(t->obs.sans.names[0]), name);

        if (named && (listed || !must_be_listed))
            return true;
    }
    return false;
}

static bool
demands_tls(const struct trial *t)
{
    return t->demand.site_tls || t->demand.client_tls;
}

/* What the next connection starts from, after the session has made it (proxy/session.c). */
static void
take_step(struct trial *t)
{
    struct observation *obs = &t->obs;

    if (t->v.action == VERDICT_RECONNECT) {
        if (obs->stage != TLS_STAGE_FAILED)
            *obs = (struct observation){ .refs = 1 };
        obs->stage = TLS_STAGE_CLEAR;
        obs->starttls_offered = true;
        return;
    }
    obs->stage = TLS_STAGE_FAILED;
    obs->failure = TLS_FAILURE_HANDSHAKE;
    obs->floor = judge_floor(&t->req, &t->demand);
    snprintf(obs->failure_reason, sizeof obs->failure_reason, REASON);
    snprintf(obs->sni, sizeof obs->sni, "%s", requirement_sni(&t->req));
}

/* With an MX whose every handshake fails each recipient comes to an end all the same. */
static void
check_ends(const struct trial *t)
{
    struct trial now = *t;

    for (unsigned i = 0; i < 5; i++) {
        if (now.v.action != VERDICT_RECONNECT && now.v.action != VERDICT_START_TLS)
            return;
        take_step(&now);
        now.v = judge(&now.req, &now.demand, &now.obs, NOW_S);
    }
    check(t, false, "no loop: at most another floor or name, and one connection in clear");
}

static void
check_always(const struct trial *t)
{
    const struct verdict *v = &t->v;
    bool has_reply = v->action == VERDICT_REFUSE || v->action == VERDICT_CLOSE;

    check(t, has_reply == (v->reply != REPLY_NONE), "a reply row with REFUSE and CLOSE only");
    check(t, v->reply < REPLY_ROWS, "a known reply row");
    check(t, v->rule && v->rule[0] && v->mx, "rule and mx are texts");
    check(t, !t->obs.bound || (v->action != VERDICT_RECONNECT && v->action != VERDICT_START_TLS),
          "PRX-031: the connection stays while a transaction holds it");
    check(t, v->reply != REPLY_OTHER_IDENTITY || t->obs.bound,
          "PRX-033: 452 needs a recipient already accepted");
    check(t,
          v->action != VERDICT_START_TLS ||
              (t->obs.stage == TLS_STAGE_CLEAR && t->obs.starttls_offered),
          "TLS-001: STARTTLS only where it is offered, once");
    check(t,
          v->action != VERDICT_RECONNECT || t->obs.stage == TLS_STAGE_FAILED ||
              t->obs.floor != judge_floor(&t->req, &t->demand) ||
              strcmp(t->obs.sni, requirement_sni(&t->req)) != 0,
          "PRX-030: a new connection changes something");
    check(t, v->action != VERDICT_ALLOW || !demands_tls(t) || t->obs.stage == TLS_STAGE_DONE,
          "TLS-030: nothing in clear where TLS is demanded");
    check(t, v->action != VERDICT_ALLOW || t->obs.stage != TLS_STAGE_FAILED,
          "TLS-006: nothing goes over a dead connection");
    check(t, !v->proven || (t->obs.chain == CHAIN_GOOD && t->obs.stage == TLS_STAGE_DONE),
          "proven needs a good chain");
    check(t,
          (v->result != RESULT_VALIDATION_FAILURE && v->result != RESULT_CERTIFICATE_NOT_TRUSTED) ||
              v->reason[0],
          "RPT-041: these results carry a reason");
}

static void
check_enforce(const struct trial *t)
{
    const struct verdict *v = &t->v;
    bool good = t->obs.stage == TLS_STAGE_DONE && t->obs.chain == CHAIN_GOOD &&
                t->obs.version >= TLS_VERSION_1_2 && is_proven(t, true);

    check(t, v->action != VERDICT_ALLOW || (good && v->proven && v->result == RESULT_SUCCESS),
          "STS-100: enforce allows what is proven only");
    check(t, !good || v->action == VERDICT_ALLOW, "what is proven is allowed");
    check(t,
          v->action != VERDICT_REFUSE || v->result != RESULT_SUCCESS ||
              v->reply == REPLY_OTHER_IDENTITY,
          "a refusal is counted");
    check(t, v->action != VERDICT_CLOSE, "a refused recipient leaves the session alone");
}

static void
check_relaxed(const struct trial *t)
{
    if (!demands_tls(t) && t->demand.cleartext_fallback)
        check(t, t->v.action != VERDICT_REFUSE, "STS-101, PRX-050: never refused without enforce");
    check(t,
          t->v.action != VERDICT_CLOSE ||
              (t->obs.stage == TLS_STAGE_FAILED && (t->obs.bound || t->facts.step == INJECTED)),
          "TLS-008: closed after an attack, or with recipients accepted on what is dead");
}

/* Testing counts what enforce refuses (STS-101), but for identity conflicts (PRX-033). */
static void
check_testing(const struct trial *t)
{
    struct requirement strict = t->req;
    struct verdict v;

    strict.sts.mode = STS_MODE_ENFORCE;
    v = judge(&strict, &t->demand, &t->obs, NOW_S);
    if (demands_tls(t))
        return;
    if (v.action != VERDICT_REFUSE)
        check(t, t->v.action == v.action, "testing goes where enforce goes on");
    else if (v.reply == REPLY_OTHER_IDENTITY)
        check(t, t->v.result != RESULT_CERTIFICATE_HOST_MISMATCH,
              "TC-GW-25: a conflict of identities is not counted");
    else if (t->v.action == VERDICT_ALLOW)
        check(t, t->v.result == v.result && strcmp(t->v.reason, v.reason) == 0,
              "STS-101: counted as enforce would");
}

/* STS-065, STS-102: as though there were no policy. */
static void
check_without_policy(const struct trial *t)
{
    struct requirement bare = t->req;
    struct verdict v;

    bare.sts.mode = STS_MODE_NONE;
    bare.sts.mx = (struct name_list){ 0 };
    bare.sts.fetched_at_s = bare.sts.expires_at_s = 0;
    v = judge(&bare, &t->demand, &t->obs, NOW_S);
    check(t,
          v.action == t->v.action && v.reply == t->v.reply && v.result == t->v.result &&
              strcmp(v.rule, t->v.rule) == 0,
          "none and expired are as no policy");
    check(t,
          t->obs.stage != TLS_STAGE_DONE || t->v.action == VERDICT_ALLOW ||
              (demands_tls(t) && t->obs.version < judge_floor(&t->req, &t->demand)),
          "TLS-032: no certificate failure blocks without a policy");
}

/* TLS-026: the same facts, but they rest on an earlier session. What passes passes; what would not
 * is looked at in full first. */
static void
check_resumed(const struct trial *t)
{
    struct observation obs = t->obs;
    struct verdict v;

    obs.ticket_offered = true;
    obs.resumed = obs.stage == TLS_STAGE_DONE;
    v = judge(&t->req, &t->demand, &obs, NOW_S);
    if (t->obs.stage == TLS_STAGE_DONE) {
        check(t,
              v.action != VERDICT_REFUSE || v.reply == REPLY_OTHER_IDENTITY ||
                  strncmp(v.rule, "STS-080", 7) == 0,
              "TLS-026: no refusal rests on a resumed session");
        check(t,
              v.result == RESULT_SUCCESS || v.action == VERDICT_REFUSE ||
                  strncmp(v.rule, "STS-080", 7) == 0,
              "TLS-026: nor is a failure counted");
    }
    if (t->facts.step == HANDSHAKE || t->facts.step == VERSION)
        check(t,
              v.action == VERDICT_RECONNECT || v.action == VERDICT_CLOSE ||
                  v.reply == REPLY_OTHER_IDENTITY || strncmp(v.rule, "STS-080", 7) == 0,
              "TLS-026: a failure with a ticket on offer is tried without");
    if (t->v.action == VERDICT_ALLOW && t->v.result == RESULT_SUCCESS)
        check(t, v.action == VERDICT_ALLOW && v.mx == t->v.mx && v.proven == t->v.proven,
              "TLS-026: what passes in full passes resumed");
    check(t, v.action != VERDICT_RECONNECT || !t->obs.bound, "PRX-031: never while bound");
    check(t, !v.full_handshake || v.action == VERDICT_RECONNECT,
          "a full one needs a new connection");
    if (v.action == VERDICT_RECONNECT && t->v.action != VERDICT_RECONNECT)
        check(t, v.full_handshake, "TLS-026: in full this time, so that it ends");
}

/* RPT-080: whatever fails, it goes, and no failure is counted; what would have been is told. */
static void
check_report(const struct trial *t)
{
    struct demand ordinary = t->demand;

    ordinary.report_mail = false;
    check(t, t->v.action != VERDICT_REFUSE, "RPT-080: a report is not refused");
    check(t, t->v.action != VERDICT_CLOSE || t->obs.bound, "RPT-080: another connection may do");
    check(t, t->v.action != VERDICT_ALLOW || t->v.result == RESULT_SUCCESS, "RPT-029");
    check(t, t->v.would == judge(&t->req, &ordinary, &t->obs, NOW_S).would,
          "PRX-041: what would have been of other mail");
}

static void
try_one(const struct facts *facts, const struct demand *demand, bool rejudged)
{
    struct trial t = { .facts = *facts, .demand = *demand };

    fill_requirement(facts, &t.req);
    fill_observation(facts, &t.req, &t.obs);
    t.v = judge(&t.req, &t.demand, &t.obs, NOW_S);
    if (rejudged)
        check_rejudged(&t.req, &t.obs, &t.v);
    check_always(&t);
    check_ends(&t);
    if (demand->report_mail) {
        check_report(&t);
        return;
    }
    check_resumed(&t);
    switch (facts->mode) {
    case ENFORCE:
        check_enforce(&t);
        break;
    case TESTING:
        check_relaxed(&t);
        check_testing(&t);
        break;
    case NONE:
    case EXPIRED:
    case POLICY_MODES:
        check_relaxed(&t);
        check_without_policy(&t);
        break;
    }
}

/* The digit of `*number` in base n; the rest stays in it. */
static unsigned
digit(unsigned long *number, unsigned n)
{
    unsigned d = (unsigned)(*number % n);

    *number /= n;
    return d;
}

static void
test_product(void **state)
{
    static const uint16_t versions[] = { 0, 0x0300, TLS_VERSION_1_0, TLS_VERSION_1_1,
                                         TLS_VERSION_1_2 };
    static const struct demand demands[] = {
        { .cleartext_fallback = true, .floor = TLS_VERSION_1_2 },
        { .floor = TLS_VERSION_1_2 },
        { .site_tls = true, .cleartext_fallback = true, .floor = TLS_VERSION_1_2 },
        { .client_tls = true, .cleartext_fallback = true, .floor = TLS_VERSION_1_2 },
        { .floor = TLS_VERSION_1_2, .report_mail = true, .report_floor = TLS_VERSION_1_0 },
    };
    const unsigned long all = 1ul * POLICY_MODES * STEPS * QUALITIES * SANS * LISTS * NAMES *
                              FOUNDS * SNIS * ROWS(versions) * 8 * ROWS(demands);

    (void)state;
    for (unsigned long i = 0; i < all; i++) {
        unsigned long n = i;
        struct facts f = { .mode = digit(&n, POLICY_MODES), .step = digit(&n, STEPS) };

        f.bound = digit(&n, 2);
        f.higher_floor = digit(&n, 2);
        f.sni = digit(&n, SNIS);
        f.names = digit(&n, NAMES);
        f.found = digit(&n, FOUNDS);
        f.mx_failed = digit(&n, 2);
        f.lists = digit(&n, LISTS);
        f.san = digit(&n, SANS);
        f.chain = digit(&n, QUALITIES);
        f.version = versions[digit(&n, ROWS(versions))];
        if (f.step == DONE || (f.san == SAN_MX && f.chain == GOOD)) /* else they say nothing */
            try_one(&f, &demands[digit(&n, ROWS(demands))], i % REJUDGED_EVERY == 0);
    }
}

/* RPT-080: who has been caught writing into the dialogue got the report about that, and nothing
 * else (TLS-008). Who takes no mail at all gets no report either. */
static void
test_report_limits(void **state)
{
    static const struct demand report = { .report_mail = true, .report_floor = TLS_VERSION_1_0 };
    const struct facts f = { .mode = NONE, .step = AFTER_FAILURE };
    struct requirement req;
    struct observation obs;
    struct verdict v;

    (void)state;
    fill_requirement(&f, &req);
    fill_observation(&f, &req, &obs);
    obs.failure = TLS_FAILURE_INJECTED;
    v = judge(&req, &report, &obs, NOW_S);
    assert_int_equal(v.action, VERDICT_ALLOW);
    assert_string_equal(v.rule, "RPT-080 RFC 8460 3");
    v = judge(&req, &usual, &obs, NOW_S);
    assert_int_equal(v.action, VERDICT_REFUSE);
    assert_string_equal(v.rule, "TLS-008 RFC 3207 6");
    req.null_mx = true;
    assert_int_equal(judge(&req, &report, &obs, NOW_S).reply, REPLY_NULL_MX);
    req.null_mx = false;
    req.defer = true; /* STS-011 */
    assert_int_equal(judge(&req, &report, &obs, NOW_S).action, VERDICT_ALLOW);
    req.dane.state = DANE_FAILED; /* DANE-006 */
    assert_int_equal(judge(&req, &report, &obs, NOW_S).action, VERDICT_ALLOW);
    req.dane.state = DANE_NONE;
    req.dane.required = true; /* DANE-041 */
    req.local.action = RULE_DANE;
    assert_int_equal(judge(&req, &report, &obs, NOW_S).action, VERDICT_ALLOW);
}

/* After a new connection STARTTLS follows, and its handshake is judged: no second reconnect. */
static void
test_reconnect_ends(void **state)
{
    struct facts f = { .sni = SNI_OTHER, .san = SAN_OTHER };
    struct requirement req;
    struct observation obs;

    (void)state;
    fill_requirement(&f, &req);
    fill_observation(&f, &req, &obs);
    assert_int_equal(judge(&req, &usual, &obs, NOW_S).action, VERDICT_RECONNECT);
    f.step = CLEAR;
    fill_observation(&f, &req, &obs);
    assert_int_equal(judge(&req, &usual, &obs, NOW_S).action, VERDICT_START_TLS);
    f.step = DONE;
    f.sni = SNI_SAME;
    fill_observation(&f, &req, &obs);
    assert_int_equal(judge(&req, &usual, &obs, NOW_S).reply, REPLY_STS_NAME_MISMATCH);
}

/* STS-104, REP-010: what fails for an MTA-STS policy is tried again. */
static void
test_sts_refusals_are_temporary(void **state)
{
    (void)state;
    for (unsigned row = REPLY_STS_MX_MISMATCH; row <= REPLY_STS_NAME_MISMATCH; row++)
        assert_int_equal(reply_code((enum reply_row)row), 451);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_expiry),         cmocka_unit_test(test_site_floor),
        cmocka_unit_test(test_product),        cmocka_unit_test(test_report_limits),
        cmocka_unit_test(test_reconnect_ends), cmocka_unit_test(test_sts_refusals_are_temporary),
    };
    struct CMUnitTest tests[ROWS(cases) + ROWS(local_cases) + ROWS(demand_cases) +
                            ROWS(requiretls_cases) + ROWS(others)] = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = cases[i].name,
                                          .test_func = test_case,
                                          .initial_state = (void *)(uintptr_t)&cases[i] };
    for (size_t i = 0; i < ROWS(local_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = local_cases[i].name,
                                          .test_func = test_local,
                                          .initial_state = &local_cases[i] };
    for (size_t i = 0; i < ROWS(demand_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = demand_cases[i].name,
                                          .test_func = test_demand,
                                          .initial_state = &demand_cases[i] };
    for (size_t i = 0; i < ROWS(requiretls_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = requiretls_cases[i].name,
                                          .test_func = test_requiretls,
                                          .initial_state = &requiretls_cases[i] };
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests_name("judge", tests, NULL, NULL);
}
