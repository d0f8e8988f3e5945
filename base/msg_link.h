/* base/msg_link.h: whole messages over one end of a SOCK_SEQPACKET pair between two of our
 * processes. What the socket does not take at once waits in a bounded queue. Context: any process,
 * one thread at a time per object. Knows no event loop: the owner watches fd. */
#ifndef STSGATE_BASE_MSG_LINK_H
#define STSGATE_BASE_MSG_LINK_H

#include "base/result.h"
#include "base/span.h"

#define MSG_LINK_MAX_BYTES (128u * 1024u) /* one message: a requirement with a full policy fits */
#define MSG_LINK_QUEUE_BYTES                                                                       \
    (64u * 1024u * 1024u) /* of messages that wait: the answers to all that a worker may have      \
                           * asked (POLICY_OPEN_MAX), at their usual size, with room to spare */

struct msg_link; /* owns its descriptor */

/** fd: takes it, also on failure; made non-blocking, with room for the largest message whatever the
 * system's default is. RES_NOMEM, RES_DENIED (fcntl failed). */
MUST_CHECK enum result msg_link_new(int fd, struct msg_link **out);

/** Closes the descriptor; the owner has stopped watching it. NULL is allowed. */
void msg_link_free(struct msg_link *link);

int msg_link_fd(const struct msg_link *link);

/** Send or queue a copy of 1 .. MSG_LINK_MAX_BYTES bytes (an empty message would read as an end).
 * RES_LIMIT: the queue is full; RES_NOMEM; RES_TEMPFAIL: the other end is gone. */
MUST_CHECK enum result msg_link_send(struct msg_link *link, struct span message);

/** Messages that wait: watch for writability while there are any. */
size_t msg_link_backlog(const struct msg_link *link);

/** Send what waits. RES_OK: none left; RES_AGAIN: on the next writability; RES_TEMPFAIL: gone. */
MUST_CHECK enum result msg_link_flush(struct msg_link *link);

/** The next message, borrowed from the link until the next call.
 * RES_AGAIN: none now. RES_TEMPFAIL: the other end is gone. RES_LIMIT: one longer than
 * MSG_LINK_MAX_BYTES was dropped: no message of ours. */
MUST_CHECK enum result msg_link_recv(struct msg_link *link, struct span *out);

#endif
