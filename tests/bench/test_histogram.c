/* Percentiles of bench/histogram.h: exact below 64 ns, within a thirty-second above, never beyond
 * the largest value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/histogram.h"

struct row {
    const char *name;
    int64_t values[8];
    unsigned count;
    double share;
    uint64_t at_least, at_most;
};

static const struct row rows[] = {
    { "nothing gives 0", { 0 }, 0, 0.5, 0, 0 },
    { "one value is every percentile", { 1000000 }, 1, 0.999, 1000000, 1000000 },
    { "a negative value counts as 0", { -5 }, 1, 0.5, 0, 0 },
    { "small values are exact", { 3, 31, 32, 63 }, 4, 0.5, 31, 31 },
    { "p50 of eight is the fourth", { 100, 200, 300, 400, 500, 600, 700, 800 }, 8, 0.5, 400, 413 },
    { "p99 of eight is the seventh's bucket or the eighth's",
      { 100, 200, 300, 400, 500, 600, 700, 800 },
      8,
      0.99,
      700,
      800 },
    { "the share 1 is the largest", { 100, 200, 123456789 }, 3, 1, 123456789, 123456789 },
    { "an outlier does not move the median", { 10000, 10000, INT64_MAX }, 3, 0.5, 10000, 10320 },
    { "the largest of all fits", { INT64_MAX }, 1, 0.5, INT64_MAX, INT64_MAX },
    { "seconds are within a thirty-second",
      { 2000000000, 2000000000, 9000000000 },
      3,
      0.5,
      2000000000,
      2062500000 },
};

static void
check_row(void **state)
{
    static struct histogram h;
    const struct row *row = *state;
    uint64_t got;

    h = (struct histogram){ 0 };
    for (unsigned i = 0; i < row->count; i++)
        histogram_add(&h, row->values[i]);
    got = histogram_percentile_ns(&h, row->share);
    assert_true(got >= row->at_least);
    assert_true(got <= row->at_most);
    assert_int_equal(h.total, row->count);
}

int
main(void)
{
    struct CMUnitTest tests[sizeof rows / sizeof *rows];

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tests[i] = (struct CMUnitTest){ rows[i].name, check_row, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
