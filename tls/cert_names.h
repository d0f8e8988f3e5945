/* tls/cert_names.h: the host names that a certificate stands for. Those that hold a NUL, a blank or
 * what is not printable ASCII are left out: they match no host, and would mislead a reader.
 * Context: worker. Pure but for memory. Inside tls/ only. */
#ifndef STSGATE_TLS_CERT_NAMES_H
#define STSGATE_TLS_CERT_NAMES_H

#include <openssl/x509.h>

#include "base/name_list.h"

/** Append the dNSNames as they stand there; the common name is no name of the host (TLS-042).
 * RES_NOMEM: out may hold a part of them. */
MUST_CHECK enum result cert_dns_names(const X509 *cert, struct name_list *out);

/** The same for DANE-TA: where there is no dNSName at all, the common name (RFC 7672 3.2.3,
 * DANE-030). */
MUST_CHECK enum result cert_dane_names(const X509 *cert, struct name_list *out);

#endif
