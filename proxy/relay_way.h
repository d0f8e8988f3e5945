/* proxy/relay_way.h: one direction of a relay: octets of one socket that go on to another.
 *
 * They are copied through a buffer as long as somebody looks at them, and while they come in small
 * pieces; a bulk that nobody looks at passes through a pipe (splice()) and never enters the
 * process. Context: worker; never blocks. */
#ifndef STSGATE_PROXY_RELAY_WAY_H
#define STSGATE_PROXY_RELAY_WAY_H

#include <stdint.h>

#include "base/buffer.h"
#include "proxy/pipe_pool.h"

#define RELAY_WAY_BUFFER_BYTES (64u * 1024u)

/* Why octets were copied and not spliced; of several reasons the last of this list counts. */
enum relay_copy {
    RELAY_COPY_LOOKED_AT, /* all were, or could have been */
    RELAY_COPY_SMALL,     /* they come in small pieces, where splice() gains nothing */
    RELAY_COPY_NO_PIPE,   /* the pool was dry */
    RELAY_COPY_REFUSED,   /* the sockets are of a kind that cannot */
};

struct relay_way {
    struct pipe_pool *pool;
    struct buffer held;    /* copied octets that wait */
    struct pipe_ends pipe; /* leased while octets are in it */
    size_t in_pipe;        /* octets */
    bool full;             /* the pipe, though the socket may have more */
    bool bulk;             /* the last read brought much */
    bool opaque;           /* nobody looks at what comes from now on; set by the owner */
    bool ended;            /* nothing more is read */
    bool told;             /* and the other side knows */
    enum relay_copy why;
    uint64_t octets, spliced; /* that have passed; of which through a pipe */
};

/** pool: borrowed until relay_way_clear(). */
void relay_way_init(struct relay_way *way, struct pipe_pool *pool);
void relay_way_clear(struct relay_way *way);

/** Read once, if there is room. out: what was read, as far as it can be seen; borrowed until the
 * next call. False: the connection is broken. */
bool relay_way_read(struct relay_way *way, int from, struct span *out);

/** What waits, and then the end of it. False: the connection is broken. */
bool relay_way_write(struct relay_way *way, int to);

bool relay_way_wants_read(const struct relay_way *way);
bool relay_way_wants_write(const struct relay_way *way);

/** "splice" or "copy", and why not all was spliced: "" when it was. */
const char *relay_way_engine(const struct relay_way *way);
const char *relay_way_reason(const struct relay_way *way);

#endif
