/* base/verdict.h: the outcome of judge(): what happens to one recipient, and what is said of it.
 * Context: any process. */
#ifndef STSGATE_BASE_VERDICT_H
#define STSGATE_BASE_VERDICT_H

#include "base/hostname.h"

#include <stdbool.h>
#include <stdint.h>

/* The strict one is zero. */
enum verdict_action {
    VERDICT_REFUSE = 0, /* local reply; the MX never learns of the recipient */
    VERDICT_ALLOW,      /* MAIL and RCPT may go upstream on this connection */
    VERDICT_START_TLS,  /* not known yet: STARTTLS with the requirement's SNI and floor, then again
                         */
    VERDICT_RECONNECT,  /* this connection has the wrong identity or is dead: a new one (PRX-030) */
    VERDICT_CLOSE,      /* nothing can be done on this connection nor another: 421 and close */
};

/* The rows of docs/requirements.md 10. Texts are in proxy/replies.c and nowhere else. */
enum reply_row {
    REPLY_NONE = 0,
    REPLY_STS_MX_MISMATCH,      /* REP-010 */
    REPLY_STS_STARTTLS_MISSING, /* REP-011 */
    REPLY_STS_TLS_VERSION,      /* REP-012 */
    REPLY_STS_CERTIFICATE,      /* REP-013 */
    REPLY_STS_NAME_MISMATCH,    /* REP-014 */
    REPLY_DANE_STARTTLS,        /* REP-030 */
    REPLY_DANE_DNSSEC,          /* REP-031 */
    REPLY_DANE_INVALID,         /* REP-032 */
    REPLY_DANE_EXPIRED,         /* REP-033 */
    REPLY_DANE_MISNAMED,        /* REP-034 */
    REPLY_DANE_REQUIRED,        /* REP-035 */
    REPLY_DNS_FAILURE,          /* REP-040 */
    REPLY_OTHER_IDENTITY,       /* REP-041 */
    REPLY_NO_RECIPIENTS,        /* REP-044, 554 */
    REPLY_NO_RECIPIENTS_YET,    /* REP-044, 503 */
    REPLY_TLS_REQUIRED,         /* REP-042 */
    REPLY_IDENTITY_REQUIRED,    /* REP-043 */
    REPLY_REQUIRETLS_MISSING,   /* REP-056, 4.7.30 */
    REPLY_REQUIRETLS_UNMET,     /* REP-056, 4.7.10 */
    REPLY_UNREACHABLE,          /* REP-045, as greeting */
    REPLY_UPSTREAM_LOST,        /* REP-046, 421 */
    REPLY_UPSTREAM_LOST_DATA,   /* REP-046, in data: 451 */
    REPLY_SHUTDOWN,             /* REP-047 */
    REPLY_IDLE,                 /* REP-048 */
    REPLY_LINE_TOO_LONG,        /* REP-049 */
    REPLY_BAD_CHARACTER,        /* REP-049 */
    REPLY_UNKNOWN_COMMAND,      /* REP-050, 500 */
    REPLY_NOT_IMPLEMENTED,      /* REP-050, 502 */
    REPLY_NO_STARTTLS,          /* REP-051 */
    REPLY_BAD_SEQUENCE,         /* REP-052 */
    REPLY_BAD_PARAMETERS,       /* REP-053, 501 5.5.4 */
    REPLY_BAD_RECIPIENT,        /* REP-053, 501 5.1.3 */
    REPLY_BAD_SENDER,           /* REP-053, 501 5.1.7 */
    REPLY_PARAMETER_UNKNOWN,    /* REP-054 */
    REPLY_BARE_NEWLINE,         /* REP-055 */
    REPLY_NULL_MX,              /* REP-057 */
    REPLY_BAD_IDN_RECIPIENT,    /* EXT-005, 553 5.1.3 */
    REPLY_BAD_IDN_SENDER,       /* EXT-005, 553 5.1.7 */
    REPLY_SENDER_OK,            /* REP-059 */
    REPLY_EXTENSION_GONE,       /* REP-060 */
    REPLY_TOO_MANY_RECIPIENTS,  /* REP-061 */
    REPLY_PROTOCOL_VIOLATION,   /* REP-064 */
    REPLY_POLICY_UNAVAILABLE,   /* REP-065 */
    REPLY_STARTTLS_FIRST,       /* REP-063 */
    REPLY_STARTTLS_READY,       /* 220 to the client's STARTTLS (RFC 3207 4) */
    REPLY_OK,                   /* 250 2.0.0, RSET and NOOP answered locally */
    REPLY_VRFY,                 /* SMTP-011, 252 */
    REPLY_HELP,                 /* SMTP-011, 214 */
    REPLY_BYE,                  /* SMTP-013, 221 */
    REPLY_ROWS,                 /* how many there are */
};

/* Whose demand a refusal is about, since its profile is chosen by it (REP-004). */
enum reply_class {
    REPLY_CLASS_NONE, /* no failure of a policy */
    REPLY_CLASS_STS,
    REPLY_CLASS_DANE,
    REPLY_CLASS_LOCAL, /* the site's, or the client's own */
    REPLY_CLASSES,     /* how many there are */
};

/* RFC 8460 4.3; the registered names, see result_type_name(). */
enum result_type {
    RESULT_SUCCESS = 0,
    RESULT_STARTTLS_NOT_SUPPORTED,
    RESULT_CERTIFICATE_HOST_MISMATCH,
    RESULT_CERTIFICATE_EXPIRED,
    RESULT_CERTIFICATE_NOT_TRUSTED,
    RESULT_VALIDATION_FAILURE,
    RESULT_TLSA_INVALID,
    RESULT_DNSSEC_INVALID,
    RESULT_DANE_REQUIRED,
    RESULT_STS_POLICY_FETCH_ERROR,
    RESULT_STS_POLICY_INVALID,
    RESULT_STS_WEBPKI_INVALID,
    RESULT_TYPES,
};

/* What one policy of the domain says of the session, whatever decided (RFC 8460 4.2, RPT-022). */
struct policy_result {
    bool judged;             /* the policy is there, and what is known suffices to say */
    enum result_type result; /* with judged */
    char reason[128];        /* as verdict.reason */
};

/* What the site and the client demand of the connection, beside the recipient's domain. */
struct demand {
    bool site_tls;           /* TLS for everybody: key tls = required (TLS-011) */
    bool client_tls;         /* the client's own leg is under TLS: never on in clear (TLS-030) */
    bool requiretls;         /* MAIL ... REQUIRETLS (RFC 8689 2) */
    bool null_sender;        /* MAIL FROM:<>, which may do without that keyword (RTLS-006) */
    bool cleartext_fallback; /* who has no policy is served in clear when TLS is broken (TLS-031) */
    uint16_t floor;          /* lowest TLS version under site_tls and requiretls (TLS-020) */
    bool report_mail;        /* a TLS report for the domain: neither what that demands nor what the
                              * site does holds, and nothing is counted (RPT-080) */
    uint16_t report_floor;   /* with it: lowest TLS version (TLS-021) */
};

struct verdict {
    enum verdict_action action;
    enum reply_row reply; /* with VERDICT_REFUSE and VERDICT_CLOSE; REPLY_NONE otherwise */
    enum result_type
        result;          /* the failure to count, also when the action is VERDICT_ALLOW (testing) */
    char reason[128];    /* RFC 8460 failure-reason-code; printable ASCII; "" for none */
    const char *rule;    /* the requirement and the RFC section that decided; static storage */
    const char *mx;      /* the candidate that was proven or is blamed; borrowed from the
                          * requirement, "" for none */
    bool proven;         /* the certificate proved mx */
    bool full_handshake; /* with VERDICT_RECONNECT: what is known rests on an earlier TLS session;
                          * the new connection resumes none (TLS-026) */
    const char *detail;  /* <Reason> in the reply; static, or borrowed from the observation; "" */

    struct policy_result sts, tlsa; /* each by itself, in enforcing form */

    /* What it would have been if everything applied in enforcing form: the same as action and reply
     * where it does. Recorded always (PRX-041). */
    enum verdict_action would;
    enum reply_row would_reply;

    /* What it was made of beside requirement and observation, which may know more by now. */
    int64_t judged_at_s; /* wall clock; 0: judge() was not asked */
    bool bound;          /* observation.bound at that time */
    struct demand demand;
};

/** "starttls-not-supported" ...; "" for RESULT_SUCCESS. Static storage. */
const char *result_type_name(enum result_type type);

/** "refuse", "allow", "start-tls", "reconnect", "close". Static storage. */
const char *verdict_action_name(enum verdict_action action);

#endif
