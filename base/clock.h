/* base/clock.h: the two clocks, as a value that tests can hold still.
 * Context: any process. Waits use the monotonic clock; expiry of policies and certificates and all
 * records use the wall clock. */
#ifndef STSGATE_BASE_CLOCK_H
#define STSGATE_BASE_CLOCK_H

#include <stdint.h>

struct clock {
    int64_t (*wall_ns)(void *arg); /* nanoseconds since 1970-01-01 UTC */
    int64_t (*mono_ns)(void *arg); /* nanoseconds since an arbitrary start, never backwards */
    void *arg;                     /* borrowed by the clock */
};

/** The system's clocks (CLOCK_REALTIME, CLOCK_MONOTONIC). */
struct clock clock_system(void);

static inline int64_t
clock_wall_s(const struct clock *c)
{
    return c->wall_ns(c->arg) / 1000000000;
}

static inline int64_t
clock_mono_ms(const struct clock *c)
{
    return c->mono_ns(c->arg) / 1000000;
}

#endif
