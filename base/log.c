#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_BYTES 2048
#define LOG_GATHER_BYTES 4096 /* PIPE_BUF: a pipe takes so much as one piece */

#define DATE_BYTES 40

static struct {
    const char *proc;
    enum log_level level;
    time_t date_of; /* the second that date tells */
    char date[DATE_BYTES];
    bool gathers;
    size_t waiting;
    char lines[LOG_GATHER_BYTES]; /* that wait */
} state = { .proc = "stsgate", .level = LOG_LEVEL_INFO };

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

void
log_init(const char *proc, enum log_level level)
{
    state.proc = proc;
    state.level = level;
}

bool
log_has_level(enum log_level level)
{
    return level <= state.level;
}

/* snprintf() results, as bytes really in the buffer. */
static size_t
fitted(int printed, size_t room)
{
    if (printed < 0)
        return 0;
    return (size_t)printed < room ? (size_t)printed : room - 1;
}

/* To the second: many lines come in one. */
static const char *
date_of(time_t second)
{
    struct tm utc;

    if (second == state.date_of && state.date[0])
        return state.date;
    gmtime_r(&second, &utc);
    if (strftime(state.date, sizeof state.date, "time=%Y-%m-%dT%H:%M:%S", &utc) == 0)
        state.date[0] = '\0'; /* a year of five digits */
    state.date_of = second;
    return state.date;
}

static void
put_out(const char *bytes, size_t len)
{
    (void)!write(STDERR_FILENO, bytes, len);
}

void
log_gather(void)
{
    state.gathers = true;
}

void
log_flush(void)
{
    int saved = errno;

    if (state.waiting)
        put_out(state.lines, state.waiting);
    state.waiting = 0;
    errno = saved;
}

static void
pass_on(enum log_level level, const char *line, size_t len)
{
    if (len > sizeof state.lines - state.waiting)
        log_flush();
    if (!state.gathers) {
        put_out(line, len);
        return;
    }
    memcpy(state.lines + state.waiting, line, len);
    state.waiting += len;
    if (level <= LOG_LEVEL_WARN)
        log_flush();
}

void
log_line(enum log_level level, const char *fmt, ...)
{
    char line[LOG_LINE_BYTES];
    size_t len, room = sizeof line - 1; /* the last byte is the newline's */
    int saved = errno;
    struct timespec now;
    va_list args;

    if (!log_has_level(level))
        return;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    len = fitted(snprintf(line, room, "%s.%03ldZ level=%s proc=%s ", date_of(now.tv_sec),
                          now.tv_nsec / 1000000, level_names[level], state.proc),
                 room);
    va_start(args, fmt);
    len += fitted(vsnprintf(line + len, room - len, fmt, args), room - len);
    va_end(args);
    line[len++] = '\n';
    pass_on(level, line, len);
    errno = saved;
}

/* Does all of bytes fit into size, quoted? */
static bool
quoted_fits(size_t size, struct span bytes)
{
    size_t need = 3; /* two quotation marks and the NUL */

    for (size_t i = 0; i < bytes.len && need <= size; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];

        if (c < 0x20 || c >= 0x7f)
            need += 4;
        else
            need += c == '"' || c == '\\' ? 2 : 1;
    }
    return need <= size;
}

const char *
log_quote(char *dst, size_t size, struct span bytes)
{
    static const char hex[] = "0123456789abcdef";
    bool cut = !quoted_fits(size, bytes);
    size_t at = 0;

    dst[at++] = '"';
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];

        if (cut && size - at < 9) { /* \xNN, then ..." and the NUL */
            memcpy(dst + at, "...", 3);
            at += 3;
            break;
        }
        if (c == '"' || c == '\\') {
            dst[at++] = '\\';
            dst[at++] = (char)c;
        } else if (c >= 0x20 && c < 0x7f) {
            dst[at++] = (char)c;
        } else {
            dst[at++] = '\\';
            dst[at++] = 'x';
            dst[at++] = hex[c >> 4];
            dst[at++] = hex[c & 15];
        }
    }
    dst[at++] = '"';
    dst[at] = '\0';
    return dst;
}
