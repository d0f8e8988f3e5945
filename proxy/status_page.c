#include "proxy/status_page.h"

#include <inttypes.h>
#include <time.h>

#define REFUSED_SHOWN 20u
#define PLOT_HEIGHT 120u
#define BAR_WIDTH 6u

static const struct {
    const char *css, *title;
} classes[STATUS_CLASSES] = {
    [STATUS_PROVEN] = { "proven", "proven (MTA-STS, DANE)" },
    [STATUS_TLS] = { "tls", "TLS" },
    [STATUS_CLEAR] = { "clear", "clear" },
    [STATUS_REFUSED] = { "refused", "refused" },
    [STATUS_OTHER] = { "other", "rejected or failed" },
};

static const char style[] =
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;"
    "color:#1c2733;background:#fff}"
    "h1{font-size:1.4rem}h2{font-size:1.05rem;margin:1.8rem 0 .4rem}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid #dde3e9}"
    "th{font-weight:600}td.n,th.n{text-align:right}td{overflow-wrap:anywhere}"
    ".good{color:#176639}.bad{color:#b3261e;font-weight:600}"
    ".figures{display:flex;flex-wrap:wrap;gap:1.6rem;margin:1rem 0}"
    ".figures b{display:block;font-size:1.6rem;line-height:1.2}"
    "svg{width:100%;height:auto;background:#f6f8fa}"
    ".proven{fill:#1f7a4d}.tls{fill:#5b9bd5}.clear{fill:#c9a227}.refused{fill:#b3261e}"
    ".other{fill:#8a939c}"
    ".key{display:inline-block;margin-right:1.2rem}.key svg{width:.8em;height:.8em}"
    "@media(prefers-color-scheme:dark){body{color:#dde3e9;background:#12181f}"
    "svg{background:#1b242e}th,td{border-color:#2c3843}.good{color:#6fcf97}.bad{color:#f2857d}}";

/* Without it the page is loaded anew as a whole; with it only what has changed is put in place. */
static const char script[] =
    "setInterval(async()=>{try{const r=await fetch(location.href);if(!r.ok)return;"
    "const d=new DOMParser().parseFromString(await r.text(),'text/html');"
    "document.querySelector('main').replaceWith(d.querySelector('main'))}catch(e){}},5000)";

void
html_text(FILE *out, const char *text)
{
    for (const char *c = text; *c; c++)
        switch (*c) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            if (*c >= ' ' && *c <= '~')
                putc(*c, out);
            else
                fputs("&#65533;", out);
        }
}

static void
put_span(FILE *out, int64_t seconds)
{
    if (seconds >= 86400)
        fprintf(out, "%" PRId64 " d %" PRId64 " h", seconds / 86400, seconds % 86400 / 3600);
    else if (seconds >= 3600)
        fprintf(out, "%" PRId64 " h %" PRId64 " min", seconds / 3600, seconds % 3600 / 60);
    else
        fprintf(out, "%" PRId64 " min", seconds / 60);
}

static void
put_moment(FILE *out, int64_t at_s)
{
    time_t at = (time_t)at_s;
    char text[32] = "?";
    struct tm tm;

    if (gmtime_r(&at, &tm))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &tm);
    fputs(text, out);
}

/* ---- figures ---- */

static void
put_figure(FILE *out, const char *title, uint64_t number)
{
    fprintf(out, "<div><b>%" PRIu64 "</b>%s</div>", number, title);
}

static void
put_figures(const struct status_state *s, const struct status_totals *totals, int64_t now_s,
            FILE *out)
{
    uint64_t day[STATUS_CLASSES] = { 0 };

    for (unsigned back = 0; back < STATUS_SLOTS; back++) {
        const uint64_t *counts = status_slot(s, now_s, back);

        for (unsigned i = 0; counts && i < STATUS_CLASSES; i++)
            day[i] += counts[i];
    }
    fputs("<h2>Now</h2><div class=\"figures\">", out);
    put_figure(out, "sessions", totals->open);
    put_figure(out, "relayed untouched", totals->relayed);
    put_figure(out, "workers serving", totals->serving);
    fputs("</div><h2>Recipients of the last 24 hours</h2><div class=\"figures\">", out);
    for (unsigned i = 0; i < STATUS_CLASSES; i++)
        put_figure(out, classes[i].title, day[i]);
    fputs("</div>\n", out);
}

/* ---- the plot ---- */

static uint64_t
sum_of(const uint64_t counts[STATUS_CLASSES])
{
    uint64_t sum = 0;

    for (unsigned i = 0; counts && i < STATUS_CLASSES; i++)
        sum += counts[i];
    return sum;
}

/* One slot as a stack; refusals lie at the bottom, where they are seen. */
static void
put_bar(FILE *out, const uint64_t counts[STATUS_CLASSES], unsigned x, uint64_t highest)
{
    static const enum status_class order[STATUS_CLASSES] = { STATUS_REFUSED, STATUS_CLEAR,
                                                             STATUS_OTHER, STATUS_TLS,
                                                             STATUS_PROVEN };
    double y = PLOT_HEIGHT;

    for (unsigned i = 0; i < STATUS_CLASSES; i++) {
        enum status_class class = order[i];
        double height = (double)counts[class] * PLOT_HEIGHT / (double)highest;

        if (!counts[class])
            continue;
        y -= height;
        fprintf(out, "<rect class=\"%s\" x=\"%u\" y=\"%.2f\" width=\"%u\" height=\"%.2f\"/>",
                classes[class].css, x, y, BAR_WIDTH - 1, height);
    }
}

static void
put_plot(const struct status_state *s, int64_t now_s, FILE *out)
{
    uint64_t highest = 1;

    for (unsigned back = 0; back < STATUS_SLOTS; back++) {
        uint64_t sum = sum_of(status_slot(s, now_s, back));

        if (sum > highest)
            highest = sum;
    }
    fprintf(out,
            "<svg viewBox=\"0 0 %u %u\" role=\"img\" aria-label=\"Recipients per ten minutes over "
            "the last day, at most %" PRIu64 "\">",
            STATUS_SLOTS * BAR_WIDTH, PLOT_HEIGHT, highest);
    for (unsigned back = 0; back < STATUS_SLOTS; back++) {
        const uint64_t *counts = status_slot(s, now_s, back);

        if (counts)
            put_bar(out, counts, (STATUS_SLOTS - 1 - back) * BAR_WIDTH, highest);
    }
    fputs("</svg><p>", out);
    for (unsigned i = 0; i < STATUS_CLASSES; i++)
        fprintf(out,
                "<span class=\"key\"><svg viewBox=\"0 0 8 8\" aria-hidden=\"true\"><rect "
                "class=\"%s\" width=\"8\" height=\"8\"/></svg> %s</span>",
                classes[i].css, classes[i].title);
    fprintf(out, "Bars of ten minutes, the last one is now; the highest is %" PRIu64 ".</p>\n",
            highest);
}

/* ---- tables ---- */

static void
put_refused(const struct status_state *s, int64_t now_s, FILE *out)
{
    struct top_refused top;

    status_refused(s, now_s, &top);
    fputs("<h2>Refused most, last 24 hours</h2>", out);
    if (top.count == 0) {
        fputs("<p>Nobody was refused.</p>\n", out);
        return;
    }
    fputs("<table><tr><th>Domain<th>Reply<th>Reason<th class=\"n\">Times</tr>", out);
    for (size_t i = 0; i < top.count && i < REFUSED_SHOWN; i++) {
        const struct top_refusal *entry = &top.all[i];
        const char *type = result_type_name(entry->result);

        fputs("<tr><td>", out);
        html_text(out, entry->domain[0] ? entry->domain : "(address)");
        fputs("<td>", out);
        html_text(out, entry->reply);
        fputs("<td>", out);
        html_text(out, *type ? type : "-");
        fprintf(out, "<td class=\"n\">%s%" PRIu64 "</tr>", entry->error ? "\xe2\x89\xa4 " : "",
                entry->count);
    }
    fputs("</table>\n", out);
}

static void
put_row(FILE *out, const char *what, uint64_t number)
{
    fprintf(out, "<tr><td>%s<td class=\"n\">%" PRIu64 "</tr>", what, number);
}

static void
put_policies(const struct gateway_facts *facts, const struct status_totals *totals, FILE *out)
{
    const uint64_t *stats = totals->stats;
    uint64_t failed = 0;

    for (unsigned i = STAT_FETCH_DNS; i <= STAT_FETCH_OTHER; i++)
        failed += stats[i];
    fputs("<h2>Policies</h2><table>", out);
    put_row(out, "in force, mode enforce", facts->cached[STS_CLASS_ENFORCE]);
    put_row(out, "in force, mode testing", facts->cached[STS_CLASS_TESTING]);
    put_row(out, "in force, mode none", facts->cached[STS_CLASS_NONE]);
    put_row(out, "expired", facts->cached[STS_CLASS_EXPIRED]);
    put_row(out, "never had, fetches fail", facts->cached[STS_CLASS_NEGATIVE]);
    put_row(out, "look-ups that found one in the cache", stats[STAT_CACHE_HIT]);
    put_row(out, "look-ups that did not", stats[STAT_CACHE_MISS]);
    put_row(out, "fetches that succeeded", stats[STAT_FETCH_OK]);
    put_row(out, "fetches that failed", failed);
    put_row(out, "kept in force because a fresh one could not be had", stats[STAT_KEPT]);
    put_row(out, "about to run out unrefreshed", stats[STAT_EXPIRY_ALERTS]);
    put_row(out, "lost for want of room, mode enforce", stats[STAT_EVICTED_ENFORCE]);
    fputs("</table>\n", out);
}

static void
put_state(FILE *out, const char *what, bool good, const char *state)
{
    fprintf(out, "<tr><td>%s<td class=\"%s\">%s</tr>", what, good ? "good" : "bad", state);
}

static void
put_health(const struct gateway_facts *facts, const struct status_totals *totals, FILE *out)
{
    bool blind = facts->dane && facts->stats[STAT_DANE_BLIND];
    const uint64_t *records = totals->counters.records;

    fputs("<h2>Health</h2><table>", out);
    put_state(out, "Records", totals->records_ready && !records[COUNTED_LOST],
              !totals->records_ready  ? "cannot be written"
              : records[COUNTED_LOST] ? "written, but some were lost"
                                      : "written");
    put_row(out, "records written", records[COUNTED_WRITTEN]);
    put_row(out, "records lost", records[COUNTED_LOST]);
    put_state(out, "Store of policies", !facts->store || facts->store_safe,
              !facts->store       ? "none is configured"
              : facts->store_safe ? "written"
                                  : "cannot be used: policies do not survive a restart");
    put_state(out, "DNSSEC validation", !blind,
              !facts->dane ? "DANE is off"
              : blind      ? "blind: the self-test fails, see the log"
                           : "works");
    fputs("</table>\n", out);
}

static void
put_overrides(const struct gateway_facts *facts, int64_t now_s, FILE *out)
{
    if (facts->override_count == 0)
        return;
    fputs("<h2>Overrides that end</h2><table><tr><th>Override<th>Until<th></tr>", out);
    for (size_t i = 0; i < facts->override_count; i++) {
        const struct status_override *override = &facts->overrides[i];

        fputs("<tr><td>", out);
        html_text(out, override->id);
        fputs("<td>", out);
        put_moment(out, override->until_s);
        if (now_s >= override->until_s) {
            fputs("<td class=\"bad\">has ended, and is ignored", out);
        } else {
            fputs("<td>in ", out);
            put_span(out, override->until_s - now_s);
        }
        fputs("</tr>", out);
    }
    fputs("</table>\n", out);
}

/* ---- the page ---- */

static void
put_title(const struct gateway_facts *facts, const char *problem, int64_t now_s, FILE *out)
{
    if (!problem && facts && facts->dane && facts->stats[STAT_DANE_BLIND])
        problem = "DNSSEC validation fails";
    fprintf(out, "<h1>stsgate <span class=\"%s\">", problem ? "bad" : "good");
    html_text(out, problem ? problem : "all is well");
    fputs("</span></h1><p>Version " STSGATE_VERSION, out);
    if (facts) {
        fputs(", up ", out);
        put_span(out, now_s - facts->started_s);
        fprintf(out, ", configuration %u, rollout <b>", facts->generation);
        html_text(out, facts->rollout);
        fprintf(out, "</b>%s", facts->by_command ? " by command" : "");
    }
    fputs(". As of ", out);
    put_moment(out, now_s);
    fputs(".</p>\n", out);
}

void
status_page_write(const struct status_state *s, const char *nonce, int64_t now_ms, int64_t now_s,
                  FILE *out)
{
    const struct gateway_facts *facts = status_facts(s, now_ms);
    struct status_totals totals;

    status_add_up(s, now_ms, &totals);
    fprintf(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>stsgate</title>"
        "<meta name=\"viewport\" content=\"width=device-width\">"
        "<noscript><meta http-equiv=\"refresh\" content=\"%d\"></noscript>"
        "<style nonce=\"%s\">%s</style></head>\n<body><main>",
        STATUS_PAGE_REFRESH_S, nonce, style);
    put_title(facts, status_problem(s, now_ms), now_s, out);
    put_figures(s, &totals, now_s, out);
    put_plot(s, now_s, out);
    put_refused(s, now_s, out);
    if (facts) {
        put_health(facts, &totals, out);
        put_policies(facts, &totals, out);
        put_overrides(facts, now_s, out);
    }
    fprintf(out,
            "</main><p><a href=\"/metrics\">/metrics</a> <a href=\"/healthz\">/healthz</a></p>"
            "<script nonce=\"%s\">%s</script></body></html>\n",
            nonce, script);
}
