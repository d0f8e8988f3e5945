/* tests/policy/test_dane_probe.c: the self-test of DNSSEC validation, by script in place of DNS and
 * clock (DANE-001, TC-DANE-34, TC-OPS-07). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/dane_probe.h"
#include "tests/support/dns_script.h"

#define FINE "soa . secure x"

static int64_t now_s;
static struct policy_stats stats;

static int64_t
clock_ns(void *arg)
{
    (void)arg;
    return now_s * 1000000000;
}

static struct dane_probe *
start(void)
{
    struct dane_probe *probe = dane_probe_new(&(struct dane_probe_config){
        .stats = &stats, .clock = { .wall_ns = clock_ns, .mono_ns = clock_ns } });

    assert_non_null(probe);
    now_s = 1000;
    stats = (struct policy_stats){ 0 };
    dns_script = (struct dns_script){ 0 };
    return probe;
}

/* One tick, with this zone for an answer. */
static void
tick(struct dane_probe *probe, const char *zone)
{
    dns_script.zone = zone;
    dane_probe_tick(probe);
    dns_script_pump();
}

static void
test_results(void **state)
{
    static const struct {
        const char *zone;
        bool blind;
    } rows[] = {
        { FINE, false },
        { "soa . insecure x", true }, /* no anchor, or one that stands for nothing */
        { "soa . bogus", true },      /* an outdated anchor, a clock that is off */
        { "soa . servfail", true },   /* no DNS */
        { "soa . timeout", true },
        { "soa . secure", true }, /* nothing that a validated answer could be */
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dane_probe *probe = start();

        assert_false(dane_probe_is_blind(probe));
        tick(probe, rows[i].zone);
        assert_int_equal(dns_script.asked_count, 1);
        assert_string_equal(dns_script.asked[0].name, ".");
        assert_int_equal(dane_probe_is_blind(probe), rows[i].blind);
        assert_int_equal(stats.counts[STAT_DANE_BLIND], rows[i].blind);
        assert_int_equal(stats.counts[STAT_DANE_PROBES], 1);
        assert_int_equal(stats.counts[STAT_DANE_PROBES_FAILED], rows[i].blind);
        dane_probe_free(probe);
    }
}

/* Again after its time, sooner while it is blind; and it sees again. */
static void
test_again(void **state)
{
    struct dane_probe *probe = start();

    (void)state;
    tick(probe, FINE);
    now_s += DANE_PROBE_INTERVAL_S - 1;
    tick(probe, FINE);
    assert_int_equal(dns_script.asked_count, 1);
    now_s++;
    tick(probe, "soa . bogus");
    assert_int_equal(dns_script.asked_count, 2);
    assert_true(dane_probe_is_blind(probe));
    now_s += DANE_PROBE_RETRY_S - 1;
    tick(probe, FINE);
    assert_true(dane_probe_is_blind(probe));
    now_s++;
    tick(probe, FINE);
    assert_int_equal(dns_script.asked_count, 3);
    assert_false(dane_probe_is_blind(probe));
    assert_int_equal(stats.counts[STAT_DANE_BLIND], 0);
    dane_probe_free(probe);
}

/* One question at a time, however long its answer takes; and one that cannot be asked has failed.
 */
static void
test_one_question(void **state)
{
    struct dane_probe *probe = start();

    (void)state;
    dns_script.zone = FINE;
    dane_probe_tick(probe);
    now_s += 10 * DANE_PROBE_INTERVAL_S;
    dane_probe_tick(probe);
    assert_int_equal(dns_script.asked_count, 1);
    dns_script_pump();
    now_s += DANE_PROBE_INTERVAL_S;
    dns_script.full = true;
    dane_probe_tick(probe);
    assert_true(dane_probe_is_blind(probe));
    dane_probe_free(probe);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_one_question),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
