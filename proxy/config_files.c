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

/* May account, or who runs this when it is NULL, make files in the folder of path, and write the
 * one that is there? errno tells why not. */
static bool
is_writable(const char *path, const struct account *account)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    struct stat st;

    snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    if (!account)
        return access(folder, W_OK | X_OK) == 0;
    if (stat(folder, &st) != 0)
        return false;
    errno = EACCES;
    return account_may_write(account, &st) &&
           (stat(path, &st) != 0 || account_may_write(account, &st));
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

struct file_warning {
    const char *key, *path;
    const struct account *account; /* who is to write there; NULL: who runs this */
    const char *consequence;
};

static void
warn_of_file(const struct file_warning *file, config_warning *each, void *arg)
{
    char text[PATH_MAX + 256];

    if (!*file->path || is_writable(file->path, file->account))
        return;
    snprintf(text, sizeof text, "%s: %s: %s%s: %s", file->key, file->path, strerror(errno),
             file->account ? " for the user of the configuration" : "", file->consequence);
    each(arg, text);
}

void
config_warn_of_files(const struct config *config, config_warning *each, void *arg)
{
    struct account account;
    char error[256];
    bool changes = *config->user && geteuid() == 0 &&
                   account_find(config->user, &account, error, sizeof error) == RES_OK;
    const struct account *children = changes ? &account : NULL;
    const struct file_warning files[] = {
        { "record_file", config->record_file, children, "the gateway will not start" },
        { "store_file", config->store_file, children, "policies will not survive a restart" },
        { "tlsrpt_store_file", config->tlsrpt_store_file, children,
          "nothing will be counted for reports, and none sent" },
        { "control_socket", config->control_socket, NULL,
          "stsgate policy, mode and reload will not reach the gateway" },
    };

    if (config->user_is_missing && geteuid() == 0)
        each(arg, "user: this machine has no user stsgate (adduser --system --group --home "
                  "/var/lib/stsgate --no-create-home stsgate): the processes that talk to "
                  "strangers stay root");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        warn_of_file(&files[i], each, arg);
}
