#include "policy/tlsa_lookup.h"

#include <stdio.h>
#include <stdlib.h>

#define CANDIDATES_MAX 2u /* the expanded name, then the original; never one between (DANE-017) */

struct lookup {
    struct resolver *resolver;
    uint16_t port;
    tlsa_lookup_done *done;
    void *arg;
    char candidates[CANDIDATES_MAX][HOSTNAME_MAX + 1];
    unsigned count, next; /* of the candidates; the first that has not been asked */
    struct tlsa_finding finding;
};

static void
finish(struct lookup *l, enum dane_state state)
{
    l->finding.state = state;
    if (state != DANE_SECURE)
        dane_host_clear(&l->finding.host);
    l->done(l->arg, &l->finding);
    free(l);
}

static void
fail(struct lookup *l, const char *what, const char *reason, bool dnssec)
{
    snprintf(l->finding.reason, sizeof l->finding.reason, "%.7s %.55s", what, reason);
    l->finding.dnssec = dnssec;
    l->finding.ttl_s = 0;
    finish(l, DANE_FAILED);
}

static void
add_candidate(struct lookup *l, const char *base)
{
    snprintf(l->candidates[l->count++], sizeof *l->candidates, "%s", base);
}

static void
take_ttl(struct lookup *l, const struct resolver_answer *a)
{
    if (a->answer.ttl_s < l->finding.ttl_s)
        l->finding.ttl_s = a->answer.ttl_s;
}

static enum result
take_records(const struct dns_answer *answer, struct dane_host *host)
{
    for (size_t i = 0; i < answer->count; i++) {
        const struct dns_tlsa *r = &answer->tlsa[i];
        enum result res = dane_host_add(host, r->usage, r->selector, r->matching, r->data);

        if (res != RES_OK)
            return res;
    }
    dane_host_sort(host);
    return RES_OK;
}

static void ask_next(struct lookup *l);

static void
on_tlsa(void *arg, const struct resolver_answer *a)
{
    struct lookup *l = arg;
    struct dane_host *host = &l->finding.host;

    if (a->status == RESOLVER_FAILED) {
        fail(l, "tlsa", a->reason, true); /* its zone is signed: that is why it was asked */
        return;
    }
    take_ttl(l, a);
    if (a->security != DNS_SECURE || a->answer.count == 0) {
        ask_next(l);
        return;
    }
    memcpy(host->base, l->candidates[l->next - 1], sizeof host->base);
    if (take_records(&a->answer, host) == RES_OK)
        finish(l, DANE_SECURE);
    else
        fail(l, "tlsa", "no memory", false);
}

/* The next candidate; without one DANE does not apply. */
static void
ask_next(struct lookup *l)
{
    char name[HOSTNAME_MAX + 1];
    struct resolver_query *query;

    while (l->next < l->count) {
        int len = snprintf(name, sizeof name, "_%u._tcp.%s", l->port, l->candidates[l->next++]);

        if (len < 0 || (size_t)len >= sizeof name)
            continue; /* a name that cannot be has no records */
        if (resolver_ask(l->resolver, name, DNS_TYPE_TLSA, on_tlsa, l, &query) != RES_OK)
            fail(l, "tlsa", "too many questions", false);
        return;
    }
    finish(l, DANE_NONE);
}

/* The host is an alias whose addresses are insecure. Is its own CNAME secure (DANE-016)? */
static void
on_cname(void *arg, const struct resolver_answer *a)
{
    struct lookup *l = arg;

    if (a->status == RESOLVER_FAILED) {
        fail(l, "cname", a->reason, a->bogus);
        return;
    }
    take_ttl(l, a);
    if (a->security == DNS_SECURE)
        add_candidate(l, l->finding.host.mx);
    ask_next(l);
}

void
tlsa_lookup(struct resolver *resolver, const struct mx_host *host, uint16_t port,
            tlsa_lookup_done *done, void *arg)
{
    bool is_alias = strcmp(host->owner, host->host) != 0;
    struct lookup *l = calloc(1, sizeof *l);
    struct resolver_query *query;

    if (!l) {
        struct tlsa_finding finding = { .state = DANE_FAILED, .reason = "tlsa no memory" };

        done(arg, &finding);
        return;
    }
    l->resolver = resolver;
    l->port = port;
    l->done = done;
    l->arg = arg;
    l->finding.ttl_s = UINT32_MAX;
    memcpy(l->finding.host.mx, host->host, sizeof l->finding.host.mx);
    if (hostname_is_ip_like(span_of(host->host))) {
        finish(l, DANE_NONE); /* DANE-040 */
    } else if (host->failed) {
        fail(l, "address", host->reason, host->bogus);
    } else if (host->security == DNS_SECURE) {
        if (is_alias && host->owner[0])
            add_candidate(l, host->owner);
        add_candidate(l, host->host);
        ask_next(l);
    } else if (!is_alias) {
        finish(l, DANE_NONE); /* DANE-013 */
    } else if (resolver_ask(resolver, host->host, DNS_TYPE_CNAME, on_cname, l, &query) != RES_OK) {
        fail(l, "cname", "too many questions", false);
    }
}
