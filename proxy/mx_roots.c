#include "proxy/mx_roots.h"

#include <stdio.h>
#include <stdlib.h>

#include "tls/tls_client.h"

static enum result
open_context(const struct config *config, const char *ca_file, struct tls_context **out,
             char error[MX_ROOTS_ERROR_MAX])
{
    const char *why = "no memory for TLS";
    enum result res = tls_context_new(ca_file, out, &why);

    if (res == RES_OK) {
        why = "no memory for TLS";
        res = tls_context_set_post_quantum(*out, config->tls_post_quantum);
    }
    if (res != RES_OK)
        snprintf(error, MX_ROOTS_ERROR_MAX, "%s", why);
    return res;
}

enum result
mx_roots_open(const struct config *config, struct tls_context ***out, size_t *out_count,
              char error[MX_ROOTS_ERROR_MAX])
{
    size_t count = 1 + config->rules.rule_count;
    struct tls_context **roots = calloc(count, sizeof(struct tls_context *));
    enum result res;

    *out = NULL;
    *out_count = 0;
    snprintf(error, MX_ROOTS_ERROR_MAX, "no memory");
    if (!roots)
        return RES_NOMEM;
    res = open_context(config, config->mx_ca_file, &roots[0], error);
    for (size_t i = 0; i < config->rules.rule_count && res == RES_OK; i++)
        if (config->rules.rules[i].ca_file)
            res = open_context(config, config->rules.rules[i].ca_file, &roots[1 + i], error);
    if (res != RES_OK) {
        mx_roots_close(roots, count);
        return res;
    }
    *out = roots;
    *out_count = count;
    return RES_OK;
}

void
mx_roots_close(struct tls_context **roots, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tls_context_free(roots[i]);
    free(roots);
}
