#include "base/hostname.h"

static bool
is_name_char(char c)
{
    char lower = (char)(c | 0x20); /* folds case; no other octet becomes a letter by it */

    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool
hostname_is_valid(struct span name)
{
    size_t label = 0;

    if (name.len == 0 || name.len > HOSTNAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if (!is_name_char(name.ptr[i]) || ++label > HOSTNAME_LABEL_MAX) {
            return false;
        }
    }
    return label > 0;
}

bool
hostname_is_ip_like(struct span name)
{
    size_t at = name.len;

    while (at > 0 && name.ptr[at - 1] >= '0' && name.ptr[at - 1] <= '9')
        at--;
    return at < name.len && (at == 0 || name.ptr[at - 1] == '.');
}

static struct span
without_dot(struct span name)
{
    return name.len && name.ptr[name.len - 1] == '.' ? span_first(name, name.len - 1) : name;
}

enum result
hostname_normalise(struct span name, char out[HOSTNAME_MAX + 1])
{
    name = without_dot(name);
    out[0] = '\0';
    if (!hostname_is_valid(name))
        return RES_SYNTAX;
    for (size_t i = 0; i < name.len; i++)
        out[i] = name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? (char)(name.ptr[i] - 'A' + 'a')
                                                          : name.ptr[i];
    out[name.len] = '\0';
    return RES_OK;
}

bool
hostname_matches(struct span pattern, struct span host)
{
    pattern = without_dot(pattern);
    host = without_dot(host);
    if (span_starts(pattern, span_of("*."))) {
        if (!hostname_is_valid(host))
            return false;
        host = span_from(host, span_find(host, '.') + 1);
        pattern = span_from(pattern, 2);
    }
    return span_equal_nocase(pattern, host) && hostname_is_valid(pattern);
}
