#include "proxy/intercept.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* <linux/netfilter_ipv4.h> and <linux/netfilter_ipv6/ip6_tables.h>, which clash with the C
 * library's headers: SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST. */
#define ORIGINAL_DST 80
#define ENDPOINT_TEXT_MAX (IP_ADDR_TEXT_MAX + 8u) /* [ADDRESS]:PORT */

static bool
switch_on(int fd, int level, int option)
{
    return setsockopt(fd, level, option, &(int){ 1 }, sizeof(int)) == 0;
}

static const char *
endpoint_text(const struct ip_addr *addr, uint16_t port, char out[ENDPOINT_TEXT_MAX])
{
    char text[IP_ADDR_TEXT_MAX];

    snprintf(out, ENDPOINT_TEXT_MAX, addr->len == 16 ? "[%s]:%u" : "%s:%u",
             ip_addr_text(addr, text), port);
    return out;
}

/* A socket for IPv6 that takes both families must be transparent for both. */
static bool
make_transparent(int fd, int family)
{
    if (family == AF_INET)
        return switch_on(fd, SOL_IP, IP_TRANSPARENT);
    return switch_on(fd, SOL_IPV6, IPV6_TRANSPARENT) && switch_on(fd, SOL_IP, IP_TRANSPARENT);
}

static bool
is_any(const struct ip_addr *addr)
{
    static const struct ip_addr any6 = { .len = 16 };

    return ip_addr_equal(addr, &any6);
}

/* Which call failed, for the message; NULL when none did. errno is that call's. */
static const char *
set_up_listener(int fd, const struct config_listen *listen_on)
{
    struct sockaddr_storage sa;
    socklen_t len = ip_addr_to_sockaddr(&listen_on->addr, listen_on->port, &sa);
    int v6only = !is_any(&listen_on->addr);

    if (!switch_on(fd, SOL_SOCKET, SO_REUSEADDR) || !switch_on(fd, SOL_SOCKET, SO_REUSEPORT))
        return "SO_REUSEPORT";
    if (sa.ss_family == AF_INET6 &&
        setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only) != 0)
        return "IPV6_V6ONLY";
    if (listen_on->kind == INTERCEPT_TPROXY && !make_transparent(fd, sa.ss_family))
        return "IP_TRANSPARENT";
    if (bind(fd, (struct sockaddr *)&sa, len) != 0)
        return "bind";
    if (listen(fd, SOMAXCONN) != 0)
        return "listen";
    return NULL;
}

static const char *
advice(int error)
{
    switch (error) {
    case EPERM:
        return "; tproxy needs CAP_NET_ADMIN or CAP_NET_RAW";
    case EACCES:
        return "; ports below 1024 need CAP_NET_BIND_SERVICE";
    case EADDRINUSE:
        return "; another program has the port";
    case EADDRNOTAVAIL:
        return "; this host has no such address";
    case EAFNOSUPPORT:
        return "; the kernel has no IPv6: listen on an address of IPv4, 0.0.0.0 for all";
    case ENOPROTOOPT:
        return "; the kernel lacks CONFIG_NETFILTER_XT_TARGET_TPROXY or IPv6";
    default:
        return "";
    }
}

enum result
intercept_listen(const struct config_listen *listen_on, int *out_fd, char *error, size_t error_size)
{
    char text[ENDPOINT_TEXT_MAX];
    int family = listen_on->addr.len == 4 ? AF_INET : AF_INET6;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const char *failed = fd < 0 ? "socket" : set_up_listener(fd, listen_on);
    int saved = errno;

    *out_fd = -1;
    if (!failed) {
        *out_fd = fd;
        return RES_OK;
    }
    snprintf(error, error_size, "cannot listen on %s: %s: %s%s",
             endpoint_text(&listen_on->addr, listen_on->port, text), failed, strerror(saved),
             advice(saved));
    if (fd >= 0)
        close(fd);
    return saved == EPERM || saved == EACCES ? RES_DENIED : RES_TEMPFAIL;
}

/* A client of IPv4 on a listener of IPv6 has a mapped address: netfilter keeps its destination with
 * the other connections of IPv4. */
static bool
is_ipv4(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    struct ip_addr local;

    if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
        return false;
    ip_addr_from_sockaddr((struct sockaddr *)&sa, &local, NULL);
    return local.len == 4;
}

enum result
intercept_destination(int fd, enum intercept kind, struct ip_addr *out, uint16_t *out_port)
{
    struct sockaddr_storage sa = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof sa;
    int failed = -1;

    *out = (struct ip_addr){ 0 };
    *out_port = 0;
    switch (kind) {
    case INTERCEPT_TPROXY:
        failed = getsockname(fd, (struct sockaddr *)&sa, &len);
        break;
    case INTERCEPT_REDIRECT:
        failed = getsockopt(fd, is_ipv4(fd) ? SOL_IP : SOL_IPV6, ORIGINAL_DST, &sa, &len);
        break;
    case INTERCEPT_PROXY: /* told by the header, which is not this module's */
        break;
    }
    if (failed)
        return RES_TEMPFAIL;
    ip_addr_from_sockaddr((struct sockaddr *)&sa, out, out_port);
    return out->len ? RES_OK : RES_TEMPFAIL;
}

/* The kernel's answer to "how would you reach addr?": the type of route, RTN_UNSPEC for none;
 * false when there was no answer. */
static bool
ask_route(int fd, const struct ip_addr *addr, unsigned *out_type)
{
    struct {
        struct nlmsghdr head;
        struct rtmsg route;
        struct rtattr attr;
        uint8_t dst[16];
    } question = { .head = { .nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST } };
    union {
        struct nlmsghdr head;
        char bytes[4096];
    } answer;
    const struct rtmsg *route;
    ssize_t n;

    question.head.nlmsg_len = (uint32_t)(offsetof(__typeof__(question), dst) + addr->len);
    question.route.rtm_family = addr->len == 4 ? AF_INET : AF_INET6;
    question.route.rtm_dst_len = (unsigned char)(addr->len * 8);
    question.attr.rta_type = RTA_DST;
    question.attr.rta_len = (unsigned short)RTA_LENGTH(addr->len);
    memcpy(question.dst, addr->bytes, addr->len);
    if (send(fd, &question, question.head.nlmsg_len, 0) < 0)
        return false;
    n = recv(fd, &answer, sizeof answer, MSG_DONTWAIT); /* it is there when send() returns */
    if (n < (ssize_t)NLMSG_LENGTH(sizeof *route))
        return false;
    route = NLMSG_DATA(&answer.head);
    *out_type = answer.head.nlmsg_type == RTM_NEWROUTE ? route->rtm_type : RTN_UNSPEC;
    return true;
}

/* Asked of the routing table: whether bind() succeeds would tell the same, except on gateways that
 * set ip_nonlocal_bind for a failover address, where it always does. */
bool
intercept_is_own(const struct ip_addr *addr)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    unsigned type = RTN_LOCAL;
    bool known = fd >= 0 && ask_route(fd, addr, &type);

    if (fd >= 0)
        close(fd);
    return !known || type == RTN_LOCAL;
}

const char *
intercept_refuses(const struct ip_addr *addr, uint16_t port, bool known_foreign,
                  const struct config *config)
{
    bool port_is_listed = false;

    for (size_t i = 0; i < config->destination_port_count; i++)
        port_is_listed = port_is_listed || config->destination_ports[i] == port;
    if (addr->len == 0)
        return "destination-unknown";
    if (ip_addr_is_undialable(addr))
        return "destination-undialable";
    if (!known_foreign && intercept_is_own(addr))
        return "destination-own";
    return port_is_listed ? NULL : "destination-port";
}

/* As set_up_listener(). The port is left to connect(), which knows of the destination: bind() would
 * have one port serve one connection only, whoever it goes to. */
static const char *
come_from(int fd, const struct ip_addr *source)
{
    struct sockaddr_storage sa;
    socklen_t len = ip_addr_to_sockaddr(source, 0, &sa);

    if (!make_transparent(fd, sa.ss_family))
        return "IP_TRANSPARENT";
    if (!switch_on(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT))
        return "IP_BIND_ADDRESS_NO_PORT";
    return bind(fd, (struct sockaddr *)&sa, len) == 0 ? NULL : "bind";
}

/* As set_up_listener(). */
static const char *
begin_to_connect(int fd, const struct ip_addr *source, const struct ip_addr *addr, uint16_t port,
                 uint32_t mark)
{
    struct sockaddr_storage sa;
    socklen_t len = ip_addr_to_sockaddr(addr, port, &sa);
    const char *failed = source ? come_from(fd, source) : NULL;

    if (failed)
        return failed;

    /* Without the mark the rules would take this connection over, too (PRX-003). */
    if (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0)
        return "SO_MARK";
    if (!switch_on(fd, IPPROTO_TCP, TCP_NODELAY))
        return "TCP_NODELAY";
    if (connect(fd, (struct sockaddr *)&sa, len) != 0 && errno != EINPROGRESS)
        return "connect";
    return NULL;
}

enum result
intercept_connect(const struct ip_addr *source, const struct ip_addr *addr, uint16_t port,
                  uint32_t mark, int *out_fd, char *error, size_t error_size)
{
    char text[ENDPOINT_TEXT_MAX];
    int family = addr->len == 4 ? AF_INET : AF_INET6;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const char *failed = fd < 0 ? "socket" : begin_to_connect(fd, source, addr, port, mark);
    int saved = errno;

    *out_fd = -1;
    if (!failed) {
        *out_fd = fd;
        return RES_OK;
    }
    snprintf(error, error_size, "cannot connect to %s: %s: %s", endpoint_text(addr, port, text),
             failed, strerror(saved));
    if (fd >= 0)
        close(fd);
    return saved == EPERM || saved == EACCES ? RES_DENIED : RES_TEMPFAIL;
}
