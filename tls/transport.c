#include "tls/transport.h"

#include <openssl/bio.h>

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* More than a handshake's longest flight, the certificate list of 100 KiB that BoringSSL allows. */
#define ALLOWANCE_BYTES (128u * 1024u)
#define AHEAD_BYTES 4096u /* a server's flight, a few replies */

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int
take_ahead(struct transport *t, char *dst, size_t cap)
{
    struct span part = span_first(buffer_span(&t->ahead), smaller(cap, buffer_len(&t->ahead)));

    memcpy(dst, part.ptr, part.len);
    buffer_consume(&t->ahead, part.len);
    return (int)part.len;
}

/* The library asks for a record's header, then for its body; what lies behind comes along. want: at
 * most the allowance. As recv(). */
static ssize_t
read_socket(struct transport *t, char *dst, size_t want)
{
    char more[AHEAD_BYTES];
    struct iovec parts[] = { { dst, want }, { more, smaller(sizeof more, t->allowance - want) } };
    ssize_t n;

    do {
        n = readv(t->fd, parts, 2);
    } while (n < 0 && errno == EINTR);
    if (n > 0)
        t->allowance -= (size_t)n;
    if (n > 0 && (size_t)n > want) {
        if (buffer_append(&t->ahead, span_make(more, (size_t)n - want)) != RES_OK) {
            errno = ENOBUFS; /* what was read is lost, and with it the connection */
            return -1;
        }
        n = (ssize_t)want;
    }
    return n;
}

static int
on_read(BIO *bio, char *dst, int cap)
{
    struct transport *t = BIO_get_data(bio);
    size_t want = cap > 0 ? (size_t)cap : 0;
    ssize_t n;

    BIO_clear_retry_flags(bio);
    if (want && buffer_len(&t->ahead))
        return take_ahead(t, dst, want);
    want = smaller(want, t->allowance);
    if (want == 0 || (t->in_turn && buffer_len(&t->queue) && !t->error)) {
        BIO_set_retry_read(bio);
        return -1;
    }
    n = read_socket(t, dst, want);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_read(bio);
    else if (n < 0)
        t->error = errno;
    return (int)n; /* 0 is the end of the stream */
}

static int
on_write(BIO *bio, const char *src, int len)
{
    struct transport *t = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return 0;
    if (t->trap) {
        t->trapped += (size_t)len;
        return len;
    }
    if (buffer_append(&t->queue, span_make(src, (size_t)len)) == RES_OK)
        return len;
    t->error = ENOBUFS; /* not a retry: the record has its number and can't be made again */
    return -1;
}

static long
on_ctrl(BIO *bio, int cmd, long larg, void *parg)
{
    (void)bio, (void)larg, (void)parg;
    return cmd == BIO_CTRL_FLUSH; /* the owner flushes, when the group of records is complete */
}

BIO_METHOD *
transport_method_new(void)
{
    BIO_METHOD *method = BIO_meth_new(0, "stsgate transport");

    if (!method)
        return NULL;
    if (!BIO_meth_set_read(method, on_read) || !BIO_meth_set_write(method, on_write) ||
        !BIO_meth_set_ctrl(method, on_ctrl)) {
        BIO_meth_free(method);
        return NULL;
    }
    return method;
}

void
transport_init(struct transport *t, int fd, size_t limit)
{
    *t = (struct transport){ .fd = fd };
    buffer_init(&t->queue, limit);
    buffer_init(&t->ahead, AHEAD_BYTES);
}

void
transport_clear(struct transport *t)
{
    buffer_clear(&t->queue);
    buffer_clear(&t->ahead);
}

BIO *
transport_bio_new(const BIO_METHOD *method, struct transport *t)
{
    BIO *bio = BIO_new(method);

    if (bio) {
        BIO_set_data(bio, t);
        BIO_set_init(bio, 1);
    }
    return bio;
}

bool
transport_has_read_ahead(const struct transport *t)
{
    return buffer_len(&t->ahead) > 0;
}

void
transport_allow(struct transport *t)
{
    t->allowance = ALLOWANCE_BYTES;
}

/* flags: of send(). */
static enum result
send_queue(struct transport *t, int flags)
{
    struct span bytes = buffer_span(&t->queue);
    ssize_t n;

    if (bytes.len == 0)
        return RES_OK;
    do {
        n = send(t->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | flags);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return RES_AGAIN;
    if (n < 0) {
        t->error = errno;
        return RES_TEMPFAIL;
    }
    buffer_consume(&t->queue, (size_t)n);
    return (size_t)n == bytes.len ? RES_OK : RES_AGAIN;
}

enum result
transport_flush(struct transport *t)
{
    return send_queue(t, 0);
}

enum result
transport_flush_last(struct transport *t)
{
    return send_queue(t, MSG_MORE);
}
