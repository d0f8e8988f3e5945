#include "proxy/record_json.h"

#include "base/buffer.h"
#include "base/pack.h"
#include "proxy/record.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LINE_MAX_BYTES(map_len) (6u * (map_len) + 4096u) /* \u-escapes are six times the octet */

static json_t *value_json(struct pack_reader *r, struct span key);

static json_t *
time_json(int64_t wall_ns)
{
    time_t s = (time_t)(wall_ns / 1000000000);
    char text[64];
    struct tm utc;
    size_t len;

    if (!gmtime_r(&s, &utc))
        return NULL;
    len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + len, sizeof text - len, ".%09" PRId64 "Z", wall_ns % 1000000000);
    return json_string(text);
}

static json_t *
hex_json(struct span bytes)
{
    static const char hex[] = "0123456789abcdef";
    char *text = malloc(2 * bytes.len + 1);
    json_t *json = NULL;

    if (!text)
        return NULL;
    for (size_t i = 0; i < bytes.len; i++) {
        text[2 * i] = hex[(unsigned char)bytes.ptr[i] >> 4];
        text[2 * i + 1] = hex[bytes.ptr[i] & 15];
    }
    json = json_stringn(text, 2 * bytes.len);
    free(text);
    return json;
}

static json_t *
text_json(struct span bytes)
{
    char *text = malloc(PACK_MENDED_BYTES(bytes.len));
    json_t *json;

    if (!text)
        return NULL;
    json = json_stringn(text, pack_mend_text(bytes, text));
    free(text);
    return json;
}

static bool
is_hash(struct span key)
{
    struct span suffix = span_of("_sha256");

    return key.len >= suffix.len && span_equal(span_from(key, key.len - suffix.len), suffix);
}

static json_t *
uint_json(uint64_t value)
{
    char text[24];

    if (value <= INT64_MAX)
        return json_integer((json_int_t)value);
    snprintf(text, sizeof text, "%" PRIu64, value);
    return json_string(text);
}

static json_t *
array_json(struct pack_reader *r, struct span key)
{
    size_t n = pack_read_array(r, RECORD_MAX_BYTES);
    json_t *array = json_array();

    for (size_t i = 0; i < n && r->res == RES_OK; i++)
        if (json_array_append_new(array, value_json(r, key)) != 0)
            pack_reader_fail(r, RES_NOMEM);
    return array;
}

/* Put the pairs of the map at the reader into object. */
static void
read_pairs(struct pack_reader *r, json_t *object)
{
    size_t n = pack_read_map(r, RECORD_MAX_BYTES);

    for (size_t i = 0; i < n && r->res == RES_OK; i++) {
        struct span key = pack_read_str(r);
        json_t *value = value_json(r, key);

        /* Takes value in any case; NULL for either is a failure. */
        if (json_object_setn_new(object, key.len ? key.ptr : "", key.len, value) != 0)
            pack_reader_fail(r, RES_NOMEM);
    }
}

static json_t *
map_json(struct pack_reader *r)
{
    json_t *object = json_object();

    read_pairs(r, object);
    return object;
}

/* NULL: no memory, or the reader has failed. Recursion ends: record_decode() has bounded the depth.
 */
static json_t *
value_json(struct pack_reader *r, struct span key)
{
    double number;

    switch (pack_peek_type(r)) {
    case PACK_NIL:
        pack_read_nil(r);
        return json_null();
    case PACK_BOOL:
        return json_boolean(pack_read_bool(r));
    case PACK_UINT:
        return uint_json(pack_read_uint(r, UINT64_MAX));
    case PACK_INT:
        return json_integer(pack_read_int(r, INT64_MIN, INT64_MAX));
    case PACK_FLOAT:
        number = pack_read_float(r);
        return isfinite(number) ? json_real(number) : json_null();
    case PACK_STR:
        return text_json(pack_read_str(r));
    case PACK_BIN:
        return is_hash(key) ? hex_json(pack_read_bin(r)) : text_json(pack_read_bin(r));
    case PACK_ARRAY:
        return array_json(r, key);
    case PACK_MAP:
        return map_json(r);
    case PACK_NONE:
    case PACK_EXT:
        break;
    }
    pack_reader_fail(r, RES_SYNTAX);
    return NULL;
}

/* A piece of the line. The library escapes all that is not ASCII and all below a blank, but not
 * DEL; it can only stand within a string. */
static int
on_dumped(const char *bytes, size_t len, void *data)
{
    struct buffer *line = data;
    struct span rest = span_make(bytes, len);

    while (rest.len) {
        size_t at = span_find(rest, '\x7f');

        if (buffer_append(line, span_first(rest, at)) != RES_OK)
            return -1;
        if (at < rest.len && buffer_append(line, span_of("\\u007f")) != RES_OK)
            return -1;
        rest = span_from(rest, at + 1);
    }
    return 0;
}

/* wall_ns: NULL for none. */
static enum result
line_of(const int64_t *wall_ns, struct span map, char **out_line)
{
    json_t *object = json_object();
    struct pack_reader r;
    struct buffer line;
    enum result res;

    *out_line = NULL;
    buffer_init(&line, LINE_MAX_BYTES(map.len));
    pack_reader_init(&r, map);
    if (!object || (wall_ns && json_object_set_new(object, "time", time_json(*wall_ns)) != 0))
        pack_reader_fail(&r, RES_NOMEM);
    read_pairs(&r, object);
    res = pack_reader_end(&r);
    if (res != RES_OK)
        goto done;
    res = RES_NOMEM;
    if (json_dump_callback(object, on_dumped, &line, JSON_COMPACT | JSON_ENSURE_ASCII) != 0 ||
        buffer_append(&line, span_make("", 1)) != RES_OK)
        goto done;
    *out_line = line.mem; /* starts at 0: nothing was consumed */
    buffer_init(&line, 1);
    res = RES_OK;
done:
    buffer_clear(&line);
    json_decref(object);
    return res;
}

enum result
record_json(int64_t wall_ns, struct span map, char **out_line)
{
    return line_of(&wall_ns, map, out_line);
}

enum result
record_json_map(struct span map, char **out_line)
{
    return line_of(NULL, map, out_line);
}

enum result
record_json_print(struct span map, FILE *out)
{
    char *line;
    enum result res = record_json_map(map, &line);

    if (res == RES_OK)
        fprintf(out, "%s\n", line);
    free(line);
    return res;
}
