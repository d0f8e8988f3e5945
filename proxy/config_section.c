#include "proxy/config_section.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hostname.h"
#include "base/utc.h"
#include "proxy/config_value.h"
#include "proxy/replies.h"

#define REASON_MAX 200u /* octets of an override's reason */
#define DAY_S 86400

static const char *const names[] = {
    [CONFIG_OVERRIDE] = "override",
    [CONFIG_SMART_HOST] = "smart_host",
    [CONFIG_CLIENT] = "client",
    [CONFIG_REPLY] = "reply",
    [CONFIG_REPORT_SENDER] = "report_sender",
};

static const struct config_section_key override_keys[] = {
    { "domain", "list of names, \"*.\" stands for one label", true,
      "Policy domains, in A-labels; without it: any" },
    { "destination", "list of ADDRESS/BITS or ADDRESS", true,
      "Where the connection goes; without it: anywhere" },
    { "client", "list of ADDRESS/BITS or ADDRESS", true, "Who sends; without it: anybody" },
    { "action", "bypass, monitor, floor, require, verify, dane or no-dane", false,
      "What holds in place of, or beside, the domain's own policy" },
    { "mx", "list of names, \"*.\" stands for one label", true,
      "verify: MX hosts that are permitted; without it: those of the DNS. "
      "no-dane: those that it is for; without it: all" },
    { "ca_file", "absolute path", false,
      "verify: CA certificates in place of mx_ca_file, a file or a folder" },
    { "tls_minimum", "1.0, 1.1, 1.2 or 1.3", false,
      "floor, require, verify, dane: lowest TLS version; without it: the site's" },
    { "reply_profile", "temporary or permanent", false,
      "Refusals for the MTA-STS policy; without it: as the site's" },
    { "reply_profile_dane", "temporary or permanent", false,
      "Refusals for TLSA records; without it: as the site's" },
    { "reply_profile_local", "temporary or permanent", false,
      "Refusals for what site or client demand; without it: as the site's" },
    { "reason", "text", false, "Why; needed" },
    { "until", "YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ", false,
      "The last day, or the moment, it holds, UTC; needed" },
};

static const struct config_section_key smart_host_keys[] = {
    { "destination", "list of ADDRESS/BITS or ADDRESS", true,
      "Addresses of the smart host that the title names; needed" },
    { "auth_clients", "list of ADDRESS/BITS or ADDRESS", true,
      "Who may say AUTH to it without TLS of their own; without it: nobody" },
};

static const struct config_section_key client_keys[] = {
    { "client", "list of ADDRESS/BITS or ADDRESS", true, "Who sends; without it: anybody" },
    { "destination", "list of ADDRESS/BITS or ADDRESS", true,
      "Where the connection goes; without it: anywhere" },
    { "starttls", "hide, terminate or passthrough", false,
      "How the client's STARTTLS is met; without it: terminate with client_certificate_file, else "
      "hide" },
    { "require_tls", "true or false", false,
      "Refuse mail from a client that has not begun TLS; needs terminate" },
    { "accept_lf", "true or false", false, "Take a bare LF for the end of a command" },
    { "sessions_max", "1 .. 1000000", false,
      "Sessions at a time of all that the section covers, in each worker" },
    { "relay", "true or false", false, "Relay every octet untouched: nothing is judged" },
};

static const struct config_section_key reply_keys[] = {
    { "text", "text of printable ASCII", false, "What stands behind the two codes; needed" },
};

static const struct config_section_key report_sender_keys[] = {
    { "client", "list of ADDRESS/BITS or ADDRESS", true,
      "Hosts that send TLS reports of their own; needed" },
    { "sender", "list of mail addresses", true, "Their envelope senders; needed" },
};

const struct config_section_key *
config_section_keys(enum config_section section, size_t *out_count)
{
    static const struct {
        const struct config_section_key *keys;
        size_t count;
    } sections[] = {
        [CONFIG_OVERRIDE] = { override_keys, sizeof override_keys / sizeof *override_keys },
        [CONFIG_SMART_HOST] = { smart_host_keys, sizeof smart_host_keys / sizeof *smart_host_keys },
        [CONFIG_CLIENT] = { client_keys, sizeof client_keys / sizeof *client_keys },
        [CONFIG_REPLY] = { reply_keys, sizeof reply_keys / sizeof *reply_keys },
        [CONFIG_REPORT_SENDER] = { report_sender_keys,
                                   sizeof report_sender_keys / sizeof *report_sender_keys },
    };

    *out_count = sections[section].count;
    return sections[section].keys;
}

const char *
config_section_name(enum config_section section)
{
    return names[section];
}

/* ---- what is wrong ---- */

static enum result __attribute__((format(printf, 4, 5)))
complain(enum result res, char *error, size_t error_size, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(error, error_size, fmt, args);
    va_end(args);
    return res;
}

static enum result
wrong(const struct config_section_key *key, const char *text, char *error, size_t error_size)
{
    char shown[80];

    return complain(RES_SYNTAX, error, error_size, "%s: expected %s, got %s", key->name, key->range,
                    log_quote(shown, sizeof shown, span_of(text)));
}

/* What adding to a list came to, in words. */
static enum result
of_list(enum result res, const struct config_section_key *key, const char *text, char *error,
        size_t error_size)
{
    switch (res) {
    case RES_OK:
        return RES_OK;
    case RES_NOMEM:
        return complain(res, error, error_size, "no memory");
    case RES_LIMIT:
        return complain(res, error, error_size, "%s: more than %u entries", key->name,
                        RULE_NETS_MAX);
    case RES_SYNTAX:
    case RES_AGAIN:
    case RES_TEMPFAIL:
    case RES_DENIED:
        break;
    }
    return wrong(key, text, error, error_size);
}

/* ---- values ---- */

/* A name, or "*." and a name: as a domain and as an mx pattern. */
static enum result
add_pattern(struct name_list *list, const char *text)
{
    const char *name = strncmp(text, "*.", 2) == 0 ? text + 2 : text;
    char normal[HOSTNAME_MAX + 1], pattern[HOSTNAME_MAX + 3];

    if (!hostname_is_valid(span_of(name)) || hostname_is_ip_like(span_of(name)) ||
        hostname_normalise(span_of(name), normal) != RES_OK)
        return RES_SYNTAX;
    if (list->count >= RULE_NETS_MAX)
        return RES_LIMIT;
    snprintf(pattern, sizeof pattern, "%s%s", name == text ? "" : "*.", normal);
    return name_list_add(list, span_of(pattern));
}

static bool
set_action(const char *text, enum rule_action *out)
{
    static const enum rule_action actions[] = { RULE_BYPASS,  RULE_MONITOR, RULE_FLOOR,
                                                RULE_REQUIRE, RULE_VERIFY,  RULE_DANE,
                                                RULE_NO_DANE };

    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(text, rule_action_name(actions[i])) == 0) {
            *out = actions[i];
            return true;
        }
    return false;
}

/* The end of the day, or the moment. */
static bool
set_until(const char *text, int64_t *out)
{
    bool is_day;

    if (!utc_parse(text, out, &is_day))
        return false;
    *out += is_day ? 86400 : 0;
    return true;
}

static bool
is_line(const char *text)
{
    size_t len = strlen(text);

    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    return len >= 1 && len <= REASON_MAX;
}

static enum result
set_copy(char **field, const char *text, char *error, size_t error_size)
{
    free(*field);
    *field = strdup(text);
    return *field ? RES_OK : complain(RES_NOMEM, error, error_size, "no memory");
}

static bool
set_profile(const char *text, enum reply_profile *out)
{
    bool permanent = strcmp(text, "permanent") == 0;

    *out = permanent ? REPLY_PROFILE_PERMANENT : REPLY_PROFILE_TEMPORARY;
    return permanent || strcmp(text, "temporary") == 0;
}

static enum result
set_override(const struct config_section_key *key, const char *text, struct rule *rule, char *error,
             size_t error_size)
{
    bool fits = false;

    if (strcmp(key->name, "domain") == 0)
        return of_list(add_pattern(&rule->domains, text), key, text, error, error_size);
    if (strcmp(key->name, "destination") == 0)
        return of_list(net_list_add(&rule->destinations, text), key, text, error, error_size);
    if (strcmp(key->name, "client") == 0)
        return of_list(net_list_add(&rule->clients, text), key, text, error, error_size);
    if (strcmp(key->name, "mx") == 0)
        return of_list(add_pattern(&rule->mx, text), key, text, error, error_size);
    if (strcmp(key->name, "ca_file") == 0 && config_is_path(text))
        return set_copy(&rule->ca_file, text, error, error_size);
    if (strcmp(key->name, "reason") == 0 && is_line(text))
        return set_copy(&rule->reason, text, error, error_size);
    if (strcmp(key->name, "action") == 0)
        fits = set_action(text, &rule->action);
    else if (strcmp(key->name, "tls_minimum") == 0)
        fits = config_tls_version(text, &rule->tls_minimum);
    else if (strcmp(key->name, "reply_profile") == 0)
        fits = set_profile(text, &rule->profiles[REPLY_CLASS_STS]);
    else if (strcmp(key->name, "reply_profile_dane") == 0)
        fits = set_profile(text, &rule->profiles[REPLY_CLASS_DANE]);
    else if (strcmp(key->name, "reply_profile_local") == 0)
        fits = set_profile(text, &rule->profiles[REPLY_CLASS_LOCAL]);
    else if (strcmp(key->name, "until") == 0)
        fits = set_until(text, &rule->until_s);
    return fits ? RES_OK : wrong(key, text, error, error_size);
}

/* The smart host whose addresses share some with net, the last one left out; or NULL. */
static const struct smart_host *
other_smart_host(const struct rules *rules, const struct ip_net *net)
{
    for (size_t i = 0; i + 1 < rules->smart_host_count; i++) {
        const struct smart_host *host = &rules->smart_hosts[i];

        for (size_t k = 0; k < host->destinations.count; k++)
            if (ip_net_has(&host->destinations.nets[k], &net->addr) ||
                ip_net_has(net, &host->destinations.nets[k].addr))
                return host;
    }
    return NULL;
}

static enum result
set_smart_host(const struct config_section_key *key, const char *text, struct rules *rules,
               char *error, size_t error_size)
{
    struct smart_host *host = &rules->smart_hosts[rules->smart_host_count - 1];
    bool is_client = strcmp(key->name, "auth_clients") == 0;
    enum result res =
        of_list(net_list_add(is_client ? &host->auth_clients : &host->destinations, text), key,
                text, error, error_size);
    const struct smart_host *other;

    if (is_client)
        return res;

    if (res != RES_OK)
        return res;
    other = other_smart_host(rules, &host->destinations.nets[host->destinations.count - 1]);
    if (other)
        return complain(RES_SYNTAX, error, error_size, "%s: %s is in smart_host \"%s\" already",
                        key->name, text, other->name);
    return RES_OK;
}

static bool
set_starttls(const char *text, enum client_starttls *out)
{
    static const enum client_starttls ways[] = { CLIENT_STARTTLS_HIDE, CLIENT_STARTTLS_TERMINATE,
                                                 CLIENT_STARTTLS_PASSTHROUGH };

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (strcmp(text, client_starttls_name(ways[i])) == 0) {
            *out = ways[i];
            return true;
        }
    return false;
}

static enum result
set_client(const struct config_section_key *key, const char *text, struct client_rule *rule,
           char *error, size_t error_size)
{
    unsigned long long number = 0;
    bool fits = false;

    if (strcmp(key->name, "client") == 0)
        return of_list(net_list_add(&rule->clients, text), key, text, error, error_size);
    if (strcmp(key->name, "destination") == 0)
        return of_list(net_list_add(&rule->destinations, text), key, text, error, error_size);
    if (strcmp(key->name, "starttls") == 0)
        fits = set_starttls(text, &rule->starttls);
    else if (strcmp(key->name, "require_tls") == 0)
        fits = config_bool(text, &rule->require_tls);
    else if (strcmp(key->name, "accept_lf") == 0)
        fits = config_bool(text, &rule->accept_lf);
    else if (strcmp(key->name, "sessions_max") == 0)
        fits = span_to_u64(span_of(text), 10, &number) && number >= 1 && number <= 1000000;
    else if (strcmp(key->name, "relay") == 0)
        fits = config_bool(text, &rule->relay);
    if (fits && number)
        rule->sessions_max = (unsigned)number;
    return fits ? RES_OK : wrong(key, text, error, error_size);
}

/* ---- sections ---- */

static bool
is_title(const char *title)
{
    for (const char *c = title; *c; c++)
        if (*c < ' ' || *c > '~' || *c == '"')
            return false;
    return *title && strlen(title) <= RULE_ID_MAX;
}

static enum result
begin_override(const char *title, struct rules *rules, char *error, size_t error_size)
{
    struct rule *more;

    if (!is_title(title))
        return complain(RES_SYNTAX, error, error_size,
                        "override: the title is 1 .. %u printable characters of ASCII",
                        RULE_ID_MAX);
    if (rules->rule_count >= RULES_MAX)
        return complain(RES_LIMIT, error, error_size, "more than %u overrides", RULES_MAX);
    more = realloc(rules->rules, (rules->rule_count + 1) * sizeof *more);
    if (!more)
        return complain(RES_NOMEM, error, error_size, "no memory");
    rules->rules = more;
    more[rules->rule_count] = (struct rule){ 0 };
    snprintf(more[rules->rule_count++].id, sizeof more->id, "%s", title);
    return RES_OK;
}

static enum result
begin_smart_host(const char *title, struct rules *rules, char *error, size_t error_size)
{
    char name[HOSTNAME_MAX + 1];
    struct smart_host *more;

    if (!hostname_is_valid(span_of(title)) || hostname_is_ip_like(span_of(title)) ||
        hostname_normalise(span_of(title), name) != RES_OK)
        return complain(RES_SYNTAX, error, error_size,
                        "smart_host: the title is the host's name, in A-labels");
    if (rules->smart_host_count >= RULES_MAX)
        return complain(RES_LIMIT, error, error_size, "more than %u smart hosts", RULES_MAX);
    more = realloc(rules->smart_hosts, (rules->smart_host_count + 1) * sizeof *more);
    if (!more)
        return complain(RES_NOMEM, error, error_size, "no memory");
    rules->smart_hosts = more;
    more[rules->smart_host_count] = (struct smart_host){ 0 };
    memcpy(more[rules->smart_host_count++].name, name, sizeof name);
    return RES_OK;
}

static enum result
begin_client(const char *title, struct client_rules *rules, char *error, size_t error_size)
{
    if (!is_title(title))
        return complain(RES_SYNTAX, error, error_size,
                        "client: the title is 1 .. %u printable characters of ASCII", RULE_ID_MAX);
    switch (client_rules_add(rules, title)) {
    case RES_OK:
        return RES_OK;
    case RES_LIMIT:
        return complain(RES_LIMIT, error, error_size, "more than %u clients", CLIENT_RULES_MAX);
    case RES_NOMEM:
    case RES_SYNTAX:
    case RES_AGAIN:
    case RES_TEMPFAIL:
    case RES_DENIED:
        break;
    }
    return complain(RES_NOMEM, error, error_size, "no memory");
}

static enum result
begin_reply(const char *title, struct rules *rules, char *error, size_t error_size)
{
    struct reply_text *more;

    if (!reply_exists(title))
        return complain(RES_SYNTAX, error, error_size,
                        "reply: the title is the ID of a reply, such as REP-011");
    more = realloc(rules->reply_texts, (rules->reply_text_count + 1) * sizeof *more);
    if (!more)
        return complain(RES_NOMEM, error, error_size, "no memory");
    rules->reply_texts = more;
    more[rules->reply_text_count] = (struct reply_text){ 0 };
    snprintf(more[rules->reply_text_count++].id, sizeof more->id, "%s", title);
    return RES_OK;
}

static enum result
set_reply(const struct config_section_key *key, const char *text, struct rules *rules, char *error,
          size_t error_size)
{
    if (!reply_text_is_valid(text))
        return complain(RES_SYNTAX, error, error_size,
                        "%s: expected 1 .. %u printable characters of ASCII, with < and > only "
                        "around gw, Domain, Reason, Observed TLS version and ip",
                        key->name, REPLY_TEXT_MAX);
    return set_copy(&rules->reply_texts[rules->reply_text_count - 1].text, text, error, error_size);
}

static enum result
begin_report_sender(const char *title, struct report_senders *senders, char *error,
                    size_t error_size)
{
    enum result res = is_title(title) ? report_senders_add(senders, title) : RES_SYNTAX;

    if (res == RES_SYNTAX)
        return complain(res, error, error_size,
                        "report_sender: the title is 1 .. %u printable characters of ASCII",
                        RULE_ID_MAX);
    if (res == RES_LIMIT)
        return complain(res, error, error_size, "more than %u report_senders", REPORT_SENDERS_MAX);
    return res == RES_OK ? res : complain(res, error, error_size, "no memory");
}

static enum result
set_report_sender(const struct config_section_key *key, const char *text,
                  struct report_sender *sender, char *error, size_t error_size)
{
    bool is_client = strcmp(key->name, "client") == 0;

    return of_list(is_client ? net_list_add(&sender->clients, text)
                             : report_sender_add_address(sender, text),
                   key, text, error, error_size);
}

enum result
config_section_begin(enum config_section section, const char *title, struct config *config,
                     char *error, size_t error_size)
{
    switch (section) {
    case CONFIG_SMART_HOST:
        return begin_smart_host(title, &config->rules, error, error_size);
    case CONFIG_CLIENT:
        return begin_client(title, &config->clients, error, error_size);
    case CONFIG_REPLY:
        return begin_reply(title, &config->rules, error, error_size);
    case CONFIG_REPORT_SENDER:
        return begin_report_sender(title, &config->report_senders, error, error_size);
    case CONFIG_OVERRIDE:
    case CONFIG_SECTIONS:
        break;
    }
    return begin_override(title, &config->rules, error, error_size);
}

enum result
config_section_set(enum config_section section, const struct config_section_key *key,
                   const char *text, struct config *config, char *error, size_t error_size)
{
    struct rules *rules = &config->rules;
    struct client_rules *clients = &config->clients;
    struct report_senders *senders = &config->report_senders;

    switch (section) {
    case CONFIG_SMART_HOST:
        return set_smart_host(key, text, rules, error, error_size);
    case CONFIG_CLIENT:
        return set_client(key, text, &clients->rules[clients->count - 1], error, error_size);
    case CONFIG_REPLY:
        return set_reply(key, text, rules, error, error_size);
    case CONFIG_REPORT_SENDER:
        return set_report_sender(key, text, &senders->senders[senders->count - 1], error,
                                 error_size);
    case CONFIG_OVERRIDE:
    case CONFIG_SECTIONS:
        break;
    }
    return set_override(key, text, &rules->rules[rules->rule_count - 1], error, error_size);
}

size_t
config_section_count(enum config_section section, const struct config *config)
{
    switch (section) {
    case CONFIG_OVERRIDE:
        return config->rules.rule_count;
    case CONFIG_SMART_HOST:
        return config->rules.smart_host_count;
    case CONFIG_CLIENT:
        return config->clients.count;
    case CONFIG_REPLY:
        return config->rules.reply_text_count;
    case CONFIG_REPORT_SENDER:
        return config->report_senders.count;
    case CONFIG_SECTIONS:
        break;
    }
    return 0;
}

static bool
has_profile(const struct rule *rule)
{
    for (unsigned i = 0; i < REPLY_CLASSES; i++)
        if (rule->profiles[i] != REPLY_PROFILE_SITE)
            return true;
    return false;
}

/* What is missing or does not belong together; NULL: nothing. */
static const char *
objection(const struct rule *rule)
{
    if (rule->action == RULE_NONE && !has_profile(rule))
        return "action is missing";
    if (rule->domains.count == 0 && rule->destinations.count == 0 && rule->clients.count == 0)
        return "domain, destination or client must say whom it is for";
    if (!rule->reason)
        return "reason is missing: who reads it in a year wants to know";
    if (rule->until_s == 0)
        return "until is missing: an exception has an end";
    if (rule->action != RULE_VERIFY && rule->action != RULE_NO_DANE && rule->mx.count)
        return "mx belongs to the actions verify and no-dane";
    if (rule->action != RULE_VERIFY && rule->ca_file)
        return "ca_file belongs to action verify";
    if ((rule->action < RULE_FLOOR || rule->action == RULE_NO_DANE) && rule->tls_minimum)
        return "tls_minimum belongs to the actions floor, require, verify and dane";
    if (rule->action == RULE_FLOOR && !rule->tls_minimum)
        return "action floor needs tls_minimum";
    return NULL;
}

enum result
config_section_end(enum config_section section, struct config *config, char *error,
                   size_t error_size)
{
    struct rules *rules = &config->rules;
    const char *why;

    if (section == CONFIG_CLIENT) /* all of them, when the keys beside are known: config_check.c */
        return RES_OK;
    if (section == CONFIG_REPLY) /* one key, and it was given */
        return RES_OK;
    if (section == CONFIG_SMART_HOST) {
        const struct smart_host *host = &rules->smart_hosts[rules->smart_host_count - 1];

        if (host->destinations.count)
            return RES_OK;
        return complain(RES_SYNTAX, error, error_size, "smart_host \"%s\": destination is missing",
                        host->name);
    }
    if (section == CONFIG_REPORT_SENDER) {
        const struct report_sender *sender =
            &config->report_senders.senders[config->report_senders.count - 1];

        why = report_sender_objection(sender);
        return why ? complain(RES_SYNTAX, error, error_size, "report_sender \"%s\": %s",
                              sender->title, why)
                   : RES_OK;
    }
    why = objection(&rules->rules[rules->rule_count - 1]);
    if (!why)
        return RES_OK;
    return complain(RES_SYNTAX, error, error_size, "override \"%s\": %s",
                    rules->rules[rules->rule_count - 1].id, why);
}
