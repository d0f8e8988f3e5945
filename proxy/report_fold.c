#include "proxy/report_fold.h"

#include "base/hash_key.h"
#include "base/tls_report_msg.h"
#include "proxy/record.h"
#include "proxy/record_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

/* A session's last report under one policy. */
struct counted {
    struct counted *prev, *next;
    uint64_t number; /* of the verdict */
    struct tls_report report;
};

struct open_session {
    char id[RECORD_SESSION_ID_MAX + 1];
    struct counted *counted; /* owned list */
    UT_hash_handle hh;
};

struct report_fold {
    struct tlsrpt_store *store;
    struct open_session *sessions;
};

struct report_fold *
report_fold_new(struct tlsrpt_store *store)
{
    struct report_fold *fold = calloc(1, sizeof *fold);

    if (fold)
        fold->store = store;
    return fold;
}

/* ---- a recipient's reports ---- */

static void
copy_text(struct span text, char *out, size_t size)
{
    size_t len = text.len < size ? text.len : size - 1;

    memcpy(out, text.ptr, len);
    out[len] = '\0';
}

static enum result
read_list(struct span map, const char *path, struct name_list *out)
{
    enum result res = RES_OK;
    struct pack_reader r;
    size_t count;

    if (!record_value(map, path, &r))
        return RES_SYNTAX;
    count = pack_read_array(&r, RECORD_NAMES_MAX);
    for (size_t i = 0; i < count && r.res == RES_OK && res == RES_OK; i++)
        res = name_list_add(out, pack_read_str(&r));
    return r.res == RES_OK ? res : RES_SYNTAX;
}

/* The TLSA records of the host that the verdict is about: dane.hosts[dane.host]. */
static enum result
read_host(struct span map, struct tls_report *report)
{
    uint64_t at = record_number(map, "dane.host");
    struct pack_reader r;
    struct span host;
    size_t count;

    if (!record_value(map, "dane.hosts", &r))
        return RES_SYNTAX;
    count = pack_read_array(&r, RECORD_MAX_BYTES);
    if (at >= count)
        return *report->mx_host ? name_list_add(&report->mx, span_of(report->mx_host)) : RES_OK;
    while (at--)
        pack_skip(&r);
    host = pack_read_raw(&r);
    if (r.res != RES_OK)
        return RES_SYNTAX;
    if (name_list_add(&report->mx, record_text(host, "mx")) != RES_OK)
        return RES_NOMEM;
    return read_list(host, "records", &report->strings);
}

static enum result
read_policy(struct span map, bool fetched, struct tls_report *report)
{
    struct span sha256 = record_text(map, "policy.text_sha256");

    switch (report->type) {
    case TLS_REPORT_NO_POLICY:
        return RES_OK;
    case TLS_REPORT_STS:
        if (!fetched)
            return RES_OK;
        if (sha256.len != sizeof report->text_sha256)
            return RES_SYNTAX;
        memcpy(report->text_sha256, sha256.ptr, sha256.len);
        return read_list(map, "policy.mx", &report->mx);
    case TLS_REPORT_TLSA:
        return read_host(map, report);
    }
    return RES_SYNTAX;
}

static bool
type_named(struct span name, enum tls_report_type *out)
{
    for (unsigned i = TLS_REPORT_NO_POLICY; i <= TLS_REPORT_TLSA; i++) {
        *out = (enum tls_report_type)i;
        if (span_equal(name, span_of(tls_report_type_name(*out))))
            return true;
    }
    return false;
}

static bool
result_named(struct span name, enum result_type *out)
{
    for (unsigned i = RESULT_SUCCESS + 1; i < RESULT_TYPES; i++) {
        *out = (enum result_type)i;
        if (span_equal(name, span_of(result_type_name(*out))))
            return true;
    }
    return false;
}

static enum result
read_details(struct span part, struct tls_report *report)
{
    struct pack_reader r;

    if (!record_value(part, "details", &r))
        return RES_SYNTAX;
    report->detail_count = pack_read_array(&r, TLS_REPORT_DETAILS_MAX);
    for (size_t i = 0; i < report->detail_count; i++) {
        struct tls_report_detail *d = &report->details[i];
        struct span detail = pack_read_raw(&r);

        if (r.res != RES_OK || !result_named(record_text(detail, "result_type"), &d->result))
            return RES_SYNTAX;
        copy_text(record_text(detail, "reason"), d->reason, sizeof d->reason);
        d->fetch = record_bool(detail, "fetch");
    }
    return r.res;
}

static void
read_address(struct span text, struct ip_addr *out)
{
    char addr[IP_ADDR_TEXT_MAX];

    copy_text(text, addr, sizeof addr);
    if (ip_addr_parse(addr, out) != RES_OK)
        out->len = 0;
}

/* What a worker would tell, checked as the policy process checks it. */
static bool
is_plausible(const struct tls_report *report)
{
    struct tls_report again = { .at_s = 0 };
    struct pack_writer w;
    struct pack_reader r;
    struct buffer bytes;
    bool good;

    buffer_init(&bytes, 2 * RECORD_MAX_BYTES);
    pack_begin(&w, &bytes);
    tls_report_encode(report, &w);
    good = pack_end(&w) == RES_OK;
    pack_reader_init(&r, buffer_span(&bytes));
    good = good && tls_report_decode(&r, &again) == RES_OK;
    tls_report_clear(&again);
    buffer_clear(&bytes);
    return good;
}

static enum result
read_report(struct span map, struct span part, struct tls_report *out)
{
    enum result res;

    *out = (struct tls_report){ .at_s = (int64_t)record_number(map, "judged.at"),
                                .failed = record_bool(part, "failed") };
    if (!type_named(record_text(part, "type"), &out->type))
        return RES_SYNTAX;
    copy_text(record_text(map, "domain"), out->domain, sizeof out->domain);
    copy_text(record_text(part, "policy_domain"), out->policy_domain, sizeof out->policy_domain);
    copy_text(record_text(part, "mx_host"), out->mx_host, sizeof out->mx_host);
    copy_text(record_text(part, "helo"), out->helo, sizeof out->helo);
    read_address(record_text(part, "sending"), &out->sending);
    read_address(record_text(map, "destination"), &out->receiving);
    res = read_details(part, out);
    if (res == RES_OK)
        res = read_policy(map, record_bool(part, "fetched"), out);
    if (res == RES_OK && !is_plausible(out))
        res = RES_SYNTAX;
    if (res != RES_OK)
        tls_report_clear(out);
    return res;
}

/* ---- sessions ---- */

static enum result
open_session(struct report_fold *fold, struct span id, struct open_session **out)
{
    struct open_session *s;

    if (id.len == 0 || id.len > RECORD_SESSION_ID_MAX)
        return RES_SYNTAX;
    HASH_FIND(hh, fold->sessions, id.ptr, id.len, s);
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s)
            return RES_NOMEM;
        memcpy(s->id, id.ptr, id.len);
        HASH_ADD_KEYPTR(hh, fold->sessions, s->id, id.len, s);
        if (!HASH_ENTERED(s)) {
            free(s);
            return RES_NOMEM;
        }
    }
    *out = s;
    return RES_OK;
}

/* Takes what the report owns. The last verdict counts (RPT-020); records come in any order. */
static enum result
keep(struct open_session *s, struct tls_report *report, uint64_t number)
{
    struct counted *c;

    DL_FOREACH(s->counted, c)
    {
        if (tls_report_same_policy(&c->report, report))
            break;
    }
    if (c && c->number > number) {
        tls_report_clear(report);
        return RES_OK;
    }
    if (c) {
        tls_report_clear(&c->report);
    } else {
        c = calloc(1, sizeof *c);
        if (!c) {
            tls_report_clear(report);
            return RES_NOMEM;
        }
        DL_APPEND(s->counted, c);
    }
    c->number = number;
    c->report = *report;
    return RES_OK;
}

static enum result
close_session(struct report_fold *fold, struct open_session *s)
{
    enum result res = RES_OK;
    struct counted *c, *next;

    DL_FOREACH_SAFE(s->counted, c, next)
    {
        if (fold->store && res == RES_OK)
            res = tlsrpt_store_count(fold->store, &c->report, 1);
        tls_report_clear(&c->report);
        free(c);
    }
    HASH_DEL(fold->sessions, s);
    free(s);
    return res;
}

/* ---- records ---- */

static enum result
take_recipient(struct report_fold *fold, struct span map)
{
    uint64_t number = record_number(map, "verdict_number");
    struct open_session *session;
    struct tls_report report;
    struct pack_reader r;
    enum result res;
    size_t count;

    if (number == 0 || !record_value(map, "reports", &r))
        return RES_OK; /* nothing was judged, or an older version wrote it */
    res = open_session(fold, record_text(map, "session"), &session);
    if (res != RES_OK)
        return res;
    count = pack_read_array(&r, SESSION_REPORT_PARTS);
    for (size_t i = 0; i < count && r.res == RES_OK && res == RES_OK; i++) {
        res = read_report(map, pack_read_raw(&r), &report);
        if (res == RES_OK)
            res = keep(session, &report, number);
    }
    return res == RES_OK ? r.res : res;
}

static enum result
take_end(struct report_fold *fold, struct span map)
{
    struct span id = record_text(map, "session");
    struct open_session *session;

    HASH_FIND(hh, fold->sessions, id.ptr, id.len, session);
    return session ? close_session(fold, session) : RES_OK;
}

/* One that the record has cut is not the text that was in force. */
static enum result
take_text(struct report_fold *fold, struct span map)
{
    struct span sha256 = record_text(map, "text_sha256"), text = record_text(map, "text");

    if (sha256.len != 32)
        return RES_SYNTAX;
    if (text.len >= RECORD_TEXT_MAX - 4)
        return RES_OK;
    return tlsrpt_store_text(fold->store, (const uint8_t *)sha256.ptr, text,
                             (int64_t)record_number(map, "fetched_at"));
}

enum result
report_fold_take(struct report_fold *fold, struct span map)
{
    if (record_is(map, "event", "recipient"))
        return take_recipient(fold, map);
    if (record_is(map, "event", "session"))
        return take_end(fold, map);
    return record_is(map, "event", "policy") ? take_text(fold, map) : RES_OK;
}

enum result
report_fold_end(struct report_fold *fold)
{
    enum result res = RES_OK;

    while (fold->sessions) {
        enum result one = close_session(fold, fold->sessions);

        if (res == RES_OK)
            res = one;
    }
    return res;
}

void
report_fold_free(struct report_fold *fold)
{
    if (!fold)
        return;
    fold->store = NULL; /* what is left is not counted */
    while (fold->sessions)
        (void)close_session(fold, fold->sessions);
    free(fold);
}
