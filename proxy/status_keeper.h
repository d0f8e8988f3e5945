/* proxy/status_keeper.h: keeps the status process: the only one that speaks HTTP, and it knows
 * nothing but what the policy processes tell it over a link each. It outlives reloads, so that its
 * sums of the day do. No mail depends on it: where it cannot be had the log says so, and all else
 * goes on. Context: supervisor. */
#ifndef STSGATE_PROXY_STATUS_KEEPER_H
#define STSGATE_PROXY_STATUS_KEEPER_H

#include "base/result.h"

#include <ev.h>
#include <stdbool.h>

struct status_keeper {
    struct ev_loop *loop;
    const char *path, *address, *hostname, *user; /* borrowed */
    void (*started)(void *arg); /* a new process: all links are to be made again */
    void *arg;
    int listen_fd;  /* owned; -1: there is no status page, or the address is not free yet */
    bool told;      /* that it is not */
    int control_fd; /* owned; -1 while the process is away */
    unsigned deaths;
    ev_tstamp started_at;
    ev_child exit;
    ev_timer restart;
};

/** Listen on address ("ADDRESS:PORT"; "": nowhere) and start the program. path: "" where it is
 * missing. hostname: of the gateway, a name that browsers may ask it by. user: that it becomes. All
 * strings are borrowed until status_keeper_stop(). started: called from here and after every
 * restart. */
void status_keeper_start(struct status_keeper *k, struct ev_loop *loop, const char *path,
                         const char *address, const char *hostname, const char *user,
                         void (*started)(void *arg), void *arg);

/** fd: takes it, the status process's end of a link to a policy process. */
void status_keeper_link(struct status_keeper *k, int fd);

/** Is there a process now? */
bool status_keeper_is_on(const struct status_keeper *k);

/** The process ends. */
void status_keeper_stop(struct status_keeper *k);

#endif
