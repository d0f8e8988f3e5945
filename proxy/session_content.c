/* proxy/session_content.c: the mail itself on its way: text behind DATA, chunks behind BDAT, and
 * what is read away because nobody takes it. */
#include "proxy/replies.h"
#include "proxy/session_impl.h"

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
void
session_bdat(struct session *s, const struct smtp_command *cmd)
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

static size_t
serve_text(struct session *s, struct span input)
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

size_t
session_serve_content(struct session *s, struct span input)
{
    if (s->state == SES_CONTENT)
        return serve_text(s, input);
    return s->state == SES_SWALLOW ? serve_swallow(s, input) : serve_chunk(s, input);
}
