/* tests/policy/test_dns_message.c: DNS answers as they come off the wire. Good and contradictory
 * ones are written as zone lines and packed here; malformed ones are octets. */
#include "policy/dns_message.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/tlsa.h"
#include "policy/dns_wire.h"
#include "tests/alloc_fail.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define RESPONSE 0x8180u /* QR, RD, RA */
#define TRUNCATED 0x0200u
#define L63 "a23456789-123456789-123456789-123456789-123456789-123456789-123"

struct packet {
    uint8_t bytes[65536 + 512];
    size_t len;
    const char *seen[64]; /* names already in the packet, for compression */
    size_t seen_at[64], seen_count;
};

static struct packet packet; /* too large for the stack; each test starts it anew */

static void
put_u8(struct packet *p, unsigned value)
{
    assert_true(p->len < sizeof p->bytes);
    p->bytes[p->len++] = (uint8_t)value;
}

static void
put_u16(struct packet *p, unsigned value)
{
    put_u8(p, value >> 8);
    put_u8(p, value & 0xff);
}

static void
put_u32(struct packet *p, uint32_t value)
{
    put_u16(p, value >> 16);
    put_u16(p, value & 0xffff);
}

static void
put_bytes(struct packet *p, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        put_u8(p, (uint8_t)bytes[i]);
}

/* A name with every suffix that occurred before as a pointer, as servers write it. text lives as
 * long as the packet; "." is the root. */
static void
put_name(struct packet *p, const char *text)
{
    if (strcmp(text, ".") == 0)
        text = "";
    while (*text) {
        size_t label = strcspn(text, ".");

        for (size_t i = 0; i < p->seen_count; i++)
            if (strcasecmp(p->seen[i], text) == 0) {
                put_u16(p, 0xc000u | (unsigned)p->seen_at[i]);
                return;
            }
        if (p->seen_count < ROWS(p->seen) && p->len < 0x4000) {
            p->seen[p->seen_count] = text;
            p->seen_at[p->seen_count++] = p->len;
        }
        put_u8(p, (unsigned)label);
        put_bytes(p, text, label);
        text += label + (text[label] == '.');
    }
    put_u8(p, 0);
}

static void
put_head(struct packet *p, unsigned flags, const char *qname, unsigned qtype)
{
    p->len = p->seen_count = 0;
    put_u16(p, 0x1234);
    put_u16(p, flags);
    put_u16(p, 1);
    put_u16(p, 0);
    put_u16(p, 0);
    put_u16(p, 0);
    put_name(p, qname);
    put_u16(p, qtype);
    put_u16(p, 1);
}

static void
set_u16(struct packet *p, size_t at, unsigned value)
{
    p->bytes[at] = (uint8_t)(value >> 8);
    p->bytes[at + 1] = (uint8_t)value;
}

static unsigned
get_u16(const struct packet *p, size_t at)
{
    return (unsigned)p->bytes[at] << 8 | p->bytes[at + 1];
}

enum section { ANSWER = 6, AUTHORITY = 8, ADDITIONAL = 10 }; /* offsets of the counts */

/* Owner, type, class, TTL; the data follow and end with end_record(). */
static size_t
start_record(struct packet *p, enum section section, const char *owner, unsigned type,
             uint32_t ttl_s)
{
    set_u16(p, (size_t)section, get_u16(p, (size_t)section) + 1);
    put_name(p, owner);
    put_u16(p, type);
    put_u16(p, 1);
    put_u32(p, ttl_s);
    put_u16(p, 0);
    return p->len;
}

static void
end_record(struct packet *p, size_t start)
{
    set_u16(p, start - 2, (unsigned)(p->len - start));
}

/* Character-strings with '|' between them. */
static void
put_texts(struct packet *p, char *text)
{
    for (;;) {
        size_t len = strcspn(text, "|");

        put_u8(p, (unsigned)len);
        put_bytes(p, text, len);
        if (text[len] == '\0')
            return;
        text += len + 1;
    }
}

static unsigned
type_of(const char *word)
{
    static const struct {
        const char *name;
        unsigned type;
    } types[] = { { "A", 1 },    { "NS", 2 },    { "CNAME", 5 },  { "SOA", 6 },  { "MX", 15 },
                  { "TXT", 16 }, { "AAAA", 28 }, { "RRSIG", 46 }, { "TLSA", 52 } };

    for (size_t i = 0; i < ROWS(types); i++)
        if (strcmp(types[i].name, word) == 0)
            return types[i].type;
    fail_msg("no type %s", word);
    return 0;
}

static void
put_hex(struct packet *p, const char *hex)
{
    for (; hex && hex[0] && hex[1]; hex += 2) {
        const char octet[] = { hex[0], hex[1], '\0' };

        put_u8(p, (unsigned)strtoul(octet, NULL, 16));
    }
}

/* OWNER TTL TYPE DATA; line is cut to words and must live as long as the packet. */
static void
put_line(struct packet *p, enum section section, char *line)
{
    char *rest = line, *owner = strsep(&rest, " ");
    uint32_t ttl_s = (uint32_t)strtoul(strsep(&rest, " "), NULL, 10);
    unsigned type = type_of(strsep(&rest, " "));
    size_t start = start_record(p, section, owner, type, ttl_s);
    uint8_t addr[16];

    switch (type) {
    case 1:
    case 28:
        assert_int_equal(inet_pton(type == 1 ? AF_INET : AF_INET6, rest, addr), 1);
        put_bytes(p, (char *)addr, type == 1 ? 4 : 16);
        break;
    case 15:
        put_u16(p, (unsigned)strtoul(strsep(&rest, " "), NULL, 10));
        put_name(p, rest);
        break;
    case 16:
        put_texts(p, rest);
        break;
    case 52:
        put_hex(p, rest);
        break;
    case 6: /* only the last of the five numbers matters */
        put_name(p, owner);
        put_name(p, owner);
        for (unsigned i = 0; i < 4; i++)
            put_u32(p, 1);
        put_u32(p, (uint32_t)strtoul(rest, NULL, 10));
        break;
    default:
        put_name(p, rest);
        break;
    }
    end_record(p, start);
}

/* lines is changed. */
static void
put_lines(struct packet *p, enum section section, char *lines)
{
    char *line;

    while ((line = strsep(&lines, "\n")))
        if (*line)
            put_line(p, section, line);
}

static struct span
packet_span(void)
{
    return span_make(packet.bytes, packet.len);
}

static size_t
print_tlsa(const struct dns_tlsa *record, char *out, size_t size)
{
    size_t len = (size_t)snprintf(out, size, " %u/%u/%u/", record->usage, record->selector,
                                  record->matching);

    for (size_t i = 0; i < record->data.len && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%02x", (uint8_t)record->data.ptr[i]);
    return len;
}

/* What was read, as text: "owner ttl: record, record". */
static void
print_answer(const struct dns_answer *a, char *out, size_t size)
{
    size_t len = (size_t)snprintf(out, size, "%s %u:", a->owner, a->ttl_s);
    char addr[IP_ADDR_TEXT_MAX];

    if (a->left_out)
        len += (size_t)snprintf(out + len, size - len, " -%zu", a->left_out);
    for (size_t i = 0; i < a->count && len < size; i++) {
        if (a->mx)
            len += (size_t)snprintf(out + len, size - len, " %u/%s", a->mx[i].preference,
                                    a->mx[i].host);
        else if (a->texts)
            len += (size_t)snprintf(out + len, size - len, " \"%.*s\"", (int)a->texts[i].len,
                                    a->texts[i].ptr);
        else if (a->tlsa)
            len += print_tlsa(&a->tlsa[i], out + len, size - len);
        else if (!a->addrs)
            len += (size_t)snprintf(out + len, size - len, " +");
        else
            len += (size_t)snprintf(out + len, size - len, " %s", ip_addr_text(&a->addrs[i], addr));
    }
}

static struct answer_case {
    const char *name;
    const char *qname;
    unsigned qtype;
    unsigned flags;
    const char *answer, *authority;
    enum result want;
    const char *text; /* what print_answer() gives */
} answers[] = {
    /* Every type. */
    { "one A", "mx1.example.com", DNS_TYPE_A, RESPONSE, "mx1.example.com 300 A 192.0.2.1", "",
      RES_OK, "mx1.example.com 300: 192.0.2.1" },
    { "several A, the smallest TTL counts", "mx.example.com", DNS_TYPE_A, RESPONSE,
      "mx.example.com 300 A 192.0.2.1\nmx.example.com 60 A 192.0.2.2", "", RES_OK,
      "mx.example.com 60: 192.0.2.1 192.0.2.2" },
    { "AAAA", "mx1.example.com", DNS_TYPE_AAAA, RESPONSE, "mx1.example.com 300 AAAA 2001:db8::1",
      "", RES_OK, "mx1.example.com 300: 2001:db8::1" },
    { "PRX-016 an AAAA with a mapped address is the IPv4 address", "a.example", DNS_TYPE_AAAA,
      RESPONSE, "a.example 300 AAAA ::ffff:192.0.2.7", "", RES_OK, "a.example 300: 192.0.2.7" },
    { "MX", "example.com", DNS_TYPE_MX, RESPONSE,
      "example.com 300 MX 10 mx1.example.com\nexample.com 300 MX 20 mx2.example.net", "", RES_OK,
      "example.com 300: 10/mx1.example.com 20/mx2.example.net" },
    { "TC-MX-01 MX in mixed case is read in lower case", "example.com", DNS_TYPE_MX, RESPONSE,
      "EXAMPLE.com 300 MX 10 Mx1.Example.COM", "", RES_OK, "example.com 300: 10/mx1.example.com" },
    { "TC-MX-09 null MX", "example.com", DNS_TYPE_MX, RESPONSE, "example.com 300 MX 0 .", "",
      RES_OK, "example.com 300: 0/" },
    { "an MX target that is no host name is left out", "example.com", DNS_TYPE_MX, RESPONSE,
      "example.com 300 MX 5 m$x.example.com\nexample.com 9 MX 10 mx1.example.com", "", RES_OK,
      "example.com 9: -1 10/mx1.example.com" },
    { "an MX set of nothing but such targets is empty, with its TTL", "example.com", DNS_TYPE_MX,
      RESPONSE, "example.com 300 MX 5 m$x.example.com", "example.com 60 SOA 60", RES_OK,
      "example.com 300: -1" },
    { "an MX target with an underscore", "example.com", DNS_TYPE_MX, RESPONSE,
      "example.com 300 MX 5 m_x.example.com", "", RES_OK, "example.com 300: 5/m_x.example.com" },
    { "TXT", "_mta-sts.example.com", DNS_TYPE_TXT, RESPONSE,
      "_mta-sts.example.com 300 TXT v=STSv1; id=1;", "", RES_OK,
      "_mta-sts.example.com 300: \"v=STSv1; id=1;\"" },
    { "STS-003 character-strings are joined", "_mta-sts.example.com", DNS_TYPE_TXT, RESPONSE,
      "_mta-sts.example.com 300 TXT v=STSv1; i|d=abc;", "", RES_OK,
      "_mta-sts.example.com 300: \"v=STSv1; id=abc;\"" },
    { "two TXT records stay two", "t.example", DNS_TYPE_TXT, RESPONSE,
      "t.example 300 TXT one|1\nt.example 300 TXT |", "", RES_OK, "t.example 300: \"one1\" \"\"" },
    { "a TTL with the highest bit set is zero (RFC 2181 8)", "a.example", DNS_TYPE_A, RESPONSE,
      "a.example 2147483648 A 192.0.2.1", "", RES_OK, "a.example 0: 192.0.2.1" },
    { "other types beside the set are passed over", "a.example", DNS_TYPE_A, RESPONSE,
      "a.example 300 A 192.0.2.1\na.example 1 RRSIG x.example\na.example 2 AAAA 2001:db8::1", "",
      RES_OK, "a.example 300: 192.0.2.1" },
    { "other owners beside the set are passed over", "a.example", DNS_TYPE_A, RESPONSE,
      "b.example 3 A 192.0.2.2\na.example 300 A 192.0.2.1", "", RES_OK,
      "a.example 300: 192.0.2.1" },
    { "a longest label", L63 ".example", DNS_TYPE_A, RESPONSE, L63 ".example 300 A 192.0.2.1", "",
      RES_OK, L63 ".example 300: 192.0.2.1" },

    { "TLSA, in the packet's order", "_25._tcp.mx.a.example", DNS_TYPE_TLSA, RESPONSE,
      "_25._tcp.mx.a.example 300 TLSA 030101bb\n_25._tcp.mx.a.example 60 TLSA 020102aa0011", "",
      RES_OK, "_25._tcp.mx.a.example 60: 3/1/1/bb 2/1/2/aa0011" },
    { "TC-DANE-15 TLSA of three octets has no data", "t.example", DNS_TYPE_TLSA, RESPONSE,
      "t.example 300 TLSA 030101", "", RES_OK, "t.example 300: 3/1/1/" },
    { "TC-DANE-15 TLSA of two octets cannot be used", "t.example", DNS_TYPE_TLSA, RESPONSE,
      "t.example 300 TLSA 0301", "", RES_OK, "t.example 300: 3/1/255/" },
    { "TC-DANE-15 TLSA of one octet cannot be used", "t.example", DNS_TYPE_TLSA, RESPONSE,
      "t.example 300 TLSA 03", "", RES_OK, "t.example 300: 3/255/255/" },
    { "TC-DANE-15 TLSA of no octet cannot be used", "t.example", DNS_TYPE_TLSA, RESPONSE,
      "t.example 300 TLSA ", "", RES_OK, "t.example 300: 255/255/255/" },
    { "TC-DANE-15 TLSA with numbers that nobody knows", "t.example", DNS_TYPE_TLSA, RESPONSE,
      "t.example 300 TLSA fffefd00\nt.example 300 TLSA 030101ff", "", RES_OK,
      "t.example 300: 255/254/253/00 3/1/1/ff" },
    { "DANE-019 TLSA behind CNAMEs, the smallest TTL counts", "_25._tcp.mx.example", DNS_TYPE_TLSA,
      RESPONSE,
      "_25._tcp.mx.example 30 CNAME _dane.example\n_dane.example 20 CNAME x.example\n"
      "x.example 300 TLSA 03010100",
      "", RES_OK, "x.example 20: 3/1/1/00" },
    { "DANE-003 no TLSA", "_25._tcp.mx.example", DNS_TYPE_TLSA, RESPONSE | 3, "",
      "example 900 SOA 60", RES_OK, "_25._tcp.mx.example 60:" },
    { "TC-DANE-31 TLSA behind a loop", "t.example", DNS_TYPE_TLSA, RESPONSE,
      "t.example 9 CNAME u.example\nu.example 9 CNAME t.example", "", RES_SYNTAX, NULL },
    { "the root's SOA", ".", DNS_TYPE_SOA, RESPONSE, ". 300 SOA 60", "", RES_OK, " 300: +" },
    { "SOA where there is none", "a.example", DNS_TYPE_SOA, RESPONSE, "", "example 900 SOA 60",
      RES_OK, "a.example 60:" },

    /* CNAMEs. */
    { "DANE-016 a CNAME that is asked for is not followed", "a.example", DNS_TYPE_CNAME, RESPONSE,
      "a.example 300 CNAME b.example\nb.example 9 CNAME c.example", "", RES_OK,
      "a.example 300: +" },
    { "DANE-016 no CNAME", "a.example", DNS_TYPE_CNAME, RESPONSE, "", "example 900 SOA 60", RES_OK,
      "a.example 60:" },
    { "TC-TXT-20 STS-008 one CNAME, the smallest TTL counts", "_mta-sts.example.com", DNS_TYPE_TXT,
      RESPONSE, "_mta-sts.example.com 30 CNAME sts.provider.net\nsts.provider.net 300 TXT x", "",
      RES_OK, "sts.provider.net 30: \"x\"" },
    { "a chain out of order", "a.example", DNS_TYPE_A, RESPONSE,
      "c.example 300 A 192.0.2.1\nb.example 300 CNAME c.example\na.example 300 CNAME b.example", "",
      RES_OK, "c.example 300: 192.0.2.1" },
    { "TC-TXT-21 a dangling CNAME, NXDOMAIN", "a.example", DNS_TYPE_A, RESPONSE | 3,
      "a.example 300 CNAME b.example", "example 900 SOA 60", RES_OK, "b.example 60:" },
    { "a dangling CNAME, NODATA, lowers the negative TTL", "a.example", DNS_TYPE_A, RESPONSE,
      "a.example 30 CNAME b.example", "example 900 SOA 60", RES_OK, "b.example 30:" },
    { "a CNAME to a name that is no host name", "a.example", DNS_TYPE_A, RESPONSE,
      "a.example 300 CNAME b$.example\nb$.example 300 A 192.0.2.1", "", RES_OK, " 300: 192.0.2.1" },
    { "a CNAME to the root", "a.example", DNS_TYPE_A, RESPONSE, "a.example 300 CNAME .", "", RES_OK,
      " 0:" },
    { "DANE-008 a chain of eight", "a.example", DNS_TYPE_A, RESPONSE,
      "a.example 9 CNAME b.example\nb.example 9 CNAME c.example\nc.example 9 CNAME d.example\n"
      "d.example 9 CNAME e.example\ne.example 9 CNAME f.example\nf.example 9 CNAME g.example\n"
      "g.example 9 CNAME h.example\nh.example 9 CNAME i.example\ni.example 9 A 192.0.2.1",
      "", RES_OK, "i.example 9: 192.0.2.1" },
    { "DANE-008 a chain of nine", "a.example", DNS_TYPE_A, RESPONSE,
      "a.example 9 CNAME b.example\nb.example 9 CNAME c.example\nc.example 9 CNAME d.example\n"
      "d.example 9 CNAME e.example\ne.example 9 CNAME f.example\nf.example 9 CNAME g.example\n"
      "g.example 9 CNAME h.example\nh.example 9 CNAME i.example\ni.example 9 CNAME j.example\n"
      "j.example 9 A 192.0.2.1",
      "", RES_SYNTAX, NULL },
    { "TC-TXT-21 a CNAME to itself", "a.example", DNS_TYPE_A, RESPONSE,
      "a.example 9 CNAME a.example", "", RES_SYNTAX, NULL },
    { "TC-TXT-21 a loop of two", "a.example", DNS_TYPE_A, RESPONSE,
      "a.example 9 CNAME b.example\nb.example 9 CNAME a.example", "", RES_SYNTAX, NULL },

    /* No records. */
    { "STS-010 NXDOMAIN with SOA: the SOA's last field", "a.example", DNS_TYPE_A, RESPONSE | 3, "",
      "example 900 SOA 60", RES_OK, "a.example 60:" },
    { "RFC 2308 NXDOMAIN with SOA: its TTL, when smaller", "a.example", DNS_TYPE_A, RESPONSE | 3,
      "", "example 20 SOA 60", RES_OK, "a.example 20:" },
    { "STS-010 NODATA with SOA", "a.example", DNS_TYPE_A, RESPONSE, "", "a.example 900 SOA 60",
      RES_OK, "a.example 60:" },
    { "NODATA with the root's SOA", "a.example", DNS_TYPE_A, RESPONSE, "", ". 900 SOA 60", RES_OK,
      "a.example 60:" },
    { "NODATA without SOA", "a.example", DNS_TYPE_A, RESPONSE, "", "example 900 NS ns.example",
      RES_OK, "a.example 0:" },
    { "NODATA with the SOA of another zone", "a.example", DNS_TYPE_A, RESPONSE, "",
      "xample 900 SOA 60", RES_OK, "a.example 0:" },
    { "NODATA with the SOA of a zone below", "a.example", DNS_TYPE_A, RESPONSE, "",
      "b.a.example 900 SOA 60", RES_OK, "a.example 0:" },
    { "NXDOMAIN with the records asked for", "a.example", DNS_TYPE_A, RESPONSE | 3,
      "a.example 300 A 192.0.2.1", "", RES_SYNTAX, NULL },

    /* Not the answer to the question. */
    { "cut (TC)", "a.example", DNS_TYPE_A, RESPONSE | TRUNCATED, "a.example 300 A 192.0.2.1", "",
      RES_SYNTAX, NULL },
    { "a query, not a response", "a.example", DNS_TYPE_A, 0x0100, "", "", RES_SYNTAX, NULL },
    { "another opcode", "a.example", DNS_TYPE_A, RESPONSE | 0x2000, "", "", RES_SYNTAX, NULL },
    { "SERVFAIL is an rcode without an answer", "a.example", DNS_TYPE_A, RESPONSE | 2,
      "a.example 300 A 192.0.2.1", "", RES_OK, " 0:" },
    { "REFUSED is an rcode without an answer", "a.example", DNS_TYPE_A, RESPONSE | 5, "", "",
      RES_OK, " 0:" },
};

/* The packet of a row; its texts stay in the caller's buffers. */
static void
pack_case(const struct answer_case *c, char *answer, char *authority, size_t size)
{
    snprintf(answer, size, "%s", c->answer);
    snprintf(authority, size, "%s", c->authority);
    put_head(&packet, c->flags, c->qname, c->qtype);
    put_lines(&packet, ANSWER, answer);
    put_lines(&packet, AUTHORITY, authority);
}

static void
assert_empty(const struct dns_answer *answer)
{
    static const struct dns_answer empty;

    assert_memory_equal(answer, &empty, sizeof empty);
}

static void
test_answer(void **state)
{
    const struct answer_case *c = *state;
    char answer_text[1024], authority[1024], text[1024];
    struct dns_answer answer;

    pack_case(c, answer_text, authority, sizeof authority);
    assert_int_equal(dns_answer_parse(packet_span(), c->qname, c->qtype, &answer), c->want);
    if (c->want == RES_OK) {
        print_answer(&answer, text, sizeof text);
        assert_string_equal(text, c->text);
        assert_int_equal(answer.rcode, c->flags & 15);
        dns_answer_clear(&answer);
    }
    assert_empty(&answer);
}

/* Cut anywhere, followed by anything, or with its counts changed, a packet is malformed. */
static void
test_cut(void **state)
{
    const struct answer_case *c = *state;
    char answer_text[1024], authority[1024];
    bool has_answer = (c->flags & 15) == 0 || (c->flags & 15) == 3;
    struct dns_answer answer;

    pack_case(c, answer_text, authority, sizeof authority);
    for (size_t len = 0; has_answer && len < packet.len; len++) {
        char *exact = malloc(len ? len : 1); /* so that sanitizers see one octet too many */

        assert_non_null(exact);
        memcpy(exact, packet.bytes, len);
        assert_int_equal(dns_answer_parse(span_make(exact, len), c->qname, c->qtype, &answer),
                         RES_SYNTAX);
        assert_empty(&answer);
        free(exact);
    }
    if (!has_answer)
        return;
    for (size_t section = ANSWER; section <= ADDITIONAL; section += 2) {
        set_u16(&packet, section, get_u16(&packet, section) + 1);
        assert_int_equal(dns_answer_parse(packet_span(), c->qname, c->qtype, &answer), RES_SYNTAX);
        set_u16(&packet, section, get_u16(&packet, section) - 1);
    }
    put_u8(&packet, 0);
    assert_int_equal(dns_answer_parse(packet_span(), c->qname, c->qtype, &answer), RES_SYNTAX);
}

/* So many records, or octets in one: the whole set is refused, not cut. */
static void
test_tlsa_bounds(void **state)
{
    static const struct {
        unsigned records, octets;
        enum result want;
    } rows[] = { { TLSA_RECORDS_MAX, 900, RES_OK },
                 { TLSA_RECORDS_MAX + 1, 4, RES_LIMIT },
                 { 1, 3 + TLSA_DATA_MAX, RES_OK },
                 { 2, 3 + TLSA_DATA_MAX + 1, RES_LIMIT },
                 { 1, 60000, RES_LIMIT } };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct dns_answer answer;

        put_head(&packet, RESPONSE, "t.example", DNS_TYPE_TLSA);
        for (unsigned n = 0; n < rows[i].records; n++) {
            size_t start = start_record(&packet, ANSWER, "t.example", DNS_TYPE_TLSA, 300);

            for (unsigned k = 0; k < rows[i].octets; k++)
                put_u8(&packet, n);
            end_record(&packet, start);
        }
        assert_int_equal(dns_answer_parse(packet_span(), "t.example", DNS_TYPE_TLSA, &answer),
                         rows[i].want);
        assert_int_equal(answer.count, rows[i].want == RES_OK ? rows[i].records : 0);
        dns_answer_clear(&answer);
        assert_empty(&answer);
    }
}

static void
test_allocation_failure(void **state)
{
    const struct answer_case *c = *state;
    char answer_text[1024], authority[1024];
    struct dns_answer answer;
    enum result res;

    pack_case(c, answer_text, authority, sizeof authority);
    for (unsigned n = 0; n < 8; n++) {
        alloc_fail_after(n);
        res = dns_answer_parse(packet_span(), c->qname, c->qtype, &answer);
        if (!alloc_fail_happened()) {
            assert_int_equal(res, c->want);
            dns_answer_clear(&answer);
            return;
        }
        assert_int_equal(res, RES_NOMEM);
        assert_empty(&answer);
    }
    fail_msg("more allocations than expected");
}

/* Octets behind a question for example.com MX (29 octets long) or A: the answer section, one record
 * unless said otherwise. The question's name is at offset 12, "com" at 20. */
static struct raw_case {
    const char *name;
    unsigned qtype;
    const char *octets;
    size_t len;
    unsigned answers;
    enum result want;
    size_t count;
} raws[] = {
#define RAW(octets) octets, sizeof octets - 1
    { "a pointer back", DNS_TYPE_A, RAW("\xc0\x0c\0\1\0\1\0\0\1\0\0\4\1\2\3\4"), 1, RES_OK, 1 },
    { "a pointer to itself", DNS_TYPE_A, RAW("\xc0\x1d\0\1\0\1\0\0\1\0\0\4\1\2\3\4"), 1, RES_SYNTAX,
      0 },
    { "a pointer forward", DNS_TYPE_A, RAW("\xc0\x2d\0\1\0\1\0\0\1\0\0\4\1\2\3\4\3www\0"), 1,
      RES_SYNTAX, 0 },
    { "a pointer beyond the end", DNS_TYPE_A, RAW("\xff\xff\0\1\0\1\0\0\1\0\0\4\1\2\3\4"), 1,
      RES_SYNTAX, 0 },
    { "a pointer into the header", DNS_TYPE_A, RAW("\xc0\x02\0\1\0\1\0\0\1\0\0\4\1\2\3\4"), 1,
      RES_SYNTAX, 0 },
    { "a pointer to the label before it: a loop", DNS_TYPE_A,
      RAW("\1a\xc0\x1d\0\1\0\1\0\0\1\0\0\4\1\2\3\4"), 1, RES_SYNTAX, 0 },
    { "a reserved label type 01", DNS_TYPE_A, RAW("\x40\0\0\1\0\1\0\0\1\0\0\4\1\2\3\4"), 1,
      RES_SYNTAX, 0 },
    { "a reserved label type 10", DNS_TYPE_A, RAW("\x80\0\0\1\0\1\0\0\1\0\0\4\1\2\3\4"), 1,
      RES_SYNTAX, 0 },
    { "A of three octets", DNS_TYPE_A, RAW("\xc0\x0c\0\1\0\1\0\0\1\0\0\3\1\2\3"), 1, RES_SYNTAX,
      0 },
    { "A of five octets", DNS_TYPE_A, RAW("\xc0\x0c\0\1\0\1\0\0\1\0\0\5\1\2\3\4\5"), 1, RES_SYNTAX,
      0 },
    { "A of no octets", DNS_TYPE_A, RAW("\xc0\x0c\0\1\0\1\0\0\1\0\0\0"), 1, RES_SYNTAX, 0 },
    { "AAAA of four octets", DNS_TYPE_AAAA, RAW("\xc0\x0c\0\x1c\0\1\0\0\1\0\0\4\1\2\3\4"), 1,
      RES_SYNTAX, 0 },
    { "A in class CH is not the answer", DNS_TYPE_A, RAW("\xc0\x0c\0\1\0\3\0\0\1\0\0\4\1\2\3\4"), 1,
      RES_OK, 0 },
    { "MX with a pointer", DNS_TYPE_MX, RAW("\xc0\x0c\0\x0f\0\1\0\0\1\0\0\4\0\1\xc0\x0c"), 1,
      RES_OK, 1 },
    { "MX of no octets", DNS_TYPE_MX, RAW("\xc0\x0c\0\x0f\0\1\0\0\1\0\0\0"), 1, RES_SYNTAX, 0 },
    { "MX without a name", DNS_TYPE_MX, RAW("\xc0\x0c\0\x0f\0\1\0\0\1\0\0\2\0\1"), 1, RES_SYNTAX,
      0 },
    { "MX with an octet behind the name", DNS_TYPE_MX,
      RAW("\xc0\x0c\0\x0f\0\1\0\0\1\0\0\5\0\1\xc0\x0c\0"), 1, RES_SYNTAX, 0 },
    { "MX whose name runs out of the record", DNS_TYPE_MX,
      RAW("\xc0\x0c\0\x0f\0\1\0\0\1\0\0\5\0\1\2mx\xc0\x0c\0\x0f\0\1\0\0\1\0\0\0"), 2, RES_SYNTAX,
      0 },
    { "MX whose name points to its own start", DNS_TYPE_MX,
      RAW("\xc0\x0c\0\x0f\0\1\0\0\1\0\0\4\0\1\xc0\x2b"), 1, RES_SYNTAX, 0 },
    { "a dot inside a label is not a border", DNS_TYPE_MX,
      RAW("\x0b"
          "example.com\0\0\x0f\0\1\0\0\1\0\0\4\0\1\xc0\x0c"),
      1, RES_OK, 0 },
    { "TXT of no octets", DNS_TYPE_TXT, RAW("\xc0\x0c\0\x10\0\1\0\0\1\0\0\0"), 1, RES_SYNTAX, 0 },
    { "TXT of one empty string", DNS_TYPE_TXT, RAW("\xc0\x0c\0\x10\0\1\0\0\1\0\0\1\0"), 1, RES_OK,
      1 },
    { "TXT whose string runs out of the record", DNS_TYPE_TXT,
      RAW("\xc0\x0c\0\x10\0\1\0\0\1\0\0\3\3ab"), 1, RES_SYNTAX, 0 },
    { "TXT whose second string runs out", DNS_TYPE_TXT, RAW("\xc0\x0c\0\x10\0\1\0\0\1\0\0\4\1a\2b"),
      1, RES_SYNTAX, 0 },
    { "TXT with a NUL", DNS_TYPE_TXT, RAW("\xc0\x0c\0\x10\0\1\0\0\1\0\0\4\3a\0b"), 1, RES_OK, 1 },
    { "CNAME of no octets", DNS_TYPE_A, RAW("\xc0\x0c\0\5\0\1\0\0\1\0\0\0"), 1, RES_SYNTAX, 0 },
    { "a record cut before its length", DNS_TYPE_A, RAW("\xc0\x0c\0\1\0\1\0\0\1\0"), 1, RES_SYNTAX,
      0 },
    { "a length beyond the end", DNS_TYPE_A, RAW("\xc0\x0c\0\1\0\1\0\0\1\0\0\5\1\2\3\4"), 1,
      RES_SYNTAX, 0 },
    { "fewer records than counted", DNS_TYPE_A, RAW("\xc0\x0c\0\1\0\1\0\0\1\0\0\4\1\2\3\4"), 2,
      RES_SYNTAX, 0 },
    { "more records than counted", DNS_TYPE_A, RAW("\xc0\x0c\0\1\0\1\0\0\1\0\0\4\1\2\3\4"), 0,
      RES_SYNTAX, 0 },
    { "65535 records counted", DNS_TYPE_A, RAW("\xc0\x0c\0\1\0\1\0\0\1\0\0\4\1\2\3\4"), 65535,
      RES_SYNTAX, 0 },
#undef RAW
};

static void
test_raw(void **state)
{
    const struct raw_case *c = *state;
    struct dns_answer answer;

    put_head(&packet, RESPONSE, "example.com", c->qtype);
    assert_int_equal(packet.len, 29);
    put_bytes(&packet, c->octets, c->len);
    set_u16(&packet, ANSWER, c->answers);
    assert_int_equal(dns_answer_parse(packet_span(), "example.com", c->qtype, &answer), c->want);
    assert_int_equal(answer.count, c->count);
    dns_answer_clear(&answer);
}

static void
test_question(void **state)
{
    struct dns_answer answer;

    (void)state;
    put_head(&packet, RESPONSE, "example.com", DNS_TYPE_A);
    assert_int_equal(dns_answer_parse(packet_span(), "example.com", DNS_TYPE_A, &answer), RES_OK);
    dns_answer_clear(&answer);
    assert_int_equal(dns_answer_parse(packet_span(), "example.com", DNS_TYPE_MX, &answer),
                     RES_SYNTAX);
    assert_int_equal(dns_answer_parse(packet_span(), "example.com", DNS_TYPE_TLSA, &answer),
                     RES_SYNTAX);
    assert_int_equal(dns_answer_parse(packet_span(), "example.net", DNS_TYPE_A, &answer),
                     RES_SYNTAX);
    assert_int_equal(dns_answer_parse(packet_span(), "example..com", DNS_TYPE_A, &answer),
                     RES_SYNTAX);
    assert_int_equal(dns_answer_parse(packet_span(), "", DNS_TYPE_A, &answer), RES_SYNTAX);
    set_u16(&packet, 27, 3); /* class CH */
    assert_int_equal(dns_answer_parse(packet_span(), "example.com", DNS_TYPE_A, &answer),
                     RES_SYNTAX);
    set_u16(&packet, 27, 1);
    set_u16(&packet, 4, 0); /* no question */
    assert_int_equal(dns_answer_parse(packet_span(), "example.com", DNS_TYPE_A, &answer),
                     RES_SYNTAX);
    set_u16(&packet, 4, 2);
    assert_int_equal(dns_answer_parse(packet_span(), "example.com", DNS_TYPE_A, &answer),
                     RES_SYNTAX);
    assert_empty(&answer);
}

/* The question is matched without case (RFC 4343), as unbound's use-caps-for-id needs. */
static void
test_question_case(void **state)
{
    struct dns_answer answer;

    (void)state;
    put_head(&packet, RESPONSE, "eXaMpLe.cOm", DNS_TYPE_A);
    assert_int_equal(dns_answer_parse(packet_span(), "example.com", DNS_TYPE_A, &answer), RES_OK);
    assert_string_equal(answer.owner, "example.com");
    dns_answer_clear(&answer);
}

/* TC-TXT-28, TC-MX-17: a set of any size is cut at DNS_RECORDS_MAX. */
static void
test_huge_set(void **state)
{
    struct dns_answer answer;
    unsigned records = 0;

    (void)state;
    put_head(&packet, RESPONSE, "example.com", DNS_TYPE_TXT);
    while (packet.len < 65000) {
        size_t start = start_record(&packet, ANSWER, "example.com", DNS_TYPE_TXT, 300);

        put_u8(&packet, 3);
        put_bytes(&packet, "abc", 3);
        end_record(&packet, start);
        records++;
    }
    assert_true(records > DNS_RECORDS_MAX);
    assert_int_equal(dns_answer_parse(packet_span(), "example.com", DNS_TYPE_TXT, &answer), RES_OK);
    assert_int_equal(answer.count, DNS_RECORDS_MAX);
    assert_true(span_equal(answer.texts[DNS_RECORDS_MAX - 1], span_of("abc")));
    dns_answer_clear(&answer);
}

static void
test_huge_packet(void **state)
{
    struct dns_answer answer;

    (void)state;
    put_head(&packet, RESPONSE, "example.com", DNS_TYPE_TXT);
    while (packet.len < 65536) {
        size_t start = start_record(&packet, ADDITIONAL, "example.com", DNS_TYPE_TXT, 300);

        put_u8(&packet, 0);
        end_record(&packet, start);
    }
    assert_int_equal(dns_answer_parse(packet_span(), "example.com", DNS_TYPE_TXT, &answer),
                     RES_SYNTAX);
}

/* A text of 64 KiB in one record. */
static void
test_long_text(void **state)
{
    struct dns_answer answer;
    size_t start;

    (void)state;
    put_head(&packet, RESPONSE, "example.com", DNS_TYPE_TXT);
    start = start_record(&packet, ANSWER, "example.com", DNS_TYPE_TXT, 300);
    for (unsigned i = 0; i < 255; i++) {
        put_u8(&packet, 255);
        for (unsigned at = 0; at < 255; at++)
            put_u8(&packet, 'a' + i % 26);
    }
    end_record(&packet, start);
    assert_int_equal(dns_answer_parse(packet_span(), "example.com", DNS_TYPE_TXT, &answer), RES_OK);
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.texts[0].len, 255 * 255);
    assert_int_equal(answer.texts[0].ptr[254], 'a');
    assert_int_equal(answer.texts[0].ptr[255], 'b');
    dns_answer_clear(&answer);
}

/* Pointers that lead back one by one: more of them than any name needs are refused. */
static void
test_pointer_chain(void **state)
{
    struct dns_answer answer;
    size_t start, at;

    (void)state;
    for (unsigned pointers = 100; pointers <= 200; pointers += 100) {
        put_head(&packet, RESPONSE, "example.com", DNS_TYPE_A);
        start = start_record(&packet, ANSWER, "example.com", DNS_TYPE_TXT, 300);
        put_u16(&packet, 0xc00c);
        for (unsigned i = 0; i < pointers; i++) {
            at = packet.len - 2;
            put_u16(&packet, 0xc000u | (unsigned)at);
        }
        end_record(&packet, start);
        at = packet.len - 2;
        set_u16(&packet, ANSWER, 2);
        put_u16(&packet, 0xc000u | (unsigned)at);
        put_bytes(&packet, "\0\1\0\1\0\0\1\0\0\4\1\2\3\4", 14);
        assert_int_equal(dns_answer_parse(packet_span(), "example.com", DNS_TYPE_A, &answer),
                         pointers == 100 ? RES_OK : RES_SYNTAX);
        assert_int_equal(answer.count, pointers == 100 ? 1 : 0);
        dns_answer_clear(&answer);
    }
}

/* A name of 255 octets is read, one of 256 is not. */
static void
test_long_name(void **state)
{
    struct dns_answer answer;
    size_t start;

    (void)state;
    for (unsigned last = 61; last <= 62; last++) {
        put_head(&packet, RESPONSE, "example.com", DNS_TYPE_MX);
        start = start_record(&packet, ANSWER, "example.com", DNS_TYPE_MX, 300);
        put_u16(&packet, 10);
        for (unsigned label = 0; label < 3; label++) {
            put_u8(&packet, 63);
            put_bytes(&packet, L63, 63);
        }
        put_u8(&packet, last);
        put_bytes(&packet, L63, last);
        put_u8(&packet, 0);
        end_record(&packet, start);
        assert_int_equal(dns_answer_parse(packet_span(), "example.com", DNS_TYPE_MX, &answer),
                         last == 61 ? RES_OK : RES_SYNTAX);
        if (last == 61)
            assert_int_equal(strlen(answer.mx[0].host), HOSTNAME_MAX);
        dns_answer_clear(&answer);
    }
}

/* Any octet changed to anything: never a crash, never something half filled. */
static void
test_changed_octets(void **state)
{
    const struct answer_case *c = *state;
    char answer_text[1024], authority[1024];
    struct dns_answer answer;

    pack_case(c, answer_text, authority, sizeof authority);
    for (size_t at = 0; at < packet.len; at++)
        for (unsigned value = 0; value < 256; value += 5) {
            uint8_t kept = packet.bytes[at];

            packet.bytes[at] = (uint8_t)value;
            if (dns_answer_parse(packet_span(), c->qname, c->qtype, &answer) == RES_OK)
                dns_answer_clear(&answer);
            assert_empty(&answer);
            packet.bytes[at] = kept;
        }
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_question),  cmocka_unit_test(test_question_case),
        cmocka_unit_test(test_huge_set),  cmocka_unit_test(test_huge_packet),
        cmocka_unit_test(test_long_text), cmocka_unit_test(test_pointer_chain),
        cmocka_unit_test(test_long_name), cmocka_unit_test(test_tlsa_bounds),
    };
    static struct CMUnitTest tests[4 * ROWS(answers) + ROWS(raws) + ROWS(others)];
    static char names[3 * ROWS(answers)][128];
    struct CMUnitTest *test = tests;

    for (size_t i = 0; i < ROWS(answers); i++) {
        const struct {
            const char *prefix;
            CMUnitTestFunction run;
            bool runs;
        } kinds[] = {
            { "cut: ", test_cut, answers[i].want == RES_OK },
            { "without memory: ", test_allocation_failure, answers[i].want == RES_OK },
            { "octets changed: ", test_changed_octets, true },
        };

        *test++ = (struct CMUnitTest){ .name = answers[i].name,
                                       .test_func = test_answer,
                                       .initial_state = &answers[i] };
        for (size_t k = 0; k < ROWS(kinds); k++) {
            char *name = names[3 * i + k];

            if (!kinds[k].runs)
                continue;
            snprintf(name, sizeof names[0], "%s%s", kinds[k].prefix, answers[i].name);
            *test++ = (struct CMUnitTest){ .name = name,
                                           .test_func = kinds[k].run,
                                           .initial_state = &answers[i] };
        }
    }
    for (size_t i = 0; i < ROWS(raws); i++)
        *test++ = (struct CMUnitTest){ .name = raws[i].name,
                                       .test_func = test_raw,
                                       .initial_state = &raws[i] };
    memcpy(test, others, sizeof others);
    return cmocka_run_group_tests_name("dns_message", tests, NULL, NULL);
}
