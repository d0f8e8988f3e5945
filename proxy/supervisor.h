/* proxy/supervisor.h: starts the policy process and the workers, links them, starts them again when
 * they die, and stops them. Context: the supervisor, which reads nothing from a network and links
 * no library that does. One libev loop, the default one.
 *
 * It holds one listening socket per worker and listener, open for as long as it runs: what arrives
 * while a worker is away waits in that socket's queue, and the worker started next takes it.
 *
 * The workers and the policy process are linked in pairs, one SEQPACKET socket pair each; whenever
 * either side is started, both get a new pair (CONTROL_POLICY_LINK).
 *
 * Reloading (SIGHUP, CONTROL_RELOAD): the file is read again. A mistake in it is told, and all
 * stays as it is. Else a new generation of children is started (proxy/generation.h) with copies of
 * the listening sockets; once all of it serves, the older one gets no more clients and finishes the
 * sessions it has, for up to SUPERVISOR_RETIRE_S. If it cannot start, the older one stays. One that
 * is asked for while another is under way begins after it; one for which there is no place waits
 * until the oldest generation has ended, which has SUPERVISOR_DRAIN_S from then on.
 *
 * Each generation executes the programs as they are on disk then: after an upgrade of the package a
 * reload is all that workers and policy process need. The supervisor itself is replaced by a
 * restart; where the service manager holds the listening sockets (proxy/service.h), connections
 * wait in their queues meanwhile.
 *
 * Stopping (SIGTERM, SIGINT; PRX-048): the listening sockets are closed, the workers get
 * CONTROL_STOP, and once they are gone the policy process, which they need up to then. Workers that
 * still run after SUPERVISOR_DRAIN_S get SIGTERM: each session that is left hears 421 and is
 * recorded. SUPERVISOR_KILL_S later all get SIGKILL. A second signal cuts the drain short. */
#ifndef STSGATE_PROXY_SUPERVISOR_H
#define STSGATE_PROXY_SUPERVISOR_H

#include "proxy/config.h"
#include "proxy/service.h"

#define SUPERVISOR_DRAIN_S 30.0
#define SUPERVISOR_RETIRE_S                                                                        \
    900.0 /* for the sessions of a generation that a reload has replaced                           \
           */
#define SUPERVISOR_KILL_S                                                                          \
    5.0                          /* between SIGTERM and SIGKILL; also what a child may live on     \
                                  * without its control channel */
#define SUPERVISOR_STEADY_S 60.0 /* a child that served that long has a clean record */
#define SUPERVISOR_BACKOFF_MIN_MS 100u
#define SUPERVISOR_BACKOFF_MAX_MS 10000u
#define SUPERVISOR_TRIES 3u /* of a child that never was ready, at the first start */

enum supervisor_exit {
    SUPERVISOR_OK = 0,     /* stopped as asked */
    SUPERVISOR_FAILED = 1, /* no memory, no descriptors, no event loop */
    SUPERVISOR_CONFIG = 2, /* a listener cannot be opened, a program is missing, or a child cannot
                            * start with this configuration; it is in the log */
};

struct supervisor_setup {
    const char *config_name; /* for messages of the children */
    struct span config_text; /* what `config` was parsed from; children parse the same bytes */
    const struct config *config;
    const char *worker_path, *policy_path;
    const struct service_sockets *sockets; /* that the service manager holds */
    const char *status_path; /* "": it is missing, and nobody can look at a status page */
    int64_t started_s;       /* wall clock: when all began */
};

/** Run until stopped. setup: borrowed for the call. */
enum supervisor_exit supervisor_run(const struct supervisor_setup *setup);

/** How long a child stays away after its n-th death in a row, n >= 1: 0 the first time, then
 * SUPERVISOR_BACKOFF_MIN_MS, doubling up to SUPERVISOR_BACKOFF_MAX_MS. */
unsigned supervisor_backoff_ms(unsigned deaths);

#endif
