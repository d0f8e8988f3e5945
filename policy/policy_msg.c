#include "policy/policy_msg.h"

#include "base/requirement_msg.h"
#include "base/tls_report_msg.h"

#define REQUEST_FIELDS 9u /* more than any other message has */

static void
read_head(struct pack_reader *r, unsigned type, size_t fields)
{
    pack_read_tuple(r, fields);
    if (pack_read_uint(r, UINT32_MAX) != POLICY_MSG_VERSION ||
        pack_read_uint(r, UINT32_MAX) != type)
        pack_reader_fail(r, RES_SYNTAX);
}

unsigned
policy_msg_type(struct span message)
{
    struct pack_reader r;
    unsigned type;

    pack_reader_init(&r, message);
    (void)pack_read_array(&r, REQUEST_FIELDS);
    if (pack_read_uint(&r, UINT32_MAX) != POLICY_MSG_VERSION)
        return 0;
    type = (unsigned)pack_read_uint(&r, UINT32_MAX);
    return r.res == RES_OK ? type : 0;
}

/* "" is told by nil. */
static void
write_domain(struct pack_writer *w, const char *domain)
{
    if (domain[0])
        pack_str(w, span_of(domain));
    else
        pack_nil(w);
}

/* A name as it was written: normalised already; or "". */
static void
read_domain(struct pack_reader *r, char out[HOSTNAME_MAX + 1])
{
    char normal[HOSTNAME_MAX + 1];
    struct span domain;

    out[0] = '\0';
    if (pack_peek_type(r) == PACK_NIL) {
        pack_read_nil(r);
        return;
    }
    domain = pack_read_str(r);
    if (hostname_normalise(domain, normal) != RES_OK || !span_equal(domain, span_of(normal)))
        pack_reader_fail(r, RES_SYNTAX);
    memcpy(out, normal, sizeof normal);
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
    pack_array(&w, REQUEST_FIELDS);
    pack_uint(&w, POLICY_MSG_VERSION);
    pack_uint(&w, POLICY_MSG_REQUEST);
    pack_uint(&w, request->id);
    write_domain(&w, request->domain);
    pack_bin(&w, span_make(request->destination.bytes, request->destination.len));
    pack_uint(&w, request->port);
    pack_bin(&w, span_make(request->client.bytes, request->client.len));
    pack_bool(&w, request->recheck);
    pack_bool(&w, request->report_to);
    return pack_end(&w);
}

enum result
policy_request_decode(struct span message, struct policy_request *out)
{
    struct pack_reader r;

    *out = (struct policy_request){ 0 };
    pack_reader_init(&r, message);
    read_head(&r, POLICY_MSG_REQUEST, REQUEST_FIELDS);
    out->id = pack_read_uint(&r, UINT64_MAX);
    read_domain(&r, out->domain);
    read_addr(&r, &out->destination);
    out->port = (uint16_t)pack_read_uint(&r, UINT16_MAX);
    if (out->port == 0)
        pack_reader_fail(&r, RES_SYNTAX);
    read_addr(&r, &out->client);
    out->recheck = pack_read_bool(&r);
    out->report_to = pack_read_bool(&r);
    return pack_reader_end(&r);
}

enum result
policy_answer_encode(uint64_t id, const struct requirement *req, struct buffer *out)
{
    struct pack_writer w;

    pack_begin(&w, out);
    pack_array(&w, 4);
    pack_uint(&w, POLICY_MSG_VERSION);
    pack_uint(&w, POLICY_MSG_ANSWER);
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
    read_head(&r, POLICY_MSG_ANSWER, 4);
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

enum result
policy_forget_encode(const char *domain, struct buffer *out)
{
    struct pack_writer w;

    pack_begin(&w, out);
    pack_array(&w, 3);
    pack_uint(&w, POLICY_MSG_VERSION);
    pack_uint(&w, POLICY_MSG_FORGET);
    write_domain(&w, domain);
    return pack_end(&w);
}

enum result
policy_forget_decode(struct span message, char domain[HOSTNAME_MAX + 1])
{
    struct pack_reader r;

    domain[0] = '\0';
    pack_reader_init(&r, message);
    read_head(&r, POLICY_MSG_FORGET, 3);
    read_domain(&r, domain);
    return pack_reader_end(&r);
}

enum result
policy_list_encode(const struct policy_list *list, struct buffer *out)
{
    struct pack_writer w;

    pack_begin(&w, out);
    pack_array(&w, 6);
    pack_uint(&w, POLICY_MSG_VERSION);
    pack_uint(&w, POLICY_MSG_LIST);
    pack_bin(&w, span_make(list->destination.bytes, list->destination.len));
    pack_uint(&w, list->port);
    pack_bool(&w, list->proven);
    pack_bin(&w, list->list);
    return pack_end(&w);
}

/* It will be shown to clients: whole lines, and nothing in them that is no text. */
static bool
is_list(struct span list)
{
    if (list.len < 2 || list.len > POLICY_LIST_MAX_BYTES || list.ptr[list.len - 1] != '\n')
        return false;
    for (size_t i = 0; i < list.len; i++) {
        char c = list.ptr[i];
        bool line_end = c == '\r' ? i + 1 < list.len && list.ptr[i + 1] == '\n'
                                  : c == '\n' && i > 0 && list.ptr[i - 1] == '\r';

        if (!line_end && (c < ' ' || c > '~'))
            return false;
    }
    return true;
}

enum result
policy_list_decode(struct span message, struct policy_list *out)
{
    struct pack_reader r;

    *out = (struct policy_list){ .port = 0 };
    pack_reader_init(&r, message);
    read_head(&r, POLICY_MSG_LIST, 6);
    read_addr(&r, &out->destination);
    out->port = (uint16_t)pack_read_uint(&r, UINT16_MAX);
    out->proven = pack_read_bool(&r);
    out->list = pack_read_bin(&r);
    if (out->port == 0 || (r.res == RES_OK && !is_list(out->list)))
        pack_reader_fail(&r, RES_SYNTAX);
    return pack_reader_end(&r);
}

enum result
policy_report_encode(const struct policy_report *head, struct span report, struct buffer *out)
{
    struct pack_writer w;

    pack_begin(&w, out);
    pack_array(&w, 6);
    pack_uint(&w, POLICY_MSG_VERSION);
    pack_uint(&w, POLICY_MSG_REPORT);
    pack_uint(&w, head->source);
    pack_uint(&w, head->number);
    pack_uint(&w, head->sessions);
    pack_raw(&w, report);
    return pack_end(&w);
}

enum result
policy_report_decode(struct span message, struct policy_report *out)
{
    struct pack_reader r;
    enum result res;

    *out = (struct policy_report){ .source = 0 };
    pack_reader_init(&r, message);
    read_head(&r, POLICY_MSG_REPORT, 6);
    out->source = pack_read_uint(&r, UINT64_MAX);
    out->number = pack_read_uint(&r, INT64_MAX);
    out->sessions = pack_read_uint(&r, POLICY_REPORT_SESSIONS_MAX);
    if (out->source == 0 || out->number == 0 || out->sessions == 0)
        pack_reader_fail(&r, RES_SYNTAX);
    res = r.res == RES_OK ? tls_report_decode(&r, &out->report) : r.res;
    if (res == RES_OK)
        res = pack_reader_end(&r);
    if (res != RES_OK)
        tls_report_clear(&out->report);
    return res;
}

enum result
policy_counted_encode(uint64_t number, struct buffer *out)
{
    struct pack_writer w;

    pack_begin(&w, out);
    pack_array(&w, 3);
    pack_uint(&w, POLICY_MSG_VERSION);
    pack_uint(&w, POLICY_MSG_COUNTED);
    pack_uint(&w, number);
    return pack_end(&w);
}

enum result
policy_counted_decode(struct span message, uint64_t *out_number)
{
    struct pack_reader r;

    pack_reader_init(&r, message);
    read_head(&r, POLICY_MSG_COUNTED, 3);
    *out_number = pack_read_uint(&r, INT64_MAX);
    return pack_reader_end(&r);
}
