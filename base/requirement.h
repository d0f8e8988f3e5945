/* base/requirement.h: what a recipient's domain demands of the connection that carries its mail.
 * Plain data: made in the policy process, sent to the workers, judged there (proxy/judge.h) and
 * kept as evidence in the records. Context: any process, one thread at a time per object. */
#ifndef STSGATE_BASE_REQUIREMENT_H
#define STSGATE_BASE_REQUIREMENT_H

#include "base/hostname.h"
#include "base/name_list.h"
#include "base/tlsa.h"

#include <stdint.h>

#define STS_ID_MAX 32u  /* RFC 8461 3.1 */
#define RULE_ID_MAX 47u /* octets of an override's title */

#define TLS_VERSION_1_0 0x0301u /* versions are the two octets of the TLS record layer */
#define TLS_VERSION_1_1 0x0302u
#define TLS_VERSION_1_2 0x0303u
#define TLS_VERSION_1_3 0x0304u

/* RFC 8461 3.2, "mode". No policy at all counts as none. */
enum sts_mode { STS_MODE_NONE, STS_MODE_TESTING, STS_MODE_ENFORCE };

/* How the MX name was found for the destination address (PRX-016 ... PRX-024). */
enum mx_match {
    MX_MATCH_CERTIFICATE, /* the address is no MX's: only a certificate can prove the host (PRX-019)
                           */
    MX_MATCH_ADDRESS,     /* names are those MX hosts of the domain whose addresses hold it */
    MX_MATCH_TABLE,       /* the smart-host table named it (PRX-024) */
};

/* What an override asks for (PRX-042). */
enum rule_action {
    RULE_NONE,    /* there is none */
    RULE_BYPASS,  /* as if the domain had no MTA-STS policy; what would have been is recorded. TLSA
                   * records count all the same (TC-PREC-09) */
    RULE_MONITOR, /* judged and recorded, never blocked, not for TLSA records either (DANE-042) */
    RULE_FLOOR,   /* another lowest TLS version, nothing else */
    RULE_REQUIRE, /* TLS, whoever answers */
    RULE_VERIFY,  /* TLS, and a certificate for the MX name, which must be one of `mx` if given */
    RULE_DANE,    /* a match with DNSSEC-validated TLSA records, and nothing less (DANE-041) */
    RULE_NO_DANE, /* TLSA records are not asked for (DANE-044); the domain's policy holds */
};

/* What DNSSEC says of the MX hosts behind the destination (RFC 7672 2.1, 2.2). */
enum dane_state {
    DANE_NONE,   /* not applicable: insecure, no TLSA records, or switched off */
    DANE_SECURE, /* hosts is not empty: TLS is a must, and one RRset must be satisfied */
    DANE_FAILED, /* a look-up that matters failed, or is bogus: nothing goes for now (DANE-006);
                  * not said when another host at the destination has records: those decide */
};

struct requirement {
    unsigned refs; /* requirement_ref() and requirement_unref() */

    char domain[HOSTNAME_MAX + 1]; /* policy domain, A-labels, lower case; "" for literals */

    /* Identity: candidates for the MX name, best first: those that match the policy, then by
     * preference (PRX-017, PRX-019). The first is the SNI. May be empty. */
    enum mx_match matched;
    struct name_list names;
    bool mx_lookup_failed; /* MX or address look-up failed for now (PRX-023) */

    struct {
        enum sts_mode mode;
        char id[STS_ID_MAX + 1]; /* of the TXT record it was fetched for */
        struct name_list mx;     /* patterns, in the policy's order */
        uint8_t text_sha256[32]; /* of the policy body as fetched */
        int64_t fetched_at_s;    /* wall clock; 0 when there is no policy */
        int64_t expires_at_s;    /* wall clock: the policy is not applied at or after it */
        char discovery[96];      /* why no fresh policy: "RESULT-TYPE REASON"; "" if fine */
    } sts;

    struct {
        enum dane_state state;
        bool required;  /* by an override: without a usable secure TLSA RRset nothing goes
                         * (DANE-041); exactly with RULE_DANE */
        bool suffices;  /* key dane_and_sts = dane-suffices: a match makes up for a certificate
                         * that MTA-STS would refuse (STS-107) */
        bool mx_secure; /* the MX RRset, or its denial, is secure */
        struct dane_host *hosts; /* owned array: those that stand behind the destination, or with
                                  * an address of no MX all of them (PRX-020, DANE-048) */
        size_t host_count;       /* 0 .. DANE_HOSTS_MAX */
        bool dnssec;     /* with DANE_FAILED: bogus, or a look-up within a signed zone (REP-031);
                          * else the failure is any DNS failure (REP-040) */
        char reason[64]; /* with DANE_FAILED, printable ASCII: "tlsa servfail" */
    } dane;

    bool monitored; /* never blocks: the roll-out does not reach this domain (PRX-041), or an
                     * override says so; judged and recorded all the same */
    bool defer;     /* a look-up failed for now that the site does not pass over (STS-011) */
    bool null_mx;   /* the domain takes no mail, and the site says so itself (PRX-022) */

    struct {
        enum rule_action action;
        char id[RULE_ID_MAX + 1];
        struct name_list mx; /* patterns; only with RULE_VERIFY */
        uint16_t trust;      /* which roots: 0 the site's, else 1 + index of the override */
    } local;

    uint16_t tls_floor; /* lowest TLS version to negotiate for this recipient (TLS-020, 021) */

    /* Where the domain wants its TLS reports by mail: the addr-specs of its own TLSRPT record, as
     * that has them. Only for a sender of such reports, else not looked up (RPT-080). */
    struct name_list report_to;

    uint32_t ttl_s; /* how long a worker may reuse this, 0 .. 3600; never beyond the TXT TTL, nor
                     * the policy's expiry */
};

/** New and empty with one reference: no policy, no names, MX_MATCH_CERTIFICATE, floor TLS 1.0.
 * NULL: no memory. */
struct requirement *requirement_new(void);

/** One more reference; returns req. */
struct requirement *requirement_ref(struct requirement *req);

/** One reference less; the last one frees. NULL is allowed. */
void requirement_unref(struct requirement *req);

/** "none", "bypass", "monitor", "floor", "require", "verify", "dane", "no-dane"; "none", "secure",
 * "failed". Static storage. */
const char *dane_state_name(enum dane_state state);
const char *rule_action_name(enum rule_action action);

/** "none", "testing", "enforce"; "address", "certificate", "table". Static storage. */
const char *sts_mode_name(enum sts_mode mode);
const char *mx_match_name(enum mx_match matched);

/** SNI wanted: the TLSA base domain where DANE applies (DANE-035), else the first of names that is
 * not written like an IP address, as some owners write their MX records (TLS-040); "" when there is
 * none. Borrowed from req. */
const char *requirement_sni(const struct requirement *req);

/** A number for dane.hosts, names and records: which facts belong to it (observation, dane.key).
 * 0 when there are none, and only then; it differs from run to run (base/hash_key.h). */
uint64_t requirement_dane_key(const struct requirement *req);

#endif
