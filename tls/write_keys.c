#include "tls/write_keys.h"

#include <openssl/digest.h>
#include <openssl/hkdf.h>
#include <openssl/mem.h>
#include <openssl/nid.h>

#include <assert.h>
#include <string.h>

#include "base/span.h"
#include "tls/traffic_secret.h"

#define LABEL_PREFIX "tls13 "
#define LABEL_INFO_MAX 32u /* length, label, empty context: of the labels here */
#define GCM_SALT_BYTES 4u  /* RFC 5288 3 */
#define KEY_BLOCK_MAX (2u * (WRITE_KEYS_KEY_MAX + WRITE_KEYS_IV_MAX))

/* HKDF-Expand-Label(secret, label, "", out_len), RFC 8446 7.1. */
static bool
expand(const EVP_MD *digest, struct span secret, const char *label, uint8_t *out, size_t out_len)
{
    uint8_t info[LABEL_INFO_MAX];
    size_t prefix = strlen(LABEL_PREFIX), len = strlen(label), at = 0;

    assert(prefix + len + 4 <= sizeof info && out_len < 256);
    info[at++] = 0;
    info[at++] = (uint8_t)out_len;
    info[at++] = (uint8_t)(prefix + len);
    memcpy(info + at, LABEL_PREFIX, prefix);
    at += prefix;
    memcpy(info + at, label, len);
    at += len;
    info[at++] = 0;
    return HKDF_expand(out, out_len, digest, (const uint8_t *)secret.ptr, secret.len, info, at);
}

/* Key and IV of the secret, RFC 8446 7.3. */
static enum result
expand_keys(struct write_keys *keys)
{
    const EVP_MD *digest = EVP_get_digestbynid(keys->prf_nid);
    struct span secret = span_make(keys->secret, keys->secret_len);

    keys->iv_len = WRITE_KEYS_IV_MAX;
    return expand(digest, secret, "key", keys->key, keys->key_len) &&
                   expand(digest, secret, "iv", keys->iv, keys->iv_len)
               ? RES_OK
               : RES_NOMEM;
}

static enum result
take_1_3(const SSL *ssl, const SSL_CIPHER *cipher, struct write_keys *out)
{
    const uint8_t *secret;
    size_t len;

    out->prf_nid = SSL_CIPHER_get_prf_nid(cipher);
    if (!EVP_get_digestbynid(out->prf_nid) || !traffic_secret_write(ssl, &secret, &len) ||
        len > sizeof out->secret)
        return RES_DENIED;
    memcpy(out->secret, secret, len);
    out->secret_len = len;
    return expand_keys(out);
}

/* Client's key, server's key, client's IV, server's IV: no MAC keys with an AEAD. */
static enum result
take_1_2(const SSL *ssl, struct write_keys *out)
{
    uint8_t block[KEY_BLOCK_MAX];
    size_t len;
    bool good;

    out->iv_len = out->cipher_nid == NID_chacha20_poly1305 ? WRITE_KEYS_IV_MAX : GCM_SALT_BYTES;
    len = 2 * (out->key_len + out->iv_len);
    good = SSL_get_key_block_len(ssl) == len && SSL_generate_key_block(ssl, block, len);
    if (good) {
        memcpy(out->key, block, out->key_len);
        memcpy(out->iv, block + 2 * out->key_len, out->iv_len);
    }
    OPENSSL_cleanse(block, sizeof block);
    return good ? RES_OK : RES_DENIED;
}

enum result
write_keys_take(const SSL *ssl, struct write_keys *out)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    enum result res;

    assert(!SSL_in_init(ssl) && !SSL_is_server(ssl));
    *out = (struct write_keys){ .version = (uint16_t)SSL_version(ssl),
                                .cipher_nid = cipher ? SSL_CIPHER_get_cipher_nid(cipher) : 0,
                                .sequence = SSL_get_write_sequence(ssl) };
    if (out->cipher_nid == NID_aes_128_gcm)
        out->key_len = 16;
    else if (out->cipher_nid == NID_aes_256_gcm || out->cipher_nid == NID_chacha20_poly1305)
        out->key_len = 32;
    else
        return RES_DENIED;
    if (out->version == TLS1_3_VERSION)
        res = take_1_3(ssl, cipher, out);
    else
        res = out->version == TLS1_2_VERSION ? take_1_2(ssl, out) : RES_DENIED;
    if (res != RES_OK)
        write_keys_clear(out);
    return res;
}

enum result
write_keys_next(const struct write_keys *keys, struct write_keys *out)
{
    enum result res = RES_NOMEM;

    assert(keys->version == TLS1_3_VERSION && keys != out);
    *out = (struct write_keys){ .version = keys->version,
                                .cipher_nid = keys->cipher_nid,
                                .key_len = keys->key_len,
                                .prf_nid = keys->prf_nid,
                                .secret_len = keys->secret_len };
    if (expand(EVP_get_digestbynid(keys->prf_nid), span_make(keys->secret, keys->secret_len),
               "traffic upd", out->secret, out->secret_len))
        res = expand_keys(out);
    if (res != RES_OK)
        write_keys_clear(out);
    return res;
}

void
write_keys_clear(struct write_keys *keys)
{
    OPENSSL_cleanse(keys, sizeof *keys);
}

void
write_keys_put_number(uint8_t dst[WRITE_KEYS_NUMBER_BYTES], uint64_t number)
{
    for (int i = WRITE_KEYS_NUMBER_BYTES - 1; i >= 0; i--, number >>= 8)
        dst[i] = (uint8_t)number;
}
