/* tests/tls/test_tls_peers.c: handshakes with other people's TLS: OpenSSL's s_server and GnuTLS's
 * gnutls-serv, each started for one row in a network namespace of its own where that is permitted.
 * A row is skipped where its program is not installed. */
#include "tls/tls_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/requirement.h"
#include "tests/support/tls_peer.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define HOST "mx.example.com"
#define DEADLINE_MS 20000
#define ARGS_MAX 24
#define BULK_LINE_BYTES 64u
#define BULK_WRITE_BYTES (1000u * BULK_LINE_BYTES)
#define BULK_BYTES (10u * BULK_WRITE_BYTES)
#define WORDS_BYTES 1024u /* of a command, filled in */
#define OPENSSL "openssl s_server -accept 127.0.0.1:%p -cert %f -key %f -cert_chain %f "
#define GNUTLS "gnutls-serv --echo -p %p --x509certfile %f --x509keyfile %f --priority "

extern char **environ;

enum leaf { EC, RSA_2048, ED25519, LEAVES };

static const struct peer_case {
    const char *name;
    const char *command; /* %p: port, %f: file with chain and key */
    enum leaf leaf;
    uint16_t floor;
    enum tls_failure failure;
    uint16_t version;
    const char *cipher; /* when it succeeds; NULL: any */
    const char *reason; /* when it fails */
    const char *says;   /* once connected; NULL: "hello" */
    const char *hears;  /* NULL: the peer ends the connection */
    bool bulk;          /* and then a bulk, by seal, which the peer sends back line by line */
} cases[] = {
    { "OpenSSL, TLS 1.3, ECDSA", OPENSSL "-rev", .floor = TLS_VERSION_1_2, .version = 0x0304,
      .hears = "olleh\n" },
    { "OpenSSL, TLS 1.3, RSA", OPENSSL "-rev", .leaf = RSA_2048, .floor = TLS_VERSION_1_2,
      .version = 0x0304, .hears = "olleh\n" },
    { "OpenSSL, TLS 1.3, Ed25519", OPENSSL "-rev", .leaf = ED25519, .floor = TLS_VERSION_1_2,
      .version = 0x0304, .hears = "olleh\n" },
    { "OpenSSL, TLS 1.2, ECDSA", OPENSSL "-rev -tls1_2", .floor = TLS_VERSION_1_2,
      .version = 0x0303, .hears = "olleh\n" },
    { "OpenSSL, TLS 1.2, RSA", OPENSSL "-rev -tls1_2", .leaf = RSA_2048, .floor = TLS_VERSION_1_2,
      .version = 0x0303, .hears = "olleh\n" },
    { "OpenSSL, TLS 1.2, Ed25519", OPENSSL "-rev -tls1_2", .leaf = ED25519,
      .floor = TLS_VERSION_1_2, .version = 0x0303, .hears = "olleh\n" },
    { "OpenSSL, floor 1.3", OPENSSL "-rev", .floor = TLS_VERSION_1_3, .version = 0x0304,
      .hears = "olleh\n" },
    { "OpenSSL, HelloRetryRequest", OPENSSL "-rev -groups P-384", .floor = TLS_VERSION_1_2,
      .version = 0x0304, .hears = "olleh\n" },
    { "OpenSSL, P-521 only", OPENSSL "-rev -groups P-521", .floor = TLS_VERSION_1_2,
      .version = 0x0304, .hears = "olleh\n" },
    { "TLS-028 OpenSSL asks for a certificate", OPENSSL "-rev -verify 1", .floor = TLS_VERSION_1_2,
      .version = 0x0304, .hears = "olleh\n" },
    { "FAULTS C13 OpenSSL insists on a certificate, TLS 1.2", OPENSSL "-rev -Verify 1 -tls1_2",
      .floor = TLS_VERSION_1_2, .failure = TLS_FAILURE_HANDSHAKE, .version = 0x0303,
      .reason = "sslv3 alert handshake failure" },
    { "TLS-022 OpenSSL, TLS 1.1 only: an alert, version unknown",
      OPENSSL "-rev -tls1_1 -cipher DEFAULT:@SECLEVEL=0", .leaf = RSA_2048,
      .floor = TLS_VERSION_1_2, .failure = TLS_FAILURE_VERSION,
      .reason = "tlsv1 alert protocol version" },
    { "TLS-021 OpenSSL, TLS 1.1 only, floor 1.0",
      OPENSSL "-rev -tls1_1 -cipher DEFAULT:@SECLEVEL=0", .leaf = RSA_2048,
      .floor = TLS_VERSION_1_0, .version = 0x0302, .hears = "olleh\n" },
    { "TLS-021 OpenSSL, TLS 1.0 only, floor 1.0", OPENSSL "-rev -tls1 -cipher DEFAULT:@SECLEVEL=0",
      .leaf = RSA_2048, .floor = TLS_VERSION_1_0, .version = 0x0301, .hears = "olleh\n" },
    { "TLS-023 OpenSSL, DHE only", OPENSSL "-rev -tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256",
      .leaf = RSA_2048, .floor = TLS_VERSION_1_0, .failure = TLS_FAILURE_HANDSHAKE,
      .reason = "no common cipher suite" },
    { "TLS-023 OpenSSL, static RSA, floor 1.2", OPENSSL "-rev -tls1_2 -cipher AES128-SHA",
      .leaf = RSA_2048, .floor = TLS_VERSION_1_2, .failure = TLS_FAILURE_HANDSHAKE,
      .reason = "no common cipher suite" },
    { "TLS-023 OpenSSL, static RSA, floor 1.0", OPENSSL "-rev -tls1_2 -cipher AES128-SHA",
      .leaf = RSA_2048, .floor = TLS_VERSION_1_0, .version = 0x0303,
      .cipher = "TLS_RSA_WITH_AES_128_CBC_SHA", .hears = "olleh\n" },
    { "OpenSSL reads seal's records, TLS 1.3 AES-128-GCM",
      OPENSSL "-rev -ciphersuites TLS_AES_128_GCM_SHA256", .floor = TLS_VERSION_1_2,
      .version = 0x0304, .cipher = "TLS_AES_128_GCM_SHA256", .hears = "olleh\n", .bulk = true },
    { "OpenSSL reads seal's records, TLS 1.3 AES-256-GCM",
      OPENSSL "-rev -ciphersuites TLS_AES_256_GCM_SHA384", .floor = TLS_VERSION_1_2,
      .version = 0x0304, .cipher = "TLS_AES_256_GCM_SHA384", .hears = "olleh\n", .bulk = true },
    { "OpenSSL reads seal's records, TLS 1.3 ChaCha20-Poly1305",
      OPENSSL "-rev -ciphersuites TLS_CHACHA20_POLY1305_SHA256", .floor = TLS_VERSION_1_2,
      .version = 0x0304, .cipher = "TLS_CHACHA20_POLY1305_SHA256", .hears = "olleh\n",
      .bulk = true },
    { "OpenSSL reads seal's records, TLS 1.2 AES-128-GCM",
      OPENSSL "-rev -tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", .floor = TLS_VERSION_1_2,
      .version = 0x0303, .cipher = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", .hears = "olleh\n",
      .bulk = true },
    { "OpenSSL reads seal's records, TLS 1.2 AES-256-GCM",
      OPENSSL "-rev -tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", .floor = TLS_VERSION_1_2,
      .version = 0x0303, .cipher = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", .hears = "olleh\n",
      .bulk = true },
    { "OpenSSL reads seal's records, TLS 1.2 ChaCha20-Poly1305",
      OPENSSL "-rev -tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", .floor = TLS_VERSION_1_2,
      .version = 0x0303, .cipher = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
      .hears = "olleh\n", .bulk = true },
    { "GnuTLS, TLS 1.3", GNUTLS "NORMAL", .floor = TLS_VERSION_1_2, .version = 0x0304,
      .hears = "hello\n" },
    { "GnuTLS, TLS 1.2, RSA", GNUTLS "NORMAL:-VERS-ALL:+VERS-TLS1.2", .leaf = RSA_2048,
      .floor = TLS_VERSION_1_2, .version = 0x0303, .hears = "hello\n" },
    { "TLS-022 GnuTLS, TLS 1.1 only: a ServerHello names it",
      GNUTLS "NORMAL:-VERS-ALL:+VERS-TLS1.1", .leaf = RSA_2048, .floor = TLS_VERSION_1_2,
      .failure = TLS_FAILURE_VERSION, .version = 0x0302, .reason = "unsupported protocol" },
    { "TLS-022 GnuTLS, TLS 1.0 only: a ServerHello names it",
      GNUTLS "NORMAL:-VERS-ALL:+VERS-TLS1.0", .leaf = RSA_2048, .floor = TLS_VERSION_1_2,
      .failure = TLS_FAILURE_VERSION, .version = 0x0301, .reason = "unsupported protocol" },
    { "TLS-021 GnuTLS, TLS 1.1 only, floor 1.0", GNUTLS "NORMAL:-VERS-ALL:+VERS-TLS1.1",
      .leaf = RSA_2048, .floor = TLS_VERSION_1_0, .version = 0x0302, .hears = "hello\n" },
    { "TLS-021 GnuTLS, TLS 1.0 only, floor 1.0", GNUTLS "NORMAL:-VERS-ALL:+VERS-TLS1.0",
      .leaf = RSA_2048, .floor = TLS_VERSION_1_0, .version = 0x0301, .hears = "hello\n" },
    { "GnuTLS, small records", GNUTLS "NORMAL --recordsize=512", .floor = TLS_VERSION_1_2,
      .version = 0x0304, .hears = "hello\n" },
    { "TLS-024 FAULTS C16 GnuTLS asks to renegotiate: refused",
      GNUTLS "NORMAL:-VERS-ALL:+VERS-TLS1.2", .floor = TLS_VERSION_1_2, .version = 0x0303,
      .says = "**REHANDSHAKE**\n" },
};

static struct world {
    struct cert_factory factory;
    struct cert root, leaves[LEAVES];
    struct tls_context *ctx;
    char dir[32];
} world;

static void
path_of(char path[64], const char *name)
{
    snprintf(path, 64, "%s/%s", world.dir, name);
}

static const char *const leaf_files[LEAVES] = { "ec.pem", "rsa.pem", "ed25519.pem" };

/* No port is shared with others and nothing can be reached from outside. Without the right to do
 * this the rows run on the machine's own loopback. */
static void
enter_network_namespace(void)
{
    struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
    int fd;

    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
    close(fd);
}

static int
make_world(void **state)
{
    static const struct cert_spec root = { .cn = "Root", .ca = true };
    static const struct cert_spec leaves[LEAVES] = {
        [EC] = { .sans = HOST },
        [RSA_2048] = { .sans = HOST, .key = CERT_KEY_RSA2048 },
        [ED25519] = { .sans = HOST, .key = CERT_KEY_ED25519 },
    };
    const struct cert *trusted = &world.root;
    const char *error;
    char path[64];

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    enter_network_namespace();
    snprintf(world.dir, sizeof world.dir, "/tmp/stsgate-peers-XXXXXX");
    if (!mkdtemp(world.dir) || !cert_make(&world.factory, &root, NULL, &world.root))
        return -1;
    for (size_t i = 0; i < LEAVES; i++) {
        const struct cert *leaf = &world.leaves[i];

        if (!cert_make(&world.factory, &leaves[i], &world.root, &world.leaves[i]))
            return -1;
        path_of(path, leaf_files[i]);
        certs_write(path, &leaf, 1, true);
    }
    path_of(path, "root.pem");
    certs_write(path, &trusted, 1, false);
    return tls_context_new(path, &world.ctx, &error) == RES_OK ? 0 : -1;
}

static int
free_world(void **state)
{
    char path[64];

    (void)state;
    tls_context_free(world.ctx);
    for (size_t i = 0; i < LEAVES; i++) {
        cert_clear(&world.leaves[i]);
        path_of(path, leaf_files[i]);
        unlink(path);
    }
    cert_clear(&world.root);
    cert_factory_clear(&world.factory);
    path_of(path, "root.pem");
    unlink(path);
    return rmdir(world.dir);
}

/* ---- the server process ---- */

struct server {
    pid_t pid;
    int output; /* what it prints */
    uint16_t port;
};

static uint16_t
free_port(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

/* Splits at blanks and fills in %p and %f. text is the storage of the words. */
static void
make_args(const char *command, uint16_t port, const char *file, char text[WORDS_BYTES],
          char *args[ARGS_MAX])
{
    size_t n = 0, count = 0;
    char *rest = NULL;

    for (const char *c = command; *c; c++) {
        if (c[0] == '%' && c[1] == 'p')
            n += (size_t)snprintf(text + n, WORDS_BYTES - n, "%u", port), c++;
        else if (c[0] == '%' && c[1] == 'f')
            n += (size_t)snprintf(text + n, WORDS_BYTES - n, "%s", file), c++;
        else
            text[n++] = *c;
        assert_true(n < WORDS_BYTES);
    }
    text[n] = '\0';
    for (char *word = strtok_r(text, " ", &rest); word && count + 1 < ARGS_MAX;
         word = strtok_r(NULL, " ", &rest))
        args[count++] = word;
    args[count] = NULL;
}

/* Reads what the server prints until it says that it listens. */
static void
wait_until_listening(const struct server *server)
{
    struct pollfd poll_fd = { .fd = server->output, .events = POLLIN };
    char text[4096] = "";
    size_t n = 0;

    while (!strstr(text, "ACCEPT") && !strstr(text, "done")) {
        ssize_t got;

        assert_true(n + 1 < sizeof text);
        assert_int_equal(poll(&poll_fd, 1, DEADLINE_MS), 1);
        got = read(server->output, text + n, sizeof text - 1 - n);
        if (got <= 0)
            fail_msg("the server ended: %s", text);
        n += (size_t)got;
        text[n] = '\0';
    }
}

/* False: the program is not installed. */
static bool
start_server(const struct peer_case *c, struct server *server)
{
    char text[WORDS_BYTES], path[64], *args[ARGS_MAX];
    posix_spawn_file_actions_t actions;
    int pipes[2], input[2], err;

    *server = (struct server){ .port = free_port() };
    path_of(path, leaf_files[c->leaf]);
    make_args(c->command, server->port, path, text, args);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_int_equal(pipe2(input, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input[0], 0);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 2);
    err = posix_spawnp(&server->pid, args[0], &actions, NULL, args, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pipes[1]);
    close(input[0]);
    close(input[1]);
    server->output = pipes[0];
    if (err == ENOENT) {
        close(server->output);
        return false;
    }
    assert_int_equal(err, 0);
    wait_until_listening(server);
    return true;
}

static void
stop_server(const struct server *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    close(server->output);
}

/* ---- the client ---- */

static int
connect_to(uint16_t port)
{
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void
wait_for_socket(int fd, const struct tls_client *client)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

    if (tls_client_queued(client) > 0)
        poll_fd.events |= POLLOUT;
    assert_int_equal(poll(&poll_fd, 1, DEADLINE_MS), 1);
}

static void
check_facts(const struct peer_case *c, struct tls_client *client)
{
    struct observation *obs = observation_new();

    assert_non_null(obs);
    assert_int_equal(tls_client_observe(client, CERTS_NOW, obs), RES_OK);
    assert_string_equal(obs->failure_reason, c->reason ? c->reason : "");
    assert_int_equal(obs->failure, c->failure);
    assert_int_equal(obs->version, c->version);
    assert_int_equal(obs->chain, c->failure ? CHAIN_UNTRUSTED : CHAIN_GOOD);
    assert_int_equal(obs->sans.count, c->failure ? 0 : 1);
    if (c->cipher)
        assert_string_equal(obs->cipher, c->cipher);
    observation_unref(obs);
}

static void
exchange(const struct peer_case *c, struct tls_client *client, int fd)
{
    enum result res;
    char got[64];
    size_t n;

    assert_int_equal(tls_client_write(client, span_of(c->says ? c->says : "hello\n")), RES_OK);
    while ((res = tls_client_flush(client)) == RES_AGAIN)
        wait_for_socket(fd, client);
    assert_int_equal(res, RES_OK);
    while ((res = tls_client_read(client, got, sizeof got, &n)) == RES_AGAIN)
        wait_for_socket(fd, client);
    if (!c->hears) {
        assert_true(res == RES_TEMPFAIL || res == RES_DENIED);
        return;
    }
    assert_int_equal(res, RES_OK);
    assert_int_equal(n, strlen(c->hears));
    assert_memory_equal(got, c->hears, n);
}

/* ---- a bulk ---- */

static char
bulk_octet(size_t line, size_t column)
{
    return column == BULK_LINE_BYTES - 1 ? '\n' : (char)('!' + (line * 7 + column * column) % 90);
}

/* One more write, where the queue lets it in. Returns how many octets have been written. */
static size_t
bulk_write(struct tls_client *client, size_t sent)
{
    static char bytes[BULK_WRITE_BYTES];
    enum result res;

    if (sent == BULK_BYTES)
        return sent;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = bulk_octet((sent + i) / BULK_LINE_BYTES, (sent + i) % BULK_LINE_BYTES);
    res = tls_client_write(client, span_make(bytes, sizeof bytes));
    assert_true(res == RES_OK || res == RES_LIMIT);
    return res == RES_OK ? sent + sizeof bytes : sent;
}

/* Each line comes back reversed. Returns how many octets have come. */
static size_t
bulk_read(struct tls_client *client, size_t received)
{
    char bytes[4096];
    size_t n;

    while (tls_client_read(client, bytes, sizeof bytes, &n) == RES_OK)
        for (size_t i = 0; i < n; i++, received++) {
            size_t column = received % BULK_LINE_BYTES;
            size_t from = column == BULK_LINE_BYTES - 1 ? column : BULK_LINE_BYTES - 2 - column;

            if (bytes[i] != bulk_octet(received / BULK_LINE_BYTES, from))
                fail_msg("octet %zu differs", received);
        }
    return received;
}

static void
exchange_bulk(struct tls_client *client, int fd)
{
    size_t sent = 0, received = 0;
    const char *why;

    while (received < BULK_BYTES) {
        enum result res;

        sent = bulk_write(client, sent);
        res = tls_client_flush(client);
        assert_true(res == RES_OK || res == RES_AGAIN);
        received = bulk_read(client, received);
        if (received < BULK_BYTES && (res == RES_AGAIN || sent == BULK_BYTES))
            wait_for_socket(fd, client);
    }
    assert_int_equal(received, BULK_BYTES);
    assert_string_equal(tls_client_engine(client, &why), "seal");
    assert_int_equal(tls_client_trapped(client), 0);
}

static void
test_peer(void **state)
{
    const struct peer_case *c = *state;
    struct tls_client *client;
    struct server server;
    enum result res;
    int fd;

    if (!start_server(c, &server))
        skip();
    fd = connect_to(server.port);
    assert_int_equal(tls_client_new(world.ctx, fd, HOST, c->floor, &client), RES_OK);
    while ((res = tls_peer_client_step(client)) == RES_AGAIN)
        wait_for_socket(fd, client);
    check_facts(c, client);
    assert_int_equal(res, c->failure ? RES_TEMPFAIL : RES_OK);
    if (!c->failure)
        exchange(c, client, fd);
    if (c->bulk)
        exchange_bulk(client, fd);
    tls_client_close(client);
    tls_client_free(client);
    close(fd);
    stop_server(&server);
}

int
main(void)
{
    struct CMUnitTest tests[ROWS(cases)] = { 0 };

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = test_peer,
                                        .initial_state = (void *)&cases[i] };
    return cmocka_run_group_tests_name("tls_peers", tests, make_world, free_world);
}
