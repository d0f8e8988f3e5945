/* policy/sts_fetch.h: the policy of one domain, from its policy host into the cache, RFC 8461 3.3:
 * addresses, HTTPS, parsing. All who want the policy of a domain at the same time, for mail or in
 * the background, share one fetch (STS-032). Context: policy process, on its event loop. */
#ifndef STSGATE_POLICY_STS_FETCH_H
#define STSGATE_POLICY_STS_FETCH_H

#include "base/clock.h"
#include "policy/fetch.h"
#include "policy/resolver.h"
#include "policy/sts_cache.h"

struct sts_fetcher;

/** What applies to domain has changed, or to all domains for "": a worker's memory of it is out of
 * date. Called before anyone is answered. */
typedef void sts_on_change(void *arg, const char *domain);

/* A policy that has just been fetched and kept, and the one whose place it took; "" and zeros where
 * there was none. Borrowed for the call. */
struct sts_news {
    const char *domain;
    const char *id, *old_id;
    struct span text; /* the body as fetched */
    const struct sts_policy *policy;
    uint8_t text_sha256[32], old_sha256[32];
    int64_t fetched_at_s, expires_at_s; /* wall clock */
};

/** Another id or another text than before, or the first one of all (TC-CACHE-02). */
typedef void sts_on_news(void *arg, const struct sts_news *news);

struct sts_fetcher_config {
    struct resolver *resolver; /* borrowed, like all here, until sts_fetcher_free() */
    struct fetcher *fetcher;
    struct sts_cache *cache;
    struct policy_stats *stats;    /* may be NULL */
    const struct ip_net *networks; /* not public, yet permitted for policy hosts (STS-035) */
    size_t network_count;
    struct clock clock;
    sts_on_change *on_change; /* may be NULL, like on_news */
    sts_on_news *on_news;
    void *arg; /* of both */
};

/* How it ended. On success the cache has the policy. On failure the cache has noted it beside what
 * it had. */
struct sts_fetched {
    enum result_type type;           /* RESULT_SUCCESS or why not (RPT-040) */
    char reason[STS_REASON_MAX + 1]; /* "" on success; policy/fetch.h's, or "dns-failure",
                                      * "no-address", "address-not-permitted", "overload",
                                      * "line N: WHAT" */
    struct span body;                /* as it came, a policy or not; borrowed for the call; empty
                                      * where none did */
};

typedef void sts_fetch_done(void *arg, const struct sts_fetched *fetched);

/** config: copied. NULL: no memory. */
struct sts_fetcher *sts_fetcher_new(const struct sts_fetcher_config *config);

/** No callback comes any more. Before the resolver and the fetcher it borrows are freed nothing of
 * theirs may call back: free those first, or never run the loop again. NULL is allowed. */
void sts_fetcher_free(struct sts_fetcher *f);

/** Fetch. domain: normalised. id: of the TXT record that asks for it; a fetch of the same domain
 * that runs for another id is waited for, then this one is made.
 * done is called exactly once, perhaps before this returns; not after sts_fetcher_free(). */
void sts_fetch(struct sts_fetcher *f, const char *domain, const char *id, sts_fetch_done *done,
               void *arg);

/** Is a fetch of domain on its way? */
bool sts_fetch_is_running(const struct sts_fetcher *f, const char *domain);

#endif
