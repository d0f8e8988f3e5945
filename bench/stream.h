/* bench/stream.h: a non-blocking TCP connection that may become TLS under way, for both ends of a
 * measurement. Its TLS is OpenSSL 3, on purpose another library than the gateway's: what measures
 * shares no code with what is measured. OpenSSL is called in stream.c and nowhere else.
 * Context: the bench programs, one thread. */
#ifndef STSGATE_BENCH_STREAM_H
#define STSGATE_BENCH_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/result.h"

struct stream_tls; /* settings that many streams share */

struct stream_tls_config {
    const char *ca_file;   /* client: what the server's chain must lead to */
    const char *host;      /* client: SNI, and the name that the certificate must have */
    const char *cert_file; /* server: PEM, leaf first */
    const char *key_file;
    bool only_1_2; /* no TLS 1.3 */
    bool resume;   /* client: use tickets; server: give them */
};

/** Either of a client or, with a cert_file, of a server. NULL: it cannot be; standard error says
 * why. For stream_tls_free(). */
struct stream_tls *stream_tls_new(const struct stream_tls_config *config);

/** Its streams are closed by then. NULL is allowed. */
void stream_tls_free(struct stream_tls *tls);

struct stream {
    int fd;          /* owned; -1: closed */
    void *ssl;       /* owned; NULL: clear text */
    bool want_write; /* after RES_AGAIN: until when to wait, for writing instead of reading */
};

/** fd is taken, and made ready: non-blocking, without delay. */
void stream_open(struct stream *s, int fd);

/** Sends a close_notify if that goes at once. A closed one is allowed. */
void stream_close(struct stream *s);

/** From now on TLS; call stream_handshake() next. RES_NOMEM. */
MUST_CHECK enum result stream_start_tls(struct stream *s, struct stream_tls *tls);

/** RES_OK: done; RES_AGAIN; RES_TEMPFAIL: it failed. A client has checked chain and name by then.
 */
MUST_CHECK enum result stream_handshake(struct stream *s);

/** RES_OK: *out_n > 0; RES_AGAIN; RES_DENIED: the peer has ended; RES_TEMPFAIL: broken. */
MUST_CHECK enum result stream_read(struct stream *s, char *dst, size_t cap, size_t *out_n);

/** As much as goes now. RES_OK: *out_n > 0; RES_AGAIN; RES_TEMPFAIL. */
MUST_CHECK enum result stream_write(struct stream *s, const char *src, size_t len, size_t *out_n);

/** Does it hold plain text that no readiness of the socket will announce? */
bool stream_has_pending(const struct stream *s);

/** "TLSv1.3", and the suite's name; "" in clear text. Borrowed, static. */
const char *stream_version(const struct stream *s);
const char *stream_cipher(const struct stream *s);
bool stream_is_resumed(const struct stream *s);

#endif
