#include "proxy/config_value.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hostname.h"
#include "base/pack.h"
#include "base/requirement.h"
#include "policy/tlsrpt_record.h"

#define UNIX_PATH_BYTES 108u /* sizeof sun_path */
#define USER_MAX 32u         /* utmp.h: UT_NAMESIZE */
#define TEXT_MAX 200u        /* octets of a text of the operator's */
#define SHOWN_MAX 80u        /* characters of a wrong value that a message repeats */

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

static const struct {
    const char *text;
    uint16_t version;
} tls_versions[] = {
    { "1.0", TLS_VERSION_1_0 },
    { "1.1", TLS_VERSION_1_1 },
    { "1.2", TLS_VERSION_1_2 },
    { "1.3", TLS_VERSION_1_3 },
};

bool
config_type_is_list(enum config_type type)
{
    return type >= CONFIG_LIST_TPROXY;
}

bool
config_type_is_text(enum config_type type)
{
    return type <= CONFIG_FORWARD;
}

/* The one shape of message for a value that does not fit. Returns RES_SYNTAX. */
static enum result
wrong(const struct config_key *key, const char *text, char *error, size_t error_size)
{
    char shown[SHOWN_MAX];

    snprintf(error, error_size, "%s: expected %s%s%s, got %s", key->name, key->range,
             *key->unit ? " " : "", key->unit, log_quote(shown, sizeof shown, span_of(text)));
    return RES_SYNTAX;
}

static enum result
set_text(char **field, const char *text, char *error, size_t error_size)
{
    char *copy = strdup(text);

    if (!copy) {
        snprintf(error, error_size, "no memory");
        return RES_NOMEM;
    }
    free(*field);
    *field = copy;
    return RES_OK;
}

bool
config_is_path(const char *text)
{
    if (*text != '/' || strlen(text) >= PATH_MAX)
        return false;
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) /* a line end inside quotes */
            return false;
    return true;
}

/* Decimal only: libconfuse's own numbers would read 010 as 8. */
static bool
to_number(struct span text, uint32_t min, uint32_t max, uint32_t *out)
{
    unsigned long long n;

    if (!span_to_u64(text, 10, &n) || n < min || n > max)
        return false;
    *out = (uint32_t)n;
    return true;
}

/* ADDRESS or ADDRESS@PORT, as libunbound wants it. */
static bool
is_resolver(const char *text)
{
    char addr[IP_ADDR_TEXT_MAX];
    struct span s = span_of(text);
    size_t at = span_find(s, '@');
    struct ip_addr ip;
    uint32_t port;

    if (at >= sizeof addr)
        return false;
    memcpy(addr, text, at);
    addr[at] = '\0';
    return ip_addr_parse(addr, &ip) == RES_OK &&
           (at == s.len || to_number(span_from(s, at + 1), 1, 65535, &port));
}

/* Where records are forwarded to. */
static bool
is_forward(const char *text)
{
    struct ip_addr addr;
    uint16_t port;

    if (*text == '/')
        return config_is_path(text) && strlen(text) < UNIX_PATH_BYTES;
    return ip_endpoint_parse(text, &addr, &port);
}

static bool
is_endpoint(const char *text)
{
    struct ip_addr addr;
    uint16_t port;

    return ip_endpoint_parse(text, &addr, &port);
}

static enum result
full(const struct config_key *key, unsigned max, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s: more than %u entries", key->name, max);
    return RES_LIMIT;
}

static enum result
add_listen(const struct config_key *key, const char *text, struct config *config, char *error,
           size_t error_size)
{
    struct config_listen listen = {
        .kind = key->type == CONFIG_LIST_TPROXY     ? INTERCEPT_TPROXY
                : key->type == CONFIG_LIST_REDIRECT ? INTERCEPT_REDIRECT
                                                    : INTERCEPT_PROXY,
    };

    if (!ip_endpoint_parse(text, &listen.addr, &listen.port))
        return wrong(key, text, error, error_size);
    for (size_t i = 0; i < config->listen_count; i++)
        if (config->listen[i].port == listen.port &&
            ip_addr_equal(&config->listen[i].addr, &listen.addr)) {
            snprintf(error, error_size, "%s: %s is listed twice", key->name, text);
            return RES_SYNTAX;
        }
    if (config->listen_count == CONFIG_LISTEN_MAX)
        return full(key, CONFIG_LISTEN_MAX, error, error_size);
    config->listen[config->listen_count++] = listen;
    return RES_OK;
}

static enum result
add_port(const struct config_key *key, const char *text, struct config *config, char *error,
         size_t error_size)
{
    uint32_t port;

    if (!to_number(span_of(text), key->min, key->max, &port))
        return wrong(key, text, error, error_size);
    if (config->destination_port_count == CONFIG_PORTS_MAX)
        return full(key, CONFIG_PORTS_MAX, error, error_size);
    config->destination_ports[config->destination_port_count++] = (uint16_t)port;
    return RES_OK;
}

static enum result
add_net(const struct config_key *key, const char *text, struct ip_net nets[CONFIG_NETS_MAX],
        size_t *count, char *error, size_t error_size)
{
    struct ip_net net;

    if (ip_net_parse(text, &net) != RES_OK)
        return wrong(key, text, error, error_size);
    if (*count == CONFIG_NETS_MAX)
        return full(key, CONFIG_NETS_MAX, error, error_size);
    nets[(*count)++] = net;
    return RES_OK;
}

static enum result
add_domain(const struct config_key *key, const char *text, struct name_list *list, char *error,
           size_t error_size)
{
    char domain[HOSTNAME_MAX + 1];

    if (hostname_normalise(span_of(text), domain) != RES_OK)
        return wrong(key, text, error, error_size);
    if (name_list_add(list, span_of(domain)) == RES_OK)
        return RES_OK;
    snprintf(error, error_size, "no memory");
    return RES_NOMEM;
}

static enum result
add_public(const struct config_key *key, const char *text, struct config *config, char *error,
           size_t error_size)
{
    struct ip_addr addr, *field;

    if (ip_addr_parse(text, &addr) != RES_OK)
        return wrong(key, text, error, error_size);
    field = addr.len == 4 ? &config->tlsrpt_public4 : &config->tlsrpt_public6;
    if (field->len)
        return full(key, 1, error, error_size);
    *field = addr;
    return RES_OK;
}

static bool
is_line(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return false;
    return len <= TEXT_MAX && pack_is_text(span_of(text));
}

/* Written as it would stand in a domain's record. */
static bool
is_rua(const char *text)
{
    char record[TLSRPT_URI_MAX_BYTES + 32];
    int len = snprintf(record, sizeof record, "v=TLSRPTv1;rua=%s", text);
    struct tlsrpt_record found;
    enum tlsrpt_finding finding;
    bool one;

    if (len >= (int)sizeof record ||
        tlsrpt_record_find(&(struct span){ record, (size_t)len }, 1, &finding, &found) != RES_OK)
        return false;
    one = found.mail.count + found.https.count == 1;
    tlsrpt_record_clear(&found);
    return one;
}

/* As the kernel permits them, without what nft takes for something else. */
static bool
is_interface(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > CONFIG_INTERFACE_MAX || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("._-@", text[i]))
            return false;
    return true;
}

static enum result
add_interface(const struct config_key *key, const char *text, struct config *config, char *error,
              size_t error_size)
{
    if (!is_interface(text))
        return wrong(key, text, error, error_size);
    if (config->inside_count == CONFIG_INTERFACES_MAX)
        return full(key, CONFIG_INTERFACES_MAX, error, error_size);
    snprintf(config->inside[config->inside_count++], sizeof config->inside[0], "%s", text);
    return RES_OK;
}

bool
config_bool(const char *text, bool *field)
{
    bool on = strcmp(text, "true") == 0;

    if (!on && strcmp(text, "false") != 0)
        return false;
    *field = on;
    return true;
}

/* One of the two words of key->range, "FIRST or SECOND". */
static bool
set_choice(const struct config_key *key, const char *text, bool *field)
{
    static const char between[] = " or ";
    const char *second = strstr(key->range, between);
    size_t first_len = (size_t)(second - key->range);

    second += sizeof between - 1;
    *field = strcmp(text, second) == 0;
    return *field || span_equal(span_of(text), span_make(key->range, first_len));
}

static bool
set_level(const char *text, enum log_level *field)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++)
        if (strcmp(text, level_names[i]) == 0) {
            *field = (enum log_level)i;
            return true;
        }
    return false;
}

bool
config_tls_version(const char *text, uint16_t *out)
{
    for (size_t i = 0; i < sizeof tls_versions / sizeof *tls_versions; i++)
        if (strcmp(text, tls_versions[i].text) == 0) {
            *out = tls_versions[i].version;
            return true;
        }
    return false;
}

static bool
set_tls_version(const struct config_key *key, const char *text, uint16_t *field)
{
    return config_tls_version(text, field) && *field >= key->min && *field <= key->max;
}

/* field: where key->offset points, of the type that key->type tells. */
static bool
set_number(const struct config_key *key, const char *text, void *field)
{
    uint32_t n;

    if (!to_number(span_of(text), key->min, key->max, &n))
        return false;
    if (key->type == CONFIG_PORT)
        *(uint16_t *)field = (uint16_t)n;
    else if (key->type == CONFIG_MS)
        *(unsigned *)field = n * 1000u;
    else
        *(unsigned *)field = n;
    return true;
}

/* As adduser permits them, without capitals. */
static bool
is_user(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_", more[] = "0123456789-";
    size_t len = strlen(text);

    if (len > USER_MAX || !strchr(letters, *text))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!strchr(letters, text[i]) && !strchr(more, text[i]))
            return false;
    return true;
}

static bool
is_host(const char *text)
{
    return hostname_is_valid(span_of(text));
}

static bool
is_address(const char *text)
{
    return tlsrpt_address_is_valid(span_of(text));
}

/* What a text has to be. But for CONFIG_PATH "" will do as well. */
static bool (*const text_checks[])(const char *text) = {
    [CONFIG_TEXT_HOST] = is_host,    [CONFIG_USER] = is_user,
    [CONFIG_PATH] = config_is_path,  [CONFIG_PATH_OR_NONE] = config_is_path,
    [CONFIG_RESOLVER] = is_resolver, [CONFIG_TEXT] = is_line,
    [CONFIG_ADDRESS] = is_address,   [CONFIG_ENDPOINT] = is_endpoint,
    [CONFIG_RUA] = is_rua,           [CONFIG_FORWARD] = is_forward,
};

static enum result
set_checked_text(const struct config_key *key, const char *text, char **field, char *error,
                 size_t error_size)
{
    bool may_be_empty = key->type != CONFIG_PATH;

    if (!(may_be_empty && !*text) && !text_checks[key->type](text))
        return wrong(key, text, error, error_size);
    return set_text(field, text, error, error_size);
}

enum result
config_value_set(const struct config_key *key, const char *text, struct config *config, char *error,
                 size_t error_size)
{
    void *field = (char *)config + key->offset;
    bool fits = false;

    switch (key->type) {
    case CONFIG_TEXT_HOST:
    case CONFIG_USER:
    case CONFIG_PATH:
    case CONFIG_PATH_OR_NONE:
    case CONFIG_RESOLVER:
    case CONFIG_TEXT:
    case CONFIG_ADDRESS:
    case CONFIG_ENDPOINT:
    case CONFIG_RUA:
    case CONFIG_FORWARD:
        return set_checked_text(key, text, field, error, error_size);
    case CONFIG_LIST_TPROXY:
    case CONFIG_LIST_REDIRECT:
    case CONFIG_LIST_PROXY:
        return add_listen(key, text, config, error, error_size);
    case CONFIG_LIST_PORT:
        return add_port(key, text, config, error, error_size);
    case CONFIG_LIST_NET:
        return add_net(key, text, config->policy_networks, &config->policy_network_count, error,
                       error_size);
    case CONFIG_LIST_PROXY_NET:
        return add_net(key, text, config->proxy_networks, &config->proxy_network_count, error,
                       error_size);
    case CONFIG_LIST_DOMAIN:
        return add_domain(key, text, &config->tlsrpt_exclude, error, error_size);
    case CONFIG_LIST_PUBLIC:
        return add_public(key, text, config, error, error_size);
    case CONFIG_LIST_BYPASS:
        return add_net(key, text, config->bypass, &config->bypass_count, error, error_size);
    case CONFIG_LIST_INTERFACE:
        return add_interface(key, text, config, error, error_size);
    case CONFIG_NUMBER:
    case CONFIG_MS:
    case CONFIG_PORT:
        fits = set_number(key, text, field);
        break;
    case CONFIG_BOOL:
        fits = config_bool(text, field);
        break;
    case CONFIG_CHOICE:
        fits = set_choice(key, text, field);
        break;
    case CONFIG_ROLLOUT:
        fits = rollout_parse(text, field) == RES_OK;
        break;
    case CONFIG_LEVEL:
        fits = set_level(text, field);
        break;
    case CONFIG_TLS_VERSION:
        fits = set_tls_version(key, text, field);
        break;
    }
    return fits ? RES_OK : wrong(key, text, error, error_size);
}
