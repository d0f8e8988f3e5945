/* tests/policy/test_rules.c: which override applies, and which domains the roll-out reaches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "policy/rules.h"

#define UNTIL_S 1800000000
#define DOMAINS 1000

static struct ip_addr
addr(const char *text)
{
    struct ip_addr a;

    assert_int_equal(ip_addr_parse(text, &a), RES_OK);
    return a;
}

/* Three overrides: by client, by domain, by destination. */
static void
fill(struct rules *rules)
{
    rules->rules = calloc(3, sizeof *rules->rules);
    assert_non_null(rules->rules);
    rules->rule_count = 3;
    for (size_t i = 0; i < 3; i++)
        rules->rules[i].until_s = UNTIL_S;
    assert_int_equal(net_list_add(&rules->rules[0].clients, "192.0.2.0/24"), RES_OK);
    assert_int_equal(name_list_add(&rules->rules[0].domains, span_of("a.example")), RES_OK);
    assert_int_equal(name_list_add(&rules->rules[1].domains, span_of("*.b.example")), RES_OK);
    assert_int_equal(name_list_add(&rules->rules[1].domains, span_of("a.example")), RES_OK);
    assert_int_equal(net_list_add(&rules->rules[2].destinations, "2001:db8::/32"), RES_OK);
}

static struct find_case {
    const char *name, *domain, *destination, *client;
    int64_t now_s;
    int want; /* index, or -1 */
} find_cases[] = {
    { "PRX-042 one client's exception", "a.example", "198.51.100.1", "192.0.2.7", 0, 0 },
    { "PRX-042 is not the next client's", "a.example", "198.51.100.1", "192.0.3.7", 0, 1 },
    { "case of the domain does not matter", "A.Example", "198.51.100.1", "192.0.3.7", 0, 1 },
    { "a wildcard is one label", "x.b.example", "198.51.100.1", "192.0.3.7", 0, 1 },
    { "and not the name itself", "b.example", "198.51.100.1", "192.0.3.7", 0, -1 },
    { "and not two labels", "x.y.b.example", "198.51.100.1", "192.0.3.7", 0, -1 },
    { "by destination", "c.example", "2001:db8::25", "192.0.3.7", 0, 2 },
    { "the last second", "c.example", "2001:db8::25", "192.0.3.7", UNTIL_S - 1, 2 },
    { "past its end", "c.example", "2001:db8::25", "192.0.3.7", UNTIL_S, -1 },
};

static void
test_find(void **state)
{
    const struct find_case *c = *state;
    struct ip_addr destination = addr(c->destination), client = addr(c->client);
    struct rules rules = { 0 };
    const struct rule *found;

    fill(&rules);
    found = rules_find(&rules, c->domain, &destination, &client, c->now_s);
    assert_int_equal(found ? (int)(found - rules.rules) : -1, c->want);
    rules_clear(&rules);
}

/* PRX-041: about the share asked for, more of it never fewer domains, always the same ones. */
static void
test_share(void **state)
{
    static const unsigned percents[] = { 0, 10, 30, 100 };
    unsigned count[4] = { 0 };

    (void)state;
    for (unsigned i = 0; i < DOMAINS; i++) {
        char domain[32];
        bool before = false;

        snprintf(domain, sizeof domain, "d%u.example", i);
        for (unsigned p = 0; p < 4; p++) {
            const struct rollout rollout = { ROLLOUT_ENFORCE, percents[p] };
            bool in = rollout_enforces(&rollout, domain);

            assert_true(in || !before);
            before = in;
            count[p] += in;
        }
    }
    assert_int_equal(count[0], 0);
    assert_in_range(count[1], 50, 150);
    assert_in_range(count[2], 250, 350);
    assert_int_equal(count[3], DOMAINS);
}

static void
test_monitor_reaches_nobody(void **state)
{
    const struct rollout rollout = { ROLLOUT_MONITOR, 100 };

    (void)state;
    assert_false(rollout_enforces(&rollout, "example.com"));
}

static struct text_case {
    const char *text, *want; /* NULL: refused */
} text_cases[] = {
    { "enforce", "enforce" }, { "enforce 30%", "enforce 30%" }, { "enforce 0%", "enforce 0%" },
    { "monitor", "monitor" }, { "survey", "survey" },           { "enforce 101%", NULL },
    { "enforce 30", NULL },   { "enforce30%", NULL },           { "", NULL },
    { "Enforce", NULL },      { "enforce -1%", NULL },          { "enforce %", NULL },
};

static void
test_text(void **state)
{
    const struct text_case *c = *state;
    struct rollout rollout;
    char text[16];

    assert_int_equal(rollout_parse(c->text, &rollout), c->want ? RES_OK : RES_SYNTAX);
    if (c->want)
        assert_string_equal(rollout_text(&rollout, text), c->want);
}

int
main(void)
{
    struct CMUnitTest tests[64] = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < sizeof find_cases / sizeof *find_cases; i++)
        tests[n++] = (struct CMUnitTest){ .name = find_cases[i].name,
                                          .test_func = test_find,
                                          .initial_state = &find_cases[i] };
    for (size_t i = 0; i < sizeof text_cases / sizeof *text_cases; i++)
        tests[n++] = (struct CMUnitTest){ .name = text_cases[i].text,
                                          .test_func = test_text,
                                          .initial_state = &text_cases[i] };
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_share);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_monitor_reaches_nobody);
    return _cmocka_run_group_tests("rules", tests, n, NULL, NULL);
}
