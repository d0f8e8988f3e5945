/* base/span.h: bytes somebody else owns. Bytes from outside travel as a span until they are
 * checked. Context: any process. Pure. */
#ifndef STSGATE_BASE_SPAN_H
#define STSGATE_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define SPAN_U64_DIGITS 20u /* of the largest 64-bit number */

struct span {
    const char *ptr; /* borrowed; may be NULL when len is 0 */
    size_t len;      /* bytes */
};

/** The bytes of a C string, without its NUL. text must not be NULL. */
static inline struct span
span_of(const char *text)
{
    return (struct span){ text, strlen(text) };
}

static inline struct span
span_make(const void *ptr, size_t len)
{
    return (struct span){ ptr, len };
}

/** The part of s from byte `from` on; empty when from is beyond the end. */
static inline struct span
span_from(struct span s, size_t from)
{
    return from >= s.len ? (struct span){ s.ptr, 0 } : (struct span){ s.ptr + from, s.len - from };
}

/** The first n bytes of s, or all of it when it is shorter. */
static inline struct span
span_first(struct span s, size_t n)
{
    return (struct span){ s.ptr, n < s.len ? n : s.len };
}

static inline bool
span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool
span_starts(struct span s, struct span prefix)
{
    return s.len >= prefix.len && span_equal(span_first(s, prefix.len), prefix);
}

/** Equal without regard to the case of ASCII letters; other octets compare as they are. */
bool span_equal_nocase(struct span a, struct span b);
bool span_starts_nocase(struct span s, struct span prefix);

/** Offset of the first byte c in s, or s.len when there is none. */
size_t span_find(struct span s, char c);

/** s without blanks and tabs at both ends. */
struct span span_trim(struct span s);

/** A decimal number: 1 .. max_digits digits and nothing else, at most UINT64_MAX.
 * False, with *out unchanged, on anything else. */
bool span_to_u64(struct span s, size_t max_digits, unsigned long long *out);

/** The way back: value in decimal; points into digits. For what is made too often for printf. */
struct span span_of_u64(unsigned long long value, char digits[SPAN_U64_DIGITS]);

#endif
