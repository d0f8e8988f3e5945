/* tests/tls/test_tls_resume.c: which sessions are resumed, and what is said of the peer then
 * (TLS-026, TC-TLS-19, FAULTS C17). */
#include "tls/tls_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include "base/requirement.h"
#include "tests/support/tls_pair.h"
#include "tls/ticket_cache.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define SHORT_LIVED_S 600 /* of the leaf that expires while its tickets are good */
#define KEY 'k'           /* of the servers' tickets */

static struct tls_world world;
static struct cert short_lived;

static int
make_world(void **state)
{
    static const struct cert_spec spec = { .sans = TLS_PAIR_HOST,
                                           .from_s = -CERTS_DAY,
                                           .until_s = SHORT_LIVED_S };

    (void)state;
    return tls_world_make(&world) && cert_make(&world.factory, &spec, &world.root, &short_lived)
               ? 0
               : -1;
}

static int
free_world(void **state)
{
    (void)state;
    cert_clear(&short_lived);
    tls_world_clear(&world);
    return 0;
}

/* One connection: to whom, when, and what is thought of it. */
struct visit {
    const char *addr, *sni;
    uint16_t port, floor;
    int at_s; /* relative to CERTS_NOW */
    bool no_offer;
    enum { KEEP, IGNORE, DROP } then;
    const struct cert *leaf;
    struct tls_peer_spec server;
};

/* What is left out of a visit is the same in all. */
static struct visit
fill_in(const struct visit *v)
{
    struct visit full = *v;

    full.addr = v->addr ? v->addr : "192.0.2.1";
    full.sni = v->sni ? v->sni : TLS_PAIR_HOST;
    full.port = v->port ? v->port : 25;
    full.floor = v->floor ? v->floor : TLS_VERSION_1_2;
    full.server.chain[0] = v->leaf ? v->leaf : &world.leaf;
    full.server.ticket_key = v->server.ticket_key ? v->server.ticket_key : KEY;
    return full;
}

/* Tickets of TLS 1.3 come when the server likes: this one sends them before its first words. */
static void
read_tickets(struct tls_pair *p)
{
    tls_pair_peer_says(p, "250 hello\r\n");
    tls_pair_expect_read(p, "250 hello\r\n");
}

static void
make_visit(struct tls_pair *p, const struct visit *visit)
{
    struct visit v = fill_in(visit);
    struct ip_addr addr;

    assert_int_equal(ip_addr_parse(v.addr, &addr), RES_OK);
    tls_pair_open_raw(p, &world, v.sni, v.floor);
    tls_peer_open(&p->peer, &v.server, p->fds[1]);
    tls_client_use_tickets(p->client, &addr, v.port, !v.no_offer, CERTS_NOW + v.at_s);
    assert_int_equal(tls_pair_shake_hands(p), RES_OK);
    assert_int_equal(tls_client_observe(p->client, CERTS_NOW + v.at_s, p->obs), RES_OK);
    read_tickets(p);
    if (v.then == KEEP)
        tls_client_keep_tickets(p->client);
    else if (v.then == DROP)
        tls_client_drop_tickets(p->client);
}

static bool
visit(const struct visit *v)
{
    struct tls_pair p;
    bool resumed;

    make_visit(&p, v);
    resumed = p.obs->resumed;
    tls_pair_close(&p);
    return resumed;
}

/* Tickets of one row are nothing to the next. */
static void
forget_all(void)
{
    const char *error;

    tls_context_free(world.ctx);
    assert_int_equal(tls_context_new(world.ca_file, &world.ctx, &error), RES_OK);
}

#define V12 .server = { .max = TLS_VERSION_1_2 }

static const struct resume_case {
    const char *name;
    struct visit first, second;
    bool resumed;
} cases[] = {
    { "TLS-026 judged good, TLS 1.3: resumed", { .then = KEEP }, { 0 }, true },
    { "TLS-026 judged good, TLS 1.2: resumed", { .then = KEEP, V12 }, { V12 }, true },
    { "almost an hour later", { .then = KEEP }, { .at_s = TICKET_LIFE_S - 1 }, true },
    { "TLS-026 another certificate at the server by now",
      { .then = KEEP },
      { .leaf = &world.rsa_leaf },
      true },
    { "HelloRetryRequest on the way",
      { .then = KEEP, .server = { .groups = "P-384" } },
      { .server = { .groups = "P-256" } },
      true },

    { "TLS-026 not judged, TLS 1.3: not resumed", { .then = IGNORE }, { 0 }, false },
    { "TLS-026 not judged, TLS 1.2: not resumed", { .then = IGNORE, V12 }, { V12 }, false },
    { "TLS-026 a refusal rests on it: dropped", { .then = DROP }, { 0 }, false },
    { "TLS-026 a full handshake is wanted", { .then = KEEP }, { .no_offer = true }, false },
    { "FAULTS C17 another address", { .then = KEEP }, { .addr = "192.0.2.2" }, false },
    { "FAULTS C17 an IPv6 address", { .then = KEEP }, { .addr = "2001:db8::1" }, false },
    { "FAULTS C17 another port", { .then = KEEP }, { .port = 587 }, false },
    { "FAULTS C17 another SNI", { .then = KEEP }, { .sni = "mx2.example.com" }, false },
    { "FAULTS C17 no SNI", { .then = KEEP }, { .sni = "" }, false },
    { "TC-TLS-19 a higher floor", { .then = KEEP }, { .floor = TLS_VERSION_1_3 }, false },
    { "TC-TLS-19 a lower floor", { .then = KEEP }, { .floor = TLS_VERSION_1_0 }, false },
    { "an hour later", { .then = KEEP }, { .at_s = TICKET_LIFE_S }, false },
    { "the clock was set back", { .then = KEEP }, { .at_s = -1 }, false },
    { "the server knows its ticket no more",
      { .then = KEEP },
      { .server = { .ticket_key = 'x' } },
      false },
    { "the server speaks TLS 1.2 by now", { .then = KEEP }, { V12 }, false },
};

static void
test_resume(void **state)
{
    const struct resume_case *c = *state;
    uint8_t leaf[32];
    struct tls_pair p;

    forget_all();
    make_visit(&p, &c->first);
    assert_false(p.obs->resumed);
    assert_false(p.obs->ticket_offered);
    memcpy(leaf, p.obs->leaf_sha256, sizeof leaf);
    tls_pair_close(&p);

    make_visit(&p, &c->second);
    assert_int_equal(p.obs->resumed, c->resumed);
    assert_int_equal(SSL_session_reused(p.peer.ssl), c->resumed);
    assert_int_equal(p.obs->chain, CHAIN_GOOD);
    assert_int_equal(p.obs->sans.count, 1);
    assert_int_equal(p.obs->certs->count, 1);
    if (c->resumed) { /* judged on what was presented then, and it still carries mail */
        assert_true(p.obs->ticket_offered);
        assert_memory_equal(p.obs->leaf_sha256, leaf, sizeof leaf);
        tls_pair_client_says(&p, "EHLO c\r\n");
        tls_pair_expect_peer_reads(&p, "EHLO c\r\n");
        tls_pair_peer_says(&p, "250 ok\r\n");
        tls_pair_expect_read(&p, "250 ok\r\n");
    }
    tls_pair_close(&p);
}

/* TC-GW-24: what the stored chain proves is asked at the time of the second connection. */
static void
test_expired_since(void **state)
{
    const struct visit later = { .at_s = SHORT_LIVED_S + 1, .then = DROP };
    struct tls_pair p;

    (void)state;
    forget_all();
    assert_false(visit(&(struct visit){ .leaf = &short_lived, .then = KEEP }));
    make_visit(&p, &later);
    assert_true(p.obs->resumed);
    assert_int_equal(p.obs->chain, CHAIN_EXPIRED);
    assert_string_equal(p.obs->chain_error, "X509_V_ERR_CERT_HAS_EXPIRED");
    tls_pair_close(&p);
    make_visit(&p, &later); /* and then in full, on what the server has now */
    assert_false(p.obs->resumed);
    assert_int_equal(p.obs->chain, CHAIN_GOOD);
    tls_pair_close(&p);
}

/* RFC 8446 C.4: the server gave two. */
static void
test_single_use(void **state)
{
    (void)state;
    forget_all();
    assert_false(visit(&(struct visit){ .then = KEEP }));
    assert_true(visit(&(struct visit){ .then = IGNORE }));
    assert_true(visit(&(struct visit){ .then = IGNORE }));
    assert_false(visit(&(struct visit){ .then = IGNORE }));
}

static void
test_many_uses(void **state)
{
    (void)state;
    forget_all();
    assert_false(visit(&(struct visit){ .then = KEEP, V12 }));
    for (int i = 0; i < 5; i++)
        assert_true(visit(&(struct visit){ .then = IGNORE, V12 }));
}

/* Resumed sessions bring new tickets, but no younger chain. */
static void
test_life_is_counted_from_the_full_handshake(void **state)
{
    (void)state;
    forget_all();
    assert_false(visit(&(struct visit){ .then = KEEP }));
    assert_true(visit(&(struct visit){ .then = KEEP, .at_s = TICKET_LIFE_S / 2 }));
    assert_true(visit(&(struct visit){ .then = KEEP, .at_s = TICKET_LIFE_S - 1 }));
    assert_false(visit(&(struct visit){ .then = KEEP, .at_s = TICKET_LIFE_S }));
    assert_true(visit(&(struct visit){ .then = KEEP, .at_s = 2 * TICKET_LIFE_S - 1 }));
}

/* Tickets that come after the verdict count, too. */
static void
test_kept_before_they_came(void **state)
{
    struct visit v = fill_in(&(struct visit){ .then = IGNORE });
    struct ip_addr addr;
    struct tls_pair p;

    (void)state;
    forget_all();
    assert_int_equal(ip_addr_parse(v.addr, &addr), RES_OK);
    tls_pair_open_raw(&p, &world, v.sni, v.floor);
    tls_peer_open(&p.peer, &v.server, p.fds[1]);
    tls_client_use_tickets(p.client, &addr, v.port, true, CERTS_NOW);
    assert_int_equal(tls_pair_shake_hands(&p), RES_OK);
    tls_client_keep_tickets(p.client); /* nothing was observed, so nothing judged: no effect */
    read_tickets(&p);
    tls_pair_close(&p);
    assert_false(visit(&(struct visit){ .then = IGNORE }));

    tls_pair_open_raw(&p, &world, v.sni, v.floor);
    tls_peer_open(&p.peer, &v.server, p.fds[1]);
    tls_client_use_tickets(p.client, &addr, v.port, true, CERTS_NOW);
    assert_int_equal(tls_pair_shake_hands(&p), RES_OK);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    tls_client_keep_tickets(p.client);
    read_tickets(&p);
    tls_pair_close(&p);
    assert_true(visit(&(struct visit){ .then = IGNORE }));
}

/* A handshake that fails after a ticket was offered may fail because of it: the next one is full.
 */
static void
test_failure_drops_tickets(void **state)
{
    struct visit v = fill_in(&(struct visit){ .then = IGNORE });
    struct ip_addr addr;
    struct tls_pair p;

    (void)state;
    forget_all();
    assert_false(visit(&(struct visit){ .then = KEEP }));
    assert_int_equal(ip_addr_parse(v.addr, &addr), RES_OK);
    tls_pair_open_raw(&p, &world, v.sni, v.floor);
    tls_client_use_tickets(p.client, &addr, v.port, true, CERTS_NOW);
    assert_int_equal(tls_client_handshake(p.client), RES_AGAIN);
    tls_pair_close_peer(&p);
    assert_int_equal(tls_client_handshake(p.client), RES_TEMPFAIL);
    assert_int_equal(tls_client_observe(p.client, CERTS_NOW, p.obs), RES_OK);
    assert_true(p.obs->ticket_offered);
    assert_false(p.obs->resumed);
    tls_pair_close(&p);
    assert_false(visit(&(struct visit){ .then = IGNORE })); /* though a second one was there */
}

/* ---- the cache by itself ---- */

static SSL_CTX *library;

static struct ticket
make_ticket(uint16_t version, size_t len, size_t chain_len)
{
    static const uint8_t bytes[TICKET_BYTES_MAX + 1];
    static const char der[TICKET_CHAIN_BYTES_MAX + 1];
    const struct span cert = span_make(der, chain_len);
    struct ticket t = { .session = SSL_SESSION_new(library), .proven_s = CERTS_NOW };

    assert_non_null(t.session);
    assert_true(SSL_SESSION_set_protocol_version(t.session, version));
    assert_true(SSL_SESSION_set_ticket(t.session, bytes, len));
    assert_int_equal(peer_chain_new(&cert, 1, &t.certs), RES_OK);
    return t;
}

static struct ticket_key
key_of(unsigned number)
{
    struct ticket_key key = { { 0 } };

    memcpy(key.sha256, &number, sizeof number);
    return key;
}

static bool
is_there(struct ticket_cache *cache, unsigned number)
{
    struct ticket_key key = key_of(number);
    struct ticket t;
    bool found = ticket_cache_take(cache, &key, CERTS_NOW, &t);

    assert_int_equal(t.session != NULL, found);
    ticket_clear(&t);
    return found;
}

static void
put(struct ticket_cache *cache, unsigned number, struct ticket ticket)
{
    struct ticket_key key = key_of(number);

    ticket_cache_put(cache, &key, ticket);
}

static void
test_bounds(void **state)
{
    struct ticket_cache *cache = ticket_cache_new();
    unsigned count = 0;

    (void)state;
    put(cache, 0, make_ticket(TLS_VERSION_1_2, TICKET_BYTES_MAX + 1, 8));
    assert_false(is_there(cache, 0));
    put(cache, 0, make_ticket(TLS_VERSION_1_2, 8, TICKET_CHAIN_BYTES_MAX + 1));
    assert_false(is_there(cache, 0));
    put(cache, 0, make_ticket(TLS_VERSION_1_2, TICKET_BYTES_MAX, TICKET_CHAIN_BYTES_MAX));
    assert_true(is_there(cache, 0));

    for (unsigned i = 1; i < TICKET_CACHE_PEERS; i++)
        put(cache, i, make_ticket(TLS_VERSION_1_2, 8, 8));
    put(cache, 0, make_ticket(TLS_VERSION_1_2, 8, 8)); /* the one used last, now */
    put(cache, TICKET_CACHE_PEERS, make_ticket(TLS_VERSION_1_2, 8, 8));
    assert_true(is_there(cache, 0));
    assert_false(is_there(cache, 1));
    assert_true(is_there(cache, 2));

    for (unsigned i = 0; i < 3 * TICKETS_PER_PEER; i++)
        put(cache, 2000, make_ticket(TLS_VERSION_1_3, 8, 8));
    while (is_there(cache, 2000))
        count++;
    assert_int_equal(count, TICKETS_PER_PEER);
    ticket_cache_free(cache);
}

/* As many as busy peers bring: those of the one that was met longest ago make room. */
static void
test_bound_of_all(void **state)
{
    struct ticket_cache *cache = ticket_cache_new();
    const unsigned peers = TICKET_CACHE_TICKETS / TICKETS_PER_PEER;

    (void)state;
    for (unsigned i = 0; i < peers; i++)
        for (unsigned k = 0; k < TICKETS_PER_PEER; k++)
            put(cache, i, make_ticket(TLS_VERSION_1_3, 8, 8));
    put(cache, 0, make_ticket(TLS_VERSION_1_3, 8, 8)); /* in place of its own oldest */
    assert_true(is_there(cache, 1));
    put(cache, peers, make_ticket(TLS_VERSION_1_3, 8, 8)); /* which that one has made room for */
    assert_true(is_there(cache, 1));
    put(cache, peers, make_ticket(TLS_VERSION_1_3, 8, 8));
    put(cache, peers, make_ticket(TLS_VERSION_1_3, 8, 8));
    assert_false(is_there(cache, 1));
    assert_true(is_there(cache, 2));
    assert_true(is_there(cache, 0));
    ticket_cache_free(cache);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_expired_since),
        cmocka_unit_test(test_single_use),
        cmocka_unit_test(test_many_uses),
        cmocka_unit_test(test_life_is_counted_from_the_full_handshake),
        cmocka_unit_test(test_kept_before_they_came),
        cmocka_unit_test(test_failure_drops_tickets),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_bound_of_all),
    };
    struct CMUnitTest tests[ROWS(cases) + ROWS(others)] = { 0 };
    int failed;

    library = SSL_CTX_new(TLS_with_buffers_method());
    for (size_t i = 0; i < ROWS(cases); i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = test_resume,
                                        .initial_state = (void *)&cases[i] };
    memcpy(tests + ROWS(cases), others, sizeof others);
    failed = cmocka_run_group_tests_name("tls_resume", tests, make_world, free_world);
    SSL_CTX_free(library);
    return failed;
}
