/* proxy/log_command_fuzz.c: any bytes as a file of records. Promises of log_stream(): it ends;
 * every line is one JSON object with a time, in printable ASCII; garbage is told if and only if it
 * says so; with a whole record behind the bytes there is a line, whatever stands in front. */
#include "proxy/log_command.h"
#include "proxy/record.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define INPUT_MAX_BYTES 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds)
        abort(); /* assert() is silent in release builds */
}

static void
check_line(const char *line, size_t len)
{
    json_t *json;

    for (size_t i = 0; i < len; i++)
        must(line[i] >= ' ' && line[i] <= '~');
    json = json_loadb(line, len, JSON_ALLOW_NUL, NULL);
    must(json_is_string(json_object_get(json, "time")));
    json_decref(json);
}

/* Print what fd holds; returns how many lines there were. */
static unsigned
check_stream(int fd)
{
    char *out = NULL, *err = NULL;
    size_t out_len, err_len;
    FILE *out_file = open_memstream(&out, &out_len), *err_file = open_memstream(&err, &err_len);
    enum record_stream_end end;
    unsigned lines = 0;

    must(out_file && err_file && lseek(fd, 0, SEEK_SET) == 0);
    end = log_stream("f", fd, out_file, err_file);
    must(fclose(out_file) == 0 && fclose(err_file) == 0);
    must(end != RECORD_STREAM_STOPPED);
    must((end == RECORD_STREAM_GARBAGE) == (strstr(err, "are no record") != NULL));
    for (const char *line = out; *line; lines++) {
        size_t len = strcspn(line, "\n");

        must(line[len] == '\n');
        check_line(line, len);
        line += len + 1;
    }
    free(out);
    free(err);
    return lines;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char whole[] = "\x92\xd7\0\0\0\0\1\0\0\0\2\x81\245event\1";
    int fd = memfd_create("records", MFD_CLOEXEC);

    if (size > INPUT_MAX_BYTES)
        size = INPUT_MAX_BYTES;
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)check_stream(fd);
    must(write(fd, whole, sizeof whole - 1) == sizeof whole - 1);
    must(check_stream(fd) >= 1);
    close(fd);
    return 0;
}
