/* base/observation.h: what the peer proved: the facts of one upstream connection. Gathered by tls/
 * and the session, judged afterwards (TLS-043), kept as evidence in the records.
 * Context: any process, one thread at a time per object. */
#ifndef STSGATE_BASE_OBSERVATION_H
#define STSGATE_BASE_OBSERVATION_H

#include "base/hostname.h"
#include "base/ip_addr.h"
#include "base/name_list.h"
#include "base/peer_chain.h"

#include <stdint.h>

#define OBSERVATION_HELO_MAX 255u

enum tls_stage {
    TLS_STAGE_CLEAR,   /* STARTTLS not tried yet */
    TLS_STAGE_REFUSED, /* STARTTLS answered with something else than 220; still in clear (TLS-005)
                        */
    TLS_STAGE_FAILED,  /* handshake failed or was attacked; the connection is dead (TLS-006) */
    TLS_STAGE_DONE,    /* under TLS */
};

enum tls_failure {
    TLS_FAILURE_NONE,
    TLS_FAILURE_HANDSHAKE, /* alert, garbage, end of file, library error */
    TLS_FAILURE_VERSION,   /* the peer only speaks versions below the floor */
    TLS_FAILURE_INJECTED,  /* clear text behind the 220 (RFC 3207 6, TLS-008) */
    TLS_FAILURE_TIMEOUT,
};

enum chain_state {
    CHAIN_UNTRUSTED, /* anything but the others: unknown CA, purpose, constraints, not yet valid */
    CHAIN_EXPIRED,   /* leaf or a CA is past its notAfter */
    CHAIN_GOOD,      /* leads to a trusted root, valid at the time of the handshake */
};

/* What the presented chain is worth against the TLSA records of a requirement. */
enum dane_match {
    DANE_UNCHECKED,   /* not held against any */
    DANE_UNUSABLE,    /* no record is usable: TLS, but no authentication (DANE-023) */
    DANE_NO_MATCH,    /* none matches the chain */
    DANE_TA_BROKEN,   /* DANE-TA matches, and the chain to it does not verify */
    DANE_TA_EXPIRED,  /* the same, because a certificate is past its notAfter */
    DANE_TA_MISNAMED, /* DANE-TA matches and verifies, for none of the reference names */
    DANE_MATCHED,
};

struct dane_facts {
    uint64_t key; /* which TLSA records: dane_key() of the requirement; 0 with DANE_UNCHECKED */
    enum dane_match match;
    size_t host; /* index in the requirement's dane.hosts: the one matched, or that came nearest */
    uint8_t usage, selector, matching; /* of the record that matched */
    unsigned depth;                    /* in the chain: 0 is the leaf */
    char error[48];                    /* "X509_V_ERR_DANE_NO_MATCH"; "X509_V_OK" */
    char reason[96];                   /* the library's short text */
};

struct observation {
    unsigned refs; /* observation_ref() and observation_unref() */

    struct ip_addr local;                /* our end of the connection; none: not known */
    char helo[OBSERVATION_HELO_MAX + 1]; /* what the MX called itself in its last reply to EHLO or
                                          * HELO, printable ASCII; "" for nothing of the kind */
    bool starttls_offered;               /* keyword in the clear EHLO reply */
    unsigned starttls_code;              /* reply code of STARTTLS, 0 before */
    bool requiretls_offered;             /* keyword in the EHLO reply under TLS (RFC 8689 2) */
    bool bound; /* a recipient of the open transaction was accepted on this connection
                 * or waits for its reply, so it cannot be changed (PRX-031, 033) */

    /* With TLS_STAGE_CLEAR a failure, and what goes with it down to `version`, is that of the
     * connection before: this one was made to go on without (TLS-031). */
    enum tls_stage stage;
    enum tls_failure failure;   /* with TLS_STAGE_FAILED */
    char alert[48];             /* fatal alert that ended the handshake: "received handshake
                                 * failure", "sent protocol version"; "" for none */
    char failure_reason[96];    /* printable ASCII, e.g. "tlsv1 alert protocol version" */
    char sni[HOSTNAME_MAX + 1]; /* as sent in the ClientHello, "" for none */
    uint16_t floor;             /* lowest version the ClientHello allowed, 0 before */
    uint16_t version;    /* of the ServerHello, also when the handshake failed later; 0 unknown */
    char cipher[48];     /* IANA (RFC) name, "" before */
    char group[24];      /* key exchange group, "" when unknown */
    bool ticket_offered; /* of an earlier session; a failure may be its fault */
    bool resumed;        /* and taken: what is said of the chain is about the stored one */

    uint16_t trust;         /* which roots the chain was held against (requirement, local.trust) */
    enum chain_state chain; /* meaningful with TLS_STAGE_DONE */
    char chain_error[48];   /* "X509_V_ERR_CERT_HAS_EXPIRED"; "X509_V_OK" when good */
    char chain_reason[96];  /* the library's short text: "certificate has expired" */
    struct name_list sans;  /* dNSNames of the leaf, as they stand there; those with NUL left out */
    uint8_t leaf_sha256[32];  /* of the leaf's DER */
    struct peer_chain *certs; /* a reference: as presented; NULL before. Of a resumed session: as
                               * stored with the ticket */
    struct dane_facts dane;
};

/** New with one reference: clear, nothing known, chain untrusted. NULL: no memory. */
struct observation *observation_new(void);
struct observation *observation_ref(struct observation *obs);
void observation_unref(struct observation *obs); /* NULL is allowed */

/** "TLSv1.3" as in records; "" for 0. And as in replies (TLS-022): "TLS 1.1", "SSL 3.0", "unknown".
 */
const char *tls_version_name(uint16_t version);
const char *tls_version_reply_name(uint16_t version);

/** "clear", "refused", "failed", "done"; "none", "handshake", "version", "injected", "timeout";
 * "untrusted", "expired", "good". Static storage. */
const char *tls_stage_name(enum tls_stage stage);
const char *tls_failure_name(enum tls_failure failure);
const char *chain_state_name(enum chain_state chain);

/** "unchecked", "unusable", "no-match", "ta-broken", "ta-expired", "ta-misnamed", "matched". */
const char *dane_match_name(enum dane_match match);

/** Is the connection under TLS below 1.2, which only an opportunistic recipient gets (TLS-021)? */
bool observation_is_weak(const struct observation *obs);

#endif
