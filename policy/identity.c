#include "policy/identity.h"

static bool
listed(const struct name_list *patterns, const char *host)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (hostname_matches(span_of(patterns->names[i]), span_of(host)))
            return true;
    return false;
}

/* Does a come before b? What the policy lists first, then the lower preference (PRX-017). */
static bool
comes_before(const struct mx_host *a, const struct mx_host *b, const struct name_list *patterns)
{
    bool a_listed = listed(patterns, a->host), b_listed = listed(patterns, b->host);

    return a_listed != b_listed ? a_listed : a->preference < b->preference;
}

/* The hosts that hold the destination at least as surely as `holds` says, best first. */
static enum result
add_holders(const struct mx_set *set, enum mx_holds holds, const struct name_list *patterns,
            struct name_list *names)
{
    const struct mx_host *sorted[MX_HOSTS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < set->count; i++) {
        size_t at = count;

        if (set->hosts[i].holds != holds)
            continue;
        while (at > 0 && comes_before(&set->hosts[i], sorted[at - 1], patterns)) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = &set->hosts[i];
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        enum result res = name_list_add(names, span_of(sorted[i]->host));

        if (res != RES_OK)
            return res;
    }
    return RES_OK;
}

/* The address is no MX's: candidates are the MX names that the policy lists, else its own literal
 * names (PRX-019). A certificate has to prove one of them. */
static enum result
add_by_policy(const struct mx_set *set, const struct name_list *patterns, struct name_list *names)
{
    enum result res = RES_OK;
    struct mx_set kept = *set;

    kept.count = 0;
    for (size_t i = 0; i < set->count; i++)
        if (listed(patterns, set->hosts[i].host)) {
            kept.hosts[kept.count] = set->hosts[i];
            kept.hosts[kept.count++].holds = MX_HOLDS_NOT;
        }
    if (kept.count)
        return add_holders(&kept, MX_HOLDS_NOT, patterns, names);
    for (size_t i = 0; res == RES_OK && i < patterns->count; i++) {
        char name[HOSTNAME_MAX + 1];

        if (hostname_normalise(span_of(patterns->names[i]), name) == RES_OK) /* no wildcard */
            res = name_list_add(names, span_of(name));
    }
    return res;
}

enum result
identity_choose(const struct mx_set *set, const struct name_list *patterns, struct requirement *req)
{
    enum result res;

    req->mx_lookup_failed = set->failed;
    req->matched = MX_MATCH_ADDRESS;
    res = add_holders(set, MX_HOLDS_NOW, patterns, &req->names);
    if (res == RES_OK && req->names.count == 0)
        res = add_holders(set, MX_HOLDS_REMEMBERED, patterns, &req->names);
    if (res == RES_OK && req->names.count == 0) {
        req->matched = MX_MATCH_CERTIFICATE;
        res = add_by_policy(set, patterns, &req->names);
    }
    return res;
}

void
identity_order(struct dane_host *hosts, size_t count, const struct name_list *patterns)
{
    size_t front = 0;

    for (size_t i = 0; i < count; i++) {
        struct dane_host host = hosts[i];

        if (!listed(patterns, host.mx))
            continue;
        memmove(&hosts[front + 1], &hosts[front], (i - front) * sizeof *hosts);
        hosts[front++] = host;
    }
}
