/* proxy/smtp_reply.h: replies of the MX, RFC 5321 4.2. An incremental reader with a bound.
 * Context: worker. Pure: no I/O. */
#ifndef STSGATE_PROXY_SMTP_REPLY_H
#define STSGATE_PROXY_SMTP_REPLY_H

#include "base/buffer.h"

#define SMTP_REPLY_MAX_BYTES 65536u /* all lines of one reply (SMTP-032) */
#define SMTP_REPLY_MAX_LINES 512u   /* ours: a greeting or EHLO list is far below */

struct smtp_reply {
    unsigned code;    /* 200 .. 599 */
    struct span text; /* the whole reply, every line ended by CRLF, code included; as relayed to a
                       * client octet for octet (SMTP-034), only line ends made CRLF */
    size_t lines;     /* 1 .. SMTP_REPLY_MAX_LINES */
};

/* Collects the bytes of one reply at a time. */
struct smtp_reply_reader {
    struct buffer text; /* lines taken so far, CRLF-ended */
    size_t line_start;  /* where the line that is being read begins in text */
    size_t lines;
    unsigned code; /* of the first line; 0 before */
    bool saw_cr;
    bool complete; /* the reply handed out is still in text */
};

void smtp_reply_reader_init(struct smtp_reply_reader *r);
void smtp_reply_reader_clear(struct smtp_reply_reader *r);

/** Take bytes up to the end of one reply and no further.
 *
 * out_used  how many bytes of input were taken: exactly to the final LF on RES_OK, all on RES_AGAIN
 * out       on RES_OK the reply; text is borrowed from r until its next call
 *
 * RES_AGAIN   the reply is not complete yet
 * RES_SYNTAX  no reply: not three digits with the first 2 .. 5, then "-", a blank or the line's
 * end; another code in a continuation line; a NUL; a bare CR (SMTP-030, SMTP-032). A line may end
 * with a bare LF (SMTP-033). Octets >= 0x80 and other controls pass as they are. RES_LIMIT   beyond
 * SMTP_REPLY_MAX_BYTES or _LINES RES_NOMEM After anything but RES_OK and RES_AGAIN the connection
 * is of no use. */
MUST_CHECK enum result smtp_reply_read(struct smtp_reply_reader *r, struct span input,
                                       size_t *out_used, struct smtp_reply *out);

/** Has the reader taken part of a reply? (then an end of file is a cut reply, TLS-027) */
bool smtp_reply_is_partial(const struct smtp_reply_reader *r);

/** The n-th line (0 ..) of a reply without code, separator and CRLF. Empty span beyond the end. */
struct span smtp_reply_line(const struct smtp_reply *reply, size_t n);

#endif
