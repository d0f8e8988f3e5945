#include "base/utc.h"

#include <string.h>
#include <time.h>

/* strptime() takes blanks, signs and missing zeros; a date has one form. */
static bool
has_form(const char *text, const char *form)
{
    if (strlen(text) != strlen(form))
        return false;
    for (; *form; form++, text++)
        if (*form == '0' ? *text < '0' || *text > '9' : *text != *form)
            return false;
    return true;
}

bool
utc_parse(const char *text, int64_t *out_s, bool *out_is_day)
{
    bool is_day = has_form(text, "0000-00-00");
    struct tm tm = { 0 }, given;
    time_t at;

    if (!is_day && !has_form(text, "0000-00-00T00:00:00Z"))
        return false;
    if (!strptime(text, is_day ? "%Y-%m-%d" : "%Y-%m-%dT%H:%M:%SZ", &tm))
        return false;
    given = tm;
    at = timegm(&tm); /* 30 February becomes 2 March: no date */
    if (tm.tm_mday != given.tm_mday || tm.tm_mon != given.tm_mon || tm.tm_sec != given.tm_sec)
        return false;
    *out_s = (int64_t)at;
    *out_is_day = is_day;
    return true;
}
