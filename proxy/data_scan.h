/* proxy/data_scan.h: finds the end of message data, and what another parser might take for it.
 * RFC 5321 4.1.1.4, SMTP-042 ... SMTP-044. Context: worker. Pure. One pass, whatever the split. */
#ifndef STSGATE_PROXY_DATA_SCAN_H
#define STSGATE_PROXY_DATA_SCAN_H

#include "base/span.h"

struct data_scan {
    unsigned char state; /* of the automaton: what the octets just before amount to */
};

enum data_verdict {
    DATA_MORE,      /* all of it (up to *out_pass) is content, and the message goes on */
    DATA_END,       /* CRLF "." CRLF was found; *out_pass includes its last LF */
    DATA_AMBIGUOUS, /* a "." alone on a line, but for NULs, and that line delimited by a bare CR or
                     * LF on either side or with NULs in it: the connection must be cut before more
                     * than *out_pass octets leave (SMTP-044) */
};

/** At the start of a message; the first CRLF is the one that ended the DATA command. */
void data_scan_init(struct data_scan *scan);

/** Scan bytes. out_pass: how many of them may go upstream now; the rest must be given again at the
 * front of the next call (it is at most 2 octets: the octet that would complete a look-alike never
 * leaves before its successor is known) when DATA_MORE is returned; with DATA_END the rest is the
 * client's next command. */
enum data_verdict data_scan(struct data_scan *scan, struct span bytes, size_t *out_pass);

/** Before data_scan() of the same bytes, for `bare_newline = reject-any`: where the first bare CR
 * or LF shows, be it of a look-alike or not; bytes.len when none does. What stands before that
 * offset may be scanned; if the message does not end there, the connection must be cut. */
size_t data_scan_bare_newline(const struct data_scan *scan, struct span bytes);

/** After DATA_AMBIGUOUS or a lost MX: only look for the strict end, swallow everything (SMTP-035).
 * Returns true when the end was found; out_used: bytes to drop (all of them when false). */
bool data_scan_swallow(struct data_scan *scan, struct span bytes, size_t *out_used);

#endif
