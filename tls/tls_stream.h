/* tls/tls_stream.h: what both ends of a TLS connection do alike: the handshake as the library makes
 * it, plain text in and out, the queue before one send. Knows nothing of certificates, names and
 * SMTP. Context: worker, one thread at a time per object. Inside tls/ only: tls/tls_client.h and
 * tls/tls_server.h promise the same of their objects. */
#ifndef STSGATE_TLS_TLS_STREAM_H
#define STSGATE_TLS_TLS_STREAM_H

#include "base/observation.h"
#include "base/result.h"
#include "base/span.h"
#include "tls/bulk_engine.h"
#include "tls/transport.h"

#define TLS_STREAM_QUEUE_BYTES (256u * 1024u) /* ciphertext gathered before one send */

enum tls_stream_state {
    TLS_STREAM_HANDSHAKE, /* the library wants more of the peer's messages */
    TLS_STREAM_OPEN,
    TLS_STREAM_ENDED, /* close_notify received; we may still write */
    TLS_STREAM_DEAD,
};

struct tls_stream {
    SSL *ssl;                   /* owned */
    struct transport transport; /* outlives ssl */
    enum tls_stream_state state;
    bool established; /* the handshake is over and was good */
    bool has_read;    /* the peer has sent plain text: the handshake suited it, too */
    bool send_failed; /* but what the peer sent before can still be read */
    struct bulk_engine engine;
    enum tls_failure failure;
    char reason[sizeof((struct observation *)0)->failure_reason];
    int alert;           /* the fatal one that the peer sent, if that is why it failed; 0: none */
    const char *because; /* the owner's words for a failure, in place of the library's; or NULL */
    uint16_t floor;      /* the lowest version we take part in */
    uint16_t version;    /* the one that was chosen, as far as the owner knows; 0 before */
};

/** Zeroed memory becomes a stream over fd, which is borrowed. floor: TLS_VERSION_1_0 .. 1_3; 1.3 is
 * always offered too. RES_NOMEM: tls_stream_clear() all the same. */
MUST_CHECK enum result tls_stream_init(struct tls_stream *s, SSL_CTX *ctx, const BIO_METHOD *method,
                                       int fd, uint16_t floor);
void tls_stream_clear(struct tls_stream *s);

/** Let others than the library make the records of a bulk, behind its first write. A client's
 * stream only, before its first write. kernel: try it first. */
void tls_stream_use_engines(struct tls_stream *s, bool kernel);

/* As tls/tls_client.h describes them, by the same names. */
MUST_CHECK enum result tls_stream_handshake(struct tls_stream *s);
MUST_CHECK enum result tls_stream_read(struct tls_stream *s, char *dst, size_t cap, size_t *out_n);
MUST_CHECK enum result tls_stream_write(struct tls_stream *s, struct span bytes);
MUST_CHECK enum result tls_stream_flush(struct tls_stream *s);
size_t tls_stream_queued(const struct tls_stream *s);
bool tls_stream_has_pending(const struct tls_stream *s);
void tls_stream_close(struct tls_stream *s);

#endif
