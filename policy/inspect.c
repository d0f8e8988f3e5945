#include "policy/inspect.h"

#include "policy/mx_lookup.h"

#include <stdio.h>
#include <stdlib.h>

#define FAMILIES 2u

struct inspection;

struct host {
    struct inspection *in;
    struct question *questions; /* one for each family; within `questions` of the inspection */
    unsigned open;              /* of them */
};

/* One address question; tells the answer's host and family. */
struct question {
    struct host *host;
    unsigned qtype;
    bool has_addresses;
    struct mx_host facts; /* as the gateway holds them for a destination of this family */
};

struct inspection {
    struct inspect_config config;
    inspect_each *each;
    inspect_done *done;
    void *arg;
    unsigned open;   /* parts that are still to come */
    bool has_failed; /* a look-up of the domain did */
    struct resolver_answer root;
    char domain[HOSTNAME_MAX + 1];
    struct host hosts[MX_HOSTS_MAX];
    size_t host_count;
    struct question questions[FAMILIES * MX_HOSTS_MAX];
};

static const struct resolver_answer not_asked = { .status = RESOLVER_FAILED,
                                                  .reason = "not asked" };

static void
close_part(struct inspection *in)
{
    if (--in->open > 0)
        return;
    if (in->has_failed && in->root.status == RESOLVER_FAILED)
        in->each(in->arg, &(struct inspect_part){
                              .kind = INSPECT_RESOLVER, .name = ".", .answer = &in->root });
    in->done(in->arg);
    free(in);
}

static void
tell(struct inspection *in, const struct inspect_part *part)
{
    in->has_failed |= part->answer && part->answer->status == RESOLVER_FAILED;
    in->each(in->arg, part);
}

/* ---- the resolver ---- */

static void
on_root(void *arg, const struct resolver_answer *a)
{
    struct inspection *in = arg;

    in->root = *a;
    in->root.answer = (struct dns_answer){ 0 }; /* borrowed, and not shown */
    close_part(in);
}

/* The root's own SOA is there for everybody: who cannot be told it has no DNS, or cannot validate.
 * Asked beside the others, so that a dead resolver is not waited for twice. */
static void
ask_root(struct inspection *in)
{
    struct resolver_query *query;

    in->root.status = RESOLVER_ANSWERED; /* unless it is found to fail */
    if (resolver_ask(in->config.uncached, ".", DNS_TYPE_SOA, on_root, in, &query) == RES_OK)
        in->open++;
}

/* ---- texts and policy ---- */

static void
tell_text(struct inspection *in, enum inspect_kind kind, const struct resolver_answer *a)
{
    char name[HOSTNAME_MAX + sizeof "_smtp._tls."];

    snprintf(name, sizeof name, "%s.%s", kind == INSPECT_STS_TXT ? "_mta-sts" : "_smtp._tls",
             in->domain);
    tell(in, &(struct inspect_part){ .kind = kind, .name = name, .answer = a });
    close_part(in);
}

static void
on_sts_text(void *arg, const struct resolver_answer *a)
{
    tell_text(arg, INSPECT_STS_TXT, a);
}

static void
on_tlsrpt_text(void *arg, const struct resolver_answer *a)
{
    tell_text(arg, INSPECT_TLSRPT_TXT, a);
}

static void
on_policy(void *arg, const struct sts_finding *finding)
{
    struct inspection *in = arg;
    char name[HOSTNAME_MAX + sizeof "mta-sts."];

    snprintf(name, sizeof name, "mta-sts.%s", in->domain);
    tell(in, &(struct inspect_part){ .kind = INSPECT_POLICY, .name = name, .policy = finding });
    close_part(in);
}

static void
ask_text(struct inspection *in, const char *label, resolver_done *done)
{
    char name[HOSTNAME_MAX + sizeof "_smtp._tls."];
    struct resolver_query *query;

    in->open++;
    snprintf(name, sizeof name, "%s.%s", label, in->domain);
    if (resolver_ask(in->config.uncached, name, DNS_TYPE_TXT, done, in, &query) != RES_OK)
        done(in, &not_asked);
}

/* ---- MX hosts ---- */

static void
on_tlsa(void *arg, struct tlsa_finding *finding)
{
    struct host *host = arg;
    struct inspection *in = host->in;

    tell(in, &(struct inspect_part){ .kind = INSPECT_TLSA,
                                     .name = host->questions[0].facts.host,
                                     .tlsa = finding,
                                     .port = in->config.port });
    dane_host_clear(&finding->host);
    close_part(in);
}

/* The gateway asks behind each address for itself. Here one answer stands for the host: that of the
 * family that has addresses, IPv4 first. */
static const struct mx_host *
facts_of(const struct host *host)
{
    for (unsigned i = 0; i < FAMILIES; i++)
        if (host->questions[i].has_addresses)
            return &host->questions[i].facts;
    return &host->questions[0].facts;
}

static void
on_address(void *arg, const struct resolver_answer *a)
{
    struct question *q = arg;
    struct host *host = q->host;
    struct inspection *in = host->in;

    mx_host_take_answer(&q->facts, a);
    q->has_addresses = a->answer.count > 0;
    tell(in, &(struct inspect_part){
                 .kind = INSPECT_ADDRESS, .name = q->facts.host, .qtype = q->qtype, .answer = a });
    if (--host->open == 0)
        tlsa_lookup(in->config.uncached, facts_of(host), in->config.port, on_tlsa, host);
}

static void
add_host(struct inspection *in, const char *name)
{
    struct question *questions = &in->questions[FAMILIES * in->host_count];

    if (in->host_count == MX_HOSTS_MAX || name[0] == '\0')
        return;
    in->hosts[in->host_count++] =
        (struct host){ .in = in, .questions = questions, .open = FAMILIES };
    for (unsigned i = 0; i < FAMILIES; i++) {
        questions[i].host = &in->hosts[in->host_count - 1];
        questions[i].qtype = i == 0 ? DNS_TYPE_A : DNS_TYPE_AAAA;
        snprintf(questions[i].facts.host, sizeof questions[i].facts.host, "%s", name);
    }
}

/* All hosts side by side; each is one part until its TLSA records are told. */
static void
ask_hosts(struct inspection *in)
{
    struct resolver_query *query;

    in->open += (unsigned)in->host_count;
    for (size_t i = 0; i < FAMILIES * in->host_count; i++) {
        struct question *q = &in->questions[i];

        if (resolver_ask(in->config.uncached, q->facts.host, q->qtype, on_address, q, &query) !=
            RES_OK)
            on_address(q, &not_asked);
    }
}

static void
on_mx(void *arg, const struct resolver_answer *a)
{
    struct inspection *in = arg;

    mx_answer_sort(&a->answer);
    tell(in, &(struct inspect_part){ .kind = INSPECT_MX, .name = in->domain, .answer = a });
    for (size_t i = 0; i < a->answer.count; i++)
        add_host(in, a->answer.mx[i].host);
    if (mx_answer_is_implicit(a))
        add_host(in, in->domain);
    ask_hosts(in);
    close_part(in);
}

static void
ask_mx(struct inspection *in)
{
    struct resolver_query *query;

    in->open++;
    if (resolver_ask(in->config.uncached, in->domain, DNS_TYPE_MX, on_mx, in, &query) != RES_OK)
        on_mx(in, &not_asked);
}

enum result
inspect_start(const struct inspect_config *config, const char *domain, inspect_each *each,
              inspect_done *done, void *arg)
{
    struct inspection *in = calloc(1, sizeof *in);

    if (!in)
        return RES_NOMEM;
    in->config = *config;
    in->each = each;
    in->done = done;
    in->arg = arg;
    snprintf(in->domain, sizeof in->domain, "%s", domain);
    in->open = 2; /* for the policy, and for this function */
    ask_text(in, "_mta-sts", on_sts_text);
    ask_text(in, "_smtp._tls", on_tlsrpt_text);
    ask_mx(in);
    ask_root(in);
    sts_discover(config->discovery, in->domain, STS_FOR_OPERATOR, on_policy, in);
    close_part(in);
    return RES_OK;
}
