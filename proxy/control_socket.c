#include "proxy/control_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define PASSED_MAX 4u /* descriptors received at a time; what is beyond, the kernel drops */

/* Room for the descriptors of one message, aligned as the kernel wants it. */
union ancillary {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(PASSED_MAX * sizeof(int))];
};

enum result
control_socket_pair(int out_fds[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, out_fds) == 0)
        return RES_OK;
    out_fds[0] = out_fds[1] = -1;
    return RES_LIMIT;
}

static void
attach(struct msghdr *head, union ancillary *room, int fd)
{
    struct cmsghdr *c = &room->head;

    head->msg_control = room;
    head->msg_controllen = CMSG_SPACE(sizeof fd);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
}

enum result
control_socket_send(int fd, const struct control_message *msg, int pass_fd)
{
    char packet[CONTROL_MSG_MAX_BYTES];
    struct iovec part = { packet, control_msg_write(msg, packet) };
    struct msghdr head = { .msg_iov = &part, .msg_iovlen = 1 };
    union ancillary room = { 0 };

    if (pass_fd >= 0)
        attach(&head, &room, pass_fd);
    if (sendmsg(fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return RES_OK;
    /* ETOOMANYREFS: too many descriptors are under way; it passes like a full queue. */
    return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS
               ? RES_AGAIN
               : RES_DENIED;
}

/* Take the descriptors out of what was received. Returns how many there are. */
static unsigned
detach(struct msghdr *head, int fds[PASSED_MAX])
{
    unsigned count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(head); c; c = CMSG_NXTHDR(head, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < n && count < PASSED_MAX; i++)
            memcpy(&fds[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
    return count;
}

enum result
control_socket_recv(int fd, struct control_message *out, int *out_fd)
{
    char packet[CONTROL_MSG_MAX_BYTES];
    struct iovec part = { packet, sizeof packet };
    union ancillary room = { 0 };
    struct msghdr head = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof room
    };
    int fds[PASSED_MAX];
    enum result res;
    unsigned count;
    ssize_t n;

    *out = (struct control_message){ 0 };
    *out_fd = -1;
    n = recvmsg(fd, &head, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR || errno == ENOMEM ? RES_AGAIN : RES_DENIED;
    count = detach(&head, fds);
    res = control_msg_read(span_make(packet, (size_t)n), out);
    if (head.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        res = RES_SYNTAX;
    if (res == RES_OK && count != control_msg_descriptors(out->type))
        res = RES_SYNTAX;
    if (res == RES_OK && count == 1)
        *out_fd = fds[0];
    else
        for (unsigned i = 0; i < count; i++)
            close(fds[i]);
    if (n == 0 && count == 0)
        return RES_DENIED; /* the end: nobody here sends an empty packet */
    if (res != RES_OK)
        *out = (struct control_message){ 0 };
    return res;
}
