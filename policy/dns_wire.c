#include "policy/dns_wire.h"

#define POINTER_BITS 0xc0u /* RFC 1035 4.1.4 */
#define POINTERS_MAX 127u  /* a name has no more labels than that; bounds the work */

static bool
dns_read_u8(struct dns_reader *r, unsigned *out)
{
    if (r->at >= r->packet.len)
        return false;
    *out = (uint8_t)r->packet.ptr[r->at++];
    return true;
}

bool
dns_read_u16(struct dns_reader *r, unsigned *out)
{
    unsigned high, low;

    if (!dns_read_u8(r, &high) || !dns_read_u8(r, &low))
        return false;
    *out = high << 8 | low;
    return true;
}

bool
dns_read_u32(struct dns_reader *r, uint32_t *out)
{
    unsigned high, low;

    if (!dns_read_u16(r, &high) || !dns_read_u16(r, &low))
        return false;
    *out = (uint32_t)high << 16 | low;
    return true;
}

static uint8_t
to_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

/* Append a label, its length octet first. The root's empty label ends the name. */
static bool
name_append(struct dns_name *name, const char *label, size_t len)
{
    if (name->len + 1 + len > DNS_NAME_MAX)
        return false;
    name->octets[name->len++] = (uint8_t)len;
    for (size_t i = 0; i < len; i++)
        name->octets[name->len++] = to_lower((uint8_t)label[i]);
    return true;
}

/* Follow the pointer whose first octet has been read. Each one moves back, to before the part of
 * the name that it ends (*bound), so there can be no loop. */
static bool
follow_pointer(struct dns_reader *r, unsigned first, size_t *bound)
{
    unsigned second;
    size_t target;

    if (!dns_read_u8(r, &second))
        return false;
    target = (first & ~POINTER_BITS) << 8 | second;
    if (target >= *bound || target < DNS_HEADER_BYTES)
        return false;
    r->at = *bound = target;
    return true;
}

bool
dns_read_name(struct dns_reader *r, struct dns_name *out)
{
    size_t bound = r->at, after = 0; /* after: the octet behind the first pointer */
    unsigned pointers = 0, first;

    out->len = 0;
    do {
        if (!dns_read_u8(r, &first))
            return false;
        if ((first & POINTER_BITS) == POINTER_BITS) {
            if (pointers == 0)
                after = r->at + 1;
            if (++pointers > POINTERS_MAX || !follow_pointer(r, first, &bound))
                return false;
            continue;
        }
        if (first > HOSTNAME_LABEL_MAX || first > r->packet.len - r->at ||
            !name_append(out, r->packet.ptr + r->at, first))
            return false;
        r->at += first;
    } while (first != 0);
    if (pointers > 0)
        r->at = after;
    return true;
}

bool
dns_name_equal(const struct dns_name *a, const struct dns_name *b)
{
    return a->len == b->len && memcmp(a->octets, b->octets, a->len) == 0;
}

bool
dns_name_in_zone(const struct dns_name *name, const struct dns_name *zone)
{
    size_t at = 0;

    while (name->len - at > zone->len)
        at += 1u + name->octets[at];
    return name->len - at == zone->len && memcmp(name->octets + at, zone->octets, zone->len) == 0;
}

bool
dns_name_from_text(const char *text, struct dns_name *out)
{
    struct span rest = span_of(text);

    out->len = 0;
    if (span_equal(rest, span_of(".")))
        rest.len = 0;
    else if (!hostname_is_valid(rest))
        return false;
    while (rest.len) {
        size_t label = span_find(rest, '.');

        if (!name_append(out, rest.ptr, label))
            return false;
        rest = span_from(rest, label + 1);
    }
    return name_append(out, "", 0);
}

bool
dns_name_to_text(const struct dns_name *name, char out[HOSTNAME_MAX + 1])
{
    char text[DNS_NAME_MAX + 1];
    size_t len = 0;

    out[0] = '\0';
    if (name->octets[0] == 0)
        return true;
    for (size_t at = 0; name->octets[at]; at += 1u + name->octets[at]) {
        struct span label = span_make(name->octets + at + 1, name->octets[at]);

        if (span_find(label, '.') < label.len)
            return false;
        if (len)
            text[len++] = '.';
        memcpy(text + len, label.ptr, label.len);
        len += label.len;
    }
    return hostname_normalise(span_make(text, len), out) == RES_OK;
}

bool
dns_read_record(struct dns_reader *r, struct dns_record *out)
{
    unsigned len;

    if (!dns_read_name(r, &out->owner) || !dns_read_u16(r, &out->type) ||
        !dns_read_u16(r, &out->class) || !dns_read_u32(r, &out->ttl_s) || !dns_read_u16(r, &len) ||
        len > r->packet.len - r->at)
        return false;
    if (out->ttl_s > DNS_TTL_MAX)
        out->ttl_s = 0;
    out->data = span_first(span_from(r->packet, r->at), len);
    r->at += len;
    return true;
}

bool
dns_skip_records(struct dns_reader *r, unsigned count)
{
    struct dns_record record;

    for (unsigned i = 0; i < count; i++)
        if (!dns_read_record(r, &record))
            return false;
    return true;
}

bool
dns_data_name(struct span packet, struct span data, size_t from, struct dns_name *out)
{
    size_t start = (size_t)(data.ptr - packet.ptr);
    struct dns_reader r = { span_first(packet, start + data.len), start + from };

    return from < data.len && dns_read_name(&r, out) && r.at == r.packet.len;
}
