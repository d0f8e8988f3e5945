/* proxy/probe.h: what the gateway would do with mail for a domain at one address of its MX hosts:
 * the very session of a mail (proxy/session.h), with a client made up here, as far as its first
 * recipient is judged. Nothing of a mail is sent: no MAIL, no RCPT. Context: `stsgate check`, on
 * its event loop. */
#ifndef STSGATE_PROXY_PROBE_H
#define STSGATE_PROXY_PROBE_H

#include "proxy/mx_side.h"

#define PROBE_REPLY_MAX 512u

/* What all probes of a check share. Borrowed by each until it is done. */
struct probe_shared {
    struct mx_side_world world;
    const struct config *config;
};

enum probe_end {
    PROBE_JUDGED,
    PROBE_UNREACHABLE, /* no connection */
    PROBE_FORBIDDEN,   /* the gateway dials no such address */
    PROBE_UNJUDGED,    /* the MX ended it before: `reply` is what the client would read */
};

struct probe_result {
    struct ip_addr destination;
    uint16_t port;
    enum probe_end end;
    const char *forbidden; /* PROBE_FORBIDDEN: as intercept_refuses(); else "" */
    unsigned elapsed_ms;
    char reply[PROBE_REPLY_MAX]; /* to the client, without last CRLF; "" where mail would pass,
                                  * whose replies are the MX's */
    /* PROBE_JUDGED: */
    struct requirement *req; /* a reference, like obs: the verdict borrows from both; NULL: what the
                              * domain demands was not to be had (REP-065) */
    struct observation *obs;
    struct dane_facts dane;
    struct verdict verdict;
    char reply_id[16];    /* "REP-013"; "" */
    struct buffer record; /* the recipient's record as docs/records.md has it, but for its outcome,
                           * which is "allowed" where mail would pass */
};

/** result: the callee takes it, by probe_result_clear() or otherwise. */
typedef void probe_done(void *arg, struct probe_result *result);

/** Try one address. domain: normalised. done is called exactly once from the loop, never before
 * this has returned. RES_NOMEM: it is not called. */
MUST_CHECK enum result probe_start(const struct probe_shared *shared, const char *domain,
                                   const struct ip_addr *destination, uint16_t port,
                                   probe_done *done, void *arg);

/** "judged", "unreachable", "forbidden", "unjudged". Static storage. */
const char *probe_end_name(enum probe_end end);

void probe_result_clear(struct probe_result *result);

#endif
