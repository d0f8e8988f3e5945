/* tls/transport.h: what BoringSSL reads from and writes to: records are read straight from the
 * socket, and a little of what lies behind them with the same call; written ones gather in a queue
 * that one send takes (one send per record costs half as much again).
 * Context: worker, one thread at a time per object. Inside tls/ only. */
#ifndef STSGATE_TLS_TRANSPORT_H
#define STSGATE_TLS_TRANSPORT_H

#include "base/buffer.h"
#include "tls/bssl_compat.h"

struct transport {
    int fd;              /* borrowed, non-blocking */
    struct buffer queue; /* ciphertext */
    struct buffer ahead; /* read, but not asked for yet: no readiness of the socket tells of it */
    size_t allowance;    /* bytes that may still be read in this call */
    bool in_turn;   /* the two ends speak in turn: what is queued goes before anything is read */
    bool trap;      /* what the library writes is dropped: somebody else writes */
    size_t trapped; /* bytes of that kind, none as long as all is well */
    int error;      /* errno of the last failure, 0 for none */
};

/** The method that all the BIOs of a context share. New; BIO_meth_free(). NULL: no memory. */
BIO_METHOD *transport_method_new(void);

/** limit: most bytes the queue may hold. */
void transport_init(struct transport *t, int fd, size_t limit);
void transport_clear(struct transport *t);

/** A BIO that reads and writes through t, which outlives it. New; NULL: no memory. */
BIO *transport_bio_new(const BIO_METHOD *method, struct transport *t);

/** Does some of what was read wait for the library to ask for it? */
bool transport_has_read_ahead(const struct transport *t);

/** Before each call of the library that may read: how much it may take from the socket at once, so
 * that a peer that sends tickets without end does not keep the loop. The rest is announced by the
 * socket's readiness again. */
void transport_allow(struct transport *t);

/** Send what is queued with one call. RES_OK: all; RES_AGAIN: the rest when the socket is writable;
 * RES_TEMPFAIL: broken, see error. */
MUST_CHECK enum result transport_flush(struct transport *t);

/** The same for what is the last, right before the socket is closed or shut for sending: it shares
 * a packet with the end of the stream. */
MUST_CHECK enum result transport_flush_last(struct transport *t);

#endif
