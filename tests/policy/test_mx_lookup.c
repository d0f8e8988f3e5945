/* tests/policy/test_mx_lookup.c: from a domain and a dialled address to the names that the MX may
 * have, by script in place of DNS (PRX-016 ... PRX-023, STS-082, STS-083, TC-MX). resolver_ask() is
 * this file's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/mx_lookup.h"
#include "tests/alloc_fail.h"

#define NOW_S 1700000000
#define HOUR_S 3600
#define QUESTIONS_MAX 100

struct host {
    const char *name;
    const char *addrs[3]; /* none and alias NULL: NODATA */
    const char *alias;    /* owner of the addresses, behind CNAMEs */
    bool fails;
};

static struct world {
    struct dns_mx mx[MX_HOSTS_MAX];
    size_t mx_count, mx_left_out;
    bool mx_fails, nxdomain;
    struct host hosts[40];
    uint32_t mx_ttl_s, addr_ttl_s;
    int64_t now_s;
    struct {
        char name[HOSTNAME_MAX + 1];
        unsigned qtype;
        resolver_done *done;
        void *arg;
    } asked[QUESTIONS_MAX];
    size_t asked_count, answered;
    unsigned refused; /* questions that cannot be asked, one bit each, the first the lowest */
    unsigned questions;
    struct addr_memory *memory;
    unsigned done;
    struct mx_set set;
} w;

enum result
resolver_ask(struct resolver *r, const char *name, unsigned qtype, resolver_done *done, void *arg,
             struct resolver_query **out)
{
    (void)r;
    *out = NULL;
    if (w.questions < 32 && w.refused >> w.questions++ & 1)
        return RES_LIMIT;
    assert_true(w.asked_count < QUESTIONS_MAX);
    snprintf(w.asked[w.asked_count].name, sizeof w.asked->name, "%s", name);
    w.asked[w.asked_count].qtype = qtype;
    w.asked[w.asked_count].done = done;
    w.asked[w.asked_count++].arg = arg;
    return RES_OK;
}

static void
answer_addresses(const char *name, unsigned qtype, struct resolver_answer *a,
                 struct ip_addr addrs[3])
{
    a->answer.ttl_s = w.addr_ttl_s;
    for (size_t i = 0; i < 40 && w.hosts[i].name; i++) {
        const struct host *h = &w.hosts[i];

        if (strcmp(h->name, name) != 0)
            continue;
        if (h->fails)
            *a = (struct resolver_answer){ .status = RESOLVER_FAILED, .reason = "servfail" };
        for (size_t k = 0; k < 3 && h->addrs[k] && !h->fails; k++) {
            assert_int_equal(ip_addr_parse(h->addrs[k], &addrs[a->answer.count]), RES_OK);
            if ((addrs[a->answer.count].len == 4) == (qtype == DNS_TYPE_A))
                a->answer.count++;
        }
        snprintf(a->answer.owner, sizeof a->answer.owner, "%s", h->alias ? h->alias : name);
    }
    a->answer.addrs = addrs;
}

static void
pump(void)
{
    while (w.answered < w.asked_count) {
        size_t i = w.answered++;
        struct resolver_answer a = { .status = RESOLVER_ANSWERED };
        struct ip_addr addrs[3];

        if (w.asked[i].qtype != DNS_TYPE_MX) {
            answer_addresses(w.asked[i].name, w.asked[i].qtype, &a, addrs);
        } else if (w.mx_fails) {
            a = (struct resolver_answer){ .status = RESOLVER_FAILED, .reason = "timeout" };
        } else {
            a.answer.mx = w.mx;
            a.answer.count = w.mx_count;
            a.answer.left_out = w.mx_left_out;
            a.answer.ttl_s = w.mx_ttl_s;
            a.answer.rcode = w.nxdomain ? 3 : DNS_RCODE_NOERROR;
        }
        w.asked[i].done(w.asked[i].arg, &a);
    }
}

static int64_t
wall_ns(void *arg)
{
    (void)arg;
    return w.now_s * 1000000000;
}

static void
on_done(void *arg, const struct mx_set *set)
{
    (void)arg;
    w.done++;
    w.set = *set;
}

static void
look_up(const char *destination, bool alias_targets)
{
    const struct mx_lookup_config config = { .memory = w.memory,
                                             .clock = { .wall_ns = wall_ns, .mono_ns = wall_ns },
                                             .alias_targets = alias_targets };
    struct ip_addr addr;
    unsigned before = w.done;

    assert_int_equal(ip_addr_parse(destination, &addr), RES_OK);
    mx_lookup(&config, "a.example", &addr, on_done, NULL);
    pump();
    assert_int_equal(w.done, before + 1);
}

/* The names that a recipient may have at the destination, best first, with these patterns. */
static void
expect_names(const char *patterns, enum mx_match matched, const char *names)
{
    struct requirement *req = requirement_new();
    struct name_list list = { 0 };
    char got[512] = "";

    assert_non_null(req);
    for (const char *p = patterns; *p;) {
        size_t len = strcspn(p, " ");

        assert_int_equal(name_list_add(&list, span_make(p, len)), RES_OK);
        p += len + (p[len] == ' ');
    }
    assert_int_equal(identity_choose(&w.set, &list, req), RES_OK);
    for (size_t i = 0; i < req->names.count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? " " : "",
                 req->names.names[i]);
    assert_int_equal(req->matched, matched);
    assert_string_equal(got, names);
    name_list_clear(&list);
    requirement_unref(req);
}

static void
add_mx(uint16_t preference, const char *host)
{
    w.mx[w.mx_count].preference = preference;
    snprintf(w.mx[w.mx_count++].host, sizeof w.mx->host, "%.100s", host);
}

static int
set_up(void **state)
{
    (void)state;
    w = (struct world){ .now_s = NOW_S, .mx_ttl_s = 3600, .addr_ttl_s = 300 };
    w.memory = addr_memory_new(ADDR_MEMORY_S);
    return w.memory ? 0 : -1;
}

static int
clear_up(void **state)
{
    (void)state;
    addr_memory_free(w.memory);
    return 0;
}

/* PRX-016: three MX hosts, the client dials the second; addresses are compared as such. */
static void
test_second_of_three(void **state)
{
    (void)state;
    add_mx(10, "mx1.a.example");
    add_mx(20, "mx2.a.example");
    add_mx(30, "mx3.a.example");
    w.hosts[0] = (struct host){ "mx1.a.example", { "192.0.2.1" }, NULL, false };
    w.hosts[1] = (struct host){ "mx2.a.example", { "192.0.2.2", "2001:db8::2" }, NULL, false };
    w.hosts[2] = (struct host){ "mx3.a.example", { "192.0.2.3" }, NULL, false };
    look_up("192.0.2.2", false);
    expect_names("", MX_MATCH_ADDRESS, "mx2.a.example");
    assert_int_equal(w.set.ttl_s, 300); /* the smallest that came */
    look_up("::ffff:192.0.2.2", false);
    expect_names("", MX_MATCH_ADDRESS, "mx2.a.example");
    look_up("2001:DB8:0::2", false);
    expect_names("", MX_MATCH_ADDRESS, "mx2.a.example");
    for (size_t i = 0; i < w.asked_count; i++) /* only the destination's family can hold it */
        assert_true(w.asked[i].qtype == DNS_TYPE_MX || (w.asked[i].qtype == DNS_TYPE_A) == (i < 8));
}

/* PRX-017, TC-MX-15: several names of one address: what the policy lists comes first, then by
 * preference. */
static void
test_shared_address(void **state)
{
    (void)state;
    add_mx(30, "c.a.example");
    add_mx(10, "a.a.example");
    add_mx(20, "b.a.example");
    for (unsigned i = 0; i < 3; i++)
        w.hosts[i] = (struct host){ w.mx[i].host, { "192.0.2.1" }, NULL, false };
    look_up("192.0.2.1", false);
    expect_names("", MX_MATCH_ADDRESS, "a.a.example b.a.example c.a.example");
    expect_names("c.a.example", MX_MATCH_ADDRESS, "c.a.example a.a.example b.a.example");
}

/* PRX-018, TC-MX-16, TC-GW-11: addresses are remembered for a day beyond their time; fresh ones
 * count first.
 */
static void
test_rotating_addresses(void **state)
{
    (void)state;
    add_mx(10, "mx1.a.example");
    add_mx(20, "mx2.a.example");
    w.hosts[0] = (struct host){ "mx1.a.example", { "192.0.2.1" }, NULL, false };
    w.hosts[1] = (struct host){ "mx2.a.example", { "192.0.2.9" }, NULL, false };
    look_up("192.0.2.1", false);
    w.hosts[0].addrs[0] = "192.0.2.7";
    w.now_s += 20 * HOUR_S;
    look_up("192.0.2.1", false);
    expect_names("", MX_MATCH_ADDRESS, "mx1.a.example");
    w.hosts[1].addrs[0] = "192.0.2.1"; /* now it is another one's */
    look_up("192.0.2.1", false);
    expect_names("", MX_MATCH_ADDRESS, "mx2.a.example");
    w.hosts[1].addrs[0] = "192.0.2.9";
    w.now_s += 49 * HOUR_S;
    look_up("192.0.2.1", false);
    expect_names("*.a.example", MX_MATCH_CERTIFICATE, "mx1.a.example mx2.a.example");
}

/* PRX-019: the address is no MX's: the names that the policy lists, or else its own literal ones.
 */
static void
test_unknown_address(void **state)
{
    (void)state;
    add_mx(10, "mx1.a.example");
    add_mx(20, "mx2.a.example");
    w.hosts[0] = (struct host){ "mx1.a.example", { "192.0.2.1" }, NULL, false };
    look_up("198.51.100.1", false);
    expect_names("mx2.a.example", MX_MATCH_CERTIFICATE, "mx2.a.example");
    expect_names("*.b.example mx.b.example", MX_MATCH_CERTIFICATE, "mx.b.example");
}

/* PRX-021, TC-MX-10: no MX records, but the domain exists; NXDOMAIN: no names at all. */
static void
test_implicit_mx(void **state)
{
    (void)state;
    w.hosts[0] = (struct host){ "a.example", { "192.0.2.1" }, NULL, false };
    look_up("192.0.2.1", false);
    expect_names("", MX_MATCH_ADDRESS, "a.example");
    w.nxdomain = true;
    look_up("192.0.2.1", false);
    expect_names("", MX_MATCH_CERTIFICATE, "");
    expect_names("mx.a.example", MX_MATCH_CERTIFICATE, "mx.a.example");
}

/* PRX-021, RFC 5321 5.1: MX records whose targets are no host names are no reason to go by the
 * domain's own address, and one beside a null MX makes it none. */
static void
test_mx_without_hosts(void **state)
{
    (void)state;
    w.mx_left_out = 1;
    w.hosts[0] = (struct host){ "a.example", { "192.0.2.1" }, NULL, false };
    look_up("192.0.2.1", false);
    assert_false(w.set.implicit);
    expect_names("a.example", MX_MATCH_CERTIFICATE,
                 "a.example"); /* the policy's own literal name */
    expect_names("", MX_MATCH_CERTIFICATE, "");
    add_mx(0, "");
    look_up("192.0.2.1", false);
    assert_false(w.set.null_mx);
}

/* PRX-022, TC-MX-09. */
static void
test_null_mx(void **state)
{
    (void)state;
    add_mx(0, "");
    look_up("192.0.2.1", false);
    assert_true(w.set.null_mx);
    expect_names("", MX_MATCH_CERTIFICATE, "");
    add_mx(10, "mx1.a.example"); /* beside another one it is none (RFC 7505 3) */
    w.hosts[0] = (struct host){ "mx1.a.example", { "192.0.2.1" }, NULL, false };
    look_up("192.0.2.1", false);
    assert_false(w.set.null_mx);
    expect_names("", MX_MATCH_ADDRESS, "mx1.a.example");
}

/* PRX-023, DANE-005, TC-MX-11: what fails is said, and spoils nothing else. */
static void
test_failures(void **state)
{
    (void)state;
    add_mx(10, "mx1.a.example");
    add_mx(20, "mx2.a.example");
    w.hosts[0] = (struct host){ "mx1.a.example", { NULL }, NULL, true };
    w.hosts[1] = (struct host){ "mx2.a.example", { "192.0.2.2" }, NULL, false };
    look_up("192.0.2.2", false);
    expect_names("", MX_MATCH_ADDRESS, "mx2.a.example");
    look_up("192.0.2.1", false);
    assert_true(w.set.failed);
    w.mx_fails = true;
    look_up("192.0.2.2", false);
    assert_true(w.set.failed);
    assert_int_equal(w.set.ttl_s, 0);
    expect_names("mx2.a.example", MX_MATCH_CERTIFICATE, "mx2.a.example");
}

/* STS-082, TC-MX-05: the name is the record's, before any alias; the target counts too if the site
 * says so. */
static void
test_alias(void **state)
{
    (void)state;
    add_mx(10, "mx1.a.example");
    w.hosts[0] = (struct host){ "mx1.a.example", { "192.0.2.1" }, "real.b.example", false };
    look_up("192.0.2.1", false);
    expect_names("real.b.example", MX_MATCH_ADDRESS, "mx1.a.example");
    look_up("192.0.2.1", true);
    expect_names("real.b.example", MX_MATCH_ADDRESS, "real.b.example mx1.a.example");
    expect_names("mx1.a.example", MX_MATCH_ADDRESS, "mx1.a.example real.b.example");
}

/* TC-MX-17: a bounded number of hosts; the last one still counts. */
static void
test_many(void **state)
{
    static char names[MX_HOSTS_MAX][32];

    (void)state;
    for (unsigned i = 0; i < MX_HOSTS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "mx%u.a.example", i);
        add_mx((uint16_t)i, names[i]);
    }
    w.hosts[0] = (struct host){ names[MX_HOSTS_MAX - 1], { "192.0.2.77" }, NULL, false };
    look_up("192.0.2.77", false);
    expect_names("", MX_MATCH_ADDRESS, names[MX_HOSTS_MAX - 1]);
}

/* What cannot be asked counts as failed, and the others' answers still come. */
static void
test_refused_questions(void **state)
{
    (void)state;
    add_mx(10, "mx1.a.example");
    add_mx(20, "mx2.a.example");
    w.hosts[0] = (struct host){ "mx1.a.example", { "192.0.2.1" }, NULL, false };
    w.hosts[1] = (struct host){ "mx2.a.example", { "192.0.2.2" }, NULL, false };
    for (w.refused = 0; w.refused < 8; w.refused++) {
        bool mx_refused = w.refused & 1, second_refused = w.refused & 4;

        w.questions = 0;
        look_up("192.0.2.2", false);
        assert_int_equal(w.set.failed, w.refused != 0);
        assert_int_equal(w.set.count, mx_refused ? 0 : 2);
        if (!mx_refused)
            assert_int_equal(w.set.hosts[1].holds, second_refused ? MX_HOLDS_NOT : MX_HOLDS_NOW);
    }
}

/* Each allocation fails in turn: answered once all the same, and never with a host that does not
 * hold the address. */
static void
test_no_memory(void **state)
{
    bool happened = true;
    unsigned failures = 0;

    (void)state;
    add_mx(10, "mx1.a.example");
    add_mx(20, "mx2.a.example");
    w.hosts[0] = (struct host){ "mx1.a.example", { "192.0.2.1" }, NULL, false };
    w.hosts[1] = (struct host){ "mx2.a.example", { "192.0.2.2" }, "real.b.example", false };
    for (unsigned n = 0; happened; n++) {
        addr_memory_free(w.memory);
        w.memory = addr_memory_new(ADDR_MEMORY_S);
        assert_non_null(w.memory);
        w.asked_count = w.answered = 0;
        alloc_fail_after(n);
        look_up("192.0.2.2", true);
        happened = alloc_fail_happened();
        failures += happened;
        for (size_t i = 0; i < w.set.count; i++)
            if (strcmp(w.set.hosts[i].host, "mx1.a.example") == 0)
                assert_int_equal(w.set.hosts[i].holds, MX_HOLDS_NOT);
        if (!happened)
            expect_names("", MX_MATCH_ADDRESS, "mx2.a.example real.b.example");
    }
    assert_true(failures >= 4); /* the look-up, two questions, what is remembered */
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, clear_up)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_second_of_three),
        ROW(test_shared_address),
        ROW(test_rotating_addresses),
        ROW(test_unknown_address),
        ROW(test_implicit_mx),
        ROW(test_null_mx),
        ROW(test_mx_without_hosts),
        ROW(test_failures),
        ROW(test_alias),
        ROW(test_many),
        ROW(test_refused_questions),
        ROW(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
