#include "base/ip_addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

static const uint8_t mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

/* RFC 6890 and later entries of the special-purpose registries, and multicast. */
static const char *const special_nets[] = {
    "0.0.0.0/8",     "10.0.0.0/8",      "100.64.0.0/10",  "127.0.0.0/8",    "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24",    "192.0.2.0/24",   "192.88.99.0/24", "192.168.0.0/16",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",    "240.0.0.0/4",
    "::/3", /* all before 2000::/3: ::, ::1, mapped, translated (64:ff9b::/96), discard */
    "2001::/23",     "2001:db8::/32",   "2002::/16",      "3fff::/20",      "4000::/2",
    "8000::/1", /* all behind 2000::/3: fc00::/7, fe80::/10, ff00::/8 */
};

static const char *const undialable_nets[] = {
    "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
    "::/128",    "::1/128",     "fe80::/10",      "ff00::/8",
};

bool
ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

enum result
ip_addr_from_bytes(struct span bytes, struct ip_addr *out)
{
    *out = (struct ip_addr){ 0 };
    if (bytes.len == 16 && memcmp(bytes.ptr, mapped_prefix, sizeof mapped_prefix) == 0)
        bytes = span_from(bytes, sizeof mapped_prefix);
    if (bytes.len != 4 && bytes.len != 16)
        return RES_SYNTAX;
    out->len = (uint8_t)bytes.len;
    memcpy(out->bytes, bytes.ptr, bytes.len);
    return RES_OK;
}

void
ip_addr_from_sockaddr(const struct sockaddr *sa, struct ip_addr *out, uint16_t *out_port)
{
    struct span bytes = { NULL, 0 };
    uint16_t port = 0;

    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in4 = (const void *)sa;

        bytes = span_make(&in4->sin_addr, 4);
        port = ntohs(in4->sin_port);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)sa;

        bytes = span_make(&in6->sin6_addr, 16);
        port = ntohs(in6->sin6_port);
    }
    if (ip_addr_from_bytes(bytes, out) != RES_OK)
        port = 0;
    if (out_port)
        *out_port = port;
}

unsigned
ip_addr_to_sockaddr(const struct ip_addr *a, uint16_t port, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (a->len == 4) {
        struct sockaddr_in *in4 = (void *)out;

        in4->sin_family = AF_INET;
        in4->sin_port = htons(port);
        memcpy(&in4->sin_addr, a->bytes, 4);
        return sizeof *in4;
    }
    struct sockaddr_in6 *in6 = (void *)out;

    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    memcpy(&in6->sin6_addr, a->bytes, 16);
    return sizeof *in6;
}

/* inet_ntop() prints through stdio, ten times as dear; each record has two or three. */
static void
put_ipv4(const uint8_t bytes[4], char *out)
{
    for (unsigned i = 0; i < 4; i++) {
        unsigned value = bytes[i];

        if (value >= 100)
            *out++ = (char)('0' + value / 100);
        if (value >= 10)
            *out++ = (char)('0' + value / 10 % 10);
        *out++ = (char)('0' + value % 10);
        *out++ = i < 3 ? '.' : '\0';
    }
}

/* Which groups "::" stands for: the longest run of zeros, the first of several, of two at least
 * (RFC 5952 4.2.2, 4.2.3). None: 8 and 8. */
static void
find_zeros(const uint16_t groups[8], unsigned *out_first, unsigned *out_end)
{
    *out_first = *out_end = 8;
    for (unsigned i = 0; i < 8; i++) {
        unsigned end = i;

        while (end < 8 && groups[end] == 0)
            end++;
        if (end - i >= 2 && end - i > *out_end - *out_first) {
            *out_first = i;
            *out_end = end;
        }
        i = end; /* not zero, so no run begins there */
    }
}

static char *
put_group(unsigned value, char *out)
{
    unsigned shift = value > 0xfff ? 12 : value > 0xff ? 8 : value > 0xf ? 4 : 0;

    for (;; shift -= 4) {
        *out++ = "0123456789abcdef"[value >> shift & 15];
        if (shift == 0)
            return out;
    }
}

static void
put_ipv6(const uint8_t bytes[16], char *out)
{
    unsigned first, end, i = 0;
    uint16_t groups[8];

    for (unsigned g = 0; g < 8; g++)
        groups[g] = (uint16_t)(bytes[2 * g] << 8 | bytes[2 * g + 1]);
    find_zeros(groups, &first, &end);
    while (i < 8) {
        if (i == first) {
            *out++ = ':';
            *out++ = ':';
            i = end;
            continue;
        }
        if (first == 0 && end == 6) { /* "::192.0.2.1", as inet_ntop() has it */
            put_ipv4(bytes + 12, out);
            return;
        }
        if (i && i != end)
            *out++ = ':';
        out = put_group(groups[i++], out);
    }
    *out = '\0';
}

const char *
ip_addr_text(const struct ip_addr *a, char out[IP_ADDR_TEXT_MAX])
{
    if (a->len == 4)
        put_ipv4(a->bytes, out);
    else if (a->len == 16)
        put_ipv6(a->bytes, out);
    else
        memcpy(out, "none", sizeof "none");
    return out;
}

enum result
ip_addr_parse(const char *text, struct ip_addr *out)
{
    uint8_t bytes[16];

    if (inet_pton(AF_INET, text, bytes) == 1)
        return ip_addr_from_bytes(span_make(bytes, 4), out);
    if (inet_pton(AF_INET6, text, bytes) == 1)
        return ip_addr_from_bytes(span_make(bytes, 16), out);
    *out = (struct ip_addr){ 0 };
    return RES_SYNTAX;
}

/* The first `bits` bits of a equal those of b; both have the same length. */
static bool
same_prefix(const struct ip_addr *a, const struct ip_addr *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    uint8_t mask = (uint8_t)(0xff00u >> rest);

    if (memcmp(a->bytes, b->bytes, whole) != 0)
        return false;
    return rest == 0 || ((a->bytes[whole] ^ b->bytes[whole]) & mask) == 0;
}

enum result
ip_net_parse(const char *text, struct ip_net *out)
{
    char addr[IP_ADDR_TEXT_MAX];
    struct span s = span_of(text);
    size_t slash = span_find(s, '/');
    unsigned long long bits = 0;
    struct ip_net net;

    if (slash >= sizeof addr)
        return RES_SYNTAX;
    memcpy(addr, text, slash);
    addr[slash] = '\0';
    if (ip_addr_parse(addr, &net.addr) != RES_OK)
        return RES_SYNTAX;
    bits = net.addr.len * 8u;
    /* A prefix of IPv4-mapped text counts bits of another length than the address that is held. */
    if (slash < s.len && net.addr.len == 4 && span_find(s, ':') < slash)
        return RES_SYNTAX;
    if (slash < s.len &&
        (!span_to_u64(span_from(s, slash + 1), 3, &bits) || bits > net.addr.len * 8u))
        return RES_SYNTAX;
    net.bits = (uint8_t)bits;
    for (unsigned bit = net.bits; bit < net.addr.len * 8u; bit++)
        if (net.addr.bytes[bit / 8] & (0x80u >> bit % 8))
            return RES_SYNTAX;
    *out = net;
    return RES_OK;
}

bool
ip_net_has(const struct ip_net *net, const struct ip_addr *a)
{
    return a->len != 0 && net->addr.len == a->len && same_prefix(&net->addr, a, net->bits);
}

static bool
in_any(const struct ip_addr *a, const char *const *nets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ip_net net;

        if (ip_net_parse(nets[i], &net) != RES_OK)
            abort(); /* a typing error in the tables above */
        if (ip_net_has(&net, a))
            return true;
    }
    return false;
}

bool
ip_addr_is_public(const struct ip_addr *a)
{
    return a->len != 0 && !in_any(a, special_nets, sizeof special_nets / sizeof *special_nets);
}

bool
ip_addr_is_undialable(const struct ip_addr *a)
{
    return a->len == 0 ||
           in_any(a, undialable_nets, sizeof undialable_nets / sizeof *undialable_nets);
}

bool
ip_endpoint_parse(const char *text, struct ip_addr *out_addr, uint16_t *out_port)
{
    char addr[IP_ADDR_TEXT_MAX];
    const char *colon = strrchr(text, ':');
    bool bracketed = *text == '[';
    unsigned long long port;
    size_t len;

    if (!colon || !span_to_u64(span_of(colon + 1), 5, &port) || port < 1 || port > UINT16_MAX)
        return false;
    if (bracketed && (colon - text < 2 || colon[-1] != ']'))
        return false;
    len = (size_t)(colon - text) - (bracketed ? 2 : 0);
    if (len >= sizeof addr)
        return false;
    memcpy(addr, text + (bracketed ? 1 : 0), len);
    addr[len] = '\0';
    if (!bracketed && strchr(addr, ':')) /* IPv6 without brackets: which colon begins the port? */
        return false;
    *out_port = (uint16_t)port;
    return ip_addr_parse(addr, out_addr) == RES_OK;
}
