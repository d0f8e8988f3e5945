#include "tests/support/loop.h"

static void
on_too_long(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)w, (void)revents;
    ev_break(loop, EVBREAK_ALL);
}

void
loop_run(struct ev_loop *loop, double limit_s)
{
    ev_timer timer;

    ev_now_update(loop);
    ev_timer_init(&timer, on_too_long, limit_s, 0.);
    ev_timer_start(loop, &timer);
    ev_run(loop, 0);
    ev_timer_stop(loop, &timer);
}
