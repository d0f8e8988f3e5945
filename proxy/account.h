/* proxy/account.h: the user whom the children become, as the machine's own list of users has it.
 * Context: any process before it confines itself: the list may be anywhere, and reading it takes
 * files and sockets. */
#ifndef STSGATE_PROXY_ACCOUNT_H
#define STSGATE_PROXY_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/result.h"

struct stat;

struct account {
    uid_t uid;
    gid_t gid;
};

/** error: on anything but RES_OK what is wrong and what to do, NUL-terminated.
 * RES_SYNTAX: there is no such user, or it is root, under another name too. */
MUST_CHECK enum result account_find(const char *name, struct account *out, char *error,
                                    size_t error_size);

/** Do owner, group and mode let the account write (and search, a folder)? Groups beside its own
 * and access control lists are not looked at. */
bool account_may_write(const struct account *account, const struct stat *st);

#endif
