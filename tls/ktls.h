/* tls/ktls.h: records made by the kernel (Documentation/networking/tls.rst): what is sent on the
 * socket is plain text from then on. Sending only; the library goes on reading.
 * Context: worker. ktls_is_available() for everybody, the rest inside tls/ only. */
#ifndef STSGATE_TLS_KTLS_H
#define STSGATE_TLS_KTLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"
#include "base/span.h"

struct write_keys;

/** Has this kernel the module? It is loaded by this question where the process may administer the
 * network. */
bool ktls_is_available(void);

/** Hand the keys to the kernel, for a connected TCP socket. There is no way back. RES_DENIED: the
 * kernel will not; the socket is as it was. */
MUST_CHECK enum result ktls_install(int fd, const struct write_keys *keys);

/** Send one record that is no application data. RES_AGAIN: the socket takes none now. RES_TEMPFAIL:
 * broken. */
MUST_CHECK enum result ktls_send_record(int fd, uint8_t type, struct span plain);

#endif
