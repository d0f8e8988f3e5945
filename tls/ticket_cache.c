#include "tls/ticket_cache.h"

#include <stdlib.h>

#include "base/hash_key.h"

#include <uthash.h>

struct peer {
    struct ticket_key key;
    struct ticket tickets[TICKETS_PER_PEER]; /* the oldest first */
    size_t count;
    UT_hash_handle hh; /* in the order of use: the first one goes first */
};

struct ticket_cache {
    struct peer *peers;
    size_t count; /* tickets of them all */
};

struct ticket_cache *
ticket_cache_new(void)
{
    return calloc(1, sizeof(struct ticket_cache));
}

void
ticket_clear(struct ticket *ticket)
{
    SSL_SESSION_free(ticket->session);
    peer_chain_unref(ticket->certs);
    *ticket = (struct ticket){ 0 };
}

static void
peer_free(struct peer *peer)
{
    for (size_t i = 0; i < peer->count; i++)
        ticket_clear(&peer->tickets[i]);
    free(peer);
}

static void
drop(struct ticket_cache *cache, struct peer *peer)
{
    HASH_DEL(cache->peers, peer);
    cache->count -= peer->count;
    peer_free(peer);
}

void
ticket_cache_free(struct ticket_cache *cache)
{
    if (!cache)
        return;
    while (cache->peers)
        drop(cache, cache->peers);
    free(cache);
}

static struct peer *
find(struct ticket_cache *cache, const struct ticket_key *key)
{
    struct peer *peer;

    HASH_FIND(hh, cache->peers, key, sizeof *key, peer);
    return peer;
}

/* As the one used last. False: no memory, and it is gone. */
static bool
enter(struct ticket_cache *cache, struct peer *peer)
{
    HASH_ADD(hh, cache->peers, key, sizeof peer->key, peer);
    if (HASH_ENTERED(peer))
        return true;
    cache->count -= peer->count;
    peer_free(peer);
    return false;
}

/* NULL: no memory. */
static struct peer *
find_or_add(struct ticket_cache *cache, const struct ticket_key *key)
{
    struct peer *peer = find(cache, key);

    if (peer) {
        HASH_DEL(cache->peers, peer);
    } else {
        if (HASH_COUNT(cache->peers) >= TICKET_CACHE_PEERS)
            drop(cache, cache->peers);
        peer = calloc(1, sizeof *peer);
        if (!peer)
            return NULL;
        peer->key = *key;
    }
    return enter(cache, peer) ? peer : NULL;
}

static void
remove_at(struct ticket_cache *cache, struct peer *peer, size_t i)
{
    cache->count--;
    peer->count--;
    memmove(&peer->tickets[i], &peer->tickets[i + 1], (peer->count - i) * sizeof *peer->tickets);
    peer->tickets[peer->count] = (struct ticket){ 0 };
}

static bool
is_small(const struct ticket *ticket)
{
    const uint8_t *bytes;
    size_t len, chain_len = 0;

    SSL_SESSION_get0_ticket(ticket->session, &bytes, &len);
    for (size_t i = 0; i < ticket->certs->count; i++)
        chain_len += ticket->certs->certs[i].len;
    return len <= TICKET_BYTES_MAX && chain_len <= TICKET_CHAIN_BYTES_MAX;
}

void
ticket_cache_put(struct ticket_cache *cache, const struct ticket_key *key, struct ticket ticket)
{
    struct peer *peer = is_small(&ticket) ? find_or_add(cache, key) : NULL;

    if (!peer) {
        ticket_clear(&ticket);
        return;
    }
    if (peer->count == TICKETS_PER_PEER) {
        ticket_clear(&peer->tickets[0]);
        remove_at(cache, peer, 0);
    }
    while (cache->count >= TICKET_CACHE_TICKETS) /* the first is another: no peer has so many */
        drop(cache, cache->peers);
    peer->tickets[peer->count++] = ticket;
    cache->count++;
}

/* The server's own limit counts, too; the library knows it and offers nothing that is over. */
static bool
is_fresh(const struct ticket *ticket, int64_t now_s)
{
    int64_t life_s = SSL_SESSION_get_timeout(ticket->session);

    if (life_s > TICKET_LIFE_S)
        life_s = TICKET_LIFE_S;
    return now_s >= ticket->proven_s && now_s < ticket->proven_s + life_s;
}

bool
ticket_cache_take(struct ticket_cache *cache, const struct ticket_key *key, int64_t now_s,
                  struct ticket *out)
{
    struct peer *peer = find(cache, key);
    struct ticket *newest;

    *out = (struct ticket){ 0 };
    if (!peer)
        return false;
    newest = peer->count ? &peer->tickets[peer->count - 1] : NULL;
    if (!newest || !is_fresh(newest, now_s)) { /* then the older ones are not, either */
        drop(cache, peer);
        return false;
    }
    *out = *newest;
    if (SSL_SESSION_should_be_single_use(newest->session)) {
        remove_at(cache, peer, peer->count - 1);
    } else {
        SSL_SESSION_up_ref(out->session);
        out->certs = peer_chain_ref(out->certs);
    }
    if (peer->count == 0)
        drop(cache, peer);
    return true;
}

void
ticket_cache_drop(struct ticket_cache *cache, const struct ticket_key *key)
{
    struct peer *peer = find(cache, key);

    if (peer)
        drop(cache, peer);
}
