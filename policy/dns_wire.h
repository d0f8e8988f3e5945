/* policy/dns_wire.h: the pieces of a DNS message: numbers, names, records (RFC 1035 3.1, 3.2, 4.1).
 * Context: policy process. Pure: no I/O, no memory of its own. Every byte is hostile: a read that
 * would pass the end of the packet is false. */
#ifndef STSGATE_POLICY_DNS_WIRE_H
#define STSGATE_POLICY_DNS_WIRE_H

#include "base/hostname.h"
#include "base/span.h"

#include <stdint.h>

#define DNS_HEADER_BYTES 12u    /* RFC 1035 4.1.1 */
#define DNS_NAME_MAX 255u       /* octets on the wire, RFC 1035 2.3.4 */
#define DNS_TTL_MAX 0x7fffffffu /* RFC 2181 8: with the highest bit set it is read as zero */

/* A name without compression and in lower case. Only in this form are two names compared: as text,
 * a dot inside a label would look like the border between two. */
struct dns_name {
    size_t len;                   /* 1 .. DNS_NAME_MAX, the root's empty label included */
    uint8_t octets[DNS_NAME_MAX]; /* labels, each behind its length */
};

struct dns_record {
    struct dns_name owner;
    unsigned type, class;
    uint32_t ttl_s;   /* 0 .. DNS_TTL_MAX */
    struct span data; /* borrowed from the packet */
};

/* Where reading goes on. After a read that failed `at` is unspecified. */
struct dns_reader {
    struct span packet; /* the whole message: names point back into it */
    size_t at;          /* 0 .. packet.len */
};

bool dns_read_u16(struct dns_reader *r, unsigned *out);
bool dns_read_u32(struct dns_reader *r, uint32_t *out);

/** A name that may be compressed. Also false: a reserved label type, more than DNS_NAME_MAX octets,
 * a pointer that leads not to "a prior occurrence" (RFC 1035 4.1.4) or into the header. */
bool dns_read_name(struct dns_reader *r, struct dns_name *out);

bool dns_read_record(struct dns_reader *r, struct dns_record *out);
bool dns_skip_records(struct dns_reader *r, unsigned count);

/** The name that begins at offset `from` of a record's data and must end where the data end. */
bool dns_data_name(struct span packet, struct span data, size_t from, struct dns_name *out);

bool dns_name_equal(const struct dns_name *a, const struct dns_name *b);

/** Is name the same as zone or below it? */
bool dns_name_in_zone(const struct dns_name *name, const struct dns_name *zone);

/** text: a host name, or "." for the root; false when it is neither. */
bool dns_name_from_text(const char *text, struct dns_name *out);

/** As text without the trailing dot; "" for the root. False, with "", for what is no host name. */
bool dns_name_to_text(const struct dns_name *name, char out[HOSTNAME_MAX + 1]);

#endif
