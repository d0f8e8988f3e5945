/* proxy/generation.h: the policy process and the workers that go by one configuration: started,
 * linked, started again when they die, stopped. A reload makes a new generation beside the one that
 * serves (proxy/supervisor.h). Context: supervisor. */
#ifndef STSGATE_PROXY_GENERATION_H
#define STSGATE_PROXY_GENERATION_H

#include "proxy/supervisor.h"

struct ev_loop;
struct generation;

/* What a generation tells the supervisor. Only gone() may free it. */
struct generation_events {
    void (*ready)(void *arg, struct generation *g); /* all children serve, for the first time */
    /** It cannot start: a child ended SUPERVISOR_TRIES times, or once if it is not the first
     * generation, before it was ready. */
    void (*failed)(void *arg, struct generation *g);
    void (*gone)(void *arg, struct generation *g);   /* stopped, and no process is left */
    void (*reload)(void *arg, struct generation *g); /* its policy process asks for one */
    void (*drain)(void *arg);                        /* it asks that all finish and end */
    bool (*has_status)(void *arg);                   /* is there a status process now? */
    /** fd: takes it, the status process's end of a link to the policy process. */
    void (*link_status)(void *arg, int fd);
};

/** setup: its strings and config are borrowed, unless owned_config and owned_text (setup->config,
 * setup->config_text) are given, which it frees. number: 0 for the first. older: lends the
 * listening sockets that both configurations have, or NULL. command_fd: the listening control
 * socket, borrowed, -1 for none.
 *
 * out    on RES_OK a generation that has its sockets and no process yet; otherwise NULL
 * error  otherwise what is wrong, NUL-terminated
 *
 * RES_LIMIT: no memory or descriptors; others as intercept_listen(). */
struct generation_options {
    struct ev_loop *loop;
    const struct supervisor_setup *setup;
    struct config *owned_config;
    char *owned_text;
    unsigned number;
    const struct generation *older;
    int command_fd;
    const struct generation_events *events;
    void *arg; /* of the events */
};
MUST_CHECK enum result generation_new(const struct generation_options *options,
                                      struct generation **out, char *error, size_t error_size);

/** After gone(), or before the start. NULL is allowed. */
void generation_free(struct generation *g);

void generation_start(struct generation *g);

/** No new clients; workers finish what they are at, then the policy process goes. gently: another
 * generation serves, so clients that have just come are not sent away. After drain_s comes SIGTERM
 * for the workers, which end their sessions; SUPERVISOR_KILL_S later SIGKILL for all. Again:
 * nothing. gone() follows. */
void generation_stop(struct generation *g, bool gently, double drain_s);

/** One that stops gently stops as all do: sessions between two mails end now, and drain_s is all
 * that is left for the others, counted from now. Again: nothing. */
void generation_hurry(struct generation *g, double drain_s);

/** What still runs gets the next signal now. */
void generation_press(struct generation *g);

/** Its policy process leaves commands and store to a newer generation. Before generation_stop(). */
void generation_retire(struct generation *g);

/** Answer its policy process's CONTROL_RELOAD. */
void generation_tell_reloaded(struct generation *g, bool done);

/** The status process is another one now: link_status() comes again, if the policy process runs. */
void generation_link_status(struct generation *g);

const struct config *generation_config(const struct generation *g);
unsigned generation_number(const struct generation *g);

#endif
