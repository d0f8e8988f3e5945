#include "tls/bulk_engine.h"

#include <openssl/err.h>

#include <stdlib.h>

#include "tls/ktls.h"
#include "tls/seal.h"
#include "tls/write_keys.h"

void
bulk_engine_init(struct bulk_engine *e, SSL *ssl, struct transport *transport, bool kernel)
{
    *e = (struct bulk_engine){
        .ssl = ssl, .transport = transport, .engine = ENGINE_LIBRARY_SMALL, .kernel_wanted = kernel
    };
}

void
bulk_engine_clear(struct bulk_engine *e)
{
    if (e->seal)
        seal_clear(e->seal);
    free(e->seal);
    e->seal = NULL;
}

bool
bulk_engine_is_library(const struct bulk_engine *e)
{
    return e->engine != ENGINE_SEAL && e->engine != ENGINE_KTLS;
}

/* ---- what the library would send ---- */

static void
send_alert(struct bulk_engine *e, struct span alert)
{
    enum result res = e->engine == ENGINE_SEAL
                          ? seal_append(e->seal, SSL3_RT_ALERT, alert, &e->transport->queue)
                          : ktls_send_record(e->transport->fd, SSL3_RT_ALERT, alert);

    if (res != RES_OK)
        e->broken = true; /* the peer sees a cut without a reason */
}

static bool
asks_for_key(int type, const uint8_t *bytes, size_t len)
{
    return type == SSL3_RT_HANDSHAKE && len == 5 && bytes[0] == SSL3_MT_KEY_UPDATE &&
           bytes[4] == SSL_KEY_UPDATE_REQUESTED;
}

/* Each message that the library reads, and each that it believes to have written. */
static void
on_message(int is_write, int version, int type, const void *bytes, size_t len, SSL *ssl, void *arg)
{
    struct bulk_engine *e = arg;

    (void)version, (void)ssl;
    if (!is_write && asks_for_key(type, bytes, len)) {
        e->asks_key_update = true;
        if (e->engine == ENGINE_SEAL)
            seal_owe_key_update(e->seal);
    }
    if (is_write && type == SSL3_RT_ALERT && !bulk_engine_is_library(e)) {
        send_alert(e, span_make(bytes, len));
        e->transport->trapped = 0; /* it was this; anything before has cut the stream off */
    }
}

/* ---- taking over ---- */

/* The one place where the library stops writing; its next record's number is the other's. */
static void
take_over(struct bulk_engine *e, enum engine by)
{
    e->engine = by;
    e->transport->trap = true;
    SSL_set_quiet_shutdown(e->ssl, 1);
}

/* May go wrong for want of memory: then nothing has changed. */
static enum result
give_to_seal(struct bulk_engine *e, const struct write_keys *keys)
{
    e->seal = malloc(sizeof *e->seal);
    if (!e->seal || seal_init(e->seal, keys) != RES_OK) {
        free(e->seal);
        e->seal = NULL;
        return RES_NOMEM;
    }
    take_over(e, ENGINE_SEAL);
    return RES_OK;
}

static enum result
give_to_kernel(struct bulk_engine *e, const struct write_keys *keys)
{
    enum result res = ktls_install(e->transport->fd, keys);

    if (res == RES_OK)
        take_over(e, ENGINE_KTLS);
    return res;
}

/* Behind a write of the library that went well, and no request for a key since. */
static void
give_away(struct bulk_engine *e, enum engine by)
{
    struct write_keys keys;
    enum result res = write_keys_take(e->ssl, &keys);

    if (res != RES_OK) {
        ERR_clear_error();
        e->engine = res == RES_NOMEM ? ENGINE_LIBRARY_MEMORY : ENGINE_LIBRARY_SUITE;
        return;
    }
    if (by == ENGINE_KTLS)
        e->kernel_refused = give_to_kernel(e, &keys) != RES_OK;
    else if (give_to_seal(e, &keys) != RES_OK)
        e->engine = ENGINE_LIBRARY_MEMORY;
    write_keys_clear(&keys);
}

/* Does somebody take over, as soon as it may? A request that came since the library's last write it
 * has to answer first, with its next one. */
static bool
is_due(const struct bulk_engine *e)
{
    return e->engine == ENGINE_LIBRARY_SMALL && e->begun && !e->asks_key_update;
}

/* May it be asked? Once refused, always refused. */
static bool
kernel_is_first(const struct bulk_engine *e)
{
    return e->kernel_wanted && !e->kernel_refused;
}

void
bulk_engine_prepare(struct bulk_engine *e, size_t len)
{
    if (is_due(e) && !kernel_is_first(e) && len >= BULK_ENGINE_BYTES)
        give_away(e, ENGINE_SEAL);
}

void
bulk_engine_library_wrote(struct bulk_engine *e, size_t len)
{
    e->asks_key_update = false;
    if (e->engine != ENGINE_LIBRARY_SMALL || e->begun || len < BULK_ENGINE_BYTES)
        return;
    e->begun = true;
    SSL_set_msg_callback(e->ssl, on_message);
    SSL_set_msg_callback_arg(e->ssl, e);
}

void
bulk_engine_queue_is_empty(struct bulk_engine *e)
{
    if (is_due(e) && kernel_is_first(e))
        give_away(e, ENGINE_KTLS);
}

/* ---- from then on ---- */

enum result
bulk_engine_write(struct bulk_engine *e, struct span bytes)
{
    enum result res;

    if (e->engine == ENGINE_KTLS)
        return buffer_append(&e->transport->queue, bytes);
    res = seal_append(e->seal, SSL3_RT_APPLICATION_DATA, bytes, &e->transport->queue);
    if (res == RES_OK)
        e->asks_key_update = false;
    return res;
}

void
bulk_engine_close(struct bulk_engine *e)
{
    static const uint8_t alert[] = { SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY };
    enum result res = RES_OK;

    if (e->engine == ENGINE_KTLS)
        res = transport_flush(e->transport); /* what the kernel makes goes at once */
    if (res == RES_OK)
        send_alert(e, span_make(alert, sizeof alert));
}

bool
bulk_engine_is_cut_off(const struct bulk_engine *e)
{
    /* RFC 8446 4.6.3: before its next data a peer that asks for it gets a KeyUpdate. Kernels of
     * today cannot go on with another key, so the connection is given up; its owner knows why. */
    return e->broken || (e->engine == ENGINE_KTLS && e->asks_key_update) ||
           (e->transport && e->transport->trapped > 0);
}
