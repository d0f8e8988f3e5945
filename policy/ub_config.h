/* policy/ub_config.h: sets up a libunbound context the way stsgate needs it.
 * Context: policy process; used by policy/resolver.c. Reads the files that the configuration names.
 */
#ifndef STSGATE_POLICY_UB_CONFIG_H
#define STSGATE_POLICY_UB_CONFIG_H

#include "base/result.h"

struct resolver_config;
struct ub_ctx;

/** ctx: new, from ub_ctx_create_ub_event(). It takes no other options afterwards.
 * out_error: as by resolver_new(), static; unchanged on RES_OK and RES_NOMEM.
 * RES_SYNTAX: an address, a file or a combination that cannot work; RES_NOMEM. */
MUST_CHECK enum result ub_config_apply(struct ub_ctx *ctx, const struct resolver_config *config,
                                       const char **out_error);

#endif
