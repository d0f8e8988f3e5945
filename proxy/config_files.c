#include "proxy/config_files.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/account.h"

#define LINE_BYTES 512

/* Is there a line of path that begins with mark? errno tells why it could not be read, or is 0. */
static bool
has_line(const char *path, const char *mark)
{
    char line[LINE_BYTES];
    FILE *file = fopen(path, "re");
    bool found = false;

    if (!file)
        return false;
    errno = 0;
    while (!found && fgets(line, sizeof line, file))
        found = strncmp(line, mark, strlen(mark)) == 0;
    if (!found && !ferror(file))
        errno = 0;
    fclose(file);
    return found;
}

static bool
file_has_certificates(const char *path)
{
    return has_line(path, "-----BEGIN CERTIFICATE-----") ||
           has_line(path, "-----BEGIN TRUSTED CERTIFICATE-----");
}

/* In one of its files, as tls/roots.h reads them. errno is 0 after a "no". */
static bool
folder_has_certificates(DIR *folder, const char *path)
{
    char file[PATH_MAX];
    bool found = false;

    for (struct dirent *e = readdir(folder); e && !found; e = readdir(folder))
        if (e->d_name[0] != '.' &&
            snprintf(file, sizeof file, "%s/%s", path, e->d_name) < (int)sizeof file)
            found = file_has_certificates(file);
    errno = 0;
    return found;
}

static enum result
check_certificate_file(const char *key, const char *path, char *error, size_t error_size)
{
    if (file_has_certificates(path))
        return RES_OK;
    snprintf(error, error_size, "%s: %s: %s", key, path,
             errno ? strerror(errno) : "holds no certificate in PEM form");
    return RES_SYNTAX;
}

/* "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"; whether it belongs to the certificate the
 * workers see when they start. */
static enum result
check_key(const char *key, const char *path, char *error, size_t error_size)
{
    static const char *const marks[] = { "-----BEGIN PRIVATE KEY-----",
                                         "-----BEGIN RSA PRIVATE KEY-----",
                                         "-----BEGIN EC PRIVATE KEY-----" };

    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (has_line(path, marks[i]))
            return RES_OK;
    snprintf(error, error_size, "%s: %s: %s", key, path,
             errno ? strerror(errno) : "holds no private key in PEM form without a passphrase");
    return RES_SYNTAX;
}

static enum result
check_certificates(const char *key, const char *path, char *error, size_t error_size)
{
    DIR *folder = opendir(path);
    bool found;

    if (!folder)
        return check_certificate_file(key, path, error, error_size);
    found = folder_has_certificates(folder, path);
    (void)closedir(folder);
    if (found)
        return RES_OK;
    snprintf(error, error_size, "%s: %s: holds no certificate in PEM form", key, path);
    return RES_SYNTAX;
}

static enum result
check_readable(const char *key, const char *path, char *error, size_t error_size)
{
    if (!*path || access(path, R_OK) == 0)
        return RES_OK;
    snprintf(error, error_size, "%s: %s: %s", key, path, strerror(errno));
    return RES_SYNTAX;
}

/* Only root can become somebody else, and must (proxy/sandbox.h). */
static enum result
check_user(const struct config *config, char *error, size_t error_size)
{
    struct account account;

    if (!*config->user || geteuid() != 0)
        return RES_OK;
    return account_find(config->user, &account, error, error_size);
}

enum result
config_check_files(const struct config *config, char *error, size_t error_size)
{
    enum result res = check_user(config, error, error_size);

    if (res == RES_OK)
        res = check_certificates("mx_ca_file", config->mx_ca_file, error, error_size);
    if (res == RES_OK)
        res = check_certificate_file("policy_ca_file", config->policy_ca_file, error, error_size);
    for (size_t i = 0; i < config->rules.rule_count && res == RES_OK; i++) {
        const struct rule *rule = &config->rules.rules[i];
        char key[RULE_ID_MAX + 32];

        snprintf(key, sizeof key, "override \"%s\": ca_file", rule->id);
        if (rule->ca_file)
            res = check_certificates(key, rule->ca_file, error, error_size);
    }
    if (res == RES_OK && *config->client_certificate_file)
        res = check_certificates("client_certificate_file", config->client_certificate_file, error,
                                 error_size);
    if (res == RES_OK && *config->client_key_file)
        res = check_key("client_key_file", config->client_key_file, error, error_size);
    if (res == RES_OK)
        res = check_readable("trust_anchor_file", config->trust_anchor_file, error, error_size);
    if (res == RES_OK)
        res = check_readable("resolver_root_hints", config->resolver_root_hints, error, error_size);
    return res;
}

/* Who is to write files: account, or NULL for who runs this. */
static const struct account *
find_writer(const struct config *config, struct account *account)
{
    char error[256];

    return *config->user && geteuid() == 0 &&
                   account_find(config->user, account, error, sizeof error) == RES_OK
               ? account
               : NULL;
}

/* What is wrong with a file that writer is to write; NULL: nothing, or none is wanted. */
static const char *
what_forbids(const char *path, const struct account *writer)
{
    int error = 0;

    if (*path)
        error = writer ? account_try_file(writer, path) : account_try_own_file(path);
    if (error == EINVAL)
        return "is not a regular file";
    return error ? strerror(error) : NULL;
}

enum result
config_check_records(const struct config *config, char *error, size_t error_size)
{
    struct account account;
    const struct account *writer = find_writer(config, &account);
    const char *why = what_forbids(config->record_file, writer);

    if (!why)
        return RES_OK;
    snprintf(error, error_size,
             "record_file: %s: %s%s%s: the gateway will not start; make its folder, writable for "
             "that user, or name another",
             config->record_file, why, writer ? " for the user " : " for who runs this",
             writer ? writer->name : "");
    return RES_DENIED;
}

/* An SQLite file needs room beside it for its journal. */
static void
warn_of_store(const char *key, const char *path, const struct account *writer,
              const char *consequence, config_warning *each, void *arg)
{
    const char *why = what_forbids(path, writer);
    char text[PATH_MAX + 256], journal[PATH_MAX];

    if (!why) {
        snprintf(journal, sizeof journal, "%s-wal", path);
        why = *path ? what_forbids(journal, writer) : NULL;
    }
    if (!why)
        return;
    snprintf(text, sizeof text, "%s: %s: %s for %s: %s", key, path, why,
             writer ? writer->name : "who runs this", consequence);
    each(arg, text);
}

/* The supervisor makes the socket, and the folder it is in (proxy/command_socket.h), not the one
 * above. NULL: nothing. */
static const char *
what_forbids_socket(const char *path)
{
    char folder[PATH_MAX];
    size_t len = strlen(path);
    struct stat st;

    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return "is there, and is no socket";
    for (unsigned up = 0; up < 2 && len > 0; up++) {
        while (path[--len] != '/')
            ;
        snprintf(folder, sizeof folder, "%.*s/.", (int)len, path);
        if (access(folder, W_OK | X_OK) == 0)
            return NULL;
        if (errno != ENOENT)
            break;
    }
    return strerror(errno);
}

static void
warn_of_control_socket(const char *path, config_warning *each, void *arg)
{
    const char *why = *path ? what_forbids_socket(path) : NULL;
    char text[PATH_MAX + 256];

    if (!why)
        return;
    snprintf(text, sizeof text,
             "control_socket: %s: %s: stsgate policy, mode and reload will not reach the gateway",
             path, why);
    each(arg, text);
}

void
config_warn_of_files(const struct config *config, config_warning *each, void *arg)
{
    struct account account;
    const struct account *writer = find_writer(config, &account);

    if (config->user_is_missing && geteuid() == 0)
        each(arg, "user: this machine has no user stsgate (adduser --system --group --home "
                  "/var/lib/stsgate --no-create-home stsgate): the processes that talk to "
                  "strangers stay root");
    warn_of_store("store_file", config->store_file, writer, "policies will not survive a restart",
                  each, arg);
    warn_of_store("tlsrpt_store_file", config->tlsrpt_store_file, writer,
                  "nothing will be counted for reports, and none sent", each, arg);
    warn_of_control_socket(config->control_socket, each, arg);
}
