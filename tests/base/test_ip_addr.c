/* tests/base/test_ip_addr.c: addresses and networks, one test per row. */
#include "base/ip_addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include <stdio.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))

static struct addr_case {
    const char *name, *text;
    const char *want; /* printed again; NULL for RES_SYNTAX */
    uint8_t len;
} addr_cases[] = {
    { "IPv4", "192.0.2.1", "192.0.2.1", 4 },
    { "IPv4, all zero", "0.0.0.0", "0.0.0.0", 4 },
    { "IPv4, all ones", "255.255.255.255", "255.255.255.255", 4 },
    { "IPv6", "2001:db8::1", "2001:db8::1", 16 },
    { "IPv6 in full and upper case is printed as RFC 5952 wants",
      "2001:0DB8:0000:0000:0000:0000:0000:00AB", "2001:db8::ab", 16 },
    { "IPv6, a single zero group is not shortened (RFC 5952 4.2.2)", "2001:db8:0:1:1:1:1:1",
      "2001:db8:0:1:1:1:1:1", 16 },
    { "IPv6, the longest run is shortened", "2001:0:0:1:0:0:0:1", "2001:0:0:1::1", 16 },
    { "IPv6, unspecified", "::", "::", 16 },
    { "IPv6, loopback", "::1", "::1", 16 },
    { "PRX-016 IPv4-mapped is IPv4", "::ffff:192.0.2.1", "192.0.2.1", 4 },
    { "PRX-016 IPv4-mapped in hexadecimal is IPv4", "::FFFF:c000:201", "192.0.2.1", 4 },
    { "IPv4-translated stays IPv6", "64:ff9b::c000:201", "64:ff9b::c000:201", 16 },
    { "empty", "", NULL, 0 },
    { "three parts", "192.0.2", NULL, 0 },
    { "one number", "3221225985", NULL, 0 },
    { "octal", "0300.0.2.1", NULL, 0 },
    { "part beyond 255", "192.0.2.256", NULL, 0 },
    { "blank in front", " 192.0.2.1", NULL, 0 },
    { "port behind", "192.0.2.1:25", NULL, 0 },
    { "literal", "[192.0.2.1]", NULL, 0 },
    { "prefix", "192.0.2.1/32", NULL, 0 },
    { "zone", "fe80::1%lo", NULL, 0 },
    { "two shortenings", "2001::1::1", NULL, 0 },
    { "nine groups", "1:2:3:4:5:6:7:8:9", NULL, 0 },
    { "name", "mail.example.com", NULL, 0 },
    { "longer than any address", "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa", NULL, 0 },
};

static struct net_case {
    const char *name, *text;
    bool ok;
    const char *in, *out; /* an address inside and one outside; NULL for none */
} net_cases[] = {
    { "IPv4 /24", "192.0.2.0/24", true, "192.0.2.255", "192.0.3.0" },
    { "IPv4 /23", "192.0.2.0/23", true, "192.0.3.255", "192.0.4.0" },
    { "IPv4 /31", "192.0.2.2/31", true, "192.0.2.3", "192.0.2.1" },
    { "IPv4 /32", "192.0.2.1/32", true, "192.0.2.1", "192.0.2.0" },
    { "IPv4 without prefix", "192.0.2.1", true, "192.0.2.1", "192.0.2.2" },
    { "IPv4 /0", "0.0.0.0/0", true, "255.255.255.255", "2001:db8::" },
    { "IPv6 /32", "2001:db8::/32", true, "2001:db8:ffff::1", "2001:db9::" },
    { "IPv6 /33", "2001:db8:8000::/33", true, "2001:db8:8000::", "2001:db8:7fff::" },
    { "IPv6 /128", "2001:db8::1/128", true, "2001:db8::1", "2001:db8::" },
    { "IPv6 without prefix", "2001:db8::1", true, "2001:db8::1", "2001:db8::2" },
    { "IPv6 /0 holds no IPv4", "::/0", true, "ffff::", "192.0.2.1" },
    { "PRX-016 mapped address is in the IPv4 network", "192.0.2.0/24", true, "::ffff:192.0.2.7",
      "::ffff:192.0.3.7" },
    { "mapped without prefix", "::ffff:192.0.2.1", true, "192.0.2.1", "192.0.2.2" },
    { "mapped with an IPv4 prefix length", "::ffff:192.0.2.0/24", false, NULL, NULL },
    { "mapped with an IPv6 prefix length", "::ffff:192.0.2.0/120", false, NULL, NULL },
    { "host bits", "192.0.2.1/24", false, NULL, NULL },
    { "host bits, the last one", "192.0.2.1/31", false, NULL, NULL },
    { "host bits with /0", "128.0.0.0/0", false, NULL, NULL },
    { "host bits in IPv6", "2001:db8::1/64", false, NULL, NULL },
    { "prefix too long, IPv4", "192.0.2.0/33", false, NULL, NULL },
    { "prefix too long, IPv6", "2001:db8::/129", false, NULL, NULL },
    { "prefix wraps an octet", "192.0.2.0/256", false, NULL, NULL },
    { "no prefix behind the slash", "192.0.2.0/", false, NULL, NULL },
    { "netmask", "192.0.2.0/255.255.255.0", false, NULL, NULL },
    { "negative", "192.0.2.0/-1", false, NULL, NULL },
    { "two slashes", "192.0.2.0/24/24", false, NULL, NULL },
    { "slash alone", "/", false, NULL, NULL },
    { "empty", "", false, NULL, NULL },
    { "name", "example.com/24", false, NULL, NULL },
    { "text one octet longer than any address", "0000:0000:0000:0000:0000:0000:255.255.255.2555/1",
      false, NULL, NULL },
    { "text longer than any address", "0000000000000000000000000000000000000000000000000000/1",
      false, NULL, NULL },
};

static struct kind_case {
    const char *name, *text;
    bool is_public, is_undialable;
} kind_cases[] = {
    { "STS-035 an ordinary IPv4 address", "8.8.8.8", true, false },
    { "STS-035 an ordinary IPv6 address", "2606:4700::1111", true, false },
    { "STS-035 last of 2000::/3", "3ffe:ffff::1", true, false },
    { "PRX-054 IPv4 unspecified", "0.0.0.0", false, true },
    { "PRX-054 IPv4 this network", "0.1.2.3", false, true },
    { "PRX-054 IPv4 loopback", "127.0.0.1", false, true },
    { "PRX-054 IPv4 loopback, another", "127.255.255.254", false, true },
    { "PRX-054 IPv4 link-local (cloud metadata)", "169.254.169.254", false, true },
    { "PRX-054 IPv4 multicast, first", "224.0.0.1", false, true },
    { "PRX-054 IPv4 multicast, last", "239.255.255.255", false, true },
    { "PRX-054 IPv4 broadcast", "255.255.255.255", false, true },
    { "STS-035 10/8", "10.255.255.255", false, false },
    { "STS-035 172.16/12, first", "172.16.0.0", false, false },
    { "STS-035 172.16/12, last", "172.31.255.255", false, false },
    { "STS-035 before 172.16/12", "172.15.255.255", true, false },
    { "STS-035 behind 172.16/12", "172.32.0.0", true, false },
    { "STS-035 192.168/16", "192.168.1.1", false, false },
    { "STS-035 shared address space, first", "100.64.0.0", false, false },
    { "STS-035 shared address space, last", "100.127.255.255", false, false },
    { "STS-035 behind shared address space", "100.128.0.0", true, false },
    { "STS-035 protocol assignments", "192.0.0.8", false, false },
    { "STS-035 documentation 1", "192.0.2.1", false, false },
    { "STS-035 documentation 2", "198.51.100.1", false, false },
    { "STS-035 documentation 3", "203.0.113.1", false, false },
    { "STS-035 benchmarking, last", "198.19.255.255", false, false },
    { "STS-035 behind benchmarking", "198.20.0.0", true, false },
    { "STS-035 6to4 relays", "192.88.99.1", false, false },
    { "STS-035 reserved", "240.0.0.1", false, false },
    { "STS-035 before multicast", "223.255.255.255", true, false },
    { "PRX-054 IPv6 unspecified", "::", false, true },
    { "PRX-054 IPv6 loopback", "::1", false, true },
    { "PRX-054 IPv6 link-local, first", "fe80::1", false, true },
    { "PRX-054 IPv6 link-local, last", "febf::1", false, true },
    { "PRX-054 IPv6 multicast", "ff02::1", false, true },
    { "STS-035 unique local", "fd00::1", false, false },
    { "STS-035 site-local, deprecated", "fec0::1", false, false },
    { "STS-035 documentation", "2001:db8::1", false, false },
    { "STS-035 documentation, the second block", "3fff::1", false, false },
    { "STS-035 Teredo", "2001::1", false, false },
    { "STS-035 6to4 of a private address", "2002:a00:1::1", false, false },
    { "STS-035 NAT64 of a private address", "64:ff9b::a00:1", false, false },
    { "STS-035 NAT64, local prefix", "64:ff9b:1::a00:1", false, false },
    { "STS-035 discard", "100::1", false, false },
    { "STS-035 IPv4-compatible", "::10.0.0.1", false, false },
    { "STS-035 behind 2000::/3", "4000::1", false, false },
    { "STS-035 segment routing", "5f00::1", false, false },
    { "STS-035 mapped private address", "::ffff:10.0.0.1", false, false },
    { "PRX-054 mapped loopback", "::ffff:127.0.0.1", false, true },
    { "STS-035 mapped public address", "::ffff:8.8.8.8", true, false },
};

static struct ip_addr
addr_of(const char *text)
{
    struct ip_addr a;

    assert_int_equal(ip_addr_parse(text, &a), RES_OK);
    return a;
}

static void
test_addr(void **state)
{
    const struct addr_case *c = *state;
    char text[IP_ADDR_TEXT_MAX];
    struct ip_addr a, again;

    memset(&a, 0xff, sizeof a);
    assert_int_equal(ip_addr_parse(c->text, &a), c->want ? RES_OK : RES_SYNTAX);
    assert_int_equal(a.len, c->len);
    assert_string_equal(ip_addr_text(&a, text), c->want ? c->want : "none");
    if (c->want) {
        assert_int_equal(ip_addr_parse(text, &again), RES_OK);
        assert_true(ip_addr_equal(&a, &again));
    }
}

static void
test_net(void **state)
{
    const struct net_case *c = *state;
    struct ip_addr a, none = { 0 };
    struct ip_net net;

    assert_int_equal(ip_net_parse(c->text, &net), c->ok ? RES_OK : RES_SYNTAX);
    if (!c->ok)
        return;
    a = addr_of(c->in);
    assert_true(ip_net_has(&net, &a));
    a = addr_of(c->out);
    assert_false(ip_net_has(&net, &a));
    assert_false(ip_net_has(&net, &none));
}

static void
test_kind(void **state)
{
    const struct kind_case *c = *state;
    struct ip_addr a = addr_of(c->text);

    assert_int_equal(ip_addr_is_public(&a), c->is_public);
    assert_int_equal(ip_addr_is_undialable(&a), c->is_undialable);
}

static void
test_none(void **state)
{
    struct ip_addr none = { 0 }, any = addr_of("0.0.0.0");

    (void)state;
    assert_false(ip_addr_is_public(&none));
    assert_true(ip_addr_is_undialable(&none));
    assert_false(ip_addr_equal(&none, &any));
    assert_true(ip_addr_equal(&none, &none));
}

static void
test_families_differ(void **state)
{
    struct ip_addr four = addr_of("32.1.13.184"), six = addr_of("2001:db8::");

    (void)state;
    assert_memory_equal(four.bytes, six.bytes, sizeof four.bytes);
    assert_false(ip_addr_equal(&four, &six));
}

static void
test_from_bytes(void **state)
{
    static const uint8_t bytes[17] = {
        0x20, 0x01, 0x0d, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
    };
    static const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff, [12] = 192, 0, 2, 1 };
    struct ip_addr a, want = addr_of("192.0.2.1");

    (void)state;
    for (size_t len = 0; len <= sizeof bytes; len++) {
        bool ok = len == 4 || len == 16;

        assert_int_equal(ip_addr_from_bytes(span_make(len ? bytes : NULL, len), &a),
                         ok ? RES_OK : RES_SYNTAX);
        assert_int_equal(a.len, ok ? len : 0);
        assert_memory_equal(a.bytes, bytes, a.len);
    }
    assert_int_equal(ip_addr_from_bytes(span_make(mapped, sizeof mapped), &a), RES_OK);
    assert_true(ip_addr_equal(&a, &want));
}

/* Each pattern of zero groups, with groups of each length: as inet_ntop() has it. */
static void
test_ipv6_text(void **state)
{
    static const uint16_t values[] = { 0x1, 0x2f, 0x345, 0xfedc };

    (void)state;
    for (unsigned pattern = 0; pattern < 256; pattern++)
        for (unsigned turn = 0; turn < ROWS(values); turn++) {
            char text[IP_ADDR_TEXT_MAX], want[IP_ADDR_TEXT_MAX];
            struct ip_addr a = { .len = 16 };

            for (unsigned g = 0; g < 8; g++) {
                unsigned value = pattern >> g & 1 ? values[(g + turn) % ROWS(values)] : 0;

                a.bytes[2 * g] = (uint8_t)(value >> 8);
                a.bytes[2 * g + 1] = (uint8_t)value;
            }
            assert_non_null(inet_ntop(AF_INET6, a.bytes, want, sizeof want));
            assert_string_equal(ip_addr_text(&a, text), want);
        }
}

/* Each number of digits in each place. */
static void
test_ipv4_text(void **state)
{
    (void)state;
    for (unsigned place = 0; place < 4; place++)
        for (unsigned value = 0; value < 256; value++) {
            struct ip_addr a = { 4, { 1, 20, 255, 0 } };
            char text[IP_ADDR_TEXT_MAX], want[IP_ADDR_TEXT_MAX];

            a.bytes[place] = (uint8_t)value;
            snprintf(want, sizeof want, "%u.%u.%u.%u", a.bytes[0], a.bytes[1], a.bytes[2],
                     a.bytes[3]);
            assert_string_equal(ip_addr_text(&a, text), want);
        }
}

static void
test_sockaddr(void **state)
{
    static const char *const texts[] = { "192.0.2.1", "2001:db8::1" };
    static const unsigned lens[] = { sizeof(struct sockaddr_in), sizeof(struct sockaddr_in6) };
    struct sockaddr_storage storage;
    uint16_t port;

    (void)state;
    for (size_t i = 0; i < ROWS(texts); i++) {
        struct ip_addr a = addr_of(texts[i]), again;

        assert_int_equal(ip_addr_to_sockaddr(&a, 25, &storage), lens[i]);
        ip_addr_from_sockaddr((const struct sockaddr *)&storage, &again, &port);
        assert_true(ip_addr_equal(&a, &again));
        assert_int_equal(port, 25);
        ip_addr_from_sockaddr((const struct sockaddr *)&storage, &again, NULL);
        assert_true(ip_addr_equal(&a, &again));
    }
}

/* PRX-016: a dual-stack socket reports IPv4 peers as mapped addresses. */
static void
test_sockaddr_mapped(void **state)
{
    static const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff, [12] = 192, 0, 2, 1 };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(2525) };
    struct ip_addr a, want = addr_of("192.0.2.1");
    uint16_t port;

    (void)state;
    memcpy(&in6.sin6_addr, mapped, sizeof mapped);
    ip_addr_from_sockaddr((const struct sockaddr *)&in6, &a, &port);
    assert_true(ip_addr_equal(&a, &want));
    assert_int_equal(port, 2525);
}

static void
test_sockaddr_of_another_family(void **state)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "/run/x" };
    struct ip_addr a;
    uint16_t port = 7;

    (void)state;
    ip_addr_from_sockaddr((const struct sockaddr *)&un, &a, &port);
    assert_int_equal(a.len, 0);
    assert_int_equal(port, 0);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_families_differ),
        cmocka_unit_test(test_from_bytes),
        cmocka_unit_test(test_ipv4_text),
        cmocka_unit_test(test_ipv6_text),
        cmocka_unit_test(test_sockaddr),
        cmocka_unit_test(test_sockaddr_mapped),
        cmocka_unit_test(test_sockaddr_of_another_family),
    };
    struct CMUnitTest tests[ROWS(addr_cases) + ROWS(net_cases) + ROWS(kind_cases) + ROWS(others)];
    size_t count = 0;

    for (size_t i = 0; i < ROWS(addr_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = addr_cases[i].name,
                                              .test_func = test_addr,
                                              .initial_state = &addr_cases[i] };
    for (size_t i = 0; i < ROWS(net_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = net_cases[i].name,
                                              .test_func = test_net,
                                              .initial_state = &net_cases[i] };
    for (size_t i = 0; i < ROWS(kind_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = kind_cases[i].name,
                                              .test_func = test_kind,
                                              .initial_state = &kind_cases[i] };
    for (size_t i = 0; i < ROWS(others); i++)
        tests[count++] = others[i];
    return cmocka_run_group_tests_name("ip_addr", tests, NULL, NULL);
}
