/* proxy/call_filter.h: the system calls that a child of the supervisor may make (seccomp).
 * Everything else fails with EPERM and is in the kernel's log. Context: a child, once, before its
 * first client; no thread runs yet. */
#ifndef STSGATE_PROXY_CALL_FILTER_H
#define STSGATE_PROXY_CALL_FILTER_H

#include "base/result.h"
#include "proxy/sandbox.h"

/** RES_TEMPFAIL: the kernel has no seccomp, or too little of it. RES_NOMEM. */
MUST_CHECK enum result call_filter_load(enum sandbox_kind kind);

#endif
