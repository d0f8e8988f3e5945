/* bench/bench_record.c: what a record costs the worker, from the facts to the kernel: made, and
 * handed to the sink of the configuration. CPU time of this process, the kernel's on its behalf
 * with it, so that who else uses the machine counts little. */
#include "bench/bench.h"

#include <ev.h>
#include <string.h>
#include <unistd.h>

#include "proxy/config.h"
#include "proxy/record_sink.h"
#include "tests/proxy/record_samples.h"

#define RECORDS 20000u
#define TURN 32u /* records of one turn of the loop, as in a worker that is busy */
#define LIMIT_US 3.0

struct bench {
    struct ev_loop *loop;
    struct config config;
    struct record_samples samples;
    struct record_sink *sink; /* NULL: made, and thrown away */
};

static double
cpu_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void
must(enum result res, const char *what)
{
    if (res == RES_OK)
        return;
    fprintf(stderr, "bench_record: %s\n", what);
    exit(1);
}

/* As the worker does for one recipient. */
static void
one_record(struct bench *b)
{
    struct buffer bytes;

    buffer_init(&bytes, RECORD_MAX_BYTES);
    must(record_encode_recipient(&b->samples.recipient, &bytes), "cannot encode");
    if (b->sink)
        record_sink_write(b->sink, buffer_span(&bytes));
    buffer_clear(&bytes);
}

static double
run_us(struct bench *b)
{
    double start = cpu_us();

    for (unsigned i = 0; i < RECORDS; i++) {
        one_record(b);
        if (i % TURN == TURN - 1)
            ev_run(b->loop, EVRUN_NOWAIT);
    }
    return (cpu_us() - start) / RECORDS;
}

static double
median_us(struct bench *b, char *file)
{
    double runs[BENCH_RUNS];
    char error[512];

    for (unsigned i = 0; i < BENCH_RUNS; i++) {
        b->config.record_file = file;
        if (*file)
            must(record_sink_new(b->loop, &b->config, &b->sink, error, sizeof error), error);
        runs[i] = run_us(b);
        record_sink_free(b->sink);
        b->sink = NULL;
        if (*file && truncate(file, 0) != 0)
            must(RES_DENIED, "cannot truncate the file");
    }
    return bench_percentile(runs, BENCH_RUNS, 0.5);
}

int
main(void)
{
    char file[] = "/tmp/stsgate-bench-records-XXXXXX", none[] = "";
    struct bench b = { .loop = ev_default_loop(EVFLAG_NOENV), .config = { .forward_to = none } };
    int fd = mkstemp(file), status = 0;

    if (!b.loop || fd < 0)
        return 1;
    close(fd);
    record_samples_init(&b.samples);
    status |= bench_report("a recipient's record made, CPU", median_us(&b, none), "us", -1, false);
    status |= bench_report("a recipient's record made and handed to the file, CPU",
                           median_us(&b, file), "us", LIMIT_US, false);
    record_samples_clear(&b.samples);
    ev_loop_destroy(b.loop);
    (void)unlink(file);
    return status;
}
