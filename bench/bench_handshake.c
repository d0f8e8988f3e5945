/* bench/bench_handshake.c: what a handshake with a mail server costs its client: the library alone
 * with its own verification, this program's tls/ in full, with a chain that was proven before, and
 * resumed; and what an idle session holds. All four in turn, in one run, the client's CPU time
 * only: the server's is spent on another machine. */
#include "bench/bench.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/requirement.h"
#include "proxy/session.h"
#include "tests/support/tls_peer.h"
#include "tls/tls_client.h"

#define ROUNDS 400u
#define WARM_UP 20u
#define SESSIONS 200u
#define HOST "mx.example.com"
#define STEPS_MAX 64
#define KEY 'b' /* of the server's tickets */

enum way { BARE, FULL, WARM, RESUMED, WAYS };

static struct world {
    struct cert_factory factory;
    struct cert root, inter, leaf;
    char ca_file[32];
    SSL_CTX *bare;
    struct tls_context *ctx; /* of those that remember */
    struct ip_addr addr;
} world;

static void
must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_handshake: %s failed\n", what);
    exit(2);
}

static struct tls_context *
new_context(void)
{
    struct tls_context *ctx;
    const char *error;

    must(tls_context_new(world.ca_file, &ctx, &error) == RES_OK, "context");
    return ctx;
}

/* The suites and groups of tls/ do not differ in what a TLS 1.3 server picks of them. */
static SSL_CTX *
new_bare(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());

    must(ctx && X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), world.root.x509), "bare context");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(ctx), CERTS_NOW);
    return ctx;
}

static void
make_world(void)
{
    static const struct cert_spec root = { .cn = "Root", .ca = true };
    static const struct cert_spec inter = { .cn = "Inter", .ca = true };
    static const struct cert_spec leaf = { .cn = HOST, .sans = HOST };
    const struct cert *trusted = &world.root;
    int fd;

    must(cert_make(&world.factory, &root, NULL, &world.root) &&
             cert_make(&world.factory, &inter, &world.root, &world.inter) &&
             cert_make(&world.factory, &leaf, &world.inter, &world.leaf),
         "certificates");
    snprintf(world.ca_file, sizeof world.ca_file, "/tmp/stsgate-ca-XXXXXX");
    fd = mkstemp(world.ca_file);
    must(fd >= 0, "temporary file");
    close(fd);
    certs_write(world.ca_file, &trusted, 1, false);
    must(ip_addr_parse("192.0.2.1", &world.addr) == RES_OK, "address");
    world.bare = new_bare();
    world.ctx = new_context();
}

/* ---- one connection ---- */

struct link {
    int fds[2];
    struct tls_peer peer;
    struct tls_client *client; /* NULL with BARE */
    SSL *ssl;                  /* with BARE */
    struct observation *obs;
    int64_t spent_ns; /* by the client */
    size_t held;      /* heap it has taken, so far */
};

static int64_t
cpu_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
open_link(struct link *l)
{
    struct tls_peer_spec spec = { .chain = { &world.leaf, &world.inter },
                                  .min = TLS_VERSION_1_3,
                                  .groups = "X25519",
                                  .ticket_key = KEY };

    *l = (struct link){ 0 };
    tls_peer_pair(l->fds);
    tls_peer_open(&l->peer, &spec, l->fds[1]);
}

static void
start_client(struct link *l, enum way way, struct tls_context *ctx)
{
    if (way == BARE) {
        l->ssl = SSL_new(world.bare);
        must(l->ssl && SSL_set_fd(l->ssl, l->fds[0]) && SSL_set_tlsext_host_name(l->ssl, HOST) &&
                 X509_VERIFY_PARAM_set1_host(SSL_get0_param(l->ssl), HOST, strlen(HOST)),
             "bare client");
        return;
    }
    must(tls_client_new(ctx, l->fds[0], HOST, TLS_VERSION_1_2, &l->client) == RES_OK, "client");
    tls_client_use_tickets(l->client, &world.addr, 25, way == RESUMED, CERTS_NOW);
}

static bool
client_step(struct link *l)
{
    enum result res;
    int ret;

    if (l->ssl) {
        ret = SSL_connect(l->ssl);
        must(ret == 1 || SSL_get_error(l->ssl, ret) == SSL_ERROR_WANT_READ, "bare handshake");
        return ret == 1;
    }
    res = tls_peer_client_step(l->client);
    must(res == RES_OK || res == RES_AGAIN, "handshake");
    return res == RES_OK;
}

static void
judge_client(struct link *l, enum way way)
{
    if (l->ssl) {
        must(SSL_get_verify_result(l->ssl) == X509_V_OK, "bare verification");
        return;
    }
    l->obs = observation_new();
    must(l->obs && tls_client_observe(l->client, CERTS_NOW, l->obs) == RES_OK, "observation");
    must(l->obs->chain == CHAIN_GOOD && l->obs->sans.count == 1, "verification");
    must(l->obs->resumed == (way == RESUMED), "resumption");
    tls_client_keep_tickets(l->client);
}

static void
read_first_reply(struct link *l)
{
    char reply[64];
    size_t n;

    if (l->ssl)
        must(SSL_read(l->ssl, reply, sizeof reply) > 0, "bare read");
    else
        must(tls_client_read(l->client, reply, sizeof reply, &n) == RES_OK, "read");
}

static void
close_client(struct link *l)
{
    SSL_free(l->ssl);
    tls_client_free(l->client);
    observation_unref(l->obs);
}

static void
close_link(struct link *l)
{
    tls_peer_close(&l->peer);
    close(l->fds[0]);
    close(l->fds[1]);
}

/* Runs the statement as the client: its time and what it adds to the heap count. */
#define AS_CLIENT(l, statement)                                                                    \
    do {                                                                                           \
        size_t held = mallinfo2().uordblks;                                                        \
        int64_t from = cpu_ns();                                                                   \
        statement;                                                                                 \
        (l)->spent_ns += cpu_ns() - from;                                                          \
        (l)->held += mallinfo2().uordblks - held;                                                  \
    } while (0)

static void
connect_link(struct link *l, enum way way, struct tls_context *ctx)
{
    bool done = false;

    open_link(l);
    AS_CLIENT(l, start_client(l, way, ctx));
    for (int i = 0; i < STEPS_MAX && !(done && l->peer.done); i++) {
        if (!done)
            AS_CLIENT(l, done = client_step(l));
        tls_peer_step(&l->peer);
    }
    must(done && l->peer.done, "handshake in time");
    AS_CLIENT(l, judge_client(l, way));
    must(SSL_write(l->peer.ssl, "250 hello\r\n", 11) == 11, "reply"); /* behind its tickets */
    AS_CLIENT(l, read_first_reply(l));
}

static double
handshake_us(enum way way)
{
    struct tls_context *ctx = way == FULL ? new_context() : world.ctx;
    struct link l;

    connect_link(&l, way, ctx);
    AS_CLIENT(&l, close_client(&l));
    close_link(&l);
    if (way == FULL)
        tls_context_free(ctx);
    return (double)l.spent_ns / 1000;
}

/* ---- the questions ---- */

static int
bench_handshakes(void)
{
    static double us[WAYS][ROUNDS];
    double median[WAYS];

    for (unsigned i = 0; i < WARM_UP + ROUNDS; i++)
        for (enum way way = BARE; way < WAYS; way++) {
            /* The first of those that resume needs somebody before it: WARM has kept its tickets.
             */
            double once = handshake_us(way);

            if (i >= WARM_UP)
                us[way][i - WARM_UP] = once;
        }
    for (enum way way = BARE; way < WAYS; way++)
        median[way] = bench_percentile(us[way], ROUNDS, 0.5);
    (void)bench_report("the library's handshake and verification, TLS 1.3, ECDSA", median[BARE],
                       "us of the client's CPU", -1, false);
    return bench_report("the same through tls/, in full", median[FULL] / median[BARE], "of that",
                        1.15, false) |
           bench_report("through tls/, chain proven before", median[WARM] / median[BARE], "of that",
                        0.75, false) |
           bench_report("through tls/, resumed", median[RESUMED] / median[BARE], "of that", 0.4,
                        false);
}

/* The session of SMTP above it, which does not begin to speak. */
static size_t
session_bytes(void)
{
    static const struct session_ops none;
    static const struct record_session_info info;
    static const struct config config;
    const struct clock clock = clock_system();
    size_t before = mallinfo2().uordblks;
    struct session *session = session_new(&none, NULL, &config, &clock, &info);
    size_t held = mallinfo2().uordblks - before;

    must(session != NULL, "session");
    session_free(session);
    return held;
}

static int
bench_idle(void)
{
    static struct link links[SESSIONS];
    double held = 0;

    for (unsigned i = 0; i < SESSIONS; i++) {
        connect_link(&links[i], WARM, world.ctx);
        held += (double)links[i].held / SESSIONS;
    }
    for (unsigned i = 0; i < SESSIONS; i++) {
        close_client(&links[i]);
        close_link(&links[i]);
    }
    return bench_report("heap of an idle session, TLS and what is known of the peer included",
                        (held + (double)session_bytes()) / 1024, "KiB", 12, false);
}

int
main(void)
{
    int status;

    make_world();
    printf("%s\n", tls_library());
    status = bench_handshakes() | bench_idle();
    tls_context_free(world.ctx);
    SSL_CTX_free(world.bare);
    cert_clear(&world.root);
    cert_clear(&world.inter);
    cert_clear(&world.leaf);
    cert_factory_clear(&world.factory);
    unlink(world.ca_file);
    return status;
}
