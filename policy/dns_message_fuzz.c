/* policy/dns_message_fuzz.c: the first octet picks the type asked for, the rest is the packet; the
 * name asked for is example.com. Promises: nothing is left in *out unless RES_OK; counts and
 * lengths within their bounds; names valid; and no packet is the beginning of another one. */
#include "policy/dns_message.h"

#include "base/tlsa.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds)
        abort(); /* assert() is silent in release builds */
}

static void
check_empty(const struct dns_answer *answer)
{
    must(answer->count == 0 && answer->ttl_s == 0 && answer->owner[0] == '\0');
    must(!answer->mx && !answer->addrs && !answer->texts && !answer->tlsa && !answer->bytes);
}

static size_t
check_tlsa(const struct dns_tlsa *record)
{
    unsigned sum = 0;

    must(record->data.len <= TLSA_DATA_MAX);
    for (size_t i = 0; i < record->data.len; i++) /* for the sanitizers */
        sum += (uint8_t)record->data.ptr[i];
    must(sum <= record->data.len * UINT8_MAX);
    return record->data.len;
}

static void
check_answer(const struct dns_answer *answer, unsigned qtype, size_t packet_len)
{
    size_t bytes = 0;

    must(answer->count <= (qtype == DNS_TYPE_TLSA ? TLSA_RECORDS_MAX : DNS_RECORDS_MAX) &&
         answer->ttl_s <= INT32_MAX);
    must(answer->owner[0] == '\0' || hostname_is_valid(span_of(answer->owner)));
    must(answer->rcode == DNS_RCODE_NOERROR || answer->count == 0);
    for (size_t i = 0; i < answer->count; i++) {
        if (qtype == DNS_TYPE_MX)
            must(answer->mx[i].host[0] == '\0' || hostname_is_valid(span_of(answer->mx[i].host)));
        else if (qtype == DNS_TYPE_TXT)
            bytes += answer->texts[i].len;
        else if (qtype == DNS_TYPE_TLSA)
            bytes += check_tlsa(&answer->tlsa[i]);
        else if (qtype == DNS_TYPE_A || qtype == DNS_TYPE_AAAA)
            must(answer->addrs[i].len == 4 ||
                 (qtype == DNS_TYPE_AAAA && answer->addrs[i].len == 16));
    }
    must(bytes < packet_len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned types[8] = { DNS_TYPE_A,     DNS_TYPE_AAAA, DNS_TYPE_MX,  DNS_TYPE_TXT,
                                       DNS_TYPE_CNAME, DNS_TYPE_TLSA, DNS_TYPE_SOA, DNS_TYPE_TLSA };
    struct span packet;
    struct dns_answer answer, cut;
    unsigned qtype;

    if (size == 0)
        return 0;
    qtype = types[data[0] % 8];
    packet = span_make(data + 1, size - 1);
    if (dns_answer_parse(packet, "example.com", qtype, &answer) != RES_OK) {
        check_empty(&answer);
        return 0;
    }
    if (answer.rcode == DNS_RCODE_NOERROR || answer.rcode == DNS_RCODE_NXDOMAIN) {
        check_answer(&answer, qtype, packet.len);
        must(dns_answer_parse(span_first(packet, packet.len - 1), "example.com", qtype, &cut) !=
             RES_OK);
        check_empty(&cut);
    }
    dns_answer_clear(&answer);
    check_empty(&answer);
    return 0;
}
