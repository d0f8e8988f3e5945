/* policy/tlsrpt_sender.h: takes one report to one destination, by libcurl on the process's libev
 * loop: POST to an https URI (RFC 8460 5.4), or submission to the site's own mail server. What
 * destinations are is written by strangers: only permitted addresses are ever connected to, no
 * redirect is followed, and the answer is not read (RPT-071 ... RPT-075).
 * Context: policy process. */
#ifndef STSGATE_POLICY_TLSRPT_SENDER_H
#define STSGATE_POLICY_TLSRPT_SENDER_H

#include "base/ip_addr.h"
#include "base/span.h"
#include "policy/resolver.h"

#define TLSRPT_SEND_TIMEOUT_MS 60000L /* RPT-075 */

struct ev_loop;
struct tlsrpt_sender;
struct tlsrpt_delivery;

struct tlsrpt_sender_config {
    struct ev_loop *loop;          /* borrowed, like all here, until tlsrpt_sender_free() */
    struct resolver *resolver;     /* of https hosts */
    const struct ip_net *networks; /* not public, yet permitted (RPT-074) */
    size_t network_count;
    const char *ca_file;
    bool verify; /* certificates of https hosts; else what is wrong is only logged (RPT-073) */
    const char *relay;    /* "ADDRESS:PORT" of the mail server; "": no mail */
    const char *hostname; /* for its EHLO */
    const char *from;     /* envelope sender */
    uint32_t mark;        /* SO_MARK, so that no rule of ours takes it over (PRX-003); 0: none */
};

enum tlsrpt_sent {
    TLSRPT_DELIVERED,
    TLSRPT_LATER,   /* may work another time */
    TLSRPT_REFUSED, /* will not */
};

/** reason: printable ASCII, "http-404", "smtp-451", "timeout" ...; "" when delivered. Borrowed. */
typedef void tlsrpt_sent_done(void *arg, enum tlsrpt_sent sent, const char *reason);

/** NULL: no memory. */
struct tlsrpt_sender *tlsrpt_sender_new(const struct tlsrpt_sender_config *config);
void tlsrpt_sender_free(struct tlsrpt_sender *sender); /* no callback comes any more */

/** POST gzip to uri. done is called exactly once, from the loop and never from here, unless it is
 * cancelled. uri: copied. gzip: borrowed until done. RES_NOMEM: done is never called. */
MUST_CHECK enum result tlsrpt_post(struct tlsrpt_sender *sender, const char *uri, struct span gzip,
                                   tlsrpt_sent_done *done, void *arg, struct tlsrpt_delivery **out);

/** Submit a mail to one recipient; the same otherwise. */
MUST_CHECK enum result tlsrpt_submit(struct tlsrpt_sender *sender, const char *to,
                                     struct span message, tlsrpt_sent_done *done, void *arg,
                                     struct tlsrpt_delivery **out);

void tlsrpt_delivery_cancel(struct tlsrpt_delivery *delivery);

#endif
