#include "tests/proxy/session_model_impl.h"

#include "proxy/ehlo_memory.h"

struct span
session_model_stream(const struct session_model *m)
{
    return span_make(m->stream, m->stream_len);
}

size_t
session_model_text_end(struct span text)
{
    const char *at = text.len ? memmem(text.ptr, text.len, "\r\n.\r\n", 5) : NULL;

    if (span_starts(text, span_of(".\r\n")))
        return 3;
    return at ? (size_t)(at - text.ptr) + 5 : 0;
}

static void
new_connection(struct session_model *m)
{
    if (m->connection == m->w->connects)
        return;
    if (m->auths)
        fail_msg("another connection behind AUTH (PRX-031)");
    m->connection = m->w->connects;
    m->owed[0] = OWES_GREETING;
    m->owed_count = 1;
    m->mx_chunk = OWES_NOTHING;
    m->mx_in_data = m->mx_asks_auth = m->mx_broken = m->expects_tls = m->tried_here = false;
    m->offers = (struct model_offers){ .starttls = false };
    m->mail = false;
    m->accepted = m->mx_code = 0;
    m->to_mx.len = m->from_mx.len = 0;
}

static void
look_on(void *arg, enum world_wire wire, struct span bytes)
{
    struct session_model *m = arg;

    new_connection(m);
    switch (wire) {
    case WIRE_FROM_CLIENT:
        session_model_from_client(m, bytes);
        return;
    case WIRE_TO_CLIENT:
        session_model_to_client(m, bytes);
        return;
    case WIRE_FROM_MX:
        session_model_from_mx(m, bytes);
        return;
    case WIRE_TO_MX:
        session_model_to_mx(m, bytes);
        return;
    }
}

static bool
has_word(struct span list, const char *word)
{
    return list.len && memmem(list.ptr, list.len, word, strlen(word));
}

void
session_model_watch(struct session_model *m, struct world *w)
{
    struct span known = ehlo_memory_recall(w->lists, &w->info.destination, 25, w->now_ms / 1000);

    *m = (struct session_model){ .w = w };
    m->ever.pipelining = has_word(known, "PIPELINING");
    m->ever.chunking = has_word(known, "CHUNKING");
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
    if (w->passed_through && (m->stream_len || m->owed_count || !m->expects_tls))
        fail_msg("passed through with more than a handshake to come (PRX-040)");
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
        session_model_asked(m, &cmd))
        fail_msg("a command without reply in state %s",
                 session_state_name(session_state(w->session)));
}

enum model_owed
session_model_owed(struct session_model *m)
{
    new_connection(m);
    return m->owed_count ? m->owed[0] : OWES_NOTHING;
}
