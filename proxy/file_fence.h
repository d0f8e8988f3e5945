/* proxy/file_fence.h: the folders that a process may still reach (landlock). Context: a child,
 * once, with no_new_privs set. What is open already stays open. */
#ifndef STSGATE_PROXY_FILE_FENCE_H
#define STSGATE_PROXY_FILE_FENCE_H

#include <stddef.h>

#include "base/result.h"

#define FILE_FENCE_FILES_MAX 8u

/* Absolute paths of files, borrowed; "" is passed over. The folder that holds such a file is what
 * is granted, so that the file may be replaced by another one. */
struct file_fence {
    const char *read[FILE_FENCE_FILES_MAX];
    size_t read_count;
    const char *write[FILE_FENCE_FILES_MAX]; /* and read, made and removed */
    size_t write_count;
};

/** RES_TEMPFAIL: the kernel has no landlock, and nothing was fenced off. */
MUST_CHECK enum result file_fence_close(const struct file_fence *fence);

#endif
