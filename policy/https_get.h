/* policy/https_get.h: one GET of a policy by libcurl: what is asked, what is refused, and what came
 * of it (RFC 8461 3.3). Context: policy process; used by policy/fetch.c, which runs the transfers.
 */
#ifndef STSGATE_POLICY_HTTPS_GET_H
#define STSGATE_POLICY_HTTPS_GET_H

#include <curl/curl.h>

#include "base/buffer.h"
#include "policy/fetch.h"

#define HTTPS_GET_ADDRS_MAX 16u
#define HTTPS_GET_HOST_MAX (sizeof "mta-sts." + HOSTNAME_MAX)

/* In the caller's memory, where it must stay until https_get_clear(): libcurl points back to it. */
struct https_get {
    CURL *easy;                    /* owned, as the next three */
    CURLSH *share;                 /* holds the address: a DNS cache of this transfer alone */
    struct curl_slist *resolve;    /* address */
    struct curl_slist *connect_to; /* port */
    struct ip_addr addrs[HTTPS_GET_ADDRS_MAX];
    size_t addr_count;
    size_t addr_at;    /* the one that is tried */
    unsigned spent_ms; /* on those before it */
    size_t head_bytes; /* of all response headers so far */
    bool head_done;    /* the last head was whole */
    bool ended;        /* the peer has said close_notify */
    struct buffer body;
    const char *stopped;           /* why a callback of ours ended the transfer, or NULL */
    char host[HTTPS_GET_HOST_MAX]; /* "mta-sts." and the policy domain */
};

/** Allocates nothing. addrs beyond HTTPS_GET_ADDRS_MAX are left out. */
void https_get_init(struct https_get *get, const char *domain, const struct ip_addr *addrs,
                    size_t addr_count);

/** Make get->easy for the address whose turn it is, ready to be run. private: its CURLINFO_PRIVATE.
 * config: borrowed until https_get_clear(). RES_NOMEM: still to be cleared. */
MUST_CHECK enum result https_get_prepare(struct https_get *get, const struct fetch_config *config,
                                         void *private);

/** After a transfer that ended with code: is it the next address's turn, because this one is dead
 * and there is time left? get->easy has left its multi handle, and with true it is gone. */
bool https_get_moves_on(struct https_get *get, const struct fetch_config *config, CURLcode code);

/** What a transfer that ended with code came to. get->easy has left its multi handle, and is gone
 * afterwards with all that is libcurl's. out->body is borrowed from get until https_get_clear(). */
void https_get_conclude(struct https_get *get, CURLcode code, struct fetch_result *out);

/** After get->easy has left its multi handle. May be called again. */
void https_get_clear(struct https_get *get);

#endif
