/* proxy/status_http.h: the HTTP of the status process, by libmicrohttpd on the event loop: GET and
 * HEAD of three paths, and only for whom asks by a name of ours (a page of somebody else's site,
 * whose name has been pointed at us, does not: DNS rebinding, FAULTS H7). Context: status process.
 *
 * Bounds: STATUS_HTTP_CLIENTS connections, STATUS_HTTP_MEMORY octets of request each, no body,
 * STATUS_HTTP_S seconds from the first octet to the last; one request a connection. */
#ifndef STSGATE_PROXY_STATUS_HTTP_H
#define STSGATE_PROXY_STATUS_HTTP_H

#include "base/clock.h"
#include "proxy/status_state.h"

#define STATUS_HTTP_CLIENTS 64u
#define STATUS_HTTP_MEMORY 16384u
#define STATUS_HTTP_S 10

struct ev_loop;
struct status_http;

/** listen_fd: takes it, listening and non-blocking. address: "ADDRESS:PORT" that it listens at;
 * hostname: of the gateway. All else is borrowed until status_http_free(). NULL: no memory or
 * descriptors. */
struct status_http *status_http_new(struct ev_loop *loop, int listen_fd,
                                    const struct status_state *state, const struct clock *clock,
                                    const char *address, const char *hostname);
void status_http_free(struct status_http *http); /* NULL is allowed */

/** Does the header Host name us? The address, the host name, localhost, with or without a port. */
bool status_http_is_ours(const char *host, const char *address, const char *hostname);

#endif
