#include "base/pack.h"

/* The head of one object: its type, and what its declared lengths ask for. */
struct head {
    enum pack_type type;
    size_t len;       /* bytes of the head itself, type octet of an ext included */
    uint64_t payload; /* bytes of a str, bin or ext behind the head */
    uint64_t count;   /* elements of an array, pairs of a map */
    uint64_t bits;    /* value of a number or bool; of an ext its type */
};

/* What each first byte from 0xc0 to 0xdf means: type, bytes of the big-endian field behind it, and
 * for a fixext its payload. */
static const struct form {
    enum pack_type type;
    uint8_t field;
    uint8_t fixed;
} forms[32] = {
    [0x00] = { PACK_NIL, 0, 0 },  [0x01] = { PACK_NONE, 0, 0 },  [0x02] = { PACK_BOOL, 0, 0 },
    [0x03] = { PACK_BOOL, 0, 0 }, [0x04] = { PACK_BIN, 1, 0 },   [0x05] = { PACK_BIN, 2, 0 },
    [0x06] = { PACK_BIN, 4, 0 },  [0x07] = { PACK_EXT, 1, 0 },   [0x08] = { PACK_EXT, 2, 0 },
    [0x09] = { PACK_EXT, 4, 0 },  [0x0a] = { PACK_FLOAT, 4, 0 }, [0x0b] = { PACK_FLOAT, 8, 0 },
    [0x0c] = { PACK_UINT, 1, 0 }, [0x0d] = { PACK_UINT, 2, 0 },  [0x0e] = { PACK_UINT, 4, 0 },
    [0x0f] = { PACK_UINT, 8, 0 }, [0x10] = { PACK_INT, 1, 0 },   [0x11] = { PACK_INT, 2, 0 },
    [0x12] = { PACK_INT, 4, 0 },  [0x13] = { PACK_INT, 8, 0 },   [0x14] = { PACK_EXT, 0, 1 },
    [0x15] = { PACK_EXT, 0, 2 },  [0x16] = { PACK_EXT, 0, 4 },   [0x17] = { PACK_EXT, 0, 8 },
    [0x18] = { PACK_EXT, 0, 16 }, [0x19] = { PACK_STR, 1, 0 },   [0x1a] = { PACK_STR, 2, 0 },
    [0x1b] = { PACK_STR, 4, 0 },  [0x1c] = { PACK_ARRAY, 2, 0 }, [0x1d] = { PACK_ARRAY, 4, 0 },
    [0x1e] = { PACK_MAP, 2, 0 },  [0x1f] = { PACK_MAP, 4, 0 },
};

/* Heads whose first byte holds all there is. False: it is none of them. */
static bool
short_head(uint8_t first, struct head *out)
{
    if (first < 0x80)
        *out = (struct head){ .type = PACK_UINT, .len = 1, .bits = first };
    else if (first < 0x90)
        *out = (struct head){ .type = PACK_MAP, .len = 1, .count = first & 0x0f };
    else if (first < 0xa0)
        *out = (struct head){ .type = PACK_ARRAY, .len = 1, .count = first & 0x0f };
    else if (first < 0xc0)
        *out = (struct head){ .type = PACK_STR, .len = 1, .payload = first & 0x1f };
    else if (first >= 0xe0)
        *out = (struct head){ .type = PACK_INT, .len = 1, .bits = UINT64_MAX << 8 | first };
    else
        return false;
    return true;
}

/* value of `field` bytes, as a signed number: its sign bit copied upwards. */
static uint64_t
sign_extended(uint64_t value, unsigned field)
{
    unsigned bits = 8 * field;

    return bits < 64 && value >> (bits - 1) ? value | UINT64_MAX << bits : value;
}

/* RES_AGAIN: bytes end within the head. RES_SYNTAX: 0xc1. */
static enum result
read_head(struct span bytes, struct head *out)
{
    const uint8_t *p = (const uint8_t *)bytes.ptr;
    uint64_t value = 0;
    struct form form;

    *out = (struct head){ .type = PACK_NONE };
    if (bytes.len == 0)
        return RES_AGAIN;
    if (short_head(p[0], out))
        return RES_OK;
    form = forms[p[0] - 0xc0];
    if (form.type == PACK_NONE)
        return RES_SYNTAX;
    out->len = 1u + form.field + (form.type == PACK_EXT);
    if (bytes.len < out->len)
        return RES_AGAIN;
    for (unsigned i = 0; i < form.field; i++)
        value = value << 8 | p[1 + i];
    out->type = form.type;
    switch (form.type) {
    case PACK_STR:
    case PACK_BIN:
        out->payload = value;
        break;
    case PACK_EXT:
        out->payload = form.field ? value : form.fixed;
        out->bits = p[out->len - 1];
        break;
    case PACK_ARRAY:
    case PACK_MAP:
        out->count = value;
        break;
    case PACK_BOOL:
        out->bits = p[0] == 0xc3;
        break;
    case PACK_INT:
        out->bits = sign_extended(value, form.field);
        if (out->bits <= INT64_MAX)
            out->type = PACK_UINT;
        break;
    case PACK_UINT:
    case PACK_FLOAT:
        out->bits = value;
        break;
    case PACK_NONE:
    case PACK_NIL:
        break;
    }
    return RES_OK;
}

/* How many objects stand inside a container. */
static uint64_t
children(const struct head *head)
{
    return head->type == PACK_MAP ? 2 * head->count : head->count;
}

enum result
pack_check(struct span bytes, size_t max_bytes, size_t *out_len)
{
    uint64_t open[PACK_DEPTH_MAX + 1] = { 1 }; /* objects still to come on each level */
    uint64_t due = 1; /* the sum of open[]: every object takes a byte at least */
    uint64_t at = 0;
    unsigned depth = 0;

    *out_len = 0;
    while (due) {
        struct head head;
        enum result res;

        if (at + due > max_bytes)
            return RES_LIMIT;
        while (open[depth] == 0)
            depth--; /* ends: due is the sum, and is not 0 */
        res = at > bytes.len ? RES_AGAIN : read_head(span_from(bytes, (size_t)at), &head);
        if (res != RES_OK)
            return res;
        at += head.len + head.payload;
        open[depth]--;
        due--;
        if (children(&head)) {
            if (depth == PACK_DEPTH_MAX)
                return RES_LIMIT;
            open[++depth] = children(&head);
            due += children(&head);
        }
    }
    if (at > max_bytes)
        return RES_LIMIT;
    if (at > bytes.len)
        return RES_AGAIN;
    *out_len = (size_t)at;
    return RES_OK;
}

void
pack_reader_init(struct pack_reader *r, struct span bytes)
{
    *r = (struct pack_reader){ .rest = bytes };
}

enum result
pack_reader_end(const struct pack_reader *r)
{
    if (r->res != RES_OK)
        return r->res;
    return r->rest.len ? RES_SYNTAX : RES_OK;
}

void
pack_reader_fail(struct pack_reader *r, enum result res)
{
    if (r->res == RES_OK)
        r->res = res;
}

enum pack_type
pack_peek_type(const struct pack_reader *r)
{
    struct head head;

    if (r->res != RES_OK || read_head(r->rest, &head) != RES_OK)
        return PACK_NONE;
    return head.type;
}

/* Take the head of an object of this type, with all that it declares within the bytes left. On
 * failure a head of zeros. */
static struct head
take(struct pack_reader *r, enum pack_type type)
{
    struct head head;
    uint64_t left;

    if (r->res != RES_OK)
        return (struct head){ .type = PACK_NONE };
    if (read_head(r->rest, &head) != RES_OK || head.type != type)
        goto bad;
    left = r->rest.len - head.len;
    if (head.payload > left || children(&head) > left)
        goto bad;
    r->rest = span_from(r->rest, head.len);
    return head;
bad:
    pack_reader_fail(r, RES_SYNTAX);
    return (struct head){ .type = PACK_NONE };
}

static struct span
take_payload(struct pack_reader *r, const struct head *head)
{
    struct span payload = span_first(r->rest, (size_t)head->payload);

    r->rest = span_from(r->rest, payload.len);
    return payload;
}

static size_t
take_count(struct pack_reader *r, enum pack_type type, size_t max)
{
    struct head head = take(r, type);

    if (head.count > max) {
        pack_reader_fail(r, RES_LIMIT);
        return 0;
    }
    return (size_t)head.count;
}

size_t
pack_read_array(struct pack_reader *r, size_t max)
{
    return take_count(r, PACK_ARRAY, max);
}

size_t
pack_read_map(struct pack_reader *r, size_t max)
{
    return take_count(r, PACK_MAP, max);
}

void
pack_read_tuple(struct pack_reader *r, size_t n)
{
    if (pack_read_array(r, SIZE_MAX) != n)
        pack_reader_fail(r, RES_SYNTAX);
}

void
pack_read_nil(struct pack_reader *r)
{
    (void)take(r, PACK_NIL);
}

bool
pack_read_bool(struct pack_reader *r)
{
    return take(r, PACK_BOOL).bits != 0;
}

uint64_t
pack_read_uint(struct pack_reader *r, uint64_t max)
{
    uint64_t value = take(r, PACK_UINT).bits;

    if (value > max) {
        pack_reader_fail(r, RES_LIMIT);
        return 0;
    }
    return value;
}

int64_t
pack_read_int(struct pack_reader *r, int64_t min, int64_t max)
{
    bool negative = pack_peek_type(r) == PACK_INT;
    uint64_t bits = take(r, negative ? PACK_INT : PACK_UINT).bits;
    /* Two's complement without relying on conversion of what does not fit. */
    int64_t value = negative ? -(int64_t)~bits - 1 : (int64_t)(bits & INT64_MAX);

    if (r->res != RES_OK)
        return 0;
    if ((!negative && bits > INT64_MAX) || value < min || value > max) {
        pack_reader_fail(r, RES_LIMIT);
        return 0;
    }
    return value;
}

double
pack_read_float(struct pack_reader *r)
{
    bool single = r->rest.len && (uint8_t)r->rest.ptr[0] == 0xca;
    uint64_t bits = take(r, PACK_FLOAT).bits;
    uint32_t bits32 = (uint32_t)bits;
    double value;
    float value32;

    if (!single) {
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    memcpy(&value32, &bits32, sizeof value32);
    return (double)value32;
}

struct span
pack_read_str(struct pack_reader *r)
{
    struct head head = take(r, PACK_STR);

    return take_payload(r, &head);
}

struct span
pack_read_bin(struct pack_reader *r)
{
    struct head head = take(r, PACK_BIN);

    return take_payload(r, &head);
}

void
pack_read_text(struct pack_reader *r, char *dst, size_t size)
{
    struct span text = pack_read_str(r);

    dst[0] = '\0';
    if (text.len > size - 1) {
        pack_reader_fail(r, RES_LIMIT);
        return;
    }
    if (span_find(text, '\0') != text.len) {
        pack_reader_fail(r, RES_SYNTAX);
        return;
    }
    if (text.len)
        memcpy(dst, text.ptr, text.len);
    dst[text.len] = '\0';
}

void
pack_read_bytes(struct pack_reader *r, void *dst, size_t size)
{
    struct span bytes = pack_read_bin(r);

    memset(dst, 0, size);
    if (bytes.len != size)
        pack_reader_fail(r, RES_SYNTAX);
    else if (size)
        memcpy(dst, bytes.ptr, size);
}

int64_t
pack_read_event_time(struct pack_reader *r)
{
    struct head head = take(r, PACK_EXT);
    struct span bytes = take_payload(r, &head);
    uint32_t s = 0, ns = 0;

    if (head.bits != PACK_EVENT_TIME_TYPE || bytes.len != PACK_EVENT_TIME_BYTES) {
        pack_reader_fail(r, RES_SYNTAX);
        return 0;
    }
    for (unsigned i = 0; i < 4; i++) {
        s = s << 8 | (uint8_t)bytes.ptr[i];
        ns = ns << 8 | (uint8_t)bytes.ptr[4 + i];
    }
    if (ns > 999999999u) {
        pack_reader_fail(r, RES_LIMIT);
        return 0;
    }
    return (int64_t)s * 1000000000 + ns;
}

struct span
pack_read_raw(struct pack_reader *r)
{
    struct span object = { NULL, 0 };
    enum result res;
    size_t len;

    if (r->res != RES_OK)
        return object;
    res = pack_check(r->rest, SIZE_MAX, &len);
    if (res != RES_OK) {
        pack_reader_fail(r, res == RES_AGAIN ? RES_SYNTAX : res); /* nothing more will come */
        return object;
    }
    object = span_first(r->rest, len);
    r->rest = span_from(r->rest, len);
    return object;
}

void
pack_skip(struct pack_reader *r)
{
    (void)pack_read_raw(r);
}
