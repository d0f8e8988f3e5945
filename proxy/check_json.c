/* proxy/check_json.c: the report as JSON (proxy/check_show.h). Its parts and records are
 * MessagePack already, so all of it becomes one map, and proxy/record_json.h does the rest. */
#include "proxy/check_report.h"
#include "proxy/check_show.h"
#include "proxy/record_json.h"

#include <stdlib.h>

#define JSON_MAX_BYTES (8u * 1024u * 1024u) /* parts, and a record for each connection */

static void
put_text(struct pack_writer *w, const char *key, const char *text)
{
    pack_str(w, span_of(key));
    pack_str(w, span_of(text));
}

static void
put_number(struct pack_writer *w, const char *key, uint64_t value)
{
    pack_str(w, span_of(key));
    pack_uint(w, value);
}

static size_t
count_parts(const struct check_report *report)
{
    struct pack_reader at;
    size_t count = 0;

    pack_reader_init(&at, buffer_span(&report->parts));
    while (at.rest.len && at.res == RES_OK) {
        (void)pack_read_raw(&at);
        count++;
    }
    return count;
}

/* The map of a record; empty where there is none. */
static struct span
record_map(const struct probe_result *c)
{
    struct span map;
    int64_t wall_ns;
    size_t len;

    return record_decode(buffer_span(&c->record), &len, &wall_ns, &map) == RES_OK ? map
                                                                                  : span_of("");
}

static void
put_connection(struct pack_writer *w, const struct check_report *report,
               const struct probe_result *c)
{
    char ip[IP_ADDR_TEXT_MAX], hosts[CHECK_TEXT_MAX];
    struct span record = record_map(c);
    bool judged = c->end == PROBE_JUDGED;

    check_report_hosts(report, &c->destination, hosts);
    pack_map(w, 10);
    put_text(w, "address", ip_addr_text(&c->destination, ip));
    put_number(w, "port", c->port);
    put_text(w, "hosts", hosts);
    put_text(w, "end", probe_end_name(c->end));
    put_text(w, "forbidden", c->forbidden);
    put_number(w, "elapsed_ms", c->elapsed_ms);
    put_text(w, "action", judged ? verdict_action_name(c->verdict.action) : "");
    put_text(w, "would", judged ? verdict_action_name(c->verdict.would) : "");
    put_text(w, "reply", c->reply);
    pack_str(w, span_of("record"));
    if (record.len)
        pack_raw(w, record);
    else
        pack_nil(w);
}

static void
put_finding(struct pack_writer *w, const struct check_finding *f)
{
    pack_map(w, 5);
    put_text(w, "level", check_level_name(f->level));
    put_text(w, "code", f->code);
    put_text(w, "about", f->about);
    put_text(w, "text", f->text);
    put_text(w, "mend", f->mend);
}

static void
put_report(struct pack_writer *w, const struct check_report *report)
{
    pack_map(w, 6);
    put_text(w, "domain", report->domain);
    put_text(w, "verdict", check_verdict_name(report->verdict));
    put_number(w, "status", (unsigned)report->verdict);
    pack_str(w, span_of("parts"));
    pack_array(w, count_parts(report));
    pack_raw(w, buffer_span(&report->parts));
    pack_str(w, span_of("connections"));
    pack_array(w, report->connection_count);
    for (size_t i = 0; i < report->connection_count; i++)
        put_connection(w, report, &report->connections[i]);
    pack_str(w, span_of("findings"));
    pack_array(w, report->finding_count);
    for (size_t i = 0; i < report->finding_count; i++)
        put_finding(w, &report->findings[i]);
}

enum result
check_show_json(const struct check_report *report, FILE *out)
{
    struct buffer bytes;
    struct pack_writer w;
    enum result res;

    buffer_init(&bytes, JSON_MAX_BYTES);
    pack_begin(&w, &bytes);
    put_report(&w, report);
    res = pack_end(&w);
    if (res == RES_OK)
        res = record_json_print(buffer_span(&bytes), out);
    buffer_clear(&bytes);
    return res;
}
