#include "proxy/record_file.h"

#include "base/log.h"
#include "proxy/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct record_file {
    char *path; /* owned */
    int fd;
    struct clock clock;
    uint64_t lost;
    uint64_t lost_told; /* of these the log has told */
    bool failing;       /* the last write failed; nothing before retry_at_ms */
    bool complained;
    int64_t retry_at_ms, complain_at_ms;
};

/* The descriptor, or -1 with the reason in error. O_NONBLOCK: a FIFO without a reader must not hold
 * the process before it is refused. */
static int
open_path(const char *path, char *error, size_t error_size)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    struct stat st;

    if (fd < 0) {
        snprintf(error, error_size, "cannot open record_file %s: %s; %s", path, strerror(errno),
                 errno == ENOENT ? "make its folder, writable for the gateway's user"
                                 : "let the gateway's user write it, or name another file");
        return -1;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    snprintf(error, error_size, "record_file %s is not a regular file; name one that is", path);
    close(fd);
    return -1;
}

enum result
record_file_open(const char *path, const struct clock *clock, struct record_file **out, char *error,
                 size_t error_size)
{
    struct record_file *file = calloc(1, sizeof *file);
    enum result res = RES_NOMEM;

    *out = NULL;
    snprintf(error, error_size, "no memory");
    if (!file)
        goto done;
    file->fd = -1;
    file->clock = *clock;
    file->path = strdup(path);
    if (!file->path)
        goto done;
    res = RES_DENIED;
    file->fd = open_path(path, error, error_size);
    if (file->fd < 0)
        goto done;
    *out = file;
    file = NULL; /* now the caller's */
    error[0] = '\0';
    res = RES_OK;
done:
    record_file_close(file);
    return res;
}

void
record_file_close(struct record_file *file)
{
    if (!file)
        return;
    if (file->lost > file->lost_told)
        log_warn("event=records-lost records=%" PRIu64 " of=%" PRIu64, file->lost - file->lost_told,
                 file->lost);
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    free(file);
}

static void
complain(struct record_file *file, int64_t now_ms, const char *why)
{
    char path[256];

    if (file->complained && now_ms < file->complain_at_ms)
        return;
    log_error("event=records-lost file=%s records=%" PRIu64 " total=%" PRIu64
              " reason=\"%s\" do=\"make room on its file system\"",
              log_quote(path, sizeof path, span_of(file->path)), file->lost - file->lost_told,
              file->lost, why);
    file->lost_told = file->lost;
    file->complained = true;
    file->complain_at_ms = now_ms + RECORD_FILE_COMPLAIN_MS;
}

/* How many of the records end within these bytes. */
static size_t
count_whole(struct span bytes)
{
    size_t count = 0, len;
    int64_t wall_ns;
    struct span map;

    for (; record_decode(bytes, &len, &wall_ns, &map) == RES_OK; count++)
        bytes = span_from(bytes, len);
    return count;
}

enum result
record_file_write_all(struct record_file *file, struct span records, size_t count,
                      size_t *out_written)
{
    int64_t now_ms = clock_mono_ms(&file->clock);
    ssize_t written;

    *out_written = 0;
    if (file->failing && now_ms < file->retry_at_ms) {
        file->lost += count;
        return RES_TEMPFAIL;
    }
    do
        written = write(file->fd, records.ptr, records.len);
    while (written < 0 && errno == EINTR);
    if (written >= 0 && (size_t)written == records.len) {
        if (file->failing)
            log_info("event=records-again lost=%" PRIu64, file->lost);
        file->failing = false;
        *out_written = count;
        return RES_OK;
    }
    if (written > 0)
        *out_written = count_whole(span_first(records, (size_t)written));
    file->failing = true;
    file->retry_at_ms = now_ms + RECORD_FILE_RETRY_MS;
    file->lost += count - *out_written;
    complain(file, now_ms, written < 0 ? strerror(errno) : "written in part");
    return RES_TEMPFAIL;
}

enum result
record_file_write(struct record_file *file, struct span record)
{
    size_t written;

    return record_file_write_all(file, record, 1, &written);
}

enum result
record_file_reopen(struct record_file *file)
{
    char error[512], quoted[600];
    int fd = open_path(file->path, error, sizeof error);

    if (fd < 0) {
        log_error("event=records-not-reopened reason=%s",
                  log_quote(quoted, sizeof quoted, span_of(error)));
        return RES_DENIED;
    }
    close(file->fd);
    file->fd = fd;
    file->failing = false;
    return RES_OK;
}

uint64_t
record_file_lost(const struct record_file *file)
{
    return file->lost;
}
