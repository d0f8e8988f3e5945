/* proxy/child_channel.h: what a worker and the policy process get from the supervisor: their
 * arguments, the configuration and the control channel. Context: worker, policy process.
 *
 *     stsgate-worker --index 0 --config-fd 3 --config-name FILE --control-fd 4 --listen-fds 5,6
 *     stsgate-policy --generation 0 --started 1795000000
 *                              --config-fd 3 --config-name FILE --control-fd 4 --command-fd 5
 *     stsgate-policy           --config-fd 3 --config-name FILE --control-fd 4 --check-fd 5
 *
 * A child in short:
 *
 *     child_args_parse(argc, argv, CHILD_WORKER, &args, error, sizeof error)   on failure exit 2
 *     child_config(&args, &config, error, sizeof error)                        on failure exit 2
 *     child_channel_init(&channel, &args)
 *     ... set up, then child_channel_send_ready(&channel)
 *     ... when child_channel_fd() is readable: child_channel_recv() until RES_AGAIN
 *
 * CONTROL_POLICY_LINK may come before or after READY has been sent, and again whenever the other
 * side was started anew: the new descriptor replaces the old one, and whatever was open on the old
 * one is answered by nobody. It is a SEQPACKET socket, non-blocking, closed on exec; its other end
 * belongs to the policy process (in a worker) or to worker `worker` (in the policy process).
 *
 * CONTROL_STOP: a worker first closes its listening sockets (the supervisor has closed its own
 * copies), ends its sessions (PRX-048) and exits with 0; the policy process gets it once the
 * workers are gone. After SUPERVISOR_DRAIN_S comes SIGTERM, then SIGKILL (proxy/supervisor.h).
 *
 * Signals: SIGTERM (late in a stop, or because the supervisor died) means no more clients, and
 * exit; a worker whose supervisor is dead has SUPERVISOR_DRAIN_S for its sessions. SIGINT and
 * SIGHUP are ignored in a child and stay so; all others are at their defaults.
 *
 * A child that finds a mistake in what the configuration names (an unreadable CA file) says so in
 * its log and exits with 2; the supervisor gives up when it has been so three times at the first
 * start. */
#ifndef STSGATE_PROXY_CHILD_CHANNEL_H
#define STSGATE_PROXY_CHILD_CHANNEL_H

#include "proxy/config.h"
#include "proxy/control_msg.h"

enum child_role { CHILD_WORKER, CHILD_POLICY };

struct child_args {
    enum child_role role;
    unsigned index;          /* of the worker, 0 ..; 0 in the policy process */
    int config_fd;           /* the configuration's bytes, a sealed memory file */
    const char *config_name; /* for messages; points into argv */
    int control_fd;
    int command_fd; /* policy process: the listening control socket; -1 for none */
    int check_fd;   /* policy process: the socket of `stsgate check`, for which alone it runs and
                     * leaves no trace; -1 for none */
    unsigned generation;               /* policy process: of the configuration, 0 the first */
    int64_t started_s;                 /* policy process: when the gateway started, wall clock */
    int listen_fds[CONFIG_LISTEN_MAX]; /* worker: listening, non-blocking; in the order of
                                        * config->listen */
    size_t listen_count;
};

/** Read the command line, and mark the descriptors that it names closed on exec.
 * error: on anything but RES_OK what is wrong, NUL-terminated.
 * RES_SYNTAX: an unknown, missing or malformed argument, a descriptor that is not open. */
MUST_CHECK enum result child_args_parse(int argc, char **argv, enum child_role role,
                                        struct child_args *out, char *error, size_t error_size);

/** Parse the configuration from args->config_fd, which may be closed afterwards.
 * out    on RES_OK a new config the caller owns; on anything else NULL
 * error  as by config_parse()
 * RES_SYNTAX: not sealed against change, or as many listeners as descriptors are missing;
 * RES_LIMIT, RES_NOMEM: as config_parse(). */
MUST_CHECK enum result child_config(const struct child_args *args, struct config **out, char *error,
                                    size_t error_size);

struct child_channel {
    int fd; /* owned; -1 once closed */
    enum child_role role;
    unsigned index;
};

/** Takes args->control_fd and makes it non-blocking. */
void child_channel_init(struct child_channel *channel, const struct child_args *args);

/** Closes the descriptor. */
void child_channel_clear(struct child_channel *channel);

/** For the event loop: wait until it is readable. */
int child_channel_fd(const struct child_channel *channel);

/** Receive one message: CONTROL_POLICY_LINK or CONTROL_STOP; in the policy process also
 * CONTROL_RELOADED, CONTROL_MODE, CONTROL_RETIRE or CONTROL_STATUS_LINK.
 *
 * out_fd  with CONTROL_POLICY_LINK and CONTROL_STATUS_LINK the descriptor, the caller's to close;
 * otherwise -1
 *
 * RES_AGAIN   nothing there: wait until readable
 * RES_SYNTAX  a message that this child must not get, of this worker or at all; taken and dropped
 * RES_DENIED  the supervisor is gone: exit, nobody will say STOP */
MUST_CHECK enum result child_channel_recv(struct child_channel *channel,
                                          struct control_message *out, int *out_fd);

/** Say that the child serves, once. RES_DENIED: the supervisor is gone. RES_AGAIN: cannot happen
 * unless the queue is full of earlier messages; exit. */
MUST_CHECK enum result child_channel_send_ready(struct child_channel *channel);

/** From the policy process: CONTROL_RELOAD, CONTROL_DRAIN, or CONTROL_MODE with its value. Results
 * as above. */
MUST_CHECK enum result child_channel_send(struct child_channel *channel, enum control_type type,
                                          unsigned value);

#endif
