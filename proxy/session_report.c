#include "proxy/session_report.h"

#include <stdlib.h>

#define SET(field, text) set_text((field), sizeof(field), (text))

/* Made once per recipient: not by printf. */
static void
set_text(char *dst, size_t size, const char *text)
{
    size_t len = strnlen(text, size - 1);

    memcpy(dst, text, len);
    dst[len] = '\0';
}

/* The domain's MTA-STS policy, if it asks for anything now: mode none and an expired one do not
 * (RPT-028, STS-065). */
static bool
has_sts(const struct requirement *req, int64_t now_s)
{
    return req->sts.mode != STS_MODE_NONE && now_s < req->sts.expires_at_s;
}

static bool
has_dane(const struct requirement *req)
{
    return req->dane.state != DANE_NONE || req->dane.required;
}

/* The record promises a policy that could not be had, and there is no other (RPT-026, STS-120).
 * Whether a domain whose record is not known has a policy, nobody can say. */
static bool
lacks_sts(const struct requirement *req, int64_t now_s)
{
    struct span problem = span_of(req->sts.discovery);
    size_t blank = span_find(problem, ' ');

    if (problem.len == 0 || (req->sts.fetched_at_s != 0 && now_s < req->sts.expires_at_s))
        return false;
    return blank == problem.len || !span_starts(span_from(problem, blank + 1), span_of("txt-"));
}

/* ---- details ---- */

/* Of peers: short, and printable ASCII (RPT-041). */
static void
set_reason(char out[TLS_REPORT_TEXT_MAX + 1], const char *text)
{
    size_t len = 0;

    for (; *text && len < TLS_REPORT_TEXT_MAX; text++)
        out[len++] = *text >= ' ' && *text <= '~' ? *text : '?';
    out[len] = '\0';
}

static void
add_detail(struct tls_report *r, enum result_type result, const char *reason, bool fetch)
{
    struct tls_report_detail *d = &r->details[r->detail_count++];

    d->result = result;
    d->fetch = fetch;
    set_reason(d->reason, reason);
}

static enum result_type
result_named(struct span name)
{
    for (unsigned i = RESULT_SUCCESS + 1; i < RESULT_TYPES; i++)
        if (span_equal(name, span_of(result_type_name((enum result_type)i))))
            return (enum result_type)i;
    return RESULT_STS_POLICY_FETCH_ERROR;
}

/* What kept the policy from being looked up: "RESULT-TYPE REASON". */
static void
add_fetch_detail(struct tls_report *r, const struct requirement *req)
{
    struct span problem = span_of(req->sts.discovery);
    size_t blank = span_find(problem, ' ');

    if (problem.len)
        add_detail(r, result_named(span_first(problem, blank)),
                   blank < problem.len ? problem.ptr + blank + 1 : "", true);
}

static void
set_outcome(struct tls_report *r, const struct policy_result *result, const struct observation *obs)
{
    const char *reason = result->reason;

    r->failed = result->result != RESULT_SUCCESS;
    if (!r->failed)
        return;
    if (!*reason && result->result == RESULT_VALIDATION_FAILURE) /* always has one (RPT-041) */
        reason = tls_failure_name(obs->failure);
    add_detail(r, result->result, reason, false);
}

/* ---- parts ---- */

static struct tls_report *
begin(struct session_report *out, const struct session_report_facts *f, enum tls_report_type type)
{
    struct tls_report *r = &out->parts[out->count++];

    *r = (struct tls_report){
        .at_s = f->at_s, .type = type, .sending = f->obs->local, .receiving = f->destination
    };
    SET(r->domain, f->req->domain);
    SET(r->policy_domain, f->req->domain);
    SET(r->helo, f->obs->helo);
    if (f->verdict->proven)
        SET(r->mx_host, f->verdict->mx);
    else if (f->req->names.count && f->req->matched != MX_MATCH_CERTIFICATE) /* else a guess */
        SET(r->mx_host, f->req->names.names[0]);
    return r;
}

static enum result
add_sts(struct session_report *out, const struct session_report_facts *f)
{
    struct tls_report *r;

    if (!f->verdict->sts.judged)
        return RES_OK;
    r = begin(out, f, TLS_REPORT_STS);
    memcpy(r->text_sha256, f->req->sts.text_sha256, sizeof r->text_sha256);
    set_outcome(r, &f->verdict->sts, f->obs);
    add_fetch_detail(r, f->req); /* which does not make a failure of it (RPT-027) */
    return name_list_copy(&f->req->sts.mx, &r->mx);
}

static void
add_sts_failure(struct session_report *out, const struct session_report_facts *f)
{
    struct tls_report *r = begin(out, f, TLS_REPORT_STS);

    r->failed = true;
    add_fetch_detail(r, f->req);
}

/* The host that matched or came nearest (RPT-055, RPT-057). */
static enum result
set_host(struct tls_report *r, const struct dane_host *host)
{
    enum result res = RES_OK;

    SET(r->policy_domain, host->base);
    SET(r->mx_host, host->mx);
    for (size_t i = 0; i < host->count && res == RES_OK; i++) {
        char text[TLSA_TEXT_MAX];

        res =
            name_list_add(&r->strings, span_make(text, tlsa_record_text(&host->records[i], text)));
    }
    return res == RES_OK ? name_list_add(&r->mx, span_of(host->mx)) : res;
}

static enum result
add_tlsa(struct session_report *out, const struct session_report_facts *f)
{
    const struct requirement *req = f->req;
    size_t at = f->dane->key == requirement_dane_key(req) ? f->dane->host : 0;
    struct tls_report *r;

    if (!f->verdict->tlsa.judged)
        return RES_OK;
    r = begin(out, f, TLS_REPORT_TLSA);
    set_outcome(r, &f->verdict->tlsa, f->obs);
    if (at < req->dane.host_count)
        return set_host(r, &req->dane.hosts[at]);
    if (!*r->mx_host)
        return RES_OK;
    SET(r->policy_domain, r->mx_host); /* where its records were looked for (RPT-055) */
    return name_list_add(&r->mx, span_of(r->mx_host));
}

/* Any TLS will do (RPT-021); what kept the session in clear is a failure, also where the mail went
 * out nevertheless (TLS-033). */
static void
add_no_policy(struct session_report *out, const struct session_report_facts *f)
{
    const struct observation *obs = f->obs;
    struct policy_result result = { .result = RESULT_SUCCESS };

    if (obs->failure != TLS_FAILURE_NONE) {
        result.result = RESULT_VALIDATION_FAILURE;
        SET(result.reason, obs->failure == TLS_FAILURE_INJECTED ? "plaintext-after-starttls"
                                                                : obs->failure_reason);
    } else if (obs->stage == TLS_STAGE_REFUSED ||
               (obs->stage == TLS_STAGE_CLEAR && !obs->starttls_offered)) {
        result.result = RESULT_STARTTLS_NOT_SUPPORTED;
        SET(result.reason, obs->failure_reason);
    } else if (obs->stage != TLS_STAGE_DONE) {
        return; /* nobody has tried */
    }
    set_outcome(begin(out, f, TLS_REPORT_NO_POLICY), &result, obs);
}

enum result
session_report_make(const struct session_report_facts *f, struct session_report *out)
{
    const struct requirement *req = f->req;
    enum result res = RES_OK;

    out->count = 0;
    if (!*req->domain || req->null_mx || req->defer) /* RPT-031 */
        return RES_OK;
    if (f->verdict->demand.report_mail) /* RPT-029: a report never causes one */
        return RES_OK;
    if (has_sts(req, f->at_s))
        res = add_sts(out, f);
    else if (lacks_sts(req, f->at_s))
        add_sts_failure(out, f);
    else if (!has_dane(req))
        add_no_policy(out, f);
    if (res == RES_OK && has_dane(req))
        res = add_tlsa(out, f);
    if (res != RES_OK)
        session_report_clear(out);
    return res;
}

void
session_report_clear(struct session_report *report)
{
    while (report->count)
        tls_report_clear(&report->parts[--report->count]);
}

/* ---- those of a session ---- */

static struct tls_report *
place_for(struct session_report_list *list, const struct tls_report *part)
{
    struct tls_report **more;

    for (size_t i = 0; i < list->count; i++)
        if (tls_report_same_policy(list->reports[i], part)) {
            tls_report_clear(list->reports[i]);
            return list->reports[i];
        }
    if (list->count == SESSION_REPORT_KEPT_MAX)
        return NULL;
    more = realloc(list->reports, (list->count + 1) * sizeof *more);
    if (!more)
        return NULL;
    list->reports = more;
    more[list->count] = malloc(sizeof **more);
    return more[list->count] ? more[list->count++] : NULL;
}

void
session_report_keep(struct session_report_list *list, struct tls_report *part,
                    session_report_tell *tell, void *arg)
{
    struct tls_report *place = place_for(list, part);

    if (place) {
        *place = *part;
        *part = (struct tls_report){ .at_s = 0 };
        return;
    }
    tell(arg, part);
    tls_report_clear(part);
}

void
session_report_tell_all(struct session_report_list *list, session_report_tell *tell, void *arg)
{
    for (size_t i = 0; i < list->count; i++) {
        if (tell)
            tell(arg, list->reports[i]);
        tls_report_clear(list->reports[i]);
        free(list->reports[i]);
    }
    free(list->reports);
    *list = (struct session_report_list){ .count = 0 };
}
