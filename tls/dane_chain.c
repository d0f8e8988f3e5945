#include "tls/dane_chain.h"

#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <stdlib.h>

#include "base/hostname.h"
#include "tls/cert_names.h"

struct link {
    struct span der;
    struct span spki;         /* within der; empty: cannot be read */
    bool hashed[2][2];        /* by selector, and SHA-512 or not */
    uint8_t digest[2][2][64]; /* the same */
    X509 *x509;               /* owned; NULL until parse(), or unreadable */
    bool verified;            /* path is known */
    struct path_facts path;   /* from the leaf to this one */
};

struct dane_chain {
    int64_t now_s;
    unsigned paths_left;
    bool parsed;             /* parse() has been here */
    STACK_OF(X509) * others; /* borrows x509 of all links but the leaf's */
    bool named;              /* names are known */
    struct name_list names;  /* owned, of the leaf */
    size_t count;
    struct link links[];
};

/* TBSCertificate, RFC 5280 4.1: version, serialNumber, signature, issuer, validity, subject. Read
 * here rather than by the library, which takes no certificate that is odd elsewhere. */
static struct span
find_spki(struct span der)
{
    CBS in, cert, tbs, spki;

    CBS_init(&in, (const uint8_t *)der.ptr, der.len);
    if (!CBS_get_asn1(&in, &cert, CBS_ASN1_SEQUENCE) ||
        !CBS_get_asn1(&cert, &tbs, CBS_ASN1_SEQUENCE) ||
        !CBS_get_optional_asn1(&tbs, NULL, NULL,
                               CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | 0) ||
        !CBS_get_asn1(&tbs, NULL, CBS_ASN1_INTEGER) ||
        !CBS_get_asn1(&tbs, NULL, CBS_ASN1_SEQUENCE) ||
        !CBS_get_asn1(&tbs, NULL, CBS_ASN1_SEQUENCE) ||
        !CBS_get_asn1(&tbs, NULL, CBS_ASN1_SEQUENCE) ||
        !CBS_get_asn1(&tbs, NULL, CBS_ASN1_SEQUENCE) ||
        !CBS_get_asn1_element(&tbs, &spki, CBS_ASN1_SEQUENCE))
        return span_make(NULL, 0);
    return span_make(CBS_data(&spki), CBS_len(&spki));
}

bool
dane_is_spki(struct span der)
{
    CBS in, spki;

    CBS_init(&in, (const uint8_t *)der.ptr, der.len);
    return CBS_get_asn1(&in, &spki, CBS_ASN1_SEQUENCE) && CBS_len(&in) == 0 &&
           CBS_get_asn1(&spki, NULL, CBS_ASN1_SEQUENCE) &&
           CBS_get_asn1(&spki, NULL, CBS_ASN1_BITSTRING) && CBS_len(&spki) == 0;
}

enum result
dane_read_cert(struct span der, X509 **out)
{
    const uint8_t *at = (const uint8_t *)der.ptr;
    bool no_memory;

    ERR_clear_error();
    *out = d2i_X509(NULL, &at, (long)der.len);
    no_memory = !*out && ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE;
    ERR_clear_error();
    if (*out && at != (const uint8_t *)der.ptr + der.len) {
        X509_free(*out);
        *out = NULL;
    }
    return no_memory ? RES_NOMEM : RES_OK;
}

enum result
dane_chain_new(const struct peer_chain *chain, int64_t now_s, unsigned paths_max,
               struct dane_chain **out)
{
    size_t count = chain ? chain->count : 0;
    struct dane_chain *c = calloc(1, sizeof *c + count * sizeof c->links[0]);

    *out = c;
    if (!c)
        return RES_NOMEM;
    c->now_s = now_s;
    c->paths_left = paths_max;
    c->count = count;
    for (size_t i = 0; i < count; i++) {
        c->links[i].der = chain->certs[i];
        c->links[i].spki = find_spki(chain->certs[i]);
    }
    return RES_OK;
}

void
dane_chain_free(struct dane_chain *c)
{
    if (!c)
        return;
    sk_X509_free(c->others);
    for (size_t i = 0; i < c->count; i++)
        X509_free(c->links[i].x509);
    name_list_clear(&c->names);
    free(c);
}

size_t
dane_chain_count(const struct dane_chain *c)
{
    return c->count;
}

bool
dane_chain_is_leaf(const struct dane_chain *c, size_t depth)
{
    return depth == 0 || span_equal(c->links[depth].der, c->links[0].der);
}

static struct span
digest_of(struct link *link, unsigned selector, bool sha512)
{
    struct span data = selector == TLSA_SPKI ? link->spki : link->der;
    uint8_t *digest = link->digest[selector][sha512];

    if (!link->hashed[selector][sha512]) {
        if (sha512)
            SHA512((const uint8_t *)data.ptr, data.len, digest);
        else
            SHA256((const uint8_t *)data.ptr, data.len, digest);
        link->hashed[selector][sha512] = true;
    }
    return span_make(digest, sha512 ? SHA512_DIGEST_LENGTH : SHA256_DIGEST_LENGTH);
}

bool
dane_chain_matches(struct dane_chain *c, const struct tlsa_record *record, size_t depth)
{
    struct span want = span_make(record->data, record->len);
    struct link *link = &c->links[depth];
    struct span data = record->selector == TLSA_SPKI ? link->spki : link->der;

    if (data.len == 0)
        return false;
    if (record->matching == TLSA_FULL)
        return span_equal(want, data);
    return span_equal(want, digest_of(link, record->selector, record->matching == TLSA_SHA2_512));
}

/* A certificate that can't be read is left out: the path may do without it. */
static enum result
parse(struct dane_chain *c)
{
    if (c->parsed)
        return RES_OK;
    if (!c->others)
        c->others = sk_X509_new_null();
    if (!c->others)
        return RES_NOMEM;
    for (size_t i = 0; i < c->count; i++) {
        enum result res = dane_read_cert(c->links[i].der, &c->links[i].x509);

        if (res != RES_OK)
            return res; /* the check is over */
        if (i > 0 && c->links[i].x509 && !sk_X509_push(c->others, c->links[i].x509))
            return RES_NOMEM;
    }
    c->parsed = true;
    return RES_OK;
}

static enum result
verify_with(struct dane_chain *c, X509 *anchor, struct path_facts *out)
{
    X509_STORE *only = NULL;
    enum result res = RES_NOMEM;

    if (!c->links[0].x509 || !anchor) {
        path_none(out, "X509_V_ERR_UNSPECIFIED", "certificate that can't be read");
        return RES_OK;
    }
    if (c->paths_left == 0) {
        path_none(out, "X509_V_ERR_UNSPECIFIED", "too many trust anchors");
        return RES_OK;
    }
    c->paths_left--;
    only = X509_STORE_new();
    if (only && X509_STORE_add_cert(only, anchor))
        res = path_verify(only, PATH_TO_ANY, c->links[0].x509, c->others, c->now_s, out);
    X509_STORE_free(only);
    ERR_clear_error();
    return res;
}

enum result
dane_chain_verify(struct dane_chain *c, size_t depth, struct path_facts *out)
{
    struct link *link = &c->links[depth];
    enum result res = parse(c);

    if (res == RES_OK && !link->verified) {
        res = verify_with(c, link->x509, &link->path);
        link->verified = res == RES_OK;
    }
    if (res == RES_OK)
        *out = link->path;
    return res;
}

static bool
issued(X509 *issuer, X509 *subject)
{
    return issuer && subject && X509_check_issued(issuer, subject) == X509_V_OK;
}

enum result
dane_chain_verify_to(struct dane_chain *c, X509 *anchor, bool *out_reached, struct path_facts *out)
{
    enum result res = parse(c);

    *out_reached = false;
    for (size_t i = 0; i < c->count && res == RES_OK && !*out_reached; i++)
        *out_reached = issued(anchor, c->links[i].x509);
    return res == RES_OK && *out_reached ? verify_with(c, anchor, out) : res;
}

/* The depth at which the way up from the leaf ends, as far as names tell. */
static size_t
topmost(const struct dane_chain *c)
{
    size_t top = 0;

    for (size_t steps = 0; steps < c->count; steps++) { /* names may go in circles */
        size_t next = 1;

        while (next < c->count && (next == top || !issued(c->links[next].x509, c->links[top].x509)))
            next++;
        if (next == c->count)
            break;
        top = next;
    }
    return top;
}

enum result
dane_chain_verify_under(struct dane_chain *c, EVP_PKEY *key, bool *out_reached,
                        struct path_facts *out)
{
    enum result res = parse(c);
    size_t top;
    X509 *cert;

    *out_reached = false;
    if (res != RES_OK || c->count == 0)
        return res;
    top = topmost(c);
    cert = c->links[top].x509;
    *out_reached = cert && X509_verify(cert, key) == 1;
    ERR_clear_error();
    if (!*out_reached)
        return RES_OK;
    res = dane_chain_verify(c, top, out);
    if (res == RES_OK && out->length)
        out->length++;
    if (res != RES_OK || out->state != CHAIN_GOOD)
        return res;
    if (!path_key_is_strong(key))
        path_set(out, CHAIN_UNTRUSTED, "X509_V_ERR_CA_KEY_TOO_SMALL", "key too short");
    else if (!path_signature_is_strong(cert))
        path_set(out, CHAIN_UNTRUSTED, "X509_V_ERR_CA_MD_TOO_WEAK", "signature digest too weak");
    return res;
}

enum result
dane_chain_is_for(struct dane_chain *c, const struct name_list *references, bool *out)
{
    *out = false;
    if (!c->named) {
        enum result res = cert_dane_names(c->links[0].x509, &c->names);

        if (res != RES_OK)
            return res;
        c->named = true;
    }
    for (size_t i = 0; i < c->names.count && !*out; i++)
        for (size_t j = 0; j < references->count && !*out; j++)
            *out = hostname_matches(span_of(c->names.names[i]), span_of(references->names[j]));
    return RES_OK;
}
