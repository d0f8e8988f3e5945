#include "proxy/file_fence.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Rights that later kernels know, by the version of landlock that brought them. */
#define V1_RIGHTS ((1ull << 13) - 1)
#define V2_REFER (1ull << 13)
#define V3_TRUNCATE (1ull << 14)
#define V5_IOCTL_DEV (1ull << 15)

#define READ (uint64_t) LANDLOCK_ACCESS_FS_READ_FILE
#define WRITE                                                                                      \
    (READ | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_WRITE_FILE |                          \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | V3_TRUNCATE)

static uint64_t
rights_of_version(long version)
{
    return V1_RIGHTS | (version >= 2 ? V2_REFER : 0) | (version >= 3 ? V3_TRUNCATE : 0) |
           (version >= 5 ? V5_IOCTL_DEV : 0);
}

/* A folder that is not there cannot be granted: whoever needs it says so when it looks for it. */
static void
grant_folder(int fence, const char *file, uint64_t rights)
{
    char folder[PATH_MAX];
    struct landlock_path_beneath_attr beneath = { .allowed_access = rights };

    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(file, '/') - file), file);
    beneath.parent_fd = open(*folder ? folder : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (beneath.parent_fd < 0)
        return;
    (void)syscall(SYS_landlock_add_rule, fence, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
    close(beneath.parent_fd);
}

/* A link is granted, and what it points to. */
static void
grant(int fence, const char *file, uint64_t rights)
{
    char target[PATH_MAX];

    if (!*file)
        return;
    grant_folder(fence, file, rights);
    if (realpath(file, target))
        grant_folder(fence, target, rights);
}

enum result
file_fence_close(const struct file_fence *fence)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct landlock_ruleset_attr all = { .handled_access_fs = rights_of_version(version) };
    int fd = version < 1
                 ? -1
                 : (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all.handled_access_fs, 0);
    bool closed;

    if (fd < 0)
        return RES_TEMPFAIL;
    for (size_t i = 0; i < fence->read_count; i++)
        grant(fd, fence->read[i], READ);
    for (size_t i = 0; i < fence->write_count; i++)
        grant(fd, fence->write[i], WRITE & all.handled_access_fs);
    closed = syscall(SYS_landlock_restrict_self, fd, 0) == 0;
    close(fd);
    return closed ? RES_OK : RES_TEMPFAIL;
}
