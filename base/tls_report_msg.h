/* base/tls_report_msg.h: a struct tls_report as MessagePack, within a message or a record. Context:
 * any process. Pure.
 *
 * One array: [at, domain, type, policy_domain, text_sha256, strings, mx, failed, [[result, reason,
 * fetch], ...], sending, receiving, mx_host, helo]; enums by number, addresses as bin, empty for
 * none. */
#ifndef STSGATE_BASE_TLS_REPORT_MSG_H
#define STSGATE_BASE_TLS_REPORT_MSG_H

#include "base/pack.h"
#include "base/tls_report.h"

#define TLS_REPORT_STRINGS_MAX 16384u /* of each list: as many as a requirement may hold */

/** Append report to a message in the making. */
void tls_report_encode(const struct tls_report *report, struct pack_writer *w);

/** Read one at the reader's place, checked as if the sender had been taken over: names that are
 * host names in lower case, texts that are printable, failures with a detail, lists only where the
 * type has them.
 *
 * out  on RES_OK the caller clears it; otherwise empty
 *
 * RES_SYNTAX, RES_LIMIT, RES_NOMEM: the reader has failed for good. */
MUST_CHECK enum result tls_report_decode(struct pack_reader *r, struct tls_report *out);

#endif
