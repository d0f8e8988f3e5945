#include "base/pack.h"

#include <msgpack.h>

#define FIXSTR 0xa0u /* head of a str as short as this (MessagePack's fixstr) */
#define FIXSTR_MAX 31u

void
pack_begin(struct pack_writer *w, struct buffer *out)
{
    *w = (struct pack_writer){ .out = out, .before = buffer_len(out) };
}

void
pack_begin_block(struct pack_writer *w, void *block, size_t size)
{
    *w = (struct pack_writer){ .block = block, .size = size };
}

size_t
pack_written(const struct pack_writer *w)
{
    return w->out ? buffer_len(w->out) - w->before : w->len;
}

enum result
pack_end(struct pack_writer *w)
{
    if (w->res == RES_OK)
        return RES_OK;
    if (w->out) {
        w->out->end = w->out->start + w->before;
        if (w->before == 0)
            buffer_clear(w->out); /* an empty buffer holds no memory */
    }
    w->len = 0;
    return w->res;
}

void
pack_fail(struct pack_writer *w, enum result res)
{
    if (w->res == RES_OK)
        w->res = res;
}

static void
append(struct pack_writer *w, struct span bytes)
{
    if (w->res != RES_OK || bytes.len == 0)
        return;
    if (w->out) {
        w->res = buffer_append(w->out, bytes);
    } else if (bytes.len > w->size - w->len) {
        w->res = RES_LIMIT;
    } else {
        memcpy(w->block + w->len, bytes.ptr, bytes.len);
        w->len += bytes.len;
    }
}

/* n octets that count as written, for the caller to fill; NULL: append() has to see to it. */
static char *
room_at_hand(struct pack_writer *w, size_t n)
{
    struct buffer *out = w->out;

    if (w->res != RES_OK || !out || n > out->cap - out->end || n > buffer_room(out))
        return NULL;
    out->end += n;
    return out->mem + out->end - n;
}

static int
on_packed(void *data, const char *bytes, size_t len)
{
    struct pack_writer *w = data;

    append(w, span_make(bytes, len));
    return w->res == RES_OK ? 0 : -1;
}

static msgpack_packer
packer(struct pack_writer *w)
{
    return (msgpack_packer){ .data = w, .callback = on_packed };
}

/* msgpack-c's own results are not looked at below: on_packed() has kept the reason. */

void
pack_nil(struct pack_writer *w)
{
    msgpack_packer pk = packer(w);

    (void)msgpack_pack_nil(&pk);
}

void
pack_bool(struct pack_writer *w, bool value)
{
    msgpack_packer pk = packer(w);

    (void)(value ? msgpack_pack_true(&pk) : msgpack_pack_false(&pk));
}

void
pack_uint(struct pack_writer *w, uint64_t value)
{
    msgpack_packer pk = packer(w);

    (void)msgpack_pack_uint64(&pk, value);
}

void
pack_int(struct pack_writer *w, int64_t value)
{
    msgpack_packer pk = packer(w);

    (void)msgpack_pack_int64(&pk, value);
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
    msgpack_packer pk = packer(w);

    if (has_length(w, n))
        (void)msgpack_pack_array(&pk, n);
}

void
pack_map(struct pack_writer *w, size_t n)
{
    msgpack_packer pk = packer(w);

    if (has_length(w, n))
        (void)msgpack_pack_map(&pk, n);
}

void
pack_text(struct pack_writer *w, struct span text)
{
    char *place = text.len <= FIXSTR_MAX ? room_at_hand(w, 1 + text.len) : NULL;

    if (place) { /* nearly always: head and text at once */
        *place = (char)(FIXSTR | text.len);
        if (text.len) /* an empty span may have no place */
            memcpy(place + 1, text.ptr, text.len);
    } else if (has_length(w, text.len)) {
        msgpack_packer pk = packer(w);

        (void)msgpack_pack_str(&pk, text.len);
        append(w, text);
    }
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
    msgpack_packer pk = packer(w);

    if (!has_length(w, bytes.len))
        return;
    (void)msgpack_pack_bin(&pk, bytes.len);
    append(w, bytes);
}

void
pack_event_time(struct pack_writer *w, int64_t wall_ns)
{
    msgpack_packer pk = packer(w);
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
    (void)msgpack_pack_ext(&pk, sizeof bytes, PACK_EVENT_TIME_TYPE);
    append(w, span_make(bytes, sizeof bytes));
}

void
pack_raw(struct pack_writer *w, struct span objects)
{
    append(w, objects);
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
