/* proxy/session_auth.c: AUTH to a smart host (RFC 4954, EXT-008). Its lines pass as they come, in
 * both directions, and are neither logged nor recorded. */
#include "proxy/session_impl.h"

/* May this client say AUTH? Only where the MX is the site's own relay and has proven it, and where
 * nobody listens on the client's leg, or the site does not mind. */
unsigned
session_auth_shown(const struct session *s)
{
    const struct smart_host *host = rules_smart_host(&s->config->rules, &s->info.destination);
    bool may =
        host && (s->info.client_tls.version || net_list_has(&host->auth_clients, &s->info.client));

    return may && s->host_proven && s->obs->stage == TLS_STAGE_DONE ? s->mx_keywords & EHLO_AUTH
                                                                    : 0;
}

enum reply_row
session_auth(struct session *s, struct span argument)
{
    if (!(s->announced & EHLO_AUTH) || !s->mx_up || !session_auth_shown(s))
        return REPLY_NOT_IMPLEMENTED;
    if (s->mail_open || s->mx_mail_open || s->authenticated) /* RFC 4954 4 */
        return REPLY_BAD_SEQUENCE;
    session_tell_mx(s, span_of("AUTH "));
    session_auth_line(s, argument);
    return REPLY_NONE;
}

void
session_auth_line(struct session *s, struct span line)
{
    session_tell_mx(s, line);
    session_tell_mx(s, span_of("\r\n"));
    s->hand = SMTP_VERB_AUTH;
    session_step(s, SEV_CMD_AUTH);
}
