/* tests/policy/test_tlsrpt_mail.c: a report's mail, octet for octet (RPT-060 ... RPT-064, RTLS-008,
 * TC-RPT-15): Subject (RPT-061), parts (RPT-062), file name (RPT-063). A MIME library reads it in
 * tests/lab/cases_report.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "policy/tlsrpt_mail.h"

#define DAY_S 1698451200 /* 2023-10-28 00:00:00 UTC */

static struct tlsrpt_mail
sample(void)
{
    return (struct tlsrpt_mail){ .to = "tls-rpts@ausics.net",
                                 .from = "tlsrpt@gate.example",
                                 .domain = "ausics.net",
                                 .report_id = "20231028.ausics.net.00ff@gate.example",
                                 .day_s = DAY_S,
                                 .now_s = DAY_S + 90061,
                                 .report = span_make("\x1f\x8b\0\xff", 4) };
}

static void
test_whole(void **state)
{
    const struct tlsrpt_mail mail = sample();
    struct buffer out;
    static const char want[] =
        "From: <tlsrpt@gate.example>\r\n"
        "To: <tls-rpts@ausics.net>\r\n"
        "Date: Sun, 29 Oct 2023 01:01:01 +0000\r\n"
        "Subject: Report Domain: ausics.net\r\n"
        " Submitter: gate.example\r\n"
        " Report-ID: <20231028.ausics.net.00ff@gate.example>\r\n"
        "Message-ID: <20231028.ausics.net.00ff@gate.example>\r\n"
        "TLS-Report-Domain: ausics.net\r\n"
        "TLS-Report-Submitter: gate.example\r\n"
        "TLS-Required: No\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n"
        " boundary=\"=_tlsrpt_00ff\"\r\n"
        "\r\n"
        "--=_tlsrpt_00ff\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n"
        "Content-Transfer-Encoding: 7bit\r\n"
        "\r\n"
        "This is an aggregate TLS report (RFC 8460) of gate.example\r\n"
        "about mail to ausics.net on 2023-10-28 (UTC).\r\n"
        "\r\n"
        "--=_tlsrpt_00ff\r\n"
        "Content-Type: application/tlsrpt+gzip\r\n"
        "Content-Transfer-Encoding: base64\r\n"
        "Content-Disposition: attachment;\r\n"
        " filename=\"gate.example!ausics.net!1698451200!1698537599!00ff.json.gz\"\r\n"
        "\r\n"
        "H4sA/w==\r\n"
        "--=_tlsrpt_00ff--\r\n";

    (void)state;
    buffer_init(&out, 1u << 20);
    assert_int_equal(tlsrpt_mail_write(&mail, &out), RES_OK);
    assert_int_equal(buffer_len(&out), strlen(want));
    assert_memory_equal(buffer_span(&out).ptr, want, strlen(want));
    buffer_clear(&out);
}

static struct base64_case {
    const char *bytes, *want;
} cases[] = {
    { "f", "Zg==" },        { "fo", "Zm8=" },        { "foo", "Zm9v" },
    { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" },
};

/* RFC 4648 10. */
static void
test_base64(void **state)
{
    const struct base64_case *c = *state;
    struct tlsrpt_mail mail = sample();
    char line[32];
    struct buffer out;

    mail.report = span_of(c->bytes);
    buffer_init(&out, 1u << 20);
    assert_int_equal(tlsrpt_mail_write(&mail, &out), RES_OK);
    assert_int_equal(buffer_append(&out, span_make("", 1)), RES_OK);
    snprintf(line, sizeof line, "\r\n\r\n%s\r\n--", c->want);
    assert_non_null(strstr(buffer_span(&out).ptr, line));
    buffer_clear(&out);
}

/* No line is longer than 76 octets within base64, nor than 998 anywhere, whatever the domains. */
static void
test_long(void **state)
{
    struct tlsrpt_mail mail = sample();
    char domain[254], id[600], report[1000];
    struct buffer out;
    struct span rest;

    (void)state;
    memset(domain, 'a', sizeof domain);
    for (size_t i = 63; i < sizeof domain; i += 64)
        domain[i] = '.';
    domain[253] = '\0';
    memset(report, 0xff, sizeof report);
    snprintf(id, sizeof id, "20231028.%s.00ff@%s", domain, domain);
    mail.domain = domain;
    mail.report_id = id;
    mail.report = span_make(report, sizeof report);
    buffer_init(&out, 1u << 20);
    assert_int_equal(tlsrpt_mail_write(&mail, &out), RES_OK);
    for (rest = buffer_span(&out); rest.len;) {
        size_t len = span_find(rest, '\n');

        assert_true(len < 999 && rest.ptr[len - 1] == '\r' && rest.ptr[0] != '.');
        rest = span_from(rest, len + 1);
    }
    buffer_clear(&out);
}

static void
test_no_room(void **state)
{
    const struct tlsrpt_mail mail = sample();
    struct buffer out;

    (void)state;
    buffer_init(&out, 300);
    assert_int_equal(tlsrpt_mail_write(&mail, &out), RES_LIMIT);
    buffer_clear(&out);
    buffer_init(&out, 10);
    assert_int_equal(tlsrpt_gzip(span_of("text"), &out), RES_LIMIT);
    buffer_clear(&out);
}

int
main(void)
{
    enum { ROWS = sizeof cases / sizeof *cases };
    static struct CMUnitTest tests[ROWS + 3] = {
        { "RPT-060 the whole mail", test_whole, NULL, NULL, NULL },
        { "long domains", test_long, NULL, NULL, NULL },
        { "no room", test_no_room, NULL, NULL, NULL },
    };

    for (size_t i = 0; i < ROWS; i++)
        tests[i + 3] = (struct CMUnitTest){ cases[i].bytes, test_base64, NULL, NULL, &cases[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
