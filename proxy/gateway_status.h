/* proxy/gateway_status.h: how the whole gateway goes, as the policy process knows it: its own
 * counts, and what each worker reports. It answers `stsgate status` and `sessions`, and passes all
 * on to the status process. Context: policy process, on its event loop. */
#ifndef STSGATE_PROXY_GATEWAY_STATUS_H
#define STSGATE_PROXY_GATEWAY_STATUS_H

#include "base/pack.h"
#include "policy/policy_admin.h"
#include "policy/policy_server.h"
#include "policy/sts_keeper.h"
#include "proxy/record_sink.h"
#include "proxy/status_msg.h"

#define GATEWAY_SILENT_S 10 /* a worker that has not reported for so long is called silent */

struct gateway_status;

struct gateway_status_config {
    struct ev_loop *loop; /* borrowed, like all here, until gateway_status_free() */
    const struct config *config;
    struct policy_server *server; /* whose other messages it takes */
    const struct policy_admin *admin;
    const struct sts_cache *cache;
    const struct sts_keeper *keeper;
    const struct record_sink *records;
    const struct rollout *rollout; /* in force */
    const bool *by_command;        /* an operator has set it */
    bool dane;                     /* TLSA records are asked for */
    struct clock clock;
    unsigned generation;
    int64_t started_s; /* the gateway's start */
    /** A page of sessions that was asked for. */
    void (*page)(void *arg, unsigned worker, const struct session_page *page);
    void *arg;
};

/** config: copied. NULL: no memory. */
struct gateway_status *gateway_status_new(const struct gateway_status_config *config);
void gateway_status_free(struct gateway_status *g); /* NULL is allowed */

/** fd: takes it, a link to the status process; the one before is closed. */
void gateway_status_link(struct gateway_status *g, int fd);

/** Once a second: the status process hears of this process. */
void gateway_status_tick(struct gateway_status *g);

/** One map, for `stsgate status --json`. */
void gateway_status_write(const struct gateway_status *g, struct pack_writer *w);

/** Ask a worker for open sessions; page() follows. False: it does not hear. */
bool gateway_status_ask(struct gateway_status *g, unsigned worker, const struct session_ask *ask);

#endif
