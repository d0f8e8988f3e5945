/* tests/proxy/test_log_command.c: `stsgate log`: golden lines, and files that are cut, torn,
 * damaged or made by an attacker, unknown keys and events (TC-OPS-05, FAULTS H2, H3, H5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/log_command.h"
#include "proxy/record_json.h"
#include "tests/proxy/record_samples.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof text - 1                                                                      \
    }

/* A descriptor that reads as these bytes. */
static int
input(struct span bytes)
{
    int fd = memfd_create("records", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.ptr, bytes.len), bytes.len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

struct printed {
    char *out, *err; /* owned */
    size_t out_len, err_len;
    enum record_stream_end end;
};

/* The same, which reads as the first `at` bytes and then, by another read, the others. */
static int
split_input(struct span bytes, size_t at)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC | O_DIRECT), 0); /* a read gives one write's bytes */
    assert_int_equal(write(ends[1], bytes.ptr, at), at);
    assert_int_equal(write(ends[1], bytes.ptr + at, bytes.len - at), bytes.len - at);
    close(ends[1]);
    return ends[0];
}

static struct printed
print_input(int fd)
{
    struct printed p = { 0 };
    FILE *out = open_memstream(&p.out, &p.out_len), *err = open_memstream(&p.err, &p.err_len);

    assert_true(out && err);
    p.end = log_stream("f", fd, out, err);
    fclose(out);
    fclose(err);
    close(fd);
    return p;
}

static struct printed
print(struct span bytes)
{
    return print_input(input(bytes));
}

static void
printed_clear(struct printed *p)
{
    free(p->out);
    free(p->err);
}

/* ---- golden lines ---- */

#define SESSION                                                                                    \
    "\"session\":\"00000000deadbeef\",\"worker\":1,\"client\":\"192.0.2.7\","                      \
    "\"client_port\":50123,\"destination\":\"2001:db8::19\",\"destination_port\":25,"              \
    "\"intercept\":\"tproxy\",\"client_rule\":\"\",\"client_starttls\":\"terminate\","             \
    "\"client_tls\":\"TLSv1.3\",\"client_cipher\":\"TLS_AES_256_GCM_SHA384\","
#define HEX8(x) x x x x x x x x
#define TLS                                                                                        \
    "\"tls\":{\"stage\":\"done\",\"starttls_offered\":true,\"starttls_code\":220,\"requiretls_"    \
    "offered\":false,"                                                                             \
    "\"bound\":false,\"failure\":\"none\",\"failure_reason\":\"\",\"fallback\":false,"             \
    "\"alert\":\"\",\"sni\":\"mx1.example.com\",\"trust\":0,"                                      \
    "\"floor\":\"TLSv1.2\",\"version\":\"TLSv1.3\",\"weak\":false,"                                \
    "\"cipher\":\"TLS_AES_128_GCM_"                                                                \
    "SHA256\","                                                                                    \
    "\"group\":\"X25519\",\"ticket_offered\":false,\"resumed\":false,\"chain\":\"expired\","       \
    "\"chain_error\":\"X509_V_ERR_CERT_HAS_EXPIRED\","                                             \
    "\"chain_reason\":\"certificate has expired\",\"san\":[\"mx1.example.com\"],\"san_count\":1,"  \
    "\"leaf_sha256\":\"" HEX8("0f0f0f0f") "\",\"certs_sha256\":[\"" HEX8("00000000") "\",\"" HEX8( \
        "00000000") "\"]},"

static const char recipient_line[] =
    "{\"time\":\"2023-11-14T22:13:20.123456789Z\",\"event\":\"recipient\",\"v\":1,"
    "\"record\":\"recipient/00000000deadbeef/3\"," SESSION
    "\"transaction\":2,\"rcpt_domain\":\"example.com\",\"domain\":\"example.com\",\"outcome\":"
    "\"refused\",\"verdict\":\"refuse\","
    "\"rule\":\"STS-085 RFC 8461 4.2\",\"result_type\":\"certificate-expired\","
    "\"reason\":\"certificate has expired\",\"mx\":\"mx1.example.com\",\"mx_proven\":false,"
    "\"would\":\"refuse\",\"monitored\":false,\"defer\":false,\"null_mx\":false,"
    "\"tls_required\":false,\"requiretls\":false,\"judged\":{\"at\":1699999999,"
    "\"bound\":false,\"client_tls\":false,\"null_sender\":false,\"cleartext_fallback\":true,"
    "\"floor\":\"TLSv1.2\",\"mx_secure\":true,\"report_mail\":false,\"report_floor\":\"\"},"
    "\"override\":{\"id\":\"bank\",\"action\":\"verify\",\"mx\":[\"*.example.com\"],"
    "\"mx_count\":1,\"trust\":1},"
    "\"matched\":\"address\",\"mx_lookup_failed\":false,"
    "\"mx_candidates\":[\"mx1.example.com\",\"mx2.example.com\"],\"mx_candidates_count\":2,"
    "\"tls_floor\":\"TLSv1.2\",\"policy\":{\"type\":\"sts\",\"discovery\":\"sts-policy-fetch-error "
    "http-503\","
    "\"mode\":\"enforce\",\"id\":\"20231114T2213\",\"mx\":[\"*.example.com\"],\"mx_count\":1,"
    "\"text_sha256\":\"" HEX8(
        "abababab") "\",\"fetched_at\":1699990000,\"expires_at\":1700594800,"
                    "\"result_type\":\"\",\"result_reason\":\"\"},"
                    "\"dane\":{\"state\":\"secure\",\"lookup_reason\":\"\",\"dnssec\":false,"
                    "\"required\":false,\"suffices\":false,\"mx_secure\":true,\"hosts\":[{"
                    "\"mx\":\"mx1.example.com\",\"base\":\"mx1.real.example\","
                    "\"references\":[\"mx1.real.example\"],\"references_count\":1,"
                    "\"records\":[\"3 1 1 01AB\"],\"records_count\":1}],\"hosts_count\":1,"
                    "\"match\":\"matched\",\"host\":0,\"record\":\"3 1 1\",\"depth\":0,"
                    "\"error\":\"X509_V_OK\",\"error_reason\":\"ok\","
                    "\"result_type\":\"success\",\"result_reason\":\"\"}," TLS
                    "\"reply\":\"451 4.7.5 "
                    "refused\",\"reply_by\":\"gateway\",\"reply_id\":\"REP-013\","
                    "\"final_reply\":\"250 2.0.0 queued\",\"verdict_number\":3,"
                    "\"reports\":[{\"type\":\"sts\","
                    "\"policy_domain\":\"example.com\",\"fetched\":false,\"failed\":true,"
                    "\"details\":[{\"result_type\":\"certificate-expired\","
                    "\"reason\":\"X509_V_ERR_CERT_HAS_EXPIRED\",\"fetch\":false}],"
                    "\"sending\":\"192.0.2.1\",\"mx_host\":\"mx1.example.com\","
                    "\"helo\":\"mx1.example.com\"}],\"engine\":\"library\",\"engine_reason\":"
                    "\"small\"}\n";

static const char session_line[] =
    "{\"time\":\"2023-11-14T22:13:20.123456789Z\",\"event\":\"session\",\"v\":1,"
    "\"record\":\"session/00000000deadbeef/0\"," SESSION
    "\"helo\":\"client.example\",\"started_at\":1699999997,\"duration_ms\":2500,"
    "\"transactions\":2,\"delivered\":1,\"allowed\":3,\"refused\":4,\"reconnects\":5,"
    "\"violations\":6,\"left_without_mail\":false,\"bytes_to_mx\":5000000000,\"bytes_to_client\":"
    "321,\"engine\":\"seal\"," TLS "\"end\":\"quit\",\"state\":\"closed\"}\n";

static const char process_line[] =
    "{\"time\":\"2023-11-14T22:13:20.123456789Z\",\"event\":\"process\",\"v\":1,"
    "\"record\":\"process/worker/1700000000123456789\","
    "\"what\":\"stop\",\"process\":\"worker\",\"index\":1,\"pid\":4711,\"version\":\"0.1.0\","
    "\"reason\":\"drained\"}\n";

static void
test_golden(void **state)
{
    struct record_samples s;
    struct printed p;
    struct buffer all;
    char want[8192];

    (void)state;
    record_samples_init(&s);
    buffer_init(&all, RECORD_MAX_BYTES);
    assert_int_equal(record_encode_process(&s.process, &all), RES_OK);
    assert_int_equal(record_encode_recipient(&s.recipient, &all), RES_OK);
    assert_int_equal(record_encode_session(&s.end, &all), RES_OK);
    p = print(buffer_span(&all));
    snprintf(want, sizeof want, "%s%s%s", process_line, recipient_line, session_line);
    assert_string_equal(p.out, want);
    assert_string_equal(p.err, "");
    assert_int_equal(p.end, RECORD_STREAM_CLEAN);
    printed_clear(&p);
    buffer_clear(&all);
    record_samples_clear(&s);
}

/* ---- values as JSON ---- */

#define TIME "\x92\xd7\0\0\0\0\1\0\0\0\2"
#define ONE TIME "\x81\245event"   /* and its value */
#define TWO TIME "\x82\245event\1" /* and another pair */
#define LINE_START "{\"time\":\"1970-01-01T00:00:01.000000002Z\",\"event\":"

static struct line_case {
    const char *name;
    struct span bytes;
    const char *want; /* behind LINE_START */
} line_cases[] = {
    { "an unknown event", BYTES(ONE "\xa3new"), "\"new\"}" },
    { "an unknown key", BYTES(TWO "\xa3new\x2a"), "1,\"new\":42}" },
    { "nil, bools, numbers", BYTES(ONE "\x95\xc0\xc2\xc3\xd0\x80\xcd\1\0"),
      "[null,false,true,-128,256]}" },
    { "the lowest number", BYTES(ONE "\xd3\x80\0\0\0\0\0\0\0"), "-9223372036854775808}" },
    { "a number beyond int64 is a string", BYTES(ONE "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
      "\"18446744073709551615\"}" },
    { "a float", BYTES(ONE "\xcb\x3f\xf8\0\0\0\0\0\0"), "1.5}" },
    { "a float that is no number is null", BYTES(ONE "\xca\x7f\xc0\0\0"), "null}" },
    { "quotes and backslashes", BYTES(ONE "\xa5\"\\a}{"), "\"\\\"\\\\a}{\"}" },
    { "line ends do not end the line", BYTES(ONE "\xa5\x61\r\n\tb"), "\"a\\r\\n\\tb\"}" },
    { "what is not ASCII is escaped", BYTES(ONE "\xa6\xc3\xbc\xf0\x9f\x93\xa7"),
      "\"\\u00FC\\uD83D\\uDCE7\"}" },
    { "a key that is not ASCII", BYTES(TWO "\xa2\xc3\xbc\1"), "1,\"\\u00FC\":1}" },
    { "bin: ESC is escaped", BYTES(ONE "\xc4\4\033[2J"), "\"\\u001B[2J\"}" },
    { "bin: NUL and DEL are escaped", BYTES(ONE "\xc4\4a\0\x7fz"), "\"a\\u0000\\u007fz\"}" },
    { "bin: an 8-bit CSI is escaped", BYTES(ONE "\xc4\2\xc2\x9b"), "\"\\u009B\"}" },
    { "bin: octets that are not UTF-8", BYTES(ONE "\xc4\5\x61\xff\xc0\xaf\x62"),
      "\"a\\uFFFD\\uFFFD\\uFFFDb\"}" },
    { "bin: a hash is hexadecimal", BYTES(TWO "\xa8\x61_sha256\xc4\3\0\xab\xff"),
      "1,\"a_sha256\":\"00abff\"}" },
    { "bin: a list of hashes too", BYTES(TWO "\xa8\x61_sha256\x91\xc4\1\x0a"),
      "1,\"a_sha256\":[\"0a\"]}" },
    { "a hash that is text stays text", BYTES(TWO "\xa8\x61_sha256\xa1z"),
      "1,\"a_sha256\":\"z\"}" },
    { "an empty key", BYTES(TWO "\xa0\1"), "1,\"\":1}" },
    { "maps in lists in maps", BYTES(ONE "\x92\x81\xa1m\x80\x90"), "[{\"m\":{}},[]]}" },
};

static void
test_line(void **state)
{
    const struct line_case *c = *state;
    struct printed p = print(c->bytes);
    char want[256];

    snprintf(want, sizeof want, "%s%s\n", LINE_START, c->want);
    assert_string_equal(p.out, want);
    assert_int_equal(p.out_len, strlen(want)); /* no NUL in it */
    assert_string_equal(p.err, "");
    assert_int_equal(p.end, RECORD_STREAM_CLEAN);
    printed_clear(&p);
}

/* Every octet, as text of a peer, comes out as printable ASCII. */
static void
test_terminal_safe(void **state)
{
    struct record_samples s;
    struct buffer all;
    struct printed p;
    char bytes[3 * 256];

    (void)state;
    for (size_t i = 0; i < 256; i++) {
        bytes[3 * i] = (char)i;
        bytes[3 * i + 1] = (char)0xc2;
        bytes[3 * i + 2] = (char)i;
    }
    record_samples_init(&s);
    s.recipient.reply = span_make(bytes, sizeof bytes);
    buffer_init(&all, RECORD_MAX_BYTES);
    assert_int_equal(record_encode_recipient(&s.recipient, &all), RES_OK);
    p = print(buffer_span(&all));
    assert_int_equal(p.end, RECORD_STREAM_CLEAN);
    for (size_t i = 0; i + 1 < p.out_len; i++)
        assert_in_range(p.out[i], ' ', '~');
    printed_clear(&p);
    buffer_clear(&all);
    record_samples_clear(&s);
}

static void
test_last_time(void **state)
{
    struct printed p =
        print(span_make("\x92\xd7\0\xff\xff\xff\xff\x3b\x9a\xc9\xff\x81\245event\1", 19));

    (void)state;
    assert_string_equal(p.out, "{\"time\":\"2106-02-07T06:28:15.999999999Z\",\"event\":1}\n");
    printed_clear(&p);
}

/* ---- damage ---- */

#define A ONE "\1" /* 19 bytes */
#define LINE_A LINE_START "1}\n"
#define SKIPPED(from, to) "stsgate: f: bytes " #from " to " #to " are no record: skipped\n"
#define CUT(at) "stsgate: f: byte " #at ": the last record is cut short\n"

static struct damage_case {
    const char *name;
    struct span bytes;
    const char *want_out, *want_err;
    enum record_stream_end want;
} damages[] = {
    { "an empty file", BYTES(""), "", "", RECORD_STREAM_CLEAN },
    { "nothing but garbage", BYTES("hello\n"), "", SKIPPED(0, 5), RECORD_STREAM_GARBAGE },
    { "garbage in front", BYTES("xyz" A), LINE_A, SKIPPED(0, 2), RECORD_STREAM_GARBAGE },
    { "garbage between", BYTES(A "\0\0" A), LINE_A LINE_A, SKIPPED(19, 20), RECORD_STREAM_GARBAGE },
    { "garbage behind", BYTES(A "\xff"), LINE_A, SKIPPED(19, 19), RECORD_STREAM_GARBAGE },
    { "two runs of garbage", BYTES("x" A "yy" A), LINE_A LINE_A, SKIPPED(0, 0) SKIPPED(20, 21),
      RECORD_STREAM_GARBAGE },
    { "garbage that looks like a start", BYTES("\x92\xd7\0\x92\xd7\0" A), LINE_A, SKIPPED(0, 5),
      RECORD_STREAM_GARBAGE },
    { "a record cut at the end", BYTES(A ONE), LINE_A, CUT(19), RECORD_STREAM_CLEAN },
    { "one byte of a record at the end", BYTES(A "\x92"), LINE_A, CUT(19), RECORD_STREAM_CLEAN },
    { "garbage, then a cut record", BYTES("x" ONE), "", SKIPPED(0, 0) CUT(1),
      RECORD_STREAM_GARBAGE },
    { "a torn record, and whole ones behind it", BYTES(ONE "\xc5\1\0zz" A A), LINE_A LINE_A,
      SKIPPED(0, 22), RECORD_STREAM_GARBAGE },
    { "a torn record, and a cut one behind it", BYTES(ONE "\xc5\1\0zz" A TIME), LINE_A,
      SKIPPED(0, 22) CUT(42), RECORD_STREAM_GARBAGE },
    { "a torn record whose value the next would be", BYTES(ONE A A), LINE_A LINE_A, SKIPPED(0, 17),
      RECORD_STREAM_GARBAGE },
    { "a torn bin that the next would fill", BYTES(TIME "\x83\245event\1\xa1x\xc4\x0c" A A),
      LINE_A LINE_A, SKIPPED(0, 22), RECORD_STREAM_GARBAGE },
    { "str of 4 GiB", BYTES(ONE "\xdb\xff\xff\xff\xff" A), LINE_A, SKIPPED(0, 22),
      RECORD_STREAM_GARBAGE },
    { "array of 4 Gi elements", BYTES(ONE "\xdd\xff\xff\xff\xff" A), LINE_A, SKIPPED(0, 22),
      RECORD_STREAM_GARBAGE },
    { "map of 4 Gi pairs", BYTES(TIME "\xdf\xff\xff\xff\xff" A), LINE_A, SKIPPED(0, 15),
      RECORD_STREAM_GARBAGE },
    { "a record of more than 64 KiB", BYTES(ONE "\xc6\0\1\0\0" A), LINE_A, SKIPPED(0, 22),
      RECORD_STREAM_GARBAGE },
    { "another format", BYTES("{\"event\":\"recipient\"}\n"), "", SKIPPED(0, 21),
      RECORD_STREAM_GARBAGE },
};

static void
assert_damage(struct printed p, const struct damage_case *c)
{
    assert_string_equal(p.out, c->want_out);
    assert_string_equal(p.err, c->want_err);
    assert_int_equal(p.end, c->want);
    printed_clear(&p);
}

/* At once, and in two pieces split anywhere. */
static void
test_damage(void **state)
{
    const struct damage_case *c = *state;

    assert_damage(print(c->bytes), c);
    for (size_t at = 1; at < c->bytes.len; at++)
        assert_damage(print_input(split_input(c->bytes, at)), c);
}

/* A record torn after any byte takes none of those behind it with itself: not even where it ends
 * within a bin that three of them would fill. */
static void
check_torn(struct span torn, const struct record_samples *s)
{
    struct buffer one, all;
    char want[8192];

    buffer_init(&one, RECORD_MAX_BYTES);
    buffer_init(&all, 4 * RECORD_MAX_BYTES);
    assert_int_equal(record_encode_recipient(&s->recipient, &one), RES_OK);
    snprintf(want, sizeof want, "%s%s%s", recipient_line, process_line, recipient_line);
    for (size_t cut = 1; cut < torn.len; cut++) {
        struct printed p;

        assert_int_equal(buffer_append(&all, span_first(torn, cut)), RES_OK);
        assert_int_equal(buffer_append(&all, buffer_span(&one)), RES_OK);
        assert_int_equal(record_encode_process(&s->process, &all), RES_OK);
        assert_int_equal(buffer_append(&all, buffer_span(&one)), RES_OK);
        p = print(buffer_span(&all));
        assert_string_equal(p.out, want);
        assert_int_equal(p.end, RECORD_STREAM_GARBAGE);
        printed_clear(&p);
        buffer_clear(&all);
    }
    buffer_clear(&one);
}

static void
test_torn_anywhere(void **state)
{
    struct record_samples s, other;
    struct buffer torn;
    char reply[3500];

    (void)state;
    record_samples_init(&s);
    record_samples_init(&other);
    buffer_init(&torn, RECORD_MAX_BYTES);
    assert_int_equal(record_encode_recipient(&s.recipient, &torn), RES_OK);
    check_torn(buffer_span(&torn), &s);
    buffer_clear(&torn);
    memset(reply, 0xff, sizeof reply);
    other.recipient.reply = span_make(reply, sizeof reply);
    assert_int_equal(record_encode_recipient(&other.recipient, &torn), RES_OK);
    check_torn(buffer_span(&torn), &s);
    buffer_clear(&torn);
    record_samples_clear(&s);
    record_samples_clear(&other);
}

/* More than the reader holds at once, in records and in garbage. */
static void
test_long_file(void **state)
{
    struct record_samples s;
    struct buffer all;
    struct printed p;
    char *place;
    size_t lines = 0, garbage_from;

    (void)state;
    record_samples_init(&s);
    buffer_init(&all, 128 * RECORD_MAX_BYTES);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(record_encode_recipient(&s.recipient, &all), RES_OK);
    garbage_from = buffer_len(&all);
    assert_int_equal(buffer_reserve(&all, 300000, &place), RES_OK);
    for (size_t i = 0; i < 300000; i++)
        place[i] = "\x92\xd7\1"[i % 3]; /* nearly the start of a record, everywhere */
    buffer_commit(&all, 300000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(record_encode_recipient(&s.recipient, &all), RES_OK);
    p = print(buffer_span(&all));
    for (size_t i = 0; i < p.out_len; i++)
        lines += p.out[i] == '\n';
    assert_int_equal(lines, 2000);
    assert_int_equal(p.end, RECORD_STREAM_GARBAGE);
    {
        char want[128];

        snprintf(want, sizeof want, "stsgate: f: bytes %zu to %zu are no record: skipped\n",
                 garbage_from, garbage_from + 300000 - 1);
        assert_string_equal(p.err, want);
    }
    printed_clear(&p);
    buffer_clear(&all);
    record_samples_clear(&s);
}

/* ---- the command ---- */

static struct command_case {
    const char *name;
    const char *args[4]; /* behind "log"; FILE stands for a file with bytes */
    struct span bytes;   /* of FILE and of standard input */
    int want;
    const char *want_out, *want_err; /* parts of the output; NULL: none at all */
} commands[] = {
    { "help", { "--help" }, BYTES(""), 0, "Usage: stsgate log [OPTION]...", NULL },
    { "short help", { "-h" }, BYTES(""), 0, "Exit status", NULL },
    { "no file named", { NULL }, BYTES(""), 2, NULL, "name a FILE" },
    { "unknown option", { "--nonsense" }, BYTES(""), 2, NULL, "--help" },
    { "no such configuration", { "-c", "/nonexistent" }, BYTES(""), 2, NULL, "/nonexistent:1" },
    { "a moment that is none", { "--since", "noon" }, BYTES(""), 2, NULL, "--since: noon" },
    { "a summary that would never end",
      { "--follow", "--summary", "FILE" },
      BYTES(A),
      2,
      NULL,
      "never ends" },
    { "JSON of JSON", { "--json", "FILE" }, BYTES(A), 2, NULL, "--json belongs to" },
    { "a filter that nothing passes",
      { "--domain", "x.example", "FILE" },
      BYTES(A),
      0,
      NULL,
      NULL },
    { "a filter that all pass", { "--until", "0s", "FILE" }, BYTES(A), 0, LINE_A, NULL },
    { "a file", { "FILE" }, BYTES(A), 0, LINE_A, NULL },
    { "standard input", { "-" }, BYTES(A), 0, LINE_A, NULL },
    { "two files", { "FILE", "FILE" }, BYTES(A), 0, LINE_A LINE_A, NULL },
    { "a file that is missing, and another",
      { "/nonexistent/records", "FILE" },
      BYTES(A),
      1,
      LINE_A,
      "cannot open /nonexistent/records: No such file" },
    { "a folder", { "/" }, BYTES(""), 1, NULL, "cannot read: Is a directory" },
    { "a file of garbage, and another", { "FILE", "-" }, BYTES("x"), 1, NULL, "bytes 0 to 0" },
    { "a cut file", { "FILE" }, BYTES(A "\x92\xd7"), 0, LINE_A, "cut short" },
    { "standard input of garbage", { "-" }, BYTES("x"), 1, NULL, "standard input: bytes 0 to 0" },
};

/* Run log_main() with the three streams on these descriptors. */
static int
run(const char *const *args, const char *file, int in, int out, int err)
{
    char *argv[6] = { strdup("log") };
    int saved[3], argc = 1, status;
    const int fds[3] = { in, out, err };

    for (; argc < 5 && args[argc - 1]; argc++)
        argv[argc] = strdup(strcmp(args[argc - 1], "FILE") == 0 ? file : args[argc - 1]);
    fflush(NULL);
    for (int i = 0; i < 3; i++) {
        saved[i] = dup(i);
        assert_true(saved[i] >= 0 && dup2(fds[i], i) == i);
    }
    status = log_main(argc, argv);
    (void)fflush(stdout);
    clearerr(stdout);
    for (int i = 0; i < 3; i++) {
        dup2(saved[i], i);
        close(saved[i]);
    }
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return status;
}

static void
assert_holds(int fd, const char *want)
{
    char text[8192] = "";

    assert_true(pread(fd, text, sizeof text - 1, 0) >= 0);
    if (!want)
        assert_string_equal(text, "");
    else if (!strstr(text, want))
        fail_msg("\"%s\" lacks \"%s\"", text, want);
}

static void
test_command(void **state)
{
    const struct command_case *c = *state;
    int in = input(c->bytes), out = input(span_of("")), err = input(span_of(""));
    int file = input(c->bytes);
    char path[64];

    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    assert_int_equal(run(c->args, path, in, out, err), c->want);
    assert_holds(out, c->want_out);
    assert_holds(err, c->want_err);
    close(in);
    close(out);
    close(err);
    close(file);
}

static const char *const only_file[] = { "FILE", NULL };

static void
run_on_many(int out, int want_status, const char *want_err)
{
    int in = input(span_of("")), err = input(span_of("")), file;
    struct buffer all;
    char path[64];

    buffer_init(&all, 1u << 20);
    while (buffer_len(&all) < 500000)
        assert_int_equal(buffer_append(&all, span_make(A, sizeof A - 1)), RES_OK);
    file = input(buffer_span(&all));
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    assert_int_equal(run(only_file, path, in, out, err), want_status);
    assert_holds(err, want_err);
    buffer_clear(&all);
    close(in);
    close(err);
    close(file);
}

static void
test_closed_output(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    run_on_many(ends[1], 0, NULL);
    close(ends[1]);
}

static void
test_full_output(void **state)
{
    int full = open("/dev/full", O_WRONLY);

    (void)state;
    assert_true(full >= 0);
    run_on_many(full, 1, "cannot write the output: No space left");
    close(full);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_last_time),     cmocka_unit_test(test_golden),
        cmocka_unit_test(test_terminal_safe), cmocka_unit_test(test_torn_anywhere),
        cmocka_unit_test(test_long_file),     cmocka_unit_test(test_closed_output),
        cmocka_unit_test(test_full_output),
    };
    struct CMUnitTest tests[ROWS(line_cases) + ROWS(damages) + ROWS(commands) + ROWS(others)] = {
        0
    };
    size_t n = 0;

    for (size_t i = 0; i < ROWS(line_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = line_cases[i].name,
                                          .test_func = test_line,
                                          .initial_state = &line_cases[i] };
    for (size_t i = 0; i < ROWS(damages); i++)
        tests[n++] = (struct CMUnitTest){ .name = damages[i].name,
                                          .test_func = test_damage,
                                          .initial_state = &damages[i] };
    for (size_t i = 0; i < ROWS(commands); i++)
        tests[n++] = (struct CMUnitTest){ .name = commands[i].name,
                                          .test_func = test_command,
                                          .initial_state = &commands[i] };
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests_name("log_command", tests, NULL, NULL);
}
