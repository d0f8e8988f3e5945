#include "proxy/call_filter.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCK_TYPE_BITS 0xfu /* of socket()'s second argument; above are SOCK_CLOEXEC and others */
#define COUNT(list) (sizeof(list) / sizeof *(list))

/* By name, as each architecture has its own; a name that one does not have is passed over. None of
 * these opens a file, starts a program or a process, or reaches another one. */
static const char *const common[] = {
    /* descriptors */
    "read", "readv", "write", "writev", "close", "fcntl", "dup", "dup2", "dup3", "lseek", "fstat",
    "newfstatat", "statx", "fsync", "fdatasync", "pipe2", "splice", "tee", "eventfd2",
    /* sockets that are there; those that are made are looked at below */
    "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom",
    "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
    /* waiting */
    "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "poll", "ppoll",
    "pselect6", "select", "signalfd4", "timerfd_create", "timerfd_gettime", "timerfd_settime",
    "clock_nanosleep", "nanosleep",
    /* memory; what can be executed is looked at below */
    "brk", "madvise", "mremap", "munmap", "membarrier",
    /* time, chance, and who and where this is */
    "clock_getres", "clock_gettime", "gettimeofday", "time", "times", "getrandom", "getcpu",
    "getegid", "geteuid", "getgid", "getpid", "getppid", "getrusage", "gettid", "getuid",
    "sched_getaffinity", "sched_yield", "sysinfo", "uname",
    /* the C library's own needs */
    "futex", "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "set_robust_list", "sigaltstack", "exit", "exit_group"
};

/* SQLite's store, CA certificates and trust anchor: where, is the file fence's to say. */
static const char *const files[] = {
    "access",    "faccessat", "faccessat2", "fallocate",  "fchmod",   "fchown",   "flock",
    "ftruncate", "getcwd",    "getdents64", "lstat",      "mkdir",    "open",     "openat",
    "pread64",   "pwrite64",  "readlink",   "readlinkat", "rename",   "renameat", "renameat2",
    "stat",      "statfs",    "fstatfs",    "unlink",     "unlinkat", "utimensat"
};

static const unsigned ioctls[] = { FIONBIO, FIONREAD, SIOCOUTQ, SIOCOUTQNSD, TCGETS };

struct socket_rule {
    int family, type;
};

/* No SOCK_RAW and no AF_PACKET, although CAP_NET_RAW is there for other ends. */
static const struct socket_rule worker_sockets[] = {
    { AF_INET, SOCK_STREAM },
    { AF_INET6, SOCK_STREAM },
    { AF_UNIX, SOCK_STREAM },
};
static const struct socket_rule policy_sockets[] = {
    { AF_INET, SOCK_STREAM }, { AF_INET, SOCK_DGRAM },  { AF_INET6, SOCK_STREAM },
    { AF_INET6, SOCK_DGRAM }, { AF_UNIX, SOCK_STREAM },
};

static bool
allow_names(scmp_filter_ctx filter, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int call = seccomp_syscall_resolve_name(names[i]);

        if (call != __NR_SCMP_ERROR && seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) != 0)
            return false;
    }
    return true;
}

static bool
allow_sockets(scmp_filter_ctx filter, const struct socket_rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (seccomp_rule_add(
                filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
                SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)rules[i].family, 0),
                SCMP_A1(SCMP_CMP_MASKED_EQ, SOCK_TYPE_BITS, (scmp_datum_t)rules[i].type)) != 0)
            return false;
    /* The routing table is asked whether a destination is this host. */
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
                            SCMP_A0(SCMP_CMP_EQ, AF_NETLINK, 0),
                            SCMP_A2(SCMP_CMP_EQ, NETLINK_ROUTE, 0)) == 0;
}

static bool
allow_with_limits(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp no_code = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);

    for (size_t i = 0; i < COUNT(ioctls); i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                             SCMP_A1(SCMP_CMP_EQ, ioctls[i], 0)) != 0)
            return false;
    /* abort() ends this process, and nobody else. */
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, no_code) == 0 &&
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, no_code) == 0 &&
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                            SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0)) == 0;
}

static bool
fill(scmp_filter_ctx filter, enum sandbox_kind kind)
{
    bool done = allow_names(filter, common, COUNT(common)) && allow_with_limits(filter);

    switch (kind) {
    case SANDBOX_WORKER:
        return done && allow_sockets(filter, worker_sockets, COUNT(worker_sockets));
    case SANDBOX_POLICY:
        return done && allow_sockets(filter, policy_sockets, COUNT(policy_sockets)) &&
               allow_names(filter, files, COUNT(files));
    case SANDBOX_STATUS:
        return done;
    }
    return false;
}

enum result
call_filter_load(enum sandbox_kind kind)
{
    scmp_filter_ctx filter = seccomp_init(SANDBOX_LOOSE ? SCMP_ACT_LOG : SCMP_ACT_ERRNO(EPERM));
    enum result res = RES_NOMEM;

    if (!filter)
        return RES_NOMEM;
    /* The tree is shorter to walk than a list; an older libseccomp has only the list. */
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
    if (fill(filter, kind))
        res = seccomp_load(filter) == 0 ? RES_OK : RES_TEMPFAIL;
    seccomp_release(filter);
    return res;
}
