/* policy/policy_server.h: answers the workers: one link each. Context: policy process's main loop.
 */
#ifndef STSGATE_POLICY_POLICY_SERVER_H
#define STSGATE_POLICY_POLICY_SERVER_H

#include "policy/lookup.h"
#include "policy/policy_msg.h"

#define POLICY_OPEN_MAX 20000u /* questions of one worker without answer: then it is not read */

struct ev_loop;
struct policy_server;

/** loop and config: borrowed until policy_server_free(). NULL: no memory. */
struct policy_server *policy_server_new(struct ev_loop *loop, const struct lookup_config *config);

/** Read now what the workers have sent before their end, thousands of messages at most. */
void policy_server_read_all(struct policy_server *server);

/** What workers tell of their sessions, for TLSRPT; until this is called it is passed over. */
typedef void policy_server_report(void *arg, const struct policy_report *report);
void policy_server_on_report(struct policy_server *server, policy_server_report *each, void *arg);

/** Tell the worker whose source it is that its reports up to number are in the store. */
void policy_server_counted(struct policy_server *server, uint64_t source, uint64_t number);

/** Hand messages that are no questions (POLICY_MSG_OTHERS and above) to take, borrowed for the
 * call; anything but RES_OK of it closes the link. Before the first link. */
typedef enum result policy_server_take(void *arg, unsigned worker, unsigned type,
                                       struct span message);
void policy_server_on_other(struct policy_server *server, policy_server_take *take, void *arg);

/** Send such a message to a worker. RES_TEMPFAIL: it is not linked, or the link breaks. RES_LIMIT,
 * RES_NOMEM: not sent. */
MUST_CHECK enum result policy_server_send(struct policy_server *server, unsigned worker,
                                          struct span message);

/** A new link to a worker: takes fd. The one it had before is closed and its questions forgotten.
 */
void policy_server_link(struct policy_server *server, unsigned worker, int fd);

/** What applies to domain, or to all domains for "", has changed: the workers' caches are told.
 * server may be NULL: then nobody is linked yet. */
void policy_server_forget(struct policy_server *server, const char *domain);

void policy_server_free(struct policy_server *server); /* NULL is allowed */

#endif
