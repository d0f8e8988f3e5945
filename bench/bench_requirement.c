/* bench/bench_requirement.c: what a worker pays for a requirement: from its own cache, without a
 * system call; and from the policy process over the socket pair. */
#include "bench/bench.h"

#include <ev.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash_key.h"
#include "base/msg_link.h"
#include "policy/policy_msg.h"
#include "policy/policy_server.h"
#include "proxy/policy_client.h"

#define HITS 1000000u
#define QUESTIONS 50000u
#define OPEN_MAX 256u /* questions on their way at a time */

#define DOMAINS 1000u

static const char policy_text[] = "version: STSv1\r\nmode: enforce\r\nmx: mx1.mail.example.com\r\n"
                                  "mx: *.backup.example.net\r\nmax_age: 604800\r\n";

/* ---- DNS ---- */

/* In place of libunbound, whose own cache is not what is measured: every domain has one TXT record,
 * two MX hosts and an address for each, told from the loop like the real answers. */
struct resolver {
    struct ev_loop *loop;
    ev_idle idle;
    struct {
        unsigned qtype;
        resolver_done *done;
        void *arg;
    } open[4 * OPEN_MAX];
    unsigned count;
};

static void
answer_one(struct resolver *r)
{
    struct resolver_answer a = { .status = RESOLVER_ANSWERED };
    struct dns_mx mx[2] = { { .preference = 10, .host = "mx1.mail.example.com" },
                            { .preference = 20, .host = "mx2.backup.example.net" } };
    struct span text = span_of("v=STSv1; id=20260101T000000;");
    resolver_done *done;
    struct ip_addr addr;
    void *arg;

    r->count--;
    done = r->open[r->count].done;
    arg = r->open[r->count].arg;
    a.answer.ttl_s = 300;
    a.answer.count = 1;
    if (r->open[r->count].qtype == DNS_TYPE_TXT) {
        a.answer.texts = &text;
    } else if (r->open[r->count].qtype == DNS_TYPE_MX) {
        a.answer.mx = mx;
        a.answer.count = 2;
    } else {
        if (ip_addr_parse("192.0.2.1", &addr) != RES_OK)
            abort();
        a.answer.addrs = &addr;
    }
    done(arg, &a);
}

static void
on_idle(struct ev_loop *loop, ev_idle *w, int revents)
{
    struct resolver *r = w->data;

    (void)revents;
    if (r->count)
        answer_one(r);
    if (r->count == 0)
        ev_idle_stop(loop, w);
}

enum result
resolver_ask(struct resolver *r, const char *name, unsigned qtype, resolver_done *done, void *arg,
             struct resolver_query **out)
{
    (void)name;
    *out = NULL;
    if (r->count == sizeof r->open / sizeof *r->open)
        return RES_LIMIT;
    r->open[r->count].qtype = qtype;
    r->open[r->count].done = done;
    r->open[r->count++].arg = arg;
    ev_idle_start(r->loop, &r->idle);
    return RES_OK;
}

enum result
fetch_start(struct fetcher *f, const char *domain, const struct ip_addr *addrs, size_t addr_count,
            fetch_done *done, void *arg, struct fetch **out)
{
    (void)f, (void)domain, (void)addrs, (void)addr_count, (void)done, (void)arg, (void)out;
    abort(); /* all policies are cached */
}

struct bench {
    struct ev_loop *loop;
    struct policy_client *client;
    struct policy_subject subject;
    pid_t server;
    unsigned asked, answered;
};

static void ask(struct bench *b);

static void
on_answer(void *arg, struct requirement *req)
{
    struct bench *b = arg;

    if (!req)
        abort();
    requirement_unref(req);
    if (++b->answered == QUESTIONS)
        ev_break(b->loop, EVBREAK_ALL);
    else
        ask(b);
}

static void
ask(struct bench *b)
{
    char domain[32];

    if (b->asked == QUESTIONS)
        return;
    snprintf(domain, sizeof domain, "d%u.example", b->asked++ % DOMAINS);
    b->subject.domain = domain;
    if (!policy_client_ask(b->client, &b->subject, false, on_answer, b))
        abort();
}

static void
fill_cache(struct sts_cache *cache, int64_t now_s)
{
    struct sts_policy *policy;

    if (sts_policy_parse(span_of(policy_text), &policy, NULL) != RES_OK)
        abort();
    for (unsigned i = 0; i < DOMAINS; i++) {
        char domain[32];

        snprintf(domain, sizeof domain, "d%u.example", i);
        if (sts_cache_put(cache, domain, "20260101T000000", span_of(policy_text), policy, now_s) !=
            RES_OK)
            abort();
    }
    sts_policy_free(policy);
}

/* The policy process's side: server, look-up, discovery and cache are the real ones. */
static void
serve(int fd)
{
    static struct resolver resolver;
    const struct clock clock = clock_system();
    struct ev_loop *loop = ev_default_loop(EVFLAG_AUTO);
    struct rules rules = { .rollout = { .percent = 100 } };
    struct sts_cache *cache = sts_cache_new(
        &(struct sts_cache_config){ .entries_max = 100000, .max_age_cap_s = 31557600 });
    struct sts_fetcher *fetcher = sts_fetcher_new(
        &(struct sts_fetcher_config){ .resolver = &resolver, .cache = cache, .clock = clock });
    struct sts_discovery *discovery =
        sts_discovery_new(&(struct sts_discovery_config){ .resolver = &resolver,
                                                          .uncached = &resolver,
                                                          .fetcher = fetcher,
                                                          .cache = cache,
                                                          .clock = clock,
                                                          .refetch_wait_ms = 300000 });
    struct lookup_config config = { .resolver = &resolver,
                                    .uncached = &resolver,
                                    .discovery = discovery,
                                    .memory = addr_memory_new(ADDR_MEMORY_S),
                                    .dane_memory = addr_memory_new(ADDR_MEMORY_DANE_S),
                                    .clock = clock,
                                    .rules = &rules,
                                    .rollout = &rules.rollout,
                                    .tls_minimum = TLS_VERSION_1_2,
                                    .tls_opportunistic_minimum = TLS_VERSION_1_0,
                                    .ttl_max_s = 60 };
    struct policy_server *server = policy_server_new(loop, &config);

    if (!server || !discovery || !fetcher || !config.memory || !config.dane_memory)
        abort();
    fill_cache(cache, clock_wall_s(&clock));
    resolver.loop = loop;
    ev_idle_init(&resolver.idle, on_idle);
    resolver.idle.data = &resolver;
    policy_server_link(server, 0, fd);
    ev_run(loop, 0);
    _exit(0);
}

/* A server in a process of its own, and a client of it. */
static void
open_bench(struct bench *b)
{
    const struct clock clock = clock_system();
    int pair[2];

    *b = (struct bench){ .loop = ev_loop_new(EVFLAG_AUTO) };
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        abort();
    b->server = fork();
    if (b->server == 0) {
        close(pair[0]);
        serve(pair[1]);
    }
    close(pair[1]);
    b->client = policy_client_new(b->loop, &clock);
    b->subject.port = 25;
    if (ip_addr_parse("192.0.2.1", &b->subject.destination) != RES_OK ||
        ip_addr_parse("10.0.0.1", &b->subject.client) != RES_OK)
        abort();
    policy_client_link(b->client, pair[0]);
}

static void
close_bench(struct bench *b)
{
    policy_client_free(b->client);
    ev_loop_destroy(b->loop);
    (void)kill(b->server, SIGKILL);
    (void)waitpid(b->server, NULL, 0);
}

static double
run_questions(void)
{
    struct bench b;
    int64_t start;
    double seconds;

    open_bench(&b);
    start = bench_now_ns();
    for (unsigned i = 0; i < OPEN_MAX; i++)
        ask(&b);
    ev_run(b.loop, 0);
    seconds = (double)(bench_now_ns() - start) / 1e9;
    close_bench(&b);
    return QUESTIONS / seconds;
}

static int
bench_questions(void)
{
    double runs[BENCH_RUNS];

    for (unsigned i = 0; i < BENCH_RUNS; i++)
        runs[i] = run_questions();
    return bench_report("requirements over the socket pair, policies cached, DNS answered at once",
                        bench_percentile(runs, BENCH_RUNS, 0.5), "per second", 20000, true);
}

/* One answer goes into the cache; then it is asked for again and again. */
static void
fill_one(struct bench *b)
{
    b->asked = QUESTIONS - 1;
    b->answered = QUESTIONS - 1;
    ask(b);
    ev_run(b->loop, 0);
}

static double
hit_us(struct bench *b)
{
    int64_t start = bench_now_ns();

    b->subject.domain = "d999.example";
    for (unsigned i = 0; i < HITS; i++) {
        struct requirement *req = policy_client_cached(b->client, &b->subject);

        if (!req)
            abort();
        requirement_unref(req);
    }
    return (double)(bench_now_ns() - start) / 1000 / HITS;
}

/* Between two calls of getpid() in a process that is traced: how many system calls? -1: it cannot
 * be traced here. */
static long
count_system_calls(struct bench *b)
{
    pid_t child = fork();
    long stops = 0;
    int status;

    b->subject.domain = "d999.example";
    if (child == 0) {
        (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        (void)raise(SIGSTOP);
        (void)syscall(SYS_getpid);
        for (unsigned i = 0; i < 1000; i++)
            requirement_unref(policy_client_cached(b->client, &b->subject));
        (void)syscall(SYS_getpid);
        _exit(0);
    }
    (void)waitpid(child, &status, 0);
    if (!WIFSTOPPED(status) || ptrace(PTRACE_SYSCALL, child, NULL, NULL) != 0)
        return -1;
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        stops++; /* at its begin and at its end */
        (void)ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    }
    return stops / 2 - 2; /* without the two, and half a stop for exit_group() */
}

static int
bench_hits(void)
{
    struct bench b;
    double runs[BENCH_RUNS];
    long calls;
    int status;

    open_bench(&b);
    fill_one(&b);
    for (unsigned i = 0; i < BENCH_RUNS; i++)
        runs[i] = hit_us(&b);
    status = bench_report("requirement from the worker's own cache",
                          bench_percentile(runs, BENCH_RUNS, 0.5), "us", 2, false);
    calls = count_system_calls(&b);
    if (calls < 0)
        puts("system calls of 1000 such: not known, this machine permits no tracing");
    else
        status |= bench_report("system calls of 1000 such", (double)calls, "", 0, false);
    close_bench(&b);
    return status;
}

int
main(void)
{
    hash_key_init();
    return bench_hits() | bench_questions();
}
