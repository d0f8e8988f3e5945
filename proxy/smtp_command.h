/* proxy/smtp_command.h: commands of the client, RFC 5321 4.1. Context: worker. Pure: no I/O.
 * The strict place: what is parsed here is what is judged, and what goes upstream is rebuilt from
 * the parse, so that the MX cannot read another domain out of a line than the one judged
 * (SMTP-021). */
#ifndef STSGATE_PROXY_SMTP_COMMAND_H
#define STSGATE_PROXY_SMTP_COMMAND_H

#include "base/hostname.h"
#include "base/verdict.h"

#define SMTP_LINE_MAX_BYTES 12288u /* longest command line with CRLF (SMTP-003, RFC 4954 4) */
#define SMTP_PATH_MAX 256u         /* RFC 5321 4.5.3.1.3, with < and > */
#define SMTP_LOCAL_PART_MAX 64u    /* RFC 5321 4.5.3.1.1 */
#define SMTP_PARAMETERS_MAX 16u    /* ours; more is a syntax error */
#define SMTP_CHUNK_MAX 0x7fffffffffffffffu /* CHNK-002 */

enum smtp_verb {
    SMTP_VERB_UNKNOWN, /* answered 500 */
    SMTP_VERB_KNOWN,   /* a verb of the standards that we do not offer: answered 502 (SMTP-012) */
    SMTP_VERB_EHLO,
    SMTP_VERB_HELO,
    SMTP_VERB_MAIL,
    SMTP_VERB_RCPT,
    SMTP_VERB_DATA,
    SMTP_VERB_BDAT,
    SMTP_VERB_RSET,
    SMTP_VERB_NOOP,
    SMTP_VERB_QUIT,
    SMTP_VERB_VRFY,
    SMTP_VERB_EXPN,
    SMTP_VERB_HELP,
    SMTP_VERB_STARTTLS,
    SMTP_VERB_AUTH,
};

struct smtp_path {
    bool null;                     /* <>, MAIL only */
    bool postmaster;               /* <postmaster> without domain, RCPT only (PRX-027) */
    bool literal;                  /* domain is an address literal (PRX-026) */
    struct span local;             /* as written, quotes included; case kept */
    struct span domain_as_written; /* without route, brackets kept for literals; case kept */
    char domain[HOSTNAME_MAX + 1]; /* A-labels in lower case: the policy domain; "" for null,
                                    * postmaster and literals */
};

struct smtp_parameter {
    struct span keyword; /* as written */
    struct span value;   /* without "="; ptr NULL when there is no "=" */
};

struct smtp_command {
    enum smtp_verb verb;
    struct span argument; /* EHLO, HELO: the client's name; others: the rest of the line, trimmed */
    struct smtp_path path;                                 /* MAIL, RCPT */
    struct smtp_parameter parameters[SMTP_PARAMETERS_MAX]; /* MAIL, RCPT, in order */
    size_t parameter_count;
    unsigned long long chunk_len; /* BDAT: octets that follow, 0 .. SMTP_CHUNK_MAX */
    bool chunk_last;              /* and none after them */
    enum reply_row error; /* REPLY_NONE, or the answer to a malformed line (REP-049 ... REP-058) */
};

/** Find the end of the first line in input.
 *
 * out_line  on RES_OK the line without CRLF; on RES_LIMIT and RES_SYNTAX empty
 * out_used  bytes to consume on anything but RES_AGAIN
 *
 * RES_OK      one line, ended by CRLF
 * RES_AGAIN   no CRLF yet and still below SMTP_LINE_MAX_BYTES
 * RES_LIMIT   part of a line longer than SMTP_LINE_MAX_BYTES. *skipping false: the line has ended,
 *             one reply for it all. True: more of it is to come and to be dropped; a CR at the
 *             very end of input is then left, since an LF may follow (RES_AGAIN if it is all)
 * RES_SYNTAX  a line with a bare CR, bare LF or NUL in it, whole up to its CRLF (SMTP-002, 005)
 *
 * skipping  kept by the caller between calls, false at first
 *
 * input is all that is not consumed. Of a line that is not complete, at most SMTP_LINE_MAX_BYTES
 * are looked at again in every call, by memchr() unless it holds bare LFs; so a long line that
 * comes in pieces costs each read a bounded amount, and one that is too long is dropped as it
 * comes. */
MUST_CHECK enum result smtp_line_take(struct span input, bool *skipping, struct span *out_line,
                                      size_t *out_used);

/** The same where a bare LF ends a line as CRLF does: for clients that are listed (SMTP-002). */
MUST_CHECK enum result smtp_line_take_lf(struct span input, bool *skipping, struct span *out_line,
                                         size_t *out_used);

/** Parse one line without CRLF. Always fills *out; out->error says what is wrong with it. Spans
 * point into line. smtputf8: UTF-8 is permitted in RCPT, and in a MAIL that says SMTPUTF8 (EXT-005,
 * RFC 6531 3.3); otherwise error is REPLY_BAD_CHARACTER for octets >= 0x80 (SMTP-005). Trailing
 * blanks are dropped (SMTP-004). Controls, those of Unicode too: REPLY_BAD_CHARACTER. MAIL and
 * RCPT: REPLY_BAD_PARAMETERS for the shape of the line, REPLY_BAD_SENDER or REPLY_BAD_RECIPIENT for
 * the address itself (REP-053), REPLY_BAD_IDN_SENDER or REPLY_BAD_IDN_RECIPIENT where IDNA fails.
 * REPLY_SHUTDOWN: no memory for IDNA. A local-part may have dots anywhere, since such addresses
 * exist (RFC 5321 4.1.2 has single ones inside only). EHLO and HELO need one argument of 1 .. 255
 * octets of printable ASCII without blanks; DATA, RSET and QUIT take none, STARTTLS neither; BDAT
 * takes a size and perhaps LAST (REPLY_BAD_PARAMETERS). Source routes are parsed and dropped
 * (SMTP-023). */
void smtp_command_parse(struct span line, bool smtputf8, struct smtp_command *out);

/** Write the canonical MAIL or RCPT line with CRLF, e.g. "RCPT TO:<u@example.com> NOTIFY=NEVER\r\n"
 * (SMTP-021, SMTP-026). cmd->error must be REPLY_NONE. Returns its length; 0 when size is too small
 * (SMTP_LINE_MAX_BYTES + 64 always suffices). */
size_t smtp_command_write(const struct smtp_command *cmd, char *dst, size_t size);

/** The extension keyword that a parameter belongs to: "SIZE" for SIZE=, "8BITMIME" for
 * BODY=8BITMIME and BODY=7BIT, "BINARYMIME" for BODY=BINARYMIME, "DSN" for RET, ENVID, NOTIFY,
 * ORCPT, "SMTPUTF8", "AUTH", "REQUIRETLS", "DELIVERBY" (BY=), "MT-PRIORITY"; "" for one nobody
 * knows. Static storage. verb: SMTP_VERB_MAIL or _RCPT; a parameter on the wrong command is
 * unknown. */
const char *smtp_parameter_extension(enum smtp_verb verb, const struct smtp_parameter *p);

/** For logs: "MAIL", "RCPT" ...; "?" for unknown. Static storage. */
const char *smtp_verb_name(enum smtp_verb verb);

#endif
