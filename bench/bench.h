/* bench/bench.h: what the programs here share: the clock, and the one line that each question gets.
 * A figure without its neighbours in the same run says little: the machines are shared. */
#ifndef STSGATE_BENCH_BENCH_H
#define STSGATE_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BENCH_RUNS 5u /* of which the median counts */

static inline int64_t
bench_now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline int
bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/** Sorts values. */
static inline double
bench_percentile(double *values, size_t count, double share)
{
    qsort(values, count, sizeof *values, bench_compare);
    return values[(size_t)((double)(count - 1) * share)];
}

/** "NAME: VALUE UNIT (wanted ...)". limit < 0: none; at_least: the limit is a lower one. Returns
 * the program's exit status for it: 0 within the limit. */
static inline int
bench_report(const char *name, double value, const char *unit, double limit, bool at_least)
{
    bool good = limit < 0 || (at_least ? value >= limit : value <= limit);

    if (limit < 0)
        printf("%s: %.2f %s\n", name, value, unit);
    else
        printf("%s: %.2f %s (wanted: %s %.2f)%s\n", name, value, unit,
               at_least ? "at least" : "at most", limit, good ? "" : " MISSED");
    return good ? 0 : 1;
}

#endif
