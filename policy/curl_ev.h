/* policy/curl_ev.h: libcurl's multi interface on a libev loop, without a thread.
 * Context: policy process; used by policy/fetch.c. */
#ifndef STSGATE_POLICY_CURL_EV_H
#define STSGATE_POLICY_CURL_EV_H

#include <curl/curl.h>

#include "base/result.h"

struct curl_ev;
struct ev_loop;

/* A transfer is over. It is still to be removed; any curl_ev_…() but curl_ev_free() may be called.
 */
typedef void curl_ev_done(void *arg, CURL *easy, CURLcode code);

/** loop, arg: borrowed, until curl_ev_free(). RES_NOMEM. */
MUST_CHECK enum result curl_ev_new(struct ev_loop *loop, curl_ev_done *done, void *arg,
                                   struct curl_ev **out);

/** After every transfer has been removed. NULL is allowed. */
void curl_ev_free(struct curl_ev *curl);

/** Start a transfer; done comes from the loop, never from here. easy stays the caller's. RES_NOMEM.
 */
MUST_CHECK enum result curl_ev_add(struct curl_ev *curl, CURL *easy);

/** done will not come any more. */
void curl_ev_remove(struct curl_ev *curl, CURL *easy);

#endif
