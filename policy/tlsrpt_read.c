#include "policy/tlsrpt_read.h"

#include "policy/sqlite_file.h"

enum result
tlsrpt_read_domains(struct tlsrpt_store *s, int64_t day_s, const char *after,
                    tlsrpt_each_domain *each, void *arg)
{
    sqlite3_stmt *stmt = NULL;
    enum result res = tlsrpt_store_flush(s);
    int rc = SQLITE_DONE;

    if (res == RES_OK)
        res = sqlite_file_prepare(
            tlsrpt_store_file(s),
            "SELECT name FROM domain WHERE day = ?1 AND name > ?2 ORDER BY name", &stmt);
    if (res != RES_OK)
        return res;
    (void)sqlite3_bind_int64(stmt, 1, day_s);
    (void)sqlite3_bind_text(stmt, 2, after, -1, SQLITE_STATIC);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);

        if (!name || !each(arg, name))
            break;
    }
    res = sqlite_file_result(tlsrpt_store_file(s), rc);
    (void)sqlite3_finalize(stmt);
    return res;
}

static enum result
split(const unsigned char *lines, struct name_list *list)
{
    struct span rest = span_of(lines ? (const char *)lines : "");
    enum result res = RES_OK;

    while (rest.len && res == RES_OK) {
        struct span line = span_first(rest, span_find(rest, '\n'));

        res = name_list_add(list, line);
        rest = span_from(rest, line.len + 1);
    }
    return res;
}

/* A row of the query below. */
static enum result
read_policy(sqlite3_stmt *stmt, struct tlsrpt_policy *p)
{
    enum result res;

    *p = (struct tlsrpt_policy){
        .id = sqlite3_column_int64(stmt, 0),
        .type = (enum tls_report_type)(sqlite3_column_int64(stmt, 1) & 3),
        .policy_domain = (const char *)sqlite3_column_text(stmt, 2),
        .succeeded = (uint64_t)sqlite3_column_int64(stmt, 5),
        .failed = (uint64_t)sqlite3_column_int64(stmt, 6),
        .text = span_make(sqlite3_column_blob(stmt, 7), (size_t)sqlite3_column_bytes(stmt, 7)),
    };
    if (!p->policy_domain || p->type > TLS_REPORT_TLSA)
        return RES_SYNTAX;
    res = split(sqlite3_column_text(stmt, 3), &p->strings);
    return res == RES_OK ? split(sqlite3_column_text(stmt, 4), &p->mx) : res;
}

enum result
tlsrpt_read_policies(struct tlsrpt_store *s, int64_t day_s, const char *domain,
                     tlsrpt_each_policy *each, void *arg)
{
    sqlite3_stmt *stmt = NULL;
    enum result res = tlsrpt_store_flush(s);
    bool more = true;

    if (res == RES_OK)
        res = sqlite_file_prepare(
            tlsrpt_store_file(s),
            "SELECT p.id, p.type, p.policy_domain, p.strings, p.mx, p.succeeded, p.failed, t.body"
            " FROM policy p JOIN domain d ON d.id = p.domain LEFT JOIN text t ON t.sha256 ="
            " p.text_sha256 WHERE d.day = ?1 AND d.name = ?2 ORDER BY p.id",
            &stmt);
    if (res != RES_OK)
        return res;
    (void)sqlite3_bind_int64(stmt, 1, day_s);
    (void)sqlite3_bind_text(stmt, 2, domain, -1, SQLITE_STATIC);
    while (res == RES_OK && more) {
        struct tlsrpt_policy policy;
        int rc = sqlite3_step(stmt);

        if (rc != SQLITE_ROW) {
            res = sqlite_file_result(tlsrpt_store_file(s), rc);
            break;
        }
        res = read_policy(stmt, &policy);
        more = res == RES_OK && each(arg, &policy);
        name_list_clear(&policy.strings);
        name_list_clear(&policy.mx);
    }
    (void)sqlite3_finalize(stmt);
    return res;
}

static const char *
column(sqlite3_stmt *stmt, int at)
{
    const unsigned char *text = sqlite3_column_text(stmt, at);

    return text ? (const char *)text : "";
}

enum result
tlsrpt_read_details(struct tlsrpt_store *s, int64_t policy_id, tlsrpt_each_detail *each, void *arg)
{
    sqlite3_stmt *stmt = NULL;
    enum result res = sqlite_file_prepare(
        tlsrpt_store_file(s),
        "SELECT result, reason, sending, receiving, mx_host, helo, count FROM detail"
        " WHERE policy = ?1 ORDER BY count DESC, result, reason, sending, receiving, mx_host, helo",
        &stmt);
    int rc;

    if (res != RES_OK)
        return res;
    (void)sqlite3_bind_int64(stmt, 1, policy_id);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t result = sqlite3_column_int64(stmt, 0);
        const struct tlsrpt_detail detail = {
            .result = result > 0 && result < RESULT_TYPES ? (enum result_type)result
                                                          : RESULT_VALIDATION_FAILURE,
            .reason = column(stmt, 1),
            .sending = column(stmt, 2),
            .receiving = column(stmt, 3),
            .mx_host = column(stmt, 4),
            .helo = column(stmt, 5),
            .count = (uint64_t)sqlite3_column_int64(stmt, 6),
        };

        if (!each(arg, &detail))
            break;
    }
    res = sqlite_file_result(tlsrpt_store_file(s), rc);
    (void)sqlite3_finalize(stmt);
    return res;
}
