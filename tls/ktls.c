#include "tls/ktls.h"

#include <openssl/mem.h>
#include <openssl/nid.h>

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls/write_keys.h"

#define ULP "tls"
#define SALT_BYTES 4u /* the part of an AES-GCM nonce that never changes */

/* What the kernel is told, by suite. */
union crypto_info {
    struct tls_crypto_info info;
    struct tls12_crypto_info_aes_gcm_128 aes_128;
    struct tls12_crypto_info_aes_gcm_256 aes_256;
    struct tls12_crypto_info_chacha20_poly1305 chacha20;
};

bool
ktls_is_available(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool available;

    if (fd < 0)
        return false;
    /* On a socket that is not connected ENOTCONN is the answer of a kernel that has it. */
    available = setsockopt(fd, IPPROTO_TCP, TCP_ULP, ULP, sizeof ULP - 1) == 0 || errno == ENOTCONN;
    (void)close(fd);
    return available;
}

/* The other half of an AES-GCM nonce: of the IV in TLS 1.3, and what is sent in TLS 1.2, where it
 * only has to differ from record to record: the number does. */
static void
put_iv(uint8_t dst[WRITE_KEYS_NUMBER_BYTES], const struct write_keys *keys)
{
    if (keys->iv_len > SALT_BYTES)
        memcpy(dst, keys->iv + SALT_BYTES, WRITE_KEYS_NUMBER_BYTES);
    else
        write_keys_put_number(dst, keys->sequence);
}

/* Returns how many octets of out count. */
static socklen_t
fill_info(const struct write_keys *keys, union crypto_info *out)
{
    memset(out, 0, sizeof *out);
    out->info.version = keys->version;
    switch (keys->cipher_nid) {
    case NID_aes_128_gcm:
        out->info.cipher_type = TLS_CIPHER_AES_GCM_128;
        memcpy(out->aes_128.key, keys->key, sizeof out->aes_128.key);
        memcpy(out->aes_128.salt, keys->iv, SALT_BYTES);
        put_iv(out->aes_128.iv, keys);
        write_keys_put_number(out->aes_128.rec_seq, keys->sequence);
        return sizeof out->aes_128;
    case NID_aes_256_gcm:
        out->info.cipher_type = TLS_CIPHER_AES_GCM_256;
        memcpy(out->aes_256.key, keys->key, sizeof out->aes_256.key);
        memcpy(out->aes_256.salt, keys->iv, SALT_BYTES);
        put_iv(out->aes_256.iv, keys);
        write_keys_put_number(out->aes_256.rec_seq, keys->sequence);
        return sizeof out->aes_256;
    default:
        out->info.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
        memcpy(out->chacha20.key, keys->key, sizeof out->chacha20.key);
        memcpy(out->chacha20.iv, keys->iv, sizeof out->chacha20.iv);
        write_keys_put_number(out->chacha20.rec_seq, keys->sequence);
        return sizeof out->chacha20;
    }
}

enum result
ktls_install(int fd, const struct write_keys *keys)
{
    union crypto_info info;
    socklen_t len = fill_info(keys, &info);
    /* A socket of that kind without keys sends what it is given, as before. */
    bool done = setsockopt(fd, IPPROTO_TCP, TCP_ULP, ULP, sizeof ULP - 1) == 0 &&
                setsockopt(fd, SOL_TLS, TLS_TX, &info, len) == 0;

    OPENSSL_cleanse(&info, sizeof info);
    return done ? RES_OK : RES_DENIED;
}

enum result
ktls_send_record(int fd, uint8_t type, struct span plain)
{
    union {
        char bytes[CMSG_SPACE(sizeof type)];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec part = { .iov_base = (void *)(uintptr_t)plain.ptr, .iov_len = plain.len };
    struct msghdr msg = { .msg_iov = &part,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes };
    struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

    head->cmsg_level = SOL_TLS;
    head->cmsg_type = TLS_SET_RECORD_TYPE;
    head->cmsg_len = CMSG_LEN(sizeof type);
    *CMSG_DATA(head) = type;
    if (sendmsg(fd, &msg, MSG_NOSIGNAL) == (ssize_t)plain.len)
        return RES_OK;
    return errno == EAGAIN ? RES_AGAIN : RES_TEMPFAIL;
}
