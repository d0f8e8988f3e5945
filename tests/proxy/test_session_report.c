/* tests/proxy/test_session_report.c: what TLSRPT counts of a verdict (RPT-020 ... RPT-033, RPT-040,
 * TC-RPT-05, TC-RPT-06, TC-RPT-07, TC-RPT-11): each row is judged by judge() first. The domain is
 * the requirement's (RPT-010); a failure may have a second detail (RPT-024). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "proxy/judge.h"
#include "proxy/session_report.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define NOW_S 1700000000
#define SET(field, text) snprintf(field, sizeof(field), "%s", text)

typedef void change(struct requirement *req, struct observation *obs);

struct report_case {
    const char *name;
    change *domain, *mx; /* what they are like; NULL: nothing but names and an address */
    const char *want;    /* "TYPE POLICY-DOMAIN ok|failed RESULT/REASON ..., ..." */
};

/* ---- domains ---- */

static void
rename_first(struct name_list *list, const char *name)
{
    name_list_clear(list);
    assert_int_equal(name_list_add(list, span_of(name)), RES_OK);
}

static void
sts(struct requirement *req, struct observation *obs)
{
    (void)obs;
    req->sts.mode = STS_MODE_ENFORCE;
    req->sts.fetched_at_s = NOW_S - 100;
    req->sts.expires_at_s = NOW_S + 100;
    memset(req->sts.text_sha256, 7, sizeof req->sts.text_sha256);
    assert_int_equal(name_list_add(&req->sts.mx, span_of("mx.example.com")), RES_OK);
}

static void
testing(struct requirement *req, struct observation *obs)
{
    sts(req, obs);
    req->sts.mode = STS_MODE_TESTING;
}

static void
monitored(struct requirement *req, struct observation *obs)
{
    sts(req, obs);
    req->monitored = true;
}

static void
mode_none(struct requirement *req, struct observation *obs)
{
    sts(req, obs);
    req->sts.mode = STS_MODE_NONE;
    SET(req->sts.discovery, "sts-policy-fetch-error http-404");
}

static void
expired(struct requirement *req, struct observation *obs)
{
    sts(req, obs);
    req->sts.expires_at_s = NOW_S;
}

static void
elsewhere(struct requirement *req, struct observation *obs)
{
    sts(req, obs);
    rename_first(&req->sts.mx, "mx.elsewhere");
}

static void
refresh_failed(struct requirement *req, struct observation *obs)
{
    sts(req, obs);
    SET(req->sts.discovery, "sts-policy-fetch-error txt-missing");
}

static void
fetch_failed(struct requirement *req, struct observation *obs)
{
    (void)obs;
    SET(req->sts.discovery, "sts-policy-fetch-error http-404");
}

static void
policy_invalid(struct requirement *req, struct observation *obs)
{
    (void)obs;
    SET(req->sts.discovery, "sts-policy-invalid line 2: mode");
}

static void
webpki_invalid(struct requirement *req, struct observation *obs)
{
    (void)obs;
    SET(req->sts.discovery, "sts-webpki-invalid X509_V_ERR_CERT_HAS_EXPIRED");
}

static void
txt_failed(struct requirement *req, struct observation *obs)
{
    (void)obs;
    SET(req->sts.discovery, "sts-policy-fetch-error txt-servfail");
}

static void
tlsa(struct requirement *req, struct observation *obs)
{
    req->dane.state = DANE_SECURE;
    req->dane.mx_secure = true;
    req->dane.hosts = calloc(1, sizeof *req->dane.hosts);
    assert_non_null(req->dane.hosts);
    req->dane.host_count = 1;
    SET(req->dane.hosts->mx, "mx.example.com");
    SET(req->dane.hosts->base, "mx.example.com");
    assert_int_equal(
        dane_host_add(req->dane.hosts, 3, 1, 1, span_of("0123456789abcdef0123456789abcdef")),
        RES_OK);
    obs->dane =
        (struct dane_facts){ .key = requirement_dane_key(req), .match = DANE_MATCHED, .usage = 3 };
}

static void
tlsa_no_match(struct requirement *req, struct observation *obs)
{
    tlsa(req, obs);
    obs->dane.match = DANE_NO_MATCH;
    SET(obs->dane.error, "X509_V_ERR_DANE_NO_MATCH");
}

static void
tlsa_unusable(struct requirement *req, struct observation *obs)
{
    tlsa(req, obs);
    obs->dane.match = DANE_UNUSABLE;
}

static void
bogus(struct requirement *req, struct observation *obs)
{
    (void)obs;
    req->dane.state = DANE_FAILED;
    req->dane.dnssec = true;
    SET(req->dane.reason, "tlsa bogus");
}

static void
dns_failed(struct requirement *req, struct observation *obs)
{
    (void)obs;
    req->dane.state = DANE_FAILED;
    SET(req->dane.reason, "mx servfail");
}

static void
dane_demanded(struct requirement *req, struct observation *obs)
{
    (void)obs;
    req->dane.required = true;
    req->local.action = RULE_DANE;
}

static void
both(struct requirement *req, struct observation *obs)
{
    sts(req, obs);
    tlsa(req, obs);
}

static void
both_no_match(struct requirement *req, struct observation *obs)
{
    sts(req, obs);
    tlsa_no_match(req, obs);
}

static void
literal(struct requirement *req, struct observation *obs)
{
    (void)obs;
    req->domain[0] = '\0';
}

static void
null_mx(struct requirement *req, struct observation *obs)
{
    (void)obs;
    req->null_mx = true;
}

static void
deferred(struct requirement *req, struct observation *obs)
{
    (void)obs;
    req->defer = true;
}

/* ---- connections ---- */

static void
clear(struct requirement *req, struct observation *obs)
{
    (void)req;
    obs->stage = TLS_STAGE_CLEAR;
    obs->starttls_offered = false;
}

static void
refused(struct requirement *req, struct observation *obs)
{
    (void)req;
    obs->stage = TLS_STAGE_REFUSED;
    obs->starttls_code = 454;
    SET(obs->failure_reason, "454 4.7.0 not now");
}

static void
failed(struct requirement *req, struct observation *obs)
{
    (void)req;
    obs->stage = TLS_STAGE_FAILED;
    obs->failure = TLS_FAILURE_HANDSHAKE;
    obs->version = 0;
    SET(obs->failure_reason, "sslv3 alert handshake failure");
}

static void
failed_wordless(struct requirement *req, struct observation *obs)
{
    failed(req, obs);
    obs->failure = TLS_FAILURE_TIMEOUT;
    obs->failure_reason[0] = '\0';
}

static void
fallen_back(struct requirement *req, struct observation *obs)
{
    failed(req, obs);
    obs->stage = TLS_STAGE_CLEAR;
}

static void
injected(struct requirement *req, struct observation *obs)
{
    failed(req, obs);
    obs->failure = TLS_FAILURE_INJECTED;
    SET(obs->failure_reason, "plaintext-after-starttls");
}

static void
old_certificate(struct requirement *req, struct observation *obs)
{
    (void)req;
    obs->chain = CHAIN_EXPIRED;
    SET(obs->chain_error, "X509_V_ERR_CERT_HAS_EXPIRED");
}

static void
unknown_ca(struct requirement *req, struct observation *obs)
{
    (void)req;
    obs->chain = CHAIN_UNTRUSTED;
    SET(obs->chain_error, "X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY");
}

static void
misnamed(struct requirement *req, struct observation *obs)
{
    (void)req;
    rename_first(&obs->sans, "mx.elsewhere");
}

/* PRX-033: another name in the ClientHello might have brought another certificate. */
static void
bound_misnamed(struct requirement *req, struct observation *obs)
{
    misnamed(req, obs);
    SET(obs->sni, "mx.other.example");
    obs->bound = true;
}

static struct report_case cases[] = {
    { "RPT-021 no policy, any TLS", NULL, unknown_ca, "no-policy-found example.com ok" },
    { "no policy, no STARTTLS", NULL, clear,
      "no-policy-found example.com failed starttls-not-supported/" },
    { "no policy, STARTTLS refused", NULL, refused,
      "no-policy-found example.com failed starttls-not-supported/454 4.7.0 not now" },
    { "TLS-033 no policy, on in clear", NULL, fallen_back,
      "no-policy-found example.com failed validation-failure/sslv3 alert handshake failure" },
    { "no policy, attacked", NULL, injected,
      "no-policy-found example.com failed validation-failure/plaintext-after-starttls" },
    { "RPT-028 mode none", mode_none, NULL, "no-policy-found example.com ok" },
    { "STS-065 expired", expired, NULL, "no-policy-found example.com ok" },
    { "nobody knows whether there is a policy", txt_failed, NULL,
      "no-policy-found example.com ok" },
    { "sts, all is well", sts, NULL, "sts example.com ok mx" },
    { "sts, no STARTTLS", sts, clear, "sts example.com failed starttls-not-supported/ mx" },
    { "sts, STARTTLS refused", sts, refused,
      "sts example.com failed starttls-not-supported/454 4.7.0 not now mx" },
    { "sts, expired certificate", sts, old_certificate,
      "sts example.com failed certificate-expired/X509_V_ERR_CERT_HAS_EXPIRED mx" },
    { "sts, unknown CA", sts, unknown_ca,
      "sts example.com failed certificate-not-trusted/X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY "
      "mx" },
    { "sts, another name", sts, misnamed, "sts example.com failed certificate-host-mismatch/ mx" },
    { "sts, handshake failure", sts, failed,
      "sts example.com failed validation-failure/sslv3 alert handshake failure mx" },
    { "RPT-041 always a reason", sts, failed_wordless,
      "sts example.com failed validation-failure/timeout mx" },
    { "sts, attacked", sts, injected,
      "sts example.com failed validation-failure/plaintext-after-starttls mx" },
    { "RPT-042 sts, MX not listed", elsewhere, NULL,
      "sts example.com failed validation-failure/sts-mx-mismatch mx" },
    { "PRX-033 not counted", sts, bound_misnamed, "" },
    { "RPT-023 testing", testing, misnamed,
      "sts example.com failed certificate-host-mismatch/ mx" },
    { "RPT-023 testing, on in clear", testing, clear,
      "sts example.com failed starttls-not-supported/ mx" },
    { "RPT-023 monitor", monitored, misnamed,
      "sts example.com failed certificate-host-mismatch/ mx" },
    { "RPT-027 refresh failed, all is well", refresh_failed, NULL,
      "sts example.com ok sts-policy-fetch-error/txt-missing(fetch) mx" },
    { "RPT-027 refresh failed, and so did TLS", refresh_failed, clear,
      "sts example.com failed starttls-not-supported/ sts-policy-fetch-error/txt-missing(fetch) "
      "mx" },
    { "RPT-026 no policy to be had", fetch_failed, NULL,
      "sts example.com failed sts-policy-fetch-error/http-404(fetch)" },
    { "RPT-026 malformed policy", policy_invalid, clear,
      "sts example.com failed sts-policy-invalid/line 2: mode(fetch)" },
    { "RPT-026 bad policy host", webpki_invalid, NULL,
      "sts example.com failed sts-webpki-invalid/X509_V_ERR_CERT_HAS_EXPIRED(fetch)" },
    { "tlsa matches", tlsa, NULL, "tlsa mx.example.com ok mx" },
    { "tlsa does not match", tlsa_no_match, NULL,
      "tlsa mx.example.com failed tlsa-invalid/X509_V_ERR_DANE_NO_MATCH mx" },
    { "tlsa unusable", tlsa_unusable, NULL,
      "tlsa mx.example.com failed tlsa-invalid/all-TLSA-records-unusable mx" },
    { "tlsa, no STARTTLS", tlsa, clear, "tlsa mx.example.com failed starttls-not-supported/ mx" },
    { "dnssec", bogus, NULL, "tlsa mx.example.com failed dnssec-invalid/tlsa bogus mx" },
    { "a DNS failure says nothing of the MX", dns_failed, NULL, "" },
    { "dane demanded", dane_demanded, NULL, "tlsa mx.example.com failed dane-required/ mx" },
    { "RPT-022 both", both, NULL, "sts example.com ok mx, tlsa mx.example.com ok mx" },
    { "RPT-022 both, each with its own outcome", both_no_match, NULL,
      "sts example.com ok mx, tlsa mx.example.com failed tlsa-invalid/X509_V_ERR_DANE_NO_MATCH "
      "mx" },
    { "RPT-031 a literal", literal, NULL, "" },
    { "null MX", null_mx, NULL, "" },
    { "deferred", deferred, NULL, "" },
};

/* ---- */

static void
append(char *dst, size_t size, const char *fmt, ...)
{
    size_t len = strlen(dst);
    va_list args;

    va_start(args, fmt);
    vsnprintf(dst + len, size - len, fmt, args);
    va_end(args);
}

static void
show(const struct tls_report *r, char *dst, size_t size)
{
    append(dst, size, "%s%s %s %s", *dst ? ", " : "", tls_report_type_name(r->type),
           r->policy_domain, r->failed ? "failed" : "ok");
    for (size_t i = 0; i < r->detail_count; i++)
        append(dst, size, " %s/%s%s", result_type_name(r->details[i].result), r->details[i].reason,
               r->details[i].fetch ? "(fetch)" : "");
    append(dst, size, "%s", r->mx.count ? " mx" : "");
    assert_string_equal(r->helo, "mail.example.com");
    assert_int_equal(r->at_s, NOW_S);
    assert_string_equal(r->domain, "example.com");
}

static struct requirement *
make_requirement(void)
{
    struct requirement *req = requirement_new();

    assert_non_null(req);
    SET(req->domain, "example.com");
    req->matched = MX_MATCH_ADDRESS;
    assert_int_equal(name_list_add(&req->names, span_of("mx.example.com")), RES_OK);
    return req;
}

static struct observation *
make_observation(void)
{
    struct observation *obs = observation_new();

    assert_non_null(obs);
    SET(obs->helo, "mail.example.com");
    SET(obs->sni, "mx.example.com");
    obs->starttls_offered = true;
    obs->starttls_code = 220;
    obs->stage = TLS_STAGE_DONE;
    obs->version = TLS_VERSION_1_3;
    obs->chain = CHAIN_GOOD;
    SET(obs->chain_error, "X509_V_OK");
    assert_int_equal(name_list_add(&obs->sans, span_of("mx.example.com")), RES_OK);
    return obs;
}

static void
test_report(void **state)
{
    const struct report_case *c = *state;
    const struct demand demand = { .cleartext_fallback = true };
    struct requirement *req = make_requirement();
    struct observation *obs = make_observation();
    struct session_report report;
    struct verdict verdict;
    char shown[1024] = "";

    if (c->domain)
        c->domain(req, obs);
    if (c->mx)
        c->mx(req, obs);
    verdict = judge(req, &demand, obs, NOW_S);
    assert_int_equal(
        session_report_make(
            &(struct session_report_facts){
                .req = req, .obs = obs, .dane = &obs->dane, .verdict = &verdict, .at_s = NOW_S },
            &report),
        RES_OK);
    for (size_t i = 0; i < report.count; i++)
        show(&report.parts[i], shown, sizeof shown);
    assert_string_equal(shown, c->want);
    session_report_clear(&report);
    requirement_unref(req);
    observation_unref(obs);
}

/* ---- those of a session ---- */

static void
on_told(void *arg, const struct tls_report *report)
{
    append(arg, 4096, "%s:%s ", report->domain, report->failed ? "failed" : "ok");
}

static void
keep(struct session_report_list *list, const char *domain, enum tls_report_type type, bool failed,
     char *told)
{
    struct tls_report r = { .type = type, .failed = failed };

    SET(r.domain, domain);
    SET(r.policy_domain, domain);
    session_report_keep(list, &r, on_told, told);
}

/* RPT-020: the last verdict's, once for each policy. */
static void
test_last_one_counts(void **state)
{
    struct session_report_list list = { .count = 0 };
    char told[4096] = "";

    (void)state;
    keep(&list, "a.example", TLS_REPORT_STS, true, told);
    keep(&list, "b.example", TLS_REPORT_STS, false, told);
    keep(&list, "a.example", TLS_REPORT_TLSA, false, told);
    keep(&list, "a.example", TLS_REPORT_STS, false, told);
    keep(&list, "b.example", TLS_REPORT_STS, true, told);
    assert_string_equal(told, "");
    session_report_tell_all(&list, on_told, told);
    assert_string_equal(told, "a.example:ok b.example:failed a.example:ok ");
    assert_int_equal(list.count, 0);
}

static void
test_bounded(void **state)
{
    struct session_report_list list = { .count = 0 };
    char told[4096] = "", domain[32];

    (void)state;
    for (unsigned i = 0; i < SESSION_REPORT_KEPT_MAX; i++) {
        snprintf(domain, sizeof domain, "d%u.example", i);
        keep(&list, domain, TLS_REPORT_STS, true, told);
    }
    keep(&list, "more.example", TLS_REPORT_STS, true, told);
    assert_string_equal(told, "more.example:failed ");
    session_report_tell_all(&list, NULL, NULL);
}

int
main(void)
{
    static struct CMUnitTest tests[ROWS(cases) + 2] = {
        { "RPT-020 the last verdict counts", test_last_one_counts, NULL, NULL, NULL },
        { "bounded", test_bounded, NULL, NULL, NULL },
    };

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[i + 2] = (struct CMUnitTest){ cases[i].name, test_report, NULL, NULL, &cases[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
