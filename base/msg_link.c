#include "base/msg_link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct waiting {
    struct waiting *next;
    size_t len;
    char bytes[];
};

struct msg_link {
    int fd;              /* owned */
    size_t count, bytes; /* that wait */
    struct waiting *first, **last;
    char in[MSG_LINK_MAX_BYTES + 1]; /* one more, to see a message that is too long */
};

enum result
msg_link_new(int fd, struct msg_link **out)
{
    struct msg_link *link = calloc(1, sizeof *link);
    int flags = fcntl(fd, F_GETFL), room = 2 * MSG_LINK_MAX_BYTES;

    *out = NULL;
    if (!link || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        (void)close(fd);
        enum result res = link ? RES_DENIED : RES_NOMEM;
        free(link);
        return res;
    }
    /* A socket with less room than a message takes would never send it. Not more than the system
     * allows is granted; what that means is seen when something is sent. */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    link->fd = fd;
    link->last = &link->first;
    *out = link;
    return RES_OK;
}

void
msg_link_free(struct msg_link *link)
{
    if (!link)
        return;
    while (link->first) {
        struct waiting *w = link->first;

        link->first = w->next;
        free(w);
    }
    (void)close(link->fd);
    free(link);
}

int
msg_link_fd(const struct msg_link *link)
{
    return link->fd;
}

size_t
msg_link_backlog(const struct msg_link *link)
{
    return link->count;
}

static enum result
send_now(const struct msg_link *link, struct span message)
{
    ssize_t n;

    do
        n = send(link->fd, message.ptr, message.len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return RES_OK; /* SEQPACKET: all or nothing */
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? RES_AGAIN : RES_TEMPFAIL;
}

enum result
msg_link_send(struct msg_link *link, struct span message)
{
    struct waiting *w;
    enum result res = RES_AGAIN;

    if (message.len == 0 || message.len > MSG_LINK_MAX_BYTES)
        return RES_LIMIT;
    if (link->count == 0)
        res = send_now(link, message);
    if (res != RES_AGAIN)
        return res;
    if (link->bytes + sizeof *w + message.len > MSG_LINK_QUEUE_BYTES)
        return RES_LIMIT;
    w = malloc(sizeof *w + message.len);
    if (!w)
        return RES_NOMEM;
    w->next = NULL;
    w->len = message.len;
    memcpy(w->bytes, message.ptr, message.len);
    *link->last = w;
    link->last = &w->next;
    link->count++;
    link->bytes += sizeof *w + w->len;
    return RES_OK;
}

enum result
msg_link_flush(struct msg_link *link)
{
    while (link->first) {
        struct waiting *w = link->first;
        enum result res = send_now(link, span_make(w->bytes, w->len));

        if (res != RES_OK)
            return res;
        link->first = w->next;
        if (!link->first)
            link->last = &link->first;
        link->count--;
        link->bytes -= sizeof *w + w->len;
        free(w);
    }
    return RES_OK;
}

enum result
msg_link_recv(struct msg_link *link, struct span *out)
{
    ssize_t n;

    *out = span_make(NULL, 0);
    do
        n = recv(link->fd, link->in, sizeof link->in, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? RES_AGAIN : RES_TEMPFAIL;
    if (n == 0)
        return RES_TEMPFAIL;
    if ((size_t)n > MSG_LINK_MAX_BYTES)
        return RES_LIMIT;
    *out = span_make(link->in, (size_t)n);
    return RES_OK;
}
