#include "policy/sts_record.h"

#include "policy/ext_name.h"

#define VERSION "v=STSv1" /* %s in the ABNF: compared with case (STS-004) */

static struct span
skip_blanks(struct span s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = span_from(s, 1);
    return s;
}

static bool
id_is_valid(struct span id)
{
    if (id.len == 0 || id.len > STS_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (!ascii_is_alnum(id.ptr[i]))
            return false;
    return true;
}

/* sts-ext-value: visible ASCII without "=" and ";". */
static bool
ext_value_is_valid(struct span value)
{
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];

        if (c < 0x21 || c > 0x7e || c == '=' || c == ';')
            return false;
    }
    return value.len > 0;
}

/* One field, without the blanks that belong to the delimiters. The first id counts (STS-007). */
static bool
parse_field(struct span field, struct span *id)
{
    size_t equals = span_find(field, '=');
    struct span name = span_first(field, equals);
    struct span value = span_from(field, equals + 1); /* empty without "=" */

    if (!ext_name_is_valid(name) || !ext_value_is_valid(value))
        return false;
    if (!span_equal(name, span_of("id")) || id->ptr)
        return true;
    *id = value;
    return id_is_valid(value);
}

/* What follows the version: 1*(sts-field-delim sts-field) [sts-field-delim]. */
static bool
parse_fields(struct span rest, struct span *id)
{
    while (rest.len) {
        struct span field;

        rest = skip_blanks(rest);
        if (!span_starts(rest, span_of(";")))
            return false;
        rest = skip_blanks(span_from(rest, 1));
        if (rest.len == 0) /* the delimiter that may close the record */
            break;
        /* Blanks behind a field belong to the next delimiter, which must then be there. */
        field = span_trim(span_first(rest, span_find(rest, ';')));
        if (!parse_field(field, id))
            return false;
        rest = span_from(rest, field.len);
    }
    return id->ptr != NULL;
}

/* Blanks between version and ";" fit the ABNF, but only a lone record may have them (STS-009). */
static bool
is_lenient_candidate(struct span text)
{
    struct span rest = span_from(text, sizeof VERSION - 1);

    return span_starts(text, span_of(VERSION)) && span_starts(skip_blanks(rest), span_of(";"));
}

enum sts_record_finding
sts_record_find(const struct span *texts, size_t count, struct sts_record *out)
{
    const struct span *candidate = NULL;
    struct span id = { NULL, 0 };
    bool lenient = false;

    *out = (struct sts_record){ 0 };
    for (size_t i = 0; i < count; i++) {
        if (!span_starts(texts[i], span_of(VERSION ";")))
            continue; /* dropped before counting (STS-004) */
        if (candidate)
            return STS_RECORD_SEVERAL;
        candidate = &texts[i];
    }
    if (!candidate && count == 1 && is_lenient_candidate(texts[0])) {
        candidate = &texts[0];
        lenient = true;
    }
    if (!candidate)
        return STS_RECORD_ABSENT;
    if (!parse_fields(span_from(*candidate, sizeof VERSION - 1), &id))
        return STS_RECORD_INVALID;
    memcpy(out->id, id.ptr, id.len);
    out->lenient = lenient;
    return STS_RECORD_FOUND;
}

const char *
sts_record_reason(enum sts_record_finding finding)
{
    static const char *const reasons[] = {
        [STS_RECORD_FOUND] = "",
        [STS_RECORD_ABSENT] = "txt-missing",
        [STS_RECORD_SEVERAL] = "txt-several",
        [STS_RECORD_INVALID] = "txt-invalid",
    };

    return reasons[finding];
}
