/* tls/dane_fuzz.c: any chain against any TLSA records. Promises: an answer always; the same answer
 * whatever the order of the records, and with one more that nobody can use; a match that can be
 * seen without this code.
 *
 * Input: a count of certificates, each with two octets of length before it; then records: usage,
 * selector, matching type, two octets of length, data. */
#include "tls/dane.h"

#include <openssl/sha.h>

#include <stdlib.h>

#define NOW_S 1767225600 /* 2026-01-01: the seeds are valid then */
#define KEY 1u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds)
        abort(); /* assert() is silent in release builds */
}

/* Two octets of length and as much data as there is. */
static struct span
take(struct span *in)
{
    size_t len;
    struct span data;

    if (in->len < 2) {
        *in = span_make(NULL, 0);
        return *in;
    }
    len = (size_t)(uint8_t)in->ptr[0] << 8 | (uint8_t)in->ptr[1];
    data = span_first(span_from(*in, 2), len);
    *in = span_from(*in, 2 + data.len);
    return data;
}

static struct peer_chain *
take_chain(struct span *in)
{
    struct span ders[PEER_CHAIN_MAX];
    size_t count = in->len ? (uint8_t)in->ptr[0] % (PEER_CHAIN_MAX + 1) : 0;
    struct peer_chain *chain;

    *in = span_from(*in, 1);
    for (size_t i = 0; i < count; i++)
        ders[i] = take(in);
    must(peer_chain_new(ders, count, &chain) == RES_OK);
    return chain;
}

static void
take_records(struct span in, struct dane_host *host)
{
    while (in.len >= 3 && host->count < TLSA_RECORDS_MAX) {
        uint8_t usage = (uint8_t)in.ptr[0], selector = (uint8_t)in.ptr[1];
        uint8_t matching = (uint8_t)in.ptr[2];

        in = span_from(in, 3);
        must(dane_host_add(host, usage, selector, matching, span_first(take(&in), TLSA_DATA_MAX)) ==
             RES_OK);
    }
}

static struct dane_facts
check(const struct peer_chain *chain, const struct dane_host *host)
{
    struct dane_facts facts = { .key = KEY };

    must(dane_check(chain, host, 1, NOW_S, &facts) == RES_OK);
    must(facts.key == KEY && facts.host == 0);
    must(facts.match > DANE_UNCHECKED && facts.match <= DANE_MATCHED);
    must(facts.match == DANE_UNUSABLE || facts.error[0] != '\0');
    return facts;
}

/* Records of the whole leaf can be held against it here. */
static void
check_leaf(const struct peer_chain *chain, const struct dane_host *host,
           const struct dane_facts *facts)
{
    bool usable = false;

    for (size_t i = 0; i < host->count; i++) {
        const struct tlsa_record *r = &host->records[i];
        uint8_t digest[SHA512_DIGEST_LENGTH];

        usable |= tlsa_record_is_usable(r);
        if (r->usage != TLSA_DANE_EE || r->selector != TLSA_CERT || chain->count == 0 ||
            r->matching != TLSA_SHA2_512)
            continue;
        SHA512((const uint8_t *)chain->certs[0].ptr, chain->certs[0].len, digest);
        if (span_equal(span_make(r->data, r->len), span_make(digest, sizeof digest)))
            must(facts->match == DANE_MATCHED || chain->certs[0].len == 0);
    }
    must(usable || facts->match == DANE_UNUSABLE);
}

static void
reverse(struct dane_host *host)
{
    for (size_t i = 0; i < host->count / 2; i++) {
        struct tlsa_record swap = host->records[i];

        host->records[i] = host->records[host->count - 1 - i];
        host->records[host->count - 1 - i] = swap;
    }
}

/* Past the bound of paths the order may tell, in what came nearest. */
static bool
same(enum dane_match a, enum dane_match b)
{
    bool broken_a = a >= DANE_TA_BROKEN, broken_b = b >= DANE_TA_BROKEN;

    return a == b || (broken_a && broken_b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size);
    struct peer_chain *chain = take_chain(&in);
    struct dane_host host = { .count = 0 };
    struct dane_facts facts;

    must(name_list_add(&host.references, span_of("mx.example.com")) == RES_OK);
    take_records(in, &host);
    facts = check(chain, &host);
    must(facts.match < DANE_TA_BROKEN || facts.usage == TLSA_DANE_EE || facts.depth > 0);
    check_leaf(chain, &host, &facts);
    reverse(&host);
    must(same(check(chain, &host).match, facts.match));
    if (dane_host_add(&host, TLSA_PKIX_EE, TLSA_SPKI, TLSA_SHA2_256, span_of("unusable")) == RES_OK)
        must(same(check(chain, &host).match, facts.match));
    dane_host_clear(&host);
    peer_chain_unref(chain);
    return 0;
}
