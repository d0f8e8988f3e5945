#include "base/requirement.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash_key.h"

struct requirement *
requirement_new(void)
{
    struct requirement *req = calloc(1, sizeof *req);

    if (req) {
        req->refs = 1;
        req->tls_floor = TLS_VERSION_1_0;
    }
    return req;
}

struct requirement *
requirement_ref(struct requirement *req)
{
    req->refs++;
    return req;
}

void
requirement_unref(struct requirement *req)
{
    if (!req)
        return;
    assert(req->refs > 0);
    if (--req->refs > 0)
        return;
    name_list_clear(&req->names);
    name_list_clear(&req->sts.mx);
    name_list_clear(&req->local.mx);
    name_list_clear(&req->report_to);
    for (size_t i = 0; i < req->dane.host_count; i++)
        dane_host_clear(&req->dane.hosts[i]);
    free(req->dane.hosts);
    free(req);
}

const char *
sts_mode_name(enum sts_mode mode)
{
    static const char *const names[] = {
        [STS_MODE_NONE] = "none",
        [STS_MODE_TESTING] = "testing",
        [STS_MODE_ENFORCE] = "enforce",
    };

    return names[mode];
}

const char *
mx_match_name(enum mx_match matched)
{
    static const char *const names[] = {
        [MX_MATCH_CERTIFICATE] = "certificate",
        [MX_MATCH_ADDRESS] = "address",
        [MX_MATCH_TABLE] = "table",
    };

    return names[matched];
}

const char *
requirement_sni(const struct requirement *req)
{
    if (req->dane.host_count)
        return req->dane.hosts[0].base;
    for (size_t i = 0; i < req->names.count; i++)
        if (!hostname_is_ip_like(span_of(req->names.names[i])))
            return req->names.names[i];
    return "";
}

static uint64_t
mix(uint64_t key, const void *bytes, size_t len)
{
    const uint64_t pair[] = { key, hash_bytes(bytes, len) };

    return hash_bytes(pair, sizeof pair);
}

static uint64_t
mix_host(uint64_t key, const struct dane_host *host)
{
    key = mix(key, host->mx, strlen(host->mx));
    key = mix(key, host->base, strlen(host->base));
    for (size_t i = 0; i < host->references.count; i++)
        key = mix(key, host->references.names[i], strlen(host->references.names[i]));
    for (size_t i = 0; i < host->count; i++) {
        const struct tlsa_record *r = &host->records[i];
        const uint8_t head[] = { r->usage, r->selector, r->matching };

        key = mix(key, head, sizeof head);
        key = mix(key, r->data, r->len);
    }
    return key;
}

uint64_t
requirement_dane_key(const struct requirement *req)
{
    uint64_t key = req->dane.host_count;

    for (size_t i = 0; i < req->dane.host_count; i++)
        key = mix_host(key, &req->dane.hosts[i]);
    return key || req->dane.host_count == 0 ? key : 1;
}

const char *
rule_action_name(enum rule_action action)
{
    static const char *const names[] = {
        [RULE_NONE] = "none",   [RULE_BYPASS] = "bypass",   [RULE_MONITOR] = "monitor",
        [RULE_FLOOR] = "floor", [RULE_REQUIRE] = "require", [RULE_VERIFY] = "verify",
        [RULE_DANE] = "dane",   [RULE_NO_DANE] = "no-dane",
    };

    return names[action];
}

const char *
dane_state_name(enum dane_state state)
{
    static const char *const names[] = {
        [DANE_NONE] = "none",
        [DANE_SECURE] = "secure",
        [DANE_FAILED] = "failed",
    };

    return names[state];
}
