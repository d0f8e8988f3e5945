#include "policy/policy_server.h"

#include "base/log.h"
#include "base/msg_link.h"

#include <ev.h>
#include <stdlib.h>
#include <unistd.h>

#define WORKERS_MAX 64u     /* proxy/config.h */
#define LAST_MESSAGES 4096u /* of one worker, at the end */

/* A worker's link. It lives until the last of its questions has been answered. */
struct peer {
    struct policy_server *server;
    unsigned worker;
    struct msg_link *link; /* owned; NULL once it is closed */
    unsigned open;         /* questions without answer */
    uint64_t source;       /* of its reports; 0: there was none */
    ev_io readable, writable;
};

struct policy_server {
    struct ev_loop *loop;
    const struct lookup_config *config;
    policy_server_report *on_report; /* may be NULL */
    void *report_arg;
    struct peer *peers[WORKERS_MAX];
    policy_server_take *take; /* of other messages; NULL: none is expected */
    void *take_arg;
};

struct policy_server *
policy_server_new(struct ev_loop *loop, const struct lookup_config *config)
{
    struct policy_server *server = calloc(1, sizeof *server);

    if (server) {
        server->loop = loop;
        server->config = config;
    }
    return server;
}

void
policy_server_on_report(struct policy_server *server, policy_server_report *each, void *arg)
{
    server->on_report = each;
    server->report_arg = arg;
}

static void
close_peer(struct peer *peer)
{
    struct policy_server *server = peer->server;

    if (!peer->link)
        return;
    ev_io_stop(server->loop, &peer->readable);
    ev_io_stop(server->loop, &peer->writable);
    msg_link_free(peer->link);
    peer->link = NULL;
    if (server->peers[peer->worker] == peer)
        server->peers[peer->worker] = NULL;
    if (peer->open == 0)
        free(peer);
}

/* Read while there is room for more questions; write while answers wait. */
static void
watch(struct peer *peer)
{
    struct ev_loop *loop = peer->server->loop;

    if (msg_link_backlog(peer->link))
        ev_io_start(loop, &peer->writable);
    else
        ev_io_stop(loop, &peer->writable);
    if (peer->open < POLICY_OPEN_MAX && msg_link_backlog(peer->link) == 0)
        ev_io_start(loop, &peer->readable);
    else
        ev_io_stop(loop, &peer->readable);
}

static void
on_lookup(void *arg, const struct policy_request *request, struct requirement *req)
{
    struct peer *peer = arg;
    struct buffer message;
    enum result res;

    peer->open--;
    buffer_init(&message, MSG_LINK_MAX_BYTES);
    if (!peer->link) { /* the worker is gone */
        if (peer->open == 0)
            free(peer);
        goto done;
    }
    res = policy_answer_encode(request->id, req, &message);
    if (res == RES_LIMIT) {
        log_error("event=requirement-too-large domain=%s", request->domain);
        res = policy_answer_encode(request->id, NULL, &message);
    }
    if (res == RES_OK)
        res = msg_link_send(peer->link, buffer_span(&message));
    if (res == RES_OK) {
        watch(peer);
    } else {
        log_error("event=answer-lost worker=%u result=%s", peer->worker, result_name(res));
        close_peer(peer); /* it would wait for answers that never come; the supervisor mends it */
    }
done:
    buffer_clear(&message);
    requirement_unref(req);
}

static enum result
take_request(struct peer *peer, struct span message)
{
    struct policy_request request;
    enum result res = policy_request_decode(message, &request);

    if (res != RES_OK)
        return res;
    peer->open++;
    watch(peer);
    lookup_start(peer->server->config, &request, on_lookup, peer);
    return RES_OK;
}

/* What one worker has learnt goes on to the others. One that does not read now does without. */
static enum result
pass_list_on(struct peer *from, struct span message)
{
    struct policy_list list;
    enum result res = policy_list_decode(message, &list);

    for (unsigned i = 0; i < WORKERS_MAX && res == RES_OK; i++) {
        struct peer *peer = from->server->peers[i];

        if (!peer || peer == from || msg_link_backlog(peer->link))
            continue;
        if (msg_link_send(peer->link, message) == RES_OK)
            watch(peer);
    }
    return res;
}

/* A worker is one source. */
static enum result
take_report(struct peer *peer, struct span message)
{
    const struct policy_server *server = peer->server;
    struct policy_report report;
    enum result res = policy_report_decode(message, &report);

    if (res == RES_OK && peer->source != 0 && peer->source != report.source)
        res = RES_SYNTAX;
    if (res == RES_OK) {
        peer->source = report.source;
        if (server->on_report)
            server->on_report(server->report_arg, &report);
    }
    tls_report_clear(&report.report);
    return res;
}

void
policy_server_counted(struct policy_server *server, uint64_t source, uint64_t number)
{
    struct buffer message;

    buffer_init(&message, MSG_LINK_MAX_BYTES);
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        struct peer *peer = server->peers[i];

        if (!peer || peer->source != source || policy_counted_encode(number, &message) != RES_OK)
            continue;
        /* One that is not told hears it with the next. */
        if (msg_link_send(peer->link, buffer_span(&message)) == RES_OK)
            watch(peer);
        break;
    }
    buffer_clear(&message);
}

static enum result
take_message(struct peer *peer, struct span message)
{
    switch (policy_msg_type(message)) {
    case POLICY_MSG_LIST:
        return pass_list_on(peer, message);
    case POLICY_MSG_REPORT:
        return take_report(peer, message);
    default:
        return take_request(peer, message);
    }
}

/* False: there is none, or the link is closed now. */
static bool
read_message(struct peer *peer)
{
    struct policy_server *server = peer->server;
    struct span message;
    enum result res;
    unsigned type;

    res = msg_link_recv(peer->link, &message);
    if (res == RES_AGAIN)
        return false;
    type = res == RES_OK ? policy_msg_type(message) : 0;
    if (type >= POLICY_MSG_OTHERS && server->take)
        res = server->take(server->take_arg, peer->worker, type, message);
    else if (res == RES_OK)
        res = take_message(peer, message);
    if (res == RES_OK)
        return true;
    /* A worker that is done closes its end, and nobody owes it an answer. */
    log_line(res == RES_TEMPFAIL && peer->open == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
             "event=link-closed worker=%u reason=%s", peer->worker, result_name(res));
    close_peer(peer);
    return false;
}

static void
on_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop, (void)revents;
    (void)read_message(w->data); /* one an event, so that no worker starves another */
}

void
policy_server_read_all(struct policy_server *server)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        unsigned left = LAST_MESSAGES;

        while (server->peers[i] && left-- > 0 && read_message(server->peers[i]))
            continue;
    }
}

static void
on_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct peer *peer = w->data;

    (void)loop, (void)revents;
    if (msg_link_flush(peer->link) == RES_TEMPFAIL)
        close_peer(peer);
    else
        watch(peer);
}

void
policy_server_on_other(struct policy_server *server, policy_server_take *take, void *arg)
{
    server->take = take;
    server->take_arg = arg;
}

enum result
policy_server_send(struct policy_server *server, unsigned worker, struct span message)
{
    struct peer *peer = worker < WORKERS_MAX ? server->peers[worker] : NULL;
    enum result res = peer ? msg_link_send(peer->link, message) : RES_TEMPFAIL;

    if (peer && res == RES_OK)
        watch(peer);
    return res;
}

void
policy_server_link(struct policy_server *server, unsigned worker, int fd)
{
    struct peer *peer = worker < WORKERS_MAX ? calloc(1, sizeof *peer) : NULL;

    if (!peer) {
        log_error("event=link-refused worker=%u", worker);
        (void)close(fd);
        return;
    }
    if (server->peers[worker])
        close_peer(server->peers[worker]);
    peer->server = server;
    peer->worker = worker;
    if (msg_link_new(fd, &peer->link) != RES_OK) {
        log_error("event=link-refused worker=%u", worker);
        free(peer);
        return;
    }
    server->peers[worker] = peer;
    ev_io_init(&peer->readable, on_readable, msg_link_fd(peer->link), EV_READ);
    ev_io_init(&peer->writable, on_writable, msg_link_fd(peer->link), EV_WRITE);
    peer->readable.data = peer->writable.data = peer;
    watch(peer);
}

void
policy_server_forget(struct policy_server *server, const char *domain)
{
    struct buffer message;

    if (!server)
        return;
    buffer_init(&message, MSG_LINK_MAX_BYTES);
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        struct peer *peer = server->peers[i];
        enum result res = RES_OK;

        if (!peer)
            continue;
        buffer_clear(&message);
        res = policy_forget_encode(domain, &message);
        if (res == RES_OK)
            res = msg_link_send(peer->link, buffer_span(&message));
        if (res == RES_OK) {
            watch(peer);
        } else { /* it must not go by what is out of date: a new link starts it afresh */
            log_error("event=forget-lost worker=%u result=%s", peer->worker, result_name(res));
            close_peer(peer);
        }
    }
    buffer_clear(&message);
}

void
policy_server_free(struct policy_server *server)
{
    if (!server)
        return;
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        if (server->peers[i])
            close_peer(server->peers[i]);
    free(server);
}
