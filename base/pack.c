#include "base/pack.h"

#include <msgpack.h>

/* ---- room ---- */

/* Where the next octets go: at hand, behind what out holds. */
static void
take_room(struct pack_writer *w)
{
    const struct buffer *out = w->out;
    size_t at_hand = out->cap - out->end, allowed = buffer_room(out);

    w->from = w->at = w->end = out->mem ? out->mem + out->end : NULL;
    if (out->mem)
        w->end += at_hand < allowed ? at_hand : allowed;
}

void
pack_begin(struct pack_writer *w, struct buffer *out)
{
    *w = (struct pack_writer){ .out = out, .before = buffer_len(out) };
    take_room(w);
}

void
pack_begin_block(struct pack_writer *w, void *block, size_t size)
{
    *w = (struct pack_writer){ .from = block, .at = block, .end = (char *)block + size };
}

size_t
pack_written(const struct pack_writer *w)
{
    return (w->out ? buffer_len(w->out) - w->before : 0) + (size_t)(w->at - w->from);
}

enum result
pack_end(struct pack_writer *w)
{
    if (w->res == RES_OK && w->out) {
        buffer_commit(w->out, (size_t)(w->at - w->from));
    } else if (w->out) {
        w->out->end = w->out->start + w->before;
        if (w->before == 0)
            buffer_clear(w->out); /* an empty buffer holds no memory */
    }
    if (w->res != RES_OK)
        w->at = w->end = w->from;
    return w->res;
}

void
pack_fail(struct pack_writer *w, enum result res)
{
    if (w->res != RES_OK || res == RES_OK)
        return;
    w->res = res;
    w->end = w->at; /* nothing is written any more */
}

/* n octets at w->at that are not there yet; false: there cannot be so many. */
static bool
make_room(struct pack_writer *w, size_t n)
{
    enum result res = RES_LIMIT;
    char *place;

    if (w->res != RES_OK)
        return false;
    if (w->out) {
        buffer_commit(w->out, (size_t)(w->at - w->from));
        res = buffer_reserve(w->out, n, &place);
        take_room(w);
    }
    pack_fail(w, res);
    return res == RES_OK;
}

/* bytes: n octets, 1 or more. 0, or -1 as msgpack-c has it; nobody looks: the writer knows. */
static inline int
put(struct pack_writer *w, const void *bytes, size_t n)
{
    if (n > (size_t)(w->end - w->at) && !make_room(w, n))
        return -1;
    memcpy(w->at, bytes, n);
    w->at += n;
    return 0;
}

static void
put_span(struct pack_writer *w, struct span bytes)
{
    if (bytes.len) /* an empty span may have no place */
        (void)put(w, bytes.ptr, bytes.len);
}

/* ---- heads and numbers: msgpack-c's template, which writes by put(): encode_nil() ... ---- */

#define msgpack_pack_inline_func(name) static inline int encode##name
#define msgpack_pack_inline_func_cint(name) static inline int encode##name
#define msgpack_pack_inline_func_fixint(name) static inline int encode_fix##name
#define msgpack_pack_user struct pack_writer *
#define msgpack_pack_append_buffer(w, bytes, n) return put(w, bytes, n)
#include <msgpack/pack_template.h>

void
pack_nil(struct pack_writer *w)
{
    (void)encode_nil(w);
}

void
pack_bool(struct pack_writer *w, bool value)
{
    (void)(value ? encode_true(w) : encode_false(w));
}

void
pack_uint(struct pack_writer *w, uint64_t value)
{
    (void)encode_uint64(w, value);
}

void
pack_int(struct pack_writer *w, int64_t value)
{
    (void)encode_int64(w, value);
}

/* A length that the format cannot declare; msgpack-c would cut it to 32 bits. */
static bool
has_length(struct pack_writer *w, size_t n)
{
    if (n <= UINT32_MAX)
        return true;
    pack_fail(w, RES_LIMIT);
    return false;
}

void
pack_array(struct pack_writer *w, size_t n)
{
    if (has_length(w, n))
        (void)encode_array(w, n);
}

void
pack_map(struct pack_writer *w, size_t n)
{
    if (has_length(w, n))
        (void)encode_map(w, n);
}

void
pack_text_slowly(struct pack_writer *w, struct span text)
{
    if (!has_length(w, text.len))
        return;
    (void)encode_str(w, text.len);
    put_span(w, text);
}

void
pack_text_parts(struct pack_writer *w, const struct span *parts, size_t n)
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++)
        len += parts[i].len;
    if (!has_length(w, len))
        return;
    (void)encode_str(w, len);
    for (size_t i = 0; i < n; i++)
        put_span(w, parts[i]);
}

void
pack_str(struct pack_writer *w, struct span text)
{
    if (pack_is_text(text))
        pack_text(w, text);
    else
        pack_bin(w, text);
}

void
pack_bin(struct pack_writer *w, struct span bytes)
{
    if (!has_length(w, bytes.len))
        return;
    (void)encode_bin(w, bytes.len);
    put_span(w, bytes);
}

void
pack_event_time(struct pack_writer *w, int64_t wall_ns)
{
    uint64_t ns = wall_ns > 0 ? (uint64_t)wall_ns : 0;
    uint64_t s = ns / 1000000000u;
    uint8_t bytes[PACK_EVENT_TIME_BYTES];

    ns %= 1000000000u;
    if (s > UINT32_MAX) {
        s = UINT32_MAX;
        ns = 999999999u;
    }
    for (unsigned i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(s >> (24 - 8 * i));
        bytes[4 + i] = (uint8_t)(ns >> (24 - 8 * i));
    }
    (void)encode_ext(w, sizeof bytes, PACK_EVENT_TIME_TYPE);
    (void)put(w, bytes, sizeof bytes);
}

void
pack_raw(struct pack_writer *w, struct span objects)
{
    put_span(w, objects);
}

size_t
pack_char_len(struct span s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    unsigned char low = 0x80, high = 0xbf; /* of the second octet */
    size_t len;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f; /* no surrogates */
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (s.len < len || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

size_t
pack_mend_text(struct span bytes, char *out)
{
    size_t len = 0;

    while (bytes.len) {
        size_t n = pack_char_len(bytes);

        memcpy(out + len, n ? bytes.ptr : "\xef\xbf\xbd", n ? n : 3);
        len += n ? n : 3;
        bytes = span_from(bytes, n ? n : 1);
    }
    return len;
}

static bool
is_control(const char *at)
{
    unsigned char c = (unsigned char)at[0];

    if (c < 0x20)
        return c != '\t' && c != '\r' && c != '\n';
    return c == 0x7f || (c == 0xc2 && (unsigned char)at[1] < 0xa0); /* U+0080 ... U+009F */
}

/* Eight octets at once. Of one below 0x80, 0x60 more has the high bit only from 0x20 on, and one
 * more only at 0x7f; one above has it itself, and what it carries into its neighbour matters no
 * more. */
static bool
is_plain(const char *at)
{
    const uint64_t high = UINT64_C(0x8080808080808080), ones = UINT64_C(0x0101010101010101);
    uint64_t x;

    memcpy(&x, at, sizeof x);
    return ((x | ~(x + 0x60 * ones) | (x + ones)) & high) == 0;
}

/* How many octets at the front are printable ASCII: in nearly every text all of them. */
static size_t
plain_len(struct span s)
{
    size_t n = 0;

    while (n + sizeof(uint64_t) <= s.len && is_plain(s.ptr + n))
        n += sizeof(uint64_t);
    while (n < s.len && s.ptr[n] >= 0x20 && s.ptr[n] < 0x7f)
        n++;
    return n;
}

bool
pack_is_text(struct span bytes)
{
    while ((bytes = span_from(bytes, plain_len(bytes))).len) {
        size_t len = pack_char_len(bytes);

        if (len == 0 || is_control(bytes.ptr))
            return false;
        bytes = span_from(bytes, len);
    }
    return true;
}
