/* base/ip_addr.h: an IPv4 or IPv6 address, with or without a port.
 * Context: any process. Pure. IPv4-mapped IPv6 (::ffff:a.b.c.d) is always held as IPv4, so that
 * comparison is on what the peer really is (PRX-016). */
#ifndef STSGATE_BASE_IP_ADDR_H
#define STSGATE_BASE_IP_ADDR_H

#include "base/result.h"
#include "base/span.h"

#include <stdint.h>

#define IP_ADDR_TEXT_MAX 46u /* INET6_ADDRSTRLEN */

struct sockaddr;
struct sockaddr_storage;

struct ip_addr {
    uint8_t len;       /* 4, 16, or 0 for "none" */
    uint8_t bytes[16]; /* network order; unused bytes are 0 */
};

struct ip_net {
    struct ip_addr addr; /* host bits are 0 */
    uint8_t bits;        /* 0 .. addr.len * 8 */
};

bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b);

/** len 4 or 16 bytes in network order; RES_SYNTAX on any other len, *out is then none. */
MUST_CHECK enum result ip_addr_from_bytes(struct span bytes, struct ip_addr *out);

/** AF_INET and AF_INET6; anything else gives none and port 0. out_port in host order, may be NULL.
 */
void ip_addr_from_sockaddr(const struct sockaddr *sa, struct ip_addr *out, uint16_t *out_port);

/** For socket calls. Returns the length of the address written. a must not be none. */
unsigned ip_addr_to_sockaddr(const struct ip_addr *a, uint16_t port, struct sockaddr_storage *out);

/** Dotted decimal or RFC 5952 text; "none" for none. Returns out. */
const char *ip_addr_text(const struct ip_addr *a, char out[IP_ADDR_TEXT_MAX]);

/** RES_SYNTAX: no address. No zone ids. */
MUST_CHECK enum result ip_addr_parse(const char *text, struct ip_addr *out);

/** "ADDRESS:PORT", the address of IPv6 in brackets; port 1 .. 65535. False: something else. */
bool ip_endpoint_parse(const char *text, struct ip_addr *out_addr, uint16_t *out_port);

/** "192.0.2.0/24", "2001:db8::/32", or an address alone. RES_SYNTAX also when host bits are set
 * and for an IPv4-mapped address with a prefix. */
MUST_CHECK enum result ip_net_parse(const char *text, struct ip_net *out);

bool ip_net_has(const struct ip_net *net, const struct ip_addr *a);

/** Is it an address of the public internet? False for loopback, private, link-local, shared,
 * multicast, unspecified, documentation, reserved and translated forms of such
 * (RFC 6890 and successors). Used for hosts that strangers name (STS-035). */
bool ip_addr_is_public(const struct ip_addr *a);

/** Never a mail destination: unspecified, loopback, link-local, multicast, broadcast (PRX-054). */
bool ip_addr_is_undialable(const struct ip_addr *a);

#endif
