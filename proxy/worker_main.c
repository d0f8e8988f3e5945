/* proxy/worker_main.c: a worker: accepts intercepted connections and runs their sessions. */
#include "base/hash_key.h"
#include "base/log.h"
#include "proxy/admission.h"
#include "proxy/child_channel.h"
#include "proxy/connection.h"
#include "proxy/ehlo_memory.h"
#include "proxy/foreign_memo.h"
#include "proxy/intercept.h"
#include "proxy/mx_leg.h"
#include "proxy/mx_roots.h"
#include "proxy/proxy_intake.h"
#include "proxy/relay.h"
#include "proxy/replies.h"
#include "proxy/sandbox.h"
#include "proxy/smtp_reply.h"
#include "proxy/spare_memory.h"
#include "proxy/supervisor.h"
#include "proxy/worker_status.h"
#include "tls/ktls.h"
#include "tls/tls_client.h"
#include "tls/tls_server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_EVENT 16   /* then the sessions have their turn */
#define ACCEPT_PAUSE_S 0.1     /* out of descriptors: others end sessions meanwhile (FAULTS A15) */
#define ACCEPT_PAUSE_MAX_S 1.6 /* each pause is twice as long while nothing helps */

struct listener {
    struct worker *worker;
    enum intercept kind;
    ev_io readable;
};

struct worker {
    struct ev_loop *loop;
    struct config *config;
    unsigned index;
    struct child_channel channel;
    struct connection_shared shared;
    struct relay_shared relays;
    struct worker_status status;
    struct proxy_intakes intakes; /* who have yet to say who they are */
    struct listener listeners[CONFIG_LISTEN_MAX];
    size_t listener_count;
    struct foreign_memo foreign;
    uint64_t session_base, session_count;
    bool stopping, gently, cut;
    ev_io control;
    ev_signal term;
    ev_prepare reap;
    ev_timer accept_pause;
    ev_timer orphan; /* the supervisor is gone, and with it whoever would end this process */
    int null;        /* /dev/null: what `reserve` is a copy of */
    int reserve;     /* a descriptor to be given up, so that a 421 can be said without one (G2) */
};

static void
refuse_client(struct worker *w, int fd, const char *reason, const struct ip_addr *client)
{
    const struct reply_args args = { .gateway = w->config->hostname };
    char text[REPLY_MAX_BYTES + 1], ip[IP_ADDR_TEXT_MAX];
    const struct reply_style style = {
        .text = rules_reply_text(&w->config->rules, reply_id(REPLY_SHUTDOWN, false)),
    };
    size_t len = reply_write(REPLY_SHUTDOWN, &args, &style, text);

    log_warn("event=refused client=%s reason=%s", ip_addr_text(client, ip), reason);
    counters_turned_away(w->shared.counters, reason);
    (void)!send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)close(fd);
}

/* Untouched: in roll-out mode survey all, else those that the operator names (TC-GW-08). */
static bool
is_relayed(const struct worker *w, const struct record_session_info *info)
{
    return w->config->rules.rollout.mode == ROLLOUT_SURVEY ||
           (info->client_rule && info->client_rule->relay);
}

/* As intercept_refuses(). */
static const char *
refuses(struct worker *w, const struct record_session_info *info)
{
    int64_t now_ms = clock_mono_ms(&w->shared.world.clock);
    bool known = foreign_memo_has(&w->foreign, &info->destination, now_ms);
    const char *reason =
        intercept_refuses(&info->destination, info->destination_port, known, w->config);

    if (!reason && !known)
        foreign_memo_keep(&w->foreign, &info->destination, now_ms);
    return reason;
}

/* The connection's client and destination are known. */
static void
admit(struct worker *w, int fd, struct record_session_info *info, const char *reason)
{
    if (!reason)
        reason = refuses(w, info);
    info->client_rule = client_rules_find(&w->config->clients, &info->client, &info->destination);
    if (!reason)
        reason = admission_enter(w->shared.admission, info);
    if (reason) {
        refuse_client(w, fd, reason, &info->client);
        return;
    }
    counters_connection(w->shared.counters, info);
    info->worker = w->index;
    info->client_starttls = client_rule_starttls(info->client_rule, w->shared.client_tls != NULL);
    snprintf(info->id, sizeof info->id, "%016" PRIx64, w->session_base + w->session_count++);
    if ((is_relayed(w, info) ? relay_start(&w->relays, fd, info)
                             : connection_start(&w->shared, fd, info)) != RES_OK)
        log_error("event=no-memory where=accept");
}

static void
on_proxy_header(void *arg, int fd, const struct proxy_header *header)
{
    struct record_session_info info = { .intercept = INTERCEPT_PROXY,
                                        .client = header->client,
                                        .client_port = header->client_port,
                                        .destination = header->destination,
                                        .destination_port = header->destination_port };

    admit(arg, fd, &info, NULL);
}

static bool
is_proxy(const struct config *config, const struct ip_addr *peer)
{
    for (size_t i = 0; i < config->proxy_network_count; i++)
        if (ip_net_has(&config->proxy_networks[i], peer))
            return true;
    return false;
}

/* Whoever is not listed may not say who it is; nor is there any other way to know (PRX-054). */
static void
expect_proxy_header(struct worker *w, int fd, const struct ip_addr *peer)
{
    char ip[IP_ADDR_TEXT_MAX];

    if (!is_proxy(w->config, peer)) {
        log_warn("event=refused client=%s reason=proxy-unlisted", ip_addr_text(peer, ip));
        (void)close(fd);
    } else if (admission_open(w->shared.admission) + w->intakes.open >= w->config->sessions_max) {
        refuse_client(w, fd, "too-many-sessions", peer);
    } else if (proxy_intake_start(&w->intakes, fd, peer) != RES_OK) {
        log_error("event=no-memory where=accept");
    }
}

static void
serve_client(struct listener *l, int fd, const struct sockaddr_storage *peer)
{
    struct record_session_info info = { .intercept = l->kind };
    enum result res;

    ip_addr_from_sockaddr((const struct sockaddr *)peer, &info.client, &info.client_port);
    if (l->kind == INTERCEPT_PROXY) {
        expect_proxy_header(l->worker, fd, &info.client);
        return;
    }
    res = intercept_destination(fd, l->kind, &info.destination, &info.destination_port);
    admit(l->worker, fd, &info, res == RES_OK ? NULL : "destination-unknown");
}

static void
pause_accepting(struct worker *w)
{
    for (size_t i = 0; i < w->listener_count; i++)
        ev_io_stop(w->loop, &w->listeners[i].readable);
    ev_timer_again(w->loop, &w->accept_pause);
    if (w->accept_pause.repeat < ACCEPT_PAUSE_MAX_S)
        w->accept_pause.repeat *= 2.;
}

/* No descriptor is left, or no memory: those who wait are told so, one by one with the descriptor
 * in reserve, and do not wait for their time-out. */
static void
shed_clients(struct worker *w, int listen_fd, const char *reason)
{
    for (int i = 0; i < ACCEPTS_PER_EVENT && w->reserve >= 0; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof peer;
        struct ip_addr client;
        int fd;

        (void)close(w->reserve);
        fd = accept4(listen_fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            ip_addr_from_sockaddr((const struct sockaddr *)&peer, &client, NULL);
            refuse_client(w, fd, reason, &client);
        }
        w->reserve = fcntl(w->null, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return;
    }
}

static void
on_accept_pause_over(struct ev_loop *loop, ev_timer *t, int revents)
{
    struct worker *w = t->data;

    (void)revents;
    ev_timer_stop(loop, t);
    for (size_t i = 0; !w->stopping && i < w->listener_count; i++)
        ev_io_start(loop, &w->listeners[i].readable);
}

/* Others end sessions meanwhile. */
static void
take_none_for_now(struct worker *w, int listen_fd, const char *reason)
{
    log_warn("event=accept-paused reason=%s open=%u", reason, w->shared.open);
    shed_clients(w, listen_fd, reason);
    pause_accepting(w);
}

static void
on_acceptable(struct ev_loop *loop, ev_io *io, int revents)
{
    struct listener *l = io->data;

    (void)loop, (void)revents;
    if (!spare_memory_is_there()) {
        take_none_for_now(l->worker, io->fd, "no-memory");
        return;
    }
    for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof peer;
        int fd = accept4(io->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            l->worker->accept_pause.repeat = ACCEPT_PAUSE_S;
            serve_client(l, fd, &peer);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE)
            take_none_for_now(l->worker, io->fd, "no-descriptor");
        else if (errno == ENOBUFS || errno == ENOMEM)
            take_none_for_now(l->worker, io->fd, "no-memory");
        return; /* nobody there, or gone again */
    }
}

static void
take_no_more(struct worker *w)
{
    ev_timer_stop(w->loop, &w->accept_pause);
    for (size_t i = 0; i < w->listener_count; i++) {
        ev_io_stop(w->loop, &w->listeners[i].readable);
        (void)close(w->listeners[i].readable.fd);
    }
    proxy_intake_free_all(&w->intakes);
}

/* Stop: no new clients; those there finish what they are at (PRX-048). A gentle stop may be
 * followed by one that is not. */
static void
stop(struct worker *w, bool gently)
{
    if (w->stopping && (gently || !w->gently))
        return;
    if (!w->stopping)
        take_no_more(w);
    w->stopping = true;
    w->gently = gently;
    policy_client_hurry(w->shared.world.policy);
    connection_drain_all(&w->shared, gently);
    log_info("event=draining open=%u relays=%u gently=%d", w->shared.open, w->relays.open, gently);
}

/* There is no time left. Nobody is cut off without a word and a record. */
static void
cut_all(struct worker *w)
{
    log_warn("event=cut open=%u relays=%u", w->shared.open, w->relays.open);
    w->cut = true;
    connection_cut_all(&w->shared);
    relay_free_all(&w->relays);
}

/* What is not over a while after that does not end by itself. */
static void
on_orphan(struct ev_loop *loop, ev_timer *t, int revents)
{
    struct worker *w = t->data;

    (void)revents;
    if (!w->cut) {
        cut_all(w);
        return;
    }
    log_warn("event=orphan-ends open=%u relays=%u", w->shared.open, w->relays.open);
    ev_break(loop, EVBREAK_ALL);
}

static void
on_control(struct ev_loop *loop, ev_io *io, int revents)
{
    struct worker *w = io->data;
    struct control_message message;
    int fd;

    (void)loop, (void)revents;
    for (;;) {
        switch (child_channel_recv(&w->channel, &message, &fd)) {
        case RES_OK:
            if (message.type == CONTROL_POLICY_LINK) {
                policy_client_link(w->shared.world.policy, fd);
                worker_status_tell(&w->status);
            } else {
                stop(w, message.value != 0);
            }
            break;
        case RES_AGAIN:
            return;
        case RES_SYNTAX:
        case RES_LIMIT:
        case RES_NOMEM:
        case RES_TEMPFAIL:
            log_warn("event=bad-control-message");
            break;
        case RES_DENIED: /* the supervisor is gone */
            ev_io_stop(loop, io);
            stop(w, false);
            ev_timer_start(loop, &w->orphan);
            return;
        }
    }
}

static void
on_term(struct ev_loop *loop, ev_signal *sig, int revents)
{
    struct worker *w = sig->data;

    (void)loop, (void)revents;
    if (w->stopping)
        cut_all(w);
    else
        stop(w, false);
}

/* Before the loop waits: no connection's function is on the stack. Who has nothing left to do but
 * records that a full disk does not take goes on trying, as long as the supervisor lets it. */
static void
on_prepare(struct ev_loop *loop, ev_prepare *p, int revents)
{
    struct worker *w = p->data;

    (void)revents;
    connection_reap(&w->shared);
    log_flush();
    if (w->stopping && w->shared.open == 0 && w->relays.open == 0 &&
        !record_sink_keeps(w->shared.records))
        ev_break(loop, EVBREAK_ALL);
}

static bool
open_roots(struct worker *w)
{
    char error[MX_ROOTS_ERROR_MAX];

    if (mx_roots_open(w->config, &w->shared.world.tls, &w->shared.world.tls_count, error) == RES_OK)
        return true;
    log_error("event=start-failed what=tls reason=\"%s\"", error);
    return false;
}

/* While the process may still have the kernel load its module. */
static void
use_kernel_tls(struct worker *w)
{
    bool available = w->config->ktls && ktls_is_available();

    if (!w->config->ktls)
        return;
    log_info("event=ktls available=%s", available ? "yes" : "no");
    for (size_t i = 0; i < w->shared.world.tls_count; i++)
        if (w->shared.world.tls[i])
            tls_context_set_ktls(w->shared.world.tls[i], available);
}

/* The site's certificate for clients, if it has one (PRX-039). */
static bool
open_certificate(struct worker *w)
{
    const struct config *config = w->config;
    const char *error;

    if (!*config->client_certificate_file ||
        tls_server_context_new(config->client_certificate_file, config->client_key_file,
                               config->client_tls_minimum, &w->shared.client_tls, &error) == RES_OK)
        return true;
    log_error("event=start-failed what=client-certificate reason=\"%s\"", error);
    return false;
}

/* Another worker has been told this under TLS (PRX-029). It is taken for an EHLO reply only if it
 * is one. */
static void
on_list(void *arg, const struct policy_list *list)
{
    struct worker *w = arg;
    struct smtp_reply_reader reader;
    struct smtp_reply reply;
    size_t used;

    smtp_reply_reader_init(&reader);
    if (smtp_reply_read(&reader, list->list, &used, &reply) == RES_OK && reply.code == 250 &&
        used == list->list.len)
        (void)ehlo_memory_learn(w->shared.lists, &list->destination, list->port, list->list,
                                list->proven, clock_mono_ms(&w->shared.world.clock) / 1000);
    smtp_reply_reader_clear(&reader);
}

static bool
open_all(struct worker *w)
{
    struct connection_shared *s = &w->shared;
    char text[512], *record;

    s->world.loop = w->loop;
    s->config = w->config;
    s->world.clock = clock_system();
    s->world.mark = w->config->upstream_mark;
    s->world.scratch = malloc(MX_LEG_SCRATCH_BYTES);
    s->world.policy = policy_client_new(w->loop, &s->world.clock);
    s->lists = ehlo_memory_new();
    if (!s->world.scratch || !s->world.policy || !s->lists)
        return false;
    policy_client_on_list(s->world.policy, on_list, w);
    if (!open_roots(w) || !open_certificate(w))
        return false;
    use_kernel_tls(w);
    /* The private key may be root's alone; records are the user's. */
    if (sandbox_become(w->config->user, text, sizeof text) != RES_OK) {
        log_error("event=start-failed what=user reason=\"%s\"", text);
        return false;
    }
    if (record_sink_new(w->loop, w->config, &s->records, text, sizeof text) != RES_OK) {
        log_error("event=start-failed what=records reason=\"%s\"", text);
        return false;
    }
    buffer_init(&s->record, RECORD_MAX_BYTES);
    if (buffer_reserve(&s->record, RECORD_MAX_BYTES, &record) != RES_OK)
        return false;
    connection_prepare(s);
    s->relays = &w->relays;
    s->admission = admission_new(w->config);
    if (!s->admission)
        return false;
    w->intakes = (struct proxy_intakes){ .loop = w->loop, .known = on_proxy_header, .arg = w };
    w->relays = (struct relay_shared){ .loop = w->loop,
                                       .config = w->config,
                                       .clock = s->world.clock,
                                       .admission = s->admission,
                                       .records = s->records,
                                       .record = &s->record };
    worker_status_start(&w->status, w->index, s, &w->relays, &w->stopping);
    return getrandom(&w->session_base, sizeof w->session_base, 0) == sizeof w->session_base;
}

static void
start_all(struct worker *w, const struct child_args *args)
{
    static const int one = 1;

    w->listener_count = args->listen_count;
    for (size_t i = 0; i < args->listen_count; i++) {
        struct listener *l = &w->listeners[i];

        /* One write per group of replies, and none waits for an acknowledgement: those who
         * are accepted here have it from their listener. */
        (void)setsockopt(args->listen_fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        l->worker = w;
        l->kind = w->config->listen[i].kind;
        ev_io_init(&l->readable, on_acceptable, args->listen_fds[i], EV_READ);
        l->readable.data = l;
        ev_io_start(w->loop, &l->readable);
    }
    ev_init(&w->accept_pause, on_accept_pause_over);
    w->accept_pause.repeat = ACCEPT_PAUSE_S;
    ev_io_init(&w->control, on_control, child_channel_fd(&w->channel), EV_READ);
    ev_timer_init(&w->orphan, on_orphan, SUPERVISOR_DRAIN_S, SUPERVISOR_KILL_S);
    w->orphan.data = w;
    ev_signal_init(&w->term, on_term, SIGTERM);
    ev_prepare_init(&w->reap, on_prepare);
    ev_set_priority(&w->reap, EV_MINPRI); /* behind all that others do then, and log */
    w->accept_pause.data = w->control.data = w->term.data = w->reap.data = w;
    ev_io_start(w->loop, &w->control);
    ev_signal_start(w->loop, &w->term);
    ev_prepare_start(w->loop, &w->reap);
}

/* When this worker began to serve, and when it stopped. */
static void
record_process(struct worker *w, const char *what, const char *reason)
{
    const struct record_process record = {
        .wall_ns = w->shared.world.clock.wall_ns(w->shared.world.clock.arg),
        .what = what,
        .name = "worker",
        .index = w->index,
        .pid = getpid(),
        .version = STSGATE_VERSION,
        .reason = reason,
    };
    struct buffer bytes;

    buffer_init(&bytes, RECORD_MAX_BYTES);
    if (record_encode_process(&record, &bytes) == RES_OK)
        record_sink_write(w->shared.records, buffer_span(&bytes));
    buffer_clear(&bytes);
}

/* Nothing comes in any more: the loop runs once more, for the last records. */
static void
stop_all(struct worker *w)
{
    for (size_t i = 0; i < w->listener_count; i++)
        ev_io_stop(w->loop, &w->listeners[i].readable);
    ev_timer_stop(w->loop, &w->accept_pause);
    ev_timer_stop(w->loop, &w->orphan);
    ev_io_stop(w->loop, &w->control);
    ev_signal_stop(w->loop, &w->term);
    ev_prepare_stop(w->loop, &w->reap);
}

static void
close_all(struct worker *w)
{
    connection_free_all(&w->shared);
    relay_free_all(&w->relays);
    proxy_intake_free_all(&w->intakes);
    policy_client_free(w->shared.world.policy);
    ehlo_memory_free(w->shared.lists);
    mx_roots_close(w->shared.world.tls, w->shared.world.tls_count);
    tls_server_context_free(w->shared.client_tls);
    record_sink_free(w->shared.records);
    buffer_clear(&w->shared.record);
    child_channel_clear(&w->channel);
    config_free(w->config);
    admission_free(w->shared.admission);
    free(w->shared.world.scratch);
    spare_memory_clear();
}

int
main(int argc, char **argv)
{
    static struct worker w; /* listeners and watchers: too large for a stack to be nice */
    static char name[32];
    struct child_args args;
    char error[1024];
    int status = 2;

    log_init("worker", LOG_LEVEL_INFO);
    hash_key_init();
    if (child_args_parse(argc, argv, CHILD_WORKER, &args, error, sizeof error) != RES_OK ||
        child_config(&args, &w.config, error, sizeof error) != RES_OK) {
        log_error("event=start-failed what=config reason=\"%s\"", error);
        return 2;
    }
    snprintf(name, sizeof name, "worker/%u", args.index);
    log_init(name, w.config->log_level);
    (void)signal(SIGPIPE, SIG_IGN);
    w.index = args.index;
    w.null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    w.reserve = fcntl(w.null, F_DUPFD_CLOEXEC, 0);
    spare_memory_init(SPARE_MEMORY_MIN + w.config->sessions_max * SPARE_MEMORY_PER_SESSION);
    w.loop = ev_default_loop(EVFLAG_AUTO);
    child_channel_init(&w.channel, &args);
    if (!w.loop || !open_all(&w))
        goto done;
    start_all(&w, &args);
    if (sandbox_close(SANDBOX_WORKER, w.config) != RES_OK)
        goto done;
    log_info("event=worker-start tls=\"%s\"", tls_library());
    if (child_channel_send_ready(&w.channel) != RES_OK)
        goto done;
    record_process(&w, "start", "");
    log_gather();
    ev_run(w.loop, 0);
    stop_all(&w);
    record_process(&w, "stop", "drained");
    worker_status_stop(&w.status);
    status = 0;
done:
    close_all(&w);
    log_flush();
    return status;
}
