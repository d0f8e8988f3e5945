/* bench/histogram.h: latencies by the hundred thousand in constant memory: buckets whose width
 * grows with their value, so that a percentile is off by at most 1/32. Context: the bench programs;
 * plain data, no allocation. */
#ifndef STSGATE_BENCH_HISTOGRAM_H
#define STSGATE_BENCH_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

#define HISTOGRAM_STEPS 32u /* buckets per power of two */
#define HISTOGRAM_BUCKETS (HISTOGRAM_STEPS * 60u)

struct histogram { /* all zero: empty */
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max_ns;
};

/** Negative values count as 0. */
void histogram_add(struct histogram *h, int64_t ns);

/** Upper edge of the bucket that holds this share (0 .. 1) of all values, at most the largest of
 * them; 0 when there are none. */
uint64_t histogram_percentile_ns(const struct histogram *h, double share);

/** {"count":N,"p50":...,"p90":...,"p99":...,"p999":...,"max":...} in milliseconds. */
void histogram_print_json(const struct histogram *h, FILE *out);

#endif
