#include "tests/support/cert_family.h"

#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/x509.h>

#include <stdlib.h>

#define LATER CERT_LATER

#define CA(name) .cn = name, .ca = true
#define MX .cn = CERT_HOST, .sans = CERT_HOST

static const struct plan {
    enum cert_id issuer; /* CERT_NONE: itself */
    struct cert_spec spec;
} plans[CERT_IDS] = {
    [ROOT] = { CERT_NONE, { CA("Root") } },
    [ROOT_RSA] = { CERT_NONE, { CA("RSA root"), .key = CERT_KEY_RSA2048, .digest = CERT_SHA1 } },
    [ROOT_SHORT] = { CERT_NONE, { CA("Short root"), .key = CERT_KEY_RSA1024 } },
    [ROOT_EXPIRED] = { CERT_NONE, { CA("Old root"), .from_s = -LATER, .until_s = -1 } },
    [ROOT_UNKNOWN] = { CERT_NONE, { CA("Unknown root") } },
    [INTER] = { ROOT, { CA("Inter") } },
    [INTER_RSA] = { ROOT_RSA, { CA("RSA inter"), .key = CERT_KEY_RSA2048 } },
    [INTER_LIMITED] = { ROOT, { CA("Limited"), .pathlen = 1 } },
    [INTER_BELOW] = { INTER_LIMITED, { CA("Below limited") } },
    [INTER_EXPIRED] = { ROOT, { CA("Old inter"), .from_s = -LATER, .until_s = -1 } },
    [INTER_SHA1] = { ROOT_RSA, { CA("SHA-1 inter"), .digest = CERT_SHA1 } },
    [INTER_SHORT] = { ROOT, { CA("Short inter"), .key = CERT_KEY_RSA1024 } },
    [INTER_NOT_CA] = { ROOT, { .cn = "No CA" } },
    [INTER_CLIENT] = { ROOT, { CA("Client inter"), .usage = NID_client_auth } },
    [INTER_PERMITTED] = { ROOT, { CA("Permitted"), .permitted = "example.com" } },
    [INTER_EXCLUDED] = { ROOT, { CA("Excluded"), .excluded = "example.com" } },
    [INTER_ODD] = { ROOT, { CA("Odd inter"), .odd_critical = true } },
    [INTER_IMPOSTOR] = { ROOT_UNKNOWN, { CA("Inter") } }, /* INTER's name, another key */
    [CROSS] = { ROOT_EXPIRED, { CA("Root"), .from_s = -LATER, .until_s = -1 } },
    [LEAF] = { INTER, { MX } },
    [LEAF_RSA] = { INTER_RSA, { MX, .key = CERT_KEY_RSA2048 } },
    [LEAF_P384] = { INTER, { MX, .key = CERT_KEY_P384, .digest = CERT_SHA384 } },
    [LEAF_P521] = { INTER, { MX, .key = CERT_KEY_P521 } },
    [LEAF_ED25519] = { INTER, { MX, .key = CERT_KEY_ED25519 } },
    [LEAF_BY_ROOT] = { ROOT, { MX } },
    [LEAF_PSS] = { INTER_RSA, { MX, .digest = CERT_PSS_SHA256 } },
    [LEAF_PSS_SHA1] = { INTER_RSA, { MX, .digest = CERT_PSS_SHA1 } },
    [LEAF_MD5] = { INTER_RSA, { MX, .digest = CERT_MD5 } },
    [LEAF_EXPIRED] = { INTER, { MX, .from_s = -LATER, .until_s = -1 } },
    [LEAF_EARLY] = { INTER, { MX, .from_s = 1, .until_s = LATER } },
    [LEAF_SELF] = { CERT_NONE, { MX } },
    [LEAF_SELF_EXPIRED] = { CERT_NONE, { MX, .from_s = -LATER, .until_s = -1 } },
    [LEAF_UNKNOWN] = { ROOT_UNKNOWN, { MX } },
    [LEAF_LIMITED] = { INTER_LIMITED, { MX } },
    [LEAF_BELOW] = { INTER_BELOW, { MX } },
    [LEAF_INTER_EXPIRED] = { INTER_EXPIRED, { MX } },
    [LEAF_SHA1] = { INTER_RSA, { MX, .digest = CERT_SHA1 } },
    [LEAF_INTER_SHA1] = { INTER_SHA1, { MX } },
    [LEAF_SHORT] = { INTER, { MX, .key = CERT_KEY_RSA1024 } },
    [LEAF_INTER_SHORT] = { INTER_SHORT, { MX } },
    [LEAF_ROOT_SHORT] = { ROOT_SHORT, { MX } },
    [LEAF_ROOT_EXPIRED] = { ROOT_EXPIRED, { MX } },
    [LEAF_NOT_CA] = { INTER_NOT_CA, { MX } },
    [LEAF_CLIENT] = { INTER, { MX, .usage = NID_client_auth } },
    [LEAF_INTER_CLIENT] = { INTER_CLIENT, { MX } },
    [LEAF_PERMITTED] = { INTER_PERMITTED, { MX } },
    [LEAF_NOT_PERMITTED] = { INTER_PERMITTED, { .sans = CERT_HOST ",mx.example.net" } },
    [LEAF_EXCLUDED] = { INTER_EXCLUDED, { MX } },
    [LEAF_ODD] = { INTER, { MX, .odd_critical = true } },
    [LEAF_INTER_ODD] = { INTER_ODD, { MX } },
    [LEAF_IMPOSTOR] = { INTER_IMPOSTOR, { MX } },
    [LEAF_WILDCARD] = { INTER, { .cn = "x", .sans = "*.example.com,MX2.Example.Com." } },
    [LEAF_CN] = { INTER, { .cn = CERT_HOST } },
    [LEAF_WRONG_NAME] = { INTER, { .cn = CERT_HOST, .sans = "example.com" } },
    [LEAF_NUL] = { INTER,
                   { .cn = CERT_HOST, .sans = CERT_HOST "\001.evil.example,ok.example.com,\001" } },
    [LEAF_MANY] = { INTER, { MX, .more_sans = 999 } },
    [LEAF_IP] = { INTER, { .cn = CERT_HOST, .san_ip = true } },
    [LEAF_STRANGE] = { INTER,
                       { .cn = "a\r\nb",
                         .sans = "a b.example,\x1b[2J.example,,\xc3\xa9.example" } },
    [LEAF_CN_WRONG] = { INTER, { .cn = "mx.example.net" } },
    [LEAF_CN_IP] = { INTER, { .cn = CERT_HOST, .san_ip = true } },
    [LEAF_OTHER] = { INTER, { .cn = "other", .sans = "mx.example.net" } },
    [LEAF_OTHER_EXPIRED] = { CERT_NONE,
                             { .cn = "other",
                               .sans = "mx.example.net",
                               .from_s = -LATER,
                               .until_s = -1 } },
    [LEAF_DOMAIN] = { INTER, { .cn = "x", .sans = "example.com" } },
    [LEAF_WILD] = { INTER, { .cn = "x", .sans = "*.example.com" } },
    [LEAF_WILD_FAR] = { INTER, { .cn = "x", .sans = "*.com" } },
    [LEAF_DATED] = { INTER, { MX, .from_s = -LATER, .until_s = LATER } },
};

void
cert_family_make(struct cert_family *family)
{
    *family = (struct cert_family){ 0 };
    for (enum cert_id id = CERT_NONE + 1; id < CERT_IDS; id++) {
        const struct cert *issuer = &family->certs[plans[id].issuer];

        cert_make(&family->factory, &plans[id].spec, plans[id].issuer ? issuer : NULL,
                  &family->certs[id]);
    }
}

void
cert_family_clear(struct cert_family *family)
{
    for (enum cert_id id = CERT_NONE + 1; id < CERT_IDS; id++)
        cert_clear(&family->certs[id]);
    cert_factory_clear(&family->factory);
}

struct peer_chain *
cert_family_present(const struct cert_family *family, const enum cert_id *ids)
{
    struct span ders[PEER_CHAIN_MAX] = { { 0 } };
    struct peer_chain *chain;
    size_t count = 0;

    for (; ids[count]; count++) {
        uint8_t *der = NULL;
        int len = i2d_X509(family->certs[ids[count]].x509, &der);

        if (len <= 0 || count == PEER_CHAIN_MAX)
            abort();
        ders[count] = span_make(der, (size_t)len);
    }
    if (peer_chain_new(ders, count, &chain) != RES_OK)
        abort();
    for (size_t i = 0; i < count; i++)
        OPENSSL_free((void *)ders[i].ptr);
    return chain;
}
