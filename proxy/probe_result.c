/* proxy/probe_result.c: what is left of a probe (proxy/probe.h): pure, without the sockets. */
#include "proxy/probe.h"

const char *
probe_end_name(enum probe_end end)
{
    static const char *const names[] = { [PROBE_JUDGED] = "judged",
                                         [PROBE_UNREACHABLE] = "unreachable",
                                         [PROBE_FORBIDDEN] = "forbidden",
                                         [PROBE_UNJUDGED] = "unjudged" };

    return names[end];
}

void
probe_result_clear(struct probe_result *result)
{
    requirement_unref(result->req);
    observation_unref(result->obs);
    buffer_clear(&result->record);
    result->req = NULL;
    result->obs = NULL;
}
