#include "proxy/rejudge.h"

#include "base/pack.h"
#include "proxy/judge.h"
#include "proxy/record.h"
#include "proxy/record_view.h"

#include <stdio.h>
#include <stdlib.h>

/* A record being read: the first failure sticks. */
struct reading {
    struct span map;
    enum result res;
    bool cut;
};

static void
need(struct reading *r, bool holds)
{
    if (!holds && r->res == RES_OK)
        r->res = RES_SYNTAX;
}

static bool
is_nil(const struct reading *r, const char *path)
{
    struct pack_reader value;

    return record_value(r->map, path, &value) && pack_peek_type(&value) == PACK_NIL;
}

static void
read_text(struct reading *r, const char *path, char *dst, size_t size)
{
    struct span text = record_text(r->map, path);

    need(r, text.len < size && span_find(text, '\0') == text.len);
    snprintf(dst, size, "%.*s", (int)(text.len < size ? text.len : 0), text.ptr ? text.ptr : "");
}

static int64_t
read_time(struct reading *r, const char *path)
{
    struct pack_reader value;
    int64_t at;

    if (!record_value(r->map, path, &value))
        need(r, false);
    at = pack_read_int(&value, 0, INT64_MAX);
    need(r, value.res == RES_OK);
    return at;
}

static void
read_names(struct reading *r, const char *path, const char *path_of_count, struct name_list *list)
{
    struct pack_reader value;
    size_t count;

    if (!record_value(r->map, path, &value))
        need(r, false);
    count = pack_read_array(&value, RECORD_NAMES_MAX);
    for (size_t i = 0; i < count && value.res == RES_OK && r->res == RES_OK; i++) {
        enum result res = name_list_add(list, pack_read_str(&value));

        r->res = res == RES_NOMEM ? res : r->res;
        need(r, res == RES_OK);
    }
    need(r, value.res == RES_OK);
    r->cut = r->cut || record_number(r->map, path_of_count) != count;
}

/* The value whose name stands there. */
static unsigned
read_enum(struct reading *r, const char *path, const char *(*name)(unsigned), unsigned count)
{
    struct span text = record_text(r->map, path);

    for (unsigned i = 0; i < count; i++)
        if (span_equal(text, span_of(name(i))))
            return i;
    need(r, false);
    return 0;
}

static uint16_t
read_version(struct reading *r, const char *path)
{
    static const uint16_t versions[] = {
        0, 0x0300, TLS_VERSION_1_0, TLS_VERSION_1_1, TLS_VERSION_1_2, TLS_VERSION_1_3
    };
    struct span text = record_text(r->map, path);

    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        if (span_equal(text, span_of(tls_version_name(versions[i]))))
            return versions[i];
    need(r, false);
    return 0;
}

static const char *
matched_name(unsigned value)
{
    return mx_match_name((enum mx_match)value);
}

static const char *
mode_name(unsigned value)
{
    return sts_mode_name((enum sts_mode)value);
}

static const char *
action_name(unsigned value)
{
    return rule_action_name((enum rule_action)value);
}

static const char *
dane_name(unsigned value)
{
    return dane_state_name((enum dane_state)value);
}

static const char *
match_name(unsigned value)
{
    return dane_match_name((enum dane_match)value);
}

static const char *
stage_name(unsigned value)
{
    return tls_stage_name((enum tls_stage)value);
}

static const char *
failure_name(unsigned value)
{
    return tls_failure_name((enum tls_failure)value);
}

static const char *
chain_name(unsigned value)
{
    return chain_state_name((enum chain_state)value);
}

/* ---- the requirement ---- */

static void
read_policy(struct reading *r, struct requirement *req)
{
    struct span hash = record_text(r->map, "policy.text_sha256");

    read_text(r, "policy.discovery", req->sts.discovery, sizeof req->sts.discovery);
    if (!record_is(r->map, "policy.type", "sts"))
        return;
    req->sts.mode = (enum sts_mode)read_enum(r, "policy.mode", mode_name, STS_MODE_ENFORCE + 1);
    read_text(r, "policy.id", req->sts.id, sizeof req->sts.id);
    read_names(r, "policy.mx", "policy.mx_count", &req->sts.mx);
    need(r, hash.len == sizeof req->sts.text_sha256);
    if (r->res == RES_OK)
        memcpy(req->sts.text_sha256, hash.ptr, hash.len);
    req->sts.fetched_at_s = read_time(r, "policy.fetched_at");
    req->sts.expires_at_s = read_time(r, "policy.expires_at");
}

static void
read_override(struct reading *r, struct requirement *req)
{
    if (is_nil(r, "override"))
        return;
    req->local.action =
        (enum rule_action)read_enum(r, "override.action", action_name, RULE_NO_DANE + 1);
    read_text(r, "override.id", req->local.id, sizeof req->local.id);
    read_names(r, "override.mx", "override.mx_count", &req->local.mx);
    req->local.trust = (uint16_t)record_number(r->map, "override.trust");
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "3 1 1 00FF", as tlsa_record_text() writes it. */
static void
read_record(struct reading *r, struct span text, struct dane_host *host)
{
    unsigned usage, selector, matching;
    char head[16], data[TLSA_DATA_MAX];
    int used = 0;
    size_t len = 0;

    snprintf(head, sizeof head, "%.*s", (int)span_first(text, sizeof head - 1).len, text.ptr);
    need(r, sscanf(head, "%3u %3u %3u%n", &usage, &selector, &matching, &used) == 3);
    if (r->res != RES_OK)
        return;
    for (text = span_trim(span_from(text, (size_t)used)); text.len; text = span_from(text, 2)) {
        int high = hex_digit(text.ptr[0]), low = text.len > 1 ? hex_digit(text.ptr[1]) : -1;

        need(r, high >= 0 && low >= 0 && len < sizeof data);
        if (r->res != RES_OK)
            return;
        data[len++] = (char)(high * 16 + low);
    }
    need(r, usage < 256 && selector < 256 && matching < 256);
    if (r->res == RES_OK)
        r->res = dane_host_add(host, (uint8_t)usage, (uint8_t)selector, (uint8_t)matching,
                               span_make(data, len));
}

static void
read_host(struct reading *r, struct span map, struct dane_host *host)
{
    struct reading inner = { .map = map };
    struct pack_reader records;
    size_t count;

    read_text(&inner, "mx", host->mx, sizeof host->mx);
    read_text(&inner, "base", host->base, sizeof host->base);
    read_names(&inner, "references", "references_count", &host->references);
    need(&inner, record_value(map, "records", &records));
    count = pack_read_array(&records, TLSA_RECORDS_MAX);
    for (size_t i = 0; i < count && inner.res == RES_OK; i++)
        read_record(&inner, pack_read_str(&records), host);
    need(&inner, records.res == RES_OK);
    r->cut = r->cut || inner.cut || record_number(map, "records_count") != count;
    if (r->res == RES_OK)
        r->res = inner.res;
}

static void
read_hosts(struct reading *r, struct requirement *req)
{
    struct pack_reader hosts;
    size_t count;

    need(r, record_value(r->map, "dane.hosts", &hosts));
    count = pack_read_array(&hosts, DANE_HOSTS_MAX);
    r->cut = r->cut || record_number(r->map, "dane.hosts_count") != count;
    if (count == 0)
        return;
    req->dane.hosts = calloc(count, sizeof *req->dane.hosts);
    if (!req->dane.hosts) {
        r->res = RES_NOMEM;
        return;
    }
    for (; req->dane.host_count < count && r->res == RES_OK; req->dane.host_count++)
        read_host(r, pack_read_raw(&hosts), &req->dane.hosts[req->dane.host_count]);
    need(r, hosts.res == RES_OK);
}

static void
read_dane(struct reading *r, struct requirement *req)
{
    req->dane.mx_secure = record_bool(r->map, "judged.mx_secure");
    if (is_nil(r, "dane"))
        return;
    req->dane.state = (enum dane_state)read_enum(r, "dane.state", dane_name, DANE_FAILED + 1);
    req->dane.dnssec = record_bool(r->map, "dane.dnssec");
    req->dane.required = record_bool(r->map, "dane.required");
    req->dane.suffices = record_bool(r->map, "dane.suffices");
    read_text(r, "dane.lookup_reason", req->dane.reason, sizeof req->dane.reason);
    read_hosts(r, req);
}

static void
read_requirement(struct reading *r, struct requirement *req)
{
    read_text(r, "domain", req->domain, sizeof req->domain);
    req->matched = (enum mx_match)read_enum(r, "matched", matched_name, MX_MATCH_TABLE + 1);
    read_names(r, "mx_candidates", "mx_candidates_count", &req->names);
    req->mx_lookup_failed = record_bool(r->map, "mx_lookup_failed");
    read_policy(r, req);
    read_dane(r, req);
    req->monitored = record_bool(r->map, "monitored");
    req->defer = record_bool(r->map, "defer");
    req->null_mx = record_bool(r->map, "null_mx");
    read_override(r, req);
    req->tls_floor = read_version(r, "tls_floor");
}

/* ---- the observation, and what else was demanded ---- */

static void
read_facts(struct reading *r, const struct requirement *req, struct dane_facts *facts)
{
    unsigned usage = 0, selector = 0, matching = 0;
    char record[16];

    if (is_nil(r, "dane"))
        return;
    facts->match = (enum dane_match)read_enum(r, "dane.match", match_name, DANE_MATCHED + 1);
    facts->host = (size_t)record_number(r->map, "dane.host");
    facts->depth = (unsigned)record_number(r->map, "dane.depth");
    read_text(r, "dane.error", facts->error, sizeof facts->error);
    read_text(r, "dane.error_reason", facts->reason, sizeof facts->reason);
    read_text(r, "dane.record", record, sizeof record);
    need(r, !*record || sscanf(record, "%3u %3u %3u", &usage, &selector, &matching) == 3);
    facts->usage = (uint8_t)usage;
    facts->selector = (uint8_t)selector;
    facts->matching = (uint8_t)matching;
    need(r, facts->host == 0 || facts->host < req->dane.host_count);
    if (facts->match != DANE_UNCHECKED)
        facts->key = requirement_dane_key(req);
}

static void
read_observation(struct reading *r, const struct requirement *req, struct observation *obs)
{
    obs->stage = (enum tls_stage)read_enum(r, "tls.stage", stage_name, TLS_STAGE_DONE + 1);
    obs->failure =
        (enum tls_failure)read_enum(r, "tls.failure", failure_name, TLS_FAILURE_TIMEOUT + 1);
    obs->starttls_offered = record_bool(r->map, "tls.starttls_offered");
    obs->starttls_code = (unsigned)record_number(r->map, "tls.starttls_code");
    obs->requiretls_offered = record_bool(r->map, "tls.requiretls_offered");
    obs->bound = record_bool(r->map, "judged.bound");
    read_text(r, "tls.failure_reason", obs->failure_reason, sizeof obs->failure_reason);
    read_text(r, "tls.alert", obs->alert, sizeof obs->alert);
    read_text(r, "tls.sni", obs->sni, sizeof obs->sni);
    obs->trust = (uint16_t)record_number(r->map, "tls.trust");
    obs->floor = read_version(r, "tls.floor");
    obs->version = read_version(r, "tls.version");
    obs->ticket_offered = record_bool(r->map, "tls.ticket_offered");
    obs->resumed = record_bool(r->map, "tls.resumed");
    if (obs->stage != TLS_STAGE_DONE)
        return;
    obs->chain = (enum chain_state)read_enum(r, "tls.chain", chain_name, CHAIN_GOOD + 1);
    read_text(r, "tls.chain_error", obs->chain_error, sizeof obs->chain_error);
    read_text(r, "tls.chain_reason", obs->chain_reason, sizeof obs->chain_reason);
    read_names(r, "tls.san", "tls.san_count", &obs->sans);
    read_facts(r, req, &obs->dane);
}

static void
read_demand(struct reading *r, struct demand *demand)
{
    demand->site_tls = record_bool(r->map, "tls_required");
    demand->requiretls = record_bool(r->map, "requiretls");
    demand->client_tls = record_bool(r->map, "judged.client_tls");
    demand->null_sender = record_bool(r->map, "judged.null_sender");
    demand->cleartext_fallback = record_bool(r->map, "judged.cleartext_fallback");
    demand->floor = read_version(r, "judged.floor");
    demand->report_mail = record_bool(r->map, "judged.report_mail"); /* older records have none */
    if (demand->report_mail)
        demand->report_floor = read_version(r, "judged.report_floor");
}

/* ---- comparing ---- */

static bool
is_same(struct span map, const struct verdict *v)
{
    const char *result = v->result == RESULT_SUCCESS ? "success" : result_type_name(v->result);

    return record_is(map, "verdict", verdict_action_name(v->action)) &&
           record_is(map, "would", verdict_action_name(v->would)) &&
           record_is(map, "rule", v->rule) && record_is(map, "result_type", result) &&
           record_is(map, "reason", v->reason) && record_is(map, "mx", v->mx) &&
           record_bool(map, "mx_proven") == v->proven;
}

static void
copy_printable(char *dst, size_t size, struct span text)
{
    size_t i = 0;

    for (; i < text.len && i + 1 < size; i++)
        dst[i] = text.ptr[i];
    dst[i] = '\0';
    for (i = 0; dst[i]; i++)
        if (dst[i] < ' ' || dst[i] > '~')
            dst[i] = '?';
}

static void
describe(struct span map, const struct verdict *v, char difference[REJUDGE_TEXT_MAX])
{
    char record[96], action[16], rule[64], mx[96];

    copy_printable(record, sizeof record, record_text(map, "record"));
    copy_printable(action, sizeof action, record_text(map, "verdict"));
    copy_printable(rule, sizeof rule, record_text(map, "rule"));
    copy_printable(mx, sizeof mx, record_text(map, "mx"));
    snprintf(difference, REJUDGE_TEXT_MAX,
             "%s: recorded %s by \"%s\" mx=%s, judged again %s by \"%s\" mx=%.96s", record, action,
             rule, mx, verdict_action_name(v->action), v->rule, v->mx);
}

static enum result
judge_again(struct reading *r, struct requirement *req, struct observation *obs,
            enum rejudge_outcome *out, char difference[REJUDGE_TEXT_MAX])
{
    struct demand demand = { .floor = 0 };
    struct verdict v;
    int64_t at_s;

    read_requirement(r, req);
    read_observation(r, req, obs);
    read_demand(r, &demand);
    at_s = read_time(r, "judged.at");
    if (r->res != RES_OK)
        return r->res;
    if (r->cut) {
        *out = REJUDGE_CUT;
        return RES_OK;
    }
    v = judge(req, &demand, obs, at_s);
    *out = is_same(r->map, &v) ? REJUDGE_SAME : REJUDGE_DIFFERENT;
    if (*out == REJUDGE_DIFFERENT)
        describe(r->map, &v, difference);
    return RES_OK;
}

/* A step on the way and no verdict: the session ended before there was one, and the facts in the
 * record are later than those that led to it. */
static bool
is_unfinished(struct span map)
{
    return record_is(map, "verdict", verdict_action_name(VERDICT_START_TLS)) ||
           record_is(map, "verdict", verdict_action_name(VERDICT_RECONNECT));
}

enum result
rejudge(struct span map, enum rejudge_outcome *out, char difference[REJUDGE_TEXT_MAX])
{
    struct reading r = { .map = map, .res = RES_OK };
    struct requirement *req;
    struct observation *obs;
    enum result res = RES_NOMEM;

    *out = REJUDGE_NOT_JUDGED;
    difference[0] = '\0';
    if (!record_is(map, "event", "recipient") || is_nil(&r, "judged") || is_unfinished(map))
        return RES_OK;
    req = requirement_new();
    obs = observation_new();
    if (req && obs)
        res = judge_again(&r, req, obs, out, difference);
    requirement_unref(req);
    observation_unref(obs);
    return res;
}
