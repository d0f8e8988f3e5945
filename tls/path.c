#include "tls/path.h"

#include <openssl/bytestring.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <time.h>

#include "tls/reason.h"

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

void
path_set(struct path_facts *out, enum chain_state state, const char *error, const char *reason)
{
    out->state = state;
    reason_copy(out->error, sizeof out->error, error);
    reason_copy(out->reason, sizeof out->reason, reason);
}

static const struct path_validity never = { .from_s = INT64_MAX, .until_s = INT64_MIN };

void
path_none(struct path_facts *out, const char *error, const char *reason)
{
    path_set(out, CHAIN_UNTRUSTED, error, reason);
    out->length = 0;
    out->valid = never;
}

static void
set_error(struct path_facts *out, int code)
{
    const char *name = NULL;
    char number[sizeof out->error];

    if (code >= 0 && (size_t)code < sizeof error_names / sizeof error_names[0])
        name = error_names[code];
    if (!name) {
        snprintf(number, sizeof number, "X509_V_ERR_%d", code);
        name = number;
    }
    path_set(out, code == X509_V_ERR_CERT_HAS_EXPIRED ? CHAIN_EXPIRED : CHAIN_UNTRUSTED, name,
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

bool
path_signature_is_strong(const X509 *cert)
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
bool
path_key_is_strong(const EVP_PKEY *key)
{
    return EVP_PKEY_id(key) == EVP_PKEY_EC || EVP_PKEY_id(key) == EVP_PKEY_ED25519 ||
           (EVP_PKEY_id(key) == EVP_PKEY_RSA && EVP_PKEY_bits(key) >= PATH_RSA_MIN_BITS);
}

static bool
has_strong_key(X509 *cert)
{
    EVP_PKEY *key = X509_get_pubkey(cert);
    bool strong = key && path_key_is_strong(key);

    EVP_PKEY_free(key);
    return strong;
}

/* BoringSSL takes SHA-1, MD5 and RSA keys of 1024 bits; RFC 9325 4.5 does not. The names are those
 * that OpenSSL has for the same, so that they can be looked up. The signature of the anchor itself
 * proves nothing and may be of any kind. */
static void
judge_strength(STACK_OF(X509) * path, struct path_facts *out)
{
    size_t count = sk_X509_num(path);

    for (size_t i = 0; i < count; i++) {
        X509 *cert = sk_X509_value(path, i);

        if (!has_strong_key(cert)) {
            path_set(out, CHAIN_UNTRUSTED,
                     i == 0 ? "X509_V_ERR_EE_KEY_TOO_SMALL" : "X509_V_ERR_CA_KEY_TOO_SMALL",
                     "key too short");
            return;
        }
        if (i + 1 < count && !path_signature_is_strong(cert)) {
            path_set(out, CHAIN_UNTRUSTED, "X509_V_ERR_CA_MD_TOO_WEAK",
                     "signature digest too weak");
            return;
        }
    }
    path_set(out, CHAIN_GOOD, "X509_V_OK", X509_verify_cert_error_string(X509_V_OK));
}

/* The library takes an anchor at its word; one that only a record of its key vouches for is held to
 * what it says of itself. Returns X509_V_OK or an error; its dates and name constraints have been
 * checked. */
static int
check_anchor(STACK_OF(X509) * path)
{
    size_t count = sk_X509_num(path);
    X509 *anchor = sk_X509_value(path, count - 1);
    long between = 0;

    if (count < 2)
        return X509_V_OK; /* the leaf, and what vouches for it has no certificate */
    if (X509_get_extension_flags(anchor) & EXFLAG_CRITICAL)
        return X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION;
    if (X509_check_ca(anchor) <= 0)
        return X509_V_ERR_INVALID_CA;
    if (X509_check_purpose(anchor, X509_PURPOSE_SSL_SERVER, 1) <= 0)
        return X509_V_ERR_INVALID_PURPOSE;
    for (size_t i = 1; i + 1 < count; i++) { /* RFC 5280 4.2.1.9: self-issued ones do not count */
        const X509 *cert = sk_X509_value(path, i);

        between += X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)) != 0;
    }
    if (X509_get_pathlen(anchor) >= 0 && between > X509_get_pathlen(anchor))
        return X509_V_ERR_PATH_LENGTH_EXCEEDED;
    return X509_V_OK;
}

static void
judge_path(STACK_OF(X509) * path, enum path_anchor kind, struct path_facts *out)
{
    int error = kind == PATH_TO_ANY ? check_anchor(path) : X509_V_OK;

    out->length = sk_X509_num(path);
    if (error == X509_V_OK)
        judge_strength(path, out);
    else
        set_error(out, error);
}

/* Seconds since 1970; false: no time the library can read. */
static bool
time_of(const ASN1_TIME *time, const ASN1_TIME *epoch, int64_t *out_s)
{
    int days, seconds;

    if (!ASN1_TIME_diff(&days, &seconds, epoch, time))
        return false;
    *out_s = (int64_t)days * 86400 + seconds;
    return true;
}

/* Not the second of a notAfter itself: versions of the library differ on it. */
static enum result
find_validity(STACK_OF(X509) * path, struct path_validity *out)
{
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);

    if (!epoch)
        return RES_NOMEM;
    *out = (struct path_validity){ .from_s = INT64_MIN, .until_s = INT64_MAX };
    for (size_t i = 0; i < sk_X509_num(path); i++) {
        const X509 *cert = sk_X509_value(path, i);
        int64_t from_s, until_s;

        if (!time_of(X509_get0_notBefore(cert), epoch, &from_s) ||
            !time_of(X509_get0_notAfter(cert), epoch, &until_s)) {
            *out = never; /* good now, and nothing to rely on later */
            break;
        }
        out->from_s = from_s > out->from_s ? from_s : out->from_s;
        out->until_s = until_s - 1 < out->until_s ? until_s - 1 : out->until_s;
    }
    ASN1_TIME_free(epoch);
    return RES_OK;
}

enum result
path_verify(X509_STORE *anchors, enum path_anchor kind, X509 *leaf, STACK_OF(X509) * others,
            int64_t now_s, struct path_facts *out)
{
    X509_STORE_CTX *store_ctx = X509_STORE_CTX_new();
    enum result res = RES_NOMEM;
    X509_VERIFY_PARAM *param;

    path_none(out, "X509_V_ERR_UNSPECIFIED", "not verified");
    if (!store_ctx || !X509_STORE_CTX_init(store_ctx, anchors, leaf, others) ||
        !X509_STORE_CTX_set_purpose(store_ctx, X509_PURPOSE_SSL_SERVER))
        goto done;
    param = X509_STORE_CTX_get0_param(store_ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
    X509_VERIFY_PARAM_set_depth(param, PATH_DEPTH_MAX);
    /* A presented cross-certificate that has expired does not hide a good root. */
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_TRUSTED_FIRST);
    if (kind == PATH_TO_ANY)
        X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    if (X509_verify_cert(store_ctx) == 1)
        judge_path(X509_STORE_CTX_get0_chain(store_ctx), kind, out);
    else
        set_error(out, X509_STORE_CTX_get_error(store_ctx));
    res = X509_STORE_CTX_get_error(store_ctx) == X509_V_ERR_OUT_OF_MEM ? RES_NOMEM : RES_OK;
    if (out->state == CHAIN_GOOD)
        res = find_validity(X509_STORE_CTX_get0_chain(store_ctx), &out->valid);
    if (res != RES_OK)
        path_set(out, CHAIN_UNTRUSTED, "X509_V_ERR_OUT_OF_MEM", "no memory");
done:
    X509_STORE_CTX_free(store_ctx);
    return res;
}
