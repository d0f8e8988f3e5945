/* tests/base/test_log.c: quoting of peer bytes, and the shape of a line. */
#include "base/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    } /* a span, NULs included */
#define LINE_MAX_BYTES 2048u

static struct quote_case {
    const char *name;
    size_t size;
    struct span bytes;
    const char *want;
} quote_cases[] = {
    { "plain text", 64, TEXT("250 ok"), "\"250 ok\"" },
    { "empty", 64, TEXT(""), "\"\"" },
    { "quotation marks and backslashes", 64, TEXT("a\"b\\c"), "\"a\\\"b\\\\c\"" },
    { "line ends forge no line", 64, TEXT("a\r\nb"), "\"a\\x0d\\x0ab\"" },
    { "NUL", 64, TEXT("a\0b"), "\"a\\x00b\"" },
    { "TC-POL-35 escape sequence", 64, TEXT("\x1b[31m"), "\"\\x1b[31m\"" },
    { "tab and DEL", 64, TEXT("\t\x7f"), "\"\\x09\\x7f\"" },
    { "non-ASCII", 64, TEXT("\xc3\xbc\xff"), "\"\\xc3\\xbc\\xff\"" },
    { "first and last printable character", 64, TEXT(" ~"), "\" ~\"" },
    { "13 characters fill 16 octets", 16, TEXT("0123456789abc"), "\"0123456789abc\"" },
    { "14 characters are cut", 16, TEXT("0123456789abcd"), "\"0123456...\"" },
    { "three escapes fill 15 octets", 16, TEXT("\n\n\n"), "\"\\x0a\\x0a\\x0a\"" },
    { "an escape is never cut in two", 16, TEXT("\n\n\n\n"), "\"\\x0a\\x0a...\"" },
    { "six quotation marks fill 15 octets", 16, TEXT("\"\"\"\"\"\""),
      "\"\\\"\\\"\\\"\\\"\\\"\\\"\"" },
    { "seven quotation marks are cut", 16, TEXT("\"\"\"\"\"\"\""), "\"\\\"\\\"\\\"\\\"...\"" },
};

static void
test_quote(void **state)
{
    const struct quote_case *c = *state;
    char dst[64];

    assert_ptr_equal(log_quote(dst, c->size, c->bytes), dst);
    assert_string_equal(dst, c->want);
    assert_true(strlen(dst) < c->size);
}

/* Whatever the octets and the size: inside the memory, printable, both quotation marks there. */
static void
test_quote_any(void **state)
{
    uint32_t seed = 1;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        unsigned char bytes[40];
        size_t size = 16 + round % 40, len = (round / 40) % sizeof bytes;
        char *dst = malloc(size); /* its own size, so that a sanitizer sees a write beyond it */

        assert_non_null(dst);
        for (size_t i = 0; i < len; i++) {
            seed = seed * 1664525u + 1013904223u;
            /* Half of them plain, since octets at random are nearly all escaped. */
            bytes[i] = (unsigned char)(seed >> 31 ? 'a' : seed >> 16);
        }
        log_quote(dst, size, span_make(bytes, len));
        assert_true(memchr(dst, '\0', size) != NULL);
        assert_true(strlen(dst) >= 2 && dst[0] == '"' && dst[strlen(dst) - 1] == '"');
        for (size_t i = 0; dst[i]; i++)
            assert_true(dst[i] >= 0x20 && dst[i] < 0x7f);
        free(dst);
    }
}

static void
test_quote_no_bytes(void **state)
{
    char dst[16];

    (void)state;
    assert_string_equal(log_quote(dst, sizeof dst, (struct span){ NULL, 0 }), "\"\"");
}

/* Standard error as a file while f runs; what was written, cut at size - 1. */
static size_t
captured(void (*f)(void), char *out, size_t size)
{
    int file = memfd_create("stderr", MFD_CLOEXEC), saved = dup(STDERR_FILENO);
    ssize_t len;

    assert_true(file >= 0 && saved >= 0);
    assert_true(dup2(file, STDERR_FILENO) >= 0);
    f();
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    len = pread(file, out, size - 1, 0);
    close(file);
    assert_true(len >= 0);
    out[len] = '\0';
    return (size_t)len;
}

static void
log_two_levels(void)
{
    log_init("worker/0", LOG_LEVEL_INFO);
    log_info("session=%d event=%s", 7, "ehlo");
    log_debug("session=%d event=%s", 7, "hidden");
}

static void
test_line(void **state)
{
    char out[512];

    (void)state;
    captured(log_two_levels, out, sizeof out);
    assert_memory_equal(out, "time=2", 6);
    assert_non_null(strstr(out, "Z level=info proc=worker/0 session=7 event=ehlo\n"));
    assert_null(strstr(out, "hidden"));
    assert_int_equal(strcspn(out, "\n") + 1, strlen(out));
    assert_true(log_has_level(LOG_LEVEL_ERROR));
    assert_true(log_has_level(LOG_LEVEL_INFO));
    assert_false(log_has_level(LOG_LEVEL_DEBUG));
}

static void
log_long_line(void)
{
    log_init("worker/0", LOG_LEVEL_INFO);
    log_error("x=%0*d", 5000, 1);
}

static void
test_long_line(void **state)
{
    char out[3 * LINE_MAX_BYTES];
    size_t len;

    (void)state;
    len = captured(log_long_line, out, sizeof out);
    assert_true(len > LINE_MAX_BYTES - 16 && len <= LINE_MAX_BYTES);
    assert_int_equal(strcspn(out, "\n") + 1, len);
}

static void
log_long_proc(void)
{
    static char proc[3000];

    memset(proc, 'p', sizeof proc - 1);
    log_init(proc, LOG_LEVEL_INFO);
    log_error("x=%d", 1);
    log_init("worker/0", LOG_LEVEL_INFO);
}

static void
test_long_process_name(void **state)
{
    char out[3 * LINE_MAX_BYTES];
    size_t len;

    (void)state;
    len = captured(log_long_proc, out, sizeof out);
    assert_true(len > LINE_MAX_BYTES - 16 && len <= LINE_MAX_BYTES);
    assert_int_equal(strcspn(out, "\n") + 1, len);
}

static void
test_errno_is_kept(void **state)
{
    (void)state;
    errno = ENOENT;
    log_error("x=1");
    assert_int_equal(errno, ENOENT);
}

/* How many lines standard error, a file, has by now. */
static unsigned
lines_so_far(void)
{
    char out[4 * LINE_MAX_BYTES];
    ssize_t len = pread(STDERR_FILENO, out, sizeof out, 0);
    unsigned count = 0;

    for (ssize_t i = 0; i < len; i++)
        count += out[i] == '\n';
    return count;
}

static struct {
    unsigned waiting, flushed, warned, full, quiet;
} seen;

static void
log_turns(void)
{
    log_init("worker/0", LOG_LEVEL_INFO);
    log_gather();
    log_info("turn=1 line=1");
    log_info("turn=1 line=2");
    seen.waiting = lines_so_far();
    log_flush();
    seen.flushed = lines_so_far();
    log_info("turn=2 line=3");
    log_warn("turn=2 line=4");
    seen.warned = lines_so_far();
    log_info("turn=3 x=%0*d", 1900, 1);
    log_info("turn=3 x=%0*d", 1900, 2);
    log_info("turn=3 x=%0*d", 1900, 3);
    seen.full = lines_so_far();
    log_flush();
    log_flush();
    seen.quiet = lines_so_far();
}

/* Written together, in order, and never later than a warning. */
static void
test_gathered(void **state)
{
    char out[4 * LINE_MAX_BYTES];
    const char *at = out;

    (void)state;
    captured(log_turns, out, sizeof out);
    assert_int_equal(seen.waiting, 0);
    assert_int_equal(seen.flushed, 2);
    assert_int_equal(seen.warned, 4);
    assert_int_equal(seen.full, 6);
    assert_int_equal(seen.quiet, 7);
    for (int line = 1; line <= 4; line++) {
        char text[16];

        snprintf(text, sizeof text, "line=%d\n", line);
        at = strstr(at, text);
        assert_non_null(at);
    }
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_quote_any),
        cmocka_unit_test(test_quote_no_bytes),
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_long_process_name),
        cmocka_unit_test(test_errno_is_kept),
        cmocka_unit_test(test_gathered), /* the last: it stays so */
    };
    struct CMUnitTest tests[ROWS(quote_cases) + ROWS(others)];
    size_t count = 0;

    for (size_t i = 0; i < ROWS(quote_cases); i++)
        tests[count++] = (struct CMUnitTest){ .name = quote_cases[i].name,
                                              .test_func = test_quote,
                                              .initial_state = &quote_cases[i] };
    for (size_t i = 0; i < ROWS(others); i++)
        tests[count++] = others[i];
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
