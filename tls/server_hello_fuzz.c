/* Fuzz target: a version only with RES_OK, and no message that is good both whole and cut. */
#include "tls/server_hello.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span message = span_make(data, size);
    uint16_t version = 1, cut = 1;
    enum result res = server_hello_version(message, &version);

    if (res != RES_OK && (res != RES_SYNTAX || version != 0))
        abort();
    if (res == RES_OK &&
        (server_hello_version(span_first(message, size - 1), &cut) != RES_SYNTAX || cut != 0))
        abort();
    return 0;
}
