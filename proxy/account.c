#include "proxy/account.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum result
account_find(const char *name, struct account *out, char *error, size_t error_size)
{
    const struct passwd *entry = getpwnam(name);

    *out = (struct account){ 0 };
    if (!entry) {
        snprintf(error, error_size,
                 "user: this machine has no user %s: make it (adduser --system --group --home "
                 "/var/lib/stsgate --no-create-home %s), or name another",
                 name, name);
        return RES_SYNTAX;
    }
    if (entry->pw_uid == 0) {
        snprintf(error, error_size,
                 "user: %s is root, which is what is to be given up; \"\" stays root, for tests",
                 name);
        return RES_SYNTAX;
    }
    *out = (struct account){ .name = name, .uid = entry->pw_uid, .gid = entry->pw_gid };
    return RES_OK;
}

/* Nothing is made: a folder that may be written stands for the file that is not there yet. */
int
account_try_own_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];
    struct stat st;
    bool is_file;

    if (fd >= 0) {
        is_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
        close(fd);
        return is_file ? 0 : EINVAL;
    }
    if (errno != ENOENT || !slash)
        return errno == ENXIO || errno == EISDIR ? EINVAL : errno;
    snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return access(folder, W_OK | X_OK) == 0 ? 0 : errno;
}

/* In the child, which does nothing else. Status of an exit: an errno fits. */
static _Noreturn void
try_as(const struct account *account, const char *path)
{
    if (initgroups(account->name, account->gid) != 0 ||
        setresgid(account->gid, account->gid, account->gid) != 0 ||
        setresuid(account->uid, account->uid, account->uid) != 0)
        _exit(errno);
    _exit(account_try_own_file(path));
}

int
account_try_file(const struct account *account, const char *path)
{
    pid_t pid = fork(), ended;
    int status;

    if (pid < 0)
        return errno;
    if (pid == 0)
        try_as(account, path);
    do
        ended = waitpid(pid, &status, 0);
    while (ended < 0 && errno == EINTR);
    if (ended < 0)
        return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}
