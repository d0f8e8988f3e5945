/* proxy/check_main.c: `stsgate check`: the whole story of a domain, and what the gateway would do
 * with mail to it (docs/check.md). A program of its own: like a worker it links BoringSSL, and like
 * the supervisor it has a policy process, so nothing it says is said in another way than to mail.
 */
#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash_key.h"
#include "base/log.h"
#include "proxy/check_findings.h"
#include "proxy/check_policy.h"
#include "proxy/check_report.h"
#include "proxy/check_show.h"
#include "proxy/mx_leg.h"
#include "proxy/mx_roots.h"
#include "proxy/sandbox.h"

#define DEFAULT_CONFIG "/etc/stsgate/stsgate.conf"
#define ERROR_MAX 1024u
#define DOMAINS_MAX 100000u /* lines of one list */

struct check {
    struct ev_loop *loop;
    struct config *config;
    struct check_policy *policy;
    struct probe_shared probes;
    bool json, colour, progress;
    struct check_report report;
    unsigned open;    /* connections that are not over */
    unsigned checked; /* domains of a list */
};

struct options {
    const char *config, *list;
    bool json;
    const char *domain;
};

/* ---- one domain ---- */

static void
show_progress(const struct check *c, const char *what)
{
    if (c->progress)
        fprintf(stderr, "\r\033[K%s: %s", c->report.domain, what);
}

static void
on_part(void *arg, struct span map)
{
    struct check *c = arg;

    check_report_add_part(&c->report, map);
}

static void
on_probed(void *arg, struct probe_result *result)
{
    struct check *c = arg;
    char text[64];

    c->report.connections[c->report.connection_count++] = *result;
    snprintf(text, sizeof text, "%u connections are open", --c->open);
    show_progress(c, text);
    if (c->open == 0)
        ev_break(c->loop, EVBREAK_ONE);
}

/* Every address at every port, side by side. */
static void
start_probes(struct check *c)
{
    const struct config *config = c->config;
    struct ip_addr addrs[CHECK_CONNECTIONS_MAX];
    size_t found = check_report_addresses(&c->report, addrs, CHECK_CONNECTIONS_MAX);
    size_t count = found < CHECK_CONNECTIONS_MAX ? found : CHECK_CONNECTIONS_MAX;

    c->report.cut = found * config->destination_port_count > CHECK_CONNECTIONS_MAX;
    for (size_t i = 0; i < count; i++)
        for (size_t port = 0; port < config->destination_port_count; port++) {
            if (c->open == CHECK_CONNECTIONS_MAX)
                return;
            if (probe_start(&c->probes, c->report.domain, &addrs[i],
                            config->destination_ports[port], on_probed, c) == RES_OK)
                c->open++;
            else
                c->report.broken = true;
        }
}

static void
on_inspected(void *arg, bool whole)
{
    struct check *c = arg;

    c->report.broken |= !whole;
    show_progress(c, "connecting");
    start_probes(c);
    if (c->open == 0)
        ev_break(c->loop, EVBREAK_ONE);
}

/* In the order of the addresses, not of the clock. */
static int
by_address(const void *a, const void *b)
{
    const struct probe_result *x = a, *y = b;
    int order = (int)x->destination.len - (int)y->destination.len;

    if (order == 0)
        order = memcmp(x->destination.bytes, y->destination.bytes, sizeof x->destination.bytes);
    return order ? order : (int)x->port - (int)y->port;
}

static enum check_verdict
check_domain(struct check *c, const char *domain)
{
    struct check_report *report = &c->report;
    enum check_verdict verdict;

    check_report_init(report, domain);
    show_progress(c, "looking up");
    check_policy_inspect(c->policy, domain, on_part, on_inspected, c);
    ev_run(c->loop, 0);
    if (c->progress)
        fputs("\r\033[K", stderr);
    qsort(report->connections, report->connection_count, sizeof *report->connections, by_address);
    check_find_in_resolver(report);
    check_find_in_policy(report);
    check_find_in_dns(report);
    check_find_in_connections(report);
    verdict = report->verdict = check_report_judge(report);
    if (!c->json)
        check_show_text(report, stdout, c->colour);
    else if (check_show_json(report, stdout) != RES_OK)
        fprintf(stderr, "stsgate check: %s: no memory for its report\n", domain);
    check_report_clear(report);
    return verdict;
}

/* ---- a list of them ---- */

/* Of several domains the one that has most to say: refused, not known, unprotected. */
static enum check_verdict
worse(enum check_verdict a, enum check_verdict b)
{
    static const unsigned ranks[] = { [CHECK_PASS] = 0,
                                      [CHECK_REFUSE] = 3,
                                      [CHECK_NO_POLICY] = 1,
                                      [CHECK_TEMPORARY] = 2,
                                      [CHECK_USAGE] = 4 };

    return ranks[a] > ranks[b] ? a : b;
}

/* What is written like an address is no domain to look up (TC-TXT-30). */
static bool
read_domain(struct span text, char out[HOSTNAME_MAX + 1])
{
    return hostname_normalise(text, out) == RES_OK && !hostname_is_ip_like(span_of(out));
}

static enum check_verdict
check_line(struct check *c, struct span text, const char *name, unsigned number)
{
    char domain[HOSTNAME_MAX + 1];

    text = span_first(text, span_find(text, '\n'));
    text = span_trim(span_first(text, span_find(text, '#')));
    if (text.len && text.ptr[text.len - 1] == '\r')
        text = span_trim(span_first(text, text.len - 1));
    if (text.len == 0)
        return CHECK_PASS;
    if (!read_domain(text, domain)) {
        fprintf(stderr, "stsgate check: %s:%u: no domain name in A-labels\n", name, number);
        return CHECK_USAGE;
    }
    if (!c->json && c->checked++)
        putchar('\n');
    return check_domain(c, domain);
}

/* A domain a line, as for `stsgate policy warm`. Each is checked before the next is read. A list
 * that has not been gone through to its end is never called good. */
static enum check_verdict
check_list(struct check *c, FILE *file, const char *name)
{
    enum check_verdict verdict = CHECK_PASS;
    unsigned number = 0;
    char *line = NULL;
    size_t size = 0;
    ssize_t len;

    while (number < DOMAINS_MAX && !ferror(stdout) && (len = getline(&line, &size, file)) >= 0) {
        verdict = worse(verdict, check_line(c, span_make(line, (size_t)len), name, ++number));
        (void)fflush(stdout); /* seen by ferror() */
    }
    free(line);
    if (ferror(stdout) || ferror(file) || getc(file) != EOF) {
        fprintf(stderr, "stsgate check: %s: %s\n", name,
                ferror(stdout) ? "the output cannot be written"
                : ferror(file) ? "cannot be read to its end"
                               : "has more lines than are checked");
        verdict = CHECK_USAGE;
    }
    return verdict;
}

/* ---- what it takes ---- */

/* Without the right to mark connections they are made unmarked: a check needs no privilege. */
static uint32_t
usable_mark(uint32_t mark)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool may = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0;

    if (fd >= 0)
        close(fd);
    if (mark && !may)
        fputs("stsgate check: no right to set upstream_mark: where this host's own mail is "
              "intercepted, what is checked is the gateway\n",
              stderr);
    return may ? mark : 0;
}

static bool
open_tls(struct check *c)
{
    char error[MX_ROOTS_ERROR_MAX];

    c->loop = ev_loop_new(EVFLAG_AUTO);
    c->probes = (struct probe_shared){ .world = { .loop = c->loop,
                                                  .clock = clock_system(),
                                                  .scratch = malloc(MX_LEG_SCRATCH_BYTES) },
                                       .config = c->config };
    if (!c->loop || !c->probes.world.scratch) {
        fputs("stsgate check: no memory\n", stderr);
        return false;
    }
    if (mx_roots_open(c->config, &c->probes.world.tls, &c->probes.world.tls_count, error) == RES_OK)
        return true;
    fprintf(stderr, "stsgate check: %s\n", error);
    return false;
}

/* As confined as a worker, before the first octet of a stranger: no files, no programs. */
static bool
open_all(struct check *c, const char *config_name, struct span config_text)
{
    char error[ERROR_MAX];

    if (!open_tls(c))
        return false;
    if (sandbox_become(c->config->user, error, sizeof error) != RES_OK) {
        fprintf(stderr, "stsgate check: %s\n", error);
        return false;
    }
    if (check_policy_new(c->loop, &c->probes.world.clock, config_name, config_text, &c->policy) !=
        RES_OK) {
        fputs("stsgate check: stsgate-policy cannot be started: is it installed?\n", stderr);
        return false;
    }
    if (sandbox_close(SANDBOX_WORKER, c->config) != RES_OK)
        return false; /* said in the log */
    c->probes.world.mark = usable_mark(c->config->upstream_mark);
    c->probes.world.policy = check_policy_client(c->policy);
    return true;
}

static void
close_all(struct check *c)
{
    check_policy_free(c->policy);
    mx_roots_close(c->probes.world.tls, c->probes.world.tls_count);
    free(c->probes.world.scratch);
    if (c->loop)
        ev_loop_destroy(c->loop);
}

static FILE *
open_list(const char *name)
{
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");

    if (!file)
        fprintf(stderr, "stsgate check: %s: %s\n", name, strerror(errno));
    return file;
}

static int
run(const struct options *o, const char *domain)
{
    static struct check c; /* a report is too large for a stack to be nice */
    char error[ERROR_MAX], *text = NULL;
    enum check_verdict verdict = CHECK_USAGE;
    FILE *list = NULL;
    size_t text_len;

    if (o->list && !(list = open_list(o->list)))
        return CHECK_USAGE;
    if (config_read(o->config, &c.config, &text, &text_len, error, sizeof error) != RES_OK) {
        fprintf(stderr, "%s\n", error);
        goto done;
    }
    c.json = o->json;
    c.colour = !o->json && isatty(STDOUT_FILENO);
    c.progress = isatty(STDERR_FILENO);
    if (open_all(&c, o->config, span_make(text, text_len)))
        verdict = list ? check_list(&c, list, o->list) : check_domain(&c, domain);
    close_all(&c);
done:
    config_free(c.config);
    free(text);
    if (list && list != stdin)
        fclose(list);
    return (int)verdict;
}

static bool
read_options(int argc, char **argv, struct options *out)
{
    *out = (struct options){ .config = DEFAULT_CONFIG };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-c") == 0 && i + 1 < argc)
            out->config = argv[++i];
        else if (strcmp(argv[i], "--all") == 0 && i + 1 < argc && !out->list)
            out->list = argv[++i];
        else if (strcmp(argv[i], "--json") == 0)
            out->json = true;
        else if (argv[i][0] == '-' || out->domain)
            return false;
        else
            out->domain = argv[i];
    }
    return !out->domain != !out->list;
}

static const char usage[] =
    "usage: stsgate check DOMAIN [--json] [-c FILE]\n"
    "       stsgate check --all LIST [--json] [-c FILE]\n\n"
    "LIST: one domain a line, # begins a comment; -: standard input.\n\n"
    "Exit status (of a list the worst one, in the order 4, 1, 3, 2, 0):\n"
    "  0  mail passes, and a policy, TLSA records or an override demanded something of it\n"
    "  1  the gateway would refuse mail, at one MX address at least\n"
    "  2  mail passes, and nothing protects it\n"
    "  3  it cannot be said now: a look-up fails, the resolver does not answer, or no MX is "
    "reached\n"
    "  4  wrong usage or configuration\n";

int
main(int argc, char **argv)
{
    char domain[HOSTNAME_MAX + 1] = "";
    struct options o;

    log_init("check", LOG_LEVEL_ERROR);
    hash_key_init();
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    if (!read_options(argc, argv, &o)) {
        fputs(usage, stderr);
        return CHECK_USAGE;
    }
    if (o.domain && !read_domain(span_of(o.domain), domain)) {
        fprintf(stderr, "stsgate check: %s is no domain name in A-labels\n", o.domain);
        return CHECK_USAGE;
    }
    return run(&o, domain);
}
