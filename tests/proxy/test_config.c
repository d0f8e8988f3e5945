#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/requirement.h"
#include "proxy/config.h"
#include "tests/alloc_fail.h"

#define FILE_NAME "t.conf"

/* One value: what the key becomes, NULL when it must be refused. Lists are shown as "a, b". */
static struct value_case {
    const char *key, *value, *want;
} values[] = {
    { "hostname", "gw.example.com", "gw.example.com" },
    { "hostname", "\"gw.example.com\"", "gw.example.com" },
    { "hostname", "'gw.example.com'", "gw.example.com" },
    { "hostname", "gw.example.com.", NULL },
    { "hostname", "\"two words\"", NULL },
    { "workers", "1", "1" },
    { "workers", "64", "64" },
    { "workers", "65", NULL },
    { "workers", "-1", NULL },
    { "workers", "many", NULL },
    { "workers", "\"\"", NULL },
    { "workers", "010", "10" },
    { "workers", "0x10", NULL },
    { "workers", "1.5", NULL },
    { "workers", "99999999999999999999", NULL },
    { "log_level", "error", "0" },
    { "log_level", "debug", "3" },
    { "log_level", "loud", NULL },
    { "log_level", "INFO", NULL },
    { "record_file", "\"\"", "" },
    { "record_file", "/tmp/records", "/tmp/records" },
    { "record_file", "records", NULL },
    { "record_file", "\"/tmp/a\nb\"", NULL },
    { "listen_tproxy", "{\"[::]:2525\", \"0.0.0.0:2526\"}",
      "[::]:2525 tproxy, 0.0.0.0:2526 tproxy" },
    { "listen_tproxy", "{\"[2001:db8::1]:1\"}", "[2001:db8::1]:1 tproxy" },
    { "listen_tproxy", "{\"192.0.2.1:65535\"}", "192.0.2.1:65535 tproxy" },
    { "listen_tproxy", "{\"[::ffff:192.0.2.1]:25\"}", "192.0.2.1:25 tproxy" },
    { "listen_tproxy", "{}", "[::]:2525 tproxy" },
    { "listen_tproxy", "{\"192.0.2.1:0\"}", NULL },
    { "listen_tproxy", "{\"192.0.2.1:65536\"}", NULL },
    { "listen_tproxy", "{\"192.0.2.1\"}", NULL },
    { "listen_tproxy", "{\"192.0.2.1:\"}", NULL },
    { "listen_tproxy", "{\"192.0.2:25\"}", NULL },
    { "listen_tproxy", "{\"::1:25\"}", NULL },
    { "listen_tproxy", "{\"[::1:25\"}", NULL },
    { "listen_tproxy", "{\"[:25\"}", NULL },
    { "listen_tproxy", "{\"]:25\"}", NULL },
    { "listen_tproxy", "{\"[]:25\"}", NULL },
    { "listen_tproxy", "{\":25\"}", NULL },
    { "listen_tproxy", "{\"localhost:25\"}", NULL },
    { "listen_tproxy", "{\"[fe80::1%eth0]:25\"}", NULL },
    { "listen_tproxy", "{\"\"}", NULL },
    { "listen_redirect", "{\"127.0.0.1:2526\"}", "127.0.0.1:2526 redirect" },
    { "listen_redirect", "{\"here\"}", NULL },
    { "destination_ports", "{1}", "1" },
    { "destination_ports", "{25, 65535}", "25, 65535" },
    { "destination_ports", "{0}", NULL },
    { "destination_ports", "{65536}", NULL },
    { "destination_ports", "{smtp}", NULL },
    { "upstream_mark", "0", "0" },
    { "upstream_mark", "4294967295", "4294967295" },
    { "upstream_mark", "4294967296", NULL },
    { "upstream_mark", "-1", NULL },
    { "mx_ca_file", "/ca.pem", "/ca.pem" },
    { "mx_ca_file", "\"\"", NULL },
    { "mx_ca_file", "ca.pem", NULL },
    { "tls_minimum", "1.2", "771" },
    { "tls_minimum", "1.3", "772" },
    { "tls_minimum", "1.1", NULL },
    { "tls_minimum", "1.4", NULL },
    { "tls_minimum", "TLSv1.2", NULL },
    { "tls_opportunistic_minimum", "1.0", "769" },
    { "tls_opportunistic_minimum", "1.1", "770" },
    { "tls_opportunistic_minimum", "1.3", "772" },
    { "tls_opportunistic_minimum", "0.9", NULL },
    { "tls_opportunistic_minimum", "1.4", NULL },
    { "resolver_stub", "192.0.2.53", "192.0.2.53" },
    { "resolver_stub", "\"2001:db8::53@5353\"", "2001:db8::53@5353" },
    { "resolver_stub", "192.0.2.53@0", NULL },
    { "resolver_stub", "192.0.2.53@65536", NULL },
    { "resolver_stub", "192.0.2.53@", NULL },
    { "resolver_stub", "ns.example.com", NULL },
    { "resolver_forward", "\"\"", "" },
    { "resolver_forward", "127.0.0.1@53", "127.0.0.1@53" },
    { "resolver_forward", "127.0.0.1:53", NULL },
    { "resolver_root_hints", "/root.hints", "/root.hints" },
    { "resolver_root_hints", "\"\"", "" },
    { "resolver_root_hints", "root.hints", NULL },
    { "trust_anchor_file", "/root.ds", "/root.ds" },
    { "trust_anchor_file", "\"\"", "" },
    { "trust_anchor_file", "root.ds", NULL },
    { "resolver_local_zones", "true", "1" },
    { "resolver_local_zones", "false", "0" },
    { "resolver_local_zones", "maybe", NULL },
    { "resolver_local_zones", "1", NULL },
    { "dns_cache_min", "0", "0" },
    { "dns_cache_min", "86400", "86400" },
    { "dns_cache_min", "86401", NULL },
    { "dns_cache_max", "0", "0" },
    { "dns_cache_max", "86400", "86400" },
    { "dns_cache_max", "86401", NULL },
    { "policy_ca_file", "/ca.pem", "/ca.pem" },
    { "policy_ca_file", "\"\"", NULL },
    { "policy_port", "1", "1" },
    { "policy_port", "65535", "65535" },
    { "policy_port", "0", NULL },
    { "policy_port", "65536", NULL },
    { "policy_networks", "{}", "" },
    { "policy_networks", "{\"192.0.2.0/24\", \"2001:db8::/32\", \"10.0.0.1\"}",
      "192.0.2.0/24, 2001:db8::/32, 10.0.0.1/32" },
    { "policy_networks", "{\"192.0.2.1/24\"}", NULL },
    { "policy_networks", "{\"192.0.2.0/33\"}", NULL },
    { "policy_networks", "{\"example.com\"}", NULL },
    { "fetch_timeout", "1", "1000" },
    { "fetch_timeout", "300", "300000" },
    { "fetch_timeout", "0", NULL },
    { "fetch_timeout", "301", NULL },
    { "fetch_timeout", "60s", NULL },
    { "policy_wait", "1", "1000" },
    { "policy_wait", "280", "280000" },
    { "policy_wait", "0", NULL },
    { "policy_wait", "281", NULL },
    { "policy_cache_max", "1", "1" },
    { "policy_cache_max", "31557600", "31557600" },
    { "policy_cache_max", "0", NULL },
    { "policy_cache_max", "31557601", NULL },
    { "refetch_wait", "1", "1" },
    { "refetch_wait", "3600", "3600" },
    { "refetch_wait", "0", NULL },
    { "refetch_wait", "3601", NULL },
    { "policy_refresh", "60", "60" },
    { "policy_refresh", "604800", "604800" },
    { "policy_refresh", "59", NULL },
    { "policy_refresh", "604801", NULL },
    { "policy_cache_min", "0", "0" },
    { "policy_cache_min", "86400", "86400" },
    { "policy_cache_min", "86401", NULL },
    { "policy_cache_entries", "1000", "1000" },
    { "policy_cache_entries", "2000000", "2000000" },
    { "policy_cache_entries", "999", NULL },
    { "policy_cache_entries", "2000001", NULL },
    { "policy_unused_max", "3600", "3600" },
    { "policy_unused_max", "31557600", "31557600" },
    { "policy_unused_max", "3599", NULL },
    { "policy_unused_max", "31557601", NULL },
    { "store_file", "\"\"", "" },
    { "store_file", "/tmp/store", "/tmp/store" },
    { "store_file", "store", NULL },
    { "control_socket", "\"\"", "" },
    { "control_socket", "/run/control", "/run/control" },
    { "control_socket", "control", NULL },
    { "sts_dns_failure", "open", "0" },
    { "sts_dns_failure", "defer", "1" },
    { "sts_dns_failure", "\"open or defer\"", NULL },
    { "sts_dns_failure", "\"\"", NULL },
    { "sts_dns_failure", "ope", NULL },
    { "sts_mx_cname", "record", "0" },
    { "sts_mx_cname", "also-target", "1" },
    { "sts_mx_cname", "target", NULL },
    { "null_mx", "upstream", "0" },
    { "null_mx", "refuse", "1" },
    { "null_mx", "true", NULL },
    { "rollout", "survey", "survey" },
    { "rollout", "monitor", "monitor" },
    { "rollout", "enforce", "enforce" },
    { "rollout", "\"enforce 30%\"", "enforce 30%" },
    { "rollout", "\"enforce 0%\"", "enforce 0%" },
    { "rollout", "\"enforce 101%\"", NULL },
    { "rollout", "\"enforce 30\"", NULL },
    { "rollout", "off", NULL },
    { "recipient_budget", "60", "60000" },
    { "recipient_budget", "290", "290000" },
    { "recipient_budget", "59", NULL },
    { "recipient_budget", "291", NULL },
    { "requirement_cache_max", "0", "0" },
    { "requirement_cache_max", "3600", "3600" },
    { "requirement_cache_max", "3601", NULL },
    { "connect_timeout", "1", "1000" },
    { "connect_timeout", "86400", "86400000" },
    { "connect_timeout", "0", NULL },
    { "connect_timeout", "86401", NULL },
    { "greeting_timeout", "1", "1000" },
    { "greeting_timeout", "86400", "86400000" },
    { "greeting_timeout", "0", NULL },
    { "greeting_timeout", "86401", NULL },
    { "command_timeout", "1", "1000" },
    { "command_timeout", "86400", "86400000" },
    { "command_timeout", "0", NULL },
    { "command_timeout", "86401", NULL },
    { "data_timeout", "1", "1000" },
    { "data_timeout", "86400", "86400000" },
    { "data_timeout", "0", NULL },
    { "data_timeout", "86401", NULL },
    { "block_timeout", "1", "1000" },
    { "block_timeout", "86400", "86400000" },
    { "block_timeout", "0", NULL },
    { "block_timeout", "86401", NULL },
    { "final_timeout", "1", "1000" },
    { "final_timeout", "86400", "86400000" },
    { "final_timeout", "0", NULL },
    { "final_timeout", "86401", NULL },
    { "client_timeout", "1", "1000" },
    { "client_timeout", "86400", "86400000" },
    { "client_timeout", "0", NULL },
    { "client_timeout", "86401", NULL },
    { "handshake_timeout", "1", "1000" },
    { "handshake_timeout", "86400", "86400000" },
    { "handshake_timeout", "0", NULL },
    { "handshake_timeout", "86401", NULL },
    { "sessions_max", "1", "1" },
    { "sessions_max", "1000000", "1000000" },
    { "sessions_max", "0", NULL },
    { "sessions_max", "1000001", NULL },
    { "recipients_max", "100", "100" },
    { "recipients_max", "10000", "10000" },
    { "recipients_max", "99", NULL },
    { "recipients_max", "10001", NULL },
};

/* Whole files that are refused: the result, and the message from its beginning on. */
static struct error_case {
    const char *name, *text;
    size_t len; /* 0: all of text */
    enum result want;
    const char *error;
} errors[] = {
    { "unknown key", "\n\nworker = 1\n", 0, RES_SYNTAX, FILE_NAME ":3: no such option 'worker'" },
    { "a key in capitals", "WORKERS = 1\n", 0, RES_SYNTAX, FILE_NAME ":1: no such option" },
    { "include() is no function", "include(\"/etc/hostname\")\n", 0, RES_SYNTAX,
      FILE_NAME ":1: no such option 'include'" },
    { "a section", "worker {\n}\n", 0, RES_SYNTAX, FILE_NAME ":1: no such option" },
    { "a list where one value belongs", "workers = {1, 2}\n", 0, RES_SYNTAX,
      FILE_NAME ":1: unexpected token '{'" },
    { "number expected, with its line and range", "\nworkers = many\n", 0, RES_SYNTAX,
      FILE_NAME ":2: workers: expected 0 .. 64, got \"many\"" },
    { "the unit is named", "connect_timeout = 0\n", 0, RES_SYNTAX,
      FILE_NAME ":1: connect_timeout: expected 1 .. 86400 s, got \"0\"" },
    { "the line of the element of a list", "listen_tproxy = {\n  \"[::]:25\",\n  \"x\"\n}\n", 0,
      RES_SYNTAX, FILE_NAME ":3: listen_tproxy: expected list of ADDRESS:PORT, got \"x\"" },
    { "a scalar twice", "workers = 1\n# again\nworkers = 1\n", 0, RES_SYNTAX,
      FILE_NAME ":3: workers was already given in line 1" },
    { "a list twice", "destination_ports = {25}\ndestination_ports = {26}\n", 0, RES_SYNTAX,
      FILE_NAME ":2: destination_ports was already given in line 1" },
    { "append to a scalar", "workers += 1\n", 0, RES_SYNTAX, FILE_NAME ":1: attempt to append" },
    { "one listener in both lists", "listen_tproxy={\"[::]:25\"}\nlisten_redirect={\"[::]:25\"}\n",
      0, RES_SYNTAX, FILE_NAME ":2: listen_redirect: [::]:25 is listed twice" },
    { "no port to dial", "destination_ports = {}\n", 0, RES_SYNTAX,
      FILE_NAME ":2: destination_ports: an empty list" },
    { "17 ports", "destination_ports = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17}\n", 0, RES_LIMIT,
      FILE_NAME ":1: destination_ports: more than 16 entries" },
    { "two resolvers", "resolver_forward = 192.0.2.1\nresolver_stub = 192.0.2.2\n", 0, RES_SYNTAX,
      FILE_NAME ":2: resolver_stub and resolver_forward exclude each other" },
    { "cache times crossed", "dns_cache_min = 61\ndns_cache_max = 60\n", 0, RES_SYNTAX,
      FILE_NAME ":2: dns_cache_min 61 is above dns_cache_max 60" },
    { "policy times crossed", "policy_cache_max = 60\n\npolicy_cache_min = 61\n", 0, RES_SYNTAX,
      FILE_NAME ":3: policy_cache_min 61 is above policy_cache_max 60" },
    { "no equal sign", "workers 1\n", 0, RES_SYNTAX, FILE_NAME ":1: missing equal sign" },
    { "no value", "workers =\n", 0, RES_SYNTAX, FILE_NAME ":2: premature end of file" },
    { "quotes not closed", "record_file = \"/tmp/x\n", 0, RES_SYNTAX, FILE_NAME ":2: " },
    { "single quotes not closed", "record_file = '/tmp/x\n", 0, RES_SYNTAX, FILE_NAME ":2: " },
    { "list not closed", "destination_ports = {25\n", 0, RES_SYNTAX,
      FILE_NAME ":2: premature end" },
    { "closing brace alone", "}\n", 0, RES_SYNTAX, FILE_NAME ":1: unexpected closing brace" },
    { "NUL byte", "workers = 1\n\0", 13, RES_SYNTAX, FILE_NAME ":2: NUL byte" },
    { "NUL byte by an escape", "record_file = \"/tmp\\000x\"\n", 0, RES_SYNTAX,
      FILE_NAME ":1: \"\\\" is not permitted" },
    { "environment in quotes", "\nrecord_file = \"${HOME}/x\"\n", 0, RES_SYNTAX,
      FILE_NAME ":2: \"${\" is not permitted" },
    { "environment without quotes", "hostname = ${HOME}\n", 0, RES_SYNTAX,
      FILE_NAME ":1: \"${\" is not permitted" },
    { "block comment, which could swallow the rest", "/* workers = 1\n", 0, RES_SYNTAX,
      FILE_NAME ":1: comments begin with #" },
    { "comment of C++", "workers = 1 // one\n", 0, RES_SYNTAX,
      FILE_NAME ":1: comments begin with #" },
    { "control character", "# \033[2J\n", 0, RES_SYNTAX, FILE_NAME ":1: control character" },
    { "byte order mark", "\xef\xbb\xbfworkers = 1\n", 0, RES_SYNTAX, FILE_NAME ":1: starts with" },
    { "the first of two mistakes", "workers = x\nsessions_max = y\n", 0, RES_SYNTAX,
      FILE_NAME ":1: workers" },
};

static struct good_case {
    const char *name, *text, *key, *want;
} goods[] = {
    { "empty", "", "sessions_max", "10000" },
    { "no line end at the end", "workers = 3", "workers", "3" },
    { "CR LF", "workers = 3\r\nsessions_max = 5\r\n", "workers", "3" },
    { "comments", "# one's\nworkers = 3 # \"two\n## ${HOME} \\ /* \xc3\xa4", "workers", "3" },
    { "// within quotes", "record_file = \"/a//b\"\n", "record_file", "/a//b" },
    { "a # within quotes", "record_file = \"/a#b\"\n", "record_file", "/a#b" },
    { "redirect alone drops the default", "listen_redirect = {\"[::1]:25\"}\n", "listen_tproxy",
      "[::1]:25 redirect" },
    { "both kinds", "listen_redirect = {\"[::1]:25\"}\nlisten_tproxy = {\"[::1]:26\"}\n",
      "listen_tproxy", "[::1]:25 redirect, [::1]:26 tproxy" },
    { "append to a list", "destination_ports = {25}\ndestination_ports += {26}\n",
      "destination_ports", "25, 26" },
};

static const struct config_key *
key_named(const char *name)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);

    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    fail_msg("no key %s", name);
    return NULL;
}

static void
append(char *dst, size_t size, const char *text)
{
    size_t len = strlen(dst);

    snprintf(dst + len, size - len, "%s%s", len ? ", " : "", text);
}

static void
show_lists(const struct config *config, enum config_type type, char *dst, size_t size)
{
    char item[128], addr[IP_ADDR_TEXT_MAX];

    for (size_t i = 0; type == CONFIG_LIST_PORT && i < config->destination_port_count; i++) {
        snprintf(item, sizeof item, "%u", config->destination_ports[i]);
        append(dst, size, item);
    }
    for (size_t i = 0; type == CONFIG_LIST_NET && i < config->policy_network_count; i++) {
        const struct ip_net *net = &config->policy_networks[i];

        snprintf(item, sizeof item, "%s/%u", ip_addr_text(&net->addr, addr), net->bits);
        append(dst, size, item);
    }
    if (type != CONFIG_LIST_TPROXY && type != CONFIG_LIST_REDIRECT)
        return;
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *l = &config->listen[i];

        ip_addr_text(&l->addr, addr);
        snprintf(item, sizeof item, l->addr.len == 16 ? "[%s]:%u %s" : "%s:%u %s", addr, l->port,
                 l->kind == INTERCEPT_TPROXY ? "tproxy" : "redirect");
        append(dst, size, item);
    }
}

/* The field of a key as text: numbers as they are stored, lists joined by ", ". */
static void
show(const struct config *config, const struct config_key *key, char *dst, size_t size)
{
    const void *field = (const char *)config + key->offset;

    *dst = '\0';
    switch (key->type) {
    case CONFIG_TEXT_HOST:
    case CONFIG_PATH:
    case CONFIG_PATH_OR_NONE:
    case CONFIG_RESOLVER:
        snprintf(dst, size, "%s", *(char *const *)field);
        break;
    case CONFIG_NUMBER:
    case CONFIG_MS:
        snprintf(dst, size, "%u", *(const unsigned *)field);
        break;
    case CONFIG_PORT:
    case CONFIG_TLS_VERSION:
        snprintf(dst, size, "%u", *(const uint16_t *)field);
        break;
    case CONFIG_ROLLOUT:
        snprintf(dst, size, "%s", rollout_text(field, (char[16]){ "" }));
        break;
    case CONFIG_BOOL:
    case CONFIG_CHOICE:
        snprintf(dst, size, "%d", *(const bool *)field);
        break;
    case CONFIG_LEVEL:
        snprintf(dst, size, "%d", (int)*(const enum log_level *)field);
        break;
    case CONFIG_LIST_TPROXY:
    case CONFIG_LIST_REDIRECT:
    case CONFIG_LIST_PORT:
    case CONFIG_LIST_NET:
        show_lists(config, key->type, dst, size);
        break;
    }
}

static struct config *
parse(const char *text, size_t len)
{
    char error[512] = "";
    struct config *config;

    if (config_parse(FILE_NAME, span_make(text, len), &config, error, sizeof error) != RES_OK)
        fail_msg("%s", error);
    return config;
}

static void
test_value(void **state)
{
    const struct value_case *c = *state;
    const struct config_key *key = key_named(c->key);
    char text[256], error[512] = "", shown[256], want_error[256];
    struct config *config;
    enum result res;

    snprintf(text, sizeof text, "%s = %s\n%s", c->key, c->value,
             strcmp(c->key, "dns_cache_max") == 0 ? "dns_cache_min = 0\n" : "");
    res = config_parse(FILE_NAME, span_of(text), &config, error, sizeof error);
    if (c->want) {
        if (res != RES_OK)
            fail_msg("%s", error);
        show(config, key, shown, sizeof shown);
        assert_string_equal(shown, c->want);
    } else {
        assert_int_equal(res, RES_SYNTAX);
        assert_null(config);
        snprintf(want_error, sizeof want_error, ": %s: expected %s", c->key, key->range);
        assert_non_null(strstr(error, want_error));
        assert_memory_equal(error, FILE_NAME ":", strlen(FILE_NAME ":"));
    }
    config_free(config);
}

static void
test_error(void **state)
{
    const struct error_case *c = *state;
    struct config *config;
    char error[512] = "";
    enum result res;

    res = config_parse(FILE_NAME, span_make(c->text, c->len ? c->len : strlen(c->text)), &config,
                       error, sizeof error);
    assert_null(config);
    if (strncmp(error, c->error, strlen(c->error)) != 0)
        fail_msg("got \"%s\", expected \"%s\"", error, c->error);
    assert_int_equal(res, c->want);
}

static void
test_good(void **state)
{
    const struct good_case *c = *state;
    struct config *config = parse(c->text, strlen(c->text));
    char shown[256];

    show(config, key_named(c->key), shown, sizeof shown);
    assert_string_equal(shown, c->want);
    config_free(config);
}

/* What the default of a key means is what the key means when the same is written. */
static void
test_default(void **state)
{
    const struct config_key *key = *state;
    struct config *plain = parse("", 0), *written;
    char text[512], a[256], b[256];

    snprintf(text, sizeof text, "%s = %s\n", key->name, key->fallback);
    written = parse(text, strlen(text));
    show(plain, key, a, sizeof a);
    show(written, key, b, sizeof b);
    assert_string_equal(a, b);
    config_free(plain);
    config_free(written);
}

static void
test_every_key_is_tried(void **state)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        unsigned taken = 0, refused = 0;

        for (size_t j = 0; j < sizeof values / sizeof *values; j++)
            if (strcmp(values[j].key, keys[i].name) == 0)
                *(values[j].want ? &taken : &refused) += 1;
        if (!taken || !refused)
            fail_msg("%s: %u rows taken, %u refused", keys[i].name, taken, refused);
    }
}

static void
test_machine(void **state)
{
    struct config *config = parse("", 0);

    (void)state;
    assert_in_range(config->workers, 1, 64);
    assert_true(*config->hostname);
    config_free(config);
}

static void
test_too_large(void **state)
{
    char *text = malloc(CONFIG_FILE_MAX_BYTES + 1);
    struct config *config;
    char error[512];

    (void)state;
    assert_non_null(text);
    memset(text, '\n', CONFIG_FILE_MAX_BYTES + 1);
    config_free(parse(text, CONFIG_FILE_MAX_BYTES));
    assert_int_equal(config_parse(FILE_NAME, span_make(text, CONFIG_FILE_MAX_BYTES + 1), &config,
                                  error, sizeof error),
                     RES_LIMIT);
    assert_string_equal(error, FILE_NAME ":1: larger than 1048576 bytes");
    assert_null(config);
    free(text);
}

/* A message longer than the caller's memory is cut, a value longer than a message is shortened. */
static void
test_long_value(void **state)
{
    char *text = malloc(70000);
    struct config *config;
    char error[64];

    (void)state;
    assert_non_null(text);
    memset(text, 'x', 70000);
    memcpy(text, "workers=", 8);
    assert_int_equal(config_parse(FILE_NAME, span_make(text, 70000), &config, error, sizeof error),
                     RES_SYNTAX);
    assert_int_equal(strlen(error), sizeof error - 1);
    free(text);
}

/* libconfuse keeps the state of its scanner: one parse must not reach into the next. */
static void
test_parse_after_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct config *config;
        char error[512];

        test_error((void *[]){ &errors[i] });
        assert_int_equal(
            config_parse(FILE_NAME, span_of("sessions_max = 7\n"), &config, error, sizeof error),
            RES_OK);
        assert_int_equal(config->sessions_max, 7);
        config_free(config);
    }
}

static void
test_every_prefix(void **state)
{
    static const char text[] =
        "hostname = \"gw.example.com\"\n# note\nlisten_tproxy = {\"[::]:25\",\n"
        "\"192.0.2.1:25\"}\nworkers = 2\npolicy_networks = {'10.0.0.0/8'}\n";

    (void)state;
    for (size_t len = 0; len < sizeof text; len++) {
        char error[512], *exact = malloc(len + 1);
        struct config *config;
        enum result res;

        assert_non_null(exact);
        memcpy(exact, text, len);
        res = config_parse(FILE_NAME, span_make(exact, len), &config, error, sizeof error);
        assert_int_equal(res == RES_OK, config != NULL);
        config_free(config);
        free(exact);
    }
}

static void
test_no_memory(void **state)
{
    bool failed = true;

    (void)state;
    for (unsigned n = 0; failed; n++) {
        struct config *config;
        char error[512];
        enum result res;

        alloc_fail_after(n);
        res = config_parse(FILE_NAME, span_of("hostname = gw\n"), &config, error, sizeof error);
        failed = alloc_fail_happened();
        assert_int_equal(res, failed ? RES_NOMEM : RES_OK);
        assert_int_equal(config != NULL, !failed);
        if (failed)
            assert_string_equal(error, FILE_NAME ":1: no memory");
        config_free(config);
    }
}

static void
test_read_missing_file(void **state)
{
    struct config *config;
    char error[512];

    (void)state;
    assert_int_equal(
        config_read("/nonexistent/stsgate.conf", &config, NULL, NULL, error, sizeof error),
        RES_SYNTAX);
    assert_string_equal(error,
                        "/nonexistent/stsgate.conf:1: cannot be read: No such file or directory");
    assert_int_equal(config_read("/", &config, NULL, NULL, error, sizeof error), RES_SYNTAX);
    assert_string_equal(error, "/:1: cannot be read: Is a directory");
}

/* The example of the package is a valid file, and gives its bytes back. */
static void
test_read_example(void **state)
{
    struct config *config;
    char error[512], *text = NULL;
    size_t len = 0;

    (void)state;
    if (config_read(TESTS_DIR "/../deploy/stsgate.conf", &config, &text, &len, error,
                    sizeof error) != RES_OK)
        fail_msg("%s", error);
    assert_true(len > 100 && text[0] == '#');
    config_free(config);
    free(text);
}

/* ---- the manual ---- */

static char *
read_manual(void)
{
    FILE *file = fopen(TESTS_DIR "/../docs/stsgate.conf.md", "rb");
    char *text = calloc(1, 65536);

    assert_non_null(file);
    assert_non_null(text);
    assert_in_range(fread(text, 1, 65535, file), 1, 65534);
    fclose(file);
    return text;
}

/* Its table has exactly the keys of the program, in their order, with the same words. */
static void
test_manual_table(void **state)
{
    size_t count, found = 0;
    const struct config_key *keys = config_keys(&count);
    char *manual = read_manual(), *save = NULL;

    (void)state;
    for (char *line = strtok_r(manual, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char want[512];

        if (strncmp(line, "| `", 3) != 0)
            continue;
        if (found == count)
            fail_msg("no such key: %s", line);
        snprintf(want, sizeof want, "| `%s` | %s | %s | `%s` | %s |", keys[found].name,
                 keys[found].unit, keys[found].range, keys[found].fallback, keys[found].help);
        assert_string_equal(line, want);
        found++;
    }
    assert_int_equal(found, count);
    free(manual);
}

/* Its example parses, and has every key. */
static void
test_manual_example(void **state)
{
    static const char begin[] = "```conf\n";
    char *manual = read_manual();
    char *text = strstr(manual, begin), *end;
    size_t count;
    const struct config_key *keys = config_keys(&count);

    (void)state;
    assert_non_null(text);
    text += strlen(begin);
    end = strstr(text, "```");
    assert_non_null(end);
    *end = '\0';
    config_free(parse(text, strlen(text)));
    for (size_t i = 0; i < count; i++) {
        char assignment[64];

        snprintf(assignment, sizeof assignment, "%s = ", keys[i].name);
        if (!strstr(text, assignment))
            fail_msg("the example lacks %s", keys[i].name);
    }
    free(manual);
}

#define ROWS                                                                                       \
    (sizeof values / sizeof *values + sizeof errors / sizeof *errors +                             \
     sizeof goods / sizeof *goods + 128)

int
main(void)
{
    static struct CMUnitTest tests[ROWS];
    static char names[ROWS][320];
    static const struct {
        const char *name;
        void (*run)(void **state);
    } singles[] = {
        { "every key has rows taken and refused", test_every_key_is_tried },
        { "workers and hostname come from the machine", test_machine },
        { "1 MiB and one byte more", test_too_large },
        { "a very long value", test_long_value },
        { "a mistake leaves nothing behind", test_parse_after_error },
        { "every prefix of a file", test_every_prefix },
        { "every allocation failing in turn", test_no_memory },
        { "no file, no regular file", test_read_missing_file },
        { "deploy/stsgate.conf is valid", test_read_example },
        { "manual: table of keys", test_manual_table },
        { "manual: example", test_manual_example },
    };
    size_t n = 0, count;
    const struct config_key *keys = config_keys(&count);

    for (size_t i = 0; i < sizeof values / sizeof *values; i++, n++) {
        snprintf(names[n], sizeof names[n], "%s = %s%s", values[i].key, values[i].value,
                 values[i].want ? "" : " is refused");
        tests[n] = (struct CMUnitTest){ names[n], test_value, NULL, NULL, &values[i] };
    }
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++, n++)
        tests[n] = (struct CMUnitTest){ errors[i].name, test_error, NULL, NULL, &errors[i] };
    for (size_t i = 0; i < sizeof goods / sizeof *goods; i++, n++)
        tests[n] = (struct CMUnitTest){ goods[i].name, test_good, NULL, NULL, &goods[i] };
    for (size_t i = 0; i < count; i++, n++) {
        snprintf(names[n], sizeof names[n], "default of %s", keys[i].name);
        tests[n] =
            (struct CMUnitTest){ names[n], test_default, NULL, NULL, (void *)(uintptr_t)&keys[i] };
    }
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++, n++)
        tests[n] = (struct CMUnitTest){ singles[i].name, singles[i].run, NULL, NULL, NULL };
    return _cmocka_run_group_tests("config", tests, n, NULL, NULL);
}
