#include "proxy/status_msg.h"

#include "base/pack.h"
#include "policy/policy_msg.h"
#include "proxy/control_msg.h"

#define REPORT_FIELDS 7u
#define FACTS_FIELDS 8u /* as policy_msg_type() allows at most */
#define ASK_FIELDS 4u
#define PAGE_FIELDS 6u

_Static_assert(STATUS_PEERS_MAX == CONTROL_WORKERS_MAX, "one bound");

static void
begin(struct pack_writer *w, struct buffer *out, enum status_type type, size_t fields)
{
    pack_begin(w, out);
    pack_array(w, fields);
    pack_uint(w, POLICY_MSG_VERSION);
    pack_uint(w, (uint64_t)type);
}

static void
read_head(struct pack_reader *r, struct span message, enum status_type type, size_t fields)
{
    pack_reader_init(r, message);
    pack_read_tuple(r, fields);
    if (pack_read_uint(r, UINT32_MAX) != POLICY_MSG_VERSION ||
        pack_read_uint(r, UINT32_MAX) != (uint64_t)type)
        pack_reader_fail(r, RES_SYNTAX);
}

/* Printable ASCII, as every text here is. */
static void
read_word(struct pack_reader *r, char *dst, size_t size)
{
    pack_read_text(r, dst, size);
    for (const char *c = dst; *c; c++)
        if (*c < ' ' || *c > '~')
            pack_reader_fail(r, RES_SYNTAX);
}

static int64_t
read_time(struct pack_reader *r)
{
    return pack_read_int(r, 0, STATUS_TIME_MAX);
}

static void
write_numbers(struct pack_writer *w, const uint64_t *numbers, size_t count)
{
    pack_array(w, count);
    for (size_t i = 0; i < count; i++)
        pack_uint(w, numbers[i]);
}

static void
read_numbers(struct pack_reader *r, uint64_t *numbers, size_t count)
{
    pack_read_tuple(r, count);
    for (size_t i = 0; i < count; i++)
        numbers[i] = pack_read_uint(r, INT64_MAX);
}

/* ---- a worker's report ---- */

static void
write_refused(struct pack_writer *w, const struct top_refused *refused)
{
    pack_array(w, refused->count);
    for (size_t i = 0; i < refused->count; i++) {
        const struct top_refusal *entry = &refused->all[i];

        pack_array(w, 5);
        pack_str(w, span_of(entry->domain));
        pack_str(w, span_of(entry->reply));
        pack_uint(w, (uint64_t)entry->result);
        pack_uint(w, entry->count);
        pack_uint(w, entry->error);
    }
}

/* A name as the worker has normalised it; "" for an address literal. */
static void
read_domain(struct pack_reader *r, char out[HOSTNAME_MAX + 1])
{
    struct span domain = pack_read_str(r);
    char normal[HOSTNAME_MAX + 1] = "";

    if (domain.len &&
        (hostname_normalise(domain, normal) != RES_OK || !span_equal(domain, span_of(normal))))
        pack_reader_fail(r, RES_SYNTAX);
    memcpy(out, normal, sizeof normal);
}

static void
read_refused(struct pack_reader *r, struct top_refused *out)
{
    out->count = pack_read_array(r, TOP_REFUSED_MAX);
    for (size_t i = 0; i < out->count; i++) {
        struct top_refusal *entry = &out->all[i];

        pack_read_tuple(r, 5);
        read_domain(r, entry->domain);
        read_word(r, entry->reply, sizeof entry->reply);
        entry->result = (enum result_type)pack_read_uint(r, RESULT_TYPES - 1);
        entry->count = pack_read_uint(r, UINT32_MAX);
        entry->error = pack_read_uint(r, UINT32_MAX);
    }
}

enum result
worker_report_write(const struct worker_report *report, struct buffer *out)
{
    struct pack_writer w;

    begin(&w, out, STATUS_REPORT, REPORT_FIELDS);
    pack_array(&w, 7);
    pack_uint(&w, report->worker);
    pack_int(&w, report->pid);
    pack_int(&w, report->started_s);
    pack_uint(&w, report->open);
    pack_uint(&w, report->relayed);
    pack_uint(&w, report->lag_ms);
    pack_uint(&w, report->busy_percent);
    pack_array(&w, 2);
    pack_bool(&w, report->draining);
    pack_bool(&w, report->records_ready);
    pack_str(&w, span_of(report->library));
    pack_array(&w, COUNTERS);
    for (size_t i = 0; i < COUNTERS; i++)
        pack_uint(&w, counters_get(&report->counters, i));
    write_refused(&w, &report->refused);
    return pack_end(&w);
}

enum result
worker_report_read(struct span message, struct worker_report *out)
{
    struct pack_reader r;

    *out = (struct worker_report){ 0 };
    read_head(&r, message, STATUS_REPORT, REPORT_FIELDS);
    pack_read_tuple(&r, 7);
    out->worker = (unsigned)pack_read_uint(&r, STATUS_PEERS_MAX - 1);
    out->pid = pack_read_int(&r, 1, INT32_MAX);
    out->started_s = read_time(&r);
    out->open = pack_read_uint(&r, UINT32_MAX);
    out->relayed = pack_read_uint(&r, UINT32_MAX);
    out->lag_ms = (unsigned)pack_read_uint(&r, UINT32_MAX);
    out->busy_percent = (unsigned)pack_read_uint(&r, 100);
    pack_read_tuple(&r, 2);
    out->draining = pack_read_bool(&r);
    out->records_ready = pack_read_bool(&r);
    read_word(&r, out->library, sizeof out->library);
    pack_read_tuple(&r, COUNTERS);
    for (size_t i = 0; i < COUNTERS; i++)
        counters_set(&out->counters, i, pack_read_uint(&r, INT64_MAX));
    read_refused(&r, &out->refused);
    return pack_reader_end(&r);
}

/* ---- the policy process's facts ---- */

enum result
gateway_facts_write(const struct gateway_facts *facts, struct buffer *out)
{
    struct pack_writer w;

    begin(&w, out, STATUS_FACTS, FACTS_FIELDS);
    pack_array(&w, 4);
    pack_uint(&w, facts->generation);
    pack_int(&w, facts->started_s);
    pack_int(&w, facts->process_s);
    pack_uint(&w, facts->warming);
    pack_array(&w, 6);
    pack_str(&w, span_of(facts->rollout));
    pack_bool(&w, facts->by_command);
    pack_bool(&w, facts->dane);
    pack_bool(&w, facts->store);
    pack_bool(&w, facts->store_safe);
    pack_bool(&w, facts->records_ready);
    write_numbers(&w, facts->records, COUNTED_RECORDS);
    write_numbers(&w, facts->stats, POLICY_STATS);
    write_numbers(&w, facts->cached, STS_CLASSES);
    pack_array(&w, facts->override_count);
    for (size_t i = 0; i < facts->override_count; i++) {
        pack_array(&w, 2);
        pack_str(&w, span_of(facts->overrides[i].id));
        pack_int(&w, facts->overrides[i].until_s);
    }
    return pack_end(&w);
}

enum result
gateway_facts_read(struct span message, struct gateway_facts *out)
{
    struct pack_reader r;

    *out = (struct gateway_facts){ 0 };
    read_head(&r, message, STATUS_FACTS, FACTS_FIELDS);
    pack_read_tuple(&r, 4);
    out->generation = (unsigned)pack_read_uint(&r, UINT32_MAX);
    out->started_s = read_time(&r);
    out->process_s = read_time(&r);
    out->warming = pack_read_uint(&r, UINT32_MAX);
    pack_read_tuple(&r, 6);
    read_word(&r, out->rollout, sizeof out->rollout);
    out->by_command = pack_read_bool(&r);
    out->dane = pack_read_bool(&r);
    out->store = pack_read_bool(&r);
    out->store_safe = pack_read_bool(&r);
    out->records_ready = pack_read_bool(&r);
    read_numbers(&r, out->records, COUNTED_RECORDS);
    read_numbers(&r, out->stats, POLICY_STATS);
    read_numbers(&r, out->cached, STS_CLASSES);
    out->override_count = pack_read_array(&r, STATUS_OVERRIDES_MAX);
    for (size_t i = 0; i < out->override_count; i++) {
        pack_read_tuple(&r, 2);
        pack_read_text(&r, out->overrides[i].id, sizeof out->overrides[i].id);
        if (!pack_is_text(span_of(out->overrides[i].id)))
            pack_reader_fail(&r, RES_SYNTAX);
        out->overrides[i].until_s = pack_read_int(&r, INT64_MIN, INT64_MAX);
    }
    return pack_reader_end(&r);
}

/* ---- open sessions ---- */

enum result
session_ask_write(const struct session_ask *ask, struct buffer *out)
{
    struct pack_writer w;

    begin(&w, out, STATUS_ASK, ASK_FIELDS);
    pack_uint(&w, ask->query);
    pack_uint(&w, ask->below);
    return pack_end(&w);
}

enum result
session_ask_read(struct span message, struct session_ask *out)
{
    struct pack_reader r;

    read_head(&r, message, STATUS_ASK, ASK_FIELDS);
    out->query = pack_read_uint(&r, UINT64_MAX);
    out->below = pack_read_uint(&r, UINT64_MAX);
    return pack_reader_end(&r);
}

enum result
session_page_write(const struct session_page *page, struct buffer *out)
{
    struct pack_writer w;

    begin(&w, out, STATUS_PAGE, PAGE_FIELDS);
    pack_uint(&w, page->query);
    pack_bool(&w, page->more);
    pack_uint(&w, page->below);
    pack_bin(&w, page->sessions);
    return pack_end(&w);
}

bool
session_page_next(struct span *sessions, struct span *out_map)
{
    size_t len;

    if (!sessions->len || pack_check(*sessions, STATUS_SESSION_BYTES, &len) != RES_OK)
        return false;
    *out_map = span_first(*sessions, len);
    *sessions = span_from(*sessions, len);
    return true;
}

enum result
session_page_read(struct span message, struct session_page *out)
{
    struct pack_reader r, one;
    struct span rest, map;
    size_t count = 0;

    read_head(&r, message, STATUS_PAGE, PAGE_FIELDS);
    out->query = pack_read_uint(&r, UINT64_MAX);
    out->more = pack_read_bool(&r);
    out->below = pack_read_uint(&r, UINT64_MAX);
    out->sessions = rest = pack_read_bin(&r);
    while (count < STATUS_PAGE_SESSIONS && session_page_next(&rest, &map)) {
        pack_reader_init(&one, map);
        if (pack_peek_type(&one) != PACK_MAP)
            pack_reader_fail(&r, RES_SYNTAX);
        count++;
    }
    if (rest.len)
        pack_reader_fail(&r, RES_LIMIT);
    return pack_reader_end(&r);
}
