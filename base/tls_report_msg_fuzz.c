/* base/tls_report_msg_fuzz.c: any bytes as a report of a worker. Promises: nothing unless RES_OK;
 * what is read is written again and read to the same bytes; texts are printable, names are names,
 * a failure has a detail. */
#include "base/tls_report_msg.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds)
        abort(); /* assert() is silent in release builds */
}

static enum result
decode(struct span bytes, struct tls_report *out)
{
    struct pack_reader r;
    enum result res;

    pack_reader_init(&r, bytes);
    res = tls_report_decode(&r, out);
    if (res != RES_OK)
        return res;
    res = pack_reader_end(&r);
    if (res != RES_OK)
        tls_report_clear(out);
    return res;
}

static void
encode(const struct tls_report *report, struct buffer *out)
{
    struct pack_writer w;

    buffer_init(out, 1u << 26);
    pack_begin(&w, out);
    tls_report_encode(report, &w);
    must(pack_end(&w) == RES_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_report report, again;
    struct buffer first, second;

    if (decode(span_make(data, size), &report) != RES_OK) {
        must(report.strings.count == 0 && report.mx.count == 0 && report.detail_count == 0);
        return 0;
    }
    must(hostname_is_valid(span_of(report.domain)));
    must(!report.failed || report.detail_count > 0);
    for (size_t i = 0; i < report.detail_count; i++)
        for (const char *c = report.details[i].reason; *c; c++)
            must(*c >= ' ' && *c <= '~');
    encode(&report, &first);
    must(decode(buffer_span(&first), &again) == RES_OK);
    encode(&again, &second);
    must(span_equal(buffer_span(&first), buffer_span(&second)));
    buffer_clear(&first);
    buffer_clear(&second);
    tls_report_clear(&report);
    tls_report_clear(&again);
    return 0;
}
