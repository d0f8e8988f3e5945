/* tests/proxy/test_check.c: what `stsgate check` makes of what it found: findings, verdict, text
 * and JSON (STS-073, TC-OPS-03). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/check_findings.h"
#include "proxy/check_report.h"
#include "proxy/check_show.h"
#include "proxy/inspect_frame.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define GOOD_TXT "v=STSv1; id=1;"
#define GOOD_RPT "v=TLSRPTv1; rua=mailto:a@a.example"
#define GOOD_BODY "version: STSv1\nmode: enforce\nmx: mx.a.example\nmax_age: 604800\n"

/* One domain as its DNS and its policy host have it. NULL and zeros: nothing there. */
struct world {
    const char *name;
    const char *sts_txt[2], *tlsrpt_txt[2];
    const char *body;        /* of the policy; valid where it parses */
    const char *problem;     /* why there is none */
    const char *txt_failure; /* "servfail", "bogus: ..." */
    const char *mx_failure;
    const char *root_failure;
    const char *mx;      /* the only host; NULL: implicit; "": null MX */
    size_t mx_left_out;  /* records that name no host */
    const char *address; /* its IPv4 address */
    const char *alias;   /* where that is */
    const char *tlsa;    /* "3 1 1" with as many octets as it takes, "9 9 9"; "failed" */
    bool nxdomain, insecure_mx;
    const char *codes; /* of the findings, in order */
    enum check_verdict verdict;
};

/* ---- making a report of it ---- */

static void
add(struct check_report *report, const struct inspect_part *part)
{
    struct buffer bytes;
    struct pack_writer w;

    buffer_init(&bytes, CHECK_PARTS_MAX_BYTES);
    pack_begin(&w, &bytes);
    inspect_frame_write(&w, part);
    assert_int_equal(pack_end(&w), RES_OK);
    check_report_add_part(report, buffer_span(&bytes));
    buffer_clear(&bytes);
}

static struct resolver_answer
answer_of(const char *failure, const char *owner)
{
    struct resolver_answer a = { .status = failure ? RESOLVER_FAILED : RESOLVER_ANSWERED,
                                 .security = DNS_SECURE };

    snprintf(a.reason, sizeof a.reason, "%s", failure ? failure : "");
    a.bogus = failure && strncmp(failure, "bogus", 5) == 0;
    snprintf(a.answer.owner, sizeof a.answer.owner, "%s", owner);
    return a;
}

static void
add_texts(struct check_report *report, enum inspect_kind kind, const char *name,
          const char *const texts[2], const char *failure)
{
    struct resolver_answer a = answer_of(failure, name);
    struct span spans[2];

    for (size_t i = 0; i < 2 && texts[i]; i++)
        spans[a.answer.count++] = span_of(texts[i]);
    a.answer.texts = spans;
    add(report, &(struct inspect_part){ .kind = kind, .name = name, .answer = &a });
}

static void
add_policy(struct check_report *report, const struct world *world)
{
    struct sts_finding finding = { .entry = { .id = "1", .max_age_s = 604800 } };
    struct sts_policy *policy = NULL;

    if (world->body) {
        finding.body = finding.entry.text = span_of(world->body);
        finding.has_policy = sts_policy_parse(finding.body, &policy, NULL) == RES_OK;
    }
    if (policy)
        finding.entry.mode = sts_policy_mode(policy);
    sts_policy_free(policy);
    snprintf(finding.problem, sizeof finding.problem, "%s", world->problem ? world->problem : "");
    add(report, &(struct inspect_part){
                    .kind = INSPECT_POLICY, .name = "mta-sts.a.example", .policy = &finding });
}

static void
add_tlsa(struct check_report *report, const struct world *world, const char *host)
{
    struct tlsa_finding finding = { .state = DANE_NONE };
    static const char octets[32];
    unsigned usage, selector, matching;

    if (world->tlsa && strcmp(world->tlsa, "failed") == 0) {
        finding.state = DANE_FAILED;
        snprintf(finding.reason, sizeof finding.reason, "tlsa servfail");
    } else if (world->tlsa) {
        assert_int_equal(sscanf(world->tlsa, "%u %u %u", &usage, &selector, &matching), 3);
        finding.state = DANE_SECURE;
        snprintf(finding.host.base, sizeof finding.host.base, "%s", host);
        assert_int_equal(dane_host_add(&finding.host, (uint8_t)usage, (uint8_t)selector,
                                       (uint8_t)matching, span_make(octets, sizeof octets)),
                         RES_OK);
    }
    add(report,
        &(struct inspect_part){ .kind = INSPECT_TLSA, .name = host, .tlsa = &finding, .port = 25 });
    dane_host_clear(&finding.host);
}

static void
add_host(struct check_report *report, const struct world *world, const char *host)
{
    struct resolver_answer a = answer_of(NULL, world->alias ? world->alias : host);
    struct ip_addr addr;

    if (world->address) {
        assert_int_equal(ip_addr_parse(world->address, &addr), RES_OK);
        a.answer.addrs = &addr;
        a.answer.count = 1;
    }
    add(report, &(struct inspect_part){
                    .kind = INSPECT_ADDRESS, .name = host, .qtype = DNS_TYPE_A, .answer = &a });
    a.answer.count = 0;
    add(report, &(struct inspect_part){
                    .kind = INSPECT_ADDRESS, .name = host, .qtype = DNS_TYPE_AAAA, .answer = &a });
    add_tlsa(report, world, host);
}

static void
add_mx(struct check_report *report, const struct world *world)
{
    struct resolver_answer a = answer_of(world->mx_failure, "a.example");
    struct dns_mx mx = { .preference = 10 };

    if (world->insecure_mx)
        a.security = DNS_INSECURE;
    if (world->nxdomain)
        a.answer.rcode = DNS_RCODE_NXDOMAIN;
    if (world->mx) {
        snprintf(mx.host, sizeof mx.host, "%s", world->mx);
        a.answer.mx = &mx;
        a.answer.count = 1;
    }
    a.answer.left_out = world->mx_left_out;
    add(report, &(struct inspect_part){ .kind = INSPECT_MX, .name = "a.example", .answer = &a });
    if (!world->mx_failure && !world->nxdomain && !(world->mx && !*world->mx) &&
        (world->mx || !world->mx_left_out))
        add_host(report, world, world->mx ? world->mx : "a.example");
}

static struct check_report *
report_of(const struct world *world)
{
    struct check_report *report = malloc(sizeof *report);

    assert_non_null(report);
    check_report_init(report, "a.example");
    add_texts(report, INSPECT_STS_TXT, "_mta-sts.a.example", world->sts_txt, world->txt_failure);
    add_policy(report, world);
    add_texts(report, INSPECT_TLSRPT_TXT, "_smtp._tls.a.example", world->tlsrpt_txt, NULL);
    add_mx(report, world);
    if (world->root_failure) {
        struct resolver_answer root = answer_of(world->root_failure, "");

        add(report,
            &(struct inspect_part){ .kind = INSPECT_RESOLVER, .name = ".", .answer = &root });
    }
    return report;
}

static void
conclude(struct check_report *report)
{
    check_find_in_resolver(report);
    check_find_in_policy(report);
    check_find_in_dns(report);
    check_find_in_connections(report);
    report->verdict = check_report_judge(report);
}

static void
free_report(struct check_report *report)
{
    check_report_clear(report);
    free(report);
}

/* A connection with that verdict, to the world's address. */
static struct probe_result *
add_connection(struct check_report *report, enum verdict_action action, enum reply_row row)
{
    struct probe_result *c = &report->connections[report->connection_count++];

    *c = (struct probe_result){ .port = 25, .forbidden = "", .end = PROBE_JUDGED };
    assert_int_equal(ip_addr_parse("192.0.2.1", &c->destination), RES_OK);
    buffer_init(&c->record, RECORD_MAX_BYTES);
    c->req = requirement_new();
    c->obs = observation_new();
    assert_non_null(c->req);
    assert_non_null(c->obs);
    c->obs->stage = TLS_STAGE_DONE;
    c->obs->version = TLS_VERSION_1_3;
    c->obs->chain = CHAIN_GOOD;
    c->verdict = (struct verdict){ .action = action,
                                   .reply = row,
                                   .would = action,
                                   .would_reply = row,
                                   .rule = "",
                                   .mx = "",
                                   .detail = "" };
    return c;
}

static char *
codes_of(const struct check_report *report)
{
    size_t size = 1;
    char *text;

    for (size_t i = 0; i < report->finding_count; i++)
        size += strlen(report->findings[i].code) + 1;
    text = calloc(1, size);
    assert_non_null(text);
    for (size_t i = 0; i < report->finding_count; i++)
        snprintf(text + strlen(text), size - strlen(text), "%s%s", i ? " " : "",
                 report->findings[i].code);
    return text;
}

/* ---- what is published ---- */

#define TXT .sts_txt = { GOOD_TXT }
#define RPT .tlsrpt_txt = { GOOD_RPT }
#define HOST .mx = "mx.a.example", .address = "192.0.2.1"

static struct world worlds[] = {
    { "nothing wrong", TXT, RPT, HOST, .body = GOOD_BODY, .codes = "", .verdict = CHECK_PASS },
    { "no policy", RPT, HOST, .codes = "txt-missing", .verdict = CHECK_NO_POLICY },
    { "a TXT record of something else", RPT, HOST, .sts_txt = { "v=spf1" }, .codes = "txt-missing",
      .verdict = CHECK_NO_POLICY },
    { "two TXT records", RPT, HOST, .sts_txt = { GOOD_TXT, GOOD_TXT }, .codes = "txt-several",
      .verdict = CHECK_NO_POLICY },
    { "a TXT record without id", RPT, HOST, .sts_txt = { "v=STSv1;" }, .codes = "txt-invalid",
      .verdict = CHECK_NO_POLICY },
    { "a blank before the semicolon", RPT, HOST, .sts_txt = { "v=STSv1 ; id=1" }, .body = GOOD_BODY,
      .codes = "txt-lenient", .verdict = CHECK_PASS },
    { "the TXT look-up fails", RPT, HOST, .txt_failure = "servfail", .codes = "txt-failed",
      .verdict = CHECK_TEMPORARY },
    { "the TXT record is bogus", RPT, HOST, .txt_failure = "bogus: no keys",
      .codes = "dnssec-bogus", .verdict = CHECK_TEMPORARY },
    { "redirect", TXT, RPT, HOST,
      .problem = "sts-policy-fetch-error "
                 "http-302",
      .codes = "policy-http", .verdict = CHECK_NO_POLICY },
    { "not found", TXT, RPT, HOST,
      .problem = "sts-policy-fetch-error "
                 "http-404",
      .codes = "policy-http", .verdict = CHECK_NO_POLICY },
    { "wrong type", TXT, RPT, HOST,
      .problem = "sts-policy-fetch-error "
                 "content-type",
      .codes = "policy-type", .verdict = CHECK_NO_POLICY },
    { "too large", TXT, RPT, HOST,
      .problem = "sts-policy-fetch-error "
                 "too-large",
      .codes = "policy-large", .verdict = CHECK_NO_POLICY },
    { "time-out", TXT, RPT, HOST,
      .problem = "sts-policy-fetch-error "
                 "timeout",
      .codes = "policy-timeout", .verdict = CHECK_NO_POLICY },
    { "no connection", TXT, RPT, HOST,
      .problem = "sts-policy-fetch-error "
                 "connect",
      .codes = "policy-connect", .verdict = CHECK_NO_POLICY },
    { "expired certificate of the policy host", TXT, RPT, HOST,
      .problem = "sts-policy-fetch-error "
                 "X509_V_ERR_CERT_HAS_EXPIRED",
      .codes = "policy-certificate", .verdict = CHECK_NO_POLICY },
    { "no handshake with it", TXT, RPT, HOST,
      .problem = "sts-policy-fetch-error "
                 "tls",
      .codes = "policy-tls", .verdict = CHECK_NO_POLICY },
    { "no address of it", TXT, RPT, HOST,
      .problem = "sts-policy-fetch-error "
                 "no-address",
      .codes = "policy-no-address", .verdict = CHECK_NO_POLICY },
    { "its look-up fails", TXT, RPT, HOST,
      .problem = "sts-policy-fetch-error "
                 "dns-failure",
      .codes = "policy-dns", .verdict = CHECK_NO_POLICY },
    { "a private address of it", TXT, RPT, HOST,
      .problem = "sts-policy-fetch-error "
                 "address-not-permitted",
      .codes = "policy-address", .verdict = CHECK_NO_POLICY },
    { "a failure without a row", TXT, RPT, HOST,
      .problem = "sts-policy-fetch-error "
                 "\x1b[2J",
      .codes = "policy-fetch", .verdict = CHECK_NO_POLICY },
    { "a malformed policy", TXT, RPT, HOST, .body = "mode: maybe\n",
      .problem = "sts-policy-invalid line 1: bad mode", .codes = "policy-invalid",
      .verdict = CHECK_NO_POLICY },
    { "mode none", TXT, RPT, HOST, .body = "version: STSv1\nmode: none\nmax_age: 1\n",
      .codes = "policy-none", .verdict = CHECK_NO_POLICY },
    { "mode testing", TXT, RPT, HOST, .verdict = CHECK_PASS,
      .body = "version: STSv1\nmode: testing\nmx: mx.a.example\nmax_age: 604800\n",
      .codes = "policy-testing" },
    { "a short max_age", TXT, RPT, HOST, .verdict = CHECK_PASS,
      .body = "version: STSv1\nmode: enforce\nmx: mx.a.example\nmax_age: 3600\n",
      .codes = "policy-max-age-short" },
    { "a long max_age, an empty line", TXT, RPT, HOST, .verdict = CHECK_PASS,
      .body = "version: STSv1\n\nmode: enforce\nmx: mx.a.example\nmax_age: 99999999\n",
      .codes = "policy-empty-line policy-max-age-long" },
    { "another MX host", TXT, RPT, HOST, .verdict = CHECK_PASS,
      .body = "version: STSv1\nmode: enforce\nmx: *.b.example\nmax_age: 604800\n",
      .codes = "mx-not-listed mx-unused" },
    { "a wildcard lists it", TXT, RPT, HOST, .verdict = CHECK_PASS,
      .body = "version: STSv1\nmode: enforce\nmx: *.a.example\nmax_age: 604800\n", .codes = "" },
    { "no TLSRPT record", TXT, HOST, .tlsrpt_txt = { NULL }, .body = GOOD_BODY,
      .codes = "tlsrpt-missing", .verdict = CHECK_PASS },
    { "two TLSRPT records", TXT, HOST, .tlsrpt_txt = { GOOD_RPT, GOOD_RPT }, .body = GOOD_BODY,
      .codes = "tlsrpt-several", .verdict = CHECK_PASS },
    { "a TLSRPT record without rua", TXT, HOST, .tlsrpt_txt = { "v=TLSRPTv1;" }, .body = GOOD_BODY,
      .codes = "tlsrpt-invalid", .verdict = CHECK_PASS },
    { "a TLSRPT record with ftp", TXT, HOST, .tlsrpt_txt = { "v=TLSRPTv1; rua=ftp://a.example/" },
      .body = GOOD_BODY, .codes = "tlsrpt-unusable", .verdict = CHECK_PASS },
    { "the resolver is dead", RPT, HOST, .txt_failure = "timeout", .mx_failure = "timeout",
      .root_failure = "timeout", .codes = "resolver-failed", .verdict = CHECK_TEMPORARY },
    { "nothing can be validated", RPT, HOST, .txt_failure = "bogus: no keys",
      .mx_failure = "bogus: no keys", .root_failure = "bogus: no keys", .codes = "resolver-blind",
      .verdict = CHECK_TEMPORARY },
    { "the MX look-up fails", TXT, RPT, HOST, .mx_failure = "timeout", .body = GOOD_BODY,
      .codes = "mx-unused dns-failed", .verdict = CHECK_TEMPORARY },
    { "the MX records are bogus", TXT, RPT, HOST, .mx_failure = "bogus: expired", .body = GOOD_BODY,
      .codes = "mx-unused dnssec-bogus", .verdict = CHECK_TEMPORARY },
    { "no such domain", .nxdomain = true, .tlsrpt_txt = { GOOD_RPT },
      .codes = "txt-missing no-such-domain", .verdict = CHECK_NO_POLICY },
    { "null MX", RPT, .address = "192.0.2.1", .mx = "", .codes = "txt-missing null-mx",
      .verdict = CHECK_NO_POLICY },
    { "no MX records", RPT, .address = "192.0.2.1", .mx = NULL, .codes = "txt-missing mx-implicit",
      .verdict = CHECK_NO_POLICY },
    { "MX records that name no host", RPT, .address = "192.0.2.1", .mx = NULL, .mx_left_out = 2,
      .codes = "txt-missing mx-no-name", .verdict = CHECK_NO_POLICY },
    { "an address as MX host", RPT, .address = "192.0.2.1", .mx = "192.0.2.7",
      .codes = "txt-missing mx-is-address", .verdict = CHECK_NO_POLICY },
    { "an MX host without address", RPT, .mx = "mx.a.example", .address = NULL,
      .codes = "txt-missing mx-no-address", .verdict = CHECK_NO_POLICY },
    { "an alias as MX host", RPT, HOST, .alias = "b.example", .codes = "txt-missing mx-alias",
      .verdict = CHECK_NO_POLICY },
    { "TLSA records of use", RPT, HOST, .tlsa = "3 1 1", .codes = "txt-missing",
      .verdict = CHECK_NO_POLICY },
    { "TLSA records of no use", RPT, HOST, .tlsa = "9 9 9", .codes = "txt-missing tlsa-unusable",
      .verdict = CHECK_NO_POLICY },
    { "TLSA records behind unsigned MX records", RPT, HOST, .tlsa = "3 1 1", .insecure_mx = true,
      .codes = "txt-missing tlsa-insecure-mx", .verdict = CHECK_NO_POLICY },
    { "TLSA records that cannot be had", RPT, HOST, .tlsa = "failed",
      .codes = "txt-missing tlsa-failed", .verdict = CHECK_NO_POLICY },
};

static void
test_world(void **state)
{
    const struct world *world = *state;
    struct check_report *report = report_of(world);
    char *codes;

    if (world->address && world->mx && *world->mx && !world->mx_failure)
        add_connection(report, VERDICT_ALLOW, REPLY_NONE);
    conclude(report);
    codes = codes_of(report);
    assert_string_equal(codes, world->codes);
    assert_int_equal(report->verdict, world->verdict);
    for (size_t i = 0; i < report->finding_count; i++)
        if (report->findings[i].level == CHECK_ERROR)
            assert_true(*report->findings[i].mend); /* every one says how it is mended */
    free(codes);
    free_report(report);
}

/* ---- connections ---- */

static struct connection_row {
    const char *name;
    enum verdict_action action;
    enum reply_row row, would_row; /* would_row: it is let through for now */
    const char *codes;
    enum check_verdict verdict;
} connections[] = {
    { "passes", VERDICT_ALLOW, REPLY_NONE, REPLY_NONE, "", CHECK_PASS },
    { "MX mismatch", VERDICT_REFUSE, REPLY_STS_MX_MISMATCH, 0, "mx-mismatch", CHECK_REFUSE },
    { "no STARTTLS", VERDICT_REFUSE, REPLY_STS_STARTTLS_MISSING, 0, "starttls-missing",
      CHECK_REFUSE },
    { "old TLS", VERDICT_REFUSE, REPLY_STS_TLS_VERSION, 0, "tls-version", CHECK_REFUSE },
    { "bad chain", VERDICT_REFUSE, REPLY_STS_CERTIFICATE, 0, "certificate", CHECK_REFUSE },
    { "wrong name", VERDICT_REFUSE, REPLY_STS_NAME_MISMATCH, 0, "certificate-name", CHECK_REFUSE },
    { "DANE without STARTTLS", VERDICT_REFUSE, REPLY_DANE_STARTTLS, 0, "starttls-missing",
      CHECK_REFUSE },
    { "DNSSEC fails", VERDICT_REFUSE, REPLY_DANE_DNSSEC, 0, "dnssec-invalid", CHECK_REFUSE },
    { "TLSA mismatch", VERDICT_REFUSE, REPLY_DANE_INVALID, 0, "tlsa-mismatch", CHECK_REFUSE },
    { "TLSA, expired", VERDICT_REFUSE, REPLY_DANE_EXPIRED, 0, "certificate-expired", CHECK_REFUSE },
    { "TLSA, wrong name", VERDICT_REFUSE, REPLY_DANE_MISNAMED, 0, "certificate-name",
      CHECK_REFUSE },
    { "no TLSA where the site demands it", VERDICT_REFUSE, REPLY_DANE_REQUIRED, 0, "dane-required",
      CHECK_REFUSE },
    { "TLS for everybody", VERDICT_REFUSE, REPLY_TLS_REQUIRED, 0, "tls-required", CHECK_REFUSE },
    { "an identity that the site demands", VERDICT_REFUSE, REPLY_IDENTITY_REQUIRED, 0,
      "identity-required", CHECK_REFUSE },
    { "null MX", VERDICT_REFUSE, REPLY_NULL_MX, 0, "null-mx", CHECK_REFUSE },
    { "a row of no finding", VERDICT_REFUSE, REPLY_OTHER_IDENTITY, 0, "refused", CHECK_REFUSE },
    { "a look-up fails", VERDICT_REFUSE, REPLY_DNS_FAILURE, 0, "dns-failure", CHECK_TEMPORARY },
    { "no requirement", VERDICT_REFUSE, REPLY_POLICY_UNAVAILABLE, 0, "not-known", CHECK_TEMPORARY },
    { "let through for now", VERDICT_ALLOW, REPLY_NONE, REPLY_STS_NAME_MISMATCH, "certificate-name",
      CHECK_PASS },
};

static void
test_connection(void **state)
{
    static const struct world sound = { .name = "", TXT, RPT, HOST, .body = GOOD_BODY };
    const struct connection_row *row = *state;
    struct check_report *report = report_of(&sound);
    struct probe_result *c = add_connection(report, row->action, row->row);
    char *codes;

    if (row->would_row) {
        c->verdict.would = VERDICT_REFUSE;
        c->verdict.would_reply = row->would_row;
    }
    conclude(report);
    codes = codes_of(report);
    assert_string_equal(codes, row->codes);
    assert_int_equal(report->verdict, row->verdict);
    free(codes);
    free_report(report);
}

/* One MX address that refuses is enough; one that is not there is not. */
static void
test_several_connections(void **state)
{
    static const struct world sound = { .name = "", TXT, RPT, HOST, .body = GOOD_BODY };
    struct check_report *report = report_of(&sound);

    (void)state;
    add_connection(report, VERDICT_ALLOW, REPLY_NONE);
    add_connection(report, VERDICT_ALLOW, REPLY_NONE)->end = PROBE_UNREACHABLE;
    assert_int_equal(check_report_judge(report), CHECK_PASS);
    report->connections[0].end = PROBE_UNJUDGED;
    assert_int_equal(check_report_judge(report), CHECK_TEMPORARY);
    report->connections[0].end = PROBE_FORBIDDEN;
    assert_int_equal(check_report_judge(report), CHECK_TEMPORARY);
    report->connections[0].end = PROBE_JUDGED;
    add_connection(report, VERDICT_REFUSE, REPLY_STS_CERTIFICATE);
    assert_int_equal(check_report_judge(report), CHECK_REFUSE);
    free_report(report);

    report = report_of(&sound);
    add_connection(report, VERDICT_ALLOW, REPLY_NONE);
    report->broken = true;
    conclude(report);
    assert_int_equal(report->verdict, CHECK_TEMPORARY);
    free_report(report);
}

static void
test_weaknesses(void **state)
{
    static const struct world open = { .name = "", RPT, HOST };
    struct check_report *report = report_of(&open);
    char *codes;

    (void)state;
    add_connection(report, VERDICT_ALLOW, REPLY_NONE)->obs->stage = TLS_STAGE_CLEAR;
    add_connection(report, VERDICT_ALLOW, REPLY_NONE)->obs->version = TLS_VERSION_1_1;
    add_connection(report, VERDICT_ALLOW, REPLY_NONE)->obs->chain = CHAIN_EXPIRED;
    conclude(report);
    codes = codes_of(report);
    assert_string_equal(codes, "txt-missing no-tls tls-version certificate-unproven");
    free(codes);
    free_report(report);
}

/* ---- shown ---- */

#define HOSTILE                                                                                    \
    "\x1b]0;x\x07\x9b"                                                                             \
    "31m\n\t\"\\<b>\xff\xe2\x80\xae"

static char *
shown(const struct check_report *report, bool json)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    assert_non_null(out);
    if (json)
        assert_int_equal(check_show_json(report, out), RES_OK);
    else
        check_show_text(report, out, false);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* Whoever writes the DNS, the policy, the reply or the certificate does not write on the terminal.
 */
static void
test_hostile(void **state)
{
    static const struct world hostile = { .name = "",
                                          .sts_txt = { "v=STSv1; id=" HOSTILE, HOSTILE },
                                          .tlsrpt_txt = { HOSTILE },
                                          .body = "mode: " HOSTILE "\n" HOSTILE,
                                          .problem = "x " HOSTILE,
                                          .mx = "mx.a.example",
                                          .address = "192.0.2.1",
                                          .tlsa = "failed" };
    struct check_report *report = report_of(&hostile);
    struct probe_result *c = add_connection(report, VERDICT_REFUSE, REPLY_STS_CERTIFICATE);
    char *text, *json;
    json_t *tree;

    (void)state;
    snprintf(c->reply, sizeof c->reply, "451 " HOSTILE);
    snprintf(c->obs->chain_reason, sizeof c->obs->chain_reason, "%s", HOSTILE);
    snprintf(c->verdict.reason, sizeof c->verdict.reason, "%s", HOSTILE);
    c->obs->chain = CHAIN_UNTRUSTED;
    assert_int_equal(name_list_add(&c->obs->sans, span_of(HOSTILE)), RES_OK);
    conclude(report);
    text = shown(report, false);
    for (const char *at = text; *at; at++)
        assert_true(*at == '\n' || (*at >= ' ' && *at <= '~'));
    json = shown(report, true);
    for (const char *at = json; *at; at++)
        assert_true((*at == '\n' && !at[1]) || (*at >= ' ' && *at <= '~'));
    tree = json_loads(json, 0, NULL);
    assert_non_null(tree);
    assert_string_equal(json_string_value(json_object_get(tree, "verdict")), "refuse");
    assert_int_equal(json_integer_value(json_object_get(tree, "status")), 1);
    assert_int_equal(json_array_size(json_object_get(tree, "parts")), 7);
    assert_int_equal(json_array_size(json_object_get(tree, "connections")), 1);
    assert_int_equal(json_array_size(json_object_get(tree, "findings")), report->finding_count);
    json_decref(tree);
    free(json);
    free(text);
    free_report(report);
}

/* Text for people names lines, and the verdict stands at its end. */
static void
test_text(void **state)
{
    static const struct world broken = { .name = "",
                                         TXT,
                                         RPT,
                                         HOST,
                                         .body = "version: STSv1\r\nmode: maybe\r\n",
                                         .problem = "sts-policy-invalid line 2: bad mode" };
    struct check_report *report = report_of(&broken);
    char *text;

    (void)state;
    add_connection(report, VERDICT_ALLOW, REPLY_NONE);
    conclude(report);
    text = shown(report, false);
    assert_non_null(strstr(text, "  2  mode: maybe\n"));
    assert_non_null(strstr(text, "line 2: bad mode"));
    assert_non_null(strstr(text, "\n            -> correct that line"));
    assert_non_null(strstr(text, "\nverdict     no-policy: "));
    assert_null(strchr(text, '\033'));
    free(text);
    free_report(report);
}

/* Only so much is kept of what strangers tell. */
static void
test_bounds(void **state)
{
    static const struct world sound = { .name = "", TXT, RPT, HOST, .body = GOOD_BODY };
    struct check_report *report = report_of(&sound);
    struct ip_addr addrs[1];
    char part[1024];
    struct span map = check_report_part(report, "policy");

    (void)state;
    assert_in_range(map.len, 1, sizeof part);
    memcpy(part, map.ptr, map.len);
    map.ptr = part;
    assert_int_equal(check_report_addresses(report, addrs, 1), 1);
    assert_int_equal(check_report_addresses(report, NULL, 0), 1);
    for (unsigned i = 0; i < CHECK_FINDINGS_MAX + 10; i++)
        check_report_find(report, CHECK_NOTE, "x", span_of("y"), "", "%u", i);
    assert_int_equal(report->finding_count, CHECK_FINDINGS_MAX);
    while (!report->broken)
        check_report_add_part(report, map);
    assert_true(buffer_len(&report->parts) <= CHECK_PARTS_MAX_BYTES);
    free_report(report);
}

#define ROWS(rows) (sizeof(rows) / sizeof *(rows))

int
main(void)
{
    static struct CMUnitTest tests[ROWS(worlds) + ROWS(connections) + 5];
    size_t count = 0;

    for (size_t i = 0; i < ROWS(worlds); i++)
        tests[count++] = (struct CMUnitTest){ .name = worlds[i].name,
                                              .test_func = test_world,
                                              .initial_state = &worlds[i] };
    for (size_t i = 0; i < ROWS(connections); i++)
        tests[count++] = (struct CMUnitTest){ .name = connections[i].name,
                                              .test_func = test_connection,
                                              .initial_state = &connections[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_several_connections);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_weaknesses);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_hostile);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_text);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_bounds);
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
