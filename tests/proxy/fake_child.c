/* tests/proxy/fake_child.c: a worker and a policy process that do what test_supervisor.c tells
 * them, over the SEQPACKET socket named by FAKE_CHILD_SOCKET. What happens is reported there, too:
 *
 *     hello NAME fds=0,1,2,...     link N        stop        got C (over the link)      accepted
 *
 * Commands are one octet, with the worker's number as second one for those about a link:
 *
 *     r  say ready          c  die by a signal       x  exit with 2       q  exit with 0
 *     a  accept one         s  send over the link    g  garbage to the supervisor
 *     d  close the control channel
 *     i  outlive the supervisor: "ignores", and when it is gone "orphan" */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/child_channel.h"

#define LINKS 8
#define WAIT_MS 60000

struct fake {
    struct child_args args;
    struct child_channel channel;
    int test_fd;
    bool outlives;
    int links[LINKS]; /* of the policy process one per worker, of a worker the first */
};

static void
report(const struct fake *f, const char *text)
{
    if (send(f->test_fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        _exit(9);
}

/* Before anything of ours is open: what the supervisor left. */
static void
list_descriptors(char *out, size_t size)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    size_t at = 0;

    *out = '\0';
    if (!dir)
        return;
    for (int fd = 0; fd < 64; fd++) {
        rewinddir(dir);
        while ((entry = readdir(dir)))
            if (strtol(entry->d_name, NULL, 10) == fd && entry->d_name[0] != '.' &&
                fd != dirfd(dir))
                at += (size_t)snprintf(out + at, size - at, "%s%d", at ? "," : "", fd);
    }
    closedir(dir);
}

static int
connect_to_test(void)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    const char *path = getenv("FAKE_CHILD_SOCKET");
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (!path || strlen(path) >= sizeof sa.sun_path)
        _exit(9);
    memcpy(sa.sun_path, path, strlen(path));
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0)
        _exit(9);
    return fd;
}

static void
accept_one(struct fake *f)
{
    struct pollfd p = { .fd = f->args.listen_fds[0], .events = POLLIN };
    int fd;

    if (poll(&p, 1, WAIT_MS) != 1)
        _exit(9);
    fd = accept(f->args.listen_fds[0], NULL, NULL);
    if (fd < 0)
        _exit(9);
    close(fd);
    report(f, "accepted");
}

static void
obey(struct fake *f)
{
    char command[2] = { 0 };

    if (recv(f->test_fd, command, sizeof command, 0) <= 0)
        _exit(9); /* the test is over */
    switch (command[0]) {
    case 'r':
        if (child_channel_send_ready(&f->channel) != RES_OK)
            _exit(9);
        break;
    case 'c':
        kill(getpid(), SIGKILL);
        break;
    case 'x':
        _exit(2);
    case 'q':
        _exit(0);
    case 'a':
        accept_one(f);
        break;
    case 's':
        if (send(f->links[command[1] - '0'], "!", 1, MSG_NOSIGNAL) != 1)
            _exit(9);
        break;
    case 'g':
        if (send(f->channel.fd, "\x94\x02\x03\x00\x00", 5, MSG_NOSIGNAL) != 5) /* STOP, upwards */
            _exit(9);
        break;
    case 'l':
        if (child_channel_send(&f->channel, CONTROL_RELOAD, 0) != RES_OK)
            _exit(9);
        break;
    case 'm':
        if (child_channel_send(&f->channel, CONTROL_MODE, 30) != RES_OK)
            _exit(9);
        break;
    case 'd':
        child_channel_clear(&f->channel);
        break;
    case 'i':
        f->outlives = signal(SIGTERM, SIG_IGN) != SIG_ERR;
        report(f, "ignores");
        break;
    default:
        _exit(9);
    }
}

static void
on_control(struct fake *f)
{
    struct control_message msg;
    char text[32];
    int fd;

    switch (child_channel_recv(&f->channel, &msg, &fd)) {
    case RES_OK:
        break;
    case RES_AGAIN:
        return;
    case RES_NOMEM:
    case RES_SYNTAX:
    case RES_LIMIT:
    case RES_TEMPFAIL:
        _exit(9);
    case RES_DENIED:
        if (!f->outlives)
            _exit(9);
        child_channel_clear(&f->channel);
        report(f, "orphan");
        return;
    }
    if (msg.type == CONTROL_POLICY_LINK) {
        int *link = &f->links[f->args.role == CHILD_POLICY ? msg.worker : 0];

        if (*link >= 0)
            close(*link);
        *link = fd;
    }
    if (msg.type == CONTROL_POLICY_LINK)
        snprintf(text, sizeof text, "link %u", msg.worker);
    else if (msg.value)
        snprintf(text, sizeof text, "%s %u", control_type_name(msg.type), msg.value);
    else
        snprintf(text, sizeof text, "%s", control_type_name(msg.type));
    report(f, text);
}

static void
on_link(struct fake *f, int *link)
{
    char octet, text[] = "got ?";

    if (recv(*link, &octet, 1, 0) == 1) {
        text[4] = octet;
        report(f, text);
    } else { /* the other side died; the supervisor will send a new one */
        close(*link);
        *link = -1;
    }
}

int
main(int argc, char **argv)
{
    size_t len = strlen(argv[0]);
    enum child_role role =
        len >= 6 && strcmp(argv[0] + len - 6, "policy") == 0 ? CHILD_POLICY : CHILD_WORKER;
    struct fake f = { .links = { -1, -1, -1, -1, -1, -1, -1, -1 } };
    char error[512], fds[256], text[512];
    struct config *config;

    list_descriptors(fds, sizeof fds);
    if (child_args_parse(argc, argv, role, &f.args, error, sizeof error) != RES_OK ||
        child_config(&f.args, &config, error, sizeof error) != RES_OK) {
        fprintf(stderr, "%s\n", error);
        return 9;
    }
    config_free(config);
    child_channel_init(&f.channel, &f.args);
    f.test_fd = connect_to_test();
    if (role == CHILD_POLICY)
        snprintf(text, sizeof text, "hello policy fds=%s", fds);
    else
        snprintf(text, sizeof text, "hello worker/%u fds=%s", f.args.index, fds);
    report(&f, text);
    for (;;) {
        struct pollfd p[2 + LINKS] = { { .fd = f.test_fd, .events = POLLIN },
                                       { .fd = f.channel.fd, .events = POLLIN } };

        for (size_t i = 0; i < LINKS; i++)
            p[2 + i] = (struct pollfd){ .fd = f.links[i], .events = POLLIN };
        if (poll(p, 2 + LINKS, -1) < 0)
            return 9;
        for (size_t i = 0; i < LINKS; i++)
            if (p[2 + i].revents)
                on_link(&f, &f.links[i]);
        if (p[1].revents)
            on_control(&f);
        if (p[0].revents)
            obey(&f);
    }
}
