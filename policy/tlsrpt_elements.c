#include "policy/tlsrpt_elements.h"

#include "base/hash_key.h"
#include "policy/tlsrpt_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

struct detail {
    struct tlsrpt_detail told; /* its texts stand in key */
    UT_hash_handle hh;
    char key[]; /* all texts, each with its NUL, and the result's */
};

struct tlsrpt_details {
    struct detail *all; /* owned */
};

/* ---- details ---- */

static const char *
put(struct detail *d, size_t *at, const char *text)
{
    char *place = d->key + *at;
    size_t len = strlen(text) + 1;

    memcpy(place, text, len);
    *at += len;
    return place;
}

static struct detail *
copy_detail(const struct tlsrpt_detail *from, size_t *out_len)
{
    const char *result = result_type_name(from->result);
    size_t len = strlen(result) + strlen(from->reason) + strlen(from->sending) +
                 strlen(from->receiving) + strlen(from->mx_host) + strlen(from->helo) + 6;
    struct detail *d = calloc(1, sizeof *d + len);

    *out_len = 0;
    if (!d)
        return NULL;
    (void)put(d, out_len, result);
    d->told = (struct tlsrpt_detail){ .result = from->result,
                                      .reason = put(d, out_len, from->reason),
                                      .sending = put(d, out_len, from->sending),
                                      .receiving = put(d, out_len, from->receiving),
                                      .mx_host = put(d, out_len, from->mx_host),
                                      .helo = put(d, out_len, from->helo) };
    return d;
}

/* Equal ones are one. may_add false: RES_LIMIT for one that is not there. */
static enum result
count_detail(struct tlsrpt_details *details, const struct tlsrpt_detail *detail, bool may_add)
{
    struct detail *d, *found;
    size_t len;

    d = copy_detail(detail, &len);
    if (!d)
        return RES_NOMEM;
    HASH_FIND(hh, details->all, d->key, len, found);
    if (found) {
        found->told.count += detail->count;
        free(d);
        return RES_OK;
    }
    d->told.count = detail->count;
    if (may_add)
        HASH_ADD(hh, details->all, key[0], len, d);
    if (may_add && HASH_ENTERED(d))
        return RES_OK;
    free(d);
    return may_add ? RES_NOMEM : RES_LIMIT;
}

static enum result
add_detail(struct tlsrpt_details *details, const struct tlsrpt_detail *detail)
{
    const struct tlsrpt_detail other = { .result = detail->result,
                                         .reason = TLSRPT_OVERFLOW_REASON,
                                         .sending = "",
                                         .receiving = "",
                                         .mx_host = "",
                                         .helo = "",
                                         .count = detail->count };
    enum result res = count_detail(details, detail, HASH_COUNT(details->all) < TLSRPT_DETAILS_MAX);

    return res == RES_LIMIT ? count_detail(details, &other, true) : res;
}

static enum result
add_details(struct tlsrpt_details *details, const struct tls_report *report, uint64_t count)
{
    char sending[IP_ADDR_TEXT_MAX] = "", receiving[IP_ADDR_TEXT_MAX] = "";
    enum result res = RES_OK;

    if (report->sending.len)
        ip_addr_text(&report->sending, sending);
    if (report->receiving.len)
        ip_addr_text(&report->receiving, receiving);
    for (size_t i = 0; i < report->detail_count && res == RES_OK; i++) {
        const struct tls_report_detail *d = &report->details[i];

        res = add_detail(details, &(struct tlsrpt_detail){
                                      .result = d->result,
                                      .reason = d->reason,
                                      .sending = d->fetch ? "" : sending,
                                      .receiving = d->fetch ? "" : receiving,
                                      .mx_host = d->fetch ? "" : report->mx_host,
                                      .helo = d->fetch ? "" : report->helo,
                                      .count = count,
                                  });
    }
    return res;
}

static int
compare(const struct detail *a, const struct detail *b)
{
    if (a->told.count != b->told.count)
        return a->told.count < b->told.count ? 1 : -1;
    return memcmp(a->key, b->key, a->hh.keylen < b->hh.keylen ? a->hh.keylen : b->hh.keylen);
}

void
tlsrpt_policy_details(const struct tlsrpt_policy *policy, tlsrpt_each_detail *each, void *arg)
{
    struct tlsrpt_details *details = policy->details;

    HASH_SORT(details->all, compare);
    for (const struct detail *d = details->all; d; d = d->hh.next)
        if (!each(arg, &d->told))
            break;
}

/* ---- policies ---- */

static void
free_policy(struct tlsrpt_policy *p)
{
    struct detail *d, *next;

    if (p->details) {
        HASH_ITER(hh, p->details->all, d, next)
        {
            HASH_DEL(p->details->all, d);
            free(d);
        }
    }
    free(p->details);
    tls_report_clear(&p->kind);
    free(p);
}

/* NULL: no memory. */
static struct tlsrpt_policy *
new_policy(void)
{
    struct tlsrpt_policy *p = calloc(1, sizeof *p);

    if (p)
        p->details = calloc(1, sizeof *p->details);
    if (p && !p->details) {
        free(p);
        p = NULL;
    }
    return p;
}

static struct tlsrpt_policy *
find_policy(const struct tlsrpt_elements *elements, const struct tls_report *report)
{
    for (size_t i = 0; i < elements->count; i++)
        if (tls_report_same_policy(&elements->policies[i]->kind, report))
            return elements->policies[i];
    return NULL;
}

enum result
tlsrpt_elements_add(struct tlsrpt_elements *elements, struct tls_report *report, uint64_t count)
{
    struct tlsrpt_policy *p = find_policy(elements, report);
    bool is_new = !p;
    enum result res;

    if (is_new && elements->count >= TLSRPT_POLICIES_MAX) {
        tls_report_clear(report);
        return RES_OK;
    }
    if (is_new)
        p = new_policy();
    res = p ? add_details(p->details, report, count) : RES_NOMEM;
    if (res == RES_OK && report->failed)
        p->failed += count;
    else if (res == RES_OK)
        p->succeeded += count;
    if (is_new && p) {
        p->kind = *report;
        *report = (struct tls_report){ .at_s = 0 };
        elements->policies[elements->count++] = p;
    }
    tls_report_clear(report);
    return res;
}

void
tlsrpt_elements_clear(struct tlsrpt_elements *elements)
{
    for (size_t i = 0; i < elements->count; i++)
        free_policy(elements->policies[i]);
    elements->count = 0;
}
