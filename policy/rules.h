/* policy/rules.h: what the operator says beside what domains publish: overrides, smart hosts, and
 * how far enforcement is rolled out (PRX-024, PRX-041, PRX-042). Plain data from the configuration,
 * and pure matching. Context: any process. */
#ifndef STSGATE_POLICY_RULES_H
#define STSGATE_POLICY_RULES_H

#include "base/ip_addr.h"
#include "base/name_list.h"
#include "base/requirement.h"
#include "base/verdict.h"

#define RULES_MAX 1024u   /* overrides, and smart hosts, of one configuration */
#define RULE_NETS_MAX 64u /* networks of one selector */

struct net_list {
    struct ip_net *nets; /* owned array */
    size_t count;
};

/* What refusals are said to be (REP-004). */
enum reply_profile { REPLY_PROFILE_SITE, REPLY_PROFILE_TEMPORARY, REPLY_PROFILE_PERMANENT };

/* A text of the operator's own in place of one of the replies (REP-004). */
struct reply_text {
    char id[8]; /* "REP-011" */
    char *text; /* owned */
};

/* One override. It applies where each selector that is given matches; the first that applies, in
 * the file's order, is the only one. */
struct rule {
    char id[RULE_ID_MAX + 1];     /* its title in the file; in logs and records */
    struct name_list domains;     /* policy domains; "*.example.com": one label below. Empty: any */
    struct net_list destinations; /* empty: any */
    struct net_list clients;      /* empty: any */
    enum rule_action action;
    struct name_list mx;  /* patterns as in a policy. RULE_VERIFY: those that are permitted; empty:
                           * the MX names are taken from DNS, and only the certificate is demanded.
                           * RULE_NO_DANE: those that it is for; empty: all of the domain */
    char *ca_file;        /* owned; RULE_VERIFY: roots in place of mx_ca_file; NULL: those */
    uint16_t tls_minimum; /* floor for these recipients; 0: the site's */
    enum reply_profile profiles[REPLY_CLASSES]; /* of what these recipients are refused for */
    char *reason;                               /* owned; never empty */
    int64_t until_s;                            /* ends at this wall-clock time */
};

/* Addresses that are a smart host: it is the policy domain for all mail sent there (PRX-024). */
struct smart_host {
    struct net_list destinations; /* one or more */
    struct net_list auth_clients; /* may say AUTH in clear on their own leg (EXT-008) */
    char name[HOSTNAME_MAX + 1];  /* normalised */
};

enum rollout_mode {
    ROLLOUT_ENFORCE, /* the strict one is zero */
    ROLLOUT_MONITOR, /* judge, record, never block */
    ROLLOUT_SURVEY,  /* relay every byte untouched, count */
};

struct rollout {
    enum rollout_mode mode;
    unsigned percent; /* ROLLOUT_ENFORCE: of the policy domains that are blocked, 0 .. 100 */
};

struct rules {
    struct rule *rules; /* owned array, in the file's order */
    size_t rule_count;
    struct smart_host *smart_hosts; /* owned array */
    size_t smart_host_count;
    struct reply_text *reply_texts; /* owned array */
    size_t reply_text_count;
    struct rollout rollout;
};

/** The override that applies to this recipient at wall-clock time now_s; NULL: none. An override
 * past its end is none. Borrowed. */
const struct rule *rules_find(const struct rules *rules, const char *domain,
                              const struct ip_addr *destination, const struct ip_addr *client,
                              int64_t now_s);

/** The override of that title; NULL: none. Borrowed. */
const struct rule *rules_named(const struct rules *rules, const char *id);

/** The operator's text in place of that of reply ID; NULL: none. Borrowed. */
const char *rules_reply_text(const struct rules *rules, const char *id);

/** The smart host at destination, or NULL. Borrowed. */
const struct smart_host *rules_smart_host(const struct rules *rules,
                                          const struct ip_addr *destination);

/** Does enforcement block for this policy domain? The share is chosen by a hash of the name that is
 * the same on every host and after every restart, and a domain that is in at N percent is in at
 * every larger share (PRX-041). */
bool rollout_enforces(const struct rollout *rollout, const char *domain);

/** "enforce", "enforce 30%", "monitor", "survey"; from text: RES_SYNTAX. out of text: 16 bytes. */
MUST_CHECK enum result rollout_parse(const char *text, struct rollout *out);
const char *rollout_text(const struct rollout *rollout, char out[16]);

/** The same as a number of 16 bits, for messages between processes. RES_SYNTAX: none of ours. */
unsigned rollout_to_number(const struct rollout *rollout);
MUST_CHECK enum result rollout_from_number(unsigned number, struct rollout *out);

/** Frees what the lists own; the struct is empty and may be used again. */
void rules_clear(struct rules *rules);
void rule_clear(struct rule *rule);
void net_list_clear(struct net_list *list);

/** Append "192.0.2.0/24", an address alone, or either in IPv6. RES_SYNTAX, RES_LIMIT, RES_NOMEM. */
MUST_CHECK enum result net_list_add(struct net_list *list, const char *text);
bool net_list_has(const struct net_list *list, const struct ip_addr *addr);

#endif
