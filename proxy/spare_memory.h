/* proxy/spare_memory.h: libev ends its process where it gets no memory for one more watcher, and
 * with a worker end all of its sessions. So memory for that is set aside at the start; once it had
 * to be used a worker takes no more clients until as much is there again.
 * Context: a process with one event loop, one thread. Process-wide by nature: libev calls its
 * allocator without an argument. */
#ifndef STSGATE_PROXY_SPARE_MEMORY_H
#define STSGATE_PROXY_SPARE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/** What libev's largest array holds for each session, when it grows: an entry for each of two
 * descriptors or timers, in an array of up to twice the length. */
#define SPARE_MEMORY_PER_SESSION 64u
#define SPARE_MEMORY_MIN (64u * 1024u) /* and for whoever has few */

/** Before the loop is made. bytes: 1 or more; costs address space, and no memory while it is not
 * used. */
void spare_memory_init(size_t bytes);

/** Is it there, or there again? */
bool spare_memory_is_there(void);

/** Before the end of a process that looks for leaks. */
void spare_memory_clear(void);

#endif
