/* policy/tlsrpt_elements.h: kinds of report added up to the elements of a report's "policies" (RFC
 * 8460 4.4): one for each policy that was met that day, with its failure-details, equal ones as one
 * (RPT-022, RPT-025). Bounded: policies beyond TLSRPT_POLICIES_MAX are left out, details beyond
 * TLSRPT_DETAILS_MAX are one for each result-type. Context: any process. Pure. */
#ifndef STSGATE_POLICY_TLSRPT_ELEMENTS_H
#define STSGATE_POLICY_TLSRPT_ELEMENTS_H

#include "base/tls_report.h"

#define TLSRPT_POLICIES_MAX 64u /* of one domain and day; one that changes more says nothing */
#define TLSRPT_DETAILS_MAX 256u /* of one policy */

/* One entry of failure-details. Borrowed from its policy. */
struct tlsrpt_detail {
    enum result_type result;
    const char *reason, *sending, *receiving, *mx_host, *helo; /* "" for none */
    uint64_t count;                                            /* sessions */
};

struct tlsrpt_details;

/* One element of "policies". Borrowed from the elements. */
struct tlsrpt_policy {
    struct tls_report kind;     /* of it: type, policy_domain, text_sha256, strings, mx; owned */
    struct span text;           /* MTA-STS: of the policy; empty when it is not known */
    uint64_t succeeded, failed; /* sessions */
    struct tlsrpt_details *details; /* owned */
};

struct tlsrpt_elements {
    struct tlsrpt_policy *policies[TLSRPT_POLICIES_MAX]; /* owned, in the order they were met */
    size_t count;
};

/** count sessions of one domain and day. Takes what report owns: it is empty afterwards.
 * RES_NOMEM. */
MUST_CHECK enum result tlsrpt_elements_add(struct tlsrpt_elements *elements,
                                           struct tls_report *report, uint64_t count);
void tlsrpt_elements_clear(struct tlsrpt_elements *elements);

/** The details of a policy, the most frequent first, then in a fixed order. False of each: stop. */
typedef bool tlsrpt_each_detail(void *arg, const struct tlsrpt_detail *detail);
void tlsrpt_policy_details(const struct tlsrpt_policy *policy, tlsrpt_each_detail *each, void *arg);

#endif
