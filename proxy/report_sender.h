/* proxy/report_sender.h: mail hosts behind the gateway that send TLS reports of their own, and
 * which mail is one of those (RPT-080, RFC 8460 3 and 5.3). Plain data from the sections
 * `report_sender` of the configuration, and pure matching. Context: any process. */
#ifndef STSGATE_PROXY_REPORT_SENDER_H
#define STSGATE_PROXY_REPORT_SENDER_H

#include "policy/rules.h"

#define REPORT_SENDERS_MAX 1024u /* of one configuration */
#define REPORT_ADDRESSES_MAX 64u /* of one section */

/* One section: any of the clients with any of the envelope senders. */
struct report_sender {
    char title[RULE_ID_MAX + 1];
    struct net_list clients;    /* one or more */
    struct name_list addresses; /* one or more addr-specs, with their domains in A-labels */
};

struct report_senders {
    struct report_sender *senders; /* owned array, in the file's order */
    size_t count;
};

/** Is this an address of that local part and domain?
 *
 * address  an addr-spec, as tlsrpt_address_is_valid() takes it
 * local    of SMTP, quotes included. What counts is what is meant: case matters, quotes do not
 * domain   normalised; "" is nobody's */
bool report_address_is(const char *address, struct span local, const char *domain);

/** The same for any of a list. */
bool report_address_listed(const struct name_list *addresses, struct span local,
                           const char *domain);

/** Does mail of this client with this envelope sender consist of TLS reports? */
bool report_senders_have(const struct report_senders *list, const struct ip_addr *client,
                         struct span local, const char *domain);

/** Append an empty one with this title. RES_LIMIT, RES_NOMEM. */
MUST_CHECK enum result report_senders_add(struct report_senders *list, const char *title);

/** Append an envelope sender. RES_SYNTAX: no addr-spec. RES_LIMIT, RES_NOMEM. */
MUST_CHECK enum result report_sender_add_address(struct report_sender *sender, const char *address);

/** What is missing; NULL: nothing. Static storage. */
const char *report_sender_objection(const struct report_sender *sender);

/** Frees what the list owns; it is empty and may be used again. */
void report_senders_clear(struct report_senders *list);

#endif
