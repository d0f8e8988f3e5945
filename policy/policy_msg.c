#include "policy/policy_msg.h"

#include "base/requirement_msg.h"

enum { MSG_REQUEST = 1, MSG_ANSWER = 2 };

static void
read_head(struct pack_reader *r, unsigned type, size_t fields)
{
    pack_read_tuple(r, fields);
    if (pack_read_uint(r, UINT32_MAX) != POLICY_MSG_VERSION ||
        pack_read_uint(r, UINT32_MAX) != type)
        pack_reader_fail(r, RES_SYNTAX);
}

static void
read_addr(struct pack_reader *r, struct ip_addr *out)
{
    if (ip_addr_from_bytes(pack_read_bin(r), out) != RES_OK)
        pack_reader_fail(r, RES_SYNTAX);
}

enum result
policy_request_encode(const struct policy_request *request, struct buffer *out)
{
    struct pack_writer w;

    pack_begin(&w, out);
    pack_array(&w, 6);
    pack_uint(&w, POLICY_MSG_VERSION);
    pack_uint(&w, MSG_REQUEST);
    pack_uint(&w, request->id);
    pack_str(&w, span_of(request->domain));
    pack_bin(&w, span_make(request->destination.bytes, request->destination.len));
    pack_bin(&w, span_make(request->client.bytes, request->client.len));
    return pack_end(&w);
}

enum result
policy_request_decode(struct span message, struct policy_request *out)
{
    char normal[HOSTNAME_MAX + 1];
    struct pack_reader r;
    struct span domain;

    *out = (struct policy_request){ 0 };
    pack_reader_init(&r, message);
    read_head(&r, MSG_REQUEST, 6);
    out->id = pack_read_uint(&r, UINT64_MAX);
    domain = pack_read_str(&r);
    if (hostname_normalise(domain, normal) != RES_OK || !span_equal(domain, span_of(normal)))
        pack_reader_fail(&r, RES_SYNTAX);
    memcpy(out->domain, normal, sizeof out->domain);
    read_addr(&r, &out->destination);
    read_addr(&r, &out->client);
    return pack_reader_end(&r);
}

enum result
policy_answer_encode(uint64_t id, const struct requirement *req, struct buffer *out)
{
    struct pack_writer w;

    pack_begin(&w, out);
    pack_array(&w, 4);
    pack_uint(&w, POLICY_MSG_VERSION);
    pack_uint(&w, MSG_ANSWER);
    pack_uint(&w, id);
    if (req)
        requirement_encode(req, &w);
    else
        pack_nil(&w);
    return pack_end(&w);
}

enum result
policy_answer_decode(struct span message, uint64_t *out_id, struct requirement **out_req)
{
    struct requirement *req = NULL;
    struct pack_reader r;
    enum result res;

    *out_req = NULL;
    pack_reader_init(&r, message);
    read_head(&r, MSG_ANSWER, 4);
    *out_id = pack_read_uint(&r, UINT64_MAX);
    if (pack_peek_type(&r) == PACK_NIL)
        pack_read_nil(&r);
    else if ((res = requirement_decode(&r, &req)) != RES_OK)
        return res;
    res = pack_reader_end(&r);
    if (res != RES_OK) {
        requirement_unref(req);
        return res;
    }
    *out_req = req;
    return RES_OK;
}
