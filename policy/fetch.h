/* policy/fetch.h: one HTTPS GET of an MTA-STS policy, RFC 8461 3.3, by libcurl's multi interface on
 * the process's libev loop. The only caller of libcurl. Context: policy process, which must ignore
 * SIGPIPE: OpenSSL writes to sockets without MSG_NOSIGNAL. */
#ifndef STSGATE_POLICY_FETCH_H
#define STSGATE_POLICY_FETCH_H

#include "base/ip_addr.h"
#include "base/verdict.h"
#include "policy/sts_policy.h"

struct ev_loop;
struct fetcher;
struct fetch;

struct fetch_config {
    const char *ca_file;   /* PEM bundle trusted for policy hosts */
    uint16_t port;         /* 443; another one in a lab */
    unsigned timeout_ms;   /* for name, connection, TLS, headers and body together (STS-029) */
    unsigned max_parallel; /* 1 ..: more wait in line (STS-032) */
};

struct fetch_result {
    enum result_type type; /* RESULT_SUCCESS, RESULT_STS_POLICY_FETCH_ERROR or
                            * RESULT_STS_WEBPKI_INVALID (RPT-040) */
    char reason[64];       /* "http-CODE" for every status but 200, "content-type",
                            * "content-encoding", "transfer-encoding", "content-length",
                            * "too-large", "timeout", "connect", "tls", "truncated", "http-syntax",
                            * "no memory", "X509_V_ERR_…"; "" on success */
    struct span body;      /* borrowed for the call; 0 .. STS_POLICY_MAX_BYTES bytes, whole */
};

typedef void fetch_done(void *arg, const struct fetch_result *result);

/** loop: borrowed until fetcher_free(). config and its strings: copied.
 * RES_NOMEM; RES_SYNTAX: ca_file cannot be read (out_error names it). */
MUST_CHECK enum result fetcher_new(struct ev_loop *loop, const struct fetch_config *config,
                                   struct fetcher **out, const char **out_error);
void fetcher_free(struct fetcher *f); /* cancels what is open; NULL is allowed */

/** GET https://mta-sts.DOMAIN/.well-known/mta-sts.txt from one of addrs, tried in their order.
 * domain: policy domain, normalised. addrs: 1 .. 16 addresses that the caller has already found
 * permitted (STS-035); nothing else is ever connected to. Both are copied.
 * done is called exactly once from the loop, never before this call has returned, unless cancelled.
 * RES_NOMEM, RES_LIMIT (10 000 waiting): done is then never called. */
MUST_CHECK enum result fetch_start(struct fetcher *f, const char *domain,
                                   const struct ip_addr *addrs, size_t addr_count, fetch_done *done,
                                   void *arg, struct fetch **out);

void fetch_cancel(struct fetch *fetch);

#endif
