/* What a worker and the policy process cannot do any more, each ban proven by trying (TC-OPS-09): a
 * child that has closed its sandbox makes the attempt and ends with the errno it got. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/config.h"
#include "proxy/sandbox.h"

#define LANDLOCK_VERSION_FLAG 1u
#define NO_SUCH_THING 200 /* no errno */

static char store_folder[] = "/tmp/stsgate-sandbox-XXXXXX";

/* ---- attempts: 0, or the errno ---- */

static int
errno_of(long result)
{
    return result < 0 ? errno : 0;
}

static int
try_read(void)
{
    return errno_of(open("/etc/hostname", O_RDONLY | O_CLOEXEC));
}

static int
try_read_by_openat2(void)
{
    uint64_t how[3] = { O_RDONLY, 0, 0 };

    return errno_of(syscall(SYS_openat2, AT_FDCWD, "/etc/hostname", how, sizeof how));
}

static int
try_write(void)
{
    return errno_of(open("/tmp/stsgate-must-not-be", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static int
try_store(void)
{
    char path[128], other[128];
    int fd;

    snprintf(path, sizeof path, "%s/policies.sqlite-wal", store_folder);
    snprintf(other, sizeof other, "%s/renamed", store_folder);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1 || ftruncate(fd, 0) != 0)
        return errno;
    return errno_of(rename(path, other)) || errno_of(unlink(other));
}

static int
try_trust_anchor(void)
{
    return errno_of(open("/usr/share/dns/root.key", O_RDONLY | O_CLOEXEC));
}

static int
try_unlink(void)
{
    return errno_of(unlink("/tmp/stsgate-is-not-there"));
}

static int
try_socket(int family, int type, int protocol)
{
    return errno_of(socket(family, type | SOCK_CLOEXEC, protocol));
}

static int
try_tcp(void)
{
    return try_socket(AF_INET, SOCK_STREAM, 0) || try_socket(AF_INET6, SOCK_STREAM, 0);
}

static int
try_udp(void)
{
    return try_socket(AF_INET, SOCK_DGRAM, 0);
}

static int
try_raw(void)
{
    return try_socket(AF_INET, SOCK_RAW, IPPROTO_TCP);
}

static int
try_packet(void)
{
    return try_socket(AF_PACKET, SOCK_RAW, 0);
}

static int
try_routes(void)
{
    return try_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
}

static int
try_netfilter(void)
{
    return try_socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
}

static int
try_connect(void)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(9) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc;

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    rc = connect(fd, (struct sockaddr *)&sa, sizeof sa);
    return rc == 0 || errno == EINPROGRESS || errno == ECONNREFUSED ? 0 : errno;
}

static int
try_mark(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return errno_of(setsockopt(fd, SOL_SOCKET, SO_MARK, &(int){ 2 }, sizeof(int)));
}

static int
try_exec(void)
{
    (void)execl("/bin/true", "true", (char *)NULL);
    return errno;
}

static int
try_fork(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return errno_of(pid);
}

static int
try_ptrace(void)
{
    return errno_of(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int
try_read_memory(void)
{
    char byte;

    return errno_of(syscall(SYS_process_vm_readv, getppid(), &byte, 1, &byte, 1, 0));
}

static int
try_kill(void)
{
    return errno_of(kill(getppid(), 0));
}

static int
try_abort_of_others(void)
{
    return errno_of(syscall(SYS_tgkill, getppid(), getppid(), 0));
}

static int
try_code(void)
{
    void *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return page == MAP_FAILED ? errno : 0;
}

static int
try_code_later(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return page == MAP_FAILED ? 0 : errno_of(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

static int
try_root(void)
{
    return errno_of(setuid(0));
}

static int
try_user_namespace(void)
{
    return errno_of(syscall(SYS_unshare, CLONE_NEWUSER));
}

static int
try_mount(void)
{
    return errno_of(mount("none", "/mnt", "tmpfs", 0, NULL));
}

static int
try_io_uring(void)
{
    return errno_of(syscall(SYS_io_uring_setup, 1, NULL));
}

static int
try_bpf(void)
{
    return errno_of(syscall(SYS_bpf, 0, NULL, 0));
}

static int
try_core(void)
{
    struct rlimit limit;

    if (syscall(SYS_prlimit64, 0, RLIMIT_CORE, NULL, &limit) == 0)
        return limit.rlim_cur == 0 ? 0 : NO_SUCH_THING;
    return errno;
}

/* ---- rows ---- */

static struct attempt {
    const char *name;
    enum sandbox_kind kind;
    int (*try)(void);
    int want, or ;    /* errno; `or`: another that is as good, 0 for none */
    bool needs_fence; /* landlock */
    bool needs_root;
} attempts[] = {
    { "a worker reads a file", SANDBOX_WORKER, try_read, EPERM, 0, false, false },
    { "a worker reads a file by openat2", SANDBOX_WORKER, try_read_by_openat2, EPERM, 0, false,
      false },
    { "a worker makes a file", SANDBOX_WORKER, try_write, EPERM, 0, false, false },
    { "a worker removes a file", SANDBOX_WORKER, try_unlink, EPERM, 0, false, false },
    { "a worker makes a UDP socket", SANDBOX_WORKER, try_udp, EPERM, 0, false, false },
    { "a worker makes a raw socket", SANDBOX_WORKER, try_raw, EPERM, 0, false, false },
    { "a worker listens to packets", SANDBOX_WORKER, try_packet, EPERM, 0, false, false },
    { "a worker speaks to netfilter", SANDBOX_WORKER, try_netfilter, EPERM, 0, false, false },
    { "a worker executes a program", SANDBOX_WORKER, try_exec, EPERM, 0, false, false },
    { "a worker forks", SANDBOX_WORKER, try_fork, EPERM, 0, false, false },
    { "a worker traces its parent", SANDBOX_WORKER, try_ptrace, EPERM, 0, false, false },
    { "a worker reads its parent's memory", SANDBOX_WORKER, try_read_memory, EPERM, 0, false,
      false },
    { "a worker signals its parent", SANDBOX_WORKER, try_kill, EPERM, 0, false, false },
    { "a worker aborts its parent", SANDBOX_WORKER, try_abort_of_others, EPERM, 0, false, false },
    { "a worker maps code", SANDBOX_WORKER, try_code, EPERM, 0, false, false },
    { "a worker turns memory into code", SANDBOX_WORKER, try_code_later, EPERM, 0, false, false },
    { "a worker becomes root", SANDBOX_WORKER, try_root, EPERM, 0, false, false },
    { "a worker makes a user namespace", SANDBOX_WORKER, try_user_namespace, EPERM, 0, false,
      false },
    { "a worker mounts", SANDBOX_WORKER, try_mount, EPERM, 0, false, false },
    { "a worker sets up an io_uring", SANDBOX_WORKER, try_io_uring, EPERM, 0, false, false },
    { "a worker loads BPF", SANDBOX_WORKER, try_bpf, EPERM, 0, false, false },
    { "status reads a file", SANDBOX_STATUS, try_read, EPERM, 0, false, false },
    { "status makes a file", SANDBOX_STATUS, try_write, EPERM, 0, false, false },
    { "status makes a TCP socket", SANDBOX_STATUS, try_tcp, EPERM, 0, false, false },
    { "status makes a UDP socket", SANDBOX_STATUS, try_udp, EPERM, 0, false, false },
    { "status executes a program", SANDBOX_STATUS, try_exec, EPERM, 0, false, false },
    { "status forks", SANDBOX_STATUS, try_fork, EPERM, 0, false, false },
    { "status signals its parent", SANDBOX_STATUS, try_kill, EPERM, 0, false, false },
    { "status becomes root", SANDBOX_STATUS, try_root, EPERM, 0, false, false },
    { "policy reads a file that is none of its own", SANDBOX_POLICY, try_read, EACCES, 0, true,
      false },
    { "policy reads by openat2", SANDBOX_POLICY, try_read_by_openat2, EPERM, 0, false, false },
    { "policy makes a file elsewhere", SANDBOX_POLICY, try_write, EACCES, 0, true, false },
    { "policy makes a raw socket", SANDBOX_POLICY, try_raw, EPERM, 0, false, false },
    { "policy listens to packets", SANDBOX_POLICY, try_packet, EPERM, 0, false, false },
    { "policy sets a mark", SANDBOX_POLICY, try_mark, EPERM, 0, false, false },
    { "policy executes a program", SANDBOX_POLICY, try_exec, EPERM, 0, false, false },
    { "policy forks", SANDBOX_POLICY, try_fork, EPERM, 0, false, false },
    { "policy traces its parent", SANDBOX_POLICY, try_ptrace, EPERM, 0, false, false },
    { "policy signals its parent", SANDBOX_POLICY, try_kill, EPERM, 0, false, false },
    { "policy maps code", SANDBOX_POLICY, try_code, EPERM, 0, false, false },
    { "policy becomes root", SANDBOX_POLICY, try_root, EPERM, 0, false, false },
    /* And what they are for still goes. */
    { "a worker connects", SANDBOX_WORKER, try_connect, 0, 0, false, false },
    { "a worker makes TCP sockets", SANDBOX_WORKER, try_tcp, 0, 0, false, false },
    { "a worker asks for routes", SANDBOX_WORKER, try_routes, 0, 0, false, false },
    { "a worker sets the mark", SANDBOX_WORKER, try_mark, 0, 0, false, true },
    { "policy makes a UDP socket", SANDBOX_POLICY, try_udp, 0, 0, false, false },
    { "policy connects", SANDBOX_POLICY, try_connect, 0, 0, false, false },
    { "policy writes, renames and removes in the store's folder", SANDBOX_POLICY, try_store, 0, 0,
      false, false },
    { "policy reads the trust anchor", SANDBOX_POLICY, try_trust_anchor, 0, ENOENT, false, false },
};

static struct config *
make_config(void)
{
    char text[512], error[512];
    struct config *config = NULL;

    snprintf(text, sizeof text,
             "hostname = gw.test\nuser = \"\"\nupstream_mark = 2\n"
             "store_file = \"%s/policies.sqlite\"\n",
             store_folder);
    if (config_parse("sandbox.conf", span_of(text), &config, error, sizeof error) != RES_OK)
        fail_msg("%s", error);
    return config;
}

static bool
kernel_has_fence(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION_FLAG) > 0;
}

static void
test_attempt(void **state)
{
    const struct attempt *a = *state;
    struct config *config;
    int status;
    pid_t pid;

    if (SANDBOX_LOOSE) {
        print_message("skipped: sanitizers need what is denied here\n");
        skip();
    }
    if (a->needs_fence && !kernel_has_fence()) {
        print_message("skipped: this kernel has no landlock\n");
        skip();
    }
    if (a->needs_root && geteuid() != 0) {
        print_message("skipped: needs CAP_NET_RAW\n");
        skip();
    }
    config = make_config();
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(sandbox_close(a->kind, config) == RES_OK ? a->try() : NO_SUCH_THING);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    config_free(config);
    assert_true(WIFEXITED(status));
    if (!a->or || WEXITSTATUS(status) != a->or)
        assert_int_equal(WEXITSTATUS(status), a->want);
}

/* ---- the user ---- */

/* What the child is, as one number: its user id, and bits for what it must not have. */
enum { KEPT_GROUPS = 1, KEPT_CAPS = 2, DUMPABLE = 4, CAN_RETURN = 8, NOT_BECOME = 16 };

static int
flaws_as_nobody(const struct config *config)
{
    char error[256];
    gid_t groups[64];
    int flaws = 0, count;

    if (sandbox_become("nobody", error, sizeof error) != RES_OK || geteuid() != 65534 ||
        getuid() != 65534 || getgid() != 65534)
        return NOT_BECOME;
    count = getgroups(64, groups);
    for (int i = 0; i < count; i++)
        flaws |= groups[i] == 0 ? KEPT_GROUPS : 0;
    flaws |= setresuid(0, 0, 0) == 0 ? CAN_RETURN : 0; /* CAP_SETUID is there until the close */
    if (flaws & CAN_RETURN) {
        flaws &= ~CAN_RETURN;
        if (sandbox_become("nobody", error, sizeof error) != RES_OK)
            return NOT_BECOME;
    }
    if (sandbox_close(SANDBOX_POLICY, config) != RES_OK)
        return NOT_BECOME;
    flaws |= try_mark() == 0 ? KEPT_CAPS : 0;
    flaws |= try_root() == 0 ? CAN_RETURN : 0;
    return flaws;
}

static void
test_become(void **state)
{
    struct config *config;
    int status;
    pid_t pid;

    (void)state;
    if (geteuid() != 0 || SANDBOX_LOOSE) {
        print_message("skipped: needs root, and no sanitizer\n");
        skip();
    }
    config = make_config();
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(flaws_as_nobody(config));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    config_free(config);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void
test_become_nobody_known(void **state)
{
    static const char *const users[] = { "no-such-user-here", "root" };
    char error[256] = "";

    (void)state;
    if (geteuid() != 0)
        skip(); /* who is not root stays who it is */
    for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
        assert_int_equal(sandbox_become(users[i], error, sizeof error), RES_SYNTAX);
        assert_non_null(strstr(error, users[i]));
        assert_int_equal(geteuid(), 0);
    }
}

static void
test_become_is_left_out(void **state)
{
    char error[256] = "";

    (void)state;
    assert_int_equal(sandbox_become("", error, sizeof error), RES_OK);
    if (geteuid() != 0)
        assert_int_equal(sandbox_become("no-such-user-here", error, sizeof error), RES_OK);
}

/* No core with keys, and nobody of the same user may attach. */
static void
test_supervisor_leaves_no_core(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    if (SANDBOX_LOOSE)
        skip();
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        sandbox_supervisor();
        _exit(try_core() + prctl(PR_GET_DUMPABLE) + (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        { "root becomes a user and does not return", test_become, NULL, NULL, NULL },
        { "root does not become root, nor who is not there", test_become_nobody_known, NULL, NULL,
          NULL },
        { "nobody is become without a user, or without root", test_become_is_left_out, NULL, NULL,
          NULL },
        { "the supervisor leaves no core", test_supervisor_leaves_no_core, NULL, NULL, NULL },
    };
    enum { ATTEMPTS = sizeof attempts / sizeof *attempts, OTHERS = sizeof others / sizeof *others };
    struct CMUnitTest tests[ATTEMPTS + OTHERS];
    int failed;

    log_init("test", LOG_LEVEL_ERROR);
    if (!mkdtemp(store_folder))
        return 1;
    for (size_t i = 0; i < ATTEMPTS; i++)
        tests[i] = (struct CMUnitTest){ attempts[i].name, test_attempt, NULL, NULL, &attempts[i] };
    for (size_t i = 0; i < OTHERS; i++)
        tests[ATTEMPTS + i] = others[i];
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(store_folder);
    return failed;
}
