/* tests/support/certs.h: a factory of good, bad and odd certificates, made in memory when a test
 * runs. Failures inside the factory end the test program: nothing can be tested without it. */
#ifndef STSGATE_TESTS_SUPPORT_CERTS_H
#define STSGATE_TESTS_SUPPORT_CERTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/base.h>

#define CERTS_NOW 1767225600 /* 2026-01-01T00:00:00Z, the time the tests verify at */
#define CERTS_DAY 86400

enum cert_key {
    CERT_KEY_P256,
    CERT_KEY_P384,
    CERT_KEY_P521,
    CERT_KEY_ED25519,
    CERT_KEY_RSA2048,
    CERT_KEY_RSA1024,
    CERT_KEYS
};

enum cert_digest { CERT_SHA256, CERT_SHA384, CERT_SHA1, CERT_MD5, CERT_PSS_SHA256, CERT_PSS_SHA1 };

struct cert_spec {
    const char *cn;     /* NULL: empty subject */
    const char *sans;   /* dNSNames with commas between; "\001" stands for a NUL; NULL: none */
    unsigned more_sans; /* and so many more: h0.example.com ... */
    bool san_ip;        /* and the iPAddress 192.0.2.1 */
    bool ca;
    int pathlen; /* with ca; 0: no limit, n: a pathlen of n - 1 */
    enum cert_key key;
    enum cert_digest
        digest;            /* of the issuer's signature; ignored when the issuer's key is Ed25519 */
    int from_s, until_s;   /* relative to CERTS_NOW; both 0: a year around it */
    int usage;             /* extended key usage as NID; 0: none */
    const char *permitted; /* name constraints: permitted dNSName; NULL: none */
    const char *excluded;
    bool odd_critical; /* a critical extension nobody knows */
};

struct cert {
    X509 *x509;    /* owned */
    EVP_PKEY *key; /* owned */
};

struct cert_factory {
    EVP_PKEY *rsa[CERT_KEYS]; /* owned; RSA keys take long, so one per length is shared */
};

void cert_factory_clear(struct cert_factory *factory);

/** issuer: NULL makes it self-signed. False, and *out empty: this library refuses to sign so
 * weakly. */
bool cert_make(struct cert_factory *factory, const struct cert_spec *spec,
               const struct cert *issuer, struct cert *out);
void cert_clear(struct cert *cert);

/** One PEM file of count certificates, leaf first, and behind them the key of the first when
 * with_key. */
void certs_write(const char *path, const struct cert *const *certs, size_t count, bool with_key);

#endif
