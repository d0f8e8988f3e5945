#include "tls/client_tickets.h"

#include <openssl/sha.h>

#include <stdio.h>
#include <string.h>

void
ticket_key_make(const struct ip_addr *addr, uint16_t port, const char *sni, uint16_t floor,
                struct ticket_key *out)
{
    char ip[IP_ADDR_TEXT_MAX], head[IP_ADDR_TEXT_MAX + 32];
    SHA256_CTX ctx;
    int len = snprintf(head, sizeof head, "%s %u %04x ", ip_addr_text(addr, ip), port, floor);

    SHA256_Init(&ctx);
    SHA256_Update(&ctx, head, (size_t)len);
    SHA256_Update(&ctx, sni, strlen(sni));
    SHA256_Final(out->sha256, &ctx);
}

void
client_tickets_init(struct client_tickets *t, struct ticket_cache *cache,
                    const struct ticket_key *key, bool offer, int64_t now_s)
{
    *t = (struct client_tickets){ .cache = cache, .key = *key, .proven_s = now_s };
    if (offer)
        (void)ticket_cache_take(cache, key, now_s, &t->offered); /* none: a full handshake */
}

static void
forget_held(struct client_tickets *t)
{
    for (size_t i = 0; i < t->held_count; i++)
        SSL_SESSION_free(t->held[i]);
    t->held_count = 0;
}

void
client_tickets_clear(struct client_tickets *t)
{
    forget_held(t);
    ticket_clear(&t->offered);
    peer_chain_unref(t->certs);
    *t = (struct client_tickets){ 0 };
}

static void
put(struct client_tickets *t, SSL_SESSION *session)
{
    ticket_cache_put(t->cache, &t->key,
                     (struct ticket){ .session = session,
                                      .certs = peer_chain_ref(t->certs),
                                      .proven_s = t->proven_s,
                                      .group = t->group });
}

static void
hold(struct client_tickets *t, SSL_SESSION *session)
{
    if (t->held_count == CLIENT_TICKETS_HELD) {
        SSL_SESSION_free(t->held[0]);
        t->held_count--;
        memmove(t->held, t->held + 1, t->held_count * sizeof *t->held);
    }
    t->held[t->held_count++] = session;
}

void
client_tickets_add(struct client_tickets *t, SSL_SESSION *session)
{
    if (!t->cache || ++t->seen > CLIENT_TICKETS_SEEN || !SSL_SESSION_is_resumable(session))
        SSL_SESSION_free(session);
    else if (t->good)
        put(t, session);
    else
        hold(t, session);
}

void
client_tickets_resumed(struct client_tickets *t)
{
    t->proven_s = t->offered.proven_s;
}

void
client_tickets_set_chain(struct client_tickets *t, struct peer_chain *certs)
{
    peer_chain_ref(certs);
    peer_chain_unref(t->certs);
    t->certs = certs;
}

void
client_tickets_keep(struct client_tickets *t)
{
    if (!t->cache || !t->certs || t->good) /* without a chain there was nothing to judge */
        return;
    t->good = true;
    for (size_t i = 0; i < t->held_count; i++)
        put(t, t->held[i]);
    t->held_count = 0;
}

void
client_tickets_drop(struct client_tickets *t)
{
    if (!t->cache)
        return;
    ticket_cache_drop(t->cache, &t->key);
    forget_held(t);
    t->good = false;
    t->cache = NULL;
}
