#include "tests/support/certs.h"

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/digest.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HALF_A_YEAR (182 * CERTS_DAY)

static void
must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "certs: %s failed\n", what);
    exit(99);
}

static EVP_PKEY *
new_ec_key(int nid)
{
    EC_KEY *ec = EC_KEY_new_by_curve_name(nid);
    EVP_PKEY *key = EVP_PKEY_new();

    must(ec && key && EC_KEY_generate_key(ec) && EVP_PKEY_assign_EC_KEY(key, ec), "EC key");
    return key;
}

static EVP_PKEY *
new_rsa_key(int bits)
{
    EVP_PKEY *key = EVP_PKEY_new();
    BIGNUM *e = BN_new();
    RSA *rsa = RSA_new();

    must(key && e && rsa && BN_set_word(e, RSA_F4) && RSA_generate_key_ex(rsa, bits, e, NULL) &&
             EVP_PKEY_assign_RSA(key, rsa),
         "RSA key");
    BN_free(e);
    return key;
}

static EVP_PKEY *
new_ed25519_key(void)
{
    uint8_t seed[32];
    EVP_PKEY *key;

    RAND_bytes(seed, sizeof seed);
    key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
    must(key != NULL, "Ed25519 key");
    return key;
}

static EVP_PKEY *
new_key(struct cert_factory *factory, enum cert_key type)
{
    switch (type) {
    case CERT_KEY_P256:
        return new_ec_key(NID_X9_62_prime256v1);
    case CERT_KEY_P384:
        return new_ec_key(NID_secp384r1);
    case CERT_KEY_P521:
        return new_ec_key(NID_secp521r1);
    case CERT_KEY_ED25519:
        return new_ed25519_key();
    case CERT_KEY_RSA2048:
    case CERT_KEY_RSA1024:
        if (!factory->rsa[type])
            factory->rsa[type] = new_rsa_key(type == CERT_KEY_RSA2048 ? 2048 : 1024);
        EVP_PKEY_up_ref(factory->rsa[type]);
        return factory->rsa[type];
    case CERT_KEYS:
        break;
    }
    abort();
}

static void
add_extension(X509 *x509, int nid, void *value, bool critical)
{
    must(X509_add1_ext_i2d(x509, nid, value, critical, 0) == 1, "extension");
}

static void
add_basic_constraints(X509 *x509, const struct cert_spec *spec)
{
    BASIC_CONSTRAINTS *bc = BASIC_CONSTRAINTS_new();

    must(bc != NULL, "basic constraints");
    bc->ca = spec->ca ? 0xff : 0;
    if (spec->ca && spec->pathlen > 0) {
        bc->pathlen = ASN1_INTEGER_new();
        must(bc->pathlen && ASN1_INTEGER_set(bc->pathlen, spec->pathlen - 1), "path length");
    }
    add_extension(x509, NID_basic_constraints, bc, true);
    BASIC_CONSTRAINTS_free(bc);
}

static GENERAL_NAME *
new_name(int type, const void *bytes, size_t len)
{
    ASN1_STRING *text =
        ASN1_STRING_type_new(type == GEN_DNS ? V_ASN1_IA5STRING : V_ASN1_OCTET_STRING);
    GENERAL_NAME *name = GENERAL_NAME_new();

    must(text && name && ASN1_STRING_set(text, bytes, (int)len), "general name");
    GENERAL_NAME_set0_value(name, type, text);
    return name;
}

static void
push_dns(GENERAL_NAMES *names, const char *text, size_t len)
{
    char copy[1024];

    must(len <= sizeof copy, "dNSName");
    for (size_t i = 0; i < len; i++)
        copy[i] = text[i] == '\001' ? '\0' : text[i];
    must(sk_GENERAL_NAME_push(names, new_name(GEN_DNS, copy, len)) > 0, "dNSName");
}

static void
add_sans(X509 *x509, const struct cert_spec *spec)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    static const uint8_t ip[] = { 192, 0, 2, 1 };

    must(names != NULL, "names");
    for (const char *at = spec->sans; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        push_dns(names, at, strcspn(at, ","));
    for (unsigned i = 0; i < spec->more_sans; i++) {
        char host[64];

        snprintf(host, sizeof host, "h%u.example.com", i);
        push_dns(names, host, strlen(host));
    }
    if (spec->san_ip)
        must(sk_GENERAL_NAME_push(names, new_name(GEN_IPADD, ip, sizeof ip)) > 0, "iPAddress");
    if (sk_GENERAL_NAME_num(names) > 0)
        add_extension(x509, NID_subject_alt_name, names, false);
    GENERAL_NAMES_free(names);
}

static STACK_OF(GENERAL_SUBTREE) * new_subtrees(const char *domain)
{
    STACK_OF(GENERAL_SUBTREE) *list = sk_GENERAL_SUBTREE_new_null();
    GENERAL_SUBTREE *tree = GENERAL_SUBTREE_new();

    must(list && tree, "name constraints");
    GENERAL_NAME_free(tree->base);
    tree->base = new_name(GEN_DNS, domain, strlen(domain));
    must(sk_GENERAL_SUBTREE_push(list, tree) > 0, "name constraints");
    return list;
}

static void
add_name_constraints(X509 *x509, const struct cert_spec *spec)
{
    NAME_CONSTRAINTS *nc;

    if (!spec->permitted && !spec->excluded)
        return;
    nc = NAME_CONSTRAINTS_new();
    must(nc != NULL, "name constraints");
    if (spec->permitted)
        nc->permittedSubtrees = new_subtrees(spec->permitted);
    if (spec->excluded)
        nc->excludedSubtrees = new_subtrees(spec->excluded);
    add_extension(x509, NID_name_constraints, nc, true);
    NAME_CONSTRAINTS_free(nc);
}

static void
add_usage(X509 *x509, int nid)
{
    EXTENDED_KEY_USAGE *usage;

    if (!nid)
        return;
    usage = EXTENDED_KEY_USAGE_new();
    must(usage && sk_ASN1_OBJECT_push(usage, OBJ_dup(OBJ_nid2obj(nid))) > 0, "key usage");
    add_extension(x509, NID_ext_key_usage, usage, false);
    EXTENDED_KEY_USAGE_free(usage);
}

static void
add_odd_critical(X509 *x509)
{
    ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.4.1.32473.1", 1); /* RFC 5612: for documentation */
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *ext;

    must(oid && value && ASN1_STRING_set(value, "\x05\x00", 2), "odd extension");
    ext = X509_EXTENSION_create_by_OBJ(NULL, oid, 1, value);
    must(ext && X509_add_ext(x509, ext, -1), "odd extension");
    X509_EXTENSION_free(ext);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);
}

static void
set_subject(X509 *x509, const char *cn)
{
    X509_NAME *name = X509_NAME_new();

    must(name != NULL, "name");
    if (cn)
        must(X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC, (const uint8_t *)cn, -1,
                                        -1, 0),
             "name");
    must(X509_set_subject_name(x509, name), "name");
    X509_NAME_free(name);
}

static void
set_times(X509 *x509, const struct cert_spec *spec)
{
    bool usual = spec->from_s == 0 && spec->until_s == 0;
    int64_t from = CERTS_NOW + (usual ? -HALF_A_YEAR : spec->from_s);
    int64_t until = CERTS_NOW + (usual ? HALF_A_YEAR : spec->until_s);

    must(ASN1_TIME_set(X509_getm_notBefore(x509), from) &&
             ASN1_TIME_set(X509_getm_notAfter(x509), until),
         "times");
}

static bool
sign_pss(X509 *x509, EVP_PKEY *key, const EVP_MD *digest)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey_ctx;
    bool signed_it;

    must(ctx && EVP_DigestSignInit(ctx, &pkey_ctx, digest, NULL, key) &&
             EVP_PKEY_CTX_set_rsa_padding(pkey_ctx, RSA_PKCS1_PSS_PADDING) &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey_ctx, -1),
         "PSS signature");
    signed_it = X509_sign_ctx(x509, ctx) > 0;
    EVP_MD_CTX_free(ctx);
    return signed_it;
}

static bool
sign(X509 *x509, EVP_PKEY *key, enum cert_digest digest)
{
    const EVP_MD *md = NULL;

    switch (digest) {
    case CERT_SHA256:
        md = EVP_sha256();
        break;
    case CERT_SHA384:
        md = EVP_sha384();
        break;
    case CERT_SHA1:
        md = EVP_sha1();
        break;
    case CERT_MD5:
        md = EVP_md5();
        break;
    case CERT_PSS_SHA256:
        return sign_pss(x509, key, EVP_sha256());
    case CERT_PSS_SHA1:
        return sign_pss(x509, key, EVP_sha1());
    }
    return X509_sign(x509, key, EVP_PKEY_id(key) == EVP_PKEY_ED25519 ? NULL : md) > 0;
}

bool
cert_make(struct cert_factory *factory, const struct cert_spec *spec, const struct cert *issuer,
          struct cert *out)
{
    X509 *x509 = X509_new();
    uint64_t serial;

    *out = (struct cert){ .x509 = x509, .key = new_key(factory, spec->key) };
    RAND_bytes((uint8_t *)&serial, sizeof serial);
    must(x509 && X509_set_version(x509, 2) &&
             ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), serial >> 1) &&
             X509_set_pubkey(x509, out->key),
         "certificate");
    set_subject(x509, spec->cn);
    must(X509_set_issuer_name(x509, X509_get_subject_name(issuer ? issuer->x509 : x509)), "issuer");
    set_times(x509, spec);
    add_basic_constraints(x509, spec);
    add_sans(x509, spec);
    add_name_constraints(x509, spec);
    add_usage(x509, spec->usage);
    if (spec->odd_critical)
        add_odd_critical(x509);
    if (sign(x509, issuer ? issuer->key : out->key, spec->digest))
        return true;
    must(spec->digest != CERT_SHA256 && spec->digest != CERT_SHA384, "signature");
    cert_clear(out);
    return false;
}

void
cert_clear(struct cert *cert)
{
    X509_free(cert->x509);
    EVP_PKEY_free(cert->key);
    *cert = (struct cert){ 0 };
}

void
cert_factory_clear(struct cert_factory *factory)
{
    for (size_t i = 0; i < CERT_KEYS; i++)
        EVP_PKEY_free(factory->rsa[i]);
    *factory = (struct cert_factory){ 0 };
}

void
certs_write(const char *path, const struct cert *const *certs, size_t count, bool with_key)
{
    BIO *file = BIO_new_file(path, "w");

    must(file != NULL, path);
    for (size_t i = 0; i < count; i++)
        must(PEM_write_bio_X509(file, certs[i]->x509), path);
    if (with_key)
        must(PEM_write_bio_PrivateKey(file, certs[0]->key, NULL, NULL, 0, NULL, NULL), path);
    must(BIO_flush(file) == 1, path);
    BIO_free(file);
}
