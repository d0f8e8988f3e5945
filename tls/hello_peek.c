#include "tls/hello_peek.h"

#include "tls/server_hello.h"

#define RECORD_HEADER_BYTES 5u
#define MESSAGE_HEADER_BYTES 4u
#define TYPE_ALERT 21u
#define TYPE_HANDSHAKE 22u
#define TYPE_CLIENT_HELLO 1u
#define RECORD_MAX_BYTES 16384u /* of plain text, RFC 8446 5.1 */

static uint8_t
octet(struct span bytes, size_t at)
{
    return (uint8_t)bytes.ptr[at];
}

static size_t
record_len(struct span header)
{
    return (size_t)octet(header, 3) << 8 | octet(header, 4);
}

/* The octets of a header that there are; those that are missing are no objection. */
static bool
may_be_record(struct span header, uint8_t type)
{
    if (header.len > 0 && octet(header, 0) != type)
        return false;
    if (header.len > 1 && octet(header, 1) != 3) /* SSL 3.0 and all of TLS */
        return false;
    return header.len < RECORD_HEADER_BYTES ||
           (record_len(header) > 0 && record_len(header) <= RECORD_MAX_BYTES);
}

enum result
client_hello_begins(struct span stream)
{
    if (!may_be_record(stream, TYPE_HANDSHAKE))
        return RES_SYNTAX;
    if (stream.len < HELLO_PEEK_CLIENT_BYTES)
        return RES_AGAIN;
    return octet(stream, RECORD_HEADER_BYTES) == TYPE_CLIENT_HELLO ? RES_OK : RES_SYNTAX;
}

/* Takes the records apart as far as they are there. False: one is no handshake record. */
static bool
join_records(struct span stream, char message[HELLO_PEEK_SERVER_BYTES], size_t *out_len)
{
    *out_len = 0;
    while (stream.len && *out_len < HELLO_PEEK_SERVER_BYTES) {
        struct span part;

        if (!may_be_record(stream, TYPE_HANDSHAKE))
            return false;
        if (stream.len < RECORD_HEADER_BYTES)
            return true;
        part = span_first(span_from(stream, RECORD_HEADER_BYTES), record_len(stream));
        stream = span_from(stream, RECORD_HEADER_BYTES + part.len);
        part = span_first(part, HELLO_PEEK_SERVER_BYTES - *out_len);
        if (part.len)
            memcpy(message + *out_len, part.ptr, part.len);
        *out_len += part.len;
    }
    return true;
}

enum result
server_hello_in_stream(struct span stream, uint16_t *out_version)
{
    char message[HELLO_PEEK_SERVER_BYTES];
    struct span first;
    bool whole;
    size_t len, want;

    *out_version = 0;
    if (stream.len && octet(stream, 0) == TYPE_ALERT)
        return may_be_record(stream, TYPE_ALERT) ? RES_DENIED : RES_SYNTAX;
    whole = join_records(stream, message, &len);
    first = span_make(message, len);
    if (len >= MESSAGE_HEADER_BYTES) {
        want = MESSAGE_HEADER_BYTES +
               ((size_t)octet(first, 1) << 16 | (size_t)octet(first, 2) << 8 | octet(first, 3));
        if (want > HELLO_PEEK_SERVER_BYTES)
            return RES_SYNTAX;
        if (len >= want)
            return server_hello_version(span_first(first, want), out_version);
    }
    return whole ? RES_AGAIN : RES_SYNTAX;
}
