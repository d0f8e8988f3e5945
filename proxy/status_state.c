#include "proxy/status_state.h"

#include "policy/policy_msg.h"

#include <stdlib.h>
#include <string.h>

struct status_state *
status_state_new(int64_t now_s)
{
    struct status_state *s = calloc(1, sizeof *s);

    if (s)
        s->started_s = now_s;
    return s;
}

void
status_state_free(struct status_state *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < STATUS_LINKS_MAX; i++)
        free(s->links[i]);
    free(s);
}

struct status_link *
status_link_add(struct status_state *s)
{
    unsigned place = 0;

    while (place < STATUS_LINKS_MAX && s->links[place])
        place++;
    if (place == STATUS_LINKS_MAX)
        return NULL;
    s->links[place] = calloc(1, sizeof *s->links[place]);
    return s->links[place];
}

static void
add_counters(struct counters *to, const struct counters *from)
{
    for (size_t i = 0; i < COUNTERS; i++)
        counters_set(to, i, counters_get(to, i) + counters_get(from, i));
}

static void
add_numbers(uint64_t *to, const uint64_t *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
}

/* What a process counted stays when it has gone. */
static void
bury_peer(struct status_state *s, struct status_peer *peer)
{
    if (peer->known)
        add_counters(&s->gone, &peer->report.counters);
    peer->known = false;
}

static void
bury_facts(struct status_state *s, struct status_link *link)
{
    if (!link->has_facts)
        return;
    add_numbers(s->gone_stats, link->facts.stats, POLICY_STATS);
    s->gone_stats[STAT_DANE_BLIND] = 0; /* it is no counter */
    add_numbers(s->gone_records, link->facts.records, COUNTED_RECORDS);
    link->has_facts = false;
}

void
status_link_remove(struct status_state *s, struct status_link *link)
{
    for (unsigned i = 0; i < STATUS_LINKS_MAX; i++)
        if (s->links[i] == link)
            s->links[i] = NULL;
    for (unsigned i = 0; i < STATUS_PEERS_MAX; i++)
        bury_peer(s, &link->peers[i]);
    bury_facts(s, link);
    free(link);
}

/* ---- the last day ---- */

static enum status_class
class_of(enum counted_result result)
{
    switch (result) {
    case COUNTED_BY_STS:
    case COUNTED_BY_DANE:
        return STATUS_PROVEN;
    case COUNTED_TLS:
        return STATUS_TLS;
    case COUNTED_CLEAR:
        return STATUS_CLEAR;
    case COUNTED_GATEWAY_REFUSED:
        return STATUS_REFUSED;
    case COUNTED_MX_REJECTED:
    case COUNTED_FAILED:
    case COUNTED_RESULTS:
        break;
    }
    return STATUS_OTHER;
}

static void
classify(const struct counters *c, uint64_t out[STATUS_CLASSES])
{
    memset(out, 0, STATUS_CLASSES * sizeof *out);
    for (unsigned p = 0; p < COUNTED_POLICIES; p++)
        for (unsigned m = 0; m < COUNTED_MODES; m++)
            for (unsigned r = 0; r < COUNTED_RESULTS; r++)
                out[class_of((enum counted_result)r)] += c->recipients[p][m][r];
}

static struct status_slot *
slot_at(struct status_state *s, int64_t now_s)
{
    int64_t number = now_s / STATUS_SLOT_S;
    struct status_slot *slot = &s->slots[(uint64_t)number % STATUS_SLOTS];

    if (slot->number != number)
        *slot = (struct status_slot){ .number = number };
    return slot;
}

const uint64_t *
status_slot(const struct status_state *s, int64_t now_s, unsigned back)
{
    int64_t number = now_s / STATUS_SLOT_S - back;
    const struct status_slot *slot = &s->slots[(uint64_t)number % STATUS_SLOTS];

    return slot->number == number ? slot->counts : NULL;
}

/* What has come since the worker's report before. Where this process began later than the worker,
 * the first report tells of times that nobody knows. */
static void
note_growth(struct status_state *s, const struct status_peer *before,
            const struct worker_report *report, int64_t now_s)
{
    uint64_t old[STATUS_CLASSES] = { 0 }, new[STATUS_CLASSES];
    struct status_slot *slot = slot_at(s, now_s);

    if (!before->known && report->started_s < s->started_s)
        return;
    if (before->known)
        classify(&before->report.counters, old);
    classify(&report->counters, new);
    for (unsigned i = 0; i < STATUS_CLASSES; i++)
        if (new[i] > old[i])
            slot->counts[i] += new[i] - old[i];
}

static void
note_refused(struct status_state *s, const struct top_refused *refused, int64_t now_s)
{
    int64_t number = now_s / 3600;
    struct status_hour *hour = &s->hours[(uint64_t)number % STATUS_HOURS];

    if (hour->number != number)
        *hour = (struct status_hour){ .number = number };
    for (size_t i = 0; i < refused->count; i++)
        top_refused_add(&hour->refused, &refused->all[i]);
}

void
status_refused(const struct status_state *s, int64_t now_s, struct top_refused *out)
{
    *out = (struct top_refused){ 0 };
    for (unsigned i = 0; i < STATUS_HOURS; i++) {
        const struct status_hour *hour = &s->hours[i];

        if (now_s / 3600 - hour->number >= (int64_t)STATUS_HOURS)
            continue;
        for (size_t k = 0; k < hour->refused.count; k++)
            top_refused_add(out, &hour->refused.all[k]);
    }
    top_refused_sort(out);
}

/* ---- messages ---- */

static void
take_report(struct status_state *s, struct status_link *link, const struct worker_report *report,
            int64_t now_ms, int64_t now_s)
{
    struct status_peer *peer = &link->peers[report->worker];

    if (peer->known && peer->report.pid != report->pid)
        bury_peer(s, peer);
    note_growth(s, peer, report, now_s);
    note_refused(s, &report->refused, now_s);
    *peer = (struct status_peer){ .known = true, .heard_ms = now_ms, .report = *report };
}

enum result
status_take(struct status_state *s, struct status_link *link, struct span message, int64_t now_ms,
            int64_t now_s)
{
    struct worker_report *report;
    enum result res;

    if (policy_msg_type(message) == STATUS_FACTS) {
        struct gateway_facts facts;

        res = gateway_facts_read(message, &facts);
        if (res != RES_OK)
            return res;
        link->facts = facts;
        link->has_facts = true;
        link->facts_ms = now_ms;
        return RES_OK;
    }
    report = malloc(sizeof *report);
    if (!report)
        return RES_NOMEM;
    res = worker_report_read(message, report);
    if (res == RES_OK)
        take_report(s, link, report, now_ms, now_s);
    free(report);
    return res;
}

/* ---- what is shown ---- */

static bool
is_heard(int64_t heard_ms, int64_t now_ms)
{
    return now_ms - heard_ms < STATUS_SILENT_MS;
}

static void
add_peer(const struct status_peer *peer, int64_t now_ms, struct status_totals *out)
{
    const struct worker_report *report = &peer->report;

    add_counters(&out->counters, &report->counters);
    if (!is_heard(peer->heard_ms, now_ms)) {
        out->silent++;
        return;
    }
    out->open += report->open;
    out->relayed += report->relayed;
    if (report->lag_ms > out->lag_ms)
        out->lag_ms = report->lag_ms;
    if (report->busy_percent > out->busy_percent)
        out->busy_percent = report->busy_percent;
    out->records_ready = out->records_ready && report->records_ready;
    if (report->draining)
        out->draining++;
    else
        out->serving++;
}

void
status_add_up(const struct status_state *s, int64_t now_ms, struct status_totals *out)
{
    *out = (struct status_totals){ .counters = s->gone, .records_ready = true };
    memcpy(out->stats, s->gone_stats, sizeof out->stats);
    add_numbers(out->counters.records, s->gone_records, COUNTED_RECORDS);
    for (unsigned i = 0; i < STATUS_LINKS_MAX; i++) {
        const struct status_link *link = s->links[i];

        if (!link)
            continue;
        for (unsigned k = 0; k < STATUS_PEERS_MAX; k++)
            if (link->peers[k].known)
                add_peer(&link->peers[k], now_ms, out);
        if (!link->has_facts)
            continue;
        add_numbers(out->stats, link->facts.stats, POLICY_STATS);
        add_numbers(out->counters.records, link->facts.records, COUNTED_RECORDS);
        out->records_ready = out->records_ready && link->facts.records_ready;
    }
}

const struct gateway_facts *
status_facts(const struct status_state *s, int64_t now_ms)
{
    const struct gateway_facts *newest = NULL;

    for (unsigned i = 0; i < STATUS_LINKS_MAX; i++) {
        const struct status_link *link = s->links[i];

        if (link && link->has_facts && is_heard(link->facts_ms, now_ms) &&
            (!newest || link->facts.generation > newest->generation))
            newest = &link->facts;
    }
    return newest;
}

const char *
status_library(const struct status_state *s)
{
    for (unsigned i = 0; i < STATUS_LINKS_MAX; i++)
        for (unsigned k = 0; s->links[i] && k < STATUS_PEERS_MAX; k++)
            if (s->links[i]->peers[k].known)
                return s->links[i]->peers[k].report.library;
    return "";
}

const char *
status_problem(const struct status_state *s, int64_t now_ms)
{
    struct status_totals totals;

    if (!status_facts(s, now_ms))
        return "the policy process is not heard";
    status_add_up(s, now_ms, &totals);
    if (totals.silent)
        return "a worker is not heard";
    if (totals.serving == 0)
        return "no worker takes clients";
    return totals.records_ready ? NULL : "records cannot be written";
}
