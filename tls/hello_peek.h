/* tls/hello_peek.h: a glance at a TLS connection of others that passes by: does the client begin
 * TLS at all, and which version does the server choose (PRX-040)? Nothing else of it is read.
 * RFC 8446 4.1.3, 5.1. Context: any. Pure. */
#ifndef STSGATE_TLS_HELLO_PEEK_H
#define STSGATE_TLS_HELLO_PEEK_H

#include "base/result.h"
#include "base/span.h"

#include <stdint.h>

#define HELLO_PEEK_CLIENT_BYTES 6u /* that many tell */
#define HELLO_PEEK_SERVER_BYTES                                                                    \
    4096u /* no ServerHello is longer: the largest key share has 1.2 KiB */

/** stream: all that the client has sent since STARTTLS was answered.
 * RES_OK: it begins a ClientHello. RES_AGAIN: so far it might. RES_SYNTAX: it is something else. */
MUST_CHECK enum result client_hello_begins(struct span stream);

/** stream: all that the server has sent since then, from its first octet on.
 *
 * out_version  on RES_OK the version of its ServerHello; otherwise 0
 *
 * RES_AGAIN: it is not whole yet. RES_DENIED: the server refuses, its first record is an alert.
 * RES_SYNTAX: no ServerHello, or longer than HELLO_PEEK_SERVER_BYTES. */
MUST_CHECK enum result server_hello_in_stream(struct span stream, uint16_t *out_version);

#endif
