/* tests/proxy/status_sample.c: what workers and policy process of a made-up gateway tell the status
 * process, a line of hexadecimal digits for each message. NOW is Unix time.
 *
 *     status_sample day NOW SLOT    a weekday's mail, from midnight up to the SLOT-th ten minutes
 *     status_sample hostile NOW     every text is as hostile as its reader lets through */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/msg_link.h"
#include "proxy/status_msg.h"

#define WORKERS 2u

static void
print_message(struct buffer *message, enum result res)
{
    struct span bytes = buffer_span(message);

    if (res != RES_OK)
        exit(1);
    for (size_t i = 0; i < bytes.len; i++)
        printf("%02x", (unsigned)(unsigned char)bytes.ptr[i]);
    putchar('\n');
    buffer_clear(message);
}

static void
print_report(const struct worker_report *report)
{
    struct buffer message;

    buffer_init(&message, MSG_LINK_MAX_BYTES);
    print_message(&message, worker_report_write(report, &message));
}

static void
print_facts(const struct gateway_facts *facts)
{
    struct buffer message;

    buffer_init(&message, MSG_LINK_MAX_BYTES);
    print_message(&message, gateway_facts_write(facts, &message));
}

static void
refuse(struct worker_report *report, const char *domain, const char *reply, enum result_type result,
       uint64_t count)
{
    struct top_refusal r = { .result = result, .count = count };

    snprintf(r.domain, sizeof r.domain, "%s", domain);
    snprintf(r.reply, sizeof r.reply, "%s", reply);
    if (count)
        top_refused_add(&report->refused, &r);
}

/* ---- a day ---- */

/* Mails in ten minutes: few at night, most before noon and after lunch. */
static uint64_t
mails(unsigned slot)
{
    double hour = (double)slot / 6.;
    double day = exp(-pow((hour - 10.5) / 2.2, 2)) + .85 * exp(-pow((hour - 14.8) / 2.4, 2));

    return (uint64_t)(14 + 300 * day) + slot * 2654435761u % 23;
}

static void
add_slot(struct worker_report *report, unsigned slot)
{
    struct counters *c = &report->counters;
    uint64_t all = mails(slot) / WORKERS, bad = slot % 5 == 0 ? 1 + slot % 3 : 0;

    if (slot >= 80 && slot < 92) /* somebody's certificate ran out, and was exchanged */
        bad += 9;
    c->recipients[COUNTED_STS][COUNTED_ENFORCE][COUNTED_BY_STS] += all * 58 / 100;
    c->recipients[COUNTED_DANE][COUNTED_ENFORCE][COUNTED_BY_DANE] += all * 11 / 100;
    c->recipients[COUNTED_NO_POLICY][COUNTED_NO_MODE][COUNTED_TLS] += all * 27 / 100;
    c->recipients[COUNTED_NO_POLICY][COUNTED_NO_MODE][COUNTED_CLEAR] += all * 3 / 100;
    c->recipients[COUNTED_NO_POLICY][COUNTED_NO_MODE][COUNTED_MX_REJECTED] += all * 2 / 100;
    c->recipients[COUNTED_STS][COUNTED_ENFORCE][COUNTED_GATEWAY_REFUSED] += bad;
    c->sessions[COUNTED_DELIVERED] += all;
    c->records[COUNTED_WRITTEN] += 2 * all;
    c->cpu_ms += all * 3;
}

static void
add_refused(struct worker_report *report, unsigned slot)
{
    bool out = slot >= 80 && slot < 92;

    refuse(report, "hospital.example", "REP-013", RESULT_CERTIFICATE_EXPIRED, out ? 9 : 0);
    refuse(report, "shop.example", "REP-014", RESULT_CERTIFICATE_HOST_MISMATCH, slot % 10 == 0);
    refuse(report, "old-mx.example", "REP-011", RESULT_STARTTLS_NOT_SUPPORTED, slot % 15 == 0);
    refuse(report, "signed.example", "REP-032", RESULT_TLSA_INVALID, slot % 25 == 0);
    refuse(report, "xn--mnchen-3ya.example", "REP-010", RESULT_VALIDATION_FAILURE, slot % 45 == 0);
}

static void
print_day(unsigned slot, int64_t now_s)
{
    static struct gateway_facts facts = { .generation = 2,
                                          .rollout = "enforce",
                                          .dane = true,
                                          .store = true,
                                          .store_safe = true,
                                          .records_ready = true,
                                          .override_count = 2 };

    facts.started_s = facts.process_s = now_s - 16 * 86400;
    facts.cached[STS_CLASS_ENFORCE] = 1204;
    facts.cached[STS_CLASS_TESTING] = 187;
    facts.cached[STS_CLASS_NONE] = 61;
    facts.cached[STS_CLASS_NEGATIVE] = 9;
    facts.stats[STAT_CACHE_HIT] = 17800 + slot * 90;
    facts.stats[STAT_CACHE_MISS] = 2100 + slot * 4;
    facts.stats[STAT_FETCH_OK] = 1452;
    facts.stats[STAT_FETCH_TIMEOUT] = 17;
    facts.stats[STAT_KEPT] = 12;
    facts.stats[STAT_TLSRPT_SENT] = 412;
    facts.stats[STAT_TLSRPT_FAILED] = 3;
    snprintf(facts.overrides[0].id, sizeof facts.overrides[0].id, "partner-migration");
    facts.overrides[0].until_s = now_s + 5 * 86400 + 8 * 3600;
    snprintf(facts.overrides[1].id, sizeof facts.overrides[1].id, "printers-in-hall-3");
    facts.overrides[1].until_s = now_s - 86400;
    print_facts(&facts);
    for (unsigned i = 0; i < WORKERS; i++) {
        static struct worker_report report;

        report = (struct worker_report){ .worker = i,
                                         .pid = 4711 + i,
                                         .started_s = now_s + 1, /* all that it counts is of now */
                                         .open = 6 + i,
                                         .relayed = i,
                                         .busy_percent = 4 + i,
                                         .records_ready = true,
                                         .library = "BoringSSL (API 43)" };
        for (unsigned k = 0; k <= slot; k++)
            add_slot(&report, k);
        add_refused(&report, slot);
        print_report(&report);
    }
}

/* ---- a bad day ---- */

static void
print_hostile(int64_t now_s)
{
    static const char *const names[] = {
        "<script>document.title='owned'</script>",
        "\"><img src=x onerror=alert(1)>",
        "'-alert(1)-'",
        "\xe2\x80\xae.gnp.exe",
        "</main></table><h1>all is well</h1>",
        "javascript:alert(1)//",
        "&lt;b&gt;&#60;script&#62;",
    };
    static struct gateway_facts facts;
    static struct worker_report report;
    char label[64], longest[HOSTNAME_MAX + 1];

    facts = (struct gateway_facts){
        .started_s = now_s, .process_s = now_s, .rollout = "<b>'\"&</b>", .records_ready = true
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(facts.overrides[i].id, sizeof facts.overrides[i].id, "%s", names[i]);
        facts.overrides[i].until_s = i % 2 ? now_s + 1000 : INT64_MIN;
        facts.override_count++;
    }
    facts.overrides[2].until_s = INT64_MAX;
    print_facts(&facts);
    report = (struct worker_report){ .pid = 1,
                                     .started_s = now_s,
                                     .open = UINT32_MAX,
                                     .records_ready = true,
                                     .library = "\"} 1 <script>document.title='owned'</script>" };
    for (size_t i = 0; i < COUNTERS; i++)
        counters_set(&report.counters, i, INT64_MAX / 4096);
    memset(label, 'a', 63);
    label[63] = '\0';
    snprintf(longest, sizeof longest, "%s.%s.%s.%.61s", label, label, label, label);
    refuse(&report, longest, "REP-013", RESULT_CERTIFICATE_EXPIRED, UINT32_MAX);
    refuse(&report, "xn--80ak6aa92e.example", "<b>x", RESULT_VALIDATION_FAILURE, 3);
    refuse(&report, "javascript-alert-1.example", "\"'", RESULT_SUCCESS, 2);
    print_report(&report);
}

int
main(int argc, char **argv)
{
    int64_t now_s = argc > 2 ? strtoll(argv[2], NULL, 10) : 0;

    if (argc == 4 && strcmp(argv[1], "day") == 0)
        print_day((unsigned)strtoul(argv[3], NULL, 10), now_s);
    else if (argc == 3 && strcmp(argv[1], "hostile") == 0)
        print_hostile(now_s);
    else
        return 2;
    return fclose(stdout) == 0 ? 0 : 1;
}
