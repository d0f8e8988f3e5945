#include "base/tls_report_msg.h"

#define FIELDS 13u
#define DETAIL_FIELDS 3u
#define STRING_MAX_BYTES 8300u  /* a TLSA record in hexadecimal */
#define TIME_MAX_S 253402300799 /* 9999-12-31T23:59:59Z: the last that RFC 3339 can write */

/* ---- encoding ---- */

static void
encode_list(struct pack_writer *w, const struct name_list *list)
{
    if (list->count > TLS_REPORT_STRINGS_MAX)
        pack_fail(w, RES_LIMIT);
    pack_array(w, list->count);
    for (size_t i = 0; i < list->count && w->res == RES_OK; i++)
        pack_str(w, span_of(list->names[i]));
}

static void
encode_addr(struct pack_writer *w, const struct ip_addr *addr)
{
    pack_bin(w, span_make(addr->bytes, addr->len));
}

void
tls_report_encode(const struct tls_report *report, struct pack_writer *w)
{
    pack_array(w, FIELDS);
    pack_int(w, report->at_s);
    pack_str(w, span_of(report->domain));
    pack_uint(w, report->type);
    pack_str(w, span_of(report->policy_domain));
    pack_bin(w, span_make(report->text_sha256, sizeof report->text_sha256));
    encode_list(w, &report->strings);
    encode_list(w, &report->mx);
    pack_bool(w, report->failed);
    pack_array(w, report->detail_count);
    for (size_t i = 0; i < report->detail_count; i++) {
        pack_array(w, DETAIL_FIELDS);
        pack_uint(w, report->details[i].result);
        pack_str(w, span_of(report->details[i].reason));
        pack_bool(w, report->details[i].fetch);
    }
    encode_addr(w, &report->sending);
    encode_addr(w, &report->receiving);
    pack_str(w, span_of(report->mx_host));
    pack_str(w, span_of(report->helo));
}

/* ---- decoding ---- */

static void
need(struct pack_reader *r, bool holds)
{
    if (!holds)
        pack_reader_fail(r, RES_SYNTAX);
}

static bool
is_printable(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < ' ' || text.ptr[i] > '~')
            return false;
    return true;
}

static void
decode_text(struct pack_reader *r, char *dst, size_t size)
{
    pack_read_text(r, dst, size);
    need(r, is_printable(span_of(dst)));
}

/* A host name exactly as hostname_normalise() writes it, or "" where that is allowed. */
static void
decode_name(struct pack_reader *r, char dst[HOSTNAME_MAX + 1], bool may_be_empty)
{
    char normal[HOSTNAME_MAX + 1];

    pack_read_text(r, dst, HOSTNAME_MAX + 1);
    if (dst[0] == '\0')
        need(r, may_be_empty);
    else
        need(r, hostname_normalise(span_of(dst), normal) == RES_OK && strcmp(dst, normal) == 0);
}

static void
decode_list(struct pack_reader *r, struct name_list *list)
{
    size_t count = pack_read_array(r, TLS_REPORT_STRINGS_MAX);

    for (size_t i = 0; i < count && r->res == RES_OK; i++) {
        struct span text = pack_read_str(r);

        need(r, text.len > 0 && text.len <= STRING_MAX_BYTES && is_printable(text));
        if (r->res == RES_OK)
            pack_reader_fail(r, name_list_add(list, text));
    }
}

static void
decode_addr(struct pack_reader *r, struct ip_addr *addr)
{
    struct span bytes = pack_read_bin(r);

    *addr = (struct ip_addr){ .len = 0 };
    if (bytes.len)
        pack_reader_fail(r, ip_addr_from_bytes(bytes, addr));
}

static void
decode_details(struct pack_reader *r, struct tls_report *report)
{
    report->detail_count = pack_read_array(r, TLS_REPORT_DETAILS_MAX);
    for (size_t i = 0; i < report->detail_count; i++) {
        struct tls_report_detail *detail = &report->details[i];

        pack_read_tuple(r, DETAIL_FIELDS);
        detail->result = (enum result_type)pack_read_uint(r, RESULT_TYPES - 1);
        need(r, detail->result != RESULT_SUCCESS);
        decode_text(r, detail->reason, sizeof detail->reason);
        detail->fetch = pack_read_bool(r);
    }
}

/* What each type has, and has not. */
static bool
agrees(const struct tls_report *report)
{
    static const uint8_t none[sizeof report->text_sha256];
    bool has_text = memcmp(report->text_sha256, none, sizeof none) != 0;

    if (report->failed && report->detail_count == 0)
        return false;
    switch (report->type) {
    case TLS_REPORT_NO_POLICY:
        return !has_text && !report->strings.count && !report->mx.count;
    case TLS_REPORT_STS:
        return !report->strings.count && (has_text || !report->mx.count);
    case TLS_REPORT_TLSA:
        return !has_text;
    }
    return false;
}

enum result
tls_report_decode(struct pack_reader *r, struct tls_report *out)
{
    *out = (struct tls_report){ .at_s = 0 };
    pack_read_tuple(r, FIELDS);
    out->at_s = pack_read_int(r, 0, TIME_MAX_S);
    decode_name(r, out->domain, false);
    out->type = (enum tls_report_type)pack_read_uint(r, TLS_REPORT_TLSA);
    decode_name(r, out->policy_domain, false);
    pack_read_bytes(r, out->text_sha256, sizeof out->text_sha256);
    decode_list(r, &out->strings);
    decode_list(r, &out->mx);
    out->failed = pack_read_bool(r);
    decode_details(r, out);
    decode_addr(r, &out->sending);
    decode_addr(r, &out->receiving);
    decode_name(r, out->mx_host, true);
    decode_text(r, out->helo, sizeof out->helo);
    need(r, r->res != RES_OK || agrees(out));
    if (r->res != RES_OK)
        tls_report_clear(out);
    return r->res;
}
