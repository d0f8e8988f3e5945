/* policy/tlsrpt_mail.h: a report as a mail, RFC 8460 5.3 (RPT-060 ... RPT-064), and the name of its
 * file. All of it is taken from the report's own data (RPT-092); nothing of strangers but domains
 * and addresses that have been checked gets into a header (RPT-091). Context: policy process. Pure.
 */
#ifndef STSGATE_POLICY_TLSRPT_MAIL_H
#define STSGATE_POLICY_TLSRPT_MAIL_H

#include "base/buffer.h"

#include <stdint.h>

#define TLSRPT_FILE_NAME_MAX 640u /* octets, two domains included, with its NUL */

/* Borrowed for the call. */
struct tlsrpt_mail {
    const char *to;        /* an addr-spec, tlsrpt_address_is_valid() */
    const char *from;      /* the same: contact-info */
    const char *domain;    /* that it is about */
    const char *report_id; /* RPT-054 */
    int64_t day_s;
    int64_t now_s;      /* of Date */
    struct span report; /* gzip */
};

/** What stands behind the last "@" of an addr-spec. Borrowed from it. */
const char *tlsrpt_domain_of(const char *address);

/** <submitter-domain>!<policy-domain>!<begin>!<end>!<unique>.json.gz (RPT-063). */
void tlsrpt_file_name(const char *submitter, const char *domain, int64_t day_s,
                      const char *report_id, char out[TLSRPT_FILE_NAME_MAX]);

/** Append header and body, lines ended by CRLF, none beyond 998 octets, no line beginning with a
 * dot but those of nobody: base64 has none. RES_NOMEM, RES_LIMIT: out is of no use. */
MUST_CHECK enum result tlsrpt_mail_write(const struct tlsrpt_mail *mail, struct buffer *out);

/** gzip (RFC 1952) of text, appended to out. RES_NOMEM, RES_LIMIT. */
MUST_CHECK enum result tlsrpt_gzip(struct span text, struct buffer *out);

#endif
