#include "proxy/report_command.h"

#include "base/clock.h"
#include "base/hash_key.h"
#include "base/hostname.h"
#include "base/utc.h"
#include "policy/tlsrpt_json.h"
#include "policy/tlsrpt_outbox.h"
#include "proxy/config.h"
#include "proxy/record_stream.h"
#include "proxy/report_fold.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/stsgate/stsgate.conf"
#define ERROR_MAX 1024u
#define FILES_MAX 64u
#define DAYS_MAX 36500u

enum { EXIT_DONE = 0, EXIT_NOTHING = 1, EXIT_USAGE = 2 };
enum { OPTION_DAY = 256, OPTION_JSON, OPTION_FROM_LOG, OPTION_DAYS, OPTION_OFF };

static const char help[] =
    "Usage: stsgate report VERB [OPTION]...\n"
    "\n"
    "  list               each domain's day: what was counted, what became of its report\n"
    "  show DOMAIN        the report of a day, as JSON; by default of the last one\n"
    "  preview DOMAIN     today's, as far as it has come\n"
    "  send [DOMAIN]      send the reports of a day now, or again; by default yesterday's; the\n"
    "                     gateway, which must run, begins within a second\n"
    "  suppress [URI]     send nothing to a destination (mailto:ADDRESS, https://...) for --days,\n"
    "                     by default 7; --off: again; without URI: show those that rest\n"
    "\n"
    "  --day DAY          YYYY-MM-DD in UTC, today or yesterday\n"
    "  --json             the list as JSON, a line for each domain and day\n"
    "  --from-log FILE... of records in these files, instead of what the gateway has counted\n"
    "  -c FILE            configuration, by default " DEFAULT_CONFIG "\n"
    "  -h, --help         print this text\n"
    "\n"
    "Exit status: 0 done; 1 nothing was counted, or something failed; 2 wrong usage.\n";

struct command {
    struct config *config; /* owned; NULL: there is none, and --from-log needs none */
    const char *config_path;
    bool json, off, from_log;
    bool has_day;
    int64_t day_s, now_s;
    unsigned days;
    const char *files[FILES_MAX];
    size_t file_count;
    char domain[HOSTNAME_MAX + 1]; /* "" for none */
    const char *uri;               /* NULL for none */
    struct tlsrpt_store *store;    /* owned */
    struct report_fold *fold;      /* owned, while records are read */
    unsigned unreadable;
    enum result res; /* the first failure of the fold */
};

static int
fail(const char *what, enum result res)
{
    fprintf(stderr, "stsgate report: %s: %s\n", what, result_name(res));
    return EXIT_NOTHING;
}

/* ---- the store ---- */

/* The store is the service's own. Root takes that user's rights on, so that nothing in the file can
 * do more than its owner could, and no file of root's is left beside it. */
static bool
become_owner(const char *path)
{
    struct stat st;

    if (geteuid() != 0 || stat(path, &st) != 0 || st.st_uid == 0)
        return true;
    return setgroups(0, NULL) == 0 && setgid(st.st_gid) == 0 && setuid(st.st_uid) == 0;
}

static int
open_store(struct command *c)
{
    const char *path = c->from_log ? ":memory:" : c->config->tlsrpt_store_file;
    char error[ERROR_MAX] = "cannot become the owner of the file";

    if (!*path) {
        fprintf(stderr, "stsgate report: %s: tlsrpt_store_file is empty: nothing is counted\n",
                c->config_path);
        return EXIT_USAGE;
    }
    if (!c->from_log && access(path, F_OK) != 0) {
        fprintf(stderr, "stsgate report: %s: %s\n", path, strerror(errno));
        return EXIT_NOTHING;
    }
    if ((c->from_log || become_owner(path)) &&
        tlsrpt_store_open(path, &c->store, error, sizeof error) == RES_OK)
        return EXIT_DONE;
    fprintf(stderr, "stsgate report: %s: %s\n", path, error);
    return EXIT_NOTHING;
}

/* ---- record files ---- */

static bool
on_record(void *arg, int64_t wall_ns, struct span map)
{
    struct command *c = arg;
    enum result res = report_fold_take(c->fold, map);

    (void)wall_ns;
    if (res == RES_SYNTAX)
        c->unreadable++;
    else if (res != RES_OK)
        c->res = res;
    return c->res == RES_OK;
}

/* False: it cannot be read. */
static bool
read_file(struct command *c, const char *path)
{
    const struct record_taker taker = { .take = on_record, .arg = c };
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    enum record_stream_end end;

    if (fd < 0) {
        fprintf(stderr, "stsgate report: %s: %s\n", path, strerror(errno));
        return false;
    }
    end = record_stream(path, fd, stderr, &taker);
    if (!is_stdin)
        close(fd);
    return end == RECORD_STREAM_CLEAN;
}

static int
read_files(struct command *c)
{
    int status = EXIT_DONE;

    c->fold = report_fold_new(c->store);
    if (!c->fold)
        return fail("records", RES_NOMEM);
    for (size_t i = 0; i < c->file_count && c->res == RES_OK; i++)
        if (!read_file(c, c->files[i]))
            status = EXIT_NOTHING;
    if (c->res == RES_OK)
        c->res = report_fold_end(c->fold);
    if (c->unreadable)
        fprintf(stderr, "stsgate report: %u records say nothing that can be counted\n",
                c->unreadable);
    return c->res == RES_OK ? status : fail("records", c->res);
}

/* ---- list ---- */

struct sums {
    uint64_t succeeded, failed;
};

static bool
add_sums(void *arg, const struct tlsrpt_policy *policy)
{
    struct sums *sums = arg;

    sums->succeeded += policy->succeeded;
    sums->failed += policy->failed;
    return true;
}

static const char *
day_text(int64_t day_s, char out[16])
{
    time_t day = (time_t)day_s;
    struct tm utc;

    if (!gmtime_r(&day, &utc) || !strftime(out, 16, "%Y-%m-%d", &utc))
        snprintf(out, 16, "?");
    return out;
}

static void
print_json_line(const struct tlsrpt_entry *e, const struct sums *sums, const char *day)
{
    json_t *line = json_pack(
        "{ss ss ss sI sI si sI sI ss ss}", "day", day, "domain", e->domain, "state",
        tlsrpt_state_name(e->state), "succeeded", (json_int_t)sums->succeeded, "failed",
        (json_int_t)sums->failed, "attempts", (int)e->attempts, "due", (json_int_t)e->due_s, "sent",
        (json_int_t)e->sent_s, "report_id", e->report_id, "problem", e->problem);
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

    puts(text ? text : "{}");
    free(text);
    json_decref(line);
}

static bool
list_entry(void *arg, const struct tlsrpt_entry *e)
{
    struct command *c = arg;
    struct sums sums = { 0, 0 };
    char day[16];

    if (*c->domain && strcmp(c->domain, e->domain) != 0)
        return true;
    c->res = tlsrpt_read_policies(c->store, e->day_s, e->domain, add_sums, &sums);
    day_text(e->day_s, day);
    if (c->json)
        print_json_line(e, &sums, day);
    else
        printf("%s %s %s succeeded=%" PRIu64 " failed=%" PRIu64 "%s%s%s\n", day, e->domain,
               e->sent_s && e->state == TLSRPT_OPEN ? "sent-early" : tlsrpt_state_name(e->state),
               sums.succeeded, sums.failed, *e->problem ? " problem=\"" : "", e->problem,
               *e->problem ? "\"" : "");
    return c->res == RES_OK;
}

static int
do_list(struct command *c)
{
    enum result res = tlsrpt_outbox_list(c->store, c->has_day ? c->day_s : 0, list_entry, c);

    if (res == RES_OK)
        res = c->res;
    return res == RES_OK ? EXIT_DONE : fail("list", res);
}

/* ---- show ---- */

struct wanted {
    const char *domain;
    struct tlsrpt_entry entry;
    bool found;
};

static bool
find_entry(void *arg, const struct tlsrpt_entry *e)
{
    struct wanted *w = arg;

    if (strcmp(e->domain, w->domain) != 0)
        return true;
    w->entry = *e; /* the latest day comes first */
    w->found = true;
    return false;
}

static int
print_report(struct command *c, const struct tlsrpt_entry *e)
{
    const struct config *config = c->config;
    bool named = config && *config->tlsrpt_organization;
    const struct tlsrpt_head head = {
        .organization = named ? config->tlsrpt_organization : "preview",
        .contact = named ? config->tlsrpt_contact : "postmaster@localhost",
        .report_id = *e->report_id ? e->report_id : "preview",
        .public4 = config ? config->tlsrpt_public4 : (struct ip_addr){ .len = 0 },
        .public6 = config ? config->tlsrpt_public6 : (struct ip_addr){ .len = 0 },
    };
    char *json = NULL;
    enum result res = tlsrpt_json(c->store, e->day_s, e->domain, &head, &json);

    if (res == RES_OK)
        puts(json);
    free(json);
    if (res == RES_AGAIN) {
        fprintf(stderr, "stsgate report: what was counted for %s is gone: %s\n", e->domain,
                *e->problem ? e->problem : tlsrpt_state_name(e->state));
        return EXIT_NOTHING;
    }
    return res == RES_OK ? EXIT_DONE : fail(e->domain, res);
}

static int
do_show(struct command *c)
{
    struct wanted wanted = { .domain = c->domain };
    enum result res = tlsrpt_outbox_list(c->store, c->has_day ? c->day_s : 0, find_entry, &wanted);

    if (res != RES_OK)
        return fail("show", res);
    if (wanted.found)
        return print_report(c, &wanted.entry);
    fprintf(stderr, "stsgate report: nothing was counted for %s\n", c->domain);
    return EXIT_NOTHING;
}

/* ---- send, suppress ---- */

static int
do_send(struct command *c)
{
    int64_t day_s = c->has_day ? c->day_s : tlsrpt_day(c->now_s) - TLSRPT_DAY_S;
    unsigned count;
    enum result res =
        tlsrpt_outbox_hurry(c->store, day_s, *c->domain ? c->domain : NULL, c->now_s, &count);

    if (res != RES_OK)
        return fail("send", res);
    if (!*c->config->tlsrpt_organization) {
        fprintf(stderr, "stsgate report: %s: without tlsrpt_organization nothing is sent\n",
                c->config_path);
        return EXIT_USAGE;
    }
    printf("%u to be sent\n", count);
    return count ? EXIT_DONE : EXIT_NOTHING;
}

static bool
print_suppressed(void *arg, const char *uri, int64_t until_s, const char *reason)
{
    char day[16];

    (void)arg;
    printf("%s until=%s reason=\"%s\"\n", uri, day_text(until_s, day), reason);
    return true;
}

static int
do_suppress(struct command *c)
{
    enum result res;

    if (c->uri)
        res = tlsrpt_outbox_suppress(c->store, c->uri,
                                     c->off ? 0 : c->now_s + (int64_t)c->days * TLSRPT_DAY_S,
                                     "by command");
    else
        res = tlsrpt_outbox_suppressed(c->store, c->now_s, print_suppressed, c);
    return res == RES_OK ? EXIT_DONE : fail("suppress", res);
}

/* ---- command lines ---- */

static bool
read_day(struct command *c, const char *text)
{
    bool is_day;

    c->has_day = true;
    if (strcmp(text, "today") == 0 || strcmp(text, "yesterday") == 0) {
        c->day_s = tlsrpt_day(c->now_s) - (*text == 'y' ? TLSRPT_DAY_S : 0);
        return true;
    }
    return utc_parse(text, &c->day_s, &is_day) && is_day;
}

static bool
add_file(struct command *c, const char *path)
{
    if (c->file_count == FILES_MAX)
        return false;
    c->files[c->file_count++] = path;
    c->from_log = true;
    return true;
}

static bool
take_option(struct command *c, int option)
{
    unsigned long long days;

    switch (option) {
    case 'c':
        c->config_path = optarg;
        return true;
    case OPTION_DAY:
        return read_day(c, optarg);
    case OPTION_JSON:
        c->json = true;
        return true;
    case OPTION_OFF:
        c->off = true;
        return true;
    case OPTION_DAYS:
        if (!span_to_u64(span_of(optarg), 5, &days) || days == 0 || days > DAYS_MAX)
            return false;
        c->days = (unsigned)days;
        return true;
    case OPTION_FROM_LOG:
        return add_file(c, optarg);
    default:
        return false;
    }
}

static const struct verb {
    const char *name;
    int (*run)(struct command *c);
    enum { NO_DOMAIN, DOMAIN, PERHAPS_DOMAIN, PERHAPS_URI } argument;
    bool from_log; /* works on records, too */
} verbs[] = {
    { "list", do_list, NO_DOMAIN, true },
    { "show", do_show, DOMAIN, true },
    { "preview", do_show, DOMAIN, true },
    { "send", do_send, PERHAPS_DOMAIN, false },
    { "suppress", do_suppress, PERHAPS_URI, false },
};

static const struct verb *
verb_named(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(name, verbs[i].name) == 0)
            return &verbs[i];
    return NULL;
}

/* The words that are no options: what the verb is about, then files. */
static bool
take_words(struct command *c, const struct verb *verb, char **words, int count)
{
    int used = 0;

    if (count && (verb->argument == DOMAIN || verb->argument == PERHAPS_DOMAIN)) {
        if (hostname_normalise(span_of(words[used++]), c->domain) != RES_OK)
            return false;
    } else if (count && verb->argument == PERHAPS_URI) {
        c->uri = words[used++];
    }
    if (verb->argument == DOMAIN && used == 0)
        return false;
    while (c->from_log && used < count)
        if (!add_file(c, words[used++]))
            return false;
    return used == count && (!c->from_log || verb->from_log);
}

/* Records can be looked at where no gateway is configured. */
static int
read_config(struct command *c)
{
    bool named = c->config_path != NULL;
    char error[ERROR_MAX];

    if (!named)
        c->config_path = DEFAULT_CONFIG;
    if (c->from_log && !named && access(c->config_path, F_OK) != 0)
        return EXIT_DONE;
    if (config_read(c->config_path, &c->config, NULL, NULL, error, sizeof error) == RES_OK)
        return EXIT_DONE;
    fprintf(stderr, "%s\n", error);
    return EXIT_USAGE;
}

static int
run(struct command *c, const struct verb *verb)
{
    int status = read_config(c), read = EXIT_DONE;

    if (status == EXIT_DONE)
        status = open_store(c);
    if (status == EXIT_DONE && c->from_log)
        read = read_files(c);
    if (status == EXIT_DONE && c->res == RES_OK)
        status = verb->run(c);
    report_fold_free(c->fold);
    tlsrpt_store_close(c->store);
    config_free(c->config);
    return status > read ? status : read;
}

static int
usage(void)
{
    fputs("Try 'stsgate report --help'.\n", stderr);
    return EXIT_USAGE;
}

int
report_main(int argc, char **argv)
{
    static const struct option options[] = {
        { "day", required_argument, NULL, OPTION_DAY },
        { "json", no_argument, NULL, OPTION_JSON },
        { "from-log", required_argument, NULL, OPTION_FROM_LOG },
        { "days", required_argument, NULL, OPTION_DAYS },
        { "off", no_argument, NULL, OPTION_OFF },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    const struct clock clock = clock_system();
    struct command c = { .now_s = clock_wall_s(&clock), .days = 7 };
    const struct verb *verb;
    int option;

    hash_key_init();
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return EXIT_DONE;
        }
        if (!take_option(&c, option))
            return usage();
    }
    verb = optind < argc ? verb_named(argv[optind]) : NULL;
    if (!verb || !take_words(&c, verb, argv + optind + 1, argc - optind - 1))
        return usage();
    if (strcmp(verb->name, "preview") == 0 && !c.has_day && !c.from_log)
        (void)read_day(&c, "today");
    return run(&c, verb);
}
