/* bench/bench_engine.c: what it costs to take message text from a clear connection to one under
 * TLS, by each engine of the data path; and the least that this can cost: read, AES-GCM, write.
 *
 *   bench_engine [--json] [MIB]
 *
 * Source and drain are processes of their own over TCP on loopback; only this one's CPU counts. */
#include <openssl/aead.h>
#include <openssl/ssl.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/observation.h"
#include "base/requirement.h"
#include "bench/bench.h"
#include "proxy/data_scan.h"
#include "tests/support/tls_peer.h"
#include "tls/tls_client.h"

#define READ_BYTES (192u * 1024u) /* as proxy/connection.c reads content */
#define RECORD_BYTES (16u * 1024u)
#define TAG_BYTES 16u
#define NONCE_BYTES 12u
#define HOST "mx.bench.test"
#define HANDSHAKE_STEPS_MAX 64u
#define RATIO_MAX 1.25 /* of an engine to the bare way */
#define DEFAULT_MIB 256u

struct rig {
    int source, drain; /* what is read, what is written; owned */
    pid_t source_pid, drain_pid;
    uint64_t bytes_left;       /* that the source still sends */
    char *buf;                 /* owned; READ_BYTES */
    struct tls_client *client; /* owned; its handshake is done */
};

struct engine {
    const char *name;
    bool tls;
    void (*move)(struct rig *rig); /* until the source ends */
};

static void
die(const char *what)
{
    fprintf(stderr, "bench_engine: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- connections ---- */

/* Both ends of a TCP connection on loopback, non-blocking: fds[0] dials. */
static void
tcp_pair(int fds[2])
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0 || fds[0] < 0 || bind(listener, (struct sockaddr *)&at, len) != 0 ||
        listen(listener, 1) != 0 || getsockname(listener, (struct sockaddr *)&at, &len) != 0 ||
        (connect(fds[0], (struct sockaddr *)&at, len) != 0 && errno != EINPROGRESS))
        die("a connection on loopback");
    fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fds[1] < 0)
        die("accept");
    close(listener);
}

static void
wait_until(int fd, short events)
{
    struct pollfd p = { .fd = fd, .events = events };

    if (poll(&p, 1, 30000) != 1)
        die("nothing moves");
}

/* ---- the processes at the ends ---- */

/* Lines of text without a dot at their beginning, as mail is. */
static void
run_source(int fd, uint64_t bytes)
{
    static char text[64 * 1024];

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : (char)('a' + i % 26);
    while (bytes) {
        ssize_t n = send(fd, text, bytes < sizeof text ? (size_t)bytes : sizeof text, MSG_NOSIGNAL);

        if (n > 0)
            bytes -= (uint64_t)n;
        else
            wait_until(fd, POLLOUT);
    }
    _exit(0);
}

static void
run_drain(int fd)
{
    for (;;) {
        ssize_t n = recv(fd, NULL, 1024 * 1024, MSG_TRUNC);

        if (n == 0 || (n < 0 && errno != EAGAIN))
            _exit(0);
        if (n < 0)
            wait_until(fd, POLLIN);
    }
}

static pid_t
spawn(int fd, int other, uint64_t bytes)
{
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid > 0)
        return pid;
    close(other);
    if (bytes)
        run_source(fd, bytes);
    run_drain(fd);
    _exit(0);
}

/* ---- a TLS connection ---- */

struct tls_side {
    struct cert_factory factory;
    struct cert cert;
    struct tls_context *ctx;
};

static void
tls_side_init(struct tls_side *side)
{
    static const struct cert_spec spec = { .cn = HOST, .sans = HOST };
    const struct cert *one = &side->cert;
    char path[] = "/tmp/stsgate-bench-ca-XXXXXX";
    const char *error = "the certificate";
    int fd = mkstemp(path);

    if (fd < 0 || !cert_make(&side->factory, &spec, NULL, &side->cert))
        die("a certificate");
    close(fd);
    certs_write(path, &one, 1, false);
    if (tls_context_new(path, &side->ctx, &error) != RES_OK)
        die(error);
    (void)unlink(path);
}

/* A client whose handshake with a server at the other end is done; the server is then forgotten:
 * the drain needs no keys. */
static struct tls_client *
connect_tls(const struct tls_side *side, const int fds[2], char *cipher, size_t cap)
{
    struct tls_peer_spec spec = { .chain = { &side->cert } };
    struct tls_peer server;
    struct tls_client *client;
    enum result res = RES_AGAIN;

    if (tls_client_new(side->ctx, fds[0], HOST, TLS_VERSION_1_2, &client) != RES_OK)
        die("a TLS client");
    tls_peer_open(&server, &spec, fds[1]);
    for (unsigned i = 0; i < HANDSHAKE_STEPS_MAX && (res == RES_AGAIN || !server.done); i++) {
        if (res == RES_AGAIN)
            res = tls_peer_client_step(client);
        tls_peer_step(&server);
    }
    if (res != RES_OK || !server.done)
        die("the handshake");
    snprintf(cipher, cap, "%s %s", SSL_get_version(server.ssl),
             SSL_CIPHER_standard_name(SSL_get_current_cipher(server.ssl)));
    tls_peer_close(&server);
    return client;
}

/* ---- the engines ---- */

/* 0: the source has ended. */
static size_t
read_content(struct rig *rig)
{
    for (;;) {
        ssize_t n = recv(rig->source, rig->buf, READ_BYTES, 0);

        if (n >= 0)
            return (size_t)n;
        if (errno != EAGAIN)
            die("read");
        wait_until(rig->source, POLLIN);
    }
}

static void
write_content(struct rig *rig, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(rig->drain, rig->buf + at, len - at, MSG_NOSIGNAL);

        if (n > 0)
            at += (size_t)n;
        else if (errno == EAGAIN)
            wait_until(rig->drain, POLLOUT);
        else
            die("write");
    }
}

/* Read, seal in place, write: no record headers, no scan, no library around it. */
static void
move_bare(struct rig *rig)
{
    static const uint8_t key[16];
    uint8_t nonce[NONCE_BYTES] = { 0 }, tag[TAG_BYTES];
    EVP_AEAD_CTX *aead = EVP_AEAD_CTX_new(EVP_aead_aes_128_gcm(), key, sizeof key, TAG_BYTES);
    uint64_t number = 0;
    size_t len, tag_len;

    if (!aead)
        die("AES-GCM");
    while ((len = read_content(rig))) {
        for (size_t at = 0; at < len; at += RECORD_BYTES) {
            uint8_t *body = (uint8_t *)rig->buf + at;
            size_t body_len = len - at < RECORD_BYTES ? len - at : RECORD_BYTES;

            memcpy(nonce, &number, sizeof number);
            number++;
            if (!EVP_AEAD_CTX_seal_scatter(aead, body, tag, &tag_len, sizeof tag, nonce,
                                           sizeof nonce, body, body_len, NULL, 0, NULL, 0))
                die("seal");
        }
        write_content(rig, len);
    }
    EVP_AEAD_CTX_free(aead);
}

static void
move_clear(struct rig *rig)
{
    size_t len;

    while ((len = read_content(rig)))
        write_content(rig, len);
}

/* As the worker does it: scan, SSL_write into the queue, one send. */
static void
move_library(struct rig *rig)
{
    struct data_scan scan;
    size_t len, pass;

    data_scan_init(&scan);
    while ((len = read_content(rig))) {
        enum result res;

        if (data_scan(&scan, span_make(rig->buf, len), &pass) != DATA_MORE || pass != len)
            die("the content has an end in it");
        if (tls_client_write(rig->client, span_make(rig->buf, len)) != RES_OK)
            die("tls_client_write");
        while ((res = tls_client_flush(rig->client)) == RES_AGAIN)
            wait_until(rig->drain, POLLOUT);
        if (res != RES_OK)
            die("tls_client_flush");
    }
}

static const struct engine engines[] = {
    { "clear", false, move_clear },
    { "bare", false, move_bare },
    { "library", true, move_library },
};
#define ENGINES (sizeof engines / sizeof *engines)
#define BARE 1u

/* CPU seconds of this process per GiB. */
static double
run_once(const struct engine *engine, const struct tls_side *side, uint64_t bytes, char *cipher,
         size_t cap)
{
    struct rig rig = { .buf = malloc(READ_BYTES) };
    struct timespec before, after;
    int in[2], out[2];

    if (!rig.buf)
        die("memory");
    tcp_pair(in);
    tcp_pair(out);
    if (engine->tls)
        rig.client = connect_tls(side, out, cipher, cap);
    rig.source = in[1];
    rig.drain = out[0];
    rig.source_pid = spawn(in[0], in[1], bytes);
    close(in[0]); /* before the next fork, or the source would never seem to end */
    rig.drain_pid = spawn(out[1], out[0], 0);
    close(out[1]);
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    engine->move(&rig);
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    tls_client_free(rig.client);
    close(rig.source);
    close(rig.drain);
    (void)waitpid(rig.source_pid, NULL, 0);
    (void)kill(rig.drain_pid, SIGKILL);
    (void)waitpid(rig.drain_pid, NULL, 0);
    free(rig.buf);
    return ((double)(after.tv_sec - before.tv_sec) +
            (double)(after.tv_nsec - before.tv_nsec) / 1e9) /
           ((double)bytes / (1u << 30));
}

int
main(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    const char *size = argc > 1 + json ? argv[1 + json] : NULL;
    uint64_t mib = size ? strtoull(size, NULL, 10) : DEFAULT_MIB;
    double seconds[ENGINES][BENCH_RUNS], median[ENGINES];
    struct tls_side side = { 0 };
    char cipher[80] = "";
    int status = 0;

    if (mib == 0)
        mib = DEFAULT_MIB;
    (void)signal(SIGPIPE, SIG_IGN);
    tls_side_init(&side);
    for (unsigned run = 0; run < BENCH_RUNS; run++)
        for (size_t i = 0; i < ENGINES; i++) /* in turn: what else runs here meets all of them */
            seconds[i][run] = run_once(&engines[i], &side, mib << 20, cipher, sizeof cipher);
    for (size_t i = 0; i < ENGINES; i++)
        median[i] = bench_percentile(seconds[i], BENCH_RUNS, 0.5);
    if (json)
        printf("{");
    for (size_t i = 0; i < ENGINES; i++) {
        double ratio = median[i] / median[BARE];

        if (json)
            printf("%s\"%s\":%.4f", i ? "," : "", engines[i].name, median[i]);
        else
            (void)bench_report(engines[i].name, median[i], "CPU s per GiB", -1, false);
        if (!json && engines[i].tls)
            status |= bench_report("  to the bare way", ratio, "", RATIO_MAX, false);
    }
    puts(json ? "}" : cipher);
    tls_context_free(side.ctx);
    cert_clear(&side.cert);
    cert_factory_clear(&side.factory);
    return status;
}
