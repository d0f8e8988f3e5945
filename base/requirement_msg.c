#include "base/requirement_msg.h"

#include <stdlib.h>

#define FIELDS 23u
#define DANE_FIELDS 7u
#define DANE_HOST_FIELDS 4u
#define TLSA_FIELDS 4u
#define REQUIREMENT_TTL_MAX_S 3600u
#define ADDRESS_MAX_BYTES 254u  /* RFC 5321 4.5.3.1.3, without the brackets */
#define TIME_MAX_S 253402300799 /* 9999-12-31T23:59:59Z: the last that RFC 3339 can write */

/* ---- encoding ---- */

static void
encode_names(struct pack_writer *w, const struct name_list *list)
{
    if (list->count > REQUIREMENT_MSG_NAMES_MAX)
        pack_fail(w, RES_LIMIT);
    pack_array(w, list->count);
    for (size_t i = 0; i < list->count && w->res == RES_OK; i++)
        pack_str(w, span_of(list->names[i]));
}

static void
encode_host(struct pack_writer *w, const struct dane_host *host)
{
    pack_array(w, DANE_HOST_FIELDS);
    pack_str(w, span_of(host->mx));
    pack_str(w, span_of(host->base));
    encode_names(w, &host->references);
    pack_array(w, host->count);
    for (size_t i = 0; i < host->count; i++) {
        const struct tlsa_record *record = &host->records[i];

        pack_array(w, TLSA_FIELDS);
        pack_uint(w, record->usage);
        pack_uint(w, record->selector);
        pack_uint(w, record->matching);
        pack_bin(w, span_make(record->data, record->len));
    }
}

static void
encode_dane(struct pack_writer *w, const struct requirement *req)
{
    pack_array(w, DANE_FIELDS);
    pack_uint(w, req->dane.state);
    pack_bool(w, req->dane.required);
    pack_bool(w, req->dane.suffices);
    pack_bool(w, req->dane.mx_secure);
    pack_bool(w, req->dane.dnssec);
    pack_str(w, span_of(req->dane.reason));
    pack_array(w, req->dane.host_count);
    for (size_t i = 0; i < req->dane.host_count; i++)
        encode_host(w, &req->dane.hosts[i]);
}

void
requirement_encode(const struct requirement *req, struct pack_writer *w)
{
    size_t before = pack_written(w);

    pack_array(w, FIELDS);
    pack_uint(w, REQUIREMENT_MSG_VERSION);
    pack_str(w, span_of(req->domain));
    pack_uint(w, req->matched);
    encode_names(w, &req->names);
    pack_bool(w, req->mx_lookup_failed);
    pack_uint(w, req->sts.mode);
    pack_str(w, span_of(req->sts.id));
    encode_names(w, &req->sts.mx);
    pack_bin(w, span_make(req->sts.text_sha256, sizeof req->sts.text_sha256));
    pack_int(w, req->sts.fetched_at_s);
    pack_int(w, req->sts.expires_at_s);
    pack_str(w, span_of(req->sts.discovery));
    encode_dane(w, req);
    pack_bool(w, req->monitored);
    pack_bool(w, req->defer);
    pack_bool(w, req->null_mx);
    pack_uint(w, req->local.action);
    pack_str(w, span_of(req->local.id));
    encode_names(w, &req->local.mx);
    pack_uint(w, req->local.trust);
    pack_uint(w, req->tls_floor);
    encode_names(w, &req->report_to);
    pack_uint(w, req->ttl_s);
    if (pack_written(w) - before > REQUIREMENT_MSG_MAX_BYTES)
        pack_fail(w, RES_LIMIT);
}

/* ---- decoding ---- */

static void
need(struct pack_reader *r, bool holds)
{
    if (!holds)
        pack_reader_fail(r, RES_SYNTAX);
}

/* A host name exactly as hostname_normalise() writes it. */
static bool
is_normal_name(struct span name)
{
    char normal[HOSTNAME_MAX + 1];

    return hostname_normalise(name, normal) == RES_OK && span_equal(name, span_of(normal));
}

/* As a policy may write it, in any case and with a trailing dot (RFC 8461 4.1); nothing that
 * hostname_matches() would not take. */
static bool
is_pattern(struct span pattern)
{
    char normal[HOSTNAME_MAX + 1];

    if (span_starts(pattern, span_of("*.")))
        pattern = span_from(pattern, 2);
    return hostname_normalise(pattern, normal) == RES_OK;
}

/* What a recipient can be held against: a local part, "@" and a name, in printable ASCII. */
static bool
is_address(struct span address)
{
    size_t at = span_find(address, '@');

    for (size_t i = 0; i < address.len; i++)
        if (address.ptr[i] < ' ' || address.ptr[i] > '~')
            return false;
    return at > 0 && at + 1 < address.len && address.len <= ADDRESS_MAX_BYTES;
}

static void
decode_names(struct pack_reader *r, size_t max, bool (*is_valid)(struct span),
             struct name_list *list)
{
    size_t count = pack_read_array(r, max);

    for (size_t i = 0; i < count && r->res == RES_OK; i++) {
        struct span name = pack_read_str(r);

        need(r, is_valid(name));
        if (r->res == RES_OK)
            pack_reader_fail(r, name_list_add(list, name));
    }
}

static bool
is_policy_id(const char *id)
{
    for (; *id; id++)
        if (!((*id >= '0' && *id <= '9') || (*id >= 'a' && *id <= 'z') ||
              (*id >= 'A' && *id <= 'Z')))
            return false;
    return true;
}

static bool
is_printable_ascii(const char *text)
{
    for (; *text; text++)
        if (*text < 0x20 || *text > 0x7e)
            return false;
    return true;
}

/* Nothing demanded without a policy, no policy without its age: what the evidence in a record
 * cannot stand for must not be judged on. */
static bool
policy_agrees(const struct requirement *req)
{
    if (req->sts.fetched_at_s == 0)
        return req->sts.mode == STS_MODE_NONE && req->sts.mx.count == 0;
    if (req->sts.expires_at_s < req->sts.fetched_at_s)
        return false;
    return req->sts.mode == STS_MODE_NONE || req->sts.mx.count > 0;
}

static void
decode_policy(struct pack_reader *r, struct requirement *req)
{
    req->sts.mode = (enum sts_mode)pack_read_uint(r, STS_MODE_ENFORCE);
    pack_read_text(r, req->sts.id, sizeof req->sts.id);
    need(r, is_policy_id(req->sts.id));
    decode_names(r, REQUIREMENT_MSG_NAMES_MAX, is_pattern, &req->sts.mx);
    pack_read_bytes(r, req->sts.text_sha256, sizeof req->sts.text_sha256);
    req->sts.fetched_at_s = pack_read_int(r, 0, TIME_MAX_S);
    req->sts.expires_at_s = pack_read_int(r, 0, TIME_MAX_S);
    pack_read_text(r, req->sts.discovery, sizeof req->sts.discovery);
    need(r, is_printable_ascii(req->sts.discovery));
    need(r, policy_agrees(req));
}

/* A normal host name into out. */
static void
decode_name(struct pack_reader *r, char out[HOSTNAME_MAX + 1])
{
    pack_read_text(r, out, HOSTNAME_MAX + 1);
    need(r, is_normal_name(span_of(out)));
}

static void
decode_record(struct pack_reader *r, struct dane_host *host)
{
    uint8_t usage, selector, matching;
    struct span data;

    pack_read_tuple(r, TLSA_FIELDS);
    usage = (uint8_t)pack_read_uint(r, UINT8_MAX);
    selector = (uint8_t)pack_read_uint(r, UINT8_MAX);
    matching = (uint8_t)pack_read_uint(r, UINT8_MAX);
    data = pack_read_bin(r);
    if (r->res == RES_OK)
        pack_reader_fail(r, dane_host_add(host, usage, selector, matching, data));
    if (r->res == RES_OK && host->count > 1)
        need(r, tlsa_record_compare(&host->records[host->count - 2],
                                    &host->records[host->count - 1]) < 0);
}

static void
decode_host(struct pack_reader *r, struct dane_host *host)
{
    size_t count;

    pack_read_tuple(r, DANE_HOST_FIELDS);
    decode_name(r, host->mx);
    decode_name(r, host->base);
    decode_names(r, DANE_REFERENCES_MAX, is_normal_name, &host->references);
    need(r, host->references.count && strcmp(host->references.names[0], host->base) == 0);
    count = pack_read_array(r, TLSA_RECORDS_MAX);
    need(r, count > 0);
    for (size_t i = 0; i < count && r->res == RES_OK; i++)
        decode_record(r, host);
}

static void
decode_dane(struct pack_reader *r, struct requirement *req)
{
    bool failed;
    size_t count;

    pack_read_tuple(r, DANE_FIELDS);
    req->dane.state = (enum dane_state)pack_read_uint(r, DANE_FAILED);
    failed = req->dane.state == DANE_FAILED;
    req->dane.required = pack_read_bool(r);
    req->dane.suffices = pack_read_bool(r);
    req->dane.mx_secure = pack_read_bool(r);
    req->dane.dnssec = pack_read_bool(r);
    need(r, failed || !req->dane.dnssec);
    pack_read_text(r, req->dane.reason, sizeof req->dane.reason);
    need(r, is_printable_ascii(req->dane.reason) && failed == (req->dane.reason[0] != '\0'));
    count = pack_read_array(r, DANE_HOSTS_MAX);
    need(r, (req->dane.state == DANE_SECURE) == (count > 0));
    if (r->res != RES_OK || count == 0)
        return;
    req->dane.hosts = calloc(count, sizeof *req->dane.hosts);
    if (!req->dane.hosts) {
        pack_reader_fail(r, RES_NOMEM);
        return;
    }
    req->dane.host_count = count;
    for (size_t i = 0; i < count && r->res == RES_OK; i++)
        decode_host(r, &req->dane.hosts[i]);
}

static void
decode_local(struct pack_reader *r, struct requirement *req)
{
    req->local.action = (enum rule_action)pack_read_uint(r, RULE_NO_DANE);
    pack_read_text(r, req->local.id, sizeof req->local.id);
    need(r, is_printable_ascii(req->local.id));
    decode_names(r, REQUIREMENT_MSG_NAMES_MAX, is_pattern, &req->local.mx);
    req->local.trust = (uint16_t)pack_read_uint(r, UINT16_MAX);
    need(r, req->local.action == RULE_VERIFY || (req->local.mx.count == 0 && !req->local.trust));
    need(r, req->dane.required == (req->local.action == RULE_DANE));
}

static void
decode_fields(struct pack_reader *r, struct requirement *req)
{
    pack_read_tuple(r, FIELDS);
    need(r, pack_read_uint(r, UINT32_MAX) == REQUIREMENT_MSG_VERSION);
    pack_read_text(r, req->domain, sizeof req->domain);
    need(r, req->domain[0] == '\0' || is_normal_name(span_of(req->domain)));
    req->matched = (enum mx_match)pack_read_uint(r, MX_MATCH_TABLE);
    decode_names(r, REQUIREMENT_MSG_NAMES_MAX, is_normal_name, &req->names);
    req->mx_lookup_failed = pack_read_bool(r);
    decode_policy(r, req);
    decode_dane(r, req);
    req->monitored = pack_read_bool(r);
    req->defer = pack_read_bool(r);
    req->null_mx = pack_read_bool(r);
    decode_local(r, req);
    req->tls_floor = (uint16_t)pack_read_uint(r, TLS_VERSION_1_3);
    need(r, req->tls_floor >= TLS_VERSION_1_0);
    decode_names(r, REQUIREMENT_MSG_REPORT_TO_MAX, is_address, &req->report_to);
    req->ttl_s = (uint32_t)pack_read_uint(r, REQUIREMENT_TTL_MAX_S);
}

enum result
requirement_decode(struct pack_reader *r, struct requirement **out)
{
    struct requirement *req = NULL;
    size_t left = r->rest.len;

    *out = NULL;
    if (r->res != RES_OK)
        return r->res;
    req = requirement_new();
    if (!req) {
        pack_reader_fail(r, RES_NOMEM);
        goto done;
    }
    decode_fields(r, req);
    if (left - r->rest.len > REQUIREMENT_MSG_MAX_BYTES)
        pack_reader_fail(r, RES_LIMIT);
    if (r->res != RES_OK)
        goto done;
    *out = req;
    req = NULL; /* now the caller's */
done:
    requirement_unref(req);
    return r->res;
}
