#include "policy/dane_probe.h"

#include <stdlib.h>

#include "base/log.h"

struct dane_probe {
    struct dane_probe_config config;
    bool asked; /* an answer is on its way */
    bool blind;
    unsigned failures; /* one after the other */
    int64_t next_ms;   /* monotonic clock */
};

struct dane_probe *
dane_probe_new(const struct dane_probe_config *config)
{
    struct dane_probe *probe = calloc(1, sizeof *probe);

    if (!probe)
        return NULL;
    probe->config = *config;
    probe->next_ms = INT64_MIN;
    return probe;
}

void
dane_probe_free(struct dane_probe *probe)
{
    free(probe);
}

bool
dane_probe_is_blind(const struct dane_probe *probe)
{
    return probe->blind;
}

/* reason: NULL when the root was secure. */
static void
take_result(struct dane_probe *probe, const char *reason)
{
    struct policy_stats *stats = probe->config.stats;
    unsigned wait_s = reason ? DANE_PROBE_RETRY_S : DANE_PROBE_INTERVAL_S;

    if (reason) {
        probe->failures++;
        policy_stats_add(stats, STAT_DANE_PROBES_FAILED);
        log_error("event=dane-blind reason=\"%s\" failures=%u hint=\"see trust_anchor_file, the "
                  "clock, and whether the resolver passes DNSSEC records on\"",
                  reason, probe->failures);
    } else {
        if (probe->blind)
            log_warn("event=dane-sees failures=%u", probe->failures);
        probe->failures = 0;
    }
    probe->blind = reason != NULL;
    policy_stats_set(stats, STAT_DANE_BLIND, probe->blind);
    probe->next_ms = clock_mono_ms(&probe->config.clock) + (int64_t)wait_s * 1000;
}

static void
on_soa(void *arg, const struct resolver_answer *a)
{
    struct dane_probe *probe = arg;

    probe->asked = false;
    if (a->status == RESOLVER_FAILED)
        take_result(probe, a->reason);
    else if (a->security != DNS_SECURE)
        take_result(probe, "the root is insecure");
    else if (a->answer.count == 0)
        take_result(probe, "the root has no SOA");
    else
        take_result(probe, NULL);
}

void
dane_probe_tick(struct dane_probe *probe)
{
    struct resolver_query *query;

    if (probe->asked || clock_mono_ms(&probe->config.clock) < probe->next_ms)
        return;
    policy_stats_add(probe->config.stats, STAT_DANE_PROBES);
    probe->asked = true;
    if (resolver_ask(probe->config.resolver, ".", DNS_TYPE_SOA, on_soa, probe, &query) == RES_OK)
        return;
    probe->asked = false;
    take_result(probe, "it cannot be asked");
}
