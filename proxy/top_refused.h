/* proxy/top_refused.h: which domains are refused most, in bounded room: the space-saving counter of
 * Metwally et al. A domain that is counted more often than a TOP_REFUSED_MAX-th of all is never
 * missed; a count is at most `error` too high. Context: worker, status page. Pure. */
#ifndef STSGATE_PROXY_TOP_REFUSED_H
#define STSGATE_PROXY_TOP_REFUSED_H

#include "base/hostname.h"
#include "base/verdict.h"

#include <stdint.h>

#define TOP_REFUSED_MAX 64u
#define TOP_REFUSED_REPLY_MAX 7u /* "REP-013" */

struct top_refusal {
    char domain[HOSTNAME_MAX + 1];         /* normalised */
    char reply[TOP_REFUSED_REPLY_MAX + 1]; /* as in records: capitals, digits and "-" */
    enum result_type result;
    uint64_t count, error;
};

struct top_refused {
    struct top_refusal all[TOP_REFUSED_MAX]; /* in no order */
    size_t count;
};

/** Count one refusal, or as many as what->count says with at most what->error of them in doubt. */
void top_refused_add(struct top_refused *top, const struct top_refusal *what);

/** Most frequent first. */
void top_refused_sort(struct top_refused *top);

#endif
