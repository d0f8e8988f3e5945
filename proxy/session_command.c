#include "proxy/replies.h"
#include "proxy/session_impl.h"

#include <stdlib.h>

/* A malformed or misplaced command: answered, counted, and too many end the session (SMTP-015). */
void
session_reject(struct session *s, enum reply_row row)
{
    if (++s->bad_commands > SESSION_BAD_COMMANDS_MAX) {
        session_reply(s, REPLY_PROTOCOL_VIOLATION);
        session_step(s, SEV_CMD_BYE);
        return;
    }
    session_reply(s, row);
}

static void
violation(struct session *s)
{
    session_reply(s, REPLY_PROTOCOL_VIOLATION);
    session_step(s, SEV_CMD_BYE);
}

/* It cannot be served now; nothing is lost (REP-047). */
void
session_give_up(struct session *s)
{
    session_reply(s, REPLY_SHUTDOWN);
    session_step(s, SEV_GIVE_UP);
}

static void
on_ehlo(struct session *s, const struct smtp_command *cmd)
{
    char *name = strndup(cmd->argument.ptr, cmd->argument.len);

    if (!name) {
        session_give_up(s);
        return;
    }
    free(s->client_name);
    s->client_name = name;
    s->hand = cmd->verb;
    if (!s->mx_up) { /* nothing was said to the MX that comes next, whatever it says to this */
        session_end_transaction(s);
        s->greeted = false;
    }
    session_step(s, s->mx_up ? SEV_CMD_EHLO : SEV_NEW_CONNECTION);
}

/* DATA was refused here. What came behind it, in one read or another, would be message text that is
 * read as commands (PIPE-011). */
static void
data_refused(struct session *s, bool more)
{
    if (s->state == SES_COMMAND && (more || !s->ops->client_is_quiet(s->io)))
        violation(s);
}

/* more: bytes came behind the command. */
static void
on_data(struct session *s, bool more)
{
    if (!s->mail_open || s->chunked || s->mail_extensions & EHLO_BINARYMIME) { /* CHNK-008, 009 */
        session_reject(s, REPLY_BAD_SEQUENCE);
        data_refused(s, more);
        return;
    }
    if (s->accepted_count) {
        s->hand = SMTP_VERB_DATA;
        session_step(s, SEV_CMD_DATA);
        return;
    }
    session_reply(s, s->rcpt_seen ? REPLY_NO_RECIPIENTS : REPLY_NO_RECIPIENTS_YET);
    if (s->rcpt_seen)
        session_end_transaction(s);
    data_refused(s, more);
}

static void
on_rset(struct session *s)
{
    session_end_transaction(s);
    if (s->mx_up && s->mx_mail_open) {
        s->hand = SMTP_VERB_RSET;
        session_step(s, SEV_CMD_RSET);
        return;
    }
    session_reply(s, REPLY_OK);
}

static void
on_quit(struct session *s)
{
    s->hand = SMTP_VERB_QUIT;
    session_end_transaction(s);
    if (s->mx_up) {
        session_step(s, SEV_CMD_QUIT);
        return;
    }
    session_reply(s, REPLY_BYE);
    session_step(s, SEV_CMD_BYE);
}

static void
on_starttls(struct session *s)
{
    enum reply_row row = session_starttls(s);

    if (row != REPLY_NONE)
        session_reject(s, row);
}

static void
on_auth(struct session *s, const struct smtp_command *cmd)
{
    enum reply_row row = session_auth(s, cmd->argument);

    if (row != REPLY_NONE)
        session_reject(s, row);
}

static void
on_command(struct session *s, const struct smtp_command *cmd, bool more)
{
    if (cmd->error != REPLY_NONE && cmd->verb != SMTP_VERB_BDAT) {
        session_reject(s, cmd->error);
        return;
    }
    if (cmd->verb != SMTP_VERB_UNKNOWN && cmd->verb != SMTP_VERB_BDAT &&
        session_must_begin_tls(s, cmd->verb)) {
        session_reject(s, REPLY_STARTTLS_FIRST);
        if (cmd->verb == SMTP_VERB_DATA)
            data_refused(s, more);
        return;
    }
    switch (cmd->verb) {
    case SMTP_VERB_EHLO:
    case SMTP_VERB_HELO:
        on_ehlo(s, cmd);
        return;
    case SMTP_VERB_MAIL:
        session_mail(s, cmd);
        return;
    case SMTP_VERB_RCPT:
        session_rcpt(s, cmd);
        return;
    case SMTP_VERB_DATA:
        on_data(s, more);
        return;
    case SMTP_VERB_BDAT:
        session_bdat(s, cmd);
        return;
    case SMTP_VERB_RSET:
        on_rset(s);
        return;
    case SMTP_VERB_QUIT:
        on_quit(s);
        return;
    case SMTP_VERB_NOOP:
        session_reply(s, REPLY_OK);
        return;
    case SMTP_VERB_VRFY:
        session_reply(s, REPLY_VRFY);
        return;
    case SMTP_VERB_HELP:
        session_reply(s, REPLY_HELP);
        return;
    case SMTP_VERB_STARTTLS:
        on_starttls(s);
        return;
    case SMTP_VERB_AUTH:
        on_auth(s, cmd);
        return;
    case SMTP_VERB_EXPN:
    case SMTP_VERB_KNOWN:
        session_reject(s, REPLY_NOT_IMPLEMENTED);
        return;
    case SMTP_VERB_UNKNOWN:
        /* Another protocol's first line: HTTP, TLS (PRX-052). */
        if (!s->client_name && s->bad_commands == 0) {
            session_reply(s, REPLY_UNKNOWN_COMMAND);
            violation(s);
            return;
        }
        session_reject(s, REPLY_UNKNOWN_COMMAND);
        return;
    }
}

/* SES_LOST: whatever comes gets the reply that is owed, and that is the end (PRX-012, SMTP-036). */
static void
answer_lost(struct session *s)
{
    if (buffer_len(&s->parting)) {
        session_say(s, buffer_span(&s->parting));
        buffer_clear(&s->parting);
    } else {
        session_reply(s, REPLY_UPSTREAM_LOST);
    }
    session_step(s, SEV_CMD_BYE);
}

/* SES_REFUSED: the greeting was a refusal; only QUIT makes sense (SMTP-037, RFC 5321 3.1). */
static void
answer_refused(struct session *s, const struct smtp_command *cmd)
{
    if (cmd->verb == SMTP_VERB_QUIT && cmd->error == REPLY_NONE)
        on_quit(s);
    else
        session_reject(s, REPLY_BAD_SEQUENCE);
}

static size_t
take_line(struct session *s, struct span input)
{
    struct smtp_command cmd;
    struct span line;
    size_t used = 0;
    enum result res;

    /* A TLS ClientHello, or something binary, where SMTP should begin (PRX-052). */
    if (!s->client_name && !s->skipping && (unsigned char)input.ptr[0] < ' ' &&
        input.ptr[0] != '\r' && input.ptr[0] != '\n' && input.ptr[0] != '\t') {
        violation(s);
        return input.len;
    }
    res = s->info.client_rule && s->info.client_rule->accept_lf
              ? smtp_line_take_lf(input, &s->skipping, &line, &used)
              : smtp_line_take(input, &s->skipping, &line, &used);
    if (res == RES_AGAIN)
        return 0;
    if (res == RES_LIMIT && s->skipping)
        return used;
    if (s->state == SES_LOST) {
        answer_lost(s);
        return used;
    }
    if (s->state == SES_AUTH_LINE) { /* what cannot be passed on ends the exchange (RFC 4954 4) */
        session_auth_line(s, res == RES_OK ? line : span_of("*"));
        return used;
    }
    if (res != RES_OK) {
        session_reject(s, res == RES_LIMIT ? REPLY_LINE_TOO_LONG : REPLY_BAD_CHARACTER);
        return used;
    }
    smtp_command_parse(line, session_utf8_is_offered(s), &cmd);
    if (s->state == SES_REFUSED)
        answer_refused(s, &cmd);
    else
        on_command(s, &cmd, used < input.len);
    return used;
}

static size_t
serve_line(struct session *s, struct span input)
{
    enum session_state from = s->state;
    size_t used = take_line(s, input);

    if (used == 0 || s->skipping || s->state != from)
        return used;
    if (s->state == SES_COMMAND &&
        session_is_to_leave(s)) { /* a transaction ended here (PRX-048) */
        session_give_up(s);
        return used;
    }
    /* Answered without the MX: the client's time begins anew, with whole commands (SMTP-051). */
    s->ops->set_timer(s->io, s->config->client_timeout_ms);
    return used;
}

/* Serve the front of input as the state wants it; how many bytes were used. */
static size_t
serve_some(struct session *s, struct span input)
{
    if (session_is_streaming(s))
        return session_serve_content(s, input);
    return s->state == SES_GATHER ? session_serve_ahead(s, input) : serve_line(s, input);
}

size_t
session_serve(struct session *s, struct span input)
{
    enum session_state before = s->state;
    size_t used = 0;

    while (used < input.len && session_wants_client(s)) {
        size_t n = serve_some(s, span_from(input, used));

        /* Nothing used: a line, or the octet behind the dot, is not complete; or the text turned
         * out ambiguous, and the rest is to be swallowed. */
        if (n == 0 && s->state != SES_SWALLOW)
            break;
        used += n;
    }
    if (s->state == SES_GATHER)
        session_step(s, SEV_SEND);
    /* The client's patience is measured from what it said last, also where that changed no state
     * (SMTP-051), and from its last octet while it sends text that goes nowhere (SMTP-054). */
    if (used && s->state == before && session_wants_client(s) && before != SES_CONTENT &&
        before != SES_CHUNK && !s->skipping)
        s->ops->set_timer(s->io, s->config->client_timeout_ms);
    /* What stands behind STARTTLS in clear is dropped (PRX-043). */
    return s->state == SES_CLOSED || s->state == SES_CLIENT_TLS ? input.len : used;
}
