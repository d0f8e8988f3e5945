/* tests/proxy/test_spare_memory.c: an event loop that is refused memory (FAULTS G1). */
#include "proxy/spare_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ev.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/alloc_fail.h"

#define TIMERS 1000u /* libev's array of them has to grow */

static ev_timer timers[TIMERS];

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)w, (void)revents;
}

/* All timers in a loop, of whose allocations one is refused. */
static void
start_timers(void)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV);

    assert_non_null(loop);
    alloc_fail_after(0);
    for (unsigned i = 0; i < TIMERS; i++) {
        ev_timer_init(&timers[i], on_timer, 60., 0.);
        ev_timer_start(loop, &timers[i]);
    }
    assert_true(alloc_fail_happened());
    for (unsigned i = 0; i < TIMERS; i++)
        assert_true(ev_is_active(&timers[i]));
    for (unsigned i = 0; i < TIMERS; i++)
        ev_timer_stop(loop, &timers[i]);
    ev_loop_destroy(loop);
}

static void
test_loop_goes_on(void **state)
{
    (void)state;
    spare_memory_init(1u << 16);
    start_timers();
    alloc_fail_after(0);
    assert_false(spare_memory_is_there()); /* given up, and not to be had yet */
    assert_true(alloc_fail_happened());
    assert_true(spare_memory_is_there());
    assert_true(spare_memory_is_there());
    start_timers(); /* and a second time */
    spare_memory_clear();
}

static void
test_none_at_the_start(void **state)
{
    (void)state;
    alloc_fail_after(0);
    spare_memory_init(1u << 16);
    assert_true(alloc_fail_happened());
    assert_true(spare_memory_is_there());
    spare_memory_clear();
}

/* What it is good for. */
static void
test_loop_without_it_ends_the_process(void **state)
{
    pid_t child;
    int status;

    (void)state;
    spare_memory_init(1u << 16);
    spare_memory_clear();
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(2);
        start_timers();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop_goes_on),
        cmocka_unit_test(test_none_at_the_start),
        cmocka_unit_test(test_loop_without_it_ends_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
