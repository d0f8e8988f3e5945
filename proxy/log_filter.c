#include "proxy/log_filter.h"

#include "base/utc.h"
#include "proxy/record_view.h"

#define NS_PER_S 1000000000

/* "90s", "30m", "2h", "3d": that long before now. */
static bool
parse_ago(const char *text, int64_t now_s, int64_t *out_s)
{
    static const struct {
        char unit;
        int64_t s;
    } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
    size_t len = strlen(text);
    unsigned long long n;

    if (len < 2 || !span_to_u64(span_make(text, len - 1), 9, &n))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (text[len - 1] == units[i].unit) {
            *out_s = now_s - (int64_t)n * units[i].s;
            return true;
        }
    return false;
}

static bool
parse_moment(const char *text, int64_t now_s, int64_t *out_s)
{
    bool is_day;

    return parse_ago(text, now_s, out_s) || utc_parse(text, out_s, &is_day);
}

bool
log_filter_set(struct log_filter *filter, const char *option, const char *value, int64_t now_s)
{
    const struct {
        const char *option;
        const char **field;
    } texts[] = {
        { "event", &filter->event },     { "domain", &filter->domain },
        { "mx", &filter->mx },           { "outcome", &filter->outcome },
        { "verdict", &filter->verdict }, { "would", &filter->would },
        { "result", &filter->result },   { "session", &filter->session },
        { "client", &filter->client },
    };

    if (strcmp(option, "since") == 0)
        return parse_moment(value, now_s, &filter->since_s);
    if (strcmp(option, "until") == 0)
        return parse_moment(value, now_s, &filter->until_s);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(option, texts[i].option) == 0) {
            *texts[i].field = value;
            return *value != '\0';
        }
    return false;
}

static bool
has(struct span map, const char *key, const char *wanted)
{
    return !wanted || span_equal_nocase(record_text(map, key), span_of(wanted));
}

bool
log_filter_matches(const struct log_filter *f, int64_t wall_ns, struct span map)
{
    if (f->since_s && wall_ns < f->since_s * NS_PER_S)
        return false;
    if (f->until_s && wall_ns >= f->until_s * NS_PER_S)
        return false;
    return has(map, "event", f->event) && has(map, "mx", f->mx) &&
           has(map, "outcome", f->outcome) && has(map, "verdict", f->verdict) &&
           has(map, "would", f->would) && has(map, "result_type", f->result) &&
           has(map, "session", f->session) && has(map, "client", f->client) &&
           (has(map, "domain", f->domain) || has(map, "rcpt_domain", f->domain));
}
