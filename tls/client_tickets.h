/* tls/client_tickets.h: the tickets of one connection: the one that it offers, and those that its
 * server gives it. In TLS 1.3 they come whenever the server likes, and none is kept before the
 * session has been judged good (TLS-026).
 * Context: worker, one thread at a time per object. Inside tls/ only. */
#ifndef STSGATE_TLS_CLIENT_TICKETS_H
#define STSGATE_TLS_CLIENT_TICKETS_H

#include "base/ip_addr.h"
#include "tls/ticket_cache.h"

#define CLIENT_TICKETS_HELD 2u /* until there is a verdict; the oldest goes */
#define CLIENT_TICKETS_SEEN                                                                        \
    16u /* of one connection; a server that sends more is not listened to                          \
         */

struct client_tickets {
    struct ticket_cache *cache; /* borrowed; NULL: this connection neither resumes nor keeps */
    struct ticket_key key;
    struct ticket offered;    /* session NULL: none was */
    struct peer_chain *certs; /* a reference: what a verdict is about; NULL before */
    uint16_t group;           /* of the key exchange in this connection; 0: unknown */
    int64_t proven_s;         /* wall clock of the full handshake behind this connection */
    bool good;                /* so says the verdict */
    unsigned seen;
    SSL_SESSION *held[CLIENT_TICKETS_HELD]; /* references */
    size_t held_count;
};

/** Tie a connection to the tickets of its peer. offer: take one out of the cache to resume. */
void client_tickets_init(struct client_tickets *t, struct ticket_cache *cache,
                         const struct ticket_key *key, bool offer, int64_t now_s);
void client_tickets_clear(struct client_tickets *t); /* all zero is allowed */

void ticket_key_make(const struct ip_addr *addr, uint16_t port, const char *sni, uint16_t floor,
                     struct ticket_key *out);

/** What the server has given. Takes the reference. */
void client_tickets_add(struct client_tickets *t, SSL_SESSION *session);

/** The offered ticket was resumed: what the connection proves is as old as that. */
void client_tickets_resumed(struct client_tickets *t);

/** The chain that is judged: as presented, or the one of the ticket that was resumed. */
void client_tickets_set_chain(struct client_tickets *t, struct peer_chain *certs);

/** The session was judged good: what it was given, and will be, may be resumed. */
void client_tickets_keep(struct client_tickets *t);

/** Nothing of this peer is to be resumed. */
void client_tickets_drop(struct client_tickets *t);

#endif
