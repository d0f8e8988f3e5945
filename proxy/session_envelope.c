/* proxy/session_envelope.c: who sends and to whom: MAIL, RCPT, and recipients that come together.
 */
#include "proxy/session_impl.h"

/* Parameters whose extension was not shown to this client are refused here (SMTP-026); ones that
 * nobody knows are left to the MX. Returns the extensions used, or false in *ok. */
static unsigned
extensions_used(const struct session *s, const struct smtp_command *cmd, bool *ok)
{
    unsigned used = 0;

    *ok = true;
    for (size_t i = 0; i < cmd->parameter_count; i++) {
        const char *name = smtp_parameter_extension(cmd->verb, &cmd->parameters[i]);
        unsigned bit = ehlo_keyword_of(name);

        if (*name == '\0' && !s->helo)
            continue;
        if (!(s->announced & bit))
            *ok = false;
        used |= bit;
    }
    return used;
}

static enum result
keep_line(struct buffer *line, const struct smtp_command *cmd)
{
    char text[SESSION_LINE_BYTES];
    size_t len = smtp_command_write(cmd, text, sizeof text);

    buffer_clear(line);
    return len ? buffer_append(line, span_make(text, len)) : RES_LIMIT;
}

static bool
is_bounce(const struct smtp_command *cmd, unsigned used)
{
    return cmd->path.null && used & EHLO_REQUIRETLS;
}

/* The line that goes upstream, without REQUIRETLS (RTLS-006). */
static enum result
keep_bounce_line(struct buffer *line, const struct smtp_command *cmd)
{
    struct smtp_command bare = *cmd;

    bare.parameter_count = 0;
    for (size_t i = 0; i < cmd->parameter_count; i++)
        if (ehlo_keyword_of(smtp_parameter_extension(cmd->verb, &cmd->parameters[i])) !=
            EHLO_REQUIRETLS)
            bare.parameters[bare.parameter_count++] = cmd->parameters[i];
    return keep_line(line, &bare);
}

/* A new transaction: TLS that failed before is tried again, also where its last one went on in
 * clear (TLS-031). */
static void
try_tls_anew(struct session *s)
{
    s->mx_stale = !s->mx_up;
    if (s->obs->stage != TLS_STAGE_CLEAR)
        return;
    s->obs->failure = TLS_FAILURE_NONE;
    s->obs->failure_reason[0] = s->obs->sni[0] = '\0';
    s->obs->floor = s->obs->version = 0;
}

void
session_mail(struct session *s, const struct smtp_command *cmd)
{
    bool offered;
    unsigned used = extensions_used(s, cmd, &offered);

    if (!s->greeted || s->mail_open) {
        session_reject(s, REPLY_BAD_SEQUENCE);
        return;
    }
    if (!offered) {
        session_reject(s, REPLY_PARAMETER_UNKNOWN);
        return;
    }
    if (!s->ops->can_record(s->io) || keep_line(&s->mail_line, cmd) != RES_OK ||
        (is_bounce(cmd, used) && keep_bounce_line(&s->bounce_line, cmd) != RES_OK)) {
        session_give_up(s);
        return;
    }
    s->transaction++;
    s->mail_open = true;
    s->mail_extensions = used;
    s->sends_reports = report_senders_have(&s->config->report_senders, &s->info.client,
                                           cmd->path.local, cmd->path.domain);
    try_tls_anew(s);
    session_accept_sender(s);
}

/* The recipient is in hand from now on. RES_AGAIN: nobody could be told of it. */
static enum result
take_recipient(struct session *s, const struct smtp_command *cmd, unsigned used)
{
    enum result res = s->ops->can_record(s->io) ? keep_line(&s->rcpt_line, cmd) : RES_AGAIN;

    if (res != RES_OK)
        return res;
    memcpy(s->rcpt_domain, cmd->path.domain, sizeof s->rcpt_domain);
    s->rcpt_without_policy = cmd->path.literal || cmd->path.postmaster;
    s->rcpt_extensions = used;
    s->rcpt_in_hand = true;
    s->rcpt_recheck = RECHECK_NONE;
    s->rcpt_reconnects = 0;
    s->hand = SMTP_VERB_RCPT;
    return RES_OK;
}

void
session_rcpt(struct session *s, const struct smtp_command *cmd)
{
    bool offered;
    unsigned used = extensions_used(s, cmd, &offered);

    if (!s->mail_open || s->chunked) { /* text has gone to those before it already */
        session_reject(s, REPLY_BAD_SEQUENCE);
        return;
    }
    if (!offered) {
        session_reject(s, REPLY_PARAMETER_UNKNOWN);
        return;
    }
    s->rcpt_seen++;
    if (buffer_len(&s->mail_refusal)) { /* PRX-014 */
        session_say(s, buffer_span(&s->mail_refusal));
        return;
    }
    if (s->accepted_count >= s->config->recipients_max) {
        session_reply(s, REPLY_TOO_MANY_RECIPIENTS);
        return;
    }
    if (take_recipient(s, cmd, used) != RES_OK) {
        session_give_up(s);
        return;
    }
    s->rcpt_until_ms = clock_mono_ms(&s->clock) + s->config->recipient_budget_ms;
    session_step(s, SEV_CMD_RCPT);
}

/* May the command have UTF-8 in its addresses? MAIL asks for it where it was offered, and then its
 * recipients may (EXT-005). */
bool
session_utf8_is_offered(const struct session *s)
{
    return (s->mail_open ? s->mail_extensions : s->announced) & EHLO_SMTPUTF8;
}

/* May the command join the group as far as its form goes? */
static bool
may_join(const struct session *s, const struct smtp_command *cmd, unsigned *out_used)
{
    bool offered;

    if (cmd->verb != SMTP_VERB_RCPT || cmd->error != REPLY_NONE || cmd->path.domain[0] == '\0')
        return false;
    *out_used = extensions_used(s, cmd, &offered);
    return offered && s->flight_count < SESSION_GROUP_MAX &&
           s->accepted_count + s->flight_count < s->config->recipients_max;
}

/* SES_GATHER: a recipient that the client pipelined behind one that was allowed goes with it, if
 * its verdict is at hand and allows it. Whatever else comes stays until the replies to those before
 * it have come, so that replies keep the order of commands (PIPE-002); then it is served as usual.
 */
size_t
session_serve_ahead(struct session *s, struct span input)
{
    struct smtp_command cmd;
    bool skipping = false;
    struct span line;
    unsigned used_extensions;
    size_t used;

    if (smtp_line_take(input, &skipping, &line, &used) != RES_OK)
        return 0;
    smtp_command_parse(line, session_utf8_is_offered(s), &cmd);
    if (!may_join(s, &cmd, &used_extensions) || take_recipient(s, &cmd, used_extensions) != RES_OK)
        return 0;
    session_step(s, SEV_CMD_RCPT);
    return s->state == SES_GATHER ? used : 0;
}
