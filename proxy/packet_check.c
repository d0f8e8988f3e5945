#include "proxy/packet_check.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "proxy/packet_rules.h"

#define OUTPUT_MAX (1024u * 1024u)
#define LINES_MAX 4096u
#define LIST_OURS "nft list table " PACKET_RULES_TABLE
#define EXIT_NO_NAMESPACE 125
#define EXIT_NOT_FOUND 127 /* as sh has it */

/* ---- running a command ---- */

/* In the child. */
static void __attribute__((noreturn))
run(const char *command, int input, int output, bool quiet, bool apart)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || dup2(input < 0 ? null : input, STDIN_FILENO) < 0 ||
        dup2(output, STDOUT_FILENO) < 0 || (quiet && dup2(null, STDERR_FILENO) < 0))
        _exit(EXIT_FAILURE);
    if (apart && unshare(CLONE_NEWNET) != 0)
        _exit(EXIT_NO_NAMESPACE);
    (void)setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1);
    (void)setenv("LC_ALL", "C", 1);
    (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(EXIT_FAILURE);
}

static enum result
read_all(int fd, struct buffer *out)
{
    char bytes[4096];
    ssize_t n;

    while ((n = read(fd, bytes, sizeof bytes)) > 0 || (n < 0 && errno == EINTR))
        if (n > 0 && buffer_append(out, span_make(bytes, (size_t)n)) != RES_OK)
            return RES_NOMEM;
    return n == 0 ? RES_OK : RES_TEMPFAIL;
}

struct job {
    const char *command; /* of sh */
    int input;           /* -1: nothing */
    bool apart;          /* in a network namespace of its own */
    bool quiet;          /* its complaints are expected */
};

/* out_status: of the command, as from exit(). */
static enum result
ask(const struct job *job, struct buffer *out, int *out_status)
{
    int ends[2], status;
    enum result res;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return RES_NOMEM;
    pid = fork();
    if (pid == 0)
        run(job->command, job->input, ends[1], job->quiet, job->apart);
    close(ends[1]);
    res = pid > 0 ? read_all(ends[0], out) : RES_NOMEM;
    close(ends[0]);
    if (pid > 0 && waitpid(pid, &status, 0) == pid)
        *out_status = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
    return res;
}

/* ---- comparing ---- */

struct line {
    struct span block; /* "chain prerouting", "set inside", ... */
    struct span text;
    bool used;
};

struct listing {
    struct line lines[LINES_MAX];
    size_t count;
};

static struct span
trimmed(struct span s)
{
    while (s.len && isspace((unsigned char)s.ptr[0]))
        s = span_from(s, 1);
    while (s.len && isspace((unsigned char)s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* Lines with the block that they are in; braces and what counters have counted are left out. False:
 * too many. */
static bool
split(struct span text, struct listing *out)
{
    struct span block = span_make("", 0);

    out->count = 0;
    while (text.len) {
        size_t end = span_find(text, '\n');
        struct span line = trimmed(span_first(text, end));

        text = span_from(text, end < text.len ? end + 1 : end);
        if (line.len && line.ptr[line.len - 1] == '{')
            block = trimmed(span_first(line, line.len - 1));
        else if (line.len == 0 || span_equal(line, span_of("}")) ||
                 span_starts(line, span_of("packets ")))
            continue;
        if (out->count == LINES_MAX)
            return false;
        out->lines[out->count++] = (struct line){ .block = block, .text = line };
    }
    return true;
}

static bool
is_same(const struct line *a, const struct line *b)
{
    return span_equal(a->block, b->block) && span_equal(a->text, b->text);
}

static void
say(FILE *out, const char *what, const struct line *line)
{
    fprintf(out, "%s in table " PACKET_RULES_TABLE ", %.*s: %.*s\n", what, (int)line->block.len,
            line->block.ptr, (int)line->text.len, line->text.ptr);
}

static unsigned
compare(const struct listing *ours, struct listing *live, FILE *out)
{
    unsigned faults = 0;

    for (size_t i = 0; i < ours->count; i++) {
        size_t at = 0;

        while (at < live->count &&
               (live->lines[at].used || !is_same(&ours->lines[i], &live->lines[at])))
            at++;
        if (at < live->count) {
            live->lines[at].used = true;
            continue;
        }
        say(out, "missing", &ours->lines[i]);
        faults++;
    }
    for (size_t i = 0; i < live->count; i++)
        if (!live->lines[i].used) {
            say(out, "not ours", &live->lines[i]);
            faults++;
        }
    for (size_t i = 0; !faults && i < ours->count; i++)
        if (!is_same(&ours->lines[i], &live->lines[i])) {
            say(out, "not in its place", &live->lines[i]);
            faults++;
        }
    return faults;
}

/* ---- what the kernel lacks ---- */

/* A part of our rules that a kernel may be built without. */
struct need {
    const char *words; /* in the rules that need it; "": in all */
    const char *name;
    const char *chain, *rule; /* the least that uses it */
};

static const struct need needs[] = {
    { "", "nftables with tables of family inet", "type filter hook prerouting priority 0",
      "accept" },
    { " tproxy ", "tproxy (module nft_tproxy; listen_redirect does without)",
      "type filter hook prerouting priority -150", "meta l4proto tcp tproxy ip to :1" },
    { "socket transparent", "socket (module nft_socket; listen_redirect does without)",
      "type filter hook prerouting priority -150", "meta l4proto tcp socket transparent 1" },
    { "redirect to", "redirect (module nft_redir)", "type nat hook prerouting priority -100",
      "meta l4proto tcp redirect to :1" },
    { "fib daddr", "fib (module nft_fib_inet)", "type filter hook prerouting priority -150",
      "fib daddr type local return" },
    { "reject with", "reject (module nft_reject_inet)", "type filter hook forward priority 0",
      "meta l4proto tcp reject with tcp reset" },
};

/* False: the kernel cannot do it. */
static bool
is_there(const struct need *need)
{
    struct buffer answer;
    char command[256];
    int status = 0;
    enum result res;

    snprintf(command, sizeof command,
             "nft 'add table inet try; add chain inet try c { %s; }; add rule inet try c %s'",
             need->chain, need->rule);
    buffer_init(&answer, OUTPUT_MAX);
    res = ask(&(struct job){ .command = command, .input = -1, .apart = true, .quiet = true },
              &answer, &status);
    buffer_clear(&answer);
    return res != RES_OK || status == 0 || status == EXIT_NO_NAMESPACE;
}

/* On standard error: what of the rules it is that this kernel cannot do. Nothing: it is something
 * else. Without the tables nothing else can be known. */
static void
explain(struct span rules)
{
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
        const char *words = needs[i].words;

        if (!memmem(rules.ptr, rules.len, words, strlen(words)) || is_there(&needs[i]))
            continue;
        fprintf(stderr, "stsgate: the rules need what this kernel lacks: %s\n", needs[i].name);
        if (!*words)
            break;
    }
}

static void
explain_refusal(int rules_fd)
{
    struct buffer rules;

    buffer_init(&rules, OUTPUT_MAX);
    if (lseek(rules_fd, 0, SEEK_SET) == 0 && read_all(rules_fd, &rules) == RES_OK)
        explain(buffer_span(&rules));
    buffer_clear(&rules);
}

/* ---- rules ---- */

/* Our rules as nft lists them once they are loaded. */
static enum result
list_ours(const struct config *config, struct buffer *out)
{
    int fd = memfd_create("stsgate-rules", MFD_CLOEXEC), copy = fd < 0 ? -1 : dup(fd), status = 0;
    FILE *file = copy < 0 ? NULL : fdopen(copy, "w");
    enum result res = RES_NOMEM;

    if (file) {
        packet_rules_print(config, file);
        res = fclose(file) == 0 && lseek(fd, 0, SEEK_SET) == 0 ? RES_OK : RES_NOMEM;
    }
    if (res == RES_OK)
        res = ask(&(struct job){ .command = "nft -f - && " LIST_OURS, .input = fd, .apart = true },
                  out, &status);
    if (res == RES_OK && status == EXIT_NO_NAMESPACE)
        res = RES_DENIED;
    else if (res == RES_OK && status == EXIT_NOT_FOUND)
        res = RES_TEMPFAIL;
    else if (res == RES_OK && status) {
        explain_refusal(fd);
        res = RES_SYNTAX;
    }
    if (fd >= 0)
        close(fd);
    return res;
}

static enum result
check_rules(const struct config *config, FILE *out, unsigned *faults)
{
    struct listing *lists = calloc(2, sizeof *lists);
    struct buffer ours, live;
    int status = 0;
    enum result res = RES_NOMEM;

    buffer_init(&ours, OUTPUT_MAX);
    buffer_init(&live, OUTPUT_MAX);
    if (lists)
        res = list_ours(config, &ours);
    if (res == RES_OK)
        res =
            ask(&(struct job){ .command = LIST_OURS, .input = -1, .quiet = true }, &live, &status);
    if (res == RES_OK && status) {
        fprintf(out, "missing: table " PACKET_RULES_TABLE ": stsgate rules | nft -f -\n");
        *faults += 1;
    } else if (res == RES_OK) {
        if (split(buffer_span(&ours), &lists[0]) && split(buffer_span(&live), &lists[1]))
            *faults += compare(&lists[0], &lists[1], out);
        else
            res = RES_NOMEM;
    }
    buffer_clear(&ours);
    buffer_clear(&live);
    free(lists);
    return res;
}

/* ---- routes ---- */

/* command: prints something when all is well. */
static enum result
check_one(const char *command, const char *missing, FILE *out, unsigned *faults)
{
    struct buffer answer;
    int status = 0;
    enum result res;

    buffer_init(&answer, OUTPUT_MAX);
    res = ask(&(struct job){ .command = command, .input = -1, .quiet = true }, &answer, &status);
    if (res == RES_OK && buffer_len(&answer) == 0) {
        fprintf(out, "missing: %s: stsgate rules --routes | sh\n", missing);
        *faults += 1;
    }
    buffer_clear(&answer);
    return res;
}

static enum result
check_routes(const struct config *config, const char *option, FILE *out, unsigned *faults)
{
    char command[256], missing[128];
    enum result res;

    snprintf(command, sizeof command,
             "ip -N %s rule show | grep -E 'fwmark 0x%" PRIx32 " lookup %u'", option,
             config->taken_mark, config->taken_table);
    snprintf(missing, sizeof missing, "ip %s rule for mark 0x%" PRIx32 " and table %u", option,
             config->taken_mark, config->taken_table);
    res = check_one(command, missing, out, faults);
    if (res != RES_OK)
        return res;
    snprintf(command, sizeof command,
             "ip -N %s route show table %u | grep -E '^(local|2) (default|0.0.0.0/0|::/0) dev lo'",
             option, config->taken_table);
    snprintf(missing, sizeof missing, "ip %s route in table %u", option, config->taken_table);
    return check_one(command, missing, out, faults);
}

enum result
packet_check(const struct config *config, FILE *out, unsigned *out_faults)
{
    enum result res;

    *out_faults = 0;
    res = check_rules(config, out, out_faults);
    if (res != RES_OK || !packet_rules_need_routes(config))
        return res;
    res = check_routes(config, "-4", out, out_faults);
    if (res == RES_OK && access("/proc/net/if_inet6", F_OK) == 0)
        res = check_routes(config, "-6", out, out_faults);
    return res;
}
