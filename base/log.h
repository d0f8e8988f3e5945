/* base/log.h: one logfmt line per event on standard error: `time=… level=… proc=… key=value …`.
 * Context: any process. The level and the process name are set once in main, before the first line:
 * the only process-wide state there is. Never log credentials, message content or raw peer bytes:
 * those go through log_quote(). */
#ifndef STSGATE_BASE_LOG_H
#define STSGATE_BASE_LOG_H

#include "base/span.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/** proc: e.g. "worker/0"; kept until the process ends. */
void log_init(const char *proc, enum log_level level);

bool log_has_level(enum log_level level);

/** From here on lines below a warning wait for others, so that the lines of one turn of an event
 * loop are written by one write(2) and not by one each. The caller sees to it that log_flush()
 * comes before the process waits and before it ends; what a crash finds waiting is lost. */
void log_gather(void);
void log_flush(void);

/** A line is cut at 2048 bytes, and written in order by one write(2), alone or with others; errors
 * in writing are ignored: there is no better place to report them. */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_has_level(LOG_LEVEL_DEBUG))                                                        \
            log_line(LOG_LEVEL_DEBUG, __VA_ARGS__);                                                \
    } while (0)

/** bytes as a quoted logfmt value: printable ASCII stays, `"` and `\` get a backslash, everything
 * else becomes \xNN; cut with "..." when it does not fit. dst: size >= 16 bytes. Returns dst. */
const char *log_quote(char *dst, size_t size, struct span bytes);

#endif
