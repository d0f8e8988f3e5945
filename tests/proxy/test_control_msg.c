#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/child_channel.h"
#include "proxy/control_socket.h"

/* ---- the codec ---- */

static struct message_case {
    const char *name, *bytes;
    size_t len;
    enum result want;
    enum control_type type;
    unsigned worker, value;
} messages[] = {
    { "policy-link", "\x94\x02\x01\x05\x00", 5, RES_OK, CONTROL_POLICY_LINK, 5, 0 },
    { "policy-link of the last worker", "\x94\x02\x01\x3f\x00", 5, RES_OK, CONTROL_POLICY_LINK, 63,
      0 },
    { "ready", "\x94\x02\x02\x00\x00", 5, RES_OK, CONTROL_READY, 0, 0 },
    { "stop", "\x94\x02\x03\x00\x00", 5, RES_OK, CONTROL_STOP, 0, 0 },
    { "stop, by and by", "\x94\x02\x03\x00\x01", 5, RES_OK, CONTROL_STOP, 0, 1 },
    { "reload", "\x94\x02\x04\x00\x00", 5, RES_OK, CONTROL_RELOAD, 0, 0 },
    { "reloaded", "\x94\x02\x05\x00\x01", 5, RES_OK, CONTROL_RELOADED, 0, 1 },
    { "mode", "\x94\x02\x06\x00\x1e", 5, RES_OK, CONTROL_MODE, 0, 30 },
    { "mode, the largest value", "\x94\x02\x06\x00\xcd\xff\xff", 7, RES_OK, CONTROL_MODE, 0,
      65535 },
    { "retire", "\x94\x02\x07\x00\x00", 5, RES_OK, CONTROL_RETIRE, 0, 0 },
    { "status link", "\x94\x02\x08\x00\x00", 5, RES_OK, CONTROL_STATUS_LINK, 0, 0 },
    { "drain", "\x94\x02\x09\x00\x00", 5, RES_OK, CONTROL_DRAIN, 0, 0 },
    { "a type behind the last", "\x94\x02\x0a\x00\x00", 5, RES_SYNTAX, 0, 0, 0 },
    { "nothing", "", 0, RES_SYNTAX, 0, 0, 0 },
    { "worker out of range", "\x94\x02\x01\x40\x00", 5, RES_SYNTAX, 0, 0, 0 },
    { "worker of 32 bits", "\x94\x02\x01\xce\xff\xff\xff\xff\x00", 9, RES_SYNTAX, 0, 0, 0 },
    { "negative worker", "\x94\x02\x01\xff\x00", 5, RES_SYNTAX, 0, 0, 0 },
    { "worker where none belongs", "\x94\x02\x03\x01\x00", 5, RES_SYNTAX, 0, 0, 0 },
    { "value where none belongs", "\x94\x02\x02\x00\x01", 5, RES_SYNTAX, 0, 0, 0 },
    { "value out of range", "\x94\x02\x06\x00\xce\x00\x01\x00\x00", 9, RES_SYNTAX, 0, 0, 0 },
    { "version 1", "\x93\x01\x03\x00", 4, RES_SYNTAX, 0, 0, 0 },
    { "version 3", "\x94\x03\x03\x00\x00", 5, RES_SYNTAX, 0, 0, 0 },
    { "type 0", "\x94\x02\x00\x00\x00", 5, RES_SYNTAX, 0, 0, 0 },
    { "type as text", "\x94\x02\xa1\x33\x00\x00", 6, RES_SYNTAX, 0, 0, 0 },
    { "version as boolean", "\x94\xc3\x03\x00\x00", 5, RES_SYNTAX, 0, 0, 0 },
    { "one field short", "\x93\x02\x03\x00", 4, RES_SYNTAX, 0, 0, 0 },
    { "one field more", "\x95\x02\x03\x00\x00\x00", 6, RES_SYNTAX, 0, 0, 0 },
    { "bytes left over", "\x94\x02\x03\x00\x00\x00", 6, RES_SYNTAX, 0, 0, 0 },
    { "a map", "\x84\x02\x03\x00\x01\x02\x03\x04\x05", 9, RES_SYNTAX, 0, 0, 0 },
    { "an array of 4 billion", "\xdd\xff\xff\xff\xff", 5, RES_SYNTAX, 0, 0, 0 },
    { "16 octets of junk", "\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1", 16,
      RES_SYNTAX, 0, 0, 0 },
};

static void
test_message(void **state)
{
    const struct message_case *c = *state;
    struct control_message msg;
    char packet[CONTROL_MSG_MAX_BYTES];

    assert_int_equal(control_msg_read(span_make(c->bytes, c->len), &msg), c->want);
    assert_int_equal(msg.type, c->type);
    assert_int_equal(msg.worker, c->worker);
    assert_int_equal(msg.value, c->value);
    if (c->want != RES_OK)
        return;
    assert_int_equal(control_msg_write(&msg, packet), c->len);
    assert_memory_equal(packet, c->bytes, c->len);
    for (size_t len = 0; len < c->len; len++) {
        char *exact = malloc(len ? len : 1);

        assert_non_null(exact);
        memcpy(exact, c->bytes, len);
        assert_int_equal(control_msg_read(span_make(exact, len), &msg), RES_SYNTAX);
        free(exact);
    }
}

/* ---- the socket ---- */

static unsigned
count_descriptors(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Send any packet with any number of descriptors, as a child that was taken over might. */
static void
send_raw(int fd, const char *bytes, size_t len, unsigned descriptors)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } room = { 0 };
    struct iovec part = { (char *)(uintptr_t)bytes, len };
    struct msghdr head = { .msg_iov = &part, .msg_iovlen = 1 };
    int fds[8];

    for (int i = 0; i < 8; i++)
        fds[i] = fd;
    if (descriptors) {
        head.msg_control = &room;
        head.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
        room.head.cmsg_level = SOL_SOCKET;
        room.head.cmsg_type = SCM_RIGHTS;
        room.head.cmsg_len = CMSG_LEN(descriptors * sizeof(int));
        memcpy(CMSG_DATA(&room.head), fds, descriptors * sizeof(int));
    }
    assert_int_equal(sendmsg(fd, &head, 0), (ssize_t)len);
}

static struct packet_case {
    const char *name, *bytes;
    size_t len;
    unsigned descriptors;
    enum result want;
} packets[] = {
    { "stop without descriptor", "\x94\x02\x03\x00\x00", 5, 0, RES_OK },
    { "link with its descriptor", "\x94\x02\x01\x00\x00", 5, 1, RES_OK },
    { "stop with a descriptor", "\x94\x02\x03\x00\x00", 5, 1, RES_SYNTAX },
    { "link without descriptor", "\x94\x02\x01\x00\x00", 5, 0, RES_SYNTAX },
    { "link with two", "\x94\x02\x01\x00\x00", 5, 2, RES_SYNTAX },
    { "link with four", "\x94\x02\x01\x00\x00", 5, 4, RES_SYNTAX },
    { "link with eight, more than is looked at", "\x94\x02\x01\x00\x00", 5, 8, RES_SYNTAX },
    { "junk", "junk", 4, 0, RES_SYNTAX },
    { "junk with a descriptor", "junk", 4, 1, RES_SYNTAX },
    { "a message cut to a valid one", "\x94\x02\x03\x00\x00zzzzzzzzzzzz", 17, 0, RES_SYNTAX },
    { "an empty packet with a descriptor", "", 0, 1, RES_SYNTAX },
    { "an empty packet, which reads like the end", "", 0, 0, RES_DENIED },
};

static void
test_packet(void **state)
{
    const struct packet_case *c = *state;
    unsigned before = count_descriptors();
    struct control_message msg;
    int pair[2], fd;

    assert_int_equal(control_socket_pair(pair), RES_OK);
    send_raw(pair[0], c->bytes, c->len, c->descriptors);
    assert_int_equal(control_socket_recv(pair[1], &msg, &fd), c->want);
    assert_int_equal(fd >= 0, c->want == RES_OK && c->descriptors == 1);
    if (c->want != RES_OK)
        assert_int_equal(msg.type, 0);
    if (fd >= 0) {
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
        close(fd);
    }
    assert_int_equal(control_socket_recv(pair[1], &msg, &fd), RES_AGAIN);
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(count_descriptors(), before); /* none of them leaked */
}

static void
test_end(void **state)
{
    struct control_message msg = { .type = CONTROL_STOP };
    int pair[2], fd;

    (void)state;
    assert_int_equal(control_socket_pair(pair), RES_OK);
    close(pair[0]);
    assert_int_equal(control_socket_send(pair[1], &msg, -1), RES_DENIED);
    assert_int_equal(control_socket_recv(pair[1], &msg, &fd), RES_DENIED);
    assert_int_equal(fd, -1);
    close(pair[1]);
}

/* A reader that does not read is noticed, and blocks nobody. */
static void
test_full_queue(void **state)
{
    const struct control_message msg = { .type = CONTROL_STOP };
    enum result res = RES_OK;
    int pair[2];

    (void)state;
    assert_int_equal(control_socket_pair(pair), RES_OK);
    for (int i = 0; i < 100000 && res == RES_OK; i++)
        res = control_socket_send(pair[0], &msg, -1);
    assert_int_equal(res, RES_AGAIN);
    close(pair[0]);
    close(pair[1]);
}

/* ---- the side of a child ---- */

static struct channel_case {
    const char *name;
    enum child_role role;
    unsigned index;
    struct control_message msg;
    enum result want;
} channels[] = {
    { "worker: its link", CHILD_WORKER, 3, { CONTROL_POLICY_LINK, 3, 0 }, RES_OK },
    { "worker: another one's link", CHILD_WORKER, 3, { CONTROL_POLICY_LINK, 4, 0 }, RES_SYNTAX },
    { "worker: stop", CHILD_WORKER, 3, { CONTROL_STOP, 0, 0 }, RES_OK },
    { "worker: ready is no order", CHILD_WORKER, 3, { CONTROL_READY, 0, 0 }, RES_SYNTAX },
    { "policy: any link", CHILD_POLICY, 0, { CONTROL_POLICY_LINK, 63, 0 }, RES_OK },
    { "worker: no mode", CHILD_WORKER, 3, { CONTROL_MODE, 0, 30 }, RES_SYNTAX },
    { "worker: no retirement", CHILD_WORKER, 3, { CONTROL_RETIRE, 0, 0 }, RES_SYNTAX },
    { "policy: mode", CHILD_POLICY, 0, { CONTROL_MODE, 0, 30 }, RES_OK },
    { "policy: reloaded", CHILD_POLICY, 0, { CONTROL_RELOADED, 0, 1 }, RES_OK },
    { "policy: retirement", CHILD_POLICY, 0, { CONTROL_RETIRE, 0, 0 }, RES_OK },
    { "policy: link to the status process",
      CHILD_POLICY,
      0,
      { CONTROL_STATUS_LINK, 0, 0 },
      RES_OK },
    { "worker: no such link", CHILD_WORKER, 3, { CONTROL_STATUS_LINK, 0, 0 }, RES_SYNTAX },
    { "policy: drain is no order", CHILD_POLICY, 0, { CONTROL_DRAIN, 0, 0 }, RES_SYNTAX },
    { "policy: reload is no order", CHILD_POLICY, 0, { CONTROL_RELOAD, 0, 0 }, RES_SYNTAX },
    { "policy: ready is no order", CHILD_POLICY, 0, { CONTROL_READY, 0, 0 }, RES_SYNTAX },
};

static void
test_channel(void **state)
{
    const struct channel_case *c = *state;
    unsigned before = count_descriptors();
    struct child_args args = { .role = c->role, .index = c->index };
    struct child_channel channel;
    struct control_message msg;
    int pair[2], fd;
    bool link = control_msg_descriptors(c->msg.type) == 1;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    args.control_fd = pair[1];
    child_channel_init(&channel, &args);
    assert_true(fcntl(child_channel_fd(&channel), F_GETFL) & O_NONBLOCK);
    assert_int_equal(child_channel_recv(&channel, &msg, &fd), RES_AGAIN);
    assert_int_equal(control_socket_send(pair[0], &c->msg, link ? pair[0] : -1), RES_OK);
    assert_int_equal(child_channel_recv(&channel, &msg, &fd), c->want);
    assert_int_equal(fd >= 0, link && c->want == RES_OK);
    assert_int_equal(msg.type, c->want == RES_OK ? c->msg.type : 0);
    if (fd >= 0)
        close(fd);
    assert_int_equal(child_channel_send_ready(&channel), RES_OK);
    assert_int_equal(control_socket_recv(pair[0], &msg, &fd), RES_OK);
    assert_int_equal(msg.type, CONTROL_READY);
    close(pair[0]);
    assert_int_equal(child_channel_recv(&channel, &msg, &fd), RES_DENIED);
    child_channel_clear(&channel);
    child_channel_clear(&channel);
    assert_int_equal(count_descriptors(), before);
}

/* Descriptors 0, 1 and 2 stand for any that are open; 250 is not. */
static struct args_case {
    const char *name;
    enum child_role role;
    char *argv[14];
    const char *error; /* how it begins; NULL: good */
} commands[] = {
    { "worker",
      CHILD_WORKER,
      { "w", "--index", "7", "--config-fd", "0", "--config-name", "f", "--control-fd", "1",
        "--listen-fds", "2,0,1" },
      NULL },
    { "policy",
      CHILD_POLICY,
      { "p", "--config-fd", "0", "--config-name", "f", "--control-fd", "1" },
      NULL },
    { "policy with a control socket",
      CHILD_POLICY,
      { "p", "--config-fd", "0", "--config-name", "f", "--control-fd", "1", "--command-fd", "2" },
      NULL },
    { "worker with a control socket",
      CHILD_WORKER,
      { "w", "--command-fd", "0" },
      "--command-fd: not understood" },
    { "nothing", CHILD_POLICY, { "p" }, "--config-fd, --config-name or --control-fd is missing" },
    { "unknown option", CHILD_POLICY, { "p", "--debug", "1" }, "--debug: not understood" },
    { "option without value", CHILD_POLICY, { "p", "--config-fd" }, "--config-fd: not understood" },
    { "descriptor that is not open",
      CHILD_POLICY,
      { "p", "--config-fd", "250" },
      "--config-fd: not understood" },
    { "no number", CHILD_POLICY, { "p", "--control-fd", "x" }, "--control-fd: not understood" },
    { "negative number",
      CHILD_POLICY,
      { "p", "--control-fd", "-1" },
      "--control-fd: not understood" },
    { "huge number",
      CHILD_POLICY,
      { "p", "--control-fd", "4294967296" },
      "--control-fd: not understood" },
    { "no control",
      CHILD_POLICY,
      { "p", "--config-fd", "0", "--config-name", "f" },
      "--config-fd, --config-name or --control-fd is missing" },
    { "no name",
      CHILD_POLICY,
      { "p", "--config-fd", "0", "--control-fd", "1" },
      "--config-fd, --config-name or --control-fd is missing" },
    { "policy with an index", CHILD_POLICY, { "p", "--index", "0" }, "--index: not understood" },
    { "policy with listeners",
      CHILD_POLICY,
      { "p", "--listen-fds", "0" },
      "--listen-fds: not understood" },
    { "worker without an index",
      CHILD_WORKER,
      { "w", "--config-fd", "0", "--config-name", "f", "--control-fd", "1", "--listen-fds", "2" },
      "--index or --listen-fds is missing" },
    { "worker without listeners",
      CHILD_WORKER,
      { "w", "--config-fd", "0", "--config-name", "f", "--control-fd", "1", "--index", "0" },
      "--index or --listen-fds is missing" },
    { "index out of range", CHILD_WORKER, { "w", "--index", "64" }, "--index: not understood" },
    { "empty list", CHILD_WORKER, { "w", "--listen-fds", "" }, "--listen-fds: not understood" },
    { "list with a hole",
      CHILD_WORKER,
      { "w", "--listen-fds", "0,,1" },
      "--listen-fds: not understood" },
    { "list with a comma at its end",
      CHILD_WORKER,
      { "w", "--listen-fds", "0," },
      "--listen-fds: not understood" },
    { "list of 17",
      CHILD_WORKER,
      { "w", "--listen-fds", "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0" },
      "--listen-fds: not understood" },
    { "list twice",
      CHILD_WORKER,
      { "w", "--listen-fds", "0", "--listen-fds", "0" },
      "--listen-fds: not understood" },
};

static void
test_args(void **state)
{
    const struct args_case *c = *state;
    struct child_args args;
    char error[256] = "";
    enum result res;
    int argc = 0;

    while (c->argv[argc])
        argc++;
    res = child_args_parse(argc, (char **)(uintptr_t)c->argv, c->role, &args, error, sizeof error);
    for (int fd = 0; fd < 3; fd++)
        fcntl(fd, F_SETFD, 0);
    assert_int_equal(res, c->error ? RES_SYNTAX : RES_OK);
    if (c->error) {
        if (strncmp(error, c->error, strlen(c->error)) != 0)
            fail_msg("%s", error);
        return;
    }
    assert_int_equal(args.config_fd, 0);
    assert_int_equal(args.control_fd, 1);
    assert_string_equal(args.config_name, "f");
    assert_int_equal(args.index, c->role == CHILD_WORKER ? 7 : 0);
    assert_int_equal(args.listen_count, c->role == CHILD_WORKER ? 3 : 0);
}

#define ALL_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

static struct config_case {
    const char *name, *text;
    int seals;
    enum child_role role;
    size_t listeners;
    enum result want;
    const char *error;
} configs[] = {
    { "policy", "workers = 3\n", ALL_SEALS, CHILD_POLICY, 0, RES_OK, "" },
    { "worker", "workers = 3\n", ALL_SEALS, CHILD_WORKER, 1, RES_OK, "" },
    { "empty", "", ALL_SEALS, CHILD_POLICY, 0, RES_OK, "" },
    { "a mistake", "\nworkers = x\n", ALL_SEALS, CHILD_POLICY, 0, RES_SYNTAX, "f:2: workers: " },
    { "not sealed", "workers = 3\n", 0, CHILD_POLICY, 0, RES_SYNTAX, "f:1: descriptor " },
    { "may still be written", "workers = 3\n", F_SEAL_SHRINK | F_SEAL_GROW, CHILD_POLICY, 0,
      RES_SYNTAX, "f:1: descriptor " },
    { "listeners without descriptors", "listen_redirect={\"[::1]:1\", \"[::1]:2\"}", ALL_SEALS,
      CHILD_WORKER, 1, RES_SYNTAX, "f:1: 2 listeners configured, 1 handed over" },
};

static void
test_child_config(void **state)
{
    const struct config_case *c = *state;
    struct child_args args = {
        .role = c->role, .config_name = "f", .listen_count = c->listeners, .control_fd = -1
    };
    struct config *config;
    char error[256] = "";

    args.config_fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(args.config_fd, c->text, strlen(c->text)), (ssize_t)strlen(c->text));
    assert_int_equal(fcntl(args.config_fd, F_ADD_SEALS, c->seals), 0);
    for (int i = 0; i < 2;
         i++) { /* the descriptor's position is nobody's: a second child reads all */
        assert_int_equal(child_config(&args, &config, error, sizeof error), c->want);
        assert_int_equal(config != NULL, c->want == RES_OK);
        assert_memory_equal(error, c->error, c->want == RES_OK ? 0 : strlen(c->error));
        config_free(config);
    }
    close(args.config_fd);
}

#define COUNT(a) (sizeof a / sizeof *a)
#define ADD(rows, run)                                                                             \
    for (size_t i = 0; i < COUNT(rows); i++)                                                       \
        tests[n++] = (struct CMUnitTest) { rows[i].name, run, NULL, NULL, &rows[i] }

int
main(void)
{
    static struct CMUnitTest tests[COUNT(messages) + COUNT(packets) + COUNT(channels) +
                                   COUNT(commands) + COUNT(configs) + 2];
    size_t n = 0;

    ADD(messages, test_message);
    ADD(packets, test_packet);
    ADD(channels, test_channel);
    ADD(commands, test_args);
    ADD(configs, test_child_config);
    tests[n++] = (struct CMUnitTest){ "the other side is gone", test_end, NULL, NULL, NULL };
    tests[n++] = (struct CMUnitTest){ "a full queue", test_full_queue, NULL, NULL, NULL };
    return _cmocka_run_group_tests("control", tests, n, NULL, NULL);
}
