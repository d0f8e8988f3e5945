#include "proxy/log_summary.h"

#include "base/hash_key.h"
#include "base/hostname.h"
#include "base/pack.h"
#include "proxy/record_json.h"
#include "proxy/record_view.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <uthash.h>

#define OTHERS "(others)"
#define REASON_BYTES 160u
#define JSON_REASONS_MAX 1000u /* of one domain; the most frequent */

/* What became of a recipient. The first four: delivered, and what protected the connection. */
enum column {
    DELIVERED_CLEAR,
    DELIVERED_TLS,  /* whoever answered */
    DELIVERED_STS,  /* the MX was proven as the domain's MTA-STS policy demands */
    DELIVERED_DANE, /* or as its TLSA records do */
    REFUSED,        /* by the gateway */
    REJECTED,       /* by the MX in reply to RCPT */
    FAILED,         /* no 2xx to the end of data */
    COLUMNS,
};

static const char *const column_names[COLUMNS] = {
    [DELIVERED_CLEAR] = "clear", [DELIVERED_TLS] = "tls", [DELIVERED_STS] = "mta-sts",
    [DELIVERED_DANE] = "dane",   [REFUSED] = "refused",   [REJECTED] = "rejected",
    [FAILED] = "failed",
};

struct reason {
    uint64_t count;
    UT_hash_handle hh;
    char text[]; /* "REP-013 certificate-expired X509_V_ERR_CERT_HAS_EXPIRED" */
};

struct row {
    uint64_t counts[COLUMNS];
    uint64_t would; /* not refused, but would have been with everything enforced */
    struct reason *reasons;
    UT_hash_handle hh;
    char domain[HOSTNAME_MAX + 1];
};

struct log_summary {
    struct row *rows;
    size_t reason_count;
};

struct log_summary *
log_summary_new(void)
{
    return calloc(1, sizeof(struct log_summary));
}

void
log_summary_free(struct log_summary *summary)
{
    struct row *row, *next_row;

    if (!summary)
        return;
    HASH_ITER(hh, summary->rows, row, next_row)
    {
        struct reason *reason, *next;

        HASH_ITER(hh, row->reasons, reason, next)
        {
            HASH_DEL(row->reasons, reason);
            free(reason);
        }
        HASH_DEL(summary->rows, row);
        free(row);
    }
    free(summary);
}

static enum column
delivered_how(struct span map)
{
    if (!record_is(map, "tls.stage", "done"))
        return DELIVERED_CLEAR;
    if (record_is(map, "dane.match", "matched"))
        return DELIVERED_DANE;
    if (record_is(map, "policy.type", "sts") && !record_is(map, "policy.mode", "none") &&
        record_bool(map, "mx_proven") && record_is(map, "would", "allow"))
        return DELIVERED_STS;
    return DELIVERED_TLS;
}

static enum column
column_of(struct span map)
{
    if (record_is(map, "outcome", "delivered"))
        return delivered_how(map);
    if (record_is(map, "outcome", "refused"))
        return REFUSED;
    return record_is(map, "outcome", "rejected") ? REJECTED : FAILED;
}

/* The row of a domain, made where there is none. NULL: no memory. */
static struct row *
row_of(struct log_summary *summary, struct span domain)
{
    struct row *row;

    if (domain.len > HOSTNAME_MAX || !pack_is_text(domain))
        domain = span_of(OTHERS);
    HASH_FIND(hh, summary->rows, domain.ptr, domain.len, row);
    if (!row && HASH_COUNT(summary->rows) >= LOG_SUMMARY_DOMAINS_MAX) {
        domain = span_of(OTHERS);
        HASH_FIND(hh, summary->rows, domain.ptr, domain.len, row);
    }
    if (row)
        return row;
    row = calloc(1, sizeof *row);
    if (!row)
        return NULL;
    memcpy(row->domain, domain.ptr, domain.len);
    HASH_ADD(hh, summary->rows, domain[0], domain.len, row);
    if (HASH_ENTERED(row))
        return row;
    free(row);
    return NULL;
}

static enum result
count_reason(struct log_summary *summary, struct row *row, struct span map)
{
    struct span id = record_text(map, "reply_id"), type = record_text(map, "result_type"),
                why = record_text(map, "reason");
    struct reason *reason;
    char text[REASON_BYTES];
    size_t len;

    snprintf(text, sizeof text, "%.*s %.*s %.*s", (int)span_first(id, 16).len, id.ptr,
             (int)span_first(type, 40).len, type.ptr, (int)span_first(why, 96).len, why.ptr);
    if (!pack_is_text(span_of(text)))
        snprintf(text, sizeof text, OTHERS);
    len = strlen(text);
    HASH_FIND(hh, row->reasons, text, len, reason);
    if (!reason) {
        if (summary->reason_count >= LOG_SUMMARY_REASONS_MAX)
            return RES_OK; /* the row's count has it */
        reason = calloc(1, sizeof *reason + len + 1);
        if (!reason)
            return RES_NOMEM;
        memcpy(reason->text, text, len);
        HASH_ADD(hh, row->reasons, text[0], len, reason);
        if (!HASH_ENTERED(reason)) {
            free(reason);
            return RES_NOMEM;
        }
        summary->reason_count++;
    }
    reason->count++;
    return RES_OK;
}

enum result
log_summary_add(struct log_summary *summary, struct span map)
{
    enum column column;
    struct row *row;

    if (!record_is(map, "event", "recipient"))
        return RES_OK;
    row = row_of(summary, record_text(map, "domain"));
    if (!row)
        return RES_NOMEM;
    column = column_of(map);
    row->counts[column]++;
    if (column != REFUSED && record_is(map, "would", "refuse"))
        row->would++;
    return column == REFUSED ? count_reason(summary, row, map) : RES_OK;
}

/* ---- printing ---- */

static int
by_domain(const struct row *a, const struct row *b)
{
    return strcmp(a->domain, b->domain);
}

static int
by_count(const struct reason *a, const struct reason *b)
{
    return a->count != b->count ? (a->count < b->count) - (a->count > b->count)
                                : strcmp(a->text, b->text);
}

static void
add_up(const struct row *row, struct row *total)
{
    for (unsigned i = 0; i < COLUMNS; i++)
        total->counts[i] += row->counts[i];
    total->would += row->would;
}

/* Names come from recipients: printable ASCII only reaches a terminal. */
static void
print_safely(FILE *out, const char *text)
{
    for (; *text; text++)
        fputc(*text >= ' ' && *text <= '~' ? *text : '?', out);
}

static void
print_row(FILE *out, const char *name, const struct row *row)
{
    for (unsigned i = 0; i < COLUMNS; i++)
        fprintf(out, "%9" PRIu64, row->counts[i]);
    fprintf(out, "%10" PRIu64 "  ", row->would);
    print_safely(out, *name ? name : "(none)");
    fputc('\n', out);
}

static void
print_reasons(const struct log_summary *summary, FILE *out)
{
    bool headed = false;

    for (struct row *row = summary->rows; row; row = row->hh.next)
        for (struct reason *reason = row->reasons; reason; reason = reason->hh.next) {
            if (!headed)
                fputs("\n  refused  domain: reply, result-type, reason\n", out);
            headed = true;
            fprintf(out, "%9" PRIu64 "  ", reason->count);
            print_safely(out, row->domain);
            fputs(": ", out);
            print_safely(out, reason->text);
            fputc('\n', out);
        }
}

static void
sort(struct log_summary *summary)
{
    HASH_SORT(summary->rows, by_domain);
    for (struct row *row = summary->rows; row; row = row->hh.next)
        HASH_SORT(row->reasons, by_count);
}

enum result
log_summary_print(struct log_summary *summary, FILE *out)
{
    struct row total = { .would = 0 };

    sort(summary);
    fputs("recipients: delivered in clear, over TLS, proven by MTA-STS, by DANE; and not\n", out);
    for (unsigned i = 0; i < COLUMNS; i++)
        fprintf(out, "%9s", column_names[i]);
    fprintf(out, "%10s  domain\n", "would-not");
    for (struct row *row = summary->rows; row; row = row->hh.next) {
        print_row(out, row->domain, row);
        add_up(row, &total);
    }
    print_row(out, "total", &total);
    print_reasons(summary, out);
    return RES_OK;
}

static void
pack_counts(struct pack_writer *w, const struct row *row)
{
    size_t left = HASH_COUNT(row->reasons);

    if (left > JSON_REASONS_MAX)
        left = JSON_REASONS_MAX;
    for (unsigned i = 0; i < COLUMNS; i++) {
        pack_str(w, span_of(column_names[i]));
        pack_uint(w, row->counts[i]);
    }
    pack_str(w, span_of("would_refuse"));
    pack_uint(w, row->would);
    pack_str(w, span_of("reasons"));
    pack_array(w, left);
    for (struct reason *reason = row->reasons; left > 0; reason = reason->hh.next, left--) {
        pack_map(w, 2);
        pack_str(w, span_of("reason"));
        pack_str(w, span_of(reason->text));
        pack_str(w, span_of("count"));
        pack_uint(w, reason->count);
    }
}

static enum result
print_json_row(FILE *out, const struct row *row, bool is_total)
{
    struct pack_writer w;
    struct buffer bytes;
    enum result res;

    buffer_init(&bytes, 1u << 25);
    pack_begin(&w, &bytes);
    pack_map(&w, COLUMNS + 3);
    pack_str(&w, span_of("domain"));
    if (is_total)
        pack_nil(&w);
    else
        pack_str(&w, span_of(row->domain));
    pack_counts(&w, row);
    res = pack_end(&w);
    if (res == RES_OK)
        res = record_json_print(buffer_span(&bytes), out);
    buffer_clear(&bytes);
    return res == RES_OK ? RES_OK : RES_NOMEM;
}

enum result
log_summary_print_json(struct log_summary *summary, FILE *out)
{
    struct row total = { .would = 0 };
    enum result res = RES_OK;

    sort(summary);
    for (struct row *row = summary->rows; row && res == RES_OK; row = row->hh.next) {
        res = print_json_row(out, row, false);
        add_up(row, &total);
    }
    return res == RES_OK ? print_json_row(out, &total, true) : res;
}
