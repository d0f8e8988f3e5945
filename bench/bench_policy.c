/* bench/bench_policy.c: what a policy costs: parsing it, keeping a million, storing them. */
#include "bench/bench.h"

#include <malloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash_key.h"
#include "policy/sts_keeper.h"

#define DOMAINS 1000000u
#define LOOKS 200000u
#define PARSES 200000u
#define NOW_S 1700000000

static const char typical[] = "version: STSv1\r\nmode: enforce\r\nmx: mx1.mail.example.com\r\n"
                              "mx: *.backup.example.net\r\nmax_age: 604800\r\n";

static double
parse_us(void)
{
    int64_t start = bench_now_ns();

    for (unsigned i = 0; i < PARSES; i++) {
        struct sts_policy *policy;

        if (sts_policy_parse(span_of(typical), &policy, NULL) != RES_OK)
            abort();
        sts_policy_free(policy);
    }
    return (double)(bench_now_ns() - start) / 1000 / PARSES;
}

static int
bench_parse(void)
{
    double runs[BENCH_RUNS];

    for (unsigned i = 0; i < BENCH_RUNS; i++)
        runs[i] = parse_us();
    return bench_report("parse of a typical policy", bench_percentile(runs, BENCH_RUNS, 0.5), "us",
                        5, false);
}

static double
resident_mib(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long total = 0, resident = 0;

    if (!file || fscanf(file, "%lu %lu", &total, &resident) != 2)
        abort();
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1024 * 1024);
}

static void
domain_of(unsigned i, char out[32])
{
    snprintf(out, 32, "domain%07u.example", i);
}

static void
fill(struct sts_cache *cache)
{
    struct sts_policy *policy;
    char domain[32];

    if (sts_policy_parse(span_of(typical), &policy, NULL) != RES_OK)
        abort();
    for (unsigned i = 0; i < DOMAINS; i++) {
        domain_of(i, domain);
        if (sts_cache_put(cache, domain, "20260101T000000", span_of(typical), policy, NOW_S) !=
            RES_OK)
            abort();
    }
    sts_policy_free(policy);
}

/* Each look is what mail does: find, count as used, parse again. */
static int
bench_looks(struct sts_cache *cache)
{
    double *looks = malloc(LOOKS * sizeof *looks);
    unsigned random = 1;
    int status;

    if (!looks)
        abort();
    for (unsigned i = 0; i < LOOKS; i++) {
        struct sts_policy *policy;
        struct sts_entry entry;
        char domain[32];
        int64_t start;

        random = random * 1103515245u + 12345u;
        domain_of(random / 16 % DOMAINS, domain);
        start = bench_now_ns();
        if (!sts_cache_use(cache, domain, NOW_S + 1, &entry) ||
            sts_policy_parse(entry.text, &policy, NULL) != RES_OK)
            abort();
        looks[i] = (double)(bench_now_ns() - start) / 1000;
        sts_policy_free(policy);
    }
    status = bench_report("look-up among 1 000 000, p99", bench_percentile(looks, LOOKS, 0.99),
                          "us", 100, false);
    (void)bench_report("look-up among 1 000 000, p50", bench_percentile(looks, LOOKS, 0.5), "us",
                       -1, false);
    free(looks);
    return status;
}

static struct sts_cache *
new_cache(struct sts_keeper *keeper)
{
    struct sts_cache *cache =
        sts_cache_new(&(struct sts_cache_config){ .entries_max = DOMAINS,
                                                  .max_age_cap_s = 31557600,
                                                  .changed = keeper ? sts_keeper_changed : NULL,
                                                  .arg = keeper });

    if (!cache)
        abort();
    return cache;
}

static int
bench_memory(void)
{
    double before = resident_mib();
    struct sts_cache *cache = new_cache(NULL);
    int status = 0;

    fill(cache);
    status |=
        bench_report("1 000 000 policies in memory", resident_mib() - before, "MiB", 300, false);
    status |= bench_looks(cache);
    sts_cache_free(cache);
    (void)malloc_trim(0);
    return status;
}

static int64_t
system_wall(void *arg)
{
    (void)arg;
    return (int64_t)NOW_S * 1000000000;
}

static int64_t
system_mono(void *arg)
{
    (void)arg;
    return bench_now_ns();
}

static int
bench_store(void)
{
    char folder[] = "/tmp/stsgate-bench-XXXXXX", path[64], wal[80];
    struct sts_keeper_config config = { .path = path,
                                        .clock = { system_wall, system_mono, NULL },
                                        .unused_max_s = 2592000 };
    struct sts_keeper *keeper;
    struct sts_cache *cache;
    struct stat st;
    int64_t start;
    int status;

    if (!mkdtemp(folder))
        abort();
    snprintf(path, sizeof path, "%s/policies.sqlite", folder);
    snprintf(wal, sizeof wal, "%s-wal", path);
    keeper = sts_keeper_new(&config);
    cache = new_cache(keeper);
    sts_keeper_load(keeper, cache);
    fill(cache);
    start = bench_now_ns();
    sts_keeper_stop(keeper);
    (void)bench_report("1 000 000 policies written", (double)(bench_now_ns() - start) / 1e9, "s",
                       -1, false);
    sts_cache_free(cache);
    sts_keeper_free(keeper);
    if (stat(path, &st) != 0)
        abort();
    status = bench_report("1 000 000 policies in the store", (double)st.st_size / (1024 * 1024),
                          "MiB", 1024, false);
    keeper = sts_keeper_new(&config);
    cache = new_cache(keeper);
    start = bench_now_ns();
    sts_keeper_load(keeper, cache);
    (void)bench_report("1 000 000 policies checked and loaded",
                       (double)(bench_now_ns() - start) / 1e9, "s", -1, false);
    if (sts_cache_count(cache) != DOMAINS)
        status = 1;
    sts_keeper_stop(keeper);
    sts_cache_free(cache);
    sts_keeper_free(keeper);
    (void)unlink(path);
    (void)unlink(wal);
    (void)rmdir(folder);
    return status;
}

int
main(void)
{
    hash_key_init();
    return bench_parse() | bench_memory() | bench_store();
}
