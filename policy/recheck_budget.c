#include "policy/recheck_budget.h"

#include "base/hash_key.h"
#include "base/hostname.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

struct window {
    char domain[HOSTNAME_MAX + 1];
    int64_t started_ms;
    unsigned checks, fetches;
    UT_hash_handle hh;
};

struct recheck_budget {
    struct window *windows; /* in the order of their start */
};

struct recheck_budget *
recheck_budget_new(void)
{
    return calloc(1, sizeof(struct recheck_budget));
}

static void
forget(struct recheck_budget *budget, struct window *window)
{
    HASH_DEL(budget->windows, window);
    free(window);
}

void
recheck_budget_free(struct recheck_budget *budget)
{
    if (!budget)
        return;
    while (budget->windows)
        forget(budget, budget->windows);
    free(budget);
}

/* The domain's window, opened now if there is none or the last one is over. NULL: no memory. */
static struct window *
window_of(struct recheck_budget *budget, const char *domain, int64_t now_ms)
{
    struct window *window;

    while (budget->windows && now_ms - budget->windows->started_ms >= RECHECK_WINDOW_MS)
        forget(budget, budget->windows);
    HASH_FIND_STR(budget->windows, domain, window);
    if (window)
        return window;
    if (HASH_COUNT(budget->windows) >= RECHECK_DOMAINS_MAX)
        forget(budget, budget->windows);
    window = calloc(1, sizeof *window);
    if (!window)
        return NULL;
    snprintf(window->domain, sizeof window->domain, "%s", domain);
    window->started_ms = now_ms;
    HASH_ADD_STR(budget->windows, domain, window);
    if (HASH_ENTERED(window))
        return window;
    free(window);
    return NULL;
}

static bool
take(unsigned *count, unsigned max)
{
    if (*count >= max)
        return false;
    ++*count;
    return true;
}

bool
recheck_budget_check(struct recheck_budget *budget, const char *domain, int64_t now_ms)
{
    struct window *window = window_of(budget, domain, now_ms);

    return window && take(&window->checks, RECHECK_CHECKS_MAX);
}

bool
recheck_budget_fetch(struct recheck_budget *budget, const char *domain, int64_t now_ms)
{
    struct window *window = window_of(budget, domain, now_ms);

    return window && take(&window->fetches, RECHECK_FETCHES_MAX);
}
