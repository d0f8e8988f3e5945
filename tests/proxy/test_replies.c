/* tests/proxy/test_replies.c: every reply of our own, octet for octet, one test per row of
 * CONFORMANCE 10; and no reply text anywhere else. */
#include "proxy/replies.h"

#include <glob.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))

static const struct reply_args usual = {
    .gateway = "gw.example.net",
    .domain = "xn--bcher-kva.example",
    .reason = "certificate has expired",
    .tls_version = "1.1",
    .ip = "2001:db8::25",
};

static struct row_case {
    const char *name; /* begins with the ID that reply_id() gives */
    enum reply_row row;
    const char *want; /* without CRLF */
} cases[] = {
    { "REP-010 REP-003 domain in A-labels", REPLY_STS_MX_MISMATCH,
      "451 4.4.8 MX hosts of 'xn--bcher-kva.example' failed MTA-STS validation." },
    { "REP-011", REPLY_STS_STARTTLS_MISSING,
      "451 4.7.4 STARTTLS is required by recipient domain's MTA-STS policy" },
    { "REP-012", REPLY_STS_TLS_VERSION,
      "451 4.7.6 MTA-STS requires TLS 1.2 or higher. TLS Version: 1.1" },
    { "REP-013", REPLY_STS_CERTIFICATE,
      "451 4.7.5 Remote certificate failed MTA-STS validation. Reason: certificate has expired" },
    { "REP-014", REPLY_STS_NAME_MISMATCH,
      "451 4.7.5 Remote certificate MUST have a subject alternative name matching the hostname "
      "(MTA-STS)" },
    { "REP-030", REPLY_DANE_STARTTLS,
      "451 4.7.321 starttls-not-supported: Destination mail server must support TLS to receive "
      "mail." },
    { "REP-031", REPLY_DANE_DNSSEC,
      "451 4.7.324 dnssec-invalid: Destination domain returned invalid DNSSEC records." },
    { "REP-032", REPLY_DANE_INVALID,
      "451 4.7.323 tlsa-invalid: The domain failed DANE validation." },
    { "REP-033", REPLY_DANE_EXPIRED,
      "451 4.7.322 certificate-expired: Destination mail server's certificate is expired." },
    { "REP-034", REPLY_DANE_MISNAMED,
      "451 4.7.325 certificate-host-mismatch: The certificate does not match the MX host." },
    { "REP-035", REPLY_DANE_REQUIRED,
      "451 4.7.0 DANE is required for 'xn--bcher-kva.example' but no DNSSEC-validated TLSA "
      "records were found" },
    { "REP-040", REPLY_DNS_FAILURE, "451 4.4.3 Temporary DNS failure for 'xn--bcher-kva.example'" },
    { "REP-041", REPLY_OTHER_IDENTITY,
      "452 4.5.3 Recipient domain needs another TLS identity, retry in a separate transaction" },
    { "REP-042", REPLY_TLS_REQUIRED, "451 4.7.0 TLS is required by local policy" },
    { "REP-043", REPLY_IDENTITY_REQUIRED,
      "451 4.7.5 Server identity required by local policy could not be verified. Reason: "
      "certificate has expired" },
    { "REP-057", REPLY_NULL_MX, "556 5.1.10 Recipient address has null MX" },
    { "REP-044 some were given", REPLY_NO_RECIPIENTS, "554 5.5.1 No valid recipients" },
    { "REP-044 none was given", REPLY_NO_RECIPIENTS_YET, "503 5.5.1 No valid recipients" },
    { "REP-045", REPLY_UNREACHABLE,
      "421 4.4.1 gw.example.net Destination 2001:db8::25 not reachable" },
    { "REP-046", REPLY_UPSTREAM_LOST, "421 4.4.2 gw.example.net Connection to destination lost" },
    { "REP-046 in data", REPLY_UPSTREAM_LOST_DATA,
      "451 4.4.2 gw.example.net Connection to destination lost" },
    { "REP-047", REPLY_SHUTDOWN, "421 4.3.2 gw.example.net Service not available" },
    { "REP-048", REPLY_IDLE, "421 4.4.2 gw.example.net Timeout" },
    { "REP-049 line", REPLY_LINE_TOO_LONG, "500 5.5.2 Line too long" },
    { "REP-049 character", REPLY_BAD_CHARACTER, "500 5.5.2 Bad character or line ending" },
    { "REP-050 unknown", REPLY_UNKNOWN_COMMAND, "500 5.5.1 Command not recognized" },
    { "REP-050 not offered", REPLY_NOT_IMPLEMENTED, "502 5.5.1 Command not implemented" },
    { "REP-051", REPLY_NO_STARTTLS, "502 5.5.1 STARTTLS not available" },
    { "REP-052", REPLY_BAD_SEQUENCE, "503 5.5.1 Bad sequence of commands" },
    { "REP-053 argument", REPLY_BAD_PARAMETERS, "501 5.5.4 Syntax error in parameters" },
    { "REP-053 recipient", REPLY_BAD_RECIPIENT, "501 5.1.3 Bad recipient address syntax" },
    { "REP-053 sender", REPLY_BAD_SENDER, "501 5.1.7 Bad sender address syntax" },
    { "REP-054", REPLY_PARAMETER_UNKNOWN, "555 5.5.4 Parameter not recognized" },
    { "REP-055", REPLY_BARE_NEWLINE, "550 5.5.2 Bare CR or LF in message data" },
    { "EXT-005", REPLY_BAD_IDN_RECIPIENT, "553 5.1.3 Bad recipient address syntax" },
    { "EXT-005", REPLY_BAD_IDN_SENDER, "553 5.1.7 Bad sender address syntax" },
    { "REP-059", REPLY_SENDER_OK, "250 2.1.0 Sender OK" },
    { "REP-060", REPLY_EXTENSION_GONE,
      "451 4.3.0 Destination no longer offers a requested extension" },
    { "REP-061", REPLY_TOO_MANY_RECIPIENTS, "452 4.5.3 Too many recipients" },
    { "REP-064", REPLY_PROTOCOL_VIOLATION, "421 4.7.0 gw.example.net Protocol violation, closing" },
    { "REP-065", REPLY_POLICY_UNAVAILABLE, "451 4.3.0 Policy service not available" },
    { "REP-063", REPLY_STARTTLS_FIRST, "530 5.7.0 Must issue a STARTTLS command first" },
    { "PRX-043", REPLY_STARTTLS_READY, "220 2.0.0 Ready to start TLS" },
    { "SMTP-010 NOOP and RSET", REPLY_OK, "250 2.0.0 OK" },
    { "SMTP-011 VRFY", REPLY_VRFY, "252 2.5.0 Not verified" },
    { "SMTP-011 HELP", REPLY_HELP, "214 2.0.0 See RFC 5321" },
    { "SMTP-013 QUIT", REPLY_BYE, "221 2.0.0 gw.example.net closing connection" },
};

static void
test_row(void **state)
{
    const struct row_case *c = *state;
    char line[REPLY_MAX_BYTES + 1];
    size_t want_len = strlen(c->want), len = reply_write(c->row, &usual, line);
    struct span name = span_of(c->name);

    assert_int_equal(len, want_len + 2);
    assert_memory_equal(line, c->want, want_len);
    assert_memory_equal(line + want_len, "\r\n", 3);
    assert_int_equal(reply_code(c->row), strtoul(line, NULL, 10));
    assert_true(span_equal(span_first(name, span_find(name, ' ')), span_of(reply_id(c->row))));

    /* REP-002: an enhanced code of the same class. */
    assert_int_equal(line[3], ' ');
    assert_int_equal(line[4], line[0]);
    assert_int_equal(line[5], '.');
    /* REP-006: nothing that could be read as an address to try. */
    assert_null(strchr(line, '<'));
    assert_null(strchr(line, '@'));
}

/* A row that is added to the enum gets a text and a test. */
static void
test_complete(void **state)
{
    (void)state;
    assert_int_equal(ROWS(cases), REPLY_ROWS - 1);
    for (int row = REPLY_NONE + 1; row < REPLY_ROWS; row++) {
        unsigned times = 0;

        for (size_t i = 0; i < ROWS(cases); i++)
            times += cases[i].row == (enum reply_row)row;
        assert_int_equal(times, 1);
    }
}

/* REP-001: whatever the arguments hold, the line is one line of printable ASCII that fits. */
static void
test_harmless(void **state)
{
    char every[256], longest[2 * REPLY_MAX_BYTES];

    (void)state;
    for (int i = 0; i < 255; i++)
        every[i] = (char)(i + 1);
    every[255] = '\0';
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';

    for (int row = REPLY_NONE + 1; row < REPLY_ROWS; row++) {
        const struct reply_args all[] = {
            { every, every, every, every, every },
            { longest, longest, longest, longest, longest },
            { "", "", "", "", "" },
            { "<gw>", "<Domain>", "<Reason>", "<ip>", "<" }, /* not expanded again */
            { NULL, NULL, NULL, NULL, NULL },
        };

        for (size_t i = 0; i < ROWS(all); i++) {
            char line[REPLY_MAX_BYTES + 1];
            size_t len = reply_write((enum reply_row)row, &all[i], line);

            assert_true(len <= REPLY_MAX_BYTES);
            assert_int_equal(strlen(line), len);
            assert_memory_equal(line + len - 2, "\r\n", 2);
            for (size_t at = 0; at < len - 2; at++)
                assert_in_range((unsigned char)line[at], ' ', '~');
        }
    }
}

static void
test_replacement(void **state)
{
    const struct reply_args args = { .reason = "a\r\nb\xc3\xbc\x7f<gw>" };
    char line[REPLY_MAX_BYTES + 1];

    (void)state;
    reply_write(REPLY_STS_CERTIFICATE, &args, line);
    assert_string_equal(line, "451 4.7.5 Remote certificate failed MTA-STS validation. "
                              "Reason: a??b??"
                              "?<gw>\r\n"); /* cut: no trigraph */
}

static unsigned
count_reply_texts(const char *path, const regex_t *pattern, bool expected)
{
    FILE *file = fopen(path, "r");
    char line[1024];
    unsigned found = 0;

    assert_non_null(file);
    for (unsigned number = 1; fgets(line, sizeof line, file); number++)
        if (regexec(pattern, line, 0, NULL, 0) == 0) {
            found++;
            if (!expected)
                print_message("%s:%u: %s", path, number, line);
        }
    fclose(file);
    return found;
}

/* CONFORMANCE 10.4: no other file of the program holds reply text. */
static void
test_only_here(void **state)
{
    unsigned elsewhere = 0, here = 0;
    regex_t pattern;
    glob_t files;

    (void)state;
    assert_int_equal(regcomp(&pattern, "\"[245][0-9][0-9][ -][245]\\.", REG_EXTENDED | REG_NOSUB),
                     0);
    assert_int_equal(glob(TESTS_DIR "/../proxy/*.c", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *path = files.gl_pathv[i];
        bool table = strcmp(strrchr(path, '/'), "/replies.c") == 0;

        *(table ? &here : &elsewhere) += count_reply_texts(path, &pattern, table);
    }
    assert_int_equal(elsewhere, 0);
    assert_int_equal(here, REPLY_ROWS - 1); /* so the pattern finds what it is to find */
    globfree(&files);
    regfree(&pattern);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_harmless),
        cmocka_unit_test(test_replacement),
        cmocka_unit_test(test_only_here),
    };
    struct CMUnitTest tests[ROWS(cases) + ROWS(others)] = { 0 };

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[i] = (struct CMUnitTest){ .name = cases[i].name,
                                        .test_func = test_row,
                                        .initial_state = &cases[i] };
    memcpy(tests + ROWS(cases), others, sizeof others);
    return cmocka_run_group_tests_name("replies", tests, NULL, NULL);
}
