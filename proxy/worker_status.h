/* proxy/worker_status.h: a worker tells the policy process once a second how it goes, and which
 * sessions are open when it is asked. No session waits for that; what cannot be sent is sent with
 * the next report. Context: worker, on its event loop. */
#ifndef STSGATE_PROXY_WORKER_STATUS_H
#define STSGATE_PROXY_WORKER_STATUS_H

#include "proxy/connection.h"
#include "proxy/relay.h"
#include "proxy/status_msg.h"

struct worker_status {
    struct connection_shared *shared; /* borrowed */
    const struct relay_shared *relays;
    const bool *draining;
    int64_t told_ms;             /* monotonic clock, of the last report */
    unsigned busy_reports;       /* one after the other, in which the CPU was hardly idle */
    struct worker_report report; /* counters and refusals grow in it; the rest is filled in */
    ev_timer timer;
};

/** To be set before: nothing. Ties the counters of shared and relays to it. All borrowed until
 * worker_status_stop(). */
void worker_status_start(struct worker_status *s, unsigned worker, struct connection_shared *shared,
                         struct relay_shared *relays, const bool *draining);

/** Report now, too: whoever is linked anew knows nothing yet. */
void worker_status_tell(struct worker_status *s);

/** The last report is sent. The counters stay where they are. */
void worker_status_stop(struct worker_status *s);

#endif
