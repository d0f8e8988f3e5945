/* proxy/check_dns_findings.c: MX, address and TLSA records (proxy/check_findings.h). */
#include "proxy/check_findings.h"
#include "proxy/check_report.h"
#include "proxy/record_view.h"

#include <inttypes.h>

#define ANSWER_MEND "see to it that every name server of the zone answers this question"
#define DNSSEC_MEND                                                                                \
    "sign the zone anew, or correct the DS record at its parent; a validating resolver shows "     \
    "which "                                                                                       \
    "of the two it is"

void
check_find_in_resolver(struct check_report *report)
{
    struct span part = check_report_part(report, "resolver"), reason = record_text(part, "reason");

    if (part.len == 0)
        return;
    if (record_is(part, "state", "bogus"))
        check_report_find(report, CHECK_ERROR, "resolver-blind", span_of("the gateway's resolver"),
                          "see trust_anchor_file, this machine's clock, and whether the server at "
                          "resolver_forward passes DNSSEC records on",
                          "DNSSEC validation fails for the root already, which says nothing of the "
                          "domain: %.*s",
                          (int)reason.len, reason.ptr);
    else
        check_report_find(report, CHECK_ERROR, "resolver-failed", span_of("the gateway's resolver"),
                          "see that the server at resolver_forward or resolver_stub runs and "
                          "answers this machine; with neither, that port 53 is open to the outside",
                          "it does not answer, not even for the root, so nothing can be said of "
                          "the domain: %.*s",
                          (int)reason.len, reason.ptr);
}

static bool
find_failure(struct check_report *report, struct span part, const char *what)
{
    struct span reason = record_text(part, "reason");
    bool bogus = record_is(part, "state", "bogus");

    if (!bogus && !record_is(part, "state", "failed"))
        return false;
    if (check_report_resolver_fails(report))
        return true; /* it is not the domain's fault */
    check_report_find(report, CHECK_ERROR, bogus ? "dnssec-bogus" : "dns-failed",
                      record_text(part, "name"), bogus ? DNSSEC_MEND : ANSWER_MEND,
                      "the look-up of %s failed: %.*s", what, (int)reason.len, reason.ptr);
    return true;
}

static size_t
count_records(struct span part)
{
    struct pack_reader r;

    if (!record_value(part, "records", &r) || pack_peek_type(&r) != PACK_ARRAY)
        return 0;
    return pack_read_array(&r, CHECK_PARTS_MAX_BYTES);
}

static bool
is_null_mx(struct span part)
{
    struct pack_reader r;

    if (count_records(part) != 1 || !record_value(part, "records", &r))
        return false;
    (void)pack_read_array(&r, 1);
    return record_text(pack_read_raw(&r), "host").len == 0;
}

static void
find_in_mx(struct check_report *report)
{
    struct span part = check_report_part(report, "mx"), name = record_text(part, "name");
    uint64_t left_out = record_number(part, "left_out");

    if (part.len == 0 || find_failure(report, part, "MX records"))
        return;
    if (record_is(part, "state", "no-such-name"))
        check_report_find(report, CHECK_ERROR, "no-such-domain", name,
                          "register the domain, or correct its name", "the domain does not exist");
    else if (left_out)
        check_report_find(report, CHECK_ERROR, "mx-no-name", name,
                          "name a host of letters, digits and hyphens in each MX record",
                          "%" PRIu64 " of the MX records name no host", left_out);
    else if (is_null_mx(part))
        check_report_find(report, CHECK_NOTE, "null-mx", name, "",
                          "the domain says that it takes no mail (RFC 7505)");
    else if (count_records(part) == 0)
        check_report_find(report, CHECK_NOTE, "mx-implicit", name,
                          "publish an MX record, which also names the host for a policy",
                          "there are no MX records: mail goes to the domain's own address");
}

/* One host, both families together. */
static bool
host_has_address(const struct check_report *report, struct span host, bool *out_failed)
{
    struct pack_reader at;
    struct span map;
    bool found = false;

    *out_failed = false;
    pack_reader_init(&at, buffer_span(&report->parts));
    while (check_report_next(&at, "address", &map)) {
        if (!span_equal(record_text(map, "name"), host))
            continue;
        found |= count_records(map) > 0;
        *out_failed |= record_is(map, "state", "failed") || record_is(map, "state", "bogus");
    }
    return found;
}

static void
find_in_addresses(struct check_report *report)
{
    struct pack_reader at;
    struct span map;

    pack_reader_init(&at, buffer_span(&report->parts));
    while (check_report_next(&at, "address", &map)) {
        struct span name = record_text(map, "name"), owner = record_text(map, "owner");

        if (find_failure(report, map, record_is(map, "type", "A") ? "A records" : "AAAA records") ||
            !record_is(map, "type", "A") || owner.len == 0 || span_equal(name, owner))
            continue;
        check_report_find(report, CHECK_WARNING, "mx-alias", name,
                          "name a host with addresses of its own in the MX record",
                          "the MX host is an alias of %.*s, which RFC 2181 10.3 forbids",
                          (int)owner.len, owner.ptr);
    }
}

/* ---- hosts and TLSA records ---- */

static bool
is_mx_secure(const struct check_report *report)
{
    return record_is(check_report_part(report, "mx"), "security", "secure");
}

/* How many there are, and how many of them are of use. */
static size_t
count_usable(struct span map, size_t *out_usable)
{
    size_t count = count_records(map);
    struct pack_reader r;

    *out_usable = 0;
    if (count == 0 || !record_value(map, "records", &r))
        return 0;
    (void)pack_read_array(&r, count);
    for (size_t i = 0; i < count; i++)
        *out_usable += record_bool(pack_read_raw(&r), "usable");
    return count;
}

static void
find_in_tlsa(struct check_report *report, struct span map)
{
    struct span host = record_text(map, "name"), reason = record_text(map, "reason");
    size_t usable, count = count_usable(map, &usable);

    if (record_is(map, "state", "failed") && check_report_resolver_fails(report))
        return;
    if (record_is(map, "state", "failed"))
        check_report_find(report, CHECK_ERROR, "tlsa-failed", host,
                          "see to it that the zone's name servers answer for TLSA records, signed, "
                          "or deny them so",
                          "what DANE demands cannot be known: %.*s", (int)reason.len, reason.ptr);
    else if (!record_is(map, "state", "secure"))
        return;
    else if (!usable)
        check_report_find(report, CHECK_ERROR, "tlsa-unusable", host,
                          "publish records such as 3 1 1 with the SHA-256 of the host's key",
                          "none of the %zu TLSA records is usable: TLS is a must, and nobody is "
                          "authenticated",
                          count);
    else if (usable < count)
        check_report_find(report, CHECK_WARNING, "tlsa-partly-unusable", host,
                          "take out what is not usage 2 or 3, or has the wrong length",
                          "%zu of %zu TLSA records are not usable", count - usable, count);
    else if (!is_mx_secure(report))
        check_report_find(report, CHECK_WARNING, "tlsa-insecure-mx", host,
                          "sign the domain's own zone",
                          "the host has TLSA records, but the domain's MX records are not signed");
}

static void
find_in_hosts(struct check_report *report)
{
    struct pack_reader at;
    struct span map;

    pack_reader_init(&at, buffer_span(&report->parts));
    while (check_report_next(&at, "tlsa", &map)) {
        struct span host = record_text(map, "name");
        bool failed;

        if (hostname_is_ip_like(host))
            check_report_find(report, CHECK_ERROR, "mx-is-address", host,
                              "name a host in the MX record",
                              "the MX record names an address, which is no host name");
        else if (!host_has_address(report, host, &failed) && !failed)
            check_report_find(report, CHECK_ERROR, "mx-no-address", host,
                              "give the host A or AAAA records, or take it out of the MX records",
                              "the MX host has no address");
        find_in_tlsa(report, map);
    }
}

void
check_find_in_dns(struct check_report *report)
{
    find_in_mx(report);
    find_in_addresses(report);
    find_in_hosts(report);
}
