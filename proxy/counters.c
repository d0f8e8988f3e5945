#include "proxy/counters.h"

#include <stddef.h>
#include <string.h>

static const char *const families[] = { "ipv4", "ipv6" };
static const char *const intercepts[] = { "tproxy", "redirect", "proxy" };
static const char *const away[COUNTED_AWAY] = {
    "other",
    "too-many-sessions",
    "too-many-sessions-of-client",
    "too-many-sessions-of-section",
    "no-memory",
    "no-descriptor",
    "destination-unknown",
    "destination-own",
    "destination-undialable",
    "destination-port",
};
static const char *const sessions[] = { "empty", "delivered", "partly", "refused", "untaken" };
static const char *const relays[] = { "survey", "relay", "passthrough" };
static const char *const policies[] = { "dane", "sts", "local", "none" };
static const char *const modes[] = { "enforce", "testing", "monitor", "none" };
static const char *const results[] = { "clear",   "tls",      "mta-sts", "dane",
                                       "refused", "rejected", "failed" };
static const char *const legs[] = { "mx", "client" };
static const char *const versions[] = { "none", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3" };
static const char *const ends[] = { "done", "handshake", "version", "injected", "timeout" };
static const char *const bounds[] = { "0.005", "0.01", "0.025", "0.05", "0.1",  "0.25", "0.5",
                                      "1",     "2.5",  "5",     "10",   "+Inf", "sum" };
static const uint64_t bounds_ms[COUNTED_TIMES - 1] = { 5,   10,   25,   50,   100,  250,
                                                       500, 1000, 2500, 5000, 10000 };
static const char *const directions[] = { "to-mx", "to-client" };
static const char *const engines[] = { "copy", "library", "splice", "seal", "ktls" };
static const char *const fallbacks[] = { "other", "looked-at", "small", "no-pipe", "refused" };
static const char *const record_results[] = { "written", "lost" };

/* clang-format off */
#define LABEL(name, values) { name, values, sizeof (values) / sizeof *(values) }
/* clang-format on */
#define AT(field) offsetof(struct counters, field)

static const struct counter_row table[] = {
    { "stsgate_connections_total",
      "Connections of clients that were taken.",
      AT(connections),
      { LABEL("family", families), LABEL("intercept", intercepts) },
      2,
      COUNTER_NUMBER },
    { "stsgate_connections_turned_away_total",
      "Connections of clients that were answered with 421, by the reason.",
      AT(turned_away),
      { LABEL("reason", away) },
      1,
      COUNTER_NUMBER },
    { "stsgate_sessions_total",
      "SMTP sessions that have ended, by what became of their mail.",
      AT(sessions),
      { LABEL("outcome", sessions) },
      1,
      COUNTER_NUMBER },
    { "stsgate_relayed_total",
      "Connections that were relayed untouched and have ended.",
      AT(relays),
      { LABEL("kind", relays) },
      1,
      COUNTER_NUMBER },
    { "stsgate_recipients_total",
      "Recipients, by whose demand they are under, how far that is enforced, and what protected "
      "the "
      "mail or became of it.",
      AT(recipients),
      { LABEL("policy", policies), LABEL("mode", modes), LABEL("result", results) },
      3,
      COUNTER_NUMBER },
    { "stsgate_refusals_total",
      "Recipients that the gateway refused, by the row of its table of replies.",
      AT(replies),
      { { "reply", NULL, COUNTED_REPLIES } },
      1,
      COUNTER_NUMBER },
    { "stsgate_tls_handshakes_total",
      "TLS handshakes, by the version that was agreed on and how they ended.",
      AT(handshakes),
      { LABEL("leg", legs), LABEL("version", versions), LABEL("result", ends) },
      3,
      COUNTER_NUMBER },
    { "stsgate_tls_resumed_total",
      "Handshakes with MX hosts that resumed an earlier session.",
      AT(resumed),
      { { 0 } },
      0,
      COUNTER_NUMBER },
    { "stsgate_tls_handshake_seconds",
      "Duration of the handshakes with MX hosts that succeeded.",
      AT(handshake_ms),
      { LABEL("le", bounds) },
      1,
      COUNTER_HISTOGRAM },
    { "stsgate_relay_bytes_total",
      "Octets of SMTP that were passed on in sessions that have ended, without those of TLS.",
      AT(octets),
      { LABEL("direction", directions), LABEL("engine", engines) },
      2,
      COUNTER_NUMBER },
    { "stsgate_relay_engine_fallback_total",
      "Relayed connections of which nothing was spliced, by the reason.",
      AT(fallbacks),
      { LABEL("reason", fallbacks) },
      1,
      COUNTER_NUMBER },
    { "stsgate_protocol_violations_total",
      "Commands of clients that break SMTP.",
      AT(violations),
      { { 0 } },
      0,
      COUNTER_NUMBER },
    { "stsgate_clients_left_total",
      "Clients that left without mail although the MX lists STARTTLS: they may insist on it.",
      AT(left_without_mail),
      { { 0 } },
      0,
      COUNTER_NUMBER },
    { "stsgate_log_records_total",
      "Records, by whether they were written.",
      AT(records),
      { LABEL("result", record_results) },
      1,
      COUNTER_NUMBER },
    { "stsgate_workers_cpu_seconds_total",
      "CPU time that the workers have used.",
      AT(cpu_ms),
      { { 0 } },
      0,
      COUNTER_SECONDS },
};

_Static_assert(sizeof(struct counters) % sizeof(uint64_t) == 0, "numbers only");

const struct counter_row *
counters_table(size_t *out_rows)
{
    *out_rows = sizeof table / sizeof *table;
    return table;
}

size_t
counter_row_size(const struct counter_row *row)
{
    size_t size = 1;

    for (unsigned i = 0; i < row->label_count; i++)
        size *= row->labels[i].count;
    return size;
}

uint64_t
counters_get(const struct counters *c, size_t index)
{
    uint64_t value;

    memcpy(&value, (const char *)c + index * sizeof value, sizeof value);
    return value;
}

void
counters_set(struct counters *c, size_t index, uint64_t value)
{
    memcpy((char *)c + index * sizeof value, &value, sizeof value);
}

/* Index of a word in a closed set; 0 for one that is not there. */
static unsigned
index_of(const char *word, const char *const *values, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(values[i], word) == 0)
            return i;
    return 0;
}

void
counters_connection(struct counters *c, const struct record_session_info *info)
{
    c->connections[info->client.len == 4 ? COUNTED_IPV4 : COUNTED_IPV6][info->intercept]++;
}

void
counters_turned_away(struct counters *c, const char *reason)
{
    c->turned_away[index_of(reason, away, COUNTED_AWAY)]++;
}

static enum counted_policy
policy_of(const struct record_recipient *record)
{
    const struct requirement *req = record->req;

    if (req->dane.state != DANE_NONE)
        return COUNTED_DANE;
    if (req->sts.mode != STS_MODE_NONE)
        return COUNTED_STS;
    switch (req->local.action) {
    case RULE_REQUIRE:
    case RULE_VERIFY:
    case RULE_DANE:
        return COUNTED_LOCAL;
    case RULE_NONE:
    case RULE_BYPASS:
    case RULE_MONITOR:
    case RULE_FLOOR:
    case RULE_NO_DANE:
        break;
    }
    return record->verdict->demand.site_tls || record->verdict->demand.requiretls
               ? COUNTED_LOCAL
               : COUNTED_NO_POLICY;
}

static enum counted_mode
mode_of(const struct record_recipient *record, enum counted_policy policy)
{
    if (policy == COUNTED_NO_POLICY)
        return COUNTED_NO_MODE;
    if (record->req->monitored)
        return COUNTED_MONITORED;
    return policy == COUNTED_STS && record->req->sts.mode == STS_MODE_TESTING ? COUNTED_TESTING
                                                                              : COUNTED_ENFORCE;
}

enum counted_result
counters_result(const struct record_recipient *record)
{
    if (strcmp(record->outcome, "refused") == 0)
        return COUNTED_GATEWAY_REFUSED;
    if (strcmp(record->outcome, "rejected") == 0)
        return COUNTED_MX_REJECTED;
    if (strcmp(record->outcome, "delivered") != 0)
        return COUNTED_FAILED;
    if (record->obs->stage != TLS_STAGE_DONE)
        return COUNTED_CLEAR;
    if (record->dane->match == DANE_MATCHED)
        return COUNTED_BY_DANE;
    if (record->req->sts.mode != STS_MODE_NONE && record->verdict->proven &&
        record->verdict->would == VERDICT_ALLOW)
        return COUNTED_BY_STS;
    return COUNTED_TLS;
}

/* "REP-013" is 13. */
static unsigned
reply_number(const char *id)
{
    unsigned long long number;

    if (strncmp(id, "REP-", 4) != 0 || !span_to_u64(span_of(id + 4), 3, &number) ||
        number >= COUNTED_REPLIES)
        return 0;
    return (unsigned)number;
}

void
counters_recipient(struct counters *c, const struct record_recipient *record)
{
    enum counted_policy policy = policy_of(record);
    enum counted_result result = counters_result(record);

    c->recipients[policy][mode_of(record, policy)][result]++;
    if (result == COUNTED_GATEWAY_REFUSED)
        c->replies[reply_number(record->reply_id)]++;
}

static enum counted_session
outcome_of(const struct record_session_end *record)
{
    if (record->delivered)
        return record->refused ? COUNTED_PARTLY : COUNTED_DELIVERED;
    if (record->refused)
        return COUNTED_REFUSED;
    return record->allowed ? COUNTED_UNTAKEN : COUNTED_EMPTY;
}

void
counters_session(struct counters *c, const struct record_session_end *record)
{
    unsigned engine = index_of(record->engine, engines, COUNTED_ENGINES);

    c->sessions[outcome_of(record)]++;
    c->violations += record->violations;
    c->left_without_mail += record->left_without_mail;
    c->octets[COUNTED_TO_MX][engine] += record->bytes_to_mx;
    c->octets[COUNTED_TO_CLIENT][engine] += record->bytes_to_client;
}

void
counters_relay(struct counters *c, const struct record_survey *record)
{
    unsigned engine = index_of(record->engine, engines, COUNTED_ENGINES);

    c->relays[index_of(record->event, relays, COUNTED_RELAYS)]++;
    c->octets[COUNTED_TO_MX][engine] += record->bytes_to_mx;
    c->octets[COUNTED_TO_CLIENT][engine] += record->bytes_to_client;
    if (*record->engine_reason)
        c->fallbacks[index_of(record->engine_reason, fallbacks, COUNTED_FALLBACKS)]++;
}

static unsigned
version_index(uint16_t version)
{
    return version < TLS_VERSION_1_0 || version > TLS_VERSION_1_3 ? 0
                                                                  : 1u + version - TLS_VERSION_1_0;
}

static void
count_time(uint64_t times[COUNTED_TIMES + 1], uint64_t took_ms)
{
    unsigned i = 0;

    while (i < COUNTED_TIMES - 1 && took_ms > bounds_ms[i])
        i++;
    times[i]++;
    times[COUNTED_TIME_SUM] += took_ms;
}

void
counters_mx_handshake(struct counters *c, const struct observation *obs, int64_t took_ms)
{
    bool done = obs->stage == TLS_STAGE_DONE;
    unsigned end = done ? 0 : (unsigned)obs->failure;

    c->handshakes[COUNTED_MX][version_index(obs->version)][end < COUNTED_ENDS ? end : 1]++;
    c->resumed += done && obs->resumed;
    if (done)
        count_time(c->handshake_ms, took_ms > 0 ? (uint64_t)took_ms : 0);
}

void
counters_client_handshake(struct counters *c, uint16_t version)
{
    c->handshakes[COUNTED_CLIENT][version_index(version)][version ? 0 : 1]++;
}
