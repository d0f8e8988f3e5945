#include "tests/support/dns_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROWS(a) (sizeof(a) / sizeof *(a))

struct dns_script dns_script;

static const struct {
    const char *name;
    unsigned qtype;
} types[] = { { "mx", DNS_TYPE_MX },       { "a", DNS_TYPE_A },       { "aaaa", DNS_TYPE_AAAA },
              { "cname", DNS_TYPE_CNAME }, { "tlsa", DNS_TYPE_TLSA }, { "soa", DNS_TYPE_SOA },
              { "txt", DNS_TYPE_TXT } };

static const char *
type_name(unsigned qtype)
{
    for (size_t i = 0; i < ROWS(types); i++)
        if (types[i].qtype == qtype)
            return types[i].name;
    fail_msg("type %u is not asked for here", qtype);
    return "";
}

enum result
resolver_ask(struct resolver *r, const char *name, unsigned qtype, resolver_done *done, void *arg,
             struct resolver_query **out)
{
    *out = NULL;
    if (dns_script.full)
        return RES_LIMIT;
    assert_true(dns_script.asked_count < DNS_SCRIPT_QUESTIONS_MAX);
    snprintf(dns_script.asked[dns_script.asked_count].name, sizeof dns_script.asked->name, "%s",
             name);
    dns_script.asked[dns_script.asked_count].resolver = r;
    dns_script.asked[dns_script.asked_count].qtype = qtype;
    dns_script.asked[dns_script.asked_count].done = done;
    dns_script.asked[dns_script.asked_count++].arg = arg;
    if (qtype == DNS_TYPE_TLSA || qtype == DNS_TYPE_CNAME)
        snprintf(dns_script.log + strlen(dns_script.log),
                 sizeof dns_script.log - strlen(dns_script.log), "%s %s;", type_name(qtype), name);
    return RES_OK;
}

/* The line for (type, name), a copy to be cut; false: there is none. */
static bool
find_line(const char *type, const char *name, char *line, size_t size)
{
    char start[HOSTNAME_MAX + 16];

    snprintf(start, sizeof start, "%s %s ", type, name);
    for (const char *at = dns_script.zone; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, start, strlen(start)) != 0)
            continue;
        at += strlen(start);
        snprintf(line, size, "%.*s", (int)strcspn(at, "\n"), at);
        return true;
    }
    return false;
}

struct records {
    struct dns_mx mx[80];
    struct ip_addr addrs[8];
    struct dns_tlsa tlsa[8];
    struct span texts[8];
};

static void
add_record(struct resolver_answer *a, struct records *r, unsigned qtype, char *word)
{
    size_t i = a->answer.count;

    if (qtype == DNS_TYPE_MX) {
        char *host = strchr(word, ':') + 1;

        r->mx[i].preference = (uint16_t)strtoul(word, NULL, 10);
        snprintf(r->mx[i].host, sizeof r->mx->host, "%s", host);
        a->answer.mx = r->mx;
    } else if (qtype == DNS_TYPE_TLSA) {
        r->tlsa[i] = (struct dns_tlsa){ .usage = (uint8_t)(word[0] - '0'),
                                        .selector = (uint8_t)(word[1] - '0'),
                                        .matching = (uint8_t)(word[2] - '0'),
                                        .data = span_of(word + 4) };
        a->answer.tlsa = r->tlsa;
    } else if (qtype == DNS_TYPE_TXT) {
        r->texts[i] = span_of(word);
        a->answer.texts = r->texts;
    } else if (qtype == DNS_TYPE_A || qtype == DNS_TYPE_AAAA) {
        assert_int_equal(ip_addr_parse(word, &r->addrs[i]), RES_OK);
        a->answer.addrs = r->addrs;
    }
    a->answer.count++;
}

/* STATE[@OWNER][/TTL] */
static void
read_state(struct resolver_answer *a, char *state)
{
    char *ttl = strchr(state, '/'), *owner;

    if (ttl) {
        *ttl++ = '\0';
        a->answer.ttl_s = (uint32_t)strtoul(ttl, NULL, 10);
    }
    owner = strchr(state, '@');
    if (owner) {
        *owner++ = '\0';
        snprintf(a->answer.owner, sizeof a->answer.owner, "%s", strcmp(owner, "-") ? owner : "");
    }
    if (strcmp(state, "secure") == 0 || strcmp(state, "insecure") == 0) {
        a->security = *state == 's' ? DNS_SECURE : DNS_INSECURE;
        return;
    }
    *a =
        (struct resolver_answer){ .status = RESOLVER_FAILED, .bogus = strcmp(state, "bogus") == 0 };
    snprintf(a->reason, sizeof a->reason, "%s", state);
}

static void
answer(const char *name, unsigned qtype, resolver_done *done, void *arg)
{
    struct resolver_answer a = { .status = RESOLVER_ANSWERED,
                                 .security = DNS_SECURE,
                                 .answer.ttl_s = 3600 };
    struct records records;
    char line[512], *rest = line, *word;

    snprintf(a.answer.owner, sizeof a.answer.owner, "%s", name);
    if (find_line(type_name(qtype), name, line, sizeof line)) {
        read_state(&a, strsep(&rest, " "));
        while (a.status == RESOLVER_ANSWERED && (word = strsep(&rest, " ")))
            add_record(&a, &records, qtype, word);
    } else {
        a.answer.rcode = DNS_RCODE_NXDOMAIN;
    }
    done(arg, &a);
}

void
dns_script_pump(void)
{
    while (dns_script.answered < dns_script.asked_count) {
        size_t i = dns_script.answered++;

        answer(dns_script.asked[i].name, dns_script.asked[i].qtype, dns_script.asked[i].done,
               dns_script.asked[i].arg);
    }
}
