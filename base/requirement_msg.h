/* base/requirement_msg.h: a requirement as MessagePack, as it travels from the policy process to
 * the workers, alone or inside a message. Context: any process. Pure.
 *
 * One array: [version, domain, matched, names, mx_lookup_failed, mode, id, mx, text_sha256,
 * fetched_at, expires_at, discovery, dane, monitored, defer, null_mx, rule, rule_id, rule_mx,
 * trust, tls_floor, report_to, ttl]; enums by number.
 * dane: [state, required, suffices, mx_secure, dnssec, reason, hosts];
 * a host: [mx, base, references, records]; a record: [usage, selector, matching, data].
 * Both ends are of one build, so another version is refused. */
#ifndef STSGATE_BASE_REQUIREMENT_MSG_H
#define STSGATE_BASE_REQUIREMENT_MSG_H

#include "base/pack.h"
#include "base/requirement.h"

#define REQUIREMENT_MSG_VERSION 3u
#define REQUIREMENT_MSG_MAX_BYTES 98304u /* fits one SEQPACKET message with its frame */
#define REQUIREMENT_MSG_REPORT_TO_MAX 8u /* addresses, of 254 octets at most */
#define REQUIREMENT_MSG_NAMES_MAX                                                                  \
    16384u /* of each of the lists of names and patterns: a policy of                              \
            * 64 KiB has at most 13 107 */

/** Append req to a message in the making. pack_end() gives RES_LIMIT when it is longer than
 * REQUIREMENT_MSG_MAX_BYTES or a list holds more than REQUIREMENT_MSG_NAMES_MAX names: such a
 * domain cannot be served, and its recipients are to be put off (REP-065). */
void requirement_encode(const struct requirement *req, struct pack_writer *w);

/** Read one requirement at the reader's place. Every field is checked as if the sender had been
 * taken over: a domain and names that are host names in lower case, patterns that could match,
 * texts that are printable, numbers within the ranges of base/requirement.h, no policy parts
 * without a policy, hosts with TLSA records exactly when DANE is secure, each with its base domain
 * as the first reference and its records in canonical order, DANE required exactly by RULE_DANE.
 *
 * out  on RES_OK a new requirement the caller owns, and the reader is behind it; otherwise NULL
 *
 * RES_SYNTAX, RES_LIMIT  refused; the reader has failed for good
 * RES_NOMEM              no memory; the reader has failed for good */
MUST_CHECK enum result requirement_decode(struct pack_reader *r, struct requirement **out);

#endif
