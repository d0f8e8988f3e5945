/* base/pack_fuzz.c: any bytes as MessagePack. Promises: what pack_check() accepts, pack_skip()
 * steps over, with the same length; reading it value by value ends exactly there; written again and
 * read again it is the same; what is cut anywhere is RES_AGAIN; nothing beyond the bytes is
 * touched. */
#include "base/pack.h"

#include <stdint.h>
#include <stdlib.h>

#define INPUT_MAX_BYTES 4096u /* cutting everywhere is quadratic */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds)
        abort(); /* assert() is silent in release builds */
}

static void
copy_value(struct pack_reader *r, struct pack_writer *w)
{
    enum pack_type type = pack_peek_type(r);
    size_t n = 0;

    if (type == PACK_ARRAY) {
        n = pack_read_array(r, SIZE_MAX);
        pack_array(w, n);
    } else if (type == PACK_MAP) {
        n = pack_read_map(r, SIZE_MAX);
        pack_map(w, n);
        n *= 2;
    } else if (type == PACK_UINT) {
        pack_uint(w, pack_read_uint(r, UINT64_MAX));
    } else if (type == PACK_INT) {
        pack_int(w, pack_read_int(r, INT64_MIN, -1));
    } else if (type == PACK_BOOL) {
        pack_bool(w, pack_read_bool(r));
    } else if (type == PACK_NIL) {
        pack_read_nil(r);
        pack_nil(w);
    } else if (type == PACK_STR) {
        pack_str(w, pack_read_str(r));
    } else if (type == PACK_BIN) {
        pack_bin(w, pack_read_bin(r));
    } else {
        pack_raw(w, pack_read_raw(r)); /* float, ext */
    }
    for (size_t i = 0; i < n; i++)
        copy_value(r, w);
}

/* One accepted object into out, value by value. */
static void
copy_object(struct span object, struct buffer *out)
{
    struct pack_reader r;
    struct pack_writer w;

    pack_reader_init(&r, object);
    pack_begin(&w, out);
    copy_value(&r, &w);
    must(pack_reader_end(&r) == RES_OK);
    must(pack_end(&w) == RES_OK);
}

static void
check_accepted(struct span bytes, size_t len)
{
    struct buffer once, twice;
    struct pack_reader r;
    size_t none;

    pack_reader_init(&r, bytes);
    must(pack_read_raw(&r).len == len && r.rest.len == bytes.len - len);
    for (size_t cut = 0; cut < len; cut++)
        must(pack_check(span_first(bytes, cut), INPUT_MAX_BYTES, &none) == RES_AGAIN);
    must(pack_check(bytes, len, &none) == RES_OK);
    must(pack_check(bytes, len - 1, &none) == RES_LIMIT);

    buffer_init(&once, 2 * INPUT_MAX_BYTES);
    buffer_init(&twice, 2 * INPUT_MAX_BYTES);
    copy_object(span_first(bytes, len), &once);
    copy_object(buffer_span(&once), &twice);
    must(span_equal(buffer_span(&once), buffer_span(&twice)));
    buffer_clear(&once);
    buffer_clear(&twice);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = span_make(data, size);
    struct pack_reader r;
    size_t len;

    if (size > INPUT_MAX_BYTES)
        return 0;
    if (pack_check(bytes, INPUT_MAX_BYTES, &len) == RES_OK)
        check_accepted(bytes, len);
    else
        must(len == 0);

    /* Heads and scalars one after another, whatever stands there: it ends, since each takes a byte.
     */
    pack_reader_init(&r, bytes);
    while (r.res == RES_OK && r.rest.len) {
        enum pack_type type = pack_peek_type(&r);
        size_t before = r.rest.len;

        if (type == PACK_ARRAY)
            must(pack_read_array(&r, SIZE_MAX) <= r.rest.len);
        else if (type == PACK_MAP)
            must(pack_read_map(&r, SIZE_MAX) <= r.rest.len / 2);
        else if (type == PACK_EXT)
            must(pack_read_event_time(&r) >= 0);
        else
            pack_skip(&r);
        must(r.res != RES_OK || r.rest.len < before);
    }
    return 0;
}
