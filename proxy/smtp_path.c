#include "proxy/smtp_path.h"

#include "base/ip_addr.h"

#include <idn2.h>

/* What parse steps share: the text between "<" and ">", and how to call it bad. */
struct path_text {
    struct span rest;   /* not parsed yet */
    enum reply_row bad; /* REPLY_BAD_SENDER or REPLY_BAD_RECIPIENT */
};

static bool
is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool
is_non_ascii(char c)
{
    return (unsigned char)c >= 0x80;
}

/* atext of RFC 5322 3.2.3, and UTF8-non-ascii (RFC 6531 3.3). */
static bool
is_atext(char c)
{
    return is_alnum(c) || is_non_ascii(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Octets of the quoted string at the front of text, quotes included; 0 when it is not closed. */
static size_t
quoted_len(struct span text)
{
    for (size_t i = 1; i < text.len; i++) {
        if (text.ptr[i] == '"')
            return i + 1;
        if (text.ptr[i] == '\\')
            i++;
    }
    return 0;
}

/* Octets of the local-part at the front of text. Dots may stand anywhere: the grammar has single
 * ones inside only, but addresses such as "name.@carrier.example" are in use, and which of them it
 * knows is the MX's business. */
static size_t
local_len(struct span text)
{
    size_t len = 0;

    if (text.len && text.ptr[0] == '"')
        return quoted_len(text);
    while (len < text.len && (is_atext(text.ptr[len]) || text.ptr[len] == '.'))
        len++;
    return len;
}

/* The offset of the ">" that closes the path at the front of text; text.len when there is none. */
static size_t
closing_bracket(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '>')
            return i;
        if (text.ptr[i] == '"') {
            size_t len = quoted_len(span_from(text, i));

            if (len == 0)
                break;
            i += len - 1;
        }
    }
    return text.len;
}

/* IPv4-address-literal: four Snum, which may have leading zeros. */
static bool
is_ipv4_literal(struct span text)
{
    for (unsigned part = 0; part < 4; part++) {
        struct span snum = span_first(text, span_find(text, '.'));
        unsigned long long value;

        if (!span_to_u64(snum, 3, &value) || value > 255)
            return false;
        if ((part == 3) != (snum.len == text.len)) /* a dot follows all but the last */
            return false;
        text = span_from(text, snum.len + 1);
    }
    return true;
}

static bool
is_ipv6(struct span text)
{
    char address[IP_ADDR_TEXT_MAX];
    struct ip_addr parsed;

    if (text.len >= sizeof address || span_find(text, ':') == text.len)
        return false;
    memcpy(address, text.ptr, text.len);
    address[text.len] = '\0';
    return ip_addr_parse(address, &parsed) == RES_OK;
}

/* General-address-literal: Standardized-tag ":" 1*dcontent. Four octets of dcontent are refused:
 * no tag needs them, and they would let a laxer parser end the path elsewhere. */
static bool
is_general_literal(struct span tag, struct span content)
{
    if (tag.len == 0 || content.len == 0 || !is_alnum(tag.ptr[tag.len - 1]))
        return false;
    for (size_t i = 0; i < tag.len; i++)
        if (!is_alnum(tag.ptr[i]) && tag.ptr[i] != '-')
            return false;
    for (size_t i = 0; i < content.len; i++)
        if (content.ptr[i] <= ' ' || content.ptr[i] > '~' || strchr("[\\]\"<>@", content.ptr[i]))
            return false;
    return true;
}

/* The three forms of RFC 5321 4.1.3 (SMTP-025). */
static bool
is_address_literal(struct span text)
{
    struct span inner, tag;

    if (text.len < 3 || text.ptr[0] != '[' || text.ptr[text.len - 1] != ']')
        return false;
    inner = (struct span){ text.ptr + 1, text.len - 2 };
    tag = span_first(inner, span_find(inner, ':'));
    if (tag.len == inner.len)
        return is_ipv4_literal(inner);
    if (span_equal_nocase(tag, span_of("IPv6")))
        return is_ipv6(span_from(inner, tag.len + 1));
    return is_general_literal(tag, span_from(inner, tag.len + 1));
}

/* U-labels to A-labels, IDNA2008 with the mapping of UTS 46. What comes out is held to the same
 * rule as a name that came in ASCII: mapping can make a trailing dot of U+3002, or an "@". */
static enum reply_row
alabels_of(struct span domain, enum reply_row bad, char out[HOSTNAME_MAX + 1])
{
    char text[SMTP_PATH_MAX + 1];
    char *alabels = NULL;
    enum reply_row row = bad == REPLY_BAD_SENDER ? REPLY_BAD_IDN_SENDER : REPLY_BAD_IDN_RECIPIENT;
    int rc;

    memcpy(text, domain.ptr, domain.len);
    text[domain.len] = '\0';
    rc = idn2_to_ascii_8z(text, &alabels, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
    if (rc == IDN2_MALLOC)
        row = REPLY_SHUTDOWN; /* never a 5xx for want of memory */
    if (rc != IDN2_OK)
        goto done;
    if (hostname_is_valid(span_of(alabels)) && hostname_normalise(span_of(alabels), out) == RES_OK)
        row = REPLY_NONE;
done:
    idn2_free(alabels);
    return row;
}

/* A domain name, as A-labels in lower case. One with a trailing dot is another string for the same
 * name and could dodge the policy; so it is none (SMTP-024). */
static enum reply_row
policy_domain(struct span domain, enum reply_row bad, char out[HOSTNAME_MAX + 1])
{
    for (size_t i = 0; i < domain.len; i++)
        if (is_non_ascii(domain.ptr[i]))
            return alabels_of(domain, bad, out);
    if (!hostname_is_valid(domain) || hostname_normalise(domain, out) != RES_OK)
        return bad;
    return REPLY_NONE;
}

/* A source route, "@a,@b:", is parsed and dropped (SMTP-023; RFC 5321 4.1.1.3, appendix C). */
static enum reply_row
skip_route(struct path_text *text)
{
    struct span route = span_first(text->rest, span_find(text->rest, ':'));
    char ignored[HOSTNAME_MAX + 1];

    if (route.len == text->rest.len)
        return text->bad;
    text->rest = span_from(text->rest, route.len + 1);
    for (;;) {
        struct span hop = span_first(route, span_find(route, ','));
        enum reply_row row;

        if (hop.len == 0 || hop.ptr[0] != '@')
            return text->bad;
        row = policy_domain(span_from(hop, 1), text->bad, ignored);
        if (row != REPLY_NONE)
            return row;
        if (hop.len == route.len)
            return REPLY_NONE;
        route = span_from(route, hop.len + 1);
    }
}

/* Has the local-part a character that some take for one of the path's own, once they have made all
 * widths one (Unicode's NFKC)? Addresses have no use for it. */
static bool
imitates_delimiter(struct span local)
{
    static const char *const imitations[] = {
        "\xef\xbc\xa0", /* U+FF20 @ */
        "\xef\xb9\xab", /* U+FE6B @ */
        "\xef\xbc\x9c", /* U+FF1C < */
        "\xef\xb9\xa4", /* U+FE64 < */
        "\xef\xbc\x9e", /* U+FF1E > */
        "\xef\xb9\xa5", /* U+FE65 > */
    };

    for (size_t i = 0; i < sizeof imitations / sizeof *imitations; i++)
        if (memmem(local.ptr, local.len, imitations[i], strlen(imitations[i])))
            return true;
    return false;
}

static enum reply_row
parse_mailbox(struct path_text text, struct smtp_path *out)
{
    enum reply_row row;
    size_t len;

    if (text.rest.len && text.rest.ptr[0] == '@') {
        row = skip_route(&text);
        if (row != REPLY_NONE)
            return row;
    }
    len = local_len(text.rest);
    if (len == 0 || len > SMTP_LOCAL_PART_MAX || len == text.rest.len || text.rest.ptr[len] != '@')
        return text.bad;
    out->local = span_first(text.rest, len);
    if (imitates_delimiter(out->local))
        return text.bad;
    out->domain_as_written = span_from(text.rest, len + 1);
    if (is_address_literal(out->domain_as_written)) {
        out->literal = true;
        return REPLY_NONE;
    }
    return policy_domain(out->domain_as_written, text.bad, out->domain);
}

enum reply_row
smtp_path_parse(struct span text, enum smtp_verb verb, struct smtp_path *out, size_t *out_used)
{
    enum reply_row bad = verb == SMTP_VERB_MAIL ? REPLY_BAD_SENDER : REPLY_BAD_RECIPIENT;
    enum reply_row row = REPLY_NONE;
    size_t end = closing_bracket(text);
    struct span inner;

    *out = (struct smtp_path){ 0 };
    *out_used = 0;
    if (end == text.len || text.ptr[0] != '<')
        return REPLY_BAD_PARAMETERS;
    if (end + 1 > SMTP_PATH_MAX)
        return bad;
    inner = (struct span){ text.ptr + 1, end - 1 };
    if (verb == SMTP_VERB_MAIL && inner.len == 0) {
        out->null = true; /* SMTP-028 */
    } else if (verb == SMTP_VERB_RCPT && span_equal_nocase(inner, span_of("postmaster"))) {
        out->postmaster = true; /* PRX-027 */
        out->local = inner;
    } else {
        row = parse_mailbox((struct path_text){ inner, bad }, out);
    }
    if (row != REPLY_NONE)
        *out = (struct smtp_path){ 0 };
    else
        *out_used = end + 1;
    return row;
}
