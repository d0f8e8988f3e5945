/* proxy/sandbox.h: what a child of the supervisor gives up, for good, before the first octet of a
 * stranger reaches it (TC-OPS-09). Context: the child, in main(), without threads.
 *
 *     open what only the starting user may read (a private key)
 *     sandbox_become(config->user, ...)
 *     open what is to belong to the user (records, store)
 *     sandbox_close(SANDBOX_WORKER, config)
 *
 *                 worker                                policy process
 * capabilities    CAP_NET_RAW for marks and the         CAP_NET_RAW for the mark of what goes to
 *                 client's address, where used          tlsrpt_relay, else none
 * files           none; what is open stays open         the folders of the stores and of reports;
 *                                                       CA certificates, trust anchor and root
 *                                                       hints to read
 * sockets         TCP, UNIX streams, routing table      TCP, UDP, UNIX streams, routing table
 * The status process has no capability, no file, and makes no socket: it accepts, and that is all.
 *
 * none of them    programs, processes, signals to others, tracing, code made at run time, core
 * dumps
 *
 * Sanitizers need what is denied here: they open, trace and execute. A build with them, and the
 * worker that the bench counts under valgrind (SANDBOX_LOOSE), has the filter of system calls log
 * what it would deny, no fence around files, and dumps. */
#ifndef STSGATE_PROXY_SANDBOX_H
#define STSGATE_PROXY_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/result.h"

#ifdef STSGATE_SANITIZED
#define SANDBOX_LOOSE true
#else
#define SANDBOX_LOOSE false
#endif

struct config;

enum sandbox_kind { SANDBOX_WORKER, SANDBOX_POLICY, SANDBOX_STATUS };

/** Become the user, with its groups; capabilities are kept until sandbox_close(). Nothing happens
 * when user is "", or who starts is not root.
 * error: on anything but RES_OK what is wrong, NUL-terminated.
 * RES_SYNTAX: no such user. RES_DENIED: the kernel does not let go of root. */
MUST_CHECK enum result sandbox_become(const char *user, char *error, size_t error_size);

/** Give up everything else, and say in one line of the log what is left. What this kernel does not
 * have is in that line, at a level to be seen.
 * config: NULL in the status process, which has none.
 * RES_DENIED: capabilities cannot be dropped: the process must not go on. */
MUST_CHECK enum result sandbox_close(enum sandbox_kind kind, const struct config *config);

/** The supervisor's share: it and what it starts gain no privilege by executing a file, and none of
 * them leaves its memory in a file. */
void sandbox_supervisor(void);

#endif
