#include "proxy/ehlo_memory.h"

#include "base/hash_key.h"

#include <stdlib.h>
#include <uthash.h>

/* Zeroed before it is filled: the padding is part of the key. */
struct list_key {
    struct ip_addr destination;
    uint16_t port;
};

struct remembered {
    struct list_key key;
    int64_t at_s, told_s;
    bool proven;
    UT_hash_handle hh;
    size_t len;
    char list[]; /* len octets */
};

struct ehlo_memory {
    struct remembered *lists; /* in the order they were learnt */
};

static struct list_key
make_key(const struct ip_addr *destination, uint16_t port)
{
    struct list_key key;

    memset(&key, 0, sizeof key);
    key.destination = *destination;
    key.port = port;
    return key;
}

struct ehlo_memory *
ehlo_memory_new(void)
{
    return calloc(1, sizeof(struct ehlo_memory));
}

static void
drop(struct ehlo_memory *memory, struct remembered *entry)
{
    HASH_DEL(memory->lists, entry);
    free(entry);
}

void
ehlo_memory_free(struct ehlo_memory *memory)
{
    if (!memory)
        return;
    while (memory->lists)
        drop(memory, memory->lists);
    free(memory);
}

static struct remembered *
find(const struct ehlo_memory *memory, const struct list_key *key, int64_t now_s)
{
    struct remembered *entry;

    HASH_FIND(hh, memory->lists, key, sizeof *key, entry);
    return entry && now_s - entry->at_s < EHLO_MEMORY_S ? entry : NULL;
}

/* Nothing that others do not know already. */
static bool
is_old_news(const struct remembered *entry, struct span list, bool proven, int64_t now_s)
{
    return entry && entry->proven == proven && now_s - entry->told_s < EHLO_MEMORY_TELL_S &&
           span_equal(span_make(entry->list, entry->len), list);
}

bool
ehlo_memory_learn(struct ehlo_memory *memory, const struct ip_addr *destination, uint16_t port,
                  struct span list, bool proven, int64_t now_s)
{
    struct list_key key = make_key(destination, port);
    const struct remembered *fresh = find(memory, &key, now_s);
    struct remembered *entry, *old;
    bool news = !is_old_news(fresh, list, proven, now_s);
    int64_t told_s = news ? now_s : fresh->told_s;

    if ((fresh && fresh->proven && !proven) || list.len == 0)
        return false;
    HASH_FIND(hh, memory->lists, &key, sizeof key, old);
    if (old) /* it may be wrong now, and so goes whatever becomes of the new one */
        drop(memory, old);
    entry = list.len <= EHLO_MEMORY_LIST_BYTES ? calloc(1, sizeof *entry + list.len) : NULL;
    if (!entry)
        return false;
    entry->key = key;
    entry->at_s = now_s;
    entry->told_s = told_s;
    entry->proven = proven;
    entry->len = list.len;
    memcpy(entry->list, list.ptr, list.len);
    HASH_ADD(hh, memory->lists, key, sizeof entry->key, entry);
    if (!HASH_ENTERED(entry)) {
        free(entry);
        return false;
    }
    if (HASH_COUNT(memory->lists) > EHLO_MEMORY_MAX)
        drop(memory, memory->lists);
    return news;
}

struct span
ehlo_memory_recall(const struct ehlo_memory *memory, const struct ip_addr *destination,
                   uint16_t port, int64_t now_s)
{
    struct list_key key = make_key(destination, port);
    const struct remembered *entry = find(memory, &key, now_s);

    return entry ? span_make(entry->list, entry->len) : span_make("", 0);
}
