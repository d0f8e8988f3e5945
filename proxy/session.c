#include "proxy/session.h"

#include "proxy/session_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
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

/* What a handshake that failed tells of the next connection, which may go on in clear (TLS-031). */
static void
keep_failure(const struct observation *from, struct observation *to)
{
    to->failure = from->failure;
    memcpy(to->failure_reason, from->failure_reason, sizeof to->failure_reason);
    memcpy(to->sni, from->sni, sizeof to->sni);
    to->floor = from->floor;
    to->version = from->version;
    to->trust = from->trust;
}

/* A connection is a set of facts of its own: the old ones stay with the records that cite them. */
static bool
fresh_observation(struct session *s)
{
    struct observation *obs = observation_new();

    if (!obs)
        return false;
    if (s->rcpt_in_hand && !s->mx_stale && s->obs->stage == TLS_STAGE_FAILED &&
        !s->verdict.full_handshake)
        keep_failure(s->obs, obs);
    observation_unref(s->obs);
    s->obs = obs;
    buffer_clear(&s->mx_list);
    return true;
}

void
session_hang_up(struct session *s, enum hang_up how)
{
    if (!s->mx_up)
        return;
    if (how == HANG_UP_POLITE)
        session_tell_mx(s, span_of("QUIT\r\n"));
    s->ops->hang_up(s->io, how);
    s->mx_up = false;
    s->mx_mail_open = false;
    s->mail_sent = false;
}

static void
send_ehlo(struct session *s, const char *verb)
{
    session_tell_mx(s, span_of(verb));
    session_tell_mx(s, span_of(s->client_name));
    session_tell_mx(s, span_of("\r\n"));
}

static enum session_event
enter_reconnect(struct session *s)
{
    session_hang_up(s, HANG_UP_POLITE);
    smtp_reply_reader_clear(&s->reader);
    if (!fresh_observation(s))
        return SEV_CONNECT_FAILED;
    s->mx_stale = s->host_proven = false;
    s->stats.reconnects++;
    s->ops->connect(s->io);
    return SEV_NONE;
}

/* Has the transaction met this domain before? (PRX-038) */
static bool
remembers_requirement(struct session *s)
{
    const struct session_memo_entry *known = session_memo_find(
        &s->memo, s->rcpt_domain, s->ops->policy_epoch(s->io), clock_mono_ms(&s->clock));

    if (!known)
        return false;
    s->req = requirement_ref(known->req);
    s->rcpt_recheck = known->recheck;
    return true;
}

/* No domain, so no policy (PRX-026, PRX-027); but an override may be about all mail of this client,
 * or to this destination (PRX-042). */
static bool
overridden(const struct session *s)
{
    return rules_find(&s->config->rules, s->rcpt_domain, &s->info.destination, &s->info.client,
                      clock_wall_s(&s->clock)) != NULL;
}

static enum session_event
enter_requirement(struct session *s, enum session_event event)
{
    struct requirement *ignored;

    if (event == SEV_RECHECK) /* what is known stands unless there is something newer */
        return s->ops->ask(s->io, s->rcpt_domain, true, &ignored) ? SEV_NONE : SEV_REQUIREMENT;
    session_forget_verdict(s);
    requirement_unref(s->req);
    s->req = NULL;
    if (s->rcpt_without_policy && !overridden(s)) {
        s->req = requirement_new();
        if (!s->req)
            return SEV_NO_REQUIREMENT;
        s->req->tls_floor = s->config->tls_opportunistic_minimum;
    } else if (!remembers_requirement(s) && !s->ops->ask(s->io, s->rcpt_domain, false, &s->req)) {
        return SEV_NO_REQUIREMENT;
    }
    return s->req ? SEV_REQUIREMENT : SEV_NONE;
}

/* The same, but what is not at hand is not asked for. */
static enum session_event
enter_ahead(struct session *s)
{
    session_forget_verdict(s);
    requirement_unref(s->req);
    s->req = NULL;
    if (!remembers_requirement(s))
        s->req = s->ops->known(s->io, s->rcpt_domain);
    return session_judge_ahead(s);
}

static void
send_group(struct session *s)
{
    if (buffer_len(&s->group)) /* not with MAIL already */
        session_tell_mx(s, buffer_span(&s->group));
    buffer_clear(&s->group);
}

/* A recipient was allowed. Others may be at hand, in what the client has pipelined: session_serve()
 * looks, and sends. */
static enum session_event
enter_gather(struct session *s)
{
    if (!session_gather(s))
        return SEV_MX_LOST;
    return s->mx_keywords & EHLO_PIPELINING ? SEV_NONE : SEV_SEND;
}

static enum session_event
enter_mail(struct session *s)
{
    if (s->mail_sent)
        return SEV_REPLY_OK; /* further recipients of the same transaction */
    session_tell_mx(s,
                    buffer_span(buffer_len(&s->bounce_line) && !(s->mx_keywords & EHLO_REQUIRETLS)
                                    ? &s->bounce_line
                                    : &s->mail_line));
    if (s->mx_keywords & EHLO_PIPELINING)
        send_group(s);
    return SEV_NONE;
}

/* The command and its octets leave in one write. Of nothing the end is here at once. */
static enum session_event
enter_chunk(struct session *s)
{
    char line[64];
    int len =
        snprintf(line, sizeof line, "BDAT %llu%s\r\n", s->chunk_left, s->chunk_last ? " LAST" : "");

    s->chunked = true;
    session_tell_mx(s, span_make(line, (size_t)len));
    return session_chunk_over(s);
}

/* What is owed to the client when its message text has been swallowed: the MX's early refusal,
 * which stands in parting already, else a row of ours. A 2xx before the end of data is never one
 * (SMTP-032). */
static void
enter_swallow(struct session *s, enum session_event event)
{
    if (event == SEV_AMBIGUOUS)
        session_owe(s, REPLY_BARE_NEWLINE);
    else if (event != SEV_REPLY_LATER && event != SEV_REPLY_NO)
        session_owe(s, REPLY_UPSTREAM_LOST_DATA);
    session_hang_up(s, HANG_UP_ABORT);
}

/* The reply of ours that goes with an end that nothing has been said about yet. */
static enum reply_row
closing_row(enum session_state from, enum session_event event)
{
    if (from == SES_CLIENT_TLS)
        return REPLY_NONE; /* nothing in clear where a ServerHello is due (REP-062) */
    switch (event) {
    case SEV_CONNECT_FAILED:
        return from == SES_CONNECT ? REPLY_UNREACHABLE : REPLY_UPSTREAM_LOST;
    case SEV_CLIENT_IDLE:
        return REPLY_IDLE;
    case SEV_CLIENT_GONE:
    case SEV_CMD_BYE:
    case SEV_PASSTHROUGH:
    case SEV_GIVE_UP:
    case SEV_REPLY_CLOSING:
        return REPLY_NONE; /* said already, or nobody to say it to */
    case SEV_MX_LOST:
        return from == SES_QUIT ? REPLY_BYE : REPLY_UPSTREAM_LOST;
    case SEV_REPLY_READY:
    case SEV_REPLY_OK:
    case SEV_REPLY_MORE:
    case SEV_REPLY_LATER:
    case SEV_REPLY_NO:
        return from == SES_QUIT ? REPLY_NONE : REPLY_UPSTREAM_LOST;
    case SEV_NONE:
    case SEV_CONNECTED:
    case SEV_INJECTED:
    case SEV_TLS_DONE:
    case SEV_TLS_FAILED:
    case SEV_CMD_EHLO:
    case SEV_CMD_RCPT:
    case SEV_CMD_RSET:
    case SEV_CMD_DATA:
    case SEV_CMD_BDAT:
    case SEV_CMD_DISCARD:
    case SEV_CMD_QUIT:
    case SEV_CMD_AUTH:
    case SEV_CMD_STARTTLS:
    case SEV_CMD_PASS_TLS:
    case SEV_CLIENT_TLS_DONE:
    case SEV_CLIENT_TLS_FAILED:
    case SEV_SMART_HOST:
    case SEV_ANNOUNCED:
    case SEV_RESUME_EHLO:
    case SEV_REQUIREMENT:
    case SEV_NO_REQUIREMENT:
    case SEV_ALLOW:
    case SEV_REFUSE:
    case SEV_START_TLS:
    case SEV_NEW_CONNECTION:
    case SEV_RECHECK:
    case SEV_TOO_LATE:
    case SEV_SEND:
    case SEV_MAIL_REFUSED:
    case SEV_STALE_MAIL:
    case SEV_END_OF_DATA:
    case SEV_END_OF_CHUNK:
    case SEV_EARLY_REFUSAL:
    case SEV_AMBIGUOUS:
    case SEV_EVENTS:
        break;
    }
    return REPLY_UPSTREAM_LOST;
}

/* Does the MX wait for a command, so that it may hear QUIT? While its reply is due nothing more is
 * said: behind STARTTLS it would be clear text where a ClientHello is due (TLS-003, PIPE-007), and
 * message text on its way must not look complete by whatever is flushed (PRX-011). */
static bool
mx_awaits_command(enum session_state from, enum session_event event)
{
    if (event == SEV_MX_LOST || from == SES_CONTENT || from == SES_CHUNK || from == SES_FINAL)
        return false;
    if (event >= SEV_REPLY_READY && event <= SEV_REPLY_CLOSING) /* it has just replied */
        return true;
    return from == SES_COMMAND || from == SES_REQUIREMENT || from == SES_JUDGE ||
           from == SES_DISCARD || from == SES_REFUSED || from == SES_CLIENT_TLS;
}

static void
enter_closed(struct session *s, enum session_state from, enum session_event event)
{
    enum reply_row row = closing_row(from, event);

    s->ops->forget(s->io);
    s->ops->set_timer(s->io, 0);
    if (row != REPLY_NONE)
        session_reply(s, row);
    session_recipients_failed(s);
    session_message_over(s, false, span_of(""));
    if (from == SES_QUIT && s->mx_up) { /* QUIT has been said */
        s->ops->hang_up(s->io, HANG_UP_POLITE);
        s->mx_up = false;
    }
    if (from == SES_CONNECT || from == SES_RECONNECT) /* it may still come about */
        s->ops->hang_up(s->io, HANG_UP_ABORT);
    session_hang_up(s, mx_awaits_command(from, event) ? HANG_UP_POLITE : HANG_UP_ABORT);
    session_write_end(s, from, event);
    s->ops->close(s->io);
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

/* Draining: between transactions the client is sent away (PRX-048). */
static bool
is_to_leave(const struct session *s)
{
    return s->draining && !s->mail_open && (s->transaction > 0 || !s->gently);
}

/* What entering a state does; the event that follows at once, or SEV_NONE to wait for one. */
static enum session_event
enter(struct session *s, enum session_state from, enum session_event event)
{
    switch (s->state) {
    case SES_CONNECT:
        s->ops->connect(s->io);
        break;
    case SES_EHLO:
    case SES_EHLO_TLS:
    case SES_REEHLO:
        send_ehlo(s, "EHLO ");
        break;
    case SES_HELO:
        send_ehlo(s, "HELO ");
        break;
    case SES_CLIENT_TLS:
        session_enter_client_tls(s);
        break;
    case SES_PASS_TLS:
        session_tell_mx(s, span_of("STARTTLS\r\n"));
        break;
    case SES_REQUIREMENT:
        return enter_requirement(s, event);
    case SES_JUDGE:
        return session_judge(s);
    case SES_STARTTLS:
        session_tell_mx(s, span_of("STARTTLS\r\n"));
        break;
    case SES_HANDSHAKE:
        s->ops->start_tls(s->io, requirement_sni(s->req), session_floor(s), s->req->local.trust);
        break;
    case SES_RECONNECT:
        return enter_reconnect(s);
    case SES_CLEAN:
    case SES_PASS:
        session_tell_mx(s, span_of("RSET\r\n"));
        break;
    case SES_GATHER:
        return enter_gather(s);
    case SES_AHEAD:
        return enter_ahead(s);
    case SES_MAIL:
        return enter_mail(s);
    case SES_RCPT:
        send_group(s);
        break;
    case SES_DATA:
        session_tell_mx(s, span_of("DATA\r\n"));
        break;
    case SES_CONTENT:
        data_scan_init(&s->scan);
        s->chunked = false;
        break;
    case SES_CHUNK:
        return enter_chunk(s);
    case SES_DISCARD:
        s->chunked = true;
        return session_chunk_over(s);
    case SES_SWALLOW:
        enter_swallow(s, event);
        break;
    case SES_LOST:
        /* Whether the MX took it nobody knows: the client tries again. */
        if ((from == SES_FINAL || from == SES_CHUNK_REPLY) && event == SEV_MX_LOST)
            session_reply(s, REPLY_UPSTREAM_LOST_DATA);
        if (event == SEV_TOO_LATE) {
            s->ops->forget(s->io);
            session_recipients_too_late(s);
        }
        session_end_transaction(s);
        if (from == SES_RECONNECT) /* it may still come about */
            s->ops->hang_up(s->io, HANG_UP_ABORT);
        session_hang_up(s, HANG_UP_ABORT);
        return s->client_gone ? SEV_CLIENT_GONE : SEV_NONE;
    case SES_QUIT:
        session_tell_mx(s, span_of("QUIT\r\n"));
        break;
    case SES_CLOSED:
        enter_closed(s, from, event);
        break;
    case SES_COMMAND:
        if (s->client_gone)
            return SEV_CLIENT_GONE;
        if (event == SEV_NO_REQUIREMENT && s->hand != SMTP_VERB_RCPT)
            return session_announce(s) ? SEV_NONE : SEV_MX_LOST;
        if (event == SEV_NO_REQUIREMENT)
            session_refuse_recipient(s, REPLY_POLICY_UNAVAILABLE);
        if (is_to_leave(s)) {
            session_reply(s, REPLY_SHUTDOWN);
            return SEV_GIVE_UP;
        }
        break;
    case SES_AUTH:
    case SES_AUTH_LINE:
    case SES_GREETING:
    case SES_REGREETING:
    case SES_VOID:
    case SES_CHUNK_REPLY:
    case SES_FINAL:
    case SES_REFUSED:
    case SES_STATES:
        break;
    }
    return SEV_NONE;
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
        event = enter(s, from, event);
    }
}

void
session_start(struct session *s)
{
    s->state = SES_CONNECT;
    s->ops->set_timer(s->io, state_timeout_ms(s));
    (void)enter(s, SES_CONNECT, SEV_NONE); /* only asks for the connection */
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
expects_reply(const struct session *s)
{
    switch (s->state) {
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

void
session_mx_input(struct session *s, struct span bytes)
{
    while (bytes.len && s->mx_up) {
        bool unasked = !expects_reply(s) && !smtp_reply_is_partial(&s->reader);
        struct smtp_reply reply;
        size_t used;
        enum result res;

        if (unasked && !may_be_unasked(bytes)) {
            lose_mx(s);
            break;
        }
        res = smtp_reply_read(&s->reader, bytes, &used, &reply);
        bytes = span_from(bytes, used);
        if (res == RES_AGAIN)
            continue; /* all of it was taken */
        if (res != RES_OK || (!expects_reply(s) && reply.code != 421))
            lose_mx(s); /* no SMTP, or nothing was asked (SMTP-032) */
        else
            session_serve_reply(s, &reply, bytes);
    }
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
    session_step(s, s->req ? SEV_REQUIREMENT : SEV_NO_REQUIREMENT);
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
    if (!is_to_leave(s))
        return;
    session_reply(s, REPLY_SHUTDOWN);
    session_step(s, SEV_GIVE_UP);
}
