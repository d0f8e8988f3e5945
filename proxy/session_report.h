/* proxy/session_report.h: what TLSRPT counts of a verdict: one report for each policy of the
 * domain, by the policy's own part in it (RFC 8460 4.2 ... 4.4; RPT-020 ... RPT-033, RPT-040).
 * Context: worker. Pure: no I/O, no clock. */
#ifndef STSGATE_PROXY_SESSION_REPORT_H
#define STSGATE_PROXY_SESSION_REPORT_H

#include "base/observation.h"
#include "base/requirement.h"
#include "base/tls_report.h"
#include "base/verdict.h"

#define SESSION_REPORT_PARTS 2u      /* of one verdict: MTA-STS and TLSA */
#define SESSION_REPORT_KEPT_MAX 256u /* policies of one session; those beyond are told at once */

/* What became of one recipient's demands. Borrowed for the call. */
struct session_report_facts {
    const struct requirement *req;
    const struct observation *obs;
    const struct dane_facts *dane; /* of obs, for req's records */
    const struct verdict *verdict; /* judge()'s, and the last one */
    struct ip_addr destination;
    int64_t at_s; /* wall clock, of the verdict */
};

/* The parts of one verdict; clear it before it is used again. */
struct session_report {
    struct tls_report parts[SESSION_REPORT_PARTS];
    size_t count;
};

/** out: filled on RES_OK, perhaps with nothing: the recipient has no domain, or what is known says
 * nothing of the MX. RES_NOMEM: empty. */
MUST_CHECK enum result session_report_make(const struct session_report_facts *facts,
                                           struct session_report *out);
void session_report_clear(struct session_report *report);

/* The last report under each policy that a session has met (RPT-020). Zeroed: empty. */
struct session_report_list {
    struct tls_report **reports; /* owned, each of them, too */
    size_t count;
};

typedef void session_report_tell(void *arg, const struct tls_report *report);

/** Keep a part in place of the one before under that policy; takes what it owns and leaves it
 * empty. One that there is no room or no memory for is told at once, by tell. */
void session_report_keep(struct session_report_list *list, struct tls_report *part,
                         session_report_tell *tell, void *arg);

/** The session is over: tell each, and be empty. tell NULL: only that. */
void session_report_tell_all(struct session_report_list *list, session_report_tell *tell,
                             void *arg);

#endif
