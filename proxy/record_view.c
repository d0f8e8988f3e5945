#include "proxy/record_view.h"

#include "proxy/record.h"

/* At the value of the key within the map at r. */
static bool
enter(struct pack_reader *r, struct span key)
{
    size_t n = pack_peek_type(r) == PACK_MAP ? pack_read_map(r, RECORD_MAX_BYTES) : 0;

    for (size_t i = 0; i < n && r->res == RES_OK; i++) {
        if (span_equal(pack_read_str(r), key))
            return r->res == RES_OK;
        pack_skip(r);
    }
    pack_reader_fail(r, RES_SYNTAX);
    return false;
}

bool
record_value(struct span map, const char *path, struct pack_reader *out)
{
    struct span rest = span_of(path);

    pack_reader_init(out, map);
    for (;;) {
        size_t len = span_find(rest, '.');

        if (!enter(out, span_first(rest, len)))
            return false;
        if (len == rest.len)
            return true;
        rest = span_from(rest, len + 1);
    }
}

struct span
record_text(struct span map, const char *path)
{
    struct pack_reader r;

    if (!record_value(map, path, &r))
        return span_of("");
    if (pack_peek_type(&r) == PACK_STR)
        return pack_read_str(&r);
    return pack_peek_type(&r) == PACK_BIN ? pack_read_bin(&r) : span_of("");
}

bool
record_bool(struct span map, const char *path)
{
    struct pack_reader r;

    return record_value(map, path, &r) && pack_peek_type(&r) == PACK_BOOL && pack_read_bool(&r);
}

uint64_t
record_number(struct span map, const char *path)
{
    struct pack_reader r;

    if (!record_value(map, path, &r) || pack_peek_type(&r) != PACK_UINT)
        return 0;
    return pack_read_uint(&r, UINT64_MAX);
}

bool
record_is(struct span map, const char *path, const char *text)
{
    return span_equal(record_text(map, path), span_of(text));
}
