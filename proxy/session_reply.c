#include "proxy/session_impl.h"

#include <stdio.h>

/* What a reply means to the transition function, by its first digit (SMTP-031). */
static enum session_event
reply_event(const struct session *s, unsigned code)
{
    bool wants_220 = s->state == SES_GREETING || s->state == SES_REGREETING ||
                     s->state == SES_STARTTLS || s->state == SES_PASS_TLS;

    if (code == 421 && s->state == SES_GREETING)
        return SEV_REPLY_LATER; /* a refusal like others: the client says QUIT (SMTP-037) */
    if (code == 421)
        return SEV_REPLY_CLOSING;
    if (wants_220 && code == 220)
        return SEV_REPLY_READY;
    switch (code / 100) {
    case 2:
        return SEV_REPLY_OK;
    case 3:
        return SEV_REPLY_MORE;
    case 4:
        return SEV_REPLY_LATER;
    default:
        return SEV_REPLY_NO;
    }
}

/* What the MX calls itself (RFC 5321 4.1.1.1): the first word behind the code, or nothing. */
static void
keep_name(struct session *s, const struct smtp_reply *reply)
{
    struct span line = span_first(reply->text, span_find(reply->text, '\r'));
    struct span name = span_from(line, line.len < 4 ? line.len : 4);
    size_t len = 0;

    name = span_first(name, span_find(name, ' '));
    while (len < name.len && name.ptr[len] > ' ' && name.ptr[len] <= '~')
        len++;
    if (len != name.len || len > OBSERVATION_HELO_MAX)
        len = 0;
    memcpy(s->obs->helo, name.ptr, len);
    s->obs->helo[len] = '\0';
}

/* A list under TLS, the only one that counts (TLS-007). It is told to whoever comes to this MX next
 * once a verdict says what it is worth. */
static void
keep_list(struct session *s, const struct smtp_reply *reply)
{
    s->mx_keywords = ehlo_keywords(reply) & EHLO_UNDER_TLS;
    s->obs->requiretls_offered = s->mx_keywords & EHLO_REQUIRETLS;
    buffer_clear(&s->mx_list);
    if (ehlo_filter(reply, EHLO_UNDER_TLS, true, &s->mx_list) != RES_OK)
        buffer_clear(&s->mx_list); /* then nobody is told */
}

/* What there is to show of in place of a list that came in clear and may be forged: the last one
 * under TLS (PRX-029). Under TLS, or with none remembered, the reply itself. */
static struct smtp_reply
list_to_announce(struct session *s, const struct smtp_reply *reply, bool *out_secure)
{
    struct span remembered = span_of("");

    if (s->obs->stage != TLS_STAGE_DONE)
        remembered = s->ops->recall_list(s->io);
    *out_secure = remembered.len || s->obs->stage == TLS_STAGE_DONE;
    return remembered.len ? ehlo_reread(remembered) : *reply;
}

/* What the client is shown of the keyword list of this connection. False: no memory. */
static bool
announce(struct session *s, const struct smtp_reply *reply)
{
    bool under_tls = s->obs->stage == TLS_STAGE_DONE, secure;
    struct smtp_reply list = list_to_announce(s, reply, &secure);
    struct buffer shown;
    enum result res;

    s->announced = s->helo ? 0
                           : ehlo_offer(ehlo_keywords(&list), s->config->chunking) |
                                 session_starttls_shown(s) |
                                 session_requiretls_shown(s, ehlo_keywords(&list), secure) |
                                 session_auth_shown(s);
    buffer_init(&shown, SMTP_REPLY_MAX_BYTES);
    /* A SIZE that came in clear may be forged; its number is not shown (PRX-029). */
    res = s->helo
              ? ehlo_as_helo(reply, &shown)
              : ehlo_announce(reply, &list, s->announced,
                              s->announced & (EHLO_STARTTLS | EHLO_REQUIRETLS), under_tls, &shown);
    if (res == RES_OK)
        session_say(s, buffer_span(&shown));
    buffer_clear(&shown);
    return res == RES_OK;
}

bool
session_announce(struct session *s)
{
    bool under_tls = s->obs->stage == TLS_STAGE_DONE && buffer_len(&s->mx_list);
    struct smtp_reply reply = ehlo_reread(buffer_span(under_tls ? &s->mx_list : &s->ehlo_reply));
    bool done = announce(s, &reply);

    buffer_clear(&s->ehlo_reply);
    return done;
}

/* A host whose identity is configured needs no recipient to be known: it is asked for TLS before
 * the client hears its list (PRX-029). False: it is not one, or there is nothing to ask it for. */
static bool
is_identity_known(struct session *s, const struct smtp_reply *reply)
{
    const struct smart_host *host = rules_smart_host(&s->config->rules, &s->info.destination);

    if (!host || s->info.client_starttls == CLIENT_STARTTLS_PASSTHROUGH ||
        s->obs->stage != TLS_STAGE_CLEAR || !s->obs->starttls_offered)
        return false;
    buffer_clear(&s->ehlo_reply);
    if (buffer_append(&s->ehlo_reply, reply->text) != RES_OK)
        return false; /* no memory: at the first recipient, as usual */
    memcpy(s->rcpt_domain, host->name, sizeof s->rcpt_domain);
    s->rcpt_without_policy = false;
    s->rcpt_recheck = RECHECK_NONE;
    return true;
}

static enum session_event
on_ehlo(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    if (event == SEV_REPLY_LATER)
        session_say(s, reply->text);
    if (event != SEV_REPLY_OK)
        return event;
    s->mx_keywords = ehlo_keywords(reply);
    if (s->obs->stage == TLS_STAGE_DONE)
        keep_list(s, reply);
    if (s->obs->stage == TLS_STAGE_CLEAR)
        s->obs->starttls_offered = s->mx_keywords & EHLO_STARTTLS;
    s->helo = s->hand == SMTP_VERB_HELO;
    s->greeted = s->ever_greeted = true;
    s->mx_mail_open = false;
    session_end_transaction(s);
    s->mail_extensions = 0;
    if (is_identity_known(s, reply))
        return SEV_SMART_HOST;
    return announce(s, reply) ? SEV_REPLY_OK : SEV_MX_LOST;
}

static enum session_event
on_ehlo_under_tls(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    if (event == SEV_REPLY_OK)
        keep_list(s, reply);
    return event;
}

static enum session_event
on_ehlo_again(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    if (event == SEV_REPLY_OK) {
        s->mx_keywords = ehlo_keywords(reply);
        s->obs->starttls_offered = s->mx_keywords & EHLO_STARTTLS;
    }
    return event;
}

/* One line, whatever the MX has added: behind a client's EHLO more would be keywords. False: no
 * memory. */
static bool
say_helo(struct session *s, const struct smtp_reply *reply)
{
    struct buffer line;
    enum result res;

    buffer_init(&line, SMTP_REPLY_MAX_BYTES);
    res = ehlo_as_helo(reply, &line);
    if (res == RES_OK)
        session_say(s, buffer_span(&line));
    buffer_clear(&line);
    return res == RES_OK;
}

/* The MX speaks no ESMTP: no keywords, and no TLS (PRX-047). */
static enum session_event
on_helo(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    if (event == SEV_REPLY_OK) {
        if (!say_helo(s, reply))
            return SEV_MX_LOST;
        if (s->obs->stage == TLS_STAGE_CLEAR)
            s->obs->starttls_offered = false; /* whatever an earlier EHLO was told */
        s->mx_keywords = 0;
        s->announced = 0;
        s->helo = true;
        s->greeted = true;
        s->mx_mail_open = false;
        session_end_transaction(s);
    } else if (event != SEV_REPLY_MORE) { /* no reply to HELO */
        session_say(s, reply->text);
    }
    return event;
}

/* How many replies the MX owes, the one that is being served included (PIPE-008). */
static size_t
replies_due(const struct session *s)
{
    if (s->state == SES_RCPT || s->state == SES_VOID)
        return s->flight_count;
    if (s->state == SES_MAIL && buffer_len(&s->group) == 0) /* they went with it */
        return 1 + s->flight_count;
    return 1;
}

/* A reply that is not due would shift all that follow, up to a false 250 (SMTP-032). But a 421 may
 * come at any time. */
static bool
may_follow(const struct session *s, struct span more)
{
    return replies_due(s) > 1 ||
           span_equal(span_first(more, 3), span_first(span_of("421"), more.len));
}

/* What the MX said to STARTTLS, the first line of it: code and text (RPT-040), in printable ASCII
 * (RPT-041). */
static void
keep_refusal(struct observation *obs, struct span reply)
{
    size_t len = 0;

    for (; len < reply.len && len < sizeof obs->failure_reason - 1; len++) {
        char c = reply.ptr[len];

        if (c == '\r' || c == '\n')
            break;
        obs->failure_reason[len] = c >= 0x20 && c < 0x7f ? c : '?';
    }
    obs->failure_reason[len] = '\0';
}

static enum session_event
on_starttls(struct session *s, const struct smtp_reply *reply, enum session_event event,
            struct span more)
{
    s->obs->starttls_code = reply->code;
    if (event == SEV_REPLY_READY && (more.len || !s->ops->mx_is_quiet(s->io))) {
        /* Clear text behind the 220, even part of a line (RFC 3207 6, TLS-008). */
        s->obs->stage = TLS_STAGE_FAILED;
        s->obs->failure = TLS_FAILURE_INJECTED;
        snprintf(s->obs->failure_reason, sizeof s->obs->failure_reason, "plaintext-after-starttls");
        snprintf(s->obs->sni, sizeof s->obs->sni, "%s", requirement_sni(s->req));
        s->obs->trust = s->req->local.trust;
        s->obs->floor = session_floor(s);
        session_hang_up(s, HANG_UP_ABORT);
        event = SEV_INJECTED;
    } else if (more.len && !may_follow(s, more)) {
        event = SEV_MX_LOST;
    } else if (event != SEV_REPLY_READY) {
        s->obs->stage = TLS_STAGE_REFUSED;
        s->obs->failure = TLS_FAILURE_NONE;
        keep_refusal(s->obs, reply->text);
    }
    return event;
}

/* PRX-014. */
static void
refuse_with_mail(struct session *s)
{
    session_say(s, buffer_span(&s->mail_refusal));
    session_recipient_rejected(s, buffer_span(&s->mail_refusal));
}

/* The held MAIL is refused: that is the answer to this recipient and every later one. A 552 would
 * be read as 452 at RCPT and retried for days (PRX-014, RFC 5321 4.5.3.1.10). */
static enum session_event
on_mail_refused(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    size_t at = 0;

    buffer_clear(&s->mail_refusal);
    if (buffer_append(&s->mail_refusal, reply->text) != RES_OK)
        return SEV_MX_LOST; /* no memory: a 421 answers the recipient */
    if (reply->code == 552) {
        char *text = s->mail_refusal.mem + s->mail_refusal.start;

        while (at + 2 < reply->text.len) { /* the third digit of every line */
            struct span rest = span_from(reply->text, at);

            text[at + 2] = '0';
            at += span_find(rest, '\n') + 1;
        }
    }
    if (buffer_len(&s->group) == 0) /* their replies come too, and mean nothing */
        return SEV_MAIL_REFUSED;
    buffer_clear(&s->group);
    while (session_land(s))
        refuse_with_mail(s);
    return event;
}

static enum session_event
on_mail(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    if (event == SEV_REPLY_LATER || event == SEV_REPLY_NO)
        return on_mail_refused(s, reply, event);
    if (event == SEV_REPLY_OK)
        s->mail_sent = s->mx_mail_open = true;
    return event;
}

/* The reply to a recipient behind a MAIL that was refused. */
static enum session_event
on_void(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    (void)reply;
    if (event == SEV_REPLY_MORE || !session_land(s))
        return SEV_MX_LOST;
    s->mx_mail_open |= event == SEV_REPLY_OK; /* who knows what it has in hand: RSET before more */
    refuse_with_mail(s);
    return s->flights ? SEV_NONE : event;
}

static enum session_event
on_rcpt(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    if (event == SEV_REPLY_MORE || !session_land(s)) /* no reply to RCPT */
        return SEV_MX_LOST;
    session_say_grouped(s, reply->text);
    if (event == SEV_REPLY_OK)
        session_recipient_accepted(s, reply->text);
    else
        session_recipient_rejected(s, reply->text);
    return s->flights ? SEV_NONE : event;
}

static enum session_event
on_data(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    if (event == SEV_REPLY_OK) /* a 2xx before the end of data (SMTP-032) */
        return SEV_MX_LOST;
    session_say(s, reply->text);
    if (event != SEV_REPLY_MORE) {
        session_message_over(s, false, session_chomp(reply->text));
        session_end_transaction(s);
    }
    session_step(s, event);
    if (s->state == SES_COMMAND && /* refused, and text comes behind it (PIPE-011) */
        (buffer_len(&s->client_in) || !s->ops->client_is_quiet(s->io))) {
        session_reply(s, REPLY_PROTOCOL_VIOLATION);
        return SEV_GIVE_UP;
    }
    return SEV_NONE;
}

/* The reply to the end of data, or to a chunk before it. */
static enum session_event
on_final(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    bool early = s->ops->mx_backlog(s->io) > 0, final = s->state == SES_FINAL;

    /* Nor is a success one that came before the end of data has left (SMTP-032). */
    if (event == SEV_REPLY_MORE || (event == SEV_REPLY_OK && early))
        return SEV_MX_LOST;
    session_say(s, reply->text);
    if (final || event != SEV_REPLY_OK) {
        s->mx_mail_open &= !final; /* a refused chunk leaves MAIL open: RSET before the next */
        session_message_over(s, final && event == SEV_REPLY_OK, session_chomp(reply->text));
        session_end_transaction(s);
    }
    return early ? SEV_EARLY_REFUSAL : event;
}

/* The MX goes away (RFC 5321 3.8): its 421 answers the command in hand, or, unasked, the next one
 * (SMTP-036). */
static void
on_closing(struct session *s, const struct smtp_reply *reply)
{
    if (s->state == SES_COMMAND) {
        buffer_clear(&s->parting);
        if (buffer_append(&s->parting, reply->text) != RES_OK)
            buffer_clear(&s->parting); /* then a 421 of ours */
    } else if (s->state == SES_CLIENT_TLS || s->state == SES_REFUSED) {
        session_hang_up(s, HANG_UP_ABORT); /* nobody to tell: EHLO connects again, QUIT is ours */
    } else {
        session_say(s, reply->text);
        session_recipients_dismissed(s, reply->text);
        session_message_over(s, false, session_chomp(reply->text));
    }
    session_step(s, SEV_REPLY_CLOSING);
}

/* Message text is on its way and the MX answers already: its refusal waits for the client's end of
 * data; whatever else it says breaks the connection. */
static enum session_event
on_early(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    buffer_clear(&s->parting);
    if ((event == SEV_REPLY_LATER || event == SEV_REPLY_NO) &&
        buffer_append(&s->parting, reply->text) != RES_OK)
        return SEV_MX_LOST;
    return event;
}

static enum session_event
on_greeting(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    if (event == SEV_REPLY_READY || event == SEV_REPLY_LATER || event == SEV_REPLY_NO)
        session_say(s, reply->text);
    return event;
}

static enum session_event
on_greeting_again(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    (void)reply;
    return event == SEV_REPLY_READY && s->hand != SMTP_VERB_RCPT ? SEV_RESUME_EHLO : event;
}

/* The reply to RSET before MAIL. */
static enum session_event
on_clean(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    (void)reply;
    s->mx_mail_open = event != SEV_REPLY_OK;
    return event;
}

static enum session_event
on_discard(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    (void)s, (void)reply;
    return event == SEV_REPLY_CLOSING ? event : SEV_MX_LOST;
}

static enum session_event
on_auth(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    s->authenticated |= event == SEV_REPLY_OK;
    session_say(s, reply->text);
    return event;
}

/* The reply to the client's own RSET. */
static enum session_event
on_pass(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    if (event == SEV_REPLY_OK)
        s->mx_mail_open = false;
    if (event != SEV_REPLY_MORE)
        session_say(s, reply->text);
    return event;
}

static enum session_event
on_quit(struct session *s, const struct smtp_reply *reply, enum session_event event)
{
    if (event == SEV_REPLY_MORE)
        return SEV_MX_LOST; /* then the answer is ours */
    session_say(s, reply->text);
    return event;
}

/* What a reply does in the state that waits for it. Returns what it amounts to; SEV_NONE: the next
 * reply is waited for, or all is done. */
typedef enum session_event serve_reply(struct session *s, const struct smtp_reply *reply,
                                       enum session_event event);

/* A state that does not stand here asked nothing: whatever is said in it breaks the connection.
 * STARTTLS and PASS_TLS look at what comes behind the reply as well. */
static serve_reply *const by_state[SES_STATES] = {
    [SES_GREETING] = on_greeting, [SES_REGREETING] = on_greeting_again,
    [SES_EHLO] = on_ehlo,         [SES_EHLO_TLS] = on_ehlo_under_tls,
    [SES_REEHLO] = on_ehlo_again, [SES_HELO] = on_helo,
    [SES_AUTH] = on_auth,         [SES_CLEAN] = on_clean,
    [SES_MAIL] = on_mail,         [SES_RCPT] = on_rcpt,
    [SES_VOID] = on_void,         [SES_DATA] = on_data,
    [SES_CONTENT] = on_early,     [SES_CHUNK] = on_early,
    [SES_DISCARD] = on_discard,   [SES_CHUNK_REPLY] = on_final,
    [SES_FINAL] = on_final,       [SES_PASS] = on_pass,
    [SES_QUIT] = on_quit,
};

static bool
is_to_ehlo(enum session_state state)
{
    return state == SES_EHLO || state == SES_HELO || state == SES_EHLO_TLS || state == SES_REEHLO;
}

void
session_serve_reply(struct session *s, const struct smtp_reply *reply, struct span more)
{
    enum session_event event = reply_event(s, reply->code);

    /* What comes behind STARTTLS's reply is on_starttls()'s matter. */
    if (more.len && s->state != SES_STARTTLS && !may_follow(s, more)) {
        session_step(s, SEV_MX_LOST);
        return;
    }
    if (event == SEV_REPLY_CLOSING && !session_is_streaming(s)) {
        on_closing(s, reply);
        return;
    }
    if (event == SEV_REPLY_OK && is_to_ehlo(s->state))
        keep_name(s, reply);
    if (s->state == SES_STARTTLS)
        event = on_starttls(s, reply, event, more);
    else if (s->state == SES_PASS_TLS)
        event = session_pass_tls(s, reply, event, more);
    else
        event = by_state[s->state] ? by_state[s->state](s, reply, event) : SEV_MX_LOST;
    session_step(s, event);
}
