/* Any bytes of a client and a server: the same answer however they are cut, and once it is known
 * more bytes change nothing. */
#include <stdint.h>
#include <stdlib.h>

#include "tls/hello_peek.h"

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
    enum result client = RES_AGAIN, server = RES_AGAIN;
    uint16_t version = 0;

    for (size_t len = 0; len <= size; len++) {
        uint16_t now;
        enum result c = client_hello_begins(span_first(all, len));
        enum result s = server_hello_in_stream(span_first(all, len), &now);

        CHECK(client == RES_AGAIN || c == client);
        CHECK(server == RES_AGAIN || s == server || (server == RES_DENIED && s == RES_SYNTAX));
        CHECK(s == RES_OK || now == 0);
        CHECK(version == 0 || now == version);
        CHECK(len < HELLO_PEEK_CLIENT_BYTES || c != RES_AGAIN);
        client = c;
        server = s;
        version = now;
    }
    return 0;
}
