#include "policy/tlsrpt_record.h"

#include "base/hostname.h"
#include "policy/ext_name.h"

#include <stdio.h>

#define VERSION                                                                                    \
    "v=TLSRPTv1;" /* %s in the ABNF: compared with case; records without are dropped               \
                   */

const char *
tlsrpt_finding_name(enum tlsrpt_finding finding)
{
    static const char *const names[] = {
        [TLSRPT_FOUND] = "found",     [TLSRPT_ABSENT] = "absent",     [TLSRPT_SEVERAL] = "several",
        [TLSRPT_INVALID] = "invalid", [TLSRPT_UNUSABLE] = "unusable",
    };

    return names[finding];
}

void
tlsrpt_record_clear(struct tlsrpt_record *record)
{
    name_list_clear(&record->mail);
    name_list_clear(&record->https);
}

/* ---- addresses ---- */

/* atext of RFC 5322 3.2.3. */
static bool
is_atext(char c)
{
    return ascii_is_alnum(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool
is_dot_atom(struct span local)
{
    bool dot = true; /* none at the start, none behind another, none at the end */

    for (size_t i = 0; i < local.len; i++) {
        if (local.ptr[i] == '.' ? dot : !is_atext(local.ptr[i]))
            return false;
        dot = local.ptr[i] == '.';
    }
    return !dot;
}

/* Printable ASCII between quotes; a quote and a backslash only behind a backslash. */
static bool
is_quoted(struct span local)
{
    if (local.len < 2 || local.ptr[0] != '"' || local.ptr[local.len - 1] != '"')
        return false;
    for (size_t i = 1; i + 1 < local.len; i++) {
        if (local.ptr[i] == '\\')
            i++;
        else if (local.ptr[i] == '"')
            return false;
        if (i + 1 >= local.len || local.ptr[i] < ' ' || local.ptr[i] > '~')
            return false;
    }
    return true;
}

/* Where the domain begins: behind the last "@". */
static size_t
domain_at(struct span address)
{
    for (size_t i = address.len; i > 0; i--)
        if (address.ptr[i - 1] == '@')
            return i;
    return 0;
}

bool
tlsrpt_address_is_valid(struct span address)
{
    size_t at = domain_at(address);
    struct span domain = span_from(address, at);

    if (at < 2 || address.len > TLSRPT_ADDRESS_MAX_BYTES || at - 1 > 64) /* RFC 5321 4.5.3.1.1 */
        return false;
    if (!hostname_is_valid(domain) || hostname_is_ip_like(domain))
        return false;
    return is_dot_atom(span_first(address, at - 1)) || is_quoted(span_first(address, at - 1));
}

/* ---- URIs ---- */

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The octet that "%XX" at the start of s stands for; -1: there is none. */
static int
percent_octet(struct span s)
{
    if (s.len < 3 || s.ptr[0] != '%' || hex_value(s.ptr[1]) < 0 || hex_value(s.ptr[2]) < 0)
        return -1;
    return hex_value(s.ptr[1]) * 16 + hex_value(s.ptr[2]);
}

/* Decode s into out, which has as much room. only: decode no other octets; NULL: all. False: a "%"
 * that begins nothing. */
static bool
percent_decode(struct span s, const char *only, char *out, size_t *out_len)
{
    size_t len = 0;

    while (s.len) {
        int octet = percent_octet(s);
        bool decode = octet > 0 && (!only || strchr(only, octet));

        if (s.ptr[0] == '%' && octet < 0)
            return false;
        if (octet == 0)
            return false; /* no text has a NUL */
        out[len++] = decode ? (char)octet : s.ptr[0];
        s = span_from(s, decode ? 3 : 1);
    }
    *out_len = len;
    return true;
}

/* The first address of a list, up to a comma that stands in no quotes. */
static struct span
first_address(struct span list)
{
    bool quoted = false;
    size_t i = 0;

    for (; i < list.len && (list.ptr[i] != ',' || quoted); i++)
        quoted ^= list.ptr[i] == '"';
    return span_first(list, i);
}

static bool
all_valid(struct span list)
{
    struct span address = first_address(list);

    while (address.len < list.len && tlsrpt_address_is_valid(address)) {
        list = span_from(list, address.len + 1);
        address = first_address(list);
    }
    return address.len == list.len && tlsrpt_address_is_valid(address);
}

static enum result
add_address(struct span address, struct name_list *mail)
{
    if (mail->count >= TLSRPT_RUA_MAX)
        return RES_OK;
    return name_list_add(mail, address);
}

/* A local part that is no dot-atom may be one in quotes. */
static enum result
add_quoted(struct span address, struct name_list *mail)
{
    char text[TLSRPT_ADDRESS_MAX_BYTES + 1];
    size_t at = domain_at(address);
    int len;

    if (at == 0 || address.len + 2 > TLSRPT_ADDRESS_MAX_BYTES)
        return RES_OK;
    len = snprintf(text, sizeof text, "\"%.*s\"@%.*s", (int)(at - 1), address.ptr,
                   (int)(address.len - at), address.ptr + at);
    return tlsrpt_address_is_valid(span_make(text, (size_t)len))
               ? add_address(span_make(text, (size_t)len), mail)
               : RES_OK; /* skipped */
}

/* RFC 6068 2: to = addr-spec *("," addr-spec); in a rua every comma is encoded, so those between
 * addresses and those within one look alike until they have been decoded. */
static enum result
add_addresses(struct span list, struct name_list *mail)
{
    enum result res = RES_OK;

    if (!all_valid(list))
        return add_quoted(list, mail);
    while (list.len && res == RES_OK) {
        struct span address = first_address(list);

        res = add_address(address, mail);
        list = span_from(list, address.len + 1);
    }
    return res;
}

/* RPT-008: what follows "?" are header fields of the sender's making, which a report has not. */
static enum result
take_mailto(struct span rest, struct name_list *mail)
{
    char text[TLSRPT_URI_MAX_BYTES];
    size_t len;

    if (!percent_decode(span_first(rest, span_find(rest, '?')), NULL, text, &len))
        return RES_OK;
    return add_addresses(span_make(text, len), mail);
}

static bool
is_visible(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 0x21 || s.ptr[i] > 0x7e)
            return false;
    return s.len > 0;
}

static enum result
take_https(struct span uri, struct name_list *https)
{
    char text[TLSRPT_URI_MAX_BYTES];
    size_t len;

    if (!percent_decode(uri, ",;!", text, &len) || len == strlen("https://") ||
        https->count >= TLSRPT_RUA_MAX)
        return RES_OK;
    return name_list_add(https, span_make(text, len));
}

static enum result
take_uri(struct span uri, struct tlsrpt_record *out)
{
    if (uri.len > TLSRPT_URI_MAX_BYTES || !is_visible(uri))
        return RES_OK;
    if (span_find(uri, '!') < uri.len) /* must be encoded; DMARC's "!10m" is of another standard */
        return RES_OK;
    if (span_starts_nocase(uri, span_of("mailto:")))
        return take_mailto(span_from(uri, strlen("mailto:")), &out->mail);
    if (span_starts_nocase(uri, span_of("https://")))
        return take_https(uri, &out->https);
    return RES_OK; /* RPT-006: other schemes are skipped */
}

static enum result
take_uris(struct span list, struct tlsrpt_record *out)
{
    enum result res = RES_OK;

    while (list.len && res == RES_OK) {
        struct span uri = span_first(list, span_find(list, ','));

        list = span_from(list, uri.len + 1);
        res = take_uri(span_trim(uri), out);
    }
    return res;
}

/* ---- the record ---- */

/* tlsrpt-ext-value: visible ASCII without "=" and ";". */
static bool
ext_value_is_valid(struct span value)
{
    return is_visible(value) && span_find(value, '=') == value.len;
}

/* 1*(field-delim tlsrpt-field) [field-delim], behind the first delimiter. Of two rua the first
 * counts. */
static bool
find_rua(struct span rest, struct span *rua)
{
    *rua = span_make(NULL, 0);
    while (rest.len) {
        struct span field = span_trim(span_first(rest, span_find(rest, ';')));
        size_t equals = span_find(field, '=');
        struct span name = span_first(field, equals), value = span_from(field, equals + 1);
        bool last = span_find(rest, ';') >= rest.len;

        if (last && field.len == 0)
            break; /* the delimiter that may close the record */
        rest = span_from(rest, span_find(rest, ';') + 1);
        if (!ext_name_is_valid(name))
            return false;
        if (!span_equal(name, span_of("rua"))) {
            if (!ext_value_is_valid(value))
                return false;
        } else if (!rua->ptr) {
            *rua = value;
        }
    }
    return rua->ptr && rua->len > 0;
}

enum result
tlsrpt_record_find(const struct span *texts, size_t count, enum tlsrpt_finding *finding,
                   struct tlsrpt_record *out)
{
    const struct span *record = NULL;
    struct span rua;
    enum result res;

    *out = (struct tlsrpt_record){ .mail = { .count = 0 } };
    *finding = TLSRPT_ABSENT;
    for (size_t i = 0; i < count; i++) {
        if (!span_starts(texts[i], span_of(VERSION)))
            continue; /* dropped before counting (RPT-003, RPT-007) */
        *finding = record ? TLSRPT_SEVERAL : TLSRPT_INVALID;
        record = &texts[i];
    }
    if (*finding != TLSRPT_INVALID || !find_rua(span_from(*record, strlen(VERSION)), &rua))
        return RES_OK;
    res = take_uris(rua, out);
    *finding = out->mail.count || out->https.count ? TLSRPT_FOUND : TLSRPT_UNUSABLE;
    if (res != RES_OK)
        tlsrpt_record_clear(out);
    return res;
}
