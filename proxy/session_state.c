#include "proxy/session_state.h"

static const char *const state_names[SES_STATES] = {
    [SES_CONNECT] = "connect",
    [SES_GREETING] = "greeting",
    [SES_COMMAND] = "command",
    [SES_EHLO] = "ehlo",
    [SES_HELO] = "helo",
    [SES_AUTH] = "auth",
    [SES_AUTH_LINE] = "auth-line",
    [SES_CLIENT_TLS] = "client-tls",
    [SES_PASS_TLS] = "pass-tls",
    [SES_REQUIREMENT] = "requirement",
    [SES_JUDGE] = "judge",
    [SES_STARTTLS] = "starttls",
    [SES_HANDSHAKE] = "handshake",
    [SES_EHLO_TLS] = "ehlo-tls",
    [SES_RECONNECT] = "reconnect",
    [SES_REGREETING] = "regreeting",
    [SES_REEHLO] = "reehlo",
    [SES_CLEAN] = "clean",
    [SES_MAIL] = "mail",
    [SES_RCPT] = "rcpt",
    [SES_PASS] = "pass",
    [SES_DATA] = "data",
    [SES_CONTENT] = "content",
    [SES_FINAL] = "final",
    [SES_SWALLOW] = "swallow",
    [SES_CHUNK] = "chunk",
    [SES_CHUNK_REPLY] = "chunk-reply",
    [SES_DISCARD] = "discard",
    [SES_LOST] = "lost",
    [SES_REFUSED] = "refused",
    [SES_QUIT] = "quit",
    [SES_GATHER] = "gather",
    [SES_AHEAD] = "ahead",
    [SES_VOID] = "void",
    [SES_CLOSED] = "closed",
};

static const char *const event_names[SEV_EVENTS] = {
    [SEV_NONE] = "none",
    [SEV_CONNECTED] = "connected",
    [SEV_CONNECT_FAILED] = "connect-failed",
    [SEV_REPLY_READY] = "reply-220",
    [SEV_REPLY_OK] = "reply-2xx",
    [SEV_REPLY_MORE] = "reply-3xx",
    [SEV_REPLY_LATER] = "reply-4xx",
    [SEV_REPLY_NO] = "reply-5xx",
    [SEV_REPLY_CLOSING] = "reply-421",
    [SEV_MX_LOST] = "mx-lost",
    [SEV_INJECTED] = "injected",
    [SEV_TLS_DONE] = "tls-done",
    [SEV_TLS_FAILED] = "tls-failed",
    [SEV_CMD_EHLO] = "cmd-ehlo",
    [SEV_CMD_RCPT] = "cmd-rcpt",
    [SEV_CMD_RSET] = "cmd-rset",
    [SEV_CMD_DATA] = "cmd-data",
    [SEV_CMD_BDAT] = "cmd-bdat",
    [SEV_CMD_DISCARD] = "cmd-discard",
    [SEV_CMD_QUIT] = "cmd-quit",
    [SEV_CMD_BYE] = "cmd-bye",
    [SEV_CMD_AUTH] = "cmd-auth",
    [SEV_CMD_STARTTLS] = "cmd-starttls",
    [SEV_CMD_PASS_TLS] = "cmd-pass-tls",
    [SEV_PASSTHROUGH] = "passthrough",
    [SEV_CLIENT_TLS_DONE] = "client-tls-done",
    [SEV_CLIENT_TLS_FAILED] = "client-tls-failed",
    [SEV_SMART_HOST] = "smart-host",
    [SEV_ANNOUNCED] = "announced",
    [SEV_RESUME_EHLO] = "resume-ehlo",
    [SEV_REQUIREMENT] = "requirement",
    [SEV_NO_REQUIREMENT] = "no-requirement",
    [SEV_ALLOW] = "allow",
    [SEV_REFUSE] = "refuse",
    [SEV_START_TLS] = "start-tls",
    [SEV_NEW_CONNECTION] = "new-connection",
    [SEV_GIVE_UP] = "give-up",
    [SEV_RECHECK] = "recheck",
    [SEV_TOO_LATE] = "too-late",
    [SEV_SEND] = "send",
    [SEV_MAIL_REFUSED] = "mail-refused",
    [SEV_STALE_MAIL] = "stale-mail",
    [SEV_END_OF_DATA] = "end-of-data",
    [SEV_END_OF_CHUNK] = "end-of-chunk",
    [SEV_EARLY_REFUSAL] = "early-refusal",
    [SEV_AMBIGUOUS] = "ambiguous",
    [SEV_CLIENT_GONE] = "client-gone",
    [SEV_CLIENT_IDLE] = "client-idle",
};

const char *
session_state_name(enum session_state state)
{
    return (unsigned)state < SES_STATES ? state_names[state] : "?";
}

const char *
session_event_name(enum session_event event)
{
    return (unsigned)event < SEV_EVENTS ? event_names[event] : "?";
}

/* The protocol is one row per expected pair: [state][event] = next. What is not here closes the
 * session; it reads as SES_CONNECT, where nothing leads to. */
static const unsigned char next_state[SES_STATES][SEV_EVENTS] = {
    [SES_CONNECT][SEV_CONNECTED] = SES_GREETING,

    [SES_GREETING][SEV_REPLY_READY] = SES_COMMAND,
    [SES_GREETING][SEV_REPLY_LATER] = SES_REFUSED,
    [SES_GREETING][SEV_REPLY_NO] = SES_REFUSED,

    [SES_COMMAND][SEV_CMD_EHLO] = SES_EHLO,
    [SES_COMMAND][SEV_CMD_RCPT] = SES_REQUIREMENT,
    [SES_COMMAND][SEV_CMD_RSET] = SES_PASS,
    [SES_COMMAND][SEV_CMD_DATA] = SES_DATA,
    [SES_COMMAND][SEV_CMD_BDAT] = SES_CHUNK,
    [SES_COMMAND][SEV_CMD_DISCARD] = SES_DISCARD,
    [SES_COMMAND][SEV_CMD_QUIT] = SES_QUIT,
    [SES_COMMAND][SEV_NEW_CONNECTION] = SES_RECONNECT, /* EHLO, and the MX leg had failed */
    [SES_COMMAND][SEV_REPLY_CLOSING] = SES_LOST,       /* unasked: given to the next command */
    [SES_COMMAND][SEV_MX_LOST] = SES_LOST,

    [SES_EHLO][SEV_REPLY_OK] = SES_COMMAND,
    [SES_EHLO][SEV_REPLY_LATER] = SES_COMMAND,
    [SES_EHLO][SEV_SMART_HOST] = SES_REQUIREMENT,
    [SES_EHLO][SEV_REPLY_NO] = SES_HELO,
    [SES_HELO][SEV_REPLY_OK] = SES_COMMAND,
    [SES_HELO][SEV_REPLY_LATER] = SES_COMMAND,
    [SES_HELO][SEV_REPLY_NO] = SES_COMMAND,

    [SES_COMMAND][SEV_CMD_AUTH] = SES_AUTH,
    [SES_AUTH][SEV_REPLY_MORE] = SES_AUTH_LINE,
    [SES_AUTH][SEV_REPLY_OK] = SES_COMMAND,
    [SES_AUTH][SEV_REPLY_LATER] = SES_COMMAND,
    [SES_AUTH][SEV_REPLY_NO] = SES_COMMAND,
    [SES_AUTH_LINE][SEV_CMD_AUTH] = SES_AUTH,

    /* An MX that goes away meanwhile is connected to again with the EHLO that follows. */
    [SES_COMMAND][SEV_CMD_STARTTLS] = SES_CLIENT_TLS,
    [SES_CLIENT_TLS][SEV_CLIENT_TLS_DONE] = SES_COMMAND,
    [SES_CLIENT_TLS][SEV_MX_LOST] = SES_CLIENT_TLS,
    [SES_CLIENT_TLS][SEV_REPLY_CLOSING] = SES_CLIENT_TLS,

    /* Passed through: what follows the 220 is no session any more. */
    [SES_COMMAND][SEV_CMD_PASS_TLS] = SES_PASS_TLS,
    [SES_PASS_TLS][SEV_REPLY_LATER] = SES_COMMAND,
    [SES_PASS_TLS][SEV_REPLY_NO] = SES_COMMAND,

    /* A recipient: requirement, facts, verdict. */
    [SES_REQUIREMENT][SEV_REQUIREMENT] = SES_JUDGE,
    [SES_REQUIREMENT][SEV_NO_REQUIREMENT] = SES_COMMAND,
    [SES_JUDGE][SEV_REFUSE] = SES_COMMAND,
    [SES_JUDGE][SEV_ANNOUNCED] = SES_COMMAND,
    [SES_JUDGE][SEV_RECHECK] = SES_REQUIREMENT,
    [SES_JUDGE][SEV_START_TLS] = SES_STARTTLS,
    [SES_JUDGE][SEV_NEW_CONNECTION] = SES_RECONNECT,
    [SES_JUDGE][SEV_STALE_MAIL] = SES_CLEAN,
    [SES_JUDGE][SEV_ALLOW] = SES_GATHER,

    [SES_STARTTLS][SEV_REPLY_READY] = SES_HANDSHAKE,
    [SES_STARTTLS][SEV_INJECTED] = SES_JUDGE,
    [SES_STARTTLS][SEV_REPLY_OK] = SES_JUDGE, /* anything but 220: no TLS here (TLS-005) */
    [SES_STARTTLS][SEV_REPLY_MORE] = SES_JUDGE,
    [SES_STARTTLS][SEV_REPLY_LATER] = SES_JUDGE,
    [SES_STARTTLS][SEV_REPLY_NO] = SES_JUDGE,
    [SES_HANDSHAKE][SEV_TLS_DONE] = SES_EHLO_TLS,
    [SES_HANDSHAKE][SEV_TLS_FAILED] = SES_JUDGE,
    [SES_EHLO_TLS][SEV_REPLY_OK] = SES_JUDGE,
    [SES_EHLO_TLS][SEV_TLS_FAILED] = SES_JUDGE, /* TLS 1.3: the MX's alert comes behind our end */

    [SES_RECONNECT][SEV_CONNECTED] = SES_REGREETING,
    [SES_REGREETING][SEV_REPLY_READY] = SES_REEHLO,
    [SES_REGREETING][SEV_RESUME_EHLO] = SES_EHLO,
    [SES_REEHLO][SEV_REPLY_OK] = SES_JUDGE,

    [SES_CLEAN][SEV_REPLY_OK] = SES_GATHER,
    [SES_GATHER][SEV_CMD_RCPT] = SES_AHEAD,
    [SES_AHEAD][SEV_ALLOW] = SES_GATHER,
    [SES_AHEAD][SEV_SEND] = SES_MAIL,
    [SES_GATHER][SEV_SEND] = SES_MAIL,
    [SES_MAIL][SEV_REPLY_OK] = SES_RCPT,
    [SES_MAIL][SEV_REPLY_LATER] = SES_COMMAND,
    [SES_MAIL][SEV_REPLY_NO] = SES_COMMAND,
    [SES_MAIL][SEV_MAIL_REFUSED] = SES_VOID,
    [SES_VOID][SEV_REPLY_OK] = SES_COMMAND,
    [SES_VOID][SEV_REPLY_LATER] = SES_COMMAND,
    [SES_VOID][SEV_REPLY_NO] = SES_COMMAND,
    [SES_RCPT][SEV_REPLY_OK] = SES_COMMAND,
    [SES_RCPT][SEV_REPLY_LATER] = SES_COMMAND,
    [SES_RCPT][SEV_REPLY_NO] = SES_COMMAND,

    /* Its client waits no longer; what the MX may still say to it is nobody's any more. */
    [SES_REQUIREMENT][SEV_TOO_LATE] = SES_LOST,
    [SES_STARTTLS][SEV_TOO_LATE] = SES_LOST,
    [SES_EHLO_TLS][SEV_TOO_LATE] = SES_LOST,
    [SES_RECONNECT][SEV_TOO_LATE] = SES_LOST,
    [SES_REGREETING][SEV_TOO_LATE] = SES_LOST,
    [SES_REEHLO][SEV_TOO_LATE] = SES_LOST,
    [SES_CLEAN][SEV_TOO_LATE] = SES_LOST,
    [SES_MAIL][SEV_TOO_LATE] = SES_LOST,
    [SES_RCPT][SEV_TOO_LATE] = SES_LOST,
    [SES_VOID][SEV_TOO_LATE] = SES_LOST,

    [SES_PASS][SEV_REPLY_OK] = SES_COMMAND,
    [SES_PASS][SEV_REPLY_LATER] = SES_COMMAND,
    [SES_PASS][SEV_REPLY_NO] = SES_COMMAND,

    [SES_DATA][SEV_REPLY_MORE] = SES_CONTENT,
    [SES_DATA][SEV_REPLY_LATER] = SES_COMMAND,
    [SES_DATA][SEV_REPLY_NO] = SES_COMMAND,
    [SES_CONTENT][SEV_END_OF_DATA] = SES_FINAL,
    [SES_CONTENT][SEV_AMBIGUOUS] = SES_SWALLOW,
    [SES_CONTENT][SEV_MX_LOST] = SES_SWALLOW,
    [SES_CONTENT][SEV_REPLY_OK] = SES_SWALLOW, /* before the end of data every reply is wrong */
    [SES_CONTENT][SEV_REPLY_MORE] = SES_SWALLOW,
    [SES_CONTENT][SEV_REPLY_LATER] = SES_SWALLOW,
    [SES_CONTENT][SEV_REPLY_NO] = SES_SWALLOW,
    [SES_CONTENT][SEV_REPLY_CLOSING] = SES_SWALLOW,
    [SES_SWALLOW][SEV_END_OF_DATA] = SES_LOST,
    [SES_FINAL][SEV_REPLY_OK] = SES_COMMAND,
    [SES_FINAL][SEV_REPLY_LATER] = SES_COMMAND,
    [SES_FINAL][SEV_REPLY_NO] = SES_COMMAND,
    [SES_FINAL][SEV_CLIENT_GONE] =
        SES_FINAL,                       /* the mail is the MX's by now: its word is recorded */
    [SES_FINAL][SEV_MX_LOST] = SES_LOST, /* 451: never a 2xx of our own (PRX-008) */
    [SES_FINAL][SEV_EARLY_REFUSAL] = SES_LOST, /* what has not left never does */

    [SES_CHUNK][SEV_END_OF_CHUNK] = SES_CHUNK_REPLY,
    [SES_CHUNK][SEV_END_OF_DATA] = SES_FINAL,
    [SES_CHUNK][SEV_MX_LOST] = SES_SWALLOW,
    [SES_CHUNK][SEV_REPLY_OK] = SES_SWALLOW, /* as in SES_CONTENT */
    [SES_CHUNK][SEV_REPLY_MORE] = SES_SWALLOW,
    [SES_CHUNK][SEV_REPLY_LATER] = SES_SWALLOW,
    [SES_CHUNK][SEV_REPLY_NO] = SES_SWALLOW,
    [SES_CHUNK][SEV_REPLY_CLOSING] = SES_SWALLOW,
    [SES_CHUNK_REPLY][SEV_REPLY_OK] = SES_COMMAND,
    [SES_CHUNK_REPLY][SEV_REPLY_LATER] = SES_COMMAND,
    [SES_CHUNK_REPLY][SEV_REPLY_NO] = SES_COMMAND,
    [SES_CHUNK_REPLY][SEV_MX_LOST] = SES_LOST,
    [SES_CHUNK_REPLY][SEV_EARLY_REFUSAL] = SES_LOST,
    [SES_DISCARD][SEV_END_OF_CHUNK] = SES_COMMAND,
    [SES_DISCARD][SEV_MX_LOST] = SES_SWALLOW, /* the rest of the chunk still comes */
    [SES_DISCARD][SEV_REPLY_CLOSING] = SES_SWALLOW,

    [SES_REFUSED][SEV_CMD_QUIT] = SES_QUIT,
    [SES_REFUSED][SEV_MX_LOST] = SES_REFUSED, /* it may hang up; the client still has to */
    [SES_REFUSED][SEV_REPLY_CLOSING] = SES_REFUSED,
};

enum session_state
session_next(enum session_state state, enum session_event event)
{
    enum session_state next;

    if (event == SEV_NONE)
        return state;
    if ((unsigned)state >= SES_STATES || (unsigned)event >= SEV_EVENTS)
        return SES_CLOSED;
    next = (enum session_state)next_state[state][event];
    return next == SES_CONNECT ? SES_CLOSED : next;
}
