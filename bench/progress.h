/* bench/progress.h: a bar on a terminal while a run goes on; silence elsewhere.
 * Context: stsgate-load. */
#ifndef STSGATE_BENCH_PROGRESS_H
#define STSGATE_BENCH_PROGRESS_H

#include <stdint.h>

/** Draw it anew on standard error: done of total mails. Nothing where that is no terminal. */
void progress_draw(uint64_t done, uint64_t total, double mails_per_s);

/** Take it away. */
void progress_clear(void);

#endif
