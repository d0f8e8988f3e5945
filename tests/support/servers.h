/* tests/support/servers.h: real servers for a test: a folder of its own, programs run in it, free
 * ports, and an end for every child. Whatever goes wrong here ends the test program with a message:
 * nothing can be tested without it. */
#ifndef STSGATE_TESTS_SUPPORT_SERVERS_H
#define STSGATE_TESTS_SUPPORT_SERVERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SERVERS_DIR_MAX 64u

/** Is the program in PATH or in an sbin folder? Says on standard error which one is missing. */
bool servers_have(const char *program);

/** A new folder below /tmp that every user may enter. */
void servers_dir_new(char out[SERVERS_DIR_MAX]);
void servers_dir_remove(const char *dir);

/** dir/name with the text. */
void servers_write(const char *dir, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/** Run a script by `sh -eu` in dir; it must succeed. Its output is in dir/sh.log. */
void servers_script(const char *dir, const char *script);

/** A port of 127.0.0.1 that neither TCP nor UDP uses now. */
uint16_t servers_free_port(void);

/** Start argv[0] in dir, output in dir/NAME.log; it dies with the test program. */
pid_t servers_start(const char *dir, const char *const argv[]);

/** Wait until the port takes TCP connections. The child must still be alive by then. */
void servers_wait_port(uint16_t port, pid_t child);

/** 0 is allowed. */
void servers_stop(pid_t child);

#endif
