/* tests/policy/test_inspect.c: all that a domain publishes, by script in place of DNS (STS-073).
 * sts_discover() is this file's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "policy/inspect.h"
#include "tests/alloc_fail.h"
#include "tests/support/dns_script.h"

static struct told {
    char log[4096]; /* "KIND NAME WHAT;" for each part */
    unsigned done;
    bool later; /* the policy comes after DNS has answered */
    sts_discovery_done *discovered;
    void *arg;
} told;

static void
tell_policy(void)
{
    told.discovered(told.arg,
                    &(struct sts_finding){ .problem = "sts-policy-fetch-error http-404" });
}

void
sts_discover(struct sts_discovery *d, const char *domain, enum sts_purpose purpose,
             sts_discovery_done *done, void *arg)
{
    (void)d;
    assert_string_equal(domain, "a.example");
    assert_int_equal(purpose, STS_FOR_OPERATOR);
    told.discovered = done;
    told.arg = arg;
    if (!told.later)
        tell_policy();
}

static const char *
what(const struct inspect_part *part, char out[128])
{
    if (part->policy)
        snprintf(out, 128, "%s", part->policy->problem);
    else if (part->tlsa)
        snprintf(out, 128, "%s %zu%s", dane_state_name(part->tlsa->state), part->tlsa->host.count,
                 part->tlsa->reason);
    else if (part->answer->status == RESOLVER_FAILED)
        snprintf(out, 128, "%s%s", part->answer->bogus ? "!" : "", part->answer->reason);
    else
        snprintf(out, 128, "%zu", part->answer->answer.count);
    return out;
}

static void
on_part(void *arg, const struct inspect_part *part)
{
    static const char *const kinds[] = { "sts", "policy", "rpt", "mx", "a", "tlsa", "resolver" };
    const char *kind =
        part->kind == INSPECT_ADDRESS && part->qtype == DNS_TYPE_AAAA ? "aaaa" : kinds[part->kind];
    size_t len = strlen(told.log);
    char text[128];

    assert_ptr_equal(arg, &told);
    assert_int_equal(told.done, 0);
    snprintf(told.log + len, sizeof told.log - len, "%s %s %s;", kind, part->name,
             what(part, text));
}

static void
on_done(void *arg)
{
    (void)arg;
    told.done++;
}

static void
inspect(const char *zone, bool full, bool later)
{
    const struct inspect_config config = { .port = 25 };

    told = (struct told){ .later = later };
    memset(&dns_script, 0, sizeof dns_script);
    dns_script.zone = zone;
    dns_script.full = full;
    assert_int_equal(inspect_start(&config, "a.example", on_part, on_done, &told), RES_OK);
    dns_script_pump();
    if (later) {
        assert_int_equal(told.done, 0);
        tell_policy();
    }
    assert_int_equal(told.done, 1);
}

#define POLICY "policy mta-sts.a.example sts-policy-fetch-error http-404;"
#define NO_TEXTS POLICY "sts _mta-sts.a.example 0;rpt _smtp._tls.a.example 0;"

static struct row {
    const char *name, *zone, *want;
} rows[] = {
    { "everything",
      "txt _mta-sts.a.example insecure v=STSv1;\ntxt _smtp._tls.a.example insecure x y\n"
      "mx a.example secure 20:m2.example 10:m1.example\na m1.example secure 192.0.2.1\n"
      "aaaa m1.example secure 2001:db8::1\na m2.example insecure 192.0.2.2 192.0.2.3\n"
      "tlsa _25._tcp.m1.example secure 311:x 310:y",
      POLICY "sts _mta-sts.a.example 1;rpt _smtp._tls.a.example 2;mx a.example 2;"
             "a m1.example 1;aaaa m1.example 1;a m2.example 2;aaaa m2.example 0;"
             "tlsa m2.example none 0;tlsa m1.example secure 2;" },
    { "no MX records",
      "mx a.example secure\naaaa a.example secure 2001:db8::1\n"
      "tlsa _25._tcp.a.example secure 311:x",
      NO_TEXTS "mx a.example 0;a a.example 0;aaaa a.example 1;tlsa a.example secure 1;" },
    { "no such domain", "", NO_TEXTS "mx a.example 0;" },
    { "null MX", "mx a.example secure 0:", NO_TEXTS "mx a.example 1;" },
    { "the MX look-up fails", "mx a.example servfail", NO_TEXTS "mx a.example servfail;" },
    { "and is bogus", "mx a.example bogus", NO_TEXTS "mx a.example !bogus;" },
    { "text look-ups fail", "txt _mta-sts.a.example timeout\ntxt _smtp._tls.a.example bogus",
      POLICY "sts _mta-sts.a.example timeout;rpt _smtp._tls.a.example !bogus;mx a.example 0;" },
    { "the resolver is dead",
      "txt _mta-sts.a.example timeout\ntxt _smtp._tls.a.example timeout\nmx a.example timeout\n"
      "soa . timeout",
      POLICY "sts _mta-sts.a.example timeout;rpt _smtp._tls.a.example timeout;mx a.example timeout;"
             "resolver . timeout;" },
    { "the root fails, and nobody minds", "mx a.example secure 0:\nsoa . timeout",
      NO_TEXTS "mx a.example 1;" },
    { "addresses fail", "mx a.example secure 1:m.example\na m.example servfail",
      NO_TEXTS "mx a.example 1;a m.example servfail;aaaa m.example 0;"
               "tlsa m.example failed 0address servfail;" },
    { "one family is enough",
      "mx a.example secure 1:m.example\na m.example servfail\n"
      "aaaa m.example secure 2001:db8::1",
      NO_TEXTS "mx a.example 1;a m.example servfail;aaaa m.example 1;tlsa m.example none 0;" },
    { "TLSA records fail",
      "mx a.example secure 1:m.example\na m.example secure 192.0.2.1\n"
      "tlsa _25._tcp.m.example servfail",
      NO_TEXTS "mx a.example 1;a m.example 1;aaaa m.example 0;"
               "tlsa m.example failed 0tlsa servfail;" },
};

static void
test_row(void **state)
{
    const struct row *row = *state;

    inspect(row->zone, false, false);
    assert_string_equal(told.log, row->want);
}

/* Whatever comes last ends it, and nothing is waited for that was never asked. */
static void
test_late_policy(void **state)
{
    (void)state;
    inspect("", false, true);
    assert_non_null(strstr(told.log, "mx a.example 0;" POLICY));
}

static void
test_no_question_can_be_asked(void **state)
{
    (void)state;
    inspect("", true, false);
    assert_string_equal(told.log,
                        "sts _mta-sts.a.example not asked;rpt _smtp._tls.a.example not asked;"
                        "mx a.example not asked;" POLICY);
}

/* No more hosts than the gateway looks at (TC-MX-17). */
static void
test_many_hosts(void **state)
{
    char zone[512] = "mx a.example secure";

    (void)state;
    for (unsigned i = 0; i < 70; i++)
        snprintf(zone + strlen(zone), sizeof zone - strlen(zone), " 1:%u", i);
    inspect(zone, false, false);
    assert_int_equal(dns_script.asked_count, 4 + 2 * MX_HOSTS_MAX);
}

static void
test_no_memory(void **state)
{
    const struct inspect_config config = { .port = 25 };

    (void)state;
    told = (struct told){ 0 };
    alloc_fail_after(0);
    assert_int_equal(inspect_start(&config, "a.example", on_part, on_done, &told), RES_NOMEM);
    assert_true(alloc_fail_happened());
    assert_int_equal(told.done, 0);
}

#define ROWS (sizeof rows / sizeof *rows)

int
main(void)
{
    static struct CMUnitTest tests[ROWS + 4];
    size_t count = 0;

    for (; count < ROWS; count++)
        tests[count] = (struct CMUnitTest){ .name = rows[count].name,
                                            .test_func = test_row,
                                            .initial_state = &rows[count] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_late_policy);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_no_question_can_be_asked);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_many_hosts);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_no_memory);
    return cmocka_run_group_tests_name("inspect", tests, NULL, NULL);
}
