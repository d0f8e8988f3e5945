/* tls/bulk_engine.h: who makes the records of what a stream sends. The library does, until a bulk
 * begins; behind its first write the kernel (tls/ktls.h) takes over where that is wanted, else we
 * do (tls/seal.h). From then on the library only reads: its transport is a trap, and what it would
 * answer, alerts and new keys, is sent by who took over.
 * Context: worker, one thread at a time per object. Inside tls/ only. */
#ifndef STSGATE_TLS_BULK_ENGINE_H
#define STSGATE_TLS_BULK_ENGINE_H

#include "base/result.h"
#include "base/span.h"
#include "tls/transport.h"

/* A write as long as this belongs to a bulk. */
#define BULK_ENGINE_BYTES (32u * 1024u)

enum engine {
    ENGINE_LIBRARY,        /* for good: nobody else is to */
    ENGINE_LIBRARY_SMALL,  /* until there is a bulk */
    ENGINE_LIBRARY_SUITE,  /* for good: nobody else knows the suite */
    ENGINE_LIBRARY_MEMORY, /* for good: there was none to take over with */
    ENGINE_SEAL,
    ENGINE_KTLS, /* the queue holds plain text */
};

struct seal;

/* All zero: ENGINE_LIBRARY. */
struct bulk_engine {
    SSL *ssl;                    /* borrowed */
    struct transport *transport; /* borrowed */
    enum engine engine;
    bool kernel_wanted;
    bool kernel_refused;
    bool begun;           /* the library has written the beginning of a bulk */
    bool asks_key_update; /* the peer does, and has no answer yet */
    bool broken;          /* nothing more can be sent */
    struct seal *seal;    /* owned; of ENGINE_SEAL */
};

/** Before the first write of a client's stream. ssl, transport: outlive *e. kernel: try it first.
 */
void bulk_engine_init(struct bulk_engine *e, SSL *ssl, struct transport *transport, bool kernel);

/** Wipes the secrets. All zero is allowed. */
void bulk_engine_clear(struct bulk_engine *e);

/** A write of len octets is next: where the library has made enough of a bulk, we take over. */
void bulk_engine_prepare(struct bulk_engine *e, size_t len);

/** Does the library make the records? */
bool bulk_engine_is_library(const struct bulk_engine *e);

/** The library has written len octets, and all went well: it owes the peer nothing. */
void bulk_engine_library_wrote(struct bulk_engine *e, size_t len);

/** The queue is empty: what is sent next may be the kernel's. */
void bulk_engine_queue_is_empty(struct bulk_engine *e);

/** Where it is not the library: bytes, 1 or more, into the queue. RES_NOMEM, RES_LIMIT: nothing is
 * queued. RES_TEMPFAIL: the stream can't be written to any more. */
MUST_CHECK enum result bulk_engine_write(struct bulk_engine *e, struct span bytes);

/** Where it is not the library: close_notify, behind what is queued as far as the socket takes
 * that. Errors show in the peer's seeing a cut. */
void bulk_engine_close(struct bulk_engine *e);

/** Can nothing more be sent? The library wrote where it must not, an alert had no way, or the
 * kernel cannot give the new key that the peer asks for. */
bool bulk_engine_is_cut_off(const struct bulk_engine *e);

#endif
