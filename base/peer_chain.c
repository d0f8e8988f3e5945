#include "base/peer_chain.h"

#include <assert.h>
#include <stdlib.h>

enum result
peer_chain_new(const struct span *certs, size_t count, struct peer_chain **out)
{
    struct peer_chain *chain;
    size_t bytes = 0;
    char *at;

    *out = NULL;
    if (count > PEER_CHAIN_MAX)
        return RES_LIMIT;
    for (size_t i = 0; i < count; i++) {
        if (certs[i].len > PEER_CHAIN_BYTES_MAX - bytes)
            return RES_LIMIT;
        bytes += certs[i].len;
    }
    chain = malloc(sizeof *chain + count * (sizeof *certs + sizeof *chain->cert_sha256) + bytes);
    if (!chain)
        return RES_NOMEM;
    *chain = (struct peer_chain){ .refs = 1, .count = count, .certs = (struct span *)(chain + 1) };
    chain->cert_sha256 = (uint8_t(*)[32])(chain->certs + count);
    memset(chain->cert_sha256, 0, count * sizeof *chain->cert_sha256);
    at = (char *)(chain->cert_sha256 + count);
    for (size_t i = 0; i < count; i++) {
        if (certs[i].len)
            memcpy(at, certs[i].ptr, certs[i].len);
        chain->certs[i] = span_make(at, certs[i].len);
        at += certs[i].len;
    }
    *out = chain;
    return RES_OK;
}

struct peer_chain *
peer_chain_ref(struct peer_chain *chain)
{
    if (chain)
        chain->refs++;
    return chain;
}

void
peer_chain_unref(struct peer_chain *chain)
{
    if (!chain)
        return;
    assert(chain->refs > 0);
    if (--chain->refs == 0)
        free(chain);
}
