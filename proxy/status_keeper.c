#include "proxy/status_keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ip_addr.h"
#include "base/log.h"
#include "proxy/child_process.h"
#include "proxy/control_socket.h"
#include "proxy/supervisor.h"

#define BACKLOG 64

/* tell: whether a failure is told. */
static int
listen_at(const char *address, bool tell)
{
    static const int one = 1;
    struct sockaddr_storage sa;
    struct ip_addr addr;
    uint16_t port;
    unsigned len;
    int fd;

    if (!ip_endpoint_parse(address, &addr, &port))
        return -1; /* config_parse() has seen to that */
    len = ip_addr_to_sockaddr(&addr, port, &sa);
    fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        bind(fd, (const struct sockaddr *)&sa, len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    if (tell)
        log_error("event=no-status-page address=%s reason=\"%s\" consequence=\"no status page and "
                  "no metrics; tried again every %u s\"",
                  address, strerror(errno), SUPERVISOR_BACKOFF_MAX_MS / 1000);
    if (fd >= 0)
        close(fd);
    return -1;
}

static void
start_later(struct status_keeper *k, unsigned delay_ms)
{
    ev_timer_set(&k->restart, delay_ms / 1000., 0.);
    ev_timer_start(k->loop, &k->restart);
}

/* A status process whose supervisor was killed may have the address for a moment yet. */
static bool
open_listener(struct status_keeper *k)
{
    if (k->listen_fd >= 0)
        return true;
    k->listen_fd = listen_at(k->address, !k->told);
    if (k->listen_fd >= 0)
        return true;
    k->told = true;
    start_later(k, SUPERVISOR_BACKOFF_MAX_MS);
    return false;
}

static void
start(struct status_keeper *k)
{
    char *address = (char *)(uintptr_t)k->address; /* execv() changes nothing */
    char *hostname = (char *)(uintptr_t)k->hostname;
    char *user = (char *)(uintptr_t)k->user;
    char *argv[] = { "stsgate-status", "--control-fd", "3",      "--listen-fd", "4",  "--address",
                     address,          "--hostname",   hostname, "--user",      user, NULL };
    int pair[2];
    pid_t pid;

    ev_now_update(k->loop);
    if (!open_listener(k))
        return;
    k->started_at = ev_now(k->loop);
    if (control_socket_pair(pair) != RES_OK ||
        child_process_start(k->path, argv, (int[]){ pair[1], k->listen_fd }, 2, &pid) != RES_OK) {
        log_error("event=start-failed child=status reason=\"no processes or descriptors left\"");
        for (int i = 0; i < 2; i++)
            if (pair[i] >= 0)
                close(pair[i]);
        start_later(k, SUPERVISOR_BACKOFF_MAX_MS);
        return;
    }
    close(pair[1]);
    k->control_fd = pair[0];
    ev_child_set(&k->exit, pid, 0);
    ev_child_start(k->loop, &k->exit);
    log_info("event=child-started child=status pid=%d", (int)pid);
    k->started(k->arg);
}

static void
close_control(struct status_keeper *k)
{
    if (k->control_fd >= 0)
        close(k->control_fd);
    k->control_fd = -1;
}

static void
on_exit_of_child(struct ev_loop *loop, ev_child *w, int revents)
{
    struct status_keeper *k = w->data;
    unsigned delay_ms;

    (void)revents;
    ev_child_stop(loop, w);
    close_control(k);
    if (ev_now(loop) - k->started_at >= SUPERVISOR_STEADY_S)
        k->deaths = 0;
    delay_ms = supervisor_backoff_ms(++k->deaths);
    log_error("event=child-exited child=status pid=%d %s=%d restart_ms=%u", w->rpid,
              WIFSIGNALED(w->rstatus) ? "signal" : "status",
              WIFSIGNALED(w->rstatus) ? WTERMSIG(w->rstatus) : WEXITSTATUS(w->rstatus), delay_ms);
    start_later(k, delay_ms);
}

static void
on_restart(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    start(w->data);
}

void
status_keeper_start(struct status_keeper *k, struct ev_loop *loop, const char *path,
                    const char *address, const char *hostname, const char *user,
                    void (*started)(void *arg), void *arg)
{
    *k = (struct status_keeper){ .loop = loop,
                                 .path = path,
                                 .address = address,
                                 .hostname = hostname,
                                 .user = user,
                                 .started = started,
                                 .arg = arg,
                                 .listen_fd = -1,
                                 .control_fd = -1 };
    ev_init(&k->exit, on_exit_of_child);
    ev_init(&k->restart, on_restart);
    k->exit.data = k->restart.data = k;
    if (!*address)
        return;
    if (!*path) {
        log_error("event=no-status-page reason=\"stsgate-status is missing: install it beside "
                  "stsgate\" consequence=\"no status page and no metrics\"");
        return;
    }
    start(k);
}

void
status_keeper_link(struct status_keeper *k, int fd)
{
    if (k->control_fd >= 0 &&
        control_socket_send(k->control_fd, &(struct control_message){ .type = CONTROL_STATUS_LINK },
                            fd) != RES_OK)
        log_warn("event=no-status-link reason=\"the status process does not listen\"");
    close(fd);
}

bool
status_keeper_is_on(const struct status_keeper *k)
{
    return k->control_fd >= 0;
}

void
status_keeper_stop(struct status_keeper *k)
{
    if (ev_is_active(&k->exit))
        (void)kill(k->exit.pid, SIGTERM); /* fails only when it is dead already */
    ev_child_stop(k->loop, &k->exit);
    ev_timer_stop(k->loop, &k->restart);
    close_control(k);
    if (k->listen_fd >= 0)
        close(k->listen_fd);
    k->listen_fd = -1;
}
