#include "proxy/generation.h"

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
#define NO_MODE UINT32_MAX

enum child_state {
    CHILD_AWAY,     /* not started, or dead until restart_timer fires */
    CHILD_STARTING, /* started, not ready */
    CHILD_SERVING,
};

struct child {
    struct generation *g;
    unsigned slot;
    char name[32]; /* "policy", "worker/3", "worker/3.1" of generation 1 */
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

struct generation {
    struct ev_loop *loop;
    const struct generation_events *events;
    void *arg;
    struct supervisor_setup setup;
    struct config *owned_config;
    char *owned_text;
    unsigned number;
    struct launcher launcher;
    unsigned slots; /* in use */
    struct child children[SLOTS];
    bool was_ready; /* all were, at one time */
    bool failed;
    uint32_t mode;       /* that the operator has set, or NO_MODE */
    unsigned stop_phase; /* 0 not stopping, 1 draining, 2 SIGTERM sent, 3 SIGKILL sent */
    bool hurried, retired;
    ev_timer drain;
    ev_timer over; /* nobody is left: told from the loop, so that it may be freed then */
};

static void start_child(struct generation *g, struct child *child);
static void stop_next(struct generation *g);

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
    ev_io_stop(child->g->loop, &child->control);
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
    ev_timer_start(child->g->loop, &child->leave);
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
link_worker(struct generation *g, struct child *worker)
{
    struct child *policy = &g->children[POLICY_SLOT];
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

void
generation_link_status(struct generation *g)
{
    struct child *policy = &g->children[POLICY_SLOT];
    int pair[2];

    if (policy->control_fd < 0 || !g->events->has_status(g->arg))
        return;
    if (control_socket_pair(pair) != RES_OK) {
        log_warn("event=no-status-link reason=\"no descriptors left\"");
        return;
    }
    tell(policy, &(struct control_message){ .type = CONTROL_STATUS_LINK }, pair[0]);
    close(pair[0]);
    g->events->link_status(g->arg, pair[1]);
}

static void
note_ready(struct generation *g, struct child *child)
{
    unsigned serving = 0;

    child->state = CHILD_SERVING;
    child->vain_starts = 0;
    log_info("event=child-ready child=%s pid=%d", child->name, (int)child->exit.pid);
    for (unsigned i = 0; i < g->slots; i++)
        serving += g->children[i].state == CHILD_SERVING;
    if (serving < g->slots)
        return;
    log_info("event=ready workers=%u", g->slots - 1);
    if (!g->was_ready) {
        g->was_ready = true;
        g->events->ready(g->arg, g);
    }
}

/* Only the policy process speaks of anything but its readiness. */
static bool
take_message(struct generation *g, struct child *child, const struct control_message *msg)
{
    if (msg->type == CONTROL_READY && child->state == CHILD_STARTING) {
        note_ready(g, child);
        return true;
    }
    if (child->slot != POLICY_SLOT)
        return false;
    switch (msg->type) {
    case CONTROL_MODE:
        g->mode = msg->value;
        log_info("event=mode-kept value=%u", msg->value);
        return true;
    case CONTROL_RELOAD:
        g->events->reload(g->arg, g);
        return true;
    case CONTROL_DRAIN:
        g->events->drain(g->arg);
        return true;
    case CONTROL_POLICY_LINK:
    case CONTROL_READY:
    case CONTROL_STOP:
    case CONTROL_RELOADED:
    case CONTROL_RETIRE:
    case CONTROL_STATUS_LINK:
        break;
    }
    return false;
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
        else if (res != RES_AGAIN && (res != RES_OK || !take_message(child->g, child, &msg)))
            condemn(child, "sent what it must not send");
    }
}

/* ---- birth and death ---- */

static void
log_exit(const struct child *child, int status, unsigned restart_ms)
{
    const char *how = WIFSIGNALED(status) ? "signal" : "status";
    int value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);

    if (child->g->stop_phase)
        log_info("event=child-exited child=%s pid=%d %s=%d", child->name, (int)child->exit.pid, how,
                 value);
    else
        log_error("event=child-exited child=%s pid=%d %s=%d restart_ms=%u", child->name,
                  (int)child->exit.pid, how, value, restart_ms);
}

/* One more death, or start in vain. Returns how long to stay away. */
static unsigned
count_death(struct generation *g, struct child *child)
{
    if (child->state == CHILD_SERVING) {
        child->vain_starts = 0;
        if (ev_now(g->loop) - child->started_at >= SUPERVISOR_STEADY_S)
            child->deaths = 0;
    } else {
        child->vain_starts++;
    }
    child->state = CHILD_AWAY;
    child->deaths++;
    return supervisor_backoff_ms(child->deaths);
}

/* While its workers finish what they are at, the policy process is needed, and no worker. */
static bool
is_needed(const struct generation *g, const struct child *child)
{
    if (child->slot != POLICY_SLOT || g->stop_phase > 1 || g->failed)
        return false;
    for (unsigned i = 1; i < g->slots; i++)
        if (is_running(&g->children[i]))
            return true;
    return false;
}

static void
start_later(struct generation *g, struct child *child, unsigned delay_ms)
{
    unsigned tries = g->number ? 1 : SUPERVISOR_TRIES;

    if (g->stop_phase && !is_needed(g, child)) {
        stop_next(g);
    } else if (!g->was_ready && child->vain_starts >= tries) {
        if (!g->failed)
            log_error("event=start-failed child=%s tries=%u reason=\"it ended each time before it "
                      "was ready; its own lines above say why\"",
                      child->name, child->vain_starts);
        if (!g->failed) {
            g->failed = true;
            g->events->failed(g->arg, g);
        }
    } else {
        ev_now_update(g->loop);
        ev_timer_set(&child->restart, delay_ms / 1000.0, 0.);
        ev_timer_start(g->loop, &child->restart);
    }
}

static void
on_exit_of_child(struct ev_loop *loop, ev_child *w, int revents)
{
    struct child *child = w->data;
    unsigned delay_ms = count_death(child->g, child);

    (void)revents;
    ev_child_stop(loop, w);
    log_exit(child, w->rstatus, delay_ms);
    close_control(child);
    ev_timer_stop(loop, &child->leave);
    start_later(child->g, child, delay_ms);
}

static void
on_restart(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct child *child = w->data;

    (void)loop, (void)revents;
    start_child(child->g, child);
}

static void
watch(struct generation *g, struct child *child, pid_t pid)
{
    child->state = CHILD_STARTING;
    child->started_at = ev_now(g->loop);
    ev_child_set(&child->exit, pid, 0);
    ev_child_start(g->loop, &child->exit);
    ev_io_set(&child->control, child->control_fd, EV_READ);
    ev_io_start(g->loop, &child->control);
    log_info("event=child-started child=%s pid=%d", child->name, (int)pid);
}

static void
link_child(struct generation *g, struct child *child)
{
    if (child->slot == POLICY_SLOT && g->mode != NO_MODE)
        tell(child, &(struct control_message){ .type = CONTROL_MODE, .value = g->mode }, -1);
    if (child->slot == POLICY_SLOT && g->retired)
        tell(child, &(struct control_message){ .type = CONTROL_RETIRE }, -1);
    if (child->slot != POLICY_SLOT)
        link_worker(g, child);
    else
        generation_link_status(g);
    for (unsigned i = 1; child->slot == POLICY_SLOT && i < g->slots; i++)
        link_worker(g, &g->children[i]);
}

static void
start_child(struct generation *g, struct child *child)
{
    unsigned index = child->slot == POLICY_SLOT ? LAUNCH_POLICY : child->slot - 1;
    int pair[2];
    pid_t pid;

    ev_now_update(g->loop);
    if (control_socket_pair(pair) == RES_OK &&
        launcher_start(&g->launcher, index, pair[1], &pid) == RES_OK) {
        close(pair[1]);
        child->control_fd = pair[0];
        watch(g, child, pid);
        link_child(g, child);
        return;
    }
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
    log_error("event=start-failed child=%s reason=\"no processes or descriptors left\"",
              child->name);
    start_later(g, child, count_death(g, child));
}

/* ---- stopping ---- */

static void
tell_to_stop(struct child *child, bool gently)
{
    if (child->told_to_stop)
        return;
    child->told_to_stop = true;
    tell(child, &(struct control_message){ .type = CONTROL_STOP, .value = gently }, -1);
}

/* The policy process goes when the last worker has gone, the loop when nobody is left. */
static void
stop_next(struct generation *g)
{
    for (unsigned i = 1; i < g->slots; i++)
        if (is_running(&g->children[i]))
            return;
    if (is_running(&g->children[POLICY_SLOT]))
        tell_to_stop(&g->children[POLICY_SLOT], false);
    else {
        ev_timer_stop(g->loop, &g->drain);
        ev_timer_set(&g->over, 0., 0.);
        ev_timer_start(g->loop, &g->over);
    }
}

static void
signal_child(const struct child *child, int sig)
{
    if (!is_running(child))
        return;
    log_warn("event=stop-late child=%s signal=%d", child->name, sig);
    (void)kill(child->exit.pid, sig); /* fails only when it is dead already */
}

/* What workers count and report at their end the policy process must still hear: it is told to stop
 * behind the last of them, and killed with them. */
static void
signal_all(struct generation *g, int sig)
{
    bool workers = false;

    for (unsigned i = 1; i < g->slots; i++) {
        workers |= is_running(&g->children[i]);
        signal_child(&g->children[i], sig);
    }
    if (!workers || sig == SIGKILL)
        signal_child(&g->children[POLICY_SLOT], sig);
}

/* From one phase of stopping into the next. */
void
generation_press(struct generation *g)
{
    ev_timer_stop(g->loop, &g->drain);
    if (g->stop_phase == 0 || g->stop_phase > 2)
        return;
    g->stop_phase++;
    signal_all(g, g->stop_phase == 2 ? SIGTERM : SIGKILL);
    if (g->stop_phase > 2)
        return;
    ev_timer_set(&g->drain, SUPERVISOR_KILL_S, 0.);
    ev_timer_start(g->loop, &g->drain);
}

static void
on_over(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct generation *g = w->data;

    (void)loop, (void)revents;
    g->events->gone(g->arg, g);
}

static void
on_drain(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    generation_press(w->data);
}

void
generation_stop(struct generation *g, bool gently, double drain_s)
{
    if (g->stop_phase)
        return;
    g->stop_phase = 1;
    log_info("event=stopping generation=%u drain_s=%.0f", g->number, drain_s);
    launcher_close_listeners(&g->launcher);
    for (unsigned i = 0; i < g->slots; i++)
        ev_timer_stop(g->loop, &g->children[i].restart);
    for (unsigned i = 1; i < g->slots; i++)
        tell_to_stop(&g->children[i], gently);
    ev_timer_set(&g->drain, drain_s, 0.);
    ev_timer_start(g->loop, &g->drain);
    stop_next(g);
}

void
generation_hurry(struct generation *g, double drain_s)
{
    generation_stop(g, false, drain_s);
    if (g->stop_phase != 1 || g->hurried)
        return;
    g->hurried = true;
    for (unsigned i = 1; i < g->slots; i++)
        tell(&g->children[i], &(struct control_message){ .type = CONTROL_STOP }, -1);
    if (ev_timer_remaining(g->loop, &g->drain) <= drain_s)
        return;
    ev_timer_stop(g->loop, &g->drain);
    ev_timer_set(&g->drain, drain_s, 0.);
    ev_timer_start(g->loop, &g->drain);
}

void
generation_retire(struct generation *g)
{
    if (g->stop_phase)
        return;
    g->retired = true;
    g->launcher.command_fd = -1; /* nor does one have it that is started anew */
    tell(&g->children[POLICY_SLOT], &(struct control_message){ .type = CONTROL_RETIRE }, -1);
}

void
generation_tell_reloaded(struct generation *g, bool done)
{
    tell(&g->children[POLICY_SLOT],
         &(struct control_message){ .type = CONTROL_RELOADED, .value = done }, -1);
}

/* ---- the whole ---- */

static void
init_child(struct generation *g, unsigned slot)
{
    struct child *child = &g->children[slot];
    char suffix[12] = "";

    *child = (struct child){ .g = g, .slot = slot, .control_fd = -1 };
    if (g->number)
        snprintf(suffix, sizeof suffix, ".%u", g->number);
    if (slot == POLICY_SLOT)
        snprintf(child->name, sizeof child->name, "policy%s", suffix);
    else
        snprintf(child->name, sizeof child->name, "worker/%u%s", slot - 1, suffix);
    ev_init(&child->control, on_control);
    ev_init(&child->exit, on_exit_of_child);
    ev_init(&child->restart, on_restart);
    ev_init(&child->leave, on_leave);
    /* libev has reaped the child when it calls: nothing else may use the process id before. */
    ev_set_priority(&child->exit, EV_MAXPRI);
    child->control.data = child->exit.data = child->restart.data = child->leave.data = child;
}

enum result
generation_new(const struct generation_options *options, struct generation **out, char *error,
               size_t error_size)
{
    struct generation *g = calloc(1, sizeof *g);
    enum result res;

    *out = NULL;
    if (!g) {
        snprintf(error, error_size, "no memory");
        return RES_LIMIT;
    }
    g->loop = options->loop;
    g->events = options->events;
    g->arg = options->arg;
    g->setup = *options->setup;
    g->number = options->number;
    g->mode = NO_MODE;
    g->slots = 1 + g->setup.config->workers;
    launcher_init(&g->launcher, &g->setup, g->number, options->command_fd);
    for (unsigned i = 0; i < g->slots; i++)
        init_child(g, i);
    ev_init(&g->drain, on_drain);
    ev_init(&g->over, on_over);
    g->drain.data = g->over.data = g;
    res = launcher_open(&g->launcher, options->older ? &options->older->launcher : NULL, error,
                        error_size);
    if (res != RES_OK) {
        generation_free(g);
        return res;
    }
    g->owned_config = options->owned_config;
    g->owned_text = options->owned_text;
    *out = g;
    return RES_OK;
}

void
generation_free(struct generation *g)
{
    if (!g)
        return;
    ev_timer_stop(g->loop, &g->drain);
    ev_timer_stop(g->loop, &g->over);
    for (unsigned i = 0; i < g->slots; i++)
        ev_timer_stop(g->loop, &g->children[i].restart);
    launcher_clear(&g->launcher);
    config_free(g->owned_config);
    free(g->owned_text);
    free(g);
}

void
generation_start(struct generation *g)
{
    for (unsigned i = 0; i < g->slots; i++)
        start_child(g, &g->children[i]);
}

const struct config *
generation_config(const struct generation *g)
{
    return g->setup.config;
}

unsigned
generation_number(const struct generation *g)
{
    return g->number;
}
