/* policy/tlsrpt_record_fuzz.c: the input is a set of TXT records, one to a line. Promises:
 * destinations if and only if found, bounded in number, and such that nothing of them breaks out of
 * a header field or a URI; strangers beside them change nothing. */
#include "policy/tlsrpt_record.h"

#include <stdint.h>
#include <stdlib.h>

#define TEXTS_MAX 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds)
        abort(); /* assert() is silent in release builds */
}

static void
check(const struct tlsrpt_record *record)
{
    must(record->mail.count <= TLSRPT_RUA_MAX && record->https.count <= TLSRPT_RUA_MAX);
    for (size_t i = 0; i < record->mail.count; i++)
        must(tlsrpt_address_is_valid(span_of(record->mail.names[i])));
    for (size_t i = 0; i < record->https.count; i++) {
        struct span uri = span_of(record->https.names[i]);

        must(span_starts_nocase(uri, span_of("https://")) && uri.len > 8);
        for (size_t at = 0; at < uri.len; at++)
            must(uri.ptr[at] > ' ' && uri.ptr[at] <= '~');
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_make(data, size), texts[TEXTS_MAX + 1] = { { NULL, 0 } };
    enum tlsrpt_finding finding, beside;
    struct tlsrpt_record record, other;
    size_t count = 0;

    while (rest.len && count < TEXTS_MAX) {
        texts[count] = span_first(rest, span_find(rest, '\n'));
        rest = span_from(rest, texts[count].len + 1);
        count++;
    }
    must(tlsrpt_record_find(texts, count, &finding, &record) == RES_OK);
    must((finding == TLSRPT_FOUND) == (record.mail.count + record.https.count > 0));
    check(&record);
    texts[count] = span_of("v=spf1 -all");
    must(tlsrpt_record_find(texts, count + 1, &beside, &other) == RES_OK);
    must(beside == finding && other.mail.count == record.mail.count);
    tlsrpt_record_clear(&record);
    tlsrpt_record_clear(&other);
    return 0;
}
