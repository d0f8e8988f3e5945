#include "proxy/session_memo.h"

#include <stdlib.h>
#include <string.h>

void
session_memo_clear(struct session_memo *memo)
{
    for (size_t i = 0; i < memo->count; i++)
        requirement_unref(memo->entries[i].req);
    free(memo->entries);
    *memo = (struct session_memo){ 0 };
}

static struct session_memo_entry *
find(struct session_memo *memo, const char *domain, unsigned epoch, int64_t now_ms)
{
    if (memo->epoch != epoch)
        session_memo_clear(memo);
    for (size_t i = 0; i < memo->count; i++)
        if (strcmp(memo->entries[i].domain, domain) == 0)
            return now_ms < memo->entries[i].until_ms ? &memo->entries[i] : NULL;
    return NULL;
}

const struct session_memo_entry *
session_memo_find(struct session_memo *memo, const char *domain, unsigned epoch, int64_t now_ms)
{
    return find(memo, domain, epoch, now_ms);
}

/* A place for domain: its own, a new one, or the oldest's. NULL: no memory. */
static struct session_memo_entry *
place_for(struct session_memo *memo, const char *domain)
{
    struct session_memo_entry *more;

    for (size_t i = 0; i < memo->count; i++)
        if (strcmp(memo->entries[i].domain, domain) == 0)
            return &memo->entries[i];
    if (memo->count == SESSION_MEMO_MAX) {
        more = &memo->entries[memo->oldest];
        memo->oldest = (memo->oldest + 1) % SESSION_MEMO_MAX;
        return more;
    }
    more = realloc(memo->entries, (memo->count + 1) * sizeof *more);
    if (!more)
        return NULL;
    memo->entries = more;
    more[memo->count] = (struct session_memo_entry){ 0 };
    return &more[memo->count++];
}

static uint32_t
lifetime_s(const struct requirement *req)
{
    if (req->ttl_s < SESSION_MEMO_LEAST_S)
        return SESSION_MEMO_LEAST_S;
    return req->ttl_s < SESSION_MEMO_S ? req->ttl_s : SESSION_MEMO_S;
}

void
session_memo_keep(struct session_memo *memo, const char *domain, struct requirement *req,
                  enum recheck recheck, unsigned epoch, int64_t now_ms)
{
    struct session_memo_entry *entry = find(memo, domain, epoch, now_ms);
    int64_t until_ms = now_ms + (int64_t)lifetime_s(req) * 1000;

    if (entry && entry->req == req)
        until_ms = entry->until_ms;
    entry = place_for(memo, domain);
    if (!entry)
        return;
    memo->epoch = epoch;
    requirement_ref(req); /* before the old one goes: it may be the same */
    requirement_unref(entry->req);
    *entry = (struct session_memo_entry){ .req = req, .recheck = recheck, .until_ms = until_ms };
    memcpy(entry->domain, domain, strnlen(domain, HOSTNAME_MAX));
}
