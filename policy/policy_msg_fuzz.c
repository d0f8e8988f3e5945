/* policy/policy_msg_fuzz.c: any bytes as a message between a worker and the policy process.
 * Promises: it is read as one type at most, the one that policy_msg_type() says; what is accepted
 * is what the program relies on, and is the same when sent on; nothing is left behind on failure.
 */
#include "policy/policy_msg.h"

#include <stdint.h>
#include <stdlib.h>

#define MESSAGE_MAX (128u * 1024u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds)
        abort(); /* assert() is silent in release builds */
}

static void
must_be_address(const struct ip_addr *addr)
{
    must(addr->len == 4 || addr->len == 16);
}

/* Ours is the shortest form, and reads back as the same bytes. */
static void
must_repeat(const struct buffer *once, const struct buffer *twice, size_t size)
{
    must(buffer_len(once) <= size);
    must(span_equal(buffer_span(once), buffer_span(twice)));
}

static bool
check_request(struct span message)
{
    struct policy_request request, again;
    struct buffer once, twice;

    if (policy_request_decode(message, &request) != RES_OK)
        return false;
    must(policy_msg_type(message) == POLICY_MSG_REQUEST);
    must(request.domain[0] == '\0' || hostname_is_valid(span_of(request.domain)));
    must_be_address(&request.destination);
    must(request.port != 0);
    must_be_address(&request.client);
    buffer_init(&once, MESSAGE_MAX);
    buffer_init(&twice, MESSAGE_MAX);
    must(policy_request_encode(&request, &once) == RES_OK);
    must(policy_request_decode(buffer_span(&once), &again) == RES_OK);
    must(policy_request_encode(&again, &twice) == RES_OK);
    must_repeat(&once, &twice, message.len);
    buffer_clear(&once);
    buffer_clear(&twice);
    return true;
}

static bool
check_answer(struct span message)
{
    struct requirement *req, *again;
    struct buffer once, twice;
    uint64_t id;

    if (policy_answer_decode(message, &id, &req) != RES_OK) {
        must(!req);
        return false;
    }
    must(policy_msg_type(message) == POLICY_MSG_ANSWER);
    buffer_init(&once, MESSAGE_MAX);
    buffer_init(&twice, MESSAGE_MAX);
    must(policy_answer_encode(id, req, &once) == RES_OK);
    must(policy_answer_decode(buffer_span(&once), &id, &again) == RES_OK);
    must((req != NULL) == (again != NULL));
    must(policy_answer_encode(id, again, &twice) == RES_OK);
    must_repeat(&once, &twice, message.len);
    requirement_unref(req);
    requirement_unref(again);
    buffer_clear(&once);
    buffer_clear(&twice);
    return true;
}

static bool
check_forget(struct span message)
{
    char domain[HOSTNAME_MAX + 1], again[HOSTNAME_MAX + 1];
    struct buffer once, twice;

    if (policy_forget_decode(message, domain) != RES_OK)
        return false;
    must(policy_msg_type(message) == POLICY_MSG_FORGET);
    must(!domain[0] || hostname_is_valid(span_of(domain)));
    buffer_init(&once, MESSAGE_MAX);
    buffer_init(&twice, MESSAGE_MAX);
    must(policy_forget_encode(domain, &once) == RES_OK);
    must(policy_forget_decode(buffer_span(&once), again) == RES_OK);
    must(policy_forget_encode(again, &twice) == RES_OK);
    must_repeat(&once, &twice, message.len);
    buffer_clear(&once);
    buffer_clear(&twice);
    return true;
}

static bool
check_list(struct span message)
{
    struct policy_list list, again;
    struct buffer once, twice;

    if (policy_list_decode(message, &list) != RES_OK)
        return false;
    must(policy_msg_type(message) == POLICY_MSG_LIST);
    must_be_address(&list.destination);
    must(list.port != 0 && list.list.len <= POLICY_LIST_MAX_BYTES);
    must(list.list.ptr[list.list.len - 1] == '\n');
    buffer_init(&once, MESSAGE_MAX);
    buffer_init(&twice, MESSAGE_MAX);
    must(policy_list_encode(&list, &once) == RES_OK);
    must(policy_list_decode(buffer_span(&once), &again) == RES_OK);
    must(policy_list_encode(&again, &twice) == RES_OK);
    must_repeat(&once, &twice, message.len);
    buffer_clear(&once);
    buffer_clear(&twice);
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span message = span_make(data, size);
    int read_as = 0;

    read_as += check_request(message);
    read_as += check_answer(message);
    read_as += check_forget(message);
    read_as += check_list(message);
    must(read_as <= 1);
    return 0;
}
