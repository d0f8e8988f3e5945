/* tests/proxy/rejudge_check.h: a verdict must come out of its record again (TC-OPS-06). */
#ifndef STSGATE_TESTS_PROXY_REJUDGE_CHECK_H
#define STSGATE_TESTS_PROXY_REJUDGE_CHECK_H

#include "base/observation.h"
#include "base/requirement.h"
#include "base/verdict.h"

/** Records the verdict and makes it again; fails the test where another one comes out. Verdicts
 * that are not the last word are recorded by nobody, and pass. */
void check_rejudged(const struct requirement *req, const struct observation *obs,
                    const struct verdict *verdict);

#endif
