/* proxy/check_show.h: a check's report for people and for programs (docs/check.md).
 * Context: `stsgate check`. Whatever strangers wrote is harmless on a terminal. */
#ifndef STSGATE_PROXY_CHECK_SHOW_H
#define STSGATE_PROXY_CHECK_SHOW_H

#include "base/result.h"

#include <stdbool.h>
#include <stdio.h>

struct check_report;

/** Lines of text. colour: with escape sequences of ECMA-48, for a terminal. Errors of out stick to
 * it. */
void check_show_text(const struct check_report *report, FILE *out, bool colour);

/** One object in one line. RES_NOMEM; nothing is written then. */
MUST_CHECK enum result check_show_json(const struct check_report *report, FILE *out);

#endif
