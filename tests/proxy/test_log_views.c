/* tests/proxy/test_log_views.c: what `stsgate log` chooses, adds up and follows (TC-OPS-05, FAULTS
 * H4, H5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/pack.h"
#include "proxy/file_follow.h"
#include "proxy/log_filter.h"
#include "proxy/log_summary.h"
#include "proxy/record_stream.h"
#include "proxy/record_view.h"
#include "proxy/rejudge.h"
#include "tests/proxy/record_samples.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define NOW_S 1700000000 /* 2023-11-14T22:13:20Z */

static struct span
map_of(const struct buffer *record)
{
    int64_t wall_ns;
    struct span map;
    size_t len;

    assert_int_equal(record_decode(buffer_span(record), &len, &wall_ns, &map), RES_OK);
    return map;
}

static void
encode_recipient(const struct record_samples *s, struct buffer *out)
{
    buffer_init(out, RECORD_MAX_BYTES);
    assert_int_equal(record_encode_recipient(&s->recipient, out), RES_OK);
}

/* ---- single values ---- */

static void
test_values(void **state)
{
    struct record_samples s;
    struct buffer record;
    struct pack_reader r;
    struct span map;

    (void)state;
    record_samples_init(&s);
    encode_recipient(&s, &record);
    map = map_of(&record);
    assert_true(record_is(map, "domain", "example.com"));
    assert_true(record_is(map, "policy.mode", "enforce"));
    assert_int_equal(record_number(map, "tls.starttls_code"), 220);
    assert_true(record_bool(map, "tls.starttls_offered"));
    assert_int_equal(record_text(map, "tls.leaf_sha256").len, 32);
    assert_false(record_value(map, "tls.none", &r));
    assert_false(record_value(map, "domain.none", &r));
    assert_false(record_value(map, "none.none", &r));
    assert_int_equal(record_text(map, "transaction").len, 0);
    assert_int_equal(record_number(map, "domain"), 0);
    assert_false(record_bool(map, "domain"));
    assert_false(record_value(span_of(""), "domain", &r));
    buffer_clear(&record);
    record_samples_clear(&s);
}

/* ---- filters ---- */

static struct filter_case {
    const char *name, *option, *value;
    bool is_option, matches;
} filters[] = {
    { "domain", "domain", "example.com", true, true },
    { "domain in another case", "domain", "EXAMPLE.com", true, true },
    { "another domain", "domain", "example.org", true, false },
    { "its parent is another domain", "domain", "com", true, false },
    { "nothing is no domain", "domain", "", false, false },
    { "mx", "mx", "mx1.example.com", true, true },
    { "another mx", "mx", "mx2.example.com", true, false },
    { "event", "event", "recipient", true, true },
    { "another event", "event", "session", true, false },
    { "outcome", "outcome", "refused", true, true },
    { "another outcome", "outcome", "delivered", true, false },
    { "verdict", "verdict", "refuse", true, true },
    { "would", "would", "allow", true, false },
    { "result", "result", "certificate-expired", true, true },
    { "session", "session", "00000000deadbeef", true, true },
    { "client", "client", "192.0.2.7", true, true },
    { "since that moment", "since", "2023-11-14T22:13:20Z", true, true },
    { "since the second behind", "since", "2023-11-14T22:13:22Z", true, false },
    { "since that day", "since", "2023-11-14", true, true },
    { "until that moment", "until", "2023-11-14T22:13:20Z", true, false },
    { "until the next day", "until", "2023-11-15", true, true },
    { "since an hour ago", "since", "1h", true, true },
    { "until a minute ago", "until", "1m", true, false },
    { "a unit that is none", "since", "1w", false, false },
    { "a time without a unit", "since", "10", false, false },
    { "a day that is none", "since", "2023-02-30", false, false },
    { "an option that is none", "port", "25", false, false },
};

static void
test_filter(void **state)
{
    const struct filter_case *c = *state;
    struct log_filter filter = { 0 };
    struct record_samples s;
    struct buffer record;

    assert_int_equal(log_filter_set(&filter, c->option, c->value, NOW_S), c->is_option);
    if (!c->is_option)
        return;
    record_samples_init(&s);
    encode_recipient(&s, &record);
    assert_int_equal(log_filter_matches(&filter, SAMPLE_WALL_NS, map_of(&record)), c->matches);
    buffer_clear(&record);
    record_samples_clear(&s);
}

/* ---- the summary ---- */

static void
add(struct log_summary *summary, const struct record_samples *s)
{
    struct buffer record;

    encode_recipient(s, &record);
    assert_int_equal(log_summary_add(summary, map_of(&record)), RES_OK);
    buffer_clear(&record);
}

/* One recipient of each kind. */
static struct log_summary *
one_of_each(void)
{
    struct log_summary *summary = log_summary_new();
    struct record_samples s;
    struct buffer other;

    assert_non_null(summary);
    record_samples_init(&s);
    add(summary, &s); /* refused */
    s.recipient.outcome = "rejected";
    s.verdict.would = VERDICT_REFUSE;
    add(summary, &s);
    s.recipient.outcome = "failed";
    s.verdict.would = VERDICT_ALLOW;
    add(summary, &s);
    s.recipient.outcome = "delivered";
    s.verdict.action = VERDICT_ALLOW;
    add(summary, &s); /* a record of DANE matched */
    s.obs->dane.match = DANE_UNUSABLE;
    add(summary, &s); /* its MX was not proven */
    s.verdict.proven = true;
    add(summary, &s);
    s.obs->stage = TLS_STAGE_CLEAR;
    add(summary, &s);
    buffer_init(&other, RECORD_MAX_BYTES);
    assert_int_equal(record_encode_process(&s.process, &other), RES_OK);
    assert_int_equal(log_summary_add(summary, map_of(&other)), RES_OK);
    buffer_clear(&other);
    record_samples_clear(&s);
    return summary;
}

static char *
printed(enum result (*print)(struct log_summary *, FILE *), struct log_summary *summary)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    assert_non_null(out);
    assert_int_equal(print(summary, out), RES_OK);
    fclose(out);
    return text;
}

static void
test_summary(void **state)
{
    struct log_summary *summary = one_of_each();
    char *text = printed(log_summary_print, summary);

    (void)state;
    assert_non_null(strstr(
        text,
        "        1        1        1        1        1        1        1         1  total\n"));
    assert_non_null(strstr(text, "        1  example.com: REP-013 certificate-expired "
                                 "certificate has expired\n"));
    free(text);
    log_summary_free(summary);
}

static void
test_summary_json(void **state)
{
    static const char counts[] =
        "\"clear\":1,\"tls\":1,\"mta-sts\":1,\"dane\":1,\"refused\":1,\"rejected\":1,\"failed\":1,"
        "\"would_refuse\":1,\"reasons\":[";
    struct log_summary *summary = one_of_each();
    char *text = printed(log_summary_print_json, summary);
    char want[512];

    (void)state;
    snprintf(want, sizeof want,
             "{\"domain\":\"example.com\",%s{\"reason\":\"REP-013 certificate-expired certificate "
             "has expired\",\"count\":1}]}\n{\"domain\":null,%s]}\n",
             counts, counts);
    assert_string_equal(text, want);
    free(text);
    log_summary_free(summary);
}

/* FAULTS H3: what a hostile recipient domain is made of reaches no terminal. */
static void
test_summary_is_safe(void **state)
{
    static const char hostile[] = "\x82\xa5"
                                  "event\xa9recipient\xa6"
                                  "domain\xa5"
                                  "a\xc3\xa9\tb";
    struct log_summary *summary = log_summary_new();
    char *text;

    (void)state;
    assert_int_equal(log_summary_add(summary, span_make(hostile, sizeof hostile - 1)), RES_OK);
    text = printed(log_summary_print, summary);
    assert_non_null(strstr(text, "  a???b\n"));
    free(text);
    log_summary_free(summary);
}

/* ---- following ---- */

struct follow_world {
    char folder[64], path[96], rotated[96];
    int writer;
    struct file_follow *follow;
    unsigned taken, wanted; /* stops at wanted */
};

static void
append(struct follow_world *w)
{
    struct record_samples s;
    struct buffer record;

    record_samples_init(&s);
    encode_recipient(&s, &record);
    assert_int_equal(write(w->writer, record.mem, buffer_len(&record)), buffer_len(&record));
    buffer_clear(&record);
    record_samples_clear(&s);
}

static bool
take(void *arg, int64_t wall_ns, struct span map)
{
    struct follow_world *w = arg;

    (void)wall_ns, (void)map;
    return ++w->taken < w->wanted;
}

static bool
wait_for_more(void *arg)
{
    struct follow_world *w = arg;

    return file_follow_wait(w->follow);
}

static int
create(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

    assert_true(fd >= 0);
    return fd;
}

/* Another writes while the reader waits, and the file is rotated under it. */
static void *
write_more(void *arg)
{
    struct follow_world *w = arg;

    append(w);
    assert_int_equal(rename(w->path, w->rotated), 0);
    append(w); /* it has not noticed yet */
    close(w->writer);
    w->writer = create(w->path);
    append(w);
    return NULL;
}

/* Nothing is lost by a rotation (FAULTS H4), and the next file is read from its start. */
static void
test_follow(void **state)
{
    struct follow_world w = { .folder = "/tmp/stsgate-follow-XXXXXX", .wanted = 4 };
    const struct record_taker taker = { .take = take, .more = wait_for_more, .arg = &w };
    enum record_stream_end end = RECORD_STREAM_CLEAN;
    pthread_t writer;
    int fd;

    (void)state;
    assert_non_null(mkdtemp(w.folder));
    snprintf(w.path, sizeof w.path, "%s/records", w.folder);
    snprintf(w.rotated, sizeof w.rotated, "%s/records.1", w.folder);
    w.writer = create(w.path);
    append(&w);
    w.follow = file_follow_new(w.path);
    assert_non_null(w.follow);
    fd = file_follow_open(w.follow); /* before it is rotated */
    assert_int_equal(pthread_create(&writer, NULL, write_more, &w), 0);
    while (fd >= 0 && end == RECORD_STREAM_CLEAN) {
        end = record_stream("f", fd, stderr, &taker);
        fd = end == RECORD_STREAM_CLEAN ? file_follow_open(w.follow) : -1;
    }
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_int_equal(w.taken, 4);
    assert_int_equal(end, RECORD_STREAM_STOPPED);
    file_follow_free(w.follow);
    close(w.writer);
    unlink(w.path);
    unlink(w.rotated);
    rmdir(w.folder);
}

static void
test_follow_nowhere(void **state)
{
    (void)state;
    assert_null(file_follow_new("/nonexistent/folder/records"));
}

/* TC-OPS-06: the sample says what judge() would not; and what is missing is told. */
static void
test_rejudge_differs(void **state)
{
    static const char no_facts[] = "\x82\xa5"
                                   "event\xa9recipient\xa6"
                                   "domain\xa1x";
    char difference[REJUDGE_TEXT_MAX];
    enum rejudge_outcome outcome;
    struct record_samples s;
    struct buffer record;

    (void)state;
    record_samples_init(&s);
    encode_recipient(&s, &record);
    assert_int_equal(rejudge(map_of(&record), &outcome, difference), RES_OK);
    assert_int_equal(outcome, REJUDGE_DIFFERENT);
    assert_non_null(strstr(difference, "recorded refuse by \"STS-085 RFC 8461 4.2\""));
    buffer_clear(&record);
    s.verdict.judged_at_s = 0;
    encode_recipient(&s, &record);
    assert_int_equal(rejudge(map_of(&record), &outcome, difference), RES_OK);
    assert_int_equal(outcome, REJUDGE_NOT_JUDGED);
    buffer_clear(&record);
    record_samples_clear(&s);
    assert_int_equal(rejudge(span_make(no_facts, sizeof no_facts - 1), &outcome, difference),
                     RES_SYNTAX);
}

/* A list that had no room cannot be judged by. */
static void
test_rejudge_cut(void **state)
{
    char difference[REJUDGE_TEXT_MAX];
    enum rejudge_outcome outcome;
    struct record_samples s;
    struct buffer record;

    (void)state;
    record_samples_init(&s);
    for (unsigned i = 0; i < RECORD_NAMES_MAX; i++)
        assert_int_equal(name_list_add(&s.req->sts.mx, span_of("mx.example.com")), RES_OK);
    encode_recipient(&s, &record);
    assert_int_equal(rejudge(map_of(&record), &outcome, difference), RES_OK);
    assert_int_equal(outcome, REJUDGE_CUT);
    buffer_clear(&record);
    record_samples_clear(&s);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_rejudge_differs), cmocka_unit_test(test_rejudge_cut),
        cmocka_unit_test(test_values),          cmocka_unit_test(test_summary),
        cmocka_unit_test(test_summary_json),    cmocka_unit_test(test_summary_is_safe),
        cmocka_unit_test(test_follow),          cmocka_unit_test(test_follow_nowhere),
    };
    struct CMUnitTest tests[ROWS(filters) + ROWS(others)] = { 0 };

    for (size_t i = 0; i < ROWS(filters); i++)
        tests[i] = (struct CMUnitTest){ .name = filters[i].name,
                                        .test_func = test_filter,
                                        .initial_state = &filters[i] };
    memcpy(tests + ROWS(filters), others, sizeof others);
    return cmocka_run_group_tests_name("log_views", tests, NULL, NULL);
}
