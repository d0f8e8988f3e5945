/* tests/proxy/test_record.c: records carry what docs/records.md promises, stay within their bounds
 * whatever peers send, and are told from anything else (PRX-051). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/pack.h"
#include "tests/proxy/record_samples.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))

/* ---- keys, against the description ---- */

static void collect_keys(struct pack_reader *r, const char *prefix, struct name_list *keys);

/* A list of maps counts like its first one. */
static void
collect_list(struct pack_reader *r, const char *prefix, struct name_list *keys)
{
    size_t n = pack_read_array(r, RECORD_MAX_BYTES);

    for (size_t i = 0; i < n; i++)
        if (i == 0 && pack_peek_type(r) == PACK_MAP)
            collect_keys(r, prefix, keys);
        else
            pack_skip(r);
}

/* Append the dotted names of the keys of the map at r. */
static void
collect_keys(struct pack_reader *r, const char *prefix, struct name_list *keys)
{
    size_t n = pack_read_map(r, RECORD_MAX_BYTES);

    for (size_t i = 0; i < n; i++) {
        struct span key = pack_read_str(r);
        char name[128], below[130];

        snprintf(name, sizeof name, "%s%.*s", prefix, (int)key.len, key.ptr);
        assert_false(name_list_has(keys, name));
        assert_int_equal(name_list_add(keys, span_of(name)), RES_OK);
        snprintf(below, sizeof below, "%s.", name);
        if (pack_peek_type(r) == PACK_MAP)
            collect_keys(r, below, keys);
        else if (pack_peek_type(r) == PACK_ARRAY)
            collect_list(r, below, keys);
        else
            pack_skip(r);
    }
    assert_int_equal(r->res, RES_OK);
}

static FILE *
open_description(void)
{
    FILE *file = fopen(TESTS_DIR "/../docs/records.md", "r");

    assert_non_null(file);
    return file;
}

/* Append the keys of the tables in the section of this heading: lines "| `key` | ...". */
static void
described_keys(const char *heading, struct name_list *keys)
{
    FILE *file = open_description();
    bool within = false;
    char line[1024];
    size_t before = keys->count;

    while (fgets(line, sizeof line, file)) {
        size_t key_len;

        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "## ", 3) == 0)
            within = strcmp(line, heading) == 0;
        if (!within || strncmp(line, "| `", 3) != 0)
            continue;
        key_len = strcspn(line + 3, "`");
        assert_int_equal(name_list_add(keys, span_make(line + 3, key_len)), RES_OK);
    }
    fclose(file);
    assert_true(keys->count > before);
}

static void
assert_same_keys(const struct name_list *a, const struct name_list *b)
{
    for (size_t i = 0; i < a->count; i++)
        if (!name_list_has(b, a->names[i]))
            fail_msg("%s stands on one side only", a->names[i]);
    for (size_t i = 0; i < b->count; i++)
        if (!name_list_has(a, b->names[i]))
            fail_msg("%s stands on one side only", b->names[i]);
    assert_int_equal(a->count, b->count);
}

enum event { EVENT_RECIPIENT, EVENT_SESSION, EVENT_SURVEY, EVENT_POLICY, EVENT_PROCESS };

static void
encode(enum event event, const struct record_samples *samples, struct buffer *out)
{
    buffer_init(out, RECORD_MAX_BYTES);
    if (event == EVENT_RECIPIENT)
        assert_int_equal(record_encode_recipient(&samples->recipient, out), RES_OK);
    else if (event == EVENT_SESSION)
        assert_int_equal(record_encode_session(&samples->end, out), RES_OK);
    else if (event == EVENT_SURVEY)
        assert_int_equal(record_encode_survey(&samples->survey, out), RES_OK);
    else if (event == EVENT_POLICY)
        assert_int_equal(record_encode_policy(&samples->policy, out), RES_OK);
    else
        assert_int_equal(record_encode_process(&samples->process, out), RES_OK);
}

static struct span
decoded_map(const struct buffer *record, int64_t want_wall_ns)
{
    int64_t wall_ns;
    struct span map;
    size_t len;

    assert_int_equal(record_decode(buffer_span(record), &len, &wall_ns, &map), RES_OK);
    assert_int_equal(len, buffer_len(record));
    assert_true(wall_ns == want_wall_ns);
    return map;
}

static struct event_case {
    const char *name;
    enum event event;
    const char *headings[4]; /* sections that describe it */
} event_cases[] = {
    { "recipient carries exactly the keys described",
      EVENT_RECIPIENT,
      { "## Every record", "## Every record of a session", "## event `recipient`",
        "## The map `tls`" } },
    { "session carries exactly the keys described",
      EVENT_SESSION,
      { "## Every record", "## Every record of a session", "## event `session`",
        "## The map `tls`" } },
    { "survey carries exactly the keys described",
      EVENT_SURVEY,
      { "## Every record", "## Every record of a session",
        "## events `survey`, `relay` and `passthrough`" } },
    { "policy carries exactly the keys described",
      EVENT_POLICY,
      { "## Every record", "## event `policy`" } },
    { "process carries exactly the keys described",
      EVENT_PROCESS,
      { "## Every record", "## event `process`" } },
};

static void
test_keys(void **state)
{
    const struct event_case *c = *state;
    struct name_list carried = { 0 }, described = { 0 };
    struct record_samples samples;
    struct pack_reader r;
    struct buffer out;

    record_samples_init(&samples);
    encode(c->event, &samples, &out);
    pack_reader_init(&r, decoded_map(&out, SAMPLE_WALL_NS));
    collect_keys(&r, "", &carried);
    assert_int_equal(pack_reader_end(&r), RES_OK);
    for (size_t i = 0; i < ROWS(c->headings) && c->headings[i]; i++)
        described_keys(c->headings[i], &described);
    assert_same_keys(&carried, &described);
    name_list_clear(&carried);
    name_list_clear(&described);
    buffer_clear(&out);
    record_samples_clear(&samples);
}

/* ---- values ---- */

/* A reader that stands before the value of the key with this dotted name. */
static struct pack_reader
value_of(struct span map, const char *path)
{
    struct span first = span_first(span_of(path), strcspn(path, "."));
    struct pack_reader r;
    size_t n;

    pack_reader_init(&r, map);
    n = pack_read_map(&r, RECORD_MAX_BYTES);
    for (size_t i = 0; i < n; i++) {
        if (span_equal(pack_read_str(&r), first)) {
            if (path[first.len] == '.')
                return value_of(pack_read_raw(&r), path + first.len + 1);
            return r;
        }
        pack_skip(&r);
    }
    fail_msg("no key %s", path);
    return r;
}

static void
assert_text(struct span map, const char *path, const char *want)
{
    struct pack_reader r = value_of(map, path);
    struct span text = pack_read_str(&r);

    assert_int_equal(r.res, RES_OK);
    assert_true(span_equal(text, span_of(want)));
}

static void
assert_number(struct span map, const char *path, uint64_t want)
{
    struct pack_reader r = value_of(map, path);

    assert_true(pack_read_uint(&r, UINT64_MAX) == want);
    assert_int_equal(r.res, RES_OK);
}

static void
assert_bytes(struct span map, const char *path, struct span want)
{
    struct pack_reader r = value_of(map, path);
    struct span bytes = pack_read_bin(&r);

    assert_int_equal(r.res, RES_OK);
    assert_true(span_equal(bytes, want));
}

static void
test_success_has_a_name(void **state)
{
    struct record_samples s;
    struct buffer out;
    struct span map;

    (void)state;
    record_samples_init(&s);
    s.verdict = (struct verdict){ .action = VERDICT_ALLOW, .rule = "PRX-017", .proven = true };
    encode(EVENT_RECIPIENT, &s, &out);
    map = decoded_map(&out, SAMPLE_WALL_NS);
    assert_text(map, "event", "recipient");
    assert_number(map, "v", RECORD_VERSION);
    assert_text(map, "verdict", "allow");
    assert_text(map, "result_type", "success");
    assert_text(map, "destination", "2001:db8::19");
    assert_text(map, "mx", ""); /* NULL in the verdict */
    buffer_clear(&out);
    record_samples_clear(&s);
}

/* Nothing is known: no policy, no connection, texts that are NULL. */
static void
test_empty(void **state)
{
    struct record_session_info info = { .id = "0000000000000001", .intercept = INTERCEPT_REDIRECT };
    struct requirement req = { .domain = "example.org" };
    struct observation obs = { 0 };
    struct verdict verdict = { 0 };
    struct record_samples s = {
        .recipient = { .session = &info, .req = &req, .obs = &obs, .verdict = &verdict },
        .end = { .session = &info },
    };
    struct pack_reader r;
    struct buffer out;
    struct span map;

    (void)state;
    encode(EVENT_RECIPIENT, &s, &out);
    map = decoded_map(&out, 0);
    assert_text(map, "policy.type", "no-policy-found");
    r = value_of(map, "policy");
    assert_int_equal(pack_read_map(&r, 99), 2);
    assert_text(map, "verdict", "refuse");
    assert_text(map, "tls.stage", "clear");
    assert_text(map, "intercept", "redirect");
    assert_text(map, "client", "none");
    buffer_clear(&out);
    encode(EVENT_SESSION, &s, &out);
    map = decoded_map(&out, 0);
    r = value_of(map, "tls");
    assert_int_equal(pack_peek_type(&r), PACK_NIL);
    buffer_clear(&out);
    encode(EVENT_PROCESS, &s, &out);
    (void)decoded_map(&out, 0);
    buffer_clear(&out);
}

/* What is known of the chain stands beside the records it is about, and beside no others. */
static void
test_dane(void **state)
{
    struct record_samples s;
    struct pack_reader r;
    struct buffer out;
    struct span map, host;

    (void)state;
    record_samples_init(&s);
    encode(EVENT_RECIPIENT, &s, &out);
    map = decoded_map(&out, SAMPLE_WALL_NS);
    assert_text(map, "dane.state", "secure");
    assert_text(map, "dane.match", "matched");
    assert_text(map, "dane.record", "3 1 1");
    assert_text(map, "dane.result_type", "success");
    r = value_of(map, "dane.hosts");
    assert_int_equal(pack_read_array(&r, DANE_HOSTS_MAX), 1);
    host = pack_read_raw(&r);
    assert_text(host, "base", "mx1.real.example");
    r = value_of(host, "records");
    assert_int_equal(pack_read_array(&r, TLSA_RECORDS_MAX), 1);
    assert_true(span_equal(pack_read_str(&r), span_of("3 1 1 01AB")));
    r = value_of(map, "tls.certs_sha256");
    assert_int_equal(pack_read_array(&r, PEER_CHAIN_MAX), 2);
    buffer_clear(&out);
    s.obs->dane.key++;
    s.verdict.tlsa.judged = false;
    encode(EVENT_RECIPIENT, &s, &out);
    map = decoded_map(&out, SAMPLE_WALL_NS);
    assert_text(map, "dane.match", "unchecked");
    assert_text(map, "dane.record", "");
    assert_text(map, "dane.result_type", "");
    buffer_clear(&out);
    s.req->dane.state = DANE_NONE;
    encode(EVENT_RECIPIENT, &s, &out);
    r = value_of(decoded_map(&out, SAMPLE_WALL_NS), "dane");
    assert_int_equal(pack_peek_type(&r), PACK_NIL);
    buffer_clear(&out);
    record_samples_clear(&s);
}

static void
test_clock_set_back(void **state)
{
    struct record_samples s;
    struct buffer out;

    (void)state;
    record_samples_init(&s);
    s.end.started_ns = s.end.wall_ns + 1;
    encode(EVENT_SESSION, &s, &out);
    assert_number(decoded_map(&out, SAMPLE_WALL_NS), "duration_ms", 0);
    buffer_clear(&out);
    record_samples_clear(&s);
}

/* ---- bytes from outside ---- */

static struct reply_case {
    const char *name, *reply;
    bool is_text;
} reply_cases[] = {
    { "reply of several lines is text", "550-5.1.1 no\r\n550 5.1.1 such user", true },
    { "reply in UTF-8 is text", "550 5.1.1 unbekannt: b\303\274cher", true },
    { "reply in Latin-1 is bin", "550 5.1.1 b\374cher", false },
    { "reply with ESC is bin", "550 \033]0;owned\007", false },
    { "reply with an 8-bit CSI is bin", "550 \302\2332J", false },
};

static void
test_reply(void **state)
{
    const struct reply_case *c = *state;
    struct record_samples s;
    struct buffer out;

    record_samples_init(&s);
    s.recipient.reply = span_of(c->reply);
    encode(EVENT_RECIPIENT, &s, &out);
    if (c->is_text)
        assert_text(decoded_map(&out, SAMPLE_WALL_NS), "reply", c->reply);
    else
        assert_bytes(decoded_map(&out, SAMPLE_WALL_NS), "reply", span_of(c->reply));
    buffer_clear(&out);
    record_samples_clear(&s);
}

static void
fill_list(struct name_list *list, size_t count, size_t len)
{
    char *name = malloc(len);

    assert_non_null(name);
    memset(name, 'a', len);
    name_list_clear(list);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(name_list_add(list, span_make(name, len)), RES_OK);
    free(name);
}

static struct list_case {
    const char *name;
    size_t count, len; /* of each name */
    size_t want;       /* names in the record */
} list_cases[] = {
    { "list: as many as allowed", 100, 20, 100 },
    { "list: one too many", 101, 20, 100 },
    { "list: a certificate with thousands of names", 5000, 20, 100 },
    { "list: names of 253 octets are cut by bytes", 100, 253, 31 },
    { "list: one monstrous name", 1, 60000, 0 },
    { "list: the most one name may be", 1, 8187, 1 },
};

static void
test_list(void **state)
{
    const struct list_case *c = *state;
    struct record_samples s;
    struct pack_reader r;
    struct buffer out;
    struct span map;

    record_samples_init(&s);
    fill_list(&s.req->names, c->count, c->len);
    fill_list(&s.req->sts.mx, c->count, c->len);
    fill_list(&s.obs->sans, c->count, c->len);
    encode(EVENT_RECIPIENT, &s, &out);
    map = decoded_map(&out, SAMPLE_WALL_NS);
    r = value_of(map, "tls.san");
    assert_int_equal(pack_read_array(&r, RECORD_NAMES_MAX), c->want);
    r = value_of(map, "policy.mx");
    assert_int_equal(pack_read_array(&r, RECORD_NAMES_MAX), c->want);
    r = value_of(map, "mx_candidates");
    assert_int_equal(pack_read_array(&r, RECORD_NAMES_MAX), c->want);
    assert_number(map, "tls.san_count", c->count);
    assert_number(map, "policy.mx_count", c->count);
    assert_number(map, "mx_candidates_count", c->count);
    buffer_clear(&out);
    record_samples_clear(&s);
}

/* As many hosts as a requirement may have, each with as many records, names and octets. */
static void
fill_dane(struct requirement *req)
{
    static const char data[TLSA_DATA_MAX];

    for (size_t i = 0; i < req->dane.host_count; i++)
        dane_host_clear(&req->dane.hosts[i]);
    free(req->dane.hosts);
    req->dane.hosts = calloc(DANE_HOSTS_MAX, sizeof *req->dane.hosts);
    assert_non_null(req->dane.hosts);
    req->dane.host_count = DANE_HOSTS_MAX;
    memset(req->dane.reason, 'a', sizeof req->dane.reason - 1);
    for (size_t i = 0; i < DANE_HOSTS_MAX; i++) {
        struct dane_host *host = &req->dane.hosts[i];

        memset(host->mx, 'a', HOSTNAME_MAX);
        memset(host->base, 'a', HOSTNAME_MAX);
        fill_list(&host->references, DANE_REFERENCES_MAX, HOSTNAME_MAX);
        for (unsigned k = 0; k < TLSA_RECORDS_MAX; k++)
            assert_int_equal(dane_host_add(host, 2, 0, 0, span_make(data, i * 64 + 2)), RES_OK);
    }
}

/* All at its longest at once still fits. */
static void
test_longest(void **state)
{
    static char text[100000];
    struct record_samples s;
    struct buffer out;

    (void)state;
    record_samples_init(&s);
    memset(text, 0xff, sizeof text);
    fill_list(&s.req->names, 1, 8187);
    fill_list(&s.req->sts.mx, 100, 76);
    fill_list(&s.req->local.mx, 100, 76);
    fill_list(&s.obs->sans, 100, 76);
    fill_dane(s.req);
    memset(s.req->domain, 'a', HOSTNAME_MAX);
    memset(s.verdict.reason, 'a', sizeof s.verdict.reason - 1);
    memset(s.verdict.sts.reason, 'a', sizeof s.verdict.sts.reason - 1);
    memset(s.verdict.tlsa.reason, 'a', sizeof s.verdict.tlsa.reason - 1);
    memset(s.obs->failure_reason, 'a', sizeof s.obs->failure_reason - 1);
    memset(s.obs->chain_reason, 'a', sizeof s.obs->chain_reason - 1);
    s.recipient.reply = s.recipient.final_reply = span_make(text, sizeof text);
    encode(EVENT_RECIPIENT, &s, &out);
    assert_true(buffer_len(&out) > 50000);
    (void)decoded_map(&out, SAMPLE_WALL_NS);
    buffer_clear(&out);
    record_samples_clear(&s);
}

/* A text is cut between characters, so that it stays text. */
static void
test_cut_text(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        char text[RECORD_TEXT_MAX + 8];
        struct record_samples s;
        struct pack_reader r;
        struct buffer out;
        size_t len;

        record_samples_init(&s);
        memset(text, 'a', sizeof text);
        memcpy(text + RECORD_TEXT_MAX - shift, "\360\237\223\247", 4);
        s.end.helo = span_make(text, sizeof text);
        encode(EVENT_SESSION, &s, &out);
        r = value_of(decoded_map(&out, SAMPLE_WALL_NS), "helo");
        len = pack_read_str(&r).len;
        assert_int_equal(r.res, RES_OK);
        assert_int_equal(len, RECORD_TEXT_MAX - shift);
        buffer_clear(&out);
        record_samples_clear(&s);
    }
}

static void
test_no_room(void **state)
{
    struct record_samples s;
    struct buffer out;

    (void)state;
    record_samples_init(&s);
    buffer_init(&out, 300);
    assert_int_equal(record_encode_process(&s.process, &out), RES_OK);
    assert_int_equal(record_encode_recipient(&s.recipient, &out), RES_LIMIT);
    assert_int_equal(record_encode_session(&s.end, &out), RES_LIMIT);
    (void)decoded_map(&out, SAMPLE_WALL_NS); /* the first one, and nothing else */
    buffer_clear(&out);
    record_samples_clear(&s);
}

/* ---- what is a record ---- */

static void
test_prefixes(void **state)
{
    struct record_samples s;
    struct buffer out;

    (void)state;
    record_samples_init(&s);
    encode(EVENT_RECIPIENT, &s, &out);
    for (size_t cut = 0; cut < buffer_len(&out); cut++) {
        char *exact = malloc(cut ? cut : 1);
        int64_t wall_ns;
        struct span map;
        size_t len;

        assert_non_null(exact);
        memcpy(exact, buffer_span(&out).ptr, cut);
        assert_int_equal(record_decode(span_make(exact, cut), &len, &wall_ns, &map), RES_AGAIN);
        assert_int_equal(len, 0);
        assert_int_equal(map.len, 0);
        free(exact);
    }
    buffer_clear(&out);
    record_samples_clear(&s);
}

#define TIME "\x92\xd7\0\0\0\0\1\0\0\0\2"
#define ONE TIME "\x81\245event"   /* and its value */
#define TWO TIME "\x82\245event\1" /* and another pair */
#define ROW(name, text, want)                                                                      \
    {                                                                                              \
        name, { text, sizeof(text) - 1 }, want                                                     \
    }

static struct decode_case {
    const char *name;
    struct span bytes;
    enum result want;
} decode_cases[] = {
    ROW("decode: the least record", ONE "\1", RES_OK),
    ROW("decode: unknown keys and values", TWO "\xa1x\x92\xca\0\0\0\0\x81\xa1z\xc0", RES_OK),
    ROW("decode: map 16", TIME "\xde\0\1\245event\1", RES_OK),
    ROW("decode: map 32", TIME "\xdf\0\0\0\1\245event\1", RES_OK),
    ROW("decode: something behind it", ONE "\1\xc1\xc1", RES_OK),
    ROW("decode: bin with the first bytes of a record", ONE "\xc4\4\x92\xd7\0x", RES_OK),
    ROW("decode: text", "hello", RES_SYNTAX),
    ROW("decode: a zero", "\0", RES_SYNTAX),
    ROW("decode: time in another form", "\x92\xc7\x08\0\0\0\0\1\0\0\0\2\x80", RES_SYNTAX),
    ROW("decode: an array of three", "\x93\xd7\0\0\0\0\1\0\0\0\2\x80\x80", RES_SYNTAX),
    ROW("decode: no map", TIME "\x90", RES_SYNTAX),
    ROW("decode: an empty map", TIME "\x80", RES_SYNTAX),
    ROW("decode: another first key", TIME "\x81\xa1x\1", RES_SYNTAX),
    ROW("decode: key is a number", TWO "\1\1", RES_SYNTAX),
    ROW("decode: key is bin", TWO "\xc4\1x\1", RES_SYNTAX),
    ROW("decode: key with ESC", TWO "\xa1\x1b\1", RES_SYNTAX),
    ROW("decode: key of an inner map is nil", ONE "\x81\xc0\1", RES_SYNTAX),
    ROW("decode: str is not UTF-8", ONE "\xa1\xff", RES_SYNTAX),
    ROW("decode: another record as value", ONE ONE "\1", RES_SYNTAX),
    ROW("decode: another record in a bin", ONE "\xc4\x13" ONE "\1", RES_SYNTAX),
    ROW("decode: another record that begins in a bin", TIME "\x83\245event\1\xa1x\xc4\x0c" ONE "\1",
        RES_SYNTAX),
    ROW("decode: ext as value", ONE "\xd4\1.", RES_SYNTAX),
    ROW("decode: a billion nanoseconds", "\x92\xd7\0\0\0\0\1\x3b\x9a\xca\0\x81\245event\1",
        RES_LIMIT),
    ROW("decode: str of 4 GiB", ONE "\xdb\xff\xff\xff\xff", RES_LIMIT),
    ROW("decode: map of 4 Gi pairs", TIME "\xdf\xff\xff\xff\xff", RES_LIMIT),
    ROW("decode: declares 64 KiB", ONE "\xc5\xff\xff", RES_LIMIT),
    ROW("decode: too deep",
        ONE "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\1", RES_LIMIT),
};

static void
test_decode(void **state)
{
    const struct decode_case *c = *state;
    struct span map;
    int64_t wall_ns;
    size_t len;

    assert_int_equal(record_decode(c->bytes, &len, &wall_ns, &map), c->want);
    assert_int_equal(len != 0, c->want == RES_OK);
    assert_int_equal(map.len != 0, c->want == RES_OK);
    assert_true(wall_ns == (c->want == RES_OK ? 1000000002 : 0));
}

static void
test_find(void **state)
{
    (void)state;
    assert_int_equal(record_find(span_make("", 0), 0), 0);
    assert_int_equal(record_find(span_make("", 0), 1), 0);
    assert_int_equal(record_find(span_make("\x92\xd7\0", 3), 0), 0);
    assert_int_equal(record_find(span_make("\x92\xd7\0", 3), 1), 3);
    assert_int_equal(record_find(span_make("x\x92\xd7\0", 4), 0), 1);
    assert_int_equal(record_find(span_make("x\x92\xd7", 3), 0), 1); /* more may come */
    assert_int_equal(record_find(span_make("x\x92\xd7\1\x92", 5), 0), 4);
    assert_int_equal(record_find(span_make("\x92\x92\xd7\1", 4), 1), 4);
}

/* An MX cannot hide its own record by a reply that holds the start of one. */
static void
test_reply_like_a_record(void **state)
{
    struct record_samples s;
    struct buffer inner, out;

    (void)state;
    record_samples_init(&s);
    encode(EVENT_RECIPIENT, &s, &inner);
    s.recipient.reply = buffer_span(&inner);
    encode(EVENT_RECIPIENT, &s, &out);
    assert_text(decoded_map(&out, SAMPLE_WALL_NS), "reply", "");
    buffer_clear(&inner);
    buffer_clear(&out);
    record_samples_clear(&s);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_success_has_a_name),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_clock_set_back),
        cmocka_unit_test(test_dane),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_cut_text),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_reply_like_a_record),
    };
    struct CMUnitTest tests[ROWS(event_cases) + ROWS(reply_cases) + ROWS(list_cases) +
                            ROWS(decode_cases) + ROWS(others)] = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < ROWS(event_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = event_cases[i].name,
                                          .test_func = test_keys,
                                          .initial_state = &event_cases[i] };
    for (size_t i = 0; i < ROWS(reply_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = reply_cases[i].name,
                                          .test_func = test_reply,
                                          .initial_state = &reply_cases[i] };
    for (size_t i = 0; i < ROWS(list_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = list_cases[i].name,
                                          .test_func = test_list,
                                          .initial_state = &list_cases[i] };
    for (size_t i = 0; i < ROWS(decode_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = decode_cases[i].name,
                                          .test_func = test_decode,
                                          .initial_state = &decode_cases[i] };
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
