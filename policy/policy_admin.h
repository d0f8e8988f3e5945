/* policy/policy_admin.h: what an operator may ask of the policies in force (STS-073), for a control
 * command to call. Context: policy process, on its event loop; nothing here waits. */
#ifndef STSGATE_POLICY_POLICY_ADMIN_H
#define STSGATE_POLICY_POLICY_ADMIN_H

#include "policy/sts_discovery.h"
#include "policy/sts_refresh.h"

#define POLICY_WARM_MAX 100000u /* domains that wait to be warmed */
#define POLICY_WARM_PARALLEL 8u /* of them on their way at a time */

struct policy_admin;

struct policy_admin_config {
    struct sts_cache *cache; /* borrowed, like all here, until policy_admin_free() */
    struct sts_discovery *discovery;
    struct sts_refresh *refresh;
    struct policy_stats *stats;
    struct clock clock;
    sts_on_change *on_change; /* policies were flushed; may be NULL */
    void *arg;                /* of on_change */
};

/** config: copied. NULL: no memory. */
struct policy_admin *policy_admin_new(const struct policy_admin_config *config);

/** After the discovery it borrows has been freed, so that no look-up of its own is open.
 * NULL is allowed. */
void policy_admin_free(struct policy_admin *admin);

/* One domain, as it stands now. Borrowed for the call, and so are its texts. All that comes from
 * the domain is printable ASCII, except text. */
struct policy_info {
    const char *domain;
    bool has_policy; /* false: only failures; mode, id, max_age_s and the times are then empty */
    bool is_valid;   /* applies to mail now; a policy without it has expired (TC-CACHE-07) */
    enum sts_mode mode;
    const char *id;
    uint32_t max_age_s;                 /* or the upper bound on it */
    int64_t fetched_at_s, expires_at_s; /* wall clock */
    int64_t unused_s;                   /* since its last use for mail */
    int64_t refresh_in_s; /* until the next fetch in the background; < 0: none planned */
    /* the last failure since a fetch succeeded; failed_count 0: none */
    unsigned failed_count;
    int64_t failed_since_s; /* wall clock, the first of them in a row */
    const char *failed_id, *failed_type, *failed_reason;
    /* policy_admin_show() and policy_admin_refresh() only */
    struct span text;           /* the body as fetched: any bytes */
    const struct name_list *mx; /* its patterns; NULL in a list */
};

typedef void policy_admin_each(void *arg, const struct policy_info *info);

/** About max domains, in no order, going on where *place says: 0 is the start, and 0 again the end.
 * An entry that is there all the while comes once, unless the table grows in between. */
void policy_admin_list(struct policy_admin *admin, size_t *place, size_t max,
                       policy_admin_each *each, void *arg);

/** domain: normalised (hostname_normalise()), here and below. False: it is not there. */
bool policy_admin_show(struct policy_admin *admin, const char *domain, policy_admin_each *each,
                       void *arg);

/** Look TXT record and policy up past all caches, now. problem: "" when all went well, else
 * "RESULT-TYPE REASON"; info: what applies now, or NULL. A policy in force is never weakened by a
 * failure. done is called exactly once, perhaps before this returns; not if the discovery is freed
 * before. RES_NOMEM: done is never called. */
typedef void policy_admin_done(void *arg, const char *problem, const struct policy_info *info);
MUST_CHECK enum result policy_admin_refresh(struct policy_admin *admin, const char *domain,
                                            policy_admin_done *done, void *arg);

/** Forget the domain's policy, or with NULL all of them, in memory and store; the workers are told.
 * Returns how many there were. */
size_t policy_admin_flush(struct policy_admin *admin, const char *domain);

/** Look domain up in the background, as for mail: it is protected before its first mail comes
 * (TC-CACHE-26). RES_LIMIT: POLICY_WARM_MAX wait already; RES_NOMEM. */
MUST_CHECK enum result policy_admin_warm(struct policy_admin *admin, const char *domain);

/** How many are still to be warmed, those on their way included. */
size_t policy_admin_warming(const struct policy_admin *admin);

const struct policy_stats *policy_admin_stats(const struct policy_admin *admin);

#endif
