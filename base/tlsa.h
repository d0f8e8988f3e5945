/* base/tlsa.h: TLSA records (RFC 6698 2.1), and the MX hosts of a domain that publish some, as a
 * requirement carries them from the policy process to the workers.
 * Context: any process, one thread at a time per object. */
#ifndef STSGATE_BASE_TLSA_H
#define STSGATE_BASE_TLSA_H

#include "base/hostname.h"
#include "base/name_list.h"

#include <stdint.h>

#define TLSA_RECORDS_MAX 64u       /* of one RRset; more is a look-up failure */
#define TLSA_DATA_MAX 4096u        /* octets of one record's association data */
#define TLSA_NUMBERS_MAX (3u * 4u) /* tlsa_numbers_text(), with its NUL */
#define TLSA_TEXT_MAX (TLSA_NUMBERS_MAX + 2u * TLSA_DATA_MAX + 1u) /* tlsa_record_text() */
#define DANE_HOSTS_MAX 16u                                         /* of one requirement */
#define DANE_REFERENCES_MAX 8u /* names that a DANE-TA certificate may have (RFC 7672 3.2.2) */

/* RFC 7218. */
enum tlsa_usage { TLSA_PKIX_TA = 0, TLSA_PKIX_EE = 1, TLSA_DANE_TA = 2, TLSA_DANE_EE = 3 };
enum tlsa_selector { TLSA_CERT = 0, TLSA_SPKI = 1 };
enum tlsa_matching { TLSA_FULL = 0, TLSA_SHA2_256 = 1, TLSA_SHA2_512 = 2 };

/* As on the wire: any value in each field, also such that make the record unusable. RDATA of fewer
 * than three octets has 255 in the fields that it lacks: PrivCert, PrivSel, PrivMatch (RFC 7218),
 * which nobody can use. */
struct tlsa_record {
    uint8_t usage, selector, matching;
    uint16_t len;  /* of data, 0 .. TLSA_DATA_MAX */
    uint8_t *data; /* owned; NULL when len is 0 */
};

/* One MX host with a secure TLSA RRset that is not empty. */
struct dane_host {
    char mx[HOSTNAME_MAX + 1];   /* name of the MX record, unexpanded */
    char base[HOSTNAME_MAX + 1]; /* TLSA base domain: the SNI (DANE-035) */
    struct name_list references; /* names for DANE-TA: base first, then the domain's (DANE-029) */
    struct tlsa_record *records; /* owned array, 1 .. TLSA_RECORDS_MAX, in canonical order */
    size_t count;
};

/** Append a copy of data. RES_LIMIT: beyond TLSA_RECORDS_MAX or TLSA_DATA_MAX; RES_NOMEM. */
MUST_CHECK enum result dane_host_add(struct dane_host *host, uint8_t usage, uint8_t selector,
                                     uint8_t matching, struct span data);

/** Put the records into canonical order (RFC 4034 6.3: as octets of the RDATA, a shorter one before
 * its continuations), each once (RFC 2181 5), so that one RRset is always the same. */
void dane_host_sort(struct dane_host *host);

/** Canonical order: below, at or above 0. */
int tlsa_record_compare(const struct tlsa_record *a, const struct tlsa_record *b);

/** Frees what it owns; empty, and may be used again. */
void dane_host_clear(struct dane_host *host);

/** "3 1 1". Returns the length. */
size_t tlsa_numbers_text(uint8_t usage, uint8_t selector, uint8_t matching,
                         char out[TLSA_NUMBERS_MAX]);

/** "3 1 1 HEX", upper case, as TLSRPT has it (RFC 8460 4.4, RPT-056). Returns the length. */
size_t tlsa_record_text(const struct tlsa_record *record, char out[TLSA_TEXT_MAX]);

/** Can the record take part in a match, as far as its numbers and its length tell (DANE-026,
 * DANE-033)? Whether full data is a certificate or key at all is known to tls/dane.h only. */
bool tlsa_record_is_usable(const struct tlsa_record *record);

#endif
