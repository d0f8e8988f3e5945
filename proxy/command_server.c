#include "proxy/command_server.h"

#include "base/log.h"
#include "proxy/command_msg.h"
#include "proxy/gateway_status.h"
#include "proxy/inspect_frame.h"

#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUT_MAX (1024u * 1024u)
#define LIST_CHUNK 200u /* entries of a list that are written at a time */

/* One connection: commands one after the other, each answered before the next is read. */
struct client {
    struct command_server *server;
    struct client *next, **link;
    int fd; /* owned; -1 once closed: then it lives until its look-up has been answered */
    ev_io io;
    ev_timer idle;
    struct buffer in, out;
    bool ended;     /* it says no more, or is not heard any more */
    bool waiting;   /* for a look-up, for the supervisor, or for a worker */
    bool reloading; /* of these, the second */
    bool paging;    /* of these, the third */
    bool listing;   /* a list is not over */
    bool serving; /* serve() is on the stack: an answer that comes at once does not call it again */
    size_t place, listed;
    uint64_t query;         /* of sessions, not over; 0: none */
    struct session_ask ask; /* of query: what is asked for */
    unsigned worker;        /* and whom */
};

struct command_server {
    struct command_server_config config;
    ev_io accept;
    struct client *clients;
    struct client *orphans; /* gone, but their look-up is not over */
    unsigned count;
    uint64_t queries; /* so far */
};

static void serve(struct client *c);

/* ---- life ---- */

static void
close_client(struct client *c)
{
    struct ev_loop *loop = c->server->config.loop;

    if (c->fd < 0)
        return;
    ev_io_stop(loop, &c->io);
    ev_timer_stop(loop, &c->idle);
    close(c->fd);
    c->fd = -1;
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    c->server->count--;
    buffer_clear(&c->in);
    buffer_clear(&c->out);
    if (!c->waiting || c->reloading || c->paging) {
        free(c);
        return;
    }
    c->next = c->server->orphans;
    c->link = &c->server->orphans;
    if (c->next)
        c->next->link = &c->next;
    c->server->orphans = c;
}

/* Wait for what the client is to do next; and not for ever. */
static void
watch(struct client *c)
{
    struct ev_loop *loop = c->server->config.loop;
    bool full = buffer_len(&c->in) >= COMMAND_LINE_MAX; /* of commands that wait */
    int events = (c->waiting || c->listing || c->query || c->ended || full ? 0 : EV_READ) |
                 (buffer_len(&c->out) ? EV_WRITE : 0);

    ev_io_stop(loop, &c->io);
    ev_io_set(&c->io, c->fd, events);
    if (events)
        ev_io_start(loop, &c->io);
    c->idle.repeat = c->waiting && !c->paging ? COMMAND_REFRESH_S : COMMAND_IDLE_S;
    ev_timer_again(loop, &c->idle);
}

static void
on_idle(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    close_client(w->data);
}

/* ---- answers ---- */

static void
put_text(struct pack_writer *w, const char *key, const char *text)
{
    pack_str(w, span_of(key));
    pack_str(w, span_of(text));
}

static void
put_int(struct pack_writer *w, const char *key, int64_t value)
{
    pack_str(w, span_of(key));
    pack_int(w, value);
}

static void
send_frame(struct client *c, struct pack_writer *w, struct buffer *scratch)
{
    if (command_frame_end(w, scratch, &c->out) != RES_OK) {
        log_warn("event=command-answer-lost");
        buffer_clear(&c->in);
        buffer_clear(&c->out);
        c->ended = true; /* it learns by the end of the connection */
    }
}

/* The last frame of an answer: "ok", or "failed" and why. */
static void
finish(struct client *c, const char *problem)
{
    struct buffer scratch;
    struct pack_writer w;

    command_frame_begin(&w, &scratch);
    pack_map(&w, *problem ? 2 : 1);
    put_text(&w, "status", *problem ? "failed" : "ok");
    if (*problem)
        put_text(&w, "problem", problem);
    send_frame(c, &w, &scratch);
}

static void
put_failure(struct pack_writer *w, const struct policy_info *info)
{
    put_int(w, "failed_count", info->failed_count);
    put_int(w, "failed_since", info->failed_since_s);
    put_text(w, "failed_id", info->failed_id);
    put_text(w, "failed_type", info->failed_type);
    put_text(w, "failed_reason", info->failed_reason);
}

static void
send_info(struct client *c, const struct policy_info *info)
{
    size_t fields =
        2u + (info->has_policy ? 7u : 0u) + (info->failed_count ? 5u : 0u) + (info->mx ? 2u : 0u);
    struct buffer scratch;
    struct pack_writer w;

    command_frame_begin(&w, &scratch);
    pack_map(&w, fields);
    put_text(&w, "domain", info->domain);
    put_text(&w, "state", !info->has_policy ? "none" : info->is_valid ? "valid" : "expired");
    if (info->has_policy) {
        put_text(&w, "mode", sts_mode_name(info->mode));
        put_text(&w, "id", info->id);
        put_int(&w, "max_age", info->max_age_s);
        put_int(&w, "fetched_at", info->fetched_at_s);
        put_int(&w, "expires_at", info->expires_at_s);
        put_int(&w, "unused", info->unused_s);
        put_int(&w, "refresh_in", info->refresh_in_s);
    }
    if (info->failed_count)
        put_failure(&w, info);
    if (info->mx) {
        pack_str(&w, span_of("mx"));
        pack_array(&w, info->mx->count);
        for (size_t i = 0; i < info->mx->count; i++)
            pack_str(&w, span_of(info->mx->names[i]));
        pack_str(&w, span_of("text"));
        pack_bin(&w, info->text);
    }
    send_frame(c, &w, &scratch);
}

static void
on_info(void *arg, const struct policy_info *info)
{
    struct client *c = arg;

    c->listed++;
    send_info(c, info);
}

/* ---- commands ---- */

static void
go_on_listing(struct client *c)
{
    while (c->listing && buffer_len(&c->out) < OUT_MAX / 2) {
        policy_admin_list(c->server->config.admin, &c->place, LIST_CHUNK, on_info, c);
        c->listing = c->place != 0;
    }
    if (!c->listing)
        finish(c, "");
}

/* What it waited for is over. False: it has gone meanwhile, and is freed. */
static bool
end_wait(struct client *c)
{
    c->waiting = false;
    if (c->fd >= 0)
        return true;
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    free(c);
    return false;
}

static void
on_refreshed(void *arg, const char *problem, const struct policy_info *info)
{
    struct client *c = arg;

    if (!end_wait(c))
        return;
    if (info)
        send_info(c, info);
    finish(c, problem);
    serve(c);
}

static void
do_stats(struct client *c)
{
    const struct policy_stats *stats = policy_admin_stats(c->server->config.admin);
    struct buffer scratch;
    struct pack_writer w;

    command_frame_begin(&w, &scratch);
    pack_map(&w, POLICY_STATS + 1);
    for (unsigned i = 0; i < POLICY_STATS; i++)
        put_int(&w, policy_stat_name((enum policy_stat)i), (int64_t)stats->counts[i]);
    put_int(&w, "warming", (int64_t)policy_admin_warming(c->server->config.admin));
    send_frame(c, &w, &scratch);
    finish(c, "");
}

static void
do_mode(struct client *c, const char *wanted)
{
    const struct command_server_config *config = &c->server->config;
    const struct rollout *now;
    struct rollout rollout;
    struct buffer scratch;
    struct pack_writer w;
    bool by_command;
    char text[16];

    now = config->mode(config->arg, &by_command);
    if (*wanted && rollout_parse(wanted, &rollout) != RES_OK) {
        finish(c, "the mode is monitor, enforce or enforce N%");
        return;
    }
    if (*wanted && (rollout.mode == ROLLOUT_SURVEY || now->mode == ROLLOUT_SURVEY)) {
        finish(c,
               "survey begins and ends with the configuration: set rollout, then stsgate reload");
        return;
    }
    if (*wanted)
        config->set_mode(config->arg, &rollout);
    now = config->mode(config->arg, &by_command);
    command_frame_begin(&w, &scratch);
    pack_map(&w, 2);
    put_text(&w, "mode", rollout_text(now, text));
    put_text(&w, "set_by", by_command ? "command" : "configuration");
    send_frame(c, &w, &scratch);
    finish(c, "");
}

static void
do_reload(struct client *c)
{
    const struct command_server_config *config = &c->server->config;

    c->waiting = c->reloading = config->reload(config->arg);
    if (!c->waiting)
        finish(c, "the supervisor cannot be reached");
}

static void
do_drain(struct client *c)
{
    const struct command_server_config *config = &c->server->config;

    finish(c, config->drain(config->arg) ? "" : "the supervisor cannot be reached");
}

static void
do_status(struct client *c)
{
    struct buffer scratch;
    struct pack_writer w;

    command_frame_begin(&w, &scratch);
    gateway_status_write(c->server->config.status, &w);
    send_frame(c, &w, &scratch);
    finish(c, "");
}

/* Worker by worker, page by page; each when the client has taken most of those before. */
static void
go_on_paging(struct client *c)
{
    const struct command_server_config *config = &c->server->config;

    if (buffer_len(&c->out) > OUT_MAX / 2)
        return;
    while (c->worker < config->workers && !c->paging) {
        c->paging = c->waiting = gateway_status_ask(config->status, c->worker, &c->ask);
        if (!c->paging) { /* it is being started anew: none of its sessions is left */
            c->worker++;
            c->ask.below = UINT64_MAX;
        }
    }
    if (c->paging)
        return;
    c->query = 0;
    finish(c, "");
}

static void
do_sessions(struct client *c)
{
    c->query = ++c->server->queries;
    c->worker = 0;
    c->ask = (struct session_ask){ .query = c->query, .below = UINT64_MAX };
}

void
command_server_page(struct command_server *server, unsigned worker, const struct session_page *page)
{
    struct span rest = page->sessions, map;
    struct client *c = server->clients;
    struct buffer scratch;
    struct pack_writer w;

    while (c && !(c->paging && c->query == page->query && c->worker == worker))
        c = c->next;
    if (!c)
        return; /* it has hung up */
    c->paging = c->waiting = false;
    while (session_page_next(&rest, &map)) {
        command_frame_begin(&w, &scratch);
        pack_raw(&w, map);
        send_frame(c, &w, &scratch);
    }
    c->ask.below = page->more ? page->below : UINT64_MAX;
    c->worker += !page->more;
    serve(c);
}

static void
do_refresh(struct client *c, const char *domain)
{
    c->waiting = true;
    if (policy_admin_refresh(c->server->config.admin, domain, on_refreshed, c) == RES_OK)
        return;
    c->waiting = false;
    finish(c, "no memory");
}

/* Sent at once: who waits sees how it goes on. */
static void
on_part(void *arg, const struct inspect_part *part)
{
    struct client *c = arg;
    struct buffer scratch;
    struct pack_writer w;

    if (c->fd < 0)
        return;
    command_frame_begin(&w, &scratch);
    inspect_frame_write(&w, part);
    send_frame(c, &w, &scratch);
    serve(c);
}

static void
on_inspected(void *arg)
{
    struct client *c = arg;

    if (!end_wait(c))
        return;
    finish(c, "");
    serve(c);
}

static void
do_inspect(struct client *c, const char *domain)
{
    c->waiting = true;
    if (inspect_start(c->server->config.inspect, domain, on_part, on_inspected, c) == RES_OK)
        return;
    c->waiting = false;
    finish(c, "no memory");
}

static void
do_flush(struct client *c, const char *domain)
{
    size_t count = policy_admin_flush(c->server->config.admin, *domain ? domain : NULL);
    struct buffer scratch;
    struct pack_writer w;

    command_frame_begin(&w, &scratch);
    pack_map(&w, 1);
    put_int(&w, "flushed", (int64_t)count);
    send_frame(c, &w, &scratch);
    finish(c, "");
}

static void
do_warm(struct client *c, const char *domain)
{
    enum result res = policy_admin_warm(c->server->config.admin, domain);

    finish(c, res == RES_OK ? "" : res == RES_LIMIT ? "too many wait already" : "no memory");
}

static void
run(struct client *c, const struct command *command)
{
    struct policy_admin *admin = c->server->config.admin;

    if (command->verb != COMMAND_WARM)
        log_info("event=command verb=%s argument=\"%s\"", command_verb_name(command->verb),
                 command->argument);
    switch (command->verb) {
    case COMMAND_LIST:
        c->listing = true;
        c->place = 0;
        return;
    case COMMAND_SHOW:
        finish(c, policy_admin_show(admin, command->argument, on_info, c)
                      ? ""
                      : "nothing is known of that domain");
        return;
    case COMMAND_REFRESH:
        do_refresh(c, command->argument);
        return;
    case COMMAND_INSPECT:
        do_inspect(c, command->argument);
        return;
    case COMMAND_FLUSH:
        do_flush(c, command->argument);
        return;
    case COMMAND_WARM:
        do_warm(c, command->argument);
        return;
    case COMMAND_STATS:
        do_stats(c);
        return;
    case COMMAND_MODE:
        do_mode(c, command->argument);
        return;
    case COMMAND_RELOAD:
        do_reload(c);
        return;
    case COMMAND_STATUS:
        do_status(c);
        return;
    case COMMAND_SESSIONS:
        do_sessions(c);
        return;
    case COMMAND_DRAIN:
        do_drain(c);
        return;
    case COMMAND_VERBS:
        break;
    }
}

/* ---- the connection ---- */

/* One command of the input; false: there is none, or it must wait. */
static bool
serve_one(struct client *c)
{
    struct span in = buffer_span(&c->in);
    size_t end = span_find(in, '\n');
    struct command command;

    if (c->waiting || c->listing || c->query || buffer_len(&c->out) > OUT_MAX / 2)
        return false;
    if (end == in.len) {
        if (in.len >= COMMAND_LINE_MAX) {
            finish(c, "the command is too long");
            buffer_clear(&c->in);
            c->ended = true;
        }
        return false;
    }
    if (command_parse(span_first(in, end), &command) == RES_OK)
        run(c, &command);
    else
        finish(c, "unknown command or malformed argument");
    if (buffer_len(&c->in)) /* unless the connection is of no use any more */
        buffer_consume(&c->in, end + 1);
    return true;
}

static bool
flush(struct client *c)
{
    while (buffer_len(&c->out)) {
        struct span bytes = buffer_span(&c->out);
        ssize_t n = send(c->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        buffer_consume(&c->out, (size_t)n);
    }
    return true;
}

/* As far as it goes now. c may be gone afterwards. */
static void
serve(struct client *c)
{
    bool more = true, alive = true;

    if (c->serving)
        return;
    c->serving = true;
    while (more && alive) {
        more = serve_one(c);
        if (c->listing)
            go_on_listing(c);
        if (c->query && !c->waiting)
            go_on_paging(c);
        alive = flush(c);
        more |= (c->listing || (c->query && !c->waiting)) && buffer_len(&c->out) == 0;
    }
    c->serving = false;
    if (!alive) {
        close_client(c);
        return;
    }
    if (c->ended && !c->waiting && !c->listing && !c->query && buffer_len(&c->out) == 0)
        close_client(c);
    else
        watch(c);
}

static void
on_io(struct ev_loop *loop, ev_io *w, int revents)
{
    struct client *c = w->data;
    char bytes[4096];

    (void)loop;
    if (revents & EV_READ) {
        ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);

        if ((n < 0 && errno != EAGAIN && errno != EINTR) ||
            (n > 0 && buffer_append(&c->in, span_make(bytes, (size_t)n)) != RES_OK)) {
            close_client(c);
            return;
        }
        c->ended |= n == 0;
    }
    serve(c);
}

/* Who may command: root, and the user that this process runs as. */
static bool
is_permitted(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    log_warn("event=command-refused uid=%u pid=%d", (unsigned)peer.uid, (int)peer.pid);
    return false;
}

enum result
command_server_adopt(struct command_server *server, int fd)
{
    struct client *c = calloc(1, sizeof *c);

    if (!c) {
        close(fd);
        return RES_NOMEM;
    }
    c->server = server;
    c->fd = fd;
    buffer_init(&c->in, 64u * 1024u);
    buffer_init(&c->out, OUT_MAX);
    ev_init(&c->io, on_io);
    ev_init(&c->idle, on_idle);
    c->io.data = c->idle.data = c;
    c->next = server->clients;
    c->link = &server->clients;
    if (c->next)
        c->next->link = &c->next;
    server->clients = c;
    server->count++;
    watch(c);
    return RES_OK;
}

static void
on_accept(struct ev_loop *loop, ev_io *w, int revents)
{
    struct command_server *server = w->data;
    int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)loop, (void)revents;
    if (fd < 0)
        return;
    if (server->count >= COMMAND_CLIENTS_MAX || !is_permitted(fd))
        close(fd);
    else if (command_server_adopt(server, fd) != RES_OK)
        log_error("event=no-memory where=commands");
}

struct command_server *
command_server_new(const struct command_server_config *config)
{
    struct command_server *server = calloc(1, sizeof *server);

    if (!server)
        return NULL;
    server->config = *config;
    ev_io_init(&server->accept, on_accept, config->listen_fd, EV_READ);
    server->accept.data = server;
    if (config->listen_fd >= 0)
        ev_io_start(config->loop, &server->accept);
    return server;
}

void
command_server_stop(struct command_server *server)
{
    ev_io_stop(server->config.loop, &server->accept);
    if (server->config.listen_fd >= 0)
        close(server->config.listen_fd);
    server->config.listen_fd = -1;
    while (server->clients)
        close_client(server->clients);
}

void
command_server_free(struct command_server *server)
{
    if (!server)
        return;
    command_server_stop(server);
    while (server->orphans) {
        struct client *c = server->orphans;

        server->orphans = c->next;
        free(c);
    }
    free(server);
}

void
command_server_reloaded(struct command_server *server, bool done)
{
    for (struct client *c = server->clients, *next; c; c = next) {
        next = c->next;
        if (!c->reloading)
            continue;
        c->waiting = c->reloading = false;
        finish(c, done ? "" : "the new configuration was refused: the log says why");
        serve(c);
    }
}
