#include "policy/policy_stats.h"

#include "base/span.h"

static const char *const names[POLICY_STATS] = {
    [STAT_TXT_FOUND] = "txt_found",
    [STAT_TXT_ABSENT] = "txt_absent",
    [STAT_TXT_SEVERAL] = "txt_several",
    [STAT_TXT_INVALID] = "txt_invalid",
    [STAT_TXT_DNS_FAILED] = "txt_dns_failed",
    [STAT_LENIENT_TXT_BLANK] = "lenient_txt_blank",
    [STAT_LENIENT_EMPTY_LINE] = "lenient_empty_line",
    [STAT_LENIENT_MAX_AGE] = "lenient_max_age",
    [STAT_FETCH_OK] = "fetch_ok",
    [STAT_FETCH_DNS] = "fetch_dns",
    [STAT_FETCH_ADDRESS] = "fetch_address",
    [STAT_FETCH_CONNECT] = "fetch_connect",
    [STAT_FETCH_TIMEOUT] = "fetch_timeout",
    [STAT_FETCH_CERTIFICATE] = "fetch_certificate",
    [STAT_FETCH_HTTP] = "fetch_http",
    [STAT_FETCH_BODY] = "fetch_body",
    [STAT_FETCH_INVALID] = "fetch_invalid",
    [STAT_FETCH_OTHER] = "fetch_other",
    [STAT_FETCH_HELD_BACK] = "fetch_held_back",
    [STAT_CACHE_HIT] = "cache_hit",
    [STAT_CACHE_MISS] = "cache_miss",
    [STAT_CACHE_EXPIRED] = "cache_expired",
    [STAT_KEPT] = "kept",
    [STAT_REPLACED] = "replaced",
    [STAT_BODY_CHANGED] = "body_changed",
    [STAT_FIRST_CONTACT_BLOCKED] = "first_contact_blocked",
    [STAT_DEFERRED] = "deferred",
    [STAT_EVICTED_EXPIRED] = "evicted_expired",
    [STAT_EVICTED_NEGATIVE] = "evicted_negative",
    [STAT_EVICTED_NONE] = "evicted_none",
    [STAT_EVICTED_TESTING] = "evicted_testing",
    [STAT_EVICTED_ENFORCE] = "evicted_enforce",
    [STAT_REMOVED_UNUSED] = "removed_unused",
    [STAT_REMOVED_EXPIRED] = "removed_expired",
    [STAT_REFRESH_OK] = "refresh_ok",
    [STAT_REFRESH_FAILED] = "refresh_failed",
    [STAT_EXPIRY_ALERTS] = "expiry_alerts",
    [STAT_RECHECK] = "recheck",
    [STAT_RECHECK_FETCH] = "recheck_fetch",
    [STAT_RECHECK_REFUSED] = "recheck_refused",
    [STAT_CLOCK_JUMPS] = "clock_jumps",
    [STAT_STORE_LOADED] = "store_loaded",
    [STAT_STORE_DROPPED] = "store_dropped",
    [STAT_STORE_WRITTEN] = "store_written",
    [STAT_STORE_ERRORS] = "store_errors",
    [STAT_STORE_LOST] = "store_lost",
    [STAT_DANE_NONE] = "dane_none",
    [STAT_DANE_SECURE] = "dane_secure",
    [STAT_DANE_FAILED] = "dane_failed",
    [STAT_DANE_ENDED] = "dane_ended",
    [STAT_DANE_PROBES] = "dane_probes",
    [STAT_DANE_PROBES_FAILED] = "dane_probes_failed",
    [STAT_DANE_BLIND] = "dane_blind",
    [STAT_TLSRPT_COUNTED] = "tlsrpt_counted",
    [STAT_TLSRPT_LOST] = "tlsrpt_lost",
    [STAT_TLSRPT_MADE] = "tlsrpt_made",
    [STAT_TLSRPT_SENT] = "tlsrpt_sent",
    [STAT_TLSRPT_FAILED] = "tlsrpt_failed",
    [STAT_TLSRPT_NO_RECORD] = "tlsrpt_no_record",
    [STAT_TLSRPT_LEFT_OUT] = "tlsrpt_left_out",
    [STAT_TLSRPT_HTTPS_SENT] = "tlsrpt_https_sent",
    [STAT_TLSRPT_HTTPS_LATER] = "tlsrpt_https_later",
    [STAT_TLSRPT_HTTPS_REFUSED] = "tlsrpt_https_refused",
    [STAT_TLSRPT_HTTPS_SUPPRESSED] = "tlsrpt_https_suppressed",
    [STAT_TLSRPT_MAIL_SENT] = "tlsrpt_mail_sent",
    [STAT_TLSRPT_MAIL_LATER] = "tlsrpt_mail_later",
    [STAT_TLSRPT_MAIL_REFUSED] = "tlsrpt_mail_refused",
    [STAT_TLSRPT_MAIL_SUPPRESSED] = "tlsrpt_mail_suppressed",
};

/* The reasons of policy/fetch.h and policy/sts_fetch.h; other failures of HTTPS are "other". */
static const struct {
    const char *reason;
    enum policy_stat stat;
} reasons[] = {
    { "dns-failure", STAT_FETCH_DNS },
    { "no-address", STAT_FETCH_DNS },
    { "address-not-permitted", STAT_FETCH_ADDRESS },
    { "connect", STAT_FETCH_CONNECT },
    { "timeout", STAT_FETCH_TIMEOUT },
    { "content-type", STAT_FETCH_BODY },
    { "content-encoding", STAT_FETCH_BODY },
    { "transfer-encoding", STAT_FETCH_BODY },
    { "content-length", STAT_FETCH_BODY },
    { "too-large", STAT_FETCH_BODY },
    { "truncated", STAT_FETCH_BODY },
    { "http-syntax", STAT_FETCH_HTTP },
};

enum policy_stat
policy_stat_of_fetch(enum result_type type, const char *reason)
{
    if (type == RESULT_SUCCESS)
        return STAT_FETCH_OK;
    if (type == RESULT_STS_WEBPKI_INVALID)
        return STAT_FETCH_CERTIFICATE;
    if (type == RESULT_STS_POLICY_INVALID)
        return STAT_FETCH_INVALID;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (strcmp(reason, reasons[i].reason) == 0)
            return reasons[i].stat;
    return span_starts(span_of(reason), span_of("http-")) ? STAT_FETCH_HTTP : STAT_FETCH_OTHER;
}

const char *
policy_stat_name(enum policy_stat which)
{
    return names[which];
}
