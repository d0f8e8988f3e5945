/* proxy/child_process.h: starting another program of ours with exactly the descriptors it is to
 * have. Context: supervisor. */
#ifndef STSGATE_PROXY_CHILD_PROCESS_H
#define STSGATE_PROXY_CHILD_PROCESS_H

#include "base/result.h"
#include "base/span.h"

#include <stddef.h>
#include <sys/types.h>

#define CHILD_FIRST_FD 3  /* behind standard input, output and error */
#define CHILD_FDS_MAX 32u /* configuration, control and a worker's listeners are 18 at most */

/** Find an executable beside our own, or where it is installed (STSGATE_LIBEXECDIR, which begins at
 * the folder of our own). out: PATH_MAX bytes. RES_DENIED: in neither place. */
MUST_CHECK enum result child_process_find(const char *name, char *out, size_t out_size);

/** Copy text into a memory file that nobody can change any more, closed on exec.
 * out_fd: on RES_OK the caller's to close; otherwise -1. RES_LIMIT: no memory or descriptors. */
MUST_CHECK enum result child_process_seal(struct span text, int *out_fd);

/** Start path with argv, whose last element is NULL.
 *
 * fds      borrowed; fds[i] becomes descriptor CHILD_FIRST_FD + i of the child; every other one but
 *          0, 1 and 2 is closed there
 * out_pid  on RES_OK the child's process id
 *
 * The child has the environment of the caller, no signal blocked, all signals at their defaults but
 * SIGINT and SIGHUP, which it ignores: a terminal sends them to every process, and they are the
 * supervisor's to act on. SIGTERM reaches it when its parent dies, however that happens.
 * A program that cannot be executed ends with status 127 after a line in the log.
 * RES_LIMIT: no process, memory or descriptor is left. */
MUST_CHECK enum result child_process_start(const char *path, char *const argv[], const int *fds,
                                           size_t fd_count, pid_t *out_pid);

#endif
