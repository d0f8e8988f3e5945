#include "base/tls_report.h"

void
tls_report_clear(struct tls_report *report)
{
    name_list_clear(&report->strings);
    name_list_clear(&report->mx);
    *report = (struct tls_report){ .at_s = 0 };
}

bool
tls_report_same_policy(const struct tls_report *a, const struct tls_report *b)
{
    return a->type == b->type && strcmp(a->domain, b->domain) == 0 &&
           strcmp(a->policy_domain, b->policy_domain) == 0 &&
           memcmp(a->text_sha256, b->text_sha256, sizeof a->text_sha256) == 0 &&
           name_list_equal(&a->strings, &b->strings) && name_list_equal(&a->mx, &b->mx);
}

const char *
tls_report_type_name(enum tls_report_type type)
{
    static const char *const names[] = {
        [TLS_REPORT_NO_POLICY] = "no-policy-found",
        [TLS_REPORT_STS] = "sts",
        [TLS_REPORT_TLSA] = "tlsa",
    };

    return names[type];
}
