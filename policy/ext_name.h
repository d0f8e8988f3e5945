/* policy/ext_name.h: names of extension fields, the same rule in MTA-STS records, MTA-STS policies
 * (RFC 8461 3.1, 3.2) and TLSRPT records (RFC 8460 3). Context: any process. Pure. */
#ifndef STSGATE_POLICY_EXT_NAME_H
#define STSGATE_POLICY_EXT_NAME_H

#include "base/span.h"

#define EXT_NAME_MAX 32u /* octets: one letter or digit and up to 31 more characters */

/** ALPHA or DIGIT, whatever the locale. */
static inline bool
ascii_is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/** (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / "."). */
bool ext_name_is_valid(struct span name);

#endif
