/* Any bytes as a message between worker and policy process: refused, or within the ranges that the
 * headers promise, and then written and read again the same. */
#include <stdint.h>
#include <stdlib.h>

#include "policy/policy_msg.h"

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_request(const struct policy_request *r)
{
    struct policy_request again;
    struct buffer b;

    CHECK(hostname_is_valid(span_of(r->domain)));
    CHECK(r->destination.len == 4 || r->destination.len == 16);
    CHECK(r->client.len == 4 || r->client.len == 16);
    buffer_init(&b, 4096);
    CHECK(policy_request_encode(r, &b) == RES_OK);
    CHECK(policy_request_decode(buffer_span(&b), &again) == RES_OK);
    CHECK(again.id == r->id && again.recheck == r->recheck && !strcmp(again.domain, r->domain));
    buffer_clear(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span message = span_make(data, size);
    char domain[HOSTNAME_MAX + 1];
    struct policy_request request;
    struct requirement *req;
    uint64_t id;

    (void)policy_msg_type(message);
    if (policy_request_decode(message, &request) == RES_OK)
        check_request(&request);
    if (policy_answer_decode(message, &id, &req) == RES_OK && req)
        CHECK(req->ttl_s <= 3600 && req->refs == 1);
    requirement_unref(req);
    if (policy_forget_decode(message, domain) == RES_OK)
        CHECK(!*domain || hostname_is_valid(span_of(domain)));
    return 0;
}
