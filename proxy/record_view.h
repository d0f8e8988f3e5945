/* proxy/record_view.h: what a reader wants of a record, by the names of docs/records.md.
 * Context: command line. Pure; reads bytes that anybody may have written. */
#ifndef STSGATE_PROXY_RECORD_VIEW_H
#define STSGATE_PROXY_RECORD_VIEW_H

#include "base/pack.h"

/** A reader that stands before the value of a key, "tls.version" for one within a map; of a map
 * with a key twice the first. False, and a reader that fails: there is none. map: as
 * record_decode() gives it. */
bool record_value(struct span map, const char *path, struct pack_reader *out);

/** The value where it is a str, or a bin; else empty. Borrowed from map. */
struct span record_text(struct span map, const char *path);

/** The value where it is true, or a whole number of 0 or more; else false, or 0. */
bool record_bool(struct span map, const char *path);
uint64_t record_number(struct span map, const char *path);

/** Is the value this text? */
bool record_is(struct span map, const char *path, const char *text);

#endif
