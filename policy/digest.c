#include "policy/digest.h"

#include <openssl/evp.h>

void
digest_sha256(struct span bytes, uint8_t out[32])
{
    if (EVP_Digest(bytes.ptr, bytes.len, out, NULL, EVP_sha256(), NULL) != 1)
        memset(out, 0, 32);
}
