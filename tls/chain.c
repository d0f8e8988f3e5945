#include "tls/chain.h"

#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/pool.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <time.h>

#include "tls/reason.h"

#define DNS_NAME_MAX (HOSTNAME_MAX + 1u) /* with a trailing dot; a longer one matches no host */

#define ROW(code) [code] = #code

static const char *const error_names[] = {
    ROW(X509_V_OK),
    ROW(X509_V_ERR_UNSPECIFIED),
    ROW(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT),
    ROW(X509_V_ERR_UNABLE_TO_GET_CRL),
    ROW(X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE),
    ROW(X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE),
    ROW(X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY),
    ROW(X509_V_ERR_CERT_SIGNATURE_FAILURE),
    ROW(X509_V_ERR_CRL_SIGNATURE_FAILURE),
    ROW(X509_V_ERR_CERT_NOT_YET_VALID),
    ROW(X509_V_ERR_CERT_HAS_EXPIRED),
    ROW(X509_V_ERR_CRL_NOT_YET_VALID),
    ROW(X509_V_ERR_CRL_HAS_EXPIRED),
    ROW(X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD),
    ROW(X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD),
    ROW(X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD),
    ROW(X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD),
    ROW(X509_V_ERR_OUT_OF_MEM),
    ROW(X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT),
    ROW(X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN),
    ROW(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY),
    ROW(X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE),
    ROW(X509_V_ERR_CERT_CHAIN_TOO_LONG),
    ROW(X509_V_ERR_CERT_REVOKED),
    ROW(X509_V_ERR_INVALID_CA),
    ROW(X509_V_ERR_PATH_LENGTH_EXCEEDED),
    ROW(X509_V_ERR_INVALID_PURPOSE),
    ROW(X509_V_ERR_CERT_UNTRUSTED),
    ROW(X509_V_ERR_CERT_REJECTED),
    ROW(X509_V_ERR_SUBJECT_ISSUER_MISMATCH),
    ROW(X509_V_ERR_AKID_SKID_MISMATCH),
    ROW(X509_V_ERR_AKID_ISSUER_SERIAL_MISMATCH),
    ROW(X509_V_ERR_KEYUSAGE_NO_CERTSIGN),
    ROW(X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER),
    ROW(X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION),
    ROW(X509_V_ERR_KEYUSAGE_NO_CRL_SIGN),
    ROW(X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION),
    ROW(X509_V_ERR_INVALID_NON_CA),
    ROW(X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED),
    ROW(X509_V_ERR_KEYUSAGE_NO_DIGITAL_SIGNATURE),
    ROW(X509_V_ERR_PROXY_CERTIFICATES_NOT_ALLOWED),
    ROW(X509_V_ERR_INVALID_EXTENSION),
    ROW(X509_V_ERR_INVALID_POLICY_EXTENSION),
    ROW(X509_V_ERR_NO_EXPLICIT_POLICY),
    ROW(X509_V_ERR_DIFFERENT_CRL_SCOPE),
    ROW(X509_V_ERR_UNSUPPORTED_EXTENSION_FEATURE),
    ROW(X509_V_ERR_UNNESTED_RESOURCE),
    ROW(X509_V_ERR_PERMITTED_VIOLATION),
    ROW(X509_V_ERR_EXCLUDED_VIOLATION),
    ROW(X509_V_ERR_SUBTREE_MINMAX),
    ROW(X509_V_ERR_APPLICATION_VERIFICATION),
    ROW(X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE),
    ROW(X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX),
    ROW(X509_V_ERR_UNSUPPORTED_NAME_SYNTAX),
    ROW(X509_V_ERR_CRL_PATH_VALIDATION_ERROR),
    ROW(X509_V_ERR_HOSTNAME_MISMATCH),
    ROW(X509_V_ERR_EMAIL_MISMATCH),
    ROW(X509_V_ERR_IP_ADDRESS_MISMATCH),
    ROW(X509_V_ERR_INVALID_CALL),
    ROW(X509_V_ERR_STORE_LOOKUP),
    ROW(X509_V_ERR_NAME_CONSTRAINTS_WITHOUT_SANS),
};

static void
set_chain(struct observation *obs, enum chain_state chain, const char *error, const char *reason)
{
    obs->chain = chain;
    reason_copy(obs->chain_error, sizeof obs->chain_error, error);
    reason_copy(obs->chain_reason, sizeof obs->chain_reason, reason);
}

static void
set_chain_error(struct observation *obs, int code)
{
    const char *name = NULL;
    char number[sizeof obs->chain_error];

    if (code >= 0 && (size_t)code < sizeof error_names / sizeof error_names[0])
        name = error_names[code];
    if (!name) {
        snprintf(number, sizeof number, "X509_V_ERR_%d", code);
        name = number;
    }
    set_chain(obs, code == X509_V_ERR_CERT_HAS_EXPIRED ? CHAIN_EXPIRED : CHAIN_UNTRUSTED, name,
              X509_verify_cert_error_string(code));
}

/* RFC 8017 A.2.3: the hash is [0], and SHA-1 when it is left out. */
static bool
pss_digest_is_strong(const X509 *cert)
{
    const X509_ALGOR *algorithm;
    const ASN1_BIT_STRING *signature;
    const void *value;
    int type, nid;
    CBS in, params, tagged, hash, oid;

    X509_get0_signature(&signature, &algorithm, cert);
    X509_ALGOR_get0(NULL, &type, &value, algorithm);
    if (type != V_ASN1_SEQUENCE)
        return false;
    CBS_init(&in, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
    if (!CBS_get_asn1(&in, &params, CBS_ASN1_SEQUENCE) ||
        !CBS_get_asn1(&params, &tagged, CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | 0) ||
        !CBS_get_asn1(&tagged, &hash, CBS_ASN1_SEQUENCE) ||
        !CBS_get_asn1(&hash, &oid, CBS_ASN1_OBJECT))
        return false;
    nid = OBJ_cbs2nid(&oid);
    return nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512;
}

static bool
signature_is_strong(const X509 *cert)
{
    switch (X509_get_signature_nid(cert)) {
    case NID_sha256WithRSAEncryption:
    case NID_sha384WithRSAEncryption:
    case NID_sha512WithRSAEncryption:
    case NID_ecdsa_with_SHA256:
    case NID_ecdsa_with_SHA384:
    case NID_ecdsa_with_SHA512:
    case NID_ED25519:
        return true;
    case NID_rsassaPss:
        return pss_digest_is_strong(cert);
    default:
        return false;
    }
}

/* Elliptic curves are all long enough: the library knows none below 224 bits. */
static bool
key_is_strong(X509 *cert)
{
    EVP_PKEY *key = X509_get_pubkey(cert);
    bool strong = false;

    if (key)
        strong = EVP_PKEY_id(key) == EVP_PKEY_EC || EVP_PKEY_id(key) == EVP_PKEY_ED25519 ||
                 (EVP_PKEY_id(key) == EVP_PKEY_RSA && EVP_PKEY_bits(key) >= CHAIN_RSA_MIN_BITS);
    EVP_PKEY_free(key);
    return strong;
}

/* BoringSSL takes SHA-1, MD5 and RSA keys of 1024 bits; RFC 9325 4.5 does not. The names are those
 * that OpenSSL has for the same, so that they can be looked up. The signature of the root itself
 * proves nothing and may be of any kind. */
static void
judge_strength(STACK_OF(X509) * path, struct observation *obs)
{
    size_t count = sk_X509_num(path);

    for (size_t i = 0; i < count; i++) {
        X509 *cert = sk_X509_value(path, i);

        if (!key_is_strong(cert)) {
            set_chain(obs, CHAIN_UNTRUSTED,
                      i == 0 ? "X509_V_ERR_EE_KEY_TOO_SMALL" : "X509_V_ERR_CA_KEY_TOO_SMALL",
                      "key too short");
            return;
        }
        if (i + 1 < count && !signature_is_strong(cert)) {
            set_chain(obs, CHAIN_UNTRUSTED, "X509_V_ERR_CA_MD_TOO_WEAK",
                      "signature digest too weak");
            return;
        }
    }
    set_chain(obs, CHAIN_GOOD, "X509_V_OK", X509_verify_cert_error_string(X509_V_OK));
}

static enum result
verify(X509_STORE *roots, X509 *leaf, STACK_OF(X509) * others, int64_t now_s,
       struct observation *obs)
{
    X509_STORE_CTX *store_ctx = X509_STORE_CTX_new();
    enum result res = RES_NOMEM;
    X509_VERIFY_PARAM *param;

    if (!store_ctx || !X509_STORE_CTX_init(store_ctx, roots, leaf, others) ||
        !X509_STORE_CTX_set_purpose(store_ctx, X509_PURPOSE_SSL_SERVER))
        goto done;
    param = X509_STORE_CTX_get0_param(store_ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
    X509_VERIFY_PARAM_set_depth(param, CHAIN_DEPTH_MAX);
    /* A presented cross-certificate that has expired does not hide a good root. */
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_TRUSTED_FIRST);
    if (X509_verify_cert(store_ctx) == 1)
        judge_strength(X509_STORE_CTX_get0_chain(store_ctx), obs);
    else
        set_chain_error(obs, X509_STORE_CTX_get_error(store_ctx));
    res = X509_STORE_CTX_get_error(store_ctx) == X509_V_ERR_OUT_OF_MEM ? RES_NOMEM : RES_OK;
done:
    X509_STORE_CTX_free(store_ctx);
    return res;
}

static bool
dns_name_is_usable(struct span name)
{
    if (name.len == 0 || name.len > DNS_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] <= ' ' || name.ptr[i] > '~') /* a NUL hides what follows it */
            return false;
    return true;
}

/* The common name is no name of the host (TLS-042). An extension that is broken or there twice has
 * no names. */
static enum result
take_names(const X509 *leaf, struct name_list *sans)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    enum result res = RES_OK;

    for (size_t i = 0; names && i < sk_GENERAL_NAME_num(names) && res == RES_OK; i++) {
        const GENERAL_NAME *general = sk_GENERAL_NAME_value(names, i);
        struct span name;

        if (general->type != GEN_DNS)
            continue;
        name = span_make(ASN1_STRING_get0_data(general->d.dNSName),
                         (size_t)ASN1_STRING_length(general->d.dNSName));
        if (dns_name_is_usable(name))
            res = name_list_add(sans, name);
    }
    GENERAL_NAMES_free(names);
    return res;
}

/* A certificate that can't be read is left out: the path may do without it. */
static enum result
parse_others(const STACK_OF(CRYPTO_BUFFER) * certs, STACK_OF(X509) * others)
{
    for (size_t i = 1; i < sk_CRYPTO_BUFFER_num(certs); i++) {
        X509 *cert = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(certs, i));

        if (cert && !sk_X509_push(others, cert)) {
            X509_free(cert);
            return RES_NOMEM;
        }
    }
    return RES_OK;
}

/* Each certificate with its length before it, so that no two chains hash alike. */
static void
hash_chain(struct peer_chain *chain)
{
    SHA256_CTX ctx;

    SHA256_Init(&ctx);
    for (size_t i = 0; i < chain->count; i++) {
        uint32_t len = (uint32_t)chain->certs[i].len;
        const uint8_t head[] = { (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
                                 (uint8_t)len };

        SHA256_Update(&ctx, head, sizeof head);
        SHA256_Update(&ctx, chain->certs[i].ptr, chain->certs[i].len);
    }
    SHA256_Final(chain->sha256, &ctx);
}

enum result
chain_keep(const STACK_OF(CRYPTO_BUFFER) * certs, struct peer_chain **out)
{
    struct span ders[PEER_CHAIN_MAX];
    size_t count = 0, bytes = 0;
    enum result res;

    for (; certs && count < PEER_CHAIN_MAX && count < sk_CRYPTO_BUFFER_num(certs); count++) {
        const CRYPTO_BUFFER *der = sk_CRYPTO_BUFFER_value(certs, count);

        bytes += CRYPTO_BUFFER_len(der);
        if (bytes > PEER_CHAIN_BYTES_MAX)
            break;
        ders[count] = span_make((const char *)CRYPTO_BUFFER_data(der), CRYPTO_BUFFER_len(der));
    }
    res = peer_chain_new(ders, count, out);
    if (res == RES_OK)
        hash_chain(*out);
    return res;
}

enum result
chain_observe(X509_STORE *roots, const STACK_OF(CRYPTO_BUFFER) * certs, int64_t now_s,
              struct observation *obs)
{
    const CRYPTO_BUFFER *der;
    STACK_OF(X509) *others = NULL;
    X509 *leaf = NULL;
    enum result res = RES_OK;

    set_chain(obs, CHAIN_UNTRUSTED, "X509_V_ERR_UNSPECIFIED", "no certificate that can be read");
    if (!certs || sk_CRYPTO_BUFFER_num(certs) == 0)
        return RES_OK;
    der = sk_CRYPTO_BUFFER_value(certs, 0);
    SHA256(CRYPTO_BUFFER_data(der), CRYPTO_BUFFER_len(der), obs->leaf_sha256);
    leaf = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(certs, 0));
    if (!leaf)
        goto done;
    res = take_names(leaf, &obs->sans);
    if (res != RES_OK)
        goto done;
    others = sk_X509_new_null();
    res = others ? parse_others(certs, others) : RES_NOMEM;
    if (res == RES_OK)
        res = verify(roots, leaf, others, now_s, obs);
done:
    ERR_clear_error();
    sk_X509_pop_free(others, X509_free);
    X509_free(leaf);
    return res;
}
