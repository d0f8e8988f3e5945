/* proxy/session_enter.c: what entering a state does. */
#include "proxy/session_impl.h"

#include <stdio.h>

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
    s->verdict.detail = ""; /* it may be of the old one */
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
    struct span line[] = { span_of(verb), span_of(s->client_name), span_of("\r\n") };

    session_tell_mx_all(s, line, sizeof line / sizeof *line);
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

/* Nobody says what the recipient's domain demands. Where the roll-out or an override would not have
 * it blocked, its mail is not put off either: it goes as without a policy, and the record says so
 * (PRX-041). NULL: it would, or there is no memory. */
static struct requirement *
spared(const struct session *s)
{
    const struct rules *rules = &s->config->rules;
    const struct smart_host *host = rules_smart_host(rules, &s->info.destination);
    const char *domain = host && *s->rcpt_domain ? host->name : s->rcpt_domain;
    const struct rule *rule =
        rules_find(rules, domain, &s->info.destination, &s->info.client, clock_wall_s(&s->clock));
    bool monitored = rule && rule->action == RULE_MONITOR;
    struct requirement *req = NULL;

    if (s->hand == SMTP_VERB_RCPT && (monitored || !rollout_enforces(&rules->rollout, domain)))
        req = requirement_new();
    if (!req)
        return NULL;
    memcpy(req->domain, domain, strnlen(domain, HOSTNAME_MAX));
    req->tls_floor = s->config->tls_opportunistic_minimum;
    req->matched = MX_MATCH_CERTIFICATE;
    req->monitored = req->defer = true;
    if (monitored) {
        req->local.action = RULE_MONITOR;
        memcpy(req->local.id, rule->id, sizeof req->local.id);
    }
    return req;
}

enum session_event
session_answered(struct session *s)
{
    if (!s->req)
        s->req = spared(s);
    return s->req ? SEV_REQUIREMENT : SEV_NO_REQUIREMENT;
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
        return session_answered(s);
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
    bool bounce = buffer_len(&s->bounce_line) && !(s->mx_keywords & EHLO_REQUIRETLS);
    struct span lines[] = { buffer_span(bounce ? &s->bounce_line : &s->mail_line),
                            buffer_span(&s->group) };

    if (s->mail_sent)
        return SEV_REPLY_OK; /* further recipients of the same transaction */
    if (s->mx_keywords & EHLO_PIPELINING) {
        session_tell_mx_all(s, lines, sizeof lines / sizeof *lines);
        buffer_clear(&s->group);
    } else {
        session_tell_mx(s, lines[0]);
    }
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
    session_recipients_failed(s, row);
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

/* Draining: between transactions the client is sent away (PRX-048). */
bool
session_is_to_leave(const struct session *s)
{
    return s->draining && !s->mail_open && (s->transaction > 0 || !s->gently);
}

static enum session_event
enter_lost(struct session *s, enum session_state from, enum session_event event)
{
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
}

static enum session_event
enter_command(struct session *s, enum session_event event)
{
    if (s->client_gone)
        return SEV_CLIENT_GONE;
    if (event == SEV_NO_REQUIREMENT && s->hand != SMTP_VERB_RCPT)
        return session_announce(s) ? SEV_NONE : SEV_MX_LOST;
    if (event == SEV_NO_REQUIREMENT)
        session_refuse_recipient(s, REPLY_POLICY_UNAVAILABLE);
    if (!session_is_to_leave(s))
        return SEV_NONE;
    session_reply(s, REPLY_SHUTDOWN);
    return SEV_GIVE_UP;
}

enum session_event
session_enter(struct session *s, enum session_state from, enum session_event event)
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
        return enter_lost(s, from, event);
    case SES_QUIT:
        session_tell_mx(s, span_of("QUIT\r\n"));
        break;
    case SES_CLOSED:
        enter_closed(s, from, event);
        break;
    case SES_COMMAND:
        return enter_command(s, event);
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
