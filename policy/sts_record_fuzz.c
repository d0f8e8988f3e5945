/* policy/sts_record_fuzz.c: the input is a set of TXT records, one to a line (a record may hold any
 * other octet). Promises: an id of 1 .. 32 letters and digits when found and none otherwise; a lone
 * lenient record at most; the id printed as a record is found again; strangers change nothing. */
#include "policy/ext_name.h"
#include "policy/sts_record.h"

#include <stdint.h>
#include <stdio.h>
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
check_found(const struct span *texts, size_t count, const struct sts_record *record)
{
    char printed[64];
    struct span again = { printed, 0 };
    struct sts_record reread;
    size_t len = strlen(record->id);

    must(len >= 1 && len <= STS_ID_MAX);
    for (size_t i = 0; i < len; i++)
        must(ascii_is_alnum(record->id[i]));
    must(!record->lenient || count == 1);
    if (record->lenient)
        must(!span_starts(texts[0], span_of("v=STSv1;")));

    again.len = (size_t)snprintf(printed, sizeof printed, "v=STSv1; id=%s;", record->id);
    must(sts_record_find(&again, 1, &reread) == STS_RECORD_FOUND);
    must(strcmp(reread.id, record->id) == 0 && !reread.lenient);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_make(data, size), texts[TEXTS_MAX + 1] = { { NULL, 0 } };
    struct sts_record record, beside;
    enum sts_record_finding finding, with_stranger;
    size_t count = 0;

    while (rest.len && count < TEXTS_MAX) {
        texts[count] = span_first(rest, span_find(rest, '\n'));
        rest = span_from(rest, texts[count].len + 1);
        count++;
    }
    finding = sts_record_find(texts, count, &record);
    must((finding == STS_RECORD_FOUND) == (sts_record_reason(finding)[0] == '\0'));
    if (finding == STS_RECORD_FOUND)
        check_found(texts, count, &record);
    else
        must(record.id[0] == '\0' && !record.lenient);

    texts[count] = span_of("v=spf1 -all");
    with_stranger = sts_record_find(texts, count + 1, &beside);
    if (with_stranger == STS_RECORD_FOUND)
        must(finding == STS_RECORD_FOUND && strcmp(beside.id, record.id) == 0);
    else if (with_stranger == STS_RECORD_ABSENT) /* a lone lenient record lost its standing */
        must(finding == STS_RECORD_ABSENT || count == 1);
    else
        must(finding == with_stranger);
    return 0;
}
