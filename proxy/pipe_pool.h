/* proxy/pipe_pool.h: the pipes through which octets pass from socket to socket without entering the
 * process (splice()). Leased while octets move, never by who waits, so that a worker needs a few of
 * them for any number of connections. Context: worker. */
#ifndef STSGATE_PROXY_PIPE_POOL_H
#define STSGATE_PROXY_PIPE_POOL_H

#include <stdbool.h>
#include <stddef.h>

#define PIPE_POOL_BYTES (256u * 1024u) /* asked for; the system's default where it says no */
/* Leased at a time. The kernel grants a user 64 MiB of pipes before it cuts new ones to a page, and
 * a worker is not alone (pipe-user-pages-soft). */
#define PIPE_POOL_LEASES_MAX 32u

struct pipe_ends {
    int out, in; /* what goes into `in` comes from `out`; -1: none */
};

/* All zero: none is open, and none is leased. */
struct pipe_pool {
    struct pipe_ends spare[PIPE_POOL_LEASES_MAX];
    size_t spares, leased;
};

/** An empty pipe. False: the pool is dry, or the process has no descriptor left; out is none. */
bool pipe_pool_take(struct pipe_pool *pool, struct pipe_ends *out);

/** Ends a lease. empty: nothing is in it, so that it serves again; else it is closed. */
void pipe_pool_give(struct pipe_pool *pool, struct pipe_ends *pipe, bool empty);

/** Closes the spares. None is leased. */
void pipe_pool_clear(struct pipe_pool *pool);

#endif
