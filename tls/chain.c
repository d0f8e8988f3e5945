#include "tls/chain.h"

#include <openssl/err.h>
#include <openssl/pool.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "tls/cert_names.h"
#include "tls/path.h"

static void
set_chain(struct observation *obs, const struct path_facts *facts)
{
    obs->chain = facts->state;
    memcpy(obs->chain_error, facts->error, sizeof obs->chain_error);
    memcpy(obs->chain_reason, facts->reason, sizeof obs->chain_reason);
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

static void
hash_chain(struct peer_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        SHA256((const uint8_t *)chain->certs[i].ptr, chain->certs[i].len, chain->cert_sha256[i]);
    SHA256((const uint8_t *)chain->cert_sha256, chain->count * sizeof *chain->cert_sha256,
           chain->sha256);
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
              struct observation *obs, struct path_validity *out_valid)
{
    const CRYPTO_BUFFER *der;
    STACK_OF(X509) *others = NULL;
    struct path_facts facts;
    X509 *leaf = NULL;
    enum result res = RES_OK;

    path_set(&facts, CHAIN_UNTRUSTED, "X509_V_ERR_UNSPECIFIED", "no certificate that can be read");
    set_chain(obs, &facts);
    *out_valid = (struct path_validity){ .from_s = INT64_MAX, .until_s = INT64_MIN };
    if (!certs || sk_CRYPTO_BUFFER_num(certs) == 0)
        return RES_OK;
    der = sk_CRYPTO_BUFFER_value(certs, 0);
    SHA256(CRYPTO_BUFFER_data(der), CRYPTO_BUFFER_len(der), obs->leaf_sha256);
    leaf = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(certs, 0));
    if (!leaf)
        goto done;
    res = cert_dns_names(leaf, &obs->sans);
    if (res != RES_OK)
        goto done;
    others = sk_X509_new_null();
    res = others ? parse_others(certs, others) : RES_NOMEM;
    if (res == RES_OK)
        res = path_verify(roots, PATH_TO_ROOT, leaf, others, now_s, &facts);
    set_chain(obs, &facts);
    if (facts.state == CHAIN_GOOD)
        *out_valid = facts.valid;
done:
    ERR_clear_error();
    sk_X509_pop_free(others, X509_free);
    X509_free(leaf);
    return res;
}
