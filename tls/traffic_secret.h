/* tls/traffic_secret.h: the one thing that BoringSSL says to C++ alone: the secret that a TLS 1.3
 * connection writes with. Context: worker. Inside tls/ only. */
#ifndef STSGATE_TLS_TRAFFIC_SECRET_H
#define STSGATE_TLS_TRAFFIC_SECRET_H

#include <openssl/ssl.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** TLS 1.3, after the handshake. *out points into ssl: copy it before the next call for ssl. False:
 * there is none. */
bool traffic_secret_write(const SSL *ssl, const uint8_t **out, size_t *out_len);

#ifdef __cplusplus
}
#endif

#endif
