/* proxy/replies.h: every reply the gateway gives itself: the one table of texts,
 * docs/requirements.md 10. Context: worker. Pure. No other file holds reply text. */
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

/* How the operator wants it said; all zero: the table as it stands. */
struct reply_style {
    bool permanent;         /* 5xx where the row has a class (REP-020 ... REP-024, REP-030 ...) */
    bool policy_code;       /* permanent MTA-STS failures are 550, not 551 (REP-006) */
    bool closing;           /* 421 in place of the row's code: the connection ends (PRX-046) */
    const char *text;       /* in place of what stands behind the codes (REP-004); or NULL */
    const char *session_id; /* ends the text with " [sg:ID]" (REP-007); or NULL */
};

#define REPLY_TEXT_MAX 400u /* octets of a text of the operator's */

/** Write the row's one line with CRLF and a NUL behind it. Returns its length without the NUL.
 * row: not REPLY_NONE. style: NULL for none. dst: REPLY_MAX_BYTES + 1 bytes. */
size_t reply_write(enum reply_row row, const struct reply_args *args,
                   const struct reply_style *style, char dst[REPLY_MAX_BYTES + 1]);

/** The reply code, 200 .. 599, e.g. 451, of the temporary profile. */
unsigned reply_code(enum reply_row row);

enum reply_class reply_class(enum reply_row row);

/** The requirement, e.g. "REP-013", or "REP-024" in the permanent profile. Static storage. */
const char *reply_id(enum reply_row row, bool permanent);

/** Is there a row of that ID of the temporary profile? */
bool reply_exists(const char *id);

/** May this stand in place of a text of ours? 1 .. REPLY_TEXT_MAX octets of printable ASCII; what
 * stands between "<" and ">" is one of the arguments (REP-001, REP-006). */
bool reply_text_is_valid(const char *text);

#endif
