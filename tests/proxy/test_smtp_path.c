/* tests/proxy/test_smtp_path.c: the paths of MAIL and RCPT, SMTP-022 ... SMTP-025, SMTP-028,
 * PRX-026 ... PRX-028, EXT-005: which domain is judged, and what is refused. A row is the text from
 * "<" on; behind it a parameter stands in the line, which must not be drawn in. */
#include "proxy/smtp_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define LOCAL_60 "123456789-123456789-123456789-123456789-123456789-123456789-"
#define LOCAL_64 LOCAL_60 "1234"
#define LABEL_63 "123456789-123456789-123456789-123456789-123456789-123456789-123"
/* 64 + 1 + 189 octets, with brackets 256. */
#define DOMAIN_189                                                                                 \
    "a." LABEL_63 "." LABEL_63 "."                                                                 \
    "123456789-123456789-123456789-123456789-123456789-123456789"
#define UE "\xc3\xbc"

static struct good_case {
    const char *name, *path;
    const char *local, *written, *domain;
    bool literal;
} good_cases[] = {
    { "an address", "<u@example.com>", "u", "example.com", "example.com", false },
    { "SMTP-001 the local-part keeps its case, the domain judged is in lower case",
      "<MiXed@EXAMPLE.Com>", "MiXed", "EXAMPLE.Com", "example.com", false },
    { "a domain of one label", "<u@localhost>", "u", "localhost", "localhost", false },
    { "SMTP-024 underscore and hyphen", "<u@_a-b.example>", "u", "_a-b.example", "_a-b.example",
      false },
    { "SMTP-024 digits", "<u@1.2-3.example>", "u", "1.2-3.example", "1.2-3.example", false },
    { "SMTP-024 label of 63 octets", "<u@" LABEL_63 ".example>", "u", LABEL_63 ".example",
      LABEL_63 ".example", false },
    { "SMTP-024 local-part of 64 octets", "<" LOCAL_64 "@b.example>", LOCAL_64, "b.example",
      "b.example", false },
    { "SMTP-024 path of 256 octets", "<" LOCAL_64 "@" DOMAIN_189 ">", LOCAL_64, DOMAIN_189,
      DOMAIN_189, false },
    { "every character of an atom", "<!#$%&'*+-/=?^_`{|}~09azAZ@b.example>",
      "!#$%&'*+-/=?^_`{|}~09azAZ", "b.example", "b.example", false },
    { "dots where the grammar has none", "<.a..b.@b.example>", ".a..b.", "b.example", "b.example",
      false },
    { "EXT-005 an A-label", "<u@XN--bcher-kva.example>", "u", "XN--bcher-kva.example",
      "xn--bcher-kva.example", false },

    { "SMTP-022 user%x@y", "<user%x@y>", "user%x", "y", "y", false },
    { "SMTP-022 user!x@y", "<x!user@y>", "x!user", "y", "y", false },
    { "SMTP-022 quoted @ and >", "<\"a@evil.example>\"@good.example>", "\"a@evil.example>\"",
      "good.example", "good.example", false },
    { "SMTP-022 quoted path", "<\"<a@evil.example> X\"@good.example>", "\"<a@evil.example> X\"",
      "good.example", "good.example", false },
    { "SMTP-022 E15 quoted blank, quote, backslash", "<\"a \\\" \\\\\"@b.example>",
      "\"a \\\" \\\\\"", "b.example", "b.example", false },
    { "SMTP-022 quoted quote before >", "<\"\\\">\"@b.example>", "\"\\\">\"", "b.example",
      "b.example", false },
    { "SMTP-022 empty quotes", "<\"\"@b.example>", "\"\"", "b.example", "b.example", false },

    { "SMTP-023 one hop", "<@a:u@c.example>", "u", "c.example", "c.example", false },
    { "SMTP-023 two hops", "<@a.example,@b.example:user@c.example>", "user", "c.example",
      "c.example", false },
    { "SMTP-023 a route and a quoted local-part", "<@a:\":@x\"@c.example>", "\":@x\"", "c.example",
      "c.example", false },
    { "SMTP-023 a route to a literal", "<@a:u@[192.0.2.1]>", "u", "[192.0.2.1]", "", true },

    { "SMTP-025 PRX-026 IPv4", "<u@[192.0.2.1]>", "u", "[192.0.2.1]", "", true },
    { "SMTP-025 IPv4, leading zeros", "<u@[192.000.02.1]>", "u", "[192.000.02.1]", "", true },
    { "SMTP-025 IPv4, highest", "<u@[255.255.255.255]>", "u", "[255.255.255.255]", "", true },
    { "SMTP-025 PRX-026 IPv6", "<u@[IPv6:2001:db8::1]>", "u", "[IPv6:2001:db8::1]", "", true },
    { "SMTP-025 IPv6 in full, tag in any case", "<u@[ipv6:1:2:3:4:5:6:7:8]>", "u",
      "[ipv6:1:2:3:4:5:6:7:8]", "", true },
    { "SMTP-025 IPv6 with IPv4", "<u@[IPv6:::ffff:192.0.2.1]>", "u", "[IPv6:::ffff:192.0.2.1]", "",
      true },
    { "SMTP-025 tagged", "<u@[X-25:a,b;c]>", "u", "[X-25:a,b;c]", "", true },
    { "SMTP-025 IPv6 without its tag has the form of a tagged one", "<u@[2001:db8::1]>", "u",
      "[2001:db8::1]", "", true },
};

static struct utf8_case {
    const char *name, *path, *domain; /* NULL: IDNA fails */
} utf8_cases[] = {
    { "EXT-005 U-label", "<u@b" UE "cher.example>", "xn--bcher-kva.example" },
    { "EXT-005 U-label in upper case",
      "<u@B\xc3\x9c"
      "CHER.Example>",
      "xn--bcher-kva.example" },
    { "EXT-005 two code points for one",
      "<u@bu\xcc\x88"
      "cher.example>",
      "xn--bcher-kva.example" },
    { "EXT-005 sharp s is a letter, IDNA2008",
      "<u@stra\xc3\x9f"
      "e.example>",
      "xn--strae-oqa.example" },
    { "EXT-005 local-part in UTF-8", "<" UE "@b.example>", "b.example" },
    { "EXT-005 quoted local-part in UTF-8", "<\"" UE " \"@b.example>", "b.example" },
    { "EXT-005 ideographic full stop",
      "<u@b" UE "cher\xe3\x80\x82"
      "example>",
      "xn--bcher-kva.example" },
    { "EXT-005 full width letters", "<u@\xef\xbd\x82.example>", "b.example" },
    { "EXT-005 SMTP-023 U-label in a route", "<@b" UE "cher.example:u@c.example>", "c.example" },
    { "EXT-005 ideographic full stop at the end", "<u@b" UE "cher.example\xe3\x80\x82>", NULL },
    { "EXT-005 trailing dot", "<u@b" UE "cher.example.>", NULL },
    { "EXT-005 empty label", "<u@b" UE "cher..example>", NULL },
    { "EXT-005 no letter", "<u@\xf0\x9f\x92\xa9\xe2\x98\x83.example>", NULL },
    { "EXT-005 full width @",
      "<u@a\xef\xbc\xa0"
      "b.example>",
      NULL },
    { "EXT-005 right-to-left and digits mixed",
      "<u@1\xd7\x90"
      "a.example>",
      NULL },
    { "EXT-005 a blank of another script",
      "<u@a\xc2\xa0"
      "b.example>",
      NULL },
    { "EXT-005 label too long as A-label", "<u@" LOCAL_60 UE UE ".example>", NULL },
    { "EXT-005 in brackets", "<u@[b" UE "cher]>", NULL },
};

static struct bad_case {
    const char *name, *path;
} bad_cases[] = {
    { "SMTP-024 trailing dot", "<u@example.com.>" },
    { "SMTP-024 two trailing dots", "<u@example.com..>" },
    { "SMTP-024 leading dot", "<u@.example.com>" },
    { "SMTP-024 empty label", "<u@example..com>" },
    { "SMTP-024 dot alone", "<u@.>" },
    { "SMTP-024 no domain", "<u@>" },
    { "SMTP-024 label of 64 octets", "<u@" LABEL_63 "4.example>" },
    { "SMTP-024 local-part of 65 octets", "<" LOCAL_64 "5@b.example>" },
    { "SMTP-024 quoted local-part of 65 octets", "<\"" LOCAL_60 "123\"@b.example>" },
    { "SMTP-024 path of 257 octets", "<" LOCAL_64 "@" DOMAIN_189 "0>" },
    { "SMTP-024 E15 path of 257 octets by its route", "<@" DOMAIN_189 ":" LOCAL_60 "@b.c>" },
    { "SMTP-024 blank in the domain", "<u@example .com>" },
    { "SMTP-024 blank before the domain", "<u@ example.com>" },
    { "SMTP-024 colon and port", "<u@example.com:25>" },
    { "SMTP-024 percent sign", "<u@example%2ecom>" },
    { "SMTP-024 slash", "<u@example/com>" },
    { "SMTP-024 comment", "<u@example.com(x)>" },
    { "SMTP-024 no local-part", "<@example.com>" },
    { "SMTP-024 blank around the address", "< u@example.com >" },
    { "SMTP-024 blank alone", "< >" },
    { "SMTP-022 two unquoted @", "<a@evil.example@good.example>" },
    { "SMTP-022 unquoted blank", "<a b@good.example>" },
    { "SMTP-022 unquoted <", "<<a@good.example>" },
    { "SMTP-022 unquoted comma", "<a,b@good.example>" },
    { "SMTP-022 unquoted backslash", "<a\\@b@good.example>" },
    { "SMTP-022 text behind the quotes", "<\"a\"b@good.example>" },
    { "SMTP-022 text before the quotes", "<b\"a\"@good.example>" },
    { "SMTP-022 quotes in the domain", "<a@\"evil.example\">" },
    { "SMTP-022 two quoted strings", "<\"a\".\"b\"@good.example>" },
    { "SMTP-022 a quote in the middle hides >", "<a\"x>y\"@good.example>" },
    { "SMTP-021 full width @ in the local-part", "<u\xef\xbc\xa0"
                                                 "evil.example@b.example>" },
    { "SMTP-021 small @ in quotes", "<\"u\xef\xb9\xab"
                                    "evil.example\"@b.example>" },
    { "SMTP-021 full width > in the local-part", "<u\xef\xbc\x9e"
                                                 "X@b.example>" },
    { "SMTP-021 small > in the local-part", "<u\xef\xb9\xa5@b.example>" },
    { "SMTP-021 full width < in the local-part", "<\xef\xbc\x9cu@b.example>" },
    { "SMTP-021 small < in the local-part", "<\xef\xb9\xa4u@b.example>" },
    { "PRX-027 E15 no domain", "<user>" },
    { "PRX-027 quoted postmaster", "<\"postmaster\">" },
    { "PRX-027 postmaster and @", "<postmaster@>" },
    { "PRX-027 postmaster behind a route", "<@a:postmaster>" },
    { "SMTP-023 empty route", "<:u@c.example>" },
    { "SMTP-023 route without domain", "<@:u@c.example>" },
    { "SMTP-023 route without @", "<@a,b:u@c.example>" },
    { "SMTP-023 empty hop", "<@a,:u@c.example>" },
    { "SMTP-023 blank behind the comma", "<@a, @b:u@c.example>" },
    { "SMTP-023 hop with a trailing dot", "<@a.:u@c.example>" },
    { "SMTP-023 route alone", "<@a:>" },
    { "SMTP-023 two routes", "<@a:@b:u@c.example>" },
    { "SMTP-025 empty literal", "<u@[]>" },
    { "SMTP-025 not closed", "<u@[192.0.2.1>" },
    { "SMTP-025 not opened", "<u@192.0.2.1]>" },
    { "SMTP-025 text behind it", "<u@[192.0.2.1].example>" },
    { "SMTP-025 IPv4 of three parts", "<u@[192.0.2]>" },
    { "SMTP-025 IPv4 of five parts", "<u@[192.0.2.1.5]>" },
    { "SMTP-025 IPv4 with an empty part", "<u@[192..2.1]>" },
    { "SMTP-025 IPv4 with a trailing dot", "<u@[192.0.2.1.]>" },
    { "SMTP-025 IPv4 256", "<u@[192.0.2.256]>" },
    { "SMTP-025 IPv4 of four digits", "<u@[192.0.2.0001]>" },
    { "SMTP-025 IPv4 hexadecimal", "<u@[0xc0.0.2.1]>" },
    { "SMTP-025 a number", "<u@[3221225985]>" },
    { "SMTP-025 a domain in brackets", "<u@[example.com]>" },
    { "SMTP-025 IPv6 without address", "<u@[IPv6:]>" },
    { "SMTP-025 IPv6 with a bad address", "<u@[IPv6:2001:db8::g]>" },
    { "SMTP-025 IPv6 with a zone", "<u@[IPv6:fe80::1%eth0]>" },
    { "SMTP-025 IPv6 tag, IPv4 address", "<u@[IPv6:192.0.2.1]>" },
    { "SMTP-025 IPv6 beyond any length",
      "<u@[IPv6:0000000000000000000000000000000000000000000000001::]>" },
    { "SMTP-025 no tag", "<u@[:x]>" },
    { "SMTP-025 tag ends with a hyphen", "<u@[x-:y]>" },
    { "SMTP-025 tag with an underscore", "<u@[x_y:z]>" },
    { "SMTP-025 tagged, no content", "<u@[x:]>" },
    { "SMTP-025 tagged, blank", "<u@[x:a b]>" },
    { "SMTP-025 tagged, bracket", "<u@[x:a[b]>" },
    { "SMTP-025 tagged, @", "<u@[x:a@evil.example]>" },
};

/* In memory of its own size, and with parameters behind the path. */
static void
parse(const char *path, bool mail, struct smtp_command *out)
{
    static char line[1024];
    int len = snprintf(line, sizeof line, "%s%s X=<v@w>%s", mail ? "MAIL FROM:" : "RCPT TO:", path,
                       mail ? " SMTPUTF8" : "");
    struct smtp_path alone;
    size_t path_len = strlen(path), used;
    char *copy = malloc(path_len);

    assert_non_null(copy);
    memcpy(copy, path, path_len);
    smtp_command_parse(span_make(line, (size_t)len), true, out);
    assert_int_equal(smtp_path_parse(span_make(copy, path_len),
                                     mail ? SMTP_VERB_MAIL : SMTP_VERB_RCPT, &alone, &used),
                     out->error);
    assert_int_equal(used, out->error == REPLY_NONE ? path_len : 0);
    assert_string_equal(alone.domain, out->path.domain);
    free(copy);
}

static void
test_good(void **state)
{
    const struct good_case *c = *state;

    for (int mail = 0; mail <= 1; mail++) {
        struct smtp_command cmd;

        parse(c->path, mail, &cmd);
        assert_int_equal(cmd.error, REPLY_NONE);
        assert_true(span_equal(cmd.path.local, span_of(c->local)));
        assert_true(span_equal(cmd.path.domain_as_written, span_of(c->written)));
        assert_string_equal(cmd.path.domain, c->domain);
        assert_int_equal(cmd.path.literal, c->literal);
        assert_false(cmd.path.null);
        assert_false(cmd.path.postmaster);
        assert_int_equal(cmd.parameter_count, mail ? 2 : 1);
        assert_true(span_equal(cmd.parameters[0].value, span_of("<v@w>")));
    }
}

static void
test_utf8(void **state)
{
    const struct utf8_case *c = *state;

    for (int mail = 0; mail <= 1; mail++) {
        struct smtp_command cmd;

        parse(c->path, mail, &cmd);
        assert_int_equal(cmd.error, c->domain ? REPLY_NONE
                                    : mail    ? REPLY_BAD_IDN_SENDER
                                              : REPLY_BAD_IDN_RECIPIENT);
        assert_string_equal(cmd.path.domain, c->domain ? c->domain : "");
    }
}

static void
test_bad(void **state)
{
    const struct bad_case *c = *state;

    for (int mail = 0; mail <= 1; mail++) {
        struct smtp_command cmd;

        parse(c->path, mail, &cmd);
        assert_int_equal(cmd.error, mail ? REPLY_BAD_SENDER : REPLY_BAD_RECIPIENT);
        assert_string_equal(cmd.path.domain, "");
        assert_int_equal(cmd.path.local.len, 0);
    }
}

static void
test_null(void **state)
{
    struct smtp_command cmd;

    (void)state;
    parse("<>", true, &cmd); /* SMTP-028 */
    assert_int_equal(cmd.error, REPLY_NONE);
    assert_true(cmd.path.null);
    assert_string_equal(cmd.path.domain, "");
    parse("<>", false, &cmd);
    assert_int_equal(cmd.error, REPLY_BAD_RECIPIENT);
}

static void
test_postmaster(void **state)
{
    static const char *const forms[] = { "<postmaster>", "<Postmaster>", "<POSTMASTER>" };

    (void)state;
    for (size_t i = 0; i < ROWS(forms); i++) {
        struct smtp_command cmd;

        parse(forms[i], false, &cmd); /* PRX-027 */
        assert_int_equal(cmd.error, REPLY_NONE);
        assert_true(cmd.path.postmaster);
        assert_string_equal(cmd.path.domain, "");
        assert_int_equal(cmd.path.domain_as_written.len, 0);
        assert_int_equal(cmd.path.local.len, strlen("postmaster"));
        parse(forms[i], true, &cmd);
        assert_int_equal(cmd.error, REPLY_BAD_SENDER);
    }
}

/* SMTP-024: a path that is cut anywhere has no closing bracket, so it is no path. */
static void
test_cut(void **state)
{
    static const char whole[] = "<@a,@b:\"x\\\">@\"@c.example>";

    (void)state;
    for (size_t len = 0; len < sizeof whole - 1; len++) {
        char *copy = malloc(len ? len : 1);
        struct smtp_path path;
        size_t used;

        assert_non_null(copy);
        memcpy(copy, whole, len);
        assert_int_equal(smtp_path_parse(span_make(copy, len), SMTP_VERB_RCPT, &path, &used),
                         REPLY_BAD_PARAMETERS);
        assert_int_equal(used, 0);
        free(copy);
    }
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_postmaster),
        cmocka_unit_test(test_cut),
    };
    struct CMUnitTest
        tests[ROWS(good_cases) + ROWS(utf8_cases) + ROWS(bad_cases) + ROWS(others)] = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < ROWS(good_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = good_cases[i].name,
                                          .test_func = test_good,
                                          .initial_state = &good_cases[i] };
    for (size_t i = 0; i < ROWS(utf8_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = utf8_cases[i].name,
                                          .test_func = test_utf8,
                                          .initial_state = &utf8_cases[i] };
    for (size_t i = 0; i < ROWS(bad_cases); i++)
        tests[n++] = (struct CMUnitTest){ .name = bad_cases[i].name,
                                          .test_func = test_bad,
                                          .initial_state = &bad_cases[i] };
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests_name("smtp_path", tests, NULL, NULL);
}
