#include "proxy/replies.h"

#include <assert.h>
#include <stdio.h>

/* The texts of docs/requirements.md 10.2 (temporary profile) and 10.4, octet for octet. What stands
 * between "<" and ">" is replaced by the argument of that name. Every one has an enhanced code of
 * the class of its first digit (REP-002). */
static const struct row {
    const char *id;
    const char *text;
} rows[REPLY_ROWS] = {
    [REPLY_NONE] = { "", "" },
    [REPLY_STS_MX_MISMATCH] = { "REP-010",
                                "451 4.4.8 MX hosts of '<Domain>' failed MTA-STS validation." },
    [REPLY_STS_STARTTLS_MISSING] = { "REP-011", "451 4.7.4 STARTTLS is required by recipient "
                                                "domain's MTA-STS policy" },
    [REPLY_STS_TLS_VERSION] = { "REP-012", "451 4.7.6 MTA-STS requires TLS 1.2 or higher. "
                                           "TLS Version: <Observed TLS version>" },
    [REPLY_STS_CERTIFICATE] = { "REP-013", "451 4.7.5 Remote certificate failed MTA-STS "
                                           "validation. Reason: <Reason>" },
    [REPLY_STS_NAME_MISMATCH] = { "REP-014",
                                  "451 4.7.5 Remote certificate MUST have a subject alternative "
                                  "name matching the hostname (MTA-STS)" },
    [REPLY_DANE_STARTTLS] = { "REP-030", "451 4.7.321 starttls-not-supported: Destination mail "
                                         "server must support TLS to receive mail." },
    [REPLY_DANE_DNSSEC] = { "REP-031", "451 4.7.324 dnssec-invalid: Destination domain returned "
                                       "invalid DNSSEC records." },
    [REPLY_DANE_INVALID] = { "REP-032",
                             "451 4.7.323 tlsa-invalid: The domain failed DANE validation." },
    [REPLY_DANE_EXPIRED] = { "REP-033", "451 4.7.322 certificate-expired: Destination mail "
                                        "server's certificate is expired." },
    [REPLY_DANE_MISNAMED] = { "REP-034", "451 4.7.325 certificate-host-mismatch: The certificate "
                                         "does not match the MX host." },
    [REPLY_DANE_REQUIRED] = { "REP-035", "451 4.7.0 DANE is required for '<Domain>' but no "
                                         "DNSSEC-validated TLSA records were found" },
    [REPLY_DNS_FAILURE] = { "REP-040", "451 4.4.3 Temporary DNS failure for '<Domain>'" },
    [REPLY_OTHER_IDENTITY] = { "REP-041", "452 4.5.3 Recipient domain needs another TLS identity, "
                                          "retry in a separate transaction" },
    [REPLY_TLS_REQUIRED] = { "REP-042", "451 4.7.0 TLS is required by local policy" },
    [REPLY_IDENTITY_REQUIRED] = { "REP-043",
                                  "451 4.7.5 Server identity required by local policy could not be "
                                  "verified. Reason: <Reason>" },
    [REPLY_NO_RECIPIENTS] = { "REP-044", "554 5.5.1 No valid recipients" },
    [REPLY_NO_RECIPIENTS_YET] = { "REP-044", "503 5.5.1 No valid recipients" },
    [REPLY_REQUIRETLS_MISSING] = { "REP-056", "451 4.7.30 REQUIRETLS support required" },
    [REPLY_REQUIRETLS_UNMET] = { "REP-056", "451 4.7.10 Encryption needed" },
    [REPLY_UNREACHABLE] = { "REP-045", "421 4.4.1 <gw> Destination <ip> not reachable" },
    [REPLY_UPSTREAM_LOST] = { "REP-046", "421 4.4.2 <gw> Connection to destination lost" },
    [REPLY_UPSTREAM_LOST_DATA] = { "REP-046", "451 4.4.2 <gw> Connection to destination lost" },
    [REPLY_SHUTDOWN] = { "REP-047", "421 4.3.2 <gw> Service not available" },
    [REPLY_IDLE] = { "REP-048", "421 4.4.2 <gw> Timeout" },
    [REPLY_LINE_TOO_LONG] = { "REP-049", "500 5.5.2 Line too long" },
    [REPLY_BAD_CHARACTER] = { "REP-049", "500 5.5.2 Bad character or line ending" },
    [REPLY_UNKNOWN_COMMAND] = { "REP-050", "500 5.5.1 Command not recognized" },
    [REPLY_NOT_IMPLEMENTED] = { "REP-050", "502 5.5.1 Command not implemented" },
    [REPLY_NO_STARTTLS] = { "REP-051", "502 5.5.1 STARTTLS not available" },
    [REPLY_BAD_SEQUENCE] = { "REP-052", "503 5.5.1 Bad sequence of commands" },
    [REPLY_BAD_PARAMETERS] = { "REP-053", "501 5.5.4 Syntax error in parameters" },
    [REPLY_BAD_RECIPIENT] = { "REP-053", "501 5.1.3 Bad recipient address syntax" },
    [REPLY_BAD_SENDER] = { "REP-053", "501 5.1.7 Bad sender address syntax" },
    [REPLY_PARAMETER_UNKNOWN] = { "REP-054", "555 5.5.4 Parameter not recognized" },
    [REPLY_BARE_NEWLINE] = { "REP-055", "550 5.5.2 Bare CR or LF in message data" },
    [REPLY_NULL_MX] = { "REP-057", "556 5.1.10 Recipient address has null MX" },
    [REPLY_BAD_IDN_RECIPIENT] = { "EXT-005", "553 5.1.3 Bad recipient address syntax" },
    [REPLY_BAD_IDN_SENDER] = { "EXT-005", "553 5.1.7 Bad sender address syntax" },
    [REPLY_SENDER_OK] = { "REP-059", "250 2.1.0 Sender OK" },
    [REPLY_EXTENSION_GONE] = { "REP-060",
                               "451 4.3.0 Destination no longer offers a requested extension" },
    [REPLY_TOO_MANY_RECIPIENTS] = { "REP-061", "452 4.5.3 Too many recipients" },
    [REPLY_PROTOCOL_VIOLATION] = { "REP-064", "421 4.7.0 <gw> Protocol violation, closing" },
    [REPLY_POLICY_UNAVAILABLE] = { "REP-065", "451 4.3.0 Policy service not available" },
    [REPLY_STARTTLS_FIRST] = { "REP-063", "530 5.7.0 Must issue a STARTTLS command first" },
    [REPLY_STARTTLS_READY] = { "PRX-043", "220 2.0.0 Ready to start TLS" },
    [REPLY_OK] = { "SMTP-010", "250 2.0.0 OK" },
    [REPLY_VRFY] = { "SMTP-011", "252 2.5.0 Not verified" },
    [REPLY_HELP] = { "SMTP-011", "214 2.0.0 See RFC 5321" },
    [REPLY_BYE] = { "SMTP-013", "221 2.0.0 <gw> closing connection" },
};

/* The rows that fail somebody's policy, and what they are called in the permanent profile
 * (docs/requirements.md 10.2 to 10.4). */
static const struct {
    enum reply_class class;
    const char *permanent_id;
} classes[REPLY_ROWS] = {
    [REPLY_STS_MX_MISMATCH] = { REPLY_CLASS_STS, "REP-022" },
    [REPLY_STS_STARTTLS_MISSING] = { REPLY_CLASS_STS, "REP-020" },
    [REPLY_STS_TLS_VERSION] = { REPLY_CLASS_STS, "REP-021" },
    [REPLY_STS_CERTIFICATE] = { REPLY_CLASS_STS, "REP-024" },
    [REPLY_STS_NAME_MISMATCH] = { REPLY_CLASS_STS, "REP-023" },
    [REPLY_DANE_STARTTLS] = { REPLY_CLASS_DANE, "REP-030" },
    [REPLY_DANE_DNSSEC] = { REPLY_CLASS_DANE, "REP-031" },
    [REPLY_DANE_INVALID] = { REPLY_CLASS_DANE, "REP-032" },
    [REPLY_DANE_EXPIRED] = { REPLY_CLASS_DANE, "REP-033" },
    [REPLY_DANE_MISNAMED] = { REPLY_CLASS_DANE, "REP-034" },
    [REPLY_DANE_REQUIRED] = { REPLY_CLASS_DANE, "REP-035" },
    [REPLY_REQUIRETLS_MISSING] = { REPLY_CLASS_LOCAL, "REP-056" },
    [REPLY_REQUIRETLS_UNMET] = { REPLY_CLASS_LOCAL, "REP-056" },
    [REPLY_TLS_REQUIRED] = { REPLY_CLASS_LOCAL, "REP-042" },
    [REPLY_IDENTITY_REQUIRED] = { REPLY_CLASS_LOCAL, "REP-043" },
};

static const struct row *
row_of(enum reply_row row)
{
    assert(row > REPLY_NONE && row < REPLY_ROWS);
    return &rows[row];
}

/* The arguments that a text may name. */
static const struct argument {
    const char *name;
    size_t offset; /* in struct reply_args */
} arguments[] = {
    { "gw", offsetof(struct reply_args, gateway) },
    { "Domain", offsetof(struct reply_args, domain) },
    { "Reason", offsetof(struct reply_args, reason) },
    { "Observed TLS version", offsetof(struct reply_args, tls_version) },
    { "ip", offsetof(struct reply_args, ip) },
};

static const struct argument *
find_argument(struct span name)
{
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++)
        if (span_equal(name, span_of(arguments[i].name)))
            return &arguments[i];
    return NULL;
}

/* What a text names; "?" for one that the caller did not give. */
static const char *
value_of(struct span name, const struct reply_args *args)
{
    const struct argument *argument = find_argument(name);
    const char *value = NULL;

    if (argument)
        memcpy(&value, (const char *)args + argument->offset, sizeof value);
    return value ? value : "?";
}

bool
reply_text_is_valid(const char *text)
{
    struct span rest = span_of(text);

    if (rest.len == 0 || rest.len > REPLY_TEXT_MAX)
        return false;
    for (size_t i = 0; i < rest.len; i++)
        if (rest.ptr[i] < ' ' || rest.ptr[i] > '~')
            return false;
    while (rest.len) {
        size_t open = span_find(rest, '<');
        struct span name;

        if (span_find(rest, '>') < open)
            return false;
        if (open == rest.len)
            break;
        rest = span_from(rest, open + 1);
        name = span_first(rest, span_find(rest, '>'));
        if (name.len == rest.len || !find_argument(name))
            return false;
        rest = span_from(rest, name.len + 1);
    }
    return true;
}

/* Append as much of text as the line has room for, harmless whatever it holds (REP-001). */
static size_t
put(char *line, size_t len, size_t max, struct span text)
{
    for (size_t i = 0; i < text.len && len < max; i++)
        line[len++] = text.ptr[i] >= ' ' && text.ptr[i] <= '~' ? text.ptr[i] : '?';
    return len;
}

static size_t
put_text(char *line, size_t len, size_t max, struct span rest, const struct reply_args *args)
{
    while (rest.len) {
        size_t open = span_find(rest, '<');
        struct span name;

        len = put(line, len, max, span_first(rest, open));
        if (open == rest.len)
            break;
        rest = span_from(rest, open + 1);
        name = span_first(rest, span_find(rest, '>'));
        len = put(line, len, max, span_of(value_of(name, args)));
        rest = span_from(rest, name.len + 1);
    }
    return len;
}

/* The two codes, with the blank behind them, as the style wants them. */
static size_t
put_codes(char *line, enum reply_row row, struct span codes, const struct reply_style *style)
{
    size_t len = put(line, 0, REPLY_MAX_BYTES, codes);
    enum reply_class class = reply_class(row);

    if (class == REPLY_CLASS_NONE)
        return len;
    if (style->closing) {
        memcpy(line, "421", 3);
    } else if (style->permanent) {
        memcpy(line, class == REPLY_CLASS_STS && !style->policy_code ? "551" : "550", 3);
        line[4] = '5';
    }
    return len;
}

size_t
reply_write(enum reply_row row, const struct reply_args *args, const struct reply_style *style,
            char dst[REPLY_MAX_BYTES + 1])
{
    static const struct reply_style none;
    struct span text = span_of(row_of(row)->text);
    size_t codes = 4 + span_find(span_from(text, 4), ' ') + 1, max = REPLY_MAX_BYTES - 2, len;
    char suffix[32] = "";

    if (!style)
        style = &none;
    if (style->session_id && reply_code(row) >= 400)
        snprintf(suffix, sizeof suffix, " [sg:%s]", style->session_id);
    len = put_codes(dst, row, span_first(text, codes), style);
    text = style->text ? span_of(style->text) : span_from(text, codes);
    len = put_text(dst, len, max - strlen(suffix), text, args);
    len = put(dst, len, max, span_of(suffix));
    memcpy(dst + len, "\r\n", 3); /* and the NUL */
    return len + 2;
}

unsigned
reply_code(enum reply_row row)
{
    const char *text = row_of(row)->text;

    return (unsigned)((text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0'));
}

enum reply_class
reply_class(enum reply_row row)
{
    return classes[row].class;
}

const char *
reply_id(enum reply_row row, bool permanent)
{
    return permanent && classes[row].permanent_id ? classes[row].permanent_id : row_of(row)->id;
}

bool
reply_exists(const char *id)
{
    for (int row = REPLY_NONE + 1; row < REPLY_ROWS; row++)
        if (strcmp(rows[row].id, id) == 0)
            return true;
    return false;
}
