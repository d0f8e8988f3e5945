/* proxy/intercept.h: the sockets of interception: listeners, the original destination, the
 * connection to it. PRX-001 ... PRX-004, PRX-054. Context: the supervisor listens, workers do the
 * rest. */
#ifndef STSGATE_PROXY_INTERCEPT_H
#define STSGATE_PROXY_INTERCEPT_H

#include "proxy/config.h"

/** Open a listening socket: non-blocking, closed on exec, sharing its port with other workers'
 * (SO_REUSEPORT), both families on "::", and transparent for INTERCEPT_TPROXY.
 *
 * out_fd  on RES_OK the socket, the caller's to close; otherwise -1
 * error   on anything but RES_OK what is wrong and what to do, NUL-terminated
 *
 * RES_DENIED: a capability is missing; RES_TEMPFAIL: anything else, such as a port in use. */
MUST_CHECK enum result intercept_listen(const struct config_listen *listen, int *out_fd,
                                        char *error, size_t error_size);

/** Where the client of an accepted socket wanted to go. out_port in host order.
 * RES_TEMPFAIL: it cannot be known, e.g. INTERCEPT_REDIRECT and the connection was not redirected;
 * *out is then none. */
MUST_CHECK enum result intercept_destination(int fd, enum intercept kind, struct ip_addr *out,
                                             uint16_t *out_port);

/** Is the address one of this host? Asked anew each time, since addresses come and go. Where it
 * cannot be known (no descriptors left) the answer is true: a connection is refused, not looped. */
bool intercept_is_own(const struct ip_addr *addr);

/** May this destination be dialled (PRX-002, PRX-054)? NULL: yes. Otherwise a word for logs and
 * records, static storage:
 *
 * "destination-unknown"     none
 * "destination-own"         an address of this host: nothing was redirected, or it would loop
 * "destination-undialable"  loopback, link-local, multicast, unspecified, broadcast
 * "destination-port"        not in config->destination_ports
 *
 * known_foreign: it is known not to be this host's; the kernel is not asked. */
const char *intercept_refuses(const struct ip_addr *addr, uint16_t port, bool known_foreign,
                              const struct config *config);

/** Begin to connect: non-blocking, closed on exec, TCP_NODELAY, SO_MARK unless mark is 0. The
 * socket is writable once it is up or has failed (SO_ERROR).
 *
 * source  where the connection is to come from, any address, of addr's family: the kernel picks a
 *         port that is free for this destination (PRX-005). NULL: the gateway's own address
 * out_fd  on RES_OK the socket, the caller's to close; otherwise -1
 * error   on anything but RES_OK why not, NUL-terminated
 *
 * RES_DENIED: the mark may not be set, or the kernel forbids the address; RES_TEMPFAIL: anything
 * else, such as no route. */
MUST_CHECK enum result intercept_connect(const struct ip_addr *source, const struct ip_addr *addr,
                                         uint16_t port, uint32_t mark, int *out_fd, char *error,
                                         size_t error_size);

#endif
