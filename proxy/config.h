/* proxy/config.h: the configuration file: one table of keys (config_keys.c), read by libconfuse.
 * Context: the supervisor reads and checks the file; each child gets the same bytes by a sealed
 * memory file and parses them itself, so that all see one version. A struct config is read-only. */
#ifndef STSGATE_PROXY_CONFIG_H
#define STSGATE_PROXY_CONFIG_H

#include "base/ip_addr.h"
#include "base/log.h"
#include "base/name_list.h"
#include "base/result.h"
#include "base/verdict.h"
#include "policy/rules.h"
#include "proxy/client_rule.h"
#include "proxy/report_sender.h"

#define CONFIG_LISTEN_MAX 16u
#define CONFIG_NETS_MAX 64u
#define CONFIG_PORTS_MAX 16u
#define CONFIG_INTERFACES_MAX 32u
#define CONFIG_INTERFACE_MAX 15u /* linux/if.h: IFNAMSIZ with its NUL */
#define CONFIG_FILE_MAX_BYTES (1024u * 1024u)

/* How connections reach a listener, and so where their original destination is found (PRX-001). */
enum intercept {
    INTERCEPT_TPROXY,   /* local address of the accepted socket */
    INTERCEPT_REDIRECT, /* SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST */
    INTERCEPT_PROXY,    /* the header of the PROXY protocol (PRX-054) */
};

struct config_listen {
    enum intercept kind;
    struct ip_addr addr; /* "::" takes both families */
    uint16_t port;
};

struct config {
    /* process */
    char *hostname;       /* <gw> of our own replies */
    char *user;           /* whom the children become when root starts; "" for nobody else */
    bool user_is_missing; /* the default one; user is "" then */
    unsigned workers;     /* 1 .. 64; the key's 0 has become the number of CPUs */
    enum log_level log_level;
    char *record_file;    /* "" for none */
    char *control_socket; /* "" for none */
    char *forward_to;     /* of records: Fluentd's forward protocol; "" for none */
    unsigned forward_buffer_mib;
    bool record_loss_defers; /* nothing passes unrecorded */
    char *status_listen;     /* ADDRESS:PORT of the status page and the metrics; "" for none */

    /* interception */
    struct config_listen listen[CONFIG_LISTEN_MAX];
    size_t listen_count;                           /* 1 .. */
    struct ip_net proxy_networks[CONFIG_NETS_MAX]; /* whose PROXY header is believed */
    size_t proxy_network_count;
    uint16_t destination_ports[CONFIG_PORTS_MAX]; /* dialled; all others are refused (PRX-054) */
    size_t destination_port_count;
    bool upstream_as_client; /* connections to the MX come from the client's address (PRX-005) */
    char inside[CONFIG_INTERFACES_MAX][CONFIG_INTERFACE_MAX + 1]; /* where clients are */
    size_t inside_count;
    struct ip_net bypass[CONFIG_NETS_MAX]; /* either end of what the packet rules let pass */
    size_t bypass_count;
    uint32_t taken_mark;    /* of packets for the listeners */
    unsigned taken_table;   /* of routes for them */
    bool own_mail;          /* mail of this host is taken over, too */
    uint32_t upstream_mark; /* SO_MARK of our own connections; 0 for none (PRX-003) */

    /* TLS to the MX */
    char *mx_ca_file;
    uint16_t tls_minimum; /* where TLS is required: TLS_VERSION_1_2 or _1_3 (TLS-020) */
    uint16_t tls_opportunistic_minimum; /* elsewhere: TLS_VERSION_1_0 .. 1_3 (TLS-021) */
    bool tls_required;                  /* nothing goes in clear, to nobody (TLS-011) */
    bool cleartext_fallback;            /* who demands no TLS is served without when it is broken
                                         * (TLS-031) */
    bool tls_post_quantum;
    bool ktls;

    /* TLS of the clients */
    char *client_certificate_file, *client_key_file; /* both, or "" (PRX-039) */
    uint16_t client_tls_minimum;                     /* TLS_VERSION_1_0 .. 1_3 */
    struct client_rules clients;

    /* DNS */
    char *resolver_stub, *resolver_forward, *resolver_root_hints, *trust_anchor_file;
    bool resolver_local_zones;
    unsigned dns_cache_min_s, dns_cache_max_s;

    /* MTA-STS */
    char *policy_ca_file;
    uint16_t policy_port;
    struct ip_net policy_networks[CONFIG_NETS_MAX]; /* not public, yet permitted (STS-035) */
    size_t policy_network_count;
    unsigned fetch_timeout_ms;        /* STS-029 */
    unsigned refetch_wait_s;          /* after a fetch that failed, for the same id (STS-031) */
    unsigned policy_wait_ms;          /* what one RCPT waits for the policy process (PRX-053) */
    unsigned policy_cache_min_s;      /* lower bound on max_age */
    unsigned policy_cache_max_s;      /* upper bound on max_age */
    unsigned policy_cache_entries;    /* domains that are remembered (STS-071) */
    unsigned policy_refresh_s;        /* between two fetches in the background (STS-066) */
    unsigned policy_unused_max_s;     /* a policy that no mail asks for is given up then */
    char *store_file;                 /* where policies survive a restart (STS-061); "" for none */
    unsigned requirement_cache_max_s; /* what a worker remembers, at most; also below the TXT TTL */
    bool dns_failure_defers;          /* no TXT answer, no policy known: 451 4.4.3 (STS-011) */
    bool alias_targets;               /* the target of an MX host that is an alias is compared with
                                       * the policy too (STS-082) */
    bool refuse_null_mx;              /* RCPT is answered here, not by the MX (PRX-022) */
    bool dane;             /* and there is a trust anchor: TLSA records count (DANE-001) */
    bool dane_insecure_mx; /* also with MX hosts from unsigned MX records (DANE-009) */
    bool dane_suffices;    /* a TLSA match makes up for what MTA-STS would refuse
                            * (STS-107) */

    /* TLSRPT */
    char *tlsrpt_store_file;   /* "": nothing is counted, and nothing reported */
    char *tlsrpt_organization; /* with tlsrpt_contact, both or "": no report is made (RPT-053) */
    char *tlsrpt_contact;      /* an addr-spec; its domain submits */
    char *tlsrpt_from;         /* envelope sender of reports by mail; "": tlsrpt_contact */
    char *tlsrpt_relay;        /* where they are submitted; "": none goes by mail */
    bool tlsrpt_dkim_external; /* the relay signs; else none goes by mail (RPT-065) */
    struct ip_addr tlsrpt_public4, tlsrpt_public6; /* what receivers see in place of ours */
    unsigned tlsrpt_spread_s;        /* reports leave 1 s .. this behind midnight (RPT-076) */
    unsigned tlsrpt_retry_s;         /* after the first attempt; doubles with each (RPT-077) */
    unsigned tlsrpt_retry_max_s;     /* given up so long after the first attempt */
    unsigned tlsrpt_suppress_s;      /* a destination that never took a report has rest for this */
    bool tlsrpt_failures_only;       /* days without a failure are not reported */
    struct name_list tlsrpt_exclude; /* domains that get none */
    char *tlsrpt_rua;                /* where all go in place of what domains say; "": there */
    char *tlsrpt_directory;          /* where a copy of each is written; "": nowhere */
    bool tlsrpt_verify;              /* certificates of https destinations must be good */
    struct report_senders report_senders; /* of others' reports, which nothing is to block */

    /* refusals */
    bool permanent[REPLY_CLASSES]; /* 5xx, by whose demand it is that failed (REP-004) */
    bool policy_code;              /* 550 in place of 551 (REP-006) */
    bool reply_ids;                /* " [sg:SESSION]" at the end of each (REP-007) */
    bool violation_closes;         /* 421 in place of the first refusal (PRX-046) */

    /* what the operator says beside: overrides, smart hosts, roll-out */
    struct rules rules;

    /* SMTP */
    bool chunking;         /* CHUNKING and BINARYMIME may be shown (CHNK-001) */
    bool bare_newline_any; /* every bare CR or LF in message text is refused (SMTP-044) */

    /* waits, RFC 5321 4.5.3.2 */
    unsigned connect_timeout_ms, greeting_timeout_ms, command_timeout_ms, data_timeout_ms,
        block_timeout_ms, final_timeout_ms, client_timeout_ms, handshake_timeout_ms;

    /* bounds */
    unsigned sessions_max;        /* per worker */
    unsigned client_sessions_max; /* of one client, per worker (PRX-049) */
    unsigned recipients_max;      /* per transaction (SMTP-027) */
    unsigned recipient_budget_ms; /* all that one RCPT waits for (PRX-053) */
};

/** Parse text, the whole content of the file called name (for messages).
 *
 * out        on RES_OK a new config the caller owns; on anything else NULL
 * error      on anything but RES_OK "FILE:LINE: what is wrong, and what to do", NUL-terminated
 *
 * RES_SYNTAX  unknown key, bad value, contradiction; RES_LIMIT too large; RES_NOMEM
 * Does not open the files that it names. */
MUST_CHECK enum result config_parse(const char *name, struct span text, struct config **out,
                                    char *error, size_t error_size);
void config_free(struct config *config); /* NULL is allowed */

/** Read the file, then config_parse(). RES_SYNTAX also when it cannot be read.
 * out_text: when not NULL, on RES_OK a new copy of the bytes, the caller frees with free(). */
MUST_CHECK enum result config_read(const char *path, struct config **out, char **out_text,
                                   size_t *out_text_len, char *error, size_t error_size);

/* How a value is written, and what it becomes in struct config. Those of char * come first,
 * lists last. */
enum config_type {
    CONFIG_TEXT_HOST,      /* char *: a host name, or "" */
    CONFIG_USER,           /* char *: a user's name, or "" */
    CONFIG_PATH,           /* char *: an absolute path */
    CONFIG_PATH_OR_NONE,   /* char *: the same, or "" */
    CONFIG_RESOLVER,       /* char *: ADDRESS or ADDRESS@PORT, or "" */
    CONFIG_TEXT,           /* char *: any text on one line */
    CONFIG_ADDRESS,        /* char *: a mail address, or "" */
    CONFIG_ENDPOINT,       /* char *: ADDRESS:PORT, or "" */
    CONFIG_RUA,            /* char *: mailto:ADDRESS or an https URI, or "" */
    CONFIG_FORWARD,        /* char *: ADDRESS:PORT, an absolute path, or "" */
    CONFIG_NUMBER,         /* unsigned, uint32_t */
    CONFIG_MS,             /* unsigned in milliseconds, written in seconds */
    CONFIG_PORT,           /* uint16_t */
    CONFIG_BOOL,           /* bool */
    CONFIG_CHOICE,         /* bool: range is "FIRST or SECOND", the second word is true */
    CONFIG_ROLLOUT,        /* struct rollout */
    CONFIG_LEVEL,          /* enum log_level */
    CONFIG_TLS_VERSION,    /* uint16_t */
    CONFIG_LIST_TPROXY,    /* into listen[] */
    CONFIG_LIST_REDIRECT,  /* into listen[] */
    CONFIG_LIST_PROXY,     /* into listen[] */
    CONFIG_LIST_PORT,      /* into destination_ports[] */
    CONFIG_LIST_NET,       /* into policy_networks[] */
    CONFIG_LIST_PROXY_NET, /* into proxy_networks[] */
    CONFIG_LIST_DOMAIN,    /* into tlsrpt_exclude */
    CONFIG_LIST_PUBLIC,    /* into tlsrpt_public4 and tlsrpt_public6 */
    CONFIG_LIST_BYPASS,    /* into bypass[] */
    CONFIG_LIST_INTERFACE, /* into inside[] */
};

/* The table: what the parser goes by, the manual shows and its test compares. */
struct config_key {
    const char *name;
    const char *unit;     /* "" or "s" */
    const char *range;    /* "1 .. 64", "absolute path", "list of ADDRESS:PORT" ... */
    const char *fallback; /* default, as one would write it */
    const char *help;     /* one line */
    enum config_type type;
    uint32_t min, max; /* of numbers and ports, as written; of TLS versions as TLS_VERSION_... */
    size_t offset;     /* of the field; 0 for lists */
};

const struct config_key *config_keys(size_t *out_count);

/* Sections: `NAME "title" { key = value ... }`, any number of each. */
enum config_section {
    CONFIG_OVERRIDE,
    CONFIG_SMART_HOST,
    CONFIG_CLIENT,
    CONFIG_REPLY,
    CONFIG_REPORT_SENDER,
    CONFIG_SECTIONS
};

struct config_section_key {
    const char *name;
    const char *range;
    bool is_list;
    const char *help;
};

/** Things that are permitted, and that an operator should know of: an override that is past its end
 * or near it, one that authenticates nobody, enforcement that does not reach everywhere. each gets
 * one line of text, without a line end. now_s: wall clock. */
typedef void config_warning(void *arg, const char *text);
void config_warnings(const struct config *config, int64_t now_s, config_warning *each, void *arg);

#endif
