/* tests/policy/test_tlsrpt_crash.c: a day of sessions while the process that counts them is killed
 * again and again, at any point (RPT-020, RPT-032, RPT-054): a real process with a real file, which
 * is sent SIGKILL; seeds, so that what is told is the same in every run. The worker is this test,
 * with its real queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash_key.h"
#include "policy/policy_msg.h"
#include "policy/tlsrpt_outbox.h"
#include "policy/tlsrpt_read.h"
#include "proxy/report_queue.h"

#define DAY_S 1700006400 /* 2023-11-15 00:00:00 UTC */
#define DAYS 2u
#define DOMAINS 7u
#define CRASHES 30u
#define SEND "send" /* the order to send reports; no MessagePack of ours */

/* ---- the process that counts ---- */

struct counter {
    struct tlsrpt_store *store;
    int fd;
};

static void
tell(int fd, struct span message)
{
    if (send(fd, message.ptr, message.len, MSG_NOSIGNAL) < 0)
        _exit(1);
}

static void
on_counted(void *arg, uint64_t source, uint64_t number)
{
    struct counter *c = arg;
    struct buffer bytes;

    (void)source;
    buffer_init(&bytes, 64);
    if (policy_counted_encode(number, &bytes) != RES_OK)
        _exit(1);
    tell(c->fd, buffer_span(&bytes));
    buffer_clear(&bytes);
}

/* One attempt for each report of the first day: what has an id goes out under it. */
static void
send_reports(struct counter *c)
{
    struct tlsrpt_entry due[DOMAINS];
    unsigned hurried;
    size_t count;

    if (tlsrpt_store_flush(c->store) != RES_OK ||
        tlsrpt_outbox_hurry(c->store, DAY_S, NULL, DAY_S + 90000, &hurried) != RES_OK ||
        tlsrpt_outbox_due(c->store, DAY_S + 90000, due, DOMAINS, &count) != RES_OK)
        _exit(1);
    for (size_t i = 0; i < count; i++) {
        if (tlsrpt_outbox_begin(c->store, &due[i], "gate.example", DAY_S + 90000, DAY_S + 90001) !=
            RES_OK)
            _exit(1);
        tell(c->fd, span_of(due[i].report_id));
        if (tlsrpt_outbox_end(c->store, &due[i], TLSRPT_SENT, "", DAY_S + 90000) != RES_OK)
            _exit(1);
    }
}

static void
take(struct counter *c, struct span message)
{
    struct policy_report report;

    if (span_equal(message, span_of(SEND))) {
        send_reports(c);
        return;
    }
    if (policy_report_decode(message, &report) != RES_OK)
        _exit(1);
    if (tlsrpt_store_count_once(c->store, report.source, report.number, &report.report,
                                report.sessions) != RES_OK)
        _exit(1);
    tls_report_clear(&report.report);
}

/* Writes whenever nothing waits to be read, and now and then before. */
static void
count_for_ever(const char *path, int fd)
{
    struct counter c = { .fd = fd };
    char bytes[4096], error[200];

    if (tlsrpt_store_open(path, &c.store, error, sizeof error) != RES_OK)
        _exit(1);
    tlsrpt_store_on_counted(c.store, on_counted, &c);
    for (unsigned i = 1;; i++) {
        ssize_t len = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);

        if (len < 0 && errno == EAGAIN) {
            if (tlsrpt_store_flush(c.store) != RES_OK)
                _exit(1);
            len = recv(fd, bytes, sizeof bytes, 0);
        }
        if (len <= 0)
            _exit(len < 0);
        take(&c, span_make(bytes, (size_t)len));
        if (i % 17 == 0 && tlsrpt_store_flush(c.store) != RES_OK)
            _exit(1);
    }
}

/* ---- the worker ---- */

struct world {
    uint64_t dice;
    char folder[64], path[80];
    struct report_queue queue;
    pid_t pid;
    int fd;
    uint64_t told[DAYS][DOMAINS];
    uint64_t unsure; /* were not acknowledged when the worker died, too */
    char ids[DOMAINS][TLSRPT_ID_MAX + 1];
};

/* xorshift64 */
static unsigned
dice(struct world *w, unsigned sides)
{
    w->dice ^= w->dice << 13;
    w->dice ^= w->dice >> 7;
    w->dice ^= w->dice << 17;
    return (unsigned)(w->dice >> 33) % sides;
}

static void
start(struct world *w)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    w->pid = fork();
    assert_true(w->pid >= 0);
    if (w->pid == 0) {
        close(pair[0]);
        count_for_ever(w->path, pair[1]);
    }
    close(pair[1]);
    w->fd = pair[0];
    report_queue_restart(&w->queue);
}

static void
crash(struct world *w)
{
    int status;

    kill(w->pid, SIGKILL);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    assert_true(WIFSIGNALED(status)); /* else it has failed by itself */
    close(w->fd);
}

/* The report of one domain's first day has one id, whoever sends it. */
static void
check_id(struct world *w, struct span id)
{
    unsigned domain = (unsigned)(id.ptr[sizeof "20231115.d" - 1] - '0');

    assert_true(domain < DOMAINS && id.len < sizeof w->ids[0]);
    if (!*w->ids[domain])
        snprintf(w->ids[domain], sizeof w->ids[0], "%.*s", (int)id.len, id.ptr);
    assert_true(span_equal(id, span_of(w->ids[domain])));
}

/* What has been said so far; wait: at least one thing. */
static void
hear(struct world *w, bool wait)
{
    char bytes[4096];
    uint64_t number;
    ssize_t len;

    if (wait)
        assert_int_equal(poll(&(struct pollfd){ .fd = w->fd, .events = POLLIN }, 1, 20000), 1);
    while ((len = recv(w->fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
        struct span message = span_make(bytes, (size_t)len);

        if (policy_counted_decode(message, &number) == RES_OK)
            assert_int_equal(report_queue_counted(&w->queue, number), RES_OK);
        else
            check_id(w, message);
    }
}

/* As much as the socket takes. */
static void
pump(struct world *w)
{
    struct span message;

    while (report_queue_next(&w->queue, &message)) {
        if (send(w->fd, message.ptr, message.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            return;
        report_queue_sent(&w->queue);
    }
}

/* Sessions over the two days, in the order of their time. */
static void
end_sessions(struct world *w, unsigned count, unsigned round)
{
    while (count--) {
        unsigned domain = dice(w, DOMAINS), day = round * DAYS / CRASHES;
        struct tls_report r = { .at_s = DAY_S + day * TLSRPT_DAY_S + dice(w, TLSRPT_DAY_S),
                                .type = TLS_REPORT_NO_POLICY,
                                .failed = dice(w, 3) == 0,
                                .receiving = { 4, { 198, 51, 100, 1 } } };

        snprintf(r.domain, sizeof r.domain, "d%u.example", domain);
        snprintf(r.policy_domain, sizeof r.policy_domain, "d%u.example", domain);
        snprintf(r.mx_host, sizeof r.mx_host, "mx%u.example", dice(w, 20));
        if (r.failed) {
            r.details[0].result = RESULT_STARTTLS_NOT_SUPPORTED;
            r.detail_count = 1;
        }
        assert_int_equal(report_queue_add(&w->queue, &r), RES_OK);
        w->told[day][domain]++;
        pump(w);
        hear(w, false);
    }
}

static void
settle(struct world *w)
{
    while (w->queue.count) {
        pump(w);
        hear(w, true);
    }
}

static bool
add_up(void *arg, const struct tlsrpt_policy *p)
{
    *(uint64_t *)arg += p->succeeded + p->failed;
    return true;
}

/* Exactly what was told, but for what a dead worker was not told of; returns how many are missing.
 */
static uint64_t
check_counts(struct world *w)
{
    struct tlsrpt_store *store;
    uint64_t missing = 0;
    char error[200], name[16];

    assert_int_equal(tlsrpt_store_open(w->path, &store, error, sizeof error), RES_OK);
    for (unsigned i = 0; i < DAYS * DOMAINS; i++) {
        uint64_t sum = 0, told = w->told[i / DOMAINS][i % DOMAINS];

        snprintf(name, sizeof name, "d%u.example", i % DOMAINS);
        assert_int_equal(
            tlsrpt_read_policies(store, DAY_S + i / DOMAINS * TLSRPT_DAY_S, name, add_up, &sum),
            RES_OK);
        assert_true(sum <= told); /* nothing twice */
        missing += told - sum;
    }
    tlsrpt_store_close(store);
    return missing;
}

static void
set_up(struct world *w, uint64_t seed)
{
    *w = (struct world){ .dice = seed };
    snprintf(w->folder, sizeof w->folder, "/tmp/stsgate-crash-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof w->path, "%s/reports", w->folder);
    report_queue_init(&w->queue, seed);
    start(w);
}

static void
tear_down(struct world *w)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    char path[96];

    close(w->fd);
    assert_int_equal(waitpid(w->pid, NULL, 0), w->pid);
    report_queue_clear(&w->queue);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", w->path, ends[i]);
        unlink(path);
    }
    rmdir(w->folder);
}

static struct {
    const char *name;
    uint64_t seed;
    bool worker_dies; /* with the process that counts, and its queue with it */
} rows[] = {
    { "the process that counts is killed: every session counts once (1)", 88172645463325252,
      false },
    { "the process that counts is killed: every session counts once (2)", 20231115, false },
    { "the process that counts is killed: every session counts once (3)", 695124304, false },
    { "both are killed: at most what was in flight is missing (1)", 4101842887655102017, true },
    { "both are killed: at most what was in flight is missing (2)", 362436069, true },
};

static void
test_crashes(void **state)
{
    const unsigned at = (unsigned)(uintptr_t)*state;
    struct world w;

    set_up(&w, rows[at].seed);
    for (unsigned i = 0; i < CRASHES; i++) {
        end_sessions(&w, 20 + dice(&w, 200), i);
        if (dice(&w, 3) == 0) /* some are in the store, and nobody has heard of it yet */
            assert_true(send(w.fd, SEND, strlen(SEND), MSG_NOSIGNAL) > 0);
        if (dice(&w, 3) == 0)
            settle(&w);
        crash(&w);
        if (rows[at].worker_dies) {
            w.unsure += w.queue.count;
            report_queue_clear(&w.queue);
            report_queue_init(&w.queue, rows[at].seed + i + 1);
        }
        start(&w);
    }
    assert_true(send(w.fd, SEND, strlen(SEND), MSG_NOSIGNAL) > 0);
    settle(&w);
    for (unsigned i = 0; i < DOMAINS; i++) /* all ids have come: each was checked */
        while (!*w.ids[i])
            hear(&w, true);
    assert_true(check_counts(&w) <= w.unsure);
    tear_down(&w);
}

int
main(void)
{
    struct CMUnitTest tests[sizeof rows / sizeof *rows];

    hash_key_init();
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        tests[i] = (struct CMUnitTest){ .name = rows[i].name,
                                        .test_func = test_crashes,
                                        .initial_state = (void *)(uintptr_t)i };
    return cmocka_run_group_tests_name("tlsrpt_crash", tests, NULL, NULL);
}
