/* tests/proxy/test_admission.c: who may have one more session, and what is remembered (PRX-044,
 * PRX-049, G12). */
#include "proxy/admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#define OF_CLIENT "too-many-sessions-of-client"
#define OF_SECTION "too-many-sessions-of-section"

static struct client_rule sections[2] = { { .sessions_max = 3 }, { .sessions_max = 0 } };
static const struct config config = { .sessions_max = 6,
                                      .client_sessions_max = 2,
                                      .clients = { sections, 2 } };

static struct record_session_info
from(const char *client, const struct client_rule *rule)
{
    struct record_session_info info = { .client_rule = rule };

    assert_int_equal(ip_addr_parse(client, &info.client), RES_OK);
    return info;
}

static void
expect(struct admission *a, const char *client, const struct client_rule *rule, const char *want)
{
    struct record_session_info info = from(client, rule);
    const char *got = admission_enter(a, &info);

    if (want)
        assert_string_equal(got, want);
    else
        assert_null(got);
}

static void
leave(struct admission *a, const char *client, const struct client_rule *rule)
{
    struct record_session_info info = from(client, rule);

    admission_leave(a, &info);
}

static void
test_limits(void **state)
{
    struct admission *a = admission_new(&config);

    (void)state;
    assert_non_null(a);
    expect(a, "10.0.0.1", NULL, NULL);
    expect(a, "10.0.0.1", NULL, NULL);
    expect(a, "10.0.0.1", NULL, OF_CLIENT);
    expect(a, "10.0.0.1", &sections[1], OF_CLIENT);
    expect(a, "10.0.0.2", &sections[0], NULL);
    expect(a, "10.0.0.3", &sections[0], NULL);
    expect(a, "10.0.0.4", &sections[0], NULL);
    expect(a, "10.0.0.5", &sections[0], OF_SECTION);
    expect(a, "10.0.0.5", &sections[1], NULL);
    expect(a, "10.0.0.6", NULL, "too-many-sessions");
    assert_int_equal(admission_open(a), 6);
    leave(a, "10.0.0.4", &sections[0]);
    expect(a, "10.0.0.5", &sections[0], NULL);
    leave(a, "10.0.0.1", NULL);
    expect(a, "10.0.0.1", NULL, NULL);
    assert_int_equal(admission_open(a), 6);
    admission_free(a);
}

/* Who has one address of IPv6 has 2^64 of them. */
static void
test_ipv6_by_64_bits(void **state)
{
    struct admission *a = admission_new(&config);

    (void)state;
    assert_non_null(a);
    expect(a, "2001:db8::1", NULL, NULL);
    expect(a, "2001:db8::ffff:1", NULL, NULL);
    expect(a, "2001:db8::2", NULL, OF_CLIENT);
    expect(a, "2001:db8:0:1::2", NULL, NULL);
    leave(a, "2001:db8::ffff:1", NULL);
    expect(a, "2001:db8::2", NULL, NULL);
    admission_free(a);
}

static void
test_left(void **state)
{
    struct admission *a = admission_new(&config);
    struct ip_addr client;

    (void)state;
    assert_non_null(a);
    assert_int_equal(ip_addr_parse("10.0.0.1", &client), RES_OK);
    for (unsigned i = 1; i <= 3; i++) {
        expect(a, "10.0.0.1", NULL, NULL);
        assert_int_equal(admission_left(a, &client), i);
        leave(a, "10.0.0.1", NULL);
    }
    assert_int_equal(admission_open(a), 0);
    admission_free(a);
}

/* A flood of addresses does not grow without end, and costs no open session its place. */
static void
test_bounded(void **state)
{
    struct admission *a = admission_new(&config);
    char text[32];

    (void)state;
    assert_non_null(a);
    expect(a, "192.0.2.1", NULL, NULL);
    for (unsigned i = 0; i < ADMISSION_CLIENTS_MAX + 1000; i++) {
        struct record_session_info info;

        snprintf(text, sizeof text, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        info = from(text, NULL);
        assert_null(admission_enter(a, &info));
        assert_int_equal(admission_left(a, &info.client), 1);
        admission_leave(a, &info);
    }
    assert_int_equal(admission_open(a), 1);
    expect(a, "192.0.2.1", NULL, NULL);
    expect(a, "192.0.2.1", NULL, OF_CLIENT);
    admission_free(a);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        { "in all, of a client, of a section", test_limits, NULL, NULL, NULL },
        { "IPv6 by its first 64 bits", test_ipv6_by_64_bits, NULL, NULL, NULL },
        { "clients that left without mail", test_left, NULL, NULL, NULL },
        { "a flood of addresses", test_bounded, NULL, NULL, NULL },
    };

    return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
