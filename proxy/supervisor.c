#include "proxy/supervisor.h"

#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/command_socket.h"
#include "proxy/config_files.h"
#include "proxy/generation.h"
#include "proxy/status_keeper.h"

#define GENERATIONS_MAX 4u /* one serves, one starts, two finish what they are at */
#define ERROR_MAX 1024u
#define SIGNS_OF_LIFE 3. /* within the time that the service manager waits for one */
#define DAY_S 86400.     /* between two looks at what an operator should know of */

struct place {
    struct generation *g; /* owned; NULL: the place is free */
    bool asks;            /* its operator waits for word of a reload; it does not go before */
};

struct supervisor {
    struct ev_loop *loop;
    const struct supervisor_setup *setup;
    struct place places[GENERATIONS_MAX];
    struct generation *serving; /* of these; NULL before the first is made */
    struct generation *coming;  /* of these, by a reload; NULL: none */
    bool reload_wanted;         /* it has been asked for and is not begun */
    unsigned next_number;
    int command_fd; /* owned; -1 for none */
    struct status_keeper page;
    bool stopping;
    enum supervisor_exit status;
    ev_signal term, intr, hangup;
    ev_timer day;
    ev_timer alive; /* signs of life for the service manager */
};

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

/* ---- generations ---- */

/* NULL: a free one; none of them is: NULL. */
static struct place *
place_of(struct supervisor *s, const struct generation *g)
{
    for (unsigned i = 0; i < GENERATIONS_MAX; i++)
        if (s->places[i].g == g)
            return &s->places[i];
    return NULL;
}

static void
forget(struct supervisor *s, struct generation *g)
{
    *place_of(s, g) = (struct place){ 0 };
    if (s->serving == g)
        s->serving = NULL;
    if (s->coming == g)
        s->coming = NULL;
}

static bool
is_empty(const struct supervisor *s)
{
    for (unsigned i = 0; i < GENERATIONS_MAX; i++)
        if (s->places[i].g)
            return false;
    return true;
}

static void
stop_all(struct supervisor *s)
{
    s->stopping = true;
    service_stopping();
    for (unsigned i = 0; i < GENERATIONS_MAX; i++)
        if (s->places[i].g)
            generation_stop(s->places[i].g, false, SUPERVISOR_DRAIN_S);
}

/* Those before the one that serves get no more clients and end with their sessions. */
static void
retire_older(struct supervisor *s)
{
    for (unsigned i = 0; i < GENERATIONS_MAX; i++) {
        struct place *place = &s->places[i];

        if (!place->g || place->asks || place->g == s->serving || place->g == s->coming)
            continue;
        generation_retire(place->g);
        generation_stop(place->g, true, SUPERVISOR_RETIRE_S);
    }
}

static struct generation *
oldest(const struct supervisor *s)
{
    struct generation *found = NULL;

    for (unsigned i = 0; i < GENERATIONS_MAX; i++) {
        struct generation *g = s->places[i].g;

        if (g && g != s->serving && (!found || generation_number(g) < generation_number(found)))
            found = g;
    }
    return found;
}

/* For `systemctl status`. */
static void
tell_serving(const struct supervisor *s, const char *what)
{
    char text[128];

    if (s->stopping || !s->serving)
        return;
    snprintf(text, sizeof text, "%s; generation %u, %u workers", what,
             generation_number(s->serving), generation_config(s->serving)->workers);
    service_serving(text);
}

/* ---- reloads, one after the other ---- */

static void reload(struct supervisor *s);

/* Whoever asked for the reload hears how it went; but if it has been asked for again meanwhile,
 * only of the last one, which has read what they all have written. */
static void
answer_reload(struct supervisor *s, bool done)
{
    if (s->reload_wanted)
        return;
    for (unsigned i = 0; i < GENERATIONS_MAX; i++)
        if (s->places[i].asks) {
            s->places[i].asks = false;
            generation_tell_reloaded(s->places[i].g, done);
        }
}

/* The reload that is wanted begins once the one before it is over and there is a place for it. So
 * that there will be, the sessions of the oldest configuration are given no more time than they
 * would have if all stopped. */
static void
begin_reload(struct supervisor *s)
{
    if (!s->reload_wanted || s->coming || s->stopping)
        return;
    if (place_of(s, NULL)) {
        s->reload_wanted = false;
        reload(s);
        return;
    }
    log_warn("event=reload-waits generation=%u reason=\"sessions of earlier configurations are "
             "not over; those of the oldest end now, or within %.0f s\"",
             generation_number(oldest(s)), SUPERVISOR_DRAIN_S);
    generation_hurry(oldest(s), SUPERVISOR_DRAIN_S);
}

/* The reload is over, well or not. */
static void
end_reload(struct supervisor *s, bool done, const char *text)
{
    s->coming = NULL;
    answer_reload(s, done);
    if (done)
        retire_older(s);
    tell_serving(s, text);
    begin_reload(s);
}

static void
on_ready(void *arg, struct generation *g)
{
    struct supervisor *s = arg;

    if (g != s->coming) { /* the first */
        tell_serving(s, "serving");
        return;
    }
    log_info("event=reloaded generation=%u", generation_number(g));
    s->serving = g;
    end_reload(s, true, "serving, reloaded");
}

static void
on_failed(void *arg, struct generation *g)
{
    struct supervisor *s = arg;

    if (g == s->coming) {
        log_error("event=reload-refused generation=%u reason=\"it cannot start; the configuration "
                  "before it stays\"",
                  generation_number(g));
        generation_stop(g, false, 0.);
        end_reload(s, false, "serving; the last reload failed");
        return;
    }
    s->status = SUPERVISOR_CONFIG;
    stop_all(s);
}

static void
on_gone(void *arg, struct generation *g)
{
    struct supervisor *s = arg;
    unsigned number = generation_number(g);

    forget(s, g);
    generation_free(g);
    log_info("event=generation-gone generation=%u", number);
    if (is_empty(s))
        ev_break(s->loop, EVBREAK_ALL);
    begin_reload(s);
}

static void
on_reload_asked(void *arg, struct generation *g)
{
    struct supervisor *s = arg;

    if (g != s->serving || s->stopping) {
        generation_tell_reloaded(g, false);
        return;
    }
    place_of(s, g)->asks = true;
    s->reload_wanted = true;
    begin_reload(s);
}

/* The operator's command; as SIGTERM. */
static void
on_drain_asked(void *arg)
{
    struct supervisor *s = arg;

    if (!s->stopping)
        stop_all(s);
}

/* ---- the status process ---- */

static bool
has_status(void *arg)
{
    const struct supervisor *s = arg;

    return status_keeper_is_on(&s->page);
}

static void
on_link_status(void *arg, int fd)
{
    struct supervisor *s = arg;

    status_keeper_link(&s->page, fd);
}

static void
on_status_started(void *arg)
{
    struct supervisor *s = arg;

    for (unsigned i = 0; i < GENERATIONS_MAX; i++)
        if (s->places[i].g)
            generation_link_status(s->places[i].g);
}

static const struct generation_events events = {
    .ready = on_ready,
    .failed = on_failed,
    .gone = on_gone,
    .reload = on_reload_asked,
    .drain = on_drain_asked,
    .has_status = has_status,
    .link_status = on_link_status,
};

/* There is a place for it. config and text: NULL for the first, which borrows them from the setup.
 */
static enum result
add_generation(struct supervisor *s, struct config *config, char *text, size_t text_len,
               struct generation **out, char *error, size_t error_size)
{
    struct supervisor_setup setup = *s->setup;
    struct place *place = place_of(s, NULL);
    enum result res;

    if (config) {
        setup.config = config;
        setup.config_text = span_make(text, text_len);
    }
    res = generation_new(&(struct generation_options){ .loop = s->loop,
                                                       .setup = &setup,
                                                       .owned_config = config,
                                                       .owned_text = text,
                                                       .number = s->next_number,
                                                       .older = s->serving,
                                                       .command_fd = s->command_fd,
                                                       .events = &events,
                                                       .arg = s },
                         out, error, error_size);
    if (res == RES_OK) {
        place->g = *out;
        s->next_number++;
    }
    return res;
}

/* ---- reload ---- */

/* What only a restart can change; NULL: nothing of it. */
static const char *
needs_restart(const struct config *old, const struct config *new)
{
    if (new->workers < old->workers)
        return "fewer workers need a restart: connections wait in their queues";
    if (strcmp(new->control_socket, old->control_socket) != 0)
        return "another control_socket needs a restart";
    if (strcmp(new->status_listen, old->status_listen) != 0)
        return "another status_listen needs a restart";
    return NULL;
}

static void
log_warning(void *arg, const char *text)
{
    char quoted[512];

    (void)arg;
    log_warn("event=config-warning text=%s", log_quote(quoted, sizeof quoted, span_of(text)));
}

/* The configuration as it is in the file now, good for a new generation. */
static bool
read_config(struct supervisor *s, struct config **out, char **out_text, size_t *out_len,
            char *error, size_t error_size)
{
    const char *why;

    *out_text = NULL;
    if (config_read(s->setup->config_name, out, out_text, out_len, error, error_size) != RES_OK)
        return false;
    why = needs_restart(generation_config(s->serving), *out);
    if (why)
        snprintf(error, error_size, "%s", why);
    if (!why && config_check_files(*out, error, error_size) == RES_OK)
        return true;
    config_free(*out);
    free(*out_text);
    return false;
}

static void
reload(struct supervisor *s)
{
    char error[ERROR_MAX], quoted[ERROR_MAX];
    struct config *config;
    char *text;
    size_t len;

    service_reloading();
    if (!read_config(s, &config, &text, &len, error, sizeof error))
        goto refused;
    if (add_generation(s, config, text, len, &s->coming, error, sizeof error) != RES_OK) {
        config_free(config);
        free(text);
        goto refused;
    }
    log_init("stsgate", config->log_level);
    log_info("event=reload generation=%u", generation_number(s->coming));
    config_warnings(config, (int64_t)ev_time(), log_warning, NULL);
    generation_start(s->coming);
    return;
refused:
    log_error("event=reload-refused reason=%s", log_quote(quoted, sizeof quoted, span_of(error)));
    end_reload(s, false, "serving; the last reload was refused");
}

/* An override ends while nobody restarts anything. */
static void
on_day(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct supervisor *s = w->data;

    (void)loop, (void)revents;
    if (s->serving)
        config_warnings(generation_config(s->serving), (int64_t)ev_time(), log_warning, NULL);
}

static void
on_alive(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)w, (void)revents;
    service_alive();
}

/* ---- signals ---- */

static void
on_hangup(struct ev_loop *loop, ev_signal *w, int revents)
{
    struct supervisor *s = w->data;

    (void)loop, (void)revents;
    s->reload_wanted = true;
    begin_reload(s);
}

static void
on_stop_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
    struct supervisor *s = w->data;

    (void)loop, (void)revents;
    if (!s->stopping) {
        stop_all(s);
        return;
    }
    for (unsigned i = 0; i < GENERATIONS_MAX; i++)
        if (s->places[i].g)
            generation_press(s->places[i].g);
}

/* ---- the whole ---- */

static bool
set_up(struct supervisor *s)
{
    s->loop = ev_default_loop(EVFLAG_NOENV);
    if (!s->loop) {
        log_error("event=start-failed reason=\"no event loop\"");
        return false;
    }
    /* Not to be killed by a log pipe whose reader is gone. */
    (void)signal(SIGPIPE, SIG_IGN);
    ev_signal_init(&s->term, on_stop_signal, SIGTERM);
    ev_signal_init(&s->intr, on_stop_signal, SIGINT);
    ev_signal_init(&s->hangup, on_hangup, SIGHUP);
    ev_timer_init(&s->day, on_day, DAY_S, DAY_S);
    s->term.data = s->intr.data = s->hangup.data = s->day.data = s;
    ev_timer_start(s->loop, &s->day);
    ev_timer_init(&s->alive, on_alive, 0., service_watchdog_s() / SIGNS_OF_LIFE);
    if (s->alive.repeat > 0.)
        ev_timer_again(s->loop, &s->alive);
    ev_signal_start(s->loop, &s->term);
    ev_signal_start(s->loop, &s->intr);
    ev_signal_start(s->loop, &s->hangup);
    return true;
}

static void
tear_down(struct supervisor *s)
{
    ev_signal_stop(s->loop, &s->term);
    ev_signal_stop(s->loop, &s->intr);
    ev_signal_stop(s->loop, &s->hangup);
    ev_timer_stop(s->loop, &s->day);
    ev_timer_stop(s->loop, &s->alive);
    status_keeper_stop(&s->page);
    ev_loop_destroy(s->loop);
    command_socket_close(s->setup->config->control_socket, s->command_fd);
}

/* Without it mail flows all the same; the operator's commands do not arrive. */
static void
open_commands(struct supervisor *s)
{
    const char *path = s->setup->config->control_socket;
    char error[ERROR_MAX];

    s->command_fd = -1;
    if (*path && command_socket_open(path, &s->command_fd, error, sizeof error) != RES_OK)
        log_error(
            "event=no-control-socket path=%s reason=\"%s\" consequence=\"stsgate status and the "
            "other commands do not reach this gateway\"",
            path, error);
}

enum supervisor_exit
supervisor_run(const struct supervisor_setup *setup)
{
    struct supervisor s = { .setup = setup, .command_fd = -1 };
    char error[ERROR_MAX];
    enum result res;

    if (!set_up(&s))
        return SUPERVISOR_FAILED;
    open_commands(&s);
    status_keeper_start(&s.page, s.loop, setup->status_path, setup->config->status_listen,
                        setup->config->hostname, setup->config->user, on_status_started, &s);
    res = add_generation(&s, NULL, NULL, 0, &s.serving, error, sizeof error);
    if (res == RES_OK) {
        generation_start(s.serving);
        ev_run(s.loop, 0);
        log_info("event=stopped status=%d", (int)s.status);
    } else {
        log_error("event=start-failed reason=\"%s\"", error);
        s.status = res == RES_LIMIT ? SUPERVISOR_FAILED : SUPERVISOR_CONFIG;
    }
    tear_down(&s);
    return s.status;
}
