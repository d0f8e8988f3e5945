#include "policy/ub_config.h"

#include <stdio.h>
#include <strings.h>

#include <unbound-event.h>
#include <unbound.h>

#include "policy/resolver.h"

/* Sends per server and question. With libunbound's 5 a dead server costs 17 s, with 2 about 2 s. */
#define OUTBOUND_RETRIES "2"
#define CLASS_IN 1

/* An anchor file without an anchor would silently make every domain insecure. */
static bool
file_has_anchor(const char *path)
{
    FILE *file = fopen(path, "re");
    bool found = false;
    char line[8192];

    if (!file)
        return false;
    while (!found && fgets(line, sizeof line, file)) {
        char *rest = NULL;

        line[strcspn(line, ";")] = '\0';
        for (char *word = strtok_r(line, " \t\r\n", &rest); word && !found;
             word = strtok_r(NULL, " \t\r\n", &rest))
            found = strcasecmp(word, "DS") == 0 || strcasecmp(word, "DNSKEY") == 0;
    }
    fclose(file);
    return found;
}

static bool
file_is_readable(const char *path)
{
    FILE *file = fopen(path, "re");

    if (!file)
        return false;
    fclose(file);
    return true;
}

static enum result
set_servers(struct ub_ctx *ctx, const struct resolver_config *config, const char **out_error)
{
    if (config->stub[0] && config->forward[0]) {
        *out_error = "a stub and a forward resolver exclude each other";
        return RES_SYNTAX;
    }
    if (config->stub[0] && ub_ctx_set_stub(ctx, ".", config->stub, 0) != 0) {
        *out_error = "the stub's address is not ADDRESS or ADDRESS@PORT";
        return RES_SYNTAX;
    }
    if (config->forward[0] && ub_ctx_set_fwd(ctx, config->forward) != 0) {
        *out_error = "the forward resolver's address is not ADDRESS or ADDRESS@PORT";
        return RES_SYNTAX;
    }
    if (config->root_hints[0] && (!file_is_readable(config->root_hints) ||
                                  ub_ctx_set_option(ctx, "root-hints:", config->root_hints) != 0)) {
        *out_error = "the root hints cannot be read";
        return RES_SYNTAX;
    }
    if (config->trust_anchor[0] && (!file_has_anchor(config->trust_anchor) ||
                                    ub_ctx_add_ta_file(ctx, config->trust_anchor) != 0)) {
        *out_error = "the trust anchor file cannot be read or holds no DS or DNSKEY line";
        return RES_SYNTAX;
    }
    return RES_OK;
}

static enum result
set_options(struct ub_ctx *ctx, const struct resolver_config *config, const char **out_error)
{
    char cache_min[16], cache_max[16];
    const char *const options[][2] = {
        { "do-not-query-localhost:", "no" }, /* the stub or forward resolver may be there */
        { "trust-anchor-signaling:", "no" }, /* RFC 8145: nobody asked for these queries */
        { "outbound-msg-retry:", OUTBOUND_RETRIES },
        { "cache-min-ttl:", cache_min },
        { "cache-max-ttl:", cache_max },
        { "cache-max-negative-ttl:", config->cache_max_s > 0 ? "3600" : "0" },
    };

    snprintf(cache_min, sizeof cache_min, "%u", config->cache_min_s);
    snprintf(cache_max, sizeof cache_max, "%u", config->cache_max_s);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (ub_ctx_set_option(ctx, options[i][0], options[i][1]) != 0) {
            *out_error = "libunbound does not know an option that is needed";
            return RES_SYNTAX;
        }
    return RES_OK;
}

/* Zones that libunbound would deny by itself (RFC 6761, RFC 8375). Its localhost., invalid. and
 * onion. stay: nobody serves those. */
static void
remove_local_zones(struct ub_ctx *ctx)
{
    static const char *const zones[] = { "test.", "home.arpa." };

    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++)
        (void)ub_ctx_zone_remove(ctx, zones[i]); /* a failure shows in probe() */
}

static void
on_probe(void *arg, int rcode, void *packet, int packet_len, int sec, char *why_bogus,
         int was_ratelimited)
{
    (void)rcode, (void)packet, (void)packet_len, (void)sec, (void)why_bogus, (void)was_ratelimited;
    *(bool *)arg = true;
}

/* libunbound reads its files at the first question only. This one it answers at once from its own
 * data, so that what it does not like is known now. */
static enum result
probe(struct ub_ctx *ctx, const char **out_error)
{
    bool answered = false;
    int async_id = 0;
    int error =
        ub_resolve_event(ctx, "localhost.", DNS_TYPE_A, CLASS_IN, &answered, on_probe, &async_id);

    if (error == UB_NOMEM)
        return RES_NOMEM;
    if (error != 0 || !answered) {
        *out_error = "libunbound cannot start: see the trust anchor and the root hints";
        if (error == 0)
            (void)ub_cancel(ctx, async_id); /* `answered` is about to go */
        return RES_SYNTAX;
    }
    return RES_OK;
}

enum result
ub_config_apply(struct ub_ctx *ctx, const struct resolver_config *config, const char **out_error)
{
    enum result res;

    (void)ub_ctx_debugout(ctx, NULL); /* its own log lines are not in our form */
    res = set_servers(ctx, config, out_error);
    if (res == RES_OK)
        res = set_options(ctx, config, out_error);
    if (res != RES_OK)
        return res;
    /* From here on libunbound takes no more options. */
    if (!config->local_zones)
        remove_local_zones(ctx);
    return probe(ctx, out_error);
}
