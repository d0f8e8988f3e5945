/* proxy/data_scan_fuzz.c: the first octet says in what parts the rest, message data, arrives.
 * Promises: parts change nothing; what has left holds the strict end at its end only, and no dot
 * alone on a line otherwise, whoever reads it; what stands before the first bare CR or LF has none;
 * swallowing finds the strict end of the rest. */
#include "proxy/data_scan.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds)
        abort(); /* assert() is silent in release builds */
}

static bool
is_line_end(char c)
{
    return c == '\r' || c == '\n';
}

static enum data_verdict
scan_parts(struct data_scan *scan, struct span input, size_t part, size_t *out_pass)
{
    enum data_verdict verdict = DATA_MORE;
    size_t seen = 0, pass;

    *out_pass = 0;
    while (seen < input.len && verdict == DATA_MORE) {
        seen = input.len - seen < part ? input.len : seen + part;
        verdict = data_scan(scan, span_from(span_first(input, seen), *out_pass), &pass);
        must(pass <= seen - *out_pass);
        *out_pass += pass;
        must(verdict != DATA_MORE || seen - *out_pass <= 2);
    }
    return verdict;
}

/* The first dot alone on a line for the most lenient reader, who drops NULs, too; text.len when
 * there is none. */
static size_t
lone_dot(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        size_t before = i, after = i + 1;

        while (before && text.ptr[before - 1] == '\0')
            before--;
        while (after < text.len && text.ptr[after] == '\0')
            after++;
        if (text.ptr[i] == '.' && (before == 0 || is_line_end(text.ptr[before - 1])) &&
            after < text.len && is_line_end(text.ptr[after]))
            return i;
    }
    return text.len;
}

static void
check_swallow(struct data_scan scan, struct span rest, size_t part)
{
    struct data_scan whole = scan;
    size_t used_whole, used, done = 0;
    bool want = data_scan_swallow(&whole, rest, &used_whole), found = false;

    while (!found && done < rest.len) {
        found = data_scan_swallow(&scan, span_first(span_from(rest, done), part), &used);
        done += used;
    }
    must(found == want && done == used_whole);
    must(found || done == rest.len);
    if (found && done >= 5)
        must(memcmp(rest.ptr + done - 5, "\r\n.\r\n", 5) == 0);
}

/* Up to the first bare CR or LF there is none; "\r\n" stands before, as the DATA command's. */
static void
check_bare_newline(struct span input)
{
    struct data_scan scan;
    size_t bare;

    data_scan_init(&scan);
    bare = data_scan_bare_newline(&scan, input);
    must(bare <= input.len);
    for (size_t i = 0; i < bare; i++)
        must((input.ptr[i] == '\n') == (i > 0 && input.ptr[i - 1] == '\r'));
    must(bare == input.len ||
         (input.ptr[bare] == '\n') != (bare > 0 && input.ptr[bare - 1] == '\r'));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t part = size ? data[0] + 1u : 1, pass, pass_whole;
    struct span input = span_from(span_make(data, size), 1);
    struct data_scan scan, whole;
    enum data_verdict verdict;

    if (input.len == 0)
        return 0;
    data_scan_init(&scan);
    data_scan_init(&whole);
    verdict = scan_parts(&scan, input, part, &pass);
    must(data_scan(&whole, input, &pass_whole) == verdict);
    must(pass == pass_whole && scan.state == whole.state);
    if (verdict == DATA_END) {
        must(pass >= 3 && memcmp(input.ptr + pass - 3, ".\r\n", 3) == 0);
        must(pass == 3 || (pass >= 5 && memcmp(input.ptr + pass - 5, "\r\n", 2) == 0));
        must(lone_dot(span_first(input, pass)) == pass - 3);
    } else {
        must(lone_dot(span_first(input, pass)) == pass);
    }
    if (verdict == DATA_AMBIGUOUS) {
        must(pass < input.len && lone_dot(span_first(input, pass + 1)) < pass);
        check_swallow(scan, span_from(input, pass), part);
    }
    data_scan_init(&scan);
    check_swallow(scan, input, part);
    check_bare_newline(input);
    return 0;
}
