#include "proxy/connection.h"

#include "base/log.h"
#include "proxy/admission.h"
#include "proxy/client_leg.h"
#include "proxy/connection_record.h"
#include "proxy/counters.h"
#include "proxy/ehlo_memory.h"
#include "proxy/mx_side.h"
#include "proxy/relay.h"
#include "proxy/session_view.h"
#include "proxy/status_msg.h"

#include <stdlib.h>
#include <unistd.h>

#define CLIENT_HIGH_WATER (64u * 1024u)   /* beyond it the client is not read */
#define COMMAND_READ_BYTES (16u * 1024u)  /* of pipelined commands at a time */
#define CONTENT_READ_BYTES (192u * 1024u) /* 12 records: one gathered send */
#define HOLD_S 0.05                       /* a reply waits for others of its group, at most */
#define LINGER_S 2.                       /* for the client to read the last reply */
#define LINGER_BYTES_MAX (1024u * 1024u)  /* of what it still sends meanwhile */

struct connection {
    struct connection_shared *shared;
    struct connection *next, **link;         /* in shared->first, later in shared->finished */
    struct connection *next_due, **due_link; /* in shared->due; due_link NULL: not in it */
    uint64_t number;                         /* in the order of arrival, 1 .. */
    struct session *session;
    struct client_leg client;
    bool passing; /* it is: the sockets go on without it, once the client has its reply (PRX-040) */
    bool closing; /* the session is over: what waits is sent, then the rest is read away */
    bool said_all; /* the client has, and waits for the last reply only */
    bool lingering;
    size_t lingered;
    bool over;
    bool passed_on; /* the relay has its place now */
    struct mx_side side;
    ev_io readable, writable;
    ev_timer hold; /* runs while replies to a group wait for the rest of it */
};

static struct connection *
connection_of(void *io)
{
    const struct mx_side *side = io;

    return side->owner;
}

/* ---- what the session asks for ---- */

static void
op_to_client(void *io, struct span bytes)
{
    struct connection *c = connection_of(io);

    if (client_leg_backlog(&c->client) >= CLIENT_HIGH_WATER)
        record_sink_flush(c->shared->records); /* a queue that is full sends at once */
    client_leg_send(&c->client, bytes);        /* if it breaks, update() ends the session */
}

static bool
op_client_is_quiet(void *io)
{
    const struct connection *c = connection_of(io);

    return client_leg_is_quiet(&c->client);
}

static void
op_start_client_tls(void *io)
{
    struct connection *c = connection_of(io);

    client_leg_start_tls(&c->client, c->shared->client_tls, c->shared->world.scratch,
                         MX_LEG_SCRATCH_BYTES);
}

static void
op_pass_through(void *io)
{
    struct connection *c = connection_of(io);

    c->passing = true;
}

static struct span
op_recall_list(void *io)
{
    struct connection *c = connection_of(io);
    const struct record_session_info *info = session_info(c->session);

    return ehlo_memory_recall(c->shared->lists, &info->destination, info->destination_port,
                              clock_mono_ms(&c->shared->world.clock) / 1000);
}

static void
op_learn_list(void *io, struct span list, bool proven)
{
    struct connection *c = connection_of(io);
    const struct record_session_info *info = session_info(c->session);

    if (ehlo_memory_learn(c->shared->lists, &info->destination, info->destination_port, list,
                          proven, clock_mono_ms(&c->shared->world.clock) / 1000))
        policy_client_tell_list(c->shared->world.policy,
                                &(struct policy_list){ .destination = info->destination,
                                                       .port = info->destination_port,
                                                       .proven = proven,
                                                       .list = list });
}

static bool
op_can_record(void *io)
{
    const struct connection *c = connection_of(io);

    return record_sink_is_ready(c->shared->records);
}

static void
op_record_recipient(void *io, const struct record_recipient *record)
{
    connection_record_recipient(connection_of(io)->shared, record);
}

static void
op_record_session(void *io, const struct record_session_end *record)
{
    connection_record_session(connection_of(io)->shared, record);
}

static void
op_report(void *io, const struct tls_report *report)
{
    const struct connection *c = connection_of(io);

    if (*c->shared->config->tlsrpt_store_file)
        policy_client_report(c->shared->world.policy, report);
}

static void
op_close(void *io)
{
    struct connection *c = connection_of(io);

    c->closing = true;
}

static const struct session_ops ops = {
    .to_client = op_to_client,
    .to_mx = mx_side_to_mx,
    .mx_backlog = mx_side_backlog,
    .mx_is_quiet = mx_side_is_quiet,
    .client_is_quiet = op_client_is_quiet,
    .connect = mx_side_connect,
    .start_tls = mx_side_start_tls,
    .check_dane = mx_side_check_dane,
    .start_client_tls = op_start_client_tls,
    .tls_verdict = mx_side_tls_verdict,
    .pass_through = op_pass_through,
    .hang_up = mx_side_hang_up,
    .engine = mx_side_engine,
    .ask = mx_side_ask,
    .policy_epoch = mx_side_policy_epoch,
    .known = mx_side_known,
    .forget = mx_side_forget,
    .recall_list = op_recall_list,
    .learn_list = op_learn_list,
    .set_timer = mx_side_set_timer_ms,
    .can_record = op_can_record,
    .record_recipient = op_record_recipient,
    .record_session = op_record_session,
    .report = op_report,
    .close = op_close,
};

/* ---- the end of a turn of the loop ---- */

static void
put_off(struct connection *c)
{
    struct connection_shared *shared = c->shared;

    if (c->due_link)
        return;
    if (!shared->due) /* of the lowest priority: when all that has happened has been seen to */
        ev_feed_event(shared->world.loop, &shared->replies_due, EV_CUSTOM);
    c->next_due = shared->due;
    c->due_link = &shared->due;
    if (c->next_due)
        c->next_due->due_link = &c->next_due;
    shared->due = c;
}

static void
put_off_no_longer(struct connection *c)
{
    if (!c->due_link)
        return;
    *c->due_link = c->next_due;
    if (c->next_due)
        c->next_due->due_link = c->due_link;
    c->next_due = NULL;
    c->due_link = NULL;
}

/* ---- the sockets ---- */

/* Over: out of the list of the living; freed when no function of ours is on the stack. */
static void
retire(struct connection *c)
{
    struct connection_shared *shared = c->shared;

    if (c->over)
        return;
    c->over = true;
    ev_io_stop(shared->world.loop, &c->readable);
    ev_io_stop(shared->world.loop, &c->writable);
    ev_timer_stop(shared->world.loop, &c->hold);
    mx_side_close(&c->side, HANG_UP_ABORT);
    put_off_no_longer(c);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    c->next = shared->finished;
    c->link = NULL;
    shared->finished = c;
    shared->open--;
    if (!c->passed_on)
        admission_leave(shared->admission, session_info(c->session));
}

static void
watch_writable(struct connection *c)
{
    if (client_leg_backlog(&c->client) && !c->client.broken)
        ev_io_start(c->shared->world.loop, &c->writable);
    else
        ev_io_stop(c->shared->world.loop, &c->writable);
}

/* Behind QUIT a client says no more. */
static bool
has_said_all(const struct connection *c)
{
    return session_has_quit(c->session) && client_leg_is_clear(&c->client) &&
           client_leg_is_quiet(&c->client);
}

/* The last reply must reach the client: a close with unread bytes would reset the connection and
 * take the reply with it. So we say that nothing more comes, and read away what it still sends. */
static void
take_leave(struct connection *c)
{
    if (c->said_all || has_said_all(c)) {
        retire(c);
        return;
    }
    c->lingering = true;
    client_leg_end(&c->client);
    mx_side_set_timer(&c->side, LINGER_S);
}

/* The reply to STARTTLS is with the client; what follows is none of the session's business. */
static void
hand_over(struct connection *c)
{
    int mx_fd = mx_leg_release(&c->side.leg);
    int client_fd = mx_fd < 0 ? -1 : client_leg_release(&c->client);

    if (client_fd < 0) {
        if (mx_fd >= 0)
            (void)close(mx_fd);
    } else {
        c->passed_on = true;
        if (relay_pass_through(c->shared->relays, client_fd, mx_fd, session_info(c->session)) !=
            RES_OK)
            log_error("event=no-memory where=passthrough");
    }
    retire(c);
}

static bool
wants_to_read(const struct connection *c)
{
    if (client_leg_is_handshaking(&c->client) || c->lingering)
        return true;
    return !c->closing && session_wants_client(c->session) &&
           client_leg_backlog(&c->client) < CLIENT_HIGH_WATER &&
           mx_leg_backlog(&c->side.leg) < MX_LEG_HIGH_WATER;
}

/* Replies to a pipelined group leave in one write (PIPE-006), if the rest of it comes soon. */
static bool
is_held_back(const struct connection *c)
{
    return !c->closing && client_leg_backlog(&c->client) > 0 && !ev_is_active(&c->writable) &&
           session_replies_may_wait(c->session);
}

/* Records of several sessions leave in one write, and then the replies that tell of them. */
static bool
waits_for_records(const struct connection *c)
{
    return client_leg_backlog(&c->client) > 0 && record_sink_waits(c->shared->records);
}

/* No reply leaves before the records of what it tells are with the file. */
static void
flush_client(struct connection *c)
{
    if (client_leg_backlog(&c->client)) {
        record_sink_flush(c->shared->records);
        c->said_all = c->closing && has_said_all(c);
    }
    if (c->said_all)
        client_leg_flush_last(&c->client);
    else
        client_leg_flush(&c->client);
    watch_writable(c);
}

static void
send_replies(struct connection *c)
{
    if (is_held_back(c)) {
        if (!ev_is_active(&c->hold))
            ev_timer_again(c->shared->world.loop, &c->hold);
        return;
    }
    ev_timer_stop(c->shared->world.loop, &c->hold);
    if (waits_for_records(c))
        put_off(c);
    else
        flush_client(c);
}

/* Readiness that nobody wants is known when it comes: to stop and start the watcher around each
 * command would be a call of the kernel each time. */
static void
watch_readable(struct connection *c)
{
    if (!wants_to_read(c))
        return;
    ev_io_start(c->shared->world.loop, &c->readable);
    if (client_leg_has_pending(&c->client))
        ev_feed_event(c->shared->world.loop, &c->readable, EV_READ); /* no readiness tells of it */
}

/* After every event: send what was said, read whom the session wants to hear. */
static void
update(struct connection *c)
{
    if (c->over)
        return;
    send_replies(c);
    mx_leg_flush(&c->side.leg);
    if (c->client.broken && !c->closing) {
        session_client_gone(c->session);
        send_replies(c); /* none, or the session is over */
    }
    if (c->passing && client_leg_backlog(&c->client) == 0) {
        hand_over(c);
        return;
    }
    if (c->closing && (c->client.broken || (c->lingering && c->lingered > LINGER_BYTES_MAX))) {
        retire(c);
        return;
    }
    if (c->closing && !c->lingering && client_leg_backlog(&c->client) == 0)
        take_leave(c);
    else if (c->closing && !c->lingering && !mx_side_is_timed(&c->side))
        mx_side_set_timer(&c->side, LINGER_S); /* it does not take the last reply: not for ever */
    if (c->over)
        return;
    mx_leg_hold(&c->side.leg, client_leg_backlog(&c->client) >= CLIENT_HIGH_WATER);
    watch_readable(c);
}

static void
on_replies_due(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct connection_shared *shared = w->data;

    (void)loop, (void)revents;
    record_sink_flush(shared->records);
    while (shared->due) {
        struct connection *c = shared->due;

        put_off_no_longer(c);
        update(c);
    }
}

void
connection_prepare(struct connection_shared *shared)
{
    ev_init(&shared->replies_due, on_replies_due);
    ev_set_priority(&shared->replies_due, EV_MINPRI);
    shared->replies_due.data = shared;
}

static void
client_tls_failed(struct connection *c, const char *reason)
{
    const struct record_session_info *info = session_info(c->session);
    char ip[IP_ADDR_TEXT_MAX];

    log_info("event=client-tls-failed session=%s client=%s reason=\"%s\"", info->id,
             ip_addr_text(&info->client, ip), reason);
    counters_client_handshake(c->shared->counters, 0);
    c->client.broken = true; /* and no word in clear (REP-062) */
    session_client_tls_over(c->session, NULL);
}

static void
shake_hands(struct connection *c)
{
    struct record_client_tls tls;
    char reason[CLIENT_LEG_REASON_BYTES];

    switch (client_leg_handshake(&c->client, &tls, reason)) {
    case RES_AGAIN:
        return;
    case RES_OK:
        log_info("event=client-tls session=%s version=%s cipher=%s", session_info(c->session)->id,
                 tls_version_name(tls.version), tls.cipher);
        counters_client_handshake(c->shared->counters, tls.version);
        session_client_tls_over(c->session, &tls);
        return;
    case RES_TEMPFAIL:
    case RES_DENIED:
    case RES_NOMEM:
    case RES_LIMIT:
    case RES_SYNTAX:
        break;
    }
    client_tls_failed(c, reason);
}

/* Bytes of the client, or of its end. */
static void
read_client(struct connection *c)
{
    size_t want = session_is_streaming(c->session) ? CONTENT_READ_BYTES : COMMAND_READ_BYTES, n;
    enum result res;

    if (!client_leg_is_clear(&c->client) && waits_for_records(c))
        record_sink_flush(
            c->shared->records); /* if it fails an alert leaves, and replies with it */
    res = client_leg_read(&c->client, c->shared->world.scratch, want, &n);

    if (res == RES_AGAIN)
        return;
    if (c->lingering)
        c->lingered += res == RES_OK ? n : LINGER_BYTES_MAX + 1;
    else if (res == RES_OK)
        session_client_input(c->session, span_make(c->shared->world.scratch, n));
    else
        session_client_gone(c->session);
}

static void
on_client_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct connection *c = w->data;

    (void)revents;
    if (!wants_to_read(c)) {
        ev_io_stop(loop, w);
        return;
    }
    if (client_leg_is_handshaking(&c->client))
        shake_hands(c);
    else
        read_client(c);
    update(c);
}

static void
on_client_writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct connection *c = w->data;

    (void)loop, (void)revents;
    if (client_leg_is_handshaking(&c->client))
        shake_hands(c);
    update(c);
}

/* ---- what the MX's side tells ---- */

static void
on_timeout(void *owner)
{
    struct connection *c = owner;

    if (c->closing) {
        retire(c);
        return;
    }
    if (session_state(c->session) == SES_CLIENT_TLS)
        client_tls_failed(c, "handshake timed out");
    else
        mx_side_timeout(&c->side);
    update(c);
}

static void
on_tls_over(void *owner, const struct observation *obs)
{
    struct connection *c = owner;

    counters_mx_handshake(c->shared->counters, obs, mx_leg_handshake_ms(&c->side.leg));
}

static void
on_update(void *owner)
{
    update(owner);
}

static const struct mx_side_owner side_owner = {
    .tls_over = on_tls_over,
    .timeout = on_timeout,
    .update = on_update,
};

/* ---- life ---- */

static void
on_held(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct connection *c = w->data;

    (void)revents;
    ev_timer_stop(loop, w);
    flush_client(c); /* what does not go now is held back no more */
    update(c);
}

enum result
connection_start(struct connection_shared *shared, int fd, const struct record_session_info *info)
{
    struct connection *c = calloc(1, sizeof *c);

    if (c)
        c->session = session_new(&ops, &c->side, shared->config, &shared->world.clock, info);
    if (!c || !c->session) {
        admission_leave(shared->admission, info);
        free(c);
        (void)close(fd);
        return RES_NOMEM;
    }
    c->shared = shared;
    client_leg_init(&c->client, fd);
    mx_side_init(&c->side, &shared->world, &side_owner, c);
    c->side.session = c->session;
    c->side.as_client = shared->config->upstream_as_client;
    ev_io_init(&c->readable, on_client_readable, fd, EV_READ);
    ev_io_init(&c->writable, on_client_writable, fd, EV_WRITE);
    ev_init(&c->hold, on_held);
    c->hold.repeat = HOLD_S;
    c->readable.data = c->writable.data = c->hold.data = c;

    c->next = shared->first;
    c->link = &shared->first;
    if (c->next)
        c->next->link = &c->next;
    shared->first = c;
    shared->open++;
    c->number = ++shared->started;
    session_start(c->session);
    update(c);
    return RES_OK;
}

bool
connection_list(const struct connection_shared *shared, uint64_t below, struct buffer *out,
                uint64_t *out_below, enum result *out_res)
{
    unsigned listed = 0;

    *out_res = RES_OK;
    for (const struct connection *c = shared->first; c; c = c->next) {
        struct session_glance glance;

        if (c->number >= below)
            continue;
        if (listed == STATUS_PAGE_SESSIONS)
            return true;
        session_glance(c->session, &glance);
        *out_res = session_view_write(session_info(c->session), &glance,
                                      clock_wall_s(&shared->world.clock), out);
        if (*out_res != RES_OK)
            return false;
        *out_below = c->number;
        listed++;
    }
    return false;
}

void
connection_reap(struct connection_shared *shared)
{
    while (shared->finished) {
        struct connection *c = shared->finished;

        shared->finished = c->next;
        session_free(c->session);
        client_leg_close(&c->client);
        free(c);
    }
}

void
connection_drain_all(struct connection_shared *shared, bool gently)
{
    for (struct connection *c = shared->first, *next; c; c = next) {
        next = c->next;
        if (!c->closing)
            session_drain(c->session, gently);
        update(c);
    }
}

void
connection_cut_all(struct connection_shared *shared)
{
    for (struct connection *c = shared->first, *next; c; c = next) {
        next = c->next;
        if (!c->closing)
            session_cut(c->session);
        update(c);
    }
}

void
connection_free_all(struct connection_shared *shared)
{
    while (shared->first)
        retire(shared->first);
    connection_reap(shared);
}
