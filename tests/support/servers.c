#include "tests/support/servers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORT_TRIES 100u  /* for a port that is free for both protocols */
#define START_TRIES 500u /* of START_WAIT_MS: ten seconds */
#define START_WAIT_MS 20

#define SEARCH_PATH "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"

static void
give_up(const char *what, const char *which)
{
    fprintf(stderr, "test server: %s %s: %s\n", what, which, strerror(errno));
    exit(1);
}

bool
servers_have(const char *program)
{
    char paths[] = SEARCH_PATH, path[256], *rest = paths, *dir;

    while ((dir = strsep(&rest, ":"))) {
        snprintf(path, sizeof path, "%s/%s", dir, program);
        if (access(path, X_OK) == 0)
            return true;
    }
    fprintf(stderr, "skipped: there is no program %s\n", program);
    return false;
}

void
servers_dir_new(char out[SERVERS_DIR_MAX])
{
    snprintf(out, SERVERS_DIR_MAX, "/tmp/stsgate-test-XXXXXX");
    if (!mkdtemp(out) || chmod(out, 0755) != 0)
        give_up("mkdtemp", out);
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void
servers_dir_remove(const char *dir)
{
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void
servers_write(const char *dir, const char *name, const char *fmt, ...)
{
    char path[512];
    va_list args;
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    file = fopen(path, "we");
    if (!file)
        give_up("open", path);
    va_start(args, fmt);
    vfprintf(file, fmt, args);
    va_end(args);
    if (fclose(file) != 0)
        give_up("write", path);
}

/* In the child: never returns. */
static void
run_child(const char *dir, const char *const argv[])
{
    const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    char log[128];
    int fd;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(log, sizeof log, "%s.log", name);
    if (chdir(dir) != 0)
        _exit(126);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    setenv("PATH", SEARCH_PATH, 1);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
}

pid_t
servers_start(const char *dir, const char *const argv[])
{
    pid_t child = fork();

    if (child < 0)
        give_up("fork", argv[0]);
    if (child == 0)
        run_child(dir, argv);
    return child;
}

void
servers_script(const char *dir, const char *script)
{
    const char *const argv[] = { "sh", "-eu", "-c", script, NULL };
    pid_t child = servers_start(dir, argv);
    int status = 0;

    if (waitpid(child, &status, 0) != child)
        give_up("wait", "sh");
    if (status != 0) {
        fprintf(stderr, "test server: script failed, see %s/sh.log\n", dir);
        exit(1);
    }
}

static struct sockaddr_in
loopback(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* Bind a socket of the type; *port 0 takes any and is set. -1: the port is taken. */
static int
bind_port(int type, uint16_t *port)
{
    struct sockaddr_in addr = loopback(*port);
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    if (fd < 0)
        give_up("socket", "");
    if (bind(fd, (const struct sockaddr *)&addr, sizeof addr) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(addr.sin_port);
    return fd;
}

uint16_t
servers_free_port(void)
{
    for (unsigned i = 0; i < PORT_TRIES; i++) {
        uint16_t port = 0;
        int tcp = bind_port(SOCK_STREAM, &port), udp = bind_port(SOCK_DGRAM, &port);
        bool is_free = tcp >= 0 && udp >= 0;

        if (tcp >= 0)
            close(tcp);
        if (udp >= 0)
            close(udp);
        if (is_free)
            return port;
    }
    give_up("free port", "none");
    return 0;
}

static bool
can_connect(uint16_t port)
{
    struct sockaddr_in addr = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_connected;

    if (fd < 0)
        give_up("socket", "");
    is_connected = connect(fd, (const struct sockaddr *)&addr, sizeof addr) == 0;
    close(fd);
    return is_connected;
}

void
servers_wait_port(uint16_t port, pid_t child)
{
    for (unsigned i = 0; i < START_TRIES; i++) {
        if (waitpid(child, NULL, WNOHANG) != 0)
            break;
        if (can_connect(port))
            return;
        poll(NULL, 0, START_WAIT_MS);
    }
    fprintf(stderr, "test server: nothing listens on port %u\n", port);
    exit(1);
}

void
servers_stop(pid_t child)
{
    if (child <= 0)
        return;
    kill(child, SIGTERM);
    for (unsigned i = 0; i < START_TRIES; i++) {
        if (waitpid(child, NULL, WNOHANG) != 0)
            return;
        poll(NULL, 0, START_WAIT_MS);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}
