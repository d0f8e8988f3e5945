/* tests/policy/test_lookup.c: one question of a worker to its end: whether DANE is looked at, by
 * key and override, what it does to the TLS floor and to the time that an answer may be reused
 * (DANE-001, DANE-009, DANE-021, DANE-041, DANE-042, DANE-044, PRX-017, PRX-024, TLS-020); what is
 * said when a domain's DANE ends (TC-DANE-42). DNS is a script, and sts_discover() is this file's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/lookup.h"
#include "tests/support/dns_script.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define NOW_S 1700000000
#define SITE_FLOOR TLS_VERSION_1_3
#define LOW_FLOOR TLS_VERSION_1_1

static const char *policy_text; /* of the domain, fetched a while ago; NULL: none */
static enum sts_mode policy_mode;
static int64_t policy_left_s; /* until it expires */

void
sts_discover(struct sts_discovery *d, const char *domain, enum sts_purpose purpose,
             sts_discovery_done *done, void *arg)
{
    struct sts_finding finding = { .ttl_s = 3600 };

    (void)d, (void)purpose;
    if (policy_text) {
        finding.has_policy = true;
        finding.entry = (struct sts_entry){ .domain = domain,
                                            .has_policy = true,
                                            .mode = policy_mode,
                                            .id = "1",
                                            .text = span_of(policy_text),
                                            .fetched_at_s = NOW_S - 60,
                                            .expires_at_s = NOW_S + policy_left_s };
    }
    done(arg, &finding);
}

static int64_t now_s = NOW_S;

static int64_t
clock_ns(void *arg)
{
    (void)arg;
    return now_s * INT64_C(1000000000);
}

#define SECURE_ZONE                                                                                \
    "mx d.test secure 10:mx1.d.test 20:mx2.d.test\na mx1.d.test secure 192.0.2.1\n"                \
    "a mx2.d.test secure 192.0.2.1\ntlsa _25._tcp.mx1.d.test secure/50 311:one\n"                  \
    "tlsa _25._tcp.mx2.d.test secure/70 311:two\n"
#define BROKEN_ZONE "mx d.test bogus\n"
#define INSECURE_ZONE                                                                              \
    "mx d.test insecure 10:mx1.d.test\na mx1.d.test secure 192.0.2.1\n"                            \
    "tlsa _25._tcp.mx1.d.test secure 311:one\n"

/* The key dane is on, and there is an anchor, unless a row says otherwise. */
struct row {
    const char *name;
    const char *domain; /* NULL: d.test */
    const char *zone;
    const char *policy;    /* "enforce mx2.d.test": mode and pattern; NULL: none */
    int64_t policy_left_s; /* 0: a day */
    enum rule_action action;
    const char *rule_mx;
    bool dane_off, no_anchor, insecure_mx, monitored, smart_host, recheck, no_domain;
    enum dane_state want;
    const char *want_sni; /* NULL: whatever */
    uint16_t want_floor;
    uint32_t want_ttl_s;
};

static const struct row rows[] = {
    { .name = "TLS-020 secure records are a demand",
      .zone = SECURE_ZONE,
      .want = DANE_SECURE,
      .want_sni = "mx1.d.test",
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 50 },
    { .name = "PRX-017 the host that the policy lists comes first",
      .zone = SECURE_ZONE,
      .policy = "testing mx2.d.test",
      .want = DANE_SECURE,
      .want_sni = "mx2.d.test",
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 50 },
    { .name = "DANE-044 the key is off",
      .zone = SECURE_ZONE,
      .dane_off = true,
      .want = DANE_NONE,
      .want_floor = LOW_FLOOR,
      .want_ttl_s = 300 },
    { .name = "DANE-044 the key is off, and MX records cannot be had",
      .zone = BROKEN_ZONE,
      .dane_off = true,
      .want = DANE_NONE,
      .want_floor = LOW_FLOOR },
    { .name = "DANE-001 there is no anchor",
      .zone = SECURE_ZONE,
      .no_anchor = true,
      .want = DANE_NONE,
      .want_floor = LOW_FLOOR,
      .want_ttl_s = 300 },
    { .name = "DANE-004 MX records that are bogus",
      .zone = BROKEN_ZONE,
      .want = DANE_FAILED,
      .want_floor = LOW_FLOOR },
    { .name = "DANE-042 monitored: looked up, and no demand",
      .zone = SECURE_ZONE,
      .monitored = true,
      .want = DANE_SECURE,
      .want_floor = LOW_FLOOR,
      .want_ttl_s = 50 },
    { .name = "DANE-042 monitor by an override",
      .zone = SECURE_ZONE,
      .action = RULE_MONITOR,
      .want = DANE_SECURE,
      .want_floor = LOW_FLOOR,
      .want_ttl_s = 50 },
    { .name = "TC-PREC-09 a bypass leaves DANE on",
      .zone = SECURE_ZONE,
      .action = RULE_BYPASS,
      .want = DANE_SECURE,
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 50 },
    { .name = "a bypass without records: no demand",
      .zone = "",
      .action = RULE_BYPASS,
      .policy = "enforce mx1.d.test",
      .want = DANE_NONE,
      .want_floor = LOW_FLOOR,
      .want_ttl_s = 300 },
    { .name = "DANE-044 no-dane",
      .zone = SECURE_ZONE,
      .action = RULE_NO_DANE,
      .want = DANE_NONE,
      .want_floor = LOW_FLOOR,
      .want_ttl_s = 300 },
    { .name = "DANE-044 no-dane: the policy's demand stays",
      .zone = SECURE_ZONE,
      .policy = "enforce mx1.d.test",
      .action = RULE_NO_DANE,
      .want = DANE_NONE,
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 300 },
    { .name = "DANE-044 no-dane with MX records that are bogus",
      .zone = BROKEN_ZONE,
      .action = RULE_NO_DANE,
      .want = DANE_NONE,
      .want_floor = LOW_FLOOR },
    { .name = "DANE-044 no-dane for one of two hosts",
      .zone = SECURE_ZONE,
      .action = RULE_NO_DANE,
      .rule_mx = "mx1.d.test",
      .want = DANE_SECURE,
      .want_sni = "mx2.d.test",
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 70 },
    { .name = "DANE-041 mandatory, though the key is off",
      .zone = SECURE_ZONE,
      .dane_off = true,
      .action = RULE_DANE,
      .want = DANE_SECURE,
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 50 },
    { .name = "DANE-041 mandatory without an anchor: nothing to pass by",
      .zone = SECURE_ZONE,
      .no_anchor = true,
      .action = RULE_DANE,
      .want = DANE_NONE,
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 300 },
    { .name = "DANE-009 insecure MX records, and the site wants it",
      .zone = INSECURE_ZONE,
      .insecure_mx = true,
      .want = DANE_SECURE,
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 300 },
    { .name = "DANE-041 mandatory: insecure MX records are not enough, whatever the site wants",
      .zone = INSECURE_ZONE,
      .insecure_mx = true,
      .action = RULE_DANE,
      .want = DANE_NONE,
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 300 },
    { .name = "PRX-024 a smart host",
      .smart_host = true,
      .zone = "a relay.test secure 10.0.0.1\ntlsa _25._tcp.relay.test secure/9 311:x",
      .want = DANE_SECURE,
      .want_sni = "relay.test",
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 9 },
    { .name = "PRX-024 a smart host, and the key is off",
      .smart_host = true,
      .dane_off = true,
      .zone = "a relay.test servfail",
      .want = DANE_NONE,
      .want_floor = LOW_FLOOR,
      .want_ttl_s = 300 },
    { .name = "PRX-026 without a domain nothing is looked up",
      .no_domain = true,
      .smart_host = true,
      .policy = "enforce mx.d.test",
      .zone = SECURE_ZONE,
      .want = DANE_NONE,
      .want_floor = LOW_FLOOR,
      .want_ttl_s = 300 },
    { .name = "TC-TXT-30 an address that is written like a name is no domain to look up",
      .domain = "192.0.2.1",
      .policy = "enforce mx.d.test",
      .zone = "mx 192.0.2.1 bogus",
      .want = DANE_NONE,
      .want_floor = LOW_FLOOR,
      .want_ttl_s = 300 },
    { .name = "PRX-042 without a domain an override by network holds",
      .no_domain = true,
      .action = RULE_REQUIRE,
      .zone = SECURE_ZONE,
      .want = DANE_NONE,
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 300 },
    { .name = "STS-066 what a worker remembers ends with the policy, which may have been renewed",
      .zone = "",
      .policy = "enforce mx1.d.test",
      .policy_left_s = 40,
      .want = DANE_NONE,
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 40 },
    { .name = "STS-065 a policy that has just expired is not remembered",
      .zone = "",
      .policy = "enforce mx1.d.test",
      .policy_left_s = -1,
      .want = DANE_NONE,
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 0 },
    { .name = "STS-103 a re-check asks past the cache",
      .zone = SECURE_ZONE,
      .recheck = true,
      .want = DANE_SECURE,
      .want_floor = SITE_FLOOR,
      .want_ttl_s = 50 },
};

static struct requirement *answered;

static void
on_done(void *arg, const struct policy_request *request, struct requirement *req)
{
    (void)arg, (void)request;
    assert_null(answered);
    answered = req;
}

/* Of three words: "MODE PATTERN". */
static void
set_policy(const char *policy, char *text, size_t size)
{
    policy_text = NULL;
    if (!policy)
        return;
    policy_mode = *policy == 'e' ? STS_MODE_ENFORCE : STS_MODE_TESTING;
    snprintf(text, size, "version: STSv1\nmode: %.*s\nmx: %s\nmax_age: 86400\n",
             (int)strcspn(policy, " "), policy, strchr(policy, ' ') + 1);
    policy_text = text;
}

static void
test_row(void **state)
{
    const struct row *row = *state;
    struct rule rule = { .id = "r", .action = row->action, .until_s = NOW_S + 1 };
    struct smart_host host = { .name = "relay.test" };
    struct rules rules = { .rules = &rule,
                           .rule_count = row->action != RULE_NONE,
                           .smart_hosts = &host,
                           .smart_host_count = row->smart_host };
    const struct rollout rollout = { .mode = row->monitored ? ROLLOUT_MONITOR : ROLLOUT_ENFORCE,
                                     .percent = 100 };
    char cached, uncached; /* two resolvers: only their addresses matter */
    const struct lookup_config config = { .resolver = (struct resolver *)(void *)&cached,
                                          .uncached = (struct resolver *)(void *)&uncached,
                                          .memory = addr_memory_new(ADDR_MEMORY_S),
                                          .dane_memory = addr_memory_new(ADDR_MEMORY_DANE_S),
                                          .clock = { .wall_ns = clock_ns, .mono_ns = clock_ns },
                                          .rules = &rules,
                                          .rollout = &rollout,
                                          .dane = !row->dane_off && !row->no_anchor,
                                          .validates = !row->no_anchor,
                                          .dane_insecure_mx = row->insecure_mx,
                                          .dane_suffices = true,
                                          .tls_minimum = SITE_FLOOR,
                                          .tls_opportunistic_minimum = LOW_FLOOR,
                                          .ttl_max_s = 300 };
    struct policy_request request = { .port = 25, .recheck = row->recheck };
    char text[256];

    snprintf(request.domain, sizeof request.domain, "%s", row->domain ? row->domain : "d.test");
    if (row->rule_mx)
        assert_int_equal(name_list_add(&rule.mx, span_of(row->rule_mx)), RES_OK);
    assert_int_equal(net_list_add(&host.destinations, "192.0.2.1"), RES_OK);
    assert_int_equal(ip_addr_parse("192.0.2.1", &request.destination), RES_OK);
    assert_int_equal(ip_addr_parse("10.0.0.9", &request.client), RES_OK);
    if (row->no_domain)
        request.domain[0] = '\0';
    set_policy(row->policy, text, sizeof text);
    policy_left_s = row->policy_left_s ? row->policy_left_s : 86400;
    dns_script = (struct dns_script){ .zone = row->zone };
    answered = NULL;
    lookup_start(&config, &request, on_done, NULL);
    dns_script_pump();
    assert_non_null(answered);
    assert_string_equal(dane_state_name(answered->dane.state), dane_state_name(row->want));
    assert_int_equal(answered->dane.required, row->action == RULE_DANE);
    assert_true(answered->dane.suffices);
    assert_int_equal(answered->tls_floor, row->want_floor);
    assert_int_equal(answered->ttl_s, row->want_ttl_s);
    assert_int_equal(answered->local.mx.count, 0);
    assert_int_equal(answered->local.action, row->action);
    if (row->no_domain || row->domain)
        assert_int_equal(answered->names.count + dns_script.asked_count, 0);
    if (row->want_sni)
        assert_string_equal(requirement_sni(answered), row->want_sni);
    for (size_t i = 0; i < dns_script.asked_count; i++)
        assert_ptr_equal(dns_script.asked[i].resolver,
                         row->recheck ? config.uncached : config.resolver);
    requirement_unref(answered);
    name_list_clear(&rule.mx);
    net_list_clear(&host.destinations);
    addr_memory_free(config.memory);
    addr_memory_free(config.dane_memory);
}

/* TC-DANE-42: the zones of a domain one after another, and how often it was said that its DANE has
 * ended. */
static const struct history {
    const char *name;
    const char *zones[4];
    enum rule_action last_action;
    int64_t pause_s; /* before the last */
    uint64_t want_ended;
} histories[] = {
    { "TC-DANE-42 never had any", { INSECURE_ZONE, INSECURE_ZONE }, .want_ended = 0 },
    { "TC-DANE-42 the zone became insecure", { SECURE_ZONE, INSECURE_ZONE }, .want_ended = 1 },
    { "TC-DANE-42 said once", { SECURE_ZONE, INSECURE_ZONE, INSECURE_ZONE }, .want_ended = 1 },
    { "TC-DANE-42 and again when it had come back",
      { SECURE_ZONE, INSECURE_ZONE, SECURE_ZONE, INSECURE_ZONE },
      .want_ended = 2 },
    { "TC-DANE-42 a failure is none", { SECURE_ZONE, BROKEN_ZONE }, .want_ended = 0 },
    { "TC-DANE-42 nor does it make one forget",
      { SECURE_ZONE, BROKEN_ZONE, INSECURE_ZONE },
      .want_ended = 1 },
    { "TC-DANE-42 an exception is no end",
      { SECURE_ZONE, SECURE_ZONE },
      .last_action = RULE_NO_DANE,
      .want_ended = 0 },
    { "TC-DANE-42 in the last second of the memory",
      { SECURE_ZONE, INSECURE_ZONE },
      .pause_s = ADDR_MEMORY_DANE_S,
      .want_ended = 1 },
    { "TC-DANE-42 too long ago",
      { SECURE_ZONE, INSECURE_ZONE },
      .pause_s = ADDR_MEMORY_DANE_S + 1,
      .want_ended = 0 },
};

static void
test_history(void **state)
{
    const struct history *h = *state;
    struct policy_stats stats = { { 0 } };
    struct rule rule = { .id = "r", .action = h->last_action, .until_s = INT64_MAX };
    struct rules rules = { .rules = &rule };
    const struct rollout rollout = { .mode = ROLLOUT_ENFORCE, .percent = 100 };
    char cached;
    const struct lookup_config config = { .resolver = (struct resolver *)(void *)&cached,
                                          .memory = addr_memory_new(ADDR_MEMORY_S),
                                          .dane_memory = addr_memory_new(ADDR_MEMORY_DANE_S),
                                          .stats = &stats,
                                          .clock = { .wall_ns = clock_ns, .mono_ns = clock_ns },
                                          .rules = &rules,
                                          .rollout = &rollout,
                                          .dane = true,
                                          .validates = true,
                                          .tls_minimum = SITE_FLOOR,
                                          .tls_opportunistic_minimum = LOW_FLOOR,
                                          .ttl_max_s = 300 };
    struct policy_request request = { .domain = "d.test", .port = 25 };

    policy_text = NULL;
    assert_int_equal(ip_addr_parse("192.0.2.1", &request.destination), RES_OK);
    for (size_t i = 0; i < ROWS(h->zones) && h->zones[i]; i++) {
        bool is_last = i + 1 == ROWS(h->zones) || !h->zones[i + 1];

        dns_script = (struct dns_script){ .zone = h->zones[i] };
        rules.rule_count = is_last && h->last_action != RULE_NONE;
        now_s = NOW_S + (is_last ? h->pause_s : 0);
        answered = NULL;
        lookup_start(&config, &request, on_done, NULL);
        dns_script_pump();
        assert_non_null(answered);
        requirement_unref(answered);
    }
    now_s = NOW_S;
    assert_int_equal(stats.counts[STAT_DANE_ENDED], h->want_ended);
    addr_memory_free(config.memory);
    addr_memory_free(config.dane_memory);
}

int
main(void)
{
    static struct CMUnitTest tests[ROWS(rows) + ROWS(histories)];

    for (size_t i = 0; i < ROWS(histories); i++)
        tests[ROWS(rows) + i] =
            (struct CMUnitTest){ .name = histories[i].name,
                                 .test_func = test_history,
                                 .initial_state = (void *)(uintptr_t)&histories[i] };
    for (size_t i = 0; i < ROWS(rows); i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name,
                                        .test_func = test_row,
                                        .initial_state = (void *)(uintptr_t)&rows[i] };
    return cmocka_run_group_tests_name("lookup", tests, NULL, NULL);
}
