/* tests/tls/test_dane.c: presented chains held against TLSA records (DANE-022 ... DANE-034,
 * DANE-047, DANE-048; RFC 7672 3, RFC 7671 5 and 9). */
#include "tls/dane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/mem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "tests/support/cert_family.h"
#include "tests/support/library_memory.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define CHAIN_MAX 5u
#define RECORDS_MAX 5u
#define KEY 77u

/* What is wrong with a record's data. */
enum spoil { WHOLE, WRONG, SHORT, LONG, EMPTY };

struct row_record {
    uint8_t usage, selector, matching;
    enum cert_id of; /* CERT_NONE ends the records */
    enum spoil spoil;
    size_t host;
};

#define R(u, s, m, cert, ...)                                                                      \
    {                                                                                              \
        .usage = u, .selector = s, .matching = m, .of = cert, __VA_ARGS__                          \
    }

static const struct dane_case {
    const char *name;
    enum cert_id presented[CHAIN_MAX + 1];
    struct row_record records[RECORDS_MAX + 1];
    enum dane_match want;
    const char *error;      /* NULL: as want says */
    unsigned depth;         /* with a trust anchor */
    const char *references; /* of every host, with a comma between; NULL: CERT_HOST */
    int at_s;               /* relative to CERTS_NOW */
} cases[] = {
    { "TC-DANE-01 DANE-027 3 1 1: a good chain",
      { LEAF, INTER },
      { R(3, 1, 1, LEAF) },
      .want = DANE_MATCHED },
    { "TC-DANE-01 DANE-027 3 1 1: expired, self-signed, for another name",
      { LEAF_OTHER_EXPIRED },
      { R(3, 1, 1, LEAF_OTHER_EXPIRED) },
      .want = DANE_MATCHED },
    { "TC-DANE-01 3 1 1: not yet valid",
      { LEAF_EARLY },
      { R(3, 1, 1, LEAF_EARLY) },
      .want = DANE_MATCHED },
    { "TC-DANE-01 3 1 1: only a common name",
      { LEAF_CN },
      { R(3, 1, 1, LEAF_CN) },
      .want = DANE_MATCHED },
    { "TC-DANE-01 3 1 1: without its intermediate",
      { LEAF },
      { R(3, 1, 1, LEAF) },
      .want = DANE_MATCHED },
    { "TC-DANE-01 3 1 1: RSA", { LEAF_RSA }, { R(3, 1, 1, LEAF_RSA) }, .want = DANE_MATCHED },
    { "TC-DANE-01 3 1 1: Ed25519",
      { LEAF_ED25519 },
      { R(3, 1, 1, LEAF_ED25519) },
      .want = DANE_MATCHED },
    { "TC-DANE-01 3 1 1: for clients",
      { LEAF_CLIENT },
      { R(3, 1, 1, LEAF_CLIENT) },
      .want = DANE_MATCHED },
    { "TC-DANE-02 3 0 1", { LEAF }, { R(3, 0, 1, LEAF) }, .want = DANE_MATCHED },
    { "TC-DANE-02 3 0 2", { LEAF }, { R(3, 0, 2, LEAF) }, .want = DANE_MATCHED },
    { "TC-DANE-02 3 1 2", { LEAF }, { R(3, 1, 2, LEAF) }, .want = DANE_MATCHED },
    { "TC-DANE-02 3 0 0", { LEAF }, { R(3, 0, 0, LEAF) }, .want = DANE_MATCHED },
    { "TC-DANE-02 3 1 0", { LEAF }, { R(3, 1, 0, LEAF) }, .want = DANE_MATCHED },
    { "TC-DANE-13 old and new key",
      { LEAF_BY_ROOT },
      { R(3, 1, 1, LEAF), R(3, 1, 1, LEAF_BY_ROOT) },
      .want = DANE_MATCHED },

    { "TC-DANE-19 3 1 1: another key",
      { LEAF, INTER },
      { R(3, 1, 1, LEAF_BY_ROOT) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-19 3 0 1: one octet off",
      { LEAF },
      { R(3, 0, 1, LEAF, .spoil = WRONG) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-19 3 0 0: another certificate",
      { LEAF },
      { R(3, 0, 0, LEAF_RSA) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-19 3 1 0: another key", { LEAF }, { R(3, 1, 0, LEAF_RSA) }, .want = DANE_NO_MATCH },
    { "TC-DANE-19 3 1 1 for the intermediate is no leaf's",
      { LEAF, INTER },
      { R(3, 1, 1, INTER) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-19 3 0 1 is of the certificate, not of the key",
      { LEAF },
      { R(3, 1, 1, LEAF, .spoil = WRONG), R(3, 0, 1, LEAF, .spoil = WRONG) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-19 no certificate at all",
      { CERT_NONE },
      { R(3, 1, 1, LEAF) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-19 no certificate at all, DANE-TA from DNS",
      { CERT_NONE },
      { R(2, 0, 0, ROOT), R(2, 1, 0, ROOT) },
      .want = DANE_NO_MATCH },

    { "TC-DANE-03 2 0 1 at the root",
      { LEAF, INTER, ROOT },
      { R(2, 0, 1, ROOT) },
      .want = DANE_MATCHED,
      .depth = 2 },
    { "TC-DANE-03 2 1 1 at the root",
      { LEAF, INTER, ROOT },
      { R(2, 1, 1, ROOT) },
      .want = DANE_MATCHED,
      .depth = 2 },
    { "TC-DANE-03 2 1 2 at a root nobody knows",
      { LEAF_UNKNOWN, ROOT_UNKNOWN },
      { R(2, 1, 2, ROOT_UNKNOWN) },
      .want = DANE_MATCHED,
      .depth = 1 },
    { "TC-DANE-03 2 0 1, out of order",
      { LEAF, ROOT, INTER },
      { R(2, 0, 1, ROOT) },
      .want = DANE_MATCHED,
      .depth = 1 },
    { "TC-DANE-03 2 0 0 that was presented, too",
      { LEAF, INTER, ROOT },
      { R(2, 0, 0, ROOT) },
      .want = DANE_MATCHED,
      .depth = 2 },
    { "TC-DANE-03 2 1 0 that was presented, too",
      { LEAF, INTER, ROOT },
      { R(2, 1, 0, ROOT) },
      .want = DANE_MATCHED,
      .depth = 2 },
    { "TC-DANE-10 2 1 1 at the intermediate, no root",
      { LEAF, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_MATCHED,
      .depth = 1 },
    { "TC-DANE-10 2 0 1 at the intermediate, root presented",
      { LEAF, INTER, ROOT },
      { R(2, 0, 1, INTER) },
      .want = DANE_MATCHED,
      .depth = 1 },
    { "TC-DANE-10 what is wrong above the anchor does not matter",
      { LEAF_ROOT_EXPIRED, ROOT_EXPIRED, CROSS },
      { R(2, 1, 1, ROOT_EXPIRED) },
      .want = DANE_TA_EXPIRED,
      .error = "X509_V_ERR_CERT_HAS_EXPIRED",
      .depth = 1 },
    { "TC-DANE-10 path length below the anchor is kept",
      { LEAF_LIMITED, INTER_LIMITED },
      { R(2, 1, 1, INTER_LIMITED) },
      .want = DANE_MATCHED,
      .depth = 1 },
    { "TC-DANE-10 the limit of a CA above the anchor does not matter",
      { LEAF_BELOW, INTER_BELOW, INTER_LIMITED },
      { R(2, 1, 1, INTER_BELOW) },
      .want = DANE_MATCHED,
      .depth = 1 },
    { "TC-DANE-06 DANE-031 2 0 0 not presented",
      { LEAF, INTER },
      { R(2, 0, 0, ROOT) },
      .want = DANE_MATCHED,
      .depth = 2 },
    { "TC-DANE-06 2 0 0 is the issuer of the leaf",
      { LEAF },
      { R(2, 0, 0, INTER) },
      .want = DANE_MATCHED,
      .depth = 1 },
    { "TC-DANE-07 DANE-032 2 1 0 not presented",
      { LEAF, INTER },
      { R(2, 1, 0, ROOT) },
      .want = DANE_MATCHED,
      .depth = 2 },
    { "TC-DANE-07 2 1 0 signed the leaf",
      { LEAF },
      { R(2, 1, 0, INTER) },
      .want = DANE_MATCHED,
      .depth = 1 },
    { "TC-DANE-12 EE wrong, TA right",
      { LEAF, INTER },
      { R(2, 1, 1, INTER), R(3, 1, 1, LEAF_RSA) },
      .want = DANE_MATCHED,
      .depth = 1 },
    { "TC-DANE-12 EE right, TA wrong",
      { LEAF, INTER },
      { R(2, 1, 1, ROOT_RSA), R(3, 1, 1, LEAF) },
      .want = DANE_MATCHED },
    { "TC-DANE-12 EE right although the TA's path is bad",
      { LEAF_EXPIRED, INTER },
      { R(2, 1, 1, INTER), R(3, 1, 1, LEAF_EXPIRED) },
      .want = DANE_MATCHED },
    { "DANE-028 one anchor expired, the other good",
      { LEAF, INTER, CROSS, ROOT },
      { R(2, 0, 1, CROSS), R(2, 0, 1, ROOT) },
      .want = DANE_MATCHED,
      .depth = 3 },

    { "TC-DANE-04 DANE-028 for another name",
      { LEAF_OTHER, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_MISNAMED,
      .depth = 1 },
    { "TC-DANE-04 only the recipient's domain, which is no reference",
      { LEAF_DOMAIN, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_MISNAMED,
      .depth = 1 },
    { "DANE-029 only the recipient's domain, which is one",
      { LEAF_DOMAIN, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_MATCHED,
      .depth = 1,
      .references = CERT_HOST ",EXAMPLE.com" },
    { "DANE-030 wildcard of one label",
      { LEAF_WILD, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_MATCHED,
      .depth = 1 },
    { "DANE-030 wildcard of two labels",
      { LEAF_WILD_FAR, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_MISNAMED,
      .depth = 1 },
    { "DANE-030 the wildcard's own parent",
      { LEAF_WILD, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_MISNAMED,
      .depth = 1,
      .references = "example.com" },
    { "DANE-030 only a common name",
      { LEAF_CN, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_MATCHED,
      .depth = 1 },
    { "DANE-030 only a wrong common name",
      { LEAF_CN_WRONG, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_MISNAMED,
      .depth = 1 },
    { "DANE-030 the common name beside an IP address",
      { LEAF_CN_IP, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_MATCHED,
      .depth = 1 },
    { "DANE-030 no common name beside a dNSName",
      { LEAF_WRONG_NAME, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_MISNAMED,
      .depth = 1 },
    { "DANE-030 no common name beside a dNSName that is no name",
      { LEAF_STRANGE, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_MISNAMED,
      .depth = 1,
      .references = "a" },
    { "FAULTS C8 a NUL hides nothing",
      { LEAF_NUL, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_MISNAMED,
      .depth = 1 },

    { "TC-DANE-05 DANE-028 leaf expired",
      { LEAF_EXPIRED, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_EXPIRED,
      .error = "X509_V_ERR_CERT_HAS_EXPIRED",
      .depth = 1 },
    { "TC-DANE-05 expired by one second",
      { LEAF_DATED, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_EXPIRED,
      .error = "X509_V_ERR_CERT_HAS_EXPIRED",
      .depth = 1,
      .at_s = CERT_LATER + 1 },
    { "TC-DANE-05 in its last second",
      { LEAF_DATED, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_MATCHED,
      .depth = 1,
      .at_s = CERT_LATER - 1 },
    { "TC-DANE-05 the anchor itself expired",
      { LEAF_INTER_EXPIRED, INTER_EXPIRED },
      { R(2, 0, 1, INTER_EXPIRED) },
      .want = DANE_TA_EXPIRED,
      .error = "X509_V_ERR_CERT_HAS_EXPIRED",
      .depth = 1 },
    { "TC-DANE-05 expired under an anchor of DNS",
      { LEAF_EXPIRED },
      { R(2, 0, 0, INTER) },
      .want = DANE_TA_EXPIRED,
      .error = "X509_V_ERR_CERT_HAS_EXPIRED",
      .depth = 1 },
    { "TC-DANE-05 expired under a key of DNS",
      { LEAF_EXPIRED },
      { R(2, 1, 0, INTER) },
      .want = DANE_TA_EXPIRED,
      .error = "X509_V_ERR_CERT_HAS_EXPIRED",
      .depth = 1 },
    { "DANE-028 not yet valid",
      { LEAF_EARLY, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_CERT_NOT_YET_VALID",
      .depth = 1 },

    { "TC-DANE-08 DANE-031 2 0 1 not presented",
      { LEAF, INTER },
      { R(2, 0, 1, ROOT) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-08 2 1 1 not presented", { LEAF }, { R(2, 1, 1, INTER) }, .want = DANE_NO_MATCH },
    { "TC-DANE-06 2 0 0 that issued nothing here",
      { LEAF, INTER },
      { R(2, 0, 0, ROOT_RSA) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-06 2 0 0 with the name of the issuer and another key",
      { LEAF },
      { R(2, 0, 0, INTER_IMPOSTOR) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_CERT_SIGNATURE_FAILURE",
      .depth = 1 },
    { "TC-DANE-07 2 1 0 that signed nothing here",
      { LEAF, INTER },
      { R(2, 1, 0, ROOT_UNKNOWN) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-07 2 1 0 that signed the leaf, for another name",
      { LEAF_OTHER },
      { R(2, 1, 0, INTER) },
      .want = DANE_TA_MISNAMED,
      .depth = 1 },
    { "TC-DANE-07 2 1 0 whose digest is too weak",
      { LEAF_SHA1 },
      { R(2, 1, 0, INTER_RSA) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_CA_MD_TOO_WEAK",
      .depth = 1 },
    { "TC-DANE-07 2 1 0 that is too short",
      { LEAF_ROOT_SHORT },
      { R(2, 1, 0, ROOT_SHORT) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_CA_KEY_TOO_SMALL",
      .depth = 1 },
    { "TC-DANE-09 2 1 1 is the leaf's own key",
      { LEAF, INTER },
      { R(2, 1, 1, LEAF) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-09 2 0 1, self-signed leaf",
      { LEAF_SELF },
      { R(2, 0, 1, LEAF_SELF) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-09 2 0 0, self-signed leaf",
      { LEAF_SELF },
      { R(2, 0, 0, LEAF_SELF) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-09 2 1 0, self-signed leaf",
      { LEAF_SELF },
      { R(2, 1, 0, LEAF_SELF) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-09 2 0 1, the leaf presented twice",
      { LEAF, LEAF },
      { R(2, 0, 1, LEAF) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-09 2 1 1, self-signed leaf presented twice",
      { LEAF_SELF, LEAF_SELF },
      { R(2, 1, 1, LEAF_SELF) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-11 path length violated below the anchor",
      { LEAF_BELOW, INTER_BELOW, INTER_LIMITED },
      { R(2, 1, 1, INTER_LIMITED) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_PATH_LENGTH_EXCEEDED",
      .depth = 2 },
    { "TC-DANE-11 an unrelated CA in the chain",
      { LEAF_SELF, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT",
      .depth = 1 },
    { "TC-DANE-11 another unrelated CA in the chain",
      { LEAF_UNKNOWN, INTER },
      { R(2, 0, 1, INTER) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      .depth = 1 },
    { "TC-DANE-11 an unrelated CA, not presented",
      { LEAF_SELF },
      { R(2, 0, 0, INTER) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-11 the anchor's name and another key",
      { LEAF_IMPOSTOR, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_CERT_SIGNATURE_FAILURE",
      .depth = 1 },
    { "DANE-028 the anchor is no CA",
      { LEAF_NOT_CA, INTER_NOT_CA },
      { R(2, 1, 1, INTER_NOT_CA) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_INVALID_CA",
      .depth = 1 },
    { "DANE-028 the anchor of DNS is no CA",
      { LEAF_NOT_CA },
      { R(2, 0, 0, INTER_NOT_CA) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_INVALID_CA",
      .depth = 1 },
    { "DANE-028 the anchor is for clients",
      { LEAF_INTER_CLIENT, INTER_CLIENT },
      { R(2, 1, 1, INTER_CLIENT) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_INVALID_PURPOSE",
      .depth = 1 },
    { "DANE-028 unknown critical extension in the anchor",
      { LEAF_INTER_ODD, INTER_ODD },
      { R(2, 1, 1, INTER_ODD) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION",
      .depth = 1 },
    { "DANE-028 the leaf is for clients",
      { LEAF_CLIENT, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_INVALID_PURPOSE",
      .depth = 1 },
    { "DANE-028 outside the permitted names",
      { LEAF_NOT_PERMITTED, INTER_PERMITTED },
      { R(2, 1, 1, INTER_PERMITTED) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_PERMITTED_VIOLATION",
      .depth = 1 },
    { "DANE-028 within the permitted names",
      { LEAF_PERMITTED, INTER_PERMITTED },
      { R(2, 1, 1, INTER_PERMITTED) },
      .want = DANE_MATCHED,
      .depth = 1 },
    { "DANE-028 inside the excluded names",
      { LEAF_EXCLUDED, INTER_EXCLUDED },
      { R(2, 1, 1, INTER_EXCLUDED) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_EXCLUDED_VIOLATION",
      .depth = 1 },
    { "DANE-028 unknown critical extension",
      { LEAF_ODD, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION",
      .depth = 1 },
    { "FAULTS C11 leaf signed with SHA-1",
      { LEAF_SHA1, INTER_RSA },
      { R(2, 1, 1, INTER_RSA) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_CA_MD_TOO_WEAK",
      .depth = 1 },
    { "FAULTS C11 leaf key of 1024 bits",
      { LEAF_SHORT, INTER },
      { R(2, 1, 1, INTER) },
      .want = DANE_TA_BROKEN,
      .error = "X509_V_ERR_EE_KEY_TOO_SMALL",
      .depth = 1 },

    { "TC-DANE-14 DANE-026 usage 0",
      { LEAF, INTER, ROOT },
      { R(0, 1, 1, ROOT) },
      .want = DANE_UNUSABLE },
    { "TC-DANE-14 DANE-026 usage 1", { LEAF }, { R(1, 1, 1, LEAF) }, .want = DANE_UNUSABLE },
    { "TC-DANE-14 DANE-023 0 0 1 alone",
      { LEAF_SELF },
      { R(0, 0, 1, LEAF) },
      .want = DANE_UNUSABLE },
    { "TC-DANE-15 usage 4", { LEAF }, { R(4, 1, 1, LEAF) }, .want = DANE_UNUSABLE },
    { "TC-DANE-15 usage 255", { LEAF }, { R(255, 1, 1, LEAF) }, .want = DANE_UNUSABLE },
    { "TC-DANE-15 selector 2", { LEAF }, { R(3, 2, 1, LEAF) }, .want = DANE_UNUSABLE },
    { "TC-DANE-15 selector 255", { LEAF }, { R(3, 255, 0, LEAF) }, .want = DANE_UNUSABLE },
    { "TC-DANE-15 matching 3", { LEAF }, { R(3, 1, 3, LEAF) }, .want = DANE_UNUSABLE },
    { "TC-DANE-15 matching 255", { LEAF }, { R(3, 1, 255, LEAF) }, .want = DANE_UNUSABLE },
    { "TC-DANE-15 SHA-256 of 31 octets",
      { LEAF },
      { R(3, 1, 1, LEAF, .spoil = SHORT) },
      .want = DANE_UNUSABLE },
    { "TC-DANE-15 SHA-256 of 33 octets",
      { LEAF },
      { R(3, 1, 1, LEAF, .spoil = LONG) },
      .want = DANE_UNUSABLE },
    { "TC-DANE-15 SHA-512 of 63 octets",
      { LEAF },
      { R(3, 1, 2, LEAF, .spoil = SHORT) },
      .want = DANE_UNUSABLE },
    { "TC-DANE-15 no data, digest",
      { LEAF },
      { R(3, 1, 1, LEAF, .spoil = EMPTY) },
      .want = DANE_UNUSABLE },
    { "TC-DANE-15 no data, full",
      { LEAF },
      { R(3, 0, 0, LEAF, .spoil = EMPTY) },
      .want = DANE_UNUSABLE },
    { "TC-DANE-15 certificate cut",
      { LEAF },
      { R(3, 0, 0, LEAF, .spoil = SHORT) },
      .want = DANE_UNUSABLE },
    { "TC-DANE-15 certificate and an octet",
      { LEAF },
      { R(3, 0, 0, LEAF, .spoil = LONG) },
      .want = DANE_UNUSABLE },
    { "TC-DANE-15 key cut", { LEAF }, { R(3, 1, 0, LEAF, .spoil = SHORT) }, .want = DANE_UNUSABLE },
    { "TC-DANE-15 key and an octet",
      { LEAF },
      { R(3, 1, 0, LEAF, .spoil = LONG) },
      .want = DANE_UNUSABLE },
    { "TC-DANE-15 trust anchor cut",
      { LEAF, INTER },
      { R(2, 0, 0, INTER, .spoil = SHORT) },
      .want = DANE_UNUSABLE },
    { "TC-DANE-16 DANE-026 1 1 1 matches, 3 1 1 does not",
      { LEAF },
      { R(1, 1, 1, LEAF), R(3, 1, 1, LEAF_RSA) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-16 DANE-033 31 octets beside a good record",
      { LEAF },
      { R(3, 1, 1, LEAF, .spoil = SHORT), R(3, 1, 1, LEAF) },
      .want = DANE_MATCHED },
    { "TC-DANE-16 certificate cut beside a good record",
      { LEAF },
      { R(3, 0, 0, LEAF, .spoil = SHORT), R(3, 0, 1, LEAF) },
      .want = DANE_MATCHED },

    { "TC-DANE-17 DANE-034 SHA-256 right, SHA-512 wrong",
      { LEAF },
      { R(3, 1, 1, LEAF), R(3, 1, 2, LEAF, .spoil = WRONG) },
      .want = DANE_NO_MATCH },
    { "TC-DANE-17 DANE-034 SHA-256 wrong, SHA-512 right",
      { LEAF },
      { R(3, 1, 1, LEAF, .spoil = WRONG), R(3, 1, 2, LEAF) },
      .want = DANE_MATCHED },
    { "TC-DANE-17 a SHA-512 that is unusable hides nothing",
      { LEAF },
      { R(3, 1, 1, LEAF), R(3, 1, 2, LEAF, .spoil = SHORT) },
      .want = DANE_MATCHED },
    { "TC-DANE-17 another selector's SHA-512 hides nothing",
      { LEAF },
      { R(3, 0, 2, LEAF, .spoil = WRONG), R(3, 1, 1, LEAF) },
      .want = DANE_MATCHED },
    { "TC-DANE-17 another usage's SHA-512 hides nothing",
      { LEAF, INTER },
      { R(2, 1, 2, ROOT_RSA), R(3, 1, 1, LEAF) },
      .want = DANE_MATCHED },
    { "TC-DANE-17 full data counts beside a digest",
      { LEAF },
      { R(3, 1, 0, LEAF), R(3, 1, 2, LEAF, .spoil = WRONG) },
      .want = DANE_MATCHED },
    { "TC-DANE-17 trust anchors, too",
      { LEAF, INTER },
      { R(2, 1, 1, INTER), R(2, 1, 2, INTER, .spoil = WRONG) },
      .want = DANE_NO_MATCH },

    { "DANE-048 the second host's records match",
      { LEAF },
      { R(3, 1, 1, LEAF_RSA), R(3, 1, 1, LEAF, .host = 1) },
      .want = DANE_MATCHED },
    { "DANE-048 no host's records match",
      { LEAF },
      { R(3, 1, 1, LEAF_RSA), R(3, 1, 1, LEAF_SELF, .host = 1) },
      .want = DANE_NO_MATCH },
    { "DANE-048 an unusable host beside one that does not match",
      { LEAF },
      { R(3, 1, 1, LEAF_RSA), R(1, 1, 1, LEAF, .host = 1) },
      .want = DANE_NO_MATCH },
    { "DANE-048 an unusable host beside one that matches",
      { LEAF },
      { R(1, 1, 1, LEAF), R(3, 1, 1, LEAF, .host = 1) },
      .want = DANE_MATCHED },
    { "DANE-048 all hosts unusable",
      { LEAF },
      { R(1, 1, 1, LEAF), R(0, 1, 1, LEAF, .host = 1) },
      .want = DANE_UNUSABLE },
    { "DANE-034 digests of different hosts do not meet",
      { LEAF },
      { R(3, 1, 1, LEAF), R(3, 1, 2, LEAF, .spoil = WRONG, .host = 1) },
      .want = DANE_MATCHED },
};

static struct cert_family family;

static struct span
data_of(const struct row_record *r, uint8_t buf[TLSA_DATA_MAX])
{
    X509 *x509 = family.certs[r->of].x509;
    uint8_t *der = NULL;
    size_t len = (size_t)(r->selector == 1 ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der)
                                           : i2d_X509(x509, &der));

    assert_true(len > 0 && len < TLSA_DATA_MAX);
    memset(buf, 0, TLSA_DATA_MAX);
    if (r->matching == 1)
        SHA256(der, len, buf);
    else if (r->matching == 2)
        SHA512(der, len, buf);
    else
        memcpy(buf, der, len);
    OPENSSL_free(der);
    len = r->matching == 1 ? 32 : r->matching == 2 ? 64 : len;
    if (r->spoil == WRONG)
        buf[len / 2] ^= 1;
    len = r->spoil == SHORT ? len - 1 : r->spoil == LONG ? len + 1 : r->spoil == EMPTY ? 0 : len;
    return span_make(buf, len);
}

static void
add_references(struct dane_host *host, const char *list)
{
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        assert_int_equal(name_list_add(&host->references, span_make(at, strcspn(at, ","))), RES_OK);
}

/* The hosts of a row, their records forwards or backwards. */
static size_t
make_hosts(const struct dane_case *c, bool backwards, struct dane_host hosts[2])
{
    size_t count = 0, host_count = 1;

    while (count < RECORDS_MAX && c->records[count].of)
        count++;
    for (size_t i = 0; i < 2; i++)
        add_references(&hosts[i], c->references ? c->references : CERT_HOST);
    for (size_t i = 0; i < count; i++) {
        const struct row_record *r = &c->records[backwards ? count - 1 - i : i];
        uint8_t buf[TLSA_DATA_MAX];

        if (r->host >= host_count)
            host_count = r->host + 1;
        assert_int_equal(
            dane_host_add(&hosts[r->host], r->usage, r->selector, r->matching, data_of(r, buf)),
            RES_OK);
    }
    return host_count;
}

static const char *
error_of(const struct dane_case *c)
{
    if (c->error)
        return c->error;
    switch (c->want) {
    case DANE_MATCHED:
        return "X509_V_OK";
    case DANE_TA_MISNAMED:
        return "X509_V_ERR_HOSTNAME_MISMATCH";
    case DANE_NO_MATCH:
        return "X509_V_ERR_DANE_NO_MATCH";
    case DANE_UNCHECKED:
    case DANE_UNUSABLE:
    case DANE_TA_BROKEN:
    case DANE_TA_EXPIRED:
        break;
    }
    return "";
}

static bool
can_be_made(const struct dane_case *c)
{
    for (size_t i = 0; c->presented[i]; i++)
        if (!family.certs[c->presented[i]].x509)
            return false;
    return true;
}

static void
test_match(void **state)
{
    const struct dane_case *c = *state;
    struct peer_chain *chain;

    if (!can_be_made(c))
        skip(); /* this library refuses to sign so weakly */
    chain = cert_family_present(&family, c->presented);
    for (int backwards = 0; backwards < 2; backwards++) { /* the order of records is nobody's */
        struct dane_facts facts = { .key = KEY, .error = "left from before" };
        struct dane_host hosts[2] = { { .count = 0 } };
        size_t count = make_hosts(c, backwards, hosts);

        assert_int_equal(dane_check(chain, hosts, count, CERTS_NOW + c->at_s, &facts), RES_OK);
        assert_string_equal(dane_match_name(facts.match), dane_match_name(c->want));
        assert_string_equal(facts.error, error_of(c));
        assert_int_equal(facts.depth, c->depth);
        assert_int_equal(facts.key, KEY);
        if (c->want >= DANE_TA_BROKEN) {
            bool found = false;

            for (size_t i = 0; c->records[i].of; i++)
                found |= c->records[i].usage == facts.usage &&
                         c->records[i].selector == facts.selector &&
                         c->records[i].matching == facts.matching &&
                         c->records[i].host == facts.host;
            assert_true(found);
        }
        for (size_t i = 0; i < 2; i++)
            dane_host_clear(&hosts[i]);
    }
    peer_chain_unref(chain);
}

/* TC-DANE-15: records of one or no octets of RDATA reach us as numbers that nobody can use. */
static void
test_tiny_records(void **state)
{
    static const enum cert_id presented[] = { LEAF, CERT_NONE };
    struct peer_chain *chain = cert_family_present(&family, presented);
    struct dane_facts facts = { .key = KEY };
    struct dane_host host = { .count = 0 };

    (void)state;
    assert_int_equal(dane_host_add(&host, 255, 255, 255, span_of("")), RES_OK);
    assert_int_equal(dane_host_add(&host, 3, 255, 255, span_of("")), RES_OK);
    assert_int_equal(dane_host_add(&host, 3, 1, 0, span_of("\x30")), RES_OK);
    assert_int_equal(dane_host_add(&host, 3, 0, 0, span_of("no certificate")), RES_OK);
    assert_int_equal(dane_host_add(&host, 2, 1, 0, span_of("0\x03\x30\x01")), RES_OK);
    assert_int_equal(dane_check(chain, &host, 1, CERTS_NOW, &facts), RES_OK);
    assert_int_equal(facts.match, DANE_UNUSABLE);
    assert_int_equal(dane_check(NULL, &host, 1, CERTS_NOW, &facts), RES_OK);
    assert_int_equal(facts.match, DANE_UNUSABLE);
    dane_host_clear(&host);
    peer_chain_unref(chain);
}

/* A key of a kind that nothing here can sign with is a usable record all the same: it was published
 * to be matched, and an impostor must not profit from our ignorance. */
static void
test_key_of_unknown_kind(void **state)
{
    static const enum cert_id presented[] = { LEAF, INTER, CERT_NONE };
    /* SEQUENCE { SEQUENCE { OID 1.3.6.1.4.1.32473.1 }, BIT STRING } */
    static const char spki[] = "\x30\x13\x30\x0b\x06\x09\x2b\x06\x01\x04\x01\x81\xfd\x59\x01"
                               "\x03\x04\x00\x01\x02\x03";
    struct peer_chain *chain = cert_family_present(&family, presented);

    (void)state;
    for (uint8_t usage = 2; usage <= 3; usage++) {
        struct dane_facts facts = { .key = KEY };
        struct dane_host host = { .count = 0 };

        assert_int_equal(dane_host_add(&host, usage, 1, 0, span_make(spki, sizeof spki - 1)),
                         RES_OK);
        assert_int_equal(dane_check(chain, &host, 1, CERTS_NOW, &facts), RES_OK);
        assert_int_equal(facts.match, DANE_NO_MATCH);
        dane_host_clear(&host);
    }
    peer_chain_unref(chain);
}

/* However many anchors both sides invent, the work is bounded, and ends in a refusal. */
static void
test_many_anchors(void **state)
{
    struct dane_host host = { .count = 0 };
    struct dane_facts facts = { .key = KEY };
    struct cert certs[PEER_CHAIN_MAX];
    struct span ders[PEER_CHAIN_MAX];
    struct peer_chain *chain;

    (void)state;
    for (size_t i = 0; i < PEER_CHAIN_MAX; i++) {
        static const struct cert_spec ca = { .cn = "Inter", .ca = true };
        static const struct cert_spec leaf = { .sans = CERT_HOST };
        uint8_t *der = NULL;
        int len;

        assert_true(cert_make(&family.factory, i ? &ca : &leaf, i ? NULL : &family.certs[INTER],
                              &certs[i]));
        len = i2d_X509(certs[i].x509, &der);
        ders[i] = span_make(der, (size_t)len);
        if (i)
            assert_int_equal(dane_host_add(&host, 2, 0, 0, ders[i]), RES_OK);
    }
    assert_int_equal(peer_chain_new(ders, PEER_CHAIN_MAX, &chain), RES_OK);
    assert_int_equal(dane_check(chain, &host, 1, CERTS_NOW, &facts), RES_OK);
    assert_int_equal(facts.match, DANE_TA_BROKEN);
    for (size_t i = 0; i < PEER_CHAIN_MAX; i++) {
        OPENSSL_free((void *)ders[i].ptr);
        cert_clear(&certs[i]);
    }
    dane_host_clear(&host);
    peer_chain_unref(chain);
}

/* There is no path then, and the anchor of DNS stands above all that was presented. */
static void
test_unreadable_leaf(void **state)
{
    static const struct dane_case c = { .records = { R(2, 0, 0, ROOT) } };
    static const enum cert_id presented[] = { INTER, CERT_NONE };
    struct peer_chain *inter = cert_family_present(&family, presented), *chain;
    struct span ders[] = { span_of("no certificate"), inter->certs[0] };
    struct dane_facts facts = { .key = KEY };
    struct dane_host hosts[2] = { { .count = 0 } };

    (void)state;
    make_hosts(&c, false, hosts);
    assert_int_equal(peer_chain_new(ders, ROWS(ders), &chain), RES_OK);
    assert_int_equal(dane_check(chain, hosts, 1, CERTS_NOW, &facts), RES_OK);
    assert_int_equal(facts.match, DANE_TA_BROKEN);
    assert_string_equal(facts.reason, "certificate that can't be read");
    assert_int_equal(facts.depth, 2);
    dane_host_clear(&hosts[0]);
    dane_host_clear(&hosts[1]); /* of no use here, but it was made */
    peer_chain_unref(chain);
    peer_chain_unref(inter);
}

/* Out of memory nothing is claimed. */
static void
test_out_of_memory(void **state)
{
    static const enum cert_id presented[] = { LEAF, INTER, CERT_NONE };
    struct peer_chain *chain = cert_family_present(&family, presented);
    static const struct dane_case c = { .records = { R(2, 1, 1, INTER) } };
    struct dane_host hosts[2] = { { .count = 0 } };
    enum result res = RES_NOMEM;

    (void)state;
    if (library_memory_is_counted())
        skip();
    make_hosts(&c, false, hosts);
    for (unsigned n = 0; n < 100 && res == RES_NOMEM; n++) {
        struct dane_facts facts = { .key = KEY, .match = DANE_MATCHED };

        alloc_fail_after(n);
        res = dane_check(chain, hosts, 1, CERTS_NOW, &facts);
        alloc_fail_happened();
        assert_int_equal(facts.match, res == RES_OK ? DANE_MATCHED : DANE_UNCHECKED);
    }
    assert_int_equal(res, RES_OK);
    for (size_t i = 0; i < 2; i++)
        dane_host_clear(&hosts[i]);
    peer_chain_unref(chain);
}

static int
make_family(void **state)
{
    (void)state;
    cert_family_make(&family);
    return 0;
}

static int
free_family(void **state)
{
    (void)state;
    cert_family_clear(&family);
    return 0;
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_tiny_records),  cmocka_unit_test(test_key_of_unknown_kind),
        cmocka_unit_test(test_many_anchors),  cmocka_unit_test(test_unreadable_leaf),
        cmocka_unit_test(test_out_of_memory),
    };
    struct CMUnitTest tests[ROWS(cases) + ROWS(others)] = { 0 };

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = test_match,
                                        .initial_state = (void *)&cases[i] };
    memcpy(tests + ROWS(cases), others, sizeof others);
    return cmocka_run_group_tests_name("dane", tests, make_family, free_family);
}
