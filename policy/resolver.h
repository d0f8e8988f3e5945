/* policy/resolver.h: DNS questions through libunbound, validating, on the process's libev loop: no
 * thread, no child. Context: policy process. The only caller of libunbound. */
#ifndef STSGATE_POLICY_RESOLVER_H
#define STSGATE_POLICY_RESOLVER_H

#include "policy/dns_message.h"

struct ev_loop;
struct resolver;
struct resolver_query;

#define RESOLVER_MEMORIES_MAX 16u /* that wait for answers, where answers are not to be cached */

struct resolver_config {
    /* At most one of stub and forward is set. With neither, iteration from the root hints. */
    const char *stub;       /* "ADDRESS" or "ADDRESS@PORT" of the authority for ".", "" for none */
    const char *forward;    /* "ADDRESS" or "ADDRESS@PORT" of a recursive resolver, "" for none */
    const char *root_hints; /* file, "" for the built-in ones */
    const char *trust_anchor; /* file with DS or DNSKEY lines of the root; "" for no validation,
                               * where everything is insecure */
    bool local_zones; /* false: names like .test and private reverse zones are asked for like
                       * any other (unbound answers them itself otherwise) */
    /* libunbound keeps these two once for the whole process: all its resolvers are given the same.
     */
    unsigned cache_min_s; /* TTLs below it are raised to it in the cache; 0: none */
    unsigned cache_max_s; /* TTLs above it are lowered to it; 0: no answer is kept */
    bool uncached; /* each question is asked anew, validation and all (STS-103); only what was
                    * learnt on the way to other answers serves for a second. The files above are
                    * read again for it. That takes a megabyte or so until the answer is there:
                    * while RESOLVER_MEMORIES_MAX questions or more of the same names wait, what was
                    * learnt serves until one of them has its answer. */
};

/* What a question came to. */
enum resolver_status {
    RESOLVER_FAILED = 0, /* SERVFAIL, REFUSED, time-out, bogus, malformed, too large: a temporary
                          * failure */
    RESOLVER_ANSWERED,   /* answer is valid; count 0 for NXDOMAIN and NODATA */
};

struct resolver_answer {
    enum resolver_status status;
    enum dns_security security; /* of an answer */
    struct dns_answer answer;   /* borrowed for the call; empty when failed */
    bool bogus;                 /* of a failure: what came does not stand DNSSEC validation */
    char reason[64]; /* printable ASCII, when failed: "servfail", "timeout", "bogus: …" */
};

typedef void resolver_done(void *arg, const struct resolver_answer *answer);

/** loop: borrowed, until resolver_free(). config: its strings are borrowed, until resolver_free().
 * out_error: on failure a text for the operator; static, or borrowed until the next call.
 * RES_SYNTAX: a bad address, an unreadable file. RES_NOMEM. */
MUST_CHECK enum result resolver_new(struct ev_loop *loop, const struct resolver_config *config,
                                    struct resolver **out, const char **out_error);

/** Cancels what is open; no callback comes any more. NULL is allowed. */
void resolver_free(struct resolver *r);

/** Ask. name: host name in A-labels, no trailing dot, as by hostname_normalise(). qtype: A, AAAA,
 * MX, TXT, CNAME, TLSA, or "." and SOA. Through a chain of CNAMEs the security is that of its
 * weakest link (DANE-007). done is called exactly once from the loop, never before this call has
 * returned, unless the query is cancelled. out: a handle for resolver_cancel(), gone once done has
 * been called. RES_NOMEM; RES_LIMIT: too many open questions (10 000); done is then never called.
 */
MUST_CHECK enum result resolver_ask(struct resolver *r, const char *name, unsigned qtype,
                                    resolver_done *done, void *arg, struct resolver_query **out);

/** The callback will not come. */
void resolver_cancel(struct resolver_query *query);

#endif
