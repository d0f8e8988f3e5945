/* proxy/config_keys.c: the one list of keys, and what holds where none is given. */
#include "proxy/config_parse.h"

#include "proxy/control_msg.h"

#define WORKERS_MAX CONTROL_WORKERS_MAX
#define DAY_S 86400u

#define TEXT(name, type, range, fallback, help)                                                    \
    {                                                                                              \
#name, "", range, fallback, help, type, 0, 0, offsetof(struct config, name)                \
    }
#define NUMBER(name, field, type, unit, range, min, max, fallback, help)                           \
    {                                                                                              \
#name, unit, range, #fallback, help, type, min, max, offsetof(struct config, field)        \
    }
#define SECONDS(name, min, max, fallback, help)                                                    \
    NUMBER(name, name##_ms, CONFIG_MS, "s", #min " .. " #max, min, max, fallback, help)
#define CHOICE(name, field, range, fallback, help)                                                 \
    {                                                                                              \
#name, "", range, fallback, help, CONFIG_CHOICE, 0, 0, offsetof(struct config, field)      \
    }
#define LIST(name, type, range, min, max, fallback, help)                                          \
    {                                                                                              \
#name, "", range, fallback, help, type, min, max, 0                                        \
    }

/* The one list of keys, in the order of the manual. */
static const struct config_key keys[] = {
    TEXT(hostname, CONFIG_TEXT_HOST, "host name", "\"\"",
         "Name of the gateway in its own replies; empty: the name of the machine"),
    NUMBER(workers, workers, CONFIG_NUMBER, "", "0 .. 64", 0, WORKERS_MAX, 0,
           "Processes that carry mail; 0: as many as CPUs"),
    TEXT(user, CONFIG_USER, "user, or \"\"", "\"stsgate\"",
         "Whom the processes that talk to strangers become when root starts the gateway; empty: "
         "root stays"),
    TEXT(log_level, CONFIG_LEVEL, "error, warn, info or debug", "info",
         "How much goes to standard error"),
    TEXT(record_file, CONFIG_PATH_OR_NONE, "absolute path, or \"\"",
         "\"/var/log/stsgate/records.msgpack\"",
         "Where the records of every verdict go; empty: nowhere"),
    TEXT(forward_to, CONFIG_FORWARD, "ADDRESS:PORT, absolute path, or \"\"", "\"\"",
         "Where records go by Fluentd's forward protocol, over TCP or a UNIX socket; empty: "
         "nowhere"),
    NUMBER(forward_buffer, forward_buffer_mib, CONFIG_NUMBER, "MiB", "1 .. 1024", 1, 1024, 16,
           "Records that wait for the receiver, in each process"),
    CHOICE(record_loss, record_loss_defers, "count or defer", "count",
           "When records cannot be written: count those that are lost, or let no mail pass"),
    TEXT(control_socket, CONFIG_PATH_OR_NONE, "absolute path, or \"\"", "\"/run/stsgate/control\"",
         "Where `stsgate status` and the operator's other commands reach the gateway; empty: "
         "nowhere"),
    TEXT(status_listen, CONFIG_ENDPOINT, "ADDRESS:PORT, or \"\"", "\"127.0.0.1:9125\"",
         "Where the status page, /metrics and /healthz are, by HTTP; empty: nowhere"),
    LIST(listen_tproxy, CONFIG_LIST_TPROXY, "list of ADDRESS:PORT", 0, 0, "{\"[::]:2525\"}",
         "Listeners behind nftables' tproxy; the default holds while no listener is named"),
    LIST(listen_redirect, CONFIG_LIST_REDIRECT, "list of ADDRESS:PORT", 0, 0, "{}",
         "Listeners behind nftables' redirect"),
    LIST(listen_proxy, CONFIG_LIST_PROXY, "list of ADDRESS:PORT", 0, 0, "{}",
         "Listeners behind a load balancer that speaks the PROXY protocol, version 2"),
    LIST(proxy_networks, CONFIG_LIST_PROXY_NET, "list of ADDRESS/BITS", 0, 0, "{}",
         "Where such load balancers are; all others are turned away"),
    LIST(destination_ports, CONFIG_LIST_PORT, "list of 1 .. 65535", 1, 65535, "{25}",
         "Ports that are dialled; other destinations are refused"),
    LIST(inside_interfaces, CONFIG_LIST_INTERFACE, "list of interfaces", 0, 0, "{}",
         "Where the clients are whose mail `stsgate rules` leads to the gateway"),
    LIST(bypass_networks, CONFIG_LIST_BYPASS, "list of ADDRESS/BITS", 0, 0, "{}",
         "Clients and destinations whose connections `stsgate rules` lets pass by the gateway"),
    NUMBER(taken_mark, taken_mark, CONFIG_NUMBER, "", "1 .. 4294967295", 1, UINT32_MAX, 1,
           "Packet mark of connections that were taken over; no other rules may use it"),
    NUMBER(taken_table, taken_table, CONFIG_NUMBER, "", "1 .. 4294967295", 1, UINT32_MAX, 100,
           "Routing table that brings them to the listeners; nothing else may use it"),
    TEXT(own_mail, CONFIG_BOOL, "true or false", "false",
         "Whether `stsgate rules` takes over mail of the gateway itself, too"),
    NUMBER(upstream_mark, upstream_mark, CONFIG_NUMBER, "", "0 .. 4294967295", 0, UINT32_MAX, 2,
           "Packet mark of the gateway's own connections, which the rules must exempt; 0: none"),
    CHOICE(upstream_source, upstream_as_client, "gateway or client", "gateway",
           "Whose address connections to the MX come from"),
    TEXT(
        mx_ca_file, CONFIG_PATH, "absolute path", "\"/etc/ssl/certs/ca-certificates.crt\"",
        "CA certificates that MX certificates must lead to: a PEM file, or a folder of such files"),
    NUMBER(tls_minimum, tls_minimum, CONFIG_TLS_VERSION, "", "1.2 or 1.3", TLS_VERSION_1_2,
           TLS_VERSION_1_3, 1.2, "Lowest TLS version where a policy requires TLS"),
    NUMBER(tls_opportunistic_minimum, tls_opportunistic_minimum, CONFIG_TLS_VERSION, "",
           "1.0, 1.1, 1.2 or 1.3", TLS_VERSION_1_0, TLS_VERSION_1_3, 1.0,
           "Lowest TLS version elsewhere, where the alternative is clear text"),
    CHOICE(tls, tls_required, "opportunistic or required", "opportunistic",
           "Whether recipients whose domains demand no TLS may be served in clear"),
    TEXT(cleartext_fallback, CONFIG_BOOL, "true or false", "true",
         "Serve them in clear, on a new connection, when the TLS handshake fails"),
    TEXT(tls_post_quantum, CONFIG_BOOL, "true or false", "true",
         "Offer the hybrid post-quantum key exchange, where the library has it"),
    TEXT(ktls, CONFIG_BOOL, "true or false", "false",
         "Let the kernel encrypt bulk mail, where it can; the gateway does elsewhere"),
    TEXT(client_certificate_file, CONFIG_PATH_OR_NONE, "absolute path, or \"\"", "\"\"",
         "The site's certificate and its chain, shown to clients that begin TLS; empty: none may"),
    TEXT(client_key_file, CONFIG_PATH_OR_NONE, "absolute path, or \"\"", "\"\"",
         "Its private key, without a passphrase"),
    NUMBER(client_tls_minimum, client_tls_minimum, CONFIG_TLS_VERSION, "", "1.0, 1.1, 1.2 or 1.3",
           TLS_VERSION_1_0, TLS_VERSION_1_3, 1.2, "Lowest TLS version of clients"),
    TEXT(resolver_stub, CONFIG_RESOLVER, "ADDRESS or ADDRESS@PORT, or \"\"", "\"\"",
         "Name server of a private root, asked without recursion"),
    TEXT(resolver_forward, CONFIG_RESOLVER, "ADDRESS or ADDRESS@PORT, or \"\"", "\"\"",
         "Recursive resolver to ask; with neither, the gateway resolves from the root itself"),
    TEXT(resolver_root_hints, CONFIG_PATH_OR_NONE, "absolute path, or \"\"", "\"\"",
         "Root hints; empty: the built-in ones"),
    TEXT(trust_anchor_file, CONFIG_PATH_OR_NONE, "absolute path, or \"\"",
         "\"/usr/share/dns/root.key\"",
         "DS or DNSKEY records of the root; empty: DNSSEC is not validated"),
    TEXT(resolver_local_zones, CONFIG_BOOL, "true or false", "true",
         "Answer for names that the public DNS does not have, such as .test, without asking"),
    NUMBER(dns_cache_min, dns_cache_min_s, CONFIG_NUMBER, "s", "0 .. 86400", 0, DAY_S, 0,
           "Shortest time that a DNS answer is kept"),
    NUMBER(dns_cache_max, dns_cache_max_s, CONFIG_NUMBER, "s", "0 .. 86400", 0, DAY_S, 86400,
           "Longest time that a DNS answer is kept"),
    TEXT(policy_ca_file, CONFIG_PATH, "absolute path", "\"/etc/ssl/certs/ca-certificates.crt\"",
         "CA certificates that policy hosts' certificates must lead to"),
    NUMBER(policy_port, policy_port, CONFIG_PORT, "", "1 .. 65535", 1, 65535, 443,
           "Port of policy hosts; anything but 443 is for tests"),
    LIST(policy_networks, CONFIG_LIST_NET, "list of ADDRESS/BITS", 0, 0, "{}",
         "Networks that are not public in which policy hosts may nevertheless be"),
    SECONDS(fetch_timeout, 1, 300, 60, "One fetch of a policy, from connecting to its last byte"),
    SECONDS(policy_wait, 1, 280, 120, "What one RCPT waits for look-ups and fetches"),
    NUMBER(refetch_wait, refetch_wait_s, CONFIG_NUMBER, "s", "1 .. 3600", 1, 3600, 300,
           "Time between a fetch that failed and the next one for the same id"),
    NUMBER(policy_refresh, policy_refresh_s, CONFIG_NUMBER, "s", "60 .. 604800", 60, 7 * DAY_S,
           86400, "Time between two fetches of a cached policy in the background"),
    NUMBER(policy_cache_min, policy_cache_min_s, CONFIG_NUMBER, "s", "0 .. 86400", 0, DAY_S, 0,
           "Shortest time that a policy is kept, whatever its max_age"),
    NUMBER(policy_cache_max, policy_cache_max_s, CONFIG_NUMBER, "s", "1 .. 31557600", 1, 31557600,
           31557600, "Longest time that a policy is kept, whatever its max_age"),
    NUMBER(policy_cache_entries, policy_cache_entries, CONFIG_NUMBER, "", "1000 .. 2000000", 1000,
           2000000, 100000, "Domains whose policies are remembered"),
    NUMBER(policy_unused_max, policy_unused_max_s, CONFIG_NUMBER, "s", "3600 .. 31557600", 3600,
           31557600, 2592000, "A policy that no mail asked for all this time is forgotten"),
    TEXT(store_file, CONFIG_PATH_OR_NONE, "absolute path, or \"\"",
         "\"/var/lib/stsgate/policies.sqlite\"",
         "Where policies survive a restart; empty: they do not"),
    CHOICE(sts_dns_failure, dns_failure_defers, "open or defer", "open",
           "Without a TXT answer for now and without a cached policy: as if there were none, or a "
           "temporary refusal"),
    CHOICE(sts_mx_cname, alias_targets, "record or also-target", "record",
           "What is compared with a policy: the MX record's name, or also the target of its alias"),
    CHOICE(null_mx, refuse_null_mx, "upstream or refuse", "upstream",
           "Who answers a recipient whose domain takes no mail: the MX, or the gateway with 556"),
    TEXT(dane, CONFIG_BOOL, "true or false", "true",
         "Ask for DNSSEC-validated TLSA records of MX hosts, and hold to them; needs "
         "trust_anchor_file"),
    TEXT(dane_insecure_mx, CONFIG_BOOL, "true or false", "false",
         "DANE also with MX hosts that an unsigned domain names"),
    CHOICE(
        dane_and_sts, dane_suffices, "both or dane-suffices", "both",
        "Where TLSA records and a policy in mode enforce stand side by side: the MX must satisfy "
        "both, or TLSA records alone"),
    TEXT(tlsrpt_store_file, CONFIG_PATH_OR_NONE, "absolute path, or \"\"",
         "\"/var/lib/stsgate/reports.sqlite\"",
         "Where each domain's TLS sessions are counted for its daily report; empty: they are not"),
    TEXT(tlsrpt_organization, CONFIG_TEXT, "text", "\"\"",
         "Who reports; without it and tlsrpt_contact no report is sent"),
    TEXT(tlsrpt_contact, CONFIG_ADDRESS, "mail address, or \"\"", "\"\"",
         "Whom receivers of reports may ask; From of reports by mail, and its domain their "
         "submitter"),
    TEXT(tlsrpt_relay, CONFIG_ENDPOINT, "ADDRESS:PORT, or \"\"", "\"\"",
         "Mail server of the site that takes reports by mail; empty: none are sent by mail"),
    CHOICE(tlsrpt_dkim, tlsrpt_dkim_external, "none or external", "none",
           "Whether that server signs them by DKIM for the domain of tlsrpt_contact; without, none "
           "are sent by mail"),
    TEXT(tlsrpt_from, CONFIG_ADDRESS, "mail address, or \"\"", "\"\"",
         "Envelope sender of reports by mail; empty: tlsrpt_contact"),
    LIST(tlsrpt_public_address, CONFIG_LIST_PUBLIC, "list of addresses, one of each family", 0, 0,
         "{}", "What receivers see as the gateway's address, where NAT follows"),
    LIST(tlsrpt_exclude, CONFIG_LIST_DOMAIN, "list of domains", 0, 0, "{}",
         "Domains that get no report"),
    TEXT(tlsrpt_rua, CONFIG_RUA, "mailto: or https: URI, or \"\"", "\"\"",
         "Where all reports go, whatever the domains' records say; empty: where they say"),
    TEXT(tlsrpt_directory, CONFIG_PATH_OR_NONE, "absolute path, or \"\"", "\"\"",
         "Where a copy of each report is written"),
    CHOICE(tlsrpt_send, tlsrpt_failures_only, "all or failures", "all",
           "Which days are reported: all, or those with a failure"),
    TEXT(tlsrpt_verify, CONFIG_BOOL, "true or false", "false",
         "Whether a report may go only to https hosts whose certificate is good"),
    NUMBER(tlsrpt_spread, tlsrpt_spread_s, CONFIG_NUMBER, "s", "1 .. 14400", 1, 14400, 14400,
           "Time after midnight UTC over which reports are spread"),
    NUMBER(tlsrpt_retry, tlsrpt_retry_s, CONFIG_NUMBER, "s", "1 .. 86400", 1, DAY_S, 900,
           "Time until a report that nobody took is sent again; it doubles each time"),
    NUMBER(tlsrpt_retry_max, tlsrpt_retry_max_s, CONFIG_NUMBER, "s", "1 .. 86400", 1, DAY_S, 86400,
           "How long that goes on"),
    NUMBER(tlsrpt_suppress, tlsrpt_suppress_s, CONFIG_NUMBER, "s", "1 .. 31557600", 1, 31557600,
           604800, "How long a destination that took no report all that time gets none"),
    CHOICE(reply_profile, permanent[REPLY_CLASS_STS], "temporary or permanent", "temporary",
           "Refusals for a domain's MTA-STS policy: 4xx, or after a fresh look at it 5xx"),
    CHOICE(reply_profile_dane, permanent[REPLY_CLASS_DANE], "temporary or permanent", "temporary",
           "Refusals for a domain's TLSA records"),
    CHOICE(reply_profile_local, permanent[REPLY_CLASS_LOCAL], "temporary or permanent", "temporary",
           "Refusals for what the site, or the client by REQUIRETLS, demands"),
    CHOICE(permanent_code, policy_code, "551 or 550", "551",
           "Code of permanent refusals for an MTA-STS policy"),
    NUMBER(reply_id, reply_ids, CONFIG_BOOL, "", "true or false", 0, 0, false,
           "Whether the gateway's refusals end with the session's id, as it is in log and records"),
    CHOICE(violation, violation_closes, "reject or disconnect", "reject",
           "Temporary refusals: of the recipient, or with 421 of the session while it has none"),
    { "rollout", "", "survey, monitor, enforce N% or enforce", "enforce",
      "How far enforcement reaches", CONFIG_ROLLOUT, 0, 0, offsetof(struct config, rules.rollout) },
    NUMBER(requirement_cache_max, requirement_cache_max_s, CONFIG_NUMBER, "s", "0 .. 3600", 0, 3600,
           60, "Longest time that a worker reuses what it was told of a domain"),
    TEXT(chunking, CONFIG_BOOL, "true or false", "true",
         "Whether clients are shown the MX's CHUNKING and BINARYMIME"),
    CHOICE(bare_newline, bare_newline_any, "reject-ambiguous or reject-any", "reject-ambiguous",
           "Which messages with a bare CR or LF are refused: ones where it might pass for the end, "
           "or all"),
    SECONDS(connect_timeout, 1, 86400, 30, "TCP connection to the MX"),
    SECONDS(greeting_timeout, 1, 86400, 300, "Greeting of the MX"),
    SECONDS(command_timeout, 1, 86400, 300, "Reply of the MX to a command"),
    SECONDS(data_timeout, 1, 86400, 120, "Reply of the MX to DATA"),
    SECONDS(block_timeout, 1, 86400, 180, "Progress while message text is sent"),
    SECONDS(final_timeout, 1, 86400, 600, "Reply of the MX to the end of data"),
    SECONDS(client_timeout, 1, 86400, 300, "Next command of the client"),
    SECONDS(handshake_timeout, 1, 86400, 60, "TLS handshake with the MX"),
    NUMBER(sessions_max, sessions_max, CONFIG_NUMBER, "", "1 .. 1000000", 1, 1000000, 10000,
           "Sessions at a time, in each worker"),
    NUMBER(client_sessions_max, client_sessions_max, CONFIG_NUMBER, "", "1 .. 1000000", 1, 1000000,
           5000, "Sessions at a time of one client, in each worker; IPv6 by its first 64 bits"),
    NUMBER(recipients_max, recipients_max, CONFIG_NUMBER, "", "100 .. 10000", 100, 10000, 1000,
           "Recipients of one transaction"),
    SECONDS(recipient_budget, 60, 290, 280,
            "All that one RCPT may take, look-ups, handshake and the MX's replies together"),
};

#define KEYS (sizeof keys / sizeof *keys)

_Static_assert(KEYS <= CONFIG_KEYS_MAX, "lines of keys are kept in arrays of that size");
_Static_assert(sizeof(unsigned) == sizeof(uint32_t), "CONFIG_NUMBER serves both");
_Static_assert(WORKERS_MAX == 64, "as the table says");

const struct config_key *
config_keys(size_t *out_count)
{
    *out_count = KEYS;
    return keys;
}
