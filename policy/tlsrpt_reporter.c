#include "policy/tlsrpt_reporter.h"

#include "base/log.h"
#include "policy/digest.h"
#include "policy/sqlite_file.h"
#include "policy/tlsrpt_json.h"
#include "policy/tlsrpt_mail.h"
#include "policy/tlsrpt_outbox.h"
#include "policy/tlsrpt_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#define KNOWN_TEXTS 1024u /* power of two */
#define EXPIRE_S 3600

/* One destination of a report. */
struct destination {
    char *uri; /* owned: "mailto:ADDRESS" or an https URI */
    enum tlsrpt_sent sent;
    bool tried;
};

/* One report on its way. */
struct job {
    struct tlsrpt_reporter *reporter;
    struct job *prev, *next;
    struct tlsrpt_entry entry;
    struct resolver_query *query;     /* of the record; NULL: answered */
    struct tlsrpt_delivery *delivery; /* of the destination in hand, or NULL */
    struct destination destinations[2 * TLSRPT_RUA_MAX];
    size_t destination_count, at;
    struct buffer gzip, mail;
    char problem[TLSRPT_PROBLEM_MAX + 1]; /* of the last destination that failed */
};

struct tlsrpt_reporter {
    struct tlsrpt_reporter_config config;
    struct tlsrpt_store *store;   /* owned */
    struct tlsrpt_sender *sender; /* owned; NULL: nothing is sent */
    struct job *jobs;
    unsigned job_count;
    int64_t flush_at_ms, expire_at_ms; /* monotonic clock */
    uint64_t lost;                     /* that the log knows of */
    uint8_t known[KNOWN_TEXTS][32];    /* texts that the store has, by the first bits of the hash */
};

static int64_t
now_s(const struct tlsrpt_reporter *r)
{
    return clock_wall_s(&r->config.clock);
}

/* ---- counting ---- */

static uint8_t *
place_of(struct tlsrpt_reporter *r, const uint8_t sha256[32])
{
    return r->known[((unsigned)sha256[0] << 8 | sha256[1]) % KNOWN_TEXTS];
}

void
tlsrpt_reporter_text(struct tlsrpt_reporter *r, const uint8_t sha256[32], struct span text)
{
    if (tlsrpt_store_text(r->store, sha256, text, now_s(r)) == RES_OK)
        memcpy(place_of(r, sha256), sha256, 32);
    else
        log_error("event=report-text-lost reason=\"%s\"", tlsrpt_store_problem(r->store));
}

/* A policy may be older than this process, or than the store. */
static void
keep_text_of(struct tlsrpt_reporter *r, const struct tls_report *report)
{
    struct sts_entry entry;
    uint8_t sha256[32];

    if (report->type != TLS_REPORT_STS || report->mx.count == 0 ||
        memcmp(place_of(r, report->text_sha256), report->text_sha256, 32) == 0)
        return;
    if (tlsrpt_store_has_text(r->store, report->text_sha256)) {
        memcpy(place_of(r, report->text_sha256), report->text_sha256, 32);
        return;
    }
    if (!sts_cache_find(r->config.cache, report->domain, &entry) || !entry.has_policy)
        return;
    digest_sha256(entry.text, sha256);
    if (memcmp(sha256, report->text_sha256, sizeof sha256) == 0)
        tlsrpt_reporter_text(r, sha256, entry.text);
}

void
tlsrpt_reporter_count(struct tlsrpt_reporter *r, uint64_t source, uint64_t number,
                      const struct tls_report *report, uint64_t sessions)
{
    struct tls_report bounded = *report; /* its lists stay the caller's */

    if (bounded.at_s > now_s(r) + TLSRPT_AHEAD_MAX_S)
        bounded.at_s = now_s(r);
    policy_stats_add_many(r->config.stats, STAT_TLSRPT_COUNTED, sessions);
    keep_text_of(r, &bounded);
    /* What is lost tlsrpt_store_lost() tells. */
    (void)tlsrpt_store_count_once(r->store, source, number, &bounded, sessions);
}

void
tlsrpt_reporter_flush(struct tlsrpt_reporter *r)
{
    uint64_t lost;

    if (tlsrpt_store_flush(r->store) != RES_OK)
        log_error("event=reports-not-written reason=\"%s\"", tlsrpt_store_problem(r->store));
    lost = tlsrpt_store_lost(r->store);
    policy_stats_add_many(r->config.stats, STAT_TLSRPT_LOST, lost - r->lost);
    if (lost != r->lost)
        log_warn("event=reports-lost count=%llu", (unsigned long long)(lost - r->lost));
    r->lost = lost;
}

/* ---- the end of a job ---- */

static void
free_job(struct job *job)
{
    struct tlsrpt_reporter *r = job->reporter;

    DL_DELETE(r->jobs, job);
    r->job_count--;
    for (size_t i = 0; i < job->destination_count; i++)
        free(job->destinations[i].uri);
    buffer_clear(&job->gzip);
    buffer_clear(&job->mail);
    free(job);
}

/* One that is open yet has no end to be counted. */
static void
count_end(struct tlsrpt_reporter *r, enum tlsrpt_state state)
{
    switch (state) {
    case TLSRPT_OPEN:
        return;
    case TLSRPT_SENT:
        policy_stats_add(r->config.stats, STAT_TLSRPT_SENT);
        return;
    case TLSRPT_NO_RECORD:
        policy_stats_add(r->config.stats, STAT_TLSRPT_NO_RECORD);
        return;
    case TLSRPT_FAILED:
        policy_stats_add(r->config.stats, STAT_TLSRPT_FAILED);
        return;
    case TLSRPT_LEFT_OUT:
        policy_stats_add(r->config.stats, STAT_TLSRPT_LEFT_OUT);
        return;
    }
}

static void
end_job(struct job *job, enum tlsrpt_state state, const char *problem)
{
    struct tlsrpt_reporter *r = job->reporter;
    const struct tlsrpt_entry *e = &job->entry;

    if (state == TLSRPT_FAILED)
        log_warn("event=report-given-up domain=%s report=%s attempts=%u reason=\"%s\"", e->domain,
                 e->report_id, e->attempts, problem);
    else if (state != TLSRPT_NO_RECORD) /* most domains want none */
        log_info("event=report domain=%s report=%s state=%s attempts=%u reason=\"%s\"", e->domain,
                 e->report_id, tlsrpt_state_name(state), e->attempts, problem);
    if (tlsrpt_outbox_end(r->store, e, state, problem, now_s(r)) != RES_OK)
        log_error("event=report-state-lost domain=%s reason=\"%s\"", e->domain,
                  tlsrpt_store_problem(r->store));
    count_end(r, state);
    free_job(job);
}

/* Once more later, if there still is time (RPT-077). */
static void
try_later(struct job *job, const char *problem)
{
    const struct tlsrpt_reporter *r = job->reporter;

    end_job(job,
            now_s(r) - job->entry.first_s >= (int64_t)r->config.retry_max_s ? TLSRPT_FAILED
                                                                            : TLSRPT_OPEN,
            problem);
}

/* It was given all the time there is: others of the next days need not try it (TC-RPT-20). */
static void
suppress(struct job *job)
{
    struct tlsrpt_reporter *r = job->reporter;

    if (now_s(r) - job->entry.first_s < (int64_t)r->config.retry_max_s)
        return;
    for (size_t i = 0; i < job->destination_count; i++) {
        const struct destination *d = &job->destinations[i];

        if (!d->tried || d->sent != TLSRPT_LATER)
            continue;
        log_warn("event=report-destination-suppressed for=%us domain=%s", r->config.suppress_s,
                 job->entry.domain);
        if (tlsrpt_outbox_suppress(r->store, d->uri, now_s(r) + (int64_t)r->config.suppress_s,
                                   job->problem) != RES_OK)
            log_error("event=report-state-lost domain=%s", job->entry.domain);
    }
}

/* Delivered once one has accepted (RPT-070). */
static void
conclude(struct job *job)
{
    bool tried = false, later = false, sent = false;

    for (size_t i = 0; i < job->destination_count; i++) {
        const struct destination *d = &job->destinations[i];

        tried |= d->tried;
        later |= d->tried && d->sent == TLSRPT_LATER;
        sent |= d->tried && d->sent == TLSRPT_DELIVERED;
    }
    if (sent) {
        end_job(job, TLSRPT_SENT, job->problem);
    } else if (!tried) {
        end_job(job, TLSRPT_LEFT_OUT, job->problem);
    } else if (later) {
        suppress(job);
        try_later(job, job->problem);
    } else {
        end_job(job, TLSRPT_FAILED, job->problem);
    }
}

/* ---- destinations ---- */

static void next_destination(struct job *job);

static bool
is_mail(const struct destination *d)
{
    return span_starts(span_of(d->uri), span_of("mailto:"));
}

static void
count_attempt(const struct job *job, const struct destination *d, enum tlsrpt_sent sent)
{
    unsigned first = is_mail(d) ? STAT_TLSRPT_MAIL_SENT : STAT_TLSRPT_HTTPS_SENT;

    policy_stats_add(job->reporter->config.stats, (enum policy_stat)(first + (unsigned)sent));
}

static void
count_suppressed(const struct job *job, const struct destination *d)
{
    policy_stats_add(job->reporter->config.stats,
                     is_mail(d) ? STAT_TLSRPT_MAIL_SUPPRESSED : STAT_TLSRPT_HTTPS_SUPPRESSED);
}

static void
on_sent(void *arg, enum tlsrpt_sent sent, const char *reason)
{
    struct job *job = arg;
    struct destination *d = &job->destinations[job->at];

    job->delivery = NULL;
    d->sent = sent;
    count_attempt(job, d, sent);
    if (sent != TLSRPT_DELIVERED)
        snprintf(job->problem, sizeof job->problem, "%s", reason);
    job->at++;
    next_destination(job);
}

static enum result
submit(struct job *job, const char *to)
{
    struct tlsrpt_reporter *r = job->reporter;
    const struct tlsrpt_mail mail = { .to = to,
                                      .from = r->config.contact,
                                      .domain = job->entry.domain,
                                      .report_id = job->entry.report_id,
                                      .day_s = job->entry.day_s,
                                      .now_s = now_s(r),
                                      .report = buffer_span(&job->gzip) };
    enum result res;

    buffer_clear(&job->mail);
    res = tlsrpt_mail_write(&mail, &job->mail);
    if (res != RES_OK)
        return res;
    return tlsrpt_submit(r->sender, to, buffer_span(&job->mail), on_sent, job, &job->delivery);
}

/* Why a destination is passed over; NULL: it is not. */
static const char *
objection(struct job *job, const struct destination *d)
{
    struct tlsrpt_reporter *r = job->reporter;

    if (is_mail(d) && !*r->config.sender.relay)
        return "no-mail-relay";
    if (!tlsrpt_outbox_is_suppressed(r->store, d->uri, now_s(r)))
        return NULL;
    count_suppressed(job, d);
    return "suppressed";
}

/* Each in its turn. */
static void
next_destination(struct job *job)
{
    static const char mailto[] = "mailto:";
    enum result res;

    for (; job->at < job->destination_count; job->at++) {
        struct destination *d = &job->destinations[job->at];
        const char *why_not = objection(job, d);

        if (why_not) {
            snprintf(job->problem, sizeof job->problem, "%s", why_not);
            continue;
        }
        d->tried = true;
        d->sent = TLSRPT_LATER;
        res = is_mail(d) ? submit(job, d->uri + sizeof mailto - 1)
                         : tlsrpt_post(job->reporter->sender, d->uri, buffer_span(&job->gzip),
                                       on_sent, job, &job->delivery);
        if (res == RES_OK)
            return;
        snprintf(job->problem, sizeof job->problem, "%s", result_name(res));
    }
    conclude(job);
}

/* ---- the report ---- */

/* Whole or not at all: written beside its name first. */
static enum result
write_file(const char *path, struct span bytes)
{
    char temporary[4096 + TLSRPT_FILE_NAME_MAX + 8];
    bool written;
    int fd;

    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return RES_TEMPFAIL;
    written = write(fd, bytes.ptr, bytes.len) == (ssize_t)bytes.len;
    if (close(fd) != 0)
        written = false;
    return written && rename(temporary, path) == 0 ? RES_OK : RES_TEMPFAIL;
}

/* A copy for the operator (RPT-093). */
static void
keep_copy(struct job *job)
{
    const struct tlsrpt_reporter_config *c = &job->reporter->config;
    char name[TLSRPT_FILE_NAME_MAX], path[4096 + TLSRPT_FILE_NAME_MAX];

    if (!*c->directory)
        return;
    tlsrpt_file_name(tlsrpt_domain_of(c->contact), job->entry.domain, job->entry.day_s,
                     job->entry.report_id, name);
    snprintf(path, sizeof path, "%s/%s", c->directory, name);
    if (write_file(path, buffer_span(&job->gzip)) != RES_OK)
        log_warn("event=report-not-kept domain=%s errno=%d", job->entry.domain, errno);
}

static enum result
make_report(struct job *job)
{
    const struct tlsrpt_reporter_config *c = &job->reporter->config;
    const struct tlsrpt_head head = { .organization = c->organization,
                                      .contact = c->contact,
                                      .report_id = job->entry.report_id,
                                      .public4 = c->public4,
                                      .public6 = c->public6 };
    char *json = NULL;
    enum result res =
        tlsrpt_json(job->reporter->store, job->entry.day_s, job->entry.domain, &head, &json);

    if (res == RES_OK)
        res = tlsrpt_gzip(span_of(json), &job->gzip);
    free(json);
    if (res == RES_OK && buffer_len(&job->gzip) > TLSRPT_LARGE_BYTES)
        log_warn("event=report-large domain=%s bytes=%zu", job->entry.domain,
                 buffer_len(&job->gzip));
    return res;
}

static enum result
add_destination(struct job *job, const char *scheme, const char *text)
{
    struct destination *d = &job->destinations[job->destination_count];

    if (job->destination_count == sizeof job->destinations / sizeof *job->destinations)
        return RES_OK;
    if (asprintf(&d->uri, "%s%s", scheme, text) < 0)
        return RES_NOMEM;
    job->destination_count++;
    return RES_OK;
}

/* The record says where to: now there is something to make a report for. */
static void
follow_record(struct job *job, const struct tlsrpt_record *record)
{
    enum result res = RES_OK;

    for (size_t i = 0; i < record->https.count && res == RES_OK; i++)
        res = add_destination(job, "", record->https.names[i]);
    for (size_t i = 0; i < record->mail.count && res == RES_OK; i++)
        res = add_destination(job, "mailto:", record->mail.names[i]);
    if (res == RES_OK)
        res = make_report(job);
    if (res == RES_AGAIN) { /* RPT-079 */
        end_job(job, TLSRPT_NO_RECORD, "nothing-counted");
    } else if (res != RES_OK) {
        try_later(job, result_name(res));
    } else {
        policy_stats_add(job->reporter->config.stats, STAT_TLSRPT_MADE);
        keep_copy(job);
        next_destination(job);
    }
}

/* texts: of the name's TXT records. */
static void
read_record(struct job *job, const struct span *texts, size_t count)
{
    struct tlsrpt_record record;
    enum tlsrpt_finding finding;
    enum result res = tlsrpt_record_find(texts, count, &finding, &record);

    if (res != RES_OK) {
        try_later(job, result_name(res));
        return;
    }
    if (finding == TLSRPT_FOUND)
        follow_record(job, &record);
    else
        end_job(job, TLSRPT_NO_RECORD, tlsrpt_finding_name(finding));
    tlsrpt_record_clear(&record);
}

static void
on_txt(void *arg, const struct resolver_answer *a)
{
    struct job *job = arg;
    char problem[TLSRPT_PROBLEM_MAX + 1];

    job->query = NULL;
    if (a->status != RESOLVER_FAILED) {
        read_record(job, a->answer.texts, a->answer.count);
        return;
    }
    snprintf(problem, sizeof problem, "txt-%s", a->reason);
    try_later(job, problem); /* TC-RPT-27 */
}

/* ---- schedule ---- */

/* At report time, and again with each attempt: what it says then counts (RPT-009). */
static void
ask_record(struct job *job)
{
    const struct tlsrpt_reporter_config *c = &job->reporter->config;
    char text[TLSRPT_URI_MAX_BYTES + 32];

    if (*c->rua) {
        int len = snprintf(text, sizeof text, "v=TLSRPTv1;rua=%s", c->rua);

        read_record(job, &(struct span){ text, (size_t)len }, 1);
        return;
    }
    snprintf(text, sizeof text, "_smtp._tls.%s", job->entry.domain);
    if (resolver_ask(c->sender.resolver, text, DNS_TYPE_TXT, on_txt, job, &job->query) != RES_OK)
        try_later(job, "overload");
}

/* Doubles with each attempt. */
static int64_t
wait_s(const struct tlsrpt_reporter *r, unsigned attempts)
{
    int64_t wait = r->config.retry_s;

    while (attempts-- > 0 && wait < TLSRPT_DAY_S)
        wait *= 2;
    return wait < TLSRPT_DAY_S ? wait : TLSRPT_DAY_S;
}

static void
start_job(struct tlsrpt_reporter *r, const struct tlsrpt_entry *entry)
{
    const struct tlsrpt_reporter_config *c = &r->config;
    struct job *job = calloc(1, sizeof *job);

    if (!job)
        return; /* it is due again with the next tick */
    job->reporter = r;
    job->entry = *entry;
    buffer_init(&job->gzip, TLSRPT_REPORT_MAX);
    buffer_init(&job->mail, 2 * TLSRPT_REPORT_MAX);
    DL_APPEND(r->jobs, job);
    r->job_count++;
    if (tlsrpt_outbox_begin(r->store, &job->entry, tlsrpt_domain_of(c->contact), now_s(r),
                            now_s(r) + wait_s(r, entry->attempts)) != RES_OK) {
        log_error("event=report-state-lost domain=%s reason=\"%s\"", entry->domain,
                  tlsrpt_store_problem(r->store));
        free_job(job); /* nothing goes out that is not written down */
    } else if (name_list_has(c->exclude, entry->domain)) {
        end_job(job, TLSRPT_LEFT_OUT, "excluded");
    } else if (c->failures_only && !entry->failures) {
        end_job(job, TLSRPT_LEFT_OUT, "no-failure");
    } else {
        ask_record(job);
    }
}

static bool
is_on_its_way(const struct tlsrpt_reporter *r, int64_t id)
{
    for (const struct job *job = r->jobs; job; job = job->next)
        if (job->entry.id == id)
            return true;
    return false;
}

static void
start_due(struct tlsrpt_reporter *r)
{
    struct tlsrpt_entry due[TLSRPT_JOBS_MAX];
    unsigned planned;
    size_t count;

    if (tlsrpt_outbox_plan(r->store, tlsrpt_day(now_s(r)), r->config.spread_s, &planned) !=
            RES_OK ||
        tlsrpt_outbox_due(r->store, now_s(r), due, TLSRPT_JOBS_MAX, &count) != RES_OK) {
        log_error("event=report-state-lost reason=\"%s\"", tlsrpt_store_problem(r->store));
        return;
    }
    for (size_t i = 0; i < count && r->job_count < TLSRPT_JOBS_MAX; i++)
        if (!is_on_its_way(r, due[i].id))
            start_job(r, &due[i]);
}

void
tlsrpt_reporter_tick(struct tlsrpt_reporter *r, bool sends)
{
    int64_t now_ms = clock_mono_ms(&r->config.clock);

    if (now_ms >= r->flush_at_ms) {
        tlsrpt_reporter_flush(r);
        r->flush_at_ms = now_ms + TLSRPT_FLUSH_RETRY_S * 1000;
    }
    if (!sends)
        return;
    if (now_ms >= r->expire_at_ms) {
        if (tlsrpt_outbox_expire(r->store, now_s(r)) != RES_OK)
            log_error("event=report-state-lost reason=\"%s\"", tlsrpt_store_problem(r->store));
        r->expire_at_ms = now_ms + EXPIRE_S * 1000;
    }
    if (r->sender)
        start_due(r);
}

/* ---- life ---- */

/* One that is damaged, or of another version, is moved aside and begun anew. */
static enum result
open_store(const char *path, struct tlsrpt_store **out, char *error, size_t error_size)
{
    enum result res = tlsrpt_store_open(path, out, error, error_size);

    if (res != RES_SYNTAX || !sqlite_file_set_aside(path))
        return res;
    log_error("event=reports-set-aside file=%s.bad reason=\"%s\"", path, error);
    return tlsrpt_store_open(path, out, error, error_size);
}

enum result
tlsrpt_reporter_new(const struct tlsrpt_reporter_config *config, struct tlsrpt_reporter **out,
                    char *error, size_t error_size)
{
    struct tlsrpt_reporter *r = calloc(1, sizeof *r);
    enum result res = RES_NOMEM;

    *out = NULL;
    snprintf(error, error_size, "no memory");
    if (!r)
        return RES_NOMEM;
    r->config = *config;
    res = open_store(config->store_file, &r->store, error, error_size);
    if (res == RES_OK)
        tlsrpt_store_on_counted(r->store, config->counted, config->counted_arg);
    if (res == RES_OK && *config->organization) {
        r->sender = tlsrpt_sender_new(&config->sender);
        res = r->sender ? RES_OK : RES_NOMEM;
    }
    if (res == RES_OK)
        *out = r;
    else
        tlsrpt_reporter_free(r);
    return res;
}

void
tlsrpt_reporter_free(struct tlsrpt_reporter *r)
{
    if (!r)
        return;
    while (r->jobs) {
        struct job *job = r->jobs;

        if (job->query)
            resolver_cancel(job->query);
        if (job->delivery)
            tlsrpt_delivery_cancel(job->delivery);
        free_job(job);
    }
    tlsrpt_sender_free(r->sender);
    tlsrpt_store_close(r->store);
    free(r);
}
