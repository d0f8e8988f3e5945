/* bench/bench_engine.c: what it costs to take message text from a clear connection to one under
 * TLS, by each engine of the data path; and the least that this can cost: read, AES-GCM, write.
 *
 *   bench_engine [--json] [MIB]
 *
 * Source and drain are processes of their own over TCP on loopback; only this one's CPU counts. It
 * has the first CPU for itself, and they have the last one. The connections are under cubic, where
 * the kernel has it: the timers of a congestion control that paces would count as well. */
#include <openssl/aead.h>
#include <openssl/ssl.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
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
#include "tls/tls_server.h"

#define READ_BYTES (192u * 1024u) /* as proxy/connection.c reads content */
#define RECORD_BYTES (16u * 1024u)
#define TAG_BYTES 16u
#define NONCE_BYTES 12u
#define HOST "mx.bench.test"
#define HANDSHAKE_STEPS_MAX 64u
#define RATIO_MAX 1.25 /* of the engine that mail takes to the bare way */
#define DEFAULT_MIB 256u

struct rig {
    int source, drain; /* what is read, what is written; owned */
    pid_t source_pid, drain_pid;
    char *buf; /* owned; READ_BYTES */
    /* One of the two, or none; owned; its handshake is done. A server's records are the library's
     * for good, and all else is the same. */
    struct tls_client *client;
    struct tls_server *server;
};

enum side { SIDE_CLEAR, SIDE_CLIENT, SIDE_SERVER };

struct engine {
    const char *name;
    enum side side;
    void (*move)(struct rig *rig); /* until the source ends */
    double limit;                  /* to the bare way; negative: none */
};

static void
die(const char *what)
{
    fprintf(stderr, "bench_engine: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- where it runs ---- */

/* The first and the last CPU that this process may use: one and the same where there is one. */
static void
find_cpus(int *out_first, int *out_last)
{
    cpu_set_t allowed;

    *out_first = *out_last = -1;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        die("sched_getaffinity");
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((size_t)cpu, &allowed)) {
            *out_last = cpu;
            if (*out_first < 0)
                *out_first = cpu;
        }
}

static void
stay_on(int cpu)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0)
        die("sched_setaffinity");
}

/* ---- connections ---- */

/* Without it the figures are what they are under the machine's own. */
static void
use_cubic(int fd)
{
    static const char name[] = "cubic";

    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, sizeof name - 1);
}

/* Both ends of a TCP connection on loopback, non-blocking: fds[0] dials. */
static void
tcp_pair(int fds[2])
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    use_cubic(listener); /* and what it accepts */
    use_cubic(fds[0]);
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
spawn(int cpu, int fd, int other, uint64_t bytes)
{
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid > 0)
        return pid;
    stay_on(cpu);
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
    struct tls_server_context *server_ctx;
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
    certs_write(path, &one, 1, true);
    if (tls_context_new(path, &side->ctx, &error) != RES_OK ||
        tls_server_context_new(path, path, TLS_VERSION_1_2, &side->server_ctx, &error) != RES_OK)
        die(error);
    (void)unlink(path);
}

static void
tls_side_clear(struct tls_side *side)
{
    tls_context_free(side->ctx);
    tls_server_context_free(side->server_ctx);
    cert_clear(&side->cert);
    cert_factory_clear(&side->factory);
}

/* A client and a server whose handshake is done. Which of them stays, has fds[0]; the other is
 * forgotten: the drain needs no keys. */
static void
connect_tls(const struct tls_side *side, enum side stays, const int fds[2], struct rig *rig,
            char *cipher, size_t cap)
{
    int client_fd = fds[stays == SIDE_SERVER], server_fd = fds[stays == SIDE_CLIENT];
    enum result client_is = RES_AGAIN, server_is = RES_AGAIN, sent = RES_OK;
    struct tls_server_facts facts;

    if (tls_client_new(side->ctx, client_fd, HOST, TLS_VERSION_1_2, &rig->client) != RES_OK ||
        tls_server_new(side->server_ctx, server_fd, &rig->server) != RES_OK)
        die("the ends of a TLS connection");
    for (unsigned i = 0; i < HANDSHAKE_STEPS_MAX; i++) {
        if (client_is == RES_AGAIN)
            client_is = tls_peer_client_step(rig->client);
        if (server_is == RES_AGAIN)
            server_is = tls_server_handshake(rig->server);
        if (server_is == RES_OK && sent == RES_OK)
            sent = tls_server_flush(rig->server);
    }
    if (client_is != RES_OK || server_is != RES_OK || sent != RES_OK)
        die("the handshake");
    tls_server_facts(rig->server, &facts);
    snprintf(cipher, cap, "%s %s", facts.version == TLS_VERSION_1_3 ? "TLSv1.3" : "TLSv1.2",
             facts.cipher);
    if (stays == SIDE_CLIENT) {
        tls_server_free(rig->server);
        rig->server = NULL;
    } else {
        tls_client_free(rig->client);
        rig->client = NULL;
    }
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

static enum result
tls_write(struct rig *rig, struct span bytes)
{
    return rig->client ? tls_client_write(rig->client, bytes)
                       : tls_server_write(rig->server, bytes);
}

static enum result
tls_flush(struct rig *rig)
{
    return rig->client ? tls_client_flush(rig->client) : tls_server_flush(rig->server);
}

/* As the worker does it: scan, seal into the queue, one send. */
static void
move_tls(struct rig *rig)
{
    struct data_scan scan;
    size_t len, pass;

    data_scan_init(&scan);
    while ((len = read_content(rig))) {
        enum result res;

        if (data_scan(&scan, span_make(rig->buf, len), &pass) != DATA_MORE || pass != len)
            die("the content has an end in it");
        if (tls_write(rig, span_make(rig->buf, len)) != RES_OK)
            die("a write");
        while ((res = tls_flush(rig)) == RES_AGAIN)
            wait_until(rig->drain, POLLOUT);
        if (res != RES_OK)
            die("a flush");
    }
}

/* The first write of the bulk is the library's. */
static void
move_seal(struct rig *rig)
{
    const char *reason;

    move_tls(rig);
    if (strcmp(tls_client_engine(rig->client, &reason), "seal") != 0)
        die("another engine");
}

static const struct engine engines[] = {
    { "clear", SIDE_CLEAR, move_clear, -1 },
    { "bare", SIDE_CLEAR, move_bare, -1 },
    { "library", SIDE_SERVER, move_tls, -1 },
    { "seal", SIDE_CLIENT, move_seal, RATIO_MAX },
};
#define ENGINES (sizeof engines / sizeof *engines)
#define BARE 1u

/* CPU seconds of this process per GiB. other_cpu: of the processes at the ends. */
static double
run_once(const struct engine *engine, const struct tls_side *side, uint64_t bytes, int other_cpu,
         char *cipher, size_t cap)
{
    struct rig rig = { .buf = malloc(READ_BYTES) };
    struct timespec before, after;
    int in[2], out[2];

    if (!rig.buf)
        die("memory");
    tcp_pair(in);
    tcp_pair(out);
    if (engine->side != SIDE_CLEAR)
        connect_tls(side, engine->side, out, &rig, cipher, cap);
    rig.source = in[1];
    rig.drain = out[0];
    rig.source_pid = spawn(other_cpu, in[0], in[1], bytes);
    close(in[0]); /* before the next fork, or the source would never seem to end */
    rig.drain_pid = spawn(other_cpu, out[1], out[0], 0);
    close(out[1]);
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    engine->move(&rig);
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    tls_client_free(rig.client);
    tls_server_free(rig.server);
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
    int status = 0, own_cpu, other_cpu;

    if (mib == 0)
        mib = DEFAULT_MIB;
    (void)signal(SIGPIPE, SIG_IGN);
    find_cpus(&own_cpu, &other_cpu);
    stay_on(own_cpu);
    tls_side_init(&side);
    for (unsigned run = 0; run < BENCH_RUNS; run++)
        for (size_t i = 0; i < ENGINES; i++) /* in turn: what else runs here meets all of them */
            seconds[i][run] =
                run_once(&engines[i], &side, mib << 20, other_cpu, cipher, sizeof cipher);
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
        if (!json && engines[i].side != SIDE_CLEAR)
            status |= bench_report("  to the bare way", ratio, "", engines[i].limit, false);
    }
    puts(json ? "}" : cipher);
    tls_side_clear(&side);
    return status;
}
