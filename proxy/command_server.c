#include "proxy/command_peer.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- life ---- */

static void
close_client(struct command_peer *c)
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
watch(struct command_peer *c)
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

bool
command_peer_wait_over(struct command_peer *c)
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

/* ---- answers ---- */

void
command_put_text(struct pack_writer *w, const char *key, const char *text)
{
    pack_str(w, span_of(key));
    pack_str(w, span_of(text));
}

void
command_put_int(struct pack_writer *w, const char *key, int64_t value)
{
    pack_str(w, span_of(key));
    pack_int(w, value);
}

void
command_peer_send(struct command_peer *c, struct pack_writer *w, struct buffer *scratch)
{
    if (command_frame_end(w, scratch, &c->out) != RES_OK) {
        log_warn("event=command-answer-lost");
        buffer_clear(&c->in);
        buffer_clear(&c->out);
        c->ended = true; /* it learns by the end of the connection */
    }
}

void
command_peer_finish(struct command_peer *c, const char *problem)
{
    struct buffer scratch;
    struct pack_writer w;

    command_frame_begin(&w, &scratch);
    pack_map(&w, *problem ? 2 : 1);
    command_put_text(&w, "status", *problem ? "failed" : "ok");
    if (*problem)
        command_put_text(&w, "problem", problem);
    command_peer_send(c, &w, &scratch);
}

/* ---- commands ---- */

static command_run *const verbs[COMMAND_VERBS] = {
    [COMMAND_LIST] = command_list,         [COMMAND_SHOW] = command_show,
    [COMMAND_REFRESH] = command_refresh,   [COMMAND_INSPECT] = command_inspect,
    [COMMAND_FLUSH] = command_flush,       [COMMAND_WARM] = command_warm,
    [COMMAND_STATS] = command_stats,       [COMMAND_MODE] = command_mode,
    [COMMAND_RELOAD] = command_reload,     [COMMAND_STATUS] = command_status,
    [COMMAND_SESSIONS] = command_sessions, [COMMAND_DRAIN] = command_drain,
};

_Static_assert(COMMAND_VERBS == 12, "each verb is above");

static void
run(struct command_peer *c, const struct command *command)
{
    if (command->verb != COMMAND_WARM)
        log_info("event=command verb=%s argument=\"%s\"", command_verb_name(command->verb),
                 command->argument);
    verbs[command->verb](c, command->argument);
}

/* One command of the input; false: there is none, or it must wait. */
static bool
serve_one(struct command_peer *c)
{
    struct span in = buffer_span(&c->in);
    size_t end = span_find(in, '\n');
    struct command command;

    if (c->waiting || c->listing || c->query || buffer_len(&c->out) > COMMAND_OUT_MAX / 2)
        return false;
    if (end == in.len) {
        if (in.len >= COMMAND_LINE_MAX) {
            command_peer_finish(c, "the command is too long");
            buffer_clear(&c->in);
            c->ended = true;
        }
        return false;
    }
    if (command_parse(span_first(in, end), &command) == RES_OK)
        run(c, &command);
    else
        command_peer_finish(c, "unknown command or malformed argument");
    if (buffer_len(&c->in)) /* unless the connection is of no use any more */
        buffer_consume(&c->in, end + 1);
    return true;
}

static bool
flush(struct command_peer *c)
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

void
command_peer_serve(struct command_peer *c)
{
    bool more = true, alive = true;

    if (c->serving)
        return;
    c->serving = true;
    while (more && alive) {
        more = serve_one(c);
        if (c->listing)
            command_go_on_listing(c);
        if (c->query && !c->waiting)
            command_go_on_paging(c);
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
    struct command_peer *c = w->data;
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
    command_peer_serve(c);
}

/* ---- who comes ---- */

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
    struct command_peer *c = calloc(1, sizeof *c);

    if (!c) {
        close(fd);
        return RES_NOMEM;
    }
    c->server = server;
    c->fd = fd;
    buffer_init(&c->in, 64u * 1024u);
    buffer_init(&c->out, COMMAND_OUT_MAX);
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
        struct command_peer *c = server->orphans;

        server->orphans = c->next;
        free(c);
    }
    free(server);
}
