/* proxy/service.h: what the supervisor and systemd tell each other (Type=notify, WatchdogSec=,
 * socket units). Without systemd every call is well and does nothing. Context: supervisor. */
#ifndef STSGATE_PROXY_SERVICE_H
#define STSGATE_PROXY_SERVICE_H

#include <stddef.h>

#include "proxy/config.h"

/* Listening sockets that the service manager holds: they are there before the gateway is, and while
 * it is replaced, so that nobody is turned away meanwhile. Owned, open as long as the supervisor.
 */
struct service_sockets {
    int fds[CONFIG_LISTEN_MAX];
    size_t count;
};

/** Take them over, once, at the start. error: on anything but RES_OK what is wrong, NUL-terminated.
 * RES_LIMIT: more than CONFIG_LISTEN_MAX. RES_SYNTAX: one is no listening TCP socket. */
MUST_CHECK enum result service_sockets_take(struct service_sockets *out, char *error,
                                            size_t error_size);
void service_sockets_close(struct service_sockets *sockets);

/** A copy of the one that is bound as `listen` says, for one worker; closed on exec, non-blocking.
 * All workers then share one queue.
 *
 * out_fd  on RES_OK the caller's to close, -1 when there is none; otherwise -1
 * error   otherwise what is wrong, NUL-terminated
 * RES_DENIED: it is not transparent, which `listen_tproxy` needs. RES_LIMIT: no descriptors. */
MUST_CHECK enum result service_sockets_copy(const struct service_sockets *sockets,
                                            const struct config_listen *listen, int *out_fd,
                                            char *error, size_t error_size);

/** All children serve, for the first time or after a reload, or a reload was refused; text: one
 * line for `systemctl status`. */
void service_serving(const char *text);
void service_reloading(void);
void service_stopping(void);

/** Seconds between two signs of life that the service manager waits for; 0: it waits for none. */
double service_watchdog_s(void);
void service_alive(void);

#endif
