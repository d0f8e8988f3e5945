/* bench/bench_record.c: what a record costs the worker, from the facts to the kernel: made; made
 * and filed by itself, as record_loss = defer wants it; made and filed with the others of its turn
 * of the loop. CPU time of this process, the kernel's on its behalf with it, so that who else uses
 * the machine counts little. Records per write are counted, not assumed. */
#include "bench/bench.h"

#include <ev.h>
#include <string.h>
#include <unistd.h>

#include "proxy/config.h"
#include "proxy/record_sink.h"
#include "tests/proxy/record_samples.h"

#define RECORDS 20000u
#define TURN                                                                                       \
    32u /* records of one turn of the loop: a mail to so many, a group of commands refused */
#define LIMIT_US 3.0

struct bench {
    struct ev_loop *loop;
    struct config config;
    struct record_samples samples;
    struct buffer record;     /* holds its memory, as the worker's does */
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
    must(record_encode_recipient(&b->samples.recipient, &b->record), "cannot encode");
    if (b->sink)
        record_sink_write(b->sink, buffer_span(&b->record));
    buffer_rewind(&b->record);
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

/* Calls of write() and its kin by this process so far; 0 where the kernel does not count them. */
static unsigned long long
writes_so_far(void)
{
    FILE *in = fopen("/proc/self/io", "r");
    unsigned long long count = 0;
    char line[64];

    while (in && fgets(line, sizeof line, in))
        if (sscanf(line, "syscw: %llu", &count) == 1)
            break;
    if (in)
        fclose(in);
    return count;
}

static double
made_us(struct bench *b)
{
    double runs[BENCH_RUNS];

    for (unsigned i = 0; i < BENCH_RUNS; i++)
        runs[i] = run_us(b);
    return bench_percentile(runs, BENCH_RUNS, 0.5);
}

/* out_writes: of all runs together. */
static double
filed_us(struct bench *b, unsigned long long *out_writes)
{
    double runs[BENCH_RUNS];
    char error[512];

    *out_writes = 0;
    for (unsigned i = 0; i < BENCH_RUNS; i++) {
        unsigned long long before;

        must(record_sink_new(b->loop, &b->config, &b->sink, error, sizeof error), error);
        before = writes_so_far();
        runs[i] = run_us(b);
        *out_writes += writes_so_far() - before;
        if (record_sink_written(b->sink) != RECORDS)
            must(RES_DENIED, "not every record is in the file");
        record_sink_free(b->sink);
        b->sink = NULL;
        if (truncate(b->config.record_file, 0) != 0)
            must(RES_DENIED, "cannot truncate the file");
    }
    return bench_percentile(runs, BENCH_RUNS, 0.5);
}

static int
report_filed(struct bench *b, bool alone, double limit_us)
{
    unsigned long long writes;
    double us, each;
    char name[128];

    b->config.record_loss_defers = alone;
    us = filed_us(b, &writes);
    each = writes ? (double)BENCH_RUNS * RECORDS / (double)writes : 0;
    snprintf(name, sizeof name, "a recipient's record made and filed, %.1f records per write, CPU",
             each);
    return bench_report(name, us, "us", limit_us, false);
}

int
main(void)
{
    char file[] = "/tmp/stsgate-bench-records-XXXXXX", none[] = "";
    struct bench b = { .loop = ev_default_loop(EVFLAG_NOENV),
                       .config = { .record_file = file, .forward_to = none } };
    int fd = mkstemp(file), status = 0;

    if (!b.loop || fd < 0)
        return 1;
    close(fd);
    record_samples_init(&b.samples);
    buffer_init(&b.record, RECORD_MAX_BYTES);
    status |= bench_report("a recipient's record made, CPU", made_us(&b), "us", -1, false);
    status |= report_filed(&b, true, -1);
    status |= report_filed(&b, false, LIMIT_US);
    buffer_clear(&b.record);
    record_samples_clear(&b.samples);
    ev_loop_destroy(b.loop);
    (void)unlink(file);
    return status;
}
