#include "policy/ub_libev.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/time.h>

#include <ev.h>
#include <unbound-event.h>

typedef void event_fn(int fd, short bits, void *arg);

/* libunbound knows the first field only, and hands it back. */
struct libev_base {
    struct ub_event_base ub;
    struct ev_loop *loop;
};

struct libev_event {
    struct ub_event ub;
    struct ev_loop *loop;
    ev_io io;
    ev_timer timer;
    int fd; /* -1 for a timer alone */
    short bits;
    event_fn *fn;
    void *arg;
};

static struct libev_event *
event_of(struct ub_event *ub)
{
    return (struct libev_event *)(void *)ub;
}

static void
event_stop(struct libev_event *event)
{
    ev_io_stop(event->loop, &event->io);
    ev_timer_stop(event->loop, &event->timer);
}

/* As in libevent, an event fires once and is over, or, if persistent, stays and its time begins
 * anew. fn may free the event: nothing is touched after it. */
static void
event_fire(struct libev_event *event, short bits)
{
    if (!(event->bits & UB_EV_PERSIST))
        event_stop(event);
    else if (event->timer.repeat > 0.)
        ev_timer_again(event->loop, &event->timer);
    event->fn(event->fd, bits, event->arg);
}

static void
on_io(struct ev_loop *loop, ev_io *w, int revents)
{
    int bits = 0;

    (void)loop;
    if (revents & EV_READ)
        bits |= UB_EV_READ;
    if (revents & EV_WRITE)
        bits |= UB_EV_WRITE;
    event_fire(w->data, (short)bits);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    event_fire(w->data, UB_EV_TIMEOUT);
}

static void
event_add_bits(struct ub_event *ub, short bits)
{
    struct libev_event *event = event_of(ub);

    event->bits = (short)(event->bits | bits);
}

static void
event_del_bits(struct ub_event *ub, short bits)
{
    struct libev_event *event = event_of(ub);

    event->bits = (short)(event->bits & ~bits);
}

static void
event_set_fd(struct ub_event *ub, int fd)
{
    event_of(ub)->fd = fd;
}

static void
event_free(struct ub_event *ub)
{
    event_stop(event_of(ub));
    free(event_of(ub));
}

static void
event_arm_timer(struct libev_event *event, const struct timeval *tv)
{
    double after_s;

    ev_timer_stop(event->loop, &event->timer);
    if (!tv || !(event->bits & UB_EV_TIMEOUT)) {
        ev_timer_set(&event->timer, 0., 0.);
        return;
    }
    /* A question may be asked long after the loop last woke up; its clock stands still meanwhile.
     */
    ev_now_update(event->loop);
    after_s = (double)tv->tv_sec + (double)tv->tv_usec / 1e6;
    ev_timer_set(&event->timer, after_s, event->bits & UB_EV_PERSIST ? after_s : 0.);
    ev_timer_start(event->loop, &event->timer);
}

static int
event_add(struct ub_event *ub, struct timeval *tv)
{
    struct libev_event *event = event_of(ub);
    int interest = 0;

    if (event->bits & UB_EV_READ)
        interest |= EV_READ;
    if (event->bits & UB_EV_WRITE)
        interest |= EV_WRITE;
    ev_io_stop(event->loop, &event->io);
    if (interest && event->fd >= 0) {
        ev_io_set(&event->io, event->fd, interest);
        ev_io_start(event->loop, &event->io);
    }
    event_arm_timer(event, tv);
    return 0;
}

static int
event_del(struct ub_event *ub)
{
    event_stop(event_of(ub));
    return 0;
}

static int
event_add_timer(struct ub_event *ub, struct ub_event_base *base, event_fn *fn, void *arg,
                struct timeval *tv)
{
    struct libev_event *event = event_of(ub);

    (void)base;
    event->fn = fn;
    event->arg = arg;
    event->bits = (short)(event->bits | UB_EV_TIMEOUT);
    event_arm_timer(event, tv);
    return 0;
}

static int
event_del_timer(struct ub_event *ub)
{
    ev_timer_stop(event_of(ub)->loop, &event_of(ub)->timer);
    return 0;
}

/* The rest is in the table because it has to be full; unbound-event.h says that libunbound does not
 * call it: signals, Windows, and running the loop. */
static int
event_no_signal(struct ub_event *ub, struct timeval *tv)
{
    (void)ub, (void)tv;
    return -1;
}

static int
event_no_del_signal(struct ub_event *ub)
{
    (void)ub;
    return -1;
}

static void
event_no_wsaevent(struct ub_event *ub)
{
    (void)ub;
}

static void
event_no_wouldblock(struct ub_event *ub, int bit)
{
    (void)ub, (void)bit;
}

/* libunbound's struct wants a pointer to what it never changes. */
static struct ub_event_vmt event_table = {
    .add_bits = event_add_bits,
    .del_bits = event_del_bits,
    .set_fd = event_set_fd,
    .free = event_free,
    .add = event_add,
    .del = event_del,
    .add_timer = event_add_timer,
    .del_timer = event_del_timer,
    .add_signal = event_no_signal,
    .del_signal = event_no_del_signal,
    .winsock_unregister_wsaevent = event_no_wsaevent,
    .winsock_tcp_wouldblock = event_no_wouldblock,
};

static struct ub_event *
base_new_event(struct ub_event_base *ub, int fd, short bits, event_fn *fn, void *arg)
{
    struct libev_base *base = (struct libev_base *)(void *)ub;
    struct libev_event *event = calloc(1, sizeof *event);

    if (!event)
        return NULL;
    event->ub = (struct ub_event){ .magic = UB_EVENT_MAGIC, .vmt = &event_table };
    event->loop = base->loop;
    event->fd = fd;
    event->bits = bits;
    event->fn = fn;
    event->arg = arg;
    ev_init(&event->io, on_io);
    ev_init(&event->timer, on_timer);
    event->io.data = event->timer.data = event;
    return &event->ub;
}

static struct ub_event *
base_no_signal(struct ub_event_base *base, int signal, event_fn *fn, void *arg)
{
    (void)base, (void)signal, (void)fn, (void)arg;
    return NULL;
}

static struct ub_event *
base_no_wsaevent(struct ub_event_base *base, void *wsaevent, event_fn *fn, void *arg)
{
    (void)base, (void)wsaevent, (void)fn, (void)arg;
    return NULL;
}

static int
base_no_dispatch(struct ub_event_base *base)
{
    (void)base;
    return -1;
}

static int
base_no_loopexit(struct ub_event_base *base, struct timeval *tv)
{
    (void)base, (void)tv;
    return -1;
}

/* When libunbound cannot start it does call this, and the base would be freed twice. */
static void
base_keep(struct ub_event_base *base)
{
    (void)base;
}

static struct ub_event_base_vmt base_table = {
    .free = base_keep,
    .dispatch = base_no_dispatch,
    .loopexit = base_no_loopexit,
    .new_event = base_new_event,
    .new_signal = base_no_signal,
    .winsock_register_wsaevent = base_no_wsaevent,
};

struct ub_event_base *
ub_libev_new(struct ev_loop *loop)
{
    struct libev_base *base = calloc(1, sizeof *base);

    if (!base)
        return NULL;
    base->ub = (struct ub_event_base){ .magic = UB_EVENT_MAGIC, .vmt = &base_table };
    base->loop = loop;
    return &base->ub;
}

void
ub_libev_free(struct ub_event_base *base)
{
    free(base);
}
