#include "proxy/session.h"

#include "proxy/session_impl.h"

#include <stdlib.h>

struct session *
session_new(const struct session_ops *ops, void *io, const struct config *config,
            const struct clock *clock, const struct record_session_info *info)
{
    struct session *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->obs = observation_new();
    if (!s->obs) {
        free(s);
        return NULL;
    }
    s->ops = ops;
    s->io = io;
    s->config = config;
    s->clock = *clock;
    s->info = *info;
    s->stats.started_ns = clock->wall_ns(clock->arg);
    buffer_init(&s->client_in, SESSION_INPUT_MAX);
    buffer_init(&s->mx_list, SMTP_REPLY_MAX_BYTES);
    buffer_init(&s->ehlo_reply, SMTP_REPLY_MAX_BYTES);
    buffer_init(&s->group, SESSION_GROUP_MAX * SESSION_LINE_BYTES);
    buffer_init(&s->rcpt_line, SESSION_LINE_BYTES);
    buffer_init(&s->mail_line, SESSION_LINE_BYTES);
    buffer_init(&s->bounce_line, SESSION_LINE_BYTES);
    buffer_init(&s->mail_refusal, SMTP_REPLY_MAX_BYTES);
    buffer_init(&s->parting, SMTP_REPLY_MAX_BYTES);
    smtp_reply_reader_init(&s->reader);
    return s;
}

void
session_free(struct session *s)
{
    if (!s)
        return;
    while (session_land(s))
        continue;
    session_end_transaction(s);
    session_report_tell_all(&s->reports, NULL, NULL);
    requirement_unref(s->req);
    observation_unref(s->obs);
    smtp_reply_reader_clear(&s->reader);
    buffer_clear(&s->client_in);
    buffer_clear(&s->mx_list);
    buffer_clear(&s->ehlo_reply);
    buffer_clear(&s->group);
    buffer_clear(&s->rcpt_line);
    buffer_clear(&s->parting);
    free(s->client_name);
    free(s);
}

enum session_state
session_state(const struct session *s)
{
    return s->state;
}

void
session_glance(const struct session *s, struct session_glance *out)
{
    *out = (struct session_glance){
        .state = session_state_name(s->state),
        .domain = s->rcpt_domain,
        .started_ns = s->stats.started_ns,
        .transactions = s->transaction,
        .delivered = s->stats.delivered,
        .refused = s->stats.refused,
        .bytes_to_mx = s->stats.bytes_to_mx,
        .bytes_to_client = s->stats.bytes_to_client,
        .obs = s->obs,
    };
}

bool
session_asks_report_to(const struct session *s)
{
    return s->sends_reports;
}

const struct record_session_info *
session_info(const struct session *s)
{
    return &s->info;
}

struct observation *
session_observation(const struct session *s)
{
    return s->obs;
}

bool
session_wants_client(const struct session *s)
{
    return s->state == SES_COMMAND || s->state == SES_GATHER || s->state == SES_LOST ||
           s->state == SES_REFUSED || s->state == SES_AUTH_LINE || session_is_streaming(s);
}

bool
session_is_streaming(const struct session *s)
{
    return s->state == SES_CONTENT || s->state == SES_CHUNK || s->state == SES_DISCARD ||
           s->state == SES_SWALLOW;
}

bool
session_replies_may_wait(const struct session *s)
{
    return !s->reply_is_urgent &&
           (s->state == SES_MAIL || s->state == SES_RCPT || s->state == SES_DATA);
}

bool
session_has_quit(const struct session *s)
{
    return s->hand == SMTP_VERB_QUIT;
}

/* RFC 5321 4.5.3.2: how long each state may last, in ms; 0: no wait there. */
static unsigned
state_timeout_ms(const struct session *s)
{
    const struct config *c = s->config;

    switch (s->state) {
    case SES_CONNECT:
    case SES_RECONNECT:
        return c->connect_timeout_ms;
    case SES_GREETING:
    case SES_REGREETING:
        return c->greeting_timeout_ms;
    case SES_COMMAND:
    case SES_LOST:
    case SES_REFUSED:
    case SES_AUTH_LINE:
    case SES_DISCARD:
    case SES_SWALLOW:
        return c->client_timeout_ms;
    case SES_EHLO:
    case SES_HELO:
    case SES_STARTTLS:
    case SES_PASS_TLS:
    case SES_EHLO_TLS:
    case SES_REEHLO:
    case SES_CLEAN:
    case SES_MAIL:
    case SES_RCPT:
    case SES_VOID:
    case SES_AUTH:
    case SES_PASS:
        return c->command_timeout_ms;
    case SES_QUIT:
        return c->connect_timeout_ms; /* may be shorter than a command's (SMTP-050) */
    case SES_REQUIREMENT:
        return s->rcpt_recheck != RECHECK_NONE ? SESSION_RECHECK_MS : c->policy_wait_ms;
    case SES_HANDSHAKE:
    case SES_CLIENT_TLS:
        return c->handshake_timeout_ms;
    case SES_DATA:
        return c->data_timeout_ms;
    case SES_CONTENT:
    case SES_CHUNK:
        return c->block_timeout_ms;
    case SES_CHUNK_REPLY:
    case SES_FINAL:
        return c->final_timeout_ms;
    case SES_JUDGE:
    case SES_GATHER:
    case SES_AHEAD:
    case SES_CLOSED:
    case SES_STATES:
        break;
    }
    return 0;
}

/* Is that wait part of what the recipient in hand waits for? Between its requirement and its reply
 * the client hears nothing. */
static bool
is_on_budget(const struct session *s)
{
    return (s->rcpt_in_hand || s->flights) && s->state != SES_COMMAND && s->state != SES_LOST;
}

/* The time of the state, or what is left of the recipient's. */
static void
set_timer(struct session *s)
{
    int64_t left_ms = s->rcpt_until_ms - clock_mono_ms(&s->clock);
    unsigned wait_ms = state_timeout_ms(s);

    if (is_on_budget(s) && left_ms < wait_ms)
        wait_ms = left_ms < 1 ? 1 : (unsigned)left_ms;
    s->ops->set_timer(s->io, wait_ms);
}

void
session_step(struct session *s, enum session_event event)
{
    while (event != SEV_NONE && s->state != SES_CLOSED) {
        enum session_state from = s->state;

        s->state = session_next(from, event);
        log_debug("session=%s state=%s event=%s next=%s", s->info.id, session_state_name(from),
                  session_event_name(event), session_state_name(s->state));
        if (s->state == from)
            return;
        set_timer(s);
        event = session_enter(s, from, event);
    }
}

void
session_start(struct session *s)
{
    s->state = SES_CONNECT;
    s->ops->set_timer(s->io, state_timeout_ms(s));
    (void)session_enter(s, SES_CONNECT, SEV_NONE); /* only asks for the connection */
}

/* What was pipelined behind the command in hand, now that it may be served. */
static void
serve_buffered(struct session *s)
{
    size_t used = session_serve(s, buffer_span(&s->client_in));

    buffer_consume(&s->client_in, used);
}

void
session_client_input(struct session *s, struct span bytes)
{
    s->reply_is_urgent = false;
    if (buffer_len(&s->client_in) == 0) /* message text passes from the read buffer, not copied */
        bytes = span_from(bytes, session_serve(s, bytes));
    if (bytes.len == 0)
        return;
    if (buffer_append(&s->client_in, bytes) != RES_OK) {
        session_reply(s, REPLY_SHUTDOWN);
        session_step(s, SEV_GIVE_UP);
        return;
    }
    serve_buffered(s);
}

void
session_client_gone(struct session *s)
{
    s->client_gone = true;
    session_step(s, SEV_CLIENT_GONE);
}

void
session_connected(struct session *s, bool ok)
{
    s->mx_up = ok;
    session_step(s, ok ? SEV_CONNECTED : SEV_CONNECT_FAILED);
}

/* The MX is gone. Where the state outlives it, it is hung up on all the same: the end of its stream
 * would be told again and again. */
static void
lose_mx(struct session *s)
{
    if (s->state == SES_REFUSED || s->state == SES_CLIENT_TLS)
        session_hang_up(s, HANG_UP_ABORT);
    session_step(s, SEV_MX_LOST);
}

void
session_mx_gone(struct session *s)
{
    lose_mx(s);
    serve_buffered(s);
}

/* Bytes that nobody asked for: only a 421 may come by itself (SMTP-036). */
static bool
may_be_unasked(struct span bytes)
{
    return span_equal(span_first(bytes, 3), span_first(span_of("421"), bytes.len));
}

static bool
expects_reply(enum session_state state)
{
    switch (state) {
    case SES_GREETING:
    case SES_EHLO:
    case SES_HELO:
    case SES_STARTTLS:
    case SES_PASS_TLS:
    case SES_EHLO_TLS:
    case SES_REGREETING:
    case SES_REEHLO:
    case SES_CLEAN:
    case SES_MAIL:
    case SES_RCPT:
    case SES_VOID:
    case SES_AUTH:
    case SES_PASS:
    case SES_DATA:
    case SES_CONTENT: /* an early one ends the message, see session_next() */
    case SES_CHUNK:
    case SES_CHUNK_REPLY:
    case SES_FINAL:
    case SES_QUIT:
        return true;
    case SES_CONNECT:
    case SES_COMMAND:
    case SES_CLIENT_TLS:
    case SES_REQUIREMENT:
    case SES_JUDGE:
    case SES_GATHER:
    case SES_AHEAD:
    case SES_HANDSHAKE:
    case SES_RECONNECT:
    case SES_AUTH_LINE:
    case SES_DISCARD:
    case SES_SWALLOW:
    case SES_LOST:
    case SES_REFUSED:
    case SES_CLOSED:
    case SES_STATES:
        break;
    }
    return false;
}

/* Was that reply asked for when it began? One whose first octets were here already when the command
 * was said is none to it (TLS-003, SMTP-032), nor is a success that began before the end of data. A
 * 421 may come at any time, and a refusal while text is on its way. */
static bool
is_due(const struct session *s, const struct smtp_reply *reply)
{
    if (reply->code == 421)
        return true;
    if (!expects_reply(s->state) || !expects_reply(s->reply_began))
        return false;
    return s->reply_began == s->state || reply->code >= 400;
}

void
session_mx_input(struct session *s, struct span bytes)
{
    s->reply_is_urgent = false;
    while (bytes.len && s->mx_up) {
        struct smtp_reply reply;
        size_t used;
        enum result res;

        if (!smtp_reply_is_partial(&s->reader)) {
            if (!expects_reply(s->state) && !may_be_unasked(bytes)) {
                lose_mx(s);
                break;
            }
            s->reply_began = s->state;
        }
        res = smtp_reply_read(&s->reader, bytes, &used, &reply);
        bytes = span_from(bytes, used);
        if (res == RES_AGAIN)
            continue; /* all of it was taken */
        if (res != RES_OK || !is_due(s, &reply))
            lose_mx(s); /* no SMTP, or nothing was asked (SMTP-032) */
        else
            session_serve_reply(s, &reply, bytes);
    }
    if (!smtp_reply_is_partial(&s->reader))
        smtp_reply_reader_clear(&s->reader); /* an idle session holds none (PRX-049) */
    serve_buffered(s);
}

void
session_tls_over(struct session *s, struct observation *obs)
{
    bool done = obs->stage == TLS_STAGE_DONE;

    observation_unref(s->obs);
    s->obs = obs;
    if (!done) /* the connection is dead, and nothing in clear follows on it (TLS-006) */
        session_hang_up(s, HANG_UP_ABORT);
    session_step(s, done ? SEV_TLS_DONE : SEV_TLS_FAILED);
    serve_buffered(s);
}

void
session_requirement(struct session *s, struct requirement *req)
{
    if (s->state != SES_REQUIREMENT) {
        requirement_unref(req);
        return;
    }
    if (req) {
        session_forget_verdict(s);
        requirement_unref(s->req); /* of before a re-check; else there is none */
        s->req = req;
        if (s->rcpt_recheck != RECHECK_NONE && req->sts.discovery[0] == '\0')
            s->rcpt_recheck = RECHECK_CURRENT;
    }
    session_step(s, session_answered(s));
    serve_buffered(s);
}

void
session_timeout(struct session *s)
{
    if (is_on_budget(s) && clock_mono_ms(&s->clock) >= s->rcpt_until_ms) {
        session_step(s, SEV_TOO_LATE);
        serve_buffered(s);
        return;
    }
    switch (s->state) {
    case SES_CONNECT:
    case SES_RECONNECT:
        session_connected(s, false);
        return;
    case SES_COMMAND:
    case SES_LOST:
    case SES_AUTH_LINE:
    case SES_REFUSED:
    case SES_DISCARD:
    case SES_SWALLOW:
        session_step(s, SEV_CLIENT_IDLE);
        return;
    case SES_CONTENT:
    case SES_CHUNK:
        session_step(s, s->ops->mx_backlog(s->io) ? SEV_MX_LOST : SEV_CLIENT_IDLE);
        return;
    case SES_REQUIREMENT:
        s->ops->forget(s->io);
        session_requirement(s, NULL);
        return;
    case SES_CLIENT_TLS:
        session_client_tls_over(s, NULL);
        return;
    case SES_HANDSHAKE: /* the owner of the handshake observes it: session_tls_over() */
    case SES_JUDGE:
    case SES_GATHER:
    case SES_AHEAD:
    case SES_CLOSED:
    case SES_STATES:
        return;
    case SES_GREETING:
    case SES_EHLO:
    case SES_HELO:
    case SES_STARTTLS:
    case SES_PASS_TLS:
    case SES_EHLO_TLS:
    case SES_REGREETING:
    case SES_REEHLO:
    case SES_CLEAN:
    case SES_MAIL:
    case SES_RCPT:
    case SES_VOID:
    case SES_AUTH:
    case SES_PASS:
    case SES_DATA:
    case SES_CHUNK_REPLY:
    case SES_FINAL:
    case SES_QUIT:
        session_mx_gone(s);
        return;
    }
}

void
session_drain(struct session *s, bool gently)
{
    s->draining = true;
    s->gently = gently;
    if (s->state != SES_COMMAND && s->state != SES_LOST && s->state != SES_REFUSED)
        return;
    if (!session_is_to_leave(s))
        return;
    session_reply(s, REPLY_SHUTDOWN);
    session_step(s, SEV_GIVE_UP);
}

void
session_cut(struct session *s)
{
    if (s->state == SES_CLOSED)
        return;
    if (s->state != SES_CLIENT_TLS) /* nothing in clear where a ServerHello is due (REP-062) */
        session_reply(s, REPLY_SHUTDOWN);
    session_step(s, SEV_GIVE_UP);
}
