#include "proxy/replies.h"
#include "proxy/session_impl.h"

#include <stdlib.h>

/* A malformed or misplaced command: answered, counted, and too many end the session (SMTP-015). */
static void
reject(struct session *s, enum reply_row row)
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
static void
give_up(struct session *s)
{
    session_reply(s, REPLY_SHUTDOWN);
    session_step(s, SEV_GIVE_UP);
}

static void
on_ehlo(struct session *s, const struct smtp_command *cmd)
{
    char *name = strndup(cmd->argument.ptr, cmd->argument.len);

    if (!name) {
        give_up(s);
        return;
    }
    free(s->client_name);
    s->client_name = name;
    s->hand = cmd->verb;
    session_step(s, s->mx_up ? SEV_CMD_EHLO : SEV_NEW_CONNECTION);
}

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

static void
on_mail(struct session *s, const struct smtp_command *cmd)
{
    bool offered;
    unsigned used = extensions_used(s, cmd, &offered);

    if (!s->greeted || s->mail_open) {
        reject(s, REPLY_BAD_SEQUENCE);
        return;
    }
    if (!offered) {
        reject(s, REPLY_PARAMETER_UNKNOWN);
        return;
    }
    if (!s->ops->can_record(s->io) || keep_line(&s->mail_line, cmd) != RES_OK ||
        (is_bounce(cmd, used) && keep_bounce_line(&s->bounce_line, cmd) != RES_OK)) {
        give_up(s);
        return;
    }
    s->transaction++;
    s->mail_open = true;
    s->mail_extensions = used;
    try_tls_anew(s);
    session_reply(s, REPLY_SENDER_OK);
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

static void
on_rcpt(struct session *s, const struct smtp_command *cmd)
{
    bool offered;
    unsigned used = extensions_used(s, cmd, &offered);

    if (!s->mail_open || s->chunked) { /* text has gone to those before it already */
        reject(s, REPLY_BAD_SEQUENCE);
        return;
    }
    if (!offered) {
        reject(s, REPLY_PARAMETER_UNKNOWN);
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
        give_up(s);
        return;
    }
    s->rcpt_until_ms = clock_mono_ms(&s->clock) + s->config->recipient_budget_ms;
    session_step(s, SEV_CMD_RCPT);
}

/* May the command have UTF-8 in its addresses? MAIL asks for it where it was offered, and then its
 * recipients may (EXT-005). */
static bool
utf8_is_offered(const struct session *s)
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
static size_t
serve_ahead(struct session *s, struct span input)
{
    struct smtp_command cmd;
    bool skipping = false;
    struct span line;
    unsigned used_extensions;
    size_t used;

    if (smtp_line_take(input, &skipping, &line, &used) != RES_OK)
        return 0;
    smtp_command_parse(line, utf8_is_offered(s), &cmd);
    if (!may_join(s, &cmd, &used_extensions) || take_recipient(s, &cmd, used_extensions) != RES_OK)
        return 0;
    session_step(s, SEV_CMD_RCPT);
    return s->state == SES_GATHER ? used : 0;
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
        reject(s, REPLY_BAD_SEQUENCE);
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

/* Why no octet of this BDAT may go upstream; REPLY_NONE: it may. */
static enum reply_row
refuse_chunk(const struct session *s)
{
    if (session_must_begin_tls(s, SMTP_VERB_BDAT))
        return REPLY_STARTTLS_FIRST;
    if (!(s->announced & EHLO_CHUNKING))
        return REPLY_NOT_IMPLEMENTED;
    if (!s->mail_open) /* also behind LAST, and behind a chunk that was refused (CHNK-007, 008) */
        return REPLY_BAD_SEQUENCE;
    if (!s->accepted_count)
        return s->rcpt_seen ? REPLY_NO_RECIPIENTS : REPLY_NO_RECIPIENTS_YET;
    return s->mx_keywords & EHLO_CHUNKING ? REPLY_NONE : REPLY_EXTENSION_GONE; /* PRX-032 */
}

/* A malformed one leaves nobody knowing where its octets end (CHNK-002). A refused one is answered
 * behind them, and ends the transaction, so that what was pipelined behind it is refused too. */
static void
on_bdat(struct session *s, const struct smtp_command *cmd)
{
    if (cmd->error != REPLY_NONE) {
        session_reply(s, REPLY_BAD_PARAMETERS);
        session_step(s, SEV_CMD_BYE);
        return;
    }
    s->hand = SMTP_VERB_BDAT;
    s->chunk_left = cmd->chunk_len;
    s->chunk_last = cmd->chunk_last;
    s->chunk_refusal = refuse_chunk(s);
    session_step(s, s->chunk_refusal == REPLY_NONE ? SEV_CMD_BDAT : SEV_CMD_DISCARD);
}

enum session_event
session_chunk_over(struct session *s)
{
    if (s->chunk_left)
        return SEV_NONE;
    if (s->state == SES_CHUNK)
        return s->chunk_last ? SEV_END_OF_DATA : SEV_END_OF_CHUNK;
    session_reply(s, s->chunk_refusal);
    s->chunked = false;
    if (s->chunk_refusal != REPLY_NOT_IMPLEMENTED)
        session_end_transaction(s);
    return SEV_END_OF_CHUNK;
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
        reject(s, row);
}

static void
on_auth(struct session *s, const struct smtp_command *cmd)
{
    enum reply_row row = session_auth(s, cmd->argument);

    if (row != REPLY_NONE)
        reject(s, row);
}

static void
on_command(struct session *s, const struct smtp_command *cmd, bool more)
{
    if (cmd->error != REPLY_NONE && cmd->verb != SMTP_VERB_BDAT) {
        reject(s, cmd->error);
        return;
    }
    if (cmd->verb != SMTP_VERB_UNKNOWN && cmd->verb != SMTP_VERB_BDAT &&
        session_must_begin_tls(s, cmd->verb)) {
        reject(s, REPLY_STARTTLS_FIRST);
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
        on_mail(s, cmd);
        return;
    case SMTP_VERB_RCPT:
        on_rcpt(s, cmd);
        return;
    case SMTP_VERB_DATA:
        on_data(s, more);
        return;
    case SMTP_VERB_BDAT:
        on_bdat(s, cmd);
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
        reject(s, REPLY_NOT_IMPLEMENTED);
        return;
    case SMTP_VERB_UNKNOWN:
        /* Another protocol's first line: HTTP, TLS (PRX-052). */
        if (!s->client_name && s->bad_commands == 0) {
            session_reply(s, REPLY_UNKNOWN_COMMAND);
            violation(s);
            return;
        }
        reject(s, REPLY_UNKNOWN_COMMAND);
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
        reject(s, REPLY_BAD_SEQUENCE);
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
        reject(s, res == RES_LIMIT ? REPLY_LINE_TOO_LONG : REPLY_BAD_CHARACTER);
        return used;
    }
    smtp_command_parse(line, utf8_is_offered(s), &cmd);
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
    if (s->draining && s->state == SES_COMMAND && !s->mail_open) { /* it ended here (PRX-048) */
        give_up(s);
        return used;
    }
    /* Answered without the MX: the client's time begins anew, with whole commands (SMTP-051). */
    s->ops->set_timer(s->io, s->config->client_timeout_ms);
    return used;
}

static size_t
serve_content(struct session *s, struct span input)
{
    size_t pass, clean = input.len;
    enum data_verdict found;

    if (s->config->bare_newline_any)
        clean = data_scan_bare_newline(&s->scan, input);
    found = data_scan(&s->scan, span_first(input, clean), &pass);
    if (found == DATA_MORE && clean < input.len)
        found = DATA_AMBIGUOUS;

    if (pass) {
        session_tell_mx(s, span_first(input, pass));
        s->ops->set_timer(s->io, s->config->block_timeout_ms); /* progress counts (SMTP-054) */
    }
    if (found == DATA_END)
        session_step(s, SEV_END_OF_DATA);
    else if (found == DATA_AMBIGUOUS)
        session_step(s, SEV_AMBIGUOUS);
    return pass;
}

/* How many octets of input belong to the BDAT in hand. */
static size_t
take_chunk(struct session *s, struct span input)
{
    size_t n = input.len < s->chunk_left ? input.len : (size_t)s->chunk_left;

    s->chunk_left -= n;
    return n;
}

/* Binary, and counted: nothing in it ends anything (CHNK-003). */
static size_t
serve_chunk(struct session *s, struct span input)
{
    bool passes = s->state == SES_CHUNK;
    size_t n = take_chunk(s, input);

    if (passes)
        session_tell_mx(s, span_first(input, n));
    s->ops->set_timer(s->io, passes ? s->config->block_timeout_ms : s->config->client_timeout_ms);
    session_step(s, session_chunk_over(s));
    return n;
}

static bool
swallow(struct session *s, struct span input, size_t *out_used)
{
    if (!s->chunked)
        return data_scan_swallow(&s->scan, input, out_used);
    *out_used = take_chunk(s, input);
    return s->chunk_left == 0;
}

static size_t
serve_swallow(struct session *s, struct span input)
{
    size_t used;

    if (!swallow(s, input, &used)) {
        s->ops->set_timer(s->io, s->config->client_timeout_ms); /* progress (SMTP-054) */
        return used;
    }
    session_message_over(s, false, session_chomp(buffer_span(&s->parting)));
    if (buffer_len(&s->parting))
        session_say(s, buffer_span(&s->parting));
    else /* there was no memory to keep it */
        session_reply(s, REPLY_UPSTREAM_LOST_DATA);
    buffer_clear(&s->parting);
    session_step(s, SEV_END_OF_DATA);
    return used;
}

/* Serve the front of input as the state wants it; how many bytes were used. */
static size_t
serve_some(struct session *s, struct span input)
{
    if (s->state == SES_CONTENT)
        return serve_content(s, input);
    if (s->state == SES_CHUNK || s->state == SES_DISCARD)
        return serve_chunk(s, input);
    if (s->state == SES_GATHER)
        return serve_ahead(s, input);
    return s->state == SES_SWALLOW ? serve_swallow(s, input) : serve_line(s, input);
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
