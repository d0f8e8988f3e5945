/* policy/sts_policy_fuzz.c: the input is a policy body. Promises: a policy only with RES_OK and a
 * described error otherwise; the text is kept octet for octet and parsed again gives the same; the
 * fields printed as a policy parse to the same fields; every pattern matches itself. */
#include "policy/sts_policy.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
    if (!holds)
        abort(); /* assert() is silent in release builds */
}

static void
check_error(const struct sts_policy_error *error, struct span body)
{
    size_t len = strlen(error->what);

    must(len > 0 && len < sizeof error->what && error->line <= body.len);
    for (size_t i = 0; i < len; i++)
        must(error->what[i] >= 0x20 && error->what[i] < 0x7f);
}

static void
check_fields(const struct sts_policy *policy)
{
    const struct name_list *mx = sts_policy_mx(policy);

    must(sts_policy_max_age_s(policy) <= STS_POLICY_MAX_AGE_S);
    must(mx->count > 0 || sts_policy_mode(policy) == STS_MODE_NONE);
    for (size_t i = 0; i < mx->count; i++) {
        char host[HOSTNAME_MAX + 2];
        bool wildcard = mx->names[i][0] == '*';

        must(strlen(mx->names[i]) <= HOSTNAME_MAX);
        snprintf(host, sizeof host, "%s%s", wildcard ? "a" : "", mx->names[i] + wildcard);
        must(sts_policy_match_mx(policy, host));
    }
    must(!sts_policy_match_mx(policy, ""));
}

static void
check_equal(const struct sts_policy *a, const struct sts_policy *b)
{
    const struct name_list *mx_a = sts_policy_mx(a), *mx_b = sts_policy_mx(b);

    must(sts_policy_mode(a) == sts_policy_mode(b));
    must(sts_policy_max_age_s(a) == sts_policy_max_age_s(b));
    must(mx_a->count == mx_b->count);
    for (size_t i = 0; i < mx_a->count; i++)
        must(strcmp(mx_a->names[i], mx_b->names[i]) == 0);
}

/* The fields as a body in the shortest spelling. It is no longer than the body they came from, but
 * for the digits of a clamped max_age, which shrink. */
static void
check_printed(const struct sts_policy *policy, size_t text_len)
{
    const struct name_list *mx = sts_policy_mx(policy);
    struct sts_policy *again = NULL;
    char *body = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&body, &len);

    must(file != NULL);
    fprintf(file, "max_age:%u\nmode:%s\n", (unsigned)sts_policy_max_age_s(policy),
            sts_mode_name(sts_policy_mode(policy)));
    for (size_t i = 0; i < mx->count; i++)
        fprintf(file, "mx:%s\n", mx->names[i]);
    fprintf(file, "version:STSv1");
    must(fclose(file) == 0);
    must(len <= text_len);
    must(sts_policy_parse(span_make(body, len), &again, NULL) == RES_OK);
    must(sts_policy_leniencies(again) == 0);
    check_equal(policy, again);
    sts_policy_free(again);
    free(body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span body = span_make(data, size);
    struct sts_policy *policy = NULL, *again = NULL;
    struct sts_policy_error error;
    enum result res = sts_policy_parse(body, &policy, &error);

    must((policy != NULL) == (res == RES_OK));
    must((res == RES_LIMIT) == (size > STS_POLICY_MAX_BYTES));
    if (!policy) {
        check_error(&error, body);
        return 0;
    }
    must(span_equal(sts_policy_text(policy), body));
    check_fields(policy);
    must(sts_policy_parse(sts_policy_text(policy), &again, NULL) == RES_OK);
    must(sts_policy_leniencies(policy) == sts_policy_leniencies(again));
    check_equal(policy, again);
    check_printed(policy, size);
    sts_policy_free(again);
    sts_policy_free(policy);
    return 0;
}
