/* tls/write_keys.h: what a connection writes with from its next record on, taken out of BoringSSL:
 * keys of RFC 8446 7.3 or of RFC 5246 6.3 (RFC 5288, RFC 7905), and the record's number.
 * Context: worker; pure. Inside tls/ only. */
#ifndef STSGATE_TLS_WRITE_KEYS_H
#define STSGATE_TLS_WRITE_KEYS_H

#include "base/result.h"
#include "tls/bssl_compat.h"

#define WRITE_KEYS_KEY_MAX 32u
#define WRITE_KEYS_IV_MAX 12u

struct write_keys {
    uint16_t version; /* TLS1_2_VERSION or TLS1_3_VERSION */
    int cipher_nid;   /* NID_aes_128_gcm, NID_aes_256_gcm or NID_chacha20_poly1305 */
    uint8_t key[WRITE_KEYS_KEY_MAX];
    size_t key_len;
    uint8_t iv[WRITE_KEYS_IV_MAX];
    size_t iv_len;     /* 4 of AES-GCM in TLS 1.2, where the nonce's other half is sent; else 12 */
    uint64_t sequence; /* of the next record */
};

/** Of a client whose handshake is over and for which the library has nothing left to write.
 * RES_DENIED: a version or a suite that is none of these. */
MUST_CHECK enum result write_keys_take(const SSL *ssl, struct write_keys *out);

/** Wipes them. */
void write_keys_clear(struct write_keys *keys);

#endif
