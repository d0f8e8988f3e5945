/* bench/bench_judge.c: what a verdict costs; each recipient has one or two. */
#include "bench/bench.h"

#include <stdio.h>

#include "proxy/judge.h"

#define VERDICTS 2000000u
#define NOW_S 1700000000
#define NAMES 4u

static char host[] = "mx1.mail.example.com", second[] = "mx2.mail.example.com",
            pattern[] = "*.backup.example.net", san[] = "*.mail.example.com";

static void
fill(struct requirement *req, struct observation *obs)
{
    static char *hosts[] = { host, second }, *patterns[] = { pattern, host, second },
                *sans[NAMES] = { pattern, second, host, san };

    *req = (struct requirement){ .refs = 1, .matched = MX_MATCH_ADDRESS };
    snprintf(req->domain, sizeof req->domain, "example.com");
    req->names = (struct name_list){ hosts, 2 };
    req->sts.mode = STS_MODE_ENFORCE;
    req->sts.mx = (struct name_list){ patterns, 3 };
    req->sts.expires_at_s = NOW_S + 86400;
    req->tls_floor = TLS_VERSION_1_2;
    *obs = (struct observation){ .refs = 1, .starttls_offered = true, .starttls_code = 220 };
    obs->stage = TLS_STAGE_DONE;
    obs->floor = TLS_VERSION_1_2;
    obs->version = TLS_VERSION_1_3;
    obs->chain = CHAIN_GOOD;
    obs->sans = (struct name_list){ sans, NAMES };
    snprintf(obs->sni, sizeof obs->sni, "%s", host);
}

static double
verdict_ns(const struct requirement *req, const struct observation *obs, enum verdict_action wanted)
{
    static const struct demand demand = { .cleartext_fallback = true, .floor = TLS_VERSION_1_2 };
    int64_t start = bench_now_ns();

    for (unsigned i = 0; i < VERDICTS; i++)
        if (judge(req, &demand, obs, NOW_S).action != wanted)
            abort();
    return (double)(bench_now_ns() - start) / VERDICTS;
}

static int
bench_verdict(const char *name, const struct requirement *req, const struct observation *obs,
              enum verdict_action wanted)
{
    double runs[BENCH_RUNS];

    for (unsigned i = 0; i < BENCH_RUNS; i++)
        runs[i] = verdict_ns(req, obs, wanted);
    return bench_report(name, bench_percentile(runs, BENCH_RUNS, 0.5), "ns", 5000, false);
}

int
main(void)
{
    struct requirement req;
    struct observation obs;
    int status;

    fill(&req, &obs);
    status = bench_verdict("a mail allowed under MTA-STS", &req, &obs, VERDICT_ALLOW);
    obs.sans.count = 1;
    status |= bench_verdict("refused: no name in the certificate", &req, &obs, VERDICT_REFUSE);
    return status;
}
