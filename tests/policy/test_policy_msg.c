/* tests/policy/test_policy_msg.c: what workers and the policy process say to each other, and all
 * that is not that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "policy/policy_msg.h"

static struct policy_request
request(void)
{
    struct policy_request r = {
        .id = 0x1122334455667788, .port = 2525, .recheck = true, .report_to = true
    };

    snprintf(r.domain, sizeof r.domain, "a.example");
    assert_int_equal(ip_addr_parse("192.0.2.1", &r.destination), RES_OK);
    assert_int_equal(ip_addr_parse("2001:db8::1", &r.client), RES_OK);
    return r;
}

static void
test_request(void **state)
{
    struct policy_request r = request(), got;
    struct buffer b;

    (void)state;
    buffer_init(&b, 4096);
    assert_int_equal(policy_request_encode(&r, &b), RES_OK);
    assert_int_equal(policy_msg_type(buffer_span(&b)), POLICY_MSG_REQUEST);
    assert_int_equal(policy_request_decode(buffer_span(&b), &got), RES_OK);
    assert_true(got.id == r.id && got.recheck && got.report_to && got.port == r.port);
    assert_string_equal(got.domain, "a.example");
    assert_true(ip_addr_equal(&got.destination, &r.destination));
    assert_true(ip_addr_equal(&got.client, &r.client));
    buffer_clear(&b);
}

static void
test_list(void **state)
{
    static const struct {
        const char *list;
        enum result want;
    } rows[] = {
        { "250-mx.example\r\n250 SIZE\r\n", RES_OK },
        { "250 mx.example\r\n", RES_OK },
        { "", RES_SYNTAX },
        { "250 mx.example", RES_SYNTAX },
        { "250 mx.example\n", RES_SYNTAX },
        { "250 a\rb\r\n", RES_SYNTAX },
        { "250 \033[2J\r\n", RES_SYNTAX },
        { "250 m\xc3\xbc\r\n", RES_SYNTAX },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct policy_list list = { .port = 25, .proven = true }, got;
        struct buffer b;

        list.list = span_of(rows[i].list);
        assert_int_equal(ip_addr_parse("192.0.2.1", &list.destination), RES_OK);
        buffer_init(&b, 4096);
        assert_int_equal(policy_list_encode(&list, &b), RES_OK);
        assert_int_equal(policy_msg_type(buffer_span(&b)), POLICY_MSG_LIST);
        assert_int_equal(policy_list_decode(buffer_span(&b), &got), rows[i].want);
        if (rows[i].want == RES_OK)
            assert_true(got.proven && got.port == 25 && span_equal(got.list, list.list));
        buffer_clear(&b);
    }
}

static void
test_forget(void **state)
{
    static const char *const domains[] = { "a.example", "" };
    char got[HOSTNAME_MAX + 1];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct buffer b;

        buffer_init(&b, 4096);
        assert_int_equal(policy_forget_encode(domains[i], &b), RES_OK);
        assert_int_equal(policy_msg_type(buffer_span(&b)), POLICY_MSG_FORGET);
        assert_int_equal(policy_forget_decode(buffer_span(&b), got), RES_OK);
        assert_string_equal(got, domains[i]);
        buffer_clear(&b);
    }
}

static void
test_answer(void **state)
{
    struct requirement *req = requirement_new(), *got;
    struct buffer b;
    uint64_t id;

    (void)state;
    assert_non_null(req);
    snprintf(req->domain, sizeof req->domain, "a.example");
    buffer_init(&b, 65536);
    assert_int_equal(policy_answer_encode(7, req, &b), RES_OK);
    assert_int_equal(policy_msg_type(buffer_span(&b)), POLICY_MSG_ANSWER);
    assert_int_equal(policy_answer_decode(buffer_span(&b), &id, &got), RES_OK);
    assert_int_equal(id, 7);
    assert_string_equal(got->domain, "a.example");
    requirement_unref(got);
    buffer_clear(&b);
    assert_int_equal(policy_answer_encode(8, NULL, &b), RES_OK);
    assert_int_equal(policy_answer_decode(buffer_span(&b), &id, &got), RES_OK);
    assert_int_equal(id, 8);
    assert_null(got);
    buffer_clear(&b);
    requirement_unref(req);
}

/* Any reader of any message: a result, never a guess, and within its ranges. */
static void
read_any(struct span message)
{
    struct requirement *req = NULL;
    char domain[HOSTNAME_MAX + 1];
    struct policy_request r;
    uint64_t id;

    (void)policy_msg_type(message);
    if (policy_request_decode(message, &r) == RES_OK)
        assert_true(r.domain[0] && r.port && (r.destination.len == 4 || r.destination.len == 16));
    if (policy_answer_decode(message, &id, &req) != RES_OK)
        assert_null(req);
    requirement_unref(req);
    if (policy_forget_decode(message, domain) == RES_OK)
        assert_true(strlen(domain) <= HOSTNAME_MAX);
}

/* Cut anywhere, any octet another one. */
static void
test_damaged(void **state)
{
    struct policy_request r = request(), got;
    struct buffer b;
    size_t len;
    char *copy;

    (void)state;
    buffer_init(&b, 4096);
    assert_int_equal(policy_request_encode(&r, &b), RES_OK);
    len = buffer_len(&b);
    for (size_t cut = 0; cut < len; cut++) {
        copy = malloc(cut + 1);
        assert_non_null(copy);
        memcpy(copy, buffer_span(&b).ptr, cut);
        assert_int_not_equal(policy_request_decode(span_make(copy, cut), &got), RES_OK);
        read_any(span_make(copy, cut));
        free(copy);
    }
    copy = malloc(len);
    assert_non_null(copy);
    for (size_t at = 0; at < len; at++)
        for (unsigned octet = 0; octet < 256; octet++) {
            memcpy(copy, buffer_span(&b).ptr, len);
            copy[at] = (char)octet;
            read_any(span_make(copy, len));
        }
    free(copy);
    buffer_clear(&b);
}

/* The fuzzer begins with messages of today's format. */
static void
test_corpus(void **state)
{
    struct policy_request got;
    char seed[4096];
    FILE *file = fopen(TESTS_DIR "/corpus/policy_msg/request", "rb");
    size_t len;

    (void)state;
    assert_non_null(file);
    len = fread(seed, 1, sizeof seed, file);
    (void)fclose(file);
    assert_int_equal(policy_request_decode(span_make(seed, len), &got), RES_OK);
    assert_string_equal(got.domain, "a.example");
}

/* Names that are not normalised come from nobody of ours. Address literals have none (PRX-026). */
static void
test_names(void **state)
{
    static const char *const names[] = { "A.example", "a.example.", "a..example", "-", "" };
    struct policy_request r = request(), got;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct buffer b;
        bool is_fine = strcmp(names[i], "-") == 0 || names[i][0] == '\0';

        buffer_init(&b, 4096);
        snprintf(r.domain, sizeof r.domain, "%s", names[i]);
        assert_int_equal(policy_request_encode(&r, &b), RES_OK);
        assert_int_equal(policy_request_decode(buffer_span(&b), &got) == RES_OK, is_fine);
        buffer_clear(&b);
    }
}

/* DANE-018: without a port there is nothing to ask for. */
static void
test_no_port(void **state)
{
    struct policy_request r = request(), got;
    struct buffer b;

    (void)state;
    r.port = 0;
    buffer_init(&b, 4096);
    assert_int_equal(policy_request_encode(&r, &b), RES_OK);
    assert_int_equal(policy_request_decode(buffer_span(&b), &got), RES_SYNTAX);
    buffer_clear(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request), cmocka_unit_test(test_forget),
        cmocka_unit_test(test_list),    cmocka_unit_test(test_answer),
        cmocka_unit_test(test_damaged), cmocka_unit_test(test_names),
        cmocka_unit_test(test_corpus),  cmocka_unit_test(test_no_port),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
