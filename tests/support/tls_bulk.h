/* tests/support/tls_bulk.h: a tls_client that sends a bulk over TCP, whoever makes its records, and
 * a server that checks each octet of it. What goes wrong fails the cmocka test that runs. */
#ifndef STSGATE_TESTS_SUPPORT_TLS_BULK_H
#define STSGATE_TESTS_SUPPORT_TLS_BULK_H

#include "tests/support/tls_pair.h"

#define TLS_BULK_TURNS_MAX 100000
#define TLS_BULK_WRITE_MAX (256u * 1024u) /* octets per write */

/** Both ends of a TCP connection on loopback, non-blocking; fds[0] dials. */
void tls_bulk_tcp_pair(int fds[2]);

/** A pair over TCP whose handshake is done. suites: of TLS 1.2; NULL: the library's choice. */
void tls_bulk_open(struct tls_pair *p, const struct tls_world *world, uint16_t version,
                   const char *suites);

/** One write of len octets, which follow sent others in the text that all bulks have. */
enum result tls_bulk_write(struct tls_pair *p, size_t sent, size_t len);

/** The peer reads what has come, behind received others of that text. Returns how many it then has.
 */
size_t tls_bulk_peer_reads(struct tls_pair *p, size_t received);

/** total octets from the text's beginning, in writes of at_once, each sent as far as the socket
 * takes it. */
void tls_bulk_stream(struct tls_pair *p, size_t total, size_t at_once);

/** Wait until the end has something to read. */
void tls_bulk_wait(int fd);

/** One side writes, the other reads exactly that. */
void tls_bulk_client_to_peer(struct tls_pair *p, const char *text);
void tls_bulk_peer_to_client(struct tls_pair *p, const char *text);

/** As tls_client_engine() says. */
void tls_bulk_expect_engine(const struct tls_pair *p, const char *engine, const char *reason);

/** The client closes, and the peer sees a close_notify. */
void tls_bulk_expect_end(struct tls_pair *p);

/** total octets while the peer reads only when nothing goes any more: EAGAIN storms and short
 * writes; nothing is lost or twice there. */
void tls_bulk_stream_to_slow_peer(struct tls_pair *p, size_t total, size_t at_once);

/** The peer sends a record that is none; the client's fatal alert arrives. */
void tls_bulk_expect_alert(struct tls_pair *p);

#endif
