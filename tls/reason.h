/* tls/reason.h: short texts for records and replies, always printable ASCII (TLS-047).
 * Context: any. Pure. */
#ifndef STSGATE_TLS_REASON_H
#define STSGATE_TLS_REASON_H

#include <stddef.h>

/** Copy text to dst (size >= 1 bytes), cut where it does not fit; what is not printable ASCII
 * becomes "?". */
void reason_copy(char *dst, size_t size, const char *text);

/** The same for the name of a library error: "WRONG_VERSION_NUMBER" -> "wrong version number". */
void reason_copy_error(char *dst, size_t size, const char *text);

#endif
