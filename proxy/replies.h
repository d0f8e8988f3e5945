/* proxy/replies.h: every reply the gateway gives itself: the one table of texts, CONFORMANCE 10.
 * Context: worker. Pure. No other file holds reply text. */
#ifndef STSGATE_PROXY_REPLIES_H
#define STSGATE_PROXY_REPLIES_H

#include "base/span.h"
#include "base/verdict.h"

#define REPLY_MAX_BYTES 512u /* with CRLF, RFC 5321 4.5.3.1.5 (REP-001) */

/* What the texts may name; a field that a row does not use may be NULL. Bytes that are not
 * printable ASCII become "?", and the text is cut to fit (REP-001). */
struct reply_args {
    const char *gateway;     /* <gw>, the configured host name */
    const char *domain;      /* <Domain>, A-labels */
    const char *reason;      /* <Reason> */
    const char *tls_version; /* <Observed TLS version> */
    const char *ip;          /* <ip> of the destination */
};

/** Write the row's one line with CRLF and a NUL behind it. Returns its length without the NUL.
 * row: not REPLY_NONE. dst: REPLY_MAX_BYTES + 1 bytes. */
size_t reply_write(enum reply_row row, const struct reply_args *args,
                   char dst[REPLY_MAX_BYTES + 1]);

/** The reply code, 200 .. 599, e.g. 451. */
unsigned reply_code(enum reply_row row);

/** CONFORMANCE ID, e.g. "REP-013". Static storage. */
const char *reply_id(enum reply_row row);

#endif
