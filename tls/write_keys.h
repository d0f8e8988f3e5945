/* tls/write_keys.h: what a connection writes with from its next record on, taken out of BoringSSL:
 * keys of RFC 8446 7.3 or of RFC 5246 6.3 (RFC 5288, RFC 7905), and the record's number; and what
 * follows them (RFC 8446 7.2).
 * Context: worker; pure. Inside tls/ only. */
#ifndef STSGATE_TLS_WRITE_KEYS_H
#define STSGATE_TLS_WRITE_KEYS_H

#include "base/result.h"
#include "tls/bssl_compat.h"

#define WRITE_KEYS_KEY_MAX 32u
#define WRITE_KEYS_IV_MAX 12u
#define WRITE_KEYS_NUMBER_BYTES 8u
#define WRITE_KEYS_SECRET_MAX 48u /* of SHA-384 */

struct write_keys {
    uint16_t version; /* TLS1_2_VERSION or TLS1_3_VERSION */
    int cipher_nid;   /* NID_aes_128_gcm, NID_aes_256_gcm or NID_chacha20_poly1305 */
    uint8_t key[WRITE_KEYS_KEY_MAX];
    size_t key_len;
    uint8_t iv[WRITE_KEYS_IV_MAX];
    size_t iv_len;     /* 4 of AES-GCM in TLS 1.2, where the nonce's other half is sent; else 12 */
    uint64_t sequence; /* of the next record; in TLS 1.3 also how many there were under this key */
    int prf_nid;       /* TLS 1.3: the digest of the key schedule */
    uint8_t secret[WRITE_KEYS_SECRET_MAX]; /* TLS 1.3: the traffic secret */
    size_t secret_len;                     /* 0 in TLS 1.2, whose keys are the last ones */
};

/** Of a client whose handshake is over and for which the library has nothing left to write.
 * RES_DENIED: a version or a suite that is none of these. */
MUST_CHECK enum result write_keys_take(const SSL *ssl, struct write_keys *out);

/** Those behind a KeyUpdate of ours; TLS 1.3 only. RES_NOMEM: out is wiped, keys are what they
 * were. out: not keys. */
MUST_CHECK enum result write_keys_next(const struct write_keys *keys, struct write_keys *out);

/** Wipes them. */
void write_keys_clear(struct write_keys *keys);

/** A record's number as nonces and additional data have it. */
void write_keys_put_number(uint8_t dst[WRITE_KEYS_NUMBER_BYTES], uint64_t number);

#endif
