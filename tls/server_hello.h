/* tls/server_hello.h: the version a server chose, read from its ServerHello (TLS-022), RFC 8446
 * 4.1.3 and 4.2.1, RFC 5246 7.4.1.3. The library tells it only of handshakes that succeed.
 * Context: any. Pure. */
#ifndef STSGATE_TLS_SERVER_HELLO_H
#define STSGATE_TLS_SERVER_HELLO_H

#include "base/result.h"
#include "base/span.h"

#include <stdint.h>

/** message: one complete handshake message with its four octets of header, of any content.
 * out_version: the one of supported_versions when that extension is there, else legacy_version; a
 * HelloRetryRequest is a ServerHello too. 0 on anything but RES_OK.
 *
 * RES_SYNTAX: no ServerHello, cut, with octets behind it, or with supported_versions twice. */
MUST_CHECK enum result server_hello_version(struct span message, uint16_t *out_version);

#endif
