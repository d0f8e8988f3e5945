/* tls/roots.h: the roots that a chain must lead to, read from where the operator keeps them
 * (TLS-045).
 * Context: worker, at its start. Inside tls/ only. */
#ifndef STSGATE_TLS_ROOTS_H
#define STSGATE_TLS_ROOTS_H

#include "base/result.h"
#include "tls/bssl_compat.h"

#define ROOTS_FILES_MAX 10000u /* of a folder; a distribution's has some hundreds */

/** Add to roots what path names: a file with certificates in PEM form, or a folder. Of a folder all
 * files are read that do not begin with a dot, whatever their names: hashed or not is the same
 * here. A file of it that cannot be read, and a block that is no certificate, are counted in the
 * log and cost only themselves: one odd root is no reason not to start.
 *
 * out_error: as tls_context_new().
 * RES_SYNTAX: unreadable, or not one certificate; RES_LIMIT: too many files; RES_NOMEM. */
MUST_CHECK enum result roots_load(X509_STORE *roots, const char *path, const char **out_error);

#endif
