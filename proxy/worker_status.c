#include "proxy/worker_status.h"

#include "base/log.h"
#include "base/msg_link.h"
#include "tls/tls_client.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define REPORT_MS ((int64_t)(STATUS_REPORT_S * 1000))
#define LATE_MS 1000u    /* worth a line in the log: a second is long for all its sessions */
#define BUSY_PERCENT 95u /* so busy, and for so many reports, an event may be served for ever */
#define BUSY_REPORTS 30u

static void
send_report(struct worker_status *s)
{
    struct worker_report *report = &s->report;
    const struct record_sink *records = s->shared->records;
    struct buffer message;

    report->open = s->shared->open;
    report->relayed = s->relays->open;
    report->draining = *s->draining;
    report->records_ready = record_sink_is_ready(records);
    report->counters.records[COUNTED_WRITTEN] = record_sink_written(records);
    report->counters.records[COUNTED_LOST] = record_sink_lost(records);
    buffer_init(&message, MSG_LINK_MAX_BYTES);
    if (worker_report_write(report, &message) == RES_OK &&
        policy_client_send(s->shared->world.policy, buffer_span(&message)) == RES_OK)
        report->refused.count = 0;
    buffer_clear(&message);
}

static uint64_t
cpu_ms(void)
{
    struct rusage used;

    if (getrusage(RUSAGE_SELF, &used) != 0)
        return 0;
    return (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 +
           (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
}

/* How well the event loop keeps up: a callback that does not end, and an event that is served for
 * ever, show here (FAULTS G19). passed_ms: since the report before. */
static void
measure_loop(struct worker_status *s, int64_t passed_ms)
{
    struct worker_report *report = &s->report;
    uint64_t used = cpu_ms(), before = report->counters.cpu_ms;
    uint64_t percent =
        passed_ms > 0 && used > before ? (used - before) * 100 / (uint64_t)passed_ms : 0;

    report->counters.cpu_ms = used;
    report->busy_percent = percent < 100 ? (unsigned)percent : 100;
    report->lag_ms = passed_ms > REPORT_MS ? (unsigned)(passed_ms - REPORT_MS) : 0;
    if (report->lag_ms >= LATE_MS)
        log_warn("event=loop-late lag_ms=%u busy_percent=%u", report->lag_ms, report->busy_percent);
    s->busy_reports = report->busy_percent >= BUSY_PERCENT ? s->busy_reports + 1 : 0;
    if (s->busy_reports == BUSY_REPORTS)
        log_warn("event=loop-busy seconds=%u sessions=%llu", BUSY_REPORTS,
                 (unsigned long long)s->shared->open);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct worker_status *s = w->data;
    int64_t now_ms = clock_mono_ms(&s->shared->world.clock);

    (void)loop, (void)revents;
    measure_loop(s, now_ms - s->told_ms);
    s->told_ms = now_ms;
    send_report(s);
}

static enum result
send_page(struct worker_status *s, const struct session_ask *ask)
{
    struct session_page page = { .query = ask->query };
    struct buffer sessions, message;
    enum result res;

    buffer_init(&sessions, STATUS_PAGE_SESSIONS * STATUS_SESSION_BYTES);
    buffer_init(&message, MSG_LINK_MAX_BYTES);
    page.more = connection_list(s->shared, ask->below, &sessions, &page.below, &res);
    page.sessions = buffer_span(&sessions);
    if (res == RES_OK)
        res = session_page_write(&page, &message);
    if (res == RES_OK)
        res = policy_client_send(s->shared->world.policy, buffer_span(&message));
    if (res != RES_OK) /* the operator's command ends without it */
        log_warn("event=sessions-not-told reason=%s", result_name(res));
    buffer_clear(&sessions);
    buffer_clear(&message);
    return RES_OK;
}

static enum result
take(void *arg, unsigned type, struct span message)
{
    struct session_ask ask;
    enum result res = RES_SYNTAX;

    if (type == STATUS_ASK)
        res = session_ask_read(message, &ask);
    return res == RES_OK ? send_page(arg, &ask) : res;
}

void
worker_status_start(struct worker_status *s, unsigned worker, struct connection_shared *shared,
                    struct relay_shared *relays, const bool *draining)
{
    s->shared = shared;
    s->relays = relays;
    s->draining = draining;
    s->report.worker = worker;
    s->told_ms = clock_mono_ms(&shared->world.clock);
    s->report.pid = getpid();
    s->report.started_s = clock_wall_s(&shared->world.clock);
    snprintf(s->report.library, sizeof s->report.library, "%s", tls_library());
    shared->counters = relays->counters = &s->report.counters;
    shared->refused = &s->report.refused;
    policy_client_on_other(shared->world.policy, take, s);
    ev_timer_init(&s->timer, on_timer, STATUS_REPORT_S, STATUS_REPORT_S);
    s->timer.data = s;
    ev_timer_start(shared->world.loop, &s->timer);
}

void
worker_status_tell(struct worker_status *s)
{
    send_report(s);
}

void
worker_status_stop(struct worker_status *s)
{
    send_report(s);
    ev_timer_stop(s->shared->world.loop, &s->timer);
}
