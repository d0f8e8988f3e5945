/* tests/base/test_pack.c: the writer's bytes, the walk over one object, and the reader against
 * senders that lie about lengths, counts and types (FAULTS H2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <msgpack.h>
#include <stdlib.h>

#include "base/pack.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof text - 1                                                                      \
    }

/* ---- the writer's bytes ---- */

static void
write_nil(struct pack_writer *w)
{
    pack_nil(w);
}

static void
write_bools(struct pack_writer *w)
{
    pack_bool(w, false);
    pack_bool(w, true);
}

static void
write_uints(struct pack_writer *w)
{
    pack_uint(w, 127);
    pack_uint(w, 128);
    pack_uint(w, UINT64_MAX);
}

static void
write_ints(struct pack_writer *w)
{
    pack_int(w, -32);
    pack_int(w, -33);
    pack_int(w, INT64_MIN);
}

static void
write_containers(struct pack_writer *w)
{
    pack_array(w, 2);
    pack_array(w, 16);
    pack_map(w, 1);
    pack_map(w, 65536);
}

static void
write_text(struct pack_writer *w)
{
    pack_str(w, span_of("a\303\244"));
}

static void
write_not_utf8(struct pack_writer *w)
{
    pack_str(w, span_of("a\xff"));
}

static void
write_escape(struct pack_writer *w)
{
    pack_str(w, span_of("\033[2J"));
}

/* 31 octets are the most that the shortest head can tell. */
static void
write_parts(struct pack_writer *w)
{
    const struct span parts[] = {
        span_of("recipient"), { NULL, 0 }, span_of("/"), span_of("0123456789abcdef/1234")
    };

    pack_text_parts(w, parts, 0);
    pack_text_parts(w, parts, 4);
    pack_text(w, span_of("recipient/0123456789abcdef/1234"));
    pack_text(w, span_of("recipient/0123456789abcdef/12345"));
    pack_text(w, (struct span){ NULL, 0 });
}

static void
write_bin(struct pack_writer *w)
{
    pack_bin(w, span_make("\0\1", 2));
}

static void
write_time(struct pack_writer *w)
{
    pack_event_time(w, INT64_C(1700000000123456789));
}

static void
write_early_time(struct pack_writer *w)
{
    pack_event_time(w, -1);
}

static void
write_late_time(struct pack_writer *w)
{
    pack_event_time(w, INT64_MAX);
}

static void
write_raw(struct pack_writer *w)
{
    pack_raw(w, span_make("\x93\1\2\3", 4));
}

static struct write_case {
    const char *name;
    void (*write)(struct pack_writer *w);
    struct span want;
} write_cases[] = {
    { "nil is c0", write_nil, BYTES("\xc0") },
    { "false and true", write_bools, BYTES("\xc2\xc3") },
    { "the shortest unsigned form", write_uints,
      BYTES("\x7f\xcc\x80\xcf\xff\xff\xff\xff\xff\xff\xff\xff") },
    { "the shortest signed form", write_ints, BYTES("\xe0\xd0\xdf\xd3\x80\0\0\0\0\0\0\0") },
    { "heads of arrays and maps", write_containers, BYTES("\x92\xdc\0\x10\x81\xdf\0\1\0\0") },
    { "text is str", write_text, BYTES("\xa3\x61\xc3\xa4") },
    { "text in parts, and the longest with the shortest head", write_parts,
      BYTES("\xa0\xbfrecipient/0123456789abcdef/1234\xbfrecipient/0123456789abcdef/1234"
            "\xd9\x20recipient/0123456789abcdef/12345\xa0") },
    { "bytes that are not UTF-8 become bin", write_not_utf8, BYTES("\xc4\2\x61\xff") },
    { "an escape sequence becomes bin", write_escape, BYTES("\xc4\4\033[2J") },
    { "bin", write_bin, BYTES("\xc4\2\0\1") },
    { "EventTime is fixext8 of type 0", write_time, BYTES("\xd7\0\x65\x53\xf1\0\x07\x5b\xcd\x15") },
    { "a time before 1970 is 1970", write_early_time, BYTES("\xd7\0\0\0\0\0\0\0\0\0") },
    { "a time after 2106 is the last of 2106", write_late_time,
      BYTES("\xd7\0\xff\xff\xff\xff\x3b\x9a\xc9\xff") },
    { "raw objects stay as they are", write_raw, BYTES("\x93\1\2\3") },
};

/* Into a buffer, into a block that just fits, and into every block that is too small. */
static void
test_write(void **state)
{
    const struct write_case *c = *state;
    struct pack_writer w;
    struct buffer b;
    char block[128];

    buffer_init(&b, 1024);
    assert_int_equal(buffer_append(&b, span_of("before")), RES_OK);
    pack_begin(&w, &b);
    c->write(&w);
    assert_int_equal(pack_written(&w), c->want.len);
    assert_int_equal(pack_end(&w), RES_OK);
    assert_memory_equal(buffer_span(&b).ptr, "before", 6);
    assert_true(span_equal(span_from(buffer_span(&b), 6), c->want));
    buffer_clear(&b);
    for (size_t size = 0; size <= c->want.len; size++) {
        pack_begin_block(&w, block, size);
        c->write(&w);
        assert_int_equal(pack_end(&w), size < c->want.len ? RES_LIMIT : RES_OK);
        assert_int_equal(pack_written(&w), size < c->want.len ? 0 : size);
    }
    assert_memory_equal(block, c->want.ptr, c->want.len);
}

static void
test_write_rolls_back(void **state)
{
    struct pack_writer w;
    struct buffer b;

    (void)state;
    buffer_init(&b, 8);
    for (unsigned round = 0; round < 2; round++) {
        pack_begin(&w, &b);
        pack_uint(&w, 1);
        pack_bin(&w, span_of("too long for it"));
        pack_uint(&w, 1); /* would fit, but comes too late */
        assert_int_equal(pack_end(&w), RES_LIMIT);
        assert_int_equal(buffer_len(&b), round);
        if (round == 0)
            assert_int_equal(buffer_append(&b, span_of("x")), RES_OK);
    }
    assert_memory_equal(buffer_span(&b).ptr, "x", 1);
    buffer_clear(&b);
    pack_begin(&w, &b);
    pack_fail(&w, RES_OK);
    pack_nil(&w);
    pack_fail(&w, RES_DENIED);
    pack_fail(&w, RES_LIMIT);
    assert_int_equal(pack_end(&w), RES_DENIED);
    assert_null(b.mem);
}

/* A buffer that has some room at hand, and its limit: each piece at each of the two edges. */
static void
test_write_at_the_edge(void **state)
{
    enum { LIMIT = 1024, MORE = 40 };
    char filler[LIMIT] = { 0 };
    struct pack_writer w;
    struct buffer b;

    (void)state;
    for (size_t held = 0; held < LIMIT; held++) {
        size_t room = LIMIT - held;

        buffer_init(&b, LIMIT);
        assert_int_equal(buffer_append(&b, span_make(filler, held)), RES_OK);
        pack_begin(&w, &b);
        for (unsigned i = 0; i < MORE / 4; i++)
            pack_text(&w, span_of("abc"));
        assert_int_equal(pack_end(&w), room < MORE ? RES_LIMIT : RES_OK);
        assert_int_equal(buffer_len(&b), room < MORE ? held : held + MORE);
        buffer_clear(&b);
    }
}

static void
test_write_too_long_to_declare(void **state)
{
    struct pack_writer w;
    char block[16];

    (void)state;
    if (SIZE_MAX <= UINT32_MAX)
        skip();
    pack_begin_block(&w, block, sizeof block);
    pack_array(&w, (size_t)UINT32_MAX + 1);
    assert_int_equal(pack_end(&w), RES_LIMIT);
    pack_begin_block(&w, block, sizeof block);
    pack_map(&w, (size_t)UINT32_MAX + 1);
    assert_int_equal(pack_end(&w), RES_LIMIT);
}

/* ---- what is text ---- */

static struct text_case {
    const char *name;
    struct span bytes;
    bool want;
} text_cases[] = {
    { "text: empty", BYTES(""), true },
    { "text: printable ASCII", BYTES(" ~"), true },
    { "text: TAB, CR and LF", BYTES("a\tb\r\nc"), true },
    { "text: two, three and four octets", BYTES("\xc2\xa0\xe2\x82\xac\xf0\x9f\x93\xa7"), true },
    { "text: the last code point", BYTES("\xf4\x8f\xbf\xbf"), true },
    { "no text: NUL", BYTES("a\0b"), false },
    { "no text: ESC", BYTES("\033[31m"), false },
    { "no text: DEL", BYTES("\x7f"), false },
    { "no text: C1 control CSI", BYTES("\xc2\x9b"), false },
    { "no text: overlong slash", BYTES("\xc0\xaf"), false },
    { "no text: overlong of three octets", BYTES("\xe0\x9f\xbf"), false },
    { "no text: overlong of four octets", BYTES("\xf0\x8f\xbf\xbf"), false },
    { "no text: surrogate", BYTES("\xed\xa0\x80"), false },
    { "no text: beyond U+10FFFF", BYTES("\xf4\x90\x80\x80"), false },
    { "no text: octet f5", BYTES("\xf5\x80\x80\x80"), false },
    { "no text: lone continuation", BYTES("\x80"), false },
    { "no text: cut character", BYTES("\xe2\x82"), false },
    { "no text: wrong third octet", BYTES("\xe2\x82\x28"), false },
};

static void
test_text(void **state)
{
    const struct text_case *c = *state;

    assert_int_equal(pack_is_text(c->bytes), c->want);
}

/* Texts are looked at by eight octets: each octet in each place, among neighbours of either end of
 * what is plain. */
static void
test_text_in_every_place(void **state)
{
    static const char neighbours[] = { 0x20, 0x7e, 'x' };

    (void)state;
    for (size_t n = 0; n < sizeof neighbours; n++)
        for (size_t place = 0; place < 17; place++)
            for (unsigned octet = 0; octet < 256; octet++) {
                char bytes[17];
                bool want = octet < 0x80 && octet != 0x7f &&
                            (octet >= 0x20 || octet == '\t' || octet == '\r' || octet == '\n');

                memset(bytes, neighbours[n], sizeof bytes);
                bytes[place] = (char)octet;
                assert_int_equal(pack_is_text(span_make(bytes, sizeof bytes)), want);
            }
}

static void
test_mended_text(void **state)
{
    static const struct span good = BYTES("a\0\xc2\xa0\xe2\x82\xac\xf0\x9f\x93\xa7"),
                             bad = BYTES("\xff"
                                         "a\xe2\x82"
                                         "b\x80\xed\xa0\x80\xc2"),
                             mended = BYTES("\xef\xbf\xbd"
                                            "a\xef\xbf\xbd\xef\xbf\xbd"
                                            "b\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                                            "\xef\xbf\xbd\xef\xbf\xbd");
    char out[PACK_MENDED_BYTES(16)];

    (void)state;
    assert_int_equal(pack_mend_text(span_of(""), out), 0);
    assert_true(span_equal(span_make(out, pack_mend_text(good, out)), good));
    assert_true(span_equal(span_make(out, pack_mend_text(bad, out)), mended));
}

/* A str's head as MessagePack has it at every length, with and without room at hand. */
static void
test_text_of_every_length(void **state)
{
    char text[300], got[310];

    (void)state;
    memset(text, 'x', sizeof text);
    for (size_t len = 0; len <= sizeof text; len++) {
        struct span in = span_make(len ? text : NULL, len);
        struct pack_writer w;
        struct pack_reader r;
        struct buffer out;

        buffer_init(&out, 2 * sizeof got);
        pack_begin(&w, &out);
        pack_text(&w, in);
        pack_text(&w, in);
        assert_int_equal(pack_end(&w), RES_OK);
        pack_reader_init(&r, buffer_span(&out));
        assert_true(span_equal(pack_read_str(&r), in));
        assert_true(span_equal(pack_read_str(&r), in));
        assert_int_equal(pack_reader_end(&r), RES_OK);
        pack_begin_block(&w, got, sizeof got);
        pack_text(&w, in);
        assert_int_equal(pack_end(&w), RES_OK);
        assert_true(pack_written(&w) * 2 == buffer_len(&out));
        assert_memory_equal(got, buffer_span(&out).ptr, pack_written(&w));
        buffer_clear(&out);
    }
}

/* ---- the walk over one object ---- */

#define NESTED(n) "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91" n

static struct check_case {
    const char *name;
    struct span bytes;
    size_t max;
    enum result want;
    size_t want_len;
} check_cases[] = {
    { "check: nothing", BYTES(""), 9, RES_AGAIN, 0 },
    { "check: a byte that starts no object", BYTES("\xc1"), 9, RES_SYNTAX, 0 },
    { "check: the same within an array", BYTES("\x92\1\xc1"), 9, RES_SYNTAX, 0 },
    { "check: one number, others behind it", BYTES("\1\2\3"), 9, RES_OK, 1 },
    { "check: empty array", BYTES("\x90"), 9, RES_OK, 1 },
    { "check: map", BYTES("\x81\xa1x\x92\1\2"), 9, RES_OK, 6 },
    { "check: exactly max", BYTES("\xa3xyz"), 4, RES_OK, 4 },
    { "check: one more than max", BYTES("\xa3xyz"), 3, RES_LIMIT, 0 },
    { "check: max is 0", BYTES("\1"), 0, RES_LIMIT, 0 },
    { "check: str cut", BYTES("\xa3xy"), 9, RES_AGAIN, 0 },
    { "check: head cut", BYTES("\xdb\0\0"), 9, RES_AGAIN, 0 },
    { "check: array cut", BYTES("\x93\1\2"), 9, RES_AGAIN, 0 },
    { "check: array of 4 Gi elements", BYTES("\xdd\xff\xff\xff\xff"), 1u << 20, RES_LIMIT, 0 },
    { "check: map of 4 Gi pairs", BYTES("\xdf\xff\xff\xff\xff"), 1u << 20, RES_LIMIT, 0 },
    { "check: str of 4 GiB", BYTES("\xdb\xff\xff\xff\xff"), 1u << 20, RES_LIMIT, 0 },
    { "check: bin of 4 GiB", BYTES("\xc6\xff\xff\xff\xff"), 1u << 20, RES_LIMIT, 0 },
    { "check: ext of 4 GiB", BYTES("\xc9\xff\xff\xff\xff\0"), 1u << 20, RES_LIMIT, 0 },
    { "check: more elements than max leaves room", BYTES("\xdc\0\x09"), 11, RES_LIMIT, 0 },
    { "check: as many as max leaves room", BYTES("\xdc\0\x08"), 11, RES_AGAIN, 0 },
    { "check: counts of several levels add up", BYTES("\x9f\x9f\x9f"), 44, RES_LIMIT, 0 },
    { "check: the same with room", BYTES("\x9f\x9f\x9f"), 46, RES_AGAIN, 0 },
    { "check: sixteen levels", BYTES(NESTED("\1")), 99, RES_OK, 17 },
    { "check: an empty one within sixteen", BYTES(NESTED("\x90")), 99, RES_OK, 17 },
    { "check: seventeen levels", BYTES(NESTED("\x91\1")), 99, RES_LIMIT, 0 },
    { "check: every fixext",
      BYTES("\x95\xd4\1.\xd5\1..\xd6\1....\xd7\1........\xd8\1................"), 99, RES_OK, 42 },
    { "check: ext8, ext16, ext32", BYTES("\x93\xc7\1\7.\xc8\0\1\7.\xc9\0\0\0\1\7."), 99, RES_OK,
      17 },
    { "check: str8, str16, str32", BYTES("\x93\xd9\1x\xda\0\1x\xdb\0\0\0\1x"), 99, RES_OK, 14 },
    { "check: bin8, bin16, bin32", BYTES("\x93\xc4\1x\xc5\0\1x\xc6\0\0\0\1x"), 99, RES_OK, 14 },
    { "check: float and double", BYTES("\x92\xca\0\0\0\0\xcb\0\0\0\0\0\0\0\0"), 99, RES_OK, 15 },
};

static void
test_check(void **state)
{
    const struct check_case *c = *state;
    size_t len = 99;

    assert_int_equal(pack_check(c->bytes, c->max, &len), c->want);
    assert_int_equal(len, c->want_len);
    for (size_t cut = 0; c->want == RES_OK && cut < len; cut++) {
        size_t none = 99;

        assert_int_equal(pack_check(span_first(c->bytes, cut), c->max, &none), RES_AGAIN);
        assert_int_equal(none, 0);
    }
}

/* msgpack-c agrees about every object that the walk accepts. */
static void
test_check_agrees_with_msgpack(void **state)
{
    uint64_t seed = 0x9e3779b97f4a7c15u;
    unsigned accepted = 0;

    (void)state;
    for (unsigned round = 0; round < 200000; round++) {
        char bytes[24];
        size_t len, offset = 0;
        msgpack_unpacked object;

        for (size_t i = 0; i < sizeof bytes; i++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            bytes[i] = (char)(seed >> 32);
        }
        if (pack_check(span_make(bytes, sizeof bytes), sizeof bytes, &len) != RES_OK)
            continue;
        accepted++;
        msgpack_unpacked_init(&object);
        assert_int_equal(msgpack_unpack_next(&object, bytes, len, &offset), MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(offset, len);
        msgpack_unpacked_destroy(&object);
    }
    assert_true(accepted > 10000);
}

/* ---- reading ---- */

static void
read_nil(struct pack_reader *r)
{
    pack_read_nil(r);
}

static void
read_bool(struct pack_reader *r)
{
    (void)pack_read_bool(r);
}

static void
read_uint_to_200(struct pack_reader *r)
{
    assert_in_range(pack_read_uint(r, 200), 0, 200);
}

static void
read_int_pm_100(struct pack_reader *r)
{
    int64_t value = pack_read_int(r, -100, 100);

    assert_true(value >= -100 && value <= 100);
}

static void
read_any_int(struct pack_reader *r)
{
    (void)pack_read_int(r, INT64_MIN, INT64_MAX);
}

static void
read_float(struct pack_reader *r)
{
    (void)pack_read_float(r);
}

static void
read_str(struct pack_reader *r)
{
    (void)pack_read_str(r);
}

static void
read_bin(struct pack_reader *r)
{
    (void)pack_read_bin(r);
}

static void
read_text_3(struct pack_reader *r)
{
    char text[4] = "old";

    pack_read_text(r, text, sizeof text);
    if (r->res != RES_OK)
        assert_string_equal(text, "");
}

static void
read_bytes_2(struct pack_reader *r)
{
    char bytes[2] = { 1, 1 };

    pack_read_bytes(r, bytes, sizeof bytes);
    if (r->res != RES_OK)
        assert_memory_equal(bytes, "\0\0", 2);
}

static void
read_array_3(struct pack_reader *r)
{
    size_t n = pack_read_array(r, 3);

    for (size_t i = 0; i < n; i++)
        pack_skip(r);
}

static void
read_map_1(struct pack_reader *r)
{
    size_t n = pack_read_map(r, 1);

    for (size_t i = 0; i < 2 * n; i++)
        pack_skip(r);
}

static void
read_pair(struct pack_reader *r)
{
    pack_read_tuple(r, 2);
    pack_skip(r);
    pack_skip(r);
}

static void
read_time(struct pack_reader *r)
{
    (void)pack_read_event_time(r);
}

static void
skip_one(struct pack_reader *r)
{
    pack_skip(r);
}

static struct read_case {
    const char *name;
    void (*read)(struct pack_reader *r);
    struct span bytes;
    enum result want;
} read_cases[] = {
    { "read nil", read_nil, BYTES("\xc0"), RES_OK },
    { "nil wanted, false there", read_nil, BYTES("\xc2"), RES_SYNTAX },
    { "read bool", read_bool, BYTES("\xc3"), RES_OK },
    { "bool wanted, 1 there", read_bool, BYTES("\1"), RES_SYNTAX },
    { "nothing there", read_bool, BYTES(""), RES_SYNTAX },
    { "something left over", read_bool, BYTES("\xc2\xc2"), RES_SYNTAX },
    { "uint at the bound", read_uint_to_200, BYTES("\xcc\xc8"), RES_OK },
    { "uint beyond the bound", read_uint_to_200, BYTES("\xcc\xc9"), RES_LIMIT },
    { "uint in more bytes than it needs", read_uint_to_200, BYTES("\xcf\0\0\0\0\0\0\0\5"), RES_OK },
    { "uint in a signed form", read_uint_to_200, BYTES("\xd1\0\5"), RES_OK },
    { "uint wanted, -1 there", read_uint_to_200, BYTES("\xff"), RES_SYNTAX },
    { "uint wanted, float there", read_uint_to_200, BYTES("\xca\0\0\0\0"), RES_SYNTAX },
    { "uint cut", read_uint_to_200, BYTES("\xcd\0"), RES_SYNTAX },
    { "int at the lower bound", read_int_pm_100, BYTES("\xd0\x9c"), RES_OK },
    { "int below the bound", read_int_pm_100, BYTES("\xd0\x9b"), RES_LIMIT },
    { "int above the bound", read_int_pm_100, BYTES("\x65"), RES_LIMIT },
    { "int in an unsigned form", read_int_pm_100, BYTES("\xcc\x10"), RES_OK },
    { "the lowest int", read_any_int, BYTES("\xd3\x80\0\0\0\0\0\0\0"), RES_OK },
    { "a number beyond int64", read_any_int, BYTES("\xcf\x80\0\0\0\0\0\0\0"), RES_LIMIT },
    { "float", read_float, BYTES("\xca\x3f\x80\0\0"), RES_OK },
    { "float wanted, number there", read_float, BYTES("\1"), RES_SYNTAX },
    { "str", read_str, BYTES("\xa1x"), RES_OK },
    { "str wanted, bin there", read_str, BYTES("\xc4\1x"), RES_SYNTAX },
    { "str longer than what is left", read_str, BYTES("\xa2x"), RES_SYNTAX },
    { "str of 4 GiB", read_str, BYTES("\xdb\xff\xff\xff\xffx"), RES_SYNTAX },
    { "bin", read_bin, BYTES("\xc5\0\1x"), RES_OK },
    { "bin wanted, str there", read_bin, BYTES("\xa1x"), RES_SYNTAX },
    { "text that just fits", read_text_3, BYTES("\xa3xyz"), RES_OK },
    { "text too long", read_text_3, BYTES("\xa4wxyz"), RES_LIMIT },
    { "text with a NUL", read_text_3, BYTES("\xa3x\0z"), RES_SYNTAX },
    { "text wanted, nil there", read_text_3, BYTES("\xc0"), RES_SYNTAX },
    { "bytes of the length wanted", read_bytes_2, BYTES("\xc4\2\0\1"), RES_OK },
    { "bytes too few", read_bytes_2, BYTES("\xc4\1x"), RES_SYNTAX },
    { "bytes too many", read_bytes_2, BYTES("\xc4\3xyz"), RES_SYNTAX },
    { "array at the bound", read_array_3, BYTES("\x93\1\2\3"), RES_OK },
    { "array beyond the bound", read_array_3, BYTES("\x94\1\2\3\4"), RES_LIMIT },
    { "array wanted, map there", read_array_3, BYTES("\x81\1\2"), RES_SYNTAX },
    { "array of more than the bytes left", read_array_3, BYTES("\x93\1\2"), RES_SYNTAX },
    { "array of 4 Gi", read_array_3, BYTES("\xdd\xff\xff\xff\xff\1"), RES_SYNTAX },
    { "map", read_map_1, BYTES("\x81\xa1x\1"), RES_OK },
    { "map beyond the bound", read_map_1, BYTES("\x82\1\2\3\4"), RES_LIMIT },
    { "map of more than the bytes left", read_map_1, BYTES("\x81\1"), RES_SYNTAX },
    { "map of 4 Gi", read_map_1, BYTES("\xdf\xff\xff\xff\xff\1"), RES_SYNTAX },
    { "tuple of two", read_pair, BYTES("\xdc\0\2\1\2"), RES_OK },
    { "tuple of three, two wanted", read_pair, BYTES("\x93\1\2\3"), RES_SYNTAX },
    { "tuple of one, two wanted", read_pair, BYTES("\x91\1"), RES_SYNTAX },
    { "time as fixext8", read_time, BYTES("\xd7\0\0\0\0\1\x3b\x9a\xc9\xff"), RES_OK },
    { "time as ext8", read_time, BYTES("\xc7\x08\0\0\0\0\1\0\0\0\0"), RES_OK },
    { "time of another ext type", read_time, BYTES("\xd7\1\0\0\0\1\0\0\0\0"), RES_SYNTAX },
    { "time of another length", read_time, BYTES("\xd6\0\0\0\0\1"), RES_SYNTAX },
    { "time with 10^9 nanoseconds", read_time, BYTES("\xd7\0\0\0\0\1\x3b\x9a\xca\0"), RES_LIMIT },
    { "skip a nested object", skip_one, BYTES("\x82\1\x91\2\3\xc4\1x"), RES_OK },
    { "skip a cut object", skip_one, BYTES("\x82\1\x91\2\3\xc4\1"), RES_SYNTAX },
    { "skip what starts no object", skip_one, BYTES("\x91\xc1"), RES_SYNTAX },
    { "skip sixteen levels", skip_one, BYTES(NESTED("\1")), RES_OK },
    { "skip seventeen levels", skip_one, BYTES(NESTED("\x91\1")), RES_LIMIT },
};

static void
test_read(void **state)
{
    const struct read_case *c = *state;
    struct pack_reader r;

    pack_reader_init(&r, c->bytes);
    c->read(&r);
    assert_int_equal(pack_reader_end(&r), c->want);
    for (size_t cut = 0; c->want == RES_OK && cut < c->bytes.len; cut++) {
        pack_reader_init(&r, span_first(c->bytes, cut));
        c->read(&r);
        assert_int_equal(pack_reader_end(&r), RES_SYNTAX);
    }
}

/* Everything that can be written is read as it was. */
static void
test_round_trip(void **state)
{
    static const int64_t ints[] = { 0,   127, 128,    -1,        -32,       -33,
                                    255, 256, -32769, INT32_MIN, INT64_MIN, INT64_MAX };
    struct pack_writer w;
    struct pack_reader r;
    char text[8];
    struct buffer b;

    (void)state;
    buffer_init(&b, 4096);
    pack_begin(&w, &b);
    for (size_t i = 0; i < ROWS(ints); i++)
        pack_int(&w, ints[i]);
    pack_uint(&w, UINT64_MAX);
    pack_bool(&w, true);
    pack_nil(&w);
    pack_map(&w, 1);
    pack_str(&w, span_of("key"));
    pack_bin(&w, span_make("\xff\0", 2));
    pack_event_time(&w, 1999999999);
    assert_int_equal(pack_end(&w), RES_OK);

    pack_reader_init(&r, buffer_span(&b));
    for (size_t i = 0; i < ROWS(ints); i++)
        assert_true(pack_read_int(&r, INT64_MIN, INT64_MAX) == ints[i]);
    assert_true(pack_read_uint(&r, UINT64_MAX) == UINT64_MAX);
    assert_true(pack_read_bool(&r));
    pack_read_nil(&r);
    assert_int_equal(pack_peek_type(&r), PACK_MAP);
    assert_int_equal(pack_read_map(&r, 1), 1);
    pack_read_text(&r, text, sizeof text);
    assert_string_equal(text, "key");
    assert_true(span_equal(pack_read_bin(&r), span_make("\xff\0", 2)));
    assert_true(pack_read_event_time(&r) == 1999999999);
    assert_int_equal(pack_reader_end(&r), RES_OK);
    buffer_clear(&b);
}

static void
test_floats(void **state)
{
    struct pack_reader r;

    (void)state;
    pack_reader_init(&r, span_make("\xca\x3f\xc0\0\0\xcb\xc0\4\0\0\0\0\0\0\xca\x7f\xc0\0\0", 19));
    assert_true(pack_read_float(&r) == 1.5);
    assert_true(pack_read_float(&r) == -2.5);
    assert_true(isnan(pack_read_float(&r)));
    assert_int_equal(pack_reader_end(&r), RES_OK);
}

static void
test_failure_sticks(void **state)
{
    struct pack_reader r;
    char text[8] = "old";

    (void)state;
    pack_reader_init(&r, span_make("\1\2\xa1x", 4));
    assert_int_equal(pack_read_uint(&r, 0), 0); /* RES_LIMIT */
    assert_int_equal(pack_read_uint(&r, 9), 0);
    assert_int_equal(pack_peek_type(&r), PACK_NONE);
    pack_read_text(&r, text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(pack_read_array(&r, 9), 0);
    assert_int_equal(pack_read_raw(&r).len, 0);
    pack_reader_fail(&r, RES_SYNTAX);
    assert_int_equal(pack_reader_end(&r), RES_LIMIT);
}

static void
test_raw(void **state)
{
    struct pack_reader r;

    (void)state;
    pack_reader_init(&r, span_make("\x91\xa1x\7", 4));
    assert_true(span_equal(pack_read_raw(&r), span_make("\x91\xa1x", 3)));
    assert_int_equal(pack_read_uint(&r, 7), 7);
    assert_int_equal(pack_reader_end(&r), RES_OK);
}

/* No first byte and nothing behind it makes any reading function leave its bytes. Exact allocations
 * let a sanitizer see one byte too many. */
static void
test_every_first_byte(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        for (size_t len = 1; len < 12; len++) {
            for (size_t i = 0; i < ROWS(read_cases); i++) {
                char *bytes = malloc(len);
                struct pack_reader r;

                assert_non_null(bytes);
                memset(bytes, len % 2 ? 0xff : 0, len);
                bytes[0] = (char)first;
                pack_reader_init(&r, span_make(bytes, len));
                read_cases[i].read(&r);
                assert_true(r.rest.len <= len);
                free(bytes);
            }
        }
    }
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_text_in_every_place),
        cmocka_unit_test(test_mended_text),
        cmocka_unit_test(test_text_of_every_length),
        cmocka_unit_test(test_write_rolls_back),
        cmocka_unit_test(test_write_at_the_edge),
        cmocka_unit_test(test_write_too_long_to_declare),
        cmocka_unit_test(test_check_agrees_with_msgpack),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_failure_sticks),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_every_first_byte),
    };
    struct CMUnitTest tests[ROWS(write_cases) + ROWS(text_cases) + ROWS(check_cases) +
                            ROWS(read_cases) + ROWS(others)] = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < ROWS(write_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = write_cases[i].name,
                                          .test_func = test_write,
                                          .initial_state = &write_cases[i] };
    for (size_t i = 0; i < ROWS(text_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = text_cases[i].name,
                                          .test_func = test_text,
                                          .initial_state = &text_cases[i] };
    for (size_t i = 0; i < ROWS(check_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = check_cases[i].name,
                                          .test_func = test_check,
                                          .initial_state = &check_cases[i] };
    for (size_t i = 0; i < ROWS(read_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = read_cases[i].name,
                                          .test_func = test_read,
                                          .initial_state = &read_cases[i] };
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
