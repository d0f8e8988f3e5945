/* tests/policy/test_identity.c: which names the MX behind a dialled address may have, best first,
 * by the row (PRX-016 ... PRX-023, STS-080 ... STS-083, TC-MX). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/identity.h"
#include "tests/alloc_fail.h"

#define HOSTS 4

static struct row {
    const char *name;
    struct mx_host hosts[HOSTS]; /* up to the first without a name */
    const char *patterns[HOSTS]; /* of the policy */
    enum mx_match matched;
    const char *want; /* names, blanks between */
} rows[] = {
    /* the address is an MX's */
    { "PRX-016 the one host that holds it",
      { { .preference = 10, .holds = MX_HOLDS_NOT, .host = "mx1.a.example" },
        { .preference = 20, .holds = MX_HOLDS_NOW, .host = "mx2.a.example" } },
      { NULL },
      MX_MATCH_ADDRESS,
      "mx2.a.example" },
    { "PRX-016 also where the policy lists only another",
      { { .preference = 10, .holds = MX_HOLDS_NOT, .host = "mx1.a.example" },
        { .preference = 20, .holds = MX_HOLDS_NOW, .host = "mx2.a.example" } },
      { "mx1.a.example" },
      MX_MATCH_ADDRESS,
      "mx2.a.example" },
    { "PRX-017 several: the lower preference first",
      { { .preference = 30, .holds = MX_HOLDS_NOW, .host = "c.a.example" },
        { .preference = 10, .holds = MX_HOLDS_NOW, .host = "a.a.example" },
        { .preference = 20, .holds = MX_HOLDS_NOW, .host = "b.a.example" } },
      { NULL },
      MX_MATCH_ADDRESS,
      "a.a.example b.a.example c.a.example" },
    { "TC-MX-15 several: what the policy lists before all preferences",
      { { .preference = 10, .holds = MX_HOLDS_NOW, .host = "a.a.example" },
        { .preference = 20, .holds = MX_HOLDS_NOW, .host = "b.a.example" },
        { .preference = 30, .holds = MX_HOLDS_NOW, .host = "c.a.example" } },
      { "c.a.example", "b.a.example" },
      MX_MATCH_ADDRESS,
      "b.a.example c.a.example a.a.example" },
    { "one preference: the order of the answer",
      { { .preference = 10, .holds = MX_HOLDS_NOW, .host = "b.a.example" },
        { .preference = 10, .holds = MX_HOLDS_NOW, .host = "a.a.example" } },
      { NULL },
      MX_MATCH_ADDRESS,
      "b.a.example a.a.example" },
    { "preferences are numbers of 16 bits",
      { { .preference = 65535, .holds = MX_HOLDS_NOW, .host = "b.a.example" },
        { .preference = 0, .holds = MX_HOLDS_NOW, .host = "a.a.example" } },
      { NULL },
      MX_MATCH_ADDRESS,
      "a.a.example b.a.example" },

    /* it was */
    { "PRX-018 who held it yesterday",
      { { .preference = 10, .holds = MX_HOLDS_NOT, .host = "mx1.a.example" },
        { .preference = 20, .holds = MX_HOLDS_REMEMBERED, .host = "mx2.a.example" } },
      { NULL },
      MX_MATCH_ADDRESS,
      "mx2.a.example" },
    { "PRX-018 who holds it now makes yesterday void, whatever is listed",
      { { .preference = 10, .holds = MX_HOLDS_REMEMBERED, .host = "mx1.a.example" },
        { .preference = 20, .holds = MX_HOLDS_NOW, .host = "mx2.a.example" } },
      { "mx1.a.example" },
      MX_MATCH_ADDRESS,
      "mx2.a.example" },

    /* it is no MX's */
    { "PRX-019 those that the policy lists, by preference",
      { { .preference = 30, .holds = MX_HOLDS_NOT, .host = "c.a.example" },
        { .preference = 10, .holds = MX_HOLDS_NOT, .host = "other.b.example" },
        { .preference = 20, .holds = MX_HOLDS_NOT, .host = "b.a.example" } },
      { "*.a.example" },
      MX_MATCH_CERTIFICATE,
      "b.a.example c.a.example" },
    { "PRX-019 none is listed: the literal names of the policy, in its order",
      { { .preference = 10, .holds = MX_HOLDS_NOT, .host = "mx.b.example" } },
      { "z.a.example", "*.a.example", "a.a.example" },
      MX_MATCH_CERTIFICATE,
      "z.a.example a.a.example" },
    { "PRX-019 none is listed, and the policy has wildcards only",
      { { .preference = 10, .holds = MX_HOLDS_NOT, .host = "mx.b.example" } },
      { "*.a.example" },
      MX_MATCH_CERTIFICATE,
      "" },
    { "PRX-019 no policy: nobody",
      { { .preference = 10, .holds = MX_HOLDS_NOT, .host = "mx.a.example" } },
      { NULL },
      MX_MATCH_CERTIFICATE,
      "" },
    { "PRX-021, PRX-023 no MX is known: the literal names",
      { { 0 } },
      { "MX.a.Example", "*.a.example" },
      MX_MATCH_CERTIFICATE,
      "mx.a.example" },
    { "nothing is known", { { 0 } }, { NULL }, MX_MATCH_CERTIFICATE, "" },

    /* what "lists" means */
    { "STS-080, TC-MX-01 without regard to case",
      { { .preference = 10, .holds = MX_HOLDS_NOW, .host = "a.a.example" },
        { .preference = 20, .holds = MX_HOLDS_NOW, .host = "mx.a.example" } },
      { "MX.A.Example" },
      MX_MATCH_ADDRESS,
      "mx.a.example a.a.example" },
    { "STS-081, TC-MX-02 a wildcard is one label",
      { { .preference = 10, .holds = MX_HOLDS_NOT, .host = "a.example" },
        { .preference = 20, .holds = MX_HOLDS_NOT, .host = "a.b.a.example" },
        { .preference = 30, .holds = MX_HOLDS_NOT, .host = "b.a.example" } },
      { "*.a.example" },
      MX_MATCH_CERTIFICATE,
      "b.a.example" },
    { "TC-MX-03 and no tail of one",
      { { .preference = 10, .holds = MX_HOLDS_NOT, .host = "evila.example" },
        { .preference = 20, .holds = MX_HOLDS_NOT, .host = "b.a.example.evil.example" } },
      { "*.a.example", "mx.a.example" },
      MX_MATCH_CERTIFICATE,
      "mx.a.example" },
    { "TC-MX-04 nor two of them under a provider's short name",
      { { .preference = 10, .holds = MX_HOLDS_NOT, .host = "a.b.mx.microsoft" },
        { .preference = 20, .holds = MX_HOLDS_NOT, .host = "b.mx.microsoft" } },
      { "*.mx.microsoft" },
      MX_MATCH_CERTIFICATE,
      "b.mx.microsoft" },
    { "STS-083 A-labels are letters like others",
      { { .preference = 10, .holds = MX_HOLDS_NOW, .host = "a.a.example" },
        { .preference = 20, .holds = MX_HOLDS_NOW, .host = "xn--mx-eka.a.example" } },
      { "XN--MX-eka.a.example" },
      MX_MATCH_ADDRESS,
      "xn--mx-eka.a.example a.a.example" },
};

static void
fill(const struct row *row, struct mx_set *set, struct name_list *patterns)
{
    *set = (struct mx_set){ .failed = false };
    *patterns = (struct name_list){ 0 };
    for (size_t i = 0; i < HOSTS && row->hosts[i].host[0]; i++)
        set->hosts[set->count++] = row->hosts[i];
    for (size_t i = 0; i < HOSTS && row->patterns[i]; i++)
        assert_int_equal(name_list_add(patterns, span_of(row->patterns[i])), RES_OK);
}

static void
test_choose(void **state)
{
    const struct row *row = *state;
    struct requirement *req = requirement_new();
    struct name_list patterns;
    struct mx_set set;
    char got[1024] = "";

    assert_non_null(req);
    fill(row, &set, &patterns);
    assert_int_equal(identity_choose(&set, &patterns, req), RES_OK);
    for (size_t i = 0; i < req->names.count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? " " : "",
                 req->names.names[i]);
    assert_string_equal(got, row->want);
    assert_int_equal(req->matched, row->matched);
    assert_false(req->mx_lookup_failed);
    name_list_clear(&patterns);
    requirement_unref(req);
}

/* PRX-023: what failed is passed on, whoever was found. */
static void
test_failed(void **state)
{
    struct mx_set set = { .failed = true,
                          .count = 1,
                          .hosts = {
                              { .preference = 10, .holds = MX_HOLDS_NOW, .host = "mx.a" } } };
    struct requirement *req = requirement_new();
    struct name_list none = { 0 };

    (void)state;
    assert_non_null(req);
    assert_int_equal(identity_choose(&set, &none, req), RES_OK);
    assert_true(req->mx_lookup_failed);
    assert_string_equal(requirement_sni(req), "mx.a");
    requirement_unref(req);
}

/* TLS-040: an MX record that holds an address names no server. */
static void
test_sni(void **state)
{
    struct requirement *req = requirement_new();

    (void)state;
    assert_non_null(req);
    assert_string_equal(requirement_sni(req), "");
    assert_int_equal(name_list_add(&req->names, span_of("192.0.2.1")), RES_OK);
    assert_string_equal(requirement_sni(req), "");
    assert_int_equal(name_list_add(&req->names, span_of("mx.a")), RES_OK);
    assert_string_equal(requirement_sni(req), "mx.a");
    requirement_unref(req);
}

/* TC-MX-17: as many hosts as there may be, all of one address. */
static void
test_many(void **state)
{
    struct requirement *req = requirement_new();
    struct name_list patterns = { 0 };
    struct mx_set set = { .count = MX_HOSTS_MAX };

    (void)state;
    assert_non_null(req);
    for (unsigned i = 0; i < MX_HOSTS_MAX; i++) {
        set.hosts[i] = (struct mx_host){ .preference = 7, .holds = MX_HOLDS_NOW };
        snprintf(set.hosts[i].host, sizeof set.hosts[i].host, "mx%u.a.example", i);
    }
    assert_int_equal(name_list_add(&patterns, span_of("mx63.a.example")), RES_OK);
    assert_int_equal(identity_choose(&set, &patterns, req), RES_OK);
    assert_int_equal(req->names.count, MX_HOSTS_MAX);
    assert_string_equal(req->names.names[0], "mx63.a.example");
    assert_string_equal(req->names.names[1], "mx0.a.example");
    name_list_clear(&patterns);
    requirement_unref(req);
}

/* Each allocation fails in turn, in each row: said, and nothing leaks. */
static void
test_no_memory(void **state)
{
    unsigned failures = 0;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct name_list patterns;
        struct mx_set set;
        bool happened = true;

        fill(&rows[i], &set, &patterns);
        for (unsigned n = 0; happened; n++) {
            struct requirement *req = requirement_new();
            enum result res;

            assert_non_null(req);
            alloc_fail_after(n);
            res = identity_choose(&set, &patterns, req);
            happened = alloc_fail_happened();
            assert_int_equal(res, happened ? RES_NOMEM : RES_OK);
            failures += happened;
            requirement_unref(req);
        }
        name_list_clear(&patterns);
    }
    assert_true(failures > 20);
}

int
main(void)
{
    struct CMUnitTest tests[sizeof rows / sizeof *rows + 4];
    size_t count = 0;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tests[count++] = (struct CMUnitTest){ .name = rows[i].name,
                                              .test_func = test_choose,
                                              .initial_state = &rows[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_failed);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_sni);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_many);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_no_memory);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
