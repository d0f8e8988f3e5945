/* policy/recheck_budget.h: how often a domain is looked up anew before its mail is refused
 * (STS-103): 10 times, and 3 fetches of that cause, in 5 minutes, however often its id changes.
 * Context: policy process. Pure: knows no clock. */
#ifndef STSGATE_POLICY_RECHECK_BUDGET_H
#define STSGATE_POLICY_RECHECK_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECHECK_WINDOW_MS (300 * 1000)
#define RECHECK_CHECKS_MAX 10u
#define RECHECK_FETCHES_MAX 3u
#define RECHECK_DOMAINS_MAX 10000u /* remembered; one more, and the oldest window is forgotten */

struct recheck_budget;

struct recheck_budget *recheck_budget_new(void);         /* NULL: no memory */
void recheck_budget_free(struct recheck_budget *budget); /* NULL is allowed */

/** May the domain be looked up once more? If so it is counted. Without memory to count: no. */
bool recheck_budget_check(struct recheck_budget *budget, const char *domain, int64_t now_ms);

/** The same for a fetch. */
bool recheck_budget_fetch(struct recheck_budget *budget, const char *domain, int64_t now_ms);

#endif
