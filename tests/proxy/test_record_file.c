/* tests/proxy/test_record_file.c: the file that records go to: whole records of several writers, a
 * disk without room, rotation (FAULTS H4, H5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/record_file.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))

struct place {
    char dir[64], path[128], other[128];
    int64_t now_ns;
    struct clock clock;
};

static int64_t
now_ns(void *arg)
{
    return ((struct place *)arg)->now_ns;
}

static int
make_place(void **state)
{
    struct place *place = calloc(1, sizeof *place);

    if (!place)
        return -1;
    snprintf(place->dir, sizeof place->dir, "/tmp/stsgate-records-XXXXXX");
    if (!mkdtemp(place->dir))
        return -1;
    snprintf(place->path, sizeof place->path, "%s/records", place->dir);
    snprintf(place->other, sizeof place->other, "%s/records.1", place->dir);
    place->clock = (struct clock){ now_ns, now_ns, place };
    *state = place;
    return 0;
}

static int
remove_place(void **state)
{
    struct place *place = *state;

    (void)unlink(place->path);
    (void)unlink(place->other);
    (void)rmdir(place->path);
    if (rmdir(place->dir) != 0)
        return -1;
    free(place);
    return 0;
}

static struct record_file *
open_file(struct place *place)
{
    struct record_file *file;
    char error[256];

    assert_int_equal(record_file_open(place->path, &place->clock, &file, error, sizeof error),
                     RES_OK);
    assert_string_equal(error, "");
    return file;
}

static void
assert_content(const char *path, const char *want)
{
    char bytes[256];
    FILE *in = fopen(path, "r");
    size_t len;

    assert_non_null(in);
    len = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(bytes, want, len);
}

static void
test_appends(void **state)
{
    struct place *place = *state;
    struct record_file *file = open_file(place);
    struct stat st;

    assert_int_equal(record_file_write(file, span_of("one")), RES_OK);
    record_file_close(file);
    file = open_file(place);
    assert_int_equal(record_file_write(file, span_of("two")), RES_OK);
    assert_content(place->path, "onetwo");
    assert_int_equal(stat(place->path, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0); /* 0640 at most, whatever the umask */
    assert_true(record_file_lost(file) == 0);
    record_file_close(file);
    record_file_close(NULL);
}

static void
test_rotation(void **state)
{
    struct place *place = *state;
    struct record_file *file = open_file(place);

    assert_int_equal(record_file_write(file, span_of("one")), RES_OK);
    assert_int_equal(rename(place->path, place->other), 0);
    assert_int_equal(record_file_write(file, span_of("two")), RES_OK);
    assert_int_equal(record_file_reopen(file), RES_OK);
    assert_int_equal(record_file_write(file, span_of("three")), RES_OK);
    assert_content(place->other, "onetwo");
    assert_content(place->path, "three");
    record_file_close(file);
}

static void
test_copytruncate(void **state)
{
    struct place *place = *state;
    struct record_file *file = open_file(place);

    assert_int_equal(record_file_write(file, span_of("one")), RES_OK);
    assert_int_equal(truncate(place->path, 0), 0);
    assert_int_equal(record_file_write(file, span_of("two")), RES_OK);
    assert_content(place->path, "two"); /* no hole in front */
    record_file_close(file);
}

static void
test_failed_reopen_keeps_the_old(void **state)
{
    struct place *place = *state;
    struct record_file *file = open_file(place);

    assert_int_equal(rename(place->path, place->other), 0);
    assert_int_equal(mkdir(place->path, 0700), 0);
    assert_int_equal(record_file_reopen(file), RES_DENIED);
    assert_int_equal(record_file_write(file, span_of("one")), RES_OK);
    assert_content(place->other, "one");
    record_file_close(file);
}

/* A file size limit stands for a full disk: the write that meets it is cut, those behind it fail.
 */
static void
limit_size(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
test_no_room(void **state)
{
    struct place *place = *state;
    struct record_file *file = open_file(place);
    struct rlimit before;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(record_file_write(file, span_of("first.")), RES_OK);
    limit_size(9);
    assert_int_equal(record_file_write(file, span_of("second.")), RES_TEMPFAIL);
    assert_content(place->path, "first.sec");
    limit_size(before.rlim_cur);
    /* Room again, but not tried at once: else a disk that trickles fills with torn records. */
    assert_int_equal(record_file_write(file, span_of("third.")), RES_TEMPFAIL);
    assert_content(place->path, "first.sec");
    place->now_ns += RECORD_FILE_RETRY_MS * INT64_C(1000000);
    assert_int_equal(record_file_write(file, span_of("fourth.")), RES_OK);
    assert_int_equal(record_file_write(file, span_of("fifth.")), RES_OK);
    assert_content(place->path, "first.secfourth.fifth.");
    assert_true(record_file_lost(file) == 2);
    record_file_close(file);
}

/* Records fail for ten minutes. The log goes into a pipe, where the limit does not reach it. */
static void
test_one_complaint_per_minute(void **state)
{
    struct place *place = *state;
    struct record_file *file = open_file(place);
    int saved = dup(STDERR_FILENO), ends[2];
    struct rlimit before;
    unsigned lines = 0;
    char text[8192];
    ssize_t len;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(record_file_write(file, span_of("12345678")), RES_OK);
    assert_true(saved >= 0 && pipe(ends) == 0);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    limit_size(8);
    for (unsigned s = 0; s < 600; s++) {
        (void)record_file_write(file, span_of("x"));
        place->now_ns += INT64_C(1000000000);
    }
    limit_size(before.rlim_cur);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    len = read(ends[0], text, sizeof text);
    for (ssize_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    assert_int_equal(lines, 10);
    assert_true(record_file_lost(file) == 600);
    close(saved);
    close(ends[0]);
    close(ends[1]);
    record_file_close(file);
}

/* Writers in several processes, each with its own descriptor: no record is torn or lost. */
static void
test_several_writers(void **state)
{
    enum { WRITERS = 4, RECORDS = 500, BYTES = 700 };
    struct place *place = *state;
    unsigned found[WRITERS] = { 0 };
    char record[BYTES], want[BYTES];
    FILE *in;

    for (int w = 0; w < WRITERS; w++) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
            struct record_file *file;
            char error[256];
            bool bad =
                record_file_open(place->path, &place->clock, &file, error, sizeof error) != RES_OK;

            memset(record, 'a' + w, sizeof record);
            for (int i = 0; !bad && i < RECORDS; i++)
                bad = record_file_write(file, span_make(record, sizeof record)) != RES_OK;
            _exit(bad);
        }
    }
    for (int w = 0; w < WRITERS; w++) {
        int status = -1;

        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    in = fopen(place->path, "r");
    assert_non_null(in);
    while (fread(record, 1, sizeof record, in) == sizeof record) {
        memset(want, record[0], sizeof want);
        assert_memory_equal(record, want, sizeof want);
        assert_in_range(record[0], 'a', 'a' + WRITERS - 1);
        found[record[0] - 'a']++;
    }
    fclose(in);
    for (int w = 0; w < WRITERS; w++)
        assert_int_equal(found[w], RECORDS);
}

/* ---- what cannot be opened ---- */

static void
make_nothing(struct place *place)
{
    (void)place;
}

static void
make_folder(struct place *place)
{
    assert_int_equal(mkdir(place->path, 0700), 0);
}

static void
make_fifo(struct place *place)
{
    assert_int_equal(mkfifo(place->path, 0600), 0);
}

static void
below_nothing(struct place *place)
{
    snprintf(place->path, sizeof place->path, "%s/missing/records", place->dir);
}

static void
device(struct place *place)
{
    snprintf(place->path, sizeof place->path, "/dev/full");
}

static struct open_case {
    const char *name;
    void (*make)(struct place *place);
    const char *want; /* part of the error; NULL: it opens */
} open_cases[] = {
    { "a new file", make_nothing, NULL },
    { "a folder", make_folder, "Is a directory" },
    { "a FIFO without reader does not hang", make_fifo, "cannot open record_file" },
    { "a folder that is missing", below_nothing, "make its folder" },
    { "a device", device, "not a regular file" },
};

static void
test_open(void **state)
{
    const struct open_case *c = *state;
    struct record_file *file = NULL;
    void *made = NULL;
    struct place *place, kept;
    char error[256];
    enum result res;

    assert_int_equal(make_place(&made), 0);
    place = made;
    kept = *place;
    c->make(place);
    res = record_file_open(place->path, &place->clock, &file, error, sizeof error);
    assert_int_equal(res, c->want ? RES_DENIED : RES_OK);
    assert_int_equal(file != NULL, res == RES_OK);
    if (c->want)
        assert_non_null(strstr(error, c->want));
    record_file_close(file);
    memcpy(place->path, kept.path, sizeof place->path);
    assert_int_equal(remove_place(&made), 0);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test_setup_teardown(test_appends, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_rotation, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_copytruncate, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_failed_reopen_keeps_the_old, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_no_room, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_one_complaint_per_minute, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_several_writers, make_place, remove_place),
    };
    struct CMUnitTest tests[ROWS(open_cases) + ROWS(others)] = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < ROWS(open_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = open_cases[i].name,
                                          .test_func = test_open,
                                          .initial_state = &open_cases[i] };
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests_name("record_file", tests, NULL, NULL);
}
