/* Any maps as parts of a report: findings, verdict, text and JSON come of them, and nothing of what
 * they hold writes on a terminal. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/check_findings.h"
#include "proxy/check_report.h"
#include "proxy/check_show.h"

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what))                                                                               \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_text(const struct check_report *report, bool json)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    CHECK(out);
    if (!json)
        check_show_text(report, out, false);
    else if (check_show_json(report, out) != RES_OK)
        len = 0; /* a map that is none within: said in place of it */
    CHECK(fclose(out) == 0);
    for (size_t i = 0; i < len; i++)
        CHECK(text[i] == '\n' || (text[i] >= ' ' && text[i] <= '~'));
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct check_report report;
    struct span rest = span_make(data, size);
    struct ip_addr addrs[CHECK_CONNECTIONS_MAX];
    size_t len;

    check_report_init(&report, "a.example");
    while (pack_check(rest, CHECK_PARTS_MAX_BYTES, &len) == RES_OK && len) {
        check_report_add_part(&report, span_first(rest, len));
        rest = span_from(rest, len);
    }
    if (check_report_addresses(&report, addrs, CHECK_CONNECTIONS_MAX)) {
        struct probe_result *c = &report.connections[report.connection_count++];

        *c = (struct probe_result){
            .destination = addrs[0], .port = 25, .forbidden = "", .end = PROBE_UNREACHABLE
        };
        buffer_init(&c->record, RECORD_MAX_BYTES);
    }
    check_find_in_policy(&report);
    check_find_in_dns(&report);
    check_find_in_connections(&report);
    report.verdict = check_report_judge(&report);
    CHECK(report.verdict < CHECK_USAGE);
    CHECK(report.finding_count <= CHECK_FINDINGS_MAX);
    check_text(&report, false);
    check_text(&report, true);
    check_report_clear(&report);
    return 0;
}
