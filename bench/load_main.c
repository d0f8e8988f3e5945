/* bench/load_main.c: stsgate-load, the load generator. It delivers mails to one address and says as
 * one line of JSON how many, how fast, and how long each took.
 *
 * Closed loop: so many sessions at a time; when one ends the next one starts. Open loop (--rate):
 * sessions start at fixed moments whatever the others do, and their time counts from that moment,
 * so that a server that stalls cannot hide it. */
#include <ev.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/load_session.h"
#include "bench/progress.h"
#include "bench/stream.h"

/* Sessions between connect() and their first mail, or between a release and its last: more of them
 * would measure the listener's queue. */
#define RAMP_MAX 64u
#define PROGRESS_S 0.2

static const char usage[] =
    "usage: stsgate-load --to ADDRESS:PORT [OPTION ...]\n"
    "\n"
    "  --sessions N      at a time (1)\n"
    "  --count N         sessions in all (as many as --sessions)\n"
    "  --messages N      mails in each session (1)\n"
    "  --size OCTETS     of each mail (4096)\n"
    "  --rate N          open loop: start so many sessions a second; --sessions bounds them\n"
    "  --pipelining      MAIL, RCPT and DATA in one write\n"
    "  --recipient ADDR  (user@bench.test)\n"
    "  --timeout SECONDS of silence that end a session (60)\n"
    "  --hold            after one mail each session waits; when all do, a line of JSON says so, "
    "and\n"
    "                    a line on standard input lets them go on\n"
    "  --tls-ca FILE --tls-host NAME\n"
    "                    STARTTLS of our own, with this name and a chain to these authorities\n"
    "  --only-tls12      no TLS 1.3\n"
    "  --resume          use tickets\n";

struct program {
    struct load load;
    struct stream_tls_config tls;
    uint64_t sessions, count, size;
    double rate; /* sessions per second; 0: closed loop */
    uint64_t started, active, ramping, ended;
    struct load_session **held; /* owned; room for all */
    uint64_t held_count;
    bool releasing;
    int64_t begun_ns, held_ns;
    ev_timer tick, progress;
    ev_io input;
};

/* ---- which session is next ---- */

/* When the next session is due. */
static int64_t
next_due_ns(const struct program *p)
{
    if (p->rate == 0)
        return bench_now_ns();
    return p->begun_ns + (int64_t)((double)p->started / p->rate * 1e9);
}

static void
fill(struct program *p)
{
    while (p->started < p->count && p->active < p->sessions && p->ramping < RAMP_MAX) {
        int64_t due = next_due_ns(p), now = bench_now_ns();

        if (due > now) {
            p->tick.repeat = (double)(due - now) / 1e9;
            ev_timer_again(p->load.loop, &p->tick);
            return;
        }
        p->started++;
        p->active++;
        p->ramping++;
        load_session_start(&p->load, due);
    }
}

static void
release_some(struct program *p)
{
    while (p->releasing && p->held_count && p->ramping < RAMP_MAX) {
        p->ramping++;
        load_session_release(p->held[--p->held_count]);
    }
}

static void
on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    ev_timer_stop(loop, w);
    fill(w->data);
}

static void
check_all_held(struct program *p)
{
    if (!p->load.hold || p->releasing || p->held_count == 0 || p->started < p->count ||
        p->held_count < p->active)
        return;
    p->held_ns = bench_now_ns();
    printf("{\"program\":\"stsgate-load\",\"held\":%" PRIu64 ",\"failed\":%" PRIu64 "}\n",
           p->held_count, p->load.failed);
    (void)fflush(stdout);
    ev_io_start(p->load.loop, &p->input);
}

static void
on_ready(void *arg, struct load_session *s)
{
    struct program *p = arg;

    (void)s;
    p->ramping--;
    fill(p);
}

static void
on_held(void *arg, struct load_session *s)
{
    struct program *p = arg;

    p->held[p->held_count++] = s;
    check_all_held(p);
}

static void
on_ended(void *arg, struct load_session *s, bool was_ready)
{
    struct program *p = arg;

    (void)s;
    p->active--;
    p->ended++;
    if (!was_ready || p->releasing)
        p->ramping--;
    if (p->releasing)
        release_some(p);
    else
        fill(p);
    check_all_held(p);
    if (p->ended == p->count)
        ev_break(p->load.loop, EVBREAK_ALL);
}

static void
on_input(struct ev_loop *loop, ev_io *w, int revents)
{
    struct program *p = w->data;
    char line[64];

    (void)revents;
    ev_io_stop(loop, w);
    if (read(w->fd, line, sizeof line) < 0)
        program_die("standard input");
    p->releasing = true;
    release_some(p);
}

static void
on_progress(struct ev_loop *loop, ev_timer *w, int revents)
{
    const struct program *p = w->data;
    double seconds = (double)(bench_now_ns() - p->begun_ns) / 1e9;

    (void)loop, (void)revents;
    progress_draw(p->load.mails, p->count * p->load.mails_per_session,
                  (double)p->load.mails / seconds);
}

/* ---- the plan ---- */

static void
set_recipient(struct load *load, const char *recipient)
{
    int n = snprintf(load->rcpt, sizeof load->rcpt, "RCPT TO:<%s>\r\n", recipient);

    if (n < 0 || (size_t)n >= sizeof load->rcpt)
        exit((fputs(usage, stderr), 2));
}

static bool
set_option(struct program *p, int option, const char *name)
{
    struct load *load = &p->load;

    switch (option) {
    case 't':
        program_parse_endpoint(optarg, &load->to);
        return true;
    case 'n':
        p->sessions = program_parse_number(name, optarg, 1, 1000000);
        return true;
    case 'c':
        p->count = program_parse_number(name, optarg, 1, 1u << 30);
        return true;
    case 'm':
        load->mails_per_session = program_parse_number(name, optarg, 1, 1u << 30);
        return true;
    case 's':
        p->size = program_parse_number(name, optarg, 128, 1u << 30);
        return true;
    case 'r':
        p->rate = (double)program_parse_number(name, optarg, 1, 1000000);
        return true;
    case 'o':
        load->timeout_s = (double)program_parse_number(name, optarg, 1, 3600);
        return true;
    case 'R':
        set_recipient(load, optarg);
        return true;
    case 'p':
        load->pipelining = true;
        return true;
    case 'h':
        load->hold = true;
        return true;
    case 'a':
        p->tls.ca_file = optarg;
        return true;
    case 'N':
        p->tls.host = optarg;
        return true;
    case '2':
        p->tls.only_1_2 = true;
        return true;
    case 'e':
        p->tls.resume = true;
        return true;
    default:
        return false;
    }
}

static void
parse_options(struct program *p, int argc, char **argv)
{
    static const struct option options[] = {
        { "to", required_argument, NULL, 't' },      { "sessions", required_argument, NULL, 'n' },
        { "count", required_argument, NULL, 'c' },   { "messages", required_argument, NULL, 'm' },
        { "size", required_argument, NULL, 's' },    { "rate", required_argument, NULL, 'r' },
        { "timeout", required_argument, NULL, 'o' }, { "recipient", required_argument, NULL, 'R' },
        { "pipelining", no_argument, NULL, 'p' },    { "hold", no_argument, NULL, 'h' },
        { "tls-ca", required_argument, NULL, 'a' },  { "tls-host", required_argument, NULL, 'N' },
        { "only-tls12", no_argument, NULL, '2' },    { "resume", no_argument, NULL, 'e' },
        { "help", no_argument, NULL, 'H' },          { 0 },
    };
    int option, index = 0;

    while ((option = getopt_long(argc, argv, "", options, &index)) != -1)
        if (!set_option(p, option, options[index].name))
            exit((fputs(usage, option == 'H' ? stdout : stderr), option == 'H' ? 0 : 2));
    if (optind != argc || p->load.to.len == 0 || !p->tls.ca_file != !p->tls.host)
        exit((fputs(usage, stderr), 2));
    if (p->count == 0)
        p->count = p->sessions;
    if (p->load.hold && (p->count != p->sessions || p->load.mails_per_session < 2)) {
        fputs("--hold needs --count as large as --sessions, and --messages 2 or more\n", stderr);
        exit(2);
    }
}

static void
print_result(const struct program *p, double seconds)
{
    const struct load *load = &p->load;

    printf("{\"program\":\"stsgate-load\",\"sessions\":%" PRIu64 ",\"mails\":%" PRIu64
           ",\"octets\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"first_error\":\"",
           p->ended, load->mails, load->octets, load->failed);
    for (const char *c = load->first_error; *c; c++)
        putchar(*c >= ' ' && *c <= '~' && *c != '"' && *c != '\\' ? *c : '?');
    printf("\",\"seconds\":%.4f,\"cpu_s\":%.3f,\"tls\":\"%s\",\"tls_sessions\":%" PRIu64
           ",\"resumed\":%" PRIu64 ",\"mail_ms\":",
           seconds, program_cpu_s(), load->tls_name, load->tls_sessions, load->resumed);
    histogram_print_json(&load->mail_ns, stdout);
    fputs(",\"session_ms\":", stdout);
    histogram_print_json(&load->session_ns, stdout);
    puts("}");
}

static void
prepare(struct program *p)
{
    struct load *load = &p->load;

    load->loop = ev_default_loop(EVFLAG_AUTO);
    load->ready = on_ready;
    load->held = on_held;
    load->ended = on_ended;
    load->arg = p;
    snprintf(load->mail, sizeof load->mail, "MAIL FROM:<sender@load.lab.test>\r\n");
    if (load_content_init(&load->content, p->size) != RES_OK)
        program_die("content");
    if (p->tls.ca_file) {
        load->tls = stream_tls_new(&p->tls);
        if (!load->tls)
            exit(1);
    }
    p->held = calloc(p->sessions, sizeof(struct load_session *));
    if (!p->held)
        program_die("start");
    ev_init(&p->tick, on_tick);
    ev_timer_init(&p->progress, on_progress, PROGRESS_S, PROGRESS_S);
    ev_io_init(&p->input, on_input, STDIN_FILENO, EV_READ);
    p->tick.data = p->progress.data = p->input.data = p;
    ev_timer_start(load->loop, &p->progress);
}

int
main(int argc, char **argv)
{
    struct program *p = calloc(1, sizeof *p); /* the histograms are too large for a stack */
    double seconds;
    int status;

    if (!p)
        program_die("start");
    p->sessions = p->load.mails_per_session = 1;
    p->size = 4096;
    p->load.timeout_s = 60;
    set_recipient(&p->load, "user@bench.test");
    parse_options(p, argc, argv);
    program_prepare();
    prepare(p);
    p->begun_ns = bench_now_ns();
    fill(p);
    ev_run(p->load.loop, 0);
    seconds = (double)(bench_now_ns() - p->begun_ns) / 1e9;
    progress_clear();
    print_result(p, seconds);
    status = p->load.failed || p->load.mails < p->count * p->load.mails_per_session ? 1 : 0;
    stream_tls_free(p->load.tls);
    free(p->held);
    load_content_clear(&p->load.content);
    free(p);
    return status;
}
