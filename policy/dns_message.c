#include "policy/dns_message.h"

#include <stdlib.h>

#include "base/tlsa.h"
#include "policy/dns_wire.h"

#define MESSAGE_MAX 65535u /* the length field of DNS over TCP, RFC 1035 4.2.2 */
#define CLASS_IN 1u

#define FLAG_RESPONSE 0x8000u
#define FLAG_TRUNCATED 0x0200u
#define MASK_OPCODE 0x7800u
#define MASK_RCODE 0x000fu

struct message {
    struct span packet;
    unsigned rcode;
    unsigned answers, authorities, additionals;
    size_t answer_at, authority_at; /* offsets of the sections */
};

/* Header and question, then every record once, so that a cut packet is never searched. */
static enum result
message_open(struct span packet, const struct dns_name *qname, unsigned qtype, struct message *out)
{
    struct dns_reader r = { packet, 0 };
    unsigned id, flags, questions, type, class;
    struct dns_name name;

    *out = (struct message){ .packet = packet };
    if (packet.len > MESSAGE_MAX || !dns_read_u16(&r, &id) || !dns_read_u16(&r, &flags) ||
        !dns_read_u16(&r, &questions) || !dns_read_u16(&r, &out->answers) ||
        !dns_read_u16(&r, &out->authorities) || !dns_read_u16(&r, &out->additionals))
        return RES_SYNTAX;
    if (!(flags & FLAG_RESPONSE) || (flags & MASK_OPCODE) || (flags & FLAG_TRUNCATED))
        return RES_SYNTAX;
    out->rcode = flags & MASK_RCODE;
    if (out->rcode != DNS_RCODE_NOERROR && out->rcode != DNS_RCODE_NXDOMAIN)
        return RES_OK; /* a refusal: nothing in it is of use, and it need not repeat the question */
    if (questions != 1 || !dns_read_name(&r, &name) || !dns_read_u16(&r, &type) ||
        !dns_read_u16(&r, &class) || type != qtype || class != CLASS_IN ||
        !dns_name_equal(&name, qname))
        return RES_SYNTAX;
    out->answer_at = r.at;
    if (!dns_skip_records(&r, out->answers))
        return RES_SYNTAX;
    out->authority_at = r.at;
    if (!dns_skip_records(&r, out->authorities) || !dns_skip_records(&r, out->additionals) ||
        r.at != packet.len)
        return RES_SYNTAX;
    return RES_OK;
}

/* The next answer record of (owner, type) in class IN from r on; r goes behind it. *left counts the
 * records of the section still to be read. */
static bool
next_answer(struct dns_reader *r, unsigned *left, const struct dns_name *owner, unsigned type,
            struct dns_record *out)
{
    while (*left > 0) {
        --*left;
        if (!dns_read_record(r, out))
            return false;
        if (out->type == type && out->class == CLASS_IN && dns_name_equal(&out->owner, owner))
            return true;
    }
    return false;
}

static bool
first_answer(const struct message *m, const struct dns_name *owner, unsigned type,
             struct dns_record *out)
{
    struct dns_reader r = { m->packet, m->answer_at };
    unsigned left = m->answers;

    return next_answer(&r, &left, owner, type, out);
}

static void
lower_ttl(uint32_t *ttl_s, uint32_t other_s)
{
    if (other_s < *ttl_s)
        *ttl_s = other_s;
}

/* Follow CNAMEs from *owner to where records of the type are, or to the end of the chain (STS-008,
 * DANE-008). The bound also ends a loop. */
static enum result
follow_chain(const struct message *m, unsigned qtype, struct dns_name *owner, uint32_t *ttl_s)
{
    for (unsigned followed = 0;; followed++) {
        struct dns_record record;

        if (qtype == DNS_TYPE_CNAME || first_answer(m, owner, qtype, &record) ||
            !first_answer(m, owner, DNS_TYPE_CNAME, &record))
            return RES_OK;
        if (followed == DNS_CNAMES_MAX || !dns_data_name(m->packet, record.data, 0, owner))
            return RES_SYNTAX;
        lower_ttl(ttl_s, record.ttl_s);
    }
}

/* How long an empty answer holds: RFC 2308 5, the smaller of the SOA's TTL and its last field. */
static uint32_t
negative_ttl_s(const struct message *m, const struct dns_name *owner)
{
    struct dns_reader r = { m->packet, m->authority_at };
    struct dns_record record;

    for (unsigned i = 0; i < m->authorities; i++) {
        struct dns_reader last;
        uint32_t minimum_s;

        if (!dns_read_record(&r, &record))
            return 0;
        if (record.type != DNS_TYPE_SOA || record.class != CLASS_IN || record.data.len < 22 ||
            !dns_name_in_zone(owner, &record.owner))
            continue; /* 22: two root names and five numbers */
        last = (struct dns_reader){ record.data, record.data.len - 4 };
        if (!dns_read_u32(&last, &minimum_s))
            return 0;
        return minimum_s < record.ttl_s ? minimum_s : record.ttl_s;
    }
    return 0;
}

static enum result
add_mx(const struct message *m, const struct dns_record *record, struct dns_answer *answer)
{
    struct dns_mx *mx = &answer->mx[answer->count];
    struct dns_reader r = { record->data, 0 };
    unsigned preference;
    struct dns_name host;

    if (!dns_read_u16(&r, &preference) || !dns_data_name(m->packet, record->data, 2, &host))
        return RES_SYNTAX;
    mx->preference = (uint16_t)preference;
    if (dns_name_to_text(&host, mx->host))
        answer->count++;
    else
        answer->left_out++;
    return RES_OK;
}

static enum result
add_addr(const struct dns_record *record, struct dns_answer *answer)
{
    size_t want = record->type == DNS_TYPE_A ? 4 : 16;

    if (record->data.len != want ||
        ip_addr_from_bytes(record->data, &answer->addrs[answer->count]) != RES_OK)
        return RES_SYNTAX;
    answer->count++;
    return RES_OK;
}

/* Behind the bytes that are there already, of which *used says how many. */
static struct span
keep_bytes(struct dns_answer *answer, struct span data, size_t *used)
{
    char *start = answer->bytes + *used;

    memcpy(start, data.ptr, data.len);
    *used += data.len;
    return span_make(start, data.len);
}

/* The character-strings of one record, joined without anything between them (STS-003). */
static enum result
add_text(const struct dns_record *record, struct dns_answer *answer, size_t *used)
{
    char *start = answer->bytes + *used;
    struct span rest = record->data;

    if (rest.len == 0)
        return RES_SYNTAX; /* RFC 1035 3.3.14: one or more */
    while (rest.len) {
        size_t len = (uint8_t)rest.ptr[0];

        if (len > rest.len - 1)
            return RES_SYNTAX;
        (void)keep_bytes(answer, span_make(rest.ptr + 1, len), used);
        rest = span_from(rest, 1 + len);
    }
    answer->texts[answer->count++] = span_make(start, (size_t)(answer->bytes + *used - start));
    return RES_OK;
}

/* RDATA that ends within the three numbers is no reason to lose the set: it becomes a record that
 * cannot be used (base/tlsa.h), so that TLS stays mandatory (RFC 7672 2.2). */
static enum result
add_tlsa(const struct dns_record *record, struct dns_answer *answer, size_t *used)
{
    uint8_t numbers[3] = { UINT8_MAX, UINT8_MAX, UINT8_MAX };
    struct span data = record->data;
    size_t have = data.len < sizeof numbers ? data.len : sizeof numbers;

    if (have)
        memcpy(numbers, data.ptr, have);
    data = span_from(data, have);
    if (data.len > TLSA_DATA_MAX)
        return RES_LIMIT;
    answer->tlsa[answer->count++] = (struct dns_tlsa){ .usage = numbers[0],
                                                       .selector = numbers[1],
                                                       .matching = numbers[2],
                                                       .data = keep_bytes(answer, data, used) };
    return RES_OK;
}

static enum result
make_room(struct dns_answer *answer, unsigned qtype, size_t count, size_t bytes)
{
    void *records = NULL;

    switch (qtype) {
    case DNS_TYPE_MX:
        records = answer->mx = calloc(count, sizeof *answer->mx);
        break;
    case DNS_TYPE_TXT:
        records = answer->texts = calloc(count, sizeof *answer->texts);
        break;
    case DNS_TYPE_TLSA:
        records = answer->tlsa = calloc(count, sizeof *answer->tlsa);
        break;
    case DNS_TYPE_A:
    case DNS_TYPE_AAAA:
        records = answer->addrs = calloc(count, sizeof *answer->addrs);
        break;
    default:
        return RES_OK;
    }
    if (!records)
        return RES_NOMEM;
    if (qtype == DNS_TYPE_TXT || qtype == DNS_TYPE_TLSA) {
        answer->bytes = malloc(bytes + 1);
        if (!answer->bytes)
            return RES_NOMEM;
    }
    return RES_OK;
}

static enum result
add_record(const struct message *m, const struct dns_record *record, struct dns_answer *answer,
           size_t *used)
{
    switch (record->type) {
    case DNS_TYPE_MX:
        return add_mx(m, record, answer);
    case DNS_TYPE_TXT:
        return add_text(record, answer, used);
    case DNS_TYPE_TLSA:
        return add_tlsa(record, answer, used);
    case DNS_TYPE_A:
    case DNS_TYPE_AAAA:
        return add_addr(record, answer);
    default:
        answer->count++;
        return RES_OK;
    }
}

/* The records of (owner, qtype): counted first, then read. */
static enum result
collect(const struct message *m, unsigned qtype, const struct dns_name *owner,
        struct dns_answer *answer)
{
    struct dns_reader r = { m->packet, m->answer_at };
    unsigned left = m->answers;
    size_t count = 0, bytes = 0, used = 0;
    enum result res;
    struct dns_record record;

    while (count < DNS_RECORDS_MAX && next_answer(&r, &left, owner, qtype, &record)) {
        count++;
        bytes += record.data.len;
    }
    if (count == 0)
        return RES_OK;
    if (m->rcode == DNS_RCODE_NXDOMAIN)
        return RES_SYNTAX; /* it says that the name it has records for does not exist */
    if (qtype == DNS_TYPE_TLSA && count > TLSA_RECORDS_MAX)
        return RES_LIMIT;
    res = make_room(answer, qtype, count, bytes);
    r.at = m->answer_at;
    left = m->answers;
    for (size_t i = 0; i < count && res == RES_OK; i++) {
        if (!next_answer(&r, &left, owner, qtype, &record))
            return RES_SYNTAX;
        lower_ttl(&answer->ttl_s, record.ttl_s);
        res = add_record(m, &record, answer, &used);
    }
    return res;
}

static bool
is_known_type(unsigned qtype)
{
    static const unsigned types[] = { DNS_TYPE_A,   DNS_TYPE_CNAME, DNS_TYPE_SOA, DNS_TYPE_MX,
                                      DNS_TYPE_TXT, DNS_TYPE_AAAA,  DNS_TYPE_TLSA };

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i] == qtype)
            return true;
    return false;
}

static enum result
read_answer(const struct message *m, unsigned qtype, struct dns_name *owner,
            struct dns_answer *answer)
{
    struct dns_record first;
    enum result res;

    answer->ttl_s = DNS_TTL_MAX;
    res = follow_chain(m, qtype, owner, &answer->ttl_s);
    if (res == RES_OK)
        res = collect(m, qtype, owner, answer);
    if (res != RES_OK)
        return res;
    if (!first_answer(m, owner, qtype, &first))
        lower_ttl(&answer->ttl_s, negative_ttl_s(m, owner));
    /* A CNAME may lead to a name that is no host name; the records are still the answer. */
    if (!dns_name_to_text(owner, answer->owner))
        answer->owner[0] = '\0';
    return RES_OK;
}

enum result
dns_answer_parse(struct span packet, const char *qname, unsigned qtype, struct dns_answer *out)
{
    struct dns_answer answer = { 0 };
    struct dns_name owner;
    struct message m;
    enum result res;

    *out = answer;
    if (!is_known_type(qtype) || !dns_name_from_text(qname, &owner))
        return RES_SYNTAX;
    res = message_open(packet, &owner, qtype, &m);
    if (res != RES_OK)
        return res;
    answer.rcode = m.rcode;
    if (m.rcode == DNS_RCODE_NOERROR || m.rcode == DNS_RCODE_NXDOMAIN)
        res = read_answer(&m, qtype, &owner, &answer);
    if (res == RES_OK)
        *out = answer;
    else
        dns_answer_clear(&answer);
    return res;
}

void
dns_answer_clear(struct dns_answer *answer)
{
    free(answer->mx);
    free(answer->addrs);
    free(answer->texts);
    free(answer->tlsa);
    free(answer->bytes);
    *answer = (struct dns_answer){ 0 };
}
