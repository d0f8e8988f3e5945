#include "proxy/check_report.h"

#include <stdarg.h>
#include <stdio.h>

#include "proxy/record_view.h"

void
check_report_init(struct check_report *report, const char *domain)
{
    *report = (struct check_report){ .verdict = CHECK_TEMPORARY };
    snprintf(report->domain, sizeof report->domain, "%s", domain);
    buffer_init(&report->parts, CHECK_PARTS_MAX_BYTES);
}

void
check_report_clear(struct check_report *report)
{
    for (size_t i = 0; i < report->connection_count; i++)
        probe_result_clear(&report->connections[i]);
    report->connection_count = 0;
    buffer_clear(&report->parts);
}

void
check_report_add_part(struct check_report *report, struct span map)
{
    if (buffer_append(&report->parts, map) != RES_OK)
        report->broken = true;
}

void
check_report_find(struct check_report *report, enum check_level level, const char *code,
                  struct span about, const char *mend, const char *fmt, ...)
{
    struct check_finding *f;
    va_list args;

    if (report->finding_count == CHECK_FINDINGS_MAX)
        return;
    f = &report->findings[report->finding_count++];
    *f = (struct check_finding){ .level = level, .code = code, .mend = mend };
    about = span_first(about, sizeof f->about - 1);
    memcpy(f->about, about.ptr, about.len);
    va_start(args, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, args);
    va_end(args);
}

bool
check_report_next(struct pack_reader *at, const char *kind, struct span *out_map)
{
    while (at->rest.len && at->res == RES_OK) {
        *out_map = pack_read_raw(at);
        if (at->res == RES_OK && record_is(*out_map, "part", kind))
            return true;
    }
    *out_map = span_of("");
    return false;
}

struct span
check_report_part(const struct check_report *report, const char *kind)
{
    struct pack_reader at;
    struct span map;

    pack_reader_init(&at, buffer_span(&report->parts));
    (void)check_report_next(&at, kind, &map);
    return map;
}

/* ---- addresses ---- */

/* The addresses of one part, in text. */
static size_t
begin_addresses(struct span map, struct pack_reader *out)
{
    if (!record_value(map, "records", out) || pack_peek_type(out) != PACK_ARRAY)
        return 0;
    return pack_read_array(out, CHECK_PARTS_MAX_BYTES);
}

static bool
next_address(struct pack_reader *r, struct ip_addr *out)
{
    char text[IP_ADDR_TEXT_MAX];

    pack_read_text(r, text, sizeof text);
    return r->res == RES_OK && ip_addr_parse(text, out) == RES_OK;
}

static bool
part_has(struct span map, const struct ip_addr *addr)
{
    struct pack_reader r;

    for (size_t n = begin_addresses(map, &r); n > 0; n--) {
        struct ip_addr one;

        if (next_address(&r, &one) && ip_addr_equal(&one, addr))
            return true;
    }
    return false;
}

void
check_report_hosts(const struct check_report *report, const struct ip_addr *addr,
                   char out[CHECK_TEXT_MAX])
{
    struct pack_reader at;
    struct span map;
    size_t len = 0;

    out[0] = '\0';
    pack_reader_init(&at, buffer_span(&report->parts));
    while (check_report_next(&at, "address", &map)) {
        struct span name = record_text(map, "name");

        if (!part_has(map, addr) || len + name.len + 3 > CHECK_TEXT_MAX)
            continue;
        len += (size_t)snprintf(out + len, CHECK_TEXT_MAX - len, "%s%.*s", len ? ", " : "",
                                (int)name.len, name.ptr);
    }
}

static bool
is_known(const struct ip_addr *addrs, size_t count, const struct ip_addr *addr)
{
    for (size_t i = 0; i < count; i++)
        if (ip_addr_equal(&addrs[i], addr))
            return true;
    return false;
}

size_t
check_report_addresses(const struct check_report *report, struct ip_addr *out, size_t max)
{
    struct pack_reader at, r;
    size_t count = 0;
    struct span map;

    pack_reader_init(&at, buffer_span(&report->parts));
    while (check_report_next(&at, "address", &map))
        for (size_t n = begin_addresses(map, &r); n > 0; n--) {
            struct ip_addr addr;

            if (!next_address(&r, &addr) || is_known(out, count < max ? count : max, &addr))
                continue;
            if (count < max)
                out[count] = addr;
            count++;
        }
    return count;
}

/* ---- the verdict ---- */

static bool
demands_something(const struct requirement *req)
{
    return req->sts.mode != STS_MODE_NONE || req->dane.state == DANE_SECURE ||
           req->local.action == RULE_REQUIRE || req->local.action == RULE_VERIFY ||
           req->local.action == RULE_DANE;
}

bool
check_report_has_policy(const struct check_report *report)
{
    struct span policy = check_report_part(report, "policy");

    if (record_is(policy, "state", "valid") && !record_is(policy, "mode", "none"))
        return true;
    for (size_t i = 0; i < report->connection_count; i++)
        if (report->connections[i].req && demands_something(report->connections[i].req))
            return true;
    return false;
}

/* Did the look-up fail for now? */
static bool
has_failed(struct span part)
{
    return record_is(part, "state", "failed") || record_is(part, "state", "bogus");
}

bool
check_report_resolver_fails(const struct check_report *report)
{
    return check_report_part(report, "resolver").len != 0;
}

/* What one connection says for itself. */
static enum check_verdict
verdict_of(const struct probe_result *c)
{
    if (c->end != PROBE_JUDGED)
        return CHECK_TEMPORARY;
    if (c->verdict.action == VERDICT_ALLOW)
        return CHECK_PASS;
    if (c->verdict.action != VERDICT_REFUSE || c->verdict.reply == REPLY_DNS_FAILURE ||
        c->verdict.reply == REPLY_POLICY_UNAVAILABLE)
        return CHECK_TEMPORARY;
    return CHECK_REFUSE;
}

enum check_verdict
check_report_judge(const struct check_report *report)
{
    bool has_policy = check_report_has_policy(report), passes = false;
    bool uncertain = report->broken || check_report_resolver_fails(report);

    for (size_t i = 0; i < report->connection_count; i++) {
        enum check_verdict one = verdict_of(&report->connections[i]);

        if (one == CHECK_REFUSE)
            return CHECK_REFUSE;
        passes |= one == CHECK_PASS;
        uncertain |= one == CHECK_TEMPORARY && report->connections[i].end == PROBE_JUDGED;
    }
    if (uncertain || has_failed(check_report_part(report, "mx")) ||
        (!has_policy && has_failed(check_report_part(report, "sts-txt"))))
        return CHECK_TEMPORARY;
    if (!passes && (report->connection_count || has_policy))
        return CHECK_TEMPORARY; /* nobody has been there to be judged */
    return has_policy ? CHECK_PASS : CHECK_NO_POLICY;
}

const char *
check_verdict_name(enum check_verdict verdict)
{
    static const char *const names[] = { [CHECK_PASS] = "pass",
                                         [CHECK_REFUSE] = "refuse",
                                         [CHECK_NO_POLICY] = "no-policy",
                                         [CHECK_TEMPORARY] = "temporary",
                                         [CHECK_USAGE] = "usage" };

    return names[verdict];
}

const char *
check_level_name(enum check_level level)
{
    static const char *const names[] = {
        [CHECK_ERROR] = "error", [CHECK_WARNING] = "warning", [CHECK_NOTE] = "note"
    };

    return names[level];
}
