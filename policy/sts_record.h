/* policy/sts_record.h: the TXT record at _mta-sts.DOMAIN, RFC 8461 3.1 (STS-003 ... STS-009).
 * Context: any process. Pure: no I/O, no clock. */
#ifndef STSGATE_POLICY_STS_RECORD_H
#define STSGATE_POLICY_STS_RECORD_H

#include "base/requirement.h"
#include "base/span.h"

enum sts_record_finding {
    STS_RECORD_FOUND,   /* exactly one usable record */
    STS_RECORD_ABSENT,  /* none begins with v=STSv1 */
    STS_RECORD_SEVERAL, /* more than one: no policy may be discovered (STS-005) */
    STS_RECORD_INVALID, /* one, but it breaks the grammar (STS-006, STS-007) */
};

struct sts_record {
    char id[STS_ID_MAX + 1]; /* "" unless found */
    bool lenient;            /* found by the leniency of STS-009: blank before the first ";" */
};

/** texts: count TXT records, each with its character-strings joined (STS-003), any bytes; borrowed.
 */
enum sts_record_finding sts_record_find(const struct span *texts, size_t count,
                                        struct sts_record *out);

/** "txt-missing", "txt-several", "txt-invalid"; "" for found: the reason code of RPT-040. */
const char *sts_record_reason(enum sts_record_finding finding);

#endif
