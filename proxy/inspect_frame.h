/* proxy/inspect_frame.h: what policy/inspect.h tells, as maps on the control socket and in
 * `stsgate check --json` (docs/check.md has the keys). Context: policy process. Pure. */
#ifndef STSGATE_PROXY_INSPECT_FRAME_H
#define STSGATE_PROXY_INSPECT_FRAME_H

#include "base/pack.h"
#include "policy/inspect.h"

/** One map with the key "part". Failures stick to w. */
void inspect_frame_write(struct pack_writer *w, const struct inspect_part *part);

#endif
