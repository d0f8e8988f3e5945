#include "policy/resolver.h"

#include <stdio.h>
#include <stdlib.h>

#include <ev.h>
#include <unbound-event.h>
#include <unbound.h>
#include <utlist.h>

#include "base/hash_key.h"
#include "base/log.h"
#include "policy/ub_config.h"
#include "policy/ub_libev.h"

#define QUERIES_MAX 10000u /* open at once; each holds about 1 KiB */
#define QUERY_TIMEOUT_S                                                                            \
    20.                   /* libunbound gives up sooner, unless a zone leads it about on purpose */
#define UNCACHED_S 1.     /* how long what was learnt on the way to an answer counts as fresh */
#define UNCACHED_MAX 256u /* questions in that time */
#define CLASS_IN 1

/* ub_event_callback_type's sec */
#define UB_SEC_BOGUS 1
#define UB_SEC_SECURE 2

/* What libunbound remembers, and the questions that are open there. */
struct memory {
    struct memory *next;
    struct ub_ctx *ctx; /* owned */
    double since;       /* of the loop's clock */
    unsigned asked;
    unsigned known_count;
    uint64_t known[UNCACHED_MAX]; /* hashes of the questions that came here, where answers are not
                                   * to be cached: one that comes again begins another memory */
};

struct resolver {
    struct ev_loop *loop;
    struct resolver_config config;
    struct ub_event_base *base;   /* owned */
    struct memory *memories;      /* owned list; the first one takes new questions */
    struct resolver_query *asked; /* owned list: libunbound will call back */
    struct resolver_query *ready; /* owned list: the answer is there, done is still to be called */
    unsigned open;                /* queries in both lists */
    ev_idle deliver;              /* runs while `ready` holds any */
};

struct resolver_query {
    struct resolver *resolver;
    struct memory *memory;              /* while asked */
    struct resolver_query *prev, *next; /* asked or ready */
    bool is_ready;
    int async_id;
    unsigned qtype;
    resolver_done *done; /* NULL: cancelled, but libunbound still holds the query */
    void *arg;
    ev_timer timer;
    struct resolver_answer answer; /* owns answer.answer */
    char name[];
};

static void
query_free(struct resolver_query *query)
{
    dns_answer_clear(&query->answer.answer);
    free(query);
}

/* libunbound holds it no longer. */
static void
query_answered(struct resolver_query *query)
{
    ev_timer_stop(query->resolver->loop, &query->timer);
    DL_DELETE(query->resolver->asked, query);
    query->memory->asked--;
    query->memory = NULL;
}

/* Out of the lists and the timer; the resolver forgets it. */
static void
query_unlink(struct resolver_query *query)
{
    struct resolver *r = query->resolver;

    if (query->is_ready)
        DL_DELETE(r->ready, query);
    else
        query_answered(query);
    if (!r->ready)
        ev_idle_stop(r->loop, &r->deliver);
    r->open--;
}

/* The answer is complete. done is called from the loop and never from here: libunbound may be on
 * the stack, even inside resolver_ask(), which it answers from its cache before it returns. */
static void
query_ready(struct resolver_query *query)
{
    struct resolver *r = query->resolver;

    query_answered(query);
    DL_APPEND(r->ready, query);
    query->is_ready = true;
    ev_idle_start(r->loop, &r->deliver);
}

static void
query_fail(struct resolver_query *query, const char *reason)
{
    struct resolver_answer *answer = &query->answer;

    dns_answer_clear(&answer->answer);
    answer->status = RESOLVER_FAILED;
    answer->security = DNS_BOGUS;
    snprintf(answer->reason, sizeof answer->reason, "%s", reason);
    query_ready(query);
}

/* One at a time: done may do anything, resolver_free() included, so r is not touched after it. */
static void
on_deliver(struct ev_loop *loop, ev_idle *w, int revents)
{
    struct resolver *r = w->data;
    struct resolver_query *query = r->ready;

    (void)loop, (void)revents;
    query_unlink(query);
    query->done(query->arg, &query->answer);
    query_free(query);
}

/* libunbound's text is `validation failure <name type class>: what from ADDRESS for … while …`, and
 * quotes an earlier one if that is the cause. Of the last only "what" may go into a report: no
 * addresses, no names (RPT-041). */
static void
bogus_reason(const char *why, char *out, size_t size)
{
    static const char *const tails[] = { " from ", " for ", " while ", " at " };
    struct span what = span_of("validation failure");
    char text[48];
    size_t len = 0;

    for (const char *start = why ? strstr(why, ">: ") : NULL; start; start = strstr(start, ">: ")) {
        start += 3;
        what = span_of(start);
    }
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        const char *tail = memmem(what.ptr, what.len, tails[i], strlen(tails[i]));

        if (tail)
            what.len = (size_t)(tail - what.ptr);
    }
    for (; len < what.len && len < sizeof text - 1; len++)
        text[len] = what.ptr[len] >= ' ' && what.ptr[len] <= '~' ? what.ptr[len] : '?';
    text[len] = '\0';
    snprintf(out, size, "bogus: %s", text);
}

static const char *
rcode_reason(unsigned rcode)
{
    static const char *const names[] = { "noerror",  "formerr", "servfail",
                                         "nxdomain", "notimp",  "refused" };

    return rcode < sizeof names / sizeof *names ? names[rcode] : "rcode";
}

/* Read the packet libunbound gave. The callback's own rcode is 0 even for NXDOMAIN: the packet's is
 * the one that counts. */
static void
query_read(struct resolver_query *query, struct span packet, int sec)
{
    struct resolver_answer *answer = &query->answer;

    switch (dns_answer_parse(packet, query->name, query->qtype, &answer->answer)) {
    case RES_OK:
        break;
    case RES_NOMEM:
        query_fail(query, "no memory");
        return;
    case RES_LIMIT:
        query_fail(query, "too large");
        return;
    case RES_AGAIN:
    case RES_SYNTAX:
    case RES_TEMPFAIL:
    case RES_DENIED:
        query_fail(query, "malformed");
        return;
    }
    if (answer->answer.rcode != DNS_RCODE_NOERROR && answer->answer.rcode != DNS_RCODE_NXDOMAIN) {
        query_fail(query, rcode_reason(answer->answer.rcode));
        return;
    }
    answer->status = RESOLVER_ANSWERED;
    answer->security = sec == UB_SEC_SECURE ? DNS_SECURE : DNS_INSECURE;
    query_ready(query);
}

static void
on_answer(void *arg, int rcode, void *packet, int packet_len, int sec, char *why_bogus,
          int was_ratelimited)
{
    struct resolver_query *query = arg;

    (void)was_ratelimited;
    if (!query->done) { /* cancelled too late for libunbound to forget it */
        query_unlink(query);
        query_free(query);
    } else if (sec == UB_SEC_BOGUS) { /* before everything else: bogus data come with it */
        char reason[sizeof query->answer.reason];

        bogus_reason(why_bogus, reason, sizeof reason);
        query->answer.bogus = true;
        query_fail(query, reason);
    } else if (rcode != 0 || !packet || packet_len <= 0) {
        query_fail(query, rcode_reason(rcode > 0 ? (unsigned)rcode : DNS_RCODE_SERVFAIL));
    } else {
        query_read(query, span_make(packet, (size_t)packet_len), sec);
    }
}

static void
on_timeout(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct resolver_query *query = w->data;

    (void)loop, (void)revents;
    if (ub_cancel(query->memory->ctx, query->async_id) == 0)
        query_fail(query, "timeout");
    /* Otherwise libunbound is about to answer. */
}

static void
memory_free(struct memory *memory)
{
    ub_ctx_delete(memory->ctx);
    free(memory);
}

/* Whoever asks anew forgets by starting over: libunbound drops nothing from its caches on demand,
 * and bounds of TTLs hold for every context of the process. Not called from on_answer(), with
 * libunbound on the stack. */
static enum result
start_over(struct resolver *r, const char **out_error)
{
    struct memory *fresh = calloc(1, sizeof *fresh), *memory, *next;
    enum result res = RES_NOMEM;

    *out_error = "no memory";
    if (!fresh)
        return res;
    fresh->since = ev_now(r->loop);
    fresh->ctx = ub_ctx_create_ub_event(r->base);
    if (fresh->ctx)
        res = ub_config_apply(fresh->ctx, &r->config, out_error);
    if (res != RES_OK) {
        memory_free(fresh);
        return res;
    }
    LL_FOREACH_SAFE(r->memories, memory, next)
    {
        if (memory->asked > 0)
            continue;
        LL_DELETE(r->memories, memory);
        memory_free(memory);
    }
    LL_PREPEND(r->memories, fresh);
    return RES_OK;
}

static bool
is_known(const struct memory *memory, uint64_t question)
{
    for (unsigned i = 0; i < memory->known_count; i++)
        if (memory->known[i] == question)
            return true;
    return false;
}

/* The first memory may have an answer to this question, which may be too old. Two questions of one
 * hash only begin a memory in vain. */
static bool
is_stale(const struct resolver *r, uint64_t question)
{
    const struct memory *first = r->memories;

    return ev_now(r->loop) - first->since >= UNCACHED_S || first->known_count == UNCACHED_MAX ||
           is_known(first, question);
}

static bool
may_start_over(const struct resolver *r)
{
    const struct memory *memory;
    unsigned busy = 0;

    LL_FOREACH(r->memories, memory)
    busy += memory->asked > 0;
    return busy < RESOLVER_MEMORIES_MAX;
}

/* Nothing is answered out of what was learnt before, as far as there is room for it. */
static enum result
keep_fresh(struct resolver *r, const char *name, unsigned qtype)
{
    uint64_t question = hash_bytes(name, strlen(name)) + qtype;
    enum result res;
    const char *error;

    if (!r->config.uncached)
        return RES_OK;
    if (is_stale(r, question) && may_start_over(r)) {
        res = start_over(r, &error);
        if (res != RES_OK) {
            log_error("event=resolver-failed reason=\"%s\"", error);
            return res;
        }
    }
    if (r->memories->known_count < UNCACHED_MAX)
        r->memories->known[r->memories->known_count++] = question;
    return RES_OK;
}

static struct resolver_query *
query_new(struct resolver *r, const char *name, unsigned qtype)
{
    size_t size = strlen(name) + 1;
    struct resolver_query *query = calloc(1, sizeof *query + size);

    if (!query)
        return NULL;
    query->resolver = r;
    query->memory = r->memories;
    query->memory->asked++;
    query->qtype = qtype;
    memcpy(query->name, name, size);
    ev_init(&query->timer, on_timeout);
    query->timer.data = query;
    return query;
}

enum result
resolver_ask(struct resolver *r, const char *name, unsigned qtype, resolver_done *done, void *arg,
             struct resolver_query **out)
{
    struct resolver_query *query;
    int error;

    *out = NULL;
    if (r->open >= QUERIES_MAX)
        return RES_LIMIT;
    ev_now_update(r->loop);
    if (keep_fresh(r, name, qtype) != RES_OK)
        return RES_NOMEM;
    query = query_new(r, name, qtype);
    if (!query)
        return RES_NOMEM;
    query->done = done;
    query->arg = arg;
    DL_APPEND(r->asked, query);
    r->open++;
    ev_timer_set(&query->timer, QUERY_TIMEOUT_S, 0.);
    ev_timer_start(r->loop, &query->timer);

    error = ub_resolve_event(query->memory->ctx, name, (int)qtype, CLASS_IN, query, on_answer,
                             &query->async_id);
    if (error == UB_NOMEM) {
        query_unlink(query);
        query_free(query);
        return RES_NOMEM;
    }
    if (error != 0) /* not called back; of what can be asked only a name too long does this */
        query_fail(query, "bad-name");
    *out = query;
    return RES_OK;
}

void
resolver_cancel(struct resolver_query *query)
{
    if (query->is_ready || ub_cancel(query->memory->ctx, query->async_id) == 0) {
        query_unlink(query);
        query_free(query);
    } else {
        query->done = NULL;
    }
}

enum result
resolver_new(struct ev_loop *loop, const struct resolver_config *config, struct resolver **out,
             const char **out_error)
{
    struct resolver *r = calloc(1, sizeof *r);
    enum result res = RES_NOMEM;

    *out = NULL;
    *out_error = "no memory";
    if (!r)
        goto done;
    r->loop = loop;
    r->config = *config;
    ev_idle_init(&r->deliver, on_deliver);
    ev_set_priority(&r->deliver, EV_MAXPRI); /* an answer never waits for a quiet moment */
    r->deliver.data = r;
    r->base = ub_libev_new(loop);
    if (!r->base)
        goto done;
    res = start_over(r, out_error);
    if (res != RES_OK)
        goto done;
    *out = r;
    *out_error = "";
    r = NULL;
done:
    resolver_free(r);
    return res;
}

void
resolver_free(struct resolver *r)
{
    struct resolver_query *next;
    struct memory *memory, *other;

    if (!r)
        return;
    while (r->ready)
        resolver_cancel(r->ready);
    /* ub_ctx_delete() calls back for what is open: those are cancelled first, and the few that
     * libunbound does not forget are freed by on_answer() or below. */
    for (struct resolver_query *query = r->asked; query; query = next) {
        next = query->next;
        resolver_cancel(query);
    }
    LL_FOREACH_SAFE(r->memories, memory, other)
    ub_ctx_delete(memory->ctx);
    while (r->asked) {
        struct resolver_query *query = r->asked;

        query_unlink(query);
        query_free(query);
    }
    LL_FOREACH_SAFE(r->memories, memory, other)
    free(memory);
    ub_libev_free(r->base);
    free(r);
}
