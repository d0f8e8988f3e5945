#include "tests/proxy/session_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "proxy/smtp_command.h"

static struct span
stream_of(const struct session_model *m)
{
    return span_make(m->stream, m->stream_len);
}

static void
drop(struct session_model *m, size_t n)
{
    m->stream_len -= n;
    memmove(m->stream, m->stream + n, m->stream_len);
}

/* Offset behind the first `what` in bytes; 0: it is not there. */
static size_t
behind(struct span bytes, struct span what)
{
    const char *at = bytes.len ? memmem(bytes.ptr, bytes.len, what.ptr, what.len) : NULL;

    return at ? (size_t)(at - bytes.ptr) + what.len : 0;
}

/* Message text up to its end; the CRLF of DATA counts (SMTP-042). 0: it has not ended. */
static size_t
text_end(struct span text)
{
    if (span_starts(text, span_of(".\r\n")))
        return 3;
    return behind(text, span_of("\r\n.\r\n"));
}

static bool
breaks_line(char c)
{
    return c == '\r' || c == '\n';
}

/* Is there a dot on a line of its own, by anybody's idea of a line, in the first len octets of
 * text, other than the end? (SMTP-043, SMTP-044) */
static bool
has_look_alike(struct span text, size_t len)
{
    size_t end = text_end(text);

    for (size_t i = 0; i + 1 < len && (end == 0 || i + 3 < end); i++)
        if (text.ptr[i] == '.' && (i == 0 || breaks_line(text.ptr[i - 1])) &&
            breaks_line(text.ptr[i + 1]))
            return true;
    return false;
}

/* ---- to the MX ---- */

/* The domain of a RCPT line, by the last "@" of its path; empty for literals and <postmaster>. */
static struct span
domain_of(struct span line)
{
    size_t end = line.len, at;

    while (end && line.ptr[end - 1] != '>')
        end--;
    at = end;
    while (at && line.ptr[at - 1] != '@' && line.ptr[at - 1] != '<')
        at--;
    if (at == 0 || line.ptr[at - 1] != '@' || line.ptr[at] == '[')
        return span_of("");
    return span_first(span_from(line, at), end - 1 - at);
}

/* MAIL is held until a recipient may go: one that the client waits for (PRX-013). */
static bool
some_recipient_may_go(const struct session_model *m)
{
    struct span rest = stream_of(m);
    size_t len;

    while ((len = behind(rest, span_of("\r\n"))) != 0) {
        struct smtp_command cmd;

        smtp_command_parse(span_first(rest, len - 2), true, &cmd);
        if (cmd.verb == SMTP_VERB_RCPT && cmd.error == REPLY_NONE &&
            session_model_may_go(m, span_of(cmd.path.domain)))
            return true;
        rest = span_from(rest, len);
    }
    return false;
}

static void
new_connection(struct session_model *m)
{
    if (m->connection == m->w->connects)
        return;
    m->connection = m->w->connects;
    m->owed[0] = OWES_GREETING;
    m->owed_count = 1;
    m->mx_chunk = OWES_NOTHING;
    m->mx_in_data = m->mx_broken = m->expects_tls = m->tried_here = false;
    m->offers = (struct model_offers){ .starttls = false };
    m->mail = false;
    m->accepted = m->mx_code = 0;
    m->to_mx.len = m->from_mx.len = 0;
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
        { "BDAT ", OWES_CHUNK },      { "RSET\r\n", OWES_RSET },  { "QUIT\r\n", OWES_QUIT }
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
    struct smtp_command asked_for = { .verb = SMTP_VERB_UNKNOWN };
    size_t len = behind(stream_of(m), span_of("\r\n"));
    char want[64];

    if (len)
        smtp_command_parse(span_first(stream_of(m), len - 2), true, &asked_for);
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
    struct span octets = span_from(stream_of(m), m->mx_text);
    size_t take = bytes.len < m->mx_chunk_left ? bytes.len : (size_t)m->mx_chunk_left;

    if (!span_starts(octets, span_first(bytes, take)))
        fail_msg("octets of a chunk that the client did not send");
    m->mx_text += take;
    m->mx_chunk_left -= take;
    end_chunk(m);
    return take;
}

static void
mx_hears_command(struct session_model *m, struct span line)
{
    enum model_owed verb = verb_of(line);
    int shown = (int)line.len;

    if (verb == OWES_NOTHING || !span_equal(span_from(line, line.len - 2), span_of("\r\n")))
        fail_msg("no command for an MX: \"%.*s\"", shown, line.ptr);
    if (m->owed_count && !m->offers.pipelining)
        fail_msg("said before the MX's reply: \"%.*s\"", shown, line.ptr);
    if (verb == OWES_STARTTLS && (m->w->leg != LEG_CLEAR || !m->offers.starttls))
        fail_msg("STARTTLS where there is none");
    if (verb == OWES_MAIL && !some_recipient_may_go(m))
        fail_msg("for no recipient that may go: \"%.*s\"", shown, line.ptr);
    if (verb == OWES_RCPT && !session_model_may_go(m, domain_of(line)))
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
    struct span text = stream_of(m);
    size_t end = text_end(text), take;

    if (!m->in_data)
        fail_msg("message text of no message");
    take = (end ? end : text.len) - m->mx_text;
    take = take < bytes.len ? take : bytes.len;
    if (take == 0 ||
        !span_equal(span_first(span_from(text, m->mx_text), take), span_first(bytes, take)))
        fail_msg("message text that the client did not send");
    m->mx_text += take;
    if (has_look_alike(text, m->mx_text))
        fail_msg("a look-alike of the end of data goes upstream");
    if (end && m->mx_text == end) {
        m->mx_in_data = false;
        owe(m, OWES_FINAL);
    }
    return take;
}

static void
on_to_mx(struct session_model *m, struct span bytes)
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
    }
    m->mx_code = last ? 0 : code;
    if (!last)
        return;
    if (to == OWES_NOTHING) {
        m->mx_broken = true;
        return;
    }
    memmove(m->owed, m->owed + 1, --m->owed_count * sizeof *m->owed);
    mx_answers(m, to, code);
}

static void
on_from_mx(struct session_model *m, struct span bytes)
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

/* ---- the client ---- */

/* What the client waits for first: cmd, unless it is the end of message text. The bytes of it, of a
 * BDAT with its octets; 0: nothing that is whole. */
static size_t
asked(const struct session_model *m, struct smtp_command *cmd)
{
    size_t len = behind(stream_of(m), span_of("\r\n"));

    *cmd = (struct smtp_command){ .verb = SMTP_VERB_UNKNOWN };
    if (m->in_data)
        return text_end(stream_of(m));
    if (len == 0)
        return 0;
    smtp_command_parse(span_first(stream_of(m), len - 2), true, cmd);
    if (cmd->verb != SMTP_VERB_BDAT || cmd->error != REPLY_NONE || m->turned_away)
        return len;
    return cmd->chunk_len <= m->stream_len - len ? len + (size_t)cmd->chunk_len : 0;
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
client_hears_reply(struct session_model *m, unsigned code)
{
    struct smtp_command cmd;
    size_t len = asked(m, &cmd);

    if (m->dismissed)
        fail_msg("a reply %u behind 421", code);
    m->dismissed = code == 421;
    if (!m->greeted) {
        m->greeted = true;
        m->turned_away = code != 220;
        return;
    }
    if (len == 0 && code != 421)
        fail_msg("reply %u to nothing", code);
    if (len == 0)
        return;
    if (m->in_data || cmd.verb == SMTP_VERB_BDAT)
        text_is_answered(m, m->in_data || cmd.chunk_last, code);
    else if (code / 100 == 3 && (cmd.verb != SMTP_VERB_DATA || !m->mx_in_data))
        fail_msg("reply %u, and the MX waits for no text", code);
    m->in_data = code / 100 == 3;
    if (cmd.verb == SMTP_VERB_STARTTLS && code == 220)
        len = m->stream_len; /* what stands behind it in clear is dropped (PRX-043) */
    drop(m, len);
}

static void
on_to_client(struct session_model *m, struct span bytes)
{
    struct model_line *line = &m->to_client;

    for (size_t i = 0; i < bytes.len; i++) {
        if (line->len == sizeof line->bytes)
            line->len--; /* of a long line only its code matters */
        line->bytes[line->len++] = bytes.ptr[i];
        if (bytes.ptr[i] != '\n')
            continue;
        if (line->len < 5 || line->bytes[line->len - 2] != '\r')
            fail_msg("no reply line: \"%.*s\"", (int)line->len, line->bytes);
        if (line->bytes[3] != '-')
            client_hears_reply(m, (unsigned)((line->bytes[0] - '0') * 100 +
                                             (line->bytes[1] - '0') * 10 + (line->bytes[2] - '0')));
        line->len = 0;
    }
}

static void
on_from_client(struct session_model *m, struct span bytes)
{
    if (bytes.len > sizeof m->stream - m->stream_len)
        fail_msg("more from a client than a model can hold");
    memcpy(m->stream + m->stream_len, bytes.ptr, bytes.len);
    m->stream_len += bytes.len;
}

static void
look_on(void *arg, enum world_wire wire, struct span bytes)
{
    struct session_model *m = arg;

    new_connection(m);
    switch (wire) {
    case WIRE_FROM_CLIENT:
        on_from_client(m, bytes);
        return;
    case WIRE_TO_CLIENT:
        on_to_client(m, bytes);
        return;
    case WIRE_FROM_MX:
        on_from_mx(m, bytes);
        return;
    case WIRE_TO_MX:
        on_to_mx(m, bytes);
        return;
    }
}

void
session_model_watch(struct session_model *m, struct world *w)
{
    *m = (struct session_model){ .w = w };
    w->tap = look_on;
    w->tap_arg = m;
}

/* Does the session wait for what the MX will never say, since it has not got all the text? */
static bool
waits_for_nothing(const struct session_model *m)
{
    enum session_state state = session_state(m->w->session);

    return (state == SES_FINAL || state == SES_CHUNK_REPLY) && m->owed_count == 0;
}

void
session_model_check(struct session_model *m)
{
    const struct world *w = m->w;
    struct smtp_command cmd;

    new_connection(m);
    if (w->closed)
        return;
    if (m->dismissed)
        fail_msg("421 was said, and the session goes on");
    if (w->timer_at_ms == 0)
        fail_msg("state %s without a timer", session_state_name(session_state(w->session)));
    if (waits_for_nothing(m))
        fail_msg("the MX has not got all of the text");
    if (m->mx_broken && w->leg != LEG_CLOSED && w->leg != LEG_CONNECTING &&
        session_state(w->session) != SES_REFUSED) /* its greeting was a refusal: let it talk */
        fail_msg("the MX is out of step, and nobody hung up");
    if (session_wants_client(w->session) && w->from_client.start == w->from_client.end &&
        asked(m, &cmd))
        fail_msg("a command without reply in state %s",
                 session_state_name(session_state(w->session)));
}

enum model_owed
session_model_owed(struct session_model *m)
{
    new_connection(m);
    return m->owed_count ? m->owed[0] : OWES_NOTHING;
}
