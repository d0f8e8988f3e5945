/* tls/seal.h: TLS records made by ourselves, from plain text wherever it lies straight into a
 * queue: TLS 1.3 (RFC 8446 5.2) and TLS 1.2 with AES-GCM or ChaCha20-Poly1305 (RFC 5246 6.2.3.3,
 * RFC 5288, RFC 7905). Sending only: BoringSSL goes on reading.
 *
 * A record's number is spent before the record can leave, and never again, whatever fails: where
 * sealing itself fails, nothing more is sealed.
 * Context: worker, one thread at a time per object. Inside tls/ only. */
#ifndef STSGATE_TLS_SEAL_H
#define STSGATE_TLS_SEAL_H

#include "base/buffer.h"
#include "base/result.h"
#include "base/span.h"
#include "tls/write_keys.h"

/* RFC 8446 5.5: AES-GCM is good for 2^24.5 full records under one key; before this many TLS 1.3
 * goes on with the next. TLS 1.2 has no next key: its connection goes on as in any other stack. */
#define SEAL_RECORDS_PER_KEY (UINT64_C(1) << 24)

struct seal {
    struct write_keys keys;   /* whose sequence is that of the next record */
    EVP_AEAD_CTX *aead;       /* owned; of that key */
    uint64_t records_per_key; /* most of them; UINT64_MAX: as many as there are numbers */
    bool owes_key_update;     /* before the next record */
    bool broken;              /* nothing more is sealed */
};

/** keys: copied. RES_NOMEM: *seal holds nothing. */
MUST_CHECK enum result seal_init(struct seal *seal, const struct write_keys *keys);

/** Wipes the secrets. All zero is allowed. */
void seal_clear(struct seal *seal);

/** The peer asks for a new key: a KeyUpdate goes before the next record, one for any number of
 * requests (RFC 8446 4.6.3). Without effect in TLS 1.2, which has none. */
void seal_owe_key_update(struct seal *seal);

/** Append plain to queue as records of type, an SSL3_RT_..., each as long as it can be; in front of
 * them, where one is owed or the key has done its share, a KeyUpdate that asks for none.
 * plain: 1 octet or more, not in queue. RES_NOMEM, RES_LIMIT (of the queue): nothing is appended,
 * no number is spent. RES_TEMPFAIL: no number is left, or the cipher failed: for good. */
MUST_CHECK enum result seal_append(struct seal *seal, uint8_t type, struct span plain,
                                   struct buffer *queue);

#endif
