/* tests/policy/test_resolver.c: the resolver against a real NSD on loopback with a root zone of its
 * own, signed when the test starts. Skipped where NSD or ldns's tools are missing. */
#include "policy/resolver.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <ev.h>

#include <cmocka.h>

#include "tests/alloc_fail.h"
#include "tests/support/loop.h"
#include "tests/support/servers.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define GIVE_UP_S 30. /* no test takes as long as that */
#define QUERIES_MAX 10000u
#define DAY_S 86400u

/* A signed root and "test."; below it zones that are good, changed after signing, signed with a
 * signature that ran out, without the records that prove a denial, and unsigned. */
static const char zones_script[] =
    "key() { ldns-keygen -a ECDSAP256SHA256 ${2-} \"$1\"; }\n"
    "soa() { printf '$ORIGIN %s\\n$TTL 300\\n@ SOA ns.test. host.test. 1 3600 600 86400 60\\n"
    "@ NS ns.test.\\n' \"$1\"; }\n"
    "for z in secure bogus expired holes; do\n"
    "  eval ksk_$z=$(key $z.test. -k) zsk_$z=$(key $z.test.)\n"
    "done\n"
    "ksk_root=$(key . -k) zsk_root=$(key .) ksk_test=$(key test. -k) zsk_test=$(key test.)\n"
    "{ soa secure.test.; cat common\n"
    "  cat <<EOF\n"
    "there-and-back CNAME back.plain.test.\n"
    "_25._tcp.shared CNAME _25._tcp.mx1\n"
    "_25._tcp.away CNAME _25._tcp.mx1.plain.test.\n"
    "_25._tcp.broken CNAME _25._tcp.mx1.bogus.test.\n"
    "_25._tcp.loop CNAME _25._tcp.loop2\n"
    "_25._tcp.loop2 CNAME _25._tcp.loop\n"
    "_25._tcp.cut TYPE52 \\# 3 030101\n"
    "EOF\n"
    "  for i in $(seq 10 21); do printf '_25._tcp.huge TLSA 2 0 0 %0800d\\n' $i; done\n"
    "  for i in $(seq 10 74); do echo _25._tcp.many TLSA 3 1 1 $i; done\n"
    "  printf 'big TXT'; for i in $(seq 16); do printf ' \"%0255d\"' $i; done; echo\n"
    "} >secure\n"
    "ldns-signzone -n -f secure.good secure $ksk_secure $zsk_secure\n"
    "sed 's/TLSA\t3 1 1$/TYPE52 \\\\# 3 030101/' secure.good >secure.signed\n" /* as NSD reads it */
    "{ soa bogus.test.; cat common; } >bogus\n"
    "ldns-signzone -n -f bogus.good bogus $ksk_bogus $zsk_bogus\n"
    "sed 's/192\\.0\\.2\\.25/192.0.2.66/' bogus.good >bogus.signed\n"
    "{ soa expired.test.; cat common; } >expired\n"
    "ldns-signzone -i 20200101 -e 20200201 -f expired.signed expired $ksk_expired $zsk_expired\n"
    "{ soa holes.test.; cat common; } >holes\n"
    "ldns-signzone -n -f holes.good holes $ksk_holes $zsk_holes\n"
    "grep -v NSEC3 holes.good >holes.signed\n"
    "{ soa plain.test.; cat common; echo 'back CNAME mx1.secure.test.'; } >plain\n"
    "{ soa test.; echo 'ns A '$NS; echo 'mixed CNAME mx1.plain'\n"
    "  for z in secure bogus expired holes plain; do echo \"$z NS ns.test.\"; done\n"
    "  cat $ksk_secure.ds $ksk_bogus.ds $ksk_expired.ds $ksk_holes.ds\n"
    "} >test\n"
    "ldns-signzone -n -f test.signed test $ksk_test $zsk_test\n"
    "{ soa .; echo 'test. NS ns.test.'; echo 'ns.test. A '$NS; cat $ksk_test.ds; } >root\n"
    "ldns-signzone -n -f root.signed root $ksk_root $zsk_root\n"
    "cp $ksk_root.ds root.ds\n"
    "cp $ksk_secure.ds wrong.ds\n"
    "printf '; no anchor here\\n. 300 IN NS ns.test. ; DS\\n' >empty.ds\n"
    "printf '. IN DS nonsense\\n' >bad.ds\n";

static const char common_records[] = "@ MX 10 mx1\n"
                                     "@ MX 20 mx2\n"
                                     "null MX 0 .\n"
                                     "mx1 A 192.0.2.25\n"
                                     "mx1 AAAA 2001:db8::25\n"
                                     "mx2 1 A 192.0.2.26\n"
                                     "_mta-sts TXT \"v=STSv1; i\" \"d=20260101000000Z;\"\n"
                                     "*.wild A 192.0.2.9\n"
                                     "alias CNAME mx1\n"
                                     "dangling CNAME nothing\n"
                                     "_25._tcp.mx1 TLSA 3 1 1 00ff\n"
                                     "loop CNAME loop2\n"
                                     "loop2 CNAME loop\n";

struct fixture {
    bool can_run;
    char dir[SERVERS_DIR_MAX];
    char anchor[128];
    char server[32];   /* "127.0.0.1@PORT" of NSD */
    char iterated[16]; /* NSD's address on port 53, "" when that port is not to be had */
    char silent[32];   /* of a socket that never answers */
    int silent_fd;
    pid_t nsd;
    struct ev_loop *loop;
};

static struct fixture fix; /* cmocka hands a group's state only to tests without a row */

/* Delegations lead to port 53, so iteration needs it, on a loopback address of this process's own.
 * Only root gets it; without it the forwarder's way is all that is tested. */
static void
choose_iterated(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(53) };
    unsigned pid = (unsigned)getpid();
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(fix.iterated, sizeof fix.iterated, "127.%u.%u.53", pid >> 8 & 255, pid & 255);
    assert_int_equal(inet_pton(AF_INET, fix.iterated, &addr.sin_addr), 1);
    if (bind(fd, (const struct sockaddr *)&addr, sizeof addr) != 0)
        fix.iterated[0] = '\0';
    close(fd);
}

static void
write_nsd_conf(uint16_t port)
{
    char also[64] = "";

    if (fix.iterated[0])
        snprintf(also, sizeof also, "  ip-address: %s@53\n", fix.iterated);
    servers_write(fix.dir, "nsd.conf",
                  "server:\n  ip-address: 127.0.0.1@%u\n%s  username: \"\"\n  chroot: \"\"\n"
                  "  zonesdir: \"%s\"\n  pidfile: \"%s/nsd.pid\"\n  database: \"\"\n"
                  "  xfrdfile: \"%s/xfrd\"\n  zonelistfile: \"%s/zone.list\"\n"
                  "  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\n  server-count: 1\n"
                  "remote-control:\n  control-enable: no\n"
                  "zone:\n  name: .\n  zonefile: root.signed\n"
                  "zone:\n  name: test\n  zonefile: test.signed\n"
                  "zone:\n  name: secure.test\n  zonefile: secure.signed\n"
                  "zone:\n  name: bogus.test\n  zonefile: bogus.signed\n"
                  "zone:\n  name: expired.test\n  zonefile: expired.signed\n"
                  "zone:\n  name: holes.test\n  zonefile: holes.signed\n"
                  "zone:\n  name: plain.test\n  zonefile: plain\n",
                  port, also, fix.dir, fix.dir, fix.dir, fix.dir);
}

static void
open_silent(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof addr;

    fix.silent_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fix.silent_fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(getsockname(fix.silent_fd, (struct sockaddr *)&addr, &len), 0);
    snprintf(fix.silent, sizeof fix.silent, "127.0.0.1@%u", ntohs(addr.sin_port));
}

static int
set_up(void **state)
{
    const char *const argv[] = { "nsd", "-d", "-c", "nsd.conf", NULL };
    uint16_t port;

    (void)state;
    if (!servers_have("nsd") || !servers_have("ldns-keygen") || !servers_have("ldns-signzone"))
        return 0; /* the tests skip themselves */
    servers_dir_new(fix.dir);
    servers_write(fix.dir, "common", "%s", common_records);
    choose_iterated();
    setenv("NS", fix.iterated[0] ? fix.iterated : "192.0.2.53", 1);
    servers_script(fix.dir, zones_script);
    port = servers_free_port();
    write_nsd_conf(port);
    snprintf(fix.server, sizeof fix.server, "127.0.0.1@%u", port);
    snprintf(fix.anchor, sizeof fix.anchor, "%s/root.ds", fix.dir);
    fix.nsd = servers_start(fix.dir, argv);
    servers_wait_port(port, fix.nsd);
    open_silent();
    fix.loop = ev_loop_new(0);
    assert_non_null(fix.loop);
    fix.can_run = true;
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    if (!fix.can_run)
        return 0;
    ev_loop_destroy(fix.loop);
    servers_stop(fix.nsd);
    close(fix.silent_fd);
    servers_dir_remove(fix.dir);
    return 0;
}

/* What came of one question, as text: "secure mx1.secure.test: 192.0.2.25", "failed servfail". */
struct outcome {
    unsigned calls;
    char text[1024];
    uint32_t ttl_s;
    unsigned rcode;
    struct resolver *free_in_done;
    bool ask_again;
    struct resolver *resolver;
    struct outcome *next;
};

static void
print_records(const struct dns_answer *a, char *out, size_t size)
{
    size_t len = 0;
    char addr[IP_ADDR_TEXT_MAX];

    out[0] = '\0';
    for (size_t i = 0; i < a->count && len < size; i++) {
        if (a->mx)
            len += (size_t)snprintf(out + len, size - len, " %u/%s", a->mx[i].preference,
                                    a->mx[i].host);
        else if (a->texts && a->texts[i].len > 64)
            len += (size_t)snprintf(out + len, size - len, " %zu octets", a->texts[i].len);
        else if (a->texts)
            len += (size_t)snprintf(out + len, size - len, " %.*s", (int)a->texts[i].len,
                                    a->texts[i].ptr);
        else if (a->tlsa)
            len += (size_t)snprintf(out + len, size - len, " %u%u%u/%zu", a->tlsa[i].usage,
                                    a->tlsa[i].selector, a->tlsa[i].matching, a->tlsa[i].data.len);
        else if (!a->addrs)
            len += (size_t)snprintf(out + len, size - len, " +");
        else
            len += (size_t)snprintf(out + len, size - len, " %s", ip_addr_text(&a->addrs[i], addr));
    }
}

static int
by_preference(const void *a, const void *b)
{
    return ((const struct dns_mx *)a)->preference - ((const struct dns_mx *)b)->preference;
}

static void on_done(void *arg, const struct resolver_answer *answer);

static void
ask(struct resolver *r, const char *name, unsigned qtype, struct outcome *outcome)
{
    struct resolver_query *query;

    assert_int_equal(resolver_ask(r, name, qtype, on_done, outcome, &query), RES_OK);
    assert_non_null(query);
    assert_int_equal(outcome->calls, 0); /* never before resolver_ask() has returned */
}

static void
on_done(void *arg, const struct resolver_answer *answer)
{
    static const char *const security[] = { "bogus", "insecure", "secure" };
    struct outcome *outcome = arg;
    char records[448];

    outcome->calls++;
    if (answer->answer.mx) /* a name server may turn a set around */
        qsort(answer->answer.mx, answer->answer.count, sizeof *answer->answer.mx, by_preference);
    print_records(&answer->answer, records, sizeof records);
    if (answer->status == RESOLVER_ANSWERED)
        snprintf(outcome->text, sizeof outcome->text, "%s %s:%s", security[answer->security],
                 answer->answer.owner, records);
    else
        snprintf(outcome->text, sizeof outcome->text, "failed %s", answer->reason);
    outcome->ttl_s = answer->answer.ttl_s;
    outcome->rcode = answer->answer.rcode;
    if (outcome->free_in_done)
        resolver_free(outcome->free_in_done);
    if (outcome->ask_again)
        ask(outcome->resolver, "mx1.secure.test", DNS_TYPE_A, outcome->next);
    else
        ev_break(fix.loop, EVBREAK_ALL);
}

static struct resolver_config
config_of(const char *server, const char *anchor)
{
    bool iterates = fix.iterated[0] != '\0';

    return (struct resolver_config){ .stub = iterates ? server : "",
                                     .forward = iterates ? "" : server,
                                     .root_hints = "",
                                     .trust_anchor = anchor,
                                     .cache_max_s = DAY_S };
}

static struct resolver *
new_resolver(const struct resolver_config *config)
{
    struct resolver *r;
    const char *error;

    assert_int_equal(resolver_new(fix.loop, config, &r, &error), RES_OK);
    assert_string_equal(error, "");
    return r;
}

static void
skip_without_servers(void)
{
    if (!fix.can_run)
        skip();
}

enum variant { USUAL, FORWARD, NO_ANCHOR, WRONG_ANCHOR, LOCAL_ZONES };

static struct ask_case {
    const char *name, *qname;
    unsigned qtype;
    enum variant variant;
    const char *text;
    unsigned rcode;
} asks[] = {
    { "secure A", "mx1.secure.test", DNS_TYPE_A, USUAL, "secure mx1.secure.test: 192.0.2.25", 0 },
    { "secure AAAA", "mx1.secure.test", DNS_TYPE_AAAA, USUAL,
      "secure mx1.secure.test: 2001:db8::25", 0 },
    { "secure MX", "secure.test", DNS_TYPE_MX, USUAL,
      "secure secure.test: 10/mx1.secure.test 20/mx2.secure.test", 0 },
    { "secure null MX", "null.secure.test", DNS_TYPE_MX, USUAL, "secure null.secure.test: 0/", 0 },
    { "STS-003 secure TXT in two strings", "_mta-sts.secure.test", DNS_TYPE_TXT, USUAL,
      "secure _mta-sts.secure.test: v=STSv1; id=20260101000000Z;", 0 },
    { "TC-TXT-27 TXT too long for UDP comes by TCP", "big.secure.test", DNS_TYPE_TXT, USUAL,
      "secure big.secure.test: 4080 octets", 0 },
    { "secure CNAME", "alias.secure.test", DNS_TYPE_A, USUAL, "secure mx1.secure.test: 192.0.2.25",
      0 },
    { "TC-TXT-25 secure wildcard", "x.wild.secure.test", DNS_TYPE_A, USUAL,
      "secure x.wild.secure.test: 192.0.2.9", 0 },
    { "DANE-003 secure NXDOMAIN", "no.secure.test", DNS_TYPE_A, USUAL,
      "secure no.secure.test:", 3 },
    { "DANE-003 secure NODATA", "mx2.secure.test", DNS_TYPE_AAAA, USUAL,
      "secure mx2.secure.test:", 0 },
    { "TC-TXT-21 dangling CNAME", "dangling.secure.test", DNS_TYPE_A, USUAL,
      "secure nothing.secure.test:", 3 },
    { "TC-TXT-21 CNAME loop", "loop.secure.test", DNS_TYPE_A, USUAL, "failed servfail", 0 },
    { "insecure A", "mx1.plain.test", DNS_TYPE_A, USUAL, "insecure mx1.plain.test: 192.0.2.25", 0 },
    { "insecure MX", "plain.test", DNS_TYPE_MX, USUAL,
      "insecure plain.test: 10/mx1.plain.test 20/mx2.plain.test", 0 },
    { "insecure NXDOMAIN", "no.plain.test", DNS_TYPE_A, USUAL, "insecure no.plain.test:", 3 },
    { "insecure NODATA", "mx2.plain.test", DNS_TYPE_AAAA, USUAL, "insecure mx2.plain.test:", 0 },
    { "DANE-007 a secure CNAME to an insecure name", "mixed.test", DNS_TYPE_A, USUAL,
      "insecure mx1.plain.test: 192.0.2.25", 0 },
    { "DANE-007 a chain of secure, insecure, secure", "there-and-back.secure.test", DNS_TYPE_A,
      USUAL, "insecure mx1.secure.test: 192.0.2.25", 0 },
    { "DANE-016 the first CNAME of that chain alone is secure", "there-and-back.secure.test",
      DNS_TYPE_CNAME, USUAL, "secure there-and-back.secure.test: +", 0 },
    { "DANE-016 so is one to an insecure name", "mixed.test", DNS_TYPE_CNAME, USUAL,
      "secure mixed.test: +", 0 },
    { "DANE-016 an insecure CNAME to a secure name", "back.plain.test", DNS_TYPE_CNAME, USUAL,
      "insecure back.plain.test: +", 0 },
    { "DANE-007 what it leads to is insecure", "back.plain.test", DNS_TYPE_A, USUAL,
      "insecure mx1.secure.test: 192.0.2.25", 0 },
    { "secure TLSA", "_25._tcp.mx1.secure.test", DNS_TYPE_TLSA, USUAL,
      "secure _25._tcp.mx1.secure.test: 311/2", 0 },
    { "TC-DANE-20 insecure TLSA", "_25._tcp.mx1.plain.test", DNS_TYPE_TLSA, USUAL,
      "insecure _25._tcp.mx1.plain.test: 311/2", 0 },
    { "DANE-019 a CNAME at the TLSA name", "_25._tcp.shared.secure.test", DNS_TYPE_TLSA, USUAL,
      "secure _25._tcp.mx1.secure.test: 311/2", 0 },
    { "DANE-019 TC-DANE-31 one that leads to insecure records", "_25._tcp.away.secure.test",
      DNS_TYPE_TLSA, USUAL, "insecure _25._tcp.mx1.plain.test: 311/2", 0 },
    { "DANE-019 one that leads to another signed zone", "_25._tcp.broken.secure.test",
      DNS_TYPE_TLSA, USUAL, "secure _25._tcp.mx1.bogus.test: 311/2", 0 },
    { "TC-DANE-31 TLSA behind a loop", "_25._tcp.loop.secure.test", DNS_TYPE_TLSA, USUAL,
      "failed servfail", 0 },
    { "TC-DANE-15 TLSA of three octets", "_25._tcp.cut.secure.test", DNS_TYPE_TLSA, USUAL,
      "secure _25._tcp.cut.secure.test: 311/0", 0 },
    { "TC-DANE-37 TLSA of more than 4 KiB", "_25._tcp.huge.secure.test", DNS_TYPE_TLSA, USUAL,
      "secure _25._tcp.huge.secure.test: 200/400 200/400 200/400 200/400 200/400 200/400 200/400 "
      "200/400 200/400 200/400 200/400 200/400",
      0 },
    { "65 TLSA records are too many", "_25._tcp.many.secure.test", DNS_TYPE_TLSA, USUAL,
      "failed too large", 0 },
    { "TC-DANE-21 TLSA that is securely denied", "_25._tcp.mx2.secure.test", DNS_TYPE_TLSA, USUAL,
      "secure _25._tcp.mx2.secure.test:", 3 },
    { "TC-DANE-33 TLSA denied without proof", "_25._tcp.mx2.holes.test", DNS_TYPE_TLSA, USUAL,
      "failed bogus: ", 0 },
    { "TC-DANE-33 MX denied without proof", "mx2.holes.test", DNS_TYPE_MX, USUAL,
      "failed bogus: ", 0 },
    { "DANE-001 the root's SOA", ".", DNS_TYPE_SOA, USUAL, "secure : +", 0 },
    { "DANE-001 TC-DANE-34 the root's SOA without trust anchor", ".", DNS_TYPE_SOA, NO_ANCHOR,
      "insecure : +", 0 },
    { "DANE-001 TC-DANE-34 the root's SOA under another anchor", ".", DNS_TYPE_SOA, WRONG_ANCHOR,
      "failed bogus: ", 0 },
    { "DANE-002 a changed record is bogus", "mx1.bogus.test", DNS_TYPE_A, USUAL,
      "failed bogus: ", 0 },
    { "DANE-002 a CNAME to a bogus record is bogus", "alias.bogus.test", DNS_TYPE_A, USUAL,
      "failed bogus: ", 0 },
    { "the rest of that zone is secure", "bogus.test", DNS_TYPE_MX, USUAL,
      "secure bogus.test: 10/mx1.bogus.test 20/mx2.bogus.test", 0 },
    { "TC-TXT-26 a signature that ran out is bogus", "_mta-sts.expired.test", DNS_TYPE_TXT, USUAL,
      "failed bogus: signature expired", 0 },
    { "a name of no zone", "no.example", DNS_TYPE_A, USUAL, "secure no.example:", 3 },
    { "a name too long for DNS",
      "a23456789.a23456789.a23456789.a23456789.a23456789.a23456789.a23456789.a23456789.a23456789."
      "a23456789.a23456789.a23456789.a23456789.a23456789.a23456789.a23456789.a23456789.a23456789."
      "a23456789.a23456789.a23456789.a23456789.a23456789.a23456789.a23456789.secure.test",
      DNS_TYPE_A, USUAL, "failed bad-name", 0 },

    { "through a forwarder: secure", "mx1.secure.test", DNS_TYPE_A, FORWARD,
      "secure mx1.secure.test: 192.0.2.25", 0 },
    { "TC-DANE-35 through a forwarder: bogus", "mx1.bogus.test", DNS_TYPE_A, FORWARD,
      "failed bogus: ", 0 },
    { "through a forwarder: NXDOMAIN", "no.secure.test", DNS_TYPE_A, FORWARD,
      "secure no.secure.test:", 3 },
    { "without trust anchor a signed name is insecure", "mx1.secure.test", DNS_TYPE_A, NO_ANCHOR,
      "insecure mx1.secure.test: 192.0.2.25", 0 },
    { "without trust anchor nothing is bogus", "mx1.bogus.test", DNS_TYPE_A, NO_ANCHOR,
      "insecure mx1.bogus.test: 192.0.2.66", 0 },
    { "with the anchor of another root nothing is answered", "mx1.plain.test", DNS_TYPE_A,
      WRONG_ANCHOR, "failed bogus: ", 0 },
    { "with unbound's local zones .test does not exist", "mx1.secure.test", DNS_TYPE_A, LOCAL_ZONES,
      "insecure mx1.secure.test:", 3 },
};

static struct resolver_config
variant_config(enum variant variant, const char *wrong_anchor)
{
    struct resolver_config config = config_of(fix.server, fix.anchor);

    if (variant == FORWARD) {
        config.stub = "";
        config.forward = fix.server;
    }
    if (variant == NO_ANCHOR)
        config.trust_anchor = "";
    if (variant == WRONG_ANCHOR)
        config.trust_anchor = wrong_anchor;
    config.local_zones = variant == LOCAL_ZONES;
    return config;
}

/* Twice: from the servers and from the cache. */
static void
test_ask(void **state)
{
    const struct ask_case *c = *state;
    struct resolver_config config;
    struct resolver *r;
    char wrong[128];

    skip_without_servers();
    snprintf(wrong, sizeof wrong, "%s/foreign.ds", fix.dir);
    servers_write(fix.dir, "foreign.ds",
                  ". IN DS 1 13 2 "
                  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n");
    config = variant_config(c->variant, wrong);
    r = new_resolver(&config);
    for (unsigned i = 0; i < 2; i++) {
        struct outcome outcome = { 0 };

        ask(r, c->qname, c->qtype, &outcome);
        loop_run(fix.loop, GIVE_UP_S);
        assert_int_equal(outcome.calls, 1);
        if (strcmp(c->text, "failed bogus: ") == 0)
            outcome.text[strlen(c->text)] = '\0'; /* the rest is unbound's choice of words */
        assert_string_equal(outcome.text, c->text);
        assert_int_equal(outcome.rcode, c->rcode);
    }
    resolver_free(r);
}

/* RPT-041: no addresses, no names, printable. */
static void
test_bogus_reason_is_short(void **state)
{
    struct resolver_config config;
    struct outcome outcome = { 0 };
    struct resolver *r;

    (void)state;
    skip_without_servers();
    config = config_of(fix.server, fix.anchor);
    r = new_resolver(&config);
    ask(r, "mx1.bogus.test", DNS_TYPE_A, &outcome);
    loop_run(fix.loop, GIVE_UP_S);
    assert_null(strstr(outcome.text, "127.0.0.1"));
    assert_null(strstr(outcome.text, ".test"));
    resolver_free(r);
}

/* A socket that takes questions and never answers: a failure, and not after minutes. */
static void
test_dead_server(void **state)
{
    struct resolver_config config;
    struct outcome outcome = { 0 };
    struct resolver *r;

    (void)state;
    skip_without_servers();
    config = config_of(fix.silent, fix.anchor);
    r = new_resolver(&config);
    ask(r, "mx1.secure.test", DNS_TYPE_A, &outcome);
    loop_run(fix.loop, 12.);
    assert_int_equal(outcome.calls, 1);
    assert_string_equal(outcome.text, "failed servfail");
    resolver_free(r);
}

static void
test_refused_port(void **state)
{
    struct resolver_config config;
    struct outcome outcome = { 0 };
    struct resolver *r;
    char closed[32];

    (void)state;
    skip_without_servers();
    snprintf(closed, sizeof closed, "127.0.0.1@%u", servers_free_port());
    config = config_of(closed, fix.anchor);
    r = new_resolver(&config);
    ask(r, "mx1.secure.test", DNS_TYPE_A, &outcome);
    loop_run(fix.loop, 12.);
    assert_int_equal(outcome.calls, 1);
    assert_string_equal(outcome.text, "failed servfail");
    resolver_free(r);
}

/* Cancelled before the servers answered; the next question is not disturbed. */
static void
test_cancel(void **state)
{
    struct outcome cancelled = { 0 }, other = { 0 };
    struct resolver_query *query;
    struct resolver_config config;
    struct resolver *r;

    (void)state;
    skip_without_servers();
    config = config_of(fix.server, fix.anchor);
    r = new_resolver(&config);
    assert_int_equal(resolver_ask(r, "mx1.secure.test", DNS_TYPE_A, on_done, &cancelled, &query),
                     RES_OK);
    resolver_cancel(query);
    ask(r, "mx1.plain.test", DNS_TYPE_A, &other);
    loop_run(fix.loop, GIVE_UP_S);
    assert_int_equal(other.calls, 1);
    assert_int_equal(cancelled.calls, 0);
    resolver_free(r);
}

/* The answer is in the cache and waits to be delivered when it is cancelled. */
static void
test_cancel_ready(void **state)
{
    struct outcome first = { 0 }, cancelled = { 0 }, other = { 0 };
    struct resolver_query *query;
    struct resolver_config config;
    struct resolver *r;

    (void)state;
    skip_without_servers();
    config = config_of(fix.server, fix.anchor);
    r = new_resolver(&config);
    ask(r, "mx1.secure.test", DNS_TYPE_A, &first);
    loop_run(fix.loop, GIVE_UP_S);
    assert_int_equal(resolver_ask(r, "mx1.secure.test", DNS_TYPE_A, on_done, &cancelled, &query),
                     RES_OK);
    resolver_cancel(query);
    ask(r, "mx1.secure.test", DNS_TYPE_A, &other);
    loop_run(fix.loop, GIVE_UP_S);
    assert_int_equal(other.calls, 1);
    assert_int_equal(cancelled.calls, 0);
    resolver_free(r);
}

/* One question for the same name twice: two answers. */
static void
test_same_question(void **state)
{
    struct outcome outcomes[8] = { 0 };
    struct resolver_config config;
    struct resolver *r;

    (void)state;
    skip_without_servers();
    config = config_of(fix.server, fix.anchor);
    r = new_resolver(&config);
    for (size_t i = 0; i < ROWS(outcomes); i++)
        ask(r, "mx1.secure.test", DNS_TYPE_A, &outcomes[i]);
    for (size_t i = 0; i < ROWS(outcomes); i++)
        loop_run(fix.loop, GIVE_UP_S); /* each callback ends the loop once */
    for (size_t i = 0; i < ROWS(outcomes); i++) {
        assert_int_equal(outcomes[i].calls, 1);
        assert_string_equal(outcomes[i].text, "secure mx1.secure.test: 192.0.2.25");
    }
    resolver_free(r);
}

static void
test_free_with_open_queries(void **state)
{
    struct outcome open = { 0 }, ready = { 0 };
    struct resolver_config config;
    struct resolver *r;

    (void)state;
    skip_without_servers();
    config = config_of(fix.server, fix.anchor);
    r = new_resolver(&config);
    ask(r, "mx1.secure.test", DNS_TYPE_A, &open);
    ask(r, "localhost", DNS_TYPE_A, &ready); /* libunbound answers it at once */
    ev_run(fix.loop, EVRUN_NOWAIT);
    ask(r, "mx2.secure.test", DNS_TYPE_A, &open);
    ready.calls = 0;
    ask(r, "localhost", DNS_TYPE_A, &ready);
    ready.calls = 0;
    resolver_free(r);
    loop_run(fix.loop, 0.05);
    assert_int_equal(open.calls, 0);
    assert_int_equal(ready.calls, 0);
}

/* done frees the resolver while other questions are open and another answer is ready. */
static void
test_free_in_done(void **state)
{
    struct outcome first = { 0 }, others[3] = { 0 };
    struct resolver_config config;

    (void)state;
    skip_without_servers();
    config = config_of(fix.server, fix.anchor);
    first.free_in_done = new_resolver(&config);
    ask(first.free_in_done, "localhost", DNS_TYPE_A, &first);
    ask(first.free_in_done, "localhost", DNS_TYPE_A, &others[0]);
    ask(first.free_in_done, "mx1.secure.test", DNS_TYPE_A, &others[1]);
    ask(first.free_in_done, "mx1.bogus.test", DNS_TYPE_A, &others[2]);
    loop_run(fix.loop, GIVE_UP_S);
    loop_run(fix.loop, 0.05);
    assert_int_equal(first.calls, 1);
    for (size_t i = 0; i < ROWS(others); i++)
        assert_int_equal(others[i].calls, 0);
}

static void
test_ask_in_done(void **state)
{
    struct outcome second = { 0 }, first = { .ask_again = true, .next = &second };
    struct resolver_config config;

    (void)state;
    skip_without_servers();
    config = config_of(fix.server, fix.anchor);
    first.resolver = new_resolver(&config);
    ask(first.resolver, "plain.test", DNS_TYPE_MX, &first);
    loop_run(fix.loop, GIVE_UP_S);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 1);
    assert_string_equal(second.text, "secure mx1.secure.test: 192.0.2.25");
    resolver_free(first.resolver);
}

/* The bound on open questions holds, and all of them can be given up at once. */
static void
test_too_many(void **state)
{
    struct outcome outcome = { 0 };
    struct resolver_query *query;
    struct resolver_config config;
    struct resolver *r;
    char name[64];

    (void)state;
    skip_without_servers();
    config = config_of(fix.silent, fix.anchor);
    r = new_resolver(&config);
    for (unsigned i = 0; i < QUERIES_MAX; i++) {
        snprintf(name, sizeof name, "n%u.secure.test", i);
        assert_int_equal(resolver_ask(r, name, DNS_TYPE_A, on_done, &outcome, &query), RES_OK);
    }
    assert_int_equal(resolver_ask(r, "a.secure.test", DNS_TYPE_A, on_done, &outcome, &query),
                     RES_LIMIT);
    assert_null(query);
    resolver_free(r);
    loop_run(fix.loop, 0.05);
    assert_int_equal(outcome.calls, 0);
}

static void
test_cache_bounds(void **state)
{
    struct resolver_config config;
    struct resolver *r;

    (void)state;
    skip_without_servers();
    for (unsigned i = 0; i < 3; i++) {
        struct outcome lowered = { 0 }, raised = { 0 };

        config = config_of(fix.server, fix.anchor);
        config.cache_min_s = i == 2 ? 30 : 0;
        config.cache_max_s = i == 1 ? 100 : DAY_S;
        r = new_resolver(&config);
        ask(r, "mx1.plain.test", DNS_TYPE_A, &lowered);
        loop_run(fix.loop, GIVE_UP_S);
        ask(r, "mx2.plain.test", DNS_TYPE_A, &raised);
        loop_run(fix.loop, GIVE_UP_S);
        assert_int_equal(lowered.ttl_s, i == 1 ? 100 : 300);
        assert_int_equal(raised.ttl_s, i == 2 ? 30 : 1);
        resolver_free(r);
    }
}

/* libunbound's bounds of TTLs are the process's: a resolver that keeps nothing next to one that
 * does must leave that one's answers alone. */
static void
test_uncached_beside_cached(void **state)
{
    struct outcome answers[4] = { 0 };
    struct resolver_config config;
    struct resolver *cached, *uncached;

    (void)state;
    skip_without_servers();
    config = config_of(fix.server, fix.anchor);
    cached = new_resolver(&config);
    config.uncached = true;
    uncached = new_resolver(&config);
    for (unsigned i = 0; i < ROWS(answers); i++) {
        if (i == 2)
            loop_run(fix.loop, 1.2);
        ask(i % 2 ? uncached : cached, "mx1.secure.test", DNS_TYPE_A, &answers[i]);
        loop_run(fix.loop, GIVE_UP_S);
        assert_string_equal(answers[i].text, "secure mx1.secure.test: 192.0.2.25");
    }
    assert_int_equal(answers[0].ttl_s, 300);
    assert_int_equal(answers[1].ttl_s, 300);
    assert_in_range(answers[2].ttl_s, 1, 299);
    assert_int_equal(answers[3].ttl_s, 300);
    resolver_free(cached);
    resolver_free(uncached);
}

/* STS-103: the same question again is asked anew within the same second, too. A cached answer would
 * show by its TTL, which a second begun between the two has lowered. */
static void
test_uncached_again(void **state)
{
    struct outcome answers[2] = { 0 };
    struct resolver_config config;
    struct resolver *r;
    struct timespec now;

    (void)state;
    skip_without_servers();
    config = config_of(fix.server, fix.anchor);
    config.uncached = true;
    r = new_resolver(&config);
    clock_gettime(CLOCK_REALTIME, &now);
    loop_run(fix.loop, (double)(1600000000 - now.tv_nsec) / 1e9); /* to the middle of a second */
    for (unsigned i = 0; i < ROWS(answers); i++) {
        ask(r, "mx1.secure.test", DNS_TYPE_A, &answers[i]);
        loop_run(fix.loop, GIVE_UP_S);
        loop_run(fix.loop, 0.6);
    }
    assert_int_equal(answers[0].ttl_s, 300);
    assert_int_equal(answers[1].ttl_s, 300);
    resolver_free(r);
}

/* A question stays with the memory it was asked of, however many are begun meanwhile. */
static void
test_uncached_while_asking(void **state)
{
    struct outcome slow[3] = { 0 };
    struct resolver_query *query;
    struct resolver_config config;
    struct resolver *r;

    (void)state;
    skip_without_servers();
    config = config_of(fix.silent, fix.anchor);
    config.uncached = true;
    r = new_resolver(&config);
    for (unsigned i = 0; i < ROWS(slow); i++) {
        assert_int_equal(resolver_ask(r, "a.secure.test", DNS_TYPE_A, on_done, &slow[i], &query),
                         RES_OK);
        loop_run(fix.loop, 1.1);
    }
    resolver_cancel(query);
    for (unsigned i = 0; i < ROWS(slow) && slow[0].calls + slow[1].calls < 2; i++)
        loop_run(fix.loop, GIVE_UP_S);
    assert_int_equal(slow[0].calls, 1);
    assert_int_equal(slow[1].calls, 1);
    assert_int_equal(slow[2].calls, 0);
    resolver_free(r);
}

static unsigned
count_entries(const char *folder)
{
    DIR *dir = opendir(folder);
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* Many who ask anew for one name while nobody answers, as when a provider's MX hosts are refused:
 * each memory is a megabyte and some sockets, and there is a bound on them. */
static void
test_uncached_is_bounded(void **state)
{
    struct outcome outcome = { 0 };
    struct resolver_query *query;
    struct resolver_config config;
    struct resolver *r;
    unsigned fds = 0;

    (void)state;
    skip_without_servers();
    config = config_of(fix.silent, fix.anchor);
    config.uncached = true;
    r = new_resolver(&config);
    for (unsigned i = 0; i < 5 * RESOLVER_MEMORIES_MAX; i++) {
        assert_int_equal(resolver_ask(r, "a.secure.test", DNS_TYPE_A, on_done, &outcome, &query),
                         RES_OK);
        ev_run(fix.loop, EVRUN_NOWAIT); /* it is sent */
        if (i == RESOLVER_MEMORIES_MAX)
            fds = count_entries("/proc/self/fd");
    }
    assert_in_range(count_entries("/proc/self/fd"), 1, fds + RESOLVER_MEMORIES_MAX);
    resolver_free(r);
    assert_int_equal(outcome.calls, 0);
}

/* No thread and no child: libunbound runs in this loop. */
static void
test_one_thread(void **state)
{
    struct resolver_config config;
    struct outcome outcome = { 0 };
    struct resolver *r;

    (void)state;
    skip_without_servers();
    config = config_of(fix.server, fix.anchor);
    r = new_resolver(&config);
    ask(r, "mx1.secure.test", DNS_TYPE_A, &outcome);
    ev_run(fix.loop, EVRUN_NOWAIT);
    assert_int_equal(count_entries("/proc/self/task"), 3); /* one task, "." and ".." */
    resolver_free(r);
}

/* One allocation of ours after the other fails: an error or an answer, never both nor a crash. */
static void
test_without_memory(void **state)
{
    struct resolver_config config;
    bool happened = true;

    (void)state;
    skip_without_servers();
    config = config_of(fix.server, fix.anchor);
    for (unsigned n = 0; happened; n++) {
        struct outcome outcome = { 0 };
        struct resolver_query *query;
        struct resolver *r;
        const char *error;
        enum result res;

        alloc_fail_after(n);
        res = resolver_new(fix.loop, &config, &r, &error);
        assert_int_equal(r != NULL, res == RES_OK);
        if (r &&
            resolver_ask(r, "mx1.secure.test", DNS_TYPE_A, on_done, &outcome, &query) == RES_OK) {
            loop_run(fix.loop, GIVE_UP_S);
            assert_int_equal(outcome.calls, 1);
        }
        happened = alloc_fail_happened();
        if (!happened)
            assert_string_equal(outcome.text, "secure mx1.secure.test: 192.0.2.25");
        resolver_free(r);
    }
}

static struct config_case {
    const char *name, *stub, *forward, *root_hints;
    const char *anchor; /* a file in the test's folder, or a path */
    enum result want;
    const char *error; /* a part of the text */
} configs[] = {
    { "a stub with an address alone", "127.0.0.1", "", "", "root.ds", RES_OK, "" },
    { "an IPv6 stub", "::1@5353", "", "", "root.ds", RES_OK, "" },
    { "neither stub nor forwarder", "", "", "", "root.ds", RES_OK, "" },
    { "stub and forwarder", "127.0.0.1", "127.0.0.1", "", "", RES_SYNTAX, "exclude" },
    { "a stub that is no address", "localhost", "", "", "", RES_SYNTAX, "stub" },
    { "a forwarder that is no address", "", "127.0.0", "", "", RES_SYNTAX, "forward" },
    { "a port that is no number", "", "127.0.0.1@x", "", "", RES_SYNTAX, "forward" },
    { "no such root hints", "", "", "/nonexistent", "", RES_SYNTAX, "root hints" },
    { "no such anchor file", "", "", "", "/nonexistent", RES_SYNTAX, "trust anchor" },
    { "an anchor file without an anchor", "", "", "", "empty.ds", RES_SYNTAX, "trust anchor" },
    { "an anchor that cannot be read", "", "", "", "bad.ds", RES_SYNTAX, "trust anchor" },
};

static void
test_config(void **state)
{
    const struct config_case *c = *state;
    struct resolver_config config = { .stub = c->stub,
                                      .forward = c->forward,
                                      .root_hints = c->root_hints };
    struct resolver *r;
    const char *error;
    char anchor[128] = "";

    skip_without_servers();
    if (c->anchor[0])
        snprintf(anchor, sizeof anchor, "%s%s%s", c->anchor[0] == '/' ? "" : fix.dir,
                 c->anchor[0] == '/' ? "" : "/", c->anchor);
    config.trust_anchor = anchor;
    assert_int_equal(resolver_new(fix.loop, &config, &r, &error), c->want);
    assert_int_equal(r != NULL, c->want == RES_OK);
    assert_non_null(strstr(error, c->error));
    resolver_free(r);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_bogus_reason_is_short),
        cmocka_unit_test(test_dead_server),
        cmocka_unit_test(test_refused_port),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_ready),
        cmocka_unit_test(test_same_question),
        cmocka_unit_test(test_free_with_open_queries),
        cmocka_unit_test(test_free_in_done),
        cmocka_unit_test(test_ask_in_done),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_cache_bounds),
        cmocka_unit_test(test_uncached_beside_cached),
        cmocka_unit_test(test_uncached_again),
        cmocka_unit_test(test_uncached_while_asking),
        cmocka_unit_test(test_uncached_is_bounded),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_one_thread),
    };
    static struct CMUnitTest tests[ROWS(asks) + ROWS(configs) + ROWS(others)];

    for (size_t i = 0; i < ROWS(asks); i++)
        tests[i] = (struct CMUnitTest){ .name = asks[i].name,
                                        .test_func = test_ask,
                                        .initial_state = &asks[i] };
    for (size_t i = 0; i < ROWS(configs); i++)
        tests[ROWS(asks) + i] = (struct CMUnitTest){ .name = configs[i].name,
                                                     .test_func = test_config,
                                                     .initial_state = &configs[i] };
    memcpy(tests + ROWS(asks) + ROWS(configs), others, sizeof others);
    return cmocka_run_group_tests_name("resolver", tests, set_up, tear_down);
}
