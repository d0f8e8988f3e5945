/* proxy/account.h: the user whom the children become, as the machine's own list of users has it.
 * Context: any process before it confines itself: the list may be anywhere, and reading it takes
 * files and sockets. */
#ifndef STSGATE_PROXY_ACCOUNT_H
#define STSGATE_PROXY_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/result.h"

struct account {
    const char *name; /* borrowed */
    uid_t uid;
    gid_t gid;
};

/** error: on anything but RES_OK what is wrong and what to do, NUL-terminated.
 * RES_SYNTAX: there is no such user, or it is root, under another name too.
 * name: borrowed as long as *out is used. */
MUST_CHECK enum result account_find(const char *name, struct account *out, char *error,
                                    size_t error_size);

/** May the account, with all groups it is in, append to the file at path, or make it in its folder
 * where there is none? Found out by a process that becomes it for the purpose (root only).
 * 0: yes; otherwise the errno that tells why not, EINVAL for something that is no regular file. */
MUST_CHECK int account_try_file(const struct account *account, const char *path);

/** The same for who runs this. */
MUST_CHECK int account_try_own_file(const char *path);

#endif
