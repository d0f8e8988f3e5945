/* proxy/rejudge.h: a recipient's verdict made again from its record alone, by the same judge()
 * (TC-OPS-06): what is recorded suffices to show that it was right, or no more is.
 * Context: command line. Pure; reads bytes that anybody may have written. */
#ifndef STSGATE_PROXY_REJUDGE_H
#define STSGATE_PROXY_REJUDGE_H

#include "base/result.h"
#include "base/span.h"

#define REJUDGE_TEXT_MAX 512u

enum rejudge_outcome {
    REJUDGE_NOT_JUDGED, /* not of a recipient, or nothing was judged to the end: no requirement was
                         * to be had, its time ran out, or the session broke off */
    REJUDGE_CUT,        /* the record does not hold all of a list */
    REJUDGE_SAME,
    REJUDGE_DIFFERENT,
};

/** map: as record_decode() gives it. difference: with REJUDGE_DIFFERENT what the record says and
 * what comes out now, printable ASCII, NUL-terminated; else "".
 * RES_SYNTAX: a recipient's record without what one has; RES_NOMEM. */
MUST_CHECK enum result rejudge(struct span map, enum rejudge_outcome *out,
                               char difference[REJUDGE_TEXT_MAX]);

#endif
