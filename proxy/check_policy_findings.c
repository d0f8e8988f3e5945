/* proxy/check_policy_findings.c: TXT records and policy (proxy/check_findings.h). */
#include "policy/sts_policy.h"
#include "policy/sts_record.h"
#include "policy/tlsrpt_record.h"
#include "proxy/check_findings.h"
#include "proxy/check_report.h"
#include "proxy/record_view.h"

#define TEXTS_MAX 64u
#define MAX_AGE_SHORT_S 86400u /* RFC 8461 3.2 advises weeks; below a day it hardly protects */

#define DNSSEC_MEND                                                                                \
    "sign the zone anew, or correct the DS record at its parent; a validating resolver shows "     \
    "which "                                                                                       \
    "of the two it is"
#define TXT_MEND                                                                                   \
    "publish exactly one TXT record there: v=STSv1; id=20260101T000000; with another id each "     \
    "time "                                                                                        \
    "the policy changes"
#define HTTPS_MEND                                                                                 \
    "serve the policy at https://mta-sts.DOMAIN/.well-known/mta-sts.txt, as text/plain, with "     \
    "status "                                                                                      \
    "200 and without a redirect"

/* ---- TXT records ---- */

static size_t
texts_of(struct span part, struct span texts[TEXTS_MAX])
{
    struct pack_reader r;
    size_t count = 0;

    if (!record_value(part, "records", &r) || pack_peek_type(&r) != PACK_ARRAY)
        return 0;
    for (size_t n = pack_read_array(&r, CHECK_PARTS_MAX_BYTES); n > 0 && count < TEXTS_MAX; n--)
        texts[count++] = pack_peek_type(&r) == PACK_STR ? pack_read_str(&r) : pack_read_bin(&r);
    return r.res == RES_OK ? count : 0;
}

/* A look-up that failed: nothing more can be said of it. */
static bool
find_failure(struct check_report *report, struct span part, const char *code)
{
    struct span reason = record_text(part, "reason");
    bool bogus = record_is(part, "state", "bogus"), failed = record_is(part, "state", "failed");

    if (check_report_resolver_fails(report))
        return bogus || failed; /* it is not the domain's fault */
    if (bogus)
        check_report_find(report, CHECK_ERROR, "dnssec-bogus", record_text(part, "name"),
                          DNSSEC_MEND, "the answer does not stand DNSSEC validation: %.*s",
                          (int)reason.len, reason.ptr);
    else if (failed)
        check_report_find(report, CHECK_ERROR, code, record_text(part, "name"),
                          "see to it that every name server of the zone answers this question",
                          "the look-up failed: %.*s", (int)reason.len, reason.ptr);
    return bogus || failed;
}

static void
find_in_sts_txt(struct check_report *report)
{
    struct span part = check_report_part(report, "sts-txt"), name = record_text(part, "name");
    struct span texts[TEXTS_MAX];
    size_t count = texts_of(part, texts);
    struct sts_record record;

    if (part.len == 0 || find_failure(report, part, "txt-failed"))
        return;
    switch (sts_record_find(texts, count, &record)) {
    case STS_RECORD_FOUND:
        if (record.lenient)
            check_report_find(report, CHECK_WARNING, "txt-lenient", name,
                              "take out the blank: v=STSv1; id=...",
                              "a blank stands before the first semicolon, which others may refuse");
        return;
    case STS_RECORD_ABSENT:
        if (count)
            check_report_find(report, CHECK_ERROR, "txt-missing", name, TXT_MEND,
                              "none of the %zu TXT records begins with v=STSv1;", count);
        else
            check_report_find(report, CHECK_NOTE, "txt-missing", name, TXT_MEND,
                              "there is no MTA-STS record, so no policy is looked for");
        return;
    case STS_RECORD_SEVERAL:
        check_report_find(report, CHECK_ERROR, "txt-several", name, "leave one of them",
                          "several records begin with v=STSv1; so none counts (RFC 8461 3.1)");
        return;
    case STS_RECORD_INVALID:
        check_report_find(report, CHECK_ERROR, "txt-invalid", name, TXT_MEND,
                          "the record breaks the grammar of RFC 8461 3.1: an id of 1 to 32 letters "
                          "and digits, semicolons between the fields");
        return;
    }
}

static void
find_in_tlsrpt_txt(struct check_report *report)
{
    static const char *const texts_by_finding[] = {
        [TLSRPT_FOUND] = "",
        [TLSRPT_ABSENT] = "there is no TLSRPT record: nobody tells the domain of failures",
        [TLSRPT_SEVERAL] = "several records begin with v=TLSRPTv1; so none counts (RFC 8460 3)",
        [TLSRPT_INVALID] = "the record breaks the grammar of RFC 8460 3",
        [TLSRPT_UNUSABLE] = "its rua names no mailto: or https: address that can be used",
    };
    static const char *const codes[] = { [TLSRPT_FOUND] = "",
                                         [TLSRPT_ABSENT] = "tlsrpt-missing",
                                         [TLSRPT_SEVERAL] = "tlsrpt-several",
                                         [TLSRPT_INVALID] = "tlsrpt-invalid",
                                         [TLSRPT_UNUSABLE] = "tlsrpt-unusable" };
    struct span part = check_report_part(report, "tlsrpt-txt");
    struct span texts[TEXTS_MAX];
    size_t count = texts_of(part, texts);
    struct tlsrpt_record record;
    enum tlsrpt_finding finding;

    if (part.len == 0 || find_failure(report, part, "tlsrpt-failed") ||
        tlsrpt_record_find(texts, count, &finding, &record) != RES_OK)
        return;
    tlsrpt_record_clear(&record);
    if (finding != TLSRPT_FOUND)
        check_report_find(report, finding == TLSRPT_ABSENT ? CHECK_NOTE : CHECK_WARNING,
                          codes[finding], record_text(part, "name"),
                          "publish exactly one TXT record there: v=TLSRPTv1; "
                          "rua=mailto:tls-reports@DOMAIN",
                          "%s", texts_by_finding[finding]);
}

/* ---- the policy ---- */

/* Why it could not be had, by the reasons of policy/fetch.h and policy/sts_fetch.h. */
static const struct fetch_row {
    const char *begins; /* the reason does */
    const char *code, *text, *mend;
} fetch_rows[] = {
    { "line ", "policy-invalid", "the policy is malformed, so it does not apply",
      "correct that line: version, mode, mx and max_age, each as \"name: value\" on a line of its "
      "own" },
    { "http-3", "policy-http", "the policy host redirects, which is not followed (RFC 8461 3.3)",
      HTTPS_MEND },
    { "http-", "policy-http", "the policy host answers with another status than 200", HTTPS_MEND },
    { "content-type", "policy-type", "the policy does not come as text/plain", HTTPS_MEND },
    { "too-large", "policy-large", "the policy is longer than 64 KiB", "shorten it" },
    { "timeout", "policy-timeout", "the policy host does not answer in time", HTTPS_MEND },
    { "connect", "policy-connect", "the policy host takes no connection on port 443",
      "open port 443 on every address of the policy host" },
    { "X509_", "policy-certificate", "the policy host's certificate is not valid for it",
      "give the policy host a certificate of a public CA with its name as a subject alternative "
      "name, and renew it in time" },
    { "tls", "policy-tls", "the TLS handshake with the policy host fails",
      "offer TLS 1.2 or later on the policy host" },
    { "no-address", "policy-no-address", "the policy host has no address",
      "give it A and AAAA records" },
    { "dns-failure", "policy-dns", "the policy host's address look-up fails",
      "see to it that every name server of the zone answers this question" },
    { "address-not-permitted", "policy-address",
      "the policy host has an address that is not public (key policy_networks)",
      "give it a public address" },
    { "", "policy-fetch", "the policy cannot be had", HTTPS_MEND },
};

static void
find_problem(struct check_report *report, struct span part)
{
    struct span problem = record_text(part, "problem");
    struct span reason = span_from(problem, span_find(problem, ' ') + 1);
    const struct fetch_row *row = fetch_rows;

    if (problem.len == 0 || span_starts(reason, span_of("txt-")))
        return; /* the TXT record has its own finding */
    while (!span_starts(reason, span_of(row->begins)))
        row++;
    check_report_find(report, CHECK_ERROR, row->code, record_text(part, "name"), row->mend,
                      "%s: %.*s", row->text, (int)problem.len, problem.ptr);
}

static bool
has_mx_host(const struct check_report *report, const char *pattern)
{
    struct pack_reader at;
    struct span map;

    pack_reader_init(&at, buffer_span(&report->parts));
    while (check_report_next(&at, "address", &map))
        if (hostname_matches(span_of(pattern), record_text(map, "name")))
            return true;
    return false;
}

/* Hosts that the policy does not list, and patterns that no host has. */
static void
compare_hosts(struct check_report *report, const struct sts_policy *policy)
{
    const struct name_list *mx = sts_policy_mx(policy);
    enum check_level level =
        sts_policy_mode(policy) == STS_MODE_ENFORCE ? CHECK_ERROR : CHECK_WARNING;
    struct pack_reader at;
    struct span map;

    pack_reader_init(&at, buffer_span(&report->parts));
    while (check_report_next(&at, "tlsa", &map)) { /* one for each host */
        struct span host = record_text(map, "name");
        bool listed = false;

        for (size_t i = 0; i < mx->count; i++)
            listed |= hostname_matches(span_of(mx->names[i]), host);
        if (!listed)
            check_report_find(
                report, level, "mx-not-listed", host,
                "add an mx line for the host to the policy, then change the id of the "
                "TXT record; or take the host out of the MX records",
                "no mx pattern of the policy matches this MX host");
    }
    for (size_t i = 0; i < mx->count; i++)
        if (!has_mx_host(report, mx->names[i]))
            check_report_find(report, CHECK_NOTE, "mx-unused", span_of(mx->names[i]),
                              "take the line out, unless the host is to come",
                              "this mx pattern of the policy matches no MX host");
}

static void
find_in_text(struct check_report *report, struct span part, const struct sts_policy *policy)
{
    struct span name = record_text(part, "name");
    unsigned leniencies = sts_policy_leniencies(policy);

    if (leniencies & STS_POLICY_EMPTY_LINE)
        check_report_find(report, CHECK_WARNING, "policy-empty-line", name, "take it out",
                          "the policy has an empty line, which others may refuse");
    if (leniencies & STS_POLICY_MAX_AGE_CLAMPED)
        check_report_find(report, CHECK_WARNING, "policy-max-age-long", name,
                          "write max_age: 31557600 or less",
                          "max_age is beyond the year that RFC 8461 3.2 allows; a year counts");
    if (sts_policy_mode(policy) == STS_MODE_NONE) {
        check_report_find(report, CHECK_NOTE, "policy-none", name, "",
                          "mode none: the domain has taken its policy back");
        return;
    }
    if (sts_policy_mode(policy) == STS_MODE_TESTING)
        check_report_find(report, CHECK_NOTE, "policy-testing", name,
                          "set mode: enforce once reports show no failures",
                          "mode testing: failures are reported, and nothing is refused");
    if (sts_policy_max_age_s(policy) < MAX_AGE_SHORT_S)
        check_report_find(report, CHECK_WARNING, "policy-max-age-short", name,
                          "write a max_age of weeks, such as 1209600",
                          "max_age is %u s: whoever holds back the policy for so long switches it "
                          "off",
                          sts_policy_max_age_s(policy));
    compare_hosts(report, policy);
}

static void
find_in_body(struct check_report *report)
{
    struct span part = check_report_part(report, "policy");
    struct sts_policy *policy;

    find_problem(report, part);
    if (sts_policy_parse(record_text(part, "text"), &policy, NULL) != RES_OK)
        return;
    find_in_text(report, part, policy);
    sts_policy_free(policy);
}

void
check_find_in_policy(struct check_report *report)
{
    find_in_sts_txt(report);
    find_in_body(report);
    find_in_tlsrpt_txt(report);
}
