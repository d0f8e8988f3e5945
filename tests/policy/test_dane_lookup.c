/* tests/policy/test_dane_lookup.c: from a domain, a dialled address and a port to the TLSA records
 * that count, by script in place of DNS (RFC 7672 2.2, 3.2.2; DANE-003 ... DANE-021, DANE-029,
 * DANE-040, DANE-043, DANE-044, DANE-048, PRX-020, PRX-023; TC-DANE-20 ... 36). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/dane_lookup.h"
#include "policy/mx_lookup.h"
#include "tests/alloc_fail.h"
#include "tests/support/dns_script.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define NOW_S 1700000000

static struct world {
    unsigned done;
    struct mx_set set;
    char result[4096]; /* as on_dane() writes it */
    uint32_t ttl_s;
    struct addr_memory *memory;
} w;

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
    size_t len = strlen(w.result);
    va_list args;

    va_start(args, fmt);
    vsnprintf(w.result + len, sizeof w.result - len, fmt, args);
    va_end(args);
}

/* "secure MX BASE=REFERENCE,REFERENCE 311:text; MX ...", "none", "failed REASON", and a "!" behind
 * a failure that DNSSEC is the cause of. */
static void
on_dane(void *arg, struct dane_result *result)
{
    (void)arg;
    w.done++;
    w.ttl_s = result->ttl_s;
    w.result[0] = '\0';
    say("%s%s%s%s", dane_state_name(result->state), result->state == DANE_FAILED ? " " : "",
        result->reason, result->dnssec ? "!" : "");
    for (size_t i = 0; i < result->host_count; i++) {
        const struct dane_host *host = &result->hosts[i];

        say("%s %s %s", i ? ";" : "", host->mx, host->base);
        for (size_t k = 0; k < host->references.count; k++)
            say("%c%s", k ? ',' : '=', host->references.names[k]);
        for (size_t k = 0; k < host->count; k++)
            say(" %u%u%u:%.*s", host->records[k].usage, host->records[k].selector,
                host->records[k].matching, (int)host->records[k].len,
                (const char *)host->records[k].data);
    }
    dane_result_clear(result);
}

static void
on_set(void *arg, const struct mx_set *set)
{
    (void)arg;
    w.set = *set;
}

static int64_t
clock_ns(void *arg)
{
    (void)arg;
    return NOW_S * INT64_C(1000000000);
}

struct row {
    const char *name;
    const char *zone;
    const char *want;
    const char *asked;       /* questions for TLSA and CNAME; NULL: whatever */
    const char *domain;      /* NULL: "d.test" */
    const char *destination; /* NULL: "192.0.2.1" */
    const char *exempt;      /* a pattern */
    uint16_t port;           /* 0: 25 */
    bool insecure_mx, smart_host, alias_targets;
};

static void
look_up(const struct row *row)
{
    const struct mx_lookup_config mx = { .memory = w.memory,
                                         .clock = { .wall_ns = clock_ns, .mono_ns = clock_ns },
                                         .alias_targets = row->alias_targets };
    struct name_list exempt = { 0 };
    const struct dane_lookup_config dane = { .port = row->port ? row->port : 25,
                                             .insecure_mx = row->insecure_mx,
                                             .exempt = row->exempt ? &exempt : NULL };
    const char *domain = row->domain ? row->domain : "d.test";
    struct ip_addr addr;

    dns_script.zone = row->zone;
    if (row->exempt)
        assert_int_equal(name_list_add(&exempt, span_of(row->exempt)), RES_OK);
    assert_int_equal(ip_addr_parse(row->destination ? row->destination : "192.0.2.1", &addr),
                     RES_OK);
    if (row->smart_host)
        mx_lookup_host(&mx, domain, &addr, on_set, NULL);
    else
        mx_lookup(&mx, domain, &addr, on_set, NULL);
    dns_script_pump();
    dane_lookup(&dane, &w.set, domain, on_dane, NULL);
    dns_script_pump();
    name_list_clear(&exempt);
}

/* RFC 7672 3.2.2. */
#define RFC_ZONE                                                                                   \
    "mx exchange.example.org secure@example.com 10:mx10.example.com 15:mx15.example.com "          \
    "20:mx20.example.com\n"                                                                        \
    "a mx10.example.com secure 192.0.2.10\n"                                                       \
    "tlsa _25._tcp.mx10.example.com secure 201:ten\n"                                              \
    "a mx15.example.com secure@mxbackup.example.com 192.0.2.15\n"                                  \
    "tlsa _25._tcp.mx15.example.com secure 201:fifteen\n"                                          \
    "a mx20.example.com secure@mxbackup.example.net 198.51.100.20\n"                               \
    "tlsa _25._tcp.mxbackup.example.net secure 201:twenty\n"

#define MX1 "mx d.test secure 10:mx1.d.test\n"
#define MX2 "mx d.test secure 10:mx1.d.test 20:mx2.d.test\n"
#define A1 "a mx1.d.test secure 192.0.2.1\n"
#define A2 "a mx2.d.test secure 192.0.2.2\n"
#define TLSA1 "tlsa _25._tcp.mx1.d.test secure 311:one\n"
#define TLSA2 "tlsa _25._tcp.mx2.d.test secure 311:two\n"
#define SECURE1 "secure mx1.d.test mx1.d.test=mx1.d.test,d.test 311:one"
#define SECURE2 "secure mx2.d.test mx2.d.test=mx2.d.test,d.test 311:two"

static const struct row rows[] = {
    /* The zone of RFC 7672 3.2.2. */
    { .name = "DANE-017 DANE-029 RFC 7672 3.2.2 mx10: no alias",
      .zone = RFC_ZONE,
      .want = "secure mx10.example.com "
              "mx10.example.com=mx10.example.com,exchange.example.org,example.com 201:ten",
      .asked = "tlsa _25._tcp.mx10.example.com;",
      .domain = "exchange.example.org",
      .destination = "192.0.2.10" },
    { .name = "DANE-017 TC-DANE-28 RFC 7672 3.2.2 mx15: the target has none, the alias has",
      .zone = RFC_ZONE,
      .want = "secure mx15.example.com "
              "mx15.example.com=mx15.example.com,exchange.example.org,example.com 201:fifteen",
      .asked = "tlsa _25._tcp.mxbackup.example.com;tlsa _25._tcp.mx15.example.com;",
      .domain = "exchange.example.org",
      .destination = "192.0.2.15" },
    { .name = "DANE-017 TC-DANE-27 RFC 7672 3.2.2 mx20: the target's come first",
      .zone = RFC_ZONE,
      .want =
          "secure mx20.example.com "
          "mxbackup.example.net=mxbackup.example.net,exchange.example.org,example.com 201:twenty",
      .asked = "tlsa _25._tcp.mxbackup.example.net;",
      .domain = "exchange.example.org",
      .destination = "198.51.100.20" },

    /* Which name, whether to ask at all (2.2.2, 2.2.3). */
    { .name = "DANE-015 the host's own name",
      .zone = MX1 A1 TLSA1,
      .want = SECURE1,
      .asked = "tlsa _25._tcp.mx1.d.test;" },
    { .name = "DANE-018 TC-DANE-38 the port that was dialled",
      .zone = MX1 A1 TLSA1 "tlsa _2525._tcp.mx1.d.test secure 311:p",
      .want = "secure mx1.d.test mx1.d.test=mx1.d.test,d.test 311:p",
      .asked = "tlsa _2525._tcp.mx1.d.test;",
      .port = 2525 },
    { .name = "DANE-018 records of another port are none",
      .zone = MX1 A1 TLSA1,
      .want = "none",
      .asked = "tlsa _2525._tcp.mx1.d.test;",
      .port = 2525 },
    { .name = "DANE-003 TC-DANE-21 securely denied",
      .zone = MX1 A1,
      .want = "none",
      .asked = "tlsa _25._tcp.mx1.d.test;" },
    { .name = "TC-DANE-21 secure, but empty",
      .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test secure",
      .want = "none" },
    { .name = "DANE-003 insecurely denied",
      .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test insecure",
      .want = "none" },
    { .name = "TC-DANE-20 insecure records",
      .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test insecure 311:x",
      .want = "none" },
    { .name = "DANE-013 TC-DANE-23 insecure address: not asked at all",
      .zone = MX1 "a mx1.d.test insecure 192.0.2.1\ntlsa _25._tcp.mx1.d.test servfail",
      .want = "none",
      .asked = "" },
    { .name = "DANE-016 TC-DANE-30 an alias that is insecure itself: not asked",
      .zone = MX1 "a mx1.d.test insecure@m.p.test 192.0.2.1\ncname mx1.d.test insecure x\n" TLSA1,
      .want = "none",
      .asked = "cname mx1.d.test;" },
    { .name = "DANE-016 TC-DANE-29 a secure alias into an unsigned zone: its own name alone",
      .zone = MX1 "a mx1.d.test insecure@m.p.test 192.0.2.1\ncname mx1.d.test secure x\n" TLSA1
                  "tlsa _25._tcp.m.p.test secure 311:never",
      .want = SECURE1,
      .asked = "cname mx1.d.test;tlsa _25._tcp.mx1.d.test;" },
    { .name = "DANE-016 the same without records",
      .zone = MX1 "a mx1.d.test insecure@m.p.test 192.0.2.1\ncname mx1.d.test secure x",
      .want = "none",
      .asked = "cname mx1.d.test;tlsa _25._tcp.mx1.d.test;" },
    { .name = "DANE-016 whether the alias is secure cannot be found out",
      .zone = MX1 "a mx1.d.test insecure@m.p.test 192.0.2.1\ncname mx1.d.test servfail\n" TLSA1,
      .want = "failed cname servfail",
      .asked = "cname mx1.d.test;" },
    { .name = "DANE-016 a bogus alias",
      .zone = MX1 "a mx1.d.test insecure@m.p.test 192.0.2.1\ncname mx1.d.test bogus\n" TLSA1,
      .want = "failed cname bogus!" },
    { .name = "DANE-017 an alias without records at either name",
      .zone = MX1 "a mx1.d.test secure@m.p.test 192.0.2.1",
      .want = "none",
      .asked = "tlsa _25._tcp.m.p.test;tlsa _25._tcp.mx1.d.test;" },
    { .name = "DANE-020 both names have records",
      .zone =
          MX1 "a mx1.d.test secure@m.p.test 192.0.2.1\ntlsa _25._tcp.m.p.test secure 311:p\n" TLSA1,
      .want = "secure mx1.d.test m.p.test=m.p.test,d.test 311:p",
      .asked = "tlsa _25._tcp.m.p.test;" },
    { .name = "DANE-019 insecure records at the target: the alias's own",
      .zone = MX1
      "a mx1.d.test secure@m.p.test 192.0.2.1\ntlsa _25._tcp.m.p.test insecure 311:p\n" TLSA1,
      .want = SECURE1 },
    { .name = "DANE-006 a failure at the target is not passed over",
      .zone = MX1 "a mx1.d.test secure@m.p.test 192.0.2.1\ntlsa _25._tcp.m.p.test servfail\n" TLSA1,
      .want = "failed tlsa servfail!",
      .asked = "tlsa _25._tcp.m.p.test;" },
    { .name = "DANE-017 a target that is no host name: the alias's own",
      .zone = MX1 "a mx1.d.test secure@- 192.0.2.1\n" TLSA1,
      .want = SECURE1,
      .asked = "tlsa _25._tcp.mx1.d.test;" },
    { .name = "DANE-019 TC-DANE-31 a CNAME at the TLSA name: the base stays",
      .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test secure@_dane.d.test 201:shared",
      .want = "secure mx1.d.test mx1.d.test=mx1.d.test,d.test 201:shared" },
    { .name = "DANE-040 an MX that is an address is not asked about",
      .zone = "mx d.test secure 10:192.0.2.1\na 192.0.2.1 secure 192.0.2.1\n"
              "tlsa _25._tcp.192.0.2.1 secure 311:x",
      .want = "none",
      .asked = "" },
    { .name = "DANE-023 records that cannot be used are records",
      .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test secure 001:a 999:",
      .want = "secure mx1.d.test mx1.d.test=mx1.d.test,d.test 001:a 999:" },
    { .name = "records are put in order, each once",
      .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test secure 311:b 201:z 311:a 311:b 311:",
      .want = "secure mx1.d.test mx1.d.test=mx1.d.test,d.test 201:z 311: 311:a 311:b" },

    /* What fails (2.1.2, 2.2). */
    { .name = "DANE-006 TC-DANE-22 TLSA: SERVFAIL",
      .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test servfail",
      .want = "failed tlsa servfail!" },
    { .name = "DANE-002 TC-DANE-22 TLSA: bogus",
      .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test bogus",
      .want = "failed tlsa bogus!" },
    { .name = "TC-DANE-22 TLSA: time-out",
      .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test timeout",
      .want = "failed tlsa timeout!" },
    { .name = "TC-DANE-31 TLSA: loop",
      .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test malformed",
      .want = "failed tlsa malformed!" },
    { .name = "DANE-004 TC-DANE-26 MX: bogus",
      .zone = "mx d.test bogus\n" A1 TLSA1,
      .want = "failed mx bogus!",
      .asked = "" },
    { .name = "DANE-004 PRX-023 MX: SERVFAIL",
      .zone = "mx d.test servfail\n" A1 TLSA1,
      .want = "failed mx servfail",
      .asked = "" },
    { .name = "TC-DANE-24 address: bogus",
      .zone = MX1 "a mx1.d.test bogus\n" TLSA1,
      .want = "failed address bogus!",
      .asked = "" },
    { .name = "PRX-023 address: SERVFAIL",
      .zone = MX1 "a mx1.d.test servfail\n" TLSA1,
      .want = "failed address servfail",
      .asked = "" },
    { .name = "DANE-005 the address of another host fails",
      .zone = MX2 A1 TLSA1 "a mx2.d.test servfail",
      .want = SECURE1 },
    { .name = "DANE-005 the same where the one that was dialled has no records",
      .zone = MX2 A1 "a mx2.d.test servfail",
      .want = "none" },
    { .name = "DANE-005 another host's TLSA records fail: not even asked",
      .zone = MX2 A1 A2 TLSA1 "tlsa _25._tcp.mx2.d.test servfail",
      .want = SECURE1,
      .asked = "tlsa _25._tcp.mx1.d.test;" },
    { .name = "DANE-014 no addresses: never the one that was dialled",
      .zone = MX2 A1 TLSA1 "a mx2.d.test secure\n" TLSA2,
      .want = SECURE1 },

    /* Several hosts on the address. */
    { .name = "DANE-048 both have records",
      .zone = MX2 A1 TLSA1 "a mx2.d.test secure 192.0.2.1\n" TLSA2,
      .want = SECURE1 "; mx2.d.test mx2.d.test=mx2.d.test,d.test 311:two" },
    { .name = "DANE-048 one has",
      .zone = MX2 A1 "a mx2.d.test secure 192.0.2.1\n" TLSA2,
      .want = SECURE2 },
    { .name = "DANE-048 one has, of the other it is not known",
      .zone = MX2 A1 "tlsa _25._tcp.mx1.d.test servfail\na mx2.d.test secure 192.0.2.1\n" TLSA2,
      .want = SECURE2 },
    { .name = "DANE-048 one has none, of the other it is not known",
      .zone = MX2 A1 "tlsa _25._tcp.mx1.d.test servfail\na mx2.d.test secure 192.0.2.1",
      .want = "failed tlsa servfail!" },
    { .name = "DANE-043 a host with records that was not dialled counts for nothing",
      .zone = MX2 A1 A2 TLSA2,
      .want = "none",
      .asked = "tlsa _25._tcp.mx1.d.test;" },
    { .name = "STS-082 the target of an alias is no MX host of its own",
      .zone = MX1 "a mx1.d.test secure@m.p.test 192.0.2.1\ntlsa _25._tcp.m.p.test secure 311:p\n",
      .want = "secure mx1.d.test m.p.test=m.p.test,d.test 311:p",
      .asked = "tlsa _25._tcp.m.p.test;",
      .alias_targets = true },
    { .name = "the destination's family is the one that is looked at",
      .zone = MX1 "a mx1.d.test servfail\naaaa mx1.d.test secure 2001:db8::1\n" TLSA1,
      .want = SECURE1,
      .destination = "2001:db8::1" },

    /* The address is no MX's. */
    { .name = "PRX-020 all have records",
      .zone = MX2 A1 A2 TLSA1 TLSA2,
      .want = SECURE1 "; mx2.d.test mx2.d.test=mx2.d.test,d.test 311:two",
      .asked = "tlsa _25._tcp.mx1.d.test;tlsa _25._tcp.mx2.d.test;",
      .destination = "198.51.100.9" },
    { .name = "PRX-020 one has none",
      .zone = MX2 A1 A2 TLSA1,
      .want = "none",
      .destination = "198.51.100.9" },
    { .name = "PRX-020 one is insecure",
      .zone = MX2 A1 "a mx2.d.test insecure 192.0.2.2\n" TLSA1 TLSA2,
      .want = "none",
      .destination = "198.51.100.9" },
    { .name = "PRX-020 of one it is not known",
      .zone = MX2 A1 A2 TLSA1 "tlsa _25._tcp.mx2.d.test servfail",
      .want = "failed tlsa servfail!",
      .destination = "198.51.100.9" },
    { .name = "PRX-020 of one it is not known, and another has none",
      .zone = MX2 A1 A2 "tlsa _25._tcp.mx2.d.test servfail",
      .want = "none",
      .destination = "198.51.100.9" },
    { .name = "PRX-020 PRX-023 the address of one is not known",
      .zone = MX2 A1 TLSA1 "a mx2.d.test servfail\n" TLSA2,
      .want = "failed address servfail",
      .destination = "198.51.100.9" },
    { .name = "PRX-020 insecure MX records: any name may have been put there",
      .zone = "mx d.test insecure 10:mx1.d.test\n" A1 TLSA1,
      .want = "none",
      .asked = "",
      .destination = "198.51.100.9",
      .insecure_mx = true },
    { .name = "PRX-020 no host at all", .zone = "", .want = "none", .asked = "" },
    { .name = "PRX-022 a null MX", .zone = "mx d.test secure 0:", .want = "none", .asked = "" },

    /* MX records that are not secure. */
    { .name = "DANE-009 TC-DANE-25 insecure MX records",
      .zone = "mx d.test insecure 10:mx1.d.test\n" A1 TLSA1,
      .want = "none",
      .asked = "" },
    { .name = "DANE-009 DANE-029 insecure MX records, and the site wants it: the host's name alone",
      .zone = "mx d.test insecure 10:mx1.d.test\n" A1 TLSA1,
      .want = "secure mx1.d.test mx1.d.test=mx1.d.test 311:one",
      .insecure_mx = true },
    { .name = "DANE-006 insecure MX records, the site wants it, TLSA fails",
      .zone = "mx d.test insecure 10:mx1.d.test\n" A1 "tlsa _25._tcp.mx1.d.test servfail",
      .want = "failed tlsa servfail!",
      .insecure_mx = true },
    { .name = "DANE-009 insecure MX records and an address that fails: as without DANE",
      .zone = "mx d.test insecure 10:mx1.d.test\na mx1.d.test servfail",
      .want = "none" },
    { .name = "PRX-023 the same where the site wants it",
      .zone = "mx d.test insecure 10:mx1.d.test\na mx1.d.test servfail",
      .want = "failed address servfail",
      .insecure_mx = true },

    /* The domain is an alias, or has no MX records. */
    { .name = "DANE-029 TC-DANE-32 the domain is an alias: both are references",
      .zone = "mx d.test secure@e.test 10:mx1.d.test\n" A1 TLSA1,
      .want = "secure mx1.d.test mx1.d.test=mx1.d.test,d.test,e.test 311:one" },
    { .name = "DANE-029 an alias to a name that is no host name",
      .zone = "mx d.test secure@- 10:mx1.d.test\n" A1 TLSA1,
      .want = SECURE1 },
    { .name = "DANE-007 an insecure alias of the domain",
      .zone = "mx d.test insecure@e.test 10:mx1.d.test\n" A1 TLSA1,
      .want = "none" },
    { .name = "PRX-021 no MX records: the domain itself",
      .zone = "mx d.test secure\na d.test secure 192.0.2.1\ntlsa _25._tcp.d.test secure 311:d",
      .want = "secure d.test d.test=d.test 311:d",
      .asked = "tlsa _25._tcp.d.test;" },
    { .name = "DANE-029 no MX records, expanded: the original is a reference too",
      .zone = "mx d.test secure@e.test\na d.test secure@e.test 192.0.2.1\n"
              "tlsa _25._tcp.e.test secure 311:e",
      .want = "secure d.test e.test=e.test,d.test 311:e" },
    { .name = "DANE-029 no MX records, not expanded: the target is none",
      .zone = "mx d.test secure@e.test\na d.test secure@e.test 192.0.2.1\n"
              "tlsa _25._tcp.d.test secure 311:d",
      .want = "secure d.test d.test=d.test 311:d",
      .asked = "tlsa _25._tcp.e.test;tlsa _25._tcp.d.test;" },
    { .name = "PRX-021 insecurely no MX records",
      .zone = "mx d.test insecure\na d.test insecure 192.0.2.1",
      .want = "none",
      .asked = "" },

    /* A smart host: the operator's word stands for the MX records. */
    { .name = "PRX-024 a smart host with records",
      .zone = "mx r.test servfail\na r.test secure 192.0.2.99\ntlsa _25._tcp.r.test secure 311:r",
      .want = "secure r.test r.test=r.test 311:r",
      .asked = "tlsa _25._tcp.r.test;",
      .domain = "r.test",
      .smart_host = true },
    { .name = "PRX-024 a smart host that is an alias",
      .zone = "a r.test secure@s.test 192.0.2.99\ntlsa _25._tcp.s.test secure 311:s",
      .want = "secure r.test s.test=s.test,r.test 311:s",
      .domain = "r.test",
      .smart_host = true },
    { .name = "PRX-024 a smart host in an unsigned zone",
      .zone = "a r.test insecure 192.0.2.99",
      .want = "none",
      .asked = "",
      .domain = "r.test",
      .smart_host = true },
    { .name = "PRX-024 a smart host that DNS does not know",
      .zone = "",
      .want = "none",
      .domain = "r.test",
      .smart_host = true },
    { .name = "PRX-024 DANE-006 a smart host that cannot be looked up",
      .zone = "a r.test servfail",
      .want = "failed address servfail",
      .asked = "",
      .domain = "r.test",
      .smart_host = true },

    /* DANE-044 */
    { .name = "DANE-044 the host is exempt: not asked",
      .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test servfail",
      .want = "none",
      .asked = "",
      .exempt = "mx1.d.test" },
    { .name = "DANE-044 its address is bogus",
      .zone = MX1 "a mx1.d.test bogus",
      .want = "none",
      .asked = "",
      .exempt = "*.d.test" },
    { .name = "DANE-044 another host is exempt",
      .zone = MX1 A1 TLSA1,
      .want = SECURE1,
      .exempt = "mx2.d.test" },
    { .name = "DANE-044 one of two on the address is exempt",
      .zone = MX2 A1 "tlsa _25._tcp.mx1.d.test servfail\na mx2.d.test secure 192.0.2.1\n" TLSA2,
      .want = SECURE2,
      .exempt = "mx1.d.test" },
    { .name = "DANE-044 PRX-020 one of all is exempt",
      .zone = MX2 A1 A2 TLSA1 TLSA2,
      .want = "none",
      .destination = "198.51.100.9",
      .exempt = "mx2.d.test" },
    { .name = "DANE-044 the MX records are bogus: an exempt host is not known to be it",
      .zone = "mx d.test bogus\n",
      .want = "failed mx bogus!",
      .exempt = "mx1.d.test" },
};

static int
set_up(void **state)
{
    w = (struct world){ 0 };
    dns_script = (struct dns_script){ 0 };
    w.memory = addr_memory_new(ADDR_MEMORY_S);
    (void)state;
    return w.memory ? 0 : -1;
}

static int
clear_up(void **state)
{
    (void)state;
    addr_memory_free(w.memory);
    return 0;
}

static void
test_row(void **state)
{
    const struct row *row = *state;

    w = (struct world){ .memory = addr_memory_new(ADDR_MEMORY_S) };
    dns_script = (struct dns_script){ 0 };
    assert_non_null(w.memory);
    look_up(row);
    assert_int_equal(w.done, 1);
    assert_string_equal(w.result, row->want);
    if (row->asked)
        assert_string_equal(dns_script.log, row->asked);
    addr_memory_free(w.memory);
}

/* DANE-012: the addresses are asked for before TLSA records are. */
static void
test_order(void **state)
{
    const struct row row = { .zone = MX1 A1 TLSA1 };

    (void)state;
    look_up(&row);
    assert_int_equal(dns_script.asked_count, 3);
    assert_int_equal(dns_script.asked[0].qtype, DNS_TYPE_MX);
    assert_int_equal(dns_script.asked[1].qtype, DNS_TYPE_A);
    assert_int_equal(dns_script.asked[2].qtype, DNS_TYPE_TLSA);
}

/* DANE-021, TC-DANE-36: the smallest TTL of all that was asked, denials included. */
static void
test_ttl(void **state)
{
    static const struct {
        struct row row;
        uint32_t want;
    } ttls[] = {
        { { .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test secure/7 311:x" }, 7 },
        { { .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test secure/0 311:x" }, 0 },
        { { .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test secure/2147483647 311:x" }, 2147483647 },
        { { .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test secure/9" }, 9 },
        { { .zone = MX1 A1 "tlsa _25._tcp.mx1.d.test servfail" }, 0 },
        { { .zone = MX1 "a mx1.d.test insecure 192.0.2.1" }, UINT32_MAX },
        { { .zone = MX1 "a mx1.d.test insecure@e.test 192.0.2.1\ncname mx1.d.test secure/5 x" },
          5 },
        { { .zone = MX2 A1 TLSA1 "a mx2.d.test secure 192.0.2.1\n"
                                 "tlsa _25._tcp.mx2.d.test secure/3" },
          3 },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(ttls); i++) {
        look_up(&ttls[i].row);
        assert_int_equal(w.ttl_s, ttls[i].want);
    }
}

/* PRX-018: with no fresh holder those that held it lately stand, also when they cannot be looked up
 * now. */
static void
test_remembered(void **state)
{
    const struct row before = { .zone = MX1 A1 TLSA1 },
                     moved = { .zone = MX1 "a mx1.d.test secure 192.0.2.77\n" TLSA1 },
                     fails = { .zone = MX1 "a mx1.d.test servfail\n" TLSA1 };

    (void)state;
    look_up(&before);
    look_up(&moved);
    assert_string_equal(w.result, SECURE1);
    look_up(&fails);
    assert_string_equal(w.result, "failed address servfail");
}

/* As many hosts as a requirement has room for; the best preferences stay. */
static void
test_many_hosts(void **state)
{
    char zone[8192];
    const struct row row = { .zone = zone };
    size_t len = (size_t)snprintf(zone, sizeof zone, "mx d.test secure");
    unsigned seen = 0;

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        len += (size_t)snprintf(zone + len, sizeof zone - len, " %u:h%u", i, i);
    for (unsigned i = 0; i < 20; i++)
        len += (size_t)snprintf(zone + len, sizeof zone - len,
                                "\na h%u secure 192.0.2.1\ntlsa _25._tcp.h%u secure 311:x", i, i);
    look_up(&row);
    for (const char *at = w.result; (at = strstr(at, "311:")); at++)
        seen++;
    assert_int_equal(seen, DANE_HOSTS_MAX);
    assert_non_null(strstr(w.result, "secure h0 h0"));
    assert_null(strstr(w.result, "h19"));
}

/* A name too long for the labels of the port has no TLSA records. */
static void
test_long_name(void **state)
{
    char host[HOSTNAME_MAX + 1] = { 0 }, zone[1024];
    const struct row row = { .zone = zone };

    (void)state;
    for (size_t i = 0; i <= 250; i++)
        host[i] = i % 2 ? '.' : 'h';
    snprintf(zone, sizeof zone, "mx d.test secure 10:%s\na %s secure 192.0.2.1", host, host);
    look_up(&row);
    assert_string_equal(w.result, "none");
    assert_string_equal(dns_script.log, "");
}

/* What cannot be asked may be what would have forbidden the mail. */
static void
test_no_question_possible(void **state)
{
    const struct row row = { .zone = MX1 A1 TLSA1 };
    const struct dane_lookup_config config = { .port = 25 };

    (void)state;
    look_up(&row);
    dns_script.full = true;
    dane_lookup(&config, &w.set, "d.test", on_dane, NULL);
    assert_int_equal(w.done, 2);
    assert_string_equal(w.result, "failed tlsa too many questions");
}

static void
test_no_memory(void **state)
{
    const struct row row = { .zone = MX2 A1 TLSA1 "a mx2.d.test secure 192.0.2.1\n" TLSA2 };
    const struct dane_lookup_config config = { .port = 25 };
    unsigned failures = 0;
    bool happened = true;

    (void)state;
    look_up(&row);
    for (unsigned n = 0; happened; n++) {
        unsigned before = w.done;

        alloc_fail_after(n);
        dane_lookup(&config, &w.set, "d.test", on_dane, NULL);
        dns_script_pump();
        happened = alloc_fail_happened();
        failures += happened;
        assert_int_equal(w.done, before + 1);
        assert_true(strncmp(w.result, "none", 4) != 0);
        if (!happened)
            assert_non_null(strstr(w.result, "311:two"));
    }
    assert_true(failures >= 5);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, clear_up)

int
main(void)
{
    static const struct CMUnitTest others[] = {
        ROW(test_order),      ROW(test_ttl),       ROW(test_remembered),
        ROW(test_many_hosts), ROW(test_long_name), ROW(test_no_question_possible),
        ROW(test_no_memory),
    };
    static struct CMUnitTest tests[ROWS(rows) + ROWS(others)];

    for (size_t i = 0; i < ROWS(rows); i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name,
                                        .test_func = test_row,
                                        .initial_state = (void *)(uintptr_t)&rows[i] };
    memcpy(tests + ROWS(rows), others, sizeof others);
    return cmocka_run_group_tests_name("dane_lookup", tests, NULL, NULL);
}
