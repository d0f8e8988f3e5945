/* proxy/check_findings.h: what is wrong, or might be, with what a domain publishes and with its MX
 * hosts, and how its owner mends it. Context: `stsgate check`. Pure. */
#ifndef STSGATE_PROXY_CHECK_FINDINGS_H
#define STSGATE_PROXY_CHECK_FINDINGS_H

struct check_report;

/** Of the gateway's own resolver: where it fails, that goes before all that is said of the domain.
 */
void check_find_in_resolver(struct check_report *report);

/** Of the domain's TXT records and its policy. */
void check_find_in_policy(struct check_report *report);

/** Of its MX, address and TLSA records. */
void check_find_in_dns(struct check_report *report);

/** Of the connections: why one would be refused, and what would not pass if it were demanded. */
void check_find_in_connections(struct check_report *report);

#endif
