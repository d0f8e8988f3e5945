/* proxy/client_rule.h: what the operator says of clients: how their STARTTLS is met, and what they
 * may or must do beside (PRX-039). Plain data from the sections `client` of the configuration, and
 * pure matching. Context: any process. */
#ifndef STSGATE_PROXY_CLIENT_RULE_H
#define STSGATE_PROXY_CLIENT_RULE_H

#include "policy/rules.h"

#define CLIENT_RULES_MAX 1024u /* of one configuration */

/* How a client's STARTTLS is met. Where the MX does not list STARTTLS nobody is offered it. */
enum client_starttls {
    CLIENT_STARTTLS_SITE,        /* not said: terminate with a site certificate, else hide */
    CLIENT_STARTTLS_HIDE,        /* not offered */
    CLIENT_STARTTLS_TERMINATE,   /* offered with the site's own certificate */
    CLIENT_STARTTLS_PASSTHROUGH, /* the MX's own: what follows is relayed unread (PRX-040) */
    CLIENT_STARTTLS_WAYS,        /* how many there are */
};

/* One section. It applies where both selectors match; the first that applies, in the file's order,
 * is the only one. */
struct client_rule {
    char title[RULE_ID_MAX + 1];
    struct net_list clients;      /* empty: any */
    struct net_list destinations; /* empty: any */
    enum client_starttls starttls;
    bool require_tls;      /* the client's leg must be under TLS (TLS-015) */
    bool accept_lf;        /* a bare LF ends a command, too (SMTP-002) */
    unsigned sessions_max; /* of all that it covers, in each worker; 0: not limited (PRX-049) */
    bool relay;            /* every octet passes untouched, nothing is judged (TC-GW-08) */
};

struct client_rules {
    struct client_rule *rules; /* owned array, in the file's order */
    size_t count;
};

/** The section for this pair, or NULL. Borrowed. */
const struct client_rule *client_rules_find(const struct client_rules *rules,
                                            const struct ip_addr *client,
                                            const struct ip_addr *destination);

/** How STARTTLS is met where rule applies (NULL: none does). has_certificate: the site has one. */
enum client_starttls client_rule_starttls(const struct client_rule *rule, bool has_certificate);

/** "hide", "terminate", ... as in the configuration; "" for CLIENT_STARTTLS_SITE. Static. */
const char *client_starttls_name(enum client_starttls how);

/** What is missing or does not belong together; NULL: nothing. Static storage. */
const char *client_rule_objection(const struct client_rule *rule, bool has_certificate);

/** Append an empty one with this title. RES_LIMIT, RES_NOMEM. */
MUST_CHECK enum result client_rules_add(struct client_rules *rules, const char *title);

/** Frees what the list owns; it is empty and may be used again. */
void client_rules_clear(struct client_rules *rules);

#endif
