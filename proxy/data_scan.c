#include "proxy/data_scan.h"

/* Octets that are looked at together: many, so that what was found is summed up seldom; and then
 * fewer, so that few are left to be looked at one by one. */
#define SCAN_WIDE 256u
#define SCAN_BLOCK 64u

/* The loops over blocks exist twice: the loader takes the one that suits the processor. For static
 * functions only: clang gives others a name that no other file finds. */
#if defined(__x86_64__) && defined(__ELF__)
#define WITH_WIDE_VECTORS __attribute__((target_clones("avx2", "default")))
#else
#define WITH_WIDE_VECTORS
#endif
/* What it calls must become part of it, to have those vectors as well. */
#define IN_THE_CALLER __attribute__((always_inline)) inline

/* What the octets just before amount to. A "." counts at the beginning of a line only; "strict" is
 * a line that CRLF began, "loose" one that a bare CR or a bare LF did. A NUL is an octet like
 * others within a line (SMTP-046), but there are parsers that drop it: at the edge of a line, or
 * behind its dot, it makes what is strict loose. */
enum scan_state {
    SCAN_TEXT,
    SCAN_CR,   /* CR, whose successor is not known */
    SCAN_CRLF, /* a line begins, strictly */
    SCAN_LF,   /* a line begins, for some: a bare LF, or NULs behind any line end */
    SCAN_DOT,  /* CRLF "." */
    SCAN_LOOSE_DOT,
    SCAN_DOT_CR, /* CRLF "." CR; while swallowing only */
};

void
data_scan_init(struct data_scan *scan)
{
    scan->state = SCAN_CRLF; /* SMTP-042: the one that ended the DATA command */
}

static bool
is_dot(enum scan_state state)
{
    return state == SCAN_DOT || state == SCAN_LOOSE_DOT;
}

static enum scan_state
next_state(enum scan_state state, char c)
{
    bool after_cr = state == SCAN_CR || state == SCAN_DOT_CR;

    switch (c) {
    case '\r':
        return SCAN_CR;
    case '\n':
        return after_cr ? SCAN_CRLF : SCAN_LF;
    case '.':
        if (state == SCAN_CRLF)
            return SCAN_DOT;
        return after_cr || state == SCAN_LF ? SCAN_LOOSE_DOT : SCAN_TEXT;
    case '\0':
        if (state == SCAN_TEXT)
            return SCAN_TEXT;
        return is_dot(state) ? SCAN_LOOSE_DOT : SCAN_LF;
    default:
        return SCAN_TEXT;
    }
}

/* May a dot behind that octet begin a line: CR, LF, NUL? Others below them are let in because one
 * comparison is all it takes, and looked at closer. */
IN_THE_CALLER static bool
may_begin_line(char before)
{
    return (unsigned char)before <= '\r';
}

/* Is one of the len octets, a constant, from p on a dot behind such an octet? Without a branch, so
 * that compilers make a few vector instructions of it: the speed must not hang on what a client
 * sends. */
IN_THE_CALLER static bool
block_has_line_dot(const char *p, size_t len)
{
    const char *before = p - 1;
    unsigned char found = 0;

    for (size_t i = 0; i < len; i++)
        found |= (unsigned char)((p[i] == '.') & may_begin_line(before[i]));
    return found;
}

/* The offset of the first dot behind such an octet from offset `at`, 1 or more, on; bytes.len when
 * there is none. */
WITH_WIDE_VECTORS static size_t
find_line_dot(struct span bytes, size_t at)
{
    while (bytes.len - at >= SCAN_WIDE && !block_has_line_dot(bytes.ptr + at, SCAN_WIDE))
        at += SCAN_WIDE;
    while (bytes.len - at >= SCAN_BLOCK && !block_has_line_dot(bytes.ptr + at, SCAN_BLOCK))
        at += SCAN_BLOCK;
    while (at < bytes.len && (bytes.ptr[at] != '.' || !may_begin_line(bytes.ptr[at - 1])))
        at++;
    return at;
}

/* Go on from offset `at` to behind the next dot that may begin a line, or to the end of bytes. A
 * line end matters only by the dot behind it, and the state between hangs on the last two octets
 * and the NULs behind them. */
static size_t
skip_to_dot(struct span bytes, size_t at, enum scan_state *state)
{
    size_t dot, back;

    *state = next_state(*state, bytes.ptr[at++]);
    if (is_dot(*state))
        return at;
    dot = back = find_line_dot(bytes, at);
    while (back > at && bytes.ptr[back - 1] == '\0')
        back--;
    if (back - at > 2) {
        at = back - 2;
        *state = SCAN_TEXT;
    }
    while (at < dot)
        *state = next_state(*state, bytes.ptr[at++]);
    if (at < bytes.len)
        *state = next_state(*state, bytes.ptr[at++]);
    return at;
}

/* Does the octet at offset `at`, behind a dot that begins a line, end that line, and how?
 * DATA_MORE: it does not; or, with *out_wait, its successor must tell and has not come. */
static enum data_verdict
judge_dot(enum scan_state state, struct span bytes, size_t at, bool *out_wait)
{
    bool cr = bytes.ptr[at] == '\r';

    *out_wait = false;
    if (!cr && bytes.ptr[at] != '\n')
        return DATA_MORE;
    if (!cr || state != SCAN_DOT) /* a bare LF ends it, or a loose line is ended in any way */
        return DATA_AMBIGUOUS;
    *out_wait = at + 1 == bytes.len;
    if (*out_wait)
        return DATA_MORE;
    return bytes.ptr[at + 1] == '\n' ? DATA_END : DATA_AMBIGUOUS;
}

enum data_verdict
data_scan(struct data_scan *scan, struct span bytes, size_t *out_pass)
{
    enum scan_state state = scan->state;
    enum data_verdict verdict = DATA_MORE;
    bool wait = false;
    size_t at = 0;

    while (at < bytes.len) {
        if (is_dot(state)) {
            verdict = judge_dot(state, bytes, at, &wait);
            if (verdict != DATA_MORE || wait)
                break;
        }
        at = skip_to_dot(bytes, at, &state);
    }
    if (verdict == DATA_END) {
        at += 2;
        state = SCAN_CRLF;
    }
    scan->state = (unsigned char)state;
    *out_pass = at;
    return verdict;
}

/* Is one of the SCAN_BLOCK octets from p on an LF without a CR before it, or something else behind
 * a CR? */
IN_THE_CALLER static bool
block_has_bare_newline(const char *p)
{
    const char *before = p - 1;
    unsigned char found = 0;

    for (size_t i = 0; i < SCAN_BLOCK; i++)
        found |= (unsigned char)((p[i] == '\n') ^ (before[i] == '\r'));
    return found;
}

/* The offset of the first of them from offset `at`, 1 or more, on; bytes.len when there is none. */
WITH_WIDE_VECTORS static size_t
find_bare_newline(struct span bytes, size_t at)
{
    while (bytes.len - at >= SCAN_BLOCK && !block_has_bare_newline(bytes.ptr + at))
        at += SCAN_BLOCK;
    while (at < bytes.len && (bytes.ptr[at] == '\n') == (bytes.ptr[at - 1] == '\r'))
        at++;
    return at;
}

size_t
data_scan_bare_newline(const struct data_scan *scan, struct span bytes)
{
    if (bytes.len == 0 || (bytes.ptr[0] == '\n') != (scan->state == SCAN_CR))
        return 0;
    return find_bare_newline(bytes, 1);
}

bool
data_scan_swallow(struct data_scan *scan, struct span bytes, size_t *out_used)
{
    enum scan_state state = scan->state;
    bool found = false;
    size_t at = 0;

    while (at < bytes.len && !found) {
        if (state == SCAN_DOT && bytes.ptr[at] == '\r') {
            state = SCAN_DOT_CR;
            at++;
        } else if (state == SCAN_DOT_CR && bytes.ptr[at] == '\n') {
            state = SCAN_CRLF;
            found = true;
            at++;
        } else {
            at = skip_to_dot(bytes, at, &state);
        }
    }
    scan->state = (unsigned char)state;
    *out_used = at;
    return found;
}
