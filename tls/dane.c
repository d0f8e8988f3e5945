#include "tls/dane.h"

#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <assert.h>

#include "tls/dane_chain.h"
#include "tls/reason.h"

/* Which records of a host take part: its usable ones, and of digests for the same usage and
 * selector the strongest only (DANE-034). */
struct usable {
    bool record[TLSA_RECORDS_MAX];
    size_t count;
};

/* Does full data hold what its selector says (DANE-033)? */
static enum result
check_full(const struct tlsa_record *record, bool *out_usable)
{
    struct span data = span_make(record->data, record->len);
    X509 *cert;
    enum result res;

    if (record->selector == TLSA_SPKI) {
        *out_usable = dane_is_spki(data);
        return RES_OK;
    }
    res = dane_read_cert(data, &cert);
    *out_usable = cert != NULL;
    X509_free(cert);
    return res;
}

static unsigned *
strongest_of(unsigned strongest[2][2], const struct tlsa_record *r)
{
    return &strongest[r->usage == TLSA_DANE_EE][r->selector == TLSA_SPKI];
}

static enum result
find_usable(const struct dane_host *host, struct usable *out)
{
    unsigned strongest[2][2] = { { 0 } }; /* matching type by usage and selector */

    *out = (struct usable){ .count = 0 };
    for (size_t i = 0; i < host->count; i++) {
        const struct tlsa_record *r = &host->records[i];
        unsigned *best = strongest_of(strongest, r);

        out->record[i] = tlsa_record_is_usable(r);
        if (out->record[i] && r->matching == TLSA_FULL) {
            enum result res = check_full(r, &out->record[i]);

            if (res != RES_OK)
                return res;
        }
        if (out->record[i] && r->matching > *best)
            *best = r->matching;
    }
    for (size_t i = 0; i < host->count; i++) {
        const struct tlsa_record *r = &host->records[i];

        if (out->record[i] && r->matching != TLSA_FULL)
            out->record[i] = r->matching == *strongest_of(strongest, r);
        out->count += out->record[i];
    }
    return RES_OK;
}

static void
set_facts(struct dane_facts *facts, enum dane_match match, const char *error, const char *reason)
{
    facts->match = match;
    reason_copy(facts->error, sizeof facts->error, error);
    reason_copy(facts->reason, sizeof facts->reason, reason);
}

static void
keep_record(struct dane_facts *facts, const struct tlsa_record *record, size_t depth)
{
    facts->usage = record->usage;
    facts->selector = record->selector;
    facts->matching = record->matching;
    facts->depth = (unsigned)depth;
}

/* There is a trust anchor: what the path to it and the name are worth. Facts only ever come nearer
 * to a match. */
static enum result
take_path(struct dane_chain *c, const struct dane_host *host, const struct tlsa_record *record,
          size_t depth, const struct path_facts *path, struct dane_facts *facts)
{
    enum dane_match match = path->state == CHAIN_EXPIRED ? DANE_TA_EXPIRED : DANE_TA_BROKEN;
    const char *error = path->error, *reason = path->reason;

    if (path->state == CHAIN_GOOD) {
        bool is_for;
        enum result res = dane_chain_is_for(c, &host->references, &is_for);

        if (res != RES_OK)
            return res;
        match = is_for ? DANE_MATCHED : DANE_TA_MISNAMED;
        if (!is_for) {
            error = "X509_V_ERR_HOSTNAME_MISMATCH";
            reason = X509_verify_cert_error_string(X509_V_ERR_HOSTNAME_MISMATCH);
        }
    }
    if (match > facts->match) {
        set_facts(facts, match, error, reason);
        keep_record(facts, record, depth);
    }
    return RES_OK;
}

/* The trust anchor comes with the record: a certificate, or a bare key (RFC 7671 5.2.2, 5.2.3). */
static enum result
check_anchor_of_dns(struct dane_chain *c, const struct dane_host *host,
                    const struct tlsa_record *record, struct dane_facts *facts)
{
    struct path_facts path;
    bool reached = false;
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    enum result res;

    if (record->selector == TLSA_CERT) {
        res = dane_read_cert(span_make(record->data, record->len), &cert);
        if (res == RES_OK && cert)
            res = dane_chain_verify_to(c, cert, &reached, &path);
    } else {
        CBS spki;

        CBS_init(&spki, record->data, record->len);
        key = EVP_parse_public_key(&spki); /* NULL: a kind that signs nothing the library reads */
        res = key ? dane_chain_verify_under(c, key, &reached, &path) : RES_OK;
    }
    if (res == RES_OK && reached)
        res = take_path(c, host, record, path.length ? path.length - 1 : dane_chain_count(c), &path,
                        facts);
    EVP_PKEY_free(key);
    X509_free(cert);
    return res;
}

static enum result
check_anchor(struct dane_chain *c, const struct dane_host *host, const struct tlsa_record *record,
             struct dane_facts *facts)
{
    bool presented = false;
    enum result res = RES_OK;

    for (size_t i = 0; i < dane_chain_count(c) && res == RES_OK; i++) {
        struct path_facts path;

        if (!dane_chain_matches(c, record, i))
            continue;
        presented = true;
        if (dane_chain_is_leaf(c, i))
            continue; /* it is nobody's trust anchor */
        res = dane_chain_verify(c, i, &path);
        if (res == RES_OK)
            res = take_path(c, host, record, i, &path, facts);
    }
    if (res != RES_OK || presented || record->matching != TLSA_FULL)
        return res;
    return check_anchor_of_dns(c, host, record, facts);
}

static enum result
check_host(struct dane_chain *c, const struct dane_host *host, struct dane_facts *facts)
{
    struct usable usable;
    enum result res = find_usable(host, &usable);

    if (res != RES_OK)
        return res;
    if (usable.count == 0) {
        set_facts(facts, DANE_UNUSABLE, "", "all TLSA records are unusable");
        return RES_OK;
    }
    set_facts(facts, DANE_NO_MATCH, "X509_V_ERR_DANE_NO_MATCH", "no matching DANE TLSA records");
    for (size_t i = 0; i < host->count; i++) {
        const struct tlsa_record *record = &host->records[i];

        if (usable.record[i] && record->usage == TLSA_DANE_EE && dane_chain_count(c) > 0 &&
            dane_chain_matches(c, record, 0)) {
            set_facts(facts, DANE_MATCHED, "X509_V_OK", "ok");
            keep_record(facts, record, 0);
            return RES_OK;
        }
    }
    for (size_t i = 0; i < host->count && facts->match != DANE_MATCHED && res == RES_OK; i++)
        if (usable.record[i] && host->records[i].usage == TLSA_DANE_TA)
            res = check_anchor(c, host, &host->records[i], facts);
    return res;
}

enum result
dane_check(const struct peer_chain *chain, const struct dane_host *hosts, size_t host_count,
           int64_t now_s, struct dane_facts *out)
{
    struct dane_facts best = { .key = out->key, .match = DANE_UNCHECKED };
    struct dane_chain *c;
    enum result res;

    assert(host_count > 0);
    res = dane_chain_new(chain, now_s, DANE_PATHS_MAX, &c);
    for (size_t i = 0; i < host_count && res == RES_OK && best.match != DANE_MATCHED; i++) {
        struct dane_facts facts = { .key = out->key, .host = i };

        res = check_host(c, &hosts[i], &facts);
        if (facts.match > best.match)
            best = facts;
    }
    *out = best;
    if (res != RES_OK)
        *out = (struct dane_facts){ .key = out->key, .match = DANE_UNCHECKED };
    dane_chain_free(c);
    return res;
}
