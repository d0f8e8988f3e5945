/* base/tls_report.h: how one session with an MX went under one policy, as TLSRPT counts it (RFC
 * 8460 4.2 ... 4.4): made by a worker once per session and policy, told to the policy process, and
 * folded there, or by `stsgate report --from-log`. Plain data.
 * Context: any process, one thread at a time per object. */
#ifndef STSGATE_BASE_TLS_REPORT_H
#define STSGATE_BASE_TLS_REPORT_H

#include "base/hostname.h"
#include "base/ip_addr.h"
#include "base/name_list.h"
#include "base/verdict.h"

#include <stdint.h>

#define TLS_REPORT_DETAILS_MAX 4u /* of one session under one policy (RPT-024) */
#define TLS_REPORT_TEXT_MAX 127u  /* octets of a reason */
#define TLS_REPORT_HELO_MAX 255u  /* octets of what the MX called itself */

/* RFC 8460 4.4, policy-type. */
enum tls_report_type { TLS_REPORT_NO_POLICY, TLS_REPORT_STS, TLS_REPORT_TLSA };

/* One entry of failure-details. */
struct tls_report_detail {
    enum result_type result;              /* never RESULT_SUCCESS */
    char reason[TLS_REPORT_TEXT_MAX + 1]; /* failure-reason-code, printable ASCII; "" for none */
    bool fetch; /* of looking a policy up: no address and no host belongs to it (RPT-059) */
};

struct tls_report {
    int64_t at_s;                  /* wall clock, of the verdict: its UTC day counts (RPT-035) */
    char domain[HOSTNAME_MAX + 1]; /* whose report this goes into: the recipients' domain, or
                                    * the smart host's (RPT-010) */
    enum tls_report_type type;
    char policy_domain[HOSTNAME_MAX + 1]; /* domain, or the TLSA base domain (RPT-055) */
    uint8_t text_sha256[32];  /* MTA-STS: of the policy's text; zeros when there was none
                               * to be had (RPT-026) */
    struct name_list strings; /* TLSA: the records, "3 1 1 HEX"; else empty */
    struct name_list mx;      /* MTA-STS: the patterns; TLSA: the MX host; else empty (RPT-057) */
    bool failed;              /* counts as a failure, else as a success */
    struct tls_report_detail details[TLS_REPORT_DETAILS_MAX];
    size_t detail_count; /* at least one with failed; a success may have some, too (RPT-027) */
    struct ip_addr sending, receiving;  /* of the connection to the MX; none when not known */
    char mx_host[HOSTNAME_MAX + 1];     /* receiving-mx-hostname; "" when not known */
    char helo[TLS_REPORT_HELO_MAX + 1]; /* receiving-mx-helo, printable ASCII; "" when not known */
};

/** Frees the lists; the struct is empty and may be used again. */
void tls_report_clear(struct tls_report *report);

/** Are both of one session under one policy of one domain (RPT-022)? */
bool tls_report_same_policy(const struct tls_report *a, const struct tls_report *b);

/** "no-policy-found", "sts", "tlsa". Static storage. */
const char *tls_report_type_name(enum tls_report_type type);

#endif
