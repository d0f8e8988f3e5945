#include "tls/server_hello.h"

#define TYPE_SERVER_HELLO 2u
#define EXTENSION_SUPPORTED_VERSIONS 43u /* RFC 8446 4.2 */
#define RANDOM_BYTES 32u
#define SESSION_ID_MAX 32u

/* Takes a big-endian number of width octets off the front. */
static bool
take_number(struct span *in, size_t width, uint32_t *out)
{
    if (in->len < width)
        return false;
    *out = 0;
    for (size_t i = 0; i < width; i++)
        *out = *out << 8 | (uint8_t)in->ptr[i];
    *in = span_from(*in, width);
    return true;
}

static bool
take_bytes(struct span *in, size_t n, struct span *out)
{
    if (in->len < n)
        return false;
    *out = span_first(*in, n);
    *in = span_from(*in, n);
    return true;
}

/* A vector with a length of width octets before it. */
static bool
take_vector(struct span *in, size_t width, struct span *out)
{
    uint32_t len;

    return take_number(in, width, &len) && take_bytes(in, len, out);
}

/* version, random, session id, cipher suite, compression; the extensions, if any, are left. */
static bool
take_fixed_part(struct span *in, uint32_t *out_version)
{
    struct span random, session_id;
    uint32_t suite, compression;

    return take_number(in, 2, out_version) && take_bytes(in, RANDOM_BYTES, &random) &&
           take_vector(in, 1, &session_id) && session_id.len <= SESSION_ID_MAX &&
           take_number(in, 2, &suite) && take_number(in, 1, &compression);
}

/* Servers older than RFC 3546 send no extensions at all. */
static bool
find_supported_version(struct span in, uint32_t *version)
{
    bool found = false;
    struct span list, body;
    uint32_t type;

    if (in.len == 0)
        return true;
    if (!take_vector(&in, 2, &list) || in.len != 0)
        return false;
    while (list.len > 0) {
        if (!take_number(&list, 2, &type) || !take_vector(&list, 2, &body))
            return false;
        if (type != EXTENSION_SUPPORTED_VERSIONS)
            continue;
        if (found || !take_number(&body, 2, version) || body.len != 0)
            return false;
        found = true;
    }
    return true;
}

enum result
server_hello_version(struct span message, uint16_t *out_version)
{
    struct span body;
    uint32_t type, version = 0;

    *out_version = 0;
    if (!take_number(&message, 1, &type) || type != TYPE_SERVER_HELLO)
        return RES_SYNTAX;
    if (!take_vector(&message, 3, &body) || message.len != 0)
        return RES_SYNTAX;
    if (!take_fixed_part(&body, &version) || !find_supported_version(body, &version))
        return RES_SYNTAX;
    *out_version = (uint16_t)version;
    return RES_OK;
}
