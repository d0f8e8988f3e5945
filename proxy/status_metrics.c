#include "proxy/status_metrics.h"

#include "base/span.h"
#include "policy/rules.h"

#include <inttypes.h>
#include <string.h>

/* ---- the format ---- */

static void
put_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: escaped, although all of ours are harmless. */
static void
put_value(FILE *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '\n') {
            fputs("\\n", out);
            continue;
        }
        if (*c == '\\' || *c == '"')
            putc('\\', out);
        putc(*c, out);
    }
}

static void
put_gauge(FILE *out, const char *name, const char *help, uint64_t value)
{
    put_head(out, name, "gauge", help);
    fprintf(out, "%s %" PRIu64 "\n", name, value);
}

static void
put_sample(FILE *out, const char *name, const char *label, const char *value, uint64_t number)
{
    fprintf(out, "%s{%s=\"", name, label);
    put_value(out, value);
    fprintf(out, "\"} %" PRIu64 "\n", number);
}

/* ---- what workers count ---- */

static void
put_label_of(FILE *out, const struct counter_label *label, size_t index)
{
    fprintf(out, "%s=\"", label->name);
    if (label->values)
        put_value(out, label->values[index]);
    else if (index)
        fprintf(out, "REP-%03zu", index);
    else
        fputs("other", out);
    putc('"', out);
}

static void
put_seconds(FILE *out, uint64_t ms)
{
    fprintf(out, "%" PRIu64 ".%03u\n", ms / 1000, (unsigned)(ms % 1000));
}

/* Prometheus wants how many are up to each bound, those below it included. */
static void
put_histogram(FILE *out, const struct counter_row *row, const struct counters *counters)
{
    size_t first = row->offset / sizeof(uint64_t), sum = counter_row_size(row) - 1;
    uint64_t count = 0;

    for (size_t k = 0; k < sum; k++) {
        count += counters_get(counters, first + k);
        fprintf(out, "%s_bucket{le=\"%s\"} %" PRIu64 "\n", row->name, row->labels[0].values[k],
                count);
    }
    fprintf(out, "%s_count %" PRIu64 "\n%s_sum ", row->name, count, row->name);
    put_seconds(out, counters_get(counters, first + sum));
}

static void
put_counter(FILE *out, const struct counter_row *row, size_t index, uint64_t value)
{
    size_t below = counter_row_size(row), rest = index;

    fputs(row->name, out);
    for (unsigned i = 0; i < row->label_count; i++) {
        below /= row->labels[i].count;
        putc(i ? ',' : '{', out);
        put_label_of(out, &row->labels[i], rest / below);
        rest %= below;
    }
    fputs(row->label_count ? "} " : " ", out);
    if (row->kind == COUNTER_SECONDS)
        put_seconds(out, value);
    else
        fprintf(out, "%" PRIu64 "\n", value);
}

/* A combination that never came is left out where most of them cannot come. */
static bool
is_sparse(const struct counter_row *row)
{
    return row->label_count == 3 || (row->label_count && !row->labels[0].values);
}

static void
put_counters(FILE *out, const struct counters *counters)
{
    size_t rows;
    const struct counter_row *table = counters_table(&rows);

    for (size_t i = 0; i < rows; i++) {
        const struct counter_row *row = &table[i];

        put_head(out, row->name, row->kind == COUNTER_HISTOGRAM ? "histogram" : "counter",
                 row->help);
        if (row->kind == COUNTER_HISTOGRAM) {
            put_histogram(out, row, counters);
            continue;
        }
        for (size_t k = 0; k < counter_row_size(row); k++) {
            uint64_t value = counters_get(counters, row->offset / sizeof(uint64_t) + k);

            if (value || !is_sparse(row))
                put_counter(out, row, k, value);
        }
    }
}

/* ---- what the policy process counts ---- */

static const struct stat_row {
    const char *name;
    const char *label; /* or one with its value, a comma, and the one; NULL: none */
    const char *help;  /* NULL: the row before has the same name */
    enum policy_stat first, last;
    const char *prefix; /* of the stats' names, which the label goes without */
} stat_rows[] = {
    { "stsgate_policy_txt_total", "result", "Look-ups of TXT records.", STAT_TXT_FOUND,
      STAT_TXT_DNS_FAILED, "txt_" },
    { "stsgate_policy_leniencies_total", "kind", "Mistakes of domains that were passed over.",
      STAT_LENIENT_TXT_BLANK, STAT_LENIENT_MAX_AGE, "lenient_" },
    { "stsgate_policy_fetch_total", "result", "Fetches of policies, by their end.", STAT_FETCH_OK,
      STAT_FETCH_HELD_BACK, "fetch_" },
    { "stsgate_policy_cache_requests_total", "result",
      "Look-ups for mail in the cache of policies.", STAT_CACHE_HIT, STAT_CACHE_EXPIRED, "cache_" },
    { "stsgate_policy_events_total", "event", "What became of policies that were looked up.",
      STAT_KEPT, STAT_DEFERRED, "" },
    { "stsgate_policy_evicted_total", "kind", "Entries that left the cache for want of room.",
      STAT_EVICTED_EXPIRED, STAT_EVICTED_ENFORCE, "evicted_" },
    { "stsgate_policy_removed_total", "reason", "Entries that left the cache in time.",
      STAT_REMOVED_UNUSED, STAT_REMOVED_EXPIRED, "removed_" },
    { "stsgate_policy_refresh_total", "result", "Fetches in the background.", STAT_REFRESH_OK,
      STAT_REFRESH_FAILED, "refresh_" },
    { "stsgate_policy_expiry_alerts_total", NULL, "Policies about to run out unrefreshed.",
      STAT_EXPIRY_ALERTS, STAT_EXPIRY_ALERTS, "" },
    { "stsgate_policy_rechecks_total", "kind", "Fresh looks at a policy before a refusal.",
      STAT_RECHECK, STAT_RECHECK_REFUSED, "" },
    { "stsgate_clock_jumps_total", NULL, "Jumps of the wall clock.", STAT_CLOCK_JUMPS,
      STAT_CLOCK_JUMPS, "" },
    { "stsgate_store_entries_total", "result", "Entries of the store.", STAT_STORE_LOADED,
      STAT_STORE_WRITTEN, "store_" },
    { "stsgate_store_errors_total", "kind", "Failures of the store.", STAT_STORE_ERRORS,
      STAT_STORE_LOST, "store_" },
    { "stsgate_dane_lookups_total", "result", "Look-ups of TLSA records for mail.", STAT_DANE_NONE,
      STAT_DANE_FAILED, "dane_" },
    { "stsgate_dane_ended_total", NULL, "Domains that had TLSA records, and have none now.",
      STAT_DANE_ENDED, STAT_DANE_ENDED, "" },
    { "stsgate_dane_probes_total", "kind", "Self-tests of DNSSEC validation.", STAT_DANE_PROBES,
      STAT_DANE_PROBES_FAILED, "dane_" },
    { "stsgate_tlsrpt_sessions_total", "result", "Sessions, by whether they count in a TLS report.",
      STAT_TLSRPT_COUNTED, STAT_TLSRPT_LOST, "tlsrpt_" },
    { "stsgate_tlsrpt_reports_total", "result",
      "TLS reports: made, with each attempt anew, and what became of them.", STAT_TLSRPT_MADE,
      STAT_TLSRPT_LEFT_OUT, "tlsrpt_" },
    { "stsgate_tlsrpt_deliveries_total", "channel=\"https\",result",
      "Attempts to hand TLS reports to a destination.", STAT_TLSRPT_HTTPS_SENT,
      STAT_TLSRPT_HTTPS_SUPPRESSED, "tlsrpt_https_" },
    { "stsgate_tlsrpt_deliveries_total", "channel=\"mail\",result", NULL, STAT_TLSRPT_MAIL_SENT,
      STAT_TLSRPT_MAIL_SUPPRESSED, "tlsrpt_mail_" },
};

static void
put_stats(FILE *out, const struct status_totals *totals)
{
    for (size_t i = 0; i < sizeof stat_rows / sizeof *stat_rows; i++) {
        const struct stat_row *row = &stat_rows[i];

        if (row->help)
            put_head(out, row->name, "counter", row->help);
        for (unsigned k = (unsigned)row->first; k <= (unsigned)row->last; k++) {
            const char *word = policy_stat_name((enum policy_stat)k);

            if (span_starts(span_of(word), span_of(row->prefix)))
                word += strlen(row->prefix);
            if (row->label)
                put_sample(out, row->name, row->label, word, totals->stats[k]);
            else
                fprintf(out, "%s %" PRIu64 "\n", row->name, totals->stats[k]);
        }
    }
}

/* ---- what is now ---- */

static void
put_rollout(FILE *out, const struct gateway_facts *facts)
{
    static const char *const names[] = {
        [ROLLOUT_ENFORCE] = "enforce", [ROLLOUT_MONITOR] = "monitor", [ROLLOUT_SURVEY] = "survey"
    };
    struct rollout rollout;

    if (rollout_parse(facts->rollout, &rollout) != RES_OK)
        return;
    put_head(out, "stsgate_rollout_info", "gauge", "How far enforcement reaches: the mode.");
    put_sample(out, "stsgate_rollout_info", "mode", names[rollout.mode], 1);
    put_gauge(out, "stsgate_rollout_enforced_percent",
              "Share of the policy domains that enforcement blocks for, in percent.",
              rollout.mode == ROLLOUT_ENFORCE ? rollout.percent : 0);
}

static void
put_facts(FILE *out, const struct gateway_facts *facts, int64_t now_s)
{
    uint64_t ended = 0;

    put_gauge(out, "stsgate_start_time_seconds", "When the gateway was started, Unix time.",
              (uint64_t)facts->started_s);
    put_gauge(out, "stsgate_config_generation", "Reloads of the configuration since then.",
              facts->generation);
    put_rollout(out, facts);
    put_head(out, "stsgate_policy_cache_entries", "gauge", "Domains in the cache of policies.");
    for (unsigned i = 0; i < STS_CLASSES; i++)
        put_sample(out, "stsgate_policy_cache_entries", "kind", sts_class_name((enum sts_class)i),
                   facts->cached[i]);
    put_gauge(out, "stsgate_policy_warming", "Domains that wait to be looked up.", facts->warming);
    put_gauge(out, "stsgate_store_good", "1: policies survive a restart; 0: they would not.",
              facts->store && facts->store_safe);
    put_gauge(out, "stsgate_dane_enabled", "Whether TLSA records are asked for.", facts->dane);
    put_gauge(out, "stsgate_dane_blind", "1: the last self-test of DNSSEC validation failed.",
              facts->stats[STAT_DANE_BLIND] != 0);
    for (size_t i = 0; i < facts->override_count; i++)
        ended += now_s >= facts->overrides[i].until_s;
    put_gauge(out, "stsgate_overrides_ending", "Overrides that end within 14 days.",
              facts->override_count - ended);
    put_gauge(out, "stsgate_overrides_ended", "Overrides that are past their end and ignored.",
              ended);
}

void
status_metrics_write(const struct status_state *s, int64_t now_ms, int64_t now_s, FILE *out)
{
    const struct gateway_facts *facts = status_facts(s, now_ms);
    struct status_totals totals;

    status_add_up(s, now_ms, &totals);
    put_head(out, "stsgate_build_info", "gauge", "Version of the gateway and of its TLS library.");
    fputs("stsgate_build_info{version=\"" STSGATE_VERSION "\",tls_library=\"", out);
    put_value(out, status_library(s));
    fputs("\"} 1\n", out);
    put_gauge(out, "stsgate_healthy", "What /healthz says: 1 is well.",
              status_problem(s, now_ms) == NULL);
    put_gauge(out, "stsgate_sessions_active", "SMTP sessions now.", totals.open);
    put_gauge(out, "stsgate_relays_active", "Connections now that pass by untouched.",
              totals.relayed);
    put_head(out, "stsgate_workers", "gauge", "Workers, by what they do.");
    put_sample(out, "stsgate_workers", "state", "serving", totals.serving);
    put_sample(out, "stsgate_workers", "state", "draining", totals.draining);
    put_sample(out, "stsgate_workers", "state", "silent", totals.silent);
    put_head(out, "stsgate_loop_lag_seconds", "gauge",
             "By how much the slowest worker's event loop came late to its last report.");
    fputs("stsgate_loop_lag_seconds ", out);
    put_seconds(out, totals.lag_ms);
    put_head(out, "stsgate_loop_busy_ratio", "gauge",
             "Share of a CPU that the busiest worker used in the last second, 0 to 1.");
    fprintf(out, "stsgate_loop_busy_ratio %u.%02u\n", totals.busy_percent / 100,
            totals.busy_percent % 100);
    put_gauge(out, "stsgate_log_records_ready", "Whether all records so far were taken.",
              totals.records_ready);
    if (facts)
        put_facts(out, facts, now_s);
    put_counters(out, &totals.counters);
    put_stats(out, &totals);
}
