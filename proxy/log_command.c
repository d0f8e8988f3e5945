#include "proxy/log_command.h"

#include "base/buffer.h"
#include "proxy/record.h"
#include "proxy/record_json.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_BYTES 65536u

static const char help[] = "Usage: stsgate log FILE...\n"
                           "\n"
                           "Prints each record of the files as one line of JSON; - stands for "
                           "standard input. The keys are\n"
                           "described in docs/records.md. A record cut short at the end of a file "
                           "is mentioned and left out;\n"
                           "bytes that are no record are reported with their offset and skipped.\n"
                           "\n"
                           "  -h, --help  print this text\n"
                           "\n"
                           "Exit status: 0 all is printed; 1 bytes were skipped, or a file could "
                           "not be read or the output\n"
                           "written; 2 wrong usage.\n";

struct log_reader {
    const char *name; /* of the input, for complaints */
    int in;
    FILE *out, *err;
    struct buffer bytes;    /* read, not used yet */
    uint64_t offset;        /* of bytes in the input */
    uint64_t garbage_start; /* with in_garbage */
    bool in_garbage;
    enum log_end end;
};

/* Take n bytes off the front. */
static void
consume(struct log_reader *log, size_t n)
{
    buffer_consume(&log->bytes, n);
    log->offset += n;
}

/* A run of garbage is told once, when its end is known. */
static void
end_garbage(struct log_reader *log)
{
    if (!log->in_garbage)
        return;
    fprintf(log->err, "stsgate log: %s: bytes %" PRIu64 " to %" PRIu64 " are no record: skipped\n",
            log->name, log->garbage_start, log->offset - 1);
    log->in_garbage = false;
    log->end = LOG_END_GARBAGE;
}

static void
start_garbage(struct log_reader *log)
{
    if (log->in_garbage)
        return;
    log->in_garbage = true;
    log->garbage_start = log->offset;
}

static void
skip_garbage(struct log_reader *log)
{
    start_garbage(log);
    consume(log, record_find(buffer_span(&log->bytes), 1));
}

static void
print_record(struct log_reader *log, int64_t wall_ns, struct span map)
{
    char *line = NULL;

    if (record_json(wall_ns, map, &line) != RES_OK) {
        fprintf(log->err, "stsgate log: %s: byte %" PRIu64 ": no memory for this record: skipped\n",
                log->name, log->offset);
        log->end = LOG_END_GARBAGE;
    } else if (fprintf(log->out, "%s\n", line) < 0) {
        log->end = LOG_END_OUTPUT;
    }
    free(line);
}

/* Use up what is complete in log->bytes. Every turn consumes at least one byte. */
static void
print_complete(struct log_reader *log)
{
    while (buffer_len(&log->bytes) && log->end != LOG_END_OUTPUT) {
        int64_t wall_ns;
        struct span map;
        size_t len;

        switch (record_decode(buffer_span(&log->bytes), &len, &wall_ns, &map)) {
        case RES_OK:
            end_garbage(log);
            print_record(log, wall_ns, map);
            consume(log, len);
            break;
        case RES_AGAIN:
            return;
        case RES_NOMEM:
        case RES_SYNTAX:
        case RES_LIMIT:
        case RES_TEMPFAIL:
        case RES_DENIED:
            skip_garbage(log);
            break;
        }
    }
}

/* Get more input. False: there is no more. */
static bool
read_more(struct log_reader *log)
{
    char *place;
    ssize_t n;

    if (buffer_reserve(&log->bytes, READ_BYTES, &place) != RES_OK) {
        fprintf(log->err, "stsgate log: %s: no memory\n", log->name);
        log->end = LOG_END_GARBAGE;
        return false;
    }
    do
        n = read(log->in, place, READ_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        fprintf(log->err, "stsgate log: %s: byte %" PRIu64 ": cannot read: %s\n", log->name,
                log->offset + buffer_len(&log->bytes), strerror(errno));
        log->end = LOG_END_GARBAGE;
    }
    buffer_commit(&log->bytes, n > 0 ? (size_t)n : 0);
    return n > 0;
}

/* Offset of the first whole record behind the start of bytes; bytes.len when there is none. */
static size_t
find_whole(struct span bytes)
{
    size_t at = record_find(bytes, 1);
    int64_t wall_ns;
    struct span map;
    size_t len;

    while (at < bytes.len && record_decode(span_from(bytes, at), &len, &wall_ns, &map) != RES_OK)
        at = record_find(bytes, at + 1);
    return at;
}

/* What waits for bytes that will not come: a record cut by the end, or a torn one that would have
 * swallowed those behind it. */
static void
print_rest(struct log_reader *log)
{
    size_t at = find_whole(buffer_span(&log->bytes));

    while (log->end != LOG_END_OUTPUT && at < buffer_len(&log->bytes)) {
        start_garbage(log);
        consume(log, at);
        print_complete(log);
        at = find_whole(buffer_span(&log->bytes));
    }
    end_garbage(log);
    if (log->end != LOG_END_OUTPUT && buffer_len(&log->bytes))
        fprintf(log->err, "stsgate log: %s: byte %" PRIu64 ": the last record is cut short\n",
                log->name, log->offset);
}

enum log_end
log_stream(const char *name, int in, FILE *out, FILE *err)
{
    struct log_reader log = { .name = name, .in = in, .out = out, .err = err };

    /* What print_complete() leaves is shorter than a record may be. */
    buffer_init(&log.bytes, RECORD_MAX_BYTES + READ_BYTES);
    while (log.end != LOG_END_OUTPUT && read_more(&log)) {
        print_complete(&log);
        if (fflush(out) != 0)
            log.end = LOG_END_OUTPUT;
    }
    print_rest(&log);
    buffer_clear(&log.bytes);
    if (fflush(out) != 0)
        log.end = LOG_END_OUTPUT;
    return log.end;
}

static enum log_end
log_path(const char *path)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    enum log_end end;
    int saved;

    if (fd < 0) {
        fprintf(stderr, "stsgate log: cannot open %s: %s\n", path, strerror(errno));
        return LOG_END_GARBAGE;
    }
    end = log_stream(is_stdin ? "standard input" : path, fd, stdout, stderr);
    saved = errno;
    if (!is_stdin)
        close(fd);
    errno = saved;
    return end;
}

int
log_main(int argc, char **argv)
{
    static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
    int status = 0, c;

    optind = 0; /* glibc: begin anew, whatever main() has parsed before */
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h')
            return fputs(help, stdout) < 0 || fflush(stdout) != 0;
        fputs("Try 'stsgate log --help'.\n", stderr);
        return 2;
    }
    if (optind >= argc) {
        fputs("stsgate log: name a FILE, or - for standard input; see 'stsgate log --help'\n",
              stderr);
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* cannot fail; writing then says EPIPE */
    for (int i = optind; i < argc; i++) {
        enum log_end end = log_path(argv[i]);

        if (end == LOG_END_OUTPUT && errno == EPIPE)
            return status; /* `| head` has seen enough */
        if (end == LOG_END_OUTPUT) {
            fprintf(stderr, "stsgate log: cannot write the output: %s\n", strerror(errno));
            return 1;
        }
        if (end == LOG_END_GARBAGE)
            status = 1;
    }
    return status;
}
