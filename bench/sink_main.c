/* bench/sink_main.c: stsgate-sink, the measuring MX. It takes every mail, throws the content away
 * and counts: octets, mails, sessions, handshakes. SIGUSR1 prints what it has counted so far as one
 * line of JSON; so does the end, by SIGTERM or SIGINT. */
#include <errno.h>
#include <ev.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/program.h"
#include "bench/sink_session.h"
#include "bench/stream.h"

#define LISTENERS_MAX 8u
#define BACKLOG 65535
#define ACCEPTS_PER_EVENT 64u

static const char usage[] =
    "usage: stsgate-sink --listen ADDRESS:PORT [--listen ...] [OPTION ...]\n"
    "\n"
    "  --cert FILE --key FILE  offer STARTTLS with this certificate\n"
    "  --only-tls12            no TLS 1.3\n"
    "  --no-resumption         give no tickets\n"
    "  --slow OCTETS           read so much of a mail's content per second and session\n";

struct program {
    struct sink sink;
    struct stream_tls_config tls;
    ev_io listeners[LISTENERS_MAX];
    unsigned listener_count;
    ev_signal report, stop[2];
};

static void
print_counters(const struct sink *sink)
{
    printf("{\"program\":\"stsgate-sink\",\"sessions\":%" PRIu64 ",\"open\":%" PRIu64
           ",\"tls_sessions\":%" PRIu64 ",\"tls13_sessions\":%" PRIu64 ",\"resumed\":%" PRIu64
           ",\"mails\":%" PRIu64 ",\"octets\":%" PRIu64 ",\"failed\":%" PRIu64
           ",\"cipher\":\"%s\",\"cpu_s\":%.3f}\n",
           sink->sessions, sink->open, sink->tls_sessions, sink->tls13_sessions, sink->resumed,
           sink->mails, sink->octets, sink->failed, sink->cipher, program_cpu_s());
    (void)fflush(stdout);
}

static void
on_report(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)loop, (void)revents;
    print_counters(w->data);
}

static void
on_stop(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)w, (void)revents;
    ev_break(loop, EVBREAK_ALL);
}

static void
on_connection(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop, (void)revents;
    for (unsigned i = 0; i < ACCEPTS_PER_EVENT; i++) {
        int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EMFILE || errno == ENFILE))
            program_die("accept"); /* the run would measure the lack of descriptors */
        if (fd < 0)
            return;
        sink_session_start(w->data, fd);
    }
}

static void
listen_at(struct program *p, const char *text)
{
    static const int one = 1;
    struct program_endpoint at;
    ev_io *w = &p->listeners[p->listener_count++];
    int fd;

    program_parse_endpoint(text, &at);
    fd = socket(at.addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, (const struct sockaddr *)&at.addr, at.len) != 0 || listen(fd, BACKLOG) != 0)
        program_die(text);
    ev_io_init(w, on_connection, fd, EV_READ);
    w->data = &p->sink;
    ev_io_start(p->sink.loop, w);
}

static void
parse_options(struct program *p, int argc, char **argv)
{
    static const struct option options[] = {
        { "listen", required_argument, NULL, 'l' },  { "cert", required_argument, NULL, 'c' },
        { "key", required_argument, NULL, 'k' },     { "only-tls12", no_argument, NULL, '2' },
        { "no-resumption", no_argument, NULL, 'n' }, { "slow", required_argument, NULL, 's' },
        { "help", no_argument, NULL, 'h' },          { 0 },
    };
    int option;

    p->tls.resume = true;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'l' && p->listener_count < LISTENERS_MAX)
            listen_at(p, optarg);
        else if (option == 'c')
            p->tls.cert_file = optarg;
        else if (option == 'k')
            p->tls.key_file = optarg;
        else if (option == '2')
            p->tls.only_1_2 = true;
        else if (option == 'n')
            p->tls.resume = false;
        else if (option == 's')
            p->sink.slow_per_s = program_parse_number("slow", optarg, 1, 1u << 30);
        else
            exit((fputs(usage, option == 'h' ? stdout : stderr), option == 'h' ? 0 : 2));
    }
    if (optind != argc || p->listener_count == 0 || !p->tls.cert_file != !p->tls.key_file)
        exit((fputs(usage, stderr), 2));
}

int
main(int argc, char **argv)
{
    struct program *p = calloc(1, sizeof *p); /* the scratch is too large for a stack */

    if (!p)
        program_die("start");
    program_prepare();
    p->sink.loop = ev_default_loop(EVFLAG_AUTO);
    parse_options(p, argc, argv);
    if (p->tls.cert_file) {
        p->sink.tls = stream_tls_new(&p->tls);
        if (!p->sink.tls)
            return 1;
    }
    ev_signal_init(&p->report, on_report, SIGUSR1);
    p->report.data = &p->sink;
    ev_signal_start(p->sink.loop, &p->report);
    ev_signal_init(&p->stop[0], on_stop, SIGTERM);
    ev_signal_init(&p->stop[1], on_stop, SIGINT);
    ev_signal_start(p->sink.loop, &p->stop[0]);
    ev_signal_start(p->sink.loop, &p->stop[1]);
    ev_run(p->sink.loop, 0);
    print_counters(&p->sink);
    stream_tls_free(p->sink.tls);
    free(p);
    return 0;
}
