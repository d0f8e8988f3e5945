/* proxy/admission.h: how many sessions a client may have at a time, and what else is remembered of
 * clients (PRX-044, PRX-049). Context: worker; each worker counts its own. Pure: no I/O.
 * A client is an IPv4 address, or the first 64 bits of one of IPv6: who has one has them all. */
#ifndef STSGATE_PROXY_ADMISSION_H
#define STSGATE_PROXY_ADMISSION_H

#include "proxy/record.h"

#define ADMISSION_CLIENTS_MAX 65536u /* remembered without an open session */

struct admission;

/** config: borrowed until admission_free(). NULL: no memory. */
struct admission *admission_new(const struct config *config);
void admission_free(struct admission *a); /* NULL is allowed */

/** One more session. NULL: admitted, admission_leave() follows. Otherwise a word for the log,
 * static storage: "too-many-sessions", "too-many-sessions-of-client",
 * "too-many-sessions-of-section", "no-memory". */
const char *admission_enter(struct admission *a, const struct record_session_info *info);
void admission_leave(struct admission *a, const struct record_session_info *info);

/** Sessions that are open. */
unsigned admission_open(const struct admission *a);

/** An open session has ended without mail though the MX lists STARTTLS: how many of this client
 * have, as far as it is remembered. */
unsigned admission_left(struct admission *a, const struct ip_addr *client);

#endif
