/* tests/proxy/test_data_scan.c: the end of message data, SMTP-042 ... SMTP-044: a test per row,
 * each at every split, and the scanner against an automaton that takes one octet at a time. */
#include "proxy/data_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }
#define EXHAUSTIVE_MAX 8u /* octets */
#define LETTERS 5u

/* The octets that matter, and one for all others. */
static const char alphabet[LETTERS] = { '\r', '\n', '.', '\0', 'x' };

/* The next of all strings of so many letters, in place; false: that was the last one. */
static bool
next_string(unsigned char *numbers, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (++numbers[i] < LETTERS)
            return true;
        numbers[i] = 0;
    }
    return false;
}

static struct scan_case {
    const char *name;
    struct span input;
    enum data_verdict want;
    size_t pass; /* octets that leave */
} cases[] = {
    /* The end. */
    { "SMTP-042 empty message", TEXT(".\r\n"), DATA_END, 3 },
    { "SMTP-042 one line", TEXT("x\r\n.\r\n"), DATA_END, 6 },
    { "SMTP-042 commands behind it stay", TEXT("x\r\n.\r\nQUIT\r\n"), DATA_END, 6 },
    { "E4 a recipient behind it stays", TEXT(".\r\nRCPT TO:<a@b>\r\n"), DATA_END, 3 },
    { "SMTP-042 another end behind it stays", TEXT("x\r\n.\r\n.\r\n"), DATA_END, 6 },
    { "SMTP-042 empty lines before", TEXT("\r\n\r\n.\r\n"), DATA_END, 7 },
    { "SMTP-042 a bare LF elsewhere", TEXT("a\nb\n\r\n.\r\n"), DATA_END, 9 },
    { "SMTP-042 CR before CRLF", TEXT("a\r\r\n.\r\n"), DATA_END, 7 },
    { "SMTP-041 E1 stuffed dot before", TEXT("..\r\n.\r\n"), DATA_END, 7 },
    { "SMTP-042 NUL before", TEXT("\0\r\n.\r\n"), DATA_END, 6 },

    /* Not the end, and nothing that looks like it. */
    { "nothing", TEXT(""), DATA_MORE, 0 },
    { "SMTP-041 dot alone so far", TEXT("."), DATA_MORE, 1 },
    { "SMTP-041 E1 two dots", TEXT("..\r\n"), DATA_MORE, 4 },
    { "SMTP-041 E1 CRLF .. CRLF", TEXT("x\r\n..\r\n"), DATA_MORE, 7 },
    { "SMTP-041 E1 line begins with a dot", TEXT("x\r\n.x\r\n"), DATA_MORE, 7 },
    { "SMTP-041 line ends with a dot", TEXT("x\r\nx.\r\n"), DATA_MORE, 7 },
    { "SMTP-041 blank behind the dot", TEXT("x\r\n. \r\n"), DATA_MORE, 7 },
    { "SMTP-046 NUL and a dot within a line", TEXT("x\0.\r\n"), DATA_MORE, 5 },
    { "SMTP-046 NUL, dot and text", TEXT("x\r\n\0.x\r\n"), DATA_MORE, 8 },
    { "SMTP-046 a line of NULs", TEXT("\0\0\r\n"), DATA_MORE, 4 },
    { "SMTP-046 NUL between two dots", TEXT("x\r\n.\0.\r\n"), DATA_MORE, 8 },
    { "SMTP-046 a dot behind a tab", TEXT("x\r\n\t.\r\n"), DATA_MORE, 7 },
    { "SMTP-046 CR, LF and dot with the eighth bit", TEXT("\x8d\x8a.\x8d\x8a\xae\r\n"), DATA_MORE,
      8 },
    { "SMTP-046 NEL, LS and PS are no line ends", TEXT("\xc2\x85.\xe2\x80\xa8.\xe2\x80\xa9"),
      DATA_MORE, 10 },
    { "SMTP-046 VT, FF and the separators are no line ends", TEXT("\v.\f.\x1c.\x1d.\x1e.\x1f"),
      DATA_MORE, 11 },
    { "SMTP-043 dots between bare LF", TEXT("\n..\n"), DATA_MORE, 4 },
    { "SMTP-043 text between bare LF", TEXT("\nx.\n.x\n"), DATA_MORE, 7 },
    { "SMTP-043 a dot behind bare CR, text behind it", TEXT("a\r.b"), DATA_MORE, 4 },
    { "SMTP-043 a dot behind bare LF, nothing yet", TEXT("a\n."), DATA_MORE, 3 },
    { "SMTP-044 CR behind the dot waits", TEXT("x\r\n.\r"), DATA_MORE, 4 },
    { "SMTP-044 CR behind the first dot waits", TEXT(".\r"), DATA_MORE, 1 },
    { "SMTP-044 CR elsewhere does not wait", TEXT("x\r"), DATA_MORE, 2 },
    { "SMTP-044 CRLF leaves", TEXT("x\r\n"), DATA_MORE, 3 },

    /* Look-alikes: cut before the octet that completes them. */
    { "SMTP-043 E3 LF . LF", TEXT("x\n.\nRCPT"), DATA_AMBIGUOUS, 3 },
    { "SMTP-043 E3 LF . CRLF", TEXT("x\n.\r\nRCPT"), DATA_AMBIGUOUS, 3 },
    { "SMTP-043 LF . CR", TEXT("x\n.\rRCPT"), DATA_AMBIGUOUS, 3 },
    { "SMTP-043 LF . CR at the end of what came", TEXT("x\n.\r"), DATA_AMBIGUOUS, 3 },
    { "SMTP-043 E3 CRLF . LF", TEXT("x\r\n.\nRCPT"), DATA_AMBIGUOUS, 4 },
    { "SMTP-043 E3 CRLF . CR", TEXT("x\r\n.\rRCPT"), DATA_AMBIGUOUS, 4 },
    { "SMTP-043 E3 CRLF . CR CRLF", TEXT("x\r\n.\r\r\nRCPT"), DATA_AMBIGUOUS, 4 },
    { "SMTP-043 E3 CR . CR", TEXT("x\r.\rRCPT"), DATA_AMBIGUOUS, 3 },
    { "SMTP-043 E3 CR . LF", TEXT("x\r.\nRCPT"), DATA_AMBIGUOUS, 3 },
    { "SMTP-043 CR . CRLF", TEXT("x\r.\r\nRCPT"), DATA_AMBIGUOUS, 3 },
    { "SMTP-043 first line . LF", TEXT(".\nRCPT"), DATA_AMBIGUOUS, 1 },
    { "SMTP-043 first line . CR", TEXT(".\rRCPT"), DATA_AMBIGUOUS, 1 },
    { "SMTP-043 first line . CR . CRLF", TEXT(".\r.\r\n"), DATA_AMBIGUOUS, 1 },
    { "SMTP-043 LF at first, then . CRLF", TEXT("\n.\r\n"), DATA_AMBIGUOUS, 2 },
    { "SMTP-043 CRLF LF . CRLF", TEXT("x\r\n\n.\r\n"), DATA_AMBIGUOUS, 5 },
    { "SMTP-043 LF CR . CRLF", TEXT("x\n\r.\r\n"), DATA_AMBIGUOUS, 4 },
    { "SMTP-043 CRLF CR . CRLF", TEXT("x\r\n\r.\r\n"), DATA_AMBIGUOUS, 5 },
    { "SMTP-044 E3 CRLF NUL . CRLF", TEXT("x\r\n\0.\r\nRCPT"), DATA_AMBIGUOUS, 5 },
    { "SMTP-044 CRLF . NUL CRLF", TEXT("x\r\n.\0\r\nRCPT"), DATA_AMBIGUOUS, 5 },
    { "SMTP-044 CRLF NUL . NUL CRLF", TEXT("x\r\n\0.\0\r\nRCPT"), DATA_AMBIGUOUS, 6 },
    { "SMTP-044 many NULs", TEXT("x\r\n\0\0\0\0.\0\0\0\r\nRCPT"), DATA_AMBIGUOUS, 11 },
    { "SMTP-044 NUL . CRLF at first", TEXT("\0.\r\nRCPT"), DATA_AMBIGUOUS, 2 },
    { "SMTP-044 . NUL CRLF at first", TEXT(".\0\r\nRCPT"), DATA_AMBIGUOUS, 2 },
    { "SMTP-044 LF NUL . LF", TEXT("x\n\0.\nRCPT"), DATA_AMBIGUOUS, 4 },
    { "SMTP-044 LF . NUL LF", TEXT("x\n.\0\nRCPT"), DATA_AMBIGUOUS, 4 },
    { "SMTP-044 CR NUL LF . CRLF", TEXT("x\r\0\n.\r\nRCPT"), DATA_AMBIGUOUS, 5 },
    { "SMTP-044 CR NUL . CRLF", TEXT("x\r\0.\r\nRCPT"), DATA_AMBIGUOUS, 4 },
    { "SMTP-044 CRLF . CR NUL LF", TEXT("x\r\n.\r\0\nRCPT"), DATA_AMBIGUOUS, 4 },
    { "SMTP-044 CR CRLF NUL . CR CRLF", TEXT("x\r\r\n\0.\r\r\nRCPT"), DATA_AMBIGUOUS, 6 },
    { "SMTP-044 CR CRLF . CR CRLF", TEXT("x\r\r\n.\r\r\nRCPT"), DATA_AMBIGUOUS, 5 },
    { "SMTP-044 a look-alike before the end", TEXT("x\n.\ny\r\n.\r\n"), DATA_AMBIGUOUS, 3 },
};

/* What a scan of the whole input amounts to, however it was split. */
struct outcome {
    enum data_verdict verdict;
    size_t pass;
};

/* Feed input in parts of the sizes given, over and over; what is not passed is given again. */
static struct outcome
scan_parts(struct span input, const size_t *sizes, size_t size_count, struct data_scan *scan)
{
    struct outcome o = { DATA_MORE, 0 };
    size_t seen = 0; /* octets that have come */

    for (size_t turn = 0; seen < input.len && o.verdict == DATA_MORE; turn++) {
        struct span part;
        size_t pass;

        seen += sizes[turn % size_count];
        if (seen > input.len)
            seen = input.len;
        part = span_from(span_first(input, seen), o.pass);
        o.verdict = data_scan(scan, part, &pass);
        assert_true(pass <= part.len);
        if (o.verdict == DATA_MORE)
            assert_true(part.len - pass <= 2);
        o.pass += pass;
    }
    return o;
}

/* The same by the definition: a dot alone on a line but for NULs, whose delimiters are looked at
 * afterwards. One octet at a time, with no state but the text itself. */
static struct outcome
scan_naively(const char *text, size_t len)
{
    struct outcome o = { DATA_MORE, 0 };

    for (size_t i = 0; i < len; i++) {
        size_t after = i + 1, before = i;
        bool crlf = i == 0 || (i >= 2 && text[i - 1] == '\n' && text[i - 2] == '\r');

        o.pass = i + 1;
        while (before && text[before - 1] == '\0')
            before--;
        if (text[i] != '.' || (before && text[before - 1] != '\n' && text[before - 1] != '\r'))
            continue;
        while (after < len && text[after] == '\0')
            after++;
        if (after == len || (text[after] != '\r' && text[after] != '\n'))
            continue;
        o.pass = after;
        if (crlf && after == i + 1 && text[after] == '\r') {
            if (after + 1 == len)
                return o; /* the CR waits */
            if (text[after + 1] == '\n')
                return (struct outcome){ DATA_END, after + 2 };
        }
        o.verdict = DATA_AMBIGUOUS;
        return o;
    }
    return o;
}

static void
assert_same(struct outcome got, struct outcome want, struct span input)
{
    if (got.verdict == want.verdict && got.pass == want.pass)
        return;
    print_message("input:");
    for (size_t i = 0; i < input.len && i < 64; i++)
        print_message(" %02x", (unsigned char)input.ptr[i]);
    print_message(" verdict %d pass %zu, not %d and %zu\n", got.verdict, got.pass, want.verdict,
                  want.pass);
    fail();
}

static void
test_case(void **state)
{
    const struct scan_case *c = *state;
    char *copy = malloc(c->input.len + 1);
    struct span input = { copy, c->input.len };
    const struct outcome want = { c->want, c->pass };

    assert_non_null(copy);
    if (input.len)
        memcpy(copy, c->input.ptr, input.len);
    assert_same(scan_naively(input.ptr, input.len), want, input);
    for (size_t first = 1; first <= input.len + 1; first++)
        for (size_t rest = 1; rest <= input.len + 1; rest++) {
            const size_t sizes[] = { first, rest };
            struct data_scan scan;

            data_scan_init(&scan);
            assert_same(scan_parts(input, sizes, 2, &scan), want, input);
        }
    free(copy);
}

/* Every string of these up to EXHAUSTIVE_MAX octets, cut in two at every place and fed octet by
 * octet. */
static void
test_exhaustive(void **state)
{
    (void)state;
    for (size_t len = 0; len <= EXHAUSTIVE_MAX; len++) {
        unsigned char numbers[EXHAUSTIVE_MAX] = { 0 };

        do {
            char text[EXHAUSTIVE_MAX];
            struct span input = { text, len };
            struct outcome want;

            for (size_t i = 0; i < len; i++)
                text[i] = alphabet[numbers[i]];
            want = scan_naively(text, len);
            for (size_t first = 1; first <= len; first++) {
                const size_t sizes[] = { first, first == 1 ? 1 : len };
                struct data_scan scan;

                data_scan_init(&scan);
                assert_same(scan_parts(input, sizes, 2, &scan), want, input);
            }
        } while (next_string(numbers, len));
    }
}

/* As above, in front of and behind stretches without any of them, or of NULs, so that a jump over
 * text is taken from and to every place; the scanner takes 64 octets at once. */
static void
test_within_text(void **state)
{
    unsigned char numbers[6] = { 0 };

    (void)state;
    do
        for (size_t gap = 0; gap < 72; gap += gap == 7 ? 50 : 1) {
            char text[80];
            struct span input = { text, gap + 6 + 3 };
            struct outcome want;

            memset(text, numbers[0] % 2 ? '\0' : 'y', sizeof text);
            for (size_t i = 0; i < 3; i++) {
                text[i] = alphabet[numbers[i]];
                text[3 + gap + i] = alphabet[numbers[3 + i]];
            }
            want = scan_naively(text, input.len);
            for (size_t first = 1; first <= input.len; first += first < 8 ? 1 : 5) {
                const size_t sizes[] = { first, input.len };
                struct data_scan scan;

                data_scan_init(&scan);
                assert_same(scan_parts(input, sizes, 2, &scan), want, input);
            }
        }
    while (next_string(numbers, sizeof numbers));
}

static uint32_t
random_u32(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

static void
test_random(void **state)
{
    static const char octets[] = "\r\n..\r\n.\0xy";
    static char text[100000];
    uint64_t seed = 42;

    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        /* From all line ends to hardly any: the verdict comes late or early. */
        unsigned rarity = 1u << random_u32(&seed) % 14;
        size_t len = round % 10 ? random_u32(&seed) % 2000 : random_u32(&seed) % sizeof text;
        size_t sizes[5];
        struct span input = { text, len };
        struct data_scan scan;

        for (size_t i = 0; i < len; i++)
            text[i] = random_u32(&seed) % rarity ? (char)('a' + random_u32(&seed) % 26)
                                                 : octets[random_u32(&seed) % (sizeof octets - 1)];
        for (size_t i = 0; i < ROWS(sizes); i++)
            sizes[i] = 1 + random_u32(&seed) % (i == 0 ? 3 : 5000);
        data_scan_init(&scan);
        assert_same(scan_parts(input, sizes, ROWS(sizes), &scan), scan_naively(text, len), input);
    }
}

/* SMTP-044 reject-any: wherever it is cut, nothing leaves behind the first bare CR or LF. */
static void
test_bare_newline(void **state)
{
    static const char octets[] = { '\r', '\n', '.', 'x' };

    (void)state;
    for (unsigned long number = 0; number < 1ul << 12; number++)
        for (size_t gap = 0; gap < 140; gap += gap == 2 ? 60 : 1) {
            char text[160];
            struct span input = { text, gap + 6 };
            size_t want = 0;

            memset(text, 'y', sizeof text);
            for (size_t i = 0; i < 3; i++) {
                text[i] = octets[number >> 2 * i & 3];
                text[3 + gap + i] = octets[number >> (6 + 2 * i) & 3];
            }
            while (want < input.len && (text[want] == '\n') == (want > 0 && text[want - 1] == '\r'))
                want++;
            for (size_t first = 1; first <= input.len; first++) {
                struct data_scan scan = { 0 }; /* text came before */
                size_t got = data_scan_bare_newline(&scan, span_first(input, first)), pass;

                if (got == first && data_scan(&scan, span_first(input, first), &pass) == DATA_MORE)
                    got = pass + data_scan_bare_newline(&scan, span_from(input, pass));
                else if (got == first)
                    continue; /* the message is over */
                assert_int_equal(got, want);
            }
        }
}

/* SMTP-035: what follows a look-alike is dropped up to the strict end, wherever it is cut. */
static void
check_swallow(struct data_scan scan, struct span input, size_t part, bool want, size_t want_used)
{
    bool found = false;
    size_t done = 0;

    while (!found && done < input.len) {
        size_t len = part < input.len - done ? part : input.len - done, used;

        found = data_scan_swallow(&scan, span_make(input.ptr + done, len), &used);
        assert_true(found ? used <= len : used == len);
        done += used;
    }
    assert_int_equal(found, want);
    assert_int_equal(done, want_used);
}

static void
test_swallow(void **state)
{
    static const struct {
        struct span input;
        bool found;
        size_t used;
    } rows[] = {
        { TEXT(".\r\n"), true, 3 },
        { TEXT("x\r\n.\r\nQUIT\r\n"), true, 6 },
        { TEXT("x\n.\nRCPT TO:<a@b>\r\n.\r\nQUIT\r\n"), true, 22 },
        { TEXT(".\r\r\n.\r\nQUIT\r\n"), true, 7 },
        { TEXT(".\r.\r\n\r\n.\r\n.\r\n"), true, 10 },
        { TEXT(".\n.\r\n\r\n.\r\n"), true, 10 },
        { TEXT("x\r.\r\n..\r\n.\n\r.\r\n"), false, 15 },
        { TEXT("x\n.\r\n"), false, 5 },
        { TEXT("x\r\n.\r"), false, 5 },
        { TEXT(""), false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++)
        for (size_t part = 1; part <= rows[i].input.len + 1; part++) {
            struct data_scan scan;

            data_scan_init(&scan);
            check_swallow(scan, rows[i].input, part, rows[i].found, rows[i].used);
        }
}

/* The state that a look-alike leaves fits the octets that have passed: swallowing the rest finds
 * the strict end of the whole. */
static void
test_swallow_the_rest(void **state)
{
    static const char end[] = "\r\n.\r\n";

    unsigned char numbers[8] = { 0 };

    (void)state;
    do {
        char text[2 + 8 + sizeof end] = "\r\n"; /* the DATA command's */
        struct span whole = { text, sizeof text - 1 };
        struct span input = span_from(whole, 2);
        struct data_scan scan;
        size_t pass, want;

        for (size_t i = 0; i < 8; i++)
            text[2 + i] = alphabet[numbers[i]];
        memcpy(text + 10, end, sizeof end);
        want = (size_t)((char *)memmem(text, whole.len, end, 5) - text) + 3;
        data_scan_init(&scan);
        if (data_scan(&scan, input, &pass) == DATA_AMBIGUOUS)
            for (size_t part = 1; part < 5; part++)
                check_swallow(scan, span_from(input, pass), part, true, want - pass);
        else
            assert_int_equal(pass, want);
    } while (next_string(numbers, sizeof numbers));
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_exhaustive),       cmocka_unit_test(test_within_text),
        cmocka_unit_test(test_random),           cmocka_unit_test(test_swallow),
        cmocka_unit_test(test_swallow_the_rest), cmocka_unit_test(test_bare_newline),
    };
    struct CMUnitTest tests[ROWS(cases) + ROWS(others)] = { 0 };

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = test_case,
                                        .initial_state = &cases[i] };
    memcpy(tests + ROWS(cases), others, sizeof others);
    return cmocka_run_group_tests_name("data_scan", tests, NULL, NULL);
}
