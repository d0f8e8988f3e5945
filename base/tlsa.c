#include "base/tlsa.h"

#include <stdio.h>
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

int
tlsa_record_compare(const struct tlsa_record *a, const struct tlsa_record *b)
{
    const uint8_t numbers_a[] = { a->usage, a->selector, a->matching };
    const uint8_t numbers_b[] = { b->usage, b->selector, b->matching };
    size_t shorter = a->len < b->len ? a->len : b->len;
    int order = memcmp(numbers_a, numbers_b, sizeof numbers_a);

    if (order == 0 && shorter)
        order = memcmp(a->data, b->data, shorter);
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

static int
by_octets(const void *a, const void *b)
{
    return tlsa_record_compare(a, b);
}

void
dane_host_sort(struct dane_host *host)
{
    size_t kept = 0;

    if (host->count == 0)
        return;
    qsort(host->records, host->count, sizeof *host->records, by_octets);
    for (size_t i = 1; i < host->count; i++) {
        if (tlsa_record_compare(&host->records[i], &host->records[kept]) == 0)
            free(host->records[i].data);
        else
            host->records[++kept] = host->records[i];
    }
    host->count = kept + 1;
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

size_t
tlsa_numbers_text(uint8_t usage, uint8_t selector, uint8_t matching, char out[TLSA_NUMBERS_MAX])
{
    const uint8_t numbers[] = { usage, selector, matching };
    char *at = out;

    for (size_t i = 0; i < sizeof numbers; i++) {
        char digits[SPAN_U64_DIGITS];
        struct span number = span_of_u64(numbers[i], digits);

        memcpy(at, number.ptr, number.len);
        at += number.len;
        *at++ = ' ';
    }
    *--at = '\0'; /* in place of the last blank */
    return (size_t)(at - out);
}

size_t
tlsa_record_text(const struct tlsa_record *record, char out[TLSA_TEXT_MAX])
{
    static const char digits[] = "0123456789ABCDEF";
    char *at = out + tlsa_numbers_text(record->usage, record->selector, record->matching, out);

    *at++ = ' ';
    for (size_t i = 0; i < record->len; i++) {
        *at++ = digits[record->data[i] >> 4];
        *at++ = digits[record->data[i] & 15];
    }
    *at = '\0';
    return (size_t)(at - out);
}
