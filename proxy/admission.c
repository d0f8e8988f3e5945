#include "proxy/admission.h"

#include <stdlib.h>

#include "base/hash_key.h"

#include <uthash.h>

struct client {
    struct ip_addr key; /* octets only: no padding */
    unsigned open;      /* sessions there are */
    unsigned left;      /* that have ended without mail (PRX-044) */
    UT_hash_handle hh;
};

struct admission {
    const struct config *config; /* borrowed */
    struct client *clients;      /* owned table, oldest first */
    unsigned open;
    unsigned *of_section; /* owned: sessions of each section `client` */
};

struct admission *
admission_new(const struct config *config)
{
    struct admission *a = calloc(1, sizeof *a);

    if (!a)
        return NULL;
    a->config = config;
    a->of_section = calloc(config->clients.count + 1, sizeof *a->of_section);
    if (a->of_section)
        return a;
    free(a);
    return NULL;
}

static void
drop(struct admission *a, struct client *c)
{
    HASH_DEL(a->clients, c);
    free(c);
}

void
admission_free(struct admission *a)
{
    struct client *c, *next;

    if (!a)
        return;
    HASH_ITER(hh, a->clients, c, next)
    drop(a, c);
    free(a->of_section);
    free(a);
}

static struct ip_addr
key_of(const struct ip_addr *addr)
{
    struct ip_addr key = *addr;

    if (key.len == 16)
        memset(key.bytes + 8, 0, 8);
    return key;
}

static struct client *
find(const struct admission *a, const struct ip_addr *addr)
{
    struct ip_addr key = key_of(addr);
    struct client *c;

    HASH_FIND(hh, a->clients, &key, sizeof key, c);
    return c;
}

/* Those with an open session are bounded by sessions_max; of the others the oldest goes. */
static void
make_room(struct admission *a)
{
    struct client *c, *next;

    if (HASH_COUNT(a->clients) < ADMISSION_CLIENTS_MAX)
        return;
    HASH_ITER(hh, a->clients, c, next)
    {
        if (c->open)
            continue;
        drop(a, c);
        return;
    }
}

static struct client *
find_or_add(struct admission *a, const struct ip_addr *addr)
{
    struct client *c = find(a, addr);

    if (c)
        return c;
    make_room(a);
    c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->key = key_of(addr);
    HASH_ADD(hh, a->clients, key, sizeof c->key, c);
    if (HASH_ENTERED(c))
        return c;
    free(c);
    return NULL;
}

static unsigned *
count_of_section(struct admission *a, const struct client_rule *rule)
{
    return rule ? &a->of_section[rule - a->config->clients.rules] : NULL;
}

const char *
admission_enter(struct admission *a, const struct record_session_info *info)
{
    const struct client_rule *rule = info->client_rule;
    unsigned *of_section = count_of_section(a, rule);
    struct client *c;

    if (a->open >= a->config->sessions_max)
        return "too-many-sessions";
    if (rule && rule->sessions_max && *of_section >= rule->sessions_max)
        return "too-many-sessions-of-section";
    c = find_or_add(a, &info->client);
    if (!c)
        return "no-memory";
    if (c->open >= a->config->client_sessions_max)
        return "too-many-sessions-of-client";
    c->open++;
    a->open++;
    if (of_section)
        *of_section += 1;
    return NULL;
}

void
admission_leave(struct admission *a, const struct record_session_info *info)
{
    unsigned *of_section = count_of_section(a, info->client_rule);
    struct client *c = find(a, &info->client);

    if (of_section)
        *of_section -= 1;
    a->open--;
    c->open--; /* it is there while a session of it is open */
    if (c->open == 0 && c->left == 0)
        drop(a, c);
}

unsigned
admission_open(const struct admission *a)
{
    return a->open;
}

unsigned
admission_left(struct admission *a, const struct ip_addr *client)
{
    struct client *c = find(a, client);

    return c ? ++c->left : 1;
}
