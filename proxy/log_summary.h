/* proxy/log_summary.h: what became of the mail to each domain, and how it was protected on its way:
 * a fold over recipient records. Context: command line; bounded, whatever the records hold. */
#ifndef STSGATE_PROXY_LOG_SUMMARY_H
#define STSGATE_PROXY_LOG_SUMMARY_H

#include "base/result.h"
#include "base/span.h"

#include <stdio.h>

#define LOG_SUMMARY_DOMAINS_MAX 100000u /* then "(others)" */
#define LOG_SUMMARY_REASONS_MAX 100000u /* of all domains together */

struct log_summary;

/** NULL: no memory. */
struct log_summary *log_summary_new(void);
void log_summary_free(struct log_summary *summary); /* NULL is allowed */

/** Count a record of event recipient; others are passed over. map: as record_decode() gives it.
 * RES_NOMEM: it is not counted. */
MUST_CHECK enum result log_summary_add(struct log_summary *summary, struct span map);

/** A table for people, by domain and with the totals, then the reasons of refusals; or one line of
 * JSON for each domain and one with "domain": null for the total. Errors of out are the caller's to
 * see. RES_NOMEM. */
MUST_CHECK enum result log_summary_print(struct log_summary *summary, FILE *out);
MUST_CHECK enum result log_summary_print_json(struct log_summary *summary, FILE *out);

#endif
