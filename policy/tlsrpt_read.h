/* policy/tlsrpt_read.h: what a store of TLS reports has counted: the content of a day's report.
 * Context: as policy/tlsrpt_store.h. What is pending is written before anything is read. */
#ifndef STSGATE_POLICY_TLSRPT_READ_H
#define STSGATE_POLICY_TLSRPT_READ_H

#include "policy/tlsrpt_elements.h"
#include "policy/tlsrpt_store.h"

/* False: stop. */
typedef bool tlsrpt_each_domain(void *arg, const char *domain);
typedef bool tlsrpt_each_policy(void *arg, const struct tlsrpt_policy *policy);

/** The domains of a day, in alphabetical order, behind `after` ("" for the first). RES_TEMPFAIL,
 * RES_SYNTAX (damaged), RES_NOMEM. Others may be read and written within each. */
MUST_CHECK enum result tlsrpt_read_domains(struct tlsrpt_store *store, int64_t day_s,
                                           const char *after, tlsrpt_each_domain *each, void *arg);

/** What was counted for a domain on a day, the policy met first before the others. */
MUST_CHECK enum result tlsrpt_read_policies(struct tlsrpt_store *store, int64_t day_s,
                                            const char *domain, tlsrpt_each_policy *each,
                                            void *arg);

#endif
