/* policy/tlsrpt_json.h: a day's report for a domain as JSON, RFC 8460 4.4 (RPT-050 ... RPT-059,
 * RPT-090, RPT-091). Context: policy process, and `stsgate report`. */
#ifndef STSGATE_POLICY_TLSRPT_JSON_H
#define STSGATE_POLICY_TLSRPT_JSON_H

#include "policy/tlsrpt_read.h"

/* Who reports, and which report it is. Borrowed for the call. */
struct tlsrpt_head {
    const char *organization; /* any text */
    const char *contact;      /* an addr-spec (RPT-053) */
    const char *report_id;    /* RPT-054 */
    /* The address that receivers see is not the gateway's own, where NAT follows: these take its
     * place, by family; none: a private address is left out (RPT-059). */
    struct ip_addr public4, public6;
};

/** Make the report of what was counted for domain on the day: one JSON object in UTF-8, without a
 * line end. I-JSON (RFC 7493).
 *
 * out  on RES_OK a new text, NUL-terminated, the caller's to free(); otherwise NULL
 *
 * RES_AGAIN: nothing was counted, so there is no report (RPT-079). RES_NOMEM; RES_TEMPFAIL and
 * RES_SYNTAX are the store's. */
MUST_CHECK enum result tlsrpt_json(struct tlsrpt_store *store, int64_t day_s, const char *domain,
                                   const struct tlsrpt_head *head, char **out);

#endif
