/* Any bytes as a PROXY header: what is taken is whole, of one family, and of IPv4 or IPv6. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/proxy_header.h"

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span all = span_make(data, size);
    struct proxy_header h;
    enum result res;
    size_t len;

    res = proxy_header_len(all, &len);
    CHECK(res == RES_OK || len == 0);
    CHECK(size < PROXY_HEADER_FIXED_BYTES || res != RES_AGAIN);
    if (res != RES_OK || size < len)
        return 0;
    CHECK(len >= PROXY_HEADER_FIXED_BYTES && len <= PROXY_HEADER_MAX_BYTES);
    if (proxy_header_parse(span_first(all, len), &h) != RES_OK) {
        CHECK(h.client.len == 0 && h.destination.len == 0);
        return 0;
    }
    CHECK(h.client.len == h.destination.len && (h.client.len == 4 || h.client.len == 16));
    CHECK(len >= PROXY_HEADER_FIXED_BYTES + 12);
    return 0;
}
