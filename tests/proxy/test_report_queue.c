/* tests/proxy/test_report_queue.c: what a worker tells of its sessions, through the crash of the
 * process that counts: nothing lost, nothing twice (RPT-020, RPT-032). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/pack.h"
#include "base/tls_report_msg.h"
#include "policy/policy_msg.h"
#include "proxy/report_queue.h"

#define SOURCE UINT64_C(0xfedcba9876543210)

static struct report_queue queue;

static int
set_up(void **state)
{
    (void)state;
    report_queue_init(&queue, SOURCE);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    report_queue_clear(&queue);
    return 0;
}

static void
add_alike(unsigned times, int64_t at_s)
{
    struct tls_report report = { .at_s = at_s, .type = TLS_REPORT_NO_POLICY };

    snprintf(report.domain, sizeof report.domain, "example.com");
    snprintf(report.policy_domain, sizeof report.policy_domain, "example.com");
    while (times--)
        assert_int_equal(report_queue_add(&queue, &report), RES_OK);
}

/* So many that all differ. */
static void
add(unsigned times)
{
    static int64_t at_s;

    while (times--)
        add_alike(1, ++at_s);
}

/* Sends all that wait; the number of the first, and how many. */
static uint64_t
send_all(unsigned *out_count)
{
    struct policy_report told;
    uint64_t first = 0;
    struct span message;

    *out_count = 0;
    while (report_queue_next(&queue, &message)) {
        assert_int_equal(policy_report_decode(message, &told), RES_OK);
        assert_true(told.source == SOURCE);
        if (first == 0)
            first = told.number;
        assert_true(told.number == first + *out_count);
        tls_report_clear(&told.report);
        report_queue_sent(&queue);
        ++*out_count;
    }
    return first;
}

static void
test_sent_once(void **state)
{
    unsigned count;

    (void)state;
    add(3);
    assert_true(send_all(&count) == 1 && count == 3);
    assert_true(send_all(&count) == 0 && count == 0);
    add(1);
    assert_true(send_all(&count) == 4 && count == 1);
}

/* The next messages, numbered from 1 on, are of so many sessions each. */
static void
expect_sessions(const uint64_t *sessions, unsigned count)
{
    struct policy_report told;
    struct span message;

    for (unsigned i = 0; i < count; i++) {
        assert_true(report_queue_next(&queue, &message));
        assert_int_equal(policy_report_decode(message, &told), RES_OK);
        assert_true(told.number == i + 1 && told.sessions == sessions[i]);
        tls_report_clear(&told.report);
        report_queue_sent(&queue);
    }
}

/* What went alike goes as one, as long as it has not been sent; and again as it went. */
static void
test_alike(void **state)
{
    static const uint64_t sessions[] = { 4, 1, 2 };

    (void)state;
    add_alike(3, 1);
    add_alike(1, 2);
    add_alike(1, 1);
    assert_int_equal(queue.count, 2);
    expect_sessions(sessions, 2);
    add_alike(2, 1);
    assert_int_equal(queue.count, 3);
    report_queue_restart(&queue);
    expect_sessions(sessions, 3);
    assert_int_equal(report_queue_counted(&queue, 3), RES_OK);
    assert_int_equal(queue.count, 0);
}

/* What was told before may be in the store with the number it had: nobody joins it any more. */
static void
test_alike_after_restart(void **state)
{
    static const uint64_t sessions[] = { 2, 1 };
    unsigned count;

    (void)state;
    add_alike(2, 1);
    assert_true(send_all(&count) == 1 && count == 1);
    report_queue_restart(&queue);
    add_alike(1, 1);
    expect_sessions(sessions, 2);
}

/* One that is too long for a message is lost and counted; what is kept can be sent, to the octet.
 */
static void
test_longest(void **state)
{
    struct tls_report report = { .at_s = 1, .type = TLS_REPORT_TLSA };
    static char text[8001];
    struct span message;
    unsigned sent = 0, lost = 0;

    (void)state;
    memset(text, 'a', sizeof text - 1);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(name_list_add(&report.strings, span_of(text)), RES_OK);
    for (unsigned len = 2800; len < 3100; len++) {
        struct tls_report one = report;

        text[len] = '\0';
        one.strings = (struct name_list){ 0 };
        assert_int_equal(name_list_copy(&report.strings, &one.strings), RES_OK);
        assert_int_equal(name_list_add(&one.strings, span_of(text)), RES_OK);
        text[len] = 'a';
        if (report_queue_add(&queue, &one) == RES_OK) {
            assert_true(report_queue_next(&queue, &message));
            report_queue_sent(&queue);
            sent++;
        } else {
            lost++;
        }
        tls_report_clear(&one);
    }
    assert_true(sent > 0 && lost > 0);
    assert_int_equal(queue.lost, lost);
    tls_report_clear(&report);
}

static void
test_told_again(void **state)
{
    unsigned count;

    (void)state;
    add(5);
    assert_true(send_all(&count) == 1);
    assert_int_equal(report_queue_counted(&queue, 2), RES_OK);
    report_queue_restart(&queue);
    add(1);
    assert_true(send_all(&count) == 3 && count == 4);
    assert_int_equal(report_queue_counted(&queue, 6), RES_OK);
    assert_int_equal(queue.count, 0);
    assert_int_equal(queue.bytes, 0);
    report_queue_restart(&queue);
    assert_true(send_all(&count) == 0);
}

/* An old word comes late. */
static void
test_counted_before(void **state)
{
    unsigned count;

    (void)state;
    add(2);
    assert_true(send_all(&count) == 1);
    assert_int_equal(report_queue_counted(&queue, 2), RES_OK);
    assert_int_equal(report_queue_counted(&queue, 1), RES_OK);
    assert_int_equal(report_queue_counted(&queue, 0), RES_OK);
}

static void
test_word_of_what_was_not_sent(void **state)
{
    unsigned count;

    (void)state;
    assert_int_equal(report_queue_counted(&queue, 1), RES_SYNTAX);
    add(2);
    assert_int_equal(report_queue_counted(&queue, 1), RES_SYNTAX);
    assert_true(send_all(&count) == 1);
    add(1);
    assert_int_equal(report_queue_counted(&queue, 3), RES_SYNTAX);
    assert_int_equal(queue.count, 3);
}

/* Without a link the new one goes; what was sent gives way before. */
static void
test_bound(void **state)
{
    struct tls_report report = { .at_s = 1, .type = TLS_REPORT_NO_POLICY };
    unsigned count;

    (void)state;
    add(REPORT_QUEUE_MAX);
    assert_int_equal(report_queue_add(&queue, &report), RES_LIMIT);
    assert_int_equal(queue.lost, 1);
    assert_true(send_all(&count) == 1 && count == REPORT_QUEUE_MAX);
    add(1);
    assert_int_equal(queue.count, REPORT_QUEUE_MAX);
    assert_int_equal(queue.lost, 1);
    assert_true(send_all(&count) == REPORT_QUEUE_MAX + 1 && count == 1);
}

static void
assert_decodes(const struct policy_report *report, enum result expected)
{
    struct policy_report out;
    struct pack_writer w;
    struct buffer bytes, message;

    buffer_init(&bytes, 4096);
    buffer_init(&message, 4096);
    pack_begin(&w, &bytes);
    tls_report_encode(&report->report, &w);
    assert_int_equal(pack_end(&w), RES_OK);
    assert_int_equal(policy_report_encode(report, buffer_span(&bytes), &message), RES_OK);
    assert_int_equal(policy_report_decode(buffer_span(&message), &out), expected);
    assert_true(expected != RES_OK ||
                (out.number == report->number && out.sessions == report->sessions));
    tls_report_clear(&out.report);
    buffer_clear(&bytes);
    buffer_clear(&message);
}

static void
test_messages(void **state)
{
    struct policy_report report = { .source = 0, .number = 1, .sessions = 1 };
    struct buffer bytes;
    uint64_t number;

    (void)state;
    snprintf(report.report.domain, sizeof report.report.domain, "example.com");
    snprintf(report.report.policy_domain, sizeof report.report.policy_domain, "example.com");
    buffer_init(&bytes, 4096);
    assert_decodes(&report, RES_SYNTAX); /* nobody's */
    report.source = 1;
    assert_decodes(&report, RES_OK);
    report.sessions = 0;
    assert_decodes(&report, RES_SYNTAX);
    report.sessions = POLICY_REPORT_SESSIONS_MAX;
    assert_decodes(&report, RES_OK);
    report.sessions++;
    assert_decodes(&report, RES_LIMIT);
    report.sessions = 1;
    report.number = UINT64_MAX;
    assert_decodes(&report, RES_LIMIT);
    buffer_clear(&bytes);
    assert_int_equal(policy_counted_encode(77, &bytes), RES_OK);
    assert_int_equal(policy_msg_type(buffer_span(&bytes)), POLICY_MSG_COUNTED);
    assert_int_equal(policy_counted_decode(buffer_span(&bytes), &number), RES_OK);
    assert_int_equal(number, 77);
    assert_int_not_equal(policy_counted_decode(span_first(buffer_span(&bytes), 2), &number),
                         RES_OK);
    buffer_clear(&bytes);
}

int
main(void)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        ROW(test_sent_once),
        ROW(test_alike),
        ROW(test_alike_after_restart),
        ROW(test_longest),
        ROW(test_told_again),
        ROW(test_counted_before),
        ROW(test_word_of_what_was_not_sent),
        ROW(test_bound),
        ROW(test_messages),
    };

    return cmocka_run_group_tests_name("report_queue", tests, NULL, NULL);
}
