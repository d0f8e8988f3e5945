#include "tls/seal.h"

#include <openssl/aead.h>
#include <openssl/err.h>
#include <openssl/nid.h>

#include <assert.h>
#include <string.h>

#define NONCE_BYTES 12u
#define TAG_BYTES 16u
#define AAD_1_2_BYTES (WRITE_KEYS_NUMBER_BYTES + SSL3_RT_HEADER_LENGTH)
#define TAIL_MAX (1u + TAG_BYTES) /* TLS 1.3 seals the content's type behind it */

static const uint8_t key_update[] = { SSL3_MT_KEY_UPDATE, 0, 0, 1, SSL_KEY_UPDATE_NOT_REQUESTED };

static const EVP_AEAD *
aead_of(const struct write_keys *keys)
{
    switch (keys->cipher_nid) {
    case NID_aes_128_gcm:
        return EVP_aead_aes_128_gcm();
    case NID_aes_256_gcm:
        return EVP_aead_aes_256_gcm();
    default:
        return EVP_aead_chacha20_poly1305();
    }
}

static EVP_AEAD_CTX *
aead_new(const struct write_keys *keys)
{
    EVP_AEAD_CTX *aead = EVP_AEAD_CTX_new(aead_of(keys), keys->key, keys->key_len, TAG_BYTES);

    if (!aead)
        ERR_clear_error();
    return aead;
}

static bool
is_1_3(const struct seal *seal)
{
    return seal->keys.version == TLS1_3_VERSION;
}

enum result
seal_init(struct seal *seal, const struct write_keys *keys)
{
    bool renews = keys->version == TLS1_3_VERSION && keys->cipher_nid != NID_chacha20_poly1305;

    *seal = (struct seal){ .aead = aead_new(keys) };
    if (!seal->aead)
        return RES_NOMEM;
    seal->keys = *keys;
    seal->records_per_key = renews ? SEAL_RECORDS_PER_KEY : UINT64_MAX;
    return RES_OK;
}

void
seal_clear(struct seal *seal)
{
    EVP_AEAD_CTX_free(seal->aead); /* the library wipes what it frees */
    seal->aead = NULL;
    write_keys_clear(&seal->keys);
}

/* ---- one record ---- */

/* AES-GCM in TLS 1.2: half of the nonce is sent with the record. It only has to differ from record
 * to record, and the number does (RFC 5288 3). */
static size_t
explicit_bytes(const struct seal *seal)
{
    return NONCE_BYTES - seal->keys.iv_len;
}

static void
put_nonce(const struct seal *seal, uint8_t nonce[NONCE_BYTES])
{
    uint8_t number[WRITE_KEYS_NUMBER_BYTES];

    memset(nonce, 0, NONCE_BYTES);
    memcpy(nonce, seal->keys.iv, seal->keys.iv_len);
    write_keys_put_number(number, seal->keys.sequence);
    for (size_t i = 0; i < WRITE_KEYS_NUMBER_BYTES; i++)
        nonce[NONCE_BYTES - WRITE_KEYS_NUMBER_BYTES + i] ^= number[i];
}

static void
put_header(uint8_t dst[SSL3_RT_HEADER_LENGTH], uint8_t type, size_t len)
{
    dst[0] = type;
    dst[1] = TLS1_2_VERSION >> 8; /* in TLS 1.3 as well (RFC 8446 5.1) */
    dst[2] = TLS1_2_VERSION & 0xff;
    dst[3] = (uint8_t)(len >> 8);
    dst[4] = (uint8_t)len;
}

/* The octets that a record of len takes. */
static size_t
record_bytes(const struct seal *seal, size_t len)
{
    return SSL3_RT_HEADER_LENGTH + explicit_bytes(seal) + len + is_1_3(seal) + TAG_BYTES;
}

/* One record to dst, where record_bytes() of it have room. The number is spent whatever happens. */
static bool
put_record(struct seal *seal, uint8_t type, struct span plain, uint8_t *dst)
{
    size_t before = SSL3_RT_HEADER_LENGTH + explicit_bytes(seal), extra = is_1_3(seal), tail_len;
    uint8_t nonce[NONCE_BYTES], aad_1_2[AAD_1_2_BYTES];
    const uint8_t *aad = dst;
    size_t aad_len = SSL3_RT_HEADER_LENGTH;

    put_nonce(seal, nonce);
    put_header(dst, is_1_3(seal) ? SSL3_RT_APPLICATION_DATA : type,
               record_bytes(seal, plain.len) - SSL3_RT_HEADER_LENGTH);
    memcpy(dst + SSL3_RT_HEADER_LENGTH, nonce + seal->keys.iv_len, explicit_bytes(seal));
    if (!is_1_3(seal)) {
        write_keys_put_number(aad_1_2, seal->keys.sequence);
        put_header(aad_1_2 + WRITE_KEYS_NUMBER_BYTES, type, plain.len);
        aad = aad_1_2;
        aad_len = sizeof aad_1_2;
    }
    seal->keys.sequence++;
    return EVP_AEAD_CTX_seal_scatter(seal->aead, dst + before, dst + before + plain.len, &tail_len,
                                     TAIL_MAX, nonce, sizeof nonce, (const uint8_t *)plain.ptr,
                                     plain.len, &type, extra, aad, aad_len) &&
           tail_len == extra + TAG_BYTES;
}

/* ---- many records ---- */

static uint64_t
records_of(size_t len)
{
    return len / SSL3_RT_MAX_PLAIN_LENGTH + (len % SSL3_RT_MAX_PLAIN_LENGTH != 0);
}

/* The octets that len octets of plain text take. */
static size_t
records_bytes(const struct seal *seal, size_t len)
{
    return len + (size_t)records_of(len) * record_bytes(seal, 0);
}

static enum result
give_up(struct seal *seal)
{
    ERR_clear_error();
    seal->broken = true;
    return RES_TEMPFAIL;
}

/* All records are committed together, or, where the cipher fails, never. */
static enum result
append_records(struct seal *seal, uint8_t type, struct span plain, struct buffer *queue)
{
    size_t at = 0;
    char *place;
    enum result res;

    /* The last number stays unused, so that the next one never wraps. */
    if (records_of(plain.len) > UINT64_MAX - seal->keys.sequence)
        return give_up(seal);
    res = buffer_reserve(queue, records_bytes(seal, plain.len), &place);
    if (res != RES_OK)
        return res;
    while (plain.len) {
        struct span part = span_first(
            plain, plain.len < SSL3_RT_MAX_PLAIN_LENGTH ? plain.len : SSL3_RT_MAX_PLAIN_LENGTH);

        if (!put_record(seal, type, part, (uint8_t *)place + at))
            return give_up(seal);
        at += record_bytes(seal, part.len);
        plain = span_from(plain, part.len);
    }
    buffer_commit(queue, at);
    return RES_OK;
}

/* ---- the next key ---- */

/* What can fail for want of memory comes before the first number is spent. */
static enum result
append_key_update(struct seal *seal, struct buffer *queue)
{
    struct span message = span_make(key_update, sizeof key_update);
    EVP_AEAD_CTX *aead = NULL;
    struct write_keys next;
    enum result res = write_keys_next(&seal->keys, &next);

    if (res == RES_OK) {
        aead = aead_new(&next);
        res = aead ? append_records(seal, SSL3_RT_HANDSHAKE, message, queue) : RES_NOMEM;
    }
    if (res == RES_OK) {
        EVP_AEAD_CTX_free(seal->aead);
        seal->aead = aead;
        aead = NULL; /* now the seal's */
        seal->keys = next;
        seal->owes_key_update = false;
    }
    EVP_AEAD_CTX_free(aead);
    write_keys_clear(&next);
    return res;
}

/* One record under each key is kept for the KeyUpdate itself. */
static bool
is_worn(const struct seal *seal, uint64_t records)
{
    return seal->records_per_key != UINT64_MAX &&
           seal->keys.sequence + records >= seal->records_per_key;
}

void
seal_owe_key_update(struct seal *seal)
{
    seal->owes_key_update = is_1_3(seal);
}

enum result
seal_append(struct seal *seal, uint8_t type, struct span plain, struct buffer *queue)
{
    enum result res = RES_OK;
    char *place;

    assert(plain.len > 0);
    if (seal->broken)
        return RES_TEMPFAIL;
    if (seal->owes_key_update || is_worn(seal, records_of(plain.len))) {
        /* For both, so that what comes second finds its room. */
        res = buffer_reserve(
            queue, records_bytes(seal, sizeof key_update) + records_bytes(seal, plain.len), &place);
        if (res == RES_OK)
            res = append_key_update(seal, queue);
    }
    return res == RES_OK ? append_records(seal, type, plain, queue) : res;
}
