#include "proxy/file_follow.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_ANYWAY_MS 1000 /* network file systems tell nothing of what others write */

struct file_follow {
    const char *path;
    int watch; /* inotify on the folder */
    int fd;
    struct stat st; /* of fd, when it was opened */
};

struct file_follow *
file_follow_new(const char *path)
{
    struct file_follow *follow = calloc(1, sizeof *follow);
    char *copy = strdup(path);

    if (!follow || !copy)
        goto fail;
    follow->path = path;
    follow->fd = -1;
    follow->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (follow->watch < 0)
        goto fail;
    if (inotify_add_watch(follow->watch, dirname(copy), IN_CREATE | IN_MOVED_TO | IN_MODIFY) < 0) {
        int saved = errno;

        close(follow->watch);
        errno = saved;
        goto fail;
    }
    free(copy);
    return follow;
fail:
    free(copy);
    free(follow);
    return NULL;
}

void
file_follow_free(struct file_follow *follow)
{
    if (!follow)
        return;
    if (follow->fd >= 0)
        close(follow->fd);
    close(follow->watch);
    free(follow);
}

/* Until something happens in the folder, or a while has passed. */
static void
wait_for_change(struct file_follow *follow)
{
    struct pollfd p = { .fd = follow->watch, .events = POLLIN };
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

    (void)poll(&p, 1, LOOK_ANYWAY_MS);
    while (read(follow->watch, events, sizeof events) > 0)
        ; /* what it was is looked up anyway */
}

int
file_follow_open(struct file_follow *follow)
{
    if (follow->fd >= 0)
        close(follow->fd);
    for (;;) {
        follow->fd = open(follow->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (follow->fd >= 0 || errno != ENOENT)
            break;
        wait_for_change(follow);
    }
    if (follow->fd >= 0 && fstat(follow->fd, &follow->st) != 0)
        return -1;
    return follow->fd;
}

static bool
has_more(const struct file_follow *follow)
{
    struct stat now;

    return fstat(follow->fd, &now) == 0 && now.st_size > lseek(follow->fd, 0, SEEK_CUR);
}

static bool
is_replaced(const struct file_follow *follow)
{
    struct stat now;

    return stat(follow->path, &now) == 0 &&
           (now.st_dev != follow->st.st_dev || now.st_ino != follow->st.st_ino);
}

bool
file_follow_wait(struct file_follow *follow)
{
    for (;;) {
        bool replaced = is_replaced(follow); /* before the last look: its writer may write still */

        if (has_more(follow))
            return true;
        if (replaced)
            return false;
        wait_for_change(follow);
    }
}
