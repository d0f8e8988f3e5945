/* tls/tls_client.h: the client side of one TLS connection to a mail server, and the facts that it
 * proved. Knows nothing of SMTP. The handshake never aborts because of a certificate (TLS-043):
 * chain and names become facts in a struct observation and are judged elsewhere.
 * Context: worker, one thread at a time per object; contexts are shared by many clients.
 * Library: BoringSSL, called nowhere else. */
#ifndef STSGATE_TLS_TLS_CLIENT_H
#define STSGATE_TLS_TLS_CLIENT_H

#include "base/clock.h"
#include "base/ip_addr.h"
#include "base/observation.h"
#include "base/result.h"
#include "base/span.h"

#define TLS_CLIENT_QUEUE_BYTES (256u * 1024u) /* ciphertext gathered before one send */

struct tls_context; /* settings and trusted roots of a process */
struct tls_client;  /* one connection */

/** ca_file: the roots trusted for mail servers: a file with certificates in PEM form, or a folder
 * of such files, whatever their names (TLS-045). Read here and never again; borrowed for the call.
 * out_error: on failure a short text for the operator, naming the file; borrowed, static or until
 * the next call.
 * RES_SYNTAX: file unreadable or without a certificate; RES_NOMEM. */
MUST_CHECK enum result tls_context_new(const char *ca_file, struct tls_context **out,
                                       const char **out_error);

/** Whether to offer the hybrid post-quantum group where the library has it; it does at first. Its
 * ClientHello is longer than one packet, which some broken firewalls drop (TC-TLS-25). Before the
 * first client. RES_NOMEM. */
MUST_CHECK enum result tls_context_set_post_quantum(struct tls_context *ctx, bool wanted);

/** Give the sending of a bulk to the kernel (tls/ktls.h) where it takes it, in place of making its
 * records ourselves? Not at first. Concerns the clients that are made from then on, until a peer
 * asks for a new key, which the kernel cannot give: that connection breaks, and the context does
 * without the kernel. */
void tls_context_set_ktls(struct tls_context *ctx, bool wanted);

void tls_context_free(struct tls_context *ctx); /* NULL is allowed; after all its clients */

/** A client on a connected, non-blocking socket. Nothing is sent before tls_client_handshake().
 *
 * fd     borrowed; stays open until after tls_client_free()
 * sni    host name in A-labels without trailing dot, "" for none; never an address (TLS-040)
 * floor  lowest version offered, TLS_VERSION_1_0 .. 1_3; 1.3 is always offered too (TLS-020)
 *
 * RES_NOMEM; RES_SYNTAX: sni is no host name. */
MUST_CHECK enum result tls_client_new(struct tls_context *ctx, int fd, const char *sni,
                                      uint16_t floor, struct tls_client **out);

/** Wipes the secrets. Does not send a close_notify: tls_client_close() does. NULL is allowed. */
void tls_client_free(struct tls_client *client);

/** Before the handshake: tie the client to the tickets of its peer, which are told apart by
 * address, port, SNI, floor and the context's roots. With offer one that an earlier client has kept
 * there is resumed, if the peer agrees; never with 0-RTT data. Without this call the client neither
 * resumes nor keeps any. now_s: wall clock. */
void tls_client_use_tickets(struct tls_client *client, const struct ip_addr *addr, uint16_t port,
                            bool offer, int64_t now_s);

/** The verdict on what tls_client_observe() said: good, or nothing was demanded. Only now the
 * tickets of this connection, here and still to come, may be resumed (TLS-026). */
void tls_client_keep_tickets(struct tls_client *client);

/** The verdict rests on a resumed session and is not good: no ticket of this peer is of use. */
void tls_client_drop_tickets(struct tls_client *client);

/** Go on with the handshake. RES_OK: done, and our last flight may be queued still: it goes with
 * tls_client_flush(), behind it what is written first. RES_AGAIN: call again when the socket is
 * readable, or writable if tls_client_queued() > 0. RES_TEMPFAIL: failed; tls_client_observe() says
 * why. */
MUST_CHECK enum result tls_client_handshake(struct tls_client *client);

/** Fill stage, failure, failure_reason, alert, sni, floor, version, cipher, group, ticket_offered,
 * resumed, chain, chain_error, chain_reason, sans, leaf_sha256, certs of obs, dane becomes
 * unchecked; leaves the rest alone. After the handshake is over, well or badly, or at a time-out
 * (then stage FAILED, failure TIMEOUT), or when tls_client_was_refused(). Verifies the chain as
 * presented, of a resumed session as it was presented then, for server use at wall-clock time now_s
 * (TLS-044); a chain that was good before is not verified twice. RES_NOMEM. */
MUST_CHECK enum result tls_client_observe(struct tls_client *client, int64_t now_s,
                                          struct observation *obs);

/** Read up to cap bytes of plain text. RES_OK: *out_n > 0. RES_AGAIN: nothing now. RES_DENIED: the
 * peer ended the stream with close_notify. RES_TEMPFAIL: broken or cut without close_notify
 * (TLS-027). */
MUST_CHECK enum result tls_client_read(struct tls_client *client, char *dst, size_t cap,
                                       size_t *out_n);

/** Encrypt all of bytes into the queue; nothing is sent. RES_LIMIT: the queue already holds
 * TLS_CLIENT_QUEUE_BYTES or more: flush first; or bytes alone are more than that: cut them.
 * RES_NOMEM: nothing is queued, the stream is whole. RES_TEMPFAIL: the connection is dead. */
MUST_CHECK enum result tls_client_write(struct tls_client *client, struct span bytes);

/** Send what is queued. RES_OK: all of it. RES_AGAIN: again when writable. RES_TEMPFAIL: nothing
 * can be sent any more, but what the peer sent before it closed can still be read. */
MUST_CHECK enum result tls_client_flush(struct tls_client *client);

/** Who makes the records of this connection: "library", which is BoringSSL; "seal", which is we,
 * behind the beginning of a bulk; or "ktls". out_reason: of "library" "small" (no bulk so far),
 * "suite" (that no other engine knows), "memory" (none to take over with); of "seal" why not
 * "ktls": "off", "kernel" (it refused); of "ktls" "rekey-unsupported": the peer asked for a new
 * key, and the connection is given up; else "". Static storage. */
const char *tls_client_engine(const struct tls_client *client, const char **out_reason);

/** Octets that the library has tried to write behind the back of another engine, and that were
 * dropped: 0, or the connection can't be written to any more. Alerts do not count: the engine sends
 * them in the library's place. */
size_t tls_client_trapped(const struct tls_client *client);

/** Ciphertext bytes that wait to be sent. */
size_t tls_client_queued(const struct tls_client *client);

/** Reading failed because the peer sent an alert before anything else: in TLS 1.3 that is how it
 * refuses our side of the handshake. tls_client_observe() then tells of a failure (TC-TLS-17). */
bool tls_client_was_refused(const struct tls_client *client);

/** Is something buffered inside, which no readiness of the socket will announce? Plain text, or
 * octets of which some may come: then a read is due. */
bool tls_client_has_pending(const struct tls_client *client);

/** Queue a close_notify and give it to the kernel, which sends it with the end of the stream: the
 * socket is closed or shut down next. Errors are ignored: the connection ends anyway. */
void tls_client_close(struct tls_client *client);

/** The library's name and version for the start log, e.g. "BoringSSL (API 17)". Static storage. */
const char *tls_library(void);

#endif
