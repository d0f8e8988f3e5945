/* bench/bench_tlsrpt.c: what TLSRPT costs in a bad day: a million failures over 100 000 domains, in
 * no order, counted and written as the policy process does it; and the day's reports made of it. */
#include "bench/bench.h"

#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/hash_key.h"
#include "policy/tlsrpt_json.h"

#define EVENTS 1000000u
#define DOMAINS 100000u
#define FLUSH_NS INT64_C(100000000) /* TLSRPT_FLUSH_MS */
#define DAY_S 1700006400
#define SET(field, ...) snprintf(field, sizeof(field), __VA_ARGS__)

/* Of this process alone, whatever else the machine does. */
static int64_t
cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* xorshift64: the same events in every run. */
static unsigned
dice(uint64_t *state, unsigned sides)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (unsigned)(*state >> 33) % sides;
}

static void
make_event(struct tls_report *r, unsigned domain)
{
    SET(r->domain, "domain%06u.example", domain);
    SET(r->policy_domain, "domain%06u.example", domain);
    SET(r->mx_host, "mx.domain%06u.example", domain);
    SET(r->helo, "mx.domain%06u.example", domain);
    memcpy(r->receiving.bytes, &domain, 4);
    memcpy(r->text_sha256, &domain, sizeof domain);
}

static int64_t
count_all(struct tlsrpt_store *store)
{
    char *patterns[] = { (char[]){ "mx.example.com" } };
    struct tls_report report = { .at_s = DAY_S + 10,
                                 .type = TLS_REPORT_STS,
                                 .mx = { patterns, 1 },
                                 .failed = true,
                                 .detail_count = 1,
                                 .details = { { .result = RESULT_CERTIFICATE_EXPIRED,
                                                .reason = "X509_V_ERR_CERT_HAS_EXPIRED" } },
                                 .text_sha256 = { [31] = 1 },
                                 .sending = { 4, { 192, 0, 2, 1 } },
                                 .receiving = { 4, { 0 } } };
    uint64_t state = 88172645463325252u;
    int64_t start = cpu_ns(), flushed = start;

    for (unsigned i = 0; i < EVENTS; i++) {
        make_event(&report, dice(&state, DOMAINS));
        if (tlsrpt_store_count(store, &report, 1) != RES_OK)
            abort();
        if (i % 1024 == 0 && cpu_ns() - flushed > FLUSH_NS) {
            if (tlsrpt_store_flush(store) != RES_OK)
                abort();
            flushed = cpu_ns();
        }
    }
    if (tlsrpt_store_flush(store) != RES_OK || tlsrpt_store_lost(store) != 0)
        abort();
    return cpu_ns() - start;
}

struct made {
    struct tlsrpt_store *store;
    unsigned count;
};

static bool
make_report(void *arg, const char *domain)
{
    static const struct tlsrpt_head head = { .organization = "Example",
                                             .contact = "tls@gate.example",
                                             .report_id = "1@gate.example" };
    struct made *made = arg;
    char *json;

    if (tlsrpt_json(made->store, DAY_S, domain, &head, &json) != RES_OK)
        abort();
    free(json);
    made->count++;
    return true;
}

static double
file_mib(const char *path)
{
    char wal[64];
    struct stat file, log = { .st_size = 0 };

    snprintf(wal, sizeof wal, "%s-wal", path);
    if (stat(path, &file) != 0)
        abort();
    (void)stat(wal, &log);
    return (double)(file.st_size + log.st_size) / (1024 * 1024);
}

int
main(void)
{
    char path[] = "/tmp/bench_tlsrpt.XXXXXX", error[200], rest[64];
    struct made made = { .count = 0 };
    struct rusage usage;
    int64_t count_ns, report_ns;
    int status = 0;

    hash_key_init();
    if (mkstemp(path) < 0 || unlink(path) != 0 ||
        tlsrpt_store_open(path, &made.store, error, sizeof error) != RES_OK)
        abort();
    count_ns = count_all(made.store);
    status |= bench_report("TLSRPT: one of 1000000 failures over 100000 domains, CPU",
                           (double)count_ns / 1000 / EVENTS, "us", 5, false);
    status |= bench_report("TLSRPT: their store", file_mib(path), "MiB", 500, false);
    report_ns = cpu_ns();
    if (tlsrpt_read_domains(made.store, DAY_S, "", make_report, &made) != RES_OK)
        abort();
    report_ns = cpu_ns() - report_ns;
    status |= bench_report("TLSRPT: a domain's report, CPU", (double)report_ns / 1000 / made.count,
                           "us", 200, false);
    (void)getrusage(RUSAGE_SELF, &usage);
    status |=
        bench_report("TLSRPT: memory at most", (double)usage.ru_maxrss / 1024, "MiB", 128, false);
    tlsrpt_store_close(made.store);
    (void)unlink(path);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(rest, sizeof rest, "%s%s", path, i ? "-shm" : "-wal");
        (void)unlink(rest);
    }
    return status;
}
