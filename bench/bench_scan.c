/* bench/bench_scan.c: how fast message text is searched for its end (proxy/data_scan.h): ordinary
 * text, lines that begin with a dot, and what a client could send to slow it down. */
#include "bench/bench.h"

#include <string.h>

#include "proxy/data_scan.h"

#define TEXT_BYTES (128u * 1024u) /* what the worker reads at a time; it stays in the cache */
#define PASSES 800u

/* Fills text by repeating a pattern. */
struct shape {
    const char *name;
    const char *pattern;
    double gib_per_s_min; /* < 0: none is wanted */
};

static const struct shape shapes[] = {
    { "lines of 76 letters",
      "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwx\r\n", 2 },
    { "no line end at all", "abcdefghijklmnopqrstuvwxyz", 2 },
    { "full stops within lines", "a. b. c. d. e. f. g. h. i. j. k. l. m. n. o. p.\r\n", 2 },
    { "every line begins with a dot", "..abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz\r\n",
      -1 },
    { "empty lines only", "\r\n", -1 },
    { "the worst: dots that begin lines, nothing else", "..\r\n", -1 },
};

static char text[TEXT_BYTES];

static double
gib_per_s(void)
{
    struct data_scan scan;
    int64_t start = bench_now_ns();

    data_scan_init(&scan);
    for (unsigned i = 0; i < PASSES; i++) {
        size_t pass;

        if (data_scan(&scan, span_make(text, sizeof text), &pass) != DATA_MORE)
            abort();
    }
    return (double)TEXT_BYTES * PASSES / (1 << 30) / ((double)(bench_now_ns() - start) / 1e9);
}

static int
bench_shape(const struct shape *shape)
{
    size_t len = strlen(shape->pattern);
    double runs[BENCH_RUNS];

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = shape->pattern[i % len];
    for (unsigned i = 0; i < BENCH_RUNS; i++)
        runs[i] = gib_per_s();
    return bench_report(shape->name, bench_percentile(runs, BENCH_RUNS, 0.5), "GiB/s",
                        shape->gib_per_s_min, true);
}

int
main(void)
{
    int status = 0;

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        status |= bench_shape(&shapes[i]);
    return status;
}
