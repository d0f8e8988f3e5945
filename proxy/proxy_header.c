#include "proxy/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_BYTES 12u
#define VERSION 2u
#define COMMAND_LOCAL 0u
#define COMMAND_PROXY 1u
#define TCP_IPV4 0x11u
#define TCP_IPV6 0x21u
#define UNIX_DATAGRAM 0x32u /* the highest combination there is */
#define TYPE_CRC32C 0x03u   /* an extension: over all of the header, its own value as zero */
#define EXTENSION_HEAD_BYTES 3u

static uint8_t
octet(struct span bytes, size_t at)
{
    return (uint8_t)bytes.ptr[at];
}

static uint16_t
number_at(struct span bytes, size_t at)
{
    return (uint16_t)(octet(bytes, at) << 8 | octet(bytes, at + 1));
}

enum result
proxy_header_len(struct span stream, size_t *out_len)
{
    size_t known = stream.len < SIGNATURE_BYTES ? stream.len : SIGNATURE_BYTES;

    *out_len = 0;
    if (known && memcmp(stream.ptr, SIGNATURE, known) != 0)
        return RES_SYNTAX;
    if (stream.len > SIGNATURE_BYTES && octet(stream, SIGNATURE_BYTES) >> 4 != VERSION)
        return RES_SYNTAX;
    if (stream.len < PROXY_HEADER_FIXED_BYTES)
        return RES_AGAIN;
    *out_len = PROXY_HEADER_FIXED_BYTES + number_at(stream, 14);
    if (*out_len <= PROXY_HEADER_MAX_BYTES)
        return RES_OK;
    *out_len = 0;
    return RES_LIMIT;
}

/* CRC-32C, RFC 3720 B.4, bit by bit: one header in the life of a connection. */
static uint32_t
crc32c(uint32_t crc, uint8_t byte)
{
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++)
        crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    return crc;
}

static bool
checksum_fits(struct span header, size_t at)
{
    uint32_t crc = UINT32_MAX, told = 0;

    for (size_t i = 0; i < header.len; i++) {
        bool own = i >= at && i < at + 4;

        crc = crc32c(crc, own ? 0 : octet(header, i));
        if (own)
            told = told << 8 | octet(header, i);
    }
    return ~crc == told;
}

/* Every extension is whole, and the checksum, if there is one, fits. */
static bool
extensions_are_good(struct span header, size_t at)
{
    while (at < header.len) {
        size_t len, value = at + EXTENSION_HEAD_BYTES;

        if (header.len < value)
            return false;
        len = number_at(header, at + 1);
        if (header.len - value < len)
            return false;
        if (octet(header, at) == TYPE_CRC32C && (len != 4 || !checksum_fits(header, value)))
            return false;
        at = value + len;
    }
    return true;
}

static enum result
take_addresses(struct span header, size_t width, struct proxy_header *out)
{
    struct span rest = span_from(header, PROXY_HEADER_FIXED_BYTES);
    size_t ports = 2 * width;
    struct proxy_header got = { 0 };

    if (rest.len < ports + 4)
        return RES_SYNTAX;
    if (ip_addr_from_bytes(span_first(rest, width), &got.client) != RES_OK ||
        ip_addr_from_bytes(span_first(span_from(rest, width), width), &got.destination) != RES_OK)
        return RES_SYNTAX;
    if (got.client.len != got.destination.len) /* one of IPv4 in the form of IPv6 */
        return RES_SYNTAX;
    got.client_port = number_at(rest, ports);
    got.destination_port = number_at(rest, ports + 2);
    if (!extensions_are_good(header, PROXY_HEADER_FIXED_BYTES + ports + 4))
        return RES_SYNTAX;
    *out = got;
    return RES_OK;
}

enum result
proxy_header_parse(struct span header, struct proxy_header *out)
{
    uint8_t command, family;
    size_t len;

    *out = (struct proxy_header){ 0 };
    if (proxy_header_len(header, &len) != RES_OK || len != header.len)
        return RES_SYNTAX;
    command = octet(header, 12) & 0x0f;
    family = octet(header, 13);
    if (command > COMMAND_PROXY || family > UNIX_DATAGRAM || (family & 0x0f) > 2)
        return RES_SYNTAX;
    if (command == COMMAND_LOCAL || (family != TCP_IPV4 && family != TCP_IPV6))
        return RES_DENIED;
    return take_addresses(header, family == TCP_IPV4 ? 4 : 16, out);
}
