/* proxy/status_main.c: the status process: shows by HTTP what the policy processes tell it. It
 * holds no privilege, reads no file and no configuration, and tells nobody anything; so whoever
 * takes it over by its HTTP has a page of numbers.
 *
 *     stsgate-status --control-fd 3 --listen-fd 4 --address 127.0.0.1:9125 --hostname NAME
 *                    --user USER */
#include "base/log.h"
#include "base/msg_link.h"
#include "proxy/control_socket.h"
#include "proxy/sandbox.h"
#include "proxy/status_http.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define FD_MAX 1048576u

struct status_process;

/* A policy process. */
struct peer {
    struct status_process *p;
    struct msg_link *link;      /* owned; NULL: this place is free */
    struct status_link *status; /* what it has told */
    ev_io readable;
};

struct status_process {
    struct ev_loop *loop;
    struct clock clock;
    struct status_state *state;
    struct status_http *http;
    int control_fd, listen_fd;
    const char *address, *hostname, *user; /* in argv */
    struct peer peers[STATUS_LINKS_MAX];
    ev_io control;
    ev_signal term;
};

static void
drop(struct peer *peer)
{
    ev_io_stop(peer->p->loop, &peer->readable);
    status_link_remove(peer->p->state, peer->status);
    msg_link_free(peer->link);
    peer->link = NULL;
}

static void
on_message(struct ev_loop *loop, ev_io *w, int revents)
{
    struct peer *peer = w->data;
    struct status_process *p = peer->p;
    struct span message;
    enum result res = msg_link_recv(peer->link, &message);

    (void)loop, (void)revents;
    if (res == RES_AGAIN)
        return;
    if (res == RES_OK)
        res = status_take(p->state, peer->status, message, clock_mono_ms(&p->clock),
                          clock_wall_s(&p->clock));
    if (res == RES_SYNTAX || res == RES_LIMIT)
        log_error("event=bad-status-message result=%s", result_name(res));
    if (res != RES_OK && res != RES_NOMEM)
        drop(peer);
}

/* fd: takes it. */
static void
add_peer(struct status_process *p, int fd)
{
    struct peer *peer = p->peers;

    while (peer < p->peers + STATUS_LINKS_MAX && peer->link)
        peer++;
    if (peer == p->peers + STATUS_LINKS_MAX) {
        close(fd);
        return;
    }
    if (msg_link_new(fd, &peer->link) != RES_OK)
        return;
    peer->p = p;
    peer->status = status_link_add(p->state);
    if (!peer->status) {
        msg_link_free(peer->link);
        peer->link = NULL;
        return;
    }
    ev_io_init(&peer->readable, on_message, msg_link_fd(peer->link), EV_READ);
    peer->readable.data = peer;
    ev_io_start(p->loop, &peer->readable);
}

static void
on_control(struct ev_loop *loop, ev_io *w, int revents)
{
    struct status_process *p = w->data;
    struct control_message message;
    enum result res;
    int fd;

    (void)revents;
    res = control_socket_recv(p->control_fd, &message, &fd);
    if (res == RES_OK && message.type == CONTROL_STATUS_LINK)
        add_peer(p, fd);
    else if (fd >= 0)
        close(fd);
    if (res == RES_DENIED)
        ev_break(loop, EVBREAK_ALL); /* the supervisor is gone */
}

static void
on_term(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)w, (void)revents;
    ev_break(loop, EVBREAK_ALL);
}

static bool
to_fd(const char *text, int *out)
{
    unsigned long long number;

    if (!span_to_u64(span_of(text), 7, &number) || number > FD_MAX)
        return false;
    *out = (int)number;
    return fcntl(*out, F_SETFD, FD_CLOEXEC) == 0;
}

static bool
read_args(struct status_process *p, int argc, char **argv)
{
    p->control_fd = p->listen_fd = -1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--control-fd") == 0 && !to_fd(argv[i + 1], &p->control_fd))
            return false;
        if (strcmp(argv[i], "--listen-fd") == 0 && !to_fd(argv[i + 1], &p->listen_fd))
            return false;
        if (strcmp(argv[i], "--address") == 0)
            p->address = argv[i + 1];
        if (strcmp(argv[i], "--hostname") == 0)
            p->hostname = argv[i + 1];
        if (strcmp(argv[i], "--user") == 0)
            p->user = argv[i + 1];
    }
    return p->control_fd >= 0 && p->listen_fd >= 0 && p->address && strrchr(p->address, ':') &&
           p->hostname && p->user;
}

static bool
start(struct status_process *p)
{
    p->loop = ev_default_loop(EVFLAG_AUTO);
    p->clock = clock_system();
    p->state = status_state_new(clock_wall_s(&p->clock));
    if (!p->loop || !p->state)
        return false;
    p->http = status_http_new(p->loop, p->listen_fd, p->state, &p->clock, p->address, p->hostname);
    if (!p->http)
        return false;
    ev_io_init(&p->control, on_control, p->control_fd, EV_READ);
    ev_signal_init(&p->term, on_term, SIGTERM);
    p->control.data = p;
    ev_io_start(p->loop, &p->control);
    ev_signal_start(p->loop, &p->term);
    return true;
}

int
main(int argc, char **argv)
{
    static struct status_process p;
    char error[256];

    log_init("status", LOG_LEVEL_INFO);
    (void)signal(SIGPIPE, SIG_IGN);
    if (!read_args(&p, argc, argv)) {
        log_error("event=start-failed reason=\"this program is started by `stsgate run`\"");
        return 2;
    }
    if (sandbox_become(p.user, error, sizeof error) != RES_OK) {
        log_error("event=start-failed what=user reason=\"%s\"", error);
        return 2;
    }
    if (!start(&p)) {
        log_error("event=start-failed reason=\"no memory or descriptors\"");
        return 1;
    }
    if (sandbox_close(SANDBOX_STATUS, NULL) != RES_OK)
        return 2;
    log_info("event=status-page address=%s", p.address);
    ev_run(p.loop, 0);
    status_http_free(p.http);
    for (unsigned i = 0; i < STATUS_LINKS_MAX; i++)
        if (p.peers[i].link)
            drop(&p.peers[i]);
    status_state_free(p.state);
    close(p.control_fd);
    return 0;
}
