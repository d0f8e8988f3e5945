#include "proxy/config.h"

#include <stdarg.h>
#include <stdio.h>

#define ENDING_DAYS 14 /* before its end an override is warned of */
#define DAY_S 86400
#define TEXT_MAX 256

static void __attribute__((format(printf, 3, 4)))
warn(config_warning *each, void *arg, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    each(arg, text);
}

static void
warn_of_rule(const struct config *config, const struct rule *rule, int64_t now_s,
             config_warning *each, void *arg)
{
    int64_t days = (rule->until_s - now_s) / DAY_S;

    if (now_s >= rule->until_s)
        warn(each, arg, "override \"%s\" has ended and is ignored: remove it, or set another until",
             rule->id);
    else if (days < ENDING_DAYS)
        warn(each, arg, "override \"%s\" ends in %d days", rule->id, (int)days);
    if (rule->action == RULE_REQUIRE)
        warn(each, arg,
             "override \"%s\": require demands TLS but authenticates nobody; verify does",
             rule->id);
    if (rule->action == RULE_DANE && !*config->trust_anchor_file)
        warn(each, arg, "override \"%s\": without trust_anchor_file no mail passes it", rule->id);
    if (rule->action == RULE_NO_DANE)
        warn(each, arg, "override \"%s\": TLSA records of these hosts are not asked for", rule->id);
}

void
config_warnings(const struct config *config, int64_t now_s, config_warning *each, void *arg)
{
    const struct rollout *rollout = &config->rules.rollout;
    char text[16];

    for (size_t i = 0; i < config->rules.rule_count; i++)
        warn_of_rule(config, &config->rules.rules[i], now_s, each, arg);
    if (rollout->mode == ROLLOUT_SURVEY)
        warn(each, arg, "rollout is survey: every byte is relayed untouched, nothing is enforced");
    else if (rollout->mode != ROLLOUT_ENFORCE || rollout->percent < 100)
        warn(each, arg,
             "rollout is %s: outside it, mail that a policy forbids is delivered all the same",
             rollout_text(rollout, text));
    if (config->tls_required && (rollout->mode != ROLLOUT_ENFORCE || rollout->percent < 100))
        warn(each, arg, "tls is required, but only where the rollout reaches");
    if (!*config->trust_anchor_file)
        warn(each, arg, "trust_anchor_file is empty: DNSSEC is not validated, DANE is off");
    else if (!config->dane)
        warn(each, arg, "dane is false: TLSA records are not asked for");
    if (config->policy_port != 443)
        warn(each, arg, "policy_port is %u: no public policy host listens there",
             config->policy_port);
}
