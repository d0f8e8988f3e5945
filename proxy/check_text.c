/* proxy/check_text.c: the report as text (proxy/check_show.h). */
#include "proxy/check_report.h"
#include "proxy/check_show.h"
#include "proxy/record_view.h"
#include "proxy/replies.h"
#include "proxy/rule_text.h"
#include "proxy/terminal.h"

#define LABEL_COLUMNS 12
#define POLICY_LINES_MAX 200u /* shown of a long policy */

struct view {
    FILE *out;
    bool colour;
};

enum paint { PAINT_PLAIN, PAINT_BOLD, PAINT_GOOD, PAINT_BAD, PAINT_DOUBT };

static void
paint(const struct view *v, enum paint how)
{
    static const char *const codes[] = { [PAINT_PLAIN] = "0",
                                         [PAINT_BOLD] = "1",
                                         [PAINT_GOOD] = "32",
                                         [PAINT_BAD] = "31",
                                         [PAINT_DOUBT] = "33" };

    if (v->colour)
        fprintf(v->out, "\033[%sm", codes[how]);
}

static void
label(const struct view *v, const char *text)
{
    fprintf(v->out, "%-*s", LABEL_COLUMNS, text);
}

static void
show(const struct view *v, struct span text)
{
    terminal_text(v->out, text);
}

static void
show_field(const struct view *v, struct span map, const char *key)
{
    show(v, record_text(map, key));
}

/* ---- what is published ---- */

/* "  (secure)", or why there is no answer. */
static void
show_state(const struct view *v, struct span map)
{
    if (record_is(map, "state", "answered") || record_is(map, "state", "no-such-name")) {
        fprintf(v->out, "  (");
        show_field(v, map, "security");
        fprintf(v->out, ")\n");
        return;
    }
    fprintf(v->out, "  (");
    paint(v, PAINT_BAD);
    show_field(v, map, "state");
    fprintf(v->out, ": ");
    show_field(v, map, "reason");
    paint(v, PAINT_PLAIN);
    fprintf(v->out, ")\n");
}

static size_t
begin_records(struct span map, struct pack_reader *out)
{
    if (!record_value(map, "records", out) || pack_peek_type(out) != PACK_ARRAY)
        return 0;
    return pack_read_array(out, CHECK_PARTS_MAX_BYTES);
}

static void
show_texts(const struct view *v, const struct check_report *report, const char *part,
           const char *title)
{
    struct span map = check_report_part(report, part);
    struct pack_reader r;

    if (map.len == 0)
        return;
    label(v, title);
    show_field(v, map, "name");
    show_state(v, map);
    for (size_t n = begin_records(map, &r); n > 0 && r.res == RES_OK; n--) {
        label(v, "");
        putc('"', v->out);
        show(v, pack_peek_type(&r) == PACK_STR ? pack_read_str(&r) : pack_read_bin(&r));
        fputs("\"\n", v->out);
    }
}

/* The resolver of the gateway itself, where it is to blame. */
static void
show_resolver(const struct view *v, const struct check_report *report)
{
    struct span map = check_report_part(report, "resolver");

    if (map.len == 0)
        return;
    label(v, "resolver");
    fputs("the root of DNS", v->out);
    show_state(v, map);
}

static void
show_policy_text(const struct view *v, struct span text)
{
    for (unsigned number = 1; text.len && number <= POLICY_LINES_MAX; number++) {
        size_t end = span_find(text, '\n');
        struct span line = span_first(text, end);

        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        label(v, "");
        fprintf(v->out, "%3u  ", number);
        show(v, line);
        putc('\n', v->out);
        text = span_from(text, end + 1);
    }
}

static void
show_policy(const struct view *v, const struct check_report *report)
{
    struct span map = check_report_part(report, "policy");

    if (map.len == 0)
        return;
    label(v, "policy");
    if (record_is(map, "state", "valid")) {
        show_field(v, map, "mode");
        fprintf(v->out, ", max_age %u s, id ", (unsigned)record_number(map, "max_age"));
        show_field(v, map, "id");
    } else {
        fputs("none", v->out);
    }
    if (record_text(map, "problem").len) {
        fputs("  (", v->out);
        show_field(v, map, "problem");
        putc(')', v->out);
    }
    putc('\n', v->out);
    show_policy_text(v, record_text(map, "text"));
}

static void
show_addresses(const struct view *v, const struct check_report *report, struct span host)
{
    struct pack_reader at, r;
    struct span map;

    pack_reader_init(&at, buffer_span(&report->parts));
    while (check_report_next(&at, "address", &map)) {
        size_t n = begin_records(map, &r);

        if (!span_equal(record_text(map, "name"), host) ||
            (n == 0 && record_is(map, "state", "answered")))
            continue;
        label(v, "");
        fprintf(v->out, "    ");
        show_field(v, map, "type");
        for (; n > 0 && r.res == RES_OK; n--) {
            putc(' ', v->out);
            show(v, pack_read_str(&r));
        }
        show_state(v, map);
    }
}

static void
show_tlsa(const struct view *v, struct span map)
{
    struct pack_reader r;

    for (size_t n = begin_records(map, &r); n > 0 && r.res == RES_OK; n--) {
        struct span record = pack_read_raw(&r);

        label(v, "");
        fprintf(v->out, "    TLSA _%u._tcp.", (unsigned)record_number(map, "port"));
        show_field(v, map, "base");
        fprintf(v->out, " ");
        show_field(v, record, "record");
        fputs(record_bool(record, "usable") ? "\n" : "  (not usable)\n", v->out);
    }
    if (!record_is(map, "state", "failed"))
        return;
    label(v, "");
    fputs("    TLSA failed: ", v->out);
    show_field(v, map, "reason");
    putc('\n', v->out);
}

/* The hosts as their TLSA parts name them; preferences stand in the MX records. */
static void
show_hosts(const struct view *v, const struct check_report *report)
{
    struct pack_reader at;
    struct span map;

    pack_reader_init(&at, buffer_span(&report->parts));
    while (check_report_next(&at, "tlsa", &map)) {
        label(v, "host");
        show_field(v, map, "name");
        putc('\n', v->out);
        show_addresses(v, report, record_text(map, "name"));
        show_tlsa(v, map);
    }
}

static void
show_mx(const struct view *v, const struct check_report *report)
{
    struct span map = check_report_part(report, "mx");
    struct pack_reader r;

    if (map.len == 0)
        return;
    label(v, "MX");
    show_field(v, map, "name");
    show_state(v, map);
    for (size_t n = begin_records(map, &r); n > 0 && r.res == RES_OK; n--) {
        struct span record = pack_read_raw(&r);

        label(v, "");
        fprintf(v->out, "%u ", (unsigned)record_number(record, "preference"));
        show_field(v, record, "host");
        putc('\n', v->out);
    }
}

/* ---- connections ---- */

/* A failure of the connection before is told with the one that went on in clear. */
static const char *
how_without(const struct observation *obs)
{
    if (obs->failure != TLS_FAILURE_NONE)
        return "the handshake failed";
    if (obs->stage == TLS_STAGE_REFUSED)
        return "STARTTLS is refused";
    return obs->starttls_offered ? "STARTTLS is offered, and was not tried"
                                 : "STARTTLS is not offered";
}

static void
show_handshake(const struct view *v, const struct observation *obs)
{
    label(v, "");
    if (obs->stage != TLS_STAGE_DONE) {
        fprintf(v->out, "no TLS: %s", how_without(obs));
        if (obs->failure != TLS_FAILURE_NONE) {
            fputs(": ", v->out);
            show(v, span_of(obs->failure_reason));
        }
        putc('\n', v->out);
        return;
    }
    fprintf(v->out, "%s %s, SNI %s, certificate %s", tls_version_name(obs->version), obs->cipher,
            *obs->sni ? obs->sni : "none", chain_state_name(obs->chain));
    if (obs->chain != CHAIN_GOOD) {
        fputs(": ", v->out);
        show(v, span_of(obs->chain_reason));
    }
    fputs(", names", v->out);
    for (size_t i = 0; i < obs->sans.count && i < 10; i++) {
        putc(' ', v->out);
        show(v, span_of(obs->sans.names[i]));
    }
    fputs(obs->sans.count > 10 ? " ...\n" : "\n", v->out);
}

static void
show_verdict(const struct view *v, const struct probe_result *c)
{
    bool passes = c->verdict.action == VERDICT_ALLOW;

    if (c->obs)
        show_handshake(v, c->obs);
    if (c->dane.match != DANE_UNCHECKED) {
        label(v, "");
        fprintf(v->out, "DANE %s\n", dane_match_name(c->dane.match));
    }
    label(v, "");
    paint(v, passes ? PAINT_GOOD : PAINT_BAD);
    fputs(passes ? "mail would pass" : "mail would be refused", v->out);
    paint(v, PAINT_PLAIN);
    fprintf(v->out, "  (%s", *c->verdict.rule ? c->verdict.rule : c->reply_id);
    if (passes && c->verdict.would != VERDICT_ALLOW)
        fputs("; enforced, it would be refused", v->out);
    fputs(")\n", v->out);
    if (*rule_sentence(c->verdict.rule)) {
        label(v, "");
        fprintf(v->out, "by the rule: %s\n", rule_sentence(c->verdict.rule));
    }
}

static void
show_connection(const struct view *v, const struct check_report *report,
                const struct probe_result *c)
{
    char ip[IP_ADDR_TEXT_MAX], hosts[CHECK_TEXT_MAX];

    check_report_hosts(report, &c->destination, hosts);
    label(v, "connection");
    fprintf(v->out, "%s port %u, ", ip_addr_text(&c->destination, ip), (unsigned)c->port);
    show(v, span_of(hosts));
    fprintf(v->out, "  (%u ms)\n", c->elapsed_ms);
    if (c->end == PROBE_JUDGED) {
        show_verdict(v, c);
    } else {
        label(v, "");
        paint(v, PAINT_DOUBT);
        fprintf(v->out, "%s %s\n", probe_end_name(c->end), c->forbidden);
        paint(v, PAINT_PLAIN);
    }
    if (*c->reply) {
        label(v, "");
        show(v, span_of(c->reply));
        putc('\n', v->out);
    }
}

/* ---- findings ---- */

static void
show_finding(const struct view *v, const struct check_finding *f)
{
    paint(v, f->level == CHECK_ERROR     ? PAINT_BAD
             : f->level == CHECK_WARNING ? PAINT_DOUBT
                                         : PAINT_PLAIN);
    label(v, check_level_name(f->level));
    paint(v, PAINT_PLAIN);
    show(v, span_of(f->about));
    fputs(": ", v->out);
    show(v, span_of(f->text));
    fprintf(v->out, "  [%s]\n", f->code);
    if (!*f->mend)
        return;
    label(v, "");
    fprintf(v->out, "-> %s\n", f->mend);
}

static void
show_sum(const struct view *v, const struct check_report *report)
{
    static const char *const sums[] = {
        [CHECK_PASS] = "pass: mail passes, under a policy",
        [CHECK_REFUSE] = "refuse: the gateway would refuse mail, at one MX host at least",
        [CHECK_NO_POLICY] = "no-policy: nothing protects mail to this domain",
        [CHECK_TEMPORARY] = "temporary: it cannot be said now",
        [CHECK_USAGE] = "",
    };

    label(v, "verdict");
    paint(v, report->verdict == CHECK_PASS     ? PAINT_GOOD
             : report->verdict == CHECK_REFUSE ? PAINT_BAD
                                               : PAINT_DOUBT);
    fprintf(v->out, "%s\n", sums[report->verdict]);
    paint(v, PAINT_PLAIN);
}

void
check_show_text(const struct check_report *report, FILE *out, bool colour)
{
    const struct view view = { .out = out, .colour = colour }, *v = &view;

    paint(v, PAINT_BOLD);
    fprintf(out, "%s\n", report->domain);
    paint(v, PAINT_PLAIN);
    show_resolver(v, report);
    show_texts(v, report, "sts-txt", "MTA-STS");
    show_policy(v, report);
    show_mx(v, report);
    show_hosts(v, report);
    show_texts(v, report, "tlsrpt-txt", "TLSRPT");
    for (size_t i = 0; i < report->connection_count; i++)
        show_connection(v, report, &report->connections[i]);
    for (size_t i = 0; i < report->finding_count; i++)
        show_finding(v, &report->findings[i]);
    show_sum(v, report);
}
