/* tests/policy/test_tlsrpt_reporter.c: what the policy process believes of a report that a worker
 * sends (RPT-035), with a real store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "policy/sqlite_file.h"
#include "policy/tlsrpt_read.h"
#include "policy/tlsrpt_reporter.h"

#define DAY_S 1700006400 /* 2023-11-15 00:00:00 UTC */
#define NEXT_S (DAY_S + TLSRPT_DAY_S)
#define NOW_S (NEXT_S - 1800)

static int64_t
clock_ns(void *arg)
{
    (void)arg;
    return NOW_S * INT64_C(1000000000);
}

static struct time_case {
    const char *name;
    int64_t at_s, want_day_s;
} cases[] = {
    { "now", NOW_S, DAY_S },
    { "the day before", DAY_S - 1, DAY_S - TLSRPT_DAY_S },
    { "by a clock that was ahead", NOW_S + TLSRPT_AHEAD_MAX_S, NEXT_S },
    { "a second more than that counts as now", NOW_S + TLSRPT_AHEAD_MAX_S + 1, DAY_S },
    { "years ahead", INT64_C(253402300799), DAY_S },
};

static bool
note_domain(void *arg, const char *domain)
{
    assert_string_equal(domain, "a.example");
    ++*(unsigned *)arg;
    return true;
}

/* Rows that expiry does not reach, now that it is past all days that may be. */
static long long
count_sources(struct tlsrpt_store *store)
{
    struct sqlite_file *file = tlsrpt_store_file(store);
    sqlite3_stmt *stmt;
    long long count;

    assert_int_equal(tlsrpt_store_drop_before(store, NEXT_S + TLSRPT_DAY_S), RES_OK);
    assert_int_equal(sqlite_file_prepare(file, "SELECT count(*) FROM source", &stmt), RES_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    count = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return count;
}

/* RPT-035: the day is that of the verdict; and nobody writes rows that stay for good. */
static void
test_time(void **state)
{
    const struct time_case *c = *state;
    char folder[] = "/tmp/stsgate-reporter-XXXXXX", path[64];
    const struct tlsrpt_reporter_config config = { .clock = { .wall_ns = clock_ns,
                                                              .mono_ns = clock_ns },
                                                   .store_file = path,
                                                   .organization = "",
                                                   .contact = "",
                                                   .directory = "" };
    struct tls_report report = { .at_s = c->at_s,
                                 .type = TLS_REPORT_NO_POLICY,
                                 .domain = "a.example",
                                 .policy_domain = "a.example" };
    struct tlsrpt_reporter *reporter;
    struct tlsrpt_store *store;
    unsigned domains = 0;
    char error[200] = "";

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/reports", folder);
    if (tlsrpt_reporter_new(&config, &reporter, error, sizeof error) != RES_OK)
        fail_msg("%s", error);
    tlsrpt_reporter_count(reporter, 7, 1, &report, 1);
    tlsrpt_reporter_free(reporter);
    assert_int_equal(tlsrpt_store_open(path, &store, error, sizeof error), RES_OK);
    assert_int_equal(tlsrpt_read_domains(store, c->want_day_s, "", note_domain, &domains), RES_OK);
    assert_int_equal(domains, 1);
    assert_int_equal(count_sources(store), 0);
    tlsrpt_store_close(store);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

int
main(void)
{
    struct CMUnitTest tests[sizeof cases / sizeof *cases];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = test_time,
                                        .initial_state = &cases[i] };
    return cmocka_run_group_tests_name("tlsrpt_reporter", tests, NULL, NULL);
}
