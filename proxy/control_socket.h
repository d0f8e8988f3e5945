/* proxy/control_socket.h: control messages with their descriptors over a SEQPACKET socket.
 * Context: supervisor, worker, policy process. Never blocks when the socket does not. */
#ifndef STSGATE_PROXY_CONTROL_SOCKET_H
#define STSGATE_PROXY_CONTROL_SOCKET_H

#include "proxy/control_msg.h"

/** A connected pair, non-blocking and closed on exec. RES_LIMIT: no descriptors or memory left. */
MUST_CHECK enum result control_socket_pair(int out_fds[2]);

/** Send one message. pass_fd: borrowed, sent along; -1 for none, as control_msg_descriptors() says.
 * RES_AGAIN: the queue is full. RES_DENIED: the other side is gone. */
MUST_CHECK enum result control_socket_send(int fd, const struct control_message *msg, int pass_fd);

/** Receive one message.
 *
 * out_fd  on RES_OK with a message that carries a descriptor: that, closed on exec, the caller's to
 *         close; otherwise -1. Descriptors that do not belong to the message are closed.
 *
 * RES_AGAIN   nothing there
 * RES_SYNTAX  no valid message, or the wrong number of descriptors with it; it has been taken
 * RES_DENIED  the other side is gone */
MUST_CHECK enum result control_socket_recv(int fd, struct control_message *out, int *out_fd);

#endif
