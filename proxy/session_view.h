/* proxy/session_view.h: an open session as `stsgate sessions` shows it: one MessagePack map.
 * Context: worker. Pure. */
#ifndef STSGATE_PROXY_SESSION_VIEW_H
#define STSGATE_PROXY_SESSION_VIEW_H

#include "base/buffer.h"
#include "proxy/session.h"

/** Append the map, at most STATUS_SESSION_BYTES. now_s: wall clock. RES_NOMEM, RES_LIMIT. */
MUST_CHECK enum result session_view_write(const struct record_session_info *info,
                                          const struct session_glance *glance, int64_t now_s,
                                          struct buffer *out);

#endif
