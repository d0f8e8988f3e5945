/* policy/digest.h: SHA-256 of a policy text, as evidence. Context: policy process; OpenSSL 3's
 * libcrypto, which libcurl brings along. */
#ifndef STSGATE_POLICY_DIGEST_H
#define STSGATE_POLICY_DIGEST_H

#include "base/span.h"

#include <stdint.h>

/** All zeros when the library fails (no memory). */
void digest_sha256(struct span bytes, uint8_t out[32]);

#endif
