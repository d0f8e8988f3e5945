/* policy/dns_message.h: reads a DNS answer off the wire, RFC 1035 4. libunbound in event mode hands
 * over the packet as it is. Context: policy process. Pure: no I/O. Every byte is hostile. */
#ifndef STSGATE_POLICY_DNS_MESSAGE_H
#define STSGATE_POLICY_DNS_MESSAGE_H

#include "base/hostname.h"
#include "base/ip_addr.h"
#include "base/result.h"
#include "base/span.h"

#define DNS_TYPE_A 1
#define DNS_TYPE_CNAME 5
#define DNS_TYPE_SOA 6
#define DNS_TYPE_MX 15
#define DNS_TYPE_TXT 16
#define DNS_TYPE_AAAA 28
#define DNS_TYPE_TLSA 52

#define DNS_RCODE_NOERROR 0
#define DNS_RCODE_SERVFAIL 2
#define DNS_RCODE_NXDOMAIN 3

#define DNS_RECORDS_MAX 256u /* of the type asked for; the rest of a larger set is cut (TXT-28) */
#define DNS_CNAMES_MAX 8u    /* DANE-008 */

/* What DNSSEC validation said of an answer (RFC 4035 4.3), which is told beside it. */
enum dns_security {
    DNS_BOGUS = 0, /* validation failed: a look-up error, whatever data came (DANE-002) */
    DNS_INSECURE,  /* provably unsigned, or no trust anchor above it */
    DNS_SECURE,
};

struct dns_mx {
    uint16_t preference;
    char host[HOSTNAME_MAX + 1]; /* lower case, no trailing dot; "" for the null MX "." */
};

/* Fields as in struct tlsa_record, base/tlsa.h. */
struct dns_tlsa {
    uint8_t usage, selector, matching;
    struct span data; /* 0 .. TLSA_DATA_MAX octets */
};

/* The records of one type at the end of the answer's CNAME chain. */
struct dns_answer {
    unsigned rcode;
    uint32_t ttl_s;               /* the smallest of the chain and the set; for an empty answer the
                                   * negative TTL of the SOA (RFC 2308 5), or 0 without one */
    char owner[HOSTNAME_MAX + 1]; /* where the records were found: the name asked for, or the last
                                   * CNAME target */
    size_t count;                 /* of records below */
    struct dns_mx *mx;            /* owned; count of them for DNS_TYPE_MX */
    size_t left_out;              /* of MX records: targets that are no valid host name */
    struct ip_addr *addrs;        /* owned; for A and AAAA */
    struct span *texts;           /* owned array; for TXT, character-strings joined (STS-003) */
    struct dns_tlsa *tlsa;        /* owned array; for TLSA, in the packet's order */
    char *bytes;                  /* owned; what texts and tlsa point into */
};

/** Parse packet as the answer to (qname, qtype).
 * qname: normalised host name; may begin with labels with underscores; or "." for the root.
 * qtype: A, AAAA, MX, TXT, TLSA; of CNAME, which is not followed, and SOA only owner, TTL and count
 * are kept.
 * out: filled on RES_OK, to be cleared by dns_answer_clear(); empty otherwise.
 * RES_SYNTAX: malformed, cut (TC), or no answer to that question; a CNAME loop or a chain beyond
 * DNS_CNAMES_MAX. RES_LIMIT: a TLSA RRset of more than TLSA_RECORDS_MAX records, or with more than
 * TLSA_DATA_MAX octets in one: no part of it could stand for the whole. RES_NOMEM. NXDOMAIN and an
 * empty answer are RES_OK with count 0. With any other rcode nothing but the header is read:
 * RES_OK, the rest of *out is empty. */
MUST_CHECK enum result dns_answer_parse(struct span packet, const char *qname, unsigned qtype,
                                        struct dns_answer *out);

void dns_answer_clear(struct dns_answer *answer); /* the struct is empty and may be used again */

#endif
