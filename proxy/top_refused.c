#include "proxy/top_refused.h"

#include <stdlib.h>
#include <string.h>

static bool
is_same(const struct top_refusal *a, const struct top_refusal *b)
{
    return a->result == b->result && strcmp(a->reply, b->reply) == 0 &&
           strcmp(a->domain, b->domain) == 0;
}

/* The entry of this refusal, or of the rarest other one. */
static struct top_refusal *
place_of(struct top_refused *top, const struct top_refusal *what)
{
    struct top_refusal *rarest = NULL;

    for (size_t i = 0; i < top->count; i++) {
        struct top_refusal *entry = &top->all[i];

        if (is_same(entry, what))
            return entry;
        if (!rarest || entry->count < rarest->count)
            rarest = entry;
    }
    if (top->count == TOP_REFUSED_MAX)
        return rarest;
    top->all[top->count] = (struct top_refusal){ 0 };
    return &top->all[top->count++];
}

void
top_refused_add(struct top_refused *top, const struct top_refusal *what)
{
    struct top_refusal *entry = place_of(top, what);
    uint64_t before = entry->count, doubt = entry->error;

    if (!is_same(entry, what) || before == 0) {
        *entry = *what;
        entry->count = entry->error = 0;
        doubt = before; /* it may have been counted before, and been pushed out */
    }
    entry->count = before + what->count;
    entry->error = doubt + what->error;
}

static int
by_count(const void *a, const void *b)
{
    const struct top_refusal *x = a, *y = b;

    return x->count != y->count ? (x->count < y->count) - (x->count > y->count)
                                : strcmp(x->domain, y->domain);
}

void
top_refused_sort(struct top_refused *top)
{
    qsort(top->all, top->count, sizeof *top->all, by_count);
}
