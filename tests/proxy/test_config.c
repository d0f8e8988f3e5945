#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/requirement.h"
#include "proxy/config.h"
#include "proxy/config_section.h"
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
    { "user", "\"\"", "" },
    { "user", "stsgate", "stsgate" },
    { "user", "_mail-gate2", "_mail-gate2" },
    { "user", "0", NULL },
    { "user", "-stsgate", NULL },
    { "user", "\"a b\"", NULL },
    { "user", "Root", NULL },
    { "user", "a234567890123456789012345678901234", NULL },
    { "log_level", "error", "0" },
    { "log_level", "debug", "3" },
    { "log_level", "loud", NULL },
    { "log_level", "INFO", NULL },
    { "record_file", "\"\"", "" },
    { "record_file", "/tmp/records", "/tmp/records" },
    { "record_file", "records", NULL },
    { "record_file", "\"/tmp/a\nb\"", NULL },
    { "forward_to", "\"\"", "" },
    { "forward_to", "\"192.0.2.1:24224\"", "192.0.2.1:24224" },
    { "forward_to", "\"[2001:db8::1]:24224\"", "[2001:db8::1]:24224" },
    { "forward_to", "/run/fluent.sock", "/run/fluent.sock" },
    { "forward_to", "\"192.0.2.1\"", NULL },
    { "forward_to", "\"192.0.2.1:0\"", NULL },
    { "forward_to", "\"2001:db8::1:24224\"", NULL },
    { "forward_to", "\"localhost:24224\"", NULL },
    { "forward_buffer", "1024", "1024" },
    { "forward_buffer", "0", NULL },
    { "record_loss", "defer", "1" },
    { "status_listen", "\"\"", "" },
    { "status_listen", "\"[::1]:9125\"", "[::1]:9125" },
    { "status_listen", "\"9125\"", NULL },
    { "status_listen", "\"localhost:9125\"", NULL },
    { "status_listen", "/run/status", NULL },
    { "record_loss", "ignore", NULL },
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
    { "listen_proxy", "{\"[::1]:2527\"}\nproxy_networks = {10.0.0.0/8}", "[::1]:2527 proxy" },
    { "listen_proxy", "{\"somewhere\"}", NULL },
    { "proxy_networks", "{10.0.0.0/8, \"2001:db8::1\"}", "10.0.0.0/8, 2001:db8::1/128" },
    { "proxy_networks", "{10.0.0.1/8}", NULL },
    { "inside_interfaces", "{eth1, br-lan, \"vlan.7\"}", "eth1, br-lan, vlan.7" },
    { "inside_interfaces", "{\"\"}", NULL },
    { "inside_interfaces", "{\"..\"}", NULL },
    { "inside_interfaces", "{\"a b\"}", NULL },
    { "inside_interfaces", "{\"eth1;accept\"}", NULL },
    { "inside_interfaces", "{abcdefghijklmnop}", NULL },
    { "bypass_networks", "{\"192.0.2.0/24\", \"2001:db8::/32\"}", "192.0.2.0/24, 2001:db8::/32" },
    { "bypass_networks", "{\"192.0.2.1/24\"}", NULL },
    { "bypass_networks", "{example.com}", NULL },
    { "taken_mark", "1", "1" },
    { "taken_mark", "0", NULL },
    { "taken_table", "4294967295", "4294967295" },
    { "taken_table", "0", NULL },
    { "own_mail", "true", "1" },
    { "own_mail", "yes", NULL },
    { "destination_ports", "{1}", "1" },
    { "destination_ports", "{25, 65535}", "25, 65535" },
    { "destination_ports", "{0}", NULL },
    { "destination_ports", "{65536}", NULL },
    { "destination_ports", "{smtp}", NULL },
    { "upstream_mark", "0", "0" },
    { "upstream_mark", "4294967295", "4294967295" },
    { "upstream_mark", "4294967296", NULL },
    { "upstream_mark", "-1", NULL },
    { "upstream_source", "gateway", "0" },
    { "upstream_source", "client", "1" },
    { "upstream_source", "192.0.2.1", NULL },
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
    { "tls", "required", "1" },
    { "tls", "opportunistic", "0" },
    { "tls", "on", NULL },
    { "cleartext_fallback", "false", "0" },
    { "cleartext_fallback", "never", NULL },
    { "client_certificate_file", "\"\"", "" },
    { "client_certificate_file", "chain.pem", NULL },
    { "client_key_file", "\"\"", "" },
    { "client_key_file", "key.pem", NULL },
    { "client_tls_minimum", "1.0", "769" },
    { "client_tls_minimum", "1.3", "772" },
    { "client_tls_minimum", "1.4", NULL },
    { "reply_profile", "permanent", "1" },
    { "reply_profile", "temporary", "0" },
    { "reply_profile", "never", NULL },
    { "reply_profile_dane", "permanent", "1" },
    { "reply_profile_dane", "temporary", "0" },
    { "reply_profile_dane", "never", NULL },
    { "reply_profile_local", "permanent", "1" },
    { "reply_profile_local", "temporary", "0" },
    { "reply_profile_local", "never", NULL },
    { "permanent_code", "550", "1" },
    { "permanent_code", "551", "0" },
    { "permanent_code", "never", NULL },
    { "reply_id", "false", "0" },
    { "reply_id", "true", "1" },
    { "reply_id", "never", NULL },
    { "violation", "disconnect", "1" },
    { "violation", "reject", "0" },
    { "violation", "never", NULL },
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
    { "tls_post_quantum", "true", "1" },
    { "tls_post_quantum", "false", "0" },
    { "tls_post_quantum", "X25519", NULL },
    { "ktls", "true", "1" },
    { "ktls", "false", "0" },
    { "ktls", "tls", NULL },
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
    { "tlsrpt_store_file", "\"\"", "" },
    { "tlsrpt_store_file", "/tmp/reports", "/tmp/reports" },
    { "tlsrpt_store_file", "reports", NULL },
    { "tlsrpt_organization", "\"Ex, Inc.\"", "Ex, Inc." },
    { "tlsrpt_organization", "\"a\tb\"", NULL },
    { "tlsrpt_contact", "tlsrpt@example.com", "tlsrpt@example.com" },
    { "tlsrpt_contact", "nobody", NULL },
    { "tlsrpt_contact", "\"a@b, c@d\"", NULL },
    { "tlsrpt_from", "bounces@example.com", "bounces@example.com" },
    { "tlsrpt_from", "<>", NULL },
    { "tlsrpt_relay", "\"[::1]:587\"", "[::1]:587" },
    { "tlsrpt_relay", "127.0.0.1", NULL },
    { "tlsrpt_relay", "\"mail.example:25\"", NULL },
    { "tlsrpt_dkim", "external", "1" },
    { "tlsrpt_dkim", "none", "0" },
    { "tlsrpt_dkim", "yes", NULL },
    { "tlsrpt_public_address", "{192.0.2.1, \"2001:db8::1\"}", "192.0.2.1, 2001:db8::1" },
    { "tlsrpt_public_address", "{mail.example}", NULL },
    { "tlsrpt_exclude", "{Example.com, example.net}", "example.com, example.net" },
    { "tlsrpt_exclude", "{a..b}", NULL },
    { "tlsrpt_rua", "\"mailto:a@example.com\"", "mailto:a@example.com" },
    { "tlsrpt_rua", "\"https://r.example/v1\"", "https://r.example/v1" },
    { "tlsrpt_rua", "\"http://r.example/v1\"", NULL },
    { "tlsrpt_rua", "\"mailto:a@b.example,mailto:c@d.example\"", NULL },
    { "tlsrpt_directory", "\"\"", "" },
    { "tlsrpt_directory", "/tmp/reports", "/tmp/reports" },
    { "tlsrpt_directory", "reports", NULL },
    { "tlsrpt_send", "all", "0" },
    { "tlsrpt_send", "failures", "1" },
    { "tlsrpt_send", "none", NULL },
    { "tlsrpt_verify", "true", "1" },
    { "tlsrpt_verify", "1", NULL },
    { "tlsrpt_spread", "1", "1" },
    { "tlsrpt_spread", "14400", "14400" },
    { "tlsrpt_spread", "0", NULL },
    { "tlsrpt_spread", "14401", NULL },
    { "tlsrpt_retry", "1", "1" },
    { "tlsrpt_retry", "86400", "86400" },
    { "tlsrpt_retry", "0", NULL },
    { "tlsrpt_retry", "86401", NULL },
    { "tlsrpt_retry_max", "1", "1" },
    { "tlsrpt_retry_max", "86400", "86400" },
    { "tlsrpt_retry_max", "0", NULL },
    { "tlsrpt_retry_max", "86401", NULL },
    { "tlsrpt_suppress", "1", "1" },
    { "tlsrpt_suppress", "31557600", "31557600" },
    { "tlsrpt_suppress", "0", NULL },
    { "tlsrpt_suppress", "31557601", NULL },
    { "control_socket", "\"\"", "" },
    { "control_socket", "/run/control", "/run/control" },
    { "control_socket", "control", NULL },
    { "sts_dns_failure", "open", "0" },
    { "sts_dns_failure", "defer", "1" },
    { "sts_dns_failure", "\"open or defer\"", NULL },
    { "sts_dns_failure", "\"\"", NULL },
    { "sts_dns_failure", "ope", NULL },
    { "chunking", "true", "1" },
    { "chunking", "false", "0" },
    { "chunking", "auto", NULL },
    { "bare_newline", "reject-ambiguous", "0" },
    { "bare_newline", "reject-any", "1" },
    { "bare_newline", "pass", NULL },
    { "sts_mx_cname", "record", "0" },
    { "sts_mx_cname", "also-target", "1" },
    { "sts_mx_cname", "target", NULL },
    { "null_mx", "upstream", "0" },
    { "null_mx", "refuse", "1" },
    { "null_mx", "true", NULL },
    { "dane", "true", "1" },
    { "dane", "false", "0" },
    { "dane", "off", NULL },
    { "dane_insecure_mx", "true", "1" },
    { "dane_insecure_mx", "yes", NULL },
    { "dane_and_sts", "both", "0" },
    { "dane_and_sts", "dane-suffices", "1" },
    { "dane_and_sts", "either", NULL },
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
    { "client_sessions_max", "1", "1" },
    { "client_sessions_max", "0", NULL },
    { "recipients_max", "100", "100" },
    { "recipients_max", "10000", "10000" },
    { "recipients_max", "99", NULL },
    { "recipients_max", "10001", NULL },
};

#define REPORTER "tlsrpt_organization = Example\ntlsrpt_contact = a@example.com\n"
#define CLIENT(body) "client \"x\" {\n" body "}\n"
#define INNER "client = {10.0.0.0/8}\n"
#define SITE_CERTIFICATE "client_certificate_file = /c.pem\nclient_key_file = /k.pem\n"
#define SECTION(body) "override \"x\" {\n" body "}\n"
#define SELECT "domain = {a.example}\n"
#define REASON "reason = \"mended by spring\"\n"
#define UNTIL "until = 2027-03-31\n"
#define WHOLE "action = bypass\n" SELECT REASON UNTIL

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
    { "a mark for two ends", "taken_mark = 7\nupstream_mark = 7\n", 0, RES_SYNTAX,
      FILE_NAME ":2: taken_mark and upstream_mark are the same" },
    { "own mail without a mark", "own_mail = true\nupstream_mark = 0\n", 0, RES_SYNTAX,
      FILE_NAME ":2: own_mail needs an upstream_mark" },
    { "two resolvers", "resolver_forward = 192.0.2.1\nresolver_stub = 192.0.2.2\n", 0, RES_SYNTAX,
      FILE_NAME ":2: resolver_stub and resolver_forward exclude each other" },
    { "cache times crossed", "dns_cache_min = 61\ndns_cache_max = 60\n", 0, RES_SYNTAX,
      FILE_NAME ":2: dns_cache_min 61 is above dns_cache_max 60" },
    { "policy times crossed", "policy_cache_max = 60\n\npolicy_cache_min = 61\n", 0, RES_SYNTAX,
      FILE_NAME ":3: policy_cache_min 61 is above policy_cache_max 60" },
    { "override: unknown key", SECTION("colour = red\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: no such option 'colour'" },
    { "override: a key twice", SECTION("action = bypass\naction = bypass\n"), 0, RES_SYNTAX,
      FILE_NAME ":3: action was already given in line 2" },
    { "override: one title twice", SECTION(WHOLE) SECTION(WHOLE), 0, RES_SYNTAX,
      FILE_NAME ":7: found duplicate title 'x'" },
    { "override: no title", "override {\naction = bypass\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":1: missing title for section 'override'" },
    { "override: empty title", "override \"\" {\n" WHOLE "}\n", 0, RES_SYNTAX,
      FILE_NAME ":2: override: the title is 1 .. 47 printable" },
    { "override: empty", "workers = 1\noverride \"x\" {\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":4: override: a section is empty" },
    { "override: not closed", "override \"x\" {\n" WHOLE, 0, RES_SYNTAX,
      FILE_NAME ":5: premature end of file: a brace is not closed" },
    { "override: no action", SECTION(SELECT REASON UNTIL), 0, RES_SYNTAX,
      FILE_NAME ":2: override \"x\": action is missing" },
    { "override: no selector", SECTION("action = bypass\n" REASON UNTIL), 0, RES_SYNTAX,
      FILE_NAME ":2: override \"x\": domain, destination or client" },
    { "override: no reason", SECTION("action = bypass\n" SELECT UNTIL), 0, RES_SYNTAX,
      FILE_NAME ":2: override \"x\": reason is missing" },
    { "override: no end", SECTION("action = bypass\n" SELECT REASON), 0, RES_SYNTAX,
      FILE_NAME ":2: override \"x\": until is missing" },
    { "override: mx without verify", SECTION(WHOLE "mx = {mx.a.example}\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: override \"x\": mx belongs to the actions verify and no-dane" },
    { "override: ca_file without verify", SECTION(WHOLE "ca_file = /ca.pem\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: override \"x\": ca_file belongs to action verify" },
    { "override: floor for a bypass", SECTION(WHOLE "tls_minimum = 1.2\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: override \"x\": tls_minimum belongs" },
    { "override: floor for a no-dane",
      SECTION("action = no-dane\ntls_minimum = 1.2\n" SELECT REASON UNTIL), 0, RES_SYNTAX,
      FILE_NAME ":2: override \"x\": tls_minimum belongs" },
    { "override: mx for a dane", SECTION("action = dane\nmx = {a.example}\n" SELECT REASON UNTIL),
      0, RES_SYNTAX, FILE_NAME ":2: override \"x\": mx belongs to the actions" },
    { "override: floor without a floor", SECTION("action = floor\n" SELECT REASON UNTIL), 0,
      RES_SYNTAX, FILE_NAME ":2: override \"x\": action floor needs tls_minimum" },
    { "override: another action", SECTION("action = allow\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: action: expected bypass, monitor, floor, require, verify, dane or no-dane, "
                "got \"allow\"" },
    { "override: no domain name", SECTION("domain = {a.example,\n\"*.*.example\"}\n"), 0,
      RES_SYNTAX, FILE_NAME ":3: domain: expected list of names" },
    { "override: U-label", SECTION("domain = {b\xc3\xbc.example}\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: domain: expected list of names" },
    { "override: address as domain", SECTION("domain = {192.0.2.1}\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: domain: expected list of names" },
    { "override: host bits", SECTION("client = {10.0.0.1/8}\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: client: expected list of ADDRESS/BITS" },
    { "override: no date", SECTION("until = 2027-02-30\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: until: expected YYYY-MM-DD" },
    { "override: a date in another form", SECTION("until = 2027-2-3\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: until: expected YYYY-MM-DD" },
    { "override: no second", SECTION("until = 2027-01-01T00:00:61Z\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: until: expected YYYY-MM-DD" },
    { "override: empty reason", SECTION("reason = \"\"\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: reason: expected text" },
    { "override: relative path", SECTION("ca_file = ca.pem\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: ca_file: expected absolute path" },
    { "override: another profile", SECTION("reply_profile = final\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: reply_profile: expected temporary or permanent, got \"final\"" },
    { "reply: no such", "reply \"REP-999\" {\ntext = no\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":2: reply: the title is the ID of a reply" },
    { "reply: the ID of the permanent profile", "reply \"REP-020\" {\ntext = no\n}\n", 0,
      RES_SYNTAX, FILE_NAME ":2: reply: the title is the ID of a reply" },
    { "reply: not ASCII", "reply \"REP-011\" {\ntext = \"n\xc3\xb6\"\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":2: text: expected 1 .. 400 printable characters of ASCII" },
    { "REP-006 reply: an address to try", "reply \"REP-011\" {\ntext = \"<a@b.example>\"\n}\n", 0,
      RES_SYNTAX, FILE_NAME ":2: text: expected 1 .. 400 printable characters of ASCII" },
    { "reply: empty", "reply \"REP-011\" {\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":3: reply: a section is empty" },
    { "smart_host: no name", "smart_host \"a b\" {\ndestination = {192.0.2.1}\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":2: smart_host: the title is the host's name" },
    { "smart_host: empty list", "smart_host \"r.example\" {\ndestination = {}\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":4: smart_host: a section is empty" },
    { "smart_host: overlap",
      "smart_host \"r.example\" {\ndestination = {192.0.2.0/24}\n}\n"
      "smart_host \"s.example\" {\ndestination = {10.0.0.1, 192.0.2.9}\n}\n",
      0, RES_SYNTAX,
      FILE_NAME ":5: destination: 192.0.2.9 is in smart_host \"r.example\" already" },
    { "RPT-080 report_sender: of anybody", "report_sender \"r\" {\nsender = {a@b.example}\n}\n", 0,
      RES_SYNTAX, FILE_NAME ":2: report_sender \"r\": client is missing" },
    { "RPT-080 report_sender: all mail of a client",
      "report_sender \"r\" {\nclient = {10.0.0.1}\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":2: report_sender \"r\": sender is missing" },
    { "RPT-080 report_sender: a domain",
      "report_sender \"r\" {\nclient = {10.0.0.1}\nsender = {b.example}\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":3: sender: expected list of mail addresses, got \"b.example\"" },
    { "RPT-080 report_sender: bounces",
      "report_sender \"r\" {\nclient = {10.0.0.1}\nsender = {\"<>\"}\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":3: sender: expected list of mail addresses, got \"<>\"" },
    { "RPT-080 report_sender: no network",
      "report_sender \"r\" {\nclient = {a.example}\nsender = {a@b.example}\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":2: client: expected list of ADDRESS/BITS or ADDRESS, got \"a.example\"" },
    { "RPT-080 report_sender: a title in UTF-8",
      "report_sender \"\xc3\xb6\" {\nclient = {10.0.0.1}\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":2: report_sender: the title is 1 .. 47 printable characters of ASCII" },
    { "RPT-080 report_sender: empty", "report_sender \"r\" {\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":3: report_sender: a section is empty" },
    { "PROXY headers of anybody", "listen_proxy = {\"[::]:2527\"}\n", 0, RES_SYNTAX,
      FILE_NAME ":1: listen_proxy needs proxy_networks" },
    { "RPT-053 reports of nobody", "tlsrpt_organization = Example\n", 0, RES_SYNTAX,
      FILE_NAME ":1: tlsrpt_organization and tlsrpt_contact need each other" },
    { "RPT-053 reports without a name", "\ntlsrpt_contact = a@example.com\n", 0, RES_SYNTAX,
      FILE_NAME ":2: tlsrpt_organization and tlsrpt_contact need each other" },
    { "RPT-053 a relay for nobody's reports", "tlsrpt_relay = \"127.0.0.1:25\"\n", 0, RES_SYNTAX,
      FILE_NAME ":1: tlsrpt_relay needs tlsrpt_organization" },
    { "RPT-065 reports by mail that nobody signs", REPORTER "tlsrpt_relay = \"127.0.0.1:25\"\n", 0,
      RES_SYNTAX, FILE_NAME ":3: tlsrpt_relay needs tlsrpt_dkim = external" },
    { "reports of nothing", REPORTER "tlsrpt_store_file = \"\"\n", 0, RES_SYNTAX,
      FILE_NAME ":3: tlsrpt_organization needs tlsrpt_store_file" },
    { "two public addresses of one family", "tlsrpt_public_address = {192.0.2.1, 192.0.2.2}\n", 0,
      RES_LIMIT, FILE_NAME ":1: tlsrpt_public_address: more than 1 entries" },
    { "certificate without key", "workers = 1\nclient_certificate_file = /c.pem\n", 0, RES_SYNTAX,
      FILE_NAME ":2: client_certificate_file and client_key_file need each other" },
    { "key without certificate", "client_key_file = /k.pem\n", 0, RES_SYNTAX,
      FILE_NAME ":1: client_certificate_file and client_key_file need each other" },
    { "client: no selector", CLIENT("starttls = hide\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: client \"x\": client or destination must say whom it is for" },
    { "client: terminate without a certificate", CLIENT(INNER "starttls = terminate\n"), 0,
      RES_SYNTAX,
      FILE_NAME ":2: client \"x\": starttls = terminate needs client_certificate_file" },
    { "client: TLS demanded and hidden",
      SITE_CERTIFICATE CLIENT(INNER "starttls = hide\nrequire_tls = true\n"), 0, RES_SYNTAX,
      FILE_NAME ":4: client \"x\": require_tls needs starttls = terminate" },
    { "client: TLS demanded without a certificate", CLIENT(INNER "require_tls = true\n"), 0,
      RES_SYNTAX, FILE_NAME ":2: client \"x\": require_tls needs starttls = terminate" },
    { "client: the second one is wrong", CLIENT(INNER) "client \"y\" {\nstarttls = hide\n}\n", 0,
      RES_SYNTAX, FILE_NAME ":5: client \"y\": client or destination" },
    { "client: relayed, and something else", CLIENT(INNER "relay = true\nstarttls = hide\n"), 0,
      RES_SYNTAX, FILE_NAME ":2: client \"x\": relay goes with sessions_max only" },
    { "client: TLS demanded and passed through",
      SITE_CERTIFICATE CLIENT(INNER "starttls = passthrough\nrequire_tls = true\n"), 0, RES_SYNTAX,
      FILE_NAME ":4: client \"x\": require_tls needs starttls = terminate" },
    { "client: another way", CLIENT(INNER "starttls = opaque\n"), 0, RES_SYNTAX,
      FILE_NAME ":3: starttls: expected hide" },
    { "client: no session at all", CLIENT(INNER "sessions_max = 0\n"), 0, RES_SYNTAX,
      FILE_NAME ":3: sessions_max: expected 1 .. 1000000, got \"0\"" },
    { "client: no truth", CLIENT(INNER "require_tls = yes\n"), 0, RES_SYNTAX,
      FILE_NAME ":3: require_tls: expected true or false, got \"yes\"" },
    { "client: host bits", CLIENT("client = {10.0.0.1/8}\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: client: expected list of ADDRESS/BITS" },
    { "client: empty title", "client \"\" {\n" INNER "}\n", 0, RES_SYNTAX,
      FILE_NAME ":2: client: the title is 1 .. 47 printable" },
    { "client: empty", "client \"x\" {\n}\n", 0, RES_SYNTAX,
      FILE_NAME ":3: client: a section is empty" },
    { "a section in a section", SECTION("override \"y\" {\n}\n"), 0, RES_SYNTAX,
      FILE_NAME ":2: no such option 'override'" },
    { "the line behind a section", SECTION(WHOLE) "\nworkers = x\n", 0, RES_SYNTAX,
      FILE_NAME ":8: workers: expected" },
    { "no equal sign", "workers 1\n", 0, RES_SYNTAX, FILE_NAME ":1: missing equal sign" },
    { "blanks without quotes", "\nrollout = enforce 30%\n", 0, RES_SYNTAX,
      FILE_NAME ":2: no such option '30%' (a value with blanks in it needs quotes)" },
    { "blanks without quotes in a section", SECTION("action = bypass\nreason = moved in May\n"), 0,
      RES_SYNTAX, FILE_NAME ":3: no such option 'in' (a value with blanks in it needs quotes)" },
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
    { "certificate and key", SITE_CERTIFICATE CLIENT(INNER "require_tls = true\n"),
      "client_key_file", "/k.pem" },
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
    for (size_t i = 0; type == CONFIG_LIST_PROXY_NET && i < config->proxy_network_count; i++) {
        const struct ip_net *net = &config->proxy_networks[i];

        snprintf(item, sizeof item, "%s/%u", ip_addr_text(&net->addr, addr), net->bits);
        append(dst, size, item);
    }
    for (size_t i = 0; type == CONFIG_LIST_NET && i < config->policy_network_count; i++) {
        const struct ip_net *net = &config->policy_networks[i];

        snprintf(item, sizeof item, "%s/%u", ip_addr_text(&net->addr, addr), net->bits);
        append(dst, size, item);
    }
    for (size_t i = 0; type == CONFIG_LIST_DOMAIN && i < config->tlsrpt_exclude.count; i++)
        append(dst, size, config->tlsrpt_exclude.names[i]);
    if (type == CONFIG_LIST_PUBLIC && config->tlsrpt_public4.len)
        append(dst, size, ip_addr_text(&config->tlsrpt_public4, addr));
    if (type == CONFIG_LIST_PUBLIC && config->tlsrpt_public6.len)
        append(dst, size, ip_addr_text(&config->tlsrpt_public6, addr));
    for (size_t i = 0; type == CONFIG_LIST_BYPASS && i < config->bypass_count; i++) {
        const struct ip_net *net = &config->bypass[i];

        snprintf(item, sizeof item, "%s/%u", ip_addr_text(&net->addr, addr), net->bits);
        append(dst, size, item);
    }
    for (size_t i = 0; type == CONFIG_LIST_INTERFACE && i < config->inside_count; i++)
        append(dst, size, config->inside[i]);
    if (type != CONFIG_LIST_TPROXY && type != CONFIG_LIST_REDIRECT && type != CONFIG_LIST_PROXY)
        return;
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *l = &config->listen[i];

        ip_addr_text(&l->addr, addr);
        snprintf(item, sizeof item, l->addr.len == 16 ? "[%s]:%u %s" : "%s:%u %s", addr, l->port,
                 l->kind == INTERCEPT_TPROXY     ? "tproxy"
                 : l->kind == INTERCEPT_REDIRECT ? "redirect"
                                                 : "proxy");
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
    case CONFIG_USER:
    case CONFIG_PATH:
    case CONFIG_PATH_OR_NONE:
    case CONFIG_RESOLVER:
    case CONFIG_FORWARD:
    case CONFIG_TEXT:
    case CONFIG_ADDRESS:
    case CONFIG_ENDPOINT:
    case CONFIG_RUA:
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
    case CONFIG_LIST_PROXY:
    case CONFIG_LIST_PORT:
    case CONFIG_LIST_NET:
    case CONFIG_LIST_PROXY_NET:
    case CONFIG_LIST_DOMAIN:
    case CONFIG_LIST_PUBLIC:
    case CONFIG_LIST_BYPASS:
    case CONFIG_LIST_INTERFACE:
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

/* What else must stand in the file with that key. */
static const char *
companion(const char *key)
{
    static const struct {
        const char *key, *lines;
    } pairs[] = {
        { "dns_cache_max", "dns_cache_min = 0\n" },
        { "tlsrpt_organization", "tlsrpt_contact = a@example.com\n" },
        { "tlsrpt_contact", "tlsrpt_organization = Example\n" },
        { "tlsrpt_relay", REPORTER "tlsrpt_dkim = external\n" },
    };

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (strcmp(key, pairs[i].key) == 0)
            return pairs[i].lines;
    return "";
}

static void
test_value(void **state)
{
    const struct value_case *c = *state;
    const struct config_key *key = key_named(c->key);
    char text[256], error[512] = "", shown[256], want_error[256];
    struct config *config;
    enum result res;

    snprintf(text, sizeof text, "%s = %s\n%s", c->key, c->value, companion(c->key));
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
    if (plain->user_is_missing && strcmp(key->name, "user") == 0)
        assert_string_equal(a, ""); /* see test_user() */
    else
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

/* Whoever names a user means it; the default is for machines that have it. */
static void
test_user(void **state)
{
    struct config *plain = parse("", 0);
    bool is_here = getpwnam("stsgate") != NULL;

    (void)state;
    assert_string_equal(plain->user, is_here ? "stsgate" : "");
    assert_int_equal(plain->user_is_missing, !is_here);
    config_free(plain);
    plain = parse("user = nosuchuser\n", strlen("user = nosuchuser\n"));
    assert_string_equal(plain->user, "nosuchuser");
    assert_false(plain->user_is_missing);
    config_free(plain);
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
        "\"192.0.2.1:25\"}\nworkers = 2\npolicy_networks = {'10.0.0.0/8'}\n" SECTION(
            WHOLE) "smart_host \"r.example\" { destination = {10.0.0.1} }\n"
                   "report_sender \"r\" { client = {10.0.0.1} sender = {a@b.example} }\n";

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
        res = config_parse(FILE_NAME, span_of("hostname = gw\n" SECTION(WHOLE)), &config, error,
                           sizeof error);
        failed = alloc_fail_happened();
        assert_int_equal(res, failed ? RES_NOMEM : RES_OK);
        assert_int_equal(config != NULL, !failed);
        if (failed)
            assert_non_null(strstr(error, ": no memory"));
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

/* ---- sections ---- */

/* PRX-039: the first section that fits both client and destination is the only one. */
static void
test_clients(void **state)
{
    static const char text[] = SITE_CERTIFICATE
        "client \"one host\" { client = {10.0.0.1} starttls = hide }\n"
        "client \"to the partner\" {\n    destination = {192.0.2.0/24, \"2001:db8::/32\"}\n"
        "    client = {10.0.0.0/8}\n    require_tls = true\n}\n"
        "client \"all else\" { client = {0.0.0.0/0} require_tls = false }\n";
    static const struct {
        const char *client, *destination, *want; /* NULL: none */
        enum client_starttls starttls;
        bool require_tls;
    } pairs[] = {
        { "10.0.0.1", "192.0.2.1", "one host", CLIENT_STARTTLS_HIDE, false },
        { "10.0.0.2", "192.0.2.1", "to the partner", CLIENT_STARTTLS_TERMINATE, true },
        { "10.0.0.2", "2001:db8::1", "to the partner", CLIENT_STARTTLS_TERMINATE, true },
        { "10.0.0.2", "192.0.3.1", "all else", CLIENT_STARTTLS_TERMINATE, false },
        { "11.0.0.2", "192.0.2.1", "all else", CLIENT_STARTTLS_TERMINATE, false },
        { "2001:db8::9", "2001:db8::1", NULL, CLIENT_STARTTLS_TERMINATE, false },
    };
    struct config *config = parse(text, strlen(text));

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct ip_addr client, destination;
        const struct client_rule *rule;

        assert_int_equal(ip_addr_parse(pairs[i].client, &client), RES_OK);
        assert_int_equal(ip_addr_parse(pairs[i].destination, &destination), RES_OK);
        rule = client_rules_find(&config->clients, &client, &destination);
        assert_int_equal(rule != NULL, pairs[i].want != NULL);
        assert_int_equal(client_rule_starttls(rule, true), pairs[i].starttls);
        if (!rule)
            continue;
        assert_string_equal(rule->title, pairs[i].want);
        assert_int_equal(rule->require_tls, pairs[i].require_tls);
    }
    assert_int_equal(client_rule_starttls(NULL, false), CLIENT_STARTTLS_HIDE);
    config_free(config);
}

/* PRX-024, PRX-042: everything an override and a smart host can say. */
static void
test_sections(void **state)
{
    static const char text[] =
        "override \"pin the bank\" {\n"
        "    domain = {\"Bank.example\", \"*.bank.example\"}\n"
        "    domain += {third.example}\n"
        "    destination = {192.0.2.0/24, \"2001:db8::1\"}\n"
        "    client = {10.0.0.0/8}\n"
        "    action = verify\n"
        "    mx = {\"*.Bank.example\"}\n"
        "    ca_file = /etc/bank.pem\n"
        "    tls_minimum = 1.3\n"
        "    reason = \"contract 17\"\n"
        "    until = \"2027-03-31T12:00:00Z\"\n"
        "}\n"
        "workers = 3\n"
        "override \"second\" {\n" WHOLE "}\n"
        "override \"only how it is said\" {\n" SELECT REASON UNTIL
        "reply_profile = permanent\nreply_profile_local = temporary\n}\n"
        "reply \"REP-013\" { text = \"<Reason> at <Domain>\" }\n"
        "smart_host \"Relay.example\" { destination = {198.51.100.1, 198.51.100.2}\n"
        "auth_clients = {10.0.0.0/8} }\n";
    struct config *config = parse(text, strlen(text));
    const struct rule *rule = config->rules.rules;

    (void)state;
    assert_int_equal(config->workers, 3);
    assert_int_equal(config->rules.rule_count, 3);
    assert_string_equal(rule->id, "pin the bank");
    assert_int_equal(rule->domains.count, 3);
    assert_string_equal(rule->domains.names[0], "bank.example");
    assert_string_equal(rule->domains.names[1], "*.bank.example");
    assert_int_equal(rule->destinations.count, 2);
    assert_int_equal(rule->clients.count, 1);
    assert_int_equal(rule->action, RULE_VERIFY);
    assert_string_equal(rule->mx.names[0], "*.bank.example");
    assert_string_equal(rule->ca_file, "/etc/bank.pem");
    assert_int_equal(rule->tls_minimum, TLS_VERSION_1_3);
    assert_string_equal(rule->reason, "contract 17");
    assert_int_equal(rule->until_s, 1806494400);
    assert_string_equal(rule[1].id, "second");
    assert_int_equal(rule[1].action, RULE_BYPASS);
    assert_int_equal(rule[1].until_s, 1806537600); /* the end of that day */
    assert_int_equal(rule[2].action, RULE_NONE);   /* REP-004 */
    assert_int_equal(rule[2].profiles[REPLY_CLASS_STS], REPLY_PROFILE_PERMANENT);
    assert_int_equal(rule[2].profiles[REPLY_CLASS_DANE], REPLY_PROFILE_SITE);
    assert_int_equal(rule[2].profiles[REPLY_CLASS_LOCAL], REPLY_PROFILE_TEMPORARY);
    assert_ptr_equal(rules_named(&config->rules, "second"), &rule[1]);
    assert_null(rules_named(&config->rules, "third"));
    assert_string_equal(rules_reply_text(&config->rules, "REP-013"), "<Reason> at <Domain>");
    assert_null(rules_reply_text(&config->rules, "REP-011"));
    assert_int_equal(config->rules.smart_host_count, 1);
    assert_string_equal(config->rules.smart_hosts[0].name, "relay.example");
    assert_int_equal(config->rules.smart_hosts[0].destinations.count, 2);
    assert_int_equal(config->rules.smart_hosts[0].auth_clients.count, 1); /* EXT-008 */
    config_free(config);
}

static void
test_too_many_overrides(void **state)
{
    char *text = malloc(1u << 20), error[512];
    struct config *config;
    size_t len = 0;

    (void)state;
    assert_non_null(text);
    for (unsigned i = 0; i <= RULES_MAX; i++)
        len +=
            (size_t)snprintf(text + len, (1u << 20) - len, "override \"o%u\" {\n" WHOLE "}\n", i);
    assert_int_equal(config_parse(FILE_NAME, span_make(text, len), &config, error, sizeof error),
                     RES_LIMIT);
    assert_non_null(strstr(error, "more than 1024 overrides"));
    free(text);
}

struct heard {
    char text[1024];
    unsigned count;
};

static void
hear(void *arg, const char *text)
{
    struct heard *heard = arg;
    size_t len = strlen(heard->text);

    snprintf(heard->text + len, sizeof heard->text - len, "%s\n", text);
    heard->count++;
}

/* Overrides that are over are said, and those that soon will be (issue: expired ones are ignored
 * and reported); `require` is known to authenticate nobody (PRX-042). */
static void
test_warnings(void **state)
{
    static const char text[] =
        "rollout = \"enforce 30%\"\npolicy_port = 8443\ntrust_anchor_file = \"\"\n"
        "override \"old\" {\n" WHOLE "}\n"
        "override \"soon\" {\naction = monitor\n" SELECT REASON "until = 2027-04-05\n}\n"
        "override \"later\" {\naction = require\n" SELECT REASON "until = 2028-01-01\n}\n"
        "override \"must\" {\naction = dane\n" SELECT REASON "until = 2028-01-01\n}\n"
        "override \"not\" {\naction = no-dane\n" SELECT REASON "until = 2028-01-01\n}\n";
    struct config *config = parse(text, strlen(text));
    struct heard heard = { 0 };

    (void)state;
    config_warnings(config, 1806537600, hear, &heard); /* the moment that "old" ends */
    assert_int_equal(heard.count, 8);
    assert_non_null(strstr(heard.text, "override \"old\" has ended and is ignored"));
    assert_non_null(strstr(heard.text, "override \"soon\" ends in 5 days"));
    assert_non_null(
        strstr(heard.text, "override \"later\": require demands TLS but authenticates"));
    assert_non_null(strstr(heard.text, "rollout is enforce 30%"));
    assert_non_null(strstr(heard.text, "policy_port is 8443"));
    assert_non_null(
        strstr(heard.text, "trust_anchor_file is empty: DNSSEC is not validated, DANE"));
    assert_non_null(strstr(heard.text, "override \"must\": without trust_anchor_file no mail"));
    assert_non_null(strstr(heard.text, "override \"not\": TLSA records of these hosts are not"));
    config_free(config);
    config = parse("dane = false\n", strlen("dane = false\n"));
    heard = (struct heard){ 0 };
    config_warnings(config, 1806537600, hear, &heard);
    assert_string_equal(heard.text, "dane is false: TLSA records are not asked for\n");
    config_free(config);
    config = parse("", 0);
    heard = (struct heard){ 0 };
    config_warnings(config, 1806537600, hear, &heard);
    assert_int_equal(heard.count, 0);
    config_free(config);
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

/* So have the tables of sections. */
static void
test_manual_sections(void **state)
{
    char *manual = read_manual(), *at = manual;

    (void)state;
    for (unsigned kind = 0; kind < CONFIG_SECTIONS; kind++) {
        size_t count;
        const struct config_section_key *keys =
            config_section_keys((enum config_section)kind, &count);

        for (size_t i = 0; i < count; i++) {
            char want[512];

            snprintf(want, sizeof want, "| %s `%s` | %s | %s |",
                     config_section_name((enum config_section)kind), keys[i].name, keys[i].range,
                     keys[i].help);
            at = strstr(at, want);
            if (!at)
                fail_msg("the manual lacks, or has in another order: %s", want);
        }
    }
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
        { "the default user is one that is there", test_user },
        { "1 MiB and one byte more", test_too_large },
        { "a very long value", test_long_value },
        { "a mistake leaves nothing behind", test_parse_after_error },
        { "every prefix of a file", test_every_prefix },
        { "every allocation failing in turn", test_no_memory },
        { "no file, no regular file", test_read_missing_file },
        { "deploy/stsgate.conf is valid", test_read_example },
        { "manual: table of keys", test_manual_table },
        { "manual: example", test_manual_example },
        { "manual: tables of sections", test_manual_sections },
        { "sections: all that can be said", test_sections },
        { "sections: which client is which (PRX-039)", test_clients },
        { "sections: 1025 overrides", test_too_many_overrides },
        { "what an operator should know of", test_warnings },
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
