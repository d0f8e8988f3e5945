/* tls/tls_server.h: the server side of one TLS connection, towards a mail client that has sent
 * STARTTLS (RFC 3207), with the site's own certificate. Nothing is learned of the client: no
 * certificate is asked for. Knows nothing of SMTP.
 * Context: worker, one thread at a time per object; contexts are shared by many servers.
 * Library: BoringSSL, called nowhere else. */
#ifndef STSGATE_TLS_TLS_SERVER_H
#define STSGATE_TLS_TLS_SERVER_H

#include "base/result.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

#define TLS_SERVER_QUEUE_BYTES (256u * 1024u) /* ciphertext gathered before one send */

struct tls_server_context; /* certificate, key and settings of a process */
struct tls_server;         /* one connection */

/** chain_file: PEM certificates, the site's own first; key_file: its private key in PEM, not
 * encrypted. floor: lowest version, TLS_VERSION_1_0 .. 1_3; 1.3 is always offered too. No session
 * is ever resumed: every worker would need the others' ticket keys. out_error: on failure a short
 * text for the operator, naming the file; borrowed, static or until the next call. RES_SYNTAX: a
 * file is unreadable, holds no such thing, or they do not belong together; RES_NOMEM. */
MUST_CHECK enum result tls_server_context_new(const char *chain_file, const char *key_file,
                                              uint16_t floor, struct tls_server_context **out,
                                              const char **out_error);
void tls_server_context_free(struct tls_server_context *ctx); /* NULL; after all its servers */

/** A server on a connected, non-blocking socket. fd: borrowed; stays open until after
 * tls_server_free(). RES_NOMEM. */
MUST_CHECK enum result tls_server_new(struct tls_server_context *ctx, int fd,
                                      struct tls_server **out);

/** Wipes the secrets. Does not send a close_notify: tls_server_close() does. NULL is allowed. */
void tls_server_free(struct tls_server *server);

/** Go on with the handshake. RES_OK: done, and our last flight may be queued still: it goes with
 * tls_server_flush(), behind it what is written first. RES_AGAIN: call again when the socket is
 * readable, or writable if tls_server_queued() > 0. RES_TEMPFAIL: failed; tls_server_facts() says
 * why. */
MUST_CHECK enum result tls_server_handshake(struct tls_server *server);

/* Of the handshake. */
struct tls_server_facts {
    uint16_t version; /* TLS_VERSION_..., 0: there is none yet */
    char cipher[48];  /* IANA name; "" before */
    char failure[96]; /* why it failed, printable ASCII; "" while it has not */
};

void tls_server_facts(const struct tls_server *server, struct tls_server_facts *out);

/** Read up to cap bytes of plain text. RES_OK: *out_n > 0. RES_AGAIN: nothing now. RES_DENIED: the
 * peer ended the stream with close_notify. RES_TEMPFAIL: broken or cut without close_notify. */
MUST_CHECK enum result tls_server_read(struct tls_server *server, char *dst, size_t cap,
                                       size_t *out_n);

/** Encrypt all of bytes into the queue; nothing is sent. RES_LIMIT: the queue already holds
 * TLS_SERVER_QUEUE_BYTES or more: flush first; or bytes alone are more than that: cut them.
 * RES_NOMEM: nothing is queued, the stream is whole. RES_TEMPFAIL: the connection is dead. */
MUST_CHECK enum result tls_server_write(struct tls_server *server, struct span bytes);

/** Send what is queued. RES_OK: all of it. RES_AGAIN: again when writable. RES_TEMPFAIL: nothing
 * can be sent any more. */
MUST_CHECK enum result tls_server_flush(struct tls_server *server);

/** Ciphertext bytes that wait to be sent. */
size_t tls_server_queued(const struct tls_server *server);

/** Is plain text buffered inside, which no readiness of the socket will announce? */
bool tls_server_has_pending(const struct tls_server *server);

/** Queue a close_notify and try to send it; errors are ignored: the connection ends anyway. */
void tls_server_close(struct tls_server *server);

#endif
