#include "proxy/config.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hostname.h"
#include "base/requirement.h"
#include "proxy/config_section.h"
#include "proxy/config_value.h"
#include "proxy/control_msg.h"

#define PROBLEM_MAX 512u /* bytes of one message, without file and line */
#define WORKERS_MAX CONTROL_WORKERS_MAX
#define DAY_S 86400u
#define SECTION_KEYS_MAX 12u

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
         "Let the kernel encrypt bulk mail, where it can; the library does elsewhere"),
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

_Static_assert(sizeof(unsigned) == sizeof(uint32_t), "CONFIG_NUMBER serves both");
_Static_assert(WORKERS_MAX == 64, "as the table says");

const struct config_key *
config_keys(size_t *out_count)
{
    *out_count = KEYS;
    return keys;
}

/* What the callbacks of libconfuse work on. They get no pointer of ours, but the section that is
 * being parsed; and each section has a copy of its parent's file name, which nothing but its own
 * messages reads. So that name is where this hangs: its address as text; and nothing global is
 * needed. */
struct parse {
    struct config *config; /* borrowed */
    unsigned line[KEYS];   /* where the key was given, 0 for not at all */
    /* the section in hand */
    const cfg_t *section; /* NULL: none was begun yet */
    enum config_section section_kind;
    unsigned section_line;
    unsigned section_key_lines[SECTION_KEYS_MAX]; /* as `line` */
    unsigned client_lines[CLIENT_RULES_MAX];      /* where each section of clients begins */
    enum result res;                              /* of the first problem */
    unsigned problem_line;
    bool unclosed; /* a brace; last_line is then the file's */
    unsigned last_line;
    char problem[PROBLEM_MAX]; /* the first one, "" for none */
};

static struct parse *
parse_of(const cfg_t *cfg)
{
    void *parse = NULL;

    (void)sscanf(cfg->filename, "%p", &parse); /* written by new_section() */
    return parse;
}

static void __attribute__((format(printf, 4, 5)))
note_problem(struct parse *parse, enum result res, unsigned line, const char *fmt, ...)
{
    va_list args;

    if (parse->problem[0])
        return; /* the first one is the cause */
    parse->res = res;
    parse->problem_line = line;
    va_start(args, fmt);
    vsnprintf(parse->problem, sizeof parse->problem, fmt, args);
    va_end(args);
}

/* Was a key given in this line? What libconfuse objects to behind it is most often the second word
 * of a value, which it takes for the next key. */
static bool
has_value_in(const struct parse *parse, unsigned line)
{
    for (size_t i = 0; i < KEYS; i++)
        if (parse->line[i] == line)
            return true;
    for (size_t i = 0; i < SECTION_KEYS_MAX; i++)
        if (parse->section_key_lines[i] == line)
            return true;
    return false;
}

/* libconfuse's own findings: a syntax error, an unknown key. */
static void __attribute__((format(printf, 2, 0)))
on_error(cfg_t *cfg, const char *fmt, va_list args)
{
    char text[PROBLEM_MAX];

    vsnprintf(text, sizeof text, fmt, args);
    note_problem(parse_of(cfg), RES_SYNTAX, (unsigned)cfg->line, "%s%s", text,
                 has_value_in(parse_of(cfg), (unsigned)cfg->line)
                     ? " (a value with blanks in it needs quotes)"
                     : "");
}

static int
on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    struct parse *parse = parse_of(cfg);
    unsigned line = (unsigned)cfg->line;
    char problem[PROBLEM_MAX];
    enum result res;
    size_t at = 0;

    while (strcmp(keys[at].name, opt->name) != 0) /* opt was made from keys[] */
        at++;
    /* nvalues counts the value in hand, and begins anew with every "=". */
    if (parse->line[at] && opt->nvalues == 1) {
        note_problem(parse, RES_SYNTAX, line, "%s was already given in line %u", opt->name,
                     parse->line[at]);
        return -1;
    }
    parse->line[at] = line;
    res = config_value_set(&keys[at], value, parse->config, problem, sizeof problem);
    if (res != RES_OK) {
        note_problem(parse, res, line, "%s", problem);
        return -1;
    }
    *(const char **)result = value;
    return 0;
}

static void
end_section(struct parse *parse)
{
    char problem[PROBLEM_MAX];
    enum result res;

    if (!parse->section)
        return;
    parse->section = NULL;
    res = config_section_end(parse->section_kind, parse->config, problem, sizeof problem);
    if (res != RES_OK)
        note_problem(parse, res, parse->section_line, "%s", problem);
}

/* A value of a section that is not the one in hand ends that one: sections do not nest. */
static enum result
enter_section(struct parse *parse, const cfg_t *cfg, enum config_section kind, char *problem,
              size_t problem_size)
{
    if (parse->section == cfg)
        return RES_OK;
    end_section(parse);
    parse->section = cfg;
    parse->section_kind = kind;
    parse->section_line = (unsigned)cfg->line;
    memset(parse->section_key_lines, 0, sizeof parse->section_key_lines);
    if (kind == CONFIG_CLIENT && parse->config->clients.count < CLIENT_RULES_MAX)
        parse->client_lines[parse->config->clients.count] = parse->section_line;
    return config_section_begin(kind, cfg->title, parse->config, problem, problem_size);
}

static int
on_section_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, enum config_section kind)
{
    struct parse *parse = parse_of(cfg);
    unsigned line = (unsigned)cfg->line;
    char problem[PROBLEM_MAX];
    size_t at = 0, count;
    const struct config_section_key *section_keys = config_section_keys(kind, &count);
    enum result res = enter_section(parse, cfg, kind, problem, sizeof problem);

    while (strcmp(section_keys[at].name, opt->name) != 0) /* opt was made from them */
        at++;
    if (res == RES_OK && parse->section_key_lines[at] && opt->nvalues == 1) {
        note_problem(parse, RES_SYNTAX, line, "%s was already given in line %u", opt->name,
                     parse->section_key_lines[at]);
        return -1;
    }
    parse->section_key_lines[at] = line;
    if (res == RES_OK)
        res = config_section_set(kind, &section_keys[at], value, parse->config, problem,
                                 sizeof problem);
    if (res != RES_OK) {
        parse->section = NULL; /* one complaint is enough */
        note_problem(parse, res, line, "%s", problem);
        return -1;
    }
    return 0;
}

static int
on_override(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    *(const char **)result = value;
    return on_section_value(cfg, opt, value, CONFIG_OVERRIDE);
}

static int
on_smart_host(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    *(const char **)result = value;
    return on_section_value(cfg, opt, value, CONFIG_SMART_HOST);
}

static int
on_client(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    *(const char **)result = value;
    return on_section_value(cfg, opt, value, CONFIG_CLIENT);
}

static int
on_reply(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    *(const char **)result = value;
    return on_section_value(cfg, opt, value, CONFIG_REPLY);
}

/* What the scanner of comments and quotes is in. */
enum scan { SCAN_PLAIN, SCAN_COMMENT, SCAN_QUOTED };

/* One octet of the file that the configuration has no use for: the complaint, or NULL. */
static const char *
objection(enum scan scan, unsigned char c, char next)
{
    if (c == '\0')
        return "NUL byte: this is no text file";
    if ((c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
        return "control character";
    if (scan == SCAN_COMMENT)
        return NULL;
    if (c == '\\')
        return "\"\\\" is not permitted: values need no escapes";
    if (c == '$' && next == '{')
        return "\"${\" is not permitted: write the value itself";
    if (scan == SCAN_PLAIN && c == '/' && (next == '/' || next == '*'))
        return "comments begin with #, and a path with // or /* needs quotes";
    return NULL;
}

static enum scan
scan_next(enum scan scan, char c, char *quote)
{
    switch (scan) {
    case SCAN_PLAIN:
        if (c == '#')
            return SCAN_COMMENT;
        if (c != '"' && c != '\'')
            return SCAN_PLAIN;
        *quote = c;
        return SCAN_QUOTED;
    case SCAN_COMMENT:
        return c == '\n' ? SCAN_PLAIN : SCAN_COMMENT;
    case SCAN_QUOTED:
        return c == *quote ? SCAN_PLAIN : SCAN_QUOTED;
    }
    return SCAN_PLAIN;
}

/* Copy text to clean, of the same size, with blanks for comments: libconfuse 3.3 counts a line of
 * comment twice, so that every message behind it would name a wrong line. And stop what libconfuse
 * understands but a configuration should not say: "${NAME}" becomes a variable of the environment,
 * "\" within quotes makes any octet, even NUL, and a block comment that nobody closes swallows the
 * rest of the file unnoticed. */
static void
clean_text(struct parse *parse, struct span text, char *clean)
{
    static const char bom[] = "\xef\xbb\xbf";
    enum scan scan = SCAN_PLAIN;
    unsigned line = 1;
    char quote = '\0';
    int depth = 0;

    if (span_starts(text, span_of(bom)))
        note_problem(parse, RES_SYNTAX, 1, "starts with a byte order mark: save it without one");
    for (size_t i = 0; i < text.len && !parse->problem[0]; i++) {
        char c = text.ptr[i];
        const char *why =
            objection(scan, (unsigned char)c, i + 1 < text.len ? text.ptr[i + 1] : '\0');

        if (why)
            note_problem(parse, RES_SYNTAX, line, "%s", why);
        scan = scan_next(scan, c, &quote);
        clean[i] = scan == SCAN_COMMENT ? ' ' : c;
        depth += scan == SCAN_PLAIN && c == '{';
        depth -= scan == SCAN_PLAIN && c == '}';
        line += c == '\n';
    }
    if (depth > 0) { /* libconfuse takes the end of the file for the end of a section */
        parse->unclosed = true;
        parse->last_line = line - (text.len && text.ptr[text.len - 1] == '\n');
    }
}

/* Every key as text: numbers are read by config_value.c, decimal and with a range. No function is
 * declared, so that include() is unknown like any other name. */
static void
make_section_options(enum config_section kind, cfg_opt_t opts[SECTION_KEYS_MAX + 1])
{
    static const cfg_callback_t callbacks[CONFIG_SECTIONS] = { on_override, on_smart_host,
                                                               on_client, on_reply };
    size_t count;
    const struct config_section_key *section_keys = config_section_keys(kind, &count);

    for (size_t i = 0; i < count; i++) {
        cfg_flag_t flags = CFGF_NODEFAULT | (section_keys[i].is_list ? CFGF_LIST : CFGF_NONE);

        opts[i] = (cfg_opt_t)CFG_STR_CB(section_keys[i].name, NULL, flags, callbacks[kind]);
    }
    opts[count] = (cfg_opt_t)CFG_END();
}

/* sections: copied by libconfuse, like all of it. */
static void
make_options(cfg_opt_t opts[KEYS + CONFIG_SECTIONS + 1],
             cfg_opt_t sections[CONFIG_SECTIONS][SECTION_KEYS_MAX + 1])
{
    for (size_t i = 0; i < KEYS; i++) {
        cfg_flag_t flags = CFGF_NODEFAULT;

        if (config_type_is_list(keys[i].type))
            flags |= CFGF_LIST;
        opts[i] = (cfg_opt_t)CFG_STR_CB(keys[i].name, NULL, flags, on_value);
    }
    for (unsigned kind = 0; kind < CONFIG_SECTIONS; kind++) {
        make_section_options((enum config_section)kind, sections[kind]);
        opts[KEYS + kind] =
            (cfg_opt_t)CFG_SEC(config_section_name((enum config_section)kind), sections[kind],
                               CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
    }
    opts[KEYS + CONFIG_SECTIONS] = (cfg_opt_t)CFG_END();
}

static void
read_text(cfg_t *cfg, struct span text)
{
    struct parse *parse = parse_of(cfg);
    char *clean = malloc(text.len + 1);
    FILE *file = NULL;

    if (!clean) {
        note_problem(parse, RES_NOMEM, 1, "no memory");
        return;
    }
    clean_text(parse, text, clean);
    if (parse->problem[0] || text.len == 0)
        goto done;
    file = fmemopen(clean, text.len, "r");
    if (!file || cfg_parse_fp(cfg, file) != CFG_SUCCESS)
        note_problem(parse, RES_NOMEM, 1, "no memory"); /* anything else was noted before */
    if (parse->unclosed)
        note_problem(parse, RES_SYNTAX, parse->last_line,
                     "premature end of file: a brace is not closed");
done:
    if (file)
        fclose(file);
    free(clean);
}

/* The default, without the quotes and braces that one would write around it. */
static void
use_default(struct parse *parse, size_t at)
{
    char text[128], problem[PROBLEM_MAX];
    size_t len = 0;
    enum result res;

    for (const char *c = keys[at].fallback; *c && len < sizeof text - 1; c++)
        if (!strchr("{}\"", *c))
            text[len++] = *c;
    text[len] = '\0';
    if (len == 0 && config_type_is_list(keys[at].type))
        return;
    res = config_value_set(&keys[at], text, parse->config, problem, sizeof problem);
    if (res != RES_OK)
        note_problem(parse, res, 1, "%s", problem);
}

static void
use_defaults(cfg_t *cfg)
{
    struct parse *parse = parse_of(cfg);

    for (size_t i = 0; i < KEYS && !parse->problem[0]; i++) {
        if (parse->line[i])
            continue;
        if (keys[i].type == CONFIG_LIST_TPROXY && parse->config->listen_count)
            continue;
        if (keys[i].type == CONFIG_LIST_PORT && (cfg->opts[i].flags & CFGF_MODIFIED)) {
            note_problem(parse, RES_SYNTAX, (unsigned)cfg->line,
                         "%s: an empty list would permit no destination", keys[i].name);
            continue;
        }
        use_default(parse, i);
    }
}

/* A section without a value was never seen by its callbacks. */
static void
find_empty_sections(cfg_t *cfg)
{
    struct parse *parse = parse_of(cfg);

    for (unsigned kind = 0; kind < CONFIG_SECTIONS; kind++) {
        const char *name = config_section_name((enum config_section)kind);
        size_t filled = config_section_count((enum config_section)kind, parse->config);

        if (cfg_size(cfg, name) != filled)
            note_problem(parse, RES_SYNTAX, (unsigned)cfg->line, "%s: a section is empty", name);
    }
}

static unsigned
line_of(const struct parse *parse, const char *name)
{
    for (size_t i = 0; i < KEYS; i++)
        if (strcmp(keys[i].name, name) == 0)
            return parse->line[i];
    return 0;
}

/* The later line of the two, where the contradiction came in. */
static unsigned
later(const struct parse *parse, const char *a, const char *b)
{
    unsigned line_a = line_of(parse, a), line_b = line_of(parse, b);

    return line_a > line_b ? line_a : line_b;
}

static void
check_together(struct parse *parse)
{
    const struct config *config = parse->config;

    if (*config->resolver_stub && *config->resolver_forward)
        note_problem(parse, RES_SYNTAX, later(parse, "resolver_stub", "resolver_forward"),
                     "resolver_stub and resolver_forward exclude each other: keep one");
    if (config->taken_mark == config->upstream_mark)
        note_problem(parse, RES_SYNTAX, later(parse, "taken_mark", "upstream_mark"),
                     "taken_mark and upstream_mark are the same: connections would go in circles");
    if (config->own_mail && !config->upstream_mark)
        note_problem(parse, RES_SYNTAX, later(parse, "own_mail", "upstream_mark"),
                     "own_mail needs an upstream_mark: the gateway would take over itself");
    if (config->dns_cache_min_s > config->dns_cache_max_s)
        note_problem(parse, RES_SYNTAX, later(parse, "dns_cache_min", "dns_cache_max"),
                     "dns_cache_min %u is above dns_cache_max %u", config->dns_cache_min_s,
                     config->dns_cache_max_s);
    if (config->policy_cache_min_s > config->policy_cache_max_s)
        note_problem(parse, RES_SYNTAX, later(parse, "policy_cache_min", "policy_cache_max"),
                     "policy_cache_min %u is above policy_cache_max %u", config->policy_cache_min_s,
                     config->policy_cache_max_s);
}

/* A report says who sends it (RPT-053, RPT-065). */
static void
check_reports(struct parse *parse)
{
    const struct config *config = parse->config;
    bool reports = *config->tlsrpt_organization != '\0';

    if (reports != (*config->tlsrpt_contact != '\0'))
        note_problem(parse, RES_SYNTAX, later(parse, "tlsrpt_organization", "tlsrpt_contact"),
                     "tlsrpt_organization and tlsrpt_contact need each other");
    if (*config->tlsrpt_relay && !reports)
        note_problem(parse, RES_SYNTAX, line_of(parse, "tlsrpt_relay"),
                     "tlsrpt_relay needs tlsrpt_organization and tlsrpt_contact: who reports");
    if (*config->tlsrpt_relay && !config->tlsrpt_dkim_external)
        note_problem(parse, RES_SYNTAX, line_of(parse, "tlsrpt_relay"),
                     "tlsrpt_relay needs tlsrpt_dkim = external: receivers take signed reports "
                     "only (RFC 8460 3)");
    if (reports && !*config->tlsrpt_store_file)
        note_problem(parse, RES_SYNTAX, later(parse, "tlsrpt_organization", "tlsrpt_store_file"),
                     "tlsrpt_organization needs tlsrpt_store_file: what is to be reported");
}

static void
check_proxies(struct parse *parse)
{
    const struct config *config = parse->config;
    bool listens = false;

    for (size_t i = 0; i < config->listen_count; i++)
        listens = listens || config->listen[i].kind == INTERCEPT_PROXY;
    if (listens && config->proxy_network_count == 0)
        note_problem(parse, RES_SYNTAX, line_of(parse, "listen_proxy"),
                     "listen_proxy needs proxy_networks: whose header is to be believed");
}

static void
check_clients(struct parse *parse)
{
    const struct config *config = parse->config;
    bool has_certificate = *config->client_certificate_file;

    if (has_certificate != (*config->client_key_file != '\0'))
        note_problem(parse, RES_SYNTAX, later(parse, "client_certificate_file", "client_key_file"),
                     "client_certificate_file and client_key_file need each other");
    for (size_t i = 0; i < config->clients.count; i++) {
        const struct client_rule *rule = &config->clients.rules[i];
        const char *why = client_rule_objection(rule, has_certificate);

        if (why)
            note_problem(parse, RES_SYNTAX, parse->client_lines[i], "client \"%s\": %s",
                         rule->title, why);
    }
}

/* What only the machine knows. */
static void
ask_machine(struct parse *parse)
{
    struct config *config = parse->config;
    char name[HOSTNAME_MAX + 1] = "";
    cpu_set_t cpus;

    if (config->workers == 0) {
        int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;

        config->workers = count < (int)WORKERS_MAX ? (unsigned)count : WORKERS_MAX;
    }
    /* The default needs a machine that was prepared for it, as the package does; whoever names a
     * user means it. */
    if (line_of(parse, "user") == 0 && !getpwnam(config->user)) {
        config->user[0] = '\0';
        config->user_is_missing = true;
    }
    if (*config->hostname)
        return;
    if (gethostname(name, sizeof name - 1) != 0 || !hostname_is_valid(span_of(name))) {
        note_problem(parse, RES_SYNTAX, 1, "hostname: the machine has no usable name: set the key");
        return;
    }
    free(config->hostname);
    config->hostname = strdup(name);
    if (!config->hostname)
        note_problem(parse, RES_NOMEM, 1, "no memory");
}

/* NULL: no memory. */
static cfg_t *
new_section(struct parse *parse)
{
    cfg_opt_t opts[KEYS + CONFIG_SECTIONS + 1], sections[CONFIG_SECTIONS][SECTION_KEYS_MAX + 1];
    char *filename = NULL;
    cfg_t *cfg;

    make_options(opts, sections);
    cfg = cfg_init(opts, CFGF_NONE);
    if (cfg && asprintf(&filename, "%p", (void *)parse) < 0) {
        cfg_free(cfg);
        cfg = NULL;
    }
    if (!cfg)
        return NULL;
    cfg->filename = filename;
    cfg_set_error_function(cfg, on_error);
    return cfg;
}

enum result
config_parse(const char *name, struct span text, struct config **out, char *error,
             size_t error_size)
{
    struct config *config = calloc(1, sizeof *config);
    enum result res = RES_NOMEM;
    cfg_t *cfg = NULL;
    struct parse *parse = calloc(1, sizeof *parse);

    *out = NULL;
    snprintf(error, error_size, "%s:1: no memory", name);
    if (text.len > CONFIG_FILE_MAX_BYTES) {
        snprintf(error, error_size, "%s:1: larger than %u bytes", name, CONFIG_FILE_MAX_BYTES);
        res = RES_LIMIT;
        goto done;
    }
    if (config && parse)
        cfg = new_section(parse);
    if (!cfg)
        goto done;
    parse->config = config;
    read_text(cfg, text);
    end_section(parse);
    if (!parse->problem[0])
        find_empty_sections(cfg);
    if (!parse->problem[0])
        use_defaults(cfg);
    if (!parse->problem[0])
        check_together(parse);
    if (!parse->problem[0])
        check_clients(parse);
    if (!parse->problem[0])
        check_proxies(parse);
    if (!parse->problem[0])
        check_reports(parse);
    if (!parse->problem[0])
        ask_machine(parse);
    res = parse->res;
    if (parse->problem[0]) {
        snprintf(error, error_size, "%s:%u: %s", name, parse->problem_line, parse->problem);
        goto done;
    }
    *out = config;
    config = NULL; /* now the caller's */
done:
    if (cfg)
        cfg_free(cfg);
    free(parse);
    config_free(config);
    return res;
}

void
config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < KEYS; i++)
        if (keys[i].type == CONFIG_TEXT_HOST || keys[i].type == CONFIG_USER ||
            keys[i].type == CONFIG_PATH || keys[i].type == CONFIG_PATH_OR_NONE ||
            keys[i].type == CONFIG_RESOLVER || keys[i].type == CONFIG_FORWARD ||
            keys[i].type == CONFIG_TEXT || keys[i].type == CONFIG_ADDRESS ||
            keys[i].type == CONFIG_ENDPOINT || keys[i].type == CONFIG_RUA)
            free(*(char **)((char *)config + keys[i].offset));
    name_list_clear(&config->tlsrpt_exclude);
    rules_clear(&config->rules);
    client_rules_clear(&config->clients);
    free(config);
}

/* All of the file, up to one byte more than is permitted. RES_SYNTAX: cannot be read. */
static enum result
read_file(const char *path, char **out_text, size_t *out_len, char *error, size_t error_size)
{
    char *text = malloc(CONFIG_FILE_MAX_BYTES + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    enum result res = RES_SYNTAX;
    size_t len = 0;
    ssize_t n = fd < 0 ? -1 : 1;

    while (text && n > 0 && len <= CONFIG_FILE_MAX_BYTES) {
        n = read(fd, text + len, CONFIG_FILE_MAX_BYTES + 1 - len);
        if (n > 0)
            len += (size_t)n;
    }
    if (n < 0)
        snprintf(error, error_size, "%s:1: cannot be read: %s", path, strerror(errno));
    else if (!text)
        res = RES_NOMEM;
    else
        res = RES_OK;
    if (fd >= 0)
        close(fd);
    if (res == RES_OK) {
        *out_text = text;
        *out_len = len;
        text = NULL; /* now the caller's */
    }
    free(text);
    return res;
}

enum result
config_read(const char *path, struct config **out, char **out_text, size_t *out_text_len,
            char *error, size_t error_size)
{
    char *text = NULL;
    size_t len = 0;
    enum result res;

    *out = NULL;
    snprintf(error, error_size, "%s:1: no memory", path);
    res = read_file(path, &text, &len, error, error_size);
    if (res != RES_OK)
        goto done;
    res = config_parse(path, span_make(text, len), out, error, error_size);
    if (res == RES_OK && out_text) {
        *out_text = text;
        *out_text_len = len;
        text = NULL; /* now the caller's */
    }
done:
    free(text);
    return res;
}
