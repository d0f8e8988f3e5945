/* proxy/session_client.c: TLS on the client's leg (PRX-039, PRX-043). */
#include "proxy/session_impl.h"

#include <stdlib.h>

static bool
may_begin_tls(const struct session *s)
{
    return s->info.client_starttls == CLIENT_STARTTLS_TERMINATE && !s->info.client_tls.version;
}

unsigned
session_starttls_shown(const struct session *s)
{
    bool mx_has_tls = s->obs->stage == TLS_STAGE_DONE || s->mx_keywords & EHLO_STARTTLS;

    return may_begin_tls(s) && mx_has_tls ? EHLO_STARTTLS : 0;
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
    if (s->info.client_tls.version)
        return REPLY_BAD_SEQUENCE; /* PRX-043 */
    if (!(s->announced & EHLO_STARTTLS))
        return REPLY_NO_STARTTLS;
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
