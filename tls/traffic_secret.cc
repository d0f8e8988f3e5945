// Compiled without exceptions and run-time types, and linked by the C compiler: the program stays
// C.
#include "tls/traffic_secret.h"

#include <openssl/span.h>

extern "C" bool
traffic_secret_write(const SSL *ssl, const uint8_t **out, size_t *out_len)
{
    bssl::Span<const uint8_t> read, write;

    if (!bssl::SSL_get_traffic_secrets(ssl, &read, &write))
        return false;
    *out = write.data();
    *out_len = write.size();
    return true;
}
