/* tests/support/cert_family.h: the certificates that a mail server may present, good, bad and odd:
 * valid, wildcard, CN only, wrong name, expired, future, self-signed, of an unknown CA, with its
 * path length, name constraints or key usage wrong, RSA and ECDSA, keys and digests too weak. Made
 * anew for each test program, since keys are. Valid or not at CERTS_NOW. */
#ifndef STSGATE_TESTS_SUPPORT_CERT_FAMILY_H
#define STSGATE_TESTS_SUPPORT_CERT_FAMILY_H

#include "base/peer_chain.h"
#include "tests/support/certs.h"

#define CERT_HOST "mx.example.com" /* in the leaves, unless their names say otherwise */
#define CERT_LATER (100 * CERTS_DAY)

/* Certificates, issuers before what they issue. ROOT... are their own issuers. */
enum cert_id {
    CERT_NONE,
    ROOT,
    ROOT_RSA,
    ROOT_SHORT,
    ROOT_EXPIRED,
    ROOT_UNKNOWN,
    TRUSTED_END = ROOT_UNKNOWN, /* those before it are in the CA file */
    INTER,
    INTER_RSA,
    INTER_LIMITED,
    INTER_BELOW,
    INTER_EXPIRED,
    INTER_SHA1,
    INTER_SHORT,
    INTER_NOT_CA,
    INTER_CLIENT,
    INTER_PERMITTED,
    INTER_EXCLUDED,
    INTER_ODD,
    INTER_IMPOSTOR,
    CROSS,
    LEAF,
    LEAF_RSA,
    LEAF_P384,
    LEAF_P521,
    LEAF_ED25519,
    LEAF_BY_ROOT,
    LEAF_PSS,
    LEAF_PSS_SHA1,
    LEAF_MD5,
    LEAF_EXPIRED,
    LEAF_EARLY,
    LEAF_SELF,
    LEAF_SELF_EXPIRED,
    LEAF_UNKNOWN,
    LEAF_LIMITED,
    LEAF_BELOW,
    LEAF_INTER_EXPIRED,
    LEAF_SHA1,
    LEAF_INTER_SHA1,
    LEAF_SHORT,
    LEAF_INTER_SHORT,
    LEAF_ROOT_SHORT,
    LEAF_ROOT_EXPIRED,
    LEAF_NOT_CA,
    LEAF_CLIENT,
    LEAF_INTER_CLIENT,
    LEAF_PERMITTED,
    LEAF_NOT_PERMITTED,
    LEAF_EXCLUDED,
    LEAF_ODD,
    LEAF_INTER_ODD,
    LEAF_IMPOSTOR,
    LEAF_WILDCARD,
    LEAF_CN,
    LEAF_WRONG_NAME,
    LEAF_NUL,
    LEAF_MANY,
    LEAF_IP,
    LEAF_STRANGE,
    LEAF_DATED,
    LEAF_CN_WRONG,
    LEAF_CN_IP,
    LEAF_OTHER,
    LEAF_OTHER_EXPIRED,
    LEAF_DOMAIN,
    LEAF_WILD,
    LEAF_WILD_FAR,
    CERT_IDS,
};

struct cert_family {
    struct cert_factory factory;
    struct cert certs[CERT_IDS]; /* empty: this library refuses to sign so weakly */
};

void cert_family_make(struct cert_family *family);
void cert_family_clear(struct cert_family *family);

/** What a peer that presents these would leave behind; CERT_NONE ends them. New. */
struct peer_chain *cert_family_present(const struct cert_family *family, const enum cert_id *ids);

#endif
