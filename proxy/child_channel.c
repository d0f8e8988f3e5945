#include "proxy/child_channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/control_socket.h"

#define FD_MAX 1048576u /* fs.nr_open's default: no descriptor is above it */
#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

static enum result __attribute__((format(printf, 3, 4)))
fail(char *error, size_t error_size, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(error, error_size, fmt, args);
    va_end(args);
    return RES_SYNTAX;
}

/* A descriptor that is open; it is closed on exec from now on. */
static bool
to_fd(struct span text, int *out)
{
    unsigned long long n;

    if (!span_to_u64(text, 7, &n) || n > FD_MAX)
        return false;
    *out = (int)n;
    return fcntl(*out, F_SETFD, FD_CLOEXEC) == 0;
}

static bool
to_fds(const char *text, struct child_args *out)
{
    struct span rest = span_of(text);

    while (out->listen_count < CONFIG_LISTEN_MAX) {
        size_t comma = span_find(rest, ',');

        if (!to_fd(span_first(rest, comma), &out->listen_fds[out->listen_count]))
            return false;
        out->listen_count++;
        if (comma == rest.len)
            return true;
        rest = span_from(rest, comma + 1);
    }
    return false;
}

static bool
to_index(const char *text, unsigned *out)
{
    unsigned long long n;

    if (!span_to_u64(span_of(text), 2, &n) || n >= CONTROL_WORKERS_MAX)
        return false;
    *out = (unsigned)n;
    return true;
}

static bool
take_policy_option(const char *name, const char *value, struct child_args *out)
{
    unsigned long long number;

    if (strcmp(name, "--command-fd") == 0)
        return to_fd(span_of(value), &out->command_fd);
    if (strcmp(name, "--check-fd") == 0)
        return to_fd(span_of(value), &out->check_fd);
    if (strcmp(name, "--generation") == 0 && span_to_u64(span_of(value), 9, &number))
        out->generation = (unsigned)number;
    else if (strcmp(name, "--started") == 0 && span_to_u64(span_of(value), 12, &number))
        out->started_s = (int64_t)number;
    else
        return false;
    return true;
}

/* One option and its value. False: unknown to this role, or a value that cannot be. */
static bool
take_option(const char *name, const char *value, struct child_args *out)
{
    if (strcmp(name, "--config-fd") == 0)
        return to_fd(span_of(value), &out->config_fd);
    if (strcmp(name, "--control-fd") == 0)
        return to_fd(span_of(value), &out->control_fd);
    if (strcmp(name, "--config-name") == 0) {
        out->config_name = value;
        return true;
    }
    if (out->role != CHILD_WORKER)
        return take_policy_option(name, value, out);
    if (strcmp(name, "--index") == 0)
        return to_index(value, &out->index);
    return strcmp(name, "--listen-fds") == 0 && out->listen_count == 0 && to_fds(value, out);
}

enum result
child_args_parse(int argc, char **argv, enum child_role role, struct child_args *out, char *error,
                 size_t error_size)
{
    *out = (struct child_args){ .role = role,
                                .index = CONTROL_WORKERS_MAX,
                                .config_fd = -1,
                                .control_fd = -1,
                                .command_fd = -1,
                                .check_fd = -1 };
    for (int i = 1; i < argc; i += 2)
        if (i + 1 == argc || !take_option(argv[i], argv[i + 1], out))
            return fail(error, error_size,
                        "%s: not understood; this program is started by `stsgate run`", argv[i]);
    if (out->config_fd < 0 || out->control_fd < 0 || !out->config_name)
        return fail(error, error_size,
                    "--config-fd, --config-name or --control-fd is missing; "
                    "this program is started by `stsgate run`");
    if (role == CHILD_POLICY)
        out->index = 0;
    else if (out->index == CONTROL_WORKERS_MAX || out->listen_count == 0)
        return fail(error, error_size,
                    "--index or --listen-fds is missing; "
                    "this program is started by `stsgate run`");
    return RES_OK;
}

/* All of the memory file, by position: its offset is shared with the other children. */
static enum result
read_all(int fd, char **out_text, size_t *out_len)
{
    char *text = malloc(CONFIG_FILE_MAX_BYTES + 1);
    size_t len = 0;
    ssize_t n = 1;

    *out_text = NULL;
    if (!text)
        return RES_NOMEM;
    while (n > 0 && len <= CONFIG_FILE_MAX_BYTES) {
        n = pread(fd, text + len, CONFIG_FILE_MAX_BYTES + 1 - len, (off_t)len);
        if (n > 0)
            len += (size_t)n;
    }
    if (n < 0) {
        free(text);
        return RES_TEMPFAIL;
    }
    *out_text = text;
    *out_len = len;
    return RES_OK;
}

enum result
child_config(const struct child_args *args, struct config **out, char *error, size_t error_size)
{
    int seals = fcntl(args->config_fd, F_GET_SEALS);
    char *text = NULL;
    size_t len = 0;
    enum result res;

    *out = NULL;
    if (seals < 0 || (seals & SEALS) != SEALS)
        return fail(error, error_size, "%s:1: descriptor %d is no sealed memory file",
                    args->config_name, args->config_fd);
    res = read_all(args->config_fd, &text, &len);
    if (res != RES_OK) {
        fail(error, error_size, "%s:1: cannot be read: %s", args->config_name, strerror(errno));
        goto done;
    }
    res = config_parse(args->config_name, span_make(text, len), out, error, error_size);
    if (res == RES_OK && args->role == CHILD_WORKER && args->listen_count != (*out)->listen_count) {
        res = fail(error, error_size, "%s:1: %zu listeners configured, %zu handed over",
                   args->config_name, (*out)->listen_count, args->listen_count);
        config_free(*out);
        *out = NULL;
    }
done:
    free(text);
    return res;
}

void
child_channel_init(struct child_channel *channel, const struct child_args *args)
{
    int flags = fcntl(args->control_fd, F_GETFL);

    *channel =
        (struct child_channel){ .fd = args->control_fd, .role = args->role, .index = args->index };
    /* Cannot fail on an open descriptor; sending and receiving do not block in any case. */
    if (flags >= 0)
        (void)!fcntl(args->control_fd, F_SETFL, flags | O_NONBLOCK);
}

void
child_channel_clear(struct child_channel *channel)
{
    if (channel->fd >= 0)
        close(channel->fd);
    channel->fd = -1;
}

int
child_channel_fd(const struct child_channel *channel)
{
    return channel->fd;
}

/* Is it a message that the supervisor sends to this child? */
static bool
is_for(const struct child_channel *channel, const struct control_message *msg)
{
    switch (msg->type) {
    case CONTROL_POLICY_LINK:
        return channel->role == CHILD_POLICY || msg->worker == channel->index;
    case CONTROL_READY:
    case CONTROL_RELOAD:
    case CONTROL_DRAIN:
        return false;
    case CONTROL_STOP:
        return true;
    case CONTROL_RELOADED:
    case CONTROL_MODE:
    case CONTROL_RETIRE:
    case CONTROL_STATUS_LINK:
        return channel->role == CHILD_POLICY;
    }
    return false;
}

enum result
child_channel_recv(struct child_channel *channel, struct control_message *out, int *out_fd)
{
    enum result res = control_socket_recv(channel->fd, out, out_fd);

    if (res != RES_OK || is_for(channel, out))
        return res;
    if (*out_fd >= 0)
        close(*out_fd);
    *out_fd = -1;
    *out = (struct control_message){ 0 };
    return RES_SYNTAX;
}

enum result
child_channel_send(struct child_channel *channel, enum control_type type, unsigned value)
{
    return control_socket_send(channel->fd,
                               &(struct control_message){ .type = type, .value = value }, -1);
}

enum result
child_channel_send_ready(struct child_channel *channel)
{
    return control_socket_send(channel->fd, &(struct control_message){ .type = CONTROL_READY }, -1);
}
