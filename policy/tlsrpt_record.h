/* policy/tlsrpt_record.h: the TXT record at _smtp._tls.DOMAIN, RFC 8460 3 (RPT-001 ... RPT-008):
 * where a domain wants its reports. Context: any process. Pure: no I/O, no clock. */
#ifndef STSGATE_POLICY_TLSRPT_RECORD_H
#define STSGATE_POLICY_TLSRPT_RECORD_H

#include "base/name_list.h"

#define TLSRPT_RUA_MAX 8u /* destinations that are used; the rest of a longer list is left out */
#define TLSRPT_URI_MAX_BYTES 1024u    /* a longer one is skipped */
#define TLSRPT_ADDRESS_MAX_BYTES 254u /* RFC 5321 4.5.3.1.3, without the brackets */

enum tlsrpt_finding {
    TLSRPT_FOUND,   /* exactly one record, with a place to report to */
    TLSRPT_ABSENT,  /* none begins with v=TLSRPTv1; */
    TLSRPT_SEVERAL, /* more than one: the domain does not implement TLSRPT (RPT-003) */
    TLSRPT_INVALID, /* one, but it breaks the grammar */
    TLSRPT_UNUSABLE /* one, whose rua names nothing that can be used (RPT-006) */
};

struct tlsrpt_record {
    struct name_list mail;  /* addr-specs, decoded (RPT-008) */
    struct name_list https; /* URIs, what RFC 8460 3 has encoded decoded once (RPT-006) */
};

/** texts: count TXT records, each with its character-strings joined (RPT-002), any bytes; borrowed.
 * out: filled on TLSRPT_FOUND, the caller clears it; empty on anything else.
 * RES_NOMEM: nothing is known. */
MUST_CHECK enum result tlsrpt_record_find(const struct span *texts, size_t count,
                                          enum tlsrpt_finding *finding, struct tlsrpt_record *out);

void tlsrpt_record_clear(struct tlsrpt_record *record);

/** "found", "absent", "several", "invalid", "unusable". Static storage. */
const char *tlsrpt_finding_name(enum tlsrpt_finding finding);

/** An addr-spec of RFC 5322 3.4.1 without comments and folding, that goes into a header field and
 * an envelope as it stands: local part a dot-atom or a quoted string, domain a host name in
 * A-labels. */
bool tlsrpt_address_is_valid(struct span address);

#endif
