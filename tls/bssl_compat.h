/* tls/bssl_compat.h: BoringSSL as Debian 12 packs it (API 17, 2022) and as upstream is today; where
 * they differ, the difference is here and nowhere else.
 * Context: tls/ only. */
#ifndef STSGATE_TLS_BSSL_COMPAT_H
#define STSGATE_TLS_BSSL_COMPAT_H

#include <openssl/base.h>

#include <stdbool.h>
#include <stdint.h>

#ifndef OPENSSL_IS_BORINGSSL
#error "tls/ is written for BoringSSL: see BORINGSSL_ROOT in cmake/libraries.cmake"
#endif

#include <openssl/ssl.h>

/* Newer trees call a curve a group. */
#ifndef SSL_GROUP_X25519
#define SSL_get_group_id SSL_get_curve_id
#define SSL_get_group_name SSL_get_curve_name
#define SSL_CTX_set1_groups_list SSL_CTX_set1_curves_list
#endif

/* P-521 comes last: it is slow here, but some MX hosts have such a certificate. */
#define BSSL_GROUPS_CLASSIC "X25519:P-256:P-384:P-521"
#ifdef SSL_GROUP_X25519_MLKEM768
#define BSSL_GROUPS "X25519MLKEM768:" BSSL_GROUPS_CLASSIC
#else
#define BSSL_GROUPS BSSL_GROUPS_CLASSIC
#endif

/* Send a key share of this group alone, which the server chose before: each one costs, the hybrid
 * one most. All groups stay on offer. Older trees send what they send. False: no memory. */
#if BORINGSSL_API_VERSION >= 36
static inline bool
bssl_predict_group(SSL *ssl, uint16_t group)
{
    return SSL_set1_client_key_shares(ssl, &group, 1);
}
#else
static inline bool
bssl_predict_group(SSL *ssl, uint16_t group)
{
    (void)ssl, (void)group;
    return true;
}
#endif

#endif
