/* The program `stsgate` itself, between fake children that this test commands (fake_child.c). Every
 * wait is for an event; nothing sleeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/span.h"
#include "proxy/supervisor.h"

#define WAIT_MS 60000 /* for what comes at once where nothing else runs */
#define CHILDREN_MAX 32
#define PROGRAM SUPERVISOR_DIR "/stsgate"

struct fake {
    char name[16];
    char fds[128];
    int fd; /* the test's end of its command socket; -1 when unused */
};

struct fixture {
    char dir[64];
    char conf[96], socket_path[96], notify_path[96];
    char control_path[96]; /* "" for no control socket */
    int socket_fd;         /* where the fakes connect */
    uint16_t port;
    pid_t pid;     /* of stsgate; -1 when it has been waited for */
    int log_fd;    /* its standard error */
    int notify_fd; /* where the service manager would listen; -1 for no such */
    int given_fd;  /* a listening socket that it would hand over; -1 for none */
    char log[65536];
    size_t log_len;
    struct fake fakes[CHILDREN_MAX];
    size_t count;
};

/* ---- the machinery ---- */

static bool
readable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, WAIT_MS) == 1;
}

/* Wait until the log says so. Reads from the log only as much as is there. */
static void
expect_log(struct fixture *f, const char *text)
{
    while (!strstr(f->log, text)) {
        ssize_t n;

        if (!readable(f->log_fd))
            fail_msg("\"%s\" did not come; the log:\n%s", text, f->log);
        n = read(f->log_fd, f->log + f->log_len, sizeof f->log - 1 - f->log_len);
        if (n <= 0)
            fail_msg("\"%s\" is missing; the log:\n%s", text, f->log);
        f->log_len += (size_t)n;
        f->log[f->log_len] = '\0';
    }
}

static void
forget_log(struct fixture *f)
{
    f->log_len = 0;
    f->log[0] = '\0';
}

/* The next report of a child, which must be as expected; "" for its end. */
static void
expect(struct fixture *f, const struct fake *fake, const char *want)
{
    char got[256] = "";
    ssize_t n;

    if (!readable(fake->fd))
        fail_msg("%s: \"%s\" did not come; the log:\n%s", fake->name, want, f->log);
    n = recv(fake->fd, got, sizeof got - 1, 0);
    got[n > 0 ? n : 0] = '\0';
    assert_string_equal(got, want);
}

static void
tell(const struct fake *fake, const char *command)
{
    assert_int_equal(send(fake->fd, command, strlen(command), MSG_NOSIGNAL),
                     (ssize_t)strlen(command));
}

/* The next child that starts. */
static struct fake *
meet(struct fixture *f)
{
    struct fake *fake = &f->fakes[f->count++];
    char hello[256] = "";

    assert_true(f->count < CHILDREN_MAX);
    if (!readable(f->socket_fd))
        fail_msg("no child came; the log:\n%s", f->log);
    fake->fd = accept4(f->socket_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fake->fd >= 0);
    assert_true(readable(fake->fd));
    assert_true(recv(fake->fd, hello, sizeof hello - 1, 0) > 0);
    assert_int_equal(sscanf(hello, "hello %15s fds=%127s", fake->name, fake->fds), 2);
    return fake;
}

static struct fake *
meet_named(struct fixture *f, const char *name)
{
    struct fake *fake = meet(f);

    assert_string_equal(fake->name, name);
    return fake;
}

static void
write_conf(struct fixture *f, const char *more)
{
    FILE *file = fopen(f->conf, "w");

    assert_non_null(file);
    fprintf(file,
            "hostname = gw.test\nlisten_redirect = {\"127.0.0.1:%u\", \"[::1]:%u\"}\n%s"
            "record_file = \"\"\nstore_file = \"\"\ntlsrpt_store_file = \"\"\n"
            "control_socket = \"%s\"\nuser = \"\"\nstatus_listen = \"\"\n",
            f->port, f->port, more, f->control_path);
    fclose(file);
}

/* In the child: what systemd puts into the environment. */
static void
be_service_manager(const struct fixture *f)
{
    char pid[16];

    if (f->notify_fd >= 0) {
        setenv("NOTIFY_SOCKET", f->notify_path, 1);
        setenv("WATCHDOG_USEC", "300000", 1);
    }
    if (f->given_fd >= 0) {
        snprintf(pid, sizeof pid, "%d", (int)getpid());
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", "1", 1);
        dup2(f->given_fd, 3);
    }
}

static void
start(struct fixture *f, char *const argv[])
{
    int log_pipe[2];

    assert_int_equal(pipe2(log_pipe, O_CLOEXEC), 0);
    assert_int_equal(setenv("FAKE_CHILD_SOCKET", f->socket_path, 1), 0);
    f->pid = fork();
    if (f->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(log_pipe[1], STDERR_FILENO);
        be_service_manager(f);
        execv(PROGRAM, argv);
        _exit(126);
    }
    close(log_pipe[1]);
    f->log_fd = log_pipe[0];
}

static void
start_gateway(struct fixture *f, const char *more)
{
    write_conf(f, more);
    start(f, (char *[]){ "stsgate", "run", "-c", f->conf, NULL });
}

/* The exit status, -1 for death by a signal; the rest of the log is in f->log. */
static int
finish(struct fixture *f)
{
    int status;
    ssize_t n = 1;

    while (n > 0 && readable(f->log_fd)) {
        n = read(f->log_fd, f->log + f->log_len, sizeof f->log - 1 - f->log_len);
        f->log_len += n > 0 ? (size_t)n : 0;
        f->log[f->log_len] = '\0';
    }
    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    f->pid = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* As finish(), while a child still has the log open. */
static int
finish_but_for_children(struct fixture *f)
{
    int status;

    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    f->pid = -1;
    close(f->log_fd);
    forget_log(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* 0, or -1 where nobody listens. */
static int
connect_operator(const struct fixture *f)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

    memcpy(sa.sun_path, f->control_path, strlen(f->control_path));
    rc = connect(fd, (struct sockaddr *)&sa, sizeof sa);
    close(fd);
    return rc;
}

static bool
is_readable_now(int fd)
{
    return poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) == 1;
}

static int
connect_client(const struct fixture *f)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(f->port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
        return fd;
    close(fd);
    return -1;
}

/* A port that was free just now. */
static uint16_t
free_port(void)
{
    struct sockaddr_in sa = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &(socklen_t){ sizeof sa }), 0);
    close(fd);
    return ntohs(sa.sin_port);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sockaddr_un sa = { .sun_family = AF_UNIX };

    assert_non_null(f);
    *state = f;
    f->pid = f->log_fd = f->notify_fd = f->given_fd = -1;
    snprintf(f->dir, sizeof f->dir, "/tmp/test_supervisor.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->conf, sizeof f->conf, "%s/conf", f->dir);
    snprintf(f->notify_path, sizeof f->notify_path, "%s/notify", f->dir);
    snprintf(f->socket_path, sizeof f->socket_path, "%s/socket", f->dir);
    memcpy(sa.sun_path, f->socket_path, strlen(f->socket_path));
    f->socket_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->socket_fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(f->socket_fd, CHILDREN_MAX), 0);
    f->port = free_port();
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    if (f->pid > 0) {
        kill(f->pid, SIGKILL);
        waitpid(f->pid, NULL, 0);
    }
    for (size_t i = 0; i < f->count; i++)
        close(f->fakes[i].fd);
    if (f->log_fd >= 0)
        close(f->log_fd);
    close(f->socket_fd);
    if (f->notify_fd >= 0)
        close(f->notify_fd);
    if (f->given_fd >= 0)
        close(f->given_fd);
    unlink(f->notify_path);
    if (*f->control_path)
        unlink(f->control_path);
    unlink(f->conf);
    unlink(f->socket_path);
    rmdir(f->dir);
    free(f);
    return 0;
}

/* Three children, ready and linked: out[0] the policy process, then the two workers. */
static void
start_ready(struct fixture *f, struct fake *out[3])
{
    start_gateway(f, "workers = 2\n");
    for (int i = 0; i < 3; i++) {
        struct fake *fake = meet(f); /* in any order: they are started without waiting */

        out[strcmp(fake->name, "policy") == 0 ? 0 : fake->name[7] - '0' + 1] = fake;
    }
    expect(f, out[0], "link 0");
    expect(f, out[0], "link 1");
    expect(f, out[1], "link 0");
    expect(f, out[2], "link 1");
    for (int i = 0; i < 3; i++)
        tell(out[i], "r");
    expect_log(f, "event=ready workers=2\n");
}

/* ---- the tests ---- */

static void
test_start(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3];

    start_ready(f, c);
    assert_string_equal(c[0]->name, "policy");
    assert_string_equal(c[1]->name, "worker/0");
    assert_string_equal(c[2]->name, "worker/1");
    /* Configuration and control, a worker also its two listeners; nothing else was inherited. */
    assert_string_equal(c[0]->fds, "0,1,2,3,4");
    assert_string_equal(c[1]->fds, "0,1,2,3,4,5,6");
    assert_string_equal(c[2]->fds, "0,1,2,3,4,5,6");
    tell(c[1], "s0");
    expect(f, c[0], "got !");
    tell(c[0], "s1");
    expect(f, c[2], "got !");
}

static void
test_ready_needs_all(void **state)
{
    struct fixture *f = *state;
    struct fake *policy, *worker;

    start_gateway(f, "workers = 1\n");
    policy = meet(f);
    worker = meet(f);
    tell(policy, "r");
    expect_log(f, "event=child-ready");
    assert_null(strstr(f->log, "event=ready"));
    tell(worker, "r");
    expect_log(f, "event=ready workers=1\n");
}

static void
test_worker_crash(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3], *again;

    start_ready(f, c);
    tell(c[1], "c");
    expect_log(f, "event=child-exited child=worker/0");
    expect_log(f, "signal=9 restart_ms=0\n");
    again = meet_named(f, "worker/0");
    assert_string_equal(again->fds, "0,1,2,3,4,5,6");
    expect(f, again, "link 0");
    expect(f, c[0], "link 0");
    tell(again, "s0");
    expect(f, c[0], "got !");
    tell(c[2], "s0"); /* the other one's link is untouched */
    expect(f, c[0], "got !");
    forget_log(f);
    tell(again, "r");
    expect_log(f, "event=ready workers=2\n");
    tell(again, "c");
    expect_log(f, "restart_ms=100\n"); /* the second time in a row it has to wait */
    meet_named(f, "worker/0");
}

static void
test_policy_crash(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3], *again;

    start_ready(f, c);
    tell(c[0], "c");
    again = meet_named(f, "policy");
    expect(f, again, "link 0");
    expect(f, again, "link 1");
    expect(f, c[1], "link 0");
    expect(f, c[2], "link 1");
    tell(c[1], "s0");
    expect(f, again, "got !");
    tell(again, "s1");
    expect(f, c[2], "got !");
}

/* A connection that arrives while the only worker is away waits for the next one. */
static void
test_listener_survives(void **state)
{
    struct fixture *f = *state;
    struct fake *policy, *worker;
    int client;

    start_gateway(f, "workers = 1\n");
    policy = meet(f);
    worker = meet(f);
    if (strcmp(worker->name, "policy") == 0) {
        struct fake *other = policy;

        policy = worker;
        worker = other;
    }
    tell(policy, "r");
    tell(worker, "r");
    expect_log(f, "event=ready workers=1\n");
    expect(f, worker, "link 0");
    tell(worker, "c");
    expect_log(f, "event=child-exited child=worker/0");
    client = connect_client(f);
    assert_true(client >= 0);
    worker = meet_named(f, "worker/0");
    expect(f, worker, "link 0");
    tell(worker, "a");
    expect(f, worker, "accepted");
    close(client);
}

/* PRX-048: the workers end first, since they need the policy process until then. */
static void
test_stop(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3];

    start_ready(f, c);
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    expect(f, c[1], "stop");
    expect(f, c[2], "stop");
    tell(c[1], "q");
    tell(c[2], "q");
    expect(f, c[0], "stop");
    assert_int_equal(connect_client(f), -1);
    tell(c[0], "q");
    assert_int_equal(finish(f), 0);
    assert_non_null(strstr(f->log, "event=stopped status=0\n"));
    assert_null(strstr(f->log, "level=error"));
}

static void
test_stop_by_terminal(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3];

    start_ready(f, c);
    assert_int_equal(kill(f->pid, SIGHUP), 0); /* a terminal that closes ends nothing */
    assert_int_equal(kill(f->pid, SIGINT), 0);
    for (int i = 1; i < 3; i++) {
        expect(f, c[i], "stop");
        tell(c[i], "q");
    }
    expect(f, c[0], "stop");
    tell(c[0], "q");
    assert_int_equal(finish(f), 0);
}

static void
test_second_signal(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3];

    start_ready(f, c);
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    expect(f, c[1], "stop");
    expect(f, c[2], "stop");
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    for (int i = 1; i < 3; i++)
        expect(f, c[i], "");
    expect(f, c[0], "stop"); /* it has heard what the workers had to say at their end */
    tell(c[0], "q");
    assert_int_equal(finish(f), 0);
    assert_non_null(strstr(f->log, "event=stop-late child=worker/0 signal=15\n"));
}

/* A worker that dies while others drain stays dead. */
static void
test_crash_while_stopping(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3];

    start_ready(f, c);
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    expect(f, c[1], "stop");
    tell(c[1], "c");
    expect(f, c[2], "stop");
    tell(c[2], "q");
    expect(f, c[0], "stop");
    tell(c[0], "q");
    assert_int_equal(finish(f), 0);
    assert_int_equal(f->count, 3);
}

static void
test_children_end_with_it(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3];

    start_ready(f, c);
    assert_int_equal(kill(f->pid, SIGKILL), 0);
    for (int i = 0; i < 3; i++)
        expect(f, c[i], "");
    assert_int_equal(finish(f), -1);
}

/* FAULTS G5: the supervisor is killed and started again while its policy process, which has
 * inherited the control socket, does not end: stopped, or busy with its last records. */
static void
test_restart_beside_orphans(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3], *again[3];

    snprintf(f->control_path, sizeof f->control_path, "%s/control", f->dir);
    start_ready(f, c);
    tell(c[0], "i");
    expect(f, c[0], "ignores");
    assert_int_equal(kill(f->pid, SIGKILL), 0);
    expect(f, c[1], "");
    expect(f, c[2], "");
    expect(f, c[0], "orphan");
    assert_int_equal(finish_but_for_children(f), -1);
    start_ready(f, again);
    assert_null(strstr(f->log, "event=no-control-socket"));
    assert_int_equal(connect_operator(f), 0);
    tell(c[0], "q");
}

/* A gateway that lives keeps its socket, whoever else is started. */
static void
test_second_gateway(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3], *others[3];
    pid_t first;
    int first_log;

    snprintf(f->control_path, sizeof f->control_path, "%s/control", f->dir);
    start_ready(f, c);
    first = f->pid;
    first_log = f->log_fd;
    forget_log(f);
    start_ready(f, others);
    assert_non_null(strstr(f->log, "event=no-control-socket"));
    assert_non_null(strstr(f->log, "another gateway answers there"));
    assert_int_equal(kill(first, SIGKILL), 0);
    assert_int_equal(waitpid(first, NULL, 0), first);
    close(first_log);
}

/* A child that never gets ready: e.g. a CA file that cannot be read. */
static void
test_start_in_vain(void **state)
{
    struct fixture *f = *state;
    struct fake *worker = NULL;
    unsigned tries = 0;

    start_gateway(f, "workers = 1\n");
    while (tries < SUPERVISOR_TRIES || !worker) { /* in any order */
        struct fake *fake = meet(f);

        if (strcmp(fake->name, "policy") != 0) {
            worker = fake;
            continue;
        }
        tries++;
        expect(f, fake, "link 0");
        tell(fake, "x");
    }
    for (unsigned i = 0; i < SUPERVISOR_TRIES; i++)
        expect(f, worker, "link 0");
    expect(f, worker, "stop");
    tell(worker, "q");
    assert_int_equal(finish(f), SUPERVISOR_CONFIG);
    assert_non_null(strstr(f->log, "event=child-exited child=policy"));
    assert_non_null(strstr(f->log, "status=2 restart_ms="));
    assert_non_null(strstr(f->log, "event=start-failed child=policy tries=3 "));
}

/* Later the same is met with patience: the configuration has worked before. */
static void
test_restarts_in_vain_later(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3], *again;

    start_ready(f, c);
    tell(c[0], "x");
    for (unsigned i = 0; i < SUPERVISOR_TRIES; i++) {
        again = meet_named(f, "policy");
        tell(again, "x");
    }
    again = meet_named(f, "policy");
    forget_log(f);
    tell(again, "r");
    expect_log(f, "event=ready workers=2\n");
}

static void
test_child_is_not_trusted(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3], *again;

    start_ready(f, c);
    tell(c[1], "g"); /* STOP from a child */
    expect_log(f, "event=child-killed child=worker/0");
    expect(f, c[1], "");
    again = meet_named(f, "worker/0");
    expect(f, again, "link 0");
    tell(again, "r");
    forget_log(f);
    expect_log(f, "event=ready workers=2\n");
    forget_log(f);
    tell(again, "r"); /* ready twice */
    expect_log(f, "event=child-killed child=worker/0");
    again = meet_named(f, "worker/0");
    tell(again, "d");
    expect_log(f, "reason=\"closed its control channel and goes on\"");
    meet_named(f, "worker/0");
}

/* ---- reload ---- */

/* The three children of the generation that a reload has started, ready if they are to be. */
static void
meet_generation(struct fixture *f, struct fake *out[3], bool ready)
{
    for (int i = 0; i < 3; i++) {
        struct fake *fake = meet(f);

        out[strcmp(fake->name, "policy") == 0 ? 0 : fake->name[7] - '0' + 1] = fake;
    }
    expect(f, out[0], "link 0");
    expect(f, out[0], "link 1");
    expect(f, out[1], "link 0");
    expect(f, out[2], "link 1");
    for (int i = 0; ready && i < 3; i++)
        tell(out[i], "r");
}

static unsigned
count_descriptors(pid_t pid)
{
    char path[64];
    unsigned count = 0;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* The new generation serves before the old one is told to go, on the same sockets; and nothing is
 * left of the old one in the end. */
static void
test_reload(void **state)
{
    struct fixture *f = *state;
    struct fake *old[3], *new[3];
    unsigned before;
    int client;

    start_ready(f, old);
    before = count_descriptors(f->pid);
    assert_int_equal(kill(f->pid, SIGHUP), 0);
    meet_generation(f, new, false);
    assert_string_equal(new[1]->fds, "0,1,2,3,4,5,6");
    client = connect_client(f); /* meanwhile the sockets listen, whoever accepts */
    assert_true(client >= 0);
    tell(new[0], "r");
    tell(new[1], "r");
    assert_int_equal(poll(&(struct pollfd){ .fd = old[1]->fd, .events = POLLIN }, 1, 100), 0);
    tell(new[2], "r");
    expect_log(f, "event=reloaded generation=1\n");
    expect(f, old[0], "retire");
    expect(f, old[1], "stop 1");
    expect(f, old[2], "stop 1");
    tell(old[1], "q");
    tell(old[2], "q");
    expect(f, old[0], "stop");
    tell(old[0], "q");
    expect_log(f, "event=generation-gone generation=0\n");
    assert_int_equal(count_descriptors(f->pid), before);
    close(client);
    tell(new[1], "c"); /* and the new one is kept up */
    meet_named(f, "worker/0");
}

/* Asked for by the policy process, which hears how it went. */
static void
test_reload_by_command(void **state)
{
    struct fixture *f = *state;
    struct fake *old[3], *new[3];

    start_ready(f, old);
    tell(old[0], "l");
    meet_generation(f, new, true);
    expect(f, old[0], "reloaded 1");
    expect(f, old[0], "retire");
    write_conf(f, "workers = many\n");
    tell(new[0], "l");
    expect(f, new[0], "reloaded");
    expect_log(f, "event=reload-refused reason=");
    assert_non_null(strstr(f->log, ":3: workers: expected 0 .. 64, got"));
    write_conf(f, "workers = 1\n");
    tell(new[0], "l");
    expect(f, new[0], "reloaded");
    expect_log(f, "fewer workers need a restart");
}

/* A generation that cannot start is given up; the one before it serves on. */
static void
test_reload_in_vain(void **state)
{
    struct fixture *f = *state;
    struct fake *old[3], *new[3];
    unsigned before;

    start_ready(f, old);
    before = count_descriptors(f->pid);
    tell(old[0], "l");
    meet_generation(f, new, false);
    tell(new[0], "r");
    tell(new[2], "x");
    expect_log(f, "event=reload-refused generation=1 ");
    expect(f, old[0], "reloaded");
    expect_log(f, "event=generation-gone generation=1\n");
    assert_int_equal(count_descriptors(f->pid), before);
    tell(old[1], "s0");
    expect(f, old[0], "got !");
}

/* Asked for while one is under way: what is in the file then may not have been read. */
static void
test_reload_during_reload(void **state)
{
    struct fixture *f = *state;
    struct fake *old[3], *new[3], *newest[3];

    start_ready(f, old);
    tell(old[0], "l");
    meet_generation(f, new, false);
    tell(old[0], "l");
    tell(old[0], "m"); /* what came before it has been taken when this has */
    expect_log(f, "event=mode-kept");
    for (int i = 0; i < 3; i++)
        tell(new[i], "r");
    meet_generation(f, newest, false);
    assert_false(is_readable_now(old[0]->fd)); /* not answered, and not retired, before the last */
    for (int i = 0; i < 3; i++)
        tell(newest[i], "r");
    expect(f, old[0], "reloaded 1");
    expect(f, old[0], "retire");
    expect(f, new[0], "retire");
    expect(f, old[1], "stop 1");
    expect(f, new[2], "stop 1");
    expect_log(f, "event=reloaded generation=2\n");
}

/* It must not answer operators, or write the store, in the newer one's place. */
static void
test_policy_of_old_generation_crashes(void **state)
{
    struct fixture *f = *state;
    struct fake *old[3], *new[3], *again;

    snprintf(f->control_path, sizeof f->control_path, "%s/control", f->dir);
    start_ready(f, old);
    assert_string_equal(old[0]->fds, "0,1,2,3,4,5"); /* with the control socket */
    tell(old[0], "l");
    meet_generation(f, new, true);
    expect(f, old[0], "reloaded 1");
    expect(f, old[0], "retire");
    tell(old[0], "c");
    again = meet_named(f, "policy");
    expect(f, again, "retire");
    assert_string_equal(again->fds, "0,1,2,3,4");
    expect(f, again, "link 0");
    expect(f, again, "link 1");
    tell(new[0], "c"); /* the newer one's has it all the same */
    again = meet_named(f, "policy");
    assert_string_equal(again->fds, "0,1,2,3,4,5");
    expect(f, again, "link 0");
}

static void
test_hangup_during_reload(void **state)
{
    struct fixture *f = *state;
    struct fake *old[3], *new[3], *newest[3];

    start_ready(f, old);
    assert_int_equal(kill(f->pid, SIGHUP), 0);
    meet_generation(f, new, false);
    assert_int_equal(kill(f->pid, SIGHUP), 0);
    for (int i = 0; i < 3; i++)
        tell(new[i], "r");
    meet_generation(f, newest, true);
    expect_log(f, "event=reloaded generation=2\n");
}

/* Sessions of earlier configurations that will not end: the oldest of them are hurried, and the
 * newest configuration comes to serve. */
static void
test_reload_without_a_place(void **state)
{
    struct fixture *f = *state;
    struct fake *c[5][3];

    start_ready(f, c[0]);
    for (int i = 1; i < 4; i++) {
        tell(c[i - 1][0], "l");
        meet_generation(f, c[i], true);
        expect(f, c[i - 1][0], "reloaded 1");
        expect(f, c[i - 1][0], "retire");
        expect(f, c[i - 1][1], "stop 1");
        expect(f, c[i - 1][2], "stop 1");
    }
    tell(c[3][0], "l");
    expect_log(f, "event=reload-waits generation=0 ");
    expect(f, c[0][1], "stop"); /* at once, no longer gently */
    expect(f, c[0][2], "stop");
    tell(c[0][1], "q");
    tell(c[0][2], "q");
    expect(f, c[0][0], "stop");
    tell(c[0][0], "q");
    meet_generation(f, c[4], true);
    expect(f, c[3][0], "reloaded 1");
    expect_log(f, "event=reloaded generation=4\n");
    assert_null(strstr(f->log, "event=reload-refused"));
}

/* ---- the service manager ---- */

static void
listen_for_notices(struct fixture *f)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };

    memcpy(sa.sun_path, f->notify_path, strlen(f->notify_path));
    f->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->notify_fd, (struct sockaddr *)&sa, sizeof sa), 0);
}

/* Wait for a notice that says so; signs of life may come between. */
static void
expect_notice(struct fixture *f, const char *want)
{
    char got[512] = "";

    while (!strstr(got, want)) {
        ssize_t n;

        if (!readable(f->notify_fd))
            fail_msg("no notice \"%s\"; the last was \"%s\"; the log:\n%s", want, got, f->log);
        n = recv(f->notify_fd, got, sizeof got - 1, 0);
        assert_true(n > 0);
        got[n] = '\0';
        if (!strstr(got, "WATCHDOG=1") && !strstr(got, want))
            fail_msg("\"%s\" where \"%s\" was to be", got, want);
    }
}

/* Ready once all serve; a reload says when it begins and how it ended; a stop says so at once. */
static void
test_notices(void **state)
{
    struct fixture *f = *state;
    struct fake *old[3], *new[3];

    listen_for_notices(f);
    start_ready(f, old);
    expect_notice(f, "READY=1\nSTATUS=serving; generation 0, 2 workers");
    expect_notice(f, "WATCHDOG=1");
    kill(f->pid, SIGHUP);
    expect_notice(f, "RELOADING=1\nMONOTONIC_USEC=");
    meet_generation(f, new, true);
    expect_notice(f, "READY=1\nSTATUS=serving, reloaded; generation 1, 2 workers");
    write_conf(f, "workers = many\n");
    kill(f->pid, SIGHUP);
    expect_notice(f, "RELOADING=1");
    expect_notice(f, "READY=1\nSTATUS=serving; the last reload was refused; generation 1");
    kill(f->pid, SIGTERM);
    expect_notice(f, "STOPPING=1");
}

static void
make_given_socket(struct fixture *f)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(f->port) };

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f->given_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->given_fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(f->given_fd, 16), 0);
}

static void
stop_gateway(struct fixture *f, struct fake *c[3])
{
    kill(f->pid, SIGTERM);
    expect(f, c[1], "stop");
    expect(f, c[2], "stop");
    tell(c[1], "q");
    tell(c[2], "q");
    expect(f, c[0], "stop");
    tell(c[0], "q");
    assert_int_equal(finish(f), 0);
    close(f->log_fd);
    f->log_fd = -1;
    forget_log(f);
}

/* Clients that come before the start, and while the gateway is replaced, are served by the next
 * one: their connections wait in the service manager's socket. */
static void
test_restart_turns_nobody_away(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3];
    int early, between;

    make_given_socket(f);
    early = connect_client(f);
    assert_true(early >= 0);
    start_ready(f, c);
    tell(c[1], "a");
    expect(f, c[1], "accepted");
    stop_gateway(f, c);
    between = connect_client(f);
    assert_true(between >= 0);
    start_ready(f, c);
    tell(c[2], "a"); /* both workers listen on the one socket */
    expect(f, c[2], "accepted");
    close(early);
    close(between);
}

/* By a socket that is not transparent, tproxy would find no destination. */
static void
test_given_socket_must_be_transparent(void **state)
{
    struct fixture *f = *state;
    char more[96];

    make_given_socket(f);
    snprintf(more, sizeof more, "listen_tproxy = {\"127.0.0.1:%u\"}\n", f->port);
    f->port = free_port(); /* of listen_redirect */
    write_conf(f, more);
    start(f, (char *[]){ "stsgate", "run", "-c", f->conf, NULL });
    assert_int_equal(finish(f), 2);
    assert_non_null(strstr(f->log, "needs Transparent=yes"));
}

/* While the old one's workers finish, its policy process is kept up for them; and what the operator
 * has set is told again to one that was started since (PRX-041). */
static void
test_mode_is_kept(void **state)
{
    struct fixture *f = *state;
    struct fake *c[3], *again;

    start_ready(f, c);
    tell(c[0], "m");
    expect_log(f, "event=mode-kept value=30\n");
    tell(c[0], "c");
    again = meet_named(f, "policy");
    expect(f, again, "mode 30");
    expect(f, again, "link 0");
    expect(f, again, "link 1");
}

static void
test_port_in_use(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(f->port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 1), 0);
    start_gateway(f, "");
    assert_int_equal(finish(f), SUPERVISOR_CONFIG);
    assert_non_null(strstr(f->log, "event=start-failed reason=\"cannot listen on 127.0.0.1:"));
    close(fd);
}

static void
test_bad_config(void **state)
{
    struct fixture *f = *state;
    char want[192];

    start_gateway(f, "workers = many\n");
    assert_int_equal(finish(f), 2);
    snprintf(want, sizeof want, "%s:3: workers: expected 0 .. 64, got \"many\"\n", f->conf);
    assert_string_equal(f->log, want);
}

static void
test_backoff(void **state)
{
    static const unsigned want[] = { 0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000 };

    (void)state;
    for (unsigned i = 0; i < sizeof want / sizeof *want; i++)
        assert_int_equal(supervisor_backoff_ms(i), want[i]);
    assert_int_equal(supervisor_backoff_ms(~0u), SUPERVISOR_BACKOFF_MAX_MS);
}

/* ---- the command line ---- */

static struct command_case {
    const char *name;
    char *argv[6]; /* "CONF" stands for the path of a good configuration */
    int want;
    const char *says; /* on standard error */
} commands[] = {
    { "no verb", { "stsgate" }, 2, "usage: stsgate VERB" },
    { "unknown verb", { "stsgate", "walk" }, 2, "unknown verb walk\nusage: " },
    { "help", { "stsgate", "help" }, 0, "" },
    { "--help", { "stsgate", "--help" }, 0, "" },
    { "-h", { "stsgate", "-h" }, 0, "" },
    { "run --help starts nothing", { "stsgate", "run", "--help" }, 0, "" },
    { "config check --help", { "stsgate", "config", "check", "--help" }, 0, "" },
    { "--version", { "stsgate", "--version" }, 0, "" },
    { "--version with more", { "stsgate", "--version", "x" }, 2, "unknown argument x" },
    { "config check", { "stsgate", "config", "check", "-c", "CONF" }, 0, "" },
    { "config check of nothing",
      { "stsgate", "config", "check", "-c", "/nonexistent" },
      2,
      "/nonexistent:1: cannot be read: " },
    { "config without check", { "stsgate", "config" }, 2, "usage: stsgate config check" },
    { "policy without a verb of it", { "stsgate", "policy", "walk" }, 2, "usage: stsgate policy" },
    { "policy show without a domain", { "stsgate", "policy", "show" }, 2, "usage: stsgate policy" },
    { "policy show of everything",
      { "stsgate", "policy", "show", "a.example", "--all" },
      2,
      "usage: stsgate policy" },
    { "policy flush --help", { "stsgate", "policy", "flush", "--help" }, 0, "" },
    { "mode --help sets nothing", { "stsgate", "mode", "monitor", "--help" }, 0, "" },
    { "status -h", { "stsgate", "status", "-h" }, 0, "" },
    { "policy list, and no control socket",
      { "stsgate", "policy", "list", "-c", "CONF" },
      2,
      "control_socket is empty" },
    { "-c without a file", { "stsgate", "run", "-c" }, 2, "-c needs a file" },
    { "run with an unknown argument",
      { "stsgate", "run", "--fast" },
      2,
      "unknown argument --fast" },
};

static void
run_command(struct fixture *f, const struct command_case *c)
{
    char *argv[6];

    for (size_t i = 0; i < 6; i++)
        argv[i] = c->argv[i] && strcmp(c->argv[i], "CONF") == 0 ? f->conf : c->argv[i];
    write_conf(f, "");
    start(f, argv);
    if (finish(f) != c->want || !strstr(f->log, c->says))
        fail_msg("%s: %s", c->name, f->log);
    if (!*c->says)
        assert_string_equal(f->log, "");
    close(f->log_fd);
    f->log_fd = -1;
    forget_log(f);
}

static void
test_commands(void **state)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        run_command(*state, &commands[i]);
}

#define WITH_GATEWAY(name, run)                                                                    \
    {                                                                                              \
        name, run, setup, teardown, NULL                                                           \
    }

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_GATEWAY("start, ready, links, descriptors", test_start),
        WITH_GATEWAY("ready only when all are", test_ready_needs_all),
        WITH_GATEWAY("worker crash: restart and new link on both sides", test_worker_crash),
        WITH_GATEWAY("policy crash: new links for all", test_policy_crash),
        WITH_GATEWAY("connections wait while a worker restarts", test_listener_survives),
        WITH_GATEWAY("SIGTERM: workers, then policy, exit 0", test_stop),
        WITH_GATEWAY("SIGINT stops, SIGHUP does not", test_stop_by_terminal),
        WITH_GATEWAY("second SIGTERM cuts the drain short", test_second_signal),
        WITH_GATEWAY("reload: a new generation takes over", test_reload),
        WITH_GATEWAY("reload: by command, and refused", test_reload_by_command),
        WITH_GATEWAY("reload: in vain", test_reload_in_vain),
        WITH_GATEWAY("reload: asked for again while one is under way", test_reload_during_reload),
        WITH_GATEWAY("reload: a second SIGHUP while one is under way", test_hangup_during_reload),
        WITH_GATEWAY("reload: the older policy process crashes",
                     test_policy_of_old_generation_crashes),
        WITH_GATEWAY("reload: no place for another generation", test_reload_without_a_place),
        WITH_GATEWAY("the mode survives the policy process", test_mode_is_kept),
        WITH_GATEWAY("crash while stopping", test_crash_while_stopping),
        WITH_GATEWAY("children end with the supervisor", test_children_end_with_it),
        WITH_GATEWAY("killed and started again beside a child that lives",
                     test_restart_beside_orphans),
        WITH_GATEWAY("a second gateway leaves the first its socket", test_second_gateway),
        WITH_GATEWAY("three starts in vain: exit 2", test_start_in_vain),
        WITH_GATEWAY("restarts in vain after the first success", test_restarts_in_vain_later),
        WITH_GATEWAY("a child that breaks the protocol is killed", test_child_is_not_trusted),
        WITH_GATEWAY("port in use: exit 2", test_port_in_use),
        WITH_GATEWAY("bad configuration: file, line, exit 2", test_bad_config),
        WITH_GATEWAY("notices to the service manager", test_notices),
        WITH_GATEWAY("a restart turns nobody away", test_restart_turns_nobody_away),
        WITH_GATEWAY("a socket handed over must be transparent",
                     test_given_socket_must_be_transparent),
        WITH_GATEWAY("verbs and usage", test_commands),
        cmocka_unit_test(test_backoff),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
