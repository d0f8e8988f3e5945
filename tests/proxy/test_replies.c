/* tests/proxy/test_replies.c: every reply of our own, octet for octet, one test per row of
 * docs/requirements.md 10; and no reply text anywhere else. */
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
    { "REP-056 keyword", REPLY_REQUIRETLS_MISSING, "451 4.7.30 REQUIRETLS support required" },
    { "REP-056 TLS, name or certificate", REPLY_REQUIRETLS_UNMET, "451 4.7.10 Encryption needed" },
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
    size_t want_len = strlen(c->want), len = reply_write(c->row, &usual, NULL, line);
    struct span name = span_of(c->name);

    assert_int_equal(len, want_len + 2);
    assert_memory_equal(line, c->want, want_len);
    assert_memory_equal(line + want_len, "\r\n", 3);
    assert_int_equal(reply_code(c->row), strtoul(line, NULL, 10));
    assert_true(
        span_equal(span_first(name, span_find(name, ' ')), span_of(reply_id(c->row, false))));

    /* REP-002: an enhanced code of the same class. */
    assert_int_equal(line[3], ' ');
    assert_int_equal(line[4], line[0]);
    assert_int_equal(line[5], '.');
    /* REP-006: nothing that could be read as an address to try. */
    assert_null(strchr(line, '<'));
    assert_null(strchr(line, '@'));
}

/* ---- as the operator wants them ---- */

static struct styled_case {
    const char *name; /* begins with the ID of the record, where there is one of its own */
    enum reply_row row;
    struct reply_style style;
    const char *want;
} styled_cases[] = {
    { "REP-020",
      REPLY_STS_STARTTLS_MISSING,
      { .permanent = true },
      "551 5.7.4 STARTTLS is required by recipient domain's MTA-STS policy" },
    { "REP-021",
      REPLY_STS_TLS_VERSION,
      { .permanent = true },
      "551 5.7.6 MTA-STS requires TLS 1.2 or higher. TLS Version: 1.1" },
    { "REP-022",
      REPLY_STS_MX_MISMATCH,
      { .permanent = true },
      "551 5.4.8 MX hosts of 'xn--bcher-kva.example' failed MTA-STS validation." },
    { "REP-023",
      REPLY_STS_NAME_MISMATCH,
      { .permanent = true },
      "551 5.7.5 Remote certificate MUST have a subject alternative name matching the hostname "
      "(MTA-STS)" },
    { "REP-024",
      REPLY_STS_CERTIFICATE,
      { .permanent = true },
      "551 5.7.5 Remote certificate failed MTA-STS validation. Reason: certificate has expired" },
    { "REP-020 REP-006 permanent_code = 550",
      REPLY_STS_STARTTLS_MISSING,
      { .permanent = true, .policy_code = true },
      "550 5.7.4 STARTTLS is required by recipient domain's MTA-STS policy" },
    { "REP-030 DANE-046 permanent",
      REPLY_DANE_STARTTLS,
      { .permanent = true },
      "550 5.7.321 starttls-not-supported: Destination mail server must support TLS to receive "
      "mail." },
    { "REP-031 DANE-046 permanent",
      REPLY_DANE_DNSSEC,
      { .permanent = true },
      "550 5.7.324 dnssec-invalid: Destination domain returned invalid DNSSEC records." },
    { "REP-032 DANE-046 permanent",
      REPLY_DANE_INVALID,
      { .permanent = true },
      "550 5.7.323 tlsa-invalid: The domain failed DANE validation." },
    { "REP-033 DANE-046 permanent",
      REPLY_DANE_EXPIRED,
      { .permanent = true },
      "550 5.7.322 certificate-expired: Destination mail server's certificate is expired." },
    { "REP-034 DANE-046 permanent",
      REPLY_DANE_MISNAMED,
      { .permanent = true },
      "550 5.7.325 certificate-host-mismatch: The certificate does not match the MX host." },
    { "REP-035 DANE-046 permanent",
      REPLY_DANE_REQUIRED,
      { .permanent = true },
      "550 5.7.0 DANE is required for 'xn--bcher-kva.example' but no DNSSEC-validated TLSA records "
      "were found" },
    { "REP-042 permanent",
      REPLY_TLS_REQUIRED,
      { .permanent = true },
      "550 5.7.0 TLS is required by local policy" },
    { "REP-043 permanent",
      REPLY_IDENTITY_REQUIRED,
      { .permanent = true },
      "550 5.7.5 Server identity required by local policy could not be verified. Reason: "
      "certificate has expired" },
    { "REP-056 RTLS-004 permanent: keyword",
      REPLY_REQUIRETLS_MISSING,
      { .permanent = true },
      "550 5.7.30 REQUIRETLS support required" },
    { "REP-056 RTLS-004 permanent: TLS, name or certificate",
      REPLY_REQUIRETLS_UNMET,
      { .permanent = true },
      "550 5.7.10 Encryption needed" },
    { "REP-040 has no permanent form",
      REPLY_DNS_FAILURE,
      { .permanent = true },
      "451 4.4.3 Temporary DNS failure for 'xn--bcher-kva.example'" },
    { "REP-041 has no permanent form",
      REPLY_OTHER_IDENTITY,
      { .permanent = true, .closing = true },
      "452 4.5.3 Recipient domain needs another TLS identity, retry in a separate transaction" },
    { "REP-013 PRX-046 violation = disconnect",
      REPLY_STS_CERTIFICATE,
      { .closing = true },
      "421 4.7.5 Remote certificate failed MTA-STS validation. Reason: certificate has expired" },
    { "REP-011 REP-007 TC-GW-15 reply_id",
      REPLY_STS_STARTTLS_MISSING,
      { .session_id = "0123456789abcdef" },
      "451 4.7.4 STARTTLS is required by recipient domain's MTA-STS policy [sg:0123456789abcdef]" },
    { "REP-059 REP-007 no refusal, no id",
      REPLY_SENDER_OK,
      { .session_id = "0123456789abcdef" },
      "250 2.1.0 Sender OK" },
    { "REP-011 REP-004 a text of the operator's",
      REPLY_STS_STARTTLS_MISSING,
      { .text = "<Domain> wants TLS; ask postmaster of <gw>" },
      "451 4.7.4 xn--bcher-kva.example wants TLS; ask postmaster of gw.example.net" },
    { "REP-020 REP-004 ... in both profiles",
      REPLY_STS_STARTTLS_MISSING,
      { .text = "no", .permanent = true },
      "551 5.7.4 no" },
};

static void
test_styled(void **state)
{
    const struct styled_case *c = *state;
    char line[REPLY_MAX_BYTES + 1];
    size_t want_len = strlen(c->want), len = reply_write(c->row, &usual, &c->style, line);
    const char *id = reply_id(c->row, c->style.permanent);

    assert_int_equal(len, want_len + 2);
    assert_memory_equal(line, c->want, want_len);
    assert_memory_equal(line + want_len, "\r\n", 3);
    assert_true(span_starts(span_of(c->name), span_of(id)));
}

/* REP-004: the first digits apart, both profiles say the same; and only classed rows have two. */
static void
test_profiles(void **state)
{
    static const struct reply_style permanent = { .permanent = true };

    (void)state;
    for (int row = REPLY_NONE + 1; row < REPLY_ROWS; row++) {
        char one[REPLY_MAX_BYTES + 1], other[REPLY_MAX_BYTES + 1];

        reply_write((enum reply_row)row, &usual, NULL, one);
        reply_write((enum reply_row)row, &usual, &permanent, other);
        assert_int_equal(one[0] != other[0], reply_class((enum reply_row)row) != REPLY_CLASS_NONE);
        if (one[0] != other[0]) {
            assert_int_equal(one[0], '4');
            assert_int_equal(other[0], '5');
            assert_int_equal(other[4], '5');
        }
        assert_string_equal(one + 5, other + 5);
    }
}

static struct text_case {
    const char *name, *text;
    bool valid;
} text_cases[] = {
    { "plain", "TLS is a must here", true },
    { "every argument", "<gw> <Domain> <Reason> <Observed TLS version> <ip>", true },
    { "an address without brackets", "ask help@example.com", true },
    { "empty", "", false },
    { "unknown argument", "no <mx>", false },
    { "REP-006 an address to try", "try <help@example.com>", false },
    { "open bracket", "a < b", false },
    { "closed bracket", "a > b", false },
    { "nested", "<<gw>>", false },
    { "line end", "a\r\n250 ok", false },
    { "tab", "a\tb", false },
    { "not ASCII", "T\xc3\xbcr", false },
};

static void
test_text(void **state)
{
    const struct text_case *c = *state;

    assert_int_equal(reply_text_is_valid(c->text), c->valid);
}

static void
test_text_length(void **state)
{
    char text[REPLY_TEXT_MAX + 2];

    (void)state;
    memset(text, 'x', sizeof text);
    text[REPLY_TEXT_MAX] = '\0';
    assert_true(reply_text_is_valid(text));
    text[REPLY_TEXT_MAX] = 'x';
    text[REPLY_TEXT_MAX + 1] = '\0';
    assert_false(reply_text_is_valid(text));
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
    static const struct reply_style styles[] = {
        { .permanent = false },
        { .permanent = true },
        { .permanent = true, .policy_code = true, .session_id = "0123456789abcdef" },
        { .closing = true, .session_id = "0123456789abcdef" },
        { .text = "<Reason> of <Domain>, <ip>", .session_id = "0123456789abcdef" },
    };
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

        for (size_t n = 0; n < ROWS(all) * ROWS(styles); n++) {
            size_t i = n / ROWS(styles), k = n % ROWS(styles);
            char line[REPLY_MAX_BYTES + 1];
            size_t len = reply_write((enum reply_row)row, &all[i], &styles[k], line);

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
    reply_write(REPLY_STS_CERTIFICATE, &args, NULL, line);
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

/* docs/requirements.md 10.4: no other file of the program holds reply text. */
static void
test_only_here(void **state)
{
    unsigned elsewhere = 0, here = 0;
    regex_t pattern;
    glob_t files;

    (void)state;
    assert_int_equal(regcomp(&pattern, "\"[2345][0-9][0-9][ -][0-9A-Z]", REG_EXTENDED | REG_NOSUB),
                     0);
    assert_int_equal(glob(TESTS_DIR "/../{base,tls,policy,proxy}/*.c", GLOB_BRACE, NULL, &files),
                     0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *path = files.gl_pathv[i];
        bool table = strcmp(strrchr(path, '/'), "/replies.c") == 0;

        if (strstr(path, "_fuzz.c")) /* they play the peers */
            continue;
        *(table ? &here : &elsewhere) += count_reply_texts(path, &pattern, table);
    }
    assert_int_equal(elsewhere, 0);
    assert_int_equal(here, REPLY_ROWS - 1); /* so the pattern finds what it is to find */
    globfree(&files);
    regfree(&pattern);
}

/* docs/replies.md has each refusal, with its id and its text. */
static void
test_manual(void **state)
{
    static const struct reply_args names = {
        .gateway = "<gw>",
        .domain = "<Domain>",
        .reason = "<Reason>",
        .tls_version = "<Observed TLS version>",
        .ip = "<ip>",
    };
    char manual[16384] = "", line[REPLY_MAX_BYTES + 1], want[REPLY_MAX_BYTES + 64];
    FILE *file = fopen(TESTS_DIR "/../docs/replies.md", "rb");
    unsigned found = 0, listed = 0;

    (void)state;
    assert_non_null(file);
    assert_in_range(fread(manual, 1, sizeof manual - 1, file), 1, sizeof manual - 2);
    fclose(file);
    for (int row = REPLY_NONE + 1; row < REPLY_ROWS; row++) {
        if (reply_code((enum reply_row)row) < 400)
            continue;
        line[reply_write((enum reply_row)row, &names, NULL, line) - 2] = '\0';
        snprintf(want, sizeof want, "\n| `%s` | `%s` |", reply_id((enum reply_row)row, false),
                 line);
        if (!strstr(manual, want))
            fail_msg("not in docs/replies.md: %s", want);
        found++;
    }
    for (const char *at = manual; (at = strstr(at, "\n| `")); at++)
        listed++;
    assert_int_equal(listed, found);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_profiles),    cmocka_unit_test(test_text_length),
        cmocka_unit_test(test_complete),    cmocka_unit_test(test_harmless),
        cmocka_unit_test(test_replacement), cmocka_unit_test(test_only_here),
        cmocka_unit_test(test_manual),
    };
    struct CMUnitTest tests[ROWS(cases) + ROWS(styled_cases) + ROWS(text_cases) + ROWS(others)] = {
        0
    };
    size_t n = 0;

    for (size_t i = 0; i < ROWS(cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = cases[i].name,
                                          .test_func = test_row,
                                          .initial_state = &cases[i] };
    for (size_t i = 0; i < ROWS(styled_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = styled_cases[i].name,
                                          .test_func = test_styled,
                                          .initial_state = &styled_cases[i] };
    for (size_t i = 0; i < ROWS(text_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = text_cases[i].name,
                                          .test_func = test_text,
                                          .initial_state = &text_cases[i] };
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests_name("replies", tests, NULL, NULL);
}
