/* tests/proxy/session_model.h: what must hold of a session whatever its client and its MX say. It
 * looks on at the four wires of a session_world, with parsers of its own, and fails the test when
 *
 *   - a recipient goes upstream without an allow verdict (PRX-013), or without TLS and a proven
 * name where an enforced policy asks for them;
 *   - MAIL goes upstream for no recipient that may go there, or in clear where TLS was to be had;
 *   - a recipient goes upstream without a MAIL, or MAIL or STARTTLS behind one (RFC 5321 4.1.4);
 *   - message text goes upstream that the client did not send, or with an end of its own (PRX-011);
 *   - a look-alike of the end of data goes upstream (SMTP-044), or a handshake follows clear text
 *     behind the 220 to STARTTLS (TLS-008);
 *   - the client hears 2xx to its end of data that the MX did not say to it (PRX-008);
 *   - a command gets no reply, two, or one out of turn (SMTP-032);
 *   - something goes upstream while its reply before is due, but as pipelining permits (PIPE-007);
 *   - a TLS report's freedom to go in clear is used for any other recipient (RPT-080);
 *   - a sender's REQUIRETLS is lost on the way, or its mail goes where it is not kept (RFC 8689);
 *   - AUTH goes to another than a smart host that has proven itself, or past whoever listens on the
 *     client's leg (EXT-008); or its connection is changed for another one (PRX-031);
 *   - the client is shown a keyword that means nothing to it, or that nobody offers (PRX-029);
 *   - both legs are passed through with anything but a handshake to come (PRX-040);
 *   - mail passes of a client that has to begin TLS and has not (TLS-015);
 *   - the session waits without a timer. */
#ifndef STSGATE_TESTS_PROXY_SESSION_MODEL_H
#define STSGATE_TESTS_PROXY_SESSION_MODEL_H

#include "tests/proxy/session_world.h"

#define MODEL_STREAM_BYTES (128u * 1024u) /* of a client's unanswered bytes */
#define MODEL_LINE_BYTES 16384u
#define MODEL_OWED_MAX 64u /* replies of the MX */

/* What the MX has been told and has not answered. */
enum model_owed {
    OWES_NOTHING,
    OWES_GREETING,
    OWES_EHLO,
    OWES_HELO,
    OWES_STARTTLS,
    OWES_MAIL,
    OWES_RCPT,
    OWES_DATA,
    OWES_CHUNK, /* a BDAT with all its octets, not the last */
    OWES_FINAL, /* the end of data, or the last chunk, has reached it */
    OWES_RSET,
    OWES_QUIT,
    OWES_AUTH, /* a command, or a line behind it */
};

struct model_offers {
    bool starttls, pipelining, chunking, requiretls, auth;
};

struct model_line {
    char bytes[MODEL_LINE_BYTES];
    size_t len;
};

struct session_model {
    struct world *w;

    /* The client's side. */
    char stream[MODEL_STREAM_BYTES]; /* what the session has read and not answered */
    size_t stream_len;
    bool in_data;     /* 354 was said: stream begins with message text */
    bool greeted;     /* the greeting was said */
    bool turned_away; /* by a greeting other than 220: nothing but QUIT means anything */
    bool dismissed;   /* 421 was said: nothing more is, and the session is over */
    bool in_auth;     /* 334 was said: stream begins with a line of the exchange */
    bool requiretls, null_sender;       /* of the last MAIL that was answered 2xx */
    bool reports;                       /* and its sender is one of TLS reports */
    struct model_offers shown, showing; /* in force; in the EHLO reply that is being written */
    struct model_line to_client;
    unsigned to_client_lines; /* of that reply so far */

    /* The MX's side, of one connection. */
    unsigned connection; /* world's count of them */
    enum model_owed owed[MODEL_OWED_MAX];
    size_t owed_count;
    bool mx_in_data; /* it said 354 */
    size_t mx_text;  /* octets of the message text or chunk that it has been given */
    unsigned long long mx_chunk_left;   /* octets that belong to the BDAT it has heard */
    enum model_owed mx_chunk;           /* what it owes for them; OWES_NOTHING: it hears commands */
    bool mx_broken;                     /* it spoke out of turn, or no SMTP */
    bool expects_tls;                   /* it said 220 to STARTTLS */
    bool mx_asks_auth;                  /* it said 334 */
    struct model_offers offers, listed; /* in force; in the EHLO reply that is being read */
    struct model_offers ever;           /* by anybody, of what may be shown again */
    bool mail;                          /* it was said, and the MX has not refused or ended it */
    unsigned accepted;                  /* recipients of the open transaction */
    unsigned mx_code;                   /* of the reply that is being read; 0: none */
    struct model_line to_mx, from_mx;

    bool tried_here, tried;             /* STARTTLS: on this connection; on any */
    unsigned taken, told;               /* 2xx of MXs to an end of data; those the client heard */
    unsigned chunks_taken, chunks_told; /* the same for chunks before the last */
    unsigned auths, auths_told;         /* the same for AUTH */
};

/** Looks on from now on; w must not have been started. m keeps w and is w's tap. */
void session_model_watch(struct session_model *m, struct world *w);

/** What must hold while nothing moves. */
void session_model_check(struct session_model *m);

/** May mail for that address go to the MX as the connection is now? By judge(), and by a reading of
 * the RFCs of its own (session_model_demands.c). local: quotes included. */
bool session_model_may_go(const struct session_model *m, struct span local, struct span domain);

/** The reply that is due next from the MX. */
enum model_owed session_model_owed(struct session_model *m);

#endif
