/* base/hostname.h: host and domain names in A-labels, and the one kind of wildcard that MTA-STS and
 * certificates know. Context: any process. Pure. */
#ifndef STSGATE_BASE_HOSTNAME_H
#define STSGATE_BASE_HOSTNAME_H

#include "base/result.h"
#include "base/span.h"

#define HOSTNAME_MAX 253u      /* octets without the trailing dot, RFC 1035 2.3.4 as text */
#define HOSTNAME_LABEL_MAX 63u /* RFC 1035 2.3.4 */

/** A name of letters, digits, hyphens and underscores in labels of 1 .. HOSTNAME_LABEL_MAX octets,
 * HOSTNAME_MAX in all, no empty label, no trailing dot (SMTP-024: underscores exist in the field).
 * Digits only in every label is allowed here; see hostname_is_ip_like(). */
bool hostname_is_valid(struct span name);

/** Would an address parser take it for an IPv4 address? (last label is digits only) */
bool hostname_is_ip_like(struct span name);

/** Copy in lower case, a single trailing dot dropped, NUL-terminated.
 * out: HOSTNAME_MAX + 1 bytes. RES_SYNTAX: not hostname_is_valid() after that; out is then "". */
MUST_CHECK enum result hostname_normalise(struct span name, char out[HOSTNAME_MAX + 1]);

/** Does host match pattern? A pattern is a name or "*." and a name, where "*" stands for exactly
 * one left-most label (RFC 8461 4.1, RFC 6125 6.4.3). Both in A-labels; compared without case; one
 * trailing dot is ignored on either side. A malformed pattern or host matches nothing. */
bool hostname_matches(struct span pattern, struct span host);

#endif
