#include "tls/roots.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "tls/tls_context.h"

#define QUOTED_BYTES 512u

struct tally {
    unsigned read, skipped; /* certificates, and what should have been one */
};

/* False at the end of the file. A block that is no certificate the library can read gives true and
 * NULL: the library has gone past it. */
static bool
next_certificate(BIO *file, X509 **out)
{
    uint32_t error;

    ERR_clear_error();
    *out = PEM_read_bio_X509(file, NULL, NULL, NULL);
    error = ERR_peek_last_error();
    return *out ||
           !(ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE);
}

/* A root that is there already is not added twice: a hashed folder has each under two names. */
static enum result
read_certificates(X509_STORE *roots, BIO *file, struct tally *tally)
{
    X509 *root;

    while (next_certificate(file, &root)) {
        int added = root ? X509_STORE_add_cert(roots, root) : 0;

        if (root && !added) {
            X509_free(root);
            return RES_NOMEM;
        }
        X509_free(root);
        *(root ? &tally->read : &tally->skipped) += 1;
    }
    return RES_OK;
}

/* RES_SYNTAX: it cannot be opened, and errno says why, or is 0. */
static enum result
read_file(X509_STORE *roots, const char *path, struct tally *tally)
{
    enum result res;
    BIO *file;

    errno = 0;
    file = BIO_new_file(path, "r");
    if (!file)
        return RES_SYNTAX;
    res = read_certificates(roots, file, tally);
    BIO_free(file);
    return res;
}

static enum result
read_entry(X509_STORE *roots, const char *folder, const char *name, struct tally *tally)
{
    char path[PATH_MAX];
    struct stat st;
    enum result res;

    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path ||
        stat(path, &st) != 0) { /* a link to nowhere is what an old hash leaves behind */
        tally->skipped++;
        return RES_OK;
    }
    if (!S_ISREG(st.st_mode))
        return RES_OK;
    res = read_file(roots, path, tally);
    if (res != RES_SYNTAX)
        return res;
    tally->skipped++;
    return RES_OK;
}

static enum result
read_folder(X509_STORE *roots, DIR *folder, const char *path, struct tally *tally)
{
    enum result res = RES_OK;
    unsigned files = 0;

    for (struct dirent *e = readdir(folder); e && res == RES_OK; e = readdir(folder)) {
        if (e->d_name[0] == '.')
            continue;
        if (++files > ROOTS_FILES_MAX)
            return RES_LIMIT;
        res = read_entry(roots, path, e->d_name, tally);
    }
    return res;
}

enum result
roots_load(X509_STORE *roots, const char *path, const char **out_error)
{
    struct tally tally = { 0 };
    DIR *folder = opendir(path);
    enum result res;

    if (folder) {
        res = read_folder(roots, folder, path, &tally);
        (void)closedir(folder);
        if (res == RES_LIMIT)
            *out_error = tls_file_error(path, "holds too many files");
    } else {
        res = read_file(roots, path, &tally);
        if (res == RES_SYNTAX)
            *out_error = tls_file_error(path, errno ? strerror(errno) : "cannot be opened");
    }
    if (res == RES_OK && tally.read == 0) {
        *out_error = tls_file_error(path, "holds no certificate in PEM form");
        res = RES_SYNTAX;
    }
    if (res == RES_OK && tally.skipped > 0) {
        char quoted[QUOTED_BYTES];

        log_warn("event=ca_file file=%s roots=%u skipped=%u",
                 log_quote(quoted, sizeof quoted, span_of(path)), tally.read, tally.skipped);
    }
    return res;
}
