#include "proxy/log_command.h"

#include "base/clock.h"
#include "base/hash_key.h"
#include "proxy/config.h"
#include "proxy/file_follow.h"
#include "proxy/log_filter.h"
#include "proxy/log_summary.h"
#include "proxy/record_json.h"
#include "proxy/rejudge.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/stsgate/stsgate.conf"

static const char help[] =
    "Usage: stsgate log [OPTION]... [FILE]...\n"
    "\n"
    "Prints each record of the files as one line of JSON; - stands for standard input. Without a\n"
    "FILE it is the record_file of the configuration. The keys are described in docs/records.md.\n"
    "A record cut short at the end of a file is mentioned and left out; bytes that are no record\n"
    "are reported with their offset and skipped.\n"
    "\n"
    "Which records; all that is given must hold:\n"
    "  --domain NAME     of this recipient or policy domain\n"
    "  --mx NAME         of this MX host\n"
    "  --event EVENT     recipient, session, survey, relay, passthrough, policy, process\n"
    "  --outcome WORD    delivered, refused, rejected, failed\n"
    "  --verdict WORD    allow, refuse\n"
    "  --would WORD      allow, refuse: with everything enforced\n"
    "  --result TYPE     result-type of RFC 8460, or success\n"
    "  --session ID      of this session\n"
    "  --client ADDRESS  of this client\n"
    "  --since TIME      at or after; YYYY-MM-DD[Thh:mm:ssZ] in UTC, or 90s, 30m, 2h, 3d ago\n"
    "  --until TIME      before\n"
    "\n"
    "What to do with them:\n"
    "  -f, --follow      go on with what is added, also after the file has been rotated\n"
    "  --summary         how many recipients of each domain were protected how, and refused why\n"
    "  --rejudge         makes each verdict again from its record, and tells those that differ\n"
    "  --json            the summary as JSON, a line for each domain and one for the total\n"
    "\n"
    "  -c FILE           configuration, by default " DEFAULT_CONFIG "\n"
    "  -h, --help        print this text\n"
    "\n"
    "Exit status: 0 all is printed; 1 bytes were skipped, or a file could not be read or the\n"
    "output written, or a verdict differs; 2 wrong usage.\n";

enum { OPTION_FILTER = 256, OPTION_SUMMARY, OPTION_REJUDGE, OPTION_JSON };

struct log_command {
    struct log_filter filter;
    struct log_summary *summary; /* owned; NULL: records are printed */
    bool json, follow, rejudge;
    uint64_t rejudged[REJUDGE_DIFFERENT + 1], unreadable;
    const char *config_path;
    FILE *out, *err;
    struct file_follow *following; /* owned; NULL: no file is followed */
    bool failed;                   /* memory ran out for a record */
};

/* ---- records ---- */

static bool
print_record(struct log_command *log, int64_t wall_ns, struct span map)
{
    char *line = NULL;
    bool ok = true;

    if (record_json(wall_ns, map, &line) != RES_OK) {
        fputs("stsgate log: no memory for a record: skipped\n", log->err);
        log->failed = true;
    } else {
        ok = fprintf(log->out, "%s\n", line) >= 0;
    }
    free(line);
    return ok;
}

/* False: the output takes no more. */
static bool
rejudge_record(struct log_command *log, struct span map)
{
    char difference[REJUDGE_TEXT_MAX];
    enum rejudge_outcome outcome;

    if (rejudge(map, &outcome, difference) != RES_OK) {
        log->unreadable++;
        return true;
    }
    log->rejudged[outcome]++;
    return outcome != REJUDGE_DIFFERENT || fprintf(log->out, "%s\n", difference) >= 0;
}

static bool
on_record(void *arg, int64_t wall_ns, struct span map)
{
    struct log_command *log = arg;

    if (!log_filter_matches(&log->filter, wall_ns, map))
        return true;
    if (log->rejudge)
        return rejudge_record(log, map);
    if (!log->summary)
        return print_record(log, wall_ns, map);
    if (log_summary_add(log->summary, map) != RES_OK)
        log->failed = true;
    return true;
}

static bool
on_pause(void *arg)
{
    struct log_command *log = arg;

    return fflush(log->out) == 0;
}

static bool
on_end(void *arg)
{
    struct log_command *log = arg;

    return log->following && file_follow_wait(log->following);
}

static enum record_stream_end
read_records(struct log_command *log, const char *name, int in)
{
    const struct record_taker taker = {
        .take = on_record, .pause = on_pause, .more = on_end, .arg = log
    };
    enum record_stream_end end = record_stream(name, in, log->err, &taker);

    if (fflush(log->out) != 0)
        return RECORD_STREAM_STOPPED;
    if (log->failed && end == RECORD_STREAM_CLEAN)
        return RECORD_STREAM_GARBAGE;
    return end;
}

enum record_stream_end
log_stream(const char *name, int in, FILE *out, FILE *err)
{
    struct log_command log = { .out = out, .err = err };

    return read_records(&log, name, in);
}

/* ---- files ---- */

/* As long as the name stands for a file that can be followed: the next one when it is rotated. */
static enum record_stream_end
follow_path(struct log_command *log, const char *path)
{
    enum record_stream_end end = RECORD_STREAM_CLEAN;
    int fd;

    log->following = file_follow_new(path);
    if (!log->following) {
        fprintf(log->err, "stsgate log: cannot follow %s: %s\n", path, strerror(errno));
        return RECORD_STREAM_GARBAGE;
    }
    while (end != RECORD_STREAM_STOPPED && (fd = file_follow_open(log->following)) >= 0) {
        enum record_stream_end one = read_records(log, path, fd);

        end = one == RECORD_STREAM_CLEAN ? end : one;
    }
    file_follow_free(log->following);
    log->following = NULL;
    return end;
}

static enum record_stream_end
log_path(struct log_command *log, const char *path)
{
    bool is_stdin = strcmp(path, "-") == 0;
    enum record_stream_end end;
    int fd, saved;

    if (log->follow && !is_stdin)
        return follow_path(log, path);
    fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        fprintf(log->err, "stsgate log: cannot open %s: %s\n", path, strerror(errno));
        return RECORD_STREAM_GARBAGE;
    }
    end = read_records(log, is_stdin ? "standard input" : path, fd);
    saved = errno;
    if (!is_stdin)
        close(fd);
    errno = saved;
    return end;
}

/* The exit status so far, and whether to go on with the next file. */
static bool
take_end(struct log_command *log, enum record_stream_end end, int *status)
{
    if (end == RECORD_STREAM_GARBAGE)
        *status = 1;
    if (end != RECORD_STREAM_STOPPED)
        return true;
    if (errno != EPIPE) { /* `| head` has seen enough */
        fprintf(log->err, "stsgate log: cannot write the output: %s\n", strerror(errno));
        *status = 1;
    }
    return false;
}

static int
finish_summary(struct log_command *log)
{
    enum result res = log->json ? log_summary_print_json(log->summary, log->out)
                                : log_summary_print(log->summary, log->out);

    if (res != RES_OK)
        fputs("stsgate log: no memory\n", log->err);
    return res == RES_OK ? 0 : 1;
}

static int
finish_rejudge(struct log_command *log)
{
    fprintf(log->out,
            "%" PRIu64 " the same, %" PRIu64 " different, %" PRIu64 " cut, %" PRIu64
            " not to be read\n",
            log->rejudged[REJUDGE_SAME], log->rejudged[REJUDGE_DIFFERENT],
            log->rejudged[REJUDGE_CUT], log->unreadable);
    return log->rejudged[REJUDGE_DIFFERENT] || log->unreadable ? 1 : 0;
}

static int
log_files(struct log_command *log, char **paths, int count)
{
    int status = 0, finished = 0;

    for (int i = 0; i < count; i++)
        if (!take_end(log, log_path(log, paths[i]), &status))
            return status;
    if (log->rejudge)
        finished = finish_rejudge(log);
    else if (log->summary)
        finished = finish_summary(log);
    if (fflush(log->out) != 0)
        (void)take_end(log, RECORD_STREAM_STOPPED, &status);
    return status > finished ? status : finished;
}

/* The file that the gateway writes. */
static int
log_configured(struct log_command *log)
{
    struct config *config;
    char error[1024];
    int status;

    if (config_read(log->config_path, &config, NULL, NULL, error, sizeof error) != RES_OK) {
        fprintf(log->err, "%s\nstsgate log: name a FILE, or a configuration with -c\n", error);
        return 2;
    }
    if (config->record_file[0]) {
        status = log_files(log, &config->record_file, 1);
    } else {
        fprintf(log->err, "stsgate log: %s has no record_file\n", log->config_path);
        status = 2;
    }
    config_free(config);
    return status;
}

/* ---- options ---- */

static bool
take_option(struct log_command *log, int c, const char *name)
{
    const struct clock clock = clock_system();

    switch (c) {
    case 'c':
        log->config_path = optarg;
        return true;
    case 'f':
        log->follow = true;
        return true;
    case OPTION_SUMMARY:
        if (!log->summary)
            log->summary = log_summary_new();
        return log->summary != NULL;
    case OPTION_REJUDGE:
        log->rejudge = true;
        return true;
    case OPTION_JSON:
        log->json = true;
        return true;
    case OPTION_FILTER:
        if (log_filter_set(&log->filter, name, optarg, clock_wall_s(&clock)))
            return true;
        fprintf(log->err, "stsgate log: --%s: %s is not possible here\n", name, optarg);
        break;
    default:
        break;
    }
    fputs("Try 'stsgate log --help'.\n", log->err);
    return false;
}

/* False: usage is wrong, and that has been said. */
static bool
is_consistent(const struct log_command *log, int files)
{
    const char *wrong = NULL;

    if (log->rejudge && log->summary)
        wrong = "--rejudge and --summary are two things";
    else if (log->follow && (log->summary || log->rejudge))
        wrong = "--follow never ends, so there is nothing to add up";
    else if (log->follow && files > 1)
        wrong = "--follow takes one FILE";
    else if (log->json && !log->summary)
        wrong = "--json belongs to --summary; records are JSON anyway";
    if (wrong)
        fprintf(log->err, "stsgate log: %s\n", wrong);
    return !wrong;
}

static int
run(struct log_command *log, int argc, char **argv)
{
    static const struct option options[] = {
        { "domain", required_argument, NULL, OPTION_FILTER },
        { "mx", required_argument, NULL, OPTION_FILTER },
        { "event", required_argument, NULL, OPTION_FILTER },
        { "outcome", required_argument, NULL, OPTION_FILTER },
        { "verdict", required_argument, NULL, OPTION_FILTER },
        { "would", required_argument, NULL, OPTION_FILTER },
        { "result", required_argument, NULL, OPTION_FILTER },
        { "session", required_argument, NULL, OPTION_FILTER },
        { "client", required_argument, NULL, OPTION_FILTER },
        { "since", required_argument, NULL, OPTION_FILTER },
        { "until", required_argument, NULL, OPTION_FILTER },
        { "follow", no_argument, NULL, 'f' },
        { "summary", no_argument, NULL, OPTION_SUMMARY },
        { "rejudge", no_argument, NULL, OPTION_REJUDGE },
        { "json", no_argument, NULL, OPTION_JSON },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    int c, index = 0;

    optind = 0; /* glibc: begin anew, whatever main() has parsed before */
    while ((c = getopt_long(argc, argv, "c:fh", options, &index)) != -1) {
        if (c == 'h')
            return fputs(help, stdout) < 0 || fflush(stdout) != 0;
        if (!take_option(log, c, options[index].name))
            return 2;
    }
    if (!is_consistent(log, argc - optind))
        return 2;
    (void)signal(SIGPIPE, SIG_IGN); /* cannot fail; writing then says EPIPE */
    return optind < argc ? log_files(log, argv + optind, argc - optind) : log_configured(log);
}

int
log_main(int argc, char **argv)
{
    struct log_command log = { .config_path = DEFAULT_CONFIG, .out = stdout, .err = stderr };
    int status;

    hash_key_init();
    status = run(&log, argc, argv);
    log_summary_free(log.summary);
    return status;
}
