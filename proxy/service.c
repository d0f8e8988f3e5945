#include "proxy/service.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"

enum result
service_sockets_take(struct service_sockets *out, char *error, size_t error_size)
{
    int count = sd_listen_fds(true);

    *out = (struct service_sockets){ 0 };
    if (count <= 0)
        return RES_OK;
    if ((size_t)count > CONFIG_LISTEN_MAX) {
        snprintf(error, error_size, "%d sockets were handed over; at most %u listeners", count,
                 CONFIG_LISTEN_MAX);
        return RES_LIMIT;
    }
    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; fd++)
        out->fds[out->count++] = fd;
    for (size_t i = 0; i < out->count; i++) {
        int fd = out->fds[i], flags = fcntl(fd, F_GETFL);

        if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0 ||
            fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
            snprintf(error, error_size,
                     "descriptor %d, which was handed over, is no listening TCP socket", fd);
            return RES_SYNTAX;
        }
    }
    return RES_OK;
}

void
service_sockets_close(struct service_sockets *sockets)
{
    while (sockets->count)
        close(sockets->fds[--sockets->count]);
}

static bool
is_bound_to(int fd, const struct config_listen *listen)
{
    struct sockaddr_storage sa = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof sa;
    struct ip_addr addr = { 0 };
    uint16_t port = 0;

    if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
        return false;
    ip_addr_from_sockaddr((const struct sockaddr *)&sa, &addr, &port);
    return port == listen->port && ip_addr_equal(&addr, &listen->addr);
}

static bool
is_transparent(int fd)
{
    int on = 0;

    return getsockopt(fd, SOL_IP, IP_TRANSPARENT, &on, &(socklen_t){ sizeof on }) == 0 && on;
}

enum result
service_sockets_copy(const struct service_sockets *sockets, const struct config_listen *listen,
                     int *out_fd, char *error, size_t error_size)
{
    size_t i = 0;

    *out_fd = -1;
    while (i < sockets->count && !is_bound_to(sockets->fds[i], listen))
        i++;
    if (i == sockets->count)
        return RES_OK;
    if (listen->kind == INTERCEPT_TPROXY && !is_transparent(sockets->fds[i])) {
        snprintf(error, error_size,
                 "the socket handed over for port %u is not transparent: its unit needs "
                 "Transparent=yes",
                 listen->port);
        return RES_DENIED;
    }
    *out_fd = fcntl(sockets->fds[i], F_DUPFD_CLOEXEC, 0);
    if (*out_fd >= 0)
        return RES_OK;
    snprintf(error, error_size, "no descriptors: %s", strerror(errno));
    return RES_LIMIT;
}

/* Nobody to hear it is no failure, and the manager being deaf is not ours to mend. */
void
service_serving(const char *text)
{
    (void)sd_notifyf(0, "READY=1\nSTATUS=%s", text);
}

void
service_reloading(void)
{
    const struct clock clock = clock_system();

    /* The time tells systemd which of two reloads this one answers. */
    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=reading the configuration",
                     clock_mono_ms(&clock) * 1000);
}

void
service_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1\nSTATUS=finishing what is under way");
}

double
service_watchdog_s(void)
{
    uint64_t microseconds = 0;

    return sd_watchdog_enabled(0, &microseconds) > 0 ? (double)microseconds / 1e6 : 0.;
}

void
service_alive(void)
{
    (void)sd_notify(0, "WATCHDOG=1");
}
