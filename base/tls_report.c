#include "base/tls_report.h"

void
tls_report_clear(struct tls_report *report)
{
    name_list_clear(&report->strings);
    name_list_clear(&report->mx);
    *report = (struct tls_report){ .at_s = 0 };
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
