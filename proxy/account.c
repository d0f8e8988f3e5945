#include "proxy/account.h"

#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>

enum result
account_find(const char *name, struct account *out, char *error, size_t error_size)
{
    const struct passwd *entry = getpwnam(name);

    *out = (struct account){ 0 };
    if (!entry) {
        snprintf(error, error_size,
                 "user: this machine has no user %s: make it (adduser --system --group --home "
                 "/var/lib/stsgate --no-create-home %s), or name another",
                 name, name);
        return RES_SYNTAX;
    }
    if (entry->pw_uid == 0) {
        snprintf(error, error_size,
                 "user: %s is root, which is what is to be given up; \"\" stays root, for tests",
                 name);
        return RES_SYNTAX;
    }
    *out = (struct account){ .uid = entry->pw_uid, .gid = entry->pw_gid };
    return RES_OK;
}

bool
account_may_write(const struct account *account, const struct stat *st)
{
    mode_t need = S_ISDIR(st->st_mode) ? S_IWOTH | S_IXOTH : S_IWOTH;
    unsigned shift = 0;

    if (st->st_uid == account->uid)
        shift = 6;
    else if (st->st_gid == account->gid)
        shift = 3;
    return ((st->st_mode >> shift) & need) == need;
}
