#include "policy/tlsrpt_read.h"

#include "base/tls_report_msg.h"
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

/* The kinds of a domain's day: rows of encoding and count. */
static enum result
add_kinds(struct tlsrpt_store *s, sqlite3_stmt *stmt, struct tlsrpt_elements *elements)
{
    enum result res = RES_OK;
    int rc = SQLITE_DONE;

    while (res == RES_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *bytes = sqlite3_column_blob(stmt, 0);
        int64_t count = sqlite3_column_int64(stmt, 1);
        struct tls_report kind;
        struct pack_reader r;

        pack_reader_init(&r, span_make(bytes, (size_t)sqlite3_column_bytes(stmt, 0)));
        res = tls_report_decode(&r, &kind);
        if (res == RES_OK)
            res = tlsrpt_elements_add(elements, &kind, count > 0 ? (uint64_t)count : 0);
    }
    return res == RES_OK ? sqlite_file_result(tlsrpt_store_file(s), rc) : res;
}

static enum result
read_kinds(struct tlsrpt_store *s, int64_t day_s, const char *domain,
           struct tlsrpt_elements *elements)
{
    sqlite3_stmt *stmt = NULL;
    enum result res = sqlite_file_prepare(
        tlsrpt_store_file(s),
        "SELECT k.report, t.count FROM domain d JOIN kind k ON k.domain = d.id"
        " JOIN tally t ON t.kind = k.id WHERE d.day = ?1 AND d.name = ?2 ORDER BY k.id",
        &stmt);

    if (res != RES_OK)
        return res;
    (void)sqlite3_bind_int64(stmt, 1, day_s);
    (void)sqlite3_bind_text(stmt, 2, domain, -1, SQLITE_STATIC);
    res = add_kinds(s, stmt, elements);
    (void)sqlite3_finalize(stmt);
    return res;
}

/* With the policy's text, while the statement holds it. */
static enum result
give(struct tlsrpt_store *s, struct tlsrpt_policy *policy, tlsrpt_each_policy *each, void *arg,
     bool *out_more)
{
    sqlite3_stmt *stmt = NULL;
    enum result res =
        sqlite_file_prepare(tlsrpt_store_file(s), "SELECT body FROM text WHERE sha256 = ?1", &stmt);
    int rc;

    if (res != RES_OK)
        return res;
    (void)sqlite3_bind_blob(stmt, 1, policy->kind.text_sha256, sizeof policy->kind.text_sha256,
                            SQLITE_STATIC);
    rc = policy->kind.type == TLS_REPORT_STS ? sqlite3_step(stmt) : SQLITE_DONE;
    if (rc == SQLITE_ROW)
        policy->text =
            span_make(sqlite3_column_blob(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0));
    res = sqlite_file_result(tlsrpt_store_file(s), rc);
    if (res == RES_OK)
        *out_more = each(arg, policy);
    policy->text = span_make(NULL, 0);
    (void)sqlite3_finalize(stmt);
    return res;
}

enum result
tlsrpt_read_policies(struct tlsrpt_store *s, int64_t day_s, const char *domain,
                     tlsrpt_each_policy *each, void *arg)
{
    struct tlsrpt_elements elements = { .count = 0 };
    enum result res = tlsrpt_store_flush(s);
    bool more = true;

    if (res == RES_OK)
        res = read_kinds(s, day_s, domain, &elements);
    for (size_t i = 0; i < elements.count && res == RES_OK && more; i++)
        res = give(s, elements.policies[i], each, arg, &more);
    tlsrpt_elements_clear(&elements);
    return res;
}
