#include "tests/proxy/session_settings.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/ehlo_memory.h"

#define DEMANDS 16u

/* The octets. Of a domain's: the low half is its demand, 0x80 that it is answered late, 0x70 that
 * it cannot be asked, 0x40 that a re-check finds another one, 0x60 as 0x20 that it has TLSA records
 * beside the rest. */
enum {
    OF_TRAFFIC,
    OF_SOCKETS,
    OF_A,
    OF_B,
    OF_D,
    OF_RELAY,
    OF_CLIENT,
    OF_SITE,
};

enum { /* OF_TRAFFIC, beside SESSION_RAW */
       FEW_RECIPIENTS = 1 << 1,
       SHORT_BUDGET = 1 << 2,
       TLS_REQUIRED = 1 << 3,
       NO_FALLBACK = 1 << 4,
       CLIENT_TLS_OFFERED = 1 << 5,
       TICKETS = 1 << 6, /* handshakes resume, until one has to be in full */
};

enum {                          /* OF_CLIENT */
       PASSED_THROUGH = 1 << 0, /* in place of CLIENT_TLS_OFFERED */
       ACCEPT_LF = 1 << 1,
       MUST_BEGIN_TLS = 1 << 2, /* with CLIENT_TLS_OFFERED */
       MAY_AUTH = 1 << 3,       /* also in clear */
       SMART_HOST = 1 << 4,
       LIST_KNOWN = 1 << 5, /* of an earlier session, by an MX that has proven itself or not */
       LIST_PROVEN = 1 << 6,
};

enum { /* OF_SITE */
       NO_CHUNKING = 1 << 0,
       VIOLATION_CLOSES = 1 << 1,
       PERMANENT = 1 << 2,
       REJECT_ANY_NEWLINE = 1 << 3,
       REPLY_IDS = 1 << 4,
       MONITOR = 1 << 5,
       SENDS_REPORTS = 1 << 6, /* s@c.example does, and a.example and b.example want them */
};

static struct requirement *
new_requirement(const char *domain, const char *host)
{
    struct requirement *req = requirement_new();

    if (!req)
        abort();
    snprintf(req->domain, sizeof req->domain, "%s", domain);
    req->matched = MX_MATCH_ADDRESS;
    req->ttl_s = 30;
    req->tls_floor = TLS_VERSION_1_0;
    if (name_list_add(&req->names, span_of(host)) != RES_OK)
        abort();
    return req;
}

static void
enforce(struct requirement *req, const char *pattern)
{
    req->sts.mode = STS_MODE_ENFORCE;
    req->sts.expires_at_s = WORLD_START_S + 100000;
    memset(req->sts.text_sha256, 0xab, sizeof req->sts.text_sha256);
    req->tls_floor = TLS_VERSION_1_2;
    if (name_list_add(&req->sts.mx, span_of(pattern)) != RES_OK)
        abort();
}

/* One TLSA record, 3 1 1, of the key that a good MX shows. */
static void
secure(struct requirement *req, const char *host)
{
    char digest[32] = { SESSION_GOOD_KEY };
    struct dane_host *dane = calloc(1, sizeof *dane);

    if (!dane || name_list_add(&dane->references, span_of(host)) != RES_OK ||
        dane_host_add(dane, TLSA_DANE_EE, TLSA_SPKI, TLSA_SHA2_256,
                      span_make(digest, sizeof digest)) != RES_OK)
        abort();
    snprintf(dane->mx, sizeof dane->mx, "%s", host);
    snprintf(dane->base, sizeof dane->base, "%s", host);
    req->dane.state = DANE_SECURE;
    req->dane.mx_secure = true;
    req->dane.hosts = dane;
    req->dane.host_count = 1;
    req->tls_floor = TLS_VERSION_1_2;
}

static void
demand(struct requirement *req, unsigned kind, const char *host)
{
    switch (kind % DEMANDS) {
    case 0: /* none */
        return;
    case 2:
        enforce(req, "mx.elsewhere.example");
        return;
    case 3:
        enforce(req, host);
        req->sts.mode = STS_MODE_TESTING;
        return;
    case 4:
        enforce(req, host);
        req->matched = MX_MATCH_CERTIFICATE;
        return;
    case 5:
        enforce(req, "mx.elsewhere.example");
        req->monitored = true;
        return;
    case 6:
        enforce(req, host);
        req->local.action = RULE_BYPASS;
        return;
    case 7:
        req->local.action = RULE_REQUIRE;
        return;
    case 8:
        req->local.action = RULE_VERIFY;
        return;
    case 9:
        req->local.action = RULE_FLOOR;
        req->tls_floor = TLS_VERSION_1_3;
        return;
    case 10:
        req->null_mx = true;
        return;
    case 11:
        req->defer = true;
        return;
    case 12:
        secure(req, host);
        return;
    case 13:
        enforce(req, host);
        req->sts.expires_at_s = WORLD_START_S + 300;
        return;
    case 14:
        req->dane.state = DANE_FAILED;
        return;
    case 15:
        enforce(req, host);
        req->local.action = RULE_VERIFY;
        req->local.trust = 1;
        return;
    default:
        enforce(req, host);
        return;
    }
}

/* What there is to know of a domain whose MX is host, or that a smart host takes mail for. */
static struct requirement *
requirement_of(struct world *w, const char *domain, const char *host, unsigned kind)
{
    bool mapped = w->config.rules.smart_host_count > 0;
    struct requirement *req = mapped ? new_requirement(w->smart_host.name, w->smart_host.name)
                                     : new_requirement(domain, host);

    if (mapped)
        req->matched = MX_MATCH_TABLE; /* PRX-024 */
    demand(req, kind, req->names.names[0]);
    req->monitored |= w->config.rules.rollout.mode == ROLLOUT_MONITOR;
    return req;
}

static void
add_domain(struct world *w, const char *domain, const char *host, unsigned how)
{
    struct world_answer answer = { .late = how & 0x80, .unavailable = (how & 0x70) == 0x70 };
    struct world_answer again = { .recheck = true, .late = true };

    snprintf(answer.domain, sizeof answer.domain, "%s", domain);
    answer.req = requirement_of(w, domain, host, how & 0xf);
    if ((how & 0x60) == 0x20 && answer.req->dane.state == DANE_NONE) /* beside the rest */
        secure(answer.req, answer.req->names.names[0]);
    world_add_answer(w, &answer);
    if (!(how & 0x40))
        return;
    again.req = requirement_of(w, domain, host, (how & 0xf) + 1 + (how >> 4 & 3));
    memcpy(again.domain, answer.domain, sizeof again.domain);
    world_add_answer(w, &again);
}

/* Each has its reports sent to "u", whoever asks. */
static void
want_reports(struct world *w, const char *domain)
{
    char address[HOSTNAME_MAX + 3];

    snprintf(address, sizeof address, "u@%s", domain);
    for (size_t i = 0; i < w->answer_count; i++)
        if (strcmp(w->answers[i].domain, domain) == 0 &&
            name_list_add(&w->answers[i].req->report_to, span_of(address)) != RES_OK)
            abort();
}

static void
set_reports(struct world *w)
{
    world_sends_reports(w, "s@c.example");
    want_reports(w, "a.example");
    want_reports(w, "b.example");
}

static struct client_rule *
rule_of(struct world *w)
{
    w->info.client_rule = &w->rule;
    return &w->rule;
}

static void
set_client(struct world *w, unsigned flags, bool tls_offered)
{
    static const char known[] = "250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
                                "250-CHUNKING\r\n250 REQUIRETLS\r\n";

    if (tls_offered)
        w->info.client_starttls = CLIENT_STARTTLS_TERMINATE;
    if (flags & PASSED_THROUGH)
        w->info.client_starttls = CLIENT_STARTTLS_PASSTHROUGH;
    if (flags & ACCEPT_LF)
        rule_of(w)->accept_lf = true;
    if (flags & MUST_BEGIN_TLS && w->info.client_starttls == CLIENT_STARTTLS_TERMINATE)
        rule_of(w)->require_tls = true;
    if (flags & LIST_KNOWN)
        (void)ehlo_memory_learn(w->lists, &w->info.destination, 25, span_of(known),
                                flags & LIST_PROVEN, w->now_ms / 1000);
}

/* The destination is in the table, and the client, perhaps, among those that may say AUTH. */
static void
set_smart_host(struct world *w, unsigned flags)
{
    if (!(flags & SMART_HOST))
        return;
    world_map_destination(w, "relay.example");
    if (flags & MAY_AUTH)
        world_let_auth(w, "10.0.0.1");
}

static void
set_site(struct config *config, unsigned flags)
{
    config->chunking = !(flags & NO_CHUNKING);
    config->violation_closes = flags & VIOLATION_CLOSES;
    config->bare_newline_any = flags & REJECT_ANY_NEWLINE;
    config->reply_ids = flags & REPLY_IDS;
    if (flags & MONITOR)
        config->rules.rollout.mode = ROLLOUT_MONITOR;
    for (size_t i = 0; i < REPLY_CLASSES; i++)
        config->permanent[i] = flags & PERMANENT;
}

void
session_settings_sockets(struct world *w, unsigned how)
{
    w->client_step = how & 1;
    w->mx_step = how >> 1 & 1;
    w->backlog = how & 4 ? 100 : 0;
}

struct world *
session_settings_world(const unsigned char *octets)
{
    struct world *w = world_new();

    if (octets[OF_TRAFFIC] & FEW_RECIPIENTS)
        w->config.recipients_max = 2;
    if (octets[OF_TRAFFIC] & SHORT_BUDGET)
        w->config.recipient_budget_ms = 90000;
    w->config.tls_required = octets[OF_TRAFFIC] & TLS_REQUIRED;
    w->config.cleartext_fallback = !(octets[OF_TRAFFIC] & NO_FALLBACK);
    w->has_tickets = octets[OF_TRAFFIC] & TICKETS;
    set_site(&w->config, octets[OF_SITE]);
    session_settings_sockets(w, octets[OF_SOCKETS]);
    set_client(w, octets[OF_CLIENT], octets[OF_TRAFFIC] & CLIENT_TLS_OFFERED);
    set_smart_host(w, octets[OF_CLIENT]);
    add_domain(w, "a.example", "mx.example", octets[OF_A]);
    add_domain(w, "b.example", "mx.example", octets[OF_B]);
    add_domain(w, "d.example", "mx.d.example", octets[OF_D]);
    add_domain(w, "relay.example", "relay.example", octets[OF_RELAY]);
    if (octets[OF_SITE] & SENDS_REPORTS)
        set_reports(w);
    return w;
}
