#include "proxy/status_page.h"

#include "proxy/status_plot.h"

#include <inttypes.h>
#include <time.h>

#define REFUSED_SHOWN 20u
#define LAG_BAD_MS 1000u
#define BUSY_BAD 95u /* percent */

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1c2733;--dim:#5b6772;--line:#dde3e9;--pane:#f6f8fa;"
    "--page:#fff;--good:#176639;--bad:#b3261e;--proven:#1f7a4d;--tls:#5b9bd5;--clear:#d1a11f;"
    "--refused:#b3261e;--other:#8a939c}"
    "@media(prefers-color-scheme:dark){:root{--ink:#dde3e9;--dim:#93a1ae;--line:#2c3843;"
    "--pane:#1b242e;--page:#12181f;--good:#6fcf97;--bad:#f2857d;--proven:#3fa873;--clear:#d9b44a;"
    "--refused:#e5635a}}"
    "body{font:15px/1.5 system-ui,sans-serif;margin:1.5rem auto;max-width:64rem;padding:0 1rem;"
    "color:var(--ink);background:var(--page)}"
    "h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:1.6rem 0 .5rem}p{margin:.3rem 0}"
    ".sub,small{color:var(--dim);font-size:.87rem}small{margin-left:.4rem;white-space:nowrap}"
    ".state{font-size:.95rem;font-weight:600;padding:.15rem .7rem;border-radius:1rem;"
    "margin-left:.6rem;border:1px solid currentColor;white-space:nowrap}"
    ".good{color:var(--good)}.bad{color:var(--bad);font-weight:600}"
    ".figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:.6rem;"
    "margin:.5rem 0}.figures div{background:var(--pane);border-radius:.4rem;padding:.5rem "
    ".8rem;overflow-wrap:anywhere;min-width:0;"
    "font-size:.92rem}.figures b{font-size:1.4rem;line-height:1.25}.now b{display:block}"
    "i{display:inline-block;width:.75em;height:.75em;border-radius:2px;margin-right:.45em}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;"
    "padding:.22rem .9rem .22rem 0;border-bottom:1px solid var(--line)}th{font-weight:600}"
    "td.n,th.n{text-align:right;padding-right:0;font-variant-numeric:tabular-nums}"
    "td{overflow-wrap:anywhere}"
    ".pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:0 2.5rem}"
    "svg{width:100%;height:auto;background:var(--pane);border-radius:.4rem}"
    "text{font-size:11px;fill:var(--dim)}.line{stroke:var(--line);fill:none}"
    "i.proven{background:var(--proven)}i.tls{background:var(--tls)}"
    "i.clear{background:var(--clear)}i.refused{background:var(--refused)}"
    "i.other{background:var(--other)}rect.proven{fill:var(--proven)}rect.tls{fill:var(--tls)}"
    "rect.clear{fill:var(--clear)}rect.refused{fill:var(--refused)}rect.other{fill:var(--other)}"
    "a{color:inherit}#stale{display:none}.stale #stale{display:block}.stale main{opacity:.5}";

/* Without it the page is loaded anew as a whole; with it only what has changed is put in place, and
 * a gateway that does not answer any more is no page that looks well. */
static const char script[] =
    "setInterval(async()=>{const c=document.body.classList;try{const r=await fetch(location.href,"
    "{signal:AbortSignal.timeout(4000)});"
    "const d=new DOMParser().parseFromString(await r.text(),'text/html').querySelector('main');"
    "document.querySelector('main').replaceWith(d);c.remove('stale')}catch(e){c.add('stale')}},5000"
    ")";

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

static void
put_figure(FILE *out, const char *title, uint64_t number)
{
    fprintf(out, "<div><b>%" PRIu64 "</b>%s</div>", number, title);
}

static void
put_now(const struct gateway_facts *facts, const struct status_totals *totals, FILE *out)
{
    fputs("<h2>Now</h2><div class=\"figures now\">", out);
    put_figure(out, "sessions", totals->open);
    put_figure(out, "relayed untouched", totals->relayed);
    put_figure(out, "workers serving", totals->serving);
    if (totals->draining)
        put_figure(out, "workers draining", totals->draining);
    if (facts && facts->warming)
        put_figure(out, "domains to be looked up", facts->warming);
    fputs("</div>\n", out);
}

/* ---- tables ---- */

static void
put_refused(const struct status_state *s, int64_t now_s, FILE *out)
{
    struct top_refused top;

    status_refused(s, now_s, &top);
    fputs("<h2>Refused most, last 24 hours</h2>", out);
    if (top.count == 0) {
        fputs("<p class=\"good\">Nobody was refused.</p>\n", out);
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
    fputs("<section><h2>Policies</h2><table>", out);
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
    fputs("</table></section>\n", out);
}

static void
put_state(FILE *out, const char *what, bool good, const char *state)
{
    fprintf(out, "<tr><td>%s<td class=\"n %s\">%s</tr>", what, good ? "good" : "bad", state);
}

static void
put_health(const struct gateway_facts *facts, const struct status_totals *totals, FILE *out)
{
    bool blind = facts->dane && facts->stats[STAT_DANE_BLIND];
    const uint64_t *records = totals->counters.records;

    fputs("<section><h2>Health</h2><table>", out);
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
    put_state(out, "Event loops", totals->lag_ms < LAG_BAD_MS && totals->busy_percent < BUSY_BAD,
              totals->lag_ms >= LAG_BAD_MS       ? "a worker is late"
              : totals->busy_percent >= BUSY_BAD ? "a worker is busy all the time"
                                                 : "keep up");
    put_row(out, "busiest worker, percent of a CPU", totals->busy_percent);
    put_row(out, "TLS reports sent", totals->stats[STAT_TLSRPT_SENT]);
    put_row(out, "TLS reports given up", totals->stats[STAT_TLSRPT_FAILED]);
    fputs("</table></section>\n", out);
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
    fprintf(out, "<h1>stsgate<span class=\"state %s\">", problem ? "bad" : "good");
    html_text(out, problem ? problem : "all is well");
    fputs("</span></h1><p class=\"sub\">Version " STSGATE_VERSION, out);
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
        "<style nonce=\"%s\">%s</style></head>\n<body>"
        "<p id=\"stale\" class=\"bad\">The gateway does not answer: this is what it said last.</p>"
        "<main>",
        STATUS_PAGE_REFRESH_S, nonce, style);
    put_title(facts, status_problem(s, now_ms), now_s, out);
    put_now(facts, &totals, out);
    fputs("<h2>Recipients of the last 24 hours</h2>", out);
    status_plot_sums(s, now_s, out);
    status_plot(s, now_s, out);
    put_refused(s, now_s, out);
    if (facts) {
        put_overrides(facts, now_s, out);
        fputs("<div class=\"pair\">", out);
        put_health(facts, &totals, out);
        put_policies(facts, &totals, out);
        fputs("</div>", out);
    }
    fprintf(out,
            "</main><p class=\"sub\"><a href=\"/metrics\">/metrics</a> &#183; "
            "<a href=\"/healthz\">/healthz</a></p>"
            "<script nonce=\"%s\">%s</script></body></html>\n",
            nonce, script);
}
