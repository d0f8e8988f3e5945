/* proxy/policy_client.h: a worker's side of the link to the policy process, with the cache of
 * requirements, which the policy process empties when something in it is out of date. Context:
 * worker, on its event loop. */
#ifndef STSGATE_PROXY_POLICY_CLIENT_H
#define STSGATE_PROXY_POLICY_CLIENT_H

#include "base/clock.h"
#include "base/ip_addr.h"
#include "base/requirement.h"
#include "base/tls_report.h"
#include "policy/policy_msg.h"

#define REQUIREMENT_CACHE_MAX 20000u /* requirements of one worker; the least recently used go */

struct ev_loop;
struct policy_client;
struct policy_question;

/* What a requirement depends on: what holds for one client or destination never serves another
 * (PRX-042), nor TLSA records of one port another (DANE-018). */
struct policy_subject {
    const char *domain;         /* policy domain, normalised; borrowed for the call */
    struct ip_addr destination; /* original destination */
    uint16_t port;
    struct ip_addr client;
    bool report_to; /* the requirement says where the domain wants its TLS reports (RPT-080) */
};

/** req: a reference the callee takes; NULL: not to be had now (REP-065). */
typedef void policy_answered(void *arg, struct requirement *req);

/** loop: borrowed until policy_client_free(). NULL: no memory. */
struct policy_client *policy_client_new(struct ev_loop *loop, const struct clock *clock);
void policy_client_free(struct policy_client *client); /* no callback comes any more */

/** A new link: takes fd. Questions open on the old one are answered with NULL. What is remembered
 * goes: news that were on the old link, or for a mode set since, might be missed. */
void policy_client_link(struct policy_client *client, int fd);

/** The requirement from the cache, a reference the caller takes; NULL: not there, or too old. */
struct requirement *policy_client_cached(struct policy_client *client,
                                         const struct policy_subject *subject);

/** Ask. recheck: past the policy process's own caches (STS-103). answered is called exactly once
 * from the loop, never before this has returned, unless the question is forgotten. NULL: it cannot
 * be asked (no link, no memory); answered is not called. */
struct policy_question *policy_client_ask(struct policy_client *client,
                                          const struct policy_subject *subject, bool recheck,
                                          policy_answered *answered, void *arg);

/** Tell the other workers what a destination has listed. Lost where it cannot be sent. */
void policy_client_tell_list(struct policy_client *client, const struct policy_list *list);

/** What others have told; each borrowed for the call. */
typedef void policy_list_heard(void *arg, const struct policy_list *list);
void policy_client_on_list(struct policy_client *client, policy_list_heard *heard, void *arg);

/** Tell what TLSRPT is to count of a session, by proxy/report_queue. Never waits, and loses what
 * there is no room for: mail comes first. */
void policy_client_report(struct policy_client *client, const struct tls_report *report);

/** This process ends soon: reports go at once from here on. Before, those of 50 ms go together. */
void policy_client_hurry(struct policy_client *client);

/** Hand messages that answer no question (POLICY_MSG_OTHERS and above) to take, borrowed for the
 * call; anything but RES_OK of it breaks the link. */
typedef enum result policy_client_take(void *arg, unsigned type, struct span message);
void policy_client_on_other(struct policy_client *client, policy_client_take *take, void *arg);

/** Send such a message. RES_AGAIN: others wait to be sent, this one is not worth it. RES_TEMPFAIL:
 * there is no link. RES_LIMIT, RES_NOMEM. */
MUST_CHECK enum result policy_client_send(struct policy_client *client, struct span message);

/** A number that changes with everything that the cache has to forget. */
unsigned policy_client_epoch(const struct policy_client *client);

/** The callback will not come; the answer still goes into the cache. */
void policy_question_forget(struct policy_question *question);

#endif
