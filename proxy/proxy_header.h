/* proxy/proxy_header.h: the header of the PROXY protocol, version 2, binary: who the client is and
 * where it wanted to go, told by a load balancer in front (PRX-054; HAProxy's proxy-protocol.txt,
 * 2.2). Context: worker. Pure. */
#ifndef STSGATE_PROXY_PROXY_HEADER_H
#define STSGATE_PROXY_PROXY_HEADER_H

#include "base/ip_addr.h"
#include "base/result.h"
#include "base/span.h"

#define PROXY_HEADER_FIXED_BYTES 16u
#define PROXY_HEADER_MAX_BYTES 4096u /* with all its extensions; senders keep below 1500 */

struct proxy_header {
    struct ip_addr client, destination; /* of the same family */
    uint16_t client_port, destination_port;
};

/** How long is the header that stream begins with? stream: from the connection's first octet on.
 * RES_OK: *out_len, PROXY_HEADER_FIXED_BYTES .. PROXY_HEADER_MAX_BYTES. RES_AGAIN: too little is
 * there to tell. RES_SYNTAX: no header of version 2. RES_LIMIT: longer than the maximum. */
MUST_CHECK enum result proxy_header_len(struct span stream, size_t *out_len);

/** header: exactly as long as proxy_header_len() says.
 * RES_SYNTAX: malformed, or a checksum that does not fit. RES_DENIED: well-formed, and not what a
 * gateway can serve: LOCAL, no TCP, no IPv4 or IPv6. *out is then all zero. */
MUST_CHECK enum result proxy_header_parse(struct span header, struct proxy_header *out);

#endif
