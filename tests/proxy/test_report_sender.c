/* tests/proxy/test_report_sender.c: whose mail consists of TLS reports, and which addresses are one
 * and the same (RPT-080). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "proxy/report_sender.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))

static const struct address_case {
    const char *name;
    const char *address, *local, *domain;
    bool same;
} addresses[] = {
    { "the same", "tlsrpt@example.com", "tlsrpt", "example.com", true },
    { "RFC 5321 2.4: the domain in another case", "tlsrpt@Example.COM", "tlsrpt", "example.com",
      true },
    { "RFC 5321 2.4: the local part in another case", "tlsrpt@example.com", "TLSRPT", "example.com",
      false },
    { "RFC 5321 4.1.2: quotes without need", "tlsrpt@example.com", "\"tlsrpt\"", "example.com",
      true },
    { "RFC 5321 4.1.2: the same in the record", "\"tlsrpt\"@example.com", "tlsrpt", "example.com",
      true },
    { "RFC 5321 4.1.2: an octet that is quoted", "tlsrpt@example.com", "\"t\\lsrpt\"",
      "example.com", true },
    { "a blank that is quoted", "\"tls rpt\"@example.com", "\"tls rpt\"", "example.com", true },
    { "a quote within quotes", "\"tls\\\"rpt\"@example.com", "\"tls\\\"rpt\"", "example.com",
      true },
    { "a quote too few", "\"tls\\\"rpt\"@example.com", "tlsrpt", "example.com", false },
    { "an at within quotes", "\"a@b\"@example.com", "\"a@b\"", "example.com", true },
    { "another behind it", "tlsrpt@example.com", "tlsrpt2", "example.com", false },
    { "less of it", "tlsrpt@example.com", "tls", "example.com", false },
    { "no local part", "tlsrpt@example.com", "", "example.com", false },
    { "only quotes", "tlsrpt@example.com", "\"\"", "example.com", false },
    { "a tag", "tlsrpt@example.com", "tlsrpt+a", "example.com", false },
    { "another domain", "tlsrpt@example.com", "tlsrpt", "example.net", false },
    { "a domain below", "tlsrpt@example.com", "tlsrpt", "a.example.com", false },
    { "A-labels", "tlsrpt@xn--bcher-kva.example", "tlsrpt", "xn--bcher-kva.example", true },
    { "U-labels are not written there", "tlsrpt@b\303\274cher.example", "tlsrpt",
      "xn--bcher-kva.example", false },
    { "nobody's", "tlsrpt@example.com", "tlsrpt", "", false },
    { "no address", "example.com", "", "example.com", false },
};

static void
test_address(void **state)
{
    const struct address_case *c = *state;

    assert_int_equal(report_address_is(c->address, span_of(c->local), c->domain), c->same);
}

/* Two sections: a pair is of one of them. */
static const struct sender_case {
    const char *name;
    const char *client, *local, *domain;
    bool listed;
} senders[] = {
    { "RPT-080: a listed pair", "192.0.2.25", "tlsrpt", "a.example", true },
    { "RPT-080: another listed sender", "192.0.2.25", "noreply", "a.example", true },
    { "RPT-080: of the second section", "2001:db8::7", "tlsrpt", "b.example", true },
    { "RPT-080: an unlisted client", "192.0.2.26", "tlsrpt", "a.example", false },
    { "RPT-080: an unlisted sender", "192.0.2.25", "u", "a.example", false },
    { "RPT-080: the sender of another client", "192.0.2.25", "tlsrpt", "b.example", false },
    { "RPT-080: the null sender", "192.0.2.25", "", "", false },
};

static void
make_list(struct report_senders *list)
{
    *list = (struct report_senders){ 0 };
    assert_int_equal(report_senders_add(list, "one"), RES_OK);
    assert_int_equal(net_list_add(&list->senders[0].clients, "192.0.2.25"), RES_OK);
    assert_int_equal(report_sender_add_address(&list->senders[0], "tlsrpt@a.example"), RES_OK);
    assert_int_equal(report_sender_add_address(&list->senders[0], "noreply@a.example"), RES_OK);
    assert_int_equal(report_senders_add(list, "two"), RES_OK);
    assert_int_equal(net_list_add(&list->senders[1].clients, "2001:db8::/64"), RES_OK);
    assert_int_equal(report_sender_add_address(&list->senders[1], "tlsrpt@b.example"), RES_OK);
}

static void
test_sender(void **state)
{
    const struct sender_case *c = *state;
    struct report_senders list;
    struct ip_addr client;

    make_list(&list);
    assert_int_equal(ip_addr_parse(c->client, &client), RES_OK);
    assert_int_equal(report_senders_have(&list, &client, span_of(c->local), c->domain), c->listed);
    report_senders_clear(&list);
    assert_false(report_senders_have(&list, &client, span_of(c->local), c->domain));
}

static void
test_refused(void **state)
{
    static const char *const bad[] = { "",
                                       "tlsrpt",
                                       "@a.example",
                                       "<>",
                                       "a b@a.example",
                                       "a@[192.0.2.1]",
                                       "a@a@b",
                                       "\"a@a.example",
                                       "a@b\303\274cher.example",
                                       "a@a.example, b@a.example" };
    struct report_sender sender = { .title = "x" };

    (void)state;
    for (size_t i = 0; i < ROWS(bad); i++)
        assert_int_equal(report_sender_add_address(&sender, bad[i]), RES_SYNTAX);
    assert_non_null(report_sender_objection(&sender));
    for (size_t i = 0; i < REPORT_ADDRESSES_MAX; i++)
        assert_int_equal(report_sender_add_address(&sender, "a@a.example"), RES_OK);
    assert_int_equal(report_sender_add_address(&sender, "a@a.example"), RES_LIMIT);
    assert_non_null(report_sender_objection(&sender));
    assert_int_equal(net_list_add(&sender.clients, "192.0.2.25"), RES_OK);
    assert_null(report_sender_objection(&sender));
    net_list_clear(&sender.clients);
    name_list_clear(&sender.addresses);
}

static void
test_limit(void **state)
{
    struct report_senders list = { 0 };

    (void)state;
    for (unsigned i = 0; i < REPORT_SENDERS_MAX; i++)
        assert_int_equal(report_senders_add(&list, "x"), RES_OK);
    assert_int_equal(report_senders_add(&list, "x"), RES_LIMIT);
    report_senders_clear(&list);
}

int
main(void)
{
    struct CMUnitTest tests[ROWS(addresses) + ROWS(senders) + 2];
    size_t n = 0;

    for (size_t i = 0; i < ROWS(addresses); i++)
        tests[n++] = (struct CMUnitTest){ addresses[i].name, test_address, NULL, NULL,
                                          (void *)(uintptr_t)&addresses[i] };
    for (size_t i = 0; i < ROWS(senders); i++)
        tests[n++] = (struct CMUnitTest){ senders[i].name, test_sender, NULL, NULL,
                                          (void *)(uintptr_t)&senders[i] };
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_refused);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_limit);
    return _cmocka_run_group_tests("report_sender", tests, n, NULL, NULL);
}
