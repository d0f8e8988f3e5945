#include "proxy/command_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

static enum result
cannot(const char *what, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s: %s", what, strerror(errno));
    return RES_TEMPFAIL;
}

/* The connection was taken for a listener whose process is dead: its children, who inherited it,
 * may not have ended yet, or may be stopped. A queue that is full tells nothing. */
static bool
is_orphan(int fd)
{
    struct ucred maker = { 0 };

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &maker, &(socklen_t){ sizeof maker }) == 0 &&
           maker.pid > 0 && kill(maker.pid, 0) != 0 && errno == ESRCH;
}

static bool
is_answered(int fd, const struct sockaddr_un *addr)
{
    if (connect(fd, (const struct sockaddr *)addr, sizeof *addr) != 0)
        return errno == EAGAIN;
    return !is_orphan(fd);
}

/* RES_OK: the name is free now. */
static enum result
free_name(const struct sockaddr_un *addr, char *error, size_t error_size)
{
    struct stat st;
    bool answers;
    int fd;

    if (lstat(addr->sun_path, &st) != 0)
        return errno == ENOENT ? RES_OK : cannot("cannot be looked at", error, error_size);
    if (!S_ISSOCK(st.st_mode)) {
        snprintf(error, error_size, "is there, and is no socket");
        return RES_DENIED;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return cannot("no descriptor", error, error_size);
    answers = is_answered(fd, addr);
    close(fd);
    if (answers) {
        snprintf(error, error_size, "another gateway answers there");
        return RES_DENIED;
    }
    return unlink(addr->sun_path) == 0 ? RES_OK : cannot("cannot be replaced", error, error_size);
}

/* The last folder of path, as /run loses it with every boot. */
static void
make_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');

    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    if (*folder)
        (void)mkdir(folder, 0755); /* if it fails, so does bind() */
}

enum result
command_socket_open(const char *path, int *out_fd, char *error, size_t error_size)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    enum result res;
    mode_t before;
    int fd, rc;

    *out_fd = -1;
    if (strlen(path) >= sizeof addr.sun_path) {
        snprintf(error, error_size, "the path is longer than %zu octets", sizeof addr.sun_path - 1);
        return RES_TEMPFAIL;
    }
    memcpy(addr.sun_path, path, strlen(path) + 1);
    make_folder(path);
    res = free_name(&addr, error, error_size);
    if (res != RES_OK)
        return res;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return cannot("no descriptor", error, error_size);
    before = umask(0177);
    rc = bind(fd, (struct sockaddr *)&addr, sizeof addr);
    (void)umask(before);
    if (rc == 0 && listen(fd, BACKLOG) == 0) {
        *out_fd = fd;
        return RES_OK;
    }
    res = cannot("cannot be made", error, error_size);
    close(fd);
    return res;
}

void
command_socket_close(const char *path, int fd)
{
    if (fd < 0)
        return;
    (void)unlink(path);
    close(fd);
}
