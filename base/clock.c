#include "base/clock.h"

#include <stddef.h>
#include <time.h>

static int64_t
read_ns(clockid_t id)
{
    struct timespec ts = { 0 };

    (void)clock_gettime(id, &ts); /* cannot fail for these two ids */
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t
system_wall(void *arg)
{
    (void)arg;
    return read_ns(CLOCK_REALTIME);
}

static int64_t
system_mono(void *arg)
{
    (void)arg;
    return read_ns(CLOCK_MONOTONIC);
}

struct clock
clock_system(void)
{
    return (struct clock){ .wall_ns = system_wall, .mono_ns = system_mono, .arg = NULL };
}
