#include "policy/mx_lookup.h"

#include <stdio.h>
#include <stdlib.h>

struct lookup {
    struct mx_lookup_config config;
    char domain[HOSTNAME_MAX + 1];
    struct ip_addr destination;
    mx_lookup_done *done;
    void *arg;
    unsigned open; /* address questions without answer, and one for the loop that asks them */
    struct mx_set set;
};

/* One address question; tells the answer's host. */
struct host_question {
    struct lookup *lookup;
    size_t host;
};

static void
finish(struct lookup *l)
{
    l->done(l->arg, &l->set);
    free(l);
}

static void
take_ttl(struct lookup *l, uint32_t ttl_s)
{
    if (ttl_s < l->set.ttl_s)
        l->set.ttl_s = ttl_s;
}

static void
fail_mx(struct lookup *l, const char *reason, bool bogus)
{
    struct mx_set *set = &l->set;

    set->failed = set->mx_failed = true;
    set->mx_bogus = bogus;
    set->ttl_s = 0;
    snprintf(set->mx_reason, sizeof set->mx_reason, "%.*s", (int)sizeof set->mx_reason - 1, reason);
    finish(l);
}

static void
close_question(struct lookup *l)
{
    if (--l->open == 0)
        finish(l);
}

/* The host is an alias, and its target counts as a name of the same machine. */
static void
add_alias_target(struct lookup *l, const struct mx_host *host, const char *target)
{
    if (!l->config.alias_targets || strcmp(host->host, target) == 0 || l->set.count == MX_HOSTS_MAX)
        return;
    l->set.hosts[l->set.count] = *host;
    l->set.hosts[l->set.count].is_target = true;
    snprintf(l->set.hosts[l->set.count++].host, sizeof host->host, "%s", target);
}

void
mx_host_take_answer(struct mx_host *host, const struct resolver_answer *a)
{
    host->failed = a->status == RESOLVER_FAILED;
    host->bogus = a->bogus;
    host->security = a->security;
    snprintf(host->owner, sizeof host->owner, "%s", a->answer.owner);
    snprintf(host->reason, sizeof host->reason, "%.*s", (int)sizeof host->reason - 1, a->reason);
}

static void
on_addresses(void *arg, const struct resolver_answer *a)
{
    struct host_question *question = arg;
    struct lookup *l = question->lookup;
    struct mx_host *host = &l->set.hosts[question->host];
    int64_t now_s = clock_wall_s(&l->config.clock);

    free(question);
    mx_host_take_answer(host, a);
    if (host->failed) /* another host may hold the address all the same (DANE-005) */
        l->set.failed = true;
    else
        take_ttl(l, a->answer.ttl_s);
    for (size_t i = 0; i < a->answer.count; i++) {
        addr_memory_note(l->config.memory, host->host, &a->answer.addrs[i], now_s);
        if (ip_addr_equal(&a->answer.addrs[i], &l->destination))
            host->holds = MX_HOLDS_NOW;
    }
    if (host->holds != MX_HOLDS_NOW &&
        addr_memory_has(l->config.memory, host->host, &l->destination, now_s))
        host->holds = MX_HOLDS_REMEMBERED;
    if (a->answer.count)
        add_alias_target(l, host, a->answer.owner);
    close_question(l);
}

/* Only the destination's family can hold it. */
static void
ask_addresses(struct lookup *l)
{
    unsigned qtype = l->destination.len == 4 ? DNS_TYPE_A : DNS_TYPE_AAAA;

    l->open = 1;
    for (size_t i = 0; i < l->set.count; i++) { /* answers come later, and may add hosts */
        struct host_question *question = malloc(sizeof *question);
        struct resolver_query *query;

        if (!question) {
            l->set.failed = true;
            break;
        }
        *question = (struct host_question){ l, i };
        l->open++;
        if (resolver_ask(l->config.resolver, l->set.hosts[i].host, qtype, on_addresses, question,
                         &query) != RES_OK) {
            free(question);
            l->set.failed = true;
            l->open--;
        }
    }
    close_question(l);
}

static int
by_preference(const void *a, const void *b)
{
    const struct dns_mx *x = a, *y = b;

    return (x->preference > y->preference) - (x->preference < y->preference);
}

void
mx_answer_sort(const struct dns_answer *answer)
{
    if (answer->count)
        qsort(answer->mx, answer->count, sizeof *answer->mx, by_preference);
}

bool
mx_answer_is_implicit(const struct resolver_answer *a)
{
    return a->status == RESOLVER_ANSWERED && a->answer.rcode == DNS_RCODE_NOERROR &&
           a->answer.count + a->answer.left_out == 0;
}

static void
add_host(struct lookup *l, uint16_t preference, const char *host)
{
    struct mx_host *h;

    if (host[0] == '\0' || l->set.count == MX_HOSTS_MAX)
        return; /* the null MX is no host (RFC 7505) */
    h = &l->set.hosts[l->set.count++];
    h->preference = preference;
    h->failed = true; /* until there is an answer */
    snprintf(h->reason, sizeof h->reason, "not asked");
    snprintf(h->host, sizeof h->host, "%s", host);
}

static void
on_mx(void *arg, const struct resolver_answer *a)
{
    struct lookup *l = arg;

    if (a->status == RESOLVER_FAILED) {
        fail_mx(l, a->reason, a->bogus);
        return;
    }
    take_ttl(l, a->answer.ttl_s);
    l->set.security = a->security;
    snprintf(l->set.owner, sizeof l->set.owner, "%s", a->answer.owner);
    l->set.null_mx = a->answer.count == 1 && a->answer.left_out == 0 && /* RFC 7505 3 */
                     a->answer.mx[0].host[0] == '\0';
    l->set.implicit = mx_answer_is_implicit(a);
    mx_answer_sort(&a->answer);
    for (size_t i = 0; i < a->answer.count; i++)
        add_host(l, a->answer.mx[i].preference, a->answer.mx[i].host);
    if (l->set.implicit)
        add_host(l, 0, l->domain);
    ask_addresses(l);
}

/* NULL: no memory, and done has been called. */
static struct lookup *
lookup_new(const struct mx_lookup_config *config, const char *domain,
           const struct ip_addr *destination, mx_lookup_done *done, void *arg)
{
    static const struct mx_set nothing = { .failed = true,
                                           .mx_failed = true,
                                           .mx_reason = "no memory" };
    struct lookup *l = calloc(1, sizeof *l);

    if (!l) {
        done(arg, &nothing);
        return NULL;
    }
    l->config = *config;
    l->destination = *destination;
    l->done = done;
    l->arg = arg;
    l->set.ttl_s = UINT32_MAX;
    snprintf(l->domain, sizeof l->domain, "%s", domain);
    return l;
}

void
mx_lookup(const struct mx_lookup_config *config, const char *domain,
          const struct ip_addr *destination, mx_lookup_done *done, void *arg)
{
    struct lookup *l = lookup_new(config, domain, destination, done, arg);
    struct resolver_query *query;

    if (!l || resolver_ask(config->resolver, l->domain, DNS_TYPE_MX, on_mx, l, &query) == RES_OK)
        return;
    fail_mx(l, "too many questions", false);
}

void
mx_lookup_host(const struct mx_lookup_config *config, const char *host,
               const struct ip_addr *destination, mx_lookup_done *done, void *arg)
{
    struct lookup *l = lookup_new(config, host, destination, done, arg);

    if (!l)
        return;
    l->set.implicit = true;
    l->set.security = DNS_SECURE;
    snprintf(l->set.owner, sizeof l->set.owner, "%s", host);
    add_host(l, 0, host);
    l->set.hosts[0].holds = MX_HOLDS_NOW;
    ask_addresses(l);
}
