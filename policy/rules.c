#include "policy/rules.h"

#include "base/hostname.h"

#include <stdio.h>
#include <stdlib.h>

#define SHARES 10000u /* hundredths of a percent */

enum result
net_list_add(struct net_list *list, const char *text)
{
    struct ip_net net, *nets;

    if (ip_net_parse(text, &net) != RES_OK)
        return RES_SYNTAX;
    if (list->count >= RULE_NETS_MAX)
        return RES_LIMIT;
    nets = realloc(list->nets, (list->count + 1) * sizeof *nets);
    if (!nets)
        return RES_NOMEM;
    list->nets = nets;
    nets[list->count++] = net;
    return RES_OK;
}

bool
net_list_has(const struct net_list *list, const struct ip_addr *addr)
{
    for (size_t i = 0; i < list->count; i++)
        if (ip_net_has(&list->nets[i], addr))
            return true;
    return false;
}

void
net_list_clear(struct net_list *list)
{
    free(list->nets);
    *list = (struct net_list){ 0 };
}

void
rule_clear(struct rule *rule)
{
    name_list_clear(&rule->domains);
    net_list_clear(&rule->destinations);
    net_list_clear(&rule->clients);
    name_list_clear(&rule->mx);
    free(rule->ca_file);
    free(rule->reason);
    *rule = (struct rule){ 0 };
}

void
rules_clear(struct rules *rules)
{
    for (size_t i = 0; i < rules->rule_count; i++)
        rule_clear(&rules->rules[i]);
    for (size_t i = 0; i < rules->smart_host_count; i++) {
        net_list_clear(&rules->smart_hosts[i].destinations);
        net_list_clear(&rules->smart_hosts[i].auth_clients);
    }
    for (size_t i = 0; i < rules->reply_text_count; i++)
        free(rules->reply_texts[i].text);
    free(rules->reply_texts);
    free(rules->rules);
    free(rules->smart_hosts);
    *rules = (struct rules){ 0 };
}

static bool
domain_listed(const struct name_list *domains, const char *domain)
{
    for (size_t i = 0; i < domains->count; i++)
        if (hostname_matches(span_of(domains->names[i]), span_of(domain)))
            return true;
    return false;
}

static bool
applies(const struct rule *rule, const char *domain, const struct ip_addr *destination,
        const struct ip_addr *client)
{
    return (rule->domains.count == 0 || domain_listed(&rule->domains, domain)) &&
           (rule->destinations.count == 0 || net_list_has(&rule->destinations, destination)) &&
           (rule->clients.count == 0 || net_list_has(&rule->clients, client));
}

const struct rule *
rules_find(const struct rules *rules, const char *domain, const struct ip_addr *destination,
           const struct ip_addr *client, int64_t now_s)
{
    for (size_t i = 0; i < rules->rule_count; i++) {
        const struct rule *rule = &rules->rules[i];

        if (now_s < rule->until_s && applies(rule, domain, destination, client))
            return rule;
    }
    return NULL;
}

const struct rule *
rules_named(const struct rules *rules, const char *id)
{
    for (size_t i = 0; i < rules->rule_count; i++)
        if (strcmp(rules->rules[i].id, id) == 0)
            return &rules->rules[i];
    return NULL;
}

const char *
rules_reply_text(const struct rules *rules, const char *id)
{
    for (size_t i = 0; i < rules->reply_text_count; i++)
        if (strcmp(rules->reply_texts[i].id, id) == 0)
            return rules->reply_texts[i].text;
    return NULL;
}

const struct smart_host *
rules_smart_host(const struct rules *rules, const struct ip_addr *destination)
{
    for (size_t i = 0; i < rules->smart_host_count; i++)
        if (net_list_has(&rules->smart_hosts[i].destinations, destination))
            return &rules->smart_hosts[i];
    return NULL;
}

/* FNV-1a with the finaliser of MurmurHash3: no secret, so that every host chooses alike. */
static unsigned
share_of(const char *domain)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *domain; domain++)
        hash = (hash ^ (unsigned char)*domain) * 0x100000001b3u;
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdu;
    hash ^= hash >> 33;
    hash *= 0xc4ceb9fe1a85ec53u;
    hash ^= hash >> 33;
    return (unsigned)(hash % SHARES);
}

bool
rollout_enforces(const struct rollout *rollout, const char *domain)
{
    return rollout->mode == ROLLOUT_ENFORCE && share_of(domain) < rollout->percent * (SHARES / 100);
}

enum result
rollout_parse(const char *text, struct rollout *out)
{
    struct span s = span_trim(span_of(text));
    unsigned long long percent = 100;

    if (span_equal(s, span_of("survey"))) {
        *out = (struct rollout){ .mode = ROLLOUT_SURVEY };
        return RES_OK;
    }
    if (span_equal(s, span_of("monitor"))) {
        *out = (struct rollout){ .mode = ROLLOUT_MONITOR };
        return RES_OK;
    }
    if (!span_starts(s, span_of("enforce")))
        return RES_SYNTAX;
    s = span_from(s, strlen("enforce"));
    if (s.len) {
        if (s.ptr[0] != ' ' || s.ptr[s.len - 1] != '%')
            return RES_SYNTAX;
        s = span_trim(span_first(s, s.len - 1));
        if (!span_to_u64(s, 3, &percent) || percent > 100)
            return RES_SYNTAX;
    }
    *out = (struct rollout){ .mode = ROLLOUT_ENFORCE, .percent = (unsigned)percent };
    return RES_OK;
}

unsigned
rollout_to_number(const struct rollout *rollout)
{
    return (unsigned)rollout->mode << 8 | rollout->percent;
}

enum result
rollout_from_number(unsigned number, struct rollout *out)
{
    unsigned mode = number >> 8, percent = number & 0xff;

    if (mode > ROLLOUT_SURVEY || percent > 100)
        return RES_SYNTAX;
    *out = (struct rollout){ .mode = (enum rollout_mode)mode, .percent = percent };
    return RES_OK;
}

const char *
rollout_text(const struct rollout *rollout, char out[16])
{
    if (rollout->mode == ROLLOUT_SURVEY)
        snprintf(out, 16, "survey");
    else if (rollout->mode == ROLLOUT_MONITOR)
        snprintf(out, 16, "monitor");
    else if (rollout->percent == 100)
        snprintf(out, 16, "enforce");
    else
        snprintf(out, 16, "enforce %u%%", rollout->percent % 100);
    return out;
}
