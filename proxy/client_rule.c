#include "proxy/client_rule.h"

#include <stdio.h>
#include <stdlib.h>

static bool
matches(const struct net_list *list, const struct ip_addr *addr)
{
    return list->count == 0 || net_list_has(list, addr);
}

const struct client_rule *
client_rules_find(const struct client_rules *rules, const struct ip_addr *client,
                  const struct ip_addr *destination)
{
    for (size_t i = 0; i < rules->count; i++)
        if (matches(&rules->rules[i].clients, client) &&
            matches(&rules->rules[i].destinations, destination))
            return &rules->rules[i];
    return NULL;
}

enum client_starttls
client_rule_starttls(const struct client_rule *rule, bool has_certificate)
{
    if (rule && rule->starttls != CLIENT_STARTTLS_SITE)
        return rule->starttls;
    return has_certificate ? CLIENT_STARTTLS_TERMINATE : CLIENT_STARTTLS_HIDE;
}

const char *
client_starttls_name(enum client_starttls how)
{
    static const char *const names[CLIENT_STARTTLS_WAYS] = {
        [CLIENT_STARTTLS_SITE] = "",
        [CLIENT_STARTTLS_HIDE] = "hide",
        [CLIENT_STARTTLS_TERMINATE] = "terminate",
        [CLIENT_STARTTLS_PASSTHROUGH] = "passthrough",
    };

    return names[how];
}

const char *
client_rule_objection(const struct client_rule *rule, bool has_certificate)
{
    enum client_starttls how = client_rule_starttls(rule, has_certificate);

    if (rule->clients.count == 0 && rule->destinations.count == 0)
        return "client or destination must say whom it is for";
    if (rule->relay &&
        (rule->starttls != CLIENT_STARTTLS_SITE || rule->require_tls || rule->accept_lf))
        return "relay goes with sessions_max only";
    if (how == CLIENT_STARTTLS_TERMINATE && !has_certificate)
        return "starttls = terminate needs client_certificate_file";
    if (rule->require_tls && how != CLIENT_STARTTLS_TERMINATE)
        return "require_tls needs starttls = terminate";
    return NULL;
}

enum result
client_rules_add(struct client_rules *rules, const char *title)
{
    struct client_rule *more;

    if (rules->count >= CLIENT_RULES_MAX)
        return RES_LIMIT;
    more = realloc(rules->rules, (rules->count + 1) * sizeof *more);
    if (!more)
        return RES_NOMEM;
    rules->rules = more;
    more[rules->count] = (struct client_rule){ 0 };
    snprintf(more[rules->count++].title, sizeof more->title, "%s", title);
    return RES_OK;
}

void
client_rules_clear(struct client_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        net_list_clear(&rules->rules[i].clients);
        net_list_clear(&rules->rules[i].destinations);
    }
    free(rules->rules);
    *rules = (struct client_rules){ 0 };
}
