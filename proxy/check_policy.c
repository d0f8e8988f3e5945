#include "proxy/check_policy.h"

#include "base/buffer.h"
#include "proxy/child_process.h"
#include "proxy/command_msg.h"
#include "proxy/control_socket.h"
#include "proxy/policy_client.h"
#include "proxy/record_view.h"

#include <errno.h>
#include <ev.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 16384u

struct check_policy {
    struct ev_loop *loop;
    int control; /* owned, like command */
    int command;
    struct policy_client *client; /* owned; has the other link */
    struct buffer in;
    ev_io readable;
    ev_timer failed; /* never started, only fed: done() from the loop */
    check_policy_part *part;
    check_policy_done *done; /* NULL: nothing is asked */
    void *arg;
};

/* ---- answers ---- */

static void
finish(struct check_policy *p, bool whole)
{
    check_policy_done *done = p->done;

    p->done = NULL;
    ev_io_stop(p->loop, &p->readable);
    if (done)
        done(p->arg, whole);
}

/* The frames that are whole. False: nonsense. */
static bool
take_frames(struct check_policy *p)
{
    while (p->done) {
        struct span map;
        size_t used, len;
        enum result res = command_frame_read(buffer_span(&p->in), &map, &used);

        if (res == RES_AGAIN)
            return true;
        if (res != RES_OK || pack_check(map, COMMAND_FRAME_MAX, &len) != RES_OK || len != map.len)
            return false;
        if (record_text(map, "status").len) { /* the last one */
            bool whole = record_is(map, "status", "ok");

            buffer_consume(&p->in, used);
            finish(p, whole);
            return true;
        }
        p->part(p->arg, map);
        buffer_consume(&p->in, used);
    }
    return true;
}

static void
on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct check_policy *p = w->data;
    char *place;
    ssize_t n = -1;

    (void)loop, (void)revents;
    if (buffer_reserve(&p->in, READ_BYTES, &place) == RES_OK) {
        n = recv(p->command, place, READ_BYTES, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
    }
    if (n > 0)
        buffer_commit(&p->in, (size_t)n);
    if (n <= 0 || !take_frames(p))
        finish(p, false);
}

static void
on_failed(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    finish(w->data, false);
}

void
check_policy_inspect(struct check_policy *p, const char *domain, check_policy_part *part,
                     check_policy_done *done, void *arg)
{
    char line[COMMAND_LINE_MAX + 1];
    int len = snprintf(line, sizeof line, "%s %s\n", command_verb_name(COMMAND_INSPECT), domain);

    p->part = part;
    p->done = done;
    p->arg = arg;
    buffer_clear(&p->in);
    if (send(p->command, line, (size_t)len, MSG_NOSIGNAL) == len)
        ev_io_start(p->loop, &p->readable);
    else
        ev_feed_event(p->loop, &p->failed, EV_CUSTOM);
}

/* ---- the child ---- */

static enum result
start_child(const char *path, const char *config_name, const int fds[3])
{
    char *name = (char *)(uintptr_t)config_name; /* execv() changes nothing */
    char *argv[] = {
        "stsgate-policy", "--config-fd", "3", "--config-name", name, "--control-fd", "4",
        "--check-fd",     "5",           NULL
    };

    pid_t pid; /* whose end nobody waits for: it comes with that of its control channel */

    return child_process_start(path, argv, fds, 3, &pid);
}

static void
close_pair(int fds[2])
{
    for (unsigned i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    fds[0] = fds[1] = -1;
}

/* Its end of the link goes through the control channel, as the supervisor sends it. */
static enum result
send_link(struct check_policy *p)
{
    int link[2];
    enum result res = control_socket_pair(link);

    if (res == RES_OK)
        res = control_socket_send(
            p->control, &(struct control_message){ .type = CONTROL_POLICY_LINK }, link[1]);
    if (res == RES_OK) {
        policy_client_link(p->client, link[0]);
        link[0] = -1; /* taken */
    }
    close_pair(link);
    return res;
}

static enum result
open_child(struct check_policy *p, const char *config_name, struct span config_text)
{
    int control[2] = { -1, -1 }, command[2] = { -1, -1 }, config = -1;
    char path[PATH_MAX];
    enum result res = child_process_find("stsgate-policy", path, sizeof path);

    if (res == RES_OK)
        res = child_process_seal(config_text, &config);
    if (res == RES_OK)
        res = control_socket_pair(control);
    if (res == RES_OK &&
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, command) != 0)
        res = RES_LIMIT;
    if (res == RES_OK)
        res = start_child(path, config_name, (const int[]){ config, control[1], command[1] });
    if (res == RES_OK) {
        p->control = control[0];
        p->command = command[0];
        control[0] = command[0] = -1;
    }
    close_pair(control);
    close_pair(command);
    if (config >= 0)
        close(config);
    return res == RES_OK ? send_link(p) : res;
}

enum result
check_policy_new(struct ev_loop *loop, const struct clock *clock, const char *config_name,
                 struct span config_text, struct check_policy **out)
{
    struct check_policy *p = calloc(1, sizeof *p);
    enum result res = RES_NOMEM;

    *out = NULL;
    if (!p)
        return RES_NOMEM;
    p->loop = loop;
    p->control = p->command = -1;
    buffer_init(&p->in, 2 * COMMAND_FRAME_MAX);
    ev_init(&p->failed, on_failed);
    p->failed.data = p->readable.data = p;
    p->client = policy_client_new(loop, clock);
    if (p->client)
        res = open_child(p, config_name, config_text);
    if (res != RES_OK) {
        check_policy_free(p);
        return res;
    }
    ev_io_init(&p->readable, on_readable, p->command, EV_READ);
    *out = p;
    return RES_OK;
}

void
check_policy_free(struct check_policy *p)
{
    if (!p)
        return;
    ev_io_stop(p->loop, &p->readable);
    policy_client_free(p->client);
    if (p->command >= 0)
        close(p->command);
    if (p->control >= 0)
        close(p->control); /* to the child that is the end */
    buffer_clear(&p->in);
    free(p);
}

struct policy_client *
check_policy_client(struct check_policy *p)
{
    return p->client;
}
