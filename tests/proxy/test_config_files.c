/* tests/proxy/test_config_files.c: what a configuration names and the gateway cannot write is told
 * before it starts (TC-OPS-02). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/config_files.h"

enum thing { THING_NONE, THING_FILE, THING_FOLDER, THING_FIFO };

/* A folder that the test makes, and in it what the key names. As root the gateway's user is nobody,
 * in whose name the test's own folder stands, so that modes are what decides. */
static struct file_case {
    const char *name;
    enum thing thing;
    mode_t folder_mode, thing_mode;
    bool theirs; /* the folder and the thing belong to the gateway's user */
    bool needs_root;
    const char *says; /* NULL: nothing is wrong */
} cases[] = {
    { "the folder is the user's", THING_NONE, 0700, 0, true, false, NULL },
    { "the file is the user's", THING_FILE, 0700, 0600, true, false, NULL },
    { "a folder of somebody else, the file the user's own", THING_FILE, 0555, 0600, true, false,
      NULL },
    { "there is no such folder", THING_NONE, 0, 0, true, false, "No such file or directory" },
    { "the folder may not be written", THING_NONE, 0555, 0, true, false, "Permission denied" },
    { "the folder may not be searched", THING_FILE, 0600, 0600, true, false, "Permission denied" },
    { "the file may not be written", THING_FILE, 0700, 0400, true, false, "Permission denied" },
    { "the folder is root's", THING_NONE, 0755, 0, false, true, "Permission denied" },
    { "the file is root's", THING_FILE, 0755, 0644, false, true, "Permission denied" },
    { "root's, but everybody may", THING_NONE, 0777, 0, false, true, NULL },
    { "a folder stands there", THING_FOLDER, 0700, 0700, true, false, "is not a regular file" },
    { "a FIFO stands there", THING_FIFO, 0700, 0600, true, false, "is not a regular file" },
};

struct place {
    char top[64], folder[80], path[96];
};

static const struct passwd *
user(void)
{
    return geteuid() == 0 ? getpwnam("nobody") : NULL;
}

static void
give(const char *path, bool theirs)
{
    if (user() && theirs)
        assert_int_equal(chown(path, user()->pw_uid, user()->pw_gid), 0);
}

static void
make_thing(const char *path, enum thing thing)
{
    FILE *file;

    if (thing == THING_FOLDER)
        assert_int_equal(mkdir(path, 0700), 0);
    else if (thing == THING_FIFO)
        assert_int_equal(mkfifo(path, 0600), 0);
    if (thing != THING_FILE)
        return;
    file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
}

static void
make_place(struct place *place, const struct file_case *c)
{
    snprintf(place->top, sizeof place->top, "/tmp/stsgate-files-XXXXXX");
    assert_non_null(mkdtemp(place->top));
    assert_int_equal(chmod(place->top, 0755), 0);
    snprintf(place->folder, sizeof place->folder, "%s/folder", place->top);
    snprintf(place->path, sizeof place->path, "%s/file", place->folder);
    if (!c->folder_mode)
        return;
    assert_int_equal(mkdir(place->folder, 0700), 0);
    make_thing(place->path, c->thing);
    if (c->thing != THING_NONE) {
        assert_int_equal(chmod(place->path, c->thing_mode), 0);
        give(place->path, c->theirs);
    }
    assert_int_equal(chmod(place->folder, c->folder_mode), 0);
    give(place->folder, c->theirs);
}

static void
remove_place(struct place *place)
{
    (void)chmod(place->folder, 0700);
    if (unlink(place->path) != 0)
        (void)rmdir(place->path);
    (void)rmdir(place->folder);
    assert_int_equal(rmdir(place->top), 0);
}

static void
test_record_file(void **state)
{
    const struct file_case *c = *state;
    char nobody[] = "nobody", none[] = "";
    struct place place;
    struct config config = { .user = user() ? nobody : none, .record_file = place.path };
    char error[512] = "";
    enum result res;

    if (c->needs_root && geteuid() != 0)
        skip();
    make_place(&place, c);
    res = config_check_records(&config, error, sizeof error);
    remove_place(&place);
    assert_int_equal(res, c->says ? RES_DENIED : RES_OK);
    if (c->says && (!strstr(error, c->says) || !strstr(error, "the gateway will not start")))
        fail_msg("%s", error);
}

/* The gateway makes the last folder of the control socket's path, as /run loses it with a boot. */
static struct socket_case {
    const char *name;
    enum thing thing;
    const char *path; /* within the test's folder */
    const char *says; /* NULL: nothing is wrong */
} socket_cases[] = {
    { "control socket: nothing is there", THING_NONE, "control", NULL },
    { "control socket: its folder is missing", THING_NONE, "run/control", NULL },
    { "control socket: two folders are missing", THING_NONE, "a/b/control", "No such file" },
    { "control socket: below a file", THING_FILE, "file/control", "Not a directory" },
    { "control socket: a file is there", THING_FILE, "file", "is there, and is no socket" },
    { "control socket: a folder is there", THING_FOLDER, "file", "is there, and is no socket" },
};

static void
hear(void *arg, const char *text)
{
    char *heard = arg;

    snprintf(heard, 512, "%s", text);
}

static void
test_control_socket(void **state)
{
    const struct socket_case *c = *state;
    const struct file_case around = { .thing = c->thing, .folder_mode = 0700, .thing_mode = 0700 };
    char none[] = "", path[160], heard[512] = "";
    struct config config = {
        .user = none, .store_file = none, .tlsrpt_store_file = none, .control_socket = path
    };
    struct place place;

    make_place(&place, &around);
    snprintf(path, sizeof path, "%s/%s", place.folder, c->path);
    config_warn_of_files(&config, hear, heard);
    remove_place(&place);
    if (c->says ? !strstr(heard, c->says) : *heard != '\0')
        fail_msg("%s", *heard ? heard : "no warning");
}

#define ROWS(table) (sizeof(table) / sizeof *(table))

int
main(void)
{
    struct CMUnitTest tests[ROWS(cases) + ROWS(socket_cases)];
    size_t n = 0;

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = cases[i].name,
                                          .test_func = test_record_file,
                                          .initial_state = &cases[i] };
    for (size_t i = 0; i < ROWS(socket_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = socket_cases[i].name,
                                          .test_func = test_control_socket,
                                          .initial_state = &socket_cases[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
