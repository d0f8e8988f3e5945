/* proxy/session_client.c: TLS on the client's leg (PRX-039, PRX-040, PRX-043, PRX-044). */
#include "proxy/session_impl.h"

#include <stdlib.h>

/* The MX may be asked: nobody has begun TLS with it yet, and it is in no transaction. */
static bool
may_pass_tls(const struct session *s)
{
    return s->mx_up && s->obs->stage == TLS_STAGE_CLEAR && !s->mail_open && !s->mx_mail_open;
}

unsigned
session_starttls_shown(const struct session *s)
{
    unsigned listed = s->mx_keywords & EHLO_STARTTLS;

    switch (s->info.client_starttls) {
    case CLIENT_STARTTLS_TERMINATE:
        if (s->info.client_tls.version || s->authenticated)
            return 0;
        return s->obs->stage == TLS_STAGE_DONE ? EHLO_STARTTLS : listed;
    case CLIENT_STARTTLS_PASSTHROUGH:
        return s->obs->stage == TLS_STAGE_CLEAR ? listed : 0;
    case CLIENT_STARTTLS_SITE:
    case CLIENT_STARTTLS_HIDE:
    case CLIENT_STARTTLS_WAYS:
        break;
    }
    return 0;
}

/* Is REQUIRETLS offered to the client (RTLS-001)? Its own leg must be under TLS. list: keywords
 * that the MX listed under TLS, where those are known; before that the offer is ours, where there
 * is TLS to be had, and kept at RCPT. */
unsigned
session_requiretls_shown(const struct session *s, unsigned list, bool known)
{
    bool there = known ? list & EHLO_REQUIRETLS : s->mx_keywords & EHLO_STARTTLS;

    return s->info.client_tls.version && there ? EHLO_REQUIRETLS : 0;
}

bool
session_must_begin_tls(const struct session *s, enum smtp_verb verb)
{
    const struct client_rule *rule = s->info.client_rule;

    if (!rule || !rule->require_tls || s->info.client_tls.version)
        return false;
    return verb != SMTP_VERB_NOOP && verb != SMTP_VERB_EHLO && verb != SMTP_VERB_STARTTLS &&
           verb != SMTP_VERB_QUIT;
}

enum reply_row
session_starttls(struct session *s)
{
    /* Once only (PRX-043). Nor behind AUTH in clear: who said that is forgotten with the rest of
     * what came in clear (RFC 3207 4.2), which cannot be said to the MX. */
    if (s->info.client_tls.version || s->authenticated)
        return REPLY_BAD_SEQUENCE;
    if (!(s->announced & EHLO_STARTTLS))
        return REPLY_NO_STARTTLS;
    if (s->info.client_starttls == CLIENT_STARTTLS_PASSTHROUGH) {
        if (!may_pass_tls(s))
            return REPLY_BAD_SEQUENCE;
        session_step(s, SEV_CMD_PASS_TLS);
        return REPLY_NONE;
    }
    session_reply(s, REPLY_STARTTLS_READY);
    session_step(s, SEV_CMD_STARTTLS);
    return REPLY_NONE;
}

void
session_enter_client_tls(struct session *s)
{
    /* RFC 3207 4.2: what was said in clear is forgotten. */
    session_end_transaction(s);
    free(s->client_name);
    s->client_name = NULL;
    s->greeted = s->helo = false;
    s->announced = 0;
    s->ops->start_client_tls(s->io);
}

void
session_client_tls_over(struct session *s, const struct record_client_tls *tls)
{
    if (s->state != SES_CLIENT_TLS)
        return;
    if (tls)
        s->info.client_tls = *tls;
    session_step(s, tls ? SEV_CLIENT_TLS_DONE : SEV_CLIENT_TLS_FAILED);
}

/* What the client has said behind STARTTLS, before it was answered, is no ClientHello that anybody
 * may send. And what the MX has said behind its 220 is injected (TLS-008). */
enum session_event
session_pass_tls(struct session *s, const struct smtp_reply *reply, enum session_event event,
                 struct span more)
{
    bool ready = event == SEV_REPLY_READY;

    s->obs->starttls_code = reply->code;
    if (event == SEV_REPLY_OK || event == SEV_REPLY_MORE || /* no reply to STARTTLS, RFC 3207 4 */
        (ready && (more.len || !s->ops->mx_is_quiet(s->io))))
        return SEV_MX_LOST;
    if (ready && (buffer_len(&s->client_in) || !s->ops->client_is_quiet(s->io))) {
        session_reply(s, REPLY_PROTOCOL_VIOLATION);
        return SEV_GIVE_UP;
    }
    session_say(s, reply->text);
    if (!ready) {
        s->obs->stage = TLS_STAGE_REFUSED;
        return event;
    }
    s->ops->pass_through(s->io);
    s->mx_up = false;
    return SEV_PASSTHROUGH;
}

/* An end that is the client's own doing. Whoever insists on a TLS that it is not shown, or on
 * another certificate, does not complain: it leaves. */
bool
session_left_without_mail(const struct session *s, enum session_state from,
                          enum session_event event)
{
    bool client_did = from == SES_QUIT || event == SEV_CLIENT_GONE || event == SEV_CMD_BYE ||
                      event == SEV_CLIENT_TLS_FAILED;

    return client_did && s->ever_greeted && s->transaction == 0 && s->obs->starttls_offered &&
           s->bad_commands == 0 && s->info.client_starttls != CLIENT_STARTTLS_PASSTHROUGH;
}
