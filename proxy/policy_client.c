#include "proxy/policy_client.h"

#include "base/hash_key.h"
#include "base/log.h"
#include "base/msg_link.h"
#include "policy/policy_msg.h"
#include "proxy/report_queue.h"

#include <ev.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>
#include <uthash.h>

#define REPORTS_IN_BACKLOG 64u /* of messages that the socket has not taken */
#define REPORTS_HOLD_S 0.05    /* each send may wake the policy process: for many at a time */

/* A policy_subject that stays. Zeroed before it is filled: the padding is part of the key. */
struct cache_key {
    char domain[HOSTNAME_MAX + 1];
    struct ip_addr destination, client;
    uint16_t port;
    bool report_to;
};

struct cached {
    struct cache_key key;
    struct requirement *req; /* a reference */
    int64_t until_ms;        /* monotonic clock */
    UT_hash_handle hh;
};

struct policy_question {
    uint64_t id;
    struct cache_key key;
    unsigned epoch;            /* the client's, when it was asked */
    policy_answered *answered; /* NULL once forgotten */
    void *arg;
    UT_hash_handle hh;
};

struct policy_client {
    struct ev_loop *loop;
    struct clock clock;
    struct msg_link *link; /* owned; NULL while there is none */
    ev_io readable, writable;
    uint64_t last_id;
    unsigned epoch; /* counts what has been forgotten: an answer from before is not remembered */
    struct policy_question *questions;
    struct cached *cache;     /* in the order of last use */
    policy_list_heard *heard; /* may be NULL */
    void *heard_arg;
    struct report_queue reports;
    ev_timer report_hold;
    bool hurried;             /* reports wait no longer */
    policy_client_take *take; /* of other messages; NULL: none is expected */
    void *take_arg;
};

static void on_report_hold_over(struct ev_loop *loop, ev_timer *w, int revents);

static struct cache_key
make_key(const struct policy_subject *subject)
{
    struct cache_key key;

    memset(&key, 0, sizeof key);
    memcpy(key.domain, subject->domain, strnlen(subject->domain, HOSTNAME_MAX));
    key.destination = subject->destination;
    key.client = subject->client;
    key.port = subject->port;
    key.report_to = subject->report_to;
    return key;
}

struct policy_client *
policy_client_new(struct ev_loop *loop, const struct clock *clock)
{
    struct policy_client *client = calloc(1, sizeof *client);
    uint64_t source = 0;

    if (!client)
        return NULL;
    client->loop = loop;
    client->clock = *clock;
    if (getrandom(&source, sizeof source, 0) != sizeof source)
        source = (uint64_t)clock->wall_ns(clock->arg);
    report_queue_init(&client->reports, source);
    ev_init(&client->report_hold, on_report_hold_over);
    client->report_hold.repeat = REPORTS_HOLD_S;
    client->report_hold.data = client;
    return client;
}

static void
drop_cached(struct policy_client *client, struct cached *entry)
{
    HASH_DEL(client->cache, entry);
    requirement_unref(entry->req);
    free(entry);
}

/* As the one used last; without memory it is asked for again next time. hash: of its key, which is
 * long. */
static void
enter(struct policy_client *client, struct cached *entry, unsigned hash)
{
    HASH_ADD_BYHASHVALUE(hh, client->cache, key, sizeof entry->key, hash, entry);
    if (HASH_ENTERED(entry))
        return;
    requirement_unref(entry->req);
    free(entry);
}

struct requirement *
policy_client_cached(struct policy_client *client, const struct policy_subject *subject)
{
    struct cache_key key = make_key(subject);
    struct requirement *req;
    struct cached *entry;
    unsigned hash;

    HASH_VALUE(&key, sizeof key, hash);
    HASH_FIND_BYHASHVALUE(hh, client->cache, &key, sizeof key, hash, entry);
    if (!entry)
        return NULL;
    if (clock_mono_ms(&client->clock) >= entry->until_ms) {
        drop_cached(client, entry);
        return NULL;
    }
    req = requirement_ref(entry->req);
    HASH_DEL(client->cache, entry); /* to the end of the order of use */
    enter(client, entry, hash);
    return req;
}

static void
remember(struct policy_client *client, const struct cache_key *key, struct requirement *req)
{
    struct cached *entry;
    unsigned hash;

    if (req->ttl_s == 0)
        return;
    HASH_VALUE(key, sizeof *key, hash);
    HASH_FIND_BYHASHVALUE(hh, client->cache, key, sizeof *key, hash, entry);
    if (entry)
        drop_cached(client, entry);
    else if (HASH_COUNT(client->cache) >= REQUIREMENT_CACHE_MAX)
        drop_cached(client, client->cache);
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return; /* asked again next time */
    entry->key = *key;
    entry->req = requirement_ref(req);
    entry->until_ms = clock_mono_ms(&client->clock) + (int64_t)req->ttl_s * 1000;
    enter(client, entry, hash);
}

/* Takes the reference. */
static void
answer(struct policy_client *client, struct policy_question *question, struct requirement *req)
{
    HASH_DEL(client->questions, question);
    if (req && question->epoch == client->epoch)
        remember(client, &question->key, req);
    if (question->answered)
        question->answered(question->arg, req);
    else
        requirement_unref(req);
    free(question);
}

/* The policy process is gone: nobody answers what is open (REP-065); the supervisor brings a new
 * link. What the cache holds stays good for its time. */
static void
lose_link(struct policy_client *client)
{
    struct policy_question *question, *next;

    if (client->link) {
        ev_io_stop(client->loop, &client->readable);
        ev_io_stop(client->loop, &client->writable);
        msg_link_free(client->link);
        client->link = NULL;
        /* At a reload's end and a stop nobody waits for an answer. */
        log_line(client->questions ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
                 "event=policy-link-lost open=%u", HASH_COUNT(client->questions));
    }
    HASH_ITER(hh, client->questions, question, next) { answer(client, question, NULL); }
}

static void
watch_backlog(struct policy_client *client)
{
    if (msg_link_backlog(client->link))
        ev_io_start(client->loop, &client->writable);
    else
        ev_io_stop(client->loop, &client->writable);
}

/* domain "": all. */
static void
forget(struct policy_client *client, const char *domain)
{
    struct cached *entry, *next;

    client->epoch++;
    HASH_ITER(hh, client->cache, entry, next)
    {
        if (!domain[0] || strcmp(entry->key.domain, domain) == 0 ||
            strcmp(entry->req->domain, domain) == 0) /* a smart host's name (PRX-024) */
            drop_cached(client, entry);
    }
}

static enum result
read_forget(struct policy_client *client, struct span message)
{
    char domain[HOSTNAME_MAX + 1];
    enum result res = policy_forget_decode(message, domain);

    if (res == RES_OK)
        forget(client, domain);
    return res;
}

static enum result
read_answer(struct policy_client *client, struct span message)
{
    struct policy_question *question;
    struct requirement *req;
    uint64_t id;
    enum result res = policy_answer_decode(message, &id, &req);

    if (res != RES_OK)
        return res;
    HASH_FIND(hh, client->questions, &id, sizeof id, question);
    if (question && req && req->matched != MX_MATCH_TABLE &&
        strcmp(req->domain, question->key.domain) != 0) { /* a smart host's is its own (PRX-024) */
        log_error("event=wrong-answer domain=%s", question->key.domain);
        requirement_unref(req);
        req = NULL;
    }
    if (question)
        answer(client, question, req);
    else
        requirement_unref(req);
    return RES_OK;
}

static enum result
read_list(struct policy_client *client, struct span message)
{
    struct policy_list list;
    enum result res = policy_list_decode(message, &list);

    if (res == RES_OK && client->heard)
        client->heard(client->heard_arg, &list);
    return res;
}

static enum result
read_counted(struct policy_client *client, struct span message)
{
    uint64_t number;
    enum result res = policy_counted_decode(message, &number);

    return res == RES_OK ? report_queue_counted(&client->reports, number) : res;
}

static enum result
read_message(struct policy_client *client, struct span message)
{
    switch (policy_msg_type(message)) {
    case POLICY_MSG_FORGET:
        return read_forget(client, message);
    case POLICY_MSG_LIST:
        return read_list(client, message);
    case POLICY_MSG_COUNTED:
        return read_counted(client, message);
    default:
        return read_answer(client, message);
    }
}

static void
on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct policy_client *client = w->data;
    struct span message;
    enum result res;
    unsigned type;

    (void)loop, (void)revents;
    res = msg_link_recv(client->link, &message); /* one an event: sessions go on in between */
    if (res == RES_AGAIN)
        return;
    type = res == RES_OK ? policy_msg_type(message) : 0;
    if (type >= POLICY_MSG_OTHERS && client->take)
        res = client->take(client->take_arg, type, message);
    else if (res == RES_OK)
        res = read_message(client, message);
    if (res != RES_OK)
        lose_link(client);
}

/* ---- reports ---- */

/* What they ask for is more urgent: few of them wait for the socket. */
static void
send_reports(struct policy_client *client)
{
    struct span message;

    while (client->link && msg_link_backlog(client->link) < REPORTS_IN_BACKLOG &&
           report_queue_next(&client->reports, &message)) {
        if (msg_link_send(client->link, message) != RES_OK)
            break; /* what is wrong with the link its reader finds */
        report_queue_sent(&client->reports);
    }
    if (client->link)
        watch_backlog(client);
}

void
policy_client_report(struct policy_client *client, const struct tls_report *report)
{
    uint64_t lost;

    if (report_queue_add(&client->reports, report) != RES_OK) {
        /* The first time, and then at each power of two: it may be many. */
        lost = client->reports.lost;
        if ((lost & (lost - 1)) == 0)
            log_warn("event=reports-lost count=%" PRIu64, lost);
    }
    if (client->hurried)
        send_reports(client);
    else if (!ev_is_active(&client->report_hold))
        ev_timer_again(client->loop, &client->report_hold);
}

static void
on_report_hold_over(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    ev_timer_stop(loop, w);
    send_reports(w->data);
}

void
policy_client_hurry(struct policy_client *client)
{
    client->hurried = true;
    ev_timer_stop(client->loop, &client->report_hold);
    send_reports(client);
}

static void
on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct policy_client *client = w->data;

    (void)loop, (void)revents;
    if (msg_link_flush(client->link) == RES_TEMPFAIL)
        lose_link(client);
    else
        send_reports(client);
}

void
policy_client_link(struct policy_client *client, int fd)
{
    lose_link(client);
    forget(client, "");
    if (msg_link_new(fd, &client->link) != RES_OK) {
        log_error("event=policy-link-refused");
        return;
    }
    ev_io_init(&client->readable, on_readable, msg_link_fd(client->link), EV_READ);
    ev_io_init(&client->writable, on_writable, msg_link_fd(client->link), EV_WRITE);
    client->readable.data = client->writable.data = client;
    ev_io_start(client->loop, &client->readable);
    report_queue_restart(&client->reports);
    send_reports(client);
}

struct policy_question *
policy_client_ask(struct policy_client *client, const struct policy_subject *subject, bool recheck,
                  policy_answered *answered, void *arg)
{
    struct policy_question *question = NULL;
    struct policy_request request;
    struct buffer message;

    if (!client->link)
        return NULL;
    buffer_init(&message, MSG_LINK_MAX_BYTES);
    question = calloc(1, sizeof *question);
    if (!question)
        goto done;
    question->id = ++client->last_id;
    question->key = make_key(subject);
    question->epoch = client->epoch;
    question->answered = answered;
    question->arg = arg;
    request = (struct policy_request){ .id = question->id,
                                       .destination = subject->destination,
                                       .port = subject->port,
                                       .client = subject->client,
                                       .recheck = recheck,
                                       .report_to = subject->report_to };
    memcpy(request.domain, question->key.domain, sizeof request.domain);
    HASH_ADD(hh, client->questions, id, sizeof question->id, question);
    if (!HASH_ENTERED(question)) {
        free(question);
        question = NULL;
        goto done;
    }
    if (policy_request_encode(&request, &message) != RES_OK ||
        msg_link_send(client->link, buffer_span(&message)) != RES_OK) {
        HASH_DEL(client->questions, question);
        free(question);
        question = NULL;
        goto done;
    }
    watch_backlog(client);
done:
    buffer_clear(&message);
    return question;
}

void
policy_client_tell_list(struct policy_client *client, const struct policy_list *list)
{
    struct buffer message;

    if (!client->link || msg_link_backlog(client->link))
        return;
    buffer_init(&message, MSG_LINK_MAX_BYTES);
    if (policy_list_encode(list, &message) == RES_OK &&
        msg_link_send(client->link, buffer_span(&message)) == RES_OK)
        watch_backlog(client);
    buffer_clear(&message);
}

void
policy_client_on_list(struct policy_client *client, policy_list_heard *heard, void *arg)
{
    client->heard = heard;
    client->heard_arg = arg;
}

void
policy_client_on_other(struct policy_client *client, policy_client_take *take, void *arg)
{
    client->take = take;
    client->take_arg = arg;
}

enum result
policy_client_send(struct policy_client *client, struct span message)
{
    enum result res;

    if (!client->link)
        return RES_TEMPFAIL;
    if (msg_link_backlog(client->link))
        return RES_AGAIN;
    res = msg_link_send(client->link, message);
    if (res == RES_OK)
        watch_backlog(client);
    return res;
}

unsigned
policy_client_epoch(const struct policy_client *client)
{
    return client->epoch;
}

void
policy_question_forget(struct policy_question *question)
{
    question->answered = NULL;
}

void
policy_client_free(struct policy_client *client)
{
    struct policy_question *question, *next;
    struct cached *entry, *after;

    if (!client)
        return;
    HASH_ITER(hh, client->questions, question, next) { question->answered = NULL; }
    lose_link(client);
    ev_timer_stop(client->loop, &client->report_hold);
    report_queue_clear(&client->reports);
    HASH_ITER(hh, client->cache, entry, after) { drop_cached(client, entry); }
    free(client);
}
