#include "tests/proxy/session_model_impl.h"

#include "proxy/ehlo_memory.h"

enum shown_word {
    WORD_PLAIN,
    WORD_STARTTLS,
    WORD_PIPELINING,
    WORD_CHUNKING,
    WORD_REQUIRETLS,
    WORD_AUTH
};

/* What a client may be shown (SMTP-038); of some of it more is asked. */
static const struct {
    const char *name;
    enum shown_word word;
} shown_keywords[] = {
    { "STARTTLS", WORD_STARTTLS },
    { "PIPELINING", WORD_PIPELINING },
    { "CHUNKING", WORD_CHUNKING },
    { "REQUIRETLS", WORD_REQUIRETLS },
    { "AUTH", WORD_AUTH },
    { "SIZE", WORD_PLAIN },
    { "8BITMIME", WORD_PLAIN },
    { "DSN", WORD_PLAIN },
    { "ENHANCEDSTATUSCODES", WORD_PLAIN },
    { "SMTPUTF8", WORD_PLAIN },
    { "BINARYMIME", WORD_PLAIN },
    { "DELIVERBY", WORD_PLAIN },
    { "MT-PRIORITY", WORD_PLAIN },
    { "LIMITS", WORD_PLAIN },
};

static void
drop(struct session_model *m, size_t n)
{
    m->stream_len -= n;
    memmove(m->stream, m->stream + n, m->stream_len);
}

static size_t
line_len(const struct session_model *m, struct span bytes)
{
    const struct client_rule *rule = m->w->info.client_rule;
    struct span end = span_of(rule && rule->accept_lf ? "\n" : "\r\n");
    const char *at = bytes.len ? memmem(bytes.ptr, bytes.len, end.ptr, end.len) : NULL;

    return at ? (size_t)(at - bytes.ptr) + end.len : 0;
}

size_t
session_model_command(const struct session_model *m, struct span bytes, struct smtp_command *out)
{
    size_t len = line_len(m, bytes);
    struct span line = span_first(bytes, len ? len - 1 : 0);

    *out = (struct smtp_command){ .verb = SMTP_VERB_UNKNOWN };
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (len)
        smtp_command_parse(line, true, out);
    return len;
}

size_t
session_model_asked(const struct session_model *m, struct smtp_command *cmd)
{
    struct span stream = session_model_stream(m);
    size_t len;

    if (m->in_data || m->in_auth) {
        *cmd = (struct smtp_command){ .verb = SMTP_VERB_UNKNOWN };
        return m->in_data ? session_model_text_end(stream) : line_len(m, stream);
    }
    len = session_model_command(m, stream, cmd);
    if (len == 0 || cmd->verb != SMTP_VERB_BDAT || cmd->error != REPLY_NONE || m->turned_away)
        return len;
    return cmd->chunk_len <= m->stream_len - len ? len + (size_t)cmd->chunk_len : 0;
}

bool
session_model_says_requiretls(const struct smtp_command *cmd)
{
    for (size_t i = 0; i < cmd->parameter_count; i++)
        if (span_equal_nocase(cmd->parameters[i].keyword, span_of("REQUIRETLS")))
            return true;
    return false;
}

static void
text_is_answered(struct session_model *m, bool last, unsigned code)
{
    if (code / 100 == 3)
        fail_msg("reply %u to text", code);
    if (code / 100 != 2)
        return;
    if (last ? ++m->told > m->taken : ++m->chunks_told > m->chunks_taken)
        fail_msg("a false %u to text", code);
}

static void
auth_is_answered(struct session_model *m, unsigned code)
{
    m->in_auth = code / 100 == 3;
    if (m->in_auth && !m->mx_asks_auth)
        fail_msg("reply %u to AUTH, and the MX asks for nothing", code);
    if (code / 100 == 2 && ++m->auths_told > m->auths)
        fail_msg("a false %u to AUTH", code);
}

static void
starttls_is_answered(struct session_model *m, unsigned code)
{
    if (code != 220)
        return;
    if (!m->shown.starttls)
        fail_msg("STARTTLS is taken, and was not offered");
    if (m->w->info.client_starttls == CLIENT_STARTTLS_TERMINATE) {
        m->shown = (struct model_offers){ .starttls = false };
        return;
    }
    if (!m->expects_tls)
        fail_msg("a false %u to STARTTLS", code);
    if (m->mail)
        fail_msg("passed through in the middle of a mail");
}

static void
mail_is_answered(struct session_model *m, const struct smtp_command *cmd, unsigned code)
{
    if (code / 100 != 2)
        return;
    m->requiretls = session_model_says_requiretls(cmd);
    m->null_sender = cmd->path.null;
    m->reports = m->w->config.report_senders.count && session_model_is(cmd->path.local, "s") &&
                 strcmp(cmd->path.domain, "c.example") == 0;
    if (m->requiretls && !m->shown.requiretls)
        fail_msg("REQUIRETLS is taken, and was not offered (RTLS-002)");
}

/* What a reply means depends on what it is to. */
static void
is_answered(struct session_model *m, const struct smtp_command *cmd, unsigned code)
{
    if (m->in_auth || cmd->verb == SMTP_VERB_AUTH) {
        auth_is_answered(m, code);
        return;
    }
    if (m->in_data || cmd->verb == SMTP_VERB_BDAT)
        text_is_answered(m, m->in_data || cmd->chunk_last, code);
    else if (code / 100 == 3 && (cmd->verb != SMTP_VERB_DATA || !m->mx_in_data))
        fail_msg("reply %u, and the MX waits for no text", code);
    m->in_data = code / 100 == 3;
    if (cmd->verb == SMTP_VERB_MAIL)
        mail_is_answered(m, cmd, code);
    else if (cmd->verb == SMTP_VERB_STARTTLS)
        starttls_is_answered(m, code);
    else if ((cmd->verb == SMTP_VERB_EHLO || cmd->verb == SMTP_VERB_HELO) && code / 100 == 2)
        m->shown = m->showing;
}

static void
client_hears_reply(struct session_model *m, unsigned code)
{
    struct smtp_command cmd;
    size_t len = session_model_asked(m, &cmd);

    if (m->dismissed)
        fail_msg("a reply %u behind 421", code);
    m->dismissed = m->greeted && code == 421; /* as a greeting it refuses like others (SMTP-037) */
    if (!m->greeted) {
        m->greeted = true;
        m->turned_away = code != 220;
        return;
    }
    if (len == 0 && code != 421)
        fail_msg("reply %u to nothing", code);
    if (len == 0)
        return;
    is_answered(m, &cmd, code);
    if (cmd.verb == SMTP_VERB_STARTTLS && code == 220 &&
        m->w->info.client_starttls == CLIENT_STARTTLS_TERMINATE)
        len = m->stream_len; /* what stands behind it in clear is dropped (PRX-043) */
    drop(m, len);
}

/* May the client be shown that, at the moment? */
static bool
may_show(const struct session_model *m, const char *name, enum shown_word word)
{
    const struct world *w = m->w;
    struct span known = ehlo_memory_recall(w->lists, &w->info.destination, 25, w->now_ms / 1000);
    bool under_tls = w->client_tls == CLIENT_TLS;

    /* A list in clear may be forged, and there is a better one (PRX-029). */
    if (w->leg != LEG_TLS && known.len && word != WORD_STARTTLS && word != WORD_REQUIRETLS &&
        !memmem(known.ptr, known.len, name, strlen(name)))
        return false;
    switch (word) {
    case WORD_STARTTLS:
        return !under_tls && m->ever.starttls &&
               (w->info.client_starttls == CLIENT_STARTTLS_TERMINATE ||
                w->info.client_starttls == CLIENT_STARTTLS_PASSTHROUGH);
    case WORD_PIPELINING:
        return m->ever.pipelining;
    case WORD_CHUNKING:
        return m->ever.chunking && w->config.chunking;
    case WORD_REQUIRETLS:
        return under_tls; /* RTLS-001 */
    case WORD_AUTH:
        return session_model_may_auth(m);
    case WORD_PLAIN:
        break;
    }
    return true;
}

/* A line of the reply to EHLO behind the first, without its code. */
static void
client_hears_keyword(struct session_model *m, struct span line)
{
    struct span name = span_first(line, span_find(line, ' '));

    for (size_t i = 0; i < sizeof shown_keywords / sizeof *shown_keywords; i++) {
        enum shown_word word = shown_keywords[i].word;

        if (!span_equal_nocase(name, span_of(shown_keywords[i].name)))
            continue;
        if (!may_show(m, shown_keywords[i].name, word))
            fail_msg("the client is shown %s", shown_keywords[i].name);
        m->showing.starttls |= word == WORD_STARTTLS;
        m->showing.requiretls |= word == WORD_REQUIRETLS;
        m->showing.auth |= word == WORD_AUTH;
        return;
    }
    fail_msg("the client is shown \"%.*s\" (SMTP-038)", (int)line.len, line.ptr);
}

static void
client_hears_line(struct session_model *m, struct span line)
{
    struct smtp_command cmd;
    unsigned code =
        (unsigned)((line.ptr[0] - '0') * 100 + (line.ptr[1] - '0') * 10 + (line.ptr[2] - '0'));
    bool last = line.ptr[3] != '-';

    if (m->greeted && session_model_asked(m, &cmd) && code / 100 == 2 &&
        (cmd.verb == SMTP_VERB_EHLO || cmd.verb == SMTP_VERB_HELO)) {
        if (m->to_client_lines == 0)
            m->showing = (struct model_offers){ .starttls = false };
        else
            client_hears_keyword(m, span_from(span_first(line, line.len - 2), 4));
    }
    m->to_client_lines = last ? 0 : m->to_client_lines + 1;
    if (last)
        client_hears_reply(m, code);
}

void
session_model_to_client(struct session_model *m, struct span bytes)
{
    struct model_line *line = &m->to_client;

    for (size_t i = 0; i < bytes.len; i++) {
        if (line->len == sizeof line->bytes)
            line->len--; /* of a long line only its code matters */
        line->bytes[line->len++] = bytes.ptr[i];
        if (bytes.ptr[i] != '\n')
            continue;
        if (line->len < 5 || (line->len < sizeof line->bytes && line->bytes[line->len - 2] != '\r'))
            fail_msg("no reply line: \"%.*s\"", (int)line->len, line->bytes);
        client_hears_line(m, span_make(line->bytes, line->len));
        line->len = 0;
    }
}

void
session_model_from_client(struct session_model *m, struct span bytes)
{
    if (bytes.len > sizeof m->stream - m->stream_len)
        fail_msg("more from a client than a model can hold");
    memcpy(m->stream + m->stream_len, bytes.ptr, bytes.len);
    m->stream_len += bytes.len;
}
