#include "policy/tlsrpt_json.h"

#include "base/pack.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct writer {
    const struct tlsrpt_head *head;
    json_t *policies; /* owned */
    json_t *details;  /* of the policy in hand; owned */
    enum result res;  /* the first failure */
};

/* From outside any bytes may come (RPT-091). NULL: no memory. */
static json_t *
text_json(struct span bytes)
{
    char *text = malloc(PACK_MENDED_BYTES(bytes.len));
    json_t *json;

    if (!text)
        return NULL;
    json = json_stringn(text, pack_mend_text(bytes, text));
    free(text);
    return json;
}

/* Takes value; NULL is a failure for want of memory, and so is a container that is. */
static void
set(struct writer *w, json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value) != 0)
        w->res = RES_NOMEM;
}

static void
append(struct writer *w, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        w->res = RES_NOMEM;
}

static void
set_text(struct writer *w, json_t *object, const char *name, const char *text)
{
    set(w, object, name, text_json(span_of(text)));
}

/* What is not known is left out. */
static void
set_known(struct writer *w, json_t *object, const char *name, const char *text)
{
    if (*text)
        set_text(w, object, name, text);
}

/* ---- failure-details ---- */

/* Addresses that say nothing outside, and what is inside is nobody's business (RPT-059, RPT-090):
 * RFC 1918 and 4193, loopback, link-local, and that of carrier NAT. */
static bool
is_private(const struct ip_addr *addr)
{
    static const char *const nets[] = { "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
                                        "100.64.0.0/10", "fc00::/7" };

    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        struct ip_net net;

        if (ip_net_parse(nets[i], &net) == RES_OK && ip_net_has(&net, addr))
            return true;
    }
    return ip_addr_is_undialable(addr);
}

static void
set_sending(struct writer *w, json_t *object, const char *text)
{
    const struct ip_addr *mapped;
    char out[IP_ADDR_TEXT_MAX];
    struct ip_addr addr;

    if (!*text || ip_addr_parse(text, &addr) != RES_OK)
        return;
    mapped = addr.len == 4 ? &w->head->public4 : &w->head->public6;
    if (mapped->len)
        addr = *mapped;
    if (!is_private(&addr))
        set_text(w, object, "sending-mta-ip", ip_addr_text(&addr, out));
}

static bool
add_detail(void *arg, const struct tlsrpt_detail *detail)
{
    struct writer *w = arg;
    json_t *object = json_object();

    set_text(w, object, "result-type", result_type_name(detail->result));
    set_sending(w, object, detail->sending);
    set_known(w, object, "receiving-mx-hostname", detail->mx_host);
    set_known(w, object, "receiving-mx-helo", detail->helo);
    set_known(w, object, "receiving-ip", detail->receiving);
    set(w, object, "failed-session-count", json_integer((json_int_t)detail->count));
    set_known(w, object, "failure-reason-code", detail->reason);
    append(w, w->details, object);
    return w->res == RES_OK;
}

/* ---- policies ---- */

static json_t *
list_json(struct writer *w, const struct name_list *list)
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->count; i++)
        append(w, array, text_json(span_of(list->names[i])));
    return array;
}

/* The policy's lines as received, errors included (RPT-056, RFC 8460 4.5). */
static json_t *
lines_json(struct writer *w, struct span text)
{
    json_t *array = json_array();

    while (text.len) {
        struct span line = span_first(text, span_find(text, '\n'));

        text = span_from(text, line.len + 1);
        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        append(w, array, text_json(line));
    }
    return array;
}

static void
set_policy(struct writer *w, json_t *element, const struct tlsrpt_policy *policy)
{
    json_t *object = json_object();

    set_text(w, object, "policy-type", tls_report_type_name(policy->kind.type));
    if (policy->text.len)
        set(w, object, "policy-string", lines_json(w, policy->text));
    else if (policy->kind.strings.count)
        set(w, object, "policy-string", list_json(w, &policy->kind.strings));
    set_text(w, object, "policy-domain", policy->kind.policy_domain);
    if (policy->kind.mx.count) /* an array always (RPT-057) */
        set(w, object, "mx-host", list_json(w, &policy->kind.mx));
    set(w, element, "policy", object);
}

static void
set_summary(struct writer *w, json_t *element, const struct tlsrpt_policy *policy)
{
    json_t *object = json_object();

    set(w, object, "total-successful-session-count", json_integer((json_int_t)policy->succeeded));
    set(w, object, "total-failure-session-count", json_integer((json_int_t)policy->failed));
    set(w, element, "summary", object);
}

static bool
add_policy(void *arg, const struct tlsrpt_policy *policy)
{
    struct writer *w = arg;
    json_t *element = json_object();

    set_policy(w, element, policy);
    set_summary(w, element, policy);
    w->details = json_array();
    tlsrpt_policy_details(policy, add_detail, w);
    if (json_array_size(w->details))
        set(w, element, "failure-details", w->details);
    else
        json_decref(w->details);
    w->details = NULL;
    append(w, w->policies, element);
    return w->res == RES_OK;
}

/* ---- the report ---- */

/* RFC 3339; the last second of a day is its end (RPT-052). */
static void
set_moment(struct writer *w, json_t *object, const char *name, int64_t at_s)
{
    time_t at = (time_t)at_s;
    char text[64];
    struct tm utc;

    if (!gmtime_r(&at, &utc) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc))
        w->res = RES_SYNTAX;
    else
        set_text(w, object, name, text);
}

static json_t *
head_json(struct writer *w, int64_t day_s)
{
    json_t *object = json_object(), *range = json_object();

    set_text(w, object, "organization-name", w->head->organization);
    set_moment(w, range, "start-datetime", day_s);
    set_moment(w, range, "end-datetime", day_s + TLSRPT_DAY_S - 1);
    set(w, object, "date-range", range);
    set_text(w, object, "contact-info", w->head->contact);
    set_text(w, object, "report-id", w->head->report_id);
    return object;
}

enum result
tlsrpt_json(struct tlsrpt_store *store, int64_t day_s, const char *domain,
            const struct tlsrpt_head *head, char **out)
{
    struct writer w = { .head = head, .policies = json_array(), .res = RES_OK };
    json_t *report = head_json(&w, day_s);
    enum result res = tlsrpt_read_policies(store, day_s, domain, add_policy, &w);

    *out = NULL;
    if (w.res == RES_OK)
        w.res = res;
    if (w.res == RES_OK && json_array_size(w.policies) == 0)
        w.res = RES_AGAIN;
    if (w.res == RES_OK)
        set(&w, report, "policies", json_incref(w.policies));
    if (w.res == RES_OK) {
        *out = json_dumps(report, JSON_COMPACT);
        w.res = *out ? RES_OK : RES_NOMEM;
    }
    json_decref(w.policies);
    json_decref(report);
    return w.res;
}
