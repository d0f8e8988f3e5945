#include "proxy/gateway_status.h"

#include "base/log.h"
#include "base/msg_link.h"

#include <ev.h>
#include <stdio.h>
#include <stdlib.h>

#define ENDING_S (14 * 86400) /* before its end an override is told of */

/* What a worker has said last. */
struct peer {
    int64_t heard_ms; /* monotonic clock; 0: never */
    struct worker_report report;
};

struct gateway_status {
    struct gateway_status_config config;
    int64_t process_s;
    struct msg_link *link; /* owned; NULL while there is none */
    ev_io readable;
    struct peer peers[STATUS_PEERS_MAX];
};

/* ---- what this process knows ---- */

static void
list_overrides(const struct config *config, int64_t now_s, struct gateway_facts *out)
{
    for (size_t i = 0; i < config->rules.rule_count && out->override_count < STATUS_OVERRIDES_MAX;
         i++) {
        const struct rule *rule = &config->rules.rules[i];
        struct status_override *override = &out->overrides[out->override_count];

        if (rule->until_s - now_s >= ENDING_S)
            continue;
        snprintf(override->id, sizeof override->id, "%s", rule->id);
        override->until_s = rule->until_s;
        out->override_count++;
    }
}

static void
gather(const struct gateway_status *g, struct gateway_facts *out)
{
    const struct gateway_status_config *c = &g->config;

    *out = (struct gateway_facts){
        .generation = c->generation,
        .started_s = c->started_s,
        .process_s = g->process_s,
        .by_command = *c->by_command,
        .dane = c->dane,
        .store = *c->config->store_file,
        .store_safe = sts_keeper_is_safe(c->keeper),
        .records_ready = record_sink_is_ready(c->records),
        .warming = policy_admin_warming(c->admin),
    };
    (void)rollout_text(c->rollout, out->rollout);
    out->records[COUNTED_WRITTEN] = record_sink_written(c->records);
    out->records[COUNTED_LOST] = record_sink_lost(c->records);
    memcpy(out->stats, policy_admin_stats(c->admin)->counts, sizeof out->stats);
    for (unsigned i = 0; i < STS_CLASSES; i++)
        out->cached[i] = sts_cache_count_class(c->cache, (enum sts_class)i);
    list_overrides(c->config, clock_wall_s(&c->clock), out);
}

/* ---- the status process ---- */

static void
drop_link(struct gateway_status *g)
{
    if (!g->link)
        return;
    ev_io_stop(g->config.loop, &g->readable);
    msg_link_free(g->link);
    g->link = NULL;
}

/* It says nothing: this is its end, or nonsense. */
static void
on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct gateway_status *g = w->data;
    struct span message;

    (void)loop, (void)revents;
    if (msg_link_recv(g->link, &message) != RES_AGAIN)
        drop_link(g);
}

/* What it does not take at once is not worth keeping: the next is a second away. */
static void
tell(struct gateway_status *g, struct span message)
{
    if (!g->link)
        return;
    if (msg_link_backlog(g->link) && msg_link_flush(g->link) == RES_TEMPFAIL)
        drop_link(g);
    else if (msg_link_backlog(g->link) == 0 && msg_link_send(g->link, message) == RES_TEMPFAIL)
        drop_link(g);
}

static void
tell_facts(struct gateway_status *g)
{
    struct gateway_facts facts;
    struct buffer message;

    gather(g, &facts);
    buffer_init(&message, MSG_LINK_MAX_BYTES);
    if (gateway_facts_write(&facts, &message) == RES_OK)
        tell(g, buffer_span(&message));
    buffer_clear(&message);
}

/* What a worker said before there was anybody to hear. Its refusals are not told twice. */
static void
tell_peer(struct gateway_status *g, const struct peer *peer)
{
    struct worker_report *report = malloc(sizeof *report);
    struct buffer message;

    if (!report)
        return; /* the next one is a second away */
    *report = peer->report;
    report->refused.count = 0;
    buffer_init(&message, MSG_LINK_MAX_BYTES);
    if (worker_report_write(report, &message) == RES_OK)
        tell(g, buffer_span(&message));
    buffer_clear(&message);
    free(report);
}

void
gateway_status_link(struct gateway_status *g, int fd)
{
    drop_link(g);
    if (msg_link_new(fd, &g->link) != RES_OK) {
        log_error("event=no-memory where=status");
        return;
    }
    ev_io_init(&g->readable, on_readable, msg_link_fd(g->link), EV_READ);
    g->readable.data = g;
    ev_io_start(g->config.loop, &g->readable);
    /* At once: after a reload nobody else is left to speak for the gateway. */
    tell_facts(g);
    for (unsigned i = 0; i < STATUS_PEERS_MAX; i++)
        if (g->peers[i].heard_ms)
            tell_peer(g, &g->peers[i]);
}

/* ---- the workers ---- */

static enum result
take_report(struct gateway_status *g, unsigned worker, struct span message)
{
    struct peer *peer = &g->peers[worker];
    struct worker_report *report = malloc(sizeof *report);
    enum result res = report ? worker_report_read(message, report) : RES_NOMEM;

    if (res == RES_OK && report->worker != worker)
        res = RES_SYNTAX;
    if (res == RES_OK) {
        peer->report = *report;
        peer->heard_ms = clock_mono_ms(&g->config.clock);
        tell(g, message);
    }
    free(report);
    return res == RES_NOMEM ? RES_OK : res; /* the next one may fit */
}

static enum result
take(void *arg, unsigned worker, unsigned type, struct span message)
{
    struct gateway_status *g = arg;
    struct session_page page;
    enum result res = RES_SYNTAX;

    if (worker >= STATUS_PEERS_MAX)
        return RES_SYNTAX;
    if (type == STATUS_REPORT)
        return take_report(g, worker, message);
    if (type == STATUS_PAGE)
        res = session_page_read(message, &page);
    if (res == RES_OK)
        g->config.page(g->config.arg, worker, &page);
    return res;
}

bool
gateway_status_ask(struct gateway_status *g, unsigned worker, const struct session_ask *ask)
{
    struct buffer message;
    bool sent;

    buffer_init(&message, MSG_LINK_MAX_BYTES);
    sent = session_ask_write(ask, &message) == RES_OK &&
           policy_server_send(g->config.server, worker, buffer_span(&message)) == RES_OK;
    buffer_clear(&message);
    return sent;
}

void
gateway_status_tick(struct gateway_status *g)
{
    if (g->link)
        tell_facts(g);
}

/* ---- `stsgate status` ---- */

static void
put_text(struct pack_writer *w, const char *key, const char *text)
{
    pack_str(w, span_of(key));
    pack_str(w, span_of(text));
}

static void
put_int(struct pack_writer *w, const char *key, int64_t number)
{
    pack_str(w, span_of(key));
    pack_int(w, number);
}

static void
put_bool(struct pack_writer *w, const char *key, bool value)
{
    pack_str(w, span_of(key));
    pack_bool(w, value);
}

static void
put_worker(const struct gateway_status *g, struct pack_writer *w, unsigned index)
{
    const struct peer *peer = &g->peers[index];
    const struct worker_report *report = &peer->report;
    int64_t quiet_s = (clock_mono_ms(&g->config.clock) - peer->heard_ms) / 1000;
    const char *state = peer->heard_ms == 0 || quiet_s >= GATEWAY_SILENT_S ? "silent"
                        : report->draining                                 ? "draining"
                                                                           : "serving";

    pack_map(w, 10);
    put_int(w, "worker", index);
    put_text(w, "state", state);
    put_int(w, "pid", report->pid);
    put_int(w, "started_at", report->started_s);
    put_int(w, "sessions", (int64_t)report->open);
    put_int(w, "relayed", (int64_t)report->relayed);
    put_bool(w, "records_ready", report->records_ready);
    put_int(w, "records_written", (int64_t)report->counters.records[COUNTED_WRITTEN]);
    put_int(w, "records_lost", (int64_t)report->counters.records[COUNTED_LOST]);
    put_text(w, "tls_library", report->library);
}

static void
put_overrides(struct pack_writer *w, const struct gateway_facts *facts, int64_t now_s)
{
    pack_str(w, span_of("overrides_ending"));
    pack_array(w, facts->override_count);
    for (size_t i = 0; i < facts->override_count; i++) {
        pack_map(w, 3);
        put_text(w, "override", facts->overrides[i].id);
        put_int(w, "until", facts->overrides[i].until_s);
        put_bool(w, "ended", now_s >= facts->overrides[i].until_s);
    }
}

static void
put_cache(struct pack_writer *w, const struct gateway_facts *facts)
{
    pack_str(w, span_of("policies"));
    pack_map(w, STS_CLASSES + 1);
    for (unsigned i = 0; i < STS_CLASSES; i++)
        put_int(w, sts_class_name((enum sts_class)i), (int64_t)facts->cached[i]);
    put_int(w, "warming", (int64_t)facts->warming);
}

struct totals {
    int64_t sessions, relayed, written, lost;
    bool ready; /* all records so far were taken, by all */
};

static struct totals
add_up(const struct gateway_status *g, const struct gateway_facts *facts)
{
    struct totals t = { .written = (int64_t)facts->records[COUNTED_WRITTEN],
                        .lost = (int64_t)facts->records[COUNTED_LOST],
                        .ready = facts->records_ready };

    for (unsigned i = 0; i < g->config.config->workers; i++) {
        const struct peer *peer = &g->peers[i];

        if (peer->heard_ms == 0)
            continue;
        t.sessions += (int64_t)peer->report.open;
        t.relayed += (int64_t)peer->report.relayed;
        t.written += (int64_t)peer->report.counters.records[COUNTED_WRITTEN];
        t.lost += (int64_t)peer->report.counters.records[COUNTED_LOST];
        t.ready = t.ready && peer->report.records_ready;
    }
    return t;
}

void
gateway_status_write(const struct gateway_status *g, struct pack_writer *w)
{
    int64_t now_s = clock_wall_s(&g->config.clock);
    struct gateway_facts facts;
    struct totals totals;

    gather(g, &facts);
    totals = add_up(g, &facts);
    pack_map(w, 16);
    put_text(w, "version", STSGATE_VERSION);
    put_int(w, "generation", facts.generation);
    put_int(w, "started_at", facts.started_s);
    put_int(w, "uptime", now_s - facts.started_s);
    put_text(w, "mode", facts.rollout);
    put_text(w, "set_by", facts.by_command ? "command" : "configuration");
    put_int(w, "sessions", totals.sessions);
    put_int(w, "relayed", totals.relayed);
    put_bool(w, "records_ready", totals.ready);
    put_int(w, "records_written", totals.written);
    put_int(w, "records_lost", totals.lost);
    put_text(w, "store", !facts.store ? "none" : facts.store_safe ? "good" : "failing");
    put_text(w, "dane", !facts.dane ? "off" : facts.stats[STAT_DANE_BLIND] ? "blind" : "good");
    put_cache(w, &facts);
    pack_str(w, span_of("workers"));
    pack_array(w, g->config.config->workers);
    for (unsigned i = 0; i < g->config.config->workers; i++)
        put_worker(g, w, i);
    put_overrides(w, &facts, now_s);
}

/* ---- the whole ---- */

struct gateway_status *
gateway_status_new(const struct gateway_status_config *config)
{
    struct gateway_status *g = calloc(1, sizeof *g);

    if (!g)
        return NULL;
    g->config = *config;
    g->process_s = clock_wall_s(&config->clock);
    policy_server_on_other(config->server, take, g);
    return g;
}

void
gateway_status_free(struct gateway_status *g)
{
    if (!g)
        return;
    drop_link(g);
    free(g);
}
