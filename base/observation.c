#include "base/observation.h"

#include "base/requirement.h"

#include <assert.h>
#include <stdlib.h>

struct observation *
observation_new(void)
{
    struct observation *obs = calloc(1, sizeof *obs);

    if (obs)
        obs->refs = 1;
    return obs;
}

struct observation *
observation_ref(struct observation *obs)
{
    obs->refs++;
    return obs;
}

void
observation_unref(struct observation *obs)
{
    if (!obs)
        return;
    assert(obs->refs > 0);
    if (--obs->refs > 0)
        return;
    name_list_clear(&obs->sans);
    peer_chain_unref(obs->certs);
    free(obs);
}

const char *
tls_version_name(uint16_t version)
{
    switch (version) {
    case 0:
        return "";
    case 0x0300:
        return "SSLv3";
    case TLS_VERSION_1_0:
        return "TLSv1";
    case TLS_VERSION_1_1:
        return "TLSv1.1";
    case TLS_VERSION_1_2:
        return "TLSv1.2";
    case TLS_VERSION_1_3:
        return "TLSv1.3";
    default:
        return "unknown";
    }
}

const char *
tls_version_reply_name(uint16_t version)
{
    switch (version) {
    case 0x0300:
        return "SSL 3.0";
    case TLS_VERSION_1_0:
        return "TLS 1.0";
    case TLS_VERSION_1_1:
        return "TLS 1.1";
    case TLS_VERSION_1_2:
        return "TLS 1.2";
    case TLS_VERSION_1_3:
        return "TLS 1.3";
    default:
        return "unknown";
    }
}

bool
observation_is_weak(const struct observation *obs)
{
    return obs->stage == TLS_STAGE_DONE && obs->version < TLS_VERSION_1_2;
}

const char *
tls_stage_name(enum tls_stage stage)
{
    static const char *const names[] = {
        [TLS_STAGE_CLEAR] = "clear",
        [TLS_STAGE_REFUSED] = "refused",
        [TLS_STAGE_FAILED] = "failed",
        [TLS_STAGE_DONE] = "done",
    };

    return names[stage];
}

const char *
tls_failure_name(enum tls_failure failure)
{
    static const char *const names[] = {
        [TLS_FAILURE_NONE] = "none",       [TLS_FAILURE_HANDSHAKE] = "handshake",
        [TLS_FAILURE_VERSION] = "version", [TLS_FAILURE_INJECTED] = "injected",
        [TLS_FAILURE_TIMEOUT] = "timeout",
    };

    return names[failure];
}

const char *
chain_state_name(enum chain_state chain)
{
    static const char *const names[] = {
        [CHAIN_UNTRUSTED] = "untrusted",
        [CHAIN_EXPIRED] = "expired",
        [CHAIN_GOOD] = "good",
    };

    return names[chain];
}

const char *
dane_match_name(enum dane_match match)
{
    static const char *const names[] = {
        [DANE_UNCHECKED] = "unchecked",   [DANE_UNUSABLE] = "unusable",
        [DANE_NO_MATCH] = "no-match",     [DANE_TA_BROKEN] = "ta-broken",
        [DANE_TA_EXPIRED] = "ta-expired", [DANE_TA_MISNAMED] = "ta-misnamed",
        [DANE_MATCHED] = "matched",
    };

    return names[match];
}
