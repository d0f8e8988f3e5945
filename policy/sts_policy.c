#include "policy/sts_policy.h"

#include "policy/ext_name.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_AGE_DIGITS 10u /* RFC 8461 3.2: 1*10(DIGIT) */

struct sts_policy {
    enum sts_mode mode;
    uint32_t max_age_s;
    struct name_list mx; /* owned */
    char *text;          /* owned, text_len bytes, not NUL-terminated */
    size_t text_len;
    unsigned leniencies; /* enum sts_policy_leniency */
};

struct parser {
    struct sts_policy *policy;
    unsigned line;    /* 1 .. while lines are read */
    unsigned seen;    /* a bit for each entry of fields[] that has occurred */
    const char *what; /* set with RES_SYNTAX */
};

static enum result
fail(struct parser *p, const char *what)
{
    p->what = what;
    return RES_SYNTAX;
}

static enum result
read_version(struct parser *p, struct span value)
{
    return span_equal(value, span_of("STSv1")) ? RES_OK : fail(p, "version is not STSv1");
}

static enum result
read_mode(struct parser *p, struct span value)
{
    for (enum sts_mode mode = STS_MODE_NONE; mode <= STS_MODE_ENFORCE; mode++)
        if (span_equal(value, span_of(sts_mode_name(mode)))) {
            p->policy->mode = mode;
            return RES_OK;
        }
    return fail(p, "bad mode");
}

static enum result
read_max_age(struct parser *p, struct span value)
{
    unsigned long long seconds;

    if (!span_to_u64(value, MAX_AGE_DIGITS, &seconds))
        return fail(p, "bad max_age");
    /* The grammar allows more than the text: clamping enforces more than refusing does (STS-045).
     */
    if (seconds > STS_POLICY_MAX_AGE_S) {
        seconds = STS_POLICY_MAX_AGE_S;
        p->policy->leniencies |= STS_POLICY_MAX_AGE_CLAMPED;
    }
    p->policy->max_age_s = (uint32_t)seconds;
    return RES_OK;
}

/* RFC 5321 Domain: labels of letters, digits and hyphens, with no hyphen at either end. Stricter
 * than hostname_is_valid(), which also takes what is seen in host names. */
static bool
is_smtp_domain(struct span name)
{
    if (!hostname_is_valid(name))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        bool first = i == 0 || name.ptr[i - 1] == '.';
        bool last = i + 1 == name.len || name.ptr[i + 1] == '.';

        if (name.ptr[i] == '_' || (name.ptr[i] == '-' && (first || last)))
            return false;
    }
    return true;
}

static enum result
read_mx(struct parser *p, struct span value)
{
    struct span name = span_starts(value, span_of("*.")) ? span_from(value, 2) : value;

    /* "*." counts as the two octets of the shortest label it can stand for. */
    if (value.len > HOSTNAME_MAX || !is_smtp_domain(name) || hostname_is_ip_like(name))
        return fail(p, "bad mx pattern");
    return name_list_add(&p->policy->mx, value);
}

static const struct field {
    const char *key, *missing;
    bool repeats; /* every occurrence counts, not only the first (STS-047) */
    enum result (*read)(struct parser *p, struct span value);
} fields[] = {
    { "version", "version missing", false, read_version },
    { "mode", "mode missing", false, read_mode },
    { "max_age", "max_age missing", false, read_max_age },
    { "mx", "mx missing", true, read_mx },
};
#define FIELDS (sizeof fields / sizeof *fields)

/* Octets of the character at the front of s, 0 when it is not well-formed. The rows are the ABNF of
 * RFC 3629 4: shortest form only, no surrogates, nothing beyond U+10FFFF. */
static size_t
utf8_char_len(struct span s)
{
    static const struct {
        unsigned char first_min, first_max, second_min, second_max;
        size_t len;
    } rows[] = {
        { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
        { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
        { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };
    const unsigned char *c = (const unsigned char *)s.ptr;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (c[0] < rows[i].first_min || c[0] > rows[i].first_max)
            continue;
        if (s.len < rows[i].len || c[1] < rows[i].second_min || c[1] > rows[i].second_max)
            return 0;
        for (size_t at = 2; at < rows[i].len; at++)
            if ((c[at] & 0xc0) != 0x80)
                return 0;
        return rows[i].len;
    }
    return 0;
}

/* Controls and broken UTF-8 spoil a policy wherever they stand, ignored fields included (STS-049).
 */
static const char *
bad_octet(struct span line)
{
    while (line.len) {
        unsigned char c = (unsigned char)line.ptr[0];
        size_t len = c < 0x80 ? 1 : utf8_char_len(line);

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return "control character";
        if (len == 0)
            return "invalid UTF-8";
        line = span_from(line, len);
    }
    return NULL;
}

static enum result
read_extension(struct parser *p, struct span key, struct span value)
{
    if (!ext_name_is_valid(key))
        return fail(p, "bad field name");
    if (value.len == 0)
        return fail(p, "empty value");
    if (span_find(value, '\t') < value.len) /* blanks may stand inside a value, tabs may not */
        return fail(p, "tab in value");
    return RES_OK;
}

static enum result
parse_line(struct parser *p, struct span line)
{
    size_t colon = span_find(line, ':');
    struct span key = span_first(line, colon);
    struct span value = span_trim(span_from(line, colon + 1));
    const char *what = bad_octet(line);

    if (line.len == 0) {
        p->policy->leniencies |= STS_POLICY_EMPTY_LINE; /* STS-049 */
        return RES_OK;
    }
    if (what)
        return fail(p, what);
    if (colon == line.len)
        return fail(p, "no colon");
    for (unsigned i = 0; i < FIELDS; i++) {
        unsigned seen = p->seen & 1u << i;

        if (!span_equal(key, span_of(fields[i].key)))
            continue;
        p->seen |= 1u << i;
        return seen && !fields[i].repeats ? RES_OK : fields[i].read(p, value);
    }
    return read_extension(p, key, value);
}

/* Lines end with LF or CRLF, the last one may end with the body (STS-040). A CR that no LF follows
 * stays in its line, where it is a control character. */
static enum result
parse_lines(struct parser *p, struct span body)
{
    enum result res = RES_OK;

    if (span_starts(body, span_of("\xef\xbb\xbf"))) {
        p->line = 1;
        return fail(p, "byte order mark");
    }
    while (body.len && res == RES_OK) {
        size_t end = span_find(body, '\n');
        struct span line = span_first(body, end);

        if (end < body.len && line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        p->line++;
        res = parse_line(p, line);
        body = span_from(body, end + 1);
    }
    return res;
}

static enum result
check_complete(struct parser *p)
{
    for (unsigned i = 0; i < FIELDS; i++) {
        bool optional = fields[i].read == read_mx && p->policy->mode == STS_MODE_NONE;

        if (!optional && !(p->seen & 1u << i)) {
            p->line = 0;
            return fail(p, fields[i].missing);
        }
    }
    return RES_OK;
}

static enum result
keep_text(struct sts_policy *policy, struct span body)
{
    policy->text = malloc(body.len);
    if (!policy->text)
        return RES_NOMEM;
    memcpy(policy->text, body.ptr, body.len);
    policy->text_len = body.len;
    return RES_OK;
}

enum result
sts_policy_parse(struct span body, struct sts_policy **out, struct sts_policy_error *error)
{
    struct parser p = { 0 };
    enum result res = RES_NOMEM;

    *out = NULL;
    p.policy = calloc(1, sizeof *p.policy);
    if (!p.policy)
        goto done;
    if (body.len > STS_POLICY_MAX_BYTES) {
        /* Its front is never parsed instead: that would be another policy. */
        p.what = "longer than 65536 octets";
        res = RES_LIMIT;
        goto done;
    }
    res = parse_lines(&p, body);
    if (res == RES_OK)
        res = check_complete(&p);
    if (res == RES_OK)
        res = keep_text(p.policy, body);
    if (res != RES_OK)
        goto done;
    *out = p.policy;
    p.policy = NULL; /* now the caller's */
done:
    if (error) {
        *error = (struct sts_policy_error){ 0 };
        if (res == RES_SYNTAX || res == RES_LIMIT) {
            error->line = p.line;
            snprintf(error->what, sizeof error->what, "%s", p.what);
        }
    }
    sts_policy_free(p.policy);
    return res;
}

void
sts_policy_free(struct sts_policy *policy)
{
    if (!policy)
        return;
    name_list_clear(&policy->mx);
    free(policy->text);
    free(policy);
}

enum sts_mode
sts_policy_mode(const struct sts_policy *policy)
{
    return policy->mode;
}

uint32_t
sts_policy_max_age_s(const struct sts_policy *policy)
{
    return policy->max_age_s;
}

const struct name_list *
sts_policy_mx(const struct sts_policy *policy)
{
    return &policy->mx;
}

struct span
sts_policy_text(const struct sts_policy *policy)
{
    return span_make(policy->text, policy->text_len);
}

unsigned
sts_policy_leniencies(const struct sts_policy *policy)
{
    return policy->leniencies;
}

bool
sts_policy_match_mx(const struct sts_policy *policy, const char *host)
{
    for (size_t i = 0; i < policy->mx.count; i++)
        if (hostname_matches(span_of(policy->mx.names[i]), span_of(host)))
            return true;
    return false;
}
