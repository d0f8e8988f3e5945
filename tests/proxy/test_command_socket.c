/* tests/proxy/test_command_socket.c: what stands at the control socket's name decides whether it is
 * replaced, and nobody's file or gateway is (TC-OPS-02). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/command_socket.h"

enum before { BEFORE_NOTHING, BEFORE_STALE, BEFORE_ALIVE, BEFORE_FILE, BEFORE_FOLDER, BEFORE_LINK };

static struct socket_case {
    const char *name;
    enum before before;
    const char *path; /* within the test's folder */
    enum result want;
    const char *says;
} cases[] = {
    { "nothing is there", BEFORE_NOTHING, "control", RES_OK, "" },
    { "its folder is made", BEFORE_NOTHING, "run/control", RES_OK, "" },
    { "a gateway that crashed left its socket", BEFORE_STALE, "control", RES_OK, "" },
    { "another gateway answers", BEFORE_ALIVE, "control", RES_DENIED, "another gateway answers" },
    { "a file is there", BEFORE_FILE, "control", RES_DENIED, "is there, and is no socket" },
    { "a folder is there", BEFORE_FOLDER, "control", RES_DENIED, "is there, and is no socket" },
    { "a link is there", BEFORE_LINK, "control", RES_DENIED, "is there, and is no socket" },
    { "two folders are missing", BEFORE_NOTHING, "a/b/control", RES_TEMPFAIL,
      "cannot be made: No such file or directory" },
    { "a path too long for a socket", BEFORE_NOTHING,
      "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890",
      RES_TEMPFAIL, "is longer than 107 octets" },
};

static int
bind_socket(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(addr.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

/* out: a descriptor to be closed at the end, or -1. */
static int
prepare(enum before before, const char *path)
{
    FILE *file;

    switch (before) {
    case BEFORE_NOTHING:
        break;
    case BEFORE_STALE:
        close(bind_socket(path));
        break;
    case BEFORE_ALIVE:
        return bind_socket(path);
    case BEFORE_FILE:
        file = fopen(path, "w");
        assert_non_null(file);
        fclose(file);
        break;
    case BEFORE_FOLDER:
        assert_int_equal(mkdir(path, 0700), 0);
        break;
    case BEFORE_LINK:
        assert_int_equal(symlink("elsewhere", path), 0);
        break;
    }
    return -1;
}

static void
clean_up(const char *folder, const char *path)
{
    char below[128];

    (void)(unlink(path) != 0 && rmdir(path));
    snprintf(below, sizeof below, "%s/run", folder);
    (void)rmdir(below);
    assert_int_equal(rmdir(folder), 0);
}

/* The kind of what is there, and for a socket of ours who may use it. */
static mode_t
mode_of(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 ? st.st_mode : 0;
}

static void
test_open(void **state)
{
    const struct socket_case *c = *state;
    char folder[] = "/tmp/stsgate-socket-XXXXXX", path[160], error[256] = "";
    mode_t before, after;
    enum result res;
    int other, fd;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/%s", folder, c->path);
    other = prepare(c->before, path);
    before = mode_of(path);
    res = command_socket_open(path, &fd, error, sizeof error);
    after = mode_of(path);
    command_socket_close(path, fd);
    if (other >= 0)
        close(other);
    if (res == RES_OK)
        assert_int_equal(mode_of(path), 0);
    clean_up(folder, path);
    assert_int_equal(res, c->want);
    assert_int_equal(fd >= 0, res == RES_OK);
    assert_non_null(strstr(error, c->says));
    assert_int_equal(after, res == RES_OK ? S_IFSOCK | 0600 : before);
}

int
main(void)
{
    struct CMUnitTest tests[sizeof cases / sizeof *cases];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = test_open,
                                        .initial_state = &cases[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
