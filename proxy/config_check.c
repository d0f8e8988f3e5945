#include "proxy/config_parse.h"

/* The later line of the two, where the contradiction came in. */
static unsigned
later(const struct config_lines *lines, const char *a, const char *b)
{
    unsigned line_a = config_line_of(lines, a), line_b = config_line_of(lines, b);

    return line_a > line_b ? line_a : line_b;
}

static void
check_pairs(const struct config *config, const struct config_lines *lines,
            struct config_problem *problem)
{

    if (*config->resolver_stub && *config->resolver_forward)
        config_problem_note(problem, RES_SYNTAX, later(lines, "resolver_stub", "resolver_forward"),
                            "resolver_stub and resolver_forward exclude each other: keep one");
    if (config->taken_mark == config->upstream_mark)
        config_problem_note(
            problem, RES_SYNTAX, later(lines, "taken_mark", "upstream_mark"),
            "taken_mark and upstream_mark are the same: connections would go in circles");
    if (config->own_mail && !config->upstream_mark)
        config_problem_note(problem, RES_SYNTAX, later(lines, "own_mail", "upstream_mark"),
                            "own_mail needs an upstream_mark: the gateway would take over itself");
    if (config->dns_cache_min_s > config->dns_cache_max_s)
        config_problem_note(problem, RES_SYNTAX, later(lines, "dns_cache_min", "dns_cache_max"),
                            "dns_cache_min %u is above dns_cache_max %u", config->dns_cache_min_s,
                            config->dns_cache_max_s);
    if (config->policy_cache_min_s > config->policy_cache_max_s)
        config_problem_note(problem, RES_SYNTAX,
                            later(lines, "policy_cache_min", "policy_cache_max"),
                            "policy_cache_min %u is above policy_cache_max %u",
                            config->policy_cache_min_s, config->policy_cache_max_s);
}

/* A report says who sends it (RPT-053, RPT-065). */
static void
check_reports(const struct config *config, const struct config_lines *lines,
              struct config_problem *problem)
{
    bool reports = *config->tlsrpt_organization != '\0';

    if (reports != (*config->tlsrpt_contact != '\0'))
        config_problem_note(problem, RES_SYNTAX,
                            later(lines, "tlsrpt_organization", "tlsrpt_contact"),
                            "tlsrpt_organization and tlsrpt_contact need each other");
    if (*config->tlsrpt_relay && !reports)
        config_problem_note(
            problem, RES_SYNTAX, config_line_of(lines, "tlsrpt_relay"),
            "tlsrpt_relay needs tlsrpt_organization and tlsrpt_contact: who reports");
    if (*config->tlsrpt_relay && !config->tlsrpt_dkim_external)
        config_problem_note(
            problem, RES_SYNTAX, config_line_of(lines, "tlsrpt_relay"),
            "tlsrpt_relay needs tlsrpt_dkim = external: receivers take signed reports "
            "only (RFC 8460 3)");
    if (reports && !*config->tlsrpt_store_file)
        config_problem_note(problem, RES_SYNTAX,
                            later(lines, "tlsrpt_organization", "tlsrpt_store_file"),
                            "tlsrpt_organization needs tlsrpt_store_file: what is to be reported");
}

static void
check_proxies(const struct config *config, const struct config_lines *lines,
              struct config_problem *problem)
{
    bool listens = false;

    for (size_t i = 0; i < config->listen_count; i++)
        listens = listens || config->listen[i].kind == INTERCEPT_PROXY;
    if (listens && config->proxy_network_count == 0)
        config_problem_note(problem, RES_SYNTAX, config_line_of(lines, "listen_proxy"),
                            "listen_proxy needs proxy_networks: whose header is to be believed");
}

static void
check_clients(const struct config *config, const struct config_lines *lines,
              struct config_problem *problem)
{
    bool has_certificate = *config->client_certificate_file;

    if (has_certificate != (*config->client_key_file != '\0'))
        config_problem_note(problem, RES_SYNTAX,
                            later(lines, "client_certificate_file", "client_key_file"),
                            "client_certificate_file and client_key_file need each other");
    for (size_t i = 0; i < config->clients.count; i++) {
        const struct client_rule *rule = &config->clients.rules[i];
        const char *why = client_rule_objection(rule, has_certificate);

        if (why)
            config_problem_note(problem, RES_SYNTAX, lines->client[i], "client \"%s\": %s",
                                rule->title, why);
    }
}

void
config_check_together(const struct config *config, const struct config_lines *lines,
                      struct config_problem *problem)
{
    check_pairs(config, lines, problem);
    check_clients(config, lines, problem);
    check_proxies(config, lines, problem);
    check_reports(config, lines, problem);
}
