/* tests/base/test_requirement_msg.c: a requirement survives the way to the worker, and a policy
 * process that was taken over can send nothing but a requirement. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/requirement_msg.h"
#include "tests/alloc_fail.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))

static void
add(struct name_list *list, const char *name)
{
    assert_int_equal(name_list_add(list, span_of(name)), RES_OK);
}

static void
add_record(struct dane_host *host, unsigned usage, unsigned matching, const char *data)
{
    assert_int_equal(dane_host_add(host, (uint8_t)usage, 1, (uint8_t)matching, span_of(data)),
                     RES_OK);
}

static void
add_host(struct requirement *req, const char *mx, const char *base)
{
    size_t at = req->dane.host_count;
    struct dane_host *more = realloc(req->dane.hosts, (at + 1) * sizeof *more);

    assert_non_null(more);
    memset(&more[at], 0, sizeof more[at]);
    req->dane.hosts = more;
    req->dane.host_count++;
    snprintf(more[at].mx, sizeof more[at].mx, "%s", mx);
    snprintf(more[at].base, sizeof more[at].base, "%s", base);
    add(&more[at].references, base);
    add_record(&more[at], 3, 1, "01234567890123456789012345678901");
}

static void
clear_hosts(struct requirement *req)
{
    for (size_t i = 0; i < req->dane.host_count; i++)
        dane_host_clear(&req->dane.hosts[i]);
    free(req->dane.hosts);
    req->dane.hosts = NULL;
    req->dane.host_count = 0;
}

static struct requirement *
good(void)
{
    struct requirement *req = requirement_new();

    assert_non_null(req);
    snprintf(req->domain, sizeof req->domain, "%s", "example.com");
    req->matched = MX_MATCH_ADDRESS;
    add(&req->names, "mx1.example.com");
    add(&req->names, "mx2.example.net");
    req->mx_lookup_failed = true;
    req->sts.mode = STS_MODE_ENFORCE;
    snprintf(req->sts.id, sizeof req->sts.id, "%s", "20160831085700Z");
    add(&req->sts.mx, "MX1.example.com.");
    add(&req->sts.mx, "*.example.net");
    memset(req->sts.text_sha256, 0xab, sizeof req->sts.text_sha256);
    req->sts.fetched_at_s = 1700000000;
    req->sts.expires_at_s = 1700604800;
    snprintf(req->sts.discovery, sizeof req->sts.discovery, "%s", "http-404");
    req->dane.state = DANE_SECURE;
    req->dane.suffices = req->dane.mx_secure = true;
    add_host(req, "mx1.example.com", "mail.example.net");
    add(&req->dane.hosts[0].references, "example.com");
    add_record(&req->dane.hosts[0], 255, 255, "");
    add_host(req, "mx2.example.net", "mx2.example.net");
    req->monitored = req->defer = req->null_mx = true;
    req->local.action = RULE_VERIFY;
    snprintf(req->local.id, sizeof req->local.id, "%s", "pin \"1\"");
    add(&req->local.mx, "*.example.org");
    req->local.trust = 7;
    req->tls_floor = TLS_VERSION_1_2;
    add(&req->report_to, "tlsrpt@example.com");
    add(&req->report_to, "\"a b\"@reports.example.net");
    req->ttl_s = 300;
    return req;
}

static void
encode(const struct requirement *req, struct buffer *out, enum result want)
{
    struct pack_writer w;

    buffer_init(out, 4 * REQUIREMENT_MSG_MAX_BYTES);
    pack_begin(&w, out);
    requirement_encode(req, &w);
    assert_int_equal(pack_end(&w), want);
}

static enum result
decode(struct span bytes, struct requirement **out)
{
    struct pack_reader r;
    enum result res;

    pack_reader_init(&r, bytes);
    res = requirement_decode(&r, out);
    assert_int_equal(*out != NULL, res == RES_OK);
    if (res != RES_OK)
        assert_int_equal(pack_reader_end(&r), res);
    return res;
}

static void
assert_same(const struct name_list *a, const struct name_list *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++)
        assert_string_equal(a->names[i], b->names[i]);
}

static void
assert_same_hosts(const struct requirement *a, const struct requirement *b)
{
    assert_int_equal(a->dane.host_count, b->dane.host_count);
    for (size_t i = 0; i < a->dane.host_count; i++) {
        const struct dane_host *x = &a->dane.hosts[i], *y = &b->dane.hosts[i];

        assert_string_equal(x->mx, y->mx);
        assert_string_equal(x->base, y->base);
        assert_same(&x->references, &y->references);
        assert_int_equal(x->count, y->count);
        for (size_t k = 0; k < x->count; k++)
            assert_int_equal(tlsa_record_compare(&x->records[k], &y->records[k]), 0);
    }
}

static void
assert_same_requirement(const struct requirement *a, const struct requirement *b)
{
    assert_string_equal(a->domain, b->domain);
    assert_int_equal(a->matched, b->matched);
    assert_same(&a->names, &b->names);
    assert_int_equal(a->mx_lookup_failed, b->mx_lookup_failed);
    assert_int_equal(a->sts.mode, b->sts.mode);
    assert_string_equal(a->sts.id, b->sts.id);
    assert_same(&a->sts.mx, &b->sts.mx);
    assert_memory_equal(a->sts.text_sha256, b->sts.text_sha256, sizeof a->sts.text_sha256);
    assert_true(a->sts.fetched_at_s == b->sts.fetched_at_s);
    assert_true(a->sts.expires_at_s == b->sts.expires_at_s);
    assert_string_equal(a->sts.discovery, b->sts.discovery);
    assert_int_equal(a->dane.state, b->dane.state);
    assert_int_equal(a->dane.required, b->dane.required);
    assert_int_equal(a->dane.suffices, b->dane.suffices);
    assert_int_equal(a->dane.mx_secure, b->dane.mx_secure);
    assert_int_equal(a->dane.dnssec, b->dane.dnssec);
    assert_string_equal(a->dane.reason, b->dane.reason);
    assert_same_hosts(a, b);
    assert_int_equal(a->monitored, b->monitored);
    assert_int_equal(a->defer, b->defer);
    assert_int_equal(a->null_mx, b->null_mx);
    assert_int_equal(a->local.action, b->local.action);
    assert_string_equal(a->local.id, b->local.id);
    assert_same(&a->local.mx, &b->local.mx);
    assert_int_equal(a->local.trust, b->local.trust);
    assert_int_equal(a->tls_floor, b->tls_floor);
    assert_same(&a->report_to, &b->report_to);
    assert_int_equal(a->ttl_s, b->ttl_s);
}

/* ---- rows: a good requirement, changed in one place ---- */

static void
no_change(struct requirement *req)
{
    (void)req;
}

static void
no_policy(struct requirement *req)
{
    name_list_clear(&req->sts.mx);
    memset(&req->sts, 0, sizeof req->sts);
}

static void
no_dane(struct requirement *req)
{
    clear_hosts(req);
    memset(&req->dane, 0, sizeof req->dane);
}

static void
only_defaults(struct requirement *req)
{
    no_policy(req);
    no_dane(req);
    name_list_clear(&req->names);
    name_list_clear(&req->local.mx);
    memset(&req->local, 0, sizeof req->local);
    req->monitored = req->defer = req->null_mx = req->mx_lookup_failed = false;
    req->domain[0] = '\0';
    req->matched = MX_MATCH_CERTIFICATE;
    req->tls_floor = TLS_VERSION_1_0;
    name_list_clear(&req->report_to);
    req->ttl_s = 0;
}

static void
mode_none_without_mx(struct requirement *req)
{
    req->sts.mode = STS_MODE_NONE;
    name_list_clear(&req->sts.mx);
}

static void
max_age_zero(struct requirement *req)
{
    req->sts.expires_at_s = req->sts.fetched_at_s;
}

static void
domain_upper_case(struct requirement *req)
{
    req->domain[0] = 'E';
}

static void
domain_with_dot(struct requirement *req)
{
    snprintf(req->domain, sizeof req->domain, "%s", "example.com.");
}

static void
domain_with_blank(struct requirement *req)
{
    req->domain[3] = ' ';
}

static void
domain_not_ascii(struct requirement *req)
{
    snprintf(req->domain, sizeof req->domain, "%s", "b\303\274cher.example");
}

static void
matched_unknown(struct requirement *req)
{
    req->matched = (enum mx_match)(MX_MATCH_TABLE + 1);
}

static void
name_empty(struct requirement *req)
{
    add(&req->names, "");
}

static void
name_wildcard(struct requirement *req)
{
    add(&req->names, "*.example.com");
}

static void
name_upper_case(struct requirement *req)
{
    add(&req->names, "MX3.example.com");
}

static void
name_too_long(struct requirement *req)
{
    char name[HOSTNAME_MAX + 2];

    for (size_t i = 0; i < sizeof name - 1; i++)
        name[i] = i % 2 ? '.' : 'a';
    name[sizeof name - 2] = 'b';
    name[sizeof name - 1] = '\0';
    add(&req->names, name);
}

static void
names_full(struct requirement *req)
{
    for (size_t i = req->names.count; i < REQUIREMENT_MSG_NAMES_MAX; i++)
        add(&req->names, "a");
}

static void
names_one_more(struct requirement *req)
{
    for (size_t i = req->names.count; i < REQUIREMENT_MSG_NAMES_MAX + 1; i++)
        add(&req->names, "a");
}

static void
names_too_long(struct requirement *req)
{
    for (size_t i = 0; i < 4000; i++)
        add(&req->sts.mx, "a-rather-long-name.example.com");
}

static void
mode_unknown(struct requirement *req)
{
    req->sts.mode = (enum sts_mode)(STS_MODE_ENFORCE + 1);
}

static void
id_with_blank(struct requirement *req)
{
    req->sts.id[2] = ' ';
}

static void
pattern_star_alone(struct requirement *req)
{
    add(&req->sts.mx, "*");
}

static void
pattern_star_inside(struct requirement *req)
{
    add(&req->sts.mx, "mx.*.example.com");
}

static void
pattern_star_dot(struct requirement *req)
{
    add(&req->sts.mx, "*.");
}

static void
pattern_two_dots(struct requirement *req)
{
    add(&req->sts.mx, "mx.example.com..");
}

static void
enforce_without_mx(struct requirement *req)
{
    name_list_clear(&req->sts.mx);
}

static void
enforce_without_fetch(struct requirement *req)
{
    req->sts.fetched_at_s = 0;
}

static void
mx_without_fetch(struct requirement *req)
{
    req->sts.mode = STS_MODE_NONE;
    req->sts.fetched_at_s = 0;
}

static void
fetched_before_1970(struct requirement *req)
{
    req->sts.fetched_at_s = -1;
}

static void
expires_before_fetched(struct requirement *req)
{
    req->sts.expires_at_s = req->sts.fetched_at_s - 1;
}

static void
expires_in_year_10000(struct requirement *req)
{
    req->sts.expires_at_s = INT64_C(253402300800);
}

static void
discovery_with_escape(struct requirement *req)
{
    req->sts.discovery[0] = '\033';
}

static void
discovery_with_newline(struct requirement *req)
{
    req->sts.discovery[0] = '\n';
}

static void
discovery_not_ascii(struct requirement *req)
{
    snprintf(req->sts.discovery, sizeof req->sts.discovery, "%s", "\303\274");
}

static void
dane_failed(struct requirement *req)
{
    no_dane(req);
    req->dane.state = DANE_FAILED;
    req->dane.dnssec = true;
    snprintf(req->dane.reason, sizeof req->dane.reason, "%s", "tlsa servfail");
}

static void
dane_failed_for_no_reason(struct requirement *req)
{
    dane_failed(req);
    req->dane.reason[0] = '\0';
}

static void
dane_failed_with_hosts(struct requirement *req)
{
    dane_failed(req);
    add_host(req, "mx1.example.com", "mx1.example.com");
}

static void
dane_reason_with_escape(struct requirement *req)
{
    dane_failed(req);
    req->dane.reason[4] = '\033';
}

static void
dane_state_unknown(struct requirement *req)
{
    req->dane.state = (enum dane_state)(DANE_FAILED + 1);
}

static void
dane_none_with_hosts(struct requirement *req)
{
    req->dane.state = DANE_NONE;
}

static void
dane_secure_without_hosts(struct requirement *req)
{
    clear_hosts(req);
}

static void
dane_secure_with_a_reason(struct requirement *req)
{
    req->dane.reason[0] = 'x';
}

static void
dane_secure_and_dnssec_failed(struct requirement *req)
{
    req->dane.dnssec = true;
}

static void
dane_required(struct requirement *req)
{
    req->dane.required = true;
    name_list_clear(&req->local.mx);
    req->local.trust = 0;
    req->local.action = RULE_DANE;
}

static void
dane_required_by_nobody(struct requirement *req)
{
    req->dane.required = true;
}

static void
dane_not_required_by_the_rule(struct requirement *req)
{
    dane_required(req);
    req->dane.required = false;
}

static void
host_without_records(struct requirement *req)
{
    struct dane_host *host = &req->dane.hosts[1];

    free(host->records[--host->count].data);
}

static void
host_without_references(struct requirement *req)
{
    name_list_clear(&req->dane.hosts[1].references);
}

static void
host_with_another_first_reference(struct requirement *req)
{
    req->dane.hosts[1].base[0] = 'n';
}

static void
host_with_9_references(struct requirement *req)
{
    while (req->dane.hosts[0].references.count <= DANE_REFERENCES_MAX)
        add(&req->dane.hosts[0].references, "example.com");
}

static void
host_in_upper_case(struct requirement *req)
{
    req->dane.hosts[0].mx[0] = 'M';
}

static void
host_without_name(struct requirement *req)
{
    req->dane.hosts[0].mx[0] = '\0';
}

static void
reference_with_a_star(struct requirement *req)
{
    add(&req->dane.hosts[0].references, "*.example.com");
}

static void
hosts_17(struct requirement *req)
{
    while (req->dane.host_count <= DANE_HOSTS_MAX)
        add_host(req, "mx.example", "mx.example");
}

static void
records_out_of_order(struct requirement *req)
{
    add_record(&req->dane.hosts[0], 2, 1, "01234567890123456789012345678901");
}

static void
record_twice(struct requirement *req)
{
    add_record(&req->dane.hosts[1], 3, 1, "01234567890123456789012345678901");
}

static void
record_of_4096_octets(struct requirement *req)
{
    char data[TLSA_DATA_MAX];

    memset(data, 'x', sizeof data);
    assert_int_equal(dane_host_add(&req->dane.hosts[1], 3, 1, 2, span_make(data, sizeof data)),
                     RES_OK);
}

static void
record_too_long(struct requirement *req)
{
    struct tlsa_record *record = &req->dane.hosts[1].records[0];

    record->data = realloc(record->data, TLSA_DATA_MAX + 1);
    assert_non_null(record->data);
    memset(record->data, 'x', TLSA_DATA_MAX + 1);
    record->len = TLSA_DATA_MAX + 1;
}

static void
only_monitored(struct requirement *req)
{
    only_defaults(req);
    req->monitored = true;
}

static void
only_deferred(struct requirement *req)
{
    only_defaults(req);
    req->defer = true;
}

static void
only_null_mx(struct requirement *req)
{
    only_defaults(req);
    req->null_mx = true;
}

static void
action_unknown(struct requirement *req)
{
    req->local.action = (enum rule_action)(RULE_NO_DANE + 1);
}

static void
bypass_with_patterns(struct requirement *req)
{
    req->local.action = RULE_BYPASS;
    req->local.trust = 0;
}

static void
require_with_roots(struct requirement *req)
{
    req->local.action = RULE_REQUIRE;
    name_list_clear(&req->local.mx);
}

static void
override_with_newline(struct requirement *req)
{
    req->local.id[0] = '\n';
}

static void
override_pattern_star(struct requirement *req)
{
    add(&req->local.mx, "*");
}

static void
floor_ssl3(struct requirement *req)
{
    req->tls_floor = 0x0300;
}

static void
floor_tls14(struct requirement *req)
{
    req->tls_floor = 0x0305;
}

static void
ttl_beyond_an_hour(struct requirement *req)
{
    req->ttl_s = 3601;
}

static void
report_to_full(struct requirement *req)
{
    while (req->report_to.count < REQUIREMENT_MSG_REPORT_TO_MAX)
        add(&req->report_to, "tlsrpt@example.com");
}

static void
report_to_one_more(struct requirement *req)
{
    report_to_full(req);
    add(&req->report_to, "tlsrpt@example.com");
}

static void
report_to_no_address(struct requirement *req)
{
    add(&req->report_to, "example.com");
}

static void
report_to_nobody(struct requirement *req)
{
    add(&req->report_to, "@example.com");
}

static void
report_to_nowhere(struct requirement *req)
{
    add(&req->report_to, "tlsrpt@");
}

static void
report_to_with_esc(struct requirement *req)
{
    add(&req->report_to, "a\033@example.com");
}

static struct change_case {
    const char *name;
    void (*change)(struct requirement *req);
    enum result want_encode, want;
} changes[] = {
    { "a full requirement", no_change, RES_OK, RES_OK },
    { "no policy", no_policy, RES_OK, RES_OK },
    { "a literal: nothing but defaults", only_defaults, RES_OK, RES_OK },
    { "mode none without mx", mode_none_without_mx, RES_OK, RES_OK },
    { "max_age 0", max_age_zero, RES_OK, RES_OK },
    { "as many names as fit", names_full, RES_OK, RES_OK },
    { "one name more", names_one_more, RES_LIMIT, RES_OK },
    { "more octets than a message holds", names_too_long, RES_LIMIT, RES_OK },
    { "domain in upper case", domain_upper_case, RES_OK, RES_SYNTAX },
    { "domain with trailing dot", domain_with_dot, RES_OK, RES_SYNTAX },
    { "domain with a blank", domain_with_blank, RES_OK, RES_SYNTAX },
    { "domain not in A-labels", domain_not_ascii, RES_OK, RES_SYNTAX },
    { "unknown way of matching", matched_unknown, RES_OK, RES_LIMIT },
    { "empty name", name_empty, RES_OK, RES_SYNTAX },
    { "wildcard as name", name_wildcard, RES_OK, RES_SYNTAX },
    { "name in upper case", name_upper_case, RES_OK, RES_SYNTAX },
    { "name of 254 octets", name_too_long, RES_OK, RES_SYNTAX },
    { "unknown mode", mode_unknown, RES_OK, RES_LIMIT },
    { "id with a blank", id_with_blank, RES_OK, RES_SYNTAX },
    { "pattern of a star", pattern_star_alone, RES_OK, RES_SYNTAX },
    { "pattern with a star inside", pattern_star_inside, RES_OK, RES_SYNTAX },
    { "pattern of a star and a dot", pattern_star_dot, RES_OK, RES_SYNTAX },
    { "pattern with two dots at the end", pattern_two_dots, RES_OK, RES_SYNTAX },
    { "enforce without mx", enforce_without_mx, RES_OK, RES_SYNTAX },
    { "enforce of a policy never fetched", enforce_without_fetch, RES_OK, RES_SYNTAX },
    { "patterns of a policy never fetched", mx_without_fetch, RES_OK, RES_SYNTAX },
    { "fetched before 1970", fetched_before_1970, RES_OK, RES_LIMIT },
    { "expires before it was fetched", expires_before_fetched, RES_OK, RES_SYNTAX },
    { "expires in the year 10000", expires_in_year_10000, RES_OK, RES_LIMIT },
    { "discovery with ESC", discovery_with_escape, RES_OK, RES_SYNTAX },
    { "discovery with a line feed", discovery_with_newline, RES_OK, RES_SYNTAX },
    { "discovery not in ASCII", discovery_not_ascii, RES_OK, RES_SYNTAX },
    { "no DANE", no_dane, RES_OK, RES_OK },
    { "DANE failed", dane_failed, RES_OK, RES_OK },
    { "DANE failed for no reason", dane_failed_for_no_reason, RES_OK, RES_SYNTAX },
    { "DANE failed with hosts", dane_failed_with_hosts, RES_OK, RES_SYNTAX },
    { "reason of DANE with ESC", dane_reason_with_escape, RES_OK, RES_SYNTAX },
    { "unknown state of DANE", dane_state_unknown, RES_OK, RES_LIMIT },
    { "no DANE with hosts", dane_none_with_hosts, RES_OK, RES_SYNTAX },
    { "DANE secure without hosts", dane_secure_without_hosts, RES_OK, RES_SYNTAX },
    { "DANE secure with a reason", dane_secure_with_a_reason, RES_OK, RES_SYNTAX },
    { "DANE secure and failed by DNSSEC", dane_secure_and_dnssec_failed, RES_OK, RES_SYNTAX },
    { "DANE required by an override", dane_required, RES_OK, RES_OK },
    { "DANE required by nobody", dane_required_by_nobody, RES_OK, RES_SYNTAX },
    { "DANE not required by the override", dane_not_required_by_the_rule, RES_OK, RES_SYNTAX },
    { "host without records", host_without_records, RES_OK, RES_SYNTAX },
    { "host without references", host_without_references, RES_OK, RES_SYNTAX },
    { "host with another first reference", host_with_another_first_reference, RES_OK, RES_SYNTAX },
    { "host with 9 references", host_with_9_references, RES_OK, RES_LIMIT },
    { "host in upper case", host_in_upper_case, RES_OK, RES_SYNTAX },
    { "host without name", host_without_name, RES_OK, RES_SYNTAX },
    { "reference with a star", reference_with_a_star, RES_OK, RES_SYNTAX },
    { "17 hosts", hosts_17, RES_OK, RES_LIMIT },
    { "records out of order", records_out_of_order, RES_OK, RES_SYNTAX },
    { "a record twice", record_twice, RES_OK, RES_SYNTAX },
    { "a record of 4096 octets", record_of_4096_octets, RES_OK, RES_OK },
    { "a record of 4097 octets", record_too_long, RES_OK, RES_LIMIT },
    { "monitored alone", only_monitored, RES_OK, RES_OK },
    { "deferred alone", only_deferred, RES_OK, RES_OK },
    { "null MX alone", only_null_mx, RES_OK, RES_OK },
    { "unknown override", action_unknown, RES_OK, RES_LIMIT },
    { "bypass with patterns", bypass_with_patterns, RES_OK, RES_SYNTAX },
    { "require with roots of its own", require_with_roots, RES_OK, RES_SYNTAX },
    { "title of an override with a line feed", override_with_newline, RES_OK, RES_SYNTAX },
    { "override's pattern of a star", override_pattern_star, RES_OK, RES_SYNTAX },
    { "floor SSL 3.0", floor_ssl3, RES_OK, RES_SYNTAX },
    { "floor beyond TLS 1.3", floor_tls14, RES_OK, RES_LIMIT },
    { "RPT-080: 8 addresses for reports", report_to_full, RES_OK, RES_OK },
    { "RPT-080: 9 addresses for reports", report_to_one_more, RES_OK, RES_LIMIT },
    { "RPT-080: a name for reports", report_to_no_address, RES_OK, RES_SYNTAX },
    { "RPT-080: an address without a local part", report_to_nobody, RES_OK, RES_SYNTAX },
    { "RPT-080: an address without a domain", report_to_nowhere, RES_OK, RES_SYNTAX },
    { "RPT-080: an address with ESC", report_to_with_esc, RES_OK, RES_SYNTAX },
    { "ttl beyond an hour", ttl_beyond_an_hour, RES_OK, RES_LIMIT },
};

static void
test_change(void **state)
{
    const struct change_case *c = *state;
    struct requirement *req = good(), *again;
    struct buffer message;

    c->change(req);
    encode(req, &message, c->want_encode);
    if (c->want_encode == RES_OK) {
        assert_int_equal(decode(buffer_span(&message), &again), c->want);
        if (again)
            assert_same_requirement(req, again);
        requirement_unref(again);
    } else {
        assert_int_equal(buffer_len(&message), 0);
    }
    buffer_clear(&message);
    requirement_unref(req);
}

/* ---- whole messages ---- */

static void
test_prefixes(void **state)
{
    struct requirement *req = good(), *none;
    struct buffer message;

    (void)state;
    encode(req, &message, RES_OK);
    for (size_t cut = 0; cut < buffer_len(&message); cut++) {
        char *exact = malloc(cut ? cut : 1);

        assert_non_null(exact);
        memcpy(exact, buffer_span(&message).ptr, cut);
        assert_int_equal(decode(span_make(exact, cut), &none), RES_SYNTAX);
        free(exact);
    }
    buffer_clear(&message);
    requirement_unref(req);
}

/* Every byte with every other value: an error, or a requirement that encodes again. */
static void
test_flipped_bytes(void **state)
{
    struct requirement *req = good(), *again;
    struct buffer message, other;

    (void)state;
    encode(req, &message, RES_OK);
    for (size_t at = 0; at < buffer_len(&message); at++) {
        for (unsigned value = 0; value < 256; value++) {
            size_t len = buffer_len(&message);
            char *exact = malloc(len);

            assert_non_null(exact);
            memcpy(exact, buffer_span(&message).ptr, len);
            exact[at] = (char)value;
            if (decode(span_make(exact, len), &again) == RES_OK) {
                encode(again, &other, RES_OK);
                buffer_clear(&other);
            }
            requirement_unref(again);
            free(exact);
        }
    }
    buffer_clear(&message);
    requirement_unref(req);
}

/* Within a message of another type: it leaves the reader behind itself. */
static void
test_embedded(void **state)
{
    struct requirement *req = good(), *again;
    struct pack_writer w;
    struct pack_reader r;
    struct buffer message;

    (void)state;
    buffer_init(&message, REQUIREMENT_MSG_MAX_BYTES);
    pack_begin(&w, &message);
    pack_array(&w, 2);
    requirement_encode(req, &w);
    pack_uint(&w, 42);
    assert_int_equal(pack_end(&w), RES_OK);
    pack_reader_init(&r, buffer_span(&message));
    pack_read_tuple(&r, 2);
    assert_int_equal(requirement_decode(&r, &again), RES_OK);
    assert_int_equal(pack_read_uint(&r, 42), 42);
    assert_int_equal(pack_reader_end(&r), RES_OK);
    requirement_unref(again);
    assert_int_equal(requirement_decode(&r, &again), RES_SYNTAX);
    assert_int_equal(requirement_decode(&r, &again), RES_SYNTAX); /* failed for good */
    assert_null(again);
    buffer_clear(&message);
    requirement_unref(req);
}

/* The fuzzers begin with messages of today's format. */
static void
test_corpus(void **state)
{
    struct requirement *req = good();
    struct buffer message;
    char seed[4096];
    FILE *file = fopen(TESTS_DIR "/corpus/requirement_msg/a-full-requirement", "rb");
    size_t len;

    (void)state;
    assert_non_null(file);
    len = fread(seed, 1, sizeof seed, file);
    (void)fclose(file);
    encode(req, &message, RES_OK);
    assert_true(span_equal(span_make(seed, len), buffer_span(&message)));
    buffer_clear(&message);
    requirement_unref(req);
}

/* Values of a type that the encoder never writes. */
static struct raw_case {
    const char *name;
    const char *bytes;
    size_t len;
    bool good;
} raws[] = {
/* Of the smallest requirement: up to the names, from there to the hash, and after it. */
#define TO_NAMES "\xdc\0\x17\3\xa0\0"
#define TO_HASH "\xc2\0\xa0\x90"
#define HASH                                                                                       \
    "\xc4\x20"                                                                                     \
    "01234567890123456789012345678901"
#define TO_DANE "\0\0\xa0"
#define AFTER_DANE "\xc2\xc2\xc2\0\xa0\x90\0\xcd\3\1\x90\0"
#define LAST TO_DANE "\x97\0\xc2\xc2\xc2\xc2\xa0\x90" AFTER_DANE
#define RAW(name, text)                                                                            \
    {                                                                                              \
        name, text, sizeof text - 1, false                                                         \
    }
    { "the smallest requirement", TO_NAMES "\x90" TO_HASH HASH LAST,
      sizeof TO_NAMES "\x90" TO_HASH HASH LAST - 1, true },
    RAW("nothing", ""),
    RAW("nil", "\xc0"),
    RAW("a map", "\x80"),
    RAW("an empty array", "\x90"),
    RAW("an array of 4 Gi", "\xdd\xff\xff\xff\xff"),
    RAW("another version", "\xdc\0\x17\2\xa0\0\x90" TO_HASH HASH LAST),
    RAW("fewer fields than are announced", "\xdc\0\x18\3\xa0\0\x90" TO_HASH HASH LAST),
    RAW("more fields than are announced", "\xdc\0\x16\3\xa0\0\x90" TO_HASH HASH LAST),
    RAW("names as one str", TO_NAMES "\xa3mx1" TO_HASH HASH LAST),
    RAW("a name with a NUL", TO_NAMES "\x91\xa4mx\0a" TO_HASH HASH LAST),
    RAW("4 Gi names", TO_NAMES "\xdd\xff\xff\xff\xff\xa1\x61" TO_HASH HASH LAST),
    RAW("a hash of 31 bytes", TO_NAMES "\x90" TO_HASH "\xc4\x1f"
                                       "0123456789012345678901234567890" LAST),
    RAW("DANE with 6 fields",
        TO_NAMES "\x90" TO_HASH HASH TO_DANE "\x96\0\xc2\xc2\xc2\xc2\xa0" AFTER_DANE),
    RAW("DANE as a map",
        TO_NAMES "\x90" TO_HASH HASH TO_DANE "\x87\0\xc2\xc2\xc2\xc2\xa0\x90" AFTER_DANE),
    RAW("4 Gi hosts", TO_NAMES "\x90" TO_HASH HASH TO_DANE
                               "\x97\1\xc2\xc2\xc2\xc2\xa0\xdd\xff\xff\xff\xff" AFTER_DANE),
#undef RAW
#undef AFTER_DANE
#undef TO_DANE
#undef LAST
#undef HASH
#undef TO_HASH
#undef TO_NAMES
};

static void
test_raw(void **state)
{
    const struct raw_case *c = *state;
    struct requirement *req;

    assert_int_equal(decode(span_make(c->bytes, c->len), &req) == RES_OK, c->good);
    requirement_unref(req);
}

static void
test_no_memory(void **state)
{
    struct requirement *req = good(), *again = NULL;
    struct buffer message;
    enum result res = RES_NOMEM;
    unsigned n;

    (void)state;
    encode(req, &message, RES_OK);
    for (n = 0; n < 100 && res != RES_OK; n++) {
        alloc_fail_after(n);
        res = decode(buffer_span(&message), &again);
        if (alloc_fail_happened())
            assert_int_equal(res, RES_NOMEM);
    }
    assert_int_equal(res, RES_OK);
    assert_true(n > 15);
    requirement_unref(again);
    buffer_clear(&message);
    requirement_unref(req);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(test_prefixes),  cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_embedded),  cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_no_memory),
    };
    struct CMUnitTest tests[ROWS(changes) + ROWS(raws) + ROWS(others)] = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < ROWS(changes); i++)
        tests[n++] = (struct CMUnitTest){ .name = changes[i].name,
                                          .test_func = test_change,
                                          .initial_state = &changes[i] };
    for (size_t i = 0; i < ROWS(raws); i++)
        tests[n++] = (struct CMUnitTest){ .name = raws[i].name,
                                          .test_func = test_raw,
                                          .initial_state = &raws[i] };
    memcpy(tests + n, others, sizeof others);
    return cmocka_run_group_tests_name("requirement_msg", tests, NULL, NULL);
}
