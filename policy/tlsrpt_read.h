/* policy/tlsrpt_read.h: what a store of TLS reports has counted: the content of a day's report.
 * Context: as policy/tlsrpt_store.h. What is pending is written before anything is read. */
#ifndef STSGATE_POLICY_TLSRPT_READ_H
#define STSGATE_POLICY_TLSRPT_READ_H

#include "policy/tlsrpt_store.h"

/* One element of "policies". Borrowed for the call. */
struct tlsrpt_policy {
    int64_t id;
    enum tls_report_type type;
    const char *policy_domain;
    struct span text;         /* MTA-STS: of the policy; empty when it is not known */
    struct name_list strings; /* TLSA */
    struct name_list mx;
    uint64_t succeeded, failed; /* sessions */
};

struct tlsrpt_detail {
    enum result_type result;
    const char *reason, *sending, *receiving, *mx_host, *helo; /* "" for none */
    uint64_t count;                                            /* sessions */
};

/* False: stop. */
typedef bool tlsrpt_each_domain(void *arg, const char *domain);
typedef bool tlsrpt_each_policy(void *arg, const struct tlsrpt_policy *policy);
typedef bool tlsrpt_each_detail(void *arg, const struct tlsrpt_detail *detail);

/** The domains of a day, in alphabetical order, behind `after` ("" for the first). RES_TEMPFAIL,
 * RES_SYNTAX (damaged), RES_NOMEM. Others may be read and written within each. */
MUST_CHECK enum result tlsrpt_read_domains(struct tlsrpt_store *store, int64_t day_s,
                                           const char *after, tlsrpt_each_domain *each, void *arg);

/** What was counted for a domain on a day. */
MUST_CHECK enum result tlsrpt_read_policies(struct tlsrpt_store *store, int64_t day_s,
                                            const char *domain, tlsrpt_each_policy *each,
                                            void *arg);
MUST_CHECK enum result tlsrpt_read_details(struct tlsrpt_store *store, int64_t policy_id,
                                           tlsrpt_each_detail *each, void *arg);

#endif
