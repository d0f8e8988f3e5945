/* proxy/mx_roots.h: what certificates of MX hosts are held against: the site's roots, and those of
 * each override that brings its own (PRX-042). Context: worker, `stsgate check`. */
#ifndef STSGATE_PROXY_MX_ROOTS_H
#define STSGATE_PROXY_MX_ROOTS_H

#include "proxy/config.h"

struct tls_context;

#define MX_ROOTS_ERROR_MAX 512u

/** Read the files that the configuration names.
 *
 * out, out_count  on RES_OK a new array by requirement.local.trust: 0 with the site's roots; NULL
 *                 where an override brings none of its own. On anything else NULL and 0
 * error           on anything but RES_OK what is wrong, NUL-terminated
 *
 * RES_SYNTAX: a file cannot be read or holds no certificate; RES_NOMEM. */
MUST_CHECK enum result mx_roots_open(const struct config *config, struct tls_context ***out,
                                     size_t *out_count, char error[MX_ROOTS_ERROR_MAX]);

void mx_roots_close(struct tls_context **roots, size_t count); /* NULL is allowed */

#endif
