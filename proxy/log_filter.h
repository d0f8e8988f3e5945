/* proxy/log_filter.h: which records `stsgate log` is about. Context: command line. Pure. */
#ifndef STSGATE_PROXY_LOG_FILTER_H
#define STSGATE_PROXY_LOG_FILTER_H

#include "base/span.h"

#include <stdint.h>

/* All that is given must hold. Zeroed: every record. Texts are borrowed. */
struct log_filter {
    const char *event, *domain, *mx, *outcome, *verdict, *would, *result, *session, *client;
    int64_t since_s, until_s; /* wall clock; 0: no bound. until_s itself is left out */
};

/** Set what the option is about; option without its dashes. now_s: for "2h", which is that long
 * ago. False: there is no such option, or value is none for it. */
bool log_filter_set(struct log_filter *filter, const char *option, const char *value,
                    int64_t now_s);

/** domain is compared with the recipient's and with the policy domain, without case, like all host
 * names; a record that has no such key does not match. */
bool log_filter_matches(const struct log_filter *filter, int64_t wall_ns, struct span map);

#endif
