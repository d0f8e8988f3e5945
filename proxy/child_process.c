#include "proxy/child_process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"

#define EXEC_FAILED 127 /* as a shell would say it */

static bool
find_in(const char *dir, int dir_len, const char *sub, const char *name, char *out, size_t out_size)
{
    int n = snprintf(out, out_size, "%.*s%s%s", dir_len, dir, sub, name);

    return n > 0 && (size_t)n < out_size && access(out, X_OK) == 0;
}

enum result
child_process_find(const char *name, char *out, size_t out_size)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self);

    if (len <= 0 || (size_t)len == sizeof self)
        return RES_DENIED;
    while (len > 0 && self[len - 1] != '/')
        len--;
    if (find_in(self, (int)len, "", name, out, out_size) ||
        find_in(self, (int)len, STSGATE_LIBEXECDIR "/", name, out, out_size))
        return RES_OK;
    return RES_DENIED;
}

enum result
child_process_seal(struct span text, int *out_fd)
{
    int fd = memfd_create("stsgate-config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size_t done = 0;

    *out_fd = -1;
    if (fd < 0)
        return RES_LIMIT;
    while (done < text.len) {
        ssize_t n = write(fd, text.ptr + done, text.len - done);

        if (n <= 0)
            goto failed;
        done += (size_t)n;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) != 0)
        goto failed;
    *out_fd = fd;
    return RES_OK;
failed:
    close(fd);
    return RES_LIMIT;
}

/* In the child. Out of the way first: an fds[i] may be where another one has to go. */
static bool
arrange(const int *fds, size_t fd_count)
{
    int above[CHILD_FDS_MAX];
    int next = CHILD_FIRST_FD + (int)fd_count;

    for (size_t i = 0; i < fd_count; i++) {
        above[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, next);
        if (above[i] < 0)
            return false;
    }
    for (size_t i = 0; i < fd_count; i++)
        if (dup2(above[i], CHILD_FIRST_FD + (int)i) < 0)
            return false;
    return close_range((unsigned)next, ~0u, 0) == 0;
}

/* In the child. A handler of the parent's must not run here: it would write to a pipe that is still
 * shared with the parent's event loop. */
static bool
reset_signals(void)
{
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++)
        (void)signal(sig, sig == SIGINT || sig == SIGHUP ? SIG_IGN : SIG_DFL); /* some refuse */
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL) == 0;
}

static void __attribute__((noreturn))
become(const char *path, char *const argv[], const int *fds, size_t fd_count, pid_t parent)
{
    /* The parent may have died before prctl(): then nobody would send the signal. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
        _exit(EXEC_FAILED);
    if (reset_signals() && arrange(fds, fd_count))
        execv(path, argv);
    log_error("event=exec-failed path=%s reason=\"%s\"", path, strerror(errno));
    _exit(EXEC_FAILED);
}

enum result
child_process_start(const char *path, char *const argv[], const int *fds, size_t fd_count,
                    pid_t *out_pid)
{
    pid_t parent = getpid(), pid;
    sigset_t all, before;

    assert(fd_count <= CHILD_FDS_MAX);
    *out_pid = -1;
    sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, &before) != 0)
        return RES_LIMIT;
    pid = fork();
    if (pid == 0)
        become(path, argv, fds, fd_count, parent);
    (void)sigprocmask(SIG_SETMASK, &before, NULL); /* cannot fail: the set is one it gave */
    *out_pid = pid;
    return pid > 0 ? RES_OK : RES_LIMIT;
}
