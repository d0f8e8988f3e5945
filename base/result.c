#include "base/result.h"

static const char *const names[] = {
    [RES_OK] = "ok",         [RES_AGAIN] = "again", [RES_NOMEM] = "no-memory",
    [RES_SYNTAX] = "syntax", [RES_LIMIT] = "limit", [RES_TEMPFAIL] = "temporary-failure",
    [RES_DENIED] = "denied",
};

const char *
result_name(enum result res)
{
    return (unsigned)res < sizeof names / sizeof *names ? names[res] : "unknown";
}
