/* base/utc.h: moments as people write them, RFC 3339 in UTC. Context: any process. Pure. */
#ifndef STSGATE_BASE_UTC_H
#define STSGATE_BASE_UTC_H

#include <stdbool.h>
#include <stdint.h>

/** "YYYY-MM-DD", or "YYYY-MM-DDThh:mm:ssZ"; nothing else, and no 30 February. out_s: seconds since
 * 1970, of a day its start. False: it is neither. */
bool utc_parse(const char *text, int64_t *out_s, bool *out_is_day);

#endif
