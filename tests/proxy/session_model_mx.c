#include "tests/proxy/session_model_impl.h"

#include <stdio.h>

static bool
breaks_line(char c)
{
    return c == '\r' || c == '\n';
}

/* Is there a dot on a line of its own, by anybody's idea of a line and though he drops NULs, in the
 * first len octets of text, other than the end? (SMTP-043, SMTP-044) */
static bool
has_look_alike(struct span text, size_t len)
{
    size_t end = session_model_text_end(text);

    for (size_t i = 0; i < len; i++) {
        size_t before = i, after = i + 1;

        if (text.ptr[i] != '.' || i + 3 == end)
            continue;
        while (before && text.ptr[before - 1] == '\0')
            before--;
        while (after < len && text.ptr[after] == '\0')
            after++;
        if ((before == 0 || breaks_line(text.ptr[before - 1])) && after < len &&
            breaks_line(text.ptr[after]))
            return true;
    }
    return false;
}

static bool
has_bare_newline(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((text.ptr[i] == '\n' && (i == 0 || text.ptr[i - 1] != '\r')) ||
            (text.ptr[i] == '\r' && i + 1 < text.len && text.ptr[i + 1] != '\n'))
            return true;
    return false;
}

/* ---- to the MX ---- */

/* The domain of a RCPT line, by the last "@" of its path, and what stands before that; empty for
 * literals and <postmaster>. */
static struct span
domain_of(struct span line, struct span *local)
{
    size_t end = line.len, begin = span_find(line, '<') + 1, at;

    *local = span_of("");
    while (end && line.ptr[end - 1] != '>')
        end--;
    at = end;
    while (at && line.ptr[at - 1] != '@' && line.ptr[at - 1] != '<')
        at--;
    if (at == 0 || line.ptr[at - 1] != '@' || line.ptr[at] == '[')
        return span_of("");
    *local = span_first(span_from(line, begin), at - 1 - begin);
    return span_first(span_from(line, at), end - 1 - at);
}

/* MAIL is held until a recipient may go: one that the client waits for (PRX-013). */
static bool
some_recipient_may_go(const struct session_model *m)
{
    struct span rest = session_model_stream(m);
    struct smtp_command cmd;
    size_t len;

    while ((len = session_model_command(m, rest, &cmd)) != 0) {
        if (cmd.verb == SMTP_VERB_RCPT && cmd.error == REPLY_NONE &&
            session_model_may_go(m, cmd.path.local, span_of(cmd.path.domain)))
            return true;
        rest = span_from(rest, len);
    }
    return false;
}

static void
owe(struct session_model *m, enum model_owed what)
{
    if (m->owed_count == MODEL_OWED_MAX)
        fail_msg("more commands in flight than a model can hold");
    m->owed[m->owed_count++] = what;
}

static enum model_owed
verb_of(struct span line)
{
    static const struct {
        const char *word;
        enum model_owed owed;
    } verbs[] = {
        { "EHLO ", OWES_EHLO },       { "HELO ", OWES_HELO },     { "STARTTLS\r\n", OWES_STARTTLS },
        { "MAIL FROM:<", OWES_MAIL }, { "RCPT TO:<", OWES_RCPT }, { "DATA\r\n", OWES_DATA },
        { "BDAT ", OWES_CHUNK },      { "RSET\r\n", OWES_RSET },  { "QUIT\r\n", OWES_QUIT },
        { "AUTH ", OWES_AUTH },
    };

    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (span_starts(line, span_of(verbs[i].word)))
            return verbs[i].owed;
    return OWES_NOTHING;
}

/* The octets of a chunk have all come: its reply is due. */
static void
end_chunk(struct session_model *m)
{
    if (m->mx_chunk == OWES_NOTHING || m->mx_chunk_left)
        return;
    owe(m, m->mx_chunk);
    m->mx_chunk = OWES_NOTHING;
}

/* The client's BDAT, with its very length (CHNK-003). */
static void
mx_hears_bdat(struct session_model *m, struct span line)
{
    struct smtp_command asked_for;
    size_t len = session_model_command(m, session_model_stream(m), &asked_for);
    char want[64];

    snprintf(want, sizeof want, "BDAT %llu%s\r\n", asked_for.chunk_len,
             asked_for.chunk_last ? " LAST" : "");
    if (m->in_data || asked_for.verb != SMTP_VERB_BDAT || !span_equal(line, span_of(want)))
        fail_msg("a chunk that the client did not send: \"%.*s\"", (int)line.len, line.ptr);
    if (!m->offers.chunking)
        fail_msg("BDAT without CHUNKING");
    m->mx_chunk = asked_for.chunk_last ? OWES_FINAL : OWES_CHUNK;
    m->mx_chunk_left = asked_for.chunk_len;
    m->mx_text = len;
    end_chunk(m);
}

/* Octets of a chunk: the client's own. Returns how many they were. */
static size_t
mx_hears_chunk(struct session_model *m, struct span bytes)
{
    struct span octets = span_from(session_model_stream(m), m->mx_text);
    size_t take = bytes.len < m->mx_chunk_left ? bytes.len : (size_t)m->mx_chunk_left;

    if (!span_starts(octets, span_first(bytes, take)))
        fail_msg("octets of a chunk that the client did not send");
    m->mx_text += take;
    m->mx_chunk_left -= take;
    end_chunk(m);
    return take;
}

/* The sender's wish goes with the mail, but for a bounce where nobody knows the word (RTLS-005,
 * RTLS-006). */
static void
mx_hears_mail(const struct session_model *m, struct span line)
{
    struct smtp_command cmd;
    bool want = m->requiretls && (m->offers.requiretls || !m->null_sender);

    smtp_command_parse(span_first(line, line.len - 2), true, &cmd);
    if (session_model_says_requiretls(&cmd) != want)
        fail_msg("REQUIRETLS is %s: \"%.*s\"", want ? "lost" : "made up", (int)line.len, line.ptr);
    if (!some_recipient_may_go(m))
        fail_msg("for no recipient that may go: \"%.*s\"", (int)line.len, line.ptr);
}

/* The client's own AUTH, to whom it may say that (EXT-008). */
static void
mx_hears_auth(const struct session_model *m, struct span line)
{
    struct smtp_command asked_for;
    struct span argument = span_from(span_first(line, line.len - 2), 5);

    (void)session_model_command(m, session_model_stream(m), &asked_for);
    if (m->in_data || m->in_auth || asked_for.verb != SMTP_VERB_AUTH ||
        !span_equal(argument, asked_for.argument))
        fail_msg("an AUTH that the client did not send");
    if (!session_model_may_auth(m) || !m->shown.auth)
        fail_msg("AUTH to whom it must not be said");
    if (m->mail || m->auths)
        fail_msg("AUTH out of turn");
}

/* A line of the exchange: the client's own, or the one that ends it. */
static void
mx_hears_response(struct session_model *m, struct span line)
{
    struct smtp_command ignored;
    struct span response = session_model_stream(m);

    response = span_first(response, session_model_asked(m, &ignored));
    while (response.len &&
           (response.ptr[response.len - 1] == '\r' || response.ptr[response.len - 1] == '\n'))
        response.len--;
    if (!m->in_auth || (!span_equal(line, span_of("*\r\n")) &&
                        !span_equal(span_first(line, line.len - 2), response)))
        fail_msg("a response that the client did not send");
    m->mx_asks_auth = false;
    owe(m, OWES_AUTH);
}

static void
mx_hears_command(struct session_model *m, struct span line)
{
    const struct client_rule *rule = m->w->info.client_rule;
    enum model_owed verb = verb_of(line);
    struct span local, domain = domain_of(line, &local);
    int shown = (int)line.len;

    if (m->mx_asks_auth) {
        mx_hears_response(m, line);
        return;
    }
    if (verb == OWES_NOTHING || !span_equal(span_from(line, line.len - 2), span_of("\r\n")))
        fail_msg("no command for an MX: \"%.*s\"", shown, line.ptr);
    if (m->owed_count && !m->offers.pipelining)
        fail_msg("said before the MX's reply: \"%.*s\"", shown, line.ptr);
    if (verb == OWES_STARTTLS && (m->w->leg != LEG_CLEAR || !m->offers.starttls))
        fail_msg("STARTTLS where there is none");
    if (verb >= OWES_MAIL && verb <= OWES_CHUNK && rule && rule->require_tls &&
        m->w->client_tls != CLIENT_TLS)
        fail_msg("for a client that has not begun TLS: \"%.*s\"", shown, line.ptr);
    if (verb == OWES_MAIL)
        mx_hears_mail(m, line);
    if (verb == OWES_AUTH)
        mx_hears_auth(m, line);
    if (verb == OWES_RCPT && !session_model_may_go(m, local, domain))
        fail_msg("without an allow verdict: \"%.*s\"", shown, line.ptr);
    if (verb == OWES_RCPT && !m->mail)
        fail_msg("without a MAIL before it: \"%.*s\"", shown, line.ptr);
    if ((verb == OWES_MAIL || verb == OWES_STARTTLS) && m->mail)
        fail_msg("behind a MAIL: \"%.*s\"", shown, line.ptr);
    if ((verb == OWES_DATA || verb == OWES_CHUNK) && m->accepted == 0)
        fail_msg("text for nobody: \"%.*s\"", shown, line.ptr);
    m->mail |= verb == OWES_MAIL;
    m->tried_here |= verb == OWES_STARTTLS;
    m->tried |= m->tried_here;
    if (verb == OWES_CHUNK)
        mx_hears_bdat(m, line);
    else
        owe(m, verb);
}

/* Message text: the client's own, octet for octet, and no more of it. Returns what was text. */
static size_t
mx_hears_text(struct session_model *m, struct span bytes)
{
    struct span text = session_model_stream(m);
    size_t end = session_model_text_end(text), take;

    if (!m->in_data)
        fail_msg("message text of no message");
    take = (end ? end : text.len) - m->mx_text;
    take = take < bytes.len ? take : bytes.len;
    if (take == 0 ||
        !span_equal(span_first(span_from(text, m->mx_text), take), span_first(bytes, take)))
        fail_msg("message text that the client did not send");
    m->mx_text += take;
    if (m->w->config.bare_newline_any && has_bare_newline(span_first(text, m->mx_text)))
        fail_msg("a bare CR or LF goes upstream, and none may");
    if (has_look_alike(text, m->mx_text))
        fail_msg("a look-alike of the end of data goes upstream");
    if (end && m->mx_text == end) {
        m->mx_in_data = false;
        owe(m, OWES_FINAL);
    }
    return take;
}

void
session_model_to_mx(struct session_model *m, struct span bytes)
{
    struct model_line *line = &m->to_mx;

    while (bytes.len) {
        size_t take;

        if (m->mx_in_data) {
            take = mx_hears_text(m, bytes);
        } else if (m->mx_chunk != OWES_NOTHING) {
            take = mx_hears_chunk(m, bytes);
        } else {
            take = span_find(bytes, '\n');
            take += take < bytes.len;
            if (take > sizeof line->bytes - line->len)
                fail_msg("a line too long for an MX");
            memcpy(line->bytes + line->len, bytes.ptr, take);
            line->len += take;
            if (line->bytes[line->len - 1] == '\n') {
                mx_hears_command(m, span_make(line->bytes, line->len));
                line->len = 0;
            }
        }
        bytes = span_from(bytes, take);
    }
}

/* ---- from the MX ---- */

static void
mx_answers(struct session_model *m, enum model_owed to, unsigned code)
{
    switch (to) {
    case OWES_RCPT:
        m->accepted += code / 100 == 2;
        break;
    case OWES_DATA:
        m->mx_in_data = code / 100 == 3;
        m->mx_text = 0;
        m->accepted = m->mx_in_data ? m->accepted : 0;
        break;
    case OWES_CHUNK:
        m->chunks_taken += code / 100 == 2 && m->w->backlog == 0;
        m->accepted = code / 100 == 2 ? m->accepted : 0;
        break;
    case OWES_FINAL:
        m->taken += code / 100 == 2 && m->w->backlog == 0; /* else it has not got it (SMTP-032) */
        m->accepted = 0;
        m->mail = false;
        break;
    case OWES_EHLO:
    case OWES_HELO: /* a refusal changes nothing */
        if (code / 100 == 2)
            m->offers = to == OWES_EHLO ? m->listed : (struct model_offers){ .starttls = false };
        m->accepted = code / 100 == 2 ? 0 : m->accepted;
        m->mail &= code / 100 != 2;
        break;
    case OWES_MAIL:
        m->mail = code / 100 == 2;
        m->accepted = 0;
        break;
    case OWES_RSET:
        m->mail &= code / 100 != 2;
        m->accepted = 0;
        break;
    case OWES_STARTTLS:
        m->expects_tls = code == 220;
        if (m->expects_tls) /* what was listed in clear is forgotten (TLS-007) */
            m->offers = (struct model_offers){ .starttls = false };
        break;
    case OWES_AUTH:
        m->mx_asks_auth = code / 100 == 3;
        m->auths += code / 100 == 2;
        break;
    case OWES_NOTHING:
    case OWES_GREETING:
    case OWES_QUIT:
        break;
    }
}

static void
mx_says_line(struct session_model *m, struct span line)
{
    bool last = line.len < 4 || line.ptr[3] != '-';
    enum model_owed to = m->owed_count ? m->owed[0] : OWES_NOTHING;
    struct span keyword = span_from(line, 4);
    unsigned code = 0;

    for (size_t i = 0; i < 3; i++)
        code = i < line.len && line.ptr[i] >= '0' && line.ptr[i] <= '9'
                   ? code * 10 + (unsigned)(line.ptr[i] - '0')
                   : 10000;
    if (code < 200 || code > 599 || (m->mx_code && m->mx_code != code) ||
        (line.len > 3 && line.ptr[3] != ' ' && line.ptr[3] != '-')) {
        m->mx_broken = true;
        return;
    }
    if (to == OWES_EHLO) {
        if (m->mx_code == 0) /* the first line is no keyword */
            m->listed = (struct model_offers){ .starttls = false };
        else if (span_equal_nocase(keyword, span_of("STARTTLS")))
            m->listed.starttls = true;
        else if (span_starts_nocase(keyword, span_of("PIPELINING")))
            m->listed.pipelining = true;
        else if (span_starts_nocase(keyword, span_of("CHUNKING")))
            m->listed.chunking = true;
        else if (span_starts_nocase(keyword, span_of("REQUIRETLS")))
            m->listed.requiretls = true;
        m->ever.starttls |= m->listed.starttls;
        m->ever.pipelining |= m->listed.pipelining;
        m->ever.chunking |= m->listed.chunking;
    }
    m->mx_code = last ? 0 : code;
    if (!last)
        return;
    if (code == 421) /* it hears no more, and QUIT does not hurt (RFC 5321 3.8) */
        m->mx_asks_auth = false;
    if (to == OWES_NOTHING) {
        m->mx_broken = true;
        return;
    }
    memmove(m->owed, m->owed + 1, --m->owed_count * sizeof *m->owed);
    mx_answers(m, to, code);
}

void
session_model_from_mx(struct session_model *m, struct span bytes)
{
    struct model_line *line = &m->from_mx;

    m->expects_tls = m->expects_tls && m->w->leg == LEG_CLEAR;
    for (size_t i = 0; i < bytes.len && !m->mx_broken; i++) {
        if (m->expects_tls) { /* clear text behind the 220 (TLS-008) */
            m->mx_broken = true;
        } else if (line->len == sizeof line->bytes) {
            m->mx_broken = true;
        } else if (bytes.ptr[i] != '\n') {
            line->bytes[line->len++] = bytes.ptr[i];
        } else {
            line->len -= line->len && line->bytes[line->len - 1] == '\r';
            mx_says_line(m, span_make(line->bytes, line->len));
            line->len = 0;
        }
    }
}
