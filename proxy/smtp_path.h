/* proxy/smtp_path.h: the paths of MAIL and RCPT, RFC 5321 4.1.2 and 4.1.3; a part of
 * smtp_command.c. Context: worker. Pure: no I/O. */
#ifndef STSGATE_PROXY_SMTP_PATH_H
#define STSGATE_PROXY_SMTP_PATH_H

#include "proxy/smtp_command.h"

/** Parse the path at the front of text.
 *
 * text      begins where "<" is due; printable octets only, those >= 0x80 are well-formed UTF-8
 * verb      SMTP_VERB_MAIL or SMTP_VERB_RCPT
 * out       filled on REPLY_NONE, all zero on anything else; spans point into text
 * out_used  octets up to and with the closing ">", which a quoted string cannot hold (SMTP-022)
 *
 * REPLY_BAD_PARAMETERS                       no "<", or no ">" that closes it (SMTP-020)
 * REPLY_BAD_SENDER, REPLY_BAD_RECIPIENT      what is between them is no path (SMTP-024, REP-053)
 * REPLY_BAD_IDN_SENDER, REPLY_BAD_IDN_RECIPIENT  IDNA has no A-labels for the domain (EXT-005)
 * REPLY_SHUTDOWN                             no memory to tell */
MUST_CHECK enum reply_row smtp_path_parse(struct span text, enum smtp_verb verb,
                                          struct smtp_path *out, size_t *out_used);

#endif
