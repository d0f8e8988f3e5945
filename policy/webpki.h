/* policy/webpki.h: what libcurl leaves to OpenSSL when it checks a policy host's certificate (RFC
 * 8461 3.3). Context: policy process; used by policy/fetch.c. The only place there that calls
 * OpenSSL. */
#ifndef STSGATE_POLICY_WEBPKI_H
#define STSGATE_POLICY_WEBPKI_H

#include <stdbool.h>

#include "base/result.h"

/** Can path be read, and does it hold a certificate? RES_SYNTAX: no. RES_NOMEM. */
MUST_CHECK enum result webpki_check_bundle(const char *path);

/** Two things about the connections of ssl_ctx (an SSL_CTX *) that libcurl does not see to:
 * - The handshake fails with X509_V_ERR_HOSTNAME_MISMATCH unless a dNSName of the certificate names
 *   host: no common name (STS-023), "*" only as the whole left-most label (STS-024).
 * - *ended becomes true once the peer has said close_notify. Without it a body that lasts until the
 *   end of the connection may have been cut (RFC 9112 9.8). Kept until ssl_ctx is gone.
 * RES_NOMEM: ssl_ctx is of no use. */
MUST_CHECK enum result webpki_prepare(void *ssl_ctx, const char *host, bool *ended);

/** The name of an OpenSSL verify result, "X509_V_ERR_…" (RPT-040). Static storage. */
const char *webpki_error_name(long verify_result);

#endif
