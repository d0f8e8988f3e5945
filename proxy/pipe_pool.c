#include "proxy/pipe_pool.h"

#include <assert.h>
#include <fcntl.h>
#include <unistd.h>

static const struct pipe_ends none = { .out = -1, .in = -1 };

static void
close_both(struct pipe_ends *pipe)
{
    (void)close(pipe->out);
    (void)close(pipe->in);
    *pipe = none;
}

static bool
open_one(struct pipe_ends *out)
{
    int fds[2];

    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0)
        return false;
    *out = (struct pipe_ends){ .out = fds[0], .in = fds[1] };
    (void)fcntl(out->in, F_SETPIPE_SZ, (int)PIPE_POOL_BYTES); /* a small one serves, too */
    return true;
}

bool
pipe_pool_take(struct pipe_pool *pool, struct pipe_ends *out)
{
    *out = none;
    if (pool->leased == PIPE_POOL_LEASES_MAX)
        return false;
    if (pool->spares)
        *out = pool->spare[--pool->spares];
    else if (!open_one(out))
        return false;
    pool->leased++;
    return true;
}

void
pipe_pool_give(struct pipe_pool *pool, struct pipe_ends *pipe, bool empty)
{
    assert(pool->leased > 0 && pool->spares + pool->leased <= PIPE_POOL_LEASES_MAX);
    pool->leased--;
    if (empty)
        pool->spare[pool->spares++] = *pipe;
    else
        close_both(pipe);
    *pipe = none;
}

void
pipe_pool_clear(struct pipe_pool *pool)
{
    assert(pool->leased == 0);
    while (pool->spares)
        close_both(&pool->spare[--pool->spares]);
}
