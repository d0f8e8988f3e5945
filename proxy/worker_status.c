#include "proxy/worker_status.h"

#include "base/log.h"
#include "base/msg_link.h"
#include "tls/tls_client.h"

#include <stdio.h>
#include <unistd.h>

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

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    send_report(w->data);
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
worker_status_stop(struct worker_status *s)
{
    send_report(s);
    ev_timer_stop(s->shared->world.loop, &s->timer);
}
