/* proxy/record_file.h: where records go: a file that several processes append to.
 * Context: worker and supervisor, one thread at a time per object; each process has its own.
 *
 * Whole records are one write(2) with O_APPEND, so on a local file system those of several writers
 * stand behind each other whole. A write is cut only when there is no room (disk, quota,
 * RLIMIT_FSIZE); then the record's first bytes stay: to take them back would be unsafe, since
 * another process may have appended since. Readers see that and go on with the next record
 * (`stsgate log`, FAULTS H5). No mail waits for a record: what cannot be written is counted. Under
 * a file size limit the process has to ignore SIGXFSZ. */
#ifndef STSGATE_PROXY_RECORD_FILE_H
#define STSGATE_PROXY_RECORD_FILE_H

#include "base/clock.h"
#include "base/result.h"
#include "base/span.h"

#include <stdint.h>

#define RECORD_FILE_RETRY_MS 1000 /* after a failure, so that no heap of torn records builds up */
#define RECORD_FILE_COMPLAIN_MS 60000 /* one line in the log about losses, at most */

struct record_file;

/** Open for appending, made with mode 0640 when it is not there; its folder must be. Only a regular
 * file will do: nothing else keeps records whole.
 *
 * clock  copied
 * out    on RES_OK a new sink the caller closes; otherwise NULL
 * error  otherwise what is wrong and what to do, NUL-terminated
 *
 * RES_DENIED, RES_NOMEM */
MUST_CHECK enum result record_file_open(const char *path, const struct clock *clock,
                                        struct record_file **out, char *error, size_t error_size);

void record_file_close(struct record_file *file); /* NULL is allowed */

/** Append count whole records that stand behind each other, by one write. RES_TEMPFAIL: not all of
 * them are there; the others are lost, the first of those perhaps but for its first bytes, and
 * counted; the log says so once a minute. Nobody needs to act on it.
 * out_written: how many are whole in the file, 0 .. count */
MUST_CHECK enum result record_file_write_all(struct record_file *file, struct span records,
                                             size_t count, size_t *out_written);

/** The same for one. */
enum result record_file_write(struct record_file *file, struct span record);

/** Open the path anew, after it was renamed away (log rotation). RES_DENIED: cannot be opened,
 * which is logged; the file open before stays in use, so that nothing is lost. */
enum result record_file_reopen(struct record_file *file);

/** Records lost since record_file_open(). */
uint64_t record_file_lost(const struct record_file *file);

#endif
