/* proxy/command_socket.h: the listening end of the control socket. Context: supervisor. */
#ifndef STSGATE_PROXY_COMMAND_SOCKET_H
#define STSGATE_PROXY_COMMAND_SOCKET_H

#include "base/result.h"

#include <stdbool.h>
#include <stddef.h>

/** Listen at path with mode 0600. A socket that a gateway left there is replaced if nobody answers
 * on it, or only children of a supervisor that is dead; the folder is made if only it itself is
 * missing. error: on anything but RES_OK what is wrong, NUL-terminated. RES_DENIED: another gateway
 * answers there, or it is no socket; RES_TEMPFAIL: it cannot be made.
 */
MUST_CHECK enum result command_socket_open(const char *path, int *out_fd, char *error,
                                           size_t error_size);

/** Close it and remove its name. fd: -1 is allowed. */
void command_socket_close(const char *path, int fd);

#endif
