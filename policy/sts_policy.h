/* policy/sts_policy.h: an MTA-STS policy body, RFC 8461 3.2 (format) and 4.1 (MX matching).
 * Context: any process, one thread at a time per object. Pure: no I/O, no clock. */
#ifndef STSGATE_POLICY_STS_POLICY_H
#define STSGATE_POLICY_STS_POLICY_H

#include "base/name_list.h"
#include "base/requirement.h"
#include "base/result.h"
#include "base/span.h"

#define STS_POLICY_MAX_BYTES 65536u    /* RFC 8461 3.3 suggests 64 kilobytes */
#define STS_POLICY_MAX_AGE_S 31557600u /* RFC 8461 3.2 */

struct sts_policy; /* made by sts_policy_parse(), read-only afterwards */

/* What is wrong with a body, for the report (RPT-040: with the line number) and the operator. */
struct sts_policy_error {
    unsigned line; /* 1 ..; 0 when no single line is to blame (a field is missing) */
    char what[64]; /* printable ASCII, e.g. "mode missing", "bad mx pattern" */
};

/** Parse one policy body, as fetched.
 *
 * body   0 .. STS_POLICY_MAX_BYTES bytes of any content; borrowed for the call.
 * out    on RES_OK a new policy the caller owns; on anything else NULL.
 * error  filled on RES_SYNTAX and RES_LIMIT; may be NULL.
 *
 * RES_SYNTAX  a required field is missing or malformed
 * RES_LIMIT   body is longer than STS_POLICY_MAX_BYTES
 * RES_NOMEM   no memory */
MUST_CHECK enum result sts_policy_parse(struct span body, struct sts_policy **out,
                                        struct sts_policy_error *error);

void sts_policy_free(struct sts_policy *policy); /* NULL is allowed */

enum sts_mode sts_policy_mode(const struct sts_policy *policy);

/** Lifetime in seconds, 0 .. STS_POLICY_MAX_AGE_S; a larger value is read as the maximum. */
uint32_t sts_policy_max_age_s(const struct sts_policy *policy);

/** The mx patterns in the policy's order, as written; borrowed. Empty only for mode none. */
const struct name_list *sts_policy_mx(const struct sts_policy *policy);

/** The body as fetched, octet for octet (STS-051); borrowed. */
struct span sts_policy_text(const struct sts_policy *policy);

/* Leniencies that were used, as bits, so that they can be counted. */
enum sts_policy_leniency {
    STS_POLICY_EMPTY_LINE = 1u << 0,     /* STS-049 */
    STS_POLICY_MAX_AGE_CLAMPED = 1u << 1 /* STS-045 */
};
unsigned sts_policy_leniencies(const struct sts_policy *policy);

/** Does host match one of the mx patterns? "*." stands for exactly one label, the left-most.
 * host: A-labels, compared without case (STS-080, STS-081). */
bool sts_policy_match_mx(const struct sts_policy *policy, const char *host);

#endif
