/* proxy/session_memo.h: requirements that one transaction has met, so that a hundred recipients of
 * one domain cost one evaluation (PRX-038). Plain data and pure.
 * Context: worker, one thread at a time per object. */
#ifndef STSGATE_PROXY_SESSION_MEMO_H
#define STSGATE_PROXY_SESSION_MEMO_H

#include "base/hostname.h"
#include "base/requirement.h"

#define SESSION_MEMO_S 60u /* PRX-038 */
#define SESSION_MEMO_LEAST_S                                                                       \
    5u /* RFC 1035 3.2.1: what must not be kept may be used for the transaction in progress */
#define SESSION_MEMO_MAX 64u /* domains; of more the oldest goes */

/* Has what is known been looked up anew, past all caches (STS-103)? */
enum recheck {
    RECHECK_NONE,
    RECHECK_ASKED,   /* and no good answer came: what was known stands */
    RECHECK_CURRENT, /* it is what the domain publishes now (REP-005) */
};

struct session_memo_entry {
    char domain[HOSTNAME_MAX + 1]; /* of the address */
    struct requirement *req;       /* a reference */
    enum recheck recheck;
    int64_t until_ms; /* monotonic clock */
};

struct session_memo {
    struct session_memo_entry *entries; /* owned array */
    size_t count, oldest;
    unsigned epoch; /* of what the policy process has told; when it moves on, all is out of date */
};

/** What is remembered of domain, borrowed until the next call; NULL: nothing. */
const struct session_memo_entry *session_memo_find(struct session_memo *memo, const char *domain,
                                                   unsigned epoch, int64_t now_ms);

/** Remember for req's ttl_s, within SESSION_MEMO_LEAST_S ... SESSION_MEMO_S, from now on or, where
 * the same was remembered already, from then on. Without memory nothing is remembered. req: not
 * NULL; a reference is taken. */
void session_memo_keep(struct session_memo *memo, const char *domain, struct requirement *req,
                       enum recheck recheck, unsigned epoch, int64_t now_ms);

/** Frees what it owns; empty, and may be used again. */
void session_memo_clear(struct session_memo *memo);

#endif
