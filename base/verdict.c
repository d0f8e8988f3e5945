#include "base/verdict.h"

const char *
result_type_name(enum result_type type)
{
    static const char *const names[RESULT_TYPES] = {
        [RESULT_SUCCESS] = "",
        [RESULT_STARTTLS_NOT_SUPPORTED] = "starttls-not-supported",
        [RESULT_CERTIFICATE_HOST_MISMATCH] = "certificate-host-mismatch",
        [RESULT_CERTIFICATE_EXPIRED] = "certificate-expired",
        [RESULT_CERTIFICATE_NOT_TRUSTED] = "certificate-not-trusted",
        [RESULT_VALIDATION_FAILURE] = "validation-failure",
        [RESULT_TLSA_INVALID] = "tlsa-invalid",
        [RESULT_DNSSEC_INVALID] = "dnssec-invalid",
        [RESULT_DANE_REQUIRED] = "dane-required",
        [RESULT_STS_POLICY_FETCH_ERROR] = "sts-policy-fetch-error",
        [RESULT_STS_POLICY_INVALID] = "sts-policy-invalid",
        [RESULT_STS_WEBPKI_INVALID] = "sts-webpki-invalid",
    };

    return names[type];
}

const char *
verdict_action_name(enum verdict_action action)
{
    static const char *const names[] = {
        [VERDICT_REFUSE] = "refuse",       [VERDICT_ALLOW] = "allow",
        [VERDICT_START_TLS] = "start-tls", [VERDICT_RECONNECT] = "reconnect",
        [VERDICT_CLOSE] = "close",
    };

    return names[action];
}
