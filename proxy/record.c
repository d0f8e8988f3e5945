#include "proxy/record.h"

#include "base/pack.h"

const char *
record_intercept_name(enum intercept kind)
{
    static const char *const names[] = {
        [INTERCEPT_TPROXY] = "tproxy",
        [INTERCEPT_REDIRECT] = "redirect",
        [INTERCEPT_PROXY] = "proxy",
    };

    return names[kind];
}

/* How every record starts: an array of two, and in it a fixext of 8 bytes and type 0. */
static const char start[3] = { (char)0x92, (char)0xd7, PACK_EVENT_TIME_TYPE };

static bool
may_start(struct span bytes)
{
    size_t len = bytes.len < sizeof start ? bytes.len : sizeof start;

    return len == 0 || memcmp(bytes.ptr, start, len) == 0;
}

size_t
record_find(struct span bytes, size_t from)
{
    while (from < bytes.len && !may_start(span_from(bytes, from)))
        from++;
    return from < bytes.len ? from : bytes.len;
}

/* Does a record start here, down to the first key of its map? Nobody can make a certificate or a
 * policy whose hash looks like this, nor does a writer put it into other bin (record_msg.c). */
static bool
has_start(struct span bytes)
{
    struct span rest = span_from(bytes, sizeof start + PACK_EVENT_TIME_BYTES);
    uint8_t head = rest.len ? (uint8_t)rest.ptr[0] : 0;

    if (!may_start(bytes))
        return false;
    if (head >= 0x80 && head <= 0x8f) /* fixmap, map 16, map 32 */
        rest = span_from(rest, 1);
    else if (head == 0xde || head == 0xdf)
        rest = span_from(rest, head == 0xde ? 3 : 5);
    else
        return false;
    return span_starts(rest, span_of("\245event"));
}

/* A torn record ended within this bin, which then took its rest from the record behind it. Its
 * first bytes may reach beyond the bin. */
static bool
holds_start(struct span bin, const struct pack_reader *r)
{
    struct span rest = span_make(bin.ptr, bin.len + r->rest.len);

    for (size_t at = record_find(bin, 0); at < bin.len; at = record_find(bin, at + 1))
        if (has_start(span_from(rest, at)))
            return true;
    return false;
}

/* One value within the map. Recursion ends: pack_check() has bounded the depth. */
static void
check_value(struct pack_reader *r)
{
    enum pack_type type = pack_peek_type(r);

    if (type == PACK_STR) {
        if (!pack_is_text(pack_read_str(r)))
            pack_reader_fail(r, RES_SYNTAX);
    } else if (type == PACK_ARRAY) {
        size_t n = pack_read_array(r, RECORD_MAX_BYTES);

        for (size_t i = 0; i < n && r->res == RES_OK; i++)
            check_value(r);
    } else if (type == PACK_MAP) {
        size_t n = pack_read_map(r, RECORD_MAX_BYTES);

        for (size_t i = 0; i < n && r->res == RES_OK; i++) {
            if (pack_peek_type(r) != PACK_STR)
                pack_reader_fail(r, RES_SYNTAX);
            check_value(r);
            check_value(r);
        }
    } else if (type == PACK_BIN) {
        if (holds_start(pack_read_bin(r), r))
            pack_reader_fail(r, RES_SYNTAX);
    } else if (type == PACK_EXT) {
        pack_reader_fail(r, RES_SYNTAX); /* the start of another record */
    } else {
        pack_skip(r);
    }
}

enum result
record_decode(struct span bytes, size_t *out_len, int64_t *out_wall_ns, struct span *out_map)
{
    struct pack_reader r;
    struct span map;
    enum result res;
    int64_t wall_ns;
    size_t len;

    *out_len = 0;
    *out_wall_ns = 0;
    *out_map = span_make(NULL, 0);
    if (!may_start(bytes)) /* stray bytes are not waited for until they are what they announce */
        return RES_SYNTAX;
    res = pack_check(bytes, RECORD_MAX_BYTES, &len);
    if (res != RES_OK)
        return res;
    pack_reader_init(&r, span_first(bytes, len));
    pack_read_tuple(&r, 2);
    wall_ns = pack_read_event_time(&r);
    map = r.rest;
    if (!has_start(span_first(bytes, len)))
        pack_reader_fail(&r, RES_SYNTAX);
    check_value(&r);
    res = pack_reader_end(&r);
    if (res != RES_OK)
        return res;
    *out_len = len;
    *out_wall_ns = wall_ns;
    *out_map = map;
    return RES_OK;
}
