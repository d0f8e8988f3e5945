/* tests/support/loop.h: an event loop that runs until the test has what it waits for, and not for
 * ever. */
#ifndef STSGATE_TESTS_SUPPORT_LOOP_H
#define STSGATE_TESTS_SUPPORT_LOOP_H

#include <ev.h>

/** Until a callback ends the loop, or limit_s are over: the test then misses what was to come. */
void loop_run(struct ev_loop *loop, double limit_s);

#endif
