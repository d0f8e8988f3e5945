/* tests/proxy/test_status_page.c: what the status process makes of what it is told: sums, the last
 * day, metrics, the page, and who may ask for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/msg_link.h"
#include "proxy/status_http.h"
#include "proxy/status_metrics.h"
#include "proxy/status_page.h"

#define NOW_S 1790000000
#define NOW_MS 1000000

struct world {
    struct status_state *state;
    struct status_link *link;
    struct worker_report report;
    int64_t now_ms, now_s;
    char *text; /* owned: of the last page or metrics */
};

static int
set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    w->now_s = NOW_S;
    w->now_ms = NOW_MS;
    w->state = status_state_new(NOW_S);
    assert_non_null(w->state);
    w->link = status_link_add(w->state);
    assert_non_null(w->link);
    w->report = (struct worker_report){
        .pid = 100, .started_s = NOW_S, .records_ready = true, .library = "BoringSSL (API 17)"
    };
    *state = w;
    return 0;
}

static int
tear_down(void **state)
{
    struct world *w = *state;

    status_state_free(w->state);
    free(w->text);
    free(w);
    return 0;
}

static void
report(struct world *w)
{
    struct buffer message;

    buffer_init(&message, MSG_LINK_MAX_BYTES);
    assert_int_equal(worker_report_write(&w->report, &message), RES_OK);
    assert_int_equal(status_take(w->state, w->link, buffer_span(&message), w->now_ms, w->now_s),
                     RES_OK);
    buffer_clear(&message);
    w->report.refused.count = 0;
}

static void
tell_facts(struct world *w, const char *override)
{
    static struct gateway_facts facts;
    struct buffer message;

    facts = (struct gateway_facts){ .started_s = NOW_S - 100,
                                    .process_s = NOW_S - 100,
                                    .rollout = "enforce",
                                    .dane = true,
                                    .store = true,
                                    .store_safe = true,
                                    .records_ready = true };
    facts.stats[STAT_FETCH_OK] = 3;
    facts.stats[STAT_TLSRPT_MAIL_LATER] = 4;
    facts.cached[STS_CLASS_ENFORCE] = 2;
    if (*override) {
        facts.override_count = 1;
        snprintf(facts.overrides[0].id, sizeof facts.overrides[0].id, "%s", override);
        facts.overrides[0].until_s = NOW_S + 86400;
    }
    buffer_init(&message, MSG_LINK_MAX_BYTES);
    assert_int_equal(gateway_facts_write(&facts, &message), RES_OK);
    assert_int_equal(status_take(w->state, w->link, buffer_span(&message), w->now_ms, w->now_s),
                     RES_OK);
    buffer_clear(&message);
}

static const char *
shown(struct world *w, bool metrics)
{
    size_t len;
    FILE *out;

    free(w->text);
    w->text = NULL;
    out = open_memstream(&w->text, &len);
    assert_non_null(out);
    if (metrics)
        status_metrics_write(w->state, w->now_ms, w->now_s, out);
    else
        status_page_write(w->state, "0123", w->now_ms, w->now_s, out);
    assert_int_equal(fclose(out), 0);
    return w->text;
}

/* ---- sums ---- */

static uint64_t
delivered(struct world *w)
{
    struct status_totals totals;

    status_add_up(w->state, w->now_ms, &totals);
    return totals.counters.sessions[COUNTED_DELIVERED];
}

/* A counter never falls: not by a worker that is started anew, not by a reload. */
static void
test_sums_outlive_processes(void **state)
{
    struct world *w = *state;

    w->report.counters.sessions[COUNTED_DELIVERED] = 5;
    report(w);
    assert_int_equal(delivered(w), 5);
    w->report.counters.sessions[COUNTED_DELIVERED] = 7;
    report(w);
    assert_int_equal(delivered(w), 7);
    w->report.pid++;
    w->report.counters.sessions[COUNTED_DELIVERED] = 1;
    report(w);
    assert_int_equal(delivered(w), 8);
    status_link_remove(w->state, w->link);
    assert_int_equal(delivered(w), 8);
    w->link = status_link_add(w->state);
    w->report.pid++;
    report(w);
    assert_int_equal(delivered(w), 9);
}

static void
test_day(void **state)
{
    struct world *w = *state;
    uint64_t *counts = w->report.counters.recipients[COUNTED_STS][COUNTED_ENFORCE];

    counts[COUNTED_BY_STS] = 3;
    report(w);
    counts[COUNTED_GATEWAY_REFUSED] = 2;
    w->now_s += STATUS_SLOT_S;
    report(w);
    assert_int_equal(status_slot(w->state, w->now_s, 1)[STATUS_PROVEN], 3);
    assert_int_equal(status_slot(w->state, w->now_s, 0)[STATUS_PROVEN], 0);
    assert_int_equal(status_slot(w->state, w->now_s, 0)[STATUS_REFUSED], 2);
    w->now_s += 86400;
    assert_null(status_slot(w->state, w->now_s, 0));
}

/* This process was started anew: what a worker had counted before is not of this slot. */
static void
test_day_begins_with_us(void **state)
{
    struct world *w = *state;

    w->report.started_s = NOW_S - 3600;
    w->report.counters.recipients[COUNTED_STS][COUNTED_ENFORCE][COUNTED_BY_STS] = 1000;
    report(w);
    assert_int_equal(status_slot(w->state, w->now_s, 0)[STATUS_PROVEN], 0);
    w->report.counters.recipients[COUNTED_STS][COUNTED_ENFORCE][COUNTED_BY_STS]++;
    report(w);
    assert_int_equal(status_slot(w->state, w->now_s, 0)[STATUS_PROVEN], 1);
}

static void
refuse(struct world *w, const char *domain)
{
    struct top_refusal r = { .reply = "REP-011", .count = 1 };

    snprintf(r.domain, sizeof r.domain, "%s", domain);
    top_refused_add(&w->report.refused, &r);
    report(w);
}

static void
test_refused_for_a_day(void **state)
{
    struct world *w = *state;
    struct top_refused top;

    refuse(w, "a.example");
    w->now_s += 3600;
    refuse(w, "a.example");
    refuse(w, "b.example");
    status_refused(w->state, w->now_s, &top);
    assert_int_equal(top.count, 2);
    assert_string_equal(top.all[0].domain, "a.example");
    assert_int_equal(top.all[0].count, 2);
    w->now_s += 86400;
    status_refused(w->state, w->now_s, &top);
    assert_int_equal(top.count, 0);
}

/* ---- health ---- */

static void
test_health(void **state)
{
    struct world *w = *state;

    assert_string_equal(status_problem(w->state, w->now_ms), "the policy process is not heard");
    tell_facts(w, "");
    assert_string_equal(status_problem(w->state, w->now_ms), "no worker takes clients");
    report(w);
    assert_null(status_problem(w->state, w->now_ms));
    w->report.records_ready = false;
    report(w);
    assert_string_equal(status_problem(w->state, w->now_ms), "records cannot be written");
    w->now_ms += STATUS_SILENT_MS;
    tell_facts(w, "");
    assert_string_equal(status_problem(w->state, w->now_ms), "a worker is not heard");
}

static void
test_nonsense(void **state)
{
    struct world *w = *state;

    assert_int_not_equal(status_take(w->state, w->link, span_of("nonsense"), NOW_MS, NOW_S),
                         RES_OK);
    assert_int_not_equal(status_take(w->state, w->link, span_of(""), NOW_MS, NOW_S), RES_OK);
}

static void
test_links_are_bounded(void **state)
{
    struct world *w = *state;

    for (unsigned i = 1; i < STATUS_LINKS_MAX; i++)
        assert_non_null(status_link_add(w->state));
    assert_null(status_link_add(w->state));
}

/* ---- texts ---- */

static const struct escape_case {
    const char *name, *text, *want;
} escapes[] = {
    { "plain", "a.example", "a.example" },
    { "markup", "<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;" },
    { "attribute", "\" onload='x'", "&quot; onload=&#39;x&#39;" },
    { "reference", "a&lt;b", "a&amp;lt;b" },
    { "control characters", "a\r\n\033[2Jb", "a&#65533;&#65533;&#65533;[2Jb" },
    { "UTF-8 of others", "\xe2\x80\xae", "&#65533;&#65533;&#65533;" },
};

static void
test_escape(void **state)
{
    const struct escape_case *c = *state;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    assert_non_null(out);
    html_text(out, c->text);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, c->want);
    free(text);
}

/* What an operator or a domain has named is text on the page, whatever it looks like. */
static void
test_page_is_inert(void **state)
{
    struct world *w = *state;
    const char *page;

    tell_facts(w, "\"><script>alert(1)</script>");
    refuse(w, "xn--80ak6aa92e.example");
    page = shown(w, false);
    assert_null(strstr(page, "<script>"));
    assert_non_null(strstr(page, "&quot;&gt;&lt;script&gt;alert(1)"));
    assert_non_null(strstr(page, "xn--80ak6aa92e.example"));
    assert_null(strstr(page, "http://"));
    assert_null(strstr(page, "https://"));
}

/* Names that come from outside are never in the metrics (FAULTS H8, TC-OPS-04). */
static void
test_metrics_have_no_names(void **state)
{
    struct world *w = *state;
    const char *metrics;

    tell_facts(w, "secret-override");
    refuse(w, "a.example");
    metrics = shown(w, true);
    assert_null(strstr(metrics, "a.example"));
    assert_null(strstr(metrics, "secret-override"));
    assert_non_null(strstr(metrics, "\nstsgate_overrides_ending 1\n"));
    assert_non_null(strstr(metrics, "\nstsgate_policy_cache_entries{kind=\"enforce\"} 2\n"));
    assert_non_null(strstr(metrics, "\nstsgate_policy_fetch_total{result=\"ok\"} 3\n"));
}

/* Buckets hold what is below them, too; times are told in seconds; how busy loops are (FAULTS G19).
 */
static void
test_metrics_of_time(void **state)
{
    struct observation done = { .stage = TLS_STAGE_DONE }, failed = { .stage = TLS_STAGE_FAILED };
    struct world *w = *state;
    const char *metrics;

    for (int i = 0; i < 3; i++)
        counters_mx_handshake(&w->report.counters, &done, (int64_t[]){ 5, 6, 60000 }[i]);
    counters_mx_handshake(&w->report.counters, &failed, 7);
    w->report.counters.cpu_ms = 61005;
    w->report.lag_ms = 1250;
    w->report.busy_percent = 7;
    report(w);
    metrics = shown(w, true);
    assert_non_null(strstr(metrics, "# TYPE stsgate_tls_handshake_seconds histogram\n"
                                    "stsgate_tls_handshake_seconds_bucket{le=\"0.005\"} 1\n"
                                    "stsgate_tls_handshake_seconds_bucket{le=\"0.01\"} 2\n"));
    assert_non_null(strstr(metrics, "_bucket{le=\"10\"} 2\n"
                                    "stsgate_tls_handshake_seconds_bucket{le=\"+Inf\"} 3\n"
                                    "stsgate_tls_handshake_seconds_count 3\n"
                                    "stsgate_tls_handshake_seconds_sum 60.011\n"));
    assert_non_null(strstr(metrics, "\nstsgate_workers_cpu_seconds_total 61.005\n"));
    assert_non_null(strstr(metrics, "\nstsgate_loop_lag_seconds 1.250\n"));
    assert_non_null(strstr(metrics, "\nstsgate_loop_busy_ratio 0.07\n"));
}

/* What TLSRPT does is told by the way its reports take. */
static void
test_metrics_of_reports(void **state)
{
    struct world *w = *state;
    const char *metrics;

    tell_facts(w, "");
    metrics = shown(w, true);
    assert_non_null(strstr(
        metrics, "\nstsgate_tlsrpt_deliveries_total{channel=\"mail\",result=\"later\"} 4\n"));
    assert_non_null(strstr(
        metrics, "\nstsgate_tlsrpt_deliveries_total{channel=\"https\",result=\"sent\"} 0\n"));
}

/* The page says what the metrics say. */
static void
test_page_equals_metrics(void **state)
{
    struct world *w = *state;

    w->report.open = 4711;
    w->report.counters.records[COUNTED_WRITTEN] = 815;
    tell_facts(w, "");
    report(w);
    assert_non_null(strstr(shown(w, true), "\nstsgate_sessions_active 4711\n"));
    assert_non_null(strstr(shown(w, true), "stsgate_log_records_total{result=\"written\"} 815\n"));
    assert_non_null(strstr(shown(w, false), "<b>4711</b>sessions"));
    assert_non_null(strstr(shown(w, false), "records written<td class=\"n\">815"));
}

/* Every combination of labels that there is, all at once: no name of a series comes twice. */
static void
test_metrics_are_distinct(void **state)
{
    struct world *w = *state;
    char *text, *rest, *line, **seen;
    size_t count = 0;

    for (size_t i = 0; i < COUNTERS; i++)
        counters_set(&w->report.counters, i, i + 1);
    report(w);
    tell_facts(w, "");
    text = strdup(shown(w, true));
    seen = calloc(4096, sizeof *seen);
    assert_non_null(text);
    assert_non_null(seen);
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (*line == '#')
            continue;
        *strrchr(line, ' ') = '\0';
        for (size_t i = 0; i < count; i++)
            assert_string_not_equal(seen[i], line);
        assert_true(count < 4096);
        seen[count++] = line;
    }
    assert_true(count > COUNTERS);
    free(seen);
    free(text);
}

/* ---- who asks ---- */

static const struct host_case {
    const char *name, *host, *address;
    bool want;
} hosts[] = {
    { "its address", "127.0.0.1:9125", "127.0.0.1:9125", true },
    { "its address without the port", "127.0.0.1", "127.0.0.1:9125", true },
    { "through a forwarded port", "localhost:8080", "127.0.0.1:9125", true },
    { "its name", "GW.Example.COM:9125", "192.0.2.1:9125", true },
    { "IPv6", "[2001:db8::1]:9125", "[2001:db8::1]:9125", true },
    { "IPv6 without the port", "[2001:db8::1]", "[2001:db8::1]:9125", true },
    { "loopback of IPv6", "[::1]:9125", "127.0.0.1:9125", true },
    { "another name", "evil.example", "127.0.0.1:9125", false },
    { "another address", "192.0.2.2:9125", "192.0.2.1:9125", false },
    { "a name that begins like ours", "gw.example.com.evil.example", "127.0.0.1:9125", false },
    { "a name that ends like ours", "evil-gw.example.com", "127.0.0.1:9125", false },
    { "localhost below another", "localhost.evil.example", "127.0.0.1:9125", false },
    { "nothing", "", "127.0.0.1:9125", false },
    { "a port alone", ":9125", "127.0.0.1:9125", false },
    { "digits alone", "9125", "127.0.0.1:9125", false },
};

static void
test_host(void **state)
{
    const struct host_case *c = *state;

    assert_int_equal(status_http_is_ours(c->host, c->address, "gw.example.com"), c->want);
}

int
main(void)
{
    struct CMUnitTest tests[64];
    size_t n = 0;

#define ROWS(rows, function)                                                                       \
    for (size_t i = 0; i < sizeof(rows) / sizeof *(rows); i++)                                     \
        tests[n++] = (struct CMUnitTest){ (rows)[i].name, function, NULL, NULL,                    \
                                          (void *)(uintptr_t) & (rows)[i] };
#define WORLD(function)                                                                            \
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    WORLD(test_sums_outlive_processes);
    WORLD(test_day);
    WORLD(test_day_begins_with_us);
    WORLD(test_refused_for_a_day);
    WORLD(test_health);
    WORLD(test_nonsense);
    WORLD(test_links_are_bounded);
    WORLD(test_page_is_inert);
    WORLD(test_metrics_have_no_names);
    WORLD(test_metrics_of_time);
    WORLD(test_metrics_of_reports);
    WORLD(test_page_equals_metrics);
    WORLD(test_metrics_are_distinct);
    ROWS(escapes, test_escape)
    ROWS(hosts, test_host)
    return _cmocka_run_group_tests("status_page", tests, n, NULL, NULL);
}
