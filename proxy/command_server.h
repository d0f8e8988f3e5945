/* proxy/command_server.h: serves the control socket: `stsgate status`, `sessions`, `policy`,
 * `mode`, `reload`, `drain`. Context: policy process, on its event loop. Only root and the user the
 * process runs as are heard. */
#ifndef STSGATE_PROXY_COMMAND_SERVER_H
#define STSGATE_PROXY_COMMAND_SERVER_H

#include "policy/inspect.h"
#include "policy/policy_admin.h"
#include "policy/rules.h"

#include <stdbool.h>

#define COMMAND_CLIENTS_MAX 16u
#define COMMAND_IDLE_S 10.     /* for a client that is to say or to take something */
#define COMMAND_REFRESH_S 150. /* a fetch may take that long */

struct ev_loop;
struct command_server;
struct gateway_status;
struct session_page;

struct command_server_config {
    struct ev_loop *loop; /* borrowed, like all here, until command_server_free() */
    int listen_fd;        /* taken: a listening UNIX socket, closed by command_server_stop(); -1:
                           * none, command_server_adopt() is all */
    struct policy_admin *admin;
    const struct inspect_config *inspect;
    /** The roll-out in force; *out_by_command: an operator has set it since the start. */
    const struct rollout *(*mode)(void *arg, bool *out_by_command);
    void (*set_mode)(void *arg, const struct rollout *rollout);
    /** Ask for a reload: command_server_reloaded() follows. False: it cannot be asked. */
    bool (*reload)(void *arg);
    /** Ask that all finish and end. False: it cannot be asked. */
    bool (*drain)(void *arg);
    struct gateway_status *status;
    unsigned workers;
    void *arg;
};

/** config: copied. NULL: no memory. */
struct command_server *command_server_new(const struct command_server_config *config);

/** Serve a client on a connected stream socket, non-blocking, which is taken and whose right to
 * command is beyond question. RES_NOMEM. */
MUST_CHECK enum result command_server_adopt(struct command_server *server, int fd);

/** No client is heard any more. Look-ups that they asked for may still end. */
void command_server_stop(struct command_server *server);

/** When no look-up can end any more. NULL is allowed. */
void command_server_free(struct command_server *server);

/** A worker has answered gateway_status_ask(). */
void command_server_page(struct command_server *server, unsigned worker,
                         const struct session_page *page);

/** The supervisor has answered: all who asked are told. */
void command_server_reloaded(struct command_server *server, bool done);

#endif
