/* proxy/judge.h: the one place that decides. Facts are gathered first and judged afterwards.
 * Context: worker and `stsgate check`. Pure: no I/O, no clock but the one given. */
#ifndef STSGATE_PROXY_JUDGE_H
#define STSGATE_PROXY_JUDGE_H

#include "base/observation.h"
#include "base/requirement.h"
#include "base/verdict.h"

/** May this recipient's mail go over this connection?
 *
 * req     what the recipient's domain demands
 * demand  what else is demanded
 * obs     what the connection has proved so far
 * now_s   wall clock: an expired policy is none (STS-065)
 *
 * The verdict's mx borrows from what req owns. RFC 8461 4 and 5; order of checks:
 * docs/requirements.md 0. */
struct verdict judge(const struct requirement *req, const struct demand *demand,
                     const struct observation *obs, int64_t now_s);

/** Lowest TLS version to offer in a handshake for this recipient (TLS-020, TLS-021). */
uint16_t judge_floor(const struct requirement *req, const struct demand *demand);

#endif
