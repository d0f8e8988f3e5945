#include "base/tlsa.h"

#include <stdlib.h>

enum result
dane_host_add(struct dane_host *host, uint8_t usage, uint8_t selector, uint8_t matching,
              struct span data)
{
    struct tlsa_record *more;
    uint8_t *copy = NULL;

    if (host->count >= TLSA_RECORDS_MAX || data.len > TLSA_DATA_MAX)
        return RES_LIMIT;
    more = realloc(host->records, (host->count + 1) * sizeof *more);
    if (!more)
        return RES_NOMEM;
    host->records = more;
    if (data.len) {
        copy = malloc(data.len);
        if (!copy)
            return RES_NOMEM;
        memcpy(copy, data.ptr, data.len);
    }
    host->records[host->count++] = (struct tlsa_record){ .usage = usage,
                                                         .selector = selector,
                                                         .matching = matching,
                                                         .len = (uint16_t)data.len,
                                                         .data = copy };
    return RES_OK;
}

void
dane_host_clear(struct dane_host *host)
{
    for (size_t i = 0; i < host->count; i++)
        free(host->records[i].data);
    free(host->records);
    name_list_clear(&host->references);
    *host = (struct dane_host){ .count = 0 };
}

bool
tlsa_record_is_usable(const struct tlsa_record *record)
{
    if (record->usage != TLSA_DANE_TA && record->usage != TLSA_DANE_EE)
        return false; /* RFC 7672 3.1.3 */
    if (record->selector != TLSA_CERT && record->selector != TLSA_SPKI)
        return false;
    switch (record->matching) {
    case TLSA_FULL:
        return record->len > 0;
    case TLSA_SHA2_256:
        return record->len == 32;
    case TLSA_SHA2_512:
        return record->len == 64;
    default:
        return false;
    }
}
