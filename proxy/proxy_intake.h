/* proxy/proxy_intake.h: accepted connections that have yet to say by a PROXY header who they are
 * (PRX-054). Context: worker, on its event loop. */
#ifndef STSGATE_PROXY_PROXY_INTAKE_H
#define STSGATE_PROXY_PROXY_INTAKE_H

#include "proxy/proxy_header.h"

#include <ev.h>

#define PROXY_INTAKE_S 5. /* for the whole header, however it comes (PRX-054) */

struct proxy_intake;

/* What all of a worker share. */
struct proxy_intakes {
    struct ev_loop *loop;
    /** A connection has said who it is, and nothing behind its header has been read. fd: takes it.
     */
    void (*known)(void *arg, int fd, const struct proxy_header *header);
    void *arg;
    unsigned open;              /* how many there are */
    struct proxy_intake *first; /* list of them */
};

/** Wait for the header of a connection from peer. fd: takes it, a connected, non-blocking socket;
 * closed without a word when no good header comes in time. RES_NOMEM. */
MUST_CHECK enum result proxy_intake_start(struct proxy_intakes *all, int fd,
                                          const struct ip_addr *peer);

/** Close and free all. */
void proxy_intake_free_all(struct proxy_intakes *all);

#endif
