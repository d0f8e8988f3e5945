/* proxy/launcher.h: what every child is started with: the sealed configuration, the listening
 * sockets, the command line (proxy/child_channel.h). Context: supervisor. */
#ifndef STSGATE_PROXY_LAUNCHER_H
#define STSGATE_PROXY_LAUNCHER_H

#include "proxy/config.h"
#include "proxy/control_msg.h"

#include <sys/types.h>

#define LAUNCH_POLICY CONTROL_WORKERS_MAX /* as index: the policy process */

struct supervisor_setup;

struct launcher {
    const struct supervisor_setup *setup; /* borrowed */
    int command_fd;                       /* borrowed; -1 for none */
    unsigned generation;
    int config_fd;                                          /* owned; -1 when closed */
    int listen_fds[CONTROL_WORKERS_MAX][CONFIG_LISTEN_MAX]; /* owned; -1 when closed */
};

/** setup: borrowed until launcher_clear(). command_fd: the listening control socket, borrowed; -1:
 * none. generation: its number. Opens nothing. */
void launcher_init(struct launcher *l, const struct supervisor_setup *setup, unsigned generation,
                   int command_fd);
void launcher_clear(struct launcher *l);

/** Seal the configuration and open one socket per worker and listener. older: whose sockets are
 * taken, as copies, where both configurations have the same listener; NULL for none.
 * error: on anything but RES_OK what is wrong, NUL-terminated.
 * RES_LIMIT: no memory or descriptors; others as intercept_listen(). */
MUST_CHECK enum result launcher_open(struct launcher *l, const struct launcher *older, char *error,
                                     size_t error_size);

/** From now on connections are refused, once the workers have closed theirs, too. */
void launcher_close_listeners(struct launcher *l);

/** Start worker `index`, or the policy process, with its end of a control channel, which is
 * borrowed. RES_LIMIT: as child_process_start(). */
MUST_CHECK enum result launcher_start(const struct launcher *l, unsigned index, int control_fd,
                                      pid_t *out_pid);

#endif
