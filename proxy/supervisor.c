#include "proxy/supervisor.h"

#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/control_socket.h"
#include "proxy/launcher.h"

#define POLICY_SLOT 0u /* workers follow: worker i is in slot i + 1 */
#define SLOTS (1u + CONTROL_WORKERS_MAX)
#define MESSAGES_PER_WAKE 8u /* a child that floods does not keep the others waiting */

enum child_state {
    CHILD_AWAY,     /* not started, or dead until restart_timer fires */
    CHILD_STARTING, /* started, not ready */
    CHILD_SERVING,
};

struct child {
    struct supervisor *s;
    unsigned slot;
    char name[20]; /* "policy", "worker/3" */
    enum child_state state;
    bool told_to_stop;
    unsigned deaths;      /* in a row, see SUPERVISOR_STEADY_S */
    unsigned vain_starts; /* in a row, without ever being ready */
    ev_tstamp started_at;
    int control_fd; /* owned; -1 while away or when the child has closed its end */
    ev_io control;
    ev_child exit; /* active while the process exists */
    ev_timer restart;
    ev_timer leave; /* it has closed its control channel, so it must be about to exit */
};

struct supervisor {
    struct ev_loop *loop;
    struct launcher launcher;
    unsigned slots; /* in use */
    struct child children[SLOTS];
    bool was_ready;      /* all were, at one time */
    unsigned stop_phase; /* 0 not stopping, 1 draining, 2 SIGTERM sent, 3 SIGKILL sent */
    enum supervisor_exit status;
    ev_timer drain;
    ev_signal term, intr;
};

static void start_child(struct supervisor *s, struct child *child);
static void begin_stop(struct supervisor *s);
static void stop_next(struct supervisor *s);

unsigned
supervisor_backoff_ms(unsigned deaths)
{
    unsigned ms = SUPERVISOR_BACKOFF_MIN_MS;

    if (deaths < 2)
        return 0;
    for (unsigned i = 2; i < deaths && ms < SUPERVISOR_BACKOFF_MAX_MS; i++)
        ms *= 2;
    return ms < SUPERVISOR_BACKOFF_MAX_MS ? ms : SUPERVISOR_BACKOFF_MAX_MS;
}

static bool
is_running(const struct child *child)
{
    return ev_is_active(&child->exit);
}

/* ---- control channel ---- */

static void
close_control(struct child *child)
{
    if (child->control_fd < 0)
        return;
    ev_io_stop(child->s->loop, &child->control);
    close(child->control_fd);
    child->control_fd = -1;
}

/* What a child does that no child of ours does: it is not trusted any more, and started anew. */
static void
condemn(struct child *child, const char *reason)
{
    log_error("event=child-killed child=%s pid=%d reason=\"%s\"", child->name, (int)child->exit.pid,
              reason);
    close_control(child);
    (void)kill(child->exit.pid, SIGKILL); /* fails only when it is dead already */
}

/* The end of the channel comes before the end of the process, whose status is still to be learnt.
 */
static void
await_exit(struct child *child)
{
    close_control(child);
    ev_timer_set(&child->leave, SUPERVISOR_KILL_S, 0.);
    ev_timer_start(child->s->loop, &child->leave);
}

static void
on_leave(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    condemn(w->data, "closed its control channel and goes on");
}

static void
tell(struct child *child, const struct control_message *msg, int fd)
{
    if (child->control_fd < 0)
        return;
    switch (control_socket_send(child->control_fd, msg, fd)) {
    case RES_OK:
    case RES_DENIED: /* it is dying; its exit is on the way */
        return;
    case RES_AGAIN:
    case RES_NOMEM:
    case RES_SYNTAX:
    case RES_LIMIT:
    case RES_TEMPFAIL:
        break;
    }
    condemn(child, "does not read its control channel");
}

/* A new pair between a worker and the policy process, if both are there. */
static void
link_worker(struct supervisor *s, struct child *worker)
{
    struct child *policy = &s->children[POLICY_SLOT];
    struct control_message msg = { .type = CONTROL_POLICY_LINK, .worker = worker->slot - 1 };
    int pair[2];

    if (worker->control_fd < 0 || policy->control_fd < 0)
        return;
    if (control_socket_pair(pair) != RES_OK) {
        condemn(worker, "no descriptors left for its link"); /* tried again when it restarts */
        return;
    }
    tell(worker, &msg, pair[0]);
    tell(policy, &msg, pair[1]);
    close(pair[0]);
    close(pair[1]);
}

static void
note_ready(struct supervisor *s, struct child *child)
{
    unsigned serving = 0;

    child->state = CHILD_SERVING;
    child->vain_starts = 0;
    log_info("event=child-ready child=%s pid=%d", child->name, (int)child->exit.pid);
    for (unsigned i = 0; i < s->slots; i++)
        serving += s->children[i].state == CHILD_SERVING;
    if (serving < s->slots)
        return;
    s->was_ready = true;
    log_info("event=ready workers=%u", s->slots - 1);
}

static void
on_control(struct ev_loop *loop, ev_io *w, int revents)
{
    struct child *child = w->data;
    struct control_message msg;
    enum result res = RES_OK;
    int fd;

    (void)loop, (void)revents;
    for (unsigned i = 0; i < MESSAGES_PER_WAKE && res == RES_OK && child->control_fd >= 0; i++) {
        res = control_socket_recv(child->control_fd, &msg, &fd);
        if (fd >= 0)
            close(fd); /* no message to the supervisor carries one */
        if (res == RES_DENIED)
            await_exit(child);
        else if (res == RES_OK && msg.type == CONTROL_READY && child->state == CHILD_STARTING)
            note_ready(child->s, child);
        else if (res != RES_AGAIN)
            condemn(child, "sent what it must not send");
    }
}

/* ---- birth and death ---- */

static void
log_exit(const struct child *child, int status, unsigned restart_ms)
{
    const char *how = WIFSIGNALED(status) ? "signal" : "status";
    int value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);

    if (child->s->stop_phase)
        log_info("event=child-exited child=%s pid=%d %s=%d", child->name, (int)child->exit.pid, how,
                 value);
    else
        log_error("event=child-exited child=%s pid=%d %s=%d restart_ms=%u", child->name,
                  (int)child->exit.pid, how, value, restart_ms);
}

/* One more death, or start in vain. Returns how long to stay away. */
static unsigned
count_death(struct supervisor *s, struct child *child)
{
    if (child->state == CHILD_SERVING) {
        child->vain_starts = 0;
        if (ev_now(s->loop) - child->started_at >= SUPERVISOR_STEADY_S)
            child->deaths = 0;
    } else {
        child->vain_starts++;
    }
    child->state = CHILD_AWAY;
    child->deaths++;
    return supervisor_backoff_ms(child->deaths);
}

static void
start_later(struct supervisor *s, struct child *child, unsigned delay_ms)
{
    if (s->stop_phase) {
        stop_next(s);
    } else if (!s->was_ready && child->vain_starts >= SUPERVISOR_TRIES) {
        log_error("event=start-failed child=%s tries=%u reason=\"it ended each time before it was "
                  "ready; its own lines above say why\"",
                  child->name, child->vain_starts);
        s->status = SUPERVISOR_CONFIG;
        begin_stop(s);
    } else {
        ev_now_update(s->loop);
        ev_timer_set(&child->restart, delay_ms / 1000.0, 0.);
        ev_timer_start(s->loop, &child->restart);
    }
}

static void
on_exit_of_child(struct ev_loop *loop, ev_child *w, int revents)
{
    struct child *child = w->data;
    unsigned delay_ms = count_death(child->s, child);

    (void)revents;
    ev_child_stop(loop, w);
    log_exit(child, w->rstatus, delay_ms);
    close_control(child);
    ev_timer_stop(loop, &child->leave);
    start_later(child->s, child, delay_ms);
}

static void
on_restart(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct child *child = w->data;

    (void)loop, (void)revents;
    start_child(child->s, child);
}

static void
watch(struct supervisor *s, struct child *child, pid_t pid)
{
    child->state = CHILD_STARTING;
    child->started_at = ev_now(s->loop);
    ev_child_set(&child->exit, pid, 0);
    ev_child_start(s->loop, &child->exit);
    ev_io_set(&child->control, child->control_fd, EV_READ);
    ev_io_start(s->loop, &child->control);
    log_info("event=child-started child=%s pid=%d", child->name, (int)pid);
}

static void
link_child(struct supervisor *s, struct child *child)
{
    if (child->slot != POLICY_SLOT)
        link_worker(s, child);
    for (unsigned i = 1; child->slot == POLICY_SLOT && i < s->slots; i++)
        link_worker(s, &s->children[i]);
}

static void
start_child(struct supervisor *s, struct child *child)
{
    unsigned index = child->slot == POLICY_SLOT ? LAUNCH_POLICY : child->slot - 1;
    int pair[2];
    pid_t pid;

    ev_now_update(s->loop);
    if (control_socket_pair(pair) == RES_OK &&
        launcher_start(&s->launcher, index, pair[1], &pid) == RES_OK) {
        close(pair[1]);
        child->control_fd = pair[0];
        watch(s, child, pid);
        link_child(s, child);
        return;
    }
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
    log_error("event=start-failed child=%s reason=\"no processes or descriptors left\"",
              child->name);
    start_later(s, child, count_death(s, child));
}

/* ---- stopping ---- */

static void
tell_to_stop(struct child *child)
{
    if (child->told_to_stop)
        return;
    child->told_to_stop = true;
    tell(child, &(struct control_message){ .type = CONTROL_STOP }, -1);
}

/* The policy process goes when the last worker has gone, the loop when nobody is left. */
static void
stop_next(struct supervisor *s)
{
    for (unsigned i = 1; i < s->slots; i++)
        if (is_running(&s->children[i]))
            return;
    if (is_running(&s->children[POLICY_SLOT]))
        tell_to_stop(&s->children[POLICY_SLOT]);
    else
        ev_break(s->loop, EVBREAK_ALL);
}

static void
signal_all(struct supervisor *s, int sig)
{
    for (unsigned i = 0; i < s->slots; i++)
        if (is_running(&s->children[i])) {
            log_warn("event=stop-late child=%s signal=%d", s->children[i].name, sig);
            (void)kill(s->children[i].exit.pid, sig); /* fails only when it is dead already */
        }
}

/* From one phase of stopping into the next. */
static void
press(struct supervisor *s)
{
    ev_timer_stop(s->loop, &s->drain);
    s->stop_phase++;
    signal_all(s, s->stop_phase == 2 ? SIGTERM : SIGKILL);
    if (s->stop_phase > 2)
        return;
    ev_timer_set(&s->drain, SUPERVISOR_KILL_S, 0.);
    ev_timer_start(s->loop, &s->drain);
}

static void
on_drain(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    press(w->data);
}

static void
begin_stop(struct supervisor *s)
{
    s->stop_phase = 1;
    log_info("event=stopping drain_s=%.0f", SUPERVISOR_DRAIN_S);
    launcher_close_listeners(&s->launcher);
    for (unsigned i = 0; i < s->slots; i++)
        ev_timer_stop(s->loop, &s->children[i].restart);
    for (unsigned i = 1; i < s->slots; i++)
        tell_to_stop(&s->children[i]);
    ev_timer_set(&s->drain, SUPERVISOR_DRAIN_S, 0.);
    ev_timer_start(s->loop, &s->drain);
    stop_next(s);
}

static void
on_stop_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
    struct supervisor *s = w->data;

    (void)loop, (void)revents;
    if (s->stop_phase == 0)
        begin_stop(s);
    else if (s->stop_phase == 1)
        press(s);
}

/* ---- the whole ---- */

static void
init_child(struct supervisor *s, unsigned slot)
{
    struct child *child = &s->children[slot];

    *child = (struct child){ .s = s, .slot = slot, .control_fd = -1 };
    if (slot == POLICY_SLOT)
        snprintf(child->name, sizeof child->name, "policy");
    else
        snprintf(child->name, sizeof child->name, "worker/%u", slot - 1);
    ev_init(&child->control, on_control);
    ev_init(&child->exit, on_exit_of_child);
    ev_init(&child->restart, on_restart);
    ev_init(&child->leave, on_leave);
    /* libev has reaped the child when it calls: nothing else may use the process id before. */
    ev_set_priority(&child->exit, EV_MAXPRI);
    child->control.data = child->exit.data = child->restart.data = child->leave.data = child;
}

static struct supervisor *
supervisor_new(const struct supervisor_setup *setup)
{
    struct supervisor *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    launcher_init(&s->launcher, setup);
    s->slots = 1 + setup->config->workers;
    for (unsigned i = 0; i < s->slots; i++)
        init_child(s, i);
    ev_init(&s->drain, on_drain);
    ev_signal_init(&s->term, on_stop_signal, SIGTERM);
    ev_signal_init(&s->intr, on_stop_signal, SIGINT);
    s->drain.data = s->term.data = s->intr.data = s;
    return s;
}

static void
supervisor_free(struct supervisor *s)
{
    if (!s)
        return;
    if (s->loop) {
        ev_timer_stop(s->loop, &s->drain);
        ev_signal_stop(s->loop, &s->term);
        ev_signal_stop(s->loop, &s->intr);
        ev_loop_destroy(s->loop);
    }
    launcher_clear(&s->launcher);
    free(s);
}

static enum supervisor_exit
run(struct supervisor *s)
{
    char error[256];
    enum result res = launcher_open(&s->launcher, error, sizeof error);

    if (res != RES_OK) {
        log_error("event=start-failed reason=\"%s\"", error);
        return res == RES_LIMIT ? SUPERVISOR_FAILED : SUPERVISOR_CONFIG;
    }
    s->loop = ev_default_loop(EVFLAG_NOENV);
    if (!s->loop) {
        log_error("event=start-failed reason=\"no event loop\"");
        return SUPERVISOR_FAILED;
    }
    /* Not to be killed by a log pipe whose reader is gone, nor by a terminal that closes. */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    ev_signal_start(s->loop, &s->term);
    ev_signal_start(s->loop, &s->intr);
    for (unsigned i = 0; i < s->slots; i++)
        start_child(s, &s->children[i]);
    ev_run(s->loop, 0);
    log_info("event=stopped status=%d", (int)s->status);
    return s->status;
}

enum supervisor_exit
supervisor_run(const struct supervisor_setup *setup)
{
    struct supervisor *s = supervisor_new(setup);
    enum supervisor_exit status = SUPERVISOR_FAILED;

    if (s)
        status = run(s);
    else
        log_error("event=start-failed reason=\"no memory\"");
    supervisor_free(s);
    return status;
}
