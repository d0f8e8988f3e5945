#include "bench/histogram.h"

#include <inttypes.h>

/* Values below HISTOGRAM_STEPS have a bucket each; above, the highest set bit chooses a group and
 * the bits behind it the bucket. */
static unsigned
bucket_of(uint64_t ns)
{
    unsigned shift;

    if (ns < HISTOGRAM_STEPS)
        return (unsigned)ns;
    shift = 63u - (unsigned)__builtin_clzll(ns) - 5u; /* 5: log2 of HISTOGRAM_STEPS */
    return shift * HISTOGRAM_STEPS + (unsigned)(ns >> shift);
}

static uint64_t
upper_edge(unsigned bucket)
{
    unsigned shift;

    if (bucket < 2 * HISTOGRAM_STEPS)
        return bucket;
    shift = bucket / HISTOGRAM_STEPS - 1;
    return ((uint64_t)(bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS + 1) << shift) - 1;
}

void
histogram_add(struct histogram *h, int64_t ns)
{
    uint64_t value = ns > 0 ? (uint64_t)ns : 0;

    h->counts[bucket_of(value)]++;
    h->total++;
    if (value > h->max_ns)
        h->max_ns = value;
}

uint64_t
histogram_percentile_ns(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)h->total), seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (h->counts[i] && seen >= wanted)
            return upper_edge(i) < h->max_ns ? upper_edge(i) : h->max_ns;
    }
    return h->max_ns;
}

static double
ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

void
histogram_print_json(const struct histogram *h, FILE *out)
{
    fprintf(out,
            "{\"count\":%" PRIu64 ",\"p50\":%.4f,\"p90\":%.4f,\"p99\":%.4f,\"p999\":%.4f,"
            "\"max\":%.4f}",
            h->total, ms(histogram_percentile_ns(h, 0.5)), ms(histogram_percentile_ns(h, 0.9)),
            ms(histogram_percentile_ns(h, 0.99)), ms(histogram_percentile_ns(h, 0.999)),
            ms(h->max_ns));
}
