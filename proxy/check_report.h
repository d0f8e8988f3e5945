/* proxy/check_report.h: what one check found out about one domain: parts as the policy process told
 * them, the connections to its MX hosts, and what follows from both. Context: `stsgate check`.
 * Pure: no I/O. Every text in a part comes from strangers. */
#ifndef STSGATE_PROXY_CHECK_REPORT_H
#define STSGATE_PROXY_CHECK_REPORT_H

#include "base/pack.h"
#include "proxy/probe.h"

#define CHECK_PARTS_MAX_BYTES (1024u * 1024u)
#define CHECK_CONNECTIONS_MAX 64u /* addresses times ports of one domain that are tried */
#define CHECK_FINDINGS_MAX 200u
#define CHECK_TEXT_MAX 256u

/* Also the exit status of `stsgate check`. */
enum check_verdict {
    CHECK_PASS = 0,
    CHECK_REFUSE = 1,    /* at one MX address at least */
    CHECK_NO_POLICY = 2, /* mail would pass, and nothing protects it */
    CHECK_TEMPORARY = 3, /* it cannot be said now */
    CHECK_USAGE = 4,     /* wrong usage or configuration: nothing was checked */
};

enum check_level {
    CHECK_ERROR,   /* mail is refused, or what the domain publishes has no effect */
    CHECK_WARNING, /* it works, and may not for others or for long */
    CHECK_NOTE,
};

struct check_finding {
    enum check_level level;
    const char *code;           /* a word, as in docs/check.md; static storage */
    char about[CHECK_TEXT_MAX]; /* a name or an address */
    char text[CHECK_TEXT_MAX];
    const char *mend; /* how the domain's owner mends it; static storage; "" for nothing to mend */
};

struct check_report {
    char domain[HOSTNAME_MAX + 1];
    struct buffer parts; /* MessagePack maps, whole */
    bool broken;         /* parts are missing: the policy process could not tell all */
    struct probe_result connections[CHECK_CONNECTIONS_MAX];
    size_t connection_count;
    bool cut; /* there are more addresses */
    struct check_finding findings[CHECK_FINDINGS_MAX];
    size_t finding_count;
    enum check_verdict verdict;
};

/** Empty, about domain (normalised). */
void check_report_init(struct check_report *report, const char *domain);
void check_report_clear(struct check_report *report);

/** Keep a copy of one part. */
void check_report_add_part(struct check_report *report, struct span map);

/** Add a finding; beyond CHECK_FINDINGS_MAX it is left out. about, and what fmt takes: any bytes.
 */
void check_report_find(struct check_report *report, enum check_level level, const char *code,
                       struct span about, const char *mend, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

/** The next part of this kind ("mx") behind *at, which begins as pack_reader_init() of
 * report->parts. False: there is none. */
bool check_report_next(struct pack_reader *at, const char *kind, struct span *out_map);

/** The first part of that kind; empty: none. */
struct span check_report_part(const struct check_report *report, const char *kind);

/** The MX hosts that have the address, "a.example, b.example". */
void check_report_hosts(const struct check_report *report, const struct ip_addr *addr,
                        char out[CHECK_TEXT_MAX]);

/** Each address of an MX host once, IPv4 and IPv6 in the order they came. Returns how many there
 * are, of which up to max are written. */
size_t check_report_addresses(const struct check_report *report, struct ip_addr *out, size_t max);

/** Does anything demand more than opportunistic TLS for mail to this domain? */
bool check_report_has_policy(const struct check_report *report);

/** Does the resolver fail for everybody, so that no failed look-up is the domain's fault? */
bool check_report_resolver_fails(const struct check_report *report);

/** From all the rest of the report. */
enum check_verdict check_report_judge(const struct check_report *report);

/** "pass", "refuse", "no-policy", "temporary"; "error", "warning", "note". Static storage. */
const char *check_verdict_name(enum check_verdict verdict);
const char *check_level_name(enum check_level level);

#endif
