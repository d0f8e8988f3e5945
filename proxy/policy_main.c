/* proxy/policy_main.c: the policy process. It alone talks DNS and HTTPS; it holds no privilege and
 * sees no mail. Here the libraries of policy/ are tied to the supervisor's control channel. */
#include "base/hash_key.h"
#include "base/log.h"
#include "policy/dane_probe.h"
#include "policy/policy_admin.h"
#include "policy/policy_server.h"
#include "policy/sts_keeper.h"
#include "policy/tlsrpt_reporter.h"
#include "proxy/child_channel.h"
#include "proxy/command_server.h"
#include "proxy/gateway_status.h"
#include "proxy/record.h"
#include "proxy/record_sink.h"
#include "proxy/sandbox.h"

#include <ev.h>
#include <signal.h>
#include <stdlib.h>

#define FETCHES_PARALLEL 64u /* STS-032: at once over all domains */

struct policy_process {
    struct ev_loop *loop;
    struct config *config;
    struct child_channel channel;
    bool retired;
    struct resolver *resolver, *uncached;
    struct fetcher *fetcher;
    struct policy_stats stats;
    struct sts_cache *cache;
    struct sts_keeper *keeper;
    struct record_sink *records;
    struct sts_fetcher *policies;
    struct addr_memory *memory, *dane_memory;
    struct dane_probe *probe; /* NULL: DANE is off */
    struct sts_discovery *discovery;
    struct sts_refresh *refresh;
    struct policy_admin *admin;
    struct rollout rollout; /* in force */
    bool rollout_by_command;
    struct lookup_config lookups;
    struct inspect_config inspections;
    struct policy_server *server;
    struct gateway_status *status;
    struct tlsrpt_reporter *reporter; /* NULL: nothing is counted */
    struct command_server *commands;  /* NULL: there is no control socket */
    ev_io control;
    ev_signal term;
    ev_timer tick, flush; /* the latter of the reporter */
};

/* ---- what the operator commands ---- */

static const struct rollout *
get_mode(void *arg, bool *out_by_command)
{
    const struct policy_process *p = arg;

    *out_by_command = p->rollout_by_command;
    return &p->rollout;
}

/* At once for every worker, also for what it remembers (PRX-041). */
static void
apply_mode(struct policy_process *p, const struct rollout *rollout)
{
    char text[16];

    p->rollout = *rollout;
    p->rollout_by_command = true;
    log_warn("event=mode rollout=\"%s\" set_by=command", rollout_text(rollout, text));
    policy_server_forget(p->server, "");
}

/* The supervisor keeps it, should this process be started anew. */
static void
set_mode(void *arg, const struct rollout *rollout)
{
    struct policy_process *p = arg;

    apply_mode(p, rollout);
    if (child_channel_send(&p->channel, CONTROL_MODE, rollout_to_number(rollout)) != RES_OK)
        log_error("event=mode-not-kept reason=\"a restart of the policy process forgets it\"");
}

static bool
ask_reload(void *arg)
{
    struct policy_process *p = arg;

    return child_channel_send(&p->channel, CONTROL_RELOAD, 0) == RES_OK;
}

static bool
ask_drain(void *arg)
{
    struct policy_process *p = arg;

    return child_channel_send(&p->channel, CONTROL_DRAIN, 0) == RES_OK;
}

/* Of open sessions, for a command. */
static void
on_page(void *arg, unsigned worker, const struct session_page *page)
{
    struct policy_process *p = arg;

    if (p->commands)
        command_server_page(p->commands, worker, page);
}

/* ---- the supervisor ---- */

/* A newer generation has taken over: this one only answers the workers it has. */
static void
retire(struct policy_process *p)
{
    if (p->commands)
        command_server_stop(p->commands);
    p->retired = true;
    sts_keeper_stop(p->keeper);
}

static void
take_message(struct policy_process *p, const struct control_message *message, int fd)
{
    struct rollout rollout;

    switch (message->type) {
    case CONTROL_POLICY_LINK:
        policy_server_link(p->server, message->worker, fd);
        return;
    case CONTROL_RELOADED:
        if (p->commands)
            command_server_reloaded(p->commands, message->value != 0);
        return;
    case CONTROL_MODE:
        if (rollout_from_number(message->value, &rollout) == RES_OK)
            apply_mode(p, &rollout);
        return;
    case CONTROL_RETIRE:
        retire(p);
        return;
    case CONTROL_STATUS_LINK:
        gateway_status_link(p->status, fd);
        return;
    case CONTROL_STOP:
        ev_break(p->loop, EVBREAK_ALL);
        return;
    case CONTROL_READY:
    case CONTROL_RELOAD:
    case CONTROL_DRAIN:
        return;
    }
}

static void
on_control(struct ev_loop *loop, ev_io *w, int revents)
{
    struct policy_process *p = w->data;
    struct control_message message;
    int fd;

    (void)revents;
    for (;;) {
        switch (child_channel_recv(&p->channel, &message, &fd)) {
        case RES_OK:
            take_message(p, &message, fd);
            if (message.type == CONTROL_STOP)
                return;
            break;
        case RES_AGAIN:
            return;
        case RES_SYNTAX:
        case RES_LIMIT:
        case RES_NOMEM:
        case RES_TEMPFAIL:
            log_warn("event=bad-control-message");
            break;
        case RES_DENIED:
            ev_break(loop, EVBREAK_ALL); /* the supervisor is gone */
            return;
        }
    }
}

static void
on_term(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)w, (void)revents;
    ev_break(loop, EVBREAK_ALL);
}

static void
on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct policy_process *p = w->data;

    (void)loop, (void)revents;
    sts_keeper_tick(p->keeper);
    gateway_status_tick(p->status);
    sts_discovery_tick(p->discovery);
    if (!p->retired)
        sts_refresh_tick(p->refresh);
    if (p->probe && !p->retired)
        dane_probe_tick(p->probe);
    if (p->reporter)
        tlsrpt_reporter_tick(p->reporter, !p->retired);
}

/* What applies to a domain, or to all for "", is another thing now. */
static void
on_change(void *arg, const char *domain)
{
    struct policy_process *p = arg;

    policy_server_forget(p->server, domain);
}

/* The workers hold expiries against a clock that is another one now. */
static void
on_jump(void *arg)
{
    struct policy_process *p = arg;

    policy_server_forget(p->server, "");
}

static void
on_news(void *arg, const struct sts_news *news)
{
    struct policy_process *p = arg;
    const struct clock clock = clock_system();
    struct buffer bytes;

    if (p->reporter)
        tlsrpt_reporter_text(p->reporter, news->text_sha256, news->text);
    buffer_init(&bytes, RECORD_MAX_BYTES);
    if (record_encode_policy(
            &(struct record_policy){ .wall_ns = clock.wall_ns(clock.arg),
                                     .domain = news->domain,
                                     .id = news->id,
                                     .old_id = news->old_id,
                                     .mode = sts_mode_name(sts_policy_mode(news->policy)),
                                     .max_age_s = sts_policy_max_age_s(news->policy),
                                     .mx = sts_policy_mx(news->policy),
                                     .text = news->text,
                                     .text_sha256 = news->text_sha256,
                                     .old_sha256 = news->old_sha256,
                                     .fetched_at_s = news->fetched_at_s,
                                     .expires_at_s = news->expires_at_s },
            &bytes) == RES_OK)
        record_sink_write(p->records, buffer_span(&bytes));
    else
        log_error("event=record-lost domain=%s", news->domain);
    buffer_clear(&bytes);
}

static bool
open_records(struct policy_process *p)
{
    char error[512];

    if (record_sink_new(p->loop, p->config, &p->records, error, sizeof error) == RES_OK)
        return true;
    log_error("event=start-failed what=records reason=\"%s\"", error);
    return false;
}

static bool
open_resolver(struct policy_process *p, bool uncached, struct resolver **out)
{
    const struct config *c = p->config;
    const struct resolver_config rc = {
        .stub = c->resolver_stub,
        .forward = c->resolver_forward,
        .root_hints = c->resolver_root_hints,
        .trust_anchor = c->trust_anchor_file,
        .local_zones = c->resolver_local_zones,
        .cache_min_s = c->dns_cache_min_s,
        .cache_max_s = c->dns_cache_max_s,
        .uncached = uncached,
    };
    const char *error = "";

    if (resolver_new(p->loop, &rc, out, &error) == RES_OK)
        return true;
    log_error("event=start-failed what=resolver reason=\"%s\"", error);
    return false;
}

static bool
open_fetcher(struct policy_process *p)
{
    const struct fetch_config fc = {
        .ca_file = p->config->policy_ca_file,
        .port = p->config->policy_port,
        .timeout_ms = p->config->fetch_timeout_ms,
        .max_parallel = FETCHES_PARALLEL,
    };
    const char *error = "";

    if (fetcher_new(p->loop, &fc, &p->fetcher, &error) == RES_OK)
        return true;
    log_error("event=start-failed what=fetcher reason=\"%s\"", error);
    return false;
}

/* Cache, discovery and what keeps both fresh. */
static bool
open_policies(struct policy_process *p)
{
    const struct config *c = p->config;
    const struct clock clock = clock_system();

    p->keeper = sts_keeper_new(&(struct sts_keeper_config){ .path = c->store_file,
                                                            .stats = &p->stats,
                                                            .clock = clock,
                                                            .unused_max_s = c->policy_unused_max_s,
                                                            .on_jump = on_jump,
                                                            .arg = p });
    p->cache = sts_cache_new(&(struct sts_cache_config){
        .entries_max = c->policy_cache_entries,
        .max_age_min_s = c->policy_cache_min_s,
        .max_age_cap_s = c->policy_cache_max_s,
        .stats = &p->stats,
        .changed = sts_keeper_changed,
        .arg = p->keeper,
    });
    p->policies = sts_fetcher_new(&(struct sts_fetcher_config){
        .resolver = p->resolver,
        .fetcher = p->fetcher,
        .cache = p->cache,
        .stats = &p->stats,
        .networks = c->policy_networks,
        .network_count = c->policy_network_count,
        .clock = clock,
        .on_change = on_change,
        .on_news = on_news,
        .arg = p,
    });
    p->discovery = sts_discovery_new(&(struct sts_discovery_config){
        .resolver = p->resolver,
        .uncached = p->uncached,
        .fetcher = p->policies,
        .cache = p->cache,
        .stats = &p->stats,
        .clock = clock,
        .refetch_wait_ms = (int64_t)c->refetch_wait_s * 1000,
        .defer_on_failure = c->dns_failure_defers,
    });
    p->refresh = sts_refresh_new(&(struct sts_refresh_config){
        .discovery = p->discovery,
        .cache = p->cache,
        .stats = &p->stats,
        .clock = clock,
        .interval_s = c->policy_refresh_s,
        .retry_s = c->refetch_wait_s,
    });
    p->admin = policy_admin_new(&(struct policy_admin_config){
        .cache = p->cache,
        .discovery = p->discovery,
        .refresh = p->refresh,
        .stats = &p->stats,
        .clock = clock,
        .on_change = on_change,
        .arg = p,
    });
    if (!p->keeper || !p->cache || !p->policies || !p->discovery || !p->refresh || !p->admin)
        return false;
    sts_keeper_load(p->keeper, p->cache);
    return true;
}

/* Where DANE is off the supervisor's warnings say so. */
static bool
open_probe(struct policy_process *p)
{
    if (!p->lookups.dane)
        return true;
    p->probe = dane_probe_new(&(struct dane_probe_config){
        .resolver = p->uncached, .stats = &p->stats, .clock = clock_system() });
    if (p->probe)
        dane_probe_tick(p->probe);
    return p->probe != NULL;
}

/* The first since the last flush starts the time to the next. */
static void
on_report(void *arg, const struct policy_report *report)
{
    struct policy_process *p = arg;

    tlsrpt_reporter_count(p->reporter, report->source, report->number, &report->report,
                          report->sessions);
    if (!ev_is_active(&p->flush)) {
        ev_timer_set(&p->flush, TLSRPT_FLUSH_MS / 1000., 0.);
        ev_timer_start(p->loop, &p->flush);
    }
}

static void
on_flush(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct policy_process *p = w->data;

    (void)loop, (void)revents;
    tlsrpt_reporter_flush(p->reporter);
}

static void
on_counted(void *arg, uint64_t source, uint64_t number)
{
    struct policy_process *p = arg;

    policy_server_counted(p->server, source, number);
}

/* Without a store no report is made; mail goes on, and the log says so. */
static void
open_reporter(struct policy_process *p)
{
    const struct config *c = p->config;
    char error[512];

    if (!*c->tlsrpt_store_file)
        return;
    ev_init(&p->flush, on_flush);
    p->flush.data = p;
    if (tlsrpt_reporter_new(
            &(struct tlsrpt_reporter_config){
                .sender = { .loop = p->loop,
                            .resolver = p->uncached,
                            .networks = c->policy_networks,
                            .network_count = c->policy_network_count,
                            .ca_file = c->policy_ca_file,
                            .verify = c->tlsrpt_verify,
                            .relay = c->tlsrpt_relay,
                            .hostname = c->hostname,
                            .from = *c->tlsrpt_from ? c->tlsrpt_from : c->tlsrpt_contact,
                            .mark = c->upstream_mark },
                .cache = p->cache,
                .stats = &p->stats,
                .clock = clock_system(),
                .counted = on_counted,
                .counted_arg = p,
                .store_file = c->tlsrpt_store_file,
                .organization = c->tlsrpt_organization,
                .contact = c->tlsrpt_contact,
                .public4 = c->tlsrpt_public4,
                .public6 = c->tlsrpt_public6,
                .spread_s = c->tlsrpt_spread_s,
                .retry_s = c->tlsrpt_retry_s,
                .retry_max_s = c->tlsrpt_retry_max_s,
                .suppress_s = c->tlsrpt_suppress_s,
                .failures_only = c->tlsrpt_failures_only,
                .exclude = &c->tlsrpt_exclude,
                .rua = c->tlsrpt_rua,
                .directory = c->tlsrpt_directory },
            &p->reporter, error, sizeof error) == RES_OK)
        policy_server_on_report(p->server, on_report, p);
    else
        log_error("event=reports-off file=%s reason=\"%s\"", c->tlsrpt_store_file, error);
}

static bool
open_all(struct policy_process *p)
{
    const struct config *c = p->config;

    if (!open_records(p) || !open_resolver(p, false, &p->resolver) ||
        !open_resolver(p, true, &p->uncached) || !open_fetcher(p) || !open_policies(p))
        return false;
    p->memory = addr_memory_new(ADDR_MEMORY_S);
    p->dane_memory = addr_memory_new(ADDR_MEMORY_DANE_S);
    p->lookups = (struct lookup_config){
        .resolver = p->resolver,
        .uncached = p->uncached,
        .discovery = p->discovery,
        .memory = p->memory,
        .dane_memory = p->dane_memory,
        .clock = clock_system(),
        .rules = &c->rules,
        .rollout = &p->rollout,
        .dane = c->dane && *c->trust_anchor_file,
        .validates = *c->trust_anchor_file,
        .dane_insecure_mx = c->dane_insecure_mx,
        .dane_suffices = c->dane_suffices,
        .stats = &p->stats,
        .alias_targets = c->alias_targets,
        .refuse_null_mx = c->refuse_null_mx,
        .tls_minimum = c->tls_minimum,
        .tls_opportunistic_minimum = c->tls_opportunistic_minimum,
        .ttl_max_s = c->requirement_cache_max_s,
    };
    p->inspections =
        (struct inspect_config){ .uncached = p->uncached,
                                 .discovery = p->discovery,
                                 .port = c->destination_port_count ? c->destination_ports[0] : 25 };
    p->rollout = c->rules.rollout;
    p->server = policy_server_new(p->loop, &p->lookups);
    if (!p->memory || !p->dane_memory || !p->server)
        return false;
    open_reporter(p);
    return true;
}

static bool
open_status(struct policy_process *p, const struct child_args *args)
{
    p->status = gateway_status_new(&(struct gateway_status_config){
        .loop = p->loop,
        .config = p->config,
        .server = p->server,
        .admin = p->admin,
        .cache = p->cache,
        .keeper = p->keeper,
        .records = p->records,
        .rollout = &p->rollout,
        .by_command = &p->rollout_by_command,
        .dane = p->lookups.dane,
        .clock = clock_system(),
        .generation = args->generation,
        .started_s = args->started_s,
        .page = on_page,
        .arg = p,
    });
    return p->status != NULL;
}

static bool
open_commands(struct policy_process *p, const struct child_args *args)
{
    if (args->command_fd < 0 && args->check_fd < 0)
        return true;
    p->commands = command_server_new(&(struct command_server_config){ .loop = p->loop,
                                                                      .listen_fd = args->command_fd,
                                                                      .admin = p->admin,
                                                                      .inspect = &p->inspections,
                                                                      .mode = get_mode,
                                                                      .set_mode = set_mode,
                                                                      .reload = ask_reload,
                                                                      .drain = ask_drain,
                                                                      .status = p->status,
                                                                      .workers = p->config->workers,
                                                                      .arg = p });
    if (p->commands &&
        (args->check_fd < 0 || command_server_adopt(p->commands, args->check_fd) == RES_OK))
        return true;
    log_error("event=no-memory where=commands");
    return args->check_fd < 0; /* a gateway serves mail without them */
}

/* For `stsgate check`: it shows what a gateway would do, and does nothing of it. */
static void
leave_no_trace(struct config *config)
{
    config->record_file[0] = config->forward_to[0] = '\0';
    config->store_file[0] = config->tlsrpt_store_file[0] = '\0';
}

static void
stop_all(struct policy_process *p)
{
    ev_io_stop(p->loop, &p->control);
    ev_signal_stop(p->loop, &p->term);
    ev_timer_stop(p->loop, &p->tick);
    ev_timer_stop(p->loop, &p->flush);
    /* At once, and not when the last records are written: a supervisor that was started in place of
     * a dead one takes the socket over when nobody answers there. */
    if (p->commands)
        command_server_stop(p->commands);
}

static void
close_all(struct policy_process *p)
{
    record_sink_free(p->records); /* may run the loop, while all it calls is there */
    command_server_free(p->commands);
    gateway_status_free(p->status);
    if (p->keeper)
        sts_keeper_stop(p->keeper);
    tlsrpt_reporter_free(p->reporter); /* the server's workers hear what is in the store */
    policy_server_free(p->server);
    resolver_free(p->resolver);
    resolver_free(p->uncached);
    fetcher_free(p->fetcher);
    sts_discovery_free(p->discovery);
    sts_fetcher_free(p->policies);
    policy_admin_free(p->admin);
    sts_refresh_free(p->refresh);
    sts_cache_free(p->cache);
    sts_keeper_free(p->keeper);
    addr_memory_free(p->memory);
    addr_memory_free(p->dane_memory);
    dane_probe_free(p->probe);
    child_channel_clear(&p->channel);
    config_free(p->config);
}

int
main(int argc, char **argv)
{
    struct policy_process p = { 0 };
    struct child_args args;
    char error[1024];
    int status = 2;

    log_init("policy", LOG_LEVEL_INFO);
    hash_key_init();
    if (child_args_parse(argc, argv, CHILD_POLICY, &args, error, sizeof error) != RES_OK ||
        child_config(&args, &p.config, error, sizeof error) != RES_OK) {
        log_error("event=start-failed what=config reason=\"%s\"", error);
        return 2;
    }
    log_init("policy", args.check_fd < 0 ? p.config->log_level : LOG_LEVEL_ERROR);
    if (args.check_fd >= 0)
        leave_no_trace(p.config);
    if (sandbox_become(p.config->user, error, sizeof error) != RES_OK) {
        log_error("event=start-failed what=user reason=\"%s\"", error);
        goto done;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    p.loop = ev_default_loop(EVFLAG_AUTO);
    child_channel_init(&p.channel, &args);
    if (!p.loop || !open_all(&p) || !open_status(&p, &args))
        goto done;

    ev_io_init(&p.control, on_control, child_channel_fd(&p.channel), EV_READ);
    p.control.data = &p;
    ev_io_start(p.loop, &p.control);
    ev_signal_init(&p.term, on_term, SIGTERM);
    ev_signal_start(p.loop, &p.term);
    ev_timer_init(&p.tick, on_tick, 1., 1.);
    p.tick.data = &p;
    ev_timer_start(p.loop, &p.tick);
    if (args.check_fd < 0 && !open_probe(&p)) /* a check tells of its resolver by itself */
        goto done;
    if (!open_commands(&p, &args) || sandbox_close(SANDBOX_POLICY, p.config) != RES_OK ||
        child_channel_send_ready(&p.channel) != RES_OK)
        goto done;
    ev_run(p.loop, 0);
    stop_all(&p);
    policy_server_read_all(p.server); /* what the workers said at their end */
    status = 0;
done:
    close_all(&p);
    return status;
}
