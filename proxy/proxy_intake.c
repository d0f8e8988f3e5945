#include "proxy/proxy_intake.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

struct proxy_intake {
    struct proxy_intakes *all;
    struct proxy_intake *next, **link;
    struct ip_addr peer;
    int fd; /* owned */
    size_t len;
    ev_io readable;
    ev_timer deadline;
    char bytes[PROXY_HEADER_MAX_BYTES];
};

/* The descriptor is not closed. */
static void
forget(struct proxy_intake *p)
{
    ev_io_stop(p->all->loop, &p->readable);
    ev_timer_stop(p->all->loop, &p->deadline);
    *p->link = p->next;
    if (p->next)
        p->next->link = p->link;
    p->all->open--;
    free(p);
}

static void
refuse(struct proxy_intake *p, const char *reason)
{
    char ip[IP_ADDR_TEXT_MAX];

    log_warn("event=refused client=%s reason=%s", ip_addr_text(&p->peer, ip), reason);
    (void)close(p->fd);
    forget(p);
}

static void
deliver(struct proxy_intake *p)
{
    struct proxy_intakes *all = p->all;
    struct proxy_header header;
    int fd = p->fd;

    switch (proxy_header_parse(span_make(p->bytes, p->len), &header)) {
    case RES_OK:
        forget(p);
        all->known(all->arg, fd, &header);
        return;
    case RES_DENIED:
        refuse(p, "proxy-header-not-tcp");
        return;
    case RES_SYNTAX:
    case RES_AGAIN:
    case RES_LIMIT:
    case RES_NOMEM:
    case RES_TEMPFAIL:
        break;
    }
    refuse(p, "proxy-header-malformed");
}

/* Never a byte more than the header has: what is behind it is the session's. */
static void
on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct proxy_intake *p = w->data;
    size_t want = PROXY_HEADER_FIXED_BYTES;
    enum result res;
    ssize_t n;

    (void)loop, (void)revents;
    if (p->len >= PROXY_HEADER_FIXED_BYTES &&
        proxy_header_len(span_make(p->bytes, p->len), &want) != RES_OK)
        want = p->len; /* cannot be: it was looked at when the fixed part was whole */
    n = recv(p->fd, p->bytes + p->len, want - p->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        refuse(p, "proxy-header-missing");
        return;
    }
    p->len += (size_t)n;
    res = proxy_header_len(span_make(p->bytes, p->len), &want);
    if (res == RES_OK && p->len == want)
        deliver(p);
    else if (res != RES_OK && res != RES_AGAIN)
        refuse(p, "proxy-header-malformed");
}

static void
on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    refuse(w->data, "proxy-header-late");
}

enum result
proxy_intake_start(struct proxy_intakes *all, int fd, const struct ip_addr *peer)
{
    struct proxy_intake *p = calloc(1, sizeof *p);

    if (!p) {
        (void)close(fd);
        return RES_NOMEM;
    }
    p->all = all;
    p->fd = fd;
    p->peer = *peer;
    ev_io_init(&p->readable, on_readable, fd, EV_READ);
    ev_timer_init(&p->deadline, on_deadline, PROXY_INTAKE_S, 0.);
    p->readable.data = p->deadline.data = p;
    ev_io_start(all->loop, &p->readable);
    ev_timer_start(all->loop, &p->deadline);
    p->next = all->first;
    p->link = &all->first;
    if (p->next)
        p->next->link = &p->next;
    all->first = p;
    all->open++;
    return RES_OK;
}

void
proxy_intake_free_all(struct proxy_intakes *all)
{
    while (all->first) {
        (void)close(all->first->fd);
        forget(all->first);
    }
}
