/* proxy/check_policy.h: the policy process of one `stsgate check`: a child of its own, of the same
 * configuration as the gateway's, that keeps nothing and records nothing. It needs no privilege.
 * Context: `stsgate check`, on its event loop. */
#ifndef STSGATE_PROXY_CHECK_POLICY_H
#define STSGATE_PROXY_CHECK_POLICY_H

#include "base/clock.h"
#include "base/result.h"
#include "base/span.h"

#include <stdbool.h>

struct check_policy;
struct ev_loop;
struct policy_client;

/** map: one MessagePack map of proxy/inspect_frame.h, borrowed for the call. */
typedef void check_policy_part(void *arg, struct span map);

/** whole: all parts have come; else the child has gone, or talks nonsense. */
typedef void check_policy_done(void *arg, bool whole);

/** Start stsgate-policy. loop: borrowed until check_policy_free(). config_text: what config_parse()
 * took, from the file called config_name; borrowed until this returns.
 * RES_DENIED: the program is missing; RES_LIMIT: no descriptors, memory or processes; RES_NOMEM. */
MUST_CHECK enum result check_policy_new(struct ev_loop *loop, const struct clock *clock,
                                        const char *config_name, struct span config_text,
                                        struct check_policy **out);

/** The child ends by itself. NULL is allowed. */
void check_policy_free(struct check_policy *policy);

/** For requirements, as in a worker. Borrowed. */
struct policy_client *check_policy_client(struct check_policy *policy);

/** All that domain (normalised) publishes; one at a time. Both are called from the loop, never
 * before this has returned. */
void check_policy_inspect(struct check_policy *policy, const char *domain, check_policy_part *part,
                          check_policy_done *done, void *arg);

#endif
