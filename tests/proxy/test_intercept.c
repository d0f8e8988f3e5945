#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/intercept.h"

#define WAIT_MS 5000
#define MARK 2

/* Addresses of the network that main() makes when it may; every test but the first few needs it. */
#define OWN4 "198.51.100.1"
#define OWN6 "2001:db8:2::1"
#define OTHER4 "192.0.2.25" /* routed, but nobody's */
#define OTHER6 "2001:db8:1::25"

struct fixture {
    const char *skip; /* why there is no network of our own; NULL when there is */
};

static struct ip_addr
addr_of(const char *text)
{
    struct ip_addr addr;

    assert_int_equal(ip_addr_parse(text, &addr), RES_OK);
    return addr;
}

static uint16_t
port_of(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    struct ip_addr addr;
    uint16_t port;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    ip_addr_from_sockaddr((struct sockaddr *)&sa, &addr, &port);
    return port;
}

static bool
wait_for(int fd, short events)
{
    struct pollfd p = { .fd = fd, .events = events };

    return poll(&p, 1, WAIT_MS) == 1;
}

static int
option_of(int fd, int level, int option)
{
    int value = -1;

    assert_int_equal(getsockopt(fd, level, option, &value, &(socklen_t){ sizeof value }), 0);
    return value;
}

static int
listen_on(enum intercept kind, const char *addr, uint16_t port)
{
    struct config_listen listen = { .kind = kind, .addr = addr_of(addr), .port = port };
    char error[256] = "";
    int fd;

    if (intercept_listen(&listen, &fd, error, sizeof error) != RES_OK)
        fail_msg("%s", error);
    return fd;
}

static int
connect_to(const char *addr, uint16_t port, uint32_t mark)
{
    struct ip_addr ip = addr_of(addr);
    char error[256] = "";
    int fd;

    if (intercept_connect(NULL, &ip, port, mark, &fd, error, sizeof error) != RES_OK)
        fail_msg("%s", error);
    return fd;
}

static int
accept_from(int listener)
{
    int fd;

    assert_true(wait_for(listener, POLLIN));
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static bool
needs_network(void **state)
{
    const struct fixture *f = *state;

    if (f->skip)
        print_message("skipped: %s\n", f->skip);
    return !f->skip;
}

#define NEEDS_NETWORK(state)                                                                       \
    if (!needs_network(state))                                                                     \
    skip()

static void
test_listener_options(void **state)
{
    int fd = listen_on(INTERCEPT_REDIRECT, "::", 0);

    (void)state;
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_REUSEPORT), 1);
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_REUSEADDR), 1);
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
    assert_int_equal(option_of(fd, SOL_IPV6, IPV6_V6ONLY), 0);
    assert_int_equal(option_of(fd, SOL_IPV6, IPV6_TRANSPARENT), 0);
    close(fd);
}

static void
test_one_address_is_one_family(void **state)
{
    int fd = listen_on(INTERCEPT_REDIRECT, "::1", 0);

    (void)state;
    assert_int_equal(option_of(fd, SOL_IPV6, IPV6_V6ONLY), 1);
    close(fd);
}

static void
test_port_is_shared(void **state)
{
    int a = listen_on(INTERCEPT_REDIRECT, "127.0.0.1", 0);
    int b = listen_on(INTERCEPT_REDIRECT, "127.0.0.1", port_of(a));

    (void)state;
    close(a);
    close(b);
}

static void
test_port_in_use(void **state)
{
    struct config_listen listen = { .kind = INTERCEPT_REDIRECT, .addr = addr_of("127.0.0.1") };
    struct sockaddr_storage sa;
    socklen_t len = ip_addr_to_sockaddr(&listen.addr, 0, &sa);
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
    char error[256] = "", want[128];

    (void)state;
    assert_int_equal(bind(other, (struct sockaddr *)&sa, len), 0);
    listen.port = port_of(other);
    assert_int_equal(intercept_listen(&listen, &fd, error, sizeof error), RES_TEMPFAIL);
    assert_int_equal(fd, -1);
    snprintf(want, sizeof want, "cannot listen on 127.0.0.1:%u: bind: Address already in use; ",
             listen.port);
    assert_memory_equal(error, want, strlen(want));
    close(other);
}

static void
test_address_not_ours(void **state)
{
    struct config_listen listen = { .kind = INTERCEPT_REDIRECT,
                                    .addr = addr_of("2001:db8:ffff::1"),
                                    .port = 2525 };
    char error[256] = "";
    int fd;

    (void)state;
    assert_int_equal(intercept_listen(&listen, &fd, error, sizeof error), RES_TEMPFAIL);
    assert_non_null(strstr(error, "[2001:db8:ffff::1]:2525"));
    assert_non_null(strstr(error, "no such address"));
}

/* FAULTS G17: without the capability the message says which one is missing. */
static void
test_tproxy_without_capability(void **state)
{
    struct config_listen listen = { .kind = INTERCEPT_TPROXY, .addr = addr_of("::1") };
    pid_t pid;
    int status;

    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: not root, so nothing can be given up\n");
        skip();
    }
    pid = fork();
    if (pid == 0) {
        char error[256] = "";
        int fd;
        bool as_wanted = setresuid(65534, 65534, 65534) == 0 &&
                         intercept_listen(&listen, &fd, error, sizeof error) == RES_DENIED &&
                         fd == -1 && strstr(error, "CAP_NET_RAW");

        _exit(as_wanted ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void
test_connect_options(void **state)
{
    int listener = listen_on(INTERCEPT_REDIRECT, "::", 0);
    static const char *const targets[] = { "127.0.0.1", "::1" };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        int fd = connect_to(targets[i], port_of(listener), 0), peer = accept_from(listener);

        assert_true(wait_for(fd, POLLOUT));
        assert_int_equal(option_of(fd, SOL_SOCKET, SO_ERROR), 0);
        assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
        assert_int_equal(option_of(fd, SOL_SOCKET, SO_MARK), 0);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        close(peer);
        close(fd);
    }
    close(listener);
}

static void
test_connect_refused(void **state)
{
    int listener = listen_on(INTERCEPT_REDIRECT, "127.0.0.1", 0), fd;
    uint16_t port = port_of(listener);

    (void)state;
    close(listener);
    fd = connect_to("127.0.0.1", port, 0);
    assert_true(wait_for(fd, POLLOUT));
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    close(fd);
}

static void
test_connect_broadcast(void **state)
{
    struct ip_addr addr = addr_of("255.255.255.255");
    char error[256] = "";
    int fd;

    (void)state;
    assert_int_not_equal(intercept_connect(NULL, &addr, 25, 0, &fd, error, sizeof error), RES_OK);
    assert_int_equal(fd, -1);
    assert_memory_equal(error, "cannot connect to 255.255.255.255:25: connect: ", 47);
}

static void
test_mark(void **state)
{
    int fd;

    NEEDS_NETWORK(state);
    fd = connect_to(OTHER4, 25, 0xfffffffe);
    assert_int_equal((unsigned)option_of(fd, SOL_SOCKET, SO_MARK), 0xfffffffe);
    close(fd);
}

/* Neither kind of listener mistakes a connection that nothing intercepted. */
static void
test_not_intercepted(void **state)
{
    int listener = listen_on(INTERCEPT_REDIRECT, "127.0.0.1", 0);
    int fd = connect_to("127.0.0.1", port_of(listener), 0), peer = accept_from(listener);
    struct ip_addr addr;
    uint16_t port;

    (void)state;
    assert_int_equal(intercept_destination(peer, INTERCEPT_TPROXY, &addr, &port), RES_OK);
    assert_int_equal(port, port_of(listener)); /* intercept_refuses() sees our own address */
    if (intercept_destination(peer, INTERCEPT_REDIRECT, &addr, &port) == RES_OK)
        assert_int_equal(port, port_of(listener)); /* connection tracking is on: the same */
    else
        assert_int_equal(addr.len, 0);
    close(peer);
    close(fd);
    close(listener);
}

static void
test_destination_of_a_closed_socket(void **state)
{
    struct ip_addr addr;
    uint16_t port;

    (void)state;
    assert_int_equal(intercept_destination(-1, INTERCEPT_TPROXY, &addr, &port), RES_TEMPFAIL);
    assert_int_equal(addr.len, 0);
    assert_int_equal(intercept_destination(-1, INTERCEPT_REDIRECT, &addr, &port), RES_TEMPFAIL);
    assert_int_equal(port, 0);
}

/* ---- destinations, PRX-002 and PRX-054 ---- */

static const struct refuse_case {
    const char *addr; /* "" for none */
    uint16_t port;
    const char *want; /* NULL: may be dialled */
    bool network;
} refusals[] = {
    { "", 25, "destination-unknown", false },
    { "127.0.0.1", 25, "destination-undialable", false },
    { "127.255.0.1", 25, "destination-undialable", false },
    { "::1", 25, "destination-undialable", false },
    { "::ffff:127.0.0.1", 25, "destination-undialable", false },
    { "0.0.0.0", 25, "destination-undialable", false },
    { "::", 25, "destination-undialable", false },
    { "169.254.169.254", 25, "destination-undialable", false },
    { "fe80::1", 25, "destination-undialable", false },
    { "224.0.0.1", 25, "destination-undialable", false },
    { "ff02::1", 25, "destination-undialable", false },
    { "255.255.255.255", 25, "destination-undialable", false },
    { OWN4, 25, "destination-own", true },
    { OWN6, 25, "destination-own", true },
    { "198.51.100.77", 25, "destination-own", true }, /* a route of type local, no address */
    { OTHER4, 6379, "destination-port", true },
    { OTHER6, 2525, "destination-port", true },
    { OTHER4, 25, NULL, true },
    { OTHER6, 25, NULL, true },
    { OTHER4, 587, NULL, true },
    { "203.0.113.9", 25, NULL, true }, /* no route at all: the connection will tell */
    { "2001:db8:ffff::9", 25, NULL, true },
};

struct refuse_state {
    struct fixture fixture;
    const struct refuse_case *row;
};

static void
test_refuses(void **state)
{
    const struct refuse_state *s = *state;
    const struct refuse_case *c = s->row;
    static const struct config config = { .destination_ports = { 25, 587 },
                                          .destination_port_count = 2 };
    struct ip_addr addr = { 0 };
    const char *got;

    if (c->network)
        NEEDS_NETWORK(state);
    if (*c->addr)
        addr = addr_of(c->addr);
    got = intercept_refuses(&addr, c->port, false, &config);
    if (c->want) {
        assert_non_null(got);
        assert_string_equal(got, c->want);
    } else if (got) {
        fail_msg("refused: %s", got);
    }
}

/* A failover gateway binds addresses that it does not have yet; they are no own ones. */
static void
test_own_with_nonlocal_bind(void **state)
{
    struct ip_addr other = addr_of(OTHER4), own = addr_of(OWN4);
    FILE *file;

    NEEDS_NETWORK(state);
    file = fopen("/proc/sys/net/ipv4/ip_nonlocal_bind", "w");
    if (!file) {
        print_message("skipped: /proc/sys is read-only\n");
        skip();
    }
    fputs("1\n", file);
    fclose(file);
    assert_false(intercept_is_own(&other));
    assert_true(intercept_is_own(&own));
}

/* ---- with the kernel's rules: a client of the same namespace, taken over in its output ---- */

static bool
run(const char *command)
{
    int status = system(command);

    if (status != 0)
        print_message("%s: status %d\n", command, status);
    return status == 0;
}

#define REDIRECT_PORT 2526

static void
test_redirect(void **state)
{
    static const char *const targets[] = { OTHER4, OTHER6 };
    int listener;

    NEEDS_NETWORK(state);
    if (!run("nft 'add table inet stsgate_test;"
             "add chain inet stsgate_test out { type nat hook output priority -100 ; };"
             "add rule inet stsgate_test out tcp dport 25 meta mark != 2 redirect to :2526'")) {
        print_message("skipped: no nftables nat here\n");
        skip();
    }
    listener = listen_on(INTERCEPT_REDIRECT, "::", REDIRECT_PORT);
    for (size_t i = 0; i < 2; i++) {
        int fd = connect_to(targets[i], 25, 0), peer = accept_from(listener);
        struct ip_addr want = addr_of(targets[i]), got;
        uint16_t port;

        assert_int_equal(intercept_destination(peer, INTERCEPT_REDIRECT, &got, &port), RES_OK);
        assert_true(ip_addr_equal(&got, &want));
        assert_int_equal(port, 25);
        close(peer);
        close(fd);
    }
    /* PRX-003: with the mark the connection goes its own way, to nobody. */
    {
        int fd = connect_to(OTHER4, 25, MARK);
        struct pollfd p = { .fd = listener, .events = POLLIN };

        assert_int_equal(poll(&p, 1, 100), 0);
        close(fd);
    }
    close(listener);
    assert_true(run("nft delete table inet stsgate_test"));
}

/* A client whose packets the rule of test_tproxy() brings back to this host. */
static int
connect_as_client(const char *from, const char *to, uint16_t port)
{
    struct ip_addr own = addr_of(from), target = addr_of(to);
    struct sockaddr_storage sa;
    socklen_t len = ip_addr_to_sockaddr(&own, 0, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_MARK, &(int){ 9 }, sizeof(int)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    len = ip_addr_to_sockaddr(&target, port, &sa);
    assert_true(connect(fd, (struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS);
    return fd;
}

/* The local route makes the host take packets for foreign addresses, which is all that the rules
 * for tproxy do besides choosing the listener; so a listener on port 25 stands for them. */
static void
test_tproxy(void **state)
{
    static const char *const sources[] = { OWN4, OWN6 }, *const targets[] = { OTHER4, OTHER6 };
    int listener;

    NEEDS_NETWORK(state);
    assert_true(
        run("ip rule add fwmark 9 lookup 100 && ip route add local 0.0.0.0/0 dev lo table 100"
            " && ip -6 rule add fwmark 9 lookup 100"
            " && ip -6 route add local ::/0 dev lo table 100"));
    listener = listen_on(INTERCEPT_TPROXY, "::", 25);
    assert_int_equal(option_of(listener, SOL_IP, IP_TRANSPARENT), 1);
    assert_int_equal(option_of(listener, SOL_IPV6, IPV6_TRANSPARENT), 1);
    for (size_t i = 0; i < 2; i++) {
        int fd = connect_as_client(sources[i], targets[i], 25), peer = accept_from(listener);
        struct ip_addr want = addr_of(targets[i]), got;
        uint16_t port;

        assert_int_equal(intercept_destination(peer, INTERCEPT_TPROXY, &got, &port), RES_OK);
        assert_true(ip_addr_equal(&got, &want));
        assert_int_equal(port, 25);
        close(peer);
        close(fd);
    }
    close(listener);
}

/* A network of our own, so that nothing outside is touched and the addresses are known. */
static const char *
make_network(void)
{
    if (geteuid() != 0)
        return "not root";
    if (unshare(CLONE_NEWNET) != 0)
        return "no network namespaces here";
    if (!run("ip link set lo up && ip link add d0 type veth peer name d1"
             " && ip link set d0 up && ip link set d1 up"
             " && ip addr add " OWN4 "/24 dev d0 && ip -6 addr add " OWN6 "/64 dev d0 nodad"
             " && ip route add 192.0.2.0/24 dev d0 && ip -6 route add 2001:db8:1::/64 dev d0"
             " && ip route add local 198.51.100.64/26 dev lo"))
        return "iproute2 or veth interfaces are missing";
    return NULL;
}

int
main(void)
{
    static struct fixture fixture;
    static struct refuse_state rows[sizeof refusals / sizeof *refusals];
    static char names[sizeof refusals / sizeof *refusals][96];
    struct CMUnitTest tests[64] = {
        cmocka_unit_test_prestate(test_listener_options, &fixture),
        cmocka_unit_test_prestate(test_one_address_is_one_family, &fixture),
        cmocka_unit_test_prestate(test_port_is_shared, &fixture),
        cmocka_unit_test_prestate(test_port_in_use, &fixture),
        cmocka_unit_test_prestate(test_address_not_ours, &fixture),
        cmocka_unit_test_prestate(test_tproxy_without_capability, &fixture),
        cmocka_unit_test_prestate(test_connect_options, &fixture),
        cmocka_unit_test_prestate(test_connect_refused, &fixture),
        cmocka_unit_test_prestate(test_connect_broadcast, &fixture),
        cmocka_unit_test_prestate(test_not_intercepted, &fixture),
        cmocka_unit_test_prestate(test_destination_of_a_closed_socket, &fixture),
        cmocka_unit_test_prestate(test_mark, &fixture),
        cmocka_unit_test_prestate(test_redirect, &fixture),
        cmocka_unit_test_prestate(test_tproxy, &fixture),
        cmocka_unit_test_prestate(test_own_with_nonlocal_bind, &fixture),
    };
    size_t n = 15;

    fixture.skip = make_network();
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++, n++) {
        rows[i] = (struct refuse_state){ fixture, &refusals[i] };
        snprintf(names[i], sizeof names[i], "%s port %u: %s",
                 *refusals[i].addr ? refusals[i].addr : "none", refusals[i].port,
                 refusals[i].want ? refusals[i].want : "dialled");
        tests[n] = (struct CMUnitTest){ names[i], test_refuses, NULL, NULL, &rows[i] };
    }
    return _cmocka_run_group_tests("intercept", tests, n, NULL, NULL);
}
