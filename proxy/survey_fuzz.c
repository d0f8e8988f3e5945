/* Any bytes in both directions of a relayed connection, cut in any way: the same is seen. The first
 * octet of the input says how it is cut, each line which side it comes from by its first octet. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/survey.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
listen_to(struct survey *s, struct span talk, size_t step)
{
    while (talk.len) {
        size_t end = span_find(talk, '\n');
        struct span line = span_first(talk, end < talk.len ? end + 1 : end);
        bool client = (unsigned char)line.ptr[0] % 2;

        talk = span_from(talk, line.len);
        line = span_from(line, 1);
        while (line.len) {
            size_t n = step < line.len ? step : line.len;

            if (client)
                survey_client(s, span_first(line, n));
            else
                survey_mx(s, span_first(line, n));
            line = span_from(line, n);
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct survey whole = { 0 }, cut = { 0 };

    if (size == 0)
        return 0;
    listen_to(&whole, span_make(data + 1, size - 1), SIZE_MAX);
    listen_to(&cut, span_make(data + 1, size - 1), 1 + data[0] % 16u);
    if (whole.starttls_offered != cut.starttls_offered ||
        whole.starttls_asked != cut.starttls_asked ||
        whole.starttls_accepted != cut.starttls_accepted || whole.mails != cut.mails ||
        whole.recipients != cut.recipients || whole.content != cut.content)
        abort();
    return 0;
}
