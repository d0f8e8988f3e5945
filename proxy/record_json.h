/* proxy/record_json.h: one record as one line of JSON, safe to show on a terminal (FAULTS H3).
 * Context: `stsgate log`; never in a process that handles mail. Pure. */
#ifndef STSGATE_PROXY_RECORD_JSON_H
#define STSGATE_PROXY_RECORD_JSON_H

#include "base/result.h"
#include "base/span.h"

#include <stdint.h>
#include <stdio.h>

/** The map of a record, as record_decode() gave it, with its time in front: "time" as RFC 3339 in
 * UTC with nanoseconds, then the keys in the record's order. A bin is lower-case hexadecimal where
 * its key ends in "_sha256", else text in which every octet that is no UTF-8 is U+FFFD. The line is
 * printable ASCII: anything else is \u-escaped. A whole number beyond 64 bits with sign becomes a
 * string, a float that is not finite null.
 *
 * out_line  on RES_OK new, NUL-terminated, without a newline, the caller's to free(); otherwise
 * NULL
 *
 * RES_SYNTAX  record_decode() would not have given such a map; RES_NOMEM */
MUST_CHECK enum result record_json(int64_t wall_ns, struct span map, char **out_line);

/** The same of any such map, without a time. */
MUST_CHECK enum result record_json_map(struct span map, char **out_line);

/** The same as a line of out. Whether out takes it is the caller's to ask. */
enum result record_json_print(struct span map, FILE *out);

#endif
