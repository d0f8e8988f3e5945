/* proxy/session_state.h: the whole protocol of one session as a pure transition function.
 * Context: worker. The picture is in docs/session.md; the test covers every state x event. */
#ifndef STSGATE_PROXY_SESSION_STATE_H
#define STSGATE_PROXY_SESSION_STATE_H

/* One command of the client is served at a time, and what it pipelined waits (PIPE-010); but
 * recipients that may all go now go together, behind MAIL, to an MX that offers PIPELINING
 * (PIPE-007). A state says what is waited for. */
enum session_state {
    SES_CONNECT,     /* TCP to the destination */
    SES_GREETING,    /* the MX's greeting, which the client gets (PRX-006) */
    SES_COMMAND,     /* the client's next command */
    SES_EHLO,        /* reply to the client's EHLO, passed on */
    SES_HELO,        /* reply to HELO, after the MX refused EHLO (PRX-047) */
    SES_AUTH,        /* reply to AUTH, or to a line of its exchange (EXT-008) */
    SES_AUTH_LINE,   /* the client's next line of it */
    SES_CLIENT_TLS,  /* TLS with the client (PRX-039, terminate) */
    SES_PASS_TLS,    /* the MX's reply to the client's own STARTTLS (PRX-040) */
    SES_REQUIREMENT, /* what the recipient's domain demands */
    SES_JUDGE,       /* nothing: judge() answers at once. The only way to a recipient upstream */
    SES_STARTTLS,    /* reply to STARTTLS */
    SES_HANDSHAKE,   /* TLS */
    SES_EHLO_TLS,    /* reply to the second EHLO, under TLS (TLS-007) */
    SES_RECONNECT,   /* TCP again, for another identity (PRX-030) */
    SES_REGREETING,  /* its greeting */
    SES_REEHLO,      /* its reply to EHLO, in clear */
    SES_GATHER,      /* nothing: what the client pipelined behind the recipient is looked at */
    SES_AHEAD,       /* nothing: JUDGE for one that may go with it, if that needs no waiting */
    SES_CLEAN,       /* reply to RSET: an earlier MAIL of ours is still open upstream */
    SES_MAIL,        /* reply to the held MAIL (PRX-013) */
    SES_RCPT,        /* reply to RCPT, of the first recipient in flight */
    SES_VOID,        /* the same, but MAIL was refused and so are they (PRX-014) */
    SES_PASS,        /* reply to the client's RSET, passed on */
    SES_DATA,        /* 354 */
    SES_CONTENT,     /* the client's message text, streaming through */
    SES_CHUNK,       /* the octets of a BDAT, streaming through */
    SES_CHUNK_REPLY, /* reply to one that is not the last */
    SES_FINAL,       /* reply to the end of data: the final dot or the last chunk */
    SES_DISCARD,     /* the octets of a BDAT that is refused here (CHNK-004) */
    SES_SWALLOW,     /* the client's message text, going nowhere (SMTP-035, SMTP-044) */
    SES_LOST,        /* the client's next command, which gets 421: the MX is gone */
    SES_REFUSED,     /* the client's QUIT: the MX's greeting was a refusal (SMTP-037) */
    SES_QUIT,        /* 221 */
    SES_CLOSED,      /* nothing: what is queued for the client is sent, and that is all */
    SES_STATES,      /* how many there are */
};

enum session_event {
    SEV_NONE,           /* stays where it is */
    SEV_CONNECTED,      /* TCP is up */
    SEV_CONNECT_FAILED, /* refused, unreachable, timed out */
    SEV_REPLY_READY,    /* 220 as greeting or to STARTTLS */
    SEV_REPLY_OK,       /* any other 2xx */
    SEV_REPLY_MORE,     /* 3xx */
    SEV_REPLY_LATER,    /* 4xx but 421 */
    SEV_REPLY_NO,       /* 5xx */
    SEV_REPLY_CLOSING,  /* 421 */
    SEV_MX_LOST,        /* end of file, error, time-out, malformed or unasked-for bytes */
    SEV_INJECTED,       /* clear text behind the 220 to STARTTLS */
    SEV_TLS_DONE,
    SEV_TLS_FAILED,
    SEV_CMD_EHLO,     /* EHLO or HELO, to be passed on */
    SEV_CMD_RCPT,     /* a well-formed recipient in an open transaction */
    SEV_CMD_RSET,     /* RSET while the MX has a transaction */
    SEV_CMD_DATA,     /* DATA with a recipient accepted upstream */
    SEV_CMD_BDAT,     /* BDAT with a recipient accepted upstream */
    SEV_CMD_DISCARD,  /* BDAT that is refused, once its octets are read away */
    SEV_CMD_QUIT,     /* QUIT while the MX is there */
    SEV_CMD_BYE,      /* QUIT, and the MX is gone; or a violation that ends the session */
    SEV_CMD_AUTH,     /* AUTH, and it was offered; or the client's response to a 334 */
    SEV_CMD_STARTTLS, /* STARTTLS, and it was offered */
    SEV_CMD_PASS_TLS, /* the same, to be passed on */
    SEV_PASSTHROUGH,  /* the MX has agreed: the rest is relayed unread, and not ours */
    SEV_CLIENT_TLS_DONE,
    SEV_CLIENT_TLS_FAILED,
    SEV_SMART_HOST,     /* EHLO was answered; what host this is, is configured (PRX-029) */
    SEV_ANNOUNCED,      /* and what could be had of it; the client has its reply to EHLO */
    SEV_RESUME_EHLO,    /* greeted again, and the command in hand is EHLO */
    SEV_REQUIREMENT,    /* known */
    SEV_NO_REQUIREMENT, /* cannot be known now: refused locally (REP-065) */
    SEV_ALLOW,          /* the five actions of a verdict */
    SEV_REFUSE,
    SEV_START_TLS,
    SEV_NEW_CONNECTION,
    SEV_GIVE_UP,
    SEV_RECHECK,       /* would be refused: is that still the policy? (STS-103) */
    SEV_TOO_LATE,      /* the recipient in hand has taken too long (PRX-053) */
    SEV_SEND,          /* the group is whole */
    SEV_MAIL_REFUSED,  /* and recipients went with it */
    SEV_STALE_MAIL,    /* allowed, but an earlier MAIL is still open upstream */
    SEV_END_OF_DATA,   /* CRLF "." CRLF from the client, or the end of the last chunk */
    SEV_END_OF_CHUNK,  /* of any other */
    SEV_EARLY_REFUSAL, /* 4xx or 5xx to text that is not all sent yet */
    SEV_AMBIGUOUS,     /* a look-alike of it (SMTP-044) */
    SEV_CLIENT_GONE,   /* end of file or error on the client's leg */
    SEV_CLIENT_IDLE,   /* time-out of the client */
    SEV_EVENTS,        /* how many there are */
};

/** Where the session goes next. A pair that is not listed closes the session: an answer that was
 * not expected is never a reason to go on in clear. */
enum session_state session_next(enum session_state state, enum session_event event);

/** For logs and records. Static storage. */
const char *session_state_name(enum session_state state);
const char *session_event_name(enum session_event event);

#endif
