/* proxy/ehlo.h: the keywords of an EHLO reply, and the list shown to the client. RFC 5321 4.1.1.1.
 * Context: worker. Pure. */
#ifndef STSGATE_PROXY_EHLO_H
#define STSGATE_PROXY_EHLO_H

#include "base/buffer.h"
#include "proxy/smtp_reply.h"

/* The extensions the program knows: a set as bits. */
enum ehlo_keyword {
    EHLO_STARTTLS = 1u << 0,
    EHLO_PIPELINING = 1u << 1,
    EHLO_SIZE = 1u << 2,
    EHLO_8BITMIME = 1u << 3,
    EHLO_DSN = 1u << 4,
    EHLO_ENHANCEDSTATUSCODES = 1u << 5,
    EHLO_SMTPUTF8 = 1u << 6,
    EHLO_DELIVERBY = 1u << 7,
    EHLO_MT_PRIORITY = 1u << 8,
    EHLO_LIMITS = 1u << 9,
    EHLO_CHUNKING = 1u << 10,
    EHLO_BINARYMIME = 1u << 11,
    EHLO_AUTH = 1u << 13,       /* RFC 4954; shown by a rule of its own, EXT-008 */
    EHLO_REQUIRETLS = 1u << 12, /* RFC 8689; shown by a rule of its own, RTLS-001 */
};

/* Every keyword that is known and means anything under TLS. */
#define EHLO_UNDER_TLS (~(unsigned)EHLO_STARTTLS)

/* Passed to the client when the MX offers them (SMTP-038). STARTTLS is hidden (PRX-039, hide). */
#define EHLO_OFFERED                                                                               \
    (EHLO_PIPELINING | EHLO_SIZE | EHLO_8BITMIME | EHLO_DSN | EHLO_ENHANCEDSTATUSCODES |           \
     EHLO_SMTPUTF8 | EHLO_DELIVERBY | EHLO_MT_PRIORITY | EHLO_LIMITS | EHLO_CHUNKING |             \
     EHLO_BINARYMIME)

/** The set of known keywords that a 2xx EHLO reply lists; exact words in any case, parameters after
 * a blank are ignored (TLS-001: XSTARTTLS and STARTTLSX are not STARTTLS; nor is STARTTLS with a
 * parameter). The first line of the reply is the greeting and no keyword. */
unsigned ehlo_keywords(const struct smtp_reply *reply);

/** What of a list may be shown to a client: EHLO_OFFERED; no CHUNKING where the site has switched
 * it off, and no BINARYMIME without it (CHNK-001). */
unsigned ehlo_offer(unsigned listed, bool chunking);

/** Write the client's EHLO reply: the MX's first line, then the MX's own keyword lines that are in
 * `allowed`, unchanged and in order; "SIZE" without its number unless with_size_number (PRX-029).
 * The last line has a blank after the code. RES_NOMEM, RES_LIMIT: out is unchanged. */
MUST_CHECK enum result ehlo_filter(const struct smtp_reply *reply, unsigned allowed,
                                   bool with_size_number, struct buffer *out);

/** The same with the keyword lines of another reply, `list`: the first line is reply's (PRX-029).
 * ours: EHLO_STARTTLS and EHLO_REQUIRETLS, offered by us where the list lacks them: lines of their
 * own at the end (PRX-039, RTLS-001). */
MUST_CHECK enum result ehlo_announce(const struct smtp_reply *reply, const struct smtp_reply *list,
                                     unsigned allowed, unsigned ours, bool with_size_number,
                                     struct buffer *out);

/** Read again what ehlo_filter() wrote; borrows text. */
struct smtp_reply ehlo_reread(struct span text);

/** A one-line HELO-style reply from an EHLO reply: its first line (PRX-047). */
MUST_CHECK enum result ehlo_as_helo(const struct smtp_reply *reply, struct buffer *out);

/** The bit of an extension named as by smtp_parameter_extension(); 0 when it is none of the above.
 */
unsigned ehlo_keyword_of(const char *extension);

#endif
