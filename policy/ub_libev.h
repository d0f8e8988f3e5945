/* policy/ub_libev.h: libunbound's pluggable event base (unbound-event.h) on a libev loop, so that
 * libunbound needs no thread and no child. Context: policy process; used by policy/resolver.c. */
#ifndef STSGATE_POLICY_UB_LIBEV_H
#define STSGATE_POLICY_UB_LIBEV_H

struct ev_loop;
struct ub_event_base;

/** New; NULL when there is no memory. loop: borrowed, until ub_libev_free(). */
struct ub_event_base *ub_libev_new(struct ev_loop *loop);

/** After the context that uses it has been deleted. NULL is allowed. */
void ub_libev_free(struct ub_event_base *base);

#endif
