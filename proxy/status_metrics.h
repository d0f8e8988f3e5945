/* proxy/status_metrics.h: the metrics, in the text format of Prometheus, version 0.0.4. Every label
 * has a closed set of values: no name that comes from outside is among them (FAULTS H8, TC-OPS-04).
 * Context: status process. */
#ifndef STSGATE_PROXY_STATUS_METRICS_H
#define STSGATE_PROXY_STATUS_METRICS_H

#include "proxy/status_state.h"

#include <stdio.h>

/** now_ms: monotonic, now_s: wall clock. Errors of out are the caller's to see. */
void status_metrics_write(const struct status_state *s, int64_t now_ms, int64_t now_s, FILE *out);

#endif
