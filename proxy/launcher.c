#include "proxy/launcher.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "proxy/child_process.h"
#include "proxy/intercept.h"
#include "proxy/supervisor.h"

#define POLICY_ARGS 11 /* without the control socket */

_Static_assert(2 + CONFIG_LISTEN_MAX <= CHILD_FDS_MAX, "configuration, control, listeners");

void
launcher_init(struct launcher *l, const struct supervisor_setup *setup, unsigned generation,
              int command_fd)
{
    l->generation = generation;
    l->command_fd = command_fd;
    l->setup = setup;
    l->config_fd = -1;
    for (size_t w = 0; w < CONTROL_WORKERS_MAX; w++)
        for (size_t i = 0; i < CONFIG_LISTEN_MAX; i++)
            l->listen_fds[w][i] = -1;
}

void
launcher_close_listeners(struct launcher *l)
{
    for (size_t w = 0; w < CONTROL_WORKERS_MAX; w++)
        for (size_t i = 0; i < CONFIG_LISTEN_MAX; i++) {
            if (l->listen_fds[w][i] >= 0)
                close(l->listen_fds[w][i]);
            l->listen_fds[w][i] = -1;
        }
}

void
launcher_clear(struct launcher *l)
{
    launcher_close_listeners(l);
    if (l->config_fd >= 0)
        close(l->config_fd);
    l->config_fd = -1;
}

/* The older generation's socket where it has the same one: what waits in its queue is served. */
static int
copy_of_listener(const struct launcher *older, unsigned worker, const struct config_listen *listen)
{
    const struct config *config = older->setup->config;

    for (size_t i = 0; i < config->listen_count && worker < config->workers; i++)
        if (config->listen[i].kind == listen->kind && config->listen[i].port == listen->port &&
            ip_addr_equal(&config->listen[i].addr, &listen->addr))
            return fcntl(older->listen_fds[worker][i], F_DUPFD_CLOEXEC, 0);
    return -1;
}

static enum result
open_listener(struct launcher *l, const struct launcher *older, unsigned worker, size_t i,
              char *error, size_t error_size)
{
    const struct config_listen *listen = &l->setup->config->listen[i];
    enum result res;

    if (older)
        l->listen_fds[worker][i] = copy_of_listener(older, worker, listen);
    if (l->listen_fds[worker][i] >= 0)
        return RES_OK;
    res = service_sockets_copy(l->setup->sockets, listen, &l->listen_fds[worker][i], error,
                               error_size);
    if (res != RES_OK || l->listen_fds[worker][i] >= 0)
        return res;
    return intercept_listen(listen, &l->listen_fds[worker][i], error, error_size);
}

enum result
launcher_open(struct launcher *l, const struct launcher *older, char *error, size_t error_size)
{
    const struct config *config = l->setup->config;
    enum result res = child_process_seal(l->setup->config_text, &l->config_fd);

    if (res != RES_OK)
        snprintf(error, error_size, "no memory or descriptors for the configuration");
    for (unsigned w = 0; w < config->workers && res == RES_OK; w++)
        for (size_t i = 0; i < config->listen_count && res == RES_OK; i++)
            res = open_listener(l, older, w, i, error, error_size);
    return res;
}

/* Fill in descriptors and their list for --listen-fds. Returns how many descriptors there are. */
static size_t
worker_fds(const struct launcher *l, unsigned worker, int *fds, char *list, size_t list_size)
{
    size_t count = 2, at = 0;

    *list = '\0';
    for (size_t i = 0; i < l->setup->config->listen_count; i++) {
        int n = snprintf(list + at, list_size - at, "%s%zu", i ? "," : "", CHILD_FIRST_FD + count);

        at += (size_t)n; /* 16 numbers below 100 fit */
        fds[count++] = l->listen_fds[worker][i];
    }
    return count;
}

enum result
launcher_start(const struct launcher *l, unsigned index, int control_fd, pid_t *out_pid)
{
    char *name = (char *)(uintptr_t)l->setup->config_name; /* execv() changes nothing */
    int fds[CHILD_FDS_MAX] = { l->config_fd, control_fd };
    char number[12], started[24], list[CONFIG_LISTEN_MAX * 4];
    char *policy_argv[] = { "stsgate-policy",
                            "--generation",
                            number,
                            "--started",
                            started,
                            "--config-fd",
                            "3",
                            "--config-name",
                            name,
                            "--control-fd",
                            "4",
                            "--command-fd",
                            "5",
                            NULL };
    char *worker_argv[] = {
        "stsgate-worker", "--index", number,         "--config-fd", "3", "--config-name", name,
        "--control-fd",   "4",       "--listen-fds", list,          NULL
    };
    size_t count;

    if (index == LAUNCH_POLICY) {
        snprintf(number, sizeof number, "%u", l->generation);
        snprintf(started, sizeof started, "%" PRId64, l->setup->started_s);
        fds[2] = l->command_fd;
        if (l->command_fd < 0)
            policy_argv[POLICY_ARGS] = NULL;
        return child_process_start(l->setup->policy_path, policy_argv, fds,
                                   l->command_fd < 0 ? 2 : 3, out_pid);
    }
    snprintf(number, sizeof number, "%u", index);
    count = worker_fds(l, index, fds, list, sizeof list);
    return child_process_start(l->setup->worker_path, worker_argv, fds, count, out_pid);
}
